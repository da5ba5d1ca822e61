//! Requests of the API, one method each.

use serde::de::DeserializeOwned;
use serde_json::Value;
use vocabulary::OperationId;

use super::send::Request;
use super::{Client, ClientError};
use crate::{ControlBody, Lock, NewOperation, Operation, Page, Verification, WhoAmI};

/// Number of items on a page; the maximum of the server.
const PAGE_SIZE: usize = 500;

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Maximum number of items. `None` leaves it to the server.
    pub size: Option<usize>,
    /// Token of the page; `None` for the first.
    pub token: Option<String>,
}

impl PageRequest {
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let size = self.size.map(|size| ("pageSize", size.to_string()));
        let token = self.token.clone().map(|token| ("pageToken", token));
        size.into_iter().chain(token).collect()
    }
}

/// Limits a list of operations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationFilter {
    /// State of the operations.
    pub state: Option<String>,
    /// Kind of the operations.
    pub kind: Option<String>,
    /// Application that the operations are about, as `namespace/name`.
    pub application: Option<String>,
}

impl OperationFilter {
    fn query(&self) -> impl Iterator<Item = (&'static str, String)> {
        let state = self.state.clone().map(|state| ("state", state));
        let kind = self.kind.clone().map(|kind| ("kind", kind));
        let application = self.application.clone().map(|application| ("application", application));
        state.into_iter().chain(kind).chain(application)
    }
}

impl Client {
    /// Creates an operation. Repetitions of the request create no second one.
    pub async fn create_operation(&self, new: &NewOperation) -> Result<Operation, ClientError> {
        self.send(&Request::post(self.endpoint.url(&["operations"], &[]), new), self.deadline).await
    }

    /// Returns what the operation would do, in the form of its kind, and creates none.
    pub async fn preview_operation(&self, new: &NewOperation) -> Result<Value, ClientError> {
        let url = self.endpoint.url(&["operations"], &[("dryRun", "true".to_owned())]);
        self.send(&Request::post(url, new), self.deadline).await
    }

    /// Reads an operation with its steps.
    pub async fn operation(&self, id: OperationId) -> Result<Operation, ClientError> {
        self.get(&["operations", &id.to_string()], &[]).await
    }

    /// Reads a page of the operations, the newest first and without their steps.
    pub async fn operations(
        &self,
        filter: &OperationFilter,
        page: &PageRequest,
    ) -> Result<Page<Operation>, ClientError> {
        let query: Vec<_> = page.query().into_iter().chain(filter.query()).collect();
        self.get(&["operations"], &query).await
    }

    /// Sends a verb to an operation. Returns the operation as it is afterwards.
    pub async fn control_operation(
        &self,
        id: OperationId,
        verb: &str,
        body: &ControlBody,
    ) -> Result<Operation, ClientError> {
        let url = self.endpoint.url(&["operations", &id.to_string(), verb], &[]);
        self.send(&Request::post(url, body), self.deadline).await
    }

    /// Lets the server check the journal of an operation.
    pub async fn verification(&self, id: OperationId) -> Result<Verification, ClientError> {
        self.get(&["operations", &id.to_string(), "verification"], &[]).await
    }

    /// Reads all locks.
    pub async fn locks(&self) -> Result<Vec<Lock>, ClientError> {
        self.all(&["locks"]).await
    }

    /// Reads all clusters, in the form that the server shows them in.
    pub async fn clusters(&self) -> Result<Vec<Value>, ClientError> {
        self.all(&["clusters"]).await
    }

    /// Reads all Applications, in the form that the server shows them in.
    pub async fn applications(&self) -> Result<Vec<Value>, ClientError> {
        self.all(&["applications"]).await
    }

    /// Returns the caller, as the server recognizes it.
    pub async fn whoami(&self) -> Result<WhoAmI, ClientError> {
        self.get(&["whoami"], &[]).await
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        self.send(&Request::get(self.endpoint.url(segments, query)), self.deadline).await
    }

    /// Reads all pages of a list.
    pub(super) async fn all<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        let mut request = PageRequest { size: Some(PAGE_SIZE), token: None };
        loop {
            let page: Page<T> = self.get(segments, &request.query()).await?;
            items.extend(page.items);
            // An empty token is no page; following it would begin anew.
            match page.next_page_token.filter(|token| !token.is_empty()) {
                Some(token) => request.token = Some(token),
                None => return Ok(items),
            }
        }
    }
}

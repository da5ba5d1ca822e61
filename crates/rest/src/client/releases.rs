//! Requests about releases and revisions of one Application, one method each.

use std::time::Duration;

use super::send::Request;
use super::{Client, ClientError, PageRequest};
use crate::{
    Application, NewRelease, NewRollback, Operation, Page, PlacedObject, Revision, RevisionContent, StartedRelease,
};

/// Timeout for one attempt to begin a release. The server waits up to ten seconds for the operation.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(25);

impl Client {
    /// Begins a release. With `dry_run`, the server checks the request and changes nothing.
    pub async fn begin_release(
        &self,
        namespace: &str,
        name: &str,
        new: &NewRelease,
        dry_run: bool,
    ) -> Result<StartedRelease, ClientError> {
        let url = self.endpoint.url(&["applications", namespace, name, "releases"], &dry_run_query(dry_run));
        self.send(&Request::post(url, new).with_attempt_timeout(BEGIN_TIMEOUT), self.deadline).await
    }

    /// Goes back to an earlier revision. With `dry_run`, the server checks the request and changes nothing.
    pub async fn roll_back(
        &self,
        namespace: &str,
        name: &str,
        new: &NewRollback,
        dry_run: bool,
    ) -> Result<StartedRelease, ClientError> {
        let url = self.endpoint.url(&["applications", namespace, name, "rollback"], &dry_run_query(dry_run));
        self.send(&Request::post(url, new).with_attempt_timeout(BEGIN_TIMEOUT), self.deadline).await
    }

    /// Reads a page of the releases of an Application, the newest first and without their steps.
    pub async fn releases(
        &self,
        namespace: &str,
        name: &str,
        page: &PageRequest,
    ) -> Result<Page<Operation>, ClientError> {
        self.get(&["applications", namespace, name, "releases"], &page.query()).await
    }

    /// Reads all stored revisions of an Application, the newest first.
    pub async fn revisions(&self, namespace: &str, name: &str) -> Result<Vec<Revision>, ClientError> {
        self.all(&["applications", namespace, name, "revisions"]).await
    }

    /// Reads the content of a revision. Contents of Secrets are masked.
    pub async fn revision(&self, namespace: &str, name: &str, revision: &str) -> Result<RevisionContent, ClientError> {
        self.get(&["applications", namespace, name, "revisions", revision], &[]).await
    }

    /// Reads an Application.
    pub async fn application(&self, namespace: &str, name: &str) -> Result<Application, ClientError> {
        self.get(&["applications", namespace, name], &[]).await
    }

    /// Reads all objects of an Application.
    pub async fn placement(&self, namespace: &str, name: &str) -> Result<Vec<PlacedObject>, ClientError> {
        self.all(&["applications", namespace, name, "placement"]).await
    }
}

fn dry_run_query(dry_run: bool) -> Vec<(&'static str, String)> {
    if dry_run { vec![("dryRun", "true".to_owned())] } else { Vec::new() }
}

//! Pod-security labels of hub namespaces, which new namespaces in members get.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::time::Instant;
use vocabulary::labels;

use super::write::HubError;

/// Maximum age of cached labels.
///
/// Intake often takes in many Applications of one namespace together.
const LABELS_AGE_MAX: Duration = Duration::from_secs(30);

/// Cached labels of one namespace.
#[derive(Debug)]
struct CachedLabels {
    read: Instant,
    labels: BTreeMap<String, String>,
}

/// Cached labels by namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodSecurity(Arc<Mutex<HashMap<String, CachedLabels>>>);

impl PodSecurity {
    /// Returns the pod-security labels of a namespace.
    pub(crate) async fn of(&self, hub: &Client, namespace: &str) -> Result<BTreeMap<String, String>, HubError> {
        let all = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all().get(namespace)
            && known.read.elapsed() < LABELS_AGE_MAX
        {
            return Ok(known.labels.clone());
        }
        let failed = |source| HubError::Object { name: format!("namespace {namespace}"), source: Box::new(source) };
        let found = Api::<Namespace>::all(hub.clone()).get_metadata_opt(namespace).await.map_err(failed)?;
        let mut labels = found.and_then(|found| found.metadata.labels).unwrap_or_default();
        labels.retain(|key, _| key.starts_with(labels::POD_SECURITY));
        let mut all = all();
        all.retain(|_, known| known.read.elapsed() < LABELS_AGE_MAX);
        all.insert(namespace.to_owned(), CachedLabels { read: Instant::now(), labels: labels.clone() });
        Ok(labels)
    }
}

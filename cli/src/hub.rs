//! The hub's API, as far as the command line uses it.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use crds::{Application, Cell, Cluster, PlacementPolicy};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ListParams, Patch, PatchParams, ValidationDirective};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::WatchStreamExt;
use kube::runtime::wait::await_condition;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::{AppArg, Global};
use members::install::Owner;
use vocabulary::{HUB_RECORD, SYSTEM_NAMESPACE, chain};

use crate::failure::Failure;

/// Field manager of every write that this program makes to the hub.
pub(crate) const MANAGER: &str = "meridian-cli";

/// Timeout for one request to the hub. It does not apply to watches.
const ANSWER: Duration = Duration::from_secs(15);

/// Timeout for the operator to publish the identity of its installation.
///
/// The operator becomes leader within one lease duration of its start.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(20);

/// A connection to the hub.
#[derive(Clone)]
pub(crate) struct Hub {
    client: Client,
    namespace: String,
}

impl Hub {
    /// Reads the kubeconfig and builds a client. Sends no request.
    pub(crate) async fn open(flags: &Global) -> Result<Self, Failure> {
        let options = KubeConfigOptions { context: flags.hub_context.clone(), ..KubeConfigOptions::default() };
        let unusable = |error: kube::config::KubeconfigError| {
            Failure::Usage(format!(
                "the hub's kubeconfig cannot be used: {}; give --hub-kubeconfig FILE and, if it has several, --hub-context NAME",
                chain(&error)
            ))
        };
        let mut config = match &flags.hub_kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(unusable)?;
                Config::from_custom_kubeconfig(file, &options).await.map_err(unusable)?
            }
            None => Config::from_kubeconfig(&options).await.map_err(unusable)?,
        };
        config.connect_timeout = Some(Duration::from_secs(5));
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| Failure::hub("hub", &error))?;
        Ok(Self { client, namespace })
    }

    /// Returns the client, for kinds other than Meridian's.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns the namespace that the user gave, or else the namespace of the kubeconfig context.
    pub(crate) fn namespace(&self, asked: Option<&str>) -> String {
        asked.unwrap_or(&self.namespace).to_owned()
    }

    pub(crate) fn clusters(&self) -> Api<Cluster> {
        Api::all(self.client())
    }

    pub(crate) fn apps(&self, namespace: &str) -> Api<Application> {
        Api::namespaced(self.client(), namespace)
    }

    /// API of the Applications in all namespaces.
    pub(crate) fn every_app(&self) -> Api<Application> {
        Api::all(self.client())
    }

    /// Reads one cluster. Returns [`Failure::NotFound`] with the remedy if there is none of that name.
    pub(crate) async fn cluster(&self, name: &str) -> Result<Cluster, Failure> {
        let what = format!("cluster {name}");
        call(&what, self.clusters().get_opt(name)).await?.ok_or_else(|| {
            Failure::NotFound(format!(
                "{what}: not found; `meridian cluster list` shows the names, `meridian cluster join {name} --kubeconfig FILE --region REGION --zone ZONE` adds one"
            ))
        })
    }

    /// Reads one Application. Returns [`Failure::NotFound`] with the remedy if there is none of that name.
    pub(crate) async fn app(&self, namespace: &str, name: &str) -> Result<Application, Failure> {
        let what = format!("application {namespace}/{name}");
        call(&what, self.apps(namespace).get_opt(name))
            .await?
            .ok_or_else(|| Failure::NotFound(format!("{what}: not found; `meridian app list -A` shows all")))
    }

    /// Returns the installation of Meridian that a member joins under a name.
    ///
    /// The operator publishes the identity of its database as soon as it is the leader. On a hub that was just
    /// installed or rebuilt, this function waits for that, at most [`PUBLISHED_WITHIN`].
    pub(crate) async fn owner(&self, cluster: &str) -> Result<Owner, Failure> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client(), SYSTEM_NAMESPACE);
        let is_published =
            |map: Option<&ConfigMap>| map.and_then(|map| map.data.as_ref()?.get("installation")).is_some();
        let published = await_condition(maps.clone(), HUB_RECORD, is_published);
        // Without an operator the member records only the hub. Joining again later records the installation too.
        let _ = tokio::time::timeout(PUBLISHED_WITHIN, published).await;
        let published = call("the hub's installation", maps.get_opt(HUB_RECORD)).await?;
        let namespaces: Api<Namespace> = Api::all(self.client());
        let hub = call("namespace kube-system of the hub", namespaces.get("kube-system")).await?;
        let installation = published.and_then(|map| map.data?.remove("installation")).unwrap_or_default();
        Ok(Owner { installation, hub: hub.metadata.uid.unwrap_or_default(), cluster: cluster.to_owned() })
    }

    /// Reads all clusters, sorted by name.
    pub(crate) async fn all_clusters(&self) -> Result<Vec<Cluster>, Failure> {
        list("clusters", &self.clusters(), None).await
    }

    /// Reads all declared cells, sorted by name.
    pub(crate) async fn all_cells(&self) -> Result<Vec<Cell>, Failure> {
        list("cells", &Api::all(self.client()), None).await
    }

    /// Reads the Applications of one namespace or of all, sorted by namespace and name.
    pub(crate) async fn all_apps(
        &self,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<Application>, Failure> {
        let api = namespace.map_or_else(|| Api::all(self.client()), |namespace| self.apps(namespace));
        list("applications", &api, selector).await
    }

    /// Reads all placement policies of all namespaces.
    pub(crate) async fn all_policies(&self) -> Result<Vec<PlacementPolicy>, Failure> {
        list("placement policies", &Api::all(self.client()), None).await
    }

    /// Applies a merge patch to a cluster.
    pub(crate) async fn patch_cluster(&self, name: &str, patch: Value) -> Result<Cluster, Failure> {
        let api = self.clusters();
        call(&format!("cluster {name}"), api.patch(name, &changes(), &Patch::Merge(patch))).await
    }

    /// Sets one annotation of an Application by a merge patch.
    pub(crate) async fn annotate_app(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
        value: &str,
    ) -> Result<Application, Failure> {
        let patch = serde_json::json!({ "metadata": { "annotations": { key: value } } });
        let api = self.apps(namespace);
        call(&format!("application {namespace}/{name}"), api.patch(name, &changes(), &Patch::Merge(patch))).await
    }
}

/// Returns the namespace of an Application that only the server is asked about.
///
/// Without `--namespace`, the context of the hub's kubeconfig names it.
pub(crate) async fn namespace_of(
    app: &AppArg,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
) -> Result<String, Failure> {
    match &app.namespace {
        Some(namespace) => Ok(namespace.clone()),
        None => hub().await.map(|hub| hub.namespace(None)).map_err(|failure| {
            Failure::Usage(format!("the namespace is not known, give --namespace NAMESPACE: {failure}"))
        }),
    }
}

/// Parameters of a merge patch: strict field validation, with the field manager of this program.
fn changes() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::default()
    }
}

/// Sends one request, with a timeout of [`ANSWER`].
pub(crate) async fn call<T>(what: &str, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER, request).await {
        Ok(answer) => answer.map_err(|error| Failure::hub(what, &error)),
        Err(_) => Err(Failure::Unreachable(format!(
            "{what}: the hub did not answer within {} s; check --hub-kubeconfig and --hub-context",
            ANSWER.as_secs()
        ))),
    }
}

/// Reads all objects of a kind in pages, so that the size of a response does not grow with the fleet.
async fn list<K>(what: &str, api: &Api<K>, selector: Option<&str>) -> Result<Vec<K>, Failure>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().limit(500);
    if let Some(selector) = selector {
        params = params.labels(selector);
    }
    let mut all = Vec::new();
    loop {
        let page = call(what, api.list(&params)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// Watches one object until `step` returns a value. Returns `None` when `limit` has passed.
///
/// `step` receives `None` when the object does not exist.
pub(crate) async fn watch_until<K, T>(
    api: Api<K>,
    what: &str,
    name: &str,
    limit: Duration,
    mut step: impl FnMut(Option<K>) -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watch = async {
        let mut stream = pin!(watch_object(api, name).default_backoff());
        while let Some(seen) = stream.next().await {
            match seen {
                Ok(object) => {
                    if let Some(found) = step(object)? {
                        return Ok(Some(found));
                    }
                }
                Err(error) => refusal(what, &error)?,
            }
        }
        Ok(None)
    };
    tokio::time::timeout(limit, watch).await.unwrap_or(Ok(None))
}

/// Returns an error if the hub refuses the watch, and `Ok` if a retry can succeed.
pub(crate) fn refusal(what: &str, error: &watcher::Error) -> Result<(), Failure> {
    match error {
        watcher::Error::InitialListFailed(error @ kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(error @ kube::Error::Api(status))
            if matches!(status.code, 401 | 403 | 404) =>
        {
            Err(Failure::hub(what, error))
        }
        _ => Ok(()),
    }
}

//! The joining user's own access to a cluster, read from a kubeconfig.
//!
//! Exec plugins are allowed here, because they run on the user's own machine. Only address, trust and proxy are kept
//! afterwards. The user's credential never leaves this process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use kube::config::{Cluster, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::api_kind::{ApiKind, encode};
use crate::install::{InstallError, send};

/// Maximum number of objects in one page of a list.
const PAGE: u32 = 500;

/// A user's access to a cluster, and the settings by which Meridian reaches it later.
#[derive(Clone)]
pub struct AdminAccess {
    /// Client with the user's own credential.
    pub client: Client,
    /// URL of the API server.
    pub server: String,
    /// Certificate authorities, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Name that the server's certificate must carry, where it differs from the host.
    pub tls_server_name: Option<String>,
    /// Proxy through which the server is reached.
    pub proxy_url: Option<String>,
    /// Name of the kubeconfig context that was used.
    pub context: String,
}

impl std::fmt::Debug for AdminAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminAccess")
            .field("server", &self.server)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// Reason why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The file cannot be read or is not a kubeconfig.
    #[error("{}: {source}", path.display())]
    File {
        /// Path of the kubeconfig.
        path: PathBuf,
        /// Description of the problem.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The named context does not exist, or no context is current.
    #[error("{}: {message}", path.display())]
    Context {
        /// Path of the kubeconfig.
        path: PathBuf,
        /// Description of the problem, with the names of the contexts in the file.
        message: String,
    },
    /// The context turns off the check of certificates.
    #[error(
        "context {context} sets insecure-skip-tls-verify: Meridian never talks to a server it cannot identify; put the cluster's certificate authority into certificate-authority-data and remove the setting"
    )]
    Insecure {
        /// Name of the context.
        context: String,
    },
    /// The certificate authority cannot be read.
    #[error("context {context}: the certificate authority cannot be read: {message}")]
    Authority {
        /// Name of the context.
        context: String,
        /// Description of the problem.
        message: String,
    },
    /// The client cannot be built.
    #[error("context {context}: {source}")]
    Client {
        /// Name of the context.
        context: String,
        /// Description of the problem.
        source: Box<kube::Error>,
    },
}

/// Reads one context of a kubeconfig file; the current context where none is named.
pub async fn load(path: &Path, context: Option<&str>) -> Result<AdminAccess, AdminError> {
    let file = |source| AdminError::File { path: path.to_owned(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(file)?;
    let (context, cluster) =
        choose(&kubeconfig, context).map_err(|message| AdminError::Context { path: path.to_owned(), message })?;
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(AdminError::Insecure { context });
    }
    let ca_pem =
        authority(&cluster).await.map_err(|message| AdminError::Authority { context: context.clone(), message })?;
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(file)?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.default_retry = false;
    let client = Client::try_from(config)
        .map_err(|source| AdminError::Client { context: context.clone(), source: Box::new(source) })?;
    Ok(AdminAccess {
        client,
        server: cluster.server.unwrap_or_default(),
        ca_pem,
        tls_server_name: cluster.tls_server_name,
        proxy_url: cluster.proxy_url,
        context,
    })
}

/// Reads one object with the user's own credential; `None` when it does not exist.
pub async fn read(
    access: &AdminAccess,
    kind: &ApiKind,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, InstallError> {
    let request = http::Request::get(kind.object_path(namespace, name)).body(Vec::new());
    match send(&access.client, &format!("read {} {name}", kind.kind), request).await {
        Err(error) if error.is_not_found() => Ok(None),
        answer => answer.map(Some),
    }
}

/// Lists the objects of a namespace by label selector, with the user's own credential.
///
/// The list is read in pages. Each returned item carries its `apiVersion` and `kind`.
pub async fn list(
    access: &AdminAccess,
    kind: &ApiKind,
    namespace: &str,
    selector: &str,
) -> Result<Vec<Value>, InstallError> {
    let (what, path) = (format!("list {}", kind.plural), kind.namespace_path(namespace));
    let (mut items, mut token) = (Vec::new(), String::new());
    loop {
        let query = format!("{path}?limit={PAGE}&labelSelector={}&continue={}", encode(selector), encode(&token));
        let mut page = send(&access.client, &what, http::Request::get(query).body(Vec::new())).await?;
        if let Value::Array(found) = page["items"].take() {
            items.extend(found.into_iter().map(|mut item| {
                item["apiVersion"] = kind.api_version().into();
                item["kind"] = kind.kind.clone().into();
                item
            }));
        }
        page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
        if token.is_empty() {
            return Ok(items);
        }
    }
}

fn choose(kubeconfig: &Kubeconfig, wanted: Option<&str>) -> Result<(String, Cluster), String> {
    let names = || {
        let names: Vec<&str> = kubeconfig.contexts.iter().map(|c| c.name.as_str()).collect();
        names.join(", ")
    };
    let name = wanted
        .or(kubeconfig.current_context.as_deref().filter(|name| !name.is_empty()))
        .ok_or_else(|| format!("no context is current; choose one of: {}", names()))?;
    let context = kubeconfig
        .contexts
        .iter()
        .find(|context| context.name == name)
        .and_then(|context| context.context.as_ref())
        .ok_or_else(|| format!("there is no context {name}; there are: {}", names()))?;
    let cluster = kubeconfig
        .clusters
        .iter()
        .find(|cluster| cluster.name == context.cluster)
        .and_then(|cluster| cluster.cluster.clone())
        .ok_or_else(|| format!("context {name} names the cluster {}, which is not there", context.cluster))?;
    if cluster.server.as_deref().is_none_or(str::is_empty) {
        return Err(format!("the cluster of context {name} has no server"));
    }
    Ok((name.to_owned(), cluster))
}

async fn authority(cluster: &Cluster) -> Result<Option<Vec<u8>>, String> {
    if let Some(data) = &cluster.certificate_authority_data {
        let data: String = data.split_whitespace().collect();
        let pem = base64::engine::general_purpose::STANDARD.decode(data).map_err(|error| error.to_string())?;
        return Ok(Some(pem));
    }
    // Reading the kubeconfig has made the file's path absolute.
    match &cluster.certificate_authority {
        None => Ok(None),
        Some(path) => tokio::fs::read(path).await.map(Some).map_err(|error| format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
apiVersion: v1
kind: Config
current-context: north
contexts:
- {name: north, context: {cluster: n, user: me}}
- {name: south, context: {cluster: s, user: me}}
- {name: lost, context: {cluster: nowhere, user: me}}
clusters:
- {name: n, cluster: {server: 'https://n:6443', certificate-authority-data: 'Q0E=', proxy-url: 'http://p:3128', tls-server-name: api}}
- {name: s, cluster: {server: 'https://s:6443', insecure-skip-tls-verify: true}}
users:
- {name: me, user: {token: t}}
";

    #[tokio::test]
    async fn the_chosen_context_decides_address_trust_and_proxy() {
        let kubeconfig = Kubeconfig::from_yaml(FILE).unwrap();
        let (name, cluster) = choose(&kubeconfig, None).unwrap();
        assert_eq!((name.as_str(), cluster.server.as_deref()), ("north", Some("https://n:6443")));
        assert_eq!(cluster.proxy_url.as_deref(), Some("http://p:3128"));
        assert_eq!(cluster.tls_server_name.as_deref(), Some("api"));
        assert_eq!(authority(&cluster).await.unwrap().as_deref(), Some(&b"CA"[..]));
        for (wanted, says) in [("west", "north, south, lost"), ("lost", "nowhere")] {
            let message = choose(&kubeconfig, Some(wanted)).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }

    #[tokio::test]
    async fn unchecked_certificates_are_refused_with_the_remedy() {
        let folder = std::env::temp_dir().join(format!("meridian-admin-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("config");
        std::fs::write(&path, FILE).unwrap();
        let error = load(&path, Some("south")).await.unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(error.to_string().contains("certificate-authority-data"), "{error}");
    }
}

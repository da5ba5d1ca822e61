//! Opens TLS connections to a URL: directly, through HTTP CONNECT, or through SOCKS5.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use http::{HeaderValue, Uri};
use hyper_rustls::{
    ConfigBuilderExt, FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream,
};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tower::{Service, ServiceExt};
use url::Url;

use crate::config::MemberConfig;
use crate::error::ConfigPart;

/// Route by which the TCP stream is opened.
#[derive(Clone)]
enum Route {
    Straight(HttpConnector),
    Connect(Tunnel<HttpConnector>),
    Socks(SocksV5<HttpConnector>),
}

impl Route {
    fn new(proxy_url: Option<&str>, connect_timeout: Duration) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        tcp.set_connect_timeout(Some(connect_timeout));
        let Some(text) = proxy_url else {
            return Ok(Self::Straight(tcp));
        };
        let (proxy, user) = split_user(text)?;
        match (proxy.scheme_str(), user) {
            (Some("http"), None) => Ok(Self::Connect(Tunnel::new(proxy, tcp))),
            (Some("http"), Some((user, password))) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                let header = HeaderValue::from_str(&format!("Basic {encoded}"))
                    .map_err(|_| "the proxy's user cannot be sent".to_owned())?;
                Ok(Self::Connect(Tunnel::new(proxy, tcp).with_auth(header)))
            }
            // The proxy resolves the name, because it may resolve names that this machine cannot.
            (Some("socks5"), None) => Ok(Self::Socks(SocksV5::new(proxy, tcp))),
            (Some("socks5"), Some((user, password))) => {
                Ok(Self::Socks(SocksV5::new(proxy, tcp).with_auth(user, password)))
            }
            _ => Err("proxy-url must begin with http:// or socks5://".into()),
        }
    }

    async fn open(self, to: Uri) -> io::Result<TokioIo<TcpStream>> {
        match self {
            Self::Straight(tcp) => tcp.oneshot(to).await.map_err(io::Error::other),
            Self::Connect(tunnel) => tunnel.oneshot(to).await.map_err(io::Error::other),
            Self::Socks(socks) => socks.oneshot(to).await.map_err(io::Error::other),
        }
    }
}

type Opening<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Service<Uri> for Route {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Opening<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().open(to))
    }
}

/// Connector of a hyper client.
///
/// The timeout covers TCP, proxy and TLS together, because a stopped server still accepts TCP.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<Route>,
    within: Duration,
}

impl Connector {
    pub(super) fn new(config: &MemberConfig) -> Result<Self, (ConfigPart, String)> {
        let within = config.limits.connect_timeout;
        let of = |part: ConfigPart| move |message: String| (part, message);
        let route = Route::new(config.proxy_url.as_deref(), within).map_err(of(ConfigPart::Proxy))?;
        let tls = tls_config(config).map_err(of(ConfigPart::Authority))?;
        let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
        if let Some(name) = server_name(config).map_err(of(ConfigPart::TlsServerName))? {
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        Ok(Self { https: builder.enable_all_versions().wrap_connector(route), within })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = io::Error;
    type Future = Opening<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let within = self.within;
        let opening = self.https.call(to);
        Box::pin(async move {
            match tokio::time::timeout(within, opening).await {
                Ok(result) => result.map_err(io::Error::other),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {} ms", within.as_millis()),
                )),
            }
        })
    }
}

/// Checks the configuration as far as possible without a connection.
///
/// The check reads nothing of this machine.
pub(super) fn check(config: &MemberConfig) -> Result<(), (ConfigPart, String)> {
    Route::new(config.proxy_url.as_deref(), config.limits.connect_timeout)
        .map_err(|message| (ConfigPart::Proxy, message))?;
    if let Some(pem) = &config.ca_pem {
        authorities(pem).map_err(|message| (ConfigPart::Authority, message))?;
    }
    server_name(config).map_err(|message| (ConfigPart::TlsServerName, message))?;
    Ok(())
}

/// Trusts only the given authorities, or those of this machine where none are given.
fn tls_config(config: &MemberConfig) -> Result<rustls::ClientConfig, String> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let Some(pem) = &config.ca_pem else {
        let builder = builder.with_native_roots().map_err(|error| {
            format!("no certificate authority is configured and this machine's cannot be read: {error}")
        })?;
        return Ok(builder.with_no_client_auth());
    };
    Ok(builder.with_root_certificates(authorities(pem)?).with_no_client_auth())
}

fn authorities(pem: &[u8]) -> Result<rustls::RootCertStore, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("the certificate authority is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("the certificate authority is not usable: {error}"))?;
    }
    if roots.is_empty() {
        return Err("the certificate authority holds no certificate".into());
    }
    Ok(roots)
}

/// Name that the server's certificate must carry, where one is configured.
fn server_name(config: &MemberConfig) -> Result<Option<ServerName<'static>>, String> {
    let Some(name) = &config.tls_server_name else {
        return Ok(None);
    };
    ServerName::try_from(name.clone())
        .map(Some)
        .map_err(|_| format!("tls-server-name {name:?} is neither a DNS name nor an address"))
}

type User = (String, String);

/// Takes `user:password@` out of a proxy URL and undoes its percent-encoding.
fn split_user(text: &str) -> Result<(Uri, Option<User>), String> {
    let refuse = || "proxy-url is not a URL".to_owned();
    let url = Url::parse(text).map_err(|_| refuse())?;
    let host = url.host_str().ok_or_else(refuse)?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let uri = format!("{}://{host}{port}", url.scheme()).parse().map_err(|_| refuse())?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let has_user = !url.username().is_empty() || url.password().is_some();
    let user = has_user.then(|| (decode(url.username()), decode(url.password().unwrap_or_default())));
    Ok((uri, user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_user_is_taken_out_and_decoded() {
        let (uri, user) = split_user("http://joe:p%40ss%3Aword@proxy:3128/").unwrap();
        assert_eq!(uri, "http://proxy:3128/");
        assert_eq!(user, Some(("joe".into(), "p@ss:word".into())));
        for (case, text, uri, user) in [
            ("an address", "socks5://[::1]:1080", "socks5://[::1]:1080", None),
            ("a user alone", "http://joe@proxy:3128", "http://proxy:3128", Some(("joe", ""))),
            ("a percent sign that encodes nothing", "http://a:50%@proxy:1", "http://proxy:1", Some(("a", "50%"))),
            ("the usual port", "http://proxy:80", "http://proxy", None),
        ] {
            let (found, who) = split_user(text).unwrap();
            assert_eq!(found, uri.parse::<Uri>().unwrap(), "{case}");
            assert_eq!(who, user.map(|(name, password)| (name.to_owned(), password.to_owned())), "{case}");
        }
    }

    #[test]
    fn other_proxies_are_refused_in_words() {
        for url in ["https://proxy:1", "ftp://x", "proxy:3128"] {
            assert!(Route::new(Some(url), Duration::from_secs(1)).is_err(), "{url}");
        }
    }
}

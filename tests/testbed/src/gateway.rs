//! A gateway in front of an API server that can disturb requests depending on their kind.
//!
//! The gateway presents the plane's own serving certificate, so clients do not notice it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::plane::Plane;
use crate::process::free_ports;

/// Treatment of requests by a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayMode {
    /// Requests pass.
    Pass,
    /// Watches deliver no more events, including the open ones. All other requests pass.
    HoldWatches,
    /// New requests are answered with 429 and this `Retry-After`, in whole seconds. Open watches continue.
    Throttle(Duration),
    /// New requests are delayed by this duration.
    Delay(Duration),
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// A gateway that listens on 127.0.0.1. Dropping the gateway ends it.
#[derive(Debug)]
pub struct Gateway {
    port: u16,
    mode: watch::Sender<GatewayMode>,
    throttled: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// State that every request needs.
#[derive(Clone)]
struct Front {
    client: Client<HttpsConnector<HttpConnector>, Incoming>,
    server: u16,
    mode: watch::Receiver<GatewayMode>,
    throttled: Arc<AtomicUsize>,
}

impl Gateway {
    /// Starts a gateway that passes all requests to a plane's API server.
    ///
    /// The runtime must run for as long as the gateway is used.
    ///
    /// # Errors
    /// If the plane's keys cannot be read, or no port is free.
    pub async fn before(plane: &Plane) -> anyhow::Result<Self> {
        // Fails only if a provider is already installed, and then that provider is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = plane.folder();
        let certificates = CertificateDer::pem_file_iter(folder.join("apiserver.crt"))?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(folder.join("apiserver.key"))?;
        let mut tls = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("ca.crt"))?)?;
        let trust = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(trust).https_only().enable_all_versions().build();
        let (mode, seen) = watch::channel(GatewayMode::Pass);
        let throttled = Arc::new(AtomicUsize::new(0));
        let front = Front {
            client: Client::builder(TokioExecutor::new()).build(connector),
            server: plane.port(),
            mode: seen,
            throttled: Arc::clone(&throttled),
        };
        let [port] = free_ports()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("listening")?;
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), front));
        Ok(Self { port, mode, throttled, task })
    }

    /// Port that the gateway listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Number of requests that were answered with 429 so far.
    pub fn throttled(&self) -> usize {
        self.throttled.load(Ordering::Relaxed)
    }

    /// Disturbs requests, or restores the gateway with [`GatewayMode::Pass`].
    pub fn set(&self, mode: GatewayMode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, front: Front) {
    // The connections end together with this task, which owns the set.
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (tls, front) = (tls.clone(), front.clone());
                open.spawn(async move {
                    // A client that disconnects early is no error of the gateway.
                    let _ = connection(stream, tls, front).await;
                });
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, front: Front) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(answer(front, request).await) }
    });
    let stream = TokioIo::new(stream);
    if http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await?;
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await?;
    }
    Ok(())
}

async fn answer(front: Front, mut request: Request<Incoming>) -> Response<Body> {
    let mode = *front.mode.borrow();
    match mode {
        GatewayMode::Pass | GatewayMode::HoldWatches => {}
        GatewayMode::Throttle(retry_after) => {
            front.throttled.fetch_add(1, Ordering::Relaxed);
            return throttled(retry_after);
        }
        GatewayMode::Delay(late) => tokio::time::sleep(late).await,
    }
    let watches = is_watch(request.uri());
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    match format!("https://127.0.0.1:{}{path}", front.server).parse() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(error) => return failure(&format!("{error}")),
    }
    // The connection to the API server negotiates its own HTTP version.
    *request.version_mut() = http::Version::default();
    request.headers_mut().remove(header::HOST);
    match front.client.request(request).await {
        Ok(response) if watches => response.map(|body| held(body, front.mode)),
        Ok(response) => response.map(BodyExt::boxed_unsync),
        Err(error) => failure(&error.to_string()),
    }
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|part| matches!(part, "watch=true" | "watch=1")))
}

/// Passes the events of a watch, and holds them back while watches are held.
fn held(body: Incoming, mode: watch::Receiver<GatewayMode>) -> Body {
    let frames = stream::try_unfold((body, mode), |(mut body, mut mode)| async move {
        let Some(frame) = body.frame().await else { return Ok(None) };
        let frame: Frame<Bytes> = frame?;
        // An error means that the gateway has ended, and its connections end with it.
        let _ = mode.wait_for(|mode| *mode != GatewayMode::HoldWatches).await;
        Ok::<_, hyper::Error>(Some((frame, (body, mode))))
    });
    BodyExt::boxed_unsync(StreamBody::new(frames.into_stream().boxed()))
}

fn throttled(retry_after: Duration) -> Response<Body> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "TooManyRequests", "code": 429,
        "message": "Too many requests, please try again later.",
        "details": {"retryAfterSeconds": retry_after.as_secs()},
    });
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "application/json", status.to_string());
    response.headers_mut().insert(header::RETRY_AFTER, retry_after.as_secs().into());
    response
}

fn failure(why: &str) -> Response<Body> {
    plain(StatusCode::BAD_GATEWAY, "text/plain", why.to_owned())
}

fn plain(status: StatusCode, type_: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(type_));
    response
}

//! Serves all members behind one TLS and HTTP/2 listener.
//!
//! `/members/NAME/…` is the API of member NAME. `/control/…` is for the program that measures.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::answers::{self, KINDS, Kind, failure};
use crate::collection::{Key, Selector};
use crate::member::{Member, Refusal};
use crate::watch;

/// Maximum number of concurrent streams of a connection.
const STREAMS: u32 = 1000;
/// Maximum number of items in a list response when the request gives no limit.
const PAGE: usize = 500;

/// Size and place of the simulation.
#[derive(Debug, Clone)]
pub struct Config {
    /// Number of members.
    pub members: usize,
    /// Number of zones; the members are assigned to the zones in turn.
    pub zones: usize,
    /// Port on 127.0.0.1; 0 selects any free port.
    pub port: u16,
}

/// Running simulated members; dropping the value ends them.
#[derive(Debug)]
pub struct Simulation {
    /// Certificate, in PEM, of the authority that signed the listener's certificate.
    pub ca_pem: String,
    /// Port of the listener.
    pub port: u16,
    members: Arc<BTreeMap<String, Member>>,
    _tasks: JoinSet<()>,
}

/// Returns the name of the member with this number.
pub fn member_name(number: usize) -> String {
    format!("sim-{number:04}")
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Simulation {
    /// Starts to serve all members.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let members: BTreeMap<String, Member> = (0..config.members)
            .map(|number| {
                let name = member_name(number);
                (name.clone(), Member::new(&name, &format!("z{}", number % config.zones.max(1))))
            })
            .collect();
        let members = Arc::new(members);
        let (ca_pem, tls) = certificates()?;
        let listener = TcpListener::bind(("127.0.0.1", config.port)).await?;
        let port = listener.local_addr()?.port();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&members)));
        Ok(Self { ca_pem, port, members, _tasks: tasks })
    }

    /// Returns the URL of a member's API.
    pub fn server(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/members/{name}", self.port)
    }

    /// Returns a member by its name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }
}

fn certificates() -> anyhow::Result<(String, rustls::ServerConfig)> {
    let ca_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "simulated members");
    let ca_pem = params.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate()?;
    let own = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?.signed_by(&key, &issuer)?;
    let chain = vec![CertificateDer::from(own.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| anyhow::anyhow!("{error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((ca_pem, config))
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, members: Arc<BTreeMap<String, Member>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (tls, members) = (tls.clone(), Arc::clone(&members));
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let members = Arc::clone(&members);
                async move { Ok::<_, Infallible>(answer(&members, request).await) }
            });
            // An error of a connection needs no handling here, because the client notices the broken connection.
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(STREAMS)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(members: &BTreeMap<String, Member>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if let Some(control) = path.strip_prefix("/control/") {
        return control_of(members, control);
    }
    let found = path.strip_prefix("/members/").and_then(|rest| rest.split_once('/'));
    let Some((member, rest)) = found.and_then(|(name, rest)| Some((members.get(name)?, rest))) else {
        return refused(&Refusal::new(404, "NotFound", "there is no such member"));
    };
    match api(member, rest, request).await {
        Ok(response) => response,
        Err(refusal) => refused(&refusal),
    }
}

/// Serves `writes`: the writes of each member since the last call.
///
/// Each write has the name of its object and its time in microseconds since 1970. Members without writes are left out.
fn control_of(members: &BTreeMap<String, Member>, path: &str) -> Response<Body> {
    if path != "writes" {
        return refused(&Refusal::new(404, "NotFound", "there is no such control"));
    }
    let micros = |at: SystemTime| {
        at.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    };
    let writes: BTreeMap<&str, Vec<Value>> = members
        .iter()
        .map(|(name, member)| (name.as_str(), member.take_writes()))
        .filter(|(_, writes)| !writes.is_empty())
        .map(|(name, writes)| {
            (name, writes.into_iter().map(|one| json!({"name": one.name, "at": micros(one.at)})).collect())
        })
        .collect();
    json_answer(200, json!(writes).to_string().into())
}

async fn api(member: &Member, path: &str, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let query = Query::of(request.uri().query().unwrap_or_default());
    let method = request.method().clone();
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match (&method, parts.as_slice()) {
        (_, ["readyz"]) => return Ok(json_answer(200, "ok".into())),
        (_, ["version"]) => return Ok(json_answer(200, answers::version().to_string().into())),
        (_, ["api"]) => return Ok(json_answer(200, answers::discovery(true).to_string().into())),
        (_, ["apis"]) => return Ok(json_answer(200, answers::discovery(false).to_string().into())),
        (&Method::POST, [.., "selfsubjectrulesreviews"]) => {
            return Ok(json_answer(201, answers::rules().to_string().into()));
        }
        (&Method::POST, [.., "token"]) => {
            let asked = body(request).await?["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
            return Ok(json_answer(201, answers::token(asked).to_string().into()));
        }
        _ => {}
    }
    let Some((kind, namespace, name)) = target(&parts) else {
        return Err(Refusal::new(404, "NotFound", "the simulated member does not serve this"));
    };
    let Some(name) = name else {
        return match method {
            Method::GET if query.get("watch").is_some() => Ok(watching(member, kind, &query)),
            Method::GET => Ok(json_answer(200, list(member, kind, &query)?)),
            Method::POST => Ok(json_answer(201, member.create(kind, body(request).await?)?)),
            _ => Err(Refusal::new(405, "MethodNotAllowed", "a collection takes GET and POST")),
        };
    };
    let key: Key = (namespace, name);
    match method {
        Method::GET => Ok(json_answer(200, member.get(kind, &key)?)),
        Method::PATCH if content_type.starts_with("application/apply-patch") => {
            let new = body(request).await?;
            Ok(json_answer(200, member.apply(kind, &key, &new)?))
        }
        Method::PATCH => {
            let patch = body(request).await?;
            Ok(json_answer(200, member.merge(kind, &key, &patch)?))
        }
        Method::DELETE => {
            let options = body(request).await?;
            member.delete(kind, &key, &options["preconditions"])?;
            Ok(json_answer(200, json!({"kind": "Status", "status": "Success"}).to_string().into()))
        }
        _ => Err(Refusal::new(405, "MethodNotAllowed", "an object takes GET, PATCH and DELETE")),
    }
}

/// Parses kind, namespace and name from a path below `/api/v1` or `/apis/GROUP/v1`.
fn target(parts: &[&str]) -> Option<(Kind, String, Option<String>)> {
    let (group, rest) = match parts {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, "v1", rest @ ..] => (*group, rest),
        _ => return None,
    };
    let kind_of = |plural: &str| KINDS.iter().copied().find(|kind| kind.group == group && kind.plural == plural);
    match rest {
        ["namespaces", namespace, plural] => Some((kind_of(plural)?, (*namespace).to_owned(), None)),
        ["namespaces", namespace, plural, name] => {
            Some((kind_of(plural)?, (*namespace).to_owned(), Some((*name).to_owned())))
        }
        [plural] => Some((kind_of(plural)?, String::new(), None)),
        [plural, name] => Some((kind_of(plural)?, String::new(), Some((*name).to_owned()))),
        _ => None,
    }
}

fn selector(query: &Query) -> Selector {
    let given = |name| query.get(name).unwrap_or_default();
    Selector::parse(given("labelSelector"), given("fieldSelector"))
}

fn list(member: &Member, kind: Kind, query: &Query) -> Result<Bytes, Refusal> {
    let selector = selector(query);
    let limit = query.get("limit").and_then(|text| text.parse().ok()).filter(|limit| *limit > 0).unwrap_or(PAGE);
    let after = match query.get("continue").filter(|token| !token.is_empty()) {
        None => None,
        Some(token) => {
            let (namespace, name) = token
                .split_once('/')
                .ok_or_else(|| Refusal::new(400, "BadRequest", "continue is not a token of ours"))?;
            Some((namespace.to_owned(), name.to_owned()))
        }
    };
    let (items, revision, next) = member.list(kind, &selector, after.as_ref(), limit);
    let next = next.map(|(namespace, name)| format!("{namespace}/{name}")).unwrap_or_default();
    let head = format!(
        r#"{{"kind":"{}List","apiVersion":"{}","metadata":{{"resourceVersion":"{revision}","continue":"{next}"}},"items":["#,
        kind.name,
        kind.api_version()
    );
    let mut text = head.into_bytes();
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            text.push(b',');
        }
        text.extend_from_slice(item);
    }
    text.extend_from_slice(b"]}");
    Ok(text.into())
}

fn watching(member: &Member, kind: Kind, query: &Query) -> Response<Body> {
    let selector = selector(query);
    let revision = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    let life = query.get("timeoutSeconds").and_then(|text| text.parse().ok()).unwrap_or(60);
    let lines = watch::lines(member.clone(), kind, selector, revision, Duration::from_secs(life));
    let body = StreamBody::new(lines.map(|line| Ok(Frame::data(line))));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

async fn body(request: Request<Incoming>) -> Result<Value, Refusal> {
    let bad = |error: &dyn std::fmt::Display| Refusal::new(400, "BadRequest", error.to_string());
    let bytes = request.into_body().collect().await.map_err(|error| bad(&error))?.to_bytes();
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|error| bad(&error))
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let body = failure(refusal.code, refusal.reason, &refusal.message).to_string();
    json_answer(refusal.code, body.into())
}

fn json_answer(code: u16, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// A percent-decoded query.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Self {
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (key.to_owned(), decode(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

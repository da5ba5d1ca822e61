//! A small control plane: etcd, kube-apiserver and kube-controller-manager on 127.0.0.1.
//!
//! The plane has Meridian's objects installed, as after `join`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use kube::Client;
use members::install::{self, Installation, Profile};
use members::{Limits, Member, MemberConfig, admin};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use testbed::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OnceCell;

/// Timeout for the start of an API server.
const READY_TIMEOUT: Duration = Duration::from_mins(2);
/// Timeout for each condition of a test.
pub(crate) const SOON: Duration = Duration::from_mins(1);

static SHARED: OnceCell<Plane> = OnceCell::const_new();
static PLANES: AtomicU32 = AtomicU32::new(0);

/// A running control plane; its processes end with this process at the latest.
pub(crate) struct Plane {
    folder: PathBuf,
    tools: PathBuf,
    port: u16,
    etcd_port: u16,
    api: Mutex<Process>,
    others: Vec<Process>,
    access: OnceCell<admin::AdminAccess>,
}

/// A server process under a supervisor.
///
/// The supervisor kills the server when its standard input closes, so also when this process is killed.
struct Process {
    supervisor: Child,
    pid: String,
}

impl Process {
    fn start(folder: &Path, program: &Path, arguments: &[String]) -> Self {
        let name = program.file_name().unwrap().to_string_lossy().into_owned();
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log"))).unwrap();
        // The store ends with the plane. The supervisor then deletes the folder, even where no destructor runs.
        let script = match name.as_str() {
            "etcd" => r#""$@" >&2 </dev/null & echo $!; cat >/dev/null; kill -9 $!; wait; rm -rf "$PWD""#,
            _ => r#""$@" >&2 </dev/null & echo $!; cat >/dev/null; kill -9 $!; wait"#,
        };
        let mut supervisor = Command::new("setsid")
            .args(["sh", "-c", script, "supervisor"])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut pid = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        Self { supervisor, pid: pid.trim().to_owned() }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid]).status().unwrap().success());
    }
}

impl Process {
    fn stop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Plane {
    /// Returns the plane shared by tests that leave it unchanged.
    pub(crate) async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::own).await
    }

    /// Starts a plane for a single test.
    pub(crate) async fn own() -> Self {
        let number = PLANES.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("meridian-members-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools/build.sh");
        let built = Command::new(script).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let tools = PathBuf::from(String::from_utf8(built.stdout).unwrap().trim());
        let [port, etcd_port, peer_port, manager_port] = free_ports();
        certificates(&folder);
        kubeconfig(&folder, "admin", port);
        kubeconfig(&folder, "manager", port);

        let etcd = Process::start(
            &folder,
            &tools.join("etcd"),
            &arguments(&format!(
                "--name n --data-dir etcd --listen-client-urls http://127.0.0.1:{etcd_port} --advertise-client-urls http://127.0.0.1:{etcd_port} \
                 --listen-peer-urls http://127.0.0.1:{peer_port} --initial-advertise-peer-urls http://127.0.0.1:{peer_port} \
                 --initial-cluster n=http://127.0.0.1:{peer_port} --unsafe-no-fsync --log-level=error"
            )),
        );
        let api = Self::start_api(&folder, &tools, port, etcd_port);
        let mut plane =
            Self { folder, tools, port, etcd_port, api: Mutex::new(api), others: vec![etcd], access: OnceCell::new() };
        plane.ready().await;
        plane.others.push(Process::start(
            &plane.folder,
            &plane.tools.join("kube-controller-manager"),
            &arguments(&format!(
                "--kubeconfig=manager.kubeconfig --authentication-kubeconfig=manager.kubeconfig --authorization-kubeconfig=manager.kubeconfig \
                 --bind-address=127.0.0.1 --secure-port={manager_port} --leader-elect=false --use-service-account-credentials=true \
                 --service-account-private-key-file=sa.key --root-ca-file=ca.crt"
            )),
        ));
        let access = admin::load(&plane.folder.join("admin.kubeconfig"), None).await.unwrap();
        let installation = Installation::new(&[Profile::Deploy]);
        install::apply(&access.client, &installation).await.unwrap();
        plane.rights_aggregated(&access.client).await;
        plane.access.set(access).ok().unwrap();
        plane
    }

    fn start_api(folder: &Path, tools: &Path, port: u16, etcd_port: u16) -> Process {
        let flags = format!(
            "--etcd-servers=http://127.0.0.1:{etcd_port} --bind-address=127.0.0.1 --secure-port={port} --advertise-address=192.0.2.1 \
             --endpoint-reconciler-type=none --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt \
             --authorization-mode=Node,RBAC --service-cluster-ip-range=10.96.0.0/16 --profiling=false \
             --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=sa.pub \
             --service-account-signing-key-file=sa.key --etcd-compaction-interval=1s"
        );
        Process::start(folder, &tools.join("kube-apiserver"), &arguments(&flags))
    }

    async fn ready(&self) {
        let ready = eventually("the API server is ready", READY_TIMEOUT, async || {
            let access = admin::load(&self.folder.join("admin.kubeconfig"), None).await.unwrap();
            let request = Request::get("/readyz").body(Vec::new()).unwrap();
            Ok(access.client.request_text(request).await.map(Some)?)
        });
        if let Err(error) = ready.await {
            let log = std::fs::read_to_string(self.folder.join("kube-apiserver.log")).unwrap_or_default();
            let from = log.len().saturating_sub(3000);
            panic!("{error:#}: …{}", log.get(from..).unwrap_or_default());
        }
    }

    /// Waits until the member's controller fills in the aggregated role, shortly after its creation.
    async fn rights_aggregated(&self, client: &Client) {
        let filled = eventually("the role is aggregated", SOON, async || {
            let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/meridian:deploy";
            let role: Value = client.request(Request::get(path).body(Vec::new()).unwrap()).await.unwrap();
            Ok(role["rules"].as_array().is_some_and(|rules| !rules.is_empty()).then_some(()))
        });
        filled.await.unwrap();
    }

    /// Returns a client with the admin's rights, for this test's own runtime.
    pub(crate) async fn client(&self) -> Client {
        admin::load(&self.folder.join("admin.kubeconfig"), None).await.unwrap().client
    }

    /// Returns address, trust and a fresh token.
    pub(crate) async fn config(&self) -> MemberConfig {
        let access = self.access.get().unwrap();
        let issued = install::issue_token(&self.client().await, Duration::from_hours(1)).await.unwrap();
        MemberConfig {
            name: "north".parse().unwrap(),
            server: access.server.clone(),
            ca_pem: access.ca_pem.clone(),
            tls_server_name: access.tls_server_name.clone(),
            proxy_url: access.proxy_url.clone(),
            token: issued.token,
            limits: Limits::default(),
        }
    }

    /// Returns a member with default limits, after the API server's caches have its rights.
    pub(crate) async fn member(&self) -> Member {
        let member = Member::connect(&self.config().await).unwrap();
        let allowed = eventually("all kinds are deliverable", SOON, async || {
            let access = member.permissions(&install::deliverable_kinds()).await.unwrap();
            Ok(access.iter().all(members::KindAccess::deliverable).then_some(()))
        });
        allowed.await.unwrap();
        member
    }

    /// Sends a request as the admin; the error is the API server's message.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let content = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content)
            .body(serde_json::to_vec(body).unwrap())
            .unwrap();
        self.client().await.request(request).await.map_err(|error| error.to_string())
    }

    /// Reads as the admin until the object or list satisfies `wanted`.
    pub(crate) async fn eventually(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let client = self.client().await;
        let seen = eventually(path, SOON, async || {
            let value: Value = client.request(Request::get(path).body(Vec::new()).unwrap()).await.unwrap();
            Ok(wanted(&value).then_some(value))
        });
        seen.await.unwrap()
    }

    /// Suspends the API server's process, which then accepts connections and answers nothing.
    pub(crate) fn freeze(&self) {
        self.api.lock().unwrap().signal("-STOP");
    }

    /// Resumes the API server's process.
    pub(crate) fn thaw(&self) {
        self.api.lock().unwrap().signal("-CONT");
    }

    /// Kills and restarts the API server, which then no longer has old versions.
    pub(crate) async fn restart_forgetting_history(&self) {
        {
            let mut api = self.api.lock().unwrap();
            // Waits until the process has ended, because the next process needs the port.
            api.stop();
            *api = Self::start_api(&self.folder, &self.tools, self.port, self.etcd_port);
        }
        self.ready().await;
    }
}

fn arguments(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All listeners are held together, so that the ports differ.
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn certificates(folder: &Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "ca");
    let certificate = authority.self_signed(&authority_key).unwrap();
    std::fs::write(folder.join("ca.crt"), certificate.pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    for (file, name, group) in [
        ("apiserver", "kube-apiserver", ""),
        ("admin", "admin", "system:masters"),
        ("manager", "system:kube-controller-manager", ""),
    ] {
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned(), "kubernetes".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if !group.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        let signed = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{file}.crt")), signed.pem()).unwrap();
        std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
    let tokens = KeyPair::generate().unwrap();
    std::fs::write(folder.join("sa.key"), tokens.serialize_pem()).unwrap();
    std::fs::write(folder.join("sa.pub"), tokens.public_key_pem()).unwrap();
}

fn kubeconfig(folder: &Path, user: &str, port: u16) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: ca.crt}}}}]\n\
         users: [{{name: u, user: {{client-certificate: {user}.crt, client-key: {user}.key}}}}]\n"
    );
    std::fs::write(folder.join(format!("{user}.kubeconfig")), text).unwrap();
}

/// Returns a certificate authority that signed nothing.
pub(crate) fn another_authority() -> Vec<u8> {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.self_signed(&KeyPair::generate().unwrap()).unwrap().pem().into_bytes()
}

/// An HTTP proxy that supports only CONNECT, and records the requests.
pub(crate) struct ConnectProxy {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let asked = heads.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let asked = asked.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(near.read_u8().await.unwrap());
                    }
                    let head = String::from_utf8(head).unwrap();
                    let target = head.split(' ').nth(1).unwrap().to_owned();
                    asked.lock().unwrap().push(head);
                    let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, heads }
    }
}

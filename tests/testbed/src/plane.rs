//! One control plane.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use crate::audit::AuditLog;
use crate::bed::MemberSpec;
use crate::pki;
use crate::process::{Process, free_ports};
use crate::wait::eventually;

const START: Duration = Duration::from_mins(2);

/// One of a plane's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlaneProcess {
    /// kube-apiserver.
    Api,
    /// kube-controller-manager.
    Manager,
    /// kube-scheduler; members only.
    Scheduler,
    /// kwok, the simulated nodes; members only.
    Nodes,
}

/// A running control plane.
#[derive(Debug)]
pub struct Plane {
    name: String,
    folder: PathBuf,
    port: u16,
    processes: Vec<(PlaneProcess, Process)>,
}

impl Plane {
    /// Starts a plane on an etcd. A plane with a `MemberSpec` has a scheduler and simulated nodes.
    pub(crate) async fn start(
        tools: &Path,
        folder: &Path,
        name: &str,
        etcd_port: u16,
        member: Option<&MemberSpec>,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let [port, manager, scheduler, nodes] = free_ports()?;
        let (keys, at) = (folder.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || {
            pki::write(&keys)?;
            ["admin", "manager", "scheduler", "nodes", "bed"]
                .iter()
                .try_for_each(|user| pki::kubeconfig(&keys, &at, user, port))
        })
        .await??;
        let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("stages");
        let mut api = Process::new("kube-apiserver", &tools.join("kube-apiserver"), &folder).arguments(&format!(
            "--etcd-servers=http://127.0.0.1:{etcd_port} --etcd-prefix=/{name} --bind-address=127.0.0.1 --secure-port={port} \
             --advertise-address=192.0.2.1 --endpoint-reconciler-type=none --authorization-mode=Node,RBAC \
             --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt \
             --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true --profiling=false \
             --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=sa.pub \
             --service-account-signing-key-file=sa.key --requestheader-client-ca-file=front-proxy-ca.crt \
             --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User \
             --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
             --proxy-client-cert-file=front-proxy-client.crt --proxy-client-key-file=front-proxy-client.key \
             --audit-log-path=audit.log --audit-log-mode=blocking --audit-policy-file={}",
            stages.join("audit.yaml").display()
        ));
        api.start()?;
        let mut plane = Self { name: name.to_owned(), folder, port, processes: vec![(PlaneProcess::Api, api)] };
        plane.ready().await?;
        plane.add(
            PlaneProcess::Manager,
            plane.server(tools, "kube-controller-manager").arguments(&format!(
                "--kubeconfig=manager.kubeconfig --authentication-kubeconfig=manager.kubeconfig \
                 --authorization-kubeconfig=manager.kubeconfig --bind-address=127.0.0.1 --secure-port={manager} --leader-elect=false \
                 --use-service-account-credentials=true --service-account-private-key-file=sa.key --root-ca-file=ca.crt \
                 --cluster-signing-cert-file=ca.crt --cluster-signing-key-file=ca.key"
            )),
        )?;
        if let Some(member) = member {
            plane.add(
                PlaneProcess::Scheduler,
                plane.server(tools, "kube-scheduler").arguments(&format!(
                    "--kubeconfig=scheduler.kubeconfig --authentication-kubeconfig=scheduler.kubeconfig \
                     --authorization-kubeconfig=scheduler.kubeconfig --bind-address=127.0.0.1 --secure-port={scheduler} \
                     --leader-elect=false"
                )),
            )?;
            plane.add(
                PlaneProcess::Nodes,
                plane.server(tools, "kwok").arguments(&format!(
                    "--kubeconfig=nodes.kubeconfig --config={} --manage-all-nodes=true --node-lease-duration-seconds=40 \
                     --server-address=127.0.0.1:{nodes}",
                    stages.join("stages.yaml").display()
                )),
            )?;
            plane.create_nodes(member).await?;
        }
        plane.settled(member.map_or(0, MemberSpec::node_count)).await?;
        Ok(plane)
    }

    fn server(&self, tools: &Path, program: &str) -> Process {
        Process::new(program, &tools.join(program), &self.folder)
    }

    fn add(&mut self, which: PlaneProcess, mut process: Process) -> anyhow::Result<()> {
        process.start()?;
        self.processes.push((which, process));
        Ok(())
    }

    /// Name of the plane.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Port of the API server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of the API server.
    pub fn server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Kubeconfig that has all rights.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// Folder of logs and keys.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Audit log of the API server.
    pub fn audit(&self) -> AuditLog {
        AuditLog { path: self.folder.join("audit.log") }
    }

    /// Returns a client that has all rights. Its requests have the user `testbed`.
    ///
    /// # Errors
    /// If the kubeconfig cannot be read.
    pub async fn client(&self) -> anyhow::Result<Client> {
        // Fails only if a provider is already installed, and then that provider is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(self.folder.join("bed.kubeconfig"))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Returns one of the plane's servers.
    ///
    /// # Errors
    /// If the plane has no server of that kind.
    pub fn process(&mut self, which: PlaneProcess) -> anyhow::Result<&mut Process> {
        let name = self.name.clone();
        self.processes
            .iter_mut()
            .find_map(|(known, process)| (*known == which).then_some(process))
            .with_context(|| format!("{name} has no {which:?}"))
    }

    /// Returns all servers of the plane.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().map(|(_, process)| process)
    }

    /// Returns all servers of the plane, so that they can be stopped and started.
    pub fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.processes.iter_mut().map(|(_, process)| process)
    }

    /// Waits until the API server reports that it is ready.
    ///
    /// # Errors
    /// If the time is over. The error contains the end of the API server's log.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let client = self.client().await?;
        eventually(&format!("{} is ready", self.name), START, async || {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            client.request_text(request).await?;
            Ok(Some(()))
        })
        .await
        .with_context(|| self.processes.first().map_or_else(String::new, |(_, api)| api.log_tail(2000)))
    }

    async fn create_nodes(&self, member: &MemberSpec) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.client().await?);
        for zone in &member.zones {
            for number in 0..member.nodes_per_zone {
                let name = format!("{zone}-{number}");
                let resources = json!({ "cpu": member.cpu, "memory": member.memory, "pods": member.pods });
                let node = Node {
                    metadata: ObjectMeta {
                        name: Some(name.clone()),
                        labels: Some(
                            [
                                ("topology.kubernetes.io/region", member.region.as_str()),
                                ("topology.kubernetes.io/zone", zone),
                                ("kubernetes.io/hostname", &name),
                            ]
                            .map(|(key, value)| (key.to_owned(), value.to_owned()))
                            .into(),
                        ),
                        ..ObjectMeta::default()
                    },
                    status: serde_json::from_value(json!({ "capacity": resources, "allocatable": resources }))?,
                    ..Node::default()
                };
                nodes.create(&PostParams::default(), &node).await.with_context(|| format!("creating node {name}"))?;
            }
        }
        Ok(())
    }

    /// Waits until nodes are ready and controllers work: the default namespace has its service account.
    async fn settled(&self, node_count: usize) -> anyhow::Result<()> {
        let client = self.client().await?;
        let nodes: Api<Node> = Api::all(client.clone());
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(client, "default");
        eventually(&format!("controllers of {} work", self.name), START, async || {
            for process in self.processes() {
                ensure!(process.is_alive(), "{} ended: {}", process.name(), process.log_tail(500));
            }
            ensure!(accounts.get_opt("default").await?.is_some(), "no service account yet");
            let ready =
                nodes.list(&kube::api::ListParams::default()).await?.items.iter().filter(|node| is_ready(node)).count();
            ensure!(ready >= node_count, "{ready} of {node_count} nodes are ready");
            Ok(Some(()))
        })
        .await
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready =
        conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_none_or(Vec::is_empty)
}

impl Plane {
    /// Ends the servers until they are started again. Servers that use the API server end first.
    pub(crate) fn stop_all(&mut self) -> anyhow::Result<()> {
        let running = self.processes.iter_mut().rev().filter(|(_, process)| process.is_alive());
        running.map(|(_, process)| process).try_for_each(Process::kill)
    }

    /// Starts the servers again, and waits until they work.
    pub(crate) async fn start_all(&mut self) -> anyhow::Result<()> {
        self.process(PlaneProcess::Api)?.start()?;
        self.ready().await?;
        let others = self.processes.iter_mut().filter(|(which, _)| *which != PlaneProcess::Api);
        others.map(|(_, process)| process).try_for_each(Process::start)?;
        self.settled(0).await
    }

    /// Ends the servers for good.
    pub(crate) fn end(&mut self) {
        self.processes.clear();
    }
}

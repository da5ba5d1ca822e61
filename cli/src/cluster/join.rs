//! Joins clusters, replaces them, and updates their credentials, with the user's own access.

use std::time::Duration;

use base64::Engine;
use crds::Cluster;
use crds::cluster::v1alpha1::Connection;
use crds::condition;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use members::admin::AdminAccess;
use members::install::{self, Change, Installation, Profile};
use members::{Limits, Member, MemberConfig};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use vocabulary::{ClusterName, SYSTEM_NAMESPACE, chain, labels};

use super::declared::{self, Asked, declare, profile_of};
use super::look::outcome_of;
use super::meeting::{Met, is_the_cluster, meet};
use crate::args::{JoinArgs, MemberFlags, ReplaceArgs};
use crate::failure::Failure;
use crate::hub::{Hub, MANAGER, call, watch_until};
use crate::output::Format;
use crate::progress::Progress;

/// Requested lifetime of the first credential. The member may grant less.
const TOKEN_LIFE: Duration = Duration::from_hours(7 * 24);
/// Timeout for the member's own controllers to fill Meridian's role.
const ROLE_FILLED: Duration = Duration::from_mins(1);
/// Interval between two reads of the member's rights. RBAC aggregation sends no event to this program.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Runs `meridian cluster join`.
pub(super) async fn join(args: JoinArgs, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let met = meet(&args.member, progress).await?;
    let clusters = hub.all_clusters().await?;
    not_twice(&args.name, &met.uid, &clusters)?;
    let existing = find(&args.name, &clusters);
    if let Some(other) = existing.filter(|known| known.spec.uid != met.uid) {
        return Err(Failure::Refused(format!(
            "cluster {}: the name belongs to the cluster with kube-system UID {}, this one has {}; if it takes the other's place, run `meridian cluster replace {0} {member}`",
            args.name,
            other.spec.uid,
            met.uid,
            member = args.member
        )));
    }
    let asked = Asked {
        region: args.region,
        zones: args.zones,
        cell_per_zone: args.cell_per_zone,
        profiles: args.profile,
        server: args.server,
    };
    let declared = declare(asked, existing.map(|known| &known.spec), &met.access.server)?;
    for change in &declared.changes {
        progress.doing(format!("cluster {}: {change}", args.name));
    }
    if let Some(kept) = &declared.kept {
        progress.hint(format!("cluster {}: {kept}", args.name));
    }
    // If the hub reaches the member at another server, it also needs that server's certificate and proxy.
    let kept = existing.filter(|_| declared.kept.is_some());
    let connection =
        kept.map_or_else(|| connection(&met.access, &declared.server), |known| json!(known.spec.connection));
    let spec = json!({
        "region": declared.region, "zones": declared.zones, "cellPerZone": declared.cell_per_zone, "uid": met.uid,
        "profiles": declared.installation.profiles().iter().map(|profile| profile.as_str()).collect::<Vec<_>>(),
        "connection": connection,
    });
    let entry =
        Entry { name: &args.name, met: &met, installation: declared.installation, spec, annotations: json!({}) };
    entry.enter(hub, args.wait.limit(), args.dry_run, args.output.output, progress).await
}

/// Runs `meridian cluster replace`.
pub(super) async fn replace(args: ReplaceArgs, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let met = meet(&args.member, progress).await?;
    let clusters = hub.all_clusters().await?;
    not_twice(&args.name, &met.uid, &clusters)?;
    let existing = find(&args.name, &clusters).ok_or_else(|| {
        Failure::NotFound(format!(
            "cluster {}: not found; `meridian cluster join {0} {member} --region REGION --zone ZONE` adds one",
            args.name,
            member = args.member
        ))
    })?;
    if !args.dry_run && existing.spec.uid != met.uid {
        let question = format!(
            "Everything known of what runs in {} is forgotten, and everything placed there is delivered to {}. Type the name of the cluster to go on:",
            args.name, met.access.server
        );
        super::leave::confirm(args.yes, &question, args.name.as_str(), progress)?;
    }
    let profiles: Vec<Profile> = existing.spec.profiles.iter().map(|profile| profile_of(*profile)).collect();
    let spec = json!({
        "region": existing.spec.region, "zones": existing.spec.zones, "cellPerZone": existing.spec.cell_per_zone,
        "uid": met.uid, "profiles": existing.spec.profiles,
        "connection": connection(&met.access, args.server.as_deref().unwrap_or(&met.access.server)),
    });
    let annotations = json!({ labels::REPLACE: met.uid });
    let entry = Entry { name: &args.name, met: &met, installation: Installation::new(&profiles), spec, annotations };
    entry.enter(hub, args.wait.limit(), args.dry_run, args.output.output, progress).await
}

/// Runs `meridian cluster update-credential`.
pub(super) async fn update_credential(
    name: &ClusterName,
    member: &MemberFlags,
    wait: Option<Duration>,
    format: Format,
    hub: &Hub,
    progress: Progress,
) -> Result<(), Failure> {
    let cluster = hub.cluster(name.as_str()).await?;
    let met = meet(member, progress).await?;
    is_the_cluster(&cluster, &met)?;
    let delivers = cluster.spec.profiles.iter().any(|known| profile_of(*known) == Profile::Deploy);
    let declared = &cluster.spec.connection;
    if declared.server != met.access.server {
        progress.warn(format!(
            "the hub will use the credential at {}, as spec.connection of the Cluster says; your kubeconfig reaches the member at {}",
            declared.server, met.access.server
        ));
    }
    hand_over(name, &met, declared, delivers, hub, progress).await?;
    let waited = wait_ready(name, hub, wait, cluster.metadata.generation, delivers, progress).await;
    outcome_of(&hub.cluster(name.as_str()).await?, format)?;
    waited
}

fn find<'a>(name: &ClusterName, clusters: &'a [Cluster]) -> Option<&'a Cluster> {
    clusters.iter().find(|cluster| cluster.metadata.name.as_deref() == Some(name.as_str()))
}

/// Refuses a cluster that joined under another name: replicas would be counted and delivered twice.
fn not_twice(name: &ClusterName, uid: &str, clusters: &[Cluster]) -> Result<(), Failure> {
    let other = clusters
        .iter()
        .filter(|cluster| cluster.spec.uid == uid)
        .filter_map(|cluster| cluster.metadata.name.as_deref())
        .find(|other| *other != name.as_str());
    match other {
        Some(other) => Err(Failure::Refused(format!(
            "this cluster has joined as {other} already (kube-system UID {uid}); use that name, or run `meridian cluster remove {other}` first"
        ))),
        None => Ok(()),
    }
}

fn connection(access: &AdminAccess, server: &str) -> Value {
    let mut connection = json!({ "server": server });
    if let Some(pem) = &access.ca_pem {
        connection["certificateAuthorityData"] = base64::engine::general_purpose::STANDARD.encode(pem).into();
    }
    if let Some(name) = &access.tls_server_name {
        connection["tlsServerName"] = name.clone().into();
    }
    if let Some(url) = &access.proxy_url {
        connection["proxyUrl"] = url.clone().into();
    }
    connection
}

/// A cluster to be entered into the fleet.
struct Entry<'a> {
    name: &'a ClusterName,
    met: &'a Met,
    installation: Installation,
    spec: Value,
    annotations: Value,
}

impl Entry<'_> {
    async fn enter(
        self,
        hub: &Hub,
        wait: Option<Duration>,
        dry_run: bool,
        format: Format,
        progress: Progress,
    ) -> Result<(), Failure> {
        let (name, met) = (self.name, self.met);
        let profiles = declared::names(&self.installation);
        let object = json!({
            "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cluster",
            "metadata": { "name": name.as_str(), "annotations": self.annotations },
            "spec": self.spec,
        });
        let params = PatchParams { dry_run, ..PatchParams::apply(MANAGER).force() };
        let params = PatchParams { field_validation: Some(kube::api::ValidationDirective::Strict), ..params };
        let api = hub.clusters();
        let refused = |error: install::InstallError| Failure::member(&format!("cluster {name}"), &error);
        let owner = hub.owner(name.as_str()).await?;
        install::refuse_other_owner(&met.access.client, &owner).await.map_err(refused)?;
        if dry_run {
            let would_be =
                call(&format!("cluster {name}"), api.patch(name.as_str(), &params, &Patch::Apply(&object))).await?;
            progress.done(format!(
                "would install namespace {SYSTEM_NAMESPACE}, the fence policy and the roles of {profiles} in {}",
                met.access.server
            ));
            progress.done(format!(
                "would enter cluster {name} with Kubernetes {} into the fleet; nothing was changed",
                met.version
            ));
            return outcome_of(&would_be, format);
        }
        let report =
            install::apply(&met.access.client, &self.installation.clone().owned_by(owner)).await.map_err(refused)?;
        let changed =
            report.objects.iter().filter(|(_, change)| !matches!(change, Change::Unchanged | Change::Absent)).count();
        progress.done(format!("installed the fence policy and the roles of {profiles} ({changed} objects changed)"));
        let entered =
            call(&format!("cluster {name}"), api.patch(name.as_str(), &params, &Patch::Apply(&object))).await?;
        progress.done(format!("entered cluster {name} into the fleet"));
        let delivers = self.installation.profiles().contains(&Profile::Deploy);
        hand_over(name, met, &entered.spec.connection, delivers, hub, progress).await?;
        let waited = wait_ready(name, hub, wait, entered.metadata.generation, delivers, progress).await;
        outcome_of(&hub.cluster(name.as_str()).await?, format)?;
        waited
    }
}

/// Requests a credential in the member and stores it as a Secret on the hub.
///
/// For a cluster that takes deliveries, first waits until the credential has such a right, at most [`ROLE_FILLED`].
async fn hand_over(
    name: &ClusterName,
    met: &Met,
    connection: &Connection,
    delivers: bool,
    hub: &Hub,
    progress: Progress,
) -> Result<(), Failure> {
    let access = &met.access;
    let failed = |what: &str, error: &dyn std::error::Error| {
        Failure::Failed(format!("cluster {name}: {what}: {}", chain(error)))
    };
    let issued_at = Timestamp::now();
    let issued = install::issue_token(&access.client, TOKEN_LIFE).await;
    let issued = issued.map_err(|error| Failure::member(&format!("cluster {name}: its credential"), &error))?;
    let config = MemberConfig {
        name: name.clone(),
        server: access.server.clone(),
        ca_pem: access.ca_pem.clone(),
        tls_server_name: access.tls_server_name.clone(),
        proxy_url: access.proxy_url.clone(),
        token: issued.token.clone(),
        limits: Limits::default(),
    };
    let member = Member::connect(&config).map_err(|error| failed("its connection", &error))?;
    if delivers && tokio::time::timeout(ROLE_FILLED, may_deliver(&member)).await.is_err() {
        progress.warn("the member's role aggregation has granted no right to deliver yet; the fleet will look again");
    }
    let namespace = json!({ "metadata": { "name": SYSTEM_NAMESPACE } });
    let namespace: Namespace = serde_json::from_value(namespace).map_err(|error| failed("namespace", &error))?;
    match Api::<Namespace>::all(hub.client()).create(&PostParams::default(), &namespace).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(Failure::hub(&format!("namespace {SYSTEM_NAMESPACE}"), &error)),
    }
    let secret_name = format!("credential-{name}");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": secret_name, "labels": { labels::CREDENTIAL_FOR: name.as_str() } },
        "stringData": {
            "token": issued.token.expose_secret(), "issuedAt": issued_at.to_string(), "expiresAt": issued.expires_at.to_string(),
            // The credential is sealed for this connection and cannot be opened for another one.
            "connection": json!(connection).to_string(),
            // The hub keeps the credential only while this member has the name, and not for the member that had the
            // name before.
            "memberUid": met.uid,
        },
    });
    let secrets: Api<Secret> = Api::namespaced(hub.client(), SYSTEM_NAMESPACE);
    let params = PatchParams::apply(MANAGER).force();
    call(&format!("secret {secret_name}"), secrets.patch(&secret_name, &params, &Patch::Apply(&secret))).await?;
    progress.done(format!("handed over a credential that ends {:.0}", issued.expires_at));
    Ok(())
}

/// Waits until the member grants the right to deliver at least one kind.
async fn may_deliver(member: &Member) {
    let kinds = install::deliverable_kinds();
    loop {
        let rights = member.permissions(&kinds).await;
        if rights.is_ok_and(|rights| rights.iter().any(members::KindAccess::deliverable)) {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn wait_ready(
    name: &ClusterName,
    hub: &Hub,
    wait: Option<Duration>,
    generation: Option<i64>,
    delivers: bool,
    progress: Progress,
) -> Result<(), Failure> {
    let Some(limit) = wait else {
        progress.hint(format!("`meridian cluster describe {name}` shows when it is ready"));
        return Ok(());
    };
    let mut shown = String::new();
    let seen = watch_until(hub.clusters(), &format!("cluster {name}"), name.as_str(), limit, |cluster| {
        let Some(cluster) = cluster else { return Ok(None) };
        let Some(status) = cluster.status.filter(|status| status.observed_generation >= generation) else {
            return Ok(None);
        };
        let Some(ready) = crate::output::condition(&status.conditions, condition::READY) else { return Ok(None) };
        // A cluster that is only observed is never granted a kind.
        if ready.status == "True" && !(delivers && status.kinds.is_empty()) {
            return Ok(Some(status.kinds.len()));
        }
        if ready.message != shown {
            shown.clone_from(&ready.message);
            progress.doing(format!("{}: {}", ready.reason, ready.message));
        }
        Ok(None)
    })
    .await?;
    match seen {
        Some(kinds) => {
            progress.done(format!("cluster {name} is ready; {kinds} kinds may be delivered there"));
            Ok(())
        }
        None => Err(Failure::TimedOut(format!(
            "cluster {name} is not ready after {} s{}{shown}; what was started goes on: `meridian cluster describe {name}`",
            limit.as_secs(),
            if shown.is_empty() { "; does the operator run?" } else { ": " },
        ))),
    }
}

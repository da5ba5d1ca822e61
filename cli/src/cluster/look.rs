//! Shows clusters: `meridian cluster list` and `describe`.

use crds::cluster::v1alpha1::{Amounts, Taint};
use crds::{Cluster, condition};
use jiff::Timestamp;
use vocabulary::ClusterName;

use crate::failure::Failure;
use crate::hub::Hub;
use crate::messages::{Said, grouped};
use crate::output::{self, Format, Table, age, or_dash, structured};
use crate::progress::Progress;
use crate::shell::{emit, outcome};

/// Runs `meridian cluster list`.
pub(super) async fn list(format: Format, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let clusters = hub.all_clusters().await?;
    if let Some(text) = structured(format, &output::list_of(&clusters)?)? {
        return emit(&text);
    }
    if clusters.is_empty() {
        progress
            .hint("no cluster has joined; `meridian cluster join NAME --kubeconfig FILE --region R --zone Z` adds one");
        return Ok(());
    }
    emit(&table(&clusters, format, Timestamp::now()))
}

fn table(clusters: &[Cluster], format: Format, now: Timestamp) -> String {
    if format == Format::Name {
        return clusters.iter().map(|cluster| output::title::<Cluster>(name(cluster)) + "\n").collect();
    }
    let wide = format == Format::Wide;
    let mut header = vec!["NAME", "READY", "REGION", "ZONES", "VERSION", "APPS", "STATE", "HEARTBEAT", "AGE"];
    if wide {
        header.extend(["TAINTS", "SERVER", "MESSAGE"]);
    }
    let mut table = Table::new(header);
    let said: Vec<Said<'_>> = clusters
        .iter()
        .map(|cluster| Said { place: name(cluster), cluster: name(cluster), message: readiness(cluster) })
        .collect();
    let messages = grouped(&said);
    for (cluster, message) in clusters.iter().zip(messages.column) {
        let status = cluster.status.clone().unwrap_or_default();
        let ready = output::condition(&status.conditions, condition::READY);
        let mut row = vec![
            name(cluster).to_owned(),
            ready.map_or("Unknown", |ready| &ready.status).to_owned(),
            cluster.spec.region.clone(),
            cluster.spec.zones.join(","),
            or_dash(status.version.as_deref()),
            status.apps.to_string(),
            state(cluster).to_owned(),
            age(status.as_of.as_ref(), now),
            age(cluster.metadata.creation_timestamp.as_ref(), now),
        ];
        if wide {
            row.push(taints(cluster));
            row.push(cluster.spec.connection.server.clone());
            row.push(message);
        }
        table.row(row);
    }
    if wide { table.render() + &messages.below } else { table.render() }
}

/// Returns the message of the condition `Ready`; empty if there is no such condition.
fn readiness(cluster: &Cluster) -> &str {
    let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    output::condition(conditions, condition::READY).map_or("", |ready| &ready.message)
}

fn name(cluster: &Cluster) -> &str {
    cluster.metadata.name.as_deref().unwrap_or_default()
}

/// Formats the taints as `key=value`, or `-` if there are none.
fn taints(cluster: &Cluster) -> String {
    let text = |taint: &Taint| match &taint.value {
        Some(value) => format!("{}={value}", taint.key),
        None => taint.key.clone(),
    };
    let all: Vec<String> = cluster.spec.taints.iter().map(text).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(",") }
}

/// Returns the desired state of the cluster, in one word.
pub(super) fn state(cluster: &Cluster) -> &'static str {
    if cluster.metadata.deletion_timestamp.is_some() {
        "Leaving"
    } else if cluster.spec.drain {
        "Draining"
    } else if cluster.spec.cordoned {
        "Cordoned"
    } else {
        "Open"
    }
}

/// Runs `meridian cluster describe`.
pub(super) async fn describe(name: &ClusterName, format: Format, hub: &Hub) -> Result<(), Failure> {
    let cluster = hub.cluster(name.as_str()).await?;
    let text = structured(format, &output::object(&cluster)?)?;
    emit(&text.unwrap_or_else(|| description(&cluster, Timestamp::now())))
}

/// Prints the result of a command about a cluster: for programs, the object as it is now.
pub(super) fn outcome_of(cluster: &Cluster, format: Format) -> Result<(), Failure> {
    outcome(format, &output::title::<Cluster>(name(cluster)), &output::object(cluster)?)
}

fn description(cluster: &Cluster, now: Timestamp) -> String {
    let (spec, status) = (&cluster.spec, cluster.status.clone().unwrap_or_default());
    let profiles: Vec<String> = spec.profiles.iter().map(|profile| format!("{profile:?}").to_lowercase()).collect();
    let mut text = output::fields(&[
        ("Name", name(cluster).to_owned()),
        ("State", state(cluster).to_owned()),
        ("Region", spec.region.clone()),
        ("Zones", spec.zones.join(", ")),
        ("Taints", taints(cluster)),
        ("Kubernetes", or_dash(status.version.as_deref())),
        ("Server", spec.connection.server.clone()),
        ("UID", spec.uid.clone()),
        ("Profiles", profiles.join(", ")),
        ("Applications", status.apps.to_string()),
        (
            "Last sign of life",
            status.as_of.as_ref().map_or("none".to_owned(), |at| format!("{} ago", age(Some(at), now))),
        ),
        (
            "Credential ends",
            status
                .credential_expires_at
                .as_ref()
                .map_or("none was handed over".to_owned(), |at| format!("{:.0}", at.0)),
        ),
        ("Kinds", format!("{} may be delivered", status.kinds.len())),
    ]);
    text.push_str("\nConditions:\n");
    text.push_str(&output::indent(&output::conditions(&status.conditions, now).render()));
    let mut zones = Table::new([
        "ZONE", "NODES", "CPU", "USED", "RESERVED", "MEMORY", "USED", "RESERVED", "PODS", "USED", "RESERVED",
    ]);
    for zone in &status.zones {
        let nodes: i32 = zone.shapes.iter().map(|shape| shape.nodes).sum();
        let pick =
            |each: fn(&Amounts) -> String| [each(&zone.allocatable), each(&zone.requested), each(&zone.reserved)];
        let mut row = vec![zone.name.clone(), nodes.to_string()];
        row.extend(pick(|amounts| format!("{}m", amounts.cpu_milli)));
        row.extend(pick(|amounts| format!("{}Mi", amounts.memory_mi)));
        row.extend(pick(|amounts| amounts.pods.to_string()));
        zones.row(row);
    }
    if !zones.is_empty() {
        text.push_str("\nCapacity:\n");
        text.push_str(&output::indent(&zones.render()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_of_a_cluster_are_shown() {
        let cluster: Cluster = serde_json::from_value(serde_json::json!({
            "apiVersion": "fleet.meridian.io/v1alpha1", "kind": "Cluster", "metadata": { "name": "north" },
            "spec": { "uid": "u", "region": "n", "zones": ["n1"], "connection": { "server": "https://north" },
                "taints": [{ "key": "gpu", "value": "a100" }, { "key": "batch" }] },
        }))
        .unwrap();
        let now = Timestamp::UNIX_EPOCH;
        for shown in [table(std::slice::from_ref(&cluster), Format::Wide, now), description(&cluster, now)] {
            assert!(shown.contains("gpu=a100,batch"), "{shown}");
        }
        assert!(!table(&[cluster], Format::Table, now).contains("gpu"));
    }
}

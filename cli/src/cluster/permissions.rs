//! `meridian cluster permissions`: shows the rights of profiles, and those that a member grants.

use std::collections::BTreeSet;

use crds::Cluster;
use domain::render;
use members::ServedKind;
use members::install::{self, Profile, Right};
use serde::Serialize;
use serde_json::Value;
use vocabulary::AppKey;

use super::declared::profile_of;
use super::meeting::{self, Met};
use crate::args::PermissionsArgs;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::output::{self, Format, Table};
use crate::progress::Progress;
use crate::shell::emit;

/// Runs `meridian cluster permissions`.
pub(super) async fn run(
    args: PermissionsArgs,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    match (&args.name, &args.kubeconfig) {
        (Some(_), Some(_)) => against_member(&args, &hub().await?, progress).await,
        _ => print_profiles(&args),
    }
}

fn print_profiles(args: &PermissionsArgs) -> Result<(), Failure> {
    if args.profile.is_empty() && args.output.output != Format::Json {
        return emit(&install::manifests_yaml(&Profile::ALL));
    }
    let profiles = if args.profile.is_empty() { Profile::ALL.to_vec() } else { args.profile.clone() };
    if args.output.output == Format::Json {
        let rights: Vec<Value> = profiles
            .iter()
            .map(|profile| serde_json::json!({ "profile": profile.as_str(), "rights": install::needed(*profile) }))
            .collect();
        return emit(&output::json(&rights)?);
    }
    emit(&profiles.into_iter().map(install::permissions_yaml).collect::<String>())
}

/// One right that is needed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    /// Profile or kind that needs the right.
    needed_by: String,
    group: String,
    resource: String,
    verbs: Vec<String>,
    missing: Vec<String>,
    /// Whether the member serves the kind.
    served: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    cluster: String,
    complete: bool,
    rights: Vec<Line>,
    /// Role that grants the missing rights of the profile `deploy` and of kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<Value>,
}

async fn against_member(args: &PermissionsArgs, hub: &Hub, progress: Progress) -> Result<(), Failure> {
    let member = args.member().ok_or_else(|| Failure::Usage("--kubeconfig is missing".to_owned()))?;
    let name = args.name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default();
    let cluster = hub.cluster(&name).await?;
    let met = meeting::meet(&member, progress).await?;
    meeting::is_the_cluster(&cluster, &met)?;
    let mut lines = profile_lines(&cluster);
    lines.extend(kind_lines(args, hub, &met).await?);
    let asked: Vec<Right> = lines
        .iter()
        .map(|line| Right { group: line.group.clone(), resource: line.resource.clone(), verbs: line.verbs.clone() })
        .collect();
    let missing = install::our_rights(&met.access.client, &asked)
        .await
        .map_err(|error| Failure::member(&format!("cluster {name}"), &error))?;
    for (line, missing) in lines.iter_mut().zip(missing) {
        line.missing = missing.verbs;
    }
    let report = report(name, lines);
    show(&report, args.output.output, progress)?;
    if report.complete {
        progress.done(format!("cluster {} grants everything that is needed", report.cluster));
        return Ok(());
    }
    let lacking = report.rights.iter().filter(|line| !line.missing.is_empty() || !line.served).count();
    Err(Failure::Refused(format!(
        "cluster {}: {lacking} of {} rights are missing",
        report.cluster,
        report.rights.len()
    )))
}

fn profile_lines(cluster: &Cluster) -> Vec<Line> {
    let profiles = cluster.spec.profiles.iter().map(|profile| profile_of(*profile));
    let profiles: BTreeSet<Profile> = profiles.chain([Profile::Observe]).collect();
    profiles
        .into_iter()
        .flat_map(|profile| {
            let line = move |right: Right| line(format!("profile {profile}"), right, true);
            install::needed(profile).into_iter().map(line)
        })
        .collect()
}

fn line(needed_by: String, right: Right, served: bool) -> Line {
    Line { needed_by, group: right.group, resource: right.resource, verbs: right.verbs, missing: Vec::new(), served }
}

/// Returns the rights to deliver kinds that the user named directly or by an Application.
async fn kind_lines(args: &PermissionsArgs, hub: &Hub, met: &Met) -> Result<Vec<Line>, Failure> {
    let mut kinds: BTreeSet<String> = args.kind.iter().cloned().collect();
    if let Some(app) = &args.app {
        let namespace = hub.namespace(args.namespace.as_deref());
        let object = hub.app(&namespace, app).await?;
        let key = AppKey { namespace, name: app.clone() };
        let blueprint = render::blueprint(&key, &object.spec).map_err(|problems| {
            let first = problems.first().map(|problem| format!("{}: {}", problem.field, problem.message));
            Failure::Usage(format!("application {key}: {}", first.unwrap_or_default()))
        })?;
        kinds.extend(blueprint.kinds);
    }
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let served =
        members::served_kinds(&met.access.client).await.map_err(|error| Failure::member(&met.access.server, &error))?;
    kinds.iter().map(|kind| kind_line(kind, &served)).collect()
}

fn kind_line(text: &str, served: &[ServedKind]) -> Result<Line, Failure> {
    let (group, version, kind) = match text.split('/').collect::<Vec<_>>().as_slice() {
        [version, kind] => ("", *version, *kind),
        [group, version, kind] => (*group, *version, *kind),
        _ => {
            return Err(Failure::Usage(format!(
                "--kind {text}: write GROUP/VERSION/KIND such as apps/v1/Deployment, or VERSION/KIND in the core group"
            )));
        }
    };
    let found = served
        .iter()
        .map(|served| &served.kind)
        .find(|known| known.group == group && known.version == version && known.kind == kind);
    Ok(match found {
        Some(found) if !found.namespaced => {
            return Err(Failure::Usage(format!(
                "--kind {text}: it belongs to the whole cluster and not to a namespace; Meridian does not deliver it"
            )));
        }
        Some(found) => line(format!("kind {text}"), install::to_deliver(found), true),
        None => {
            // A kind that the cluster does not serve has no resource name.
            let right = Right { group: group.to_owned(), resource: String::new(), verbs: Vec::new() };
            line(format!("kind {text}"), right, false)
        }
    })
}

fn report(cluster: String, lines: Vec<Line>) -> Report {
    let lacks = |line: &Line| !line.missing.is_empty() || !line.served;
    let granted_by_role: Vec<Right> = lines
        .iter()
        .filter(|line| !line.missing.is_empty() && line.needed_by != format!("profile {}", Profile::Observe))
        .map(|line| Right { group: line.group.clone(), resource: line.resource.clone(), verbs: line.verbs.clone() })
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    Report {
        complete: !lines.iter().any(lacks),
        grant: (!granted_by_role.is_empty())
            .then(|| install::granting_role("meridian:deploy-more-kinds", &granted_by_role)),
        cluster,
        rights: lines,
    }
}

fn show(report: &Report, format: Format, progress: Progress) -> Result<(), Failure> {
    if let Some(text) = output::structured(format, report)? {
        return emit(&text);
    }
    let mut table = Table::new(["NEEDED BY", "GROUP", "RESOURCE", "VERBS", "MISSING"]);
    for line in &report.rights {
        let missing = match (line.served, line.missing.as_slice()) {
            (false, _) => "not served".to_owned(),
            (true, []) => "-".to_owned(),
            (true, missing) => missing.join(","),
        };
        let group = output::or_dash(Some(&line.group));
        let resource = output::or_dash(Some(&line.resource));
        table.row([line.needed_by.clone(), group, resource, line.verbs.join(","), missing]);
    }
    let mut text = table.render();
    if let Some(role) = &report.grant {
        text.push_str("\nThis grants what is missing; an administrator of the member applies it:\n---\n");
        text.push_str(&output::yaml(role)?);
    }
    emit(&text)?;
    let (cluster, lines) = (&report.cluster, &report.rights);
    if lines.iter().any(|line| !line.missing.is_empty() && line.needed_by.starts_with("profile ")) {
        progress.hint(format!(
            "`meridian cluster join {cluster} --kubeconfig FILE` installs the roles of its profiles again"
        ));
    }
    if !lines.iter().any(|line| line.needed_by == format!("profile {}", Profile::Deploy)) && report.grant.is_some() {
        progress.hint(format!(
            "it was joined without the deploy profile; `meridian cluster join {cluster} --kubeconfig FILE --profile observe,deploy` adds it"
        ));
    }
    for line in lines.iter().filter(|line| !line.served) {
        progress.hint(format!("{}: install what serves it (its CRD) in {cluster}", line.needed_by));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use members::ApiKind;

    use super::*;

    fn served() -> Vec<ServedKind> {
        let kind = |kind| ServedKind { kind, words: Vec::new() };
        vec![
            kind(ApiKind::namespaced("example.org", "v1", "Widget", "widgets")),
            kind(ApiKind::cluster_scoped("", "v1", "Node", "nodes")),
        ]
    }

    #[test]
    fn missing_rights_are_granted_by_a_role_that_names_them() {
        let mut lines = profile_lines_of(Profile::Observe);
        lines.push(kind_line("example.org/v1/Widget", &served()).unwrap());
        assert!(report("north".to_owned(), lines).complete);
        let mut lines = vec![kind_line("example.org/v1/Widget", &served()).unwrap()];
        lines[0].missing = vec!["delete".to_owned()];
        let report = report("north".to_owned(), lines);
        let grant = report.grant.unwrap();
        assert!(!report.complete);
        assert_eq!(grant["rules"][0]["apiGroups"][0], "example.org");
        assert_eq!(
            grant["rules"][0]["verbs"].as_array().map(Vec::len),
            Some(6),
            "the whole right, so that it can be read"
        );
    }

    fn profile_lines_of(profile: Profile) -> Vec<Line> {
        install::needed(profile).into_iter().map(|right| line(format!("profile {profile}"), right, true)).collect()
    }

    #[test]
    fn kinds_that_cannot_be_delivered_are_told() {
        assert!(!kind_line("example.org/v2/Widget", &served()).unwrap().served);
        for wrong in ["Widget", "v1/Node", "a/b/c/d"] {
            assert_eq!(
                kind_line(wrong, &served()).unwrap_err().to_string().split(':').next(),
                Some(&*format!("--kind {wrong}"))
            );
        }
    }
}

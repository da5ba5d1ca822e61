//! `meridian app import`: makes an Application from objects that run in a member.

mod compose;
mod gather;
#[cfg(test)]
mod samples;
mod template;

use crds::{Application, Cluster};
use domain::{placement, render};
use kube::api::PostParams;
use vocabulary::AppKey;

use self::compose::{Source, compose};
use crate::args::{ImportArgs, ManifestForm};
use crate::cluster::meeting;
use crate::failure::Failure;
use crate::hub::{Hub, MANAGER, call};
use crate::mask::mask_secrets;
use crate::output;
use crate::plan::fleet::Fleet;
use crate::progress::Progress;
use crate::shell::emit;

/// Runs `meridian app import`.
pub(super) async fn run(args: &ImportArgs, hub: Hub, progress: Progress) -> Result<(), Failure> {
    let namespace = hub.namespace(args.namespace.as_deref());
    let cluster = hub.cluster(args.cluster.as_str()).await?;
    let met = meeting::meet(&args.member, progress).await?;
    meeting::is_the_cluster(&cluster, &met)?;
    let asked = gather::Asked { objects: &args.objects, selector: args.selector.as_deref() };
    let found = gather::read(&met.access, &namespace, &asked, &permitted(&cluster)).await?;
    for skipped in &found.skipped {
        progress.doing(format!("left out: {skipped}"));
    }
    let composed = compose(&Source {
        name: &args.name,
        namespace: &namespace,
        cluster: args.cluster.as_str(),
        taints: &cluster.spec.taints,
        objects: &found.objects,
        autoscaled: &found.autoscaled,
    });
    let app: Application =
        serde_json::from_value(composed.manifest.clone()).map_err(|error| Failure::Failed(error.to_string()))?;
    let key = AppKey { namespace: namespace.clone(), name: args.name.clone() };
    check(&key, &app)?;
    deliverable(&app, &cluster, args)?;
    stays_in_place(&app, &cluster, &hub).await?;
    for remark in &composed.remarks {
        progress.warn(remark);
    }
    let form = args.output.or(args.dry_run.then_some(ManifestForm::Yaml));
    let mut manifest = composed.manifest;
    // A user who requests the manifest with `--output` applies it later and needs its Secrets. Otherwise they are
    // masked.
    if args.output.is_none() {
        mask_secrets(&mut manifest);
    } else if app.spec.components.iter().any(|component| component.template["kind"] == "Secret") {
        progress.warn("the manifest holds the contents of Secrets in clear; keep it where such things are kept");
    }
    match form {
        Some(ManifestForm::Yaml) => return emit(&output::yaml(&manifest)?),
        Some(ManifestForm::Json) => return emit(&output::json(&manifest)?),
        None => {}
    }
    let what = format!("application {key}");
    let question = format!("Make {what} of {} objects in {}?", found.objects.len(), args.cluster);
    progress.consent(args.yes, &question)?;
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let api = hub.apps(&namespace);
    call(&what, api.create(&params, &app)).await?;
    progress
        .done(format!("made {what}; objects that are identical are taken over, nothing moves and nothing restarts"));
    progress.hint(format!("`meridian app status {} -n {namespace} --wait` shows when they are", args.name));
    Ok(())
}

/// Returns the kinds that may be delivered to the cluster, as `group/version/Kind`.
fn permitted(cluster: &Cluster) -> Vec<String> {
    cluster.status.as_ref().map(|status| status.kinds.clone()).unwrap_or_default()
}

/// Runs the checks of intake before anything is written.
fn check(key: &AppKey, app: &Application) -> Result<(), Failure> {
    let mut problems: Vec<String> = Vec::new();
    if let Err(found) = render::blueprint(key, &app.spec) {
        for problem in found {
            let index = problem.field.strip_prefix("spec.components[").and_then(|rest| rest.split_once(']'));
            let name =
                index.and_then(|(index, _)| app.spec.components.get(index.parse::<usize>().ok()?)).map(|component| {
                    format!(
                        " ({} {})",
                        compose::text(&component.template["kind"]),
                        compose::text(&component.template["metadata"]["name"])
                    )
                });
            problems.push(format!("{}{}: {}", problem.field, name.unwrap_or_default(), problem.message));
        }
    }
    if let Some(placement) = &app.spec.placement {
        let found = placement::check_spec(placement, app.spec.replicas.unwrap_or_default());
        problems.extend(found.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(format!("this cannot be imported as {key}:\n  {}", problems.join("\n  "))))
}

fn deliverable(app: &Application, cluster: &Cluster, args: &ImportArgs) -> Result<(), Failure> {
    let permitted = permitted(cluster);
    for component in &app.spec.components {
        let text = |field: &str| compose::text(&component.template[field]);
        let kind = format!("{}/{}", text("apiVersion"), text("kind"));
        if !permitted.contains(&kind) {
            return Err(Failure::Refused(format!(
                "{kind} may not be delivered to {0}; `meridian cluster permissions {0} {member} --kind {kind}` shows what would grant it",
                args.cluster,
                member = args.member
            )));
        }
    }
    Ok(())
}

/// Checks that the decision about the Application would leave every replica in its cluster.
async fn stays_in_place(app: &Application, cluster: &Cluster, hub: &Hub) -> Result<(), Failure> {
    let fleet = Fleet::of_hub(hub).await?;
    fleet.decides_for(app, cluster.metadata.name.as_deref().unwrap_or_default())
}

//! `meridian rebalance`: shows and requests a rebalance of one Application.

use serde_json::json;
use vocabulary::labels;

use super::fleet::{Fleet, key};
use super::tables;
use crate::args::RebalanceArgs;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::output::structured;
use crate::progress::Progress;
use crate::shell::emit;

/// Runs `meridian rebalance`.
pub(crate) async fn run(
    args: RebalanceArgs,
    hub: impl AsyncFnOnce() -> Result<Hub, Failure>,
    progress: Progress,
) -> Result<(), Failure> {
    let (fleet, hub) = Fleet::read(&[], hub).await?;
    let Some(hub) = hub else { return Err(Failure::Usage("a rebalance needs the hub".to_owned())) };
    let namespace = hub.namespace(args.app.namespace.as_deref());
    let object = fleet.app(Some(&namespace), &args.app.name)?;
    let question = fleet.question(object)?;
    if !question.is_divided {
        return Err(Failure::Usage(format!(
            "application {} divides no replicas: its components go to every matching place, and a rebalance has nothing to move",
            key(object)
        )));
    }
    let outcome = question.rebalance(&fleet.topology);
    let moves: i32 = outcome.cells.iter().map(|cell| (cell.before - cell.target).max(0)).sum();
    let plan =
        object.status.as_ref().and_then(|status| status.decision.as_ref()).and_then(|last| last.rebalance_plan.clone());
    let text = structured(args.output.output, &json!({ "moves": moves, "plan": plan, "decision": outcome }))?;
    emit(&text.unwrap_or_else(|| {
        format!("{}\n{}", tables::cells(&outcome, &fleet.display_names, args.output.output), tables::remarks(&outcome))
    }))?;
    if moves == 0 {
        progress.done("there is nothing a rebalance would gain");
        return args.unchanged.end("nothing was changed");
    }
    if args.dry_run {
        let plan = plan.map_or("not decided by the operator yet".to_owned(), |plan| format!("plan {plan}"));
        progress.hint(format!("{moves} replicas would move; run it without --dry-run to do it ({plan})"));
        return Ok(());
    }
    let Some(plan) = plan else {
        return Err(Failure::Superseded(format!(
            "{moves} replicas would move by what the hub shows, but the operator's last decision offers no such plan: it has not looked since something changed, or knows more; run the command again in a moment"
        )));
    };
    progress.consent(args.yes, &format!("Move {moves} replicas of {}?", key(object)))?;
    hub.annotate_app(&namespace, &args.app.name, labels::REBALANCE, &plan).await?;
    progress.done(format!("asked for plan {plan}: each replica leaves when its successor is available elsewhere"));
    progress.hint(format!("`meridian app status {} -n {namespace} --wait` follows it", args.app.name));
    Ok(())
}

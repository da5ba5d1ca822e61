//! Injects faults and repairs them.

use std::collections::BTreeMap;
use std::time::Duration;

use acceptance::{Fleet, Operator};
use anyhow::Context;
use testbed::{GatewayMode, LinkMode, PlaneProcess};

use crate::plan::{Fault, Way, Which};

/// `Retry-After` of a member that throttles.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Faults that are active by number, each with the index of the affected operator.
#[derive(Debug, Default)]
pub(crate) struct Faults(BTreeMap<usize, (Fault, usize)>);

impl Faults {
    /// Starts a fault.
    pub(crate) fn begin(&mut self, fleet: &mut Fleet, number: usize, fault: Fault) -> anyhow::Result<()> {
        let which = match fault {
            Fault::OperatorKilled(which)
            | Fault::OperatorFrozen(which)
            | Fault::OperatorStopped(which)
            | Fault::DatabaseLink(which, _)
            | Fault::HubLink(which, _) => operator(fleet, which),
            _ => 0,
        };
        // The fault is recorded first, so that a fault that fails half-way is repaired with the others.
        self.0.insert(number, (fault, which));
        match fault {
            Fault::OperatorKilled(_) => fleet.operators[which].process.kill()?,
            Fault::OperatorFrozen(_) => fleet.operators[which].process.pause()?,
            Fault::OperatorStopped(_) => fleet.operators[which].process.stop()?,
            Fault::MemberKilled(member) => fleet.bed.member_mut(member)?.process(PlaneProcess::Api)?.kill()?,
            Fault::MemberFrozen(member) => fleet.bed.member_mut(member)?.process(PlaneProcess::Api)?.pause()?,
            Fault::MemberLink(member, way) => fleet.way(member)?.link.set(mode(way)),
            Fault::MemberThrottles(member) => fleet.way(member)?.gateway.set(GatewayMode::Throttle(RETRY_AFTER)),
            Fault::MemberWatchesHeld(member) => fleet.way(member)?.gateway.set(GatewayMode::HoldWatches),
            Fault::DatabaseKilled => fleet.bed.postgres.primary.kill()?,
            Fault::DatabaseLink(_, way) => database(&fleet.operators[which])?.set(mode(way)),
            Fault::HubKilled => fleet.bed.hub.process(PlaneProcess::Api)?.kill()?,
            Fault::HubLink(_, way) => hub(&fleet.operators[which])?.set(mode(way)),
        }
        Ok(())
    }

    /// Ends a fault, and waits until a restarted server answers.
    pub(crate) async fn end(&mut self, fleet: &mut Fleet, number: usize) -> anyhow::Result<Fault> {
        let (fault, which) = self.0.remove(&number).context("a fault that began")?;
        match fault {
            Fault::OperatorKilled(_) | Fault::OperatorStopped(_) => fleet.operators[which].process.start()?,
            Fault::OperatorFrozen(_) => fleet.operators[which].process.resume()?,
            Fault::MemberKilled(member) => {
                let plane = fleet.bed.member_mut(member)?;
                plane.process(PlaneProcess::Api)?.start()?;
                plane.ready().await?;
            }
            Fault::MemberFrozen(member) => fleet.bed.member_mut(member)?.process(PlaneProcess::Api)?.resume()?,
            Fault::MemberLink(member, _) => fleet.way(member)?.link.set(LinkMode::Open),
            Fault::MemberThrottles(member) | Fault::MemberWatchesHeld(member) => {
                fleet.way(member)?.gateway.set(GatewayMode::Pass);
            }
            Fault::DatabaseKilled => {
                fleet.bed.postgres.primary.start()?;
                fleet.bed.postgres.answers().await?;
            }
            Fault::DatabaseLink(..) => database(&fleet.operators[which])?.set(LinkMode::Open),
            Fault::HubKilled => {
                fleet.bed.hub.process(PlaneProcess::Api)?.start()?;
                fleet.bed.hub.ready().await?;
            }
            Fault::HubLink(..) => hub(&fleet.operators[which])?.set(LinkMode::Open),
        }
        Ok(fault)
    }
}

fn database(operator: &Operator) -> anyhow::Result<&testbed::Link> {
    operator.database.as_ref().context("a fleet with links")
}

fn hub(operator: &Operator) -> anyhow::Result<&testbed::Link> {
    operator.hub.as_ref().context("a fleet with links")
}

fn mode(way: Way) -> LinkMode {
    match way {
        Way::Cut => LinkMode::Cut,
        Way::Reset => LinkMode::Reset,
        Way::BlackHole => LinkMode::BlackHole,
        Way::Slow(late) => LinkMode::Slow(late),
    }
}

/// Returns the index of the operator that schedules, or of the other operator.
///
/// Without a database the scheduler is unknown; then the first operator counts as the scheduler.
fn operator(fleet: &Fleet, which: Which) -> usize {
    let scheduler = fleet
        .bed
        .postgres
        .query("select split_part(holder, '#', 1) from lease where name = 'schedule'")
        .unwrap_or_default();
    let scheduler = fleet.operators.iter().position(|operator| operator.identity == scheduler).unwrap_or(0);
    match which {
        Which::Scheduler => scheduler,
        Which::Other => (scheduler + 1) % fleet.operators.len(),
    }
}

//! The steps of a release. Pure.

use domain::operation::{EffectClass, OnFailure, Plan, Require, Retry, Step};
use domain::release::{Goal, Scope, Share, Strategy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vocabulary::{AppKey, CellName, ContentHash};

/// Timeout for what only the scheduler decides or the database stores, in seconds.
///
/// It is long: a release that is taken back must not wait for a person because the scheduler was away for a while.
const DECIDE_TIMEOUT_SECONDS: u32 = 3_600;
/// Maximum number of steps that take whole cells one after the other.
const CELL_STEPS_MAX: usize = 100;

/// Parameters of all steps of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepParams {
    /// Row id of the Application; another one of that name is not released.
    pub(super) app: i64,
    /// Revision that the release brings.
    pub(super) revision: ContentHash,
    /// Revision to which cells go back.
    pub(super) previous: ContentHash,
    /// Goals of the step, one after the other. Empty for steps that ask all cells for one thing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) goals: Vec<Goal>,
    /// Cells that the goals are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<Scope>,
    /// Time that the step must be ready without a break, in seconds.
    #[serde(default)]
    pub(super) min_ready: u32,
}

/// How a release gives cells the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// Replicas move between a main and a gray slot.
    Gray,
    /// A batch takes whole cells.
    Whole,
    /// One cell after the other, in this order.
    CellByCell(Vec<CellName>),
}

/// What the steps of a release follow from.
#[derive(Debug, Clone)]
pub(super) struct Outline<'a> {
    pub(super) key: &'a AppKey,
    pub(super) app: i64,
    pub(super) revision: ContentHash,
    pub(super) previous: ContentHash,
    pub(super) strategy: &'a Strategy,
    pub(super) shape: Shape,
    /// Some cell of the Application is the second half of a pair.
    pub(super) has_pairs: bool,
    /// Replicas over all cells.
    pub(super) total: i32,
    /// Number of cells.
    pub(super) cells: usize,
}

/// Steps that ask cells, in order.
struct Forward<'a> {
    outline: &'a Outline<'a>,
    steps: Vec<Step>,
}

impl Outline<'_> {
    /// Returns the plan.
    pub(super) fn plan(&self) -> Plan {
        let mut forward = Forward { outline: self, steps: Vec::new() };
        match &self.shape {
            Shape::Gray => forward.gray(),
            Shape::Whole => forward.whole(),
            Shape::CellByCell(cells) => forward.cell_by_cell(cells),
        }
        forward.finish();
        Plan { forward: forward.steps, revert: self.revert(), approvals: 0 }
    }

    fn step(&self, id: &str, act: &str, title: String, timeout_seconds: u32) -> Step {
        let reaction = if self.strategy.rolls_back { OnFailure::Revert } else { OnFailure::Pause };
        Step {
            id: id.to_owned(),
            act: act.to_owned(),
            title,
            class: EffectClass::Absolute,
            needs: Vec::new(),
            when: None,
            targets: vec![self.key.to_string()],
            max_parallel: 1,
            timeout_seconds,
            retry: Retry { max: 10, backoff_seconds: 1 },
            on_failure: reaction,
            on_timeout: reaction,
            require: Require::All,
            confirm: false,
            pre: Vec::new(),
            post: Vec::new(),
            params: self.params(Vec::new(), None, 0),
        }
    }

    fn params(&self, goals: Vec<Goal>, scope: Option<Scope>, min_ready: u32) -> Value {
        let params =
            StepParams { app: self.app, revision: self.revision, previous: self.previous, goals, scope, min_ready };
        serde_json::to_value(params).expect("parameters are plain data")
    }

    fn revert(&self) -> Vec<Step> {
        let step = |id: &str, title: String, timeout_seconds, needs: &[&str]| Step {
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            on_failure: OnFailure::Pause,
            on_timeout: OnFailure::Pause,
            ..self.step(id, id, title, timeout_seconds)
        };
        let previous = self.previous.short();
        let restore = format!("give all cells the previous revision {previous}");
        let restore = step("restore", restore, DECIDE_TIMEOUT_SECONDS, &[]);
        let settle = format!("wait until revision {previous} runs in all cells that answer");
        let mut settle = step("settle", settle, self.strategy.deadline, &["restore"]);
        settle.class = EffectClass::Pure;
        // It is decided for all cells. One that does not answer takes it when it answers again.
        (settle.on_failure, settle.on_timeout) = (OnFailure::Continue, OnFailure::Continue);
        let conclude = "store that the release was taken back".to_owned();
        vec![restore, settle, step("conclude", conclude, DECIDE_TIMEOUT_SECONDS, &["settle"])]
    }
}

impl Forward<'_> {
    /// Adds a step that needs the one before.
    fn add(&mut self, mut step: Step) {
        step.needs = self.steps.last().map(|last| last.id.clone()).into_iter().collect();
        self.steps.push(step);
    }

    /// Adds a step that asks cells. The first wave begins, and the second one follows where there are pairs.
    fn ask(&mut self, id: &str, title: &str, goal: Goal, is_batch: bool) {
        let scopes: &[(Scope, &str, &str)] = if self.outline.has_pairs {
            &[(Scope::First, "", ""), (Scope::Second, "-second", ", second cells of pairs")]
        } else {
            &[(Scope::All, "", "")]
        };
        for (scope, suffix, text) in scopes {
            self.ask_once(&format!("{id}{suffix}"), format!("{title}{text}"), goal.clone(), *scope, is_batch);
            // A person confirms a batch, and not each half of it.
            if *scope == Scope::Second
                && let Some(step) = self.steps.last_mut()
            {
                step.confirm = false;
            }
        }
    }

    fn ask_once(&mut self, id: &str, title: String, goal: Goal, scope: Scope, is_batch: bool) {
        let strategy = self.outline.strategy;
        let min_ready = if is_batch { strategy.min_ready } else { 0 };
        let mut step = self.outline.step(id, "ask", title, strategy.deadline.saturating_add(min_ready));
        step.params = self.outline.params(vec![goal], Some(scope), min_ready);
        step.confirm = is_batch && strategy.waits_for_person && !self.steps.is_empty();
        self.add(step);
    }

    /// Number of batches, the last of which is all replicas.
    fn batches(&self) -> usize {
        self.outline.strategy.batches.len() + 1
    }

    fn batch_title(&self, number: usize, share: Share) -> String {
        let total = self.outline.total;
        format!("batch {number} of {}: {} of {total} replicas", self.batches(), share.of(total))
    }

    fn gray(&mut self) {
        if self.outline.strategy.beta {
            let title = match self.outline.cells {
                1 => "beta: 1 replica".to_owned(),
                cells => format!("beta: 1 replica in each of {cells} cells"),
            };
            self.ask("beta", &title, Goal::Beta, true);
        }
        for (number, share) in (1..).zip(&self.outline.strategy.batches) {
            self.ask(&format!("batch-{number}"), &self.batch_title(number, *share), Goal::Share(*share), true);
        }
        let title = self.batch_title(self.batches(), Share::ALL);
        let last = "return gray replicas to the main workload";
        if self.outline.has_pairs {
            // One half of a pair is over with the release before the other half begins with its main slot.
            for (scope, suffix, text) in [(Scope::First, "", ""), (Scope::Second, "-second", ", second cells of pairs")]
            {
                self.ask_once(&format!("promote{suffix}"), format!("{title}{text}"), Goal::Promote, scope, true);
                self.ask_once(&format!("return{suffix}"), format!("{last}{text}"), Goal::Return, scope, false);
                if scope == Scope::Second {
                    self.steps
                        .iter_mut()
                        .filter(|step| step.id == "promote-second")
                        .for_each(|step| step.confirm = false);
                }
            }
        } else {
            self.ask("promote", &title, Goal::Promote, true);
            self.ask("return", last, Goal::Return, false);
        }
    }

    fn whole(&mut self) {
        let shares = self.outline.strategy.batches.iter().copied().chain([Share::ALL]);
        for (number, share) in (1..).zip(shares) {
            let title = format!("{}, in whole cells", self.batch_title(number, share));
            let id = if number == self.batches() { "promote".to_owned() } else { format!("batch-{number}") };
            self.ask(&id, &title, Goal::Whole(share), true);
        }
    }

    fn cell_by_cell(&mut self, cells: &[CellName]) {
        let in_step = cells.len().div_ceil(CELL_STEPS_MAX).max(1);
        for chunk in cells.chunks(in_step) {
            let names: Vec<&str> = chunk.iter().map(CellName::as_str).collect();
            let (Some(first), Some(last)) = (names.first(), names.last()) else { continue };
            let title = if first == last { format!("cell {first}") } else { format!("cells {first} to {last}") };
            self.ask_once(&format!("cell-{first}"), title, Goal::Cells(chunk.to_vec()), Scope::OneByOne, true);
            if let Some(step) = self.steps.last_mut() {
                step.timeout_seconds = step.timeout_seconds.saturating_mul(u32::try_from(chunk.len()).unwrap_or(1));
            }
        }
    }

    fn finish(&mut self) {
        let outline = self.outline;
        let title = format!("all cells have revision {}", outline.revision.short());
        // Cells that came meanwhile may need the revision, in two waves.
        let timeout = outline.strategy.deadline.saturating_mul(2);
        let mut step = outline.step("finish", "finish", title, timeout);
        step.params = outline.params(vec![Goal::Promote, Goal::Return], Some(Scope::All), 0);
        self.add(step);
    }
}

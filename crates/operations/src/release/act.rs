//! The acts of a release, and how their effects are observed.

use std::time::Duration;

use domain::placement::{DirectiveTarget, Effect};
use domain::release::{Asked, Goal, Next, Scope, advance};
use flow::{ActError, Attempt, PlanFailure, Progress};
use serde_json::Value;
use store::{Hint, Hints, NewDirective, ReleaseKey, ReleaseOpened, ReleaseState, Store};
use vocabulary::{AppKey, CellName, ContentHash};

use super::ready_clock::ReadyClock;
use super::spec::ReleaseSpec;
use super::steps::StepParams;
use super::view::{AppRows, View, read_or_refuse};
use crate::directives;

/// Maximum number of cells that a message names.
const NAMED_MAX: usize = 3;

/// One attempt with what it needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor<'a> {
    pub(super) store: &'a Store,
    pub(super) hints: &'a Hints,
    pub(super) clock: &'a ReadyClock,
    pub(super) attempt: &'a Attempt,
}

/// The application and the parameters of an attempt.
struct Subject {
    key: AppKey,
    params: StepParams,
}

impl Subject {
    fn release_key(&self, attempt: &Attempt) -> ReleaseKey {
        let StepParams { app, revision, previous, .. } = self.params;
        ReleaseKey { app: app.into(), revision, previous, operation: attempt.operation }
    }

    fn next(&self, view: &View) -> Next {
        advance(&view.release_cells(), &self.params.goals, self.params.scope.unwrap_or(Scope::All))
    }
}

impl Actor<'_> {
    pub(super) async fn act(self) -> Result<(), ActError> {
        let subject = self.subject()?;
        match self.attempt.step.act.as_str() {
            "ask" => self.ask(&subject).await.map(drop),
            "finish" => match self.ask(&subject).await? {
                Next::Reached => self.conclude(&subject, ReleaseState::Released, "").await,
                Next::Ask(_) | Next::Wait(_) => Ok(()),
            },
            "restore" => self.restore(&subject).await,
            "settle" => Ok(()),
            "conclude" => {
                let message = self.why_rolled_back().await?;
                self.conclude(&subject, ReleaseState::RolledBack, &message).await
            }
            other => Err(ActError::Refused(format!("this version has no act {other}"))),
        }
    }

    pub(super) async fn observe(self) -> Result<Progress, ActError> {
        let subject = self.subject()?;
        let (app, operation) = (subject.params.app.into(), self.attempt.operation);
        let rows = AppRows::read(self.store, &subject.key, Some(app), Some(operation)).await?;
        let act = self.attempt.step.act.as_str();
        let Some(rows) = rows else {
            self.clock.stop(operation, &self.attempt.step.id);
            let message = format!("Application {} was deleted, or is being deleted", subject.key);
            return Ok(match act {
                "ask" | "finish" => Progress::Failed(message),
                _ => Progress::Done(message),
            });
        };
        match act {
            "ask" => Ok(self.asked(&subject, &rows)),
            "finish" => self.finished(&subject, &rows).await,
            "restore" => Ok(restored(&rows.view(subject.params.previous))),
            "settle" => Ok(settled(&rows.view(subject.params.previous))),
            "conclude" => self.is_concluded(ReleaseState::RolledBack, "the release was taken back").await,
            other => Err(ActError::Refused(format!("this version has no act {other}"))),
        }
    }

    fn subject(&self) -> Result<Subject, ActError> {
        let refuse = |failure: PlanFailure| ActError::Refused(failure.to_string());
        let key = ReleaseSpec::parse(&self.attempt.spec).and_then(|spec| spec.key()).map_err(refuse)?;
        let params = serde_json::from_value(self.attempt.step.params.clone())
            .map_err(|error| ActError::Refused(format!("this version cannot read the step: {error}")))?;
        Ok(Subject { key, params })
    }

    /// Asks for what follows from the rows, and returns it.
    async fn ask(&self, subject: &Subject) -> Result<Next, ActError> {
        let rows = read_or_refuse(self.store, &subject.key, subject.params.app.into(), self.attempt.operation).await?;
        self.open(subject, subject.params.revision).await?;
        let next = subject.next(&rows.view(subject.params.revision));
        if let Next::Ask(changes) = &next {
            let reason = format!("released by {}", self.attempt.actor);
            let asked = changes
                .iter()
                .map(|(cell, asked)| self.directive(subject, cell, subject.params.revision, *asked, reason.clone()));
            directives::put(self.store, self.hints, self.attempt, &asked.collect::<Vec<_>>()).await?;
        }
        Ok(next)
    }

    /// Asks all cells for the previous revision.
    async fn restore(&self, subject: &Subject) -> Result<(), ActError> {
        let app = subject.params.app.into();
        let Some(rows) = AppRows::read(self.store, &subject.key, Some(app), Some(self.attempt.operation)).await? else {
            // Nothing of a deleted Application goes back.
            return Ok(());
        };
        self.check_is_newest(subject).await?;
        let previous = subject.params.previous;
        self.open(subject, previous).await?;
        let asked = Asked { gray: 0, main: true };
        let reason = format!("taken back by {}", self.attempt.actor);
        let view = rows.view(previous);
        let all = view.cells.keys().map(|cell| self.directive(subject, cell, previous, asked, reason.clone()));
        directives::put(self.store, self.hints, self.attempt, &all.collect::<Vec<_>>()).await
    }

    /// Refuses to take back a release after which another one began.
    async fn check_is_newest(&self, subject: &Subject) -> Result<(), ActError> {
        let newest = self.store.release_get(subject.params.app.into()).await?;
        let Some(other) = newest.filter(|row| row.operation != self.attempt.operation) else { return Ok(()) };
        let (own, other_operation) =
            (self.store.operation_get(self.attempt.operation).await?, self.store.operation_get(other.operation).await?);
        let is_later = match (own, other_operation) {
            (Some(own), Some(other)) => other.created_at > own.created_at,
            (Some(own), None) => other.changed_at > own.created_at,
            (None, _) => false,
        };
        if is_later {
            return Err(ActError::Refused(format!(
                "revision {} was released later by operation {}; take that one back",
                other.revision.short(),
                other.operation
            )));
        }
        Ok(())
    }

    /// Stores that the release is open, after a check that the revision which cells are asked for is stored.
    async fn open(&self, subject: &Subject, asked: ContentHash) -> Result<(), ActError> {
        let app = subject.params.app.into();
        if !self.store.revision_divided_kinds(app, &[asked]).await?.contains_key(&asked) {
            return Err(ActError::Refused(format!("revision {asked} of {} is no longer stored", subject.key)));
        }
        match self.store.release_open(&self.attempt.claim, &subject.release_key(self.attempt)).await? {
            ReleaseOpened::Opened => {
                self.hints.send(Hint::Show(app));
                Ok(())
            }
            ReleaseOpened::OpenBy(other) => Err(ActError::Refused(format!(
                "operation {other} has an open release of {}; `meridian op abort {other}` ends it",
                subject.key
            ))),
            ReleaseOpened::NoApplication => Err(ActError::Refused(format!("Application {} was deleted", subject.key))),
        }
    }

    async fn conclude(&self, subject: &Subject, state: ReleaseState, message: &str) -> Result<(), ActError> {
        let (key, owner) = (subject.release_key(self.attempt), directives::owner(self.attempt.operation));
        self.store.release_conclude(&self.attempt.claim, &key, &owner, state, message).await?;
        self.hints.send(Hint::Directives(Some(key.app)));
        self.hints.send(Hint::Show(key.app));
        Ok(())
    }

    async fn why_rolled_back(&self) -> Result<String, ActError> {
        let row = self.store.operation_get(self.attempt.operation).await?;
        let failure = row.and_then(|row| row.marks["failure"].as_str().map(str::to_owned));
        Ok(failure.unwrap_or_else(|| "taken back by a person".to_owned()))
    }

    fn directive(
        &self,
        subject: &Subject,
        cell: &CellName,
        revision: ContentHash,
        asked: Asked,
        reason: String,
    ) -> NewDirective {
        let json = |value: Result<Value, serde_json::Error>| value.expect("places and effects are plain data");
        let effect = Effect::Release { revision, gray: asked.gray, main: asked.main };
        NewDirective {
            owner: directives::owner(self.attempt.operation),
            key: format!("cell/{cell}"),
            scope: json(serde_json::to_value(DirectiveTarget::Cell { cell: cell.to_string() })),
            effect: json(serde_json::to_value(effect)),
            app: Some(subject.params.app.into()),
            reason,
            until: None,
        }
    }

    fn asked(&self, subject: &Subject, rows: &AppRows) -> Progress {
        let (operation, step) = (self.attempt.operation, self.attempt.step.id.as_str());
        let view = rows.view(subject.params.revision);
        let next = subject.next(&view);
        if next != Next::Reached {
            self.clock.stop(operation, step);
        }
        match next {
            Next::Ask(changes) => Progress::Missing(format!("{} are to be asked", named(changes.keys()))),
            Next::Wait(cells) => Progress::Waiting(waiting_text(&view, &cells)),
            Next::Reached => {
                let least = Duration::from_secs(subject.params.min_ready.into());
                let ready = self.clock.ready_for(operation, step, view.rows);
                if ready < least {
                    let text = format!("available; good after {} s without a change", least.as_secs());
                    return Progress::Waiting(text);
                }
                self.clock.stop(operation, step);
                Progress::Done(done_text(&view, &subject.params.goals))
            }
        }
    }

    async fn finished(&self, subject: &Subject, rows: &AppRows) -> Result<Progress, ActError> {
        let revision = subject.params.revision.short();
        let concluded =
            self.is_concluded(ReleaseState::Released, &format!("all cells have revision {revision}")).await?;
        if matches!(concluded, Progress::Done(_)) {
            return Ok(concluded);
        }
        let view = rows.view(subject.params.revision);
        Ok(match subject.next(&view) {
            Next::Ask(changes) => Progress::Missing(format!("{} came meanwhile", named(changes.keys()))),
            Next::Wait(cells) => Progress::Waiting(waiting_text(&view, &cells)),
            Next::Reached => concluded,
        })
    }

    /// Returns whether this operation's release ended with this state, and its directives with it.
    async fn is_concluded(&self, state: ReleaseState, done: &str) -> Result<Progress, ActError> {
        let subject = self.subject()?;
        let row = self.store.release_get(subject.params.app.into()).await?;
        let is_own = row.is_some_and(|row| row.operation == self.attempt.operation && row.state == state);
        let left = directives::of(self.store, self.attempt.operation).await?.len();
        Ok(if is_own && left == 0 {
            Progress::Done(done.to_owned())
        } else {
            Progress::Missing("the release is not stored as ended".to_owned())
        })
    }
}

/// The previous revision is decided for all cells.
fn restored(view: &View) -> Progress {
    if view.cells.values().any(|cell| !cell.has_directive) {
        return Progress::Missing("its directives are not as they are to be".to_owned());
    }
    let open: Vec<&CellName> = view.cells.iter().filter(|(_, cell)| !cell.is_decided).map(|(name, _)| name).collect();
    if open.is_empty() {
        Progress::Done("decided for all cells".to_owned())
    } else {
        Progress::Waiting(format!("not decided yet for {}", named(open.into_iter())))
    }
}

/// The previous revision runs in all cells.
fn settled(view: &View) -> Progress {
    let open: Vec<CellName> =
        view.cells.iter().filter(|(_, cell)| !cell.arrival.is_there).map(|(name, _)| name.clone()).collect();
    if open.is_empty() { Progress::Done("it runs".to_owned()) } else { Progress::Waiting(waiting_text(view, &open)) }
}

fn named<'a>(cells: impl Iterator<Item = &'a CellName>) -> String {
    let cells: Vec<&str> = cells.map(CellName::as_str).collect();
    let more = if cells.len() > NAMED_MAX { format!(" and {} more", cells.len() - NAMED_MAX) } else { String::new() };
    format!("{}{more}", cells.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", "))
}

fn waiting_text(view: &View, cells: &[CellName]) -> String {
    let asked = view.cells.values().filter(|cell| cell.cell.asked != Asked::default());
    let (available, expected) = asked.fold((0, 0), |(available, expected), cell| {
        (available + cell.arrival.available, expected + cell.arrival.expected)
    });
    let mut texts = vec![format!("{available} of {expected} replicas with the revision are available")];
    for name in cells.iter().take(NAMED_MAX) {
        let Some(arrival) = view.cells.get(name).map(|cell| &cell.arrival) else { continue };
        let obstacle = arrival.obstacle.as_ref().map(|obstacle| format!(", {obstacle}")).unwrap_or_default();
        texts.push(format!("{name}: {} of {}{obstacle}", arrival.available, arrival.expected));
    }
    if cells.len() > NAMED_MAX {
        texts.push(format!("{} more cells", cells.len() - NAMED_MAX));
    }
    texts.join("; ")
}

fn done_text(view: &View, goals: &[Goal]) -> String {
    if goals == [Goal::Return] {
        return "the gray workloads are gone".to_owned();
    }
    let released = |cell: &super::view::CellView| {
        if cell.cell.asked.main { cell.cell.target } else { cell.cell.asked.gray }
    };
    let replicas: i64 = view.cells.values().map(|cell| i64::from(released(cell))).sum();
    let total: i64 = view.cells.values().map(|cell| i64::from(cell.cell.target)).sum();
    format!("{replicas} of {total} replicas run the revision")
}

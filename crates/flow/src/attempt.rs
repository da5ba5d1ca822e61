//! One attempt: checks, acts, observes, and reports to the owner of the operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use domain::operation::{Key, Outcome, Recovery};
use tokio::sync::{mpsc, watch};
use vocabulary::Verdict;

use crate::engine::FlowTimes;
use crate::kind::{ActError, Attempt, CheckContext, Kind, Progress};

/// What an attempt reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// Progress, for people.
    Progress(Key, String),
    /// The result of a check changed.
    Checked { key: Key, check: String, verdict: Verdict, message: String },
    /// An act ended; its effect is not observed yet.
    Acted,
    /// The attempt ended.
    Ended(Key, Outcome),
    /// Another process owns the operation.
    Fenced,
}

/// Whether an attempt may be stopped: not while it acts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stage(Arc<AtomicU8>);

const IDLE: u8 = 0;
const ACTING: u8 = 1;
const STOPPED: u8 = 2;

impl Stage {
    /// Stops the attempt. Returns whether it acts, so that it could not be stopped.
    pub(crate) fn stop(&self) -> bool {
        self.0.compare_exchange(IDLE, STOPPED, Ordering::AcqRel, Ordering::Acquire) == Err(ACTING)
    }

    pub(crate) fn is_acting(&self) -> bool {
        self.0.load(Ordering::Acquire) == ACTING
    }

    /// Begins to act, unless the attempt was stopped.
    fn begin(&self) -> bool {
        self.0.compare_exchange(IDLE, ACTING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn end(&self) {
        // Nobody stops an attempt that acts, so the stage is still `ACTING`.
        self.0.store(IDLE, Ordering::Release);
    }
}

/// What the task of an attempt needs.
#[derive(Debug)]
pub(crate) struct AttemptTask {
    pub(crate) kind: Arc<dyn Kind>,
    pub(crate) attempt: Attempt,
    /// The intent was stored by an earlier owner, or before a pause: the act may have happened.
    pub(crate) is_recovered: bool,
    /// A person said that the step's checks need not pass.
    pub(crate) is_forced: bool,
    pub(crate) stage: Stage,
    pub(crate) reports: mpsc::Sender<Report>,
    /// Changes whenever something may have changed that the attempt observes.
    pub(crate) wakes: watch::Receiver<u64>,
    pub(crate) times: FlowTimes,
}

/// Next thing that an attempt does.
enum Next {
    Act,
    Observe,
    End(Outcome),
    Stop,
}

impl AttemptTask {
    pub(crate) async fn run(mut self) {
        let key = self.key();
        let mut next = match self.attempt.step.class.recovery() {
            _ if !self.is_recovered => Next::Act,
            Recovery::Repeat => Next::Act,
            Recovery::ObserveFirst => Next::Observe,
            Recovery::AskPerson => Next::End(Outcome::Indeterminate {
                message: "the process ended while it acted; whether it took effect is unknown".to_owned(),
            }),
        };
        if matches!(next, Next::Act) && !self.is_recovered && !self.pass(&self.attempt.step.pre.clone(), None).await {
            return;
        }
        loop {
            next = match next {
                Next::Act => self.act().await,
                Next::Observe => self.observe().await,
                Next::End(outcome) => return self.report(Report::Ended(key, outcome)).await,
                Next::Stop => return,
            };
        }
    }

    fn key(&self) -> Key {
        Key { step: self.attempt.step.id.clone(), target: self.attempt.target.clone() }
    }

    async fn report(&self, report: Report) {
        // The owner is gone only when the task is about to be dropped.
        let _ = self.reports.send(report).await;
    }

    async fn act(&mut self) -> Next {
        if !self.stage.begin() {
            return Next::Stop;
        }
        let acted = tokio::time::timeout(self.times.act_timeout, self.kind.act(&self.attempt)).await;
        self.stage.end();
        self.report(Report::Acted).await;
        match acted {
            Ok(Ok(())) => Next::Observe,
            Ok(Err(ActError::Fenced)) => self.fenced().await,
            Ok(Err(ActError::Failed(message))) => Next::End(Outcome::Failed { message, is_retryable: true }),
            Ok(Err(ActError::Refused(message))) => Next::End(Outcome::Failed { message, is_retryable: false }),
            Ok(Err(ActError::Unknown(message))) => self.after_unknown(message).await,
            Err(_) => self.after_unknown("no answer in time".to_owned()).await,
        }
    }

    /// Continues after a write whose effect is unknown.
    async fn after_unknown(&mut self, message: String) -> Next {
        match self.attempt.step.class.recovery() {
            Recovery::AskPerson => Next::End(Outcome::Indeterminate { message }),
            recovery => {
                self.report(Report::Progress(self.key(), message)).await;
                self.wait().await;
                if recovery == Recovery::Repeat { Next::Act } else { Next::Observe }
            }
        }
    }

    async fn fenced(&self) -> Next {
        self.report(Report::Fenced).await;
        Next::Stop
    }

    async fn observe(&mut self) -> Next {
        let mut told = String::new();
        loop {
            let message = match self.kind.observe(&self.attempt).await {
                Ok(Progress::Done(message)) => {
                    if !self.pass(&self.attempt.step.post.clone(), Some(self.attempt.target.clone())).await {
                        return Next::Stop;
                    }
                    return Next::End(Outcome::Succeeded { message });
                }
                Ok(Progress::Failed(message)) => return Next::End(Outcome::Failed { message, is_retryable: false }),
                Ok(Progress::Missing(message)) => match self.attempt.step.class.recovery() {
                    Recovery::AskPerson => return Next::End(Outcome::Indeterminate { message }),
                    _ => {
                        self.report(Report::Progress(self.key(), message)).await;
                        self.wait().await;
                        return Next::Act;
                    }
                },
                Ok(Progress::Waiting(message)) => message,
                Err(ActError::Fenced) => return self.fenced().await,
                Err(error) => format!("it cannot be observed: {error}"),
            };
            if message != told {
                self.report(Report::Progress(self.key(), message.clone())).await;
                told = message;
            }
            self.wait().await;
        }
    }

    /// Waits until all checks pass. Returns `false` when the attempt ended because one failed.
    ///
    /// Unknown never passes: it waits until the target times out.
    async fn pass(&mut self, checks: &[String], target: Option<String>) -> bool {
        let context = CheckContext {
            operation: self.attempt.operation,
            spec: self.attempt.spec.clone(),
            step: self.attempt.step.clone(),
            target,
        };
        let mut told: Vec<Option<(Verdict, String)>> = vec![None; checks.len()];
        while !self.is_forced {
            let mut all = Verdict::Pass;
            for (check, told) in checks.iter().zip(&mut told) {
                let (verdict, message) = self.kind.check(check, &context).await;
                if told.as_ref() != Some(&(verdict, message.clone())) {
                    let (key, check) = (self.key(), check.clone());
                    self.report(Report::Checked { key, check, verdict, message: message.clone() }).await;
                }
                *told = Some((verdict, message));
                all = Verdict::all([all, verdict]);
            }
            match all {
                Verdict::Pass => return true,
                Verdict::Unknown => self.wait().await,
                Verdict::Fail => {
                    let failed: Vec<String> = checks
                        .iter()
                        .zip(&told)
                        .filter_map(|(check, told)| {
                            let (_, message) = told.as_ref().filter(|(verdict, _)| *verdict == Verdict::Fail)?;
                            Some(format!("check {check} failed: {message}"))
                        })
                        .collect();
                    let outcome = Outcome::Failed { message: failed.join("; "), is_retryable: false };
                    self.report(Report::Ended(self.key(), outcome)).await;
                    return false;
                }
            }
        }
        true
    }

    /// Waits for a hint, or as long as observations may be apart without one.
    async fn wait(&mut self) {
        tokio::time::sleep(self.times.observe_interval_min).await;
        // An error means that the owner ends, and this task with it.
        let _ = tokio::time::timeout(self.times.look_again, self.wakes.changed()).await;
    }
}

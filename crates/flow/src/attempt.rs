//! One attempt: checks, acts, observes, and reports to the owner of the operation.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::operation::{Key, Outcome, Recovery};
use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use vocabulary::Verdict;

use crate::kind::{ActError, Attempt, CheckContext, Kind, Progress};
use crate::stage::Stage;
use crate::times::FlowTimes;

/// What an attempt reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// Progress, for people.
    Progress(Key, String),
    /// The result of a check changed.
    Checked { key: Key, check: String, verdict: Verdict, message: String },
    /// An act ended; its effect is not observed yet.
    Acted,
    /// The attempt with this round and number ended.
    Ended(Key, (i32, i32), Outcome),
    /// Another process owns the operation.
    Fenced,
}

/// What the task of an attempt needs.
#[derive(Debug)]
pub(crate) struct AttemptTask {
    pub(crate) kind: Arc<dyn Kind>,
    pub(crate) attempt: Attempt,
    /// Round and number of the attempt.
    pub(crate) number: (i32, i32),
    /// The intent was stored by an earlier owner, or before a pause: the act may have happened.
    pub(crate) is_recovered: bool,
    /// A person said that the step's checks need not pass.
    pub(crate) is_forced: Arc<AtomicBool>,
    /// The checks before the act passed in this attempt.
    pub(crate) has_passed_pre: bool,
    pub(crate) stage: Stage,
    pub(crate) reports: mpsc::Sender<Report>,
    /// Changes whenever something may have changed that the attempt observes.
    pub(crate) wakes: watch::Receiver<u64>,
    pub(crate) times: FlowTimes,
}

/// Next thing that an attempt does.
enum Next {
    /// Look for the effect of an earlier act, and act where there is none.
    Look,
    Act,
    Observe,
    End(Outcome),
    Stop,
}

impl AttemptTask {
    pub(crate) async fn run(mut self) {
        let key = self.key();
        // An earlier attempt may have acted as well, even one that failed: its failure may be that of a check.
        let may_have_acted = self.is_recovered || self.number != (0, 0);
        let mut next = match self.attempt.step.class.recovery() {
            _ if !may_have_acted => Next::Act,
            Recovery::Repeat | Recovery::ObserveFirst => Next::Look,
            // A person asked for the retry, or the earlier attempt certainly did nothing.
            Recovery::AskPerson if !self.is_recovered => Next::Act,
            Recovery::AskPerson => Next::End(Outcome::Indeterminate {
                message: "the process ended while it acted; whether it took effect is unknown".to_owned(),
            }),
        };
        loop {
            next = match next {
                Next::Look => self.look().await,
                Next::Act => self.act().await,
                Next::Observe => self.observe().await,
                Next::End(outcome) => return self.report(Report::Ended(key, self.number, outcome)).await,
                Next::Stop => return,
            };
        }
    }

    /// Looks for the effect of an earlier act. Only where it is certainly missing, or a repetition is harmless, the
    /// attempt acts.
    async fn look(&mut self) -> Next {
        let repeats = self.attempt.step.class.recovery() == Recovery::Repeat;
        // A new round follows a definite failure; what was under way then does not end by itself.
        let is_new_round = !self.is_recovered && self.number.1 == 0;
        loop {
            match self.observed().await {
                Ok(Progress::Done(_)) => return Next::Observe,
                Ok(Progress::Missing(_)) => return Next::Act,
                Err(ActError::Fenced) => return self.fenced().await,
                _ if repeats => return Next::Act,
                Ok(Progress::Failed(_)) if !self.is_recovered => return Next::Act,
                Ok(Progress::Waiting(_)) if is_new_round => return Next::Act,
                Ok(Progress::Waiting(_) | Progress::Failed(_)) => return Next::Observe,
                Err(error) => {
                    self.report(Report::Progress(self.key(), unobservable(&error))).await;
                    self.wait().await;
                }
            }
        }
    }

    async fn observed(&self) -> Result<Progress, ActError> {
        caught(async { self.kind.observe(&self.attempt).await })
            .await
            .unwrap_or_else(|message| Err(ActError::Failed(message)))
    }

    fn key(&self) -> Key {
        Key { step: self.attempt.step.id.clone(), target: self.attempt.target.clone() }
    }

    async fn report(&self, report: Report) {
        // The owner is gone only when the task is about to be dropped.
        let _ = self.reports.send(report).await;
    }

    async fn act(&mut self) -> Next {
        if !self.has_passed_pre && !self.pass(&self.attempt.step.pre.clone(), None).await {
            return Next::Stop;
        }
        self.has_passed_pre = true;
        if !self.stage.begin() {
            return Next::Stop;
        }
        let acted = caught(async { self.kind.act(&self.attempt).await });
        let acted = match tokio::time::timeout(self.times.act_timeout, acted).await {
            Ok(Ok(acted)) => acted,
            Ok(Err(message)) => Err(ActError::Unknown(message)),
            Err(_) => Err(ActError::Unknown("no answer in time".to_owned())),
        };
        if self.attempt.step.class.recovery() == Recovery::AskPerson {
            return self.after_opaque(acted).await;
        }
        self.stage.end();
        self.report(Report::Acted).await;
        match acted {
            Ok(()) => Next::Observe,
            Err(ActError::Fenced) => self.fenced().await,
            Err(ActError::Failed(message)) => Next::End(Outcome::Failed { message, is_retryable: true }),
            Err(ActError::Refused(message)) => Next::End(Outcome::Failed { message, is_retryable: false }),
            Err(ActError::Unknown(message)) => self.after_unknown(message).await,
        }
    }

    /// Continues after a write that cannot be observed later: its answer is all that will be known.
    ///
    /// The attempt counts as acting until the answer is reported, so that no pause comes between.
    async fn after_opaque(&mut self, acted: Result<(), ActError>) -> Next {
        let outcome = match acted {
            Ok(()) => match tokio::time::timeout(self.times.act_timeout, self.observed()).await {
                Ok(Ok(Progress::Done(message))) if self.attempt.step.post.is_empty() => Outcome::Succeeded { message },
                Ok(Err(ActError::Fenced)) => return self.fenced().await,
                _ => {
                    self.stage.end();
                    self.report(Report::Acted).await;
                    return Next::Observe;
                }
            },
            Err(ActError::Fenced) => return self.fenced().await,
            Err(ActError::Failed(message)) => Outcome::Failed { message, is_retryable: true },
            Err(ActError::Refused(message)) => Outcome::Failed { message, is_retryable: false },
            Err(ActError::Unknown(message)) => Outcome::Indeterminate { message },
        };
        Next::End(outcome)
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
            let message = match self.observed().await {
                Ok(Progress::Done(message)) => {
                    if !self.pass(&self.attempt.step.post.clone(), Some(self.attempt.target.clone())).await {
                        return Next::Stop;
                    }
                    return Next::End(Outcome::Succeeded { message });
                }
                Ok(Progress::Failed(message)) => return Next::End(Outcome::Failed { message, is_retryable: false }),
                Ok(Progress::Missing(message)) => {
                    if self.attempt.step.class.recovery() == Recovery::AskPerson {
                        return Next::End(Outcome::Indeterminate { message });
                    }
                    self.report(Report::Progress(self.key(), message)).await;
                    self.wait().await;
                    return Next::Act;
                }
                Ok(Progress::Waiting(message)) => message,
                Err(ActError::Fenced) => return self.fenced().await,
                Err(error) => unobservable(&error),
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
        while !self.is_forced.load(Ordering::Acquire) {
            let mut all = Verdict::Pass;
            for (check, told) in checks.iter().zip(&mut told) {
                let result = caught(async { self.kind.check(check, &context).await }).await;
                let (verdict, message) = result.unwrap_or_else(|message| (Verdict::Unknown, message));
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
                    self.report(Report::Ended(self.key(), self.number, outcome)).await;
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

fn unobservable(error: &ActError) -> String {
    format!("it cannot be observed: {error}")
}

/// Awaits a call into the kind. A panic there ends the call, and neither the attempt nor the engine.
async fn caught<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let ended = AssertUnwindSafe(call).catch_unwind().await;
    ended.map_err(|_| "this step's program failed; the log of the process that ran it names the line".to_owned())
}

//! A kind of operation whose effects the test sees, and whose targets the test lets go.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use domain::operation::{EffectClass, LockKey, LockRequest, OnFailure, Plan, Priority, Require, Retry, Step};
use flow::{ActError, Attempt, Kind, PlanFailure, Planned, Progress};
use futures::future::BoxFuture;
use serde_json::{Value, json};

/// Targets that were acted on, and targets that may end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wave(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    acted: Vec<String>,
    let_go: BTreeSet<String>,
    failing: BTreeSet<String>,
}

impl Wave {
    pub(crate) fn acted(&self) -> Vec<String> {
        self.0.lock().unwrap().acted.clone()
    }

    pub(crate) fn let_go(&self, target: &str) {
        self.0.lock().unwrap().let_go.insert(target.to_owned());
    }

    pub(crate) fn fail(&self, target: &str, fails: bool) {
        let failing = &mut self.0.lock().unwrap().failing;
        if fails {
            failing.insert(target.to_owned())
        } else {
            failing.remove(target)
        };
    }
}

fn step(id: &str, targets: Vec<String>, confirm: bool) -> Step {
    Step {
        id: id.to_owned(),
        act: "wave".to_owned(),
        title: format!("wave at {id}"),
        class: EffectClass::Absolute,
        needs: Vec::new(),
        when: None,
        targets,
        max_parallel: 10,
        timeout_seconds: 60,
        retry: Retry::default(),
        on_failure: OnFailure::Pause,
        on_timeout: OnFailure::Pause,
        require: Require::All,
        confirm,
        pre: Vec::new(),
        post: Vec::new(),
        params: Value::Null,
    }
}

impl Kind for Wave {
    fn name(&self) -> &'static str {
        "wave"
    }

    fn priority(&self) -> Priority {
        Priority::Drain
    }

    fn plan<'a>(&'a self, spec: &'a Value) -> BoxFuture<'a, Result<Planned, PlanFailure>> {
        Box::pin(async move {
            let Some(cluster) = spec["cluster"].as_str() else {
                return Err(PlanFailure::invalid("/cluster", "name a cluster"));
            };
            match cluster {
                "gone" => return Err(PlanFailure::NotFound("there is no cluster gone".to_owned())),
                "busy" => return Err(PlanFailure::Conflict("cluster busy is being deleted".to_owned())),
                _ => {}
            }
            let targets: Vec<String> = spec["targets"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|target| target.as_str().map(str::to_owned))
                .collect();
            if targets.is_empty() {
                return Err(PlanFailure::invalid("/targets", "name targets"));
            }
            let confirm = spec["confirm"] == true;
            let approvals = usize::from(spec["approvals"] == true);
            let revert = vec![step("back", targets.clone(), false)];
            Ok(Planned {
                subject: format!("cluster {cluster}"),
                plan: Plan { forward: vec![step("there", targets.clone(), confirm)], revert, approvals },
                locks: vec![LockRequest::exclusive(LockKey::Cluster(cluster.to_owned()))],
                preview: json!({ "waves": targets.len() }),
            })
        })
    }

    fn act<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<(), ActError>> {
        let state = &mut self.0.lock().unwrap();
        let failed = state.failing.contains(&attempt.target);
        if !failed {
            state.acted.push(attempt.target.clone());
        }
        let outcome = if failed { Err(ActError::Refused("it does not wave back".to_owned())) } else { Ok(()) };
        Box::pin(std::future::ready(outcome))
    }

    fn observe<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Progress, ActError>> {
        let is_let_go = self.0.lock().unwrap().let_go.contains(&attempt.target);
        let progress =
            if is_let_go { Progress::Done("waved".to_owned()) } else { Progress::Waiting("waves".to_owned()) };
        Box::pin(std::future::ready(Ok(progress)))
    }
}

/// Stands for the kind that releases a revision: its operations run until a test ends them.
#[derive(Debug)]
pub(crate) struct Release;

impl Kind for Release {
    fn name(&self) -> &'static str {
        "release"
    }

    fn priority(&self) -> Priority {
        Priority::Release
    }

    fn plan<'a>(&'a self, spec: &'a Value) -> BoxFuture<'a, Result<Planned, PlanFailure>> {
        Box::pin(async move {
            let Some((namespace, name)) = spec["application"].as_str().and_then(|text| text.split_once('/')) else {
                return Err(PlanFailure::invalid("/application", "name an Application"));
            };
            Ok(Planned {
                subject: format!("application {namespace}/{name}"),
                plan: Plan {
                    forward: vec![step("batch", vec!["east".to_owned()], false)],
                    revert: vec![],
                    approvals: 0,
                },
                locks: vec![LockRequest::exclusive(LockKey::App(vocabulary::AppKey {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                }))],
                preview: Value::Null,
            })
        })
    }

    fn act<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<(), ActError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn observe<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<Progress, ActError>> {
        Box::pin(std::future::ready(Ok(Progress::Waiting("runs".to_owned()))))
    }
}

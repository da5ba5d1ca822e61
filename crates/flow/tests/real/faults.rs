//! One step of each effect class, and a kind that takes back, under every fault.

use std::sync::Arc;

use domain::operation::{EffectClass, OnFailure};
use flow::testing::kinds::{FixedKind, REFUSE, SET, Targets, UNSET, step};
use flow::testing::{Harness, Setup};
use serde_json::json;

use crate::bench::database;

/// Runs a kind with one step of this class for three targets.
async fn one_step_of(class: EffectClass) {
    let database = database().await;
    let harness = Harness::new(
        move |_| {
            let targets = Targets::with_goal(&["a", "b", "c"]);
            let kind = FixedKind::new("one-step", vec![step("only", SET, class, &["a", "b", "c"])], &targets);
            Box::pin(async move { Setup { kind: Arc::new(kind), world: targets } })
        },
        json!({}),
    );
    let summary = harness.run(&database.url).await.unwrap_or_else(|problems| panic!("{class:?}:\n{problems}"));
    assert!(summary.commits >= 3 && summary.acts == 3 && summary.faults > 20, "{class:?}: {summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pure_step_survives_every_fault() {
    one_step_of(EffectClass::Pure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absolute_step_survives_every_fault() {
    one_step_of(EffectClass::Absolute).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cas_step_survives_every_fault() {
    one_step_of(EffectClass::Cas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokened_step_survives_every_fault() {
    one_step_of(EffectClass::Tokened).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probed_step_survives_every_fault() {
    one_step_of(EffectClass::Probe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opaque_step_survives_every_fault() {
    one_step_of(EffectClass::Opaque).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operation_that_reverts_survives_every_fault() {
    let database = database().await;
    let harness = Harness::new(
        |_| {
            let targets = Targets::with_goal(&[]);
            let mut forward = vec![
                step("set", SET, EffectClass::Absolute, &["a", "b"]),
                step("end", REFUSE, EffectClass::Cas, &["a"]),
            ];
            forward[1].needs = vec!["set".to_owned()];
            for step in &mut forward {
                step.on_failure = OnFailure::Revert;
            }
            let mut kind = FixedKind::new("reverts", forward, &targets);
            kind.plan.revert = vec![step("unset", UNSET, EffectClass::Absolute, &["a", "b"])];
            Box::pin(async move { Setup { kind: Arc::new(kind), world: targets } })
        },
        json!({}),
    );
    let summary = harness.run(&database.url).await.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(summary.acts == 5, "{summary:?}");
}

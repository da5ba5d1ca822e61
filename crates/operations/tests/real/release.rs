//! Releases from their first batch to their end.

use domain::operation::{PauseReason, State, Verb};
use serde_json::{Value, json};
use store::ReleaseState;

use crate::stage::{Cell, Stage, cell, key, message, new, old};

fn quick(mut release: Value) -> Value {
    release["minReady"] = json!("0s");
    release
}

#[tokio::test(flavor = "multi_thread")]
async fn release_goes_in_groups_and_leaves_nothing_behind() {
    let release = json!({"beta": true, "batches": [6, "100%"], "minReady": "1s"});
    let stage = Stage::begin(&[cell("east", 5), cell("west", 5)], release).await;
    let begun = std::time::Instant::now();
    let id = stage.create().await;
    let run = stage.until_state(id, State::Succeeded).await;
    let steps: Vec<&str> = run.plan.forward.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(steps, ["beta", "batch-1", "promote", "return", "finish"]);
    for (step, expected) in [
        ("beta", "2 of 10 replicas run the revision"),
        ("batch-1", "6 of 10 replicas run the revision"),
        ("promote", "10 of 10 replicas run the revision"),
        ("return", "the gray workloads are gone"),
    ] {
        assert_eq!(message(&run, step), expected, "{step}");
    }
    assert!(begun.elapsed().as_secs() >= 3, "three batches were good for a second each: {:?}", begun.elapsed());
    assert_eq!(stage.decided(), "east/main=new:5 west/main=new:5");
    let row = stage.row().await.unwrap();
    assert_eq!((row.state, row.revision, row.previous, row.operation), (ReleaseState::Released, new(), old(), id));
    assert_eq!(stage.sql("SELECT count(*) FROM placement_directive"), "0");
    // Nothing is left to be released.
    let again = operations::release_request(&key(), new());
    let refused = flow::preview(&stage.starter.kinds, "release", &again).await.unwrap_err().to_string();
    assert!(refused.contains("nothing to release"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beta_that_never_gets_ready_is_rolled_back() {
    let release = quick(json!({"beta": true, "batches": ["50%"], "deadline": "2s"}));
    let stage = Stage::begin(&[cell("east", 5), cell("west", 5)], release).await;
    stage.break_revision(new());
    let id = stage.create().await;
    let run = stage.until_state(id, State::Reverted).await;
    assert!(message(&run, "beta").contains("0 of 2 replicas with the revision are available"), "{:?}", run.targets);
    assert_eq!(stage.decided(), "east/main=old:5 west/main=old:5");
    let row = stage.row().await.unwrap();
    assert_eq!(row.state, ReleaseState::RolledBack);
    assert!(row.message.starts_with("step beta, target shop/web: not in time: 0 of 2"), "{}", row.message);
    assert_eq!(row.superseded_by, None);
    assert_eq!(stage.sql("SELECT count(*) FROM placement_directive"), "0");
    assert_eq!(stage.candidate().await, None, "the revision is not released again by itself");
    // A person may start it again.
    stage.sql("DELETE FROM broken");
    let retry = stage.create().await;
    stage.until_state(retry, State::Succeeded).await;
    assert_eq!(stage.row().await.unwrap().state, ReleaseState::Released);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_wait_for_confirmation_and_follow_the_replicas() {
    let release = quick(json!({"batches": ["40%", "70%"], "confirm": "Manual", "onGateFail": "Pause"}));
    let stage = Stage::begin(&[cell("east", 5), cell("west", 5)], release).await;
    let id = stage.create().await;
    let run = stage.until_state(id, State::Paused).await;
    let pause = run.pause.clone().unwrap();
    assert_eq!((pause.reason, pause.step.as_deref()), (PauseReason::Confirm, Some("batch-2")));
    assert_eq!(stage.decided(), "east/main=old:3 east/gray=new:2 west/main=old:3 west/gray=new:2");
    // One cell grows while the release pauses: the next share is that of the replicas there are then.
    stage.sql("UPDATE cell_decision SET target = target + 10 WHERE cell = 'east' AND slot = 'main'");
    stage.verb(id, Verb::Confirm).await;
    let confirms_last =
        |run: &domain::operation::Run| run.pause.as_ref().is_some_and(|pause| pause.step.as_deref() == Some("promote"));
    stage.until("the last batch waits", async || confirms_last(&stage.run(id).await)).await;
    assert_eq!(stage.decided(), "east/main=old:4 east/gray=new:11 west/main=old:2 west/gray=new:3");
    // Taken back by a person, all cells go back.
    stage.verb(id, Verb::Revert).await;
    stage.until_state(id, State::Reverted).await;
    assert_eq!(stage.decided(), "east/main=old:15 west/main=old:5");
    assert_eq!(stage.row().await.unwrap().state, ReleaseState::RolledBack);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_halves_of_pairs_follow_the_first() {
    let half = |name, half| Cell { half: Some(half), ..cell(name, 4) };
    let release = quick(json!({"beta": true, "batches": ["50%"]}));
    let stage = Stage::begin(&[half("east", "A"), half("west", "B")], release).await;
    let id = stage.create().await;
    let run = stage.until_state(id, State::Succeeded).await;
    let steps: Vec<&str> = run.plan.forward.iter().map(|step| step.id.as_str()).collect();
    let expected = [
        "beta",
        "beta-second",
        "batch-1",
        "batch-1-second",
        "promote",
        "return",
        "promote-second",
        "return-second",
        "finish",
    ];
    assert_eq!(steps, expected);
    for (step, replicas) in
        [("beta", 1), ("beta-second", 2), ("batch-1", 3), ("batch-1-second", 4), ("promote", 6), ("promote-second", 8)]
    {
        assert_eq!(message(&run, step), format!("{replicas} of 8 replicas run the revision"), "{step}");
    }
    assert_eq!(stage.decided(), "east/main=new:4 west/main=new:4");
}

#[tokio::test(flavor = "multi_thread")]
async fn release_without_a_strategy_goes_cell_by_cell() {
    let stage = Stage::begin(&[cell("east", 3), cell("west", 3)], Value::Null).await;
    // Without the field, `minReady` has its default.
    let id = stage.create().await;
    let run = stage.until_state(id, State::Succeeded).await;
    assert_eq!(message(&run, "cell-east"), "3 of 6 replicas run the revision");
    assert_eq!(message(&run, "cell-west"), "6 of 6 replicas run the revision");
    assert_eq!(stage.decided(), "east/main=new:3 west/main=new:3");
}

#[tokio::test(flavor = "multi_thread")]
async fn revision_without_a_deployment_takes_whole_cells() {
    let release = quick(json!({"beta": true, "batches": ["50%"]}));
    let stage = Stage::begin(&[cell("east", 3), cell("west", 5)], release).await;
    stage.sql("UPDATE app_revision SET divided_kind = 'apps/v1/StatefulSet'");
    let id = stage.create().await;
    let run = stage.until_state(id, State::Succeeded).await;
    let steps: Vec<&str> = run.plan.forward.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(steps, ["batch-1", "promote", "finish"]);
    assert_eq!(message(&run, "batch-1"), "3 of 8 replicas run the revision");
    assert_eq!(stage.decided(), "east/main=new:3 west/main=new:5");
}

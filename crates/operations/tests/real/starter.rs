//! The starter: begins releases once, supersedes them, and stores how abandoned ones ended.

use domain::operation::{State, Verb};
use operations::Looked;
use serde_json::json;
use store::ReleaseState;
use vocabulary::ContentHash;

use crate::stage::{Stage, cell, new, old};

#[tokio::test(flavor = "multi_thread")]
async fn newer_revision_supersedes_an_open_release() {
    let release = json!({"beta": true, "minReady": "0s"});
    let stage = Stage::begin(&[cell("east", 2), cell("west", 2)], release).await;
    stage.break_revision(new());
    stage.sql("UPDATE application SET decided_generation = 0");
    let undecided = stage.candidate().await.unwrap();
    assert_eq!(stage.starter.look_at(&undecided).await.unwrap(), Looked::Undecided, "cells may take it by themselves");
    stage.decide();
    let candidate = stage.candidate().await.unwrap();
    let Looked::Started(first) = stage.starter.look_at(&candidate).await.unwrap() else { panic!("not started") };
    assert_eq!(stage.starter.look_at(&candidate).await.unwrap(), Looked::Nothing, "it is not started twice");
    stage.until("the beta is asked for", async || stage.decided().contains("gray=new:1")).await;

    // The next revision is wanted: the open release is taken back first.
    let newer = ContentHash::of(b"newer");
    stage.want(newer, 3).await;
    let candidate = stage.candidate().await.unwrap();
    assert_eq!(stage.starter.look_at(&candidate).await.unwrap(), Looked::Superseded(first));
    stage.until_state(first, State::Reverted).await;
    let row = stage.row().await.unwrap();
    assert_eq!((row.state, row.revision, row.superseded_by), (ReleaseState::RolledBack, new(), Some(newer)));

    let candidate = stage.candidate().await.unwrap();
    let Looked::Started(second) = stage.starter.look_at(&candidate).await.unwrap() else { panic!("not started") };
    stage.until_state(second, State::Succeeded).await;
    assert_eq!(stage.decided(), "east/main=newer:2 west/main=newer:2");
    assert_eq!(stage.row().await.unwrap().state, ReleaseState::Released);
    assert_eq!(stage.candidate().await, None);

    // The superseded revision did not fail by itself, so it may be wanted again.
    stage.sql("DELETE FROM broken");
    stage.want(new(), 4).await;
    let candidate = stage.candidate().await.unwrap();
    let Looked::Started(third) = stage.starter.look_at(&candidate).await.unwrap() else { panic!("not started") };
    stage.until_state(third, State::Succeeded).await;
    assert_eq!(stage.decided(), "east/main=new:2 west/main=new:2");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_release_is_stored_and_not_started_again() {
    let release = json!({"beta": true, "minReady": "0s"});
    let stage = Stage::begin(&[cell("east", 2), cell("west", 2)], release).await;
    stage.break_revision(new());
    let candidate = stage.candidate().await.unwrap();
    let Looked::Started(id) = stage.starter.look_at(&candidate).await.unwrap() else { panic!("not started") };
    stage.until("the beta is asked for", async || stage.decided().contains("gray=new:1")).await;
    stage.verb(id, Verb::Cancel).await;
    stage.until_state(id, State::Cancelled).await;
    assert_eq!(stage.row().await.unwrap().state, ReleaseState::Open);

    let candidate = stage.candidate().await.unwrap();
    let looked = stage.starter.look_at(&candidate).await.unwrap();
    assert_eq!(looked, Looked::Concluded(ReleaseState::RolledBack));
    let row = stage.row().await.unwrap();
    assert_eq!(row.message, "its operation ended Cancelled; 0 of 2 cells hold the revision");
    assert_eq!(row.previous, old());
    assert_eq!(stage.candidate().await, None, "it is not started again");
    stage.until("the gray slots end with the directives", async || !stage.decided().contains("gray")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn release_cancelled_before_it_began_is_stored_too() {
    let mut stage = Stage::begin(&[cell("east", 2)], json!({"minReady": "0s"})).await;
    // No engine runs, so the release does nothing before it is cancelled.
    stage.stop_engine().await;
    let candidate = stage.candidate().await.unwrap();
    let Looked::Started(id) = stage.starter.look_at(&candidate).await.unwrap() else { panic!("not started") };
    stage.verb(id, Verb::Cancel).await;
    stage.start_engine();
    stage.until_state(id, State::Cancelled).await;
    assert_eq!(stage.row().await, None, "it stored nothing");

    let candidate = stage.candidate().await.unwrap();
    let looked = stage.starter.look_at(&candidate).await.unwrap();
    assert_eq!(looked, Looked::Concluded(ReleaseState::RolledBack));
    let row = stage.row().await.unwrap();
    assert_eq!((row.operation, row.revision, row.previous), (id, new(), old()));
    assert_eq!(stage.candidate().await, None, "it is not started again");
}

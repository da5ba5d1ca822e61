//! Tests of the health tracker.

use super::*;

fn stored(health: Verdict) -> ClusterStatusRow {
    ClusterStatusRow {
        health,
        reason: "Ready".to_owned(),
        message: "as it was".to_owned(),
        as_of: Some(Timestamp::UNIX_EPOCH),
        ..ClusterStatusRow::unknown()
    }
}

fn whole() -> FollowState {
    FollowState::Known { stale: Vec::new() }
}

fn unreachable() -> Unavailable {
    Unavailable { verdict: Verdict::Unknown, reason: "Unreachable", message: String::new() }
}

/// Renews both signals once a second for `seconds` seconds.
async fn well_for(health_tracker: &mut HealthTracker, seconds: u64) -> ClusterStatusRow {
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
        health_tracker.answered(Ok(()));
        health_tracker.watch_reported(Ok(()));
        let status = health_tracker.status(&whole(), |row| row);
        health_tracker.wrote(status);
    }
    health_tracker.status(&whole(), |row| row)
}

#[tokio::test(start_paused = true)]
async fn stored_health_is_kept_until_lists_are_read_or_silence_limit() {
    let times = DeliveryTimes::default();
    let mut health_tracker = HealthTracker::new(times, Some(stored(Verdict::Pass)));
    let status = health_tracker.status(&FollowState::Listing, |row| row);
    assert_eq!((status.health, status.as_of), (stored(Verdict::Pass).health, stored(Verdict::Pass).as_of));
    assert_ne!(health_tracker.due(&status), Some(HealthWrite::Decisive), "taking over is no fact about the member");

    tokio::time::advance(times.silence + Duration::from_secs(1)).await;
    health_tracker.answered(Ok(()));
    health_tracker.watch_reported(Ok(()));
    let status = health_tracker.status(&FollowState::Listing, |row| row);
    assert_eq!((status.health, status.as_of), (Verdict::Unknown, Some(Timestamp::UNIX_EPOCH)));
    assert_eq!(health_tracker.due(&status), Some(HealthWrite::Decisive));
}

#[tokio::test(start_paused = true)]
async fn a_list_read_again_leaves_health_and_lets_the_age_grow() {
    let times = DeliveryTimes::default();
    let mut health_tracker = HealthTracker::new(times, None);
    health_tracker.nodes(Some((2, 2)));
    let first = health_tracker.status(&whole(), |row| row);
    assert_eq!(first.health, Verdict::Pass, "a member that was never silent needs no recovery");
    assert_eq!(health_tracker.due(&first), Some(HealthWrite::Decisive));
    health_tracker.wrote(first.clone());
    tokio::time::advance(times.heartbeat).await;
    health_tracker.answered(Ok(()));
    health_tracker.watch_reported(Ok(()));
    let status = health_tracker.status(&FollowState::Listing, |row| row);
    assert_eq!((status.health, status.as_of), (first.health, first.as_of));
    assert_eq!(health_tracker.due(&status), None, "no newer sign of life while a list is missing");
}

#[tokio::test(start_paused = true)]
async fn refused_credential_counts_at_once_and_silence_after_limit() {
    let times = DeliveryTimes::default();
    let mut health_tracker = HealthTracker::new(times, Some(stored(Verdict::Pass)));
    health_tracker.answered(Err(unreachable()));
    assert_eq!(health_tracker.status(&whole(), |row| row).health, Verdict::Pass, "one failed call is no silence");
    health_tracker.answered(Err(Unavailable {
        verdict: Verdict::Fail,
        reason: "CredentialRejected",
        message: String::new(),
    }));
    assert_eq!(health_tracker.status(&whole(), |row| row).health, Verdict::Fail);
    health_tracker.answered(Ok(()));
    tokio::time::advance(times.silence).await;
    assert_eq!(health_tracker.status(&whole(), |row| row).reason, "Silent");
}

#[tokio::test(start_paused = true)]
async fn time_without_listening_is_not_silence_but_adds_age() {
    let times = DeliveryTimes::default();
    let mut health_tracker = HealthTracker::new(times, Some(stored(Verdict::Pass)));
    let as_of = health_tracker.status(&whole(), |row| row).as_of;
    tokio::time::advance(times.silence * 2).await;
    health_tracker.deaf((times.silence * 2).saturating_sub(times.probe));
    let status = health_tracker.status(&whole(), |row| row);
    assert_eq!((status.health, status.as_of), (Verdict::Pass, as_of));
    tokio::time::advance(times.silence).await;
    health_tracker.deaf(Duration::ZERO);
    assert_eq!(health_tracker.status(&whole(), |row| row).reason, "Silent", "now it had the time to say something");
}

#[tokio::test(start_paused = true)]
async fn stale_kinds_are_told_and_the_member_stays_well() {
    let mut health_tracker = HealthTracker::new(DeliveryTimes::default(), Some(stored(Verdict::Pass)));
    health_tracker.nodes(Some((1, 1)));
    let status =
        health_tracker.status(&FollowState::Known { stale: vec!["Widget: webhook failed".to_owned()] }, |row| row);
    assert_eq!((status.health, status.reason.as_str()), (Verdict::Pass, "Degraded"));
    assert!(status.message.contains("Widget: webhook failed"), "{}", status.message);
    assert!(status.as_of > stored(Verdict::Pass).as_of, "what else it tells is fresh");
    let silent = health_tracker.status(&FollowState::Silent("its pods cannot be followed".to_owned()), |row| row);
    assert_eq!((silent.health, silent.reason.as_str()), (Verdict::Unknown, "WatchStale"));
}

#[test]
fn silence_begins_anew_after_the_member_refused_us() {
    let at = |second| Some(Timestamp::from_second(second).unwrap());
    let now = Timestamp::from_second(9).unwrap();
    for (case, verdict, reason, before, expected) in [
        ("it falls silent", Verdict::Unknown, "Silent", None, at(9)),
        ("it stays silent", Verdict::Unknown, "Silent", at(3), at(3)),
        ("it answers again", Verdict::Unknown, RECOVERING, at(3), at(3)),
        ("it refuses us", Verdict::Fail, "CredentialRejected", at(3), None),
        ("it is well", Verdict::Pass, "Ready", at(3), None),
        ("we have no credential", Verdict::Unknown, NO_CREDENTIAL, None, None),
    ] {
        assert_eq!(silent_since(verdict, reason, before, now), expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_signal_stands_for_the_other() {
    let times = DeliveryTimes::default();
    for (api, reason) in [(true, "WatchStale"), (false, "Silent")] {
        let mut health_tracker = HealthTracker::new(times, Some(stored(Verdict::Pass)));
        for _ in 0..=times.silence.as_secs() {
            tokio::time::advance(Duration::from_secs(1)).await;
            if api { health_tracker.answered(Ok(())) } else { health_tracker.watch_reported(Ok(())) }
        }
        let status = health_tracker.status(&whole(), |row| row);
        assert_eq!((status.health, status.reason.as_str()), (Verdict::Unknown, reason));
    }
}

#[tokio::test(start_paused = true)]
async fn recovery_takes_its_time_and_a_break_begins_it_anew() {
    let times = DeliveryTimes::default();
    let mut health_tracker = HealthTracker::new(times, Some(stored(Verdict::Pass)));
    health_tracker.nodes(Some((1, 1)));
    tokio::time::advance(times.silence).await;
    let silent = health_tracker.status(&whole(), |row| row);
    let since = silent.unhealthy_since;
    assert!(since.is_some());
    health_tracker.wrote(silent);
    assert_eq!(well_for(&mut health_tracker, 5).await.reason, "Recovering");
    health_tracker.answered(Err(unreachable()));
    tokio::time::advance(times.silence).await;
    health_tracker.watch_reported(Ok(()));
    let again = health_tracker.status(&whole(), |row| row);
    assert_eq!((again.health, again.unhealthy_since), (Verdict::Unknown, since), "its timer is not reset");
    health_tracker.wrote(again);
    assert_eq!(well_for(&mut health_tracker, 9).await.health, Verdict::Unknown);
    let well = well_for(&mut health_tracker, 3).await;
    assert_eq!((well.health, well.unhealthy_since), (Verdict::Pass, None));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_refused_us_after_it_was_silent_recovers_too() {
    let times = DeliveryTimes::default();
    let mut health_tracker = HealthTracker::new(times, Some(stored(Verdict::Pass)));
    health_tracker.nodes(Some((1, 1)));
    tokio::time::advance(times.silence).await;
    health_tracker.watch_reported(Ok(()));
    health_tracker.answered(Err(Unavailable {
        verdict: Verdict::Fail,
        reason: "PermissionMissing",
        message: String::new(),
    }));
    let refused = health_tracker.status(&whole(), |row| row);
    assert_eq!(refused.health, Verdict::Fail);
    health_tracker.wrote(refused);
    assert_eq!(well_for(&mut health_tracker, 5).await.reason, "Recovering");
    assert_eq!(well_for(&mut health_tracker, times.recovery.as_secs()).await.health, Verdict::Pass);
}

#[tokio::test(start_paused = true)]
async fn unready_nodes_degrade_the_member_but_do_not_silence_it() {
    let mut health_tracker = HealthTracker::new(DeliveryTimes::default(), None);
    health_tracker.nodes(Some((1, 3)));
    let status = health_tracker.status(&whole(), |row| row);
    assert_eq!((status.health, status.reason.as_str()), (Verdict::Pass, "Degraded"));
    assert_eq!(status.message, "2 of 3 nodes are not ready");
}

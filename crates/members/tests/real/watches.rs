//! Watches of a member: pages, silence, and a history that is gone.

use super::*;

#[tokio::test]
async fn a_watch_lists_page_by_page_follows_and_tells_deletes() {
    let plane = Plane::shared().await;
    let mut config = plane.config().await;
    config.limits.page_size = 2;
    let member = Member::connect(&config).unwrap();
    member.ensure_namespace("watch", &BTreeMap::new()).await.unwrap();
    for at in 0..5 {
        let name = format!("w{at}");
        let mut object = delivered(&name, 1, "x");
        object["metadata"]["labels"][labels::APP] = "watched".into();
        member.apply(&config_maps(), "watch", &name, &object, PLAIN).await.unwrap();
    }
    let selector = format!("{}=watched", labels::APP);
    let mut events = member.watch(&config_maps(), &Selection::labels(selector));
    assert_eq!(next(&mut events).await, WatchEvent::Reset);
    for _ in 0..5 {
        assert!(matches!(next(&mut events).await, WatchEvent::Upsert(_)));
    }
    assert!(matches!(next(&mut events).await, WatchEvent::Synced { .. }));

    let mut object = delivered("w3", 2, "changed");
    object["metadata"]["labels"][labels::APP] = "watched".into();
    member.apply(&config_maps(), "watch", "w3", &object, PLAIN).await.unwrap();
    let WatchEvent::Upsert(bytes) = next(&mut events).await else { panic!("expected the change") };
    let seen: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(seen["data"]["content"], "changed");

    plane.admin("DELETE", "/api/v1/namespaces/watch/configmaps/w1", &json!({})).await.unwrap();
    let WatchEvent::Delete(deleted) = next(&mut events).await else { panic!("expected the delete") };
    assert_eq!(deleted.key, config_maps().key("watch", "w1"));
    assert!(!deleted.uid.is_empty());
}

#[tokio::test]
async fn large_objects_are_listed_in_smaller_pages() {
    let plane = Plane::shared().await;
    let mut config = plane.config().await;
    config.limits.page_size = 8;
    config.limits.answer_max = 64 << 10;
    let member = Member::connect(&config).unwrap();
    member.ensure_namespace("large", &BTreeMap::new()).await.unwrap();
    for at in 0..6 {
        let name = format!("w{at}");
        let mut object = delivered(&name, 1, &"x".repeat(20 << 10));
        object["metadata"]["labels"][labels::APP] = "large".into();
        member.apply(&config_maps(), "large", &name, &object, PLAIN).await.unwrap();
    }
    let selector = format!("{}=large", labels::APP);
    let mut events = member.watch(&config_maps(), &Selection::labels(selector));
    let mut seen = 0;
    loop {
        match next(&mut events).await {
            WatchEvent::Reset => seen = 0,
            WatchEvent::Upsert(_) => seen += 1,
            WatchEvent::Synced { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, 6);
}

#[tokio::test]
async fn a_silent_member_is_noticed_and_the_watch_goes_on_afterwards() {
    let plane = Plane::own().await;
    let mut config = plane.config().await;
    config.limits.ping_interval = Duration::from_millis(500);
    config.limits.ping_timeout = Duration::from_millis(500);
    config.limits.request_timeout = Duration::from_secs(2);
    config.limits.connect_timeout = Duration::from_secs(1);
    config.limits.breaker_failures = 2;
    config.limits.watch_pause_max = Duration::from_millis(500);
    config.limits.breaker_open_max = Duration::from_millis(500);
    config.limits.resume_within = Duration::from_mins(10);
    let member = Member::connect(&config).unwrap();
    let mut events = member.watch(&config_maps(), &Selection::labels(labels::MANAGED));
    while !matches!(next(&mut events).await, WatchEvent::Synced { .. }) {}
    // The second watch treats the silence as long enough for the store to have been exchanged.
    config.limits.resume_within = Duration::from_millis(1);
    let suspicious = Member::connect(&config).unwrap();
    let mut listed = suspicious.watch(&config_maps(), &Selection::labels(labels::MANAGED));
    while !matches!(next(&mut listed).await, WatchEvent::Synced { .. }) {}
    // Both watches are open and report changes.
    member.ensure_namespace("loud", &BTreeMap::new()).await.unwrap();
    apply(&member, "loud", "c", 1, "x").await.unwrap();
    assert!(matches!(next(&mut events).await, WatchEvent::Upsert(_)));
    assert!(matches!(next(&mut listed).await, WatchEvent::Upsert(_)));
    let listed = tokio::spawn(async move {
        let mut again = Vec::new();
        while !matches!(again.last(), Some(WatchEvent::Synced { .. })) {
            again.push(next(&mut listed).await);
        }
        again
    });

    plane.freeze();
    let began = std::time::Instant::now();
    let WatchEvent::Down(error) = next(&mut events).await else { panic!("the watch must tell that it is down") };
    assert!(error.is_transport(), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "PINGs notice it, not the watch's time-out");
    let opened = async {
        loop {
            match member.get(&config_maps(), "default", "x").await {
                Err(MemberError::BreakerOpen { .. }) => return,
                Err(error) if error.is_transport() => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), opened).await.unwrap();
    plane.thaw();
    let healed = async { while member.probe().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), healed).await.unwrap();

    member.ensure_namespace("silent", &BTreeMap::new()).await.unwrap();
    apply(&member, "silent", "c", 1, "x").await.unwrap();
    loop {
        match next(&mut events).await {
            WatchEvent::Upsert(_) => break,
            WatchEvent::Down(_) | WatchEvent::Bookmark { .. } => {}
            other => panic!("nothing was lost, so nothing is listed again: {other:?}"),
        }
    }
    let again = listed.await.unwrap();
    assert!(again.contains(&WatchEvent::Reset), "after a long silence everything is listed again: {again:?}");
}

#[tokio::test]
async fn a_watch_whose_history_is_gone_starts_over_with_a_reset() {
    let plane = Plane::own().await;
    let member = plane.member().await;
    member.ensure_namespace("gone", &BTreeMap::new()).await.unwrap();
    apply(&member, "gone", "kept", 1, "x").await.unwrap();
    let mut events = member.watch(&config_maps(), &Selection::labels(labels::MANAGED));
    while !matches!(next(&mut events).await, WatchEvent::Synced { .. }) {}
    // Writes changes outside the selection of the watch, so that its version stays behind.
    for at in 0..20 {
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("other-{at}")}});
        plane.admin("POST", "/api/v1/namespaces/gone/configmaps", &other).await.unwrap();
    }
    plane.restart_forgetting_history().await;
    let mut saw = Vec::new();
    loop {
        match next(&mut events).await {
            WatchEvent::Synced { .. } => break,
            WatchEvent::Down(error) => saw.push(error.kind()),
            WatchEvent::Reset => saw.push("reset"),
            WatchEvent::Upsert(_) => saw.push("upsert"),
            other => panic!("{other:?}"),
        }
    }
    let end = saw.split_off(saw.len() - 3);
    assert_eq!(end, ["expired", "reset", "upsert"], "before: {saw:?}");
}

async fn next(events: &mut (impl futures::Stream<Item = WatchEvent> + Unpin)) -> WatchEvent {
    loop {
        let event = tokio::time::timeout(Duration::from_mins(1), events.next()).await;
        match event.expect("an event within a minute").expect("a watch never ends") {
            WatchEvent::Opened => {}
            event => return event,
        }
    }
}

//! Releases on real control planes: batches, a rollback by itself, and what stands while one is open.

use std::time::Duration;

use acceptance::manifests::{MEMBERS, namespace, patch, web};
use acceptance::{Fleet, History, SOON, condition};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testbed::eventually;

const DEPLOYMENTS: &str = "apps/v1/Deployment";

/// Returns an Application with beta, a batch of half of all replicas, and short times.
fn released(space: &str, image: &str, replicas: i32) -> Value {
    let mut manifest = web(space, "web", replicas);
    manifest["spec"]["components"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    manifest["spec"]["release"] = json!({"beta": true, "batches": ["50%"], "minReady": "1s", "deadline": "15s"});
    manifest
}

/// Returns the images of an Application's workloads in all members, with the replicas of each.
fn images(fleet: &Fleet, space: &str) -> anyhow::Result<Vec<(String, String, i64)>> {
    let mut found = Vec::new();
    for member in MEMBERS {
        let list = fleet.kubectl(member, &["get", "deployments", "-n", space, "-o", "json"])?;
        let list: Value = serde_json::from_str(&list)?;
        for object in list["items"].as_array().context("items")? {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let image = text(&object["spec"]["template"]["spec"]["containers"][0]["image"]);
            let name = format!("{member}/{}", text(&object["metadata"]["name"]));
            found.push((name, image, object["status"]["availableReplicas"].as_i64().unwrap_or(0)));
        }
    }
    Ok(found)
}

/// Returns id and state of the releases of an Application, the newest first.
fn releases(fleet: &Fleet, space: &str) -> anyhow::Result<Vec<(String, String)>> {
    let query = format!(
        "select id || ' ' || state from operation where kind = 'release' and spec ->> 'application' = '{space}/web' \
         order by created_at desc"
    );
    let found = fleet.bed.postgres.query(&query)?;
    Ok(found
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, state)| (id.to_owned(), state.to_owned()))
        .collect())
}

/// Waits until the newest release is in a state.
async fn release_is(fleet: &Fleet, space: &str, count: usize, state: &str) -> anyhow::Result<String> {
    eventually(&format!("release {count} of {space} is {state}"), SOON, async || {
        let all = releases(fleet, space)?;
        let newest = all.first().filter(|(_, found)| all.len() == count && found == state);
        ensure!(newest.is_some(), "{all:?}");
        Ok(newest.map(|(id, _)| id.clone()))
    })
    .await
}

fn all_run(fleet: &Fleet, space: &str, image: &str, replicas: i64) -> anyhow::Result<()> {
    let found = images(fleet, space)?;
    let is_whole = found.len() == MEMBERS.len() && found.iter().all(|(_, other, _)| other == image);
    let available: i64 = found.iter().map(|(.., available)| available).sum();
    ensure!(is_whole && available == replicas, "expected {replicas} of {image}, found {found:?}");
    Ok(())
}

pub(crate) async fn a_release_goes_by_beta_and_batches_and_lowers_nothing(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "rel")?;
    fleet.apply("hub", &released("rel", "web:1", 9))?;
    fleet.ready("rel", "web").await?;
    ensure!(releases(fleet, "rel")?.is_empty(), "the first placement needs no release");

    let history = History::follow(fleet, &MEMBERS, DEPLOYMENTS, "rel").await?;
    fleet.apply("hub", &released("rel", "web:2", 9))?;
    let mut seen: Vec<i64> = Vec::new();
    eventually("the release is over", SOON, async || {
        let new = images(fleet, "rel")?.iter().filter(|(_, image, _)| image == "web:2").map(|(.., count)| count).sum();
        if seen.last() != Some(&new) {
            seen.push(new);
        }
        Ok(releases(fleet, "rel")?.first().filter(|(_, state)| state == "Succeeded").map(drop))
    })
    .await?;
    ensure!(seen.contains(&3), "one pod of each cell comes first: {seen:?}");
    fleet.ready("rel", "web").await?;
    all_run(fleet, "rel", "web:2", 9)?;
    history.available_at_least(9)?;
    ensure!(releases(fleet, "rel")?.len() == 1, "one revision is one release");

    // A change of the number alone is no release, also while none is open.
    patch(fleet, "rel", "web", &json!({"spec": {"replicas": 12}}))?;
    fleet.ready("rel", "web").await?;
    all_run(fleet, "rel", "web:2", 12)?;
    ensure!(releases(fleet, "rel")?.len() == 1);
    Ok(())
}

pub(crate) async fn a_bad_image_is_rolled_back_by_itself_and_stays_away(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "rel-bad")?;
    fleet.apply("hub", &released("rel-bad", "web:1", 6))?;
    fleet.ready("rel-bad", "web").await?;
    let history = History::follow(fleet, &MEMBERS, DEPLOYMENTS, "rel-bad").await?;
    fleet.apply("hub", &released("rel-bad", "web:missing", 6))?;
    let operation = release_is(fleet, "rel-bad", 1, "Reverted").await?;
    let told = fleet
        .app_until("rel-bad", "web", "told of the rollback", |app| {
            condition(app, "Ready").is_some_and(|(status, _)| status == "False")
                && app.status.iter().flat_map(|status| &status.conditions).any(|one| one.reason == "RevisionRolledBack")
        })
        .await?;
    let (_, message) = condition(&told, "Ready").context("a condition")?;
    ensure!(message.contains(&operation), "{message}");
    ensure!(
        fleet.get("hub", "mapp", "rel-bad", "web")?.context("it is there")?["spec"]["components"][0]["template"]["spec"]
            ["template"]["spec"]["containers"][0]["image"]
            == "web:missing",
        "nobody edits the Application"
    );
    all_run(fleet, "rel-bad", "web:1", 6)?;
    history.available_at_least(6)?;

    // Later scaling uses the revision that runs, and a restart starts nothing again.
    fleet.operator()?.process.end()?;
    fleet.operator()?.process.start()?;
    patch(fleet, "rel-bad", "web", &json!({"spec": {"replicas": 9}}))?;
    eventually("more replicas of the revision that runs", SOON, async || {
        Ok(all_run(fleet, "rel-bad", "web:1", 9).is_ok().then_some(()))
    })
    .await?;
    ensure!(releases(fleet, "rel-bad")?.len() == 1, "a revision that was rolled back is not released again");

    // A good image is another revision.
    fleet.apply("hub", &released("rel-bad", "web:2", 9))?;
    release_is(fleet, "rel-bad", 2, "Succeeded").await?;
    fleet.ready("rel-bad", "web").await?;
    all_run(fleet, "rel-bad", "web:2", 9)
}

/// Number of releases while processes are killed.
const RELEASES: usize = 10;

/// Kills operators and the server of the API in turn at random moments of ten releases.
pub(crate) async fn ten_releases_survive_kills_at_random_moments(fleet: &mut Fleet) -> anyhow::Result<()> {
    fleet.start_api(true).await?;
    namespace(fleet, "rel-kill")?;
    let manifest = |number: usize| {
        let mut manifest = released("rel-kill", &format!("web:{number}"), 6);
        (manifest["spec"]["release"]["minReady"], manifest["spec"]["release"]["deadline"]) =
            (json!("0s"), json!("60s"));
        manifest
    };
    fleet.apply("hub", &manifest(0))?;
    fleet.ready("rel-kill", "web").await?;
    let history = History::follow(fleet, &MEMBERS, DEPLOYMENTS, "rel-kill").await?;
    let seed = u64::from(std::process::id());
    for number in 1..=RELEASES {
        fleet.apply("hub", &manifest(number))?;
        // A linear congruential generator with the constants of Knuth's MMIX is random enough for moments.
        let random =
            (seed + number as u64).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(100 + (random >> 33) % 3_000)).await;
        let victim = number % (fleet.operators.len() + 1);
        let process = match fleet.operators.get_mut(victim) {
            Some(operator) => &mut operator.process,
            None => &mut fleet.api.as_mut().context("no server of the API runs")?.process,
        };
        process.kill()?;
        process.start()?;
        release_is(fleet, "rel-kill", number, "Succeeded").await.with_context(|| format!("seed {seed}"))?;
    }
    fleet.ready("rel-kill", "web").await?;
    all_run(fleet, "rel-kill", &format!("web:{RELEASES}"), 6)?;
    history.available_at_least(6).with_context(|| format!("seed {seed}"))?;
    let left = fleet.bed.postgres.query("select count(*) from placement_directive where effect ? 'Release'")?;
    ensure!(left == "0", "{left} directives of releases are left");
    fleet.meridian(&["app", "delete", "web", "-n", "rel-kill", "--yes", "--timeout", "60s"]).map(drop)
}

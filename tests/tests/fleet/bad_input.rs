//! Refused input: the message names the field and the remedy.

mod cases;

use std::collections::BTreeMap;

use acceptance::manifests::{MEMBERS, deployment, namespace, web};
use acceptance::{Fleet, condition};
use anyhow::{Context, ensure};
use cases::{REFUSED_AT_INTAKE, REFUSED_AT_ONCE};
use serde_json::json;

/// Returns the words that `say` must contain and does not.
fn missing<'a>(say: &str, words: &[&'a str]) -> Vec<&'a str> {
    words.iter().copied().filter(|word| !say.contains(word)).collect()
}

pub(crate) async fn bad_input_names_the_field_and_the_remedy(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "bad")?;
    for (case, change, words) in REFUSED_AT_ONCE {
        let mut manifest = web("bad", "web", 3);
        change(&mut manifest);
        let output = fleet.try_apply("hub", &manifest)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{case}: it is accepted");
        let missing = missing(&error, words);
        ensure!(missing.is_empty(), "{case}: the message does not say {missing:?}: {error}");
    }
    let policy = json!({"apiVersion": "fleet.meridian.io/v1alpha1", "kind": "PlacementPolicy",
        "metadata": {"name": "bad", "namespace": "bad"}, "spec": {"weighting": {}}});
    let output = fleet.try_apply("hub", &policy)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && error.contains("spec.weighting"), "an unknown field of a policy: {error}");

    let mut waiting = BTreeMap::new();
    for (number, (case, change, words)) in REFUSED_AT_INTAKE.iter().enumerate() {
        let name = format!("web-{number}");
        let mut manifest = web("bad", &name, 3);
        change(&mut manifest);
        let output = fleet.try_apply("hub", &manifest)?;
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            waiting.insert(name, (case, words));
        } else {
            let missing = missing(&error, words);
            ensure!(missing.is_empty(), "{case}: the message does not say {missing:?}: {error}");
        }
    }
    for (name, (case, words)) in waiting {
        let refused = |app: &crds::Application| {
            let has = |type_, value| condition(app, type_).is_some_and(|(status, _)| status == value);
            has("Ready", "False") && has("Stalled", "True")
        };
        let seen = fleet.app_until("bad", &name, &format!("{case}: refused and waiting for a person"), refused).await?;
        let (_, message) = condition(&seen, "Ready").context("a condition")?;
        let missing = missing(message, words);
        ensure!(missing.is_empty(), "{case}: the message does not say {missing:?}: {message}");
    }
    nothing_is_delivered(fleet, "bad")?;
    refused_by_the_members(fleet).await
}

/// Checks that errors that only a member can find are refused in the member's words.
///
/// The refusal does not need an existing object.
async fn refused_by_the_members(fleet: &Fleet) -> anyhow::Result<()> {
    let mut manifest = web("bad", "typo", 3);
    manifest["spec"]["components"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["imagee"] =
        json!("web:1");
    fleet.apply("hub", &manifest)?;
    let refused = |app: &crds::Application| condition(app, "Stalled").is_some_and(|(stalled, _)| stalled == "True");
    let seen = fleet.app_until("bad", "typo", "refused by the members", refused).await?;
    let (_, message) = condition(&seen, "Ready").context("a condition")?;
    ensure!(message.contains("imagee"), "the message does not name the field: {message}");
    fleet.meridian(&["app", "delete", "typo", "-n", "bad", "--yes"]).map(drop)
}

fn nothing_is_delivered(fleet: &Fleet, namespace: &str) -> anyhow::Result<()> {
    for member in MEMBERS {
        let there = fleet.kubectl(member, &["get", "namespace", namespace, "-o", "name", "--ignore-not-found"])?;
        ensure!(there.is_empty(), "{member} has {there}");
    }
    Ok(())
}

pub(crate) async fn a_spread_that_cannot_be_is_held_with_the_remedy(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "held")?;
    let mut manifest = web("held", "web", 6);
    manifest["spec"]["placement"]["spread"][0]["minDomains"] = json!(9);
    fleet.apply("hub", &manifest)?;
    let held = |app: &crds::Application| condition(app, "Scheduled").is_some_and(|(status, _)| status == "False");
    let seen = fleet.app_until("held", "web", "held", held).await?;
    let (_, message) = condition(&seen, "Scheduled").context("a condition")?;
    let missing = missing(
        message,
        &["spread[0] (Zone)", "minDomains is 9", "add domains or capacity", "whenUnsatisfiable: BestEffort"],
    );
    ensure!(missing.is_empty(), "the message does not say {missing:?}: {message}");
    ensure!(condition(&seen, "Ready").is_some_and(|(ready, _)| ready == "False"));
    nothing_is_delivered(fleet, "held")?;

    // Running replicas stay when the constraint becomes impossible.
    manifest["spec"]["placement"]["spread"][0]["minDomains"] = json!(2);
    fleet.apply("hub", &manifest)?;
    fleet.ready("held", "web").await?;
    let full = json!({"spec": {"placement": {"spread": [{"topology": "Zone", "maxSkew": 1, "minDomains": 2}],
        "limits": [{"topology": "Zone", "max": 2}]}, "replicas": 9}});
    acceptance::manifests::patch(fleet, "held", "web", &full)?;
    let seen = fleet.app_until("held", "web", "short of three", held).await?;
    let (_, message) = condition(&seen, "Scheduled").context("a condition")?;
    ensure!(message.contains("3 of 9 replicas"), "{message}");
    ensure!(seen.status.is_some_and(|status| status.available == 6), "what runs stays");
    Ok(())
}

pub(crate) async fn an_object_that_two_applications_want_belongs_to_the_first(fleet: &mut Fleet) -> anyhow::Result<()> {
    namespace(fleet, "twice")?;
    fleet.apply("hub", &web("twice", "first", 3))?;
    fleet.ready("twice", "first").await?;
    let mut second = web("twice", "second", 3);
    second["spec"]["components"][0]["template"] = deployment("first", "other:1");
    fleet.apply("hub", &second)?;
    let stalled = |app: &crds::Application| condition(app, "Stalled").is_some_and(|(stalled, _)| stalled == "True");
    let refused = fleet.app_until("twice", "second", "refused", stalled).await?;
    let (_, message) = condition(&refused, "Stalled").context("a condition")?;
    ensure!(message.contains("belongs to Application first") && message.contains("metadata.name"), "{message}");
    let kept = fleet.get("north-a", "deployment", "twice", "first")?.context("still there")?;
    ensure!(kept["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1", "it is not touched");
    Ok(())
}

//! The acts of a drain, and how their effects are observed.

use domain::placement::{DirectiveTarget, Effect};
use flow::{ActError, Attempt, PlanFailure, Progress};
use serde_json::Value;
use store::{AppId, Hints, NewDirective, Store};

use vocabulary::AppKey;

use super::spec::{DrainSpec, place_text};
use crate::directives;
use crate::fleet::{self, Resident, residents};

/// Key of the directive that keeps new replicas out.
const CORDON: &str = "cordon";
/// Key of the directive that covers all Applications.
const ALL: &str = "all";

/// Maximum number of Applications that a message names.
const NAMED_MAX: usize = 3;

pub(super) async fn act(store: &Store, hints: &Hints, attempt: &Attempt) -> Result<(), ActError> {
    let place = place(attempt)?;
    match attempt.step.act.as_str() {
        "cordon" => {
            directives::put(store, hints, attempt, &[directive(attempt, &place, CORDON, Effect::Cordon, None)]).await
        }
        "move" => {
            let Some(resident) = resident(store, attempt, &place).await? else { return Ok(()) };
            let one = directive(attempt, &place, &app_key(&attempt.target), Effect::Drain, Some(resident.app));
            directives::put(store, hints, attempt, &[one]).await
        }
        "hold" => {
            // The directive for all comes first: no Application is without one in between.
            directives::put(store, hints, attempt, &[directive(attempt, &place, ALL, Effect::Drain, None)]).await?;
            let others: Vec<String> = directives::of(store, attempt.operation)
                .await?
                .into_iter()
                .filter_map(|row| row.key.filter(|key| key != ALL))
                .collect();
            directives::end(store, hints, attempt, Some(&others)).await
        }
        "empty" => Ok(()),
        "release" => directives::end(store, hints, attempt, None).await,
        other => Err(ActError::Refused(format!("this version has no act {other}"))),
    }
}

pub(super) async fn observe(store: &Store, attempt: &Attempt) -> Result<Progress, ActError> {
    let place = place(attempt)?;
    match attempt.step.act.as_str() {
        "cordon" => has_directive(store, attempt, CORDON).await,
        "hold" => holds_all(store, attempt).await,
        "move" => moved(store, attempt, &place).await,
        "empty" => {
            let left = residents(store, &place).await?;
            let unreadable = fleet::unreadable(store, &place).await?;
            Ok(match (left.is_empty(), unreadable) {
                (false, _) => Progress::Waiting(left_text(&left)),
                // What runs in a place that cannot be read is unknown, and Unknown is not empty.
                (true, Some(problem)) => Progress::Waiting(problem),
                (true, None) => Progress::Done(format!("{} has no divided replica", place_text(&place))),
            })
        }
        "release" => {
            let left = directives::of(store, attempt.operation).await?;
            if !left.is_empty() {
                return Ok(Progress::Missing(format!("{} directives are in force", left.len())));
            }
            Ok(Progress::Done(match kept_out_by(store, &place).await? {
                None => format!("{} takes replicas again", place_text(&place)),
                Some(owner) => format!("{} is still kept empty by {owner}", place_text(&place)),
            }))
        }
        other => Err(ActError::Refused(format!("this version has no act {other}"))),
    }
}

fn place(attempt: &Attempt) -> Result<DirectiveTarget, ActError> {
    let refuse = |failure: PlanFailure| ActError::Refused(failure.to_string());
    DrainSpec::parse(&attempt.spec).and_then(|spec| spec.place()).map_err(refuse)
}

/// Key of the directive for one Application.
fn app_key(target: &str) -> String {
    format!("app/{target}")
}

fn directive(
    attempt: &Attempt,
    place: &DirectiveTarget,
    key: &str,
    effect: Effect,
    app: Option<AppId>,
) -> NewDirective {
    let json = |value: Result<Value, serde_json::Error>| value.expect("places and effects are plain data");
    NewDirective {
        owner: directives::owner(attempt.operation),
        key: key.to_owned(),
        scope: json(serde_json::to_value(place)),
        effect: json(serde_json::to_value(effect)),
        app,
        reason: format!("{} is drained by {}", place_text(place), attempt.actor),
        until: None,
    }
}

async fn has_directive(store: &Store, attempt: &Attempt, key: &str) -> Result<Progress, ActError> {
    let present = directives::of(store, attempt.operation).await?.iter().any(|row| row.key.as_deref() == Some(key));
    Ok(if present {
        Progress::Done("in force".to_owned())
    } else {
        Progress::Missing("its directive is not there".to_owned())
    })
}

/// The directive for all Applications is in force, and those of single ones have ended.
async fn holds_all(store: &Store, attempt: &Attempt) -> Result<Progress, ActError> {
    let present = directives::of(store, attempt.operation).await?;
    let is_all = |key: &Option<String>| key.as_deref() == Some(ALL);
    Ok(match present.as_slice() {
        [only] if is_all(&only.key) => Progress::Done("in force".to_owned()),
        _ => Progress::Missing("its directives are not as they are to be".to_owned()),
    })
}

/// Returns the owner of another directive that keeps replicas out of exactly this place.
async fn kept_out_by(store: &Store, place: &DirectiveTarget) -> Result<Option<String>, ActError> {
    let scope = serde_json::to_value(place).expect("a place is plain data");
    let keeps_out = |effect: &Value| {
        [Effect::Cordon, Effect::Drain, Effect::Exclude]
            .iter()
            .any(|known| serde_json::to_value(known).is_ok_and(|known| known == *effect))
    };
    let all = store.directive_list().await?;
    let other = all.into_iter().find(|row| row.app.is_none() && row.scope == scope && keeps_out(&row.effect));
    Ok(other.map(|row| row.owner))
}

async fn moved(store: &Store, attempt: &Attempt, place: &DirectiveTarget) -> Result<Progress, ActError> {
    let Some(resident) = resident(store, attempt, place).await? else {
        return Ok(Progress::Done("moved".to_owned()));
    };
    let key = app_key(&attempt.target);
    let owner = directives::owner(attempt.operation);
    if !store.directive_exists(&owner, &key, Some(resident.app)).await? {
        // The Application was deleted and made anew, and its directive went with it.
        return Ok(Progress::Missing("its directive is not there".to_owned()));
    }
    Ok(Progress::Waiting(format!(
        "{} replicas are still there{}",
        resident.replicas(),
        obstacle(store, &resident).await?
    )))
}

/// Returns what keeps an Application from moving, as its last decision has it.
async fn obstacle(store: &Store, resident: &Resident) -> Result<String, ActError> {
    let rows = store.application_list(&[resident.app]).await?;
    let decision = rows.into_iter().next().and_then(|row| row.decision);
    let summary = decision.filter(|decision| decision["short"] == true).and_then(|decision| {
        let text = |field: &str| decision["decision"][field].as_str().map(str::to_owned);
        decision["hold"].as_str().map(str::to_owned).or_else(|| text("summary"))
    });
    Ok(summary.map(|summary| format!("; {summary}")).unwrap_or_default())
}

/// Returns what an Application has in the place; `None` when nothing is left or the Application is gone.
async fn resident(store: &Store, attempt: &Attempt, place: &DirectiveTarget) -> Result<Option<Resident>, ActError> {
    let key = app_of(&attempt.target)?;
    Ok(fleet::resident(store, place, &key).await?)
}

fn app_of(target: &str) -> Result<AppKey, ActError> {
    let (namespace, name) =
        target.split_once('/').ok_or_else(|| ActError::Refused(format!("{target} is no namespace/name")))?;
    Ok(AppKey { namespace: namespace.to_owned(), name: name.to_owned() })
}

fn left_text(left: &[Resident]) -> String {
    let names: Vec<String> = left.iter().take(NAMED_MAX).map(|resident| resident.key.to_string()).collect();
    let more = if left.len() > NAMED_MAX { format!(" and {} more", left.len() - NAMED_MAX) } else { String::new() };
    format!("{} Applications still have replicas there: {}{more}", left.len(), names.join(", "))
}

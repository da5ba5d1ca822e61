//! Derives the health of a member from its signs of life. Pure except for the clock.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use store::{ClusterStatusRow, RECOVERING};
use tokio::time::Instant;
use vocabulary::Verdict;

use crate::DeliveryTimes;
use crate::handshake::{CREDENTIAL_UNUSABLE, NO_CREDENTIAL, Unavailable};
use crate::observe::watch_state::FollowState;

/// Kind of write that a change of a member's health needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HealthWrite {
    /// Health or kinds changed, or stale health was confirmed again: the scheduler reconsiders placements.
    Decisive,
    /// Messages, signals or capacity changed.
    Numbers,
    /// Only the time of the last check and of the last sign of life changed.
    Sign,
}

/// Last sign of life of one kind, and the last failure since then.
#[derive(Debug)]
struct Signal {
    last: (Instant, Timestamp),
    trouble: Option<Unavailable>,
}

impl Signal {
    fn new() -> Self {
        Self { last: (Instant::now(), Timestamp::now()), trouble: None }
    }

    fn alive(&mut self) {
        *self = Self::new();
    }

    /// Fails at once for certain trouble, which waiting does not heal, and after `silence` for all else.
    fn judge(&self, silence: Duration, quiet: (&'static str, &str)) -> Option<Judgement> {
        let silent = self.last.0.elapsed() >= silence;
        match &self.trouble {
            Some(trouble) if silent || trouble.is_certain() => {
                Some(Judgement::new(trouble.verdict, trouble.reason, trouble.message.clone()))
            }
            None if silent => Some(Judgement::new(Verdict::Unknown, quiet.0, quiet.1.to_owned())),
            _ => None,
        }
    }
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Judgement {
    verdict: Verdict,
    reason: &'static str,
    message: String,
}

impl Judgement {
    fn new(verdict: Verdict, reason: &'static str, message: String) -> Self {
        Self { verdict, reason, message }
    }

    fn signal(name: &str, judgement: Option<&Self>) -> Value {
        match judgement {
            None => json!({"name": name, "verdict": Verdict::Pass, "reason": "Fresh", "message": ""}),
            Some(Self { verdict, reason, message }) => {
                json!({"name": name, "verdict": verdict, "reason": reason, "message": message})
            }
        }
    }
}

/// Signals of a member whose handshake failed: its nodes and watches are not followed.
pub(crate) fn signals_unmet(trouble: &Unavailable) -> Value {
    let reachable = Judgement::new(trouble.verdict, trouble.reason, trouble.message.clone());
    let unmet = Judgement::new(Verdict::Unknown, "NotFollowed", "it is not followed before it can be used".to_owned());
    Value::Array(vec![
        Judgement::signal("Reachable", Some(&reachable)),
        Judgement::signal("WatchFresh", Some(&unmet)),
        Judgement::signal("NodesReady", Some(&unmet)),
    ])
}

/// Tracks the signs of life of a member and derives its health.
///
/// Health needs two independent signals: responses to requests to its store, and events of its watches. A good signal
/// never replaces the other.
///
/// The health written by the previous deliverer is kept until there is new evidence. Acquiring a lease or listing again
/// does not change a member's health. The age of the status shows how old it is.
///
/// A member that was silent or refused requests counts as well only after it has been well for
/// `DeliveryTimes::recovery`.
#[derive(Debug)]
pub(crate) struct HealthTracker {
    times: DeliveryTimes,
    api: Signal,
    watch: Signal,
    /// Number of ready nodes and of all nodes.
    nodes: Option<(usize, usize)>,
    /// Message for users about objects that belong to no row.
    orphans: Option<String>,
    /// Time since when a list is incomplete; `None` while all lists are complete.
    unlisted: Option<Instant>,
    /// Time since when the member has been well without a break.
    well: Option<Instant>,
    written: Option<ClusterStatusRow>,
    written_at: Option<Instant>,
}

impl HealthTracker {
    /// Starts tracking a member after its handshake. `stored` is the status in the database.
    pub(crate) fn new(times: DeliveryTimes, stored: Option<ClusterStatusRow>) -> Self {
        Self {
            times,
            api: Signal::new(),
            watch: Signal::new(),
            nodes: None,
            orphans: None,
            unlisted: Some(Instant::now()),
            well: None,
            written: stored,
            written_at: None,
        }
    }

    /// Records the result of a request to the member.
    pub(crate) fn answered(&mut self, outcome: Result<(), Unavailable>) {
        match outcome {
            Ok(()) => self.api.alive(),
            Err(trouble) => self.api.trouble = Some(trouble),
        }
    }

    /// Records an event or a failure of a watch.
    pub(crate) fn watch_reported(&mut self, outcome: Result<(), Unavailable>) {
        match outcome {
            Ok(()) => self.watch.alive(),
            Err(trouble) => self.watch.trouble = Some(trouble),
        }
    }

    /// Excludes a time from the silence of the member in which this process was too busy to listen.
    ///
    /// The age of the member's status grows all the same, and readers of the status see that.
    pub(crate) fn deaf(&mut self, duration: Duration) {
        let now = Instant::now();
        for since in [&mut self.api.last.0, &mut self.watch.last.0] {
            *since = (*since + duration).min(now);
        }
    }

    /// Records the number of ready nodes and of all nodes.
    pub(crate) fn nodes(&mut self, nodes: Option<(usize, usize)>) {
        self.nodes = nodes;
    }

    /// Records the message about objects that belong to no row.
    pub(crate) fn orphans(&mut self, message: Option<String>) {
        self.orphans = message;
    }

    /// Whether no watch reported anything for so long that the watches should be probed.
    pub(crate) fn watch_is_quiet(&self) -> bool {
        self.watch.last.0.elapsed() >= self.times.probe
    }

    /// Time at which the member counts as silent, if no sign of life arrives until then.
    pub(crate) fn silent_at(&self) -> Instant {
        self.api.last.0.min(self.watch.last.0) + self.times.silence
    }

    /// Computes the status of the member. `with` adds the facts that are observed elsewhere.
    pub(crate) fn status(
        &mut self,
        followed: &FollowState,
        with: impl FnOnce(ClusterStatusRow) -> ClusterStatusRow,
    ) -> ClusterStatusRow {
        let complete = matches!(followed, FollowState::Known { .. });
        if complete {
            self.unlisted = None;
        } else {
            self.unlisted.get_or_insert_with(Instant::now);
        }
        let before = self.written.clone().unwrap_or_else(|| ClusterStatusRow {
            health: Verdict::Unknown,
            reason: LISTING.0.to_owned(),
            message: LISTING.1.to_owned(),
            ..ClusterStatusRow::unknown()
        });
        let silence = self.times.silence;
        let seconds = silence.as_secs();
        let api =
            self.api.judge(silence, ("Silent", &format!("no answer for {seconds} s; what runs there is unknown")));
        let quiet = format!("it tells nothing of what changes there for {seconds} s; what runs there is unknown");
        let lost = match followed {
            FollowState::Silent(why) => Some(Judgement::new(Verdict::Unknown, WATCH_STALE, why.clone())),
            FollowState::Known { .. } | FollowState::Listing => None,
        };
        let watch = self.watch.judge(silence, (WATCH_STALE, &quiet)).or(lost);
        let kinds = match followed {
            FollowState::Known { stale } if !stale.is_empty() => {
                let message =
                    format!("some kinds cannot be followed, and what they report is old: {}", stale.join("; "));
                Some(Judgement::new(Verdict::Fail, "KindsStale", message))
            }
            _ => None,
        };
        let nodes = self.judge_nodes();
        let signals = Value::Array(vec![
            Judgement::signal("Reachable", api.as_ref()),
            Judgement::signal("WatchFresh", watch.as_ref().or(kinds.as_ref())),
            Judgement::signal("NodesReady", nodes.as_ref()),
        ]);
        // The status is as old as the older signal. While the member is not followed completely, the age of the last
        // complete status is kept.
        let as_of = if complete { Some(self.api.last.1.min(self.watch.last.1)) } else { before.as_of };
        let orphans = self.orphans.clone().map(|message| Judgement::new(Verdict::Fail, "OrphansFound", message));
        // The first impairment provides the message of the member. The others are visible in their own signals.
        let impaired = [kinds, nodes, orphans].into_iter().flatten().find(|one| one.verdict == Verdict::Fail);
        let judgement = self.judge(api, watch, impaired, &before);
        let now = Timestamp::now();
        let status = match judgement {
            None => before,
            Some(Judgement { verdict, reason, message }) => ClusterStatusRow {
                health: verdict,
                reason: reason.to_owned(),
                message,
                unhealthy_since: if verdict == Verdict::Pass { None } else { before.unhealthy_since.or(Some(now)) },
                silent_since: silent_since(verdict, reason, before.silent_since, now),
                ..before
            },
        };
        ClusterStatusRow { as_of, checked_at: Some(now), signals, ..with(status) }
    }

    fn judge_nodes(&self) -> Option<Judgement> {
        let unready = |(ready, all): (usize, usize)| {
            let message = format!("{} of {all} nodes are not ready", all - ready);
            (ready < all).then(|| Judgement::new(Verdict::Fail, "NodesNotReady", message))
        };
        match self.nodes {
            Some(nodes) => unready(nodes),
            None => Some(Judgement::new(Verdict::Unknown, LISTING.0, LISTING.1.to_owned())),
        }
    }

    /// Returns the judgement, or `None` when it is too early for one.
    fn judge(
        &mut self,
        api: Option<Judgement>,
        watch: Option<Judgement>,
        impaired: Option<Judgement>,
        before: &ClusterStatusRow,
    ) -> Option<Judgement> {
        let sick = match (api, watch) {
            (Some(api), Some(watch)) if watch.verdict == Verdict::Fail && api.verdict != Verdict::Fail => Some(watch),
            (Some(api), _) => Some(api),
            (None, Some(watch)) => Some(watch),
            (None, None) => None,
        };
        if sick.is_some() {
            self.well = None;
            return sick;
        }
        if let Some(since) = self.unlisted {
            self.well = None;
            return (since.elapsed() >= self.times.silence)
                .then(|| Judgement::new(Verdict::Unknown, LISTING.0, LISTING.1.to_owned()));
        }
        let well = self.well.get_or_insert_with(Instant::now).elapsed();
        let was_unwell = before.health != Verdict::Pass && before.as_of.is_some();
        if was_unwell && before.unhealthy_since.is_some() && well < self.times.recovery {
            let message =
                format!("it answers again and counts as ready after {} s of that", self.times.recovery.as_secs());
            return Some(Judgement::new(Verdict::Unknown, RECOVERING, message));
        }
        Some(match impaired {
            Some(impaired) => Judgement::new(Verdict::Pass, "Degraded", impaired.message),
            None => Judgement::new(
                Verdict::Pass,
                "Ready",
                "the member answers and everything delivered there is followed".to_owned(),
            ),
        })
    }

    /// Returns which part of a status must be written now.
    pub(crate) fn due(&self, status: &ClusterStatusRow) -> Option<HealthWrite> {
        let Some(written) = &self.written else { return Some(HealthWrite::Decisive) };
        if written.health != status.health || written.kinds != status.kinds {
            return Some(HealthWrite::Decisive);
        }
        let but_for_times = ClusterStatusRow { as_of: written.as_of, checked_at: written.checked_at, ..status.clone() };
        if *written != but_for_times {
            return Some(HealthWrite::Numbers);
        }
        let gap = jiff::SignedDuration::try_from(self.times.heartbeat * 2).unwrap_or(jiff::SignedDuration::MAX);
        if let (Some(before), Some(now)) = (written.as_of, status.as_of)
            && now.duration_since(before) > gap
        {
            // Health that had become too old to count is valid again, so the scheduler is notified.
            return Some(HealthWrite::Decisive);
        }
        let beat = self.written_at.is_none_or(|at| at.elapsed() >= self.times.heartbeat);
        // After a takeover, nothing is judged before the lists are complete.
        let judged = self.unlisted.is_none() || written.health != Verdict::Pass;
        (beat && judged).then_some(HealthWrite::Sign)
    }

    pub(crate) fn wrote(&mut self, status: ClusterStatusRow) {
        self.written = Some(status);
        self.written_at = Some(Instant::now());
    }
}

/// Time since when a member has not answered, after a judgement.
///
/// - A member that refuses requests answers, so it is not silent.
/// - A recovering member keeps the start of its silence until it counts as well.
pub(crate) fn silent_since(
    verdict: Verdict,
    reason: &str,
    before: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    match verdict {
        Verdict::Unknown if reason == RECOVERING => before,
        // A missing or unusable credential is no evidence about the member.
        Verdict::Unknown if [NO_CREDENTIAL, CREDENTIAL_UNUSABLE].contains(&reason) => before,
        Verdict::Unknown => before.or(Some(now)),
        Verdict::Pass | Verdict::Fail => None,
    }
}

const WATCH_STALE: &str = "WatchStale";
const LISTING: (&str, &str) = ("Listing", "what runs there is being read");

#[cfg(test)]
mod tests;

//! Signs of life of a member, and what they add up to. Pure but for the clock.

use jiff::Timestamp;
use serde_json::Value;
use store::ClusterStatusRow;
use tokio::time::Instant;
use vocabulary::Verdict;

use crate::DeliveryTimes;
use crate::contact::Trouble;

/// What is to be written of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PulseWrite {
    /// Health or kinds changed: where replicas may go is decided anew.
    Decisive,
    /// Words or capacity changed.
    Numbers,
    /// Only the last sign of life.
    Sign,
}

/// Signs of life of a member.
///
/// What the deliverer before us wrote stands until we know better: taking a lease over, or reading a list anew, is
/// no fact about the member. Its age tells how old it is.
#[derive(Debug)]
pub(crate) struct Pulse {
    times: DeliveryTimes,
    last: (Instant, Timestamp),
    trouble: Option<Trouble>,
    /// Since when something watched is not listed.
    unlisted: Option<Instant>,
    written: Option<ClusterStatusRow>,
    written_at: Option<Instant>,
}

impl Pulse {
    /// Of a member that was met a moment ago, with what is stored of it.
    pub(crate) fn new(times: DeliveryTimes, stored: Option<ClusterStatusRow>) -> Self {
        let last = (Instant::now(), Timestamp::now());
        Self { times, last, trouble: None, unlisted: Some(last.0), written: stored, written_at: None }
    }

    pub(crate) fn alive(&mut self) {
        self.last = (Instant::now(), Timestamp::now());
        self.trouble = None;
    }

    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        self.trouble = Some(trouble);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.last.0.elapsed() >= self.times.probe
    }

    /// How the member is now. `complete`: everything watched is listed; `with` adds what else is known.
    pub(crate) fn status(
        &mut self,
        complete: bool,
        with: impl FnOnce(ClusterStatusRow) -> ClusterStatusRow,
    ) -> ClusterStatusRow {
        if complete {
            self.unlisted = None;
        } else {
            self.unlisted.get_or_insert_with(Instant::now);
        }
        let before = self.written.clone().unwrap_or_else(|| ClusterStatusRow {
            health: format!("{:?}", Verdict::Unknown),
            reason: LISTING.0.to_owned(),
            message: LISTING.1.to_owned(),
            as_of: None,
            version: None,
            kinds: Value::Array(Vec::new()),
            capacity: Value::Array(Vec::new()),
        });
        // What is not followed completely is as old as the last time it was.
        let as_of = if complete { Some(self.last.1) } else { before.as_of };
        let before = match self.judge() {
            None => before,
            Some((verdict, reason, message)) => {
                ClusterStatusRow { health: format!("{verdict:?}"), reason: reason.to_owned(), message, ..before }
            }
        };
        ClusterStatusRow { as_of, ..with(before) }
    }

    /// The judgement; nothing when it is too early for one.
    fn judge(&self) -> Option<(Verdict, &'static str, String)> {
        let silent = self.last.0.elapsed() >= self.times.silence;
        match (&self.trouble, self.unlisted) {
            (Some(trouble), _) if silent || trouble.verdict == Verdict::Fail => {
                Some((trouble.verdict, trouble.reason, trouble.message.clone()))
            }
            _ if silent => Some((
                Verdict::Unknown,
                "Silent",
                format!("no sign of life for {} s; what runs there is unknown", self.times.silence.as_secs()),
            )),
            (_, None) => Some((
                Verdict::Pass,
                "Ready",
                "the member answers and everything delivered there is followed".to_owned(),
            )),
            (_, Some(since)) if since.elapsed() >= self.times.silence => {
                Some((Verdict::Unknown, LISTING.0, LISTING.1.to_owned()))
            }
            _ => None,
        }
    }

    /// What of a status is to be written now.
    pub(crate) fn due(&self, status: &ClusterStatusRow) -> Option<PulseWrite> {
        let Some(written) = &self.written else { return Some(PulseWrite::Decisive) };
        if written.health != status.health || written.kinds != status.kinds {
            return Some(PulseWrite::Decisive);
        }
        if *written != (ClusterStatusRow { as_of: written.as_of, ..status.clone() }) {
            return Some(PulseWrite::Numbers);
        }
        let gap = jiff::SignedDuration::try_from(self.times.heartbeat * 2).unwrap_or(jiff::SignedDuration::MAX);
        if let (Some(before), Some(now)) = (written.as_of, status.as_of)
            && now.duration_since(before) > gap
        {
            // What had become too old to count counts again.
            return Some(PulseWrite::Decisive);
        }
        let beat = self.written_at.is_none_or(|at| at.elapsed() >= self.times.heartbeat);
        (beat && written.as_of != status.as_of).then_some(PulseWrite::Sign)
    }

    pub(crate) fn wrote(&mut self, status: ClusterStatusRow) {
        self.written = Some(status);
        self.written_at = Some(Instant::now());
    }
}

const LISTING: (&str, &str) = ("Listing", "what runs there is being read");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stored(health: &str) -> ClusterStatusRow {
        ClusterStatusRow {
            health: health.to_owned(),
            reason: "Ready".to_owned(),
            message: "as it was".to_owned(),
            as_of: Some(Timestamp::UNIX_EPOCH),
            version: None,
            kinds: Value::Array(Vec::new()),
            capacity: Value::Array(Vec::new()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_stands_until_the_lists_are_read_or_time_is_up() {
        let times = DeliveryTimes::default();
        let mut pulse = Pulse::new(times, Some(stored("Pass")));
        let status = pulse.status(false, |row| row);
        assert_eq!(status, stored("Pass"), "taking over is no fact about the member");
        assert_eq!(pulse.due(&status), None);

        tokio::time::advance(times.silence + Duration::from_secs(1)).await;
        pulse.alive();
        let status = pulse.status(false, |row| row);
        assert_eq!((status.health.as_str(), status.as_of), ("Unknown", Some(Timestamp::UNIX_EPOCH)));
        assert_eq!(pulse.due(&status), Some(PulseWrite::Decisive));
        pulse.wrote(status);

        let status = pulse.status(true, |row| row);
        assert_eq!(status.health, "Pass");
        assert!(status.as_of > Some(Timestamp::UNIX_EPOCH));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_read_again_leaves_health_and_lets_the_age_grow() {
        let times = DeliveryTimes::default();
        let mut pulse = Pulse::new(times, None);
        let first = pulse.status(true, |row| row);
        assert_eq!(pulse.due(&first), Some(PulseWrite::Decisive));
        pulse.wrote(first.clone());
        tokio::time::advance(times.heartbeat).await;
        pulse.alive();
        let status = pulse.status(false, |row| row);
        assert_eq!((&status.health, status.as_of), (&first.health, first.as_of));
        assert_eq!(pulse.due(&status), None, "no newer sign of life while a list is missing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_credential_counts_at_once_and_silence_after_its_time() {
        let times = DeliveryTimes::default();
        let mut pulse = Pulse::new(times, Some(stored("Pass")));
        pulse.trouble(Trouble { verdict: Verdict::Unknown, reason: "Unreachable", message: String::new() });
        assert_eq!(pulse.status(true, |row| row).health, "Pass", "one failed call is no silence");
        pulse.trouble(Trouble { verdict: Verdict::Fail, reason: "CredentialRejected", message: String::new() });
        assert_eq!(pulse.status(true, |row| row).health, "Fail");
        pulse.alive();
        tokio::time::advance(times.silence).await;
        assert_eq!(pulse.status(true, |row| row).reason, "Silent");
    }
}

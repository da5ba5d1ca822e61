//! Tracks how current the lists and watches of a member are. Pure except for the clock.
//!
//! A stream is followed from the end of its list on, and again after its watch was reopened. A stream that is not
//! followed for the silence limit is lost.
//!
//! A lost kind makes the rows of that kind stale and does not affect other kinds. The member is silent only when its
//! nodes or pods are lost. Every session watches those.

use std::time::Duration;

use tokio::time::Instant;

/// State of one list and watch.
#[derive(Debug)]
pub(crate) struct StreamState {
    /// Time since when the data may be outdated; `None` while the stream is followed.
    lost: Option<Instant>,
    /// Whether a full list was completed and no new list has started.
    listed: bool,
    /// Error of the last failed attempt.
    trouble: Option<String>,
}

impl StreamState {
    pub(crate) fn begun() -> Self {
        Self { lost: Some(Instant::now()), listed: false, trouble: None }
    }

    pub(crate) fn list_begins(&mut self) {
        self.listed = false;
        self.lost.get_or_insert_with(Instant::now);
    }

    pub(crate) fn list_ends(&mut self) {
        *self = Self { lost: None, listed: true, trouble: None };
    }

    /// Records that the watch was opened or delivered an event. During a list this has no effect.
    pub(crate) fn is_heard(&mut self) {
        if self.listed {
            self.list_ends();
        }
    }

    pub(crate) fn fails(&mut self, why: String) {
        self.lost.get_or_insert_with(Instant::now);
        self.trouble = Some(why);
    }

    pub(crate) fn is_followed(&self) -> bool {
        self.lost.is_none()
    }

    /// Excludes a time in which this process did not listen.
    pub(crate) fn exclude_from_silence(&mut self, duration: Duration) {
        if let Some(since) = &mut self.lost {
            *since = (*since + duration).min(Instant::now());
        }
    }

    /// Returns the reason when the stream is lost for `silence` or longer.
    pub(crate) fn lost_for(&self, now: Instant, silence: Duration) -> Option<String> {
        let since = self.lost.filter(|since| now.saturating_duration_since(*since) >= silence)?;
        let seconds = now.saturating_duration_since(since).as_secs();
        // A known reason is returned without the seconds: a status that counts them would change all the time.
        Some(
            self.trouble
                .clone()
                .unwrap_or_else(|| format!("no list was complete for {} s", silence.as_secs().min(seconds))),
        )
    }
}

/// State of all lists and watches of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FollowState {
    /// All lists are complete, except those of stale kinds, whose rows are marked.
    Known {
        /// Kinds that cannot be followed, each with the reason.
        stale: Vec<String>,
    },
    /// A list is incomplete, but not long enough to count as lost.
    Listing,
    /// Nodes or pods cannot be followed, although every member has them.
    Silent(String),
}

impl FollowState {
    pub(crate) fn of<'a>(
        now: Instant,
        silence: Duration,
        essential: [(&str, &StreamState); 2],
        kinds: impl Iterator<Item = (&'a str, &'a StreamState)>,
    ) -> Self {
        for (name, following) in essential {
            if let Some(why) =
                following.lost_for(now, silence).filter(|_| following.listed || following.trouble.is_some())
            {
                return Self::Silent(format!("its {name} cannot be followed: {why}; what runs there is unknown"));
            }
        }
        let mut listing = essential.iter().any(|(_, following)| !following.listed);
        let mut stale = Vec::new();
        for (name, following) in kinds {
            match following.lost_for(now, silence) {
                Some(why) => stale.push(format!("{name}: {why}")),
                None => listing |= !following.listed,
            }
        }
        if listing { Self::Listing } else { Self::Known { stale } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(12);

    fn followed() -> StreamState {
        let mut following = StreamState::begun();
        following.list_ends();
        following
    }

    fn judge(nodes: &StreamState, pods: &StreamState, kinds: &[(&str, &StreamState)]) -> FollowState {
        FollowState::of(Instant::now(), SILENCE, [("nodes", nodes), ("pods", pods)], kinds.iter().copied())
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_never_listed_is_stale_alone() {
        let (nodes, pods, deployments, mut widgets) = (followed(), followed(), followed(), StreamState::begun());
        let kinds = |widgets: &StreamState| judge(&nodes, &pods, &[("Deployment", &deployments), ("Widget", widgets)]);
        widgets.fails("conversion webhook failed".to_owned());
        assert_eq!(kinds(&widgets), FollowState::Listing);
        tokio::time::advance(SILENCE).await;
        let stale = vec!["Widget: conversion webhook failed".to_owned()];
        assert_eq!(kinds(&widgets), FollowState::Known { stale });
        widgets.list_ends();
        assert_eq!(kinds(&widgets), FollowState::Known { stale: Vec::new() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_watch_is_not_fresh_however_lively_the_others_are() {
        let (nodes, pods, mut deployments) = (followed(), followed(), followed());
        deployments.fails("forbidden".to_owned());
        for _ in 0..SILENCE.as_secs() {
            assert_eq!(deployments.lost_for(Instant::now(), SILENCE), None);
            tokio::time::advance(Duration::from_secs(1)).await;
            deployments.fails("forbidden".to_owned());
        }
        let stale = vec!["Deployment: forbidden".to_owned()];
        assert_eq!(judge(&nodes, &pods, &[("Deployment", &deployments)]), FollowState::Known { stale });
        deployments.is_heard();
        assert!(deployments.is_followed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_whose_pods_cannot_be_followed_is_silent() {
        let (nodes, mut pods) = (followed(), followed());
        pods.fails("no route".to_owned());
        tokio::time::advance(SILENCE).await;
        assert!(
            matches!(judge(&nodes, &pods, &[]), FollowState::Silent(why) if why.contains("pods") && why.contains("no route"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_listened_is_no_silence() {
        let mut kind = followed();
        kind.fails("x".to_owned());
        tokio::time::advance(SILENCE).await;
        kind.exclude_from_silence(SILENCE);
        assert_eq!(kind.lost_for(Instant::now(), SILENCE), None);
    }
}

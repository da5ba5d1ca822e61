//! When a silent cluster's replicas may be run elsewhere, and when that must not be believed.

use std::collections::BTreeSet;

use crate::topology::ClusterFacts;
use vocabulary::{ClusterName, Verdict};

/// Percent of clusters that may be unhealthy before automatic moves freeze.
const BREAKER_PERCENT: usize = 30;

/// Whether automatic moves may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breaker {
    /// They may.
    Closed,
    /// Too much is unhealthy at once, and not all of it in one place: rather we are cut off than they are.
    Open {
        /// What is unhealthy, for people.
        why: String,
    },
}

impl Breaker {
    /// Judges the fleet: open when more than max(1, 30 %) of the clusters are unhealthy, unless all of them lie in one
    /// zone, or in one of several regions: the loss of a place is what failover is for.
    pub fn judge<'a>(clusters: impl IntoIterator<Item = &'a ClusterFacts>) -> Self {
        let clusters: Vec<&ClusterFacts> = clusters.into_iter().collect();
        let unhealthy: Vec<&ClusterFacts> =
            clusters.iter().copied().filter(|cluster| cluster.health != Verdict::Pass).collect();
        if unhealthy.len() <= (clusters.len() * BREAKER_PERCENT / 100).max(1) {
            return Self::Closed;
        }
        let regions = |of: &[&ClusterFacts]| of.iter().map(|cluster| cluster.region.clone()).collect::<BTreeSet<_>>();
        let zones: BTreeSet<(&str, &str)> = unhealthy
            .iter()
            .flat_map(|cluster| cluster.zones.iter().map(|zone| (cluster.region.as_str(), zone.as_str())))
            .collect();
        let one_region = regions(&unhealthy).len() == 1 && regions(&clusters).len() > 1;
        if zones.len() == 1 || one_region {
            return Self::Closed;
        }
        let names: Vec<&str> = unhealthy.iter().map(|cluster| cluster.name.as_str()).collect();
        Self::Open {
            why: format!(
                "{} of {} clusters are unhealthy at once, in different places: {}",
                unhealthy.len(),
                clusters.len(),
                shortened(&names)
            ),
        }
    }
}

fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The clusters whose replicas are run elsewhere, and those whose would be if the breaker were closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failover {
    /// Silent for long enough, each with the time since when, as text.
    pub lost: Vec<(ClusterName, String)>,
    /// Why nothing moves although something is silent for long enough.
    pub frozen: Option<String>,
}

impl Failover {
    /// Decides for an application that waits `after` seconds. `silent`: clusters that do not answer, with seconds of
    /// silence and the time it began.
    pub fn of(after: Option<i64>, silent: &[(ClusterName, i64, String)], breaker: &Breaker) -> Self {
        let Some(after) = after else { return Self::default() };
        let due: Vec<(ClusterName, String)> = silent
            .iter()
            .filter(|(_, seconds, _)| *seconds >= after)
            .map(|(name, _, since)| (name.clone(), since.clone()))
            .collect();
        match breaker {
            _ if due.is_empty() => Self::default(),
            Breaker::Closed => Self { lost: due, frozen: None },
            Breaker::Open { why } => Self { lost: Vec::new(), frozen: Some(why.clone()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(number: usize, region: &str, zone: &str, health: Verdict) -> ClusterFacts {
        ClusterFacts {
            name: format!("c{number}").parse().unwrap(),
            region: region.to_owned(),
            zones: vec![zone.to_owned()],
            taints: Vec::new(),
            cordoned: false,
            drain: false,
            health,
            deploys: true,
            kinds: BTreeSet::new(),
            capacity: Vec::new(),
        }
    }

    /// Letters are zones; capitals are unhealthy clusters; zones a-c are region north, the others south.
    fn fleet(zones: &str) -> Vec<ClusterFacts> {
        let one = |(number, zone): (usize, char)| {
            let health = if zone.is_ascii_uppercase() { Verdict::Unknown } else { Verdict::Pass };
            let zone = zone.to_ascii_lowercase();
            cluster(number, if zone <= 'c' { "north" } else { "south" }, &zone.to_string(), health)
        };
        zones.chars().enumerate().map(one).collect()
    }

    #[test]
    fn a_lost_place_is_believed_and_failures_all_over_are_not() {
        for (zones, open) in [
            ("aabbdd", false),
            ("Aabbdd", false),
            ("AAbbdd", false),
            ("AaBbDd", true),
            ("AABBdd", false),
            ("AABbD", true),
            ("Ad", false),
            ("AD", true),
            // One region is the whole fleet: its loss is no loss of a place.
            ("AaBb", true),
            ("AAbb", false),
        ] {
            let open_now = matches!(Breaker::judge(&fleet(zones)), Breaker::Open { .. });
            assert_eq!(open_now, open, "{zones}");
        }
    }

    #[test]
    fn only_long_silence_moves_and_only_while_the_breaker_is_closed() {
        let silent = [("a".parse().unwrap(), 30, "then".to_owned()), ("b".parse().unwrap(), 10, "now".to_owned())];
        let lost = |after, breaker: &Breaker| {
            Failover::of(after, &silent, breaker).lost.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(lost(None, &Breaker::Closed), Vec::<String>::new());
        assert_eq!(lost(Some(20), &Breaker::Closed), ["a"]);
        assert_eq!(lost(Some(5), &Breaker::Closed), ["a", "b"]);
        let open = Breaker::Open { why: "half the fleet".to_owned() };
        assert_eq!(lost(Some(5), &open), Vec::<String>::new());
        assert_eq!(Failover::of(Some(5), &silent, &open).frozen.as_deref(), Some("half the fleet"));
        assert_eq!(Failover::of(Some(60), &silent, &open).frozen, None);
    }
}

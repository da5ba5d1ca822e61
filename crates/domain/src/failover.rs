//! Decides when replicas of a silent cluster run elsewhere, and when the silence is not trusted.

use std::collections::BTreeSet;

use crate::topology::ClusterFacts;
use vocabulary::{ClusterName, Verdict};

/// Maximum percentage of unhealthy clusters before automatic moves freeze.
const BREAKER_PERCENT: usize = 30;

/// Whether automatic moves may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailoverBreaker {
    /// Automatic moves may happen.
    Closed,
    /// Automatic moves are frozen.
    ///
    /// Many clusters are unhealthy at once and in different places, so more likely this operator is cut off than they
    /// are.
    Open {
        /// Names the unhealthy clusters, for people.
        why: String,
    },
}

impl FailoverBreaker {
    /// Judges the fleet by its number of unhealthy clusters and their places.
    ///
    /// The breaker is open when more than max(1, 30 %) of the clusters are unhealthy. It stays closed when all of them
    /// lie in one zone, or in one of several regions: the loss of a place is what failover is for.
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

/// A cluster that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentCluster {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// Start of the silence, as text.
    pub since: String,
    /// Duration of the silence in seconds.
    pub lasts: i64,
    /// Duration in seconds that counts towards failover: the silence since the breaker was last open.
    ///
    /// When half a fleet returns, no cluster is given up only because it returns a moment after the other half.
    pub counts: i64,
}

/// Clusters whose replicas run elsewhere, and the reason when automatic moves are frozen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailoverDecision {
    /// Clusters that were silent for long enough, each with the start of the silence as text.
    pub lost: Vec<(ClusterName, String)>,
    /// Reason why some or all replicas do not move although their clusters were silent for long enough.
    pub frozen: Option<String>,
}

impl FailoverDecision {
    /// Decides for an Application that waits `after` seconds. `None` never moves replicas.
    pub fn of(after: Option<i64>, silences: &[SilentCluster], breaker: &FailoverBreaker) -> Self {
        let Some(after) = after else { return Self::default() };
        let due: Vec<&SilentCluster> = silences.iter().filter(|silence| silence.lasts >= after).collect();
        if due.is_empty() {
            return Self::default();
        }
        if let FailoverBreaker::Open { why } = breaker {
            return Self { lost: Vec::new(), frozen: Some(why.clone()) };
        }
        let (lost, early): (Vec<&SilentCluster>, Vec<&SilentCluster>) =
            due.into_iter().partition(|silence| silence.counts >= after);
        let names: Vec<&str> = early.iter().map(|silence| silence.cluster.as_str()).collect();
        Self {
            lost: lost.into_iter().map(|silence| (silence.cluster.clone(), silence.since.clone())).collect(),
            frozen: (!names.is_empty()).then(|| {
                format!(
                    "too much was unhealthy at once until a moment ago; given {after} s from then to return: {}",
                    shortened(&names)
                )
            }),
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
            tenancy: crate::tenancy::Tenancy::default(),
        }
    }

    /// Builds one cluster for each letter. Letters are zones, and capitals are unhealthy clusters.
    ///
    /// Zones a to c lie in region north, the others in region south.
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
            // One region is the whole fleet, so its loss does not count as the loss of a place.
            ("AaBb", true),
            ("AAbb", false),
        ] {
            let open_now = matches!(FailoverBreaker::judge(&fleet(zones)), FailoverBreaker::Open { .. });
            assert_eq!(open_now, open, "{zones}");
        }
    }

    #[test]
    fn only_long_silence_moves_and_only_while_the_breaker_is_closed() {
        let silences = [silence("a", 30, 30), silence("b", 10, 10)];
        let lost = |after, breaker: &FailoverBreaker| names(&FailoverDecision::of(after, &silences, breaker));
        assert_eq!(lost(None, &FailoverBreaker::Closed), Vec::<String>::new());
        assert_eq!(lost(Some(20), &FailoverBreaker::Closed), ["a"]);
        assert_eq!(lost(Some(5), &FailoverBreaker::Closed), ["a", "b"]);
        let open = FailoverBreaker::Open { why: "half the fleet".to_owned() };
        assert_eq!(lost(Some(5), &open), Vec::<String>::new());
        assert_eq!(FailoverDecision::of(Some(5), &silences, &open).frozen.as_deref(), Some("half the fleet"));
        assert_eq!(FailoverDecision::of(Some(60), &silences, &open).frozen, None);
    }

    #[test]
    fn silence_before_the_breaker_closed_does_not_count() {
        let early = FailoverDecision::of(Some(20), &[silence("a", 600, 3)], &FailoverBreaker::Closed);
        assert_eq!(names(&early), Vec::<String>::new());
        assert!(early.frozen.is_some_and(|why| why.contains("20 s") && why.ends_with(": a")));
        let late = FailoverDecision::of(Some(20), &[silence("a", 617, 20)], &FailoverBreaker::Closed);
        assert_eq!((names(&late), late.frozen), (vec!["a".to_owned()], None));
        assert_eq!(
            FailoverDecision::of(Some(20), &[silence("a", 3, 3)], &FailoverBreaker::Closed),
            FailoverDecision::default()
        );
    }

    fn silence(cluster: &str, lasts: i64, counts: i64) -> SilentCluster {
        SilentCluster { cluster: cluster.parse().unwrap(), since: "then".to_owned(), lasts, counts }
    }

    fn names(failover: &FailoverDecision) -> Vec<String> {
        failover.lost.iter().map(|(name, _)| name.to_string()).collect()
    }
}

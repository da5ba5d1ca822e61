//! Rule: an application never has fewer available replicas than the promised number.
//!
//! A requested number becomes promised when the application first reaches it. A smaller request lowers the promise at
//! once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, Violation};
use crate::gathered::{DesiredState, Gathered};

/// Maximum duration in milliseconds of a low sum that is ignored.
///
/// Watches of several members have no common order, so a sum can be low for a short time. A simulated pod takes longer
/// to start.
const OUT_OF_ORDER: u64 = 300;
/// Time in milliseconds after which the watch of a member that was cut off is in order again.
const CAUGHT_UP: u64 = 3_000;

/// A fact that becomes true at a time of the timeline.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    Asked(&'a DesiredState),
    /// A member has at least and at most this many available replicas.
    Has(&'a str, i64, i64),
}

pub(super) fn check(gathered: &Gathered) -> Vec<Violation> {
    let apps: BTreeSet<&str> = gathered.asked.iter().map(|asked| asked.app.as_str()).collect();
    apps.into_iter().filter_map(|app| lowest(app, &timeline(gathered, app), gathered.over)).collect()
}

/// Returns the first violation of the promised number by an application.
fn lowest(app: &str, timeline: &[(u64, News<'_>)], over: u64) -> Option<Violation> {
    let mut members: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    let (mut asked, mut promised) = (0, 0);
    let mut low: Option<(u64, String)> = None;
    let judge = |low: &Option<(u64, String)>, until: u64| {
        let (since, evidence) = low.as_ref().filter(|(since, _)| until.saturating_sub(*since) > OUT_OF_ORDER)?;
        let evidence = format!("{app}: for {} ms {evidence}", until - since);
        Some(Violation { rule: Rule::NeverBelow, at: Some(*since), evidence })
    };
    for (at, news) in timeline {
        match news {
            News::Asked(DesiredState::Run { replicas, .. }) => {
                asked = *replicas;
                promised = promised.min(asked);
            }
            News::Asked(DesiredState::Gone) => (asked, promised) = (0, 0),
            News::Asked(DesiredState::Vanished) => {}
            News::Has(member, least, most) => {
                members.insert(member, (*least, *most));
            }
        }
        let (least, most): (i64, i64) =
            members.values().fold((0, 0), |sum, member| (sum.0 + member.0, sum.1 + member.1));
        if least >= asked {
            promised = asked;
        }
        if most < promised {
            low.get_or_insert_with(|| (*at, format!("{most} were available and {promised} allowed: {members:?}")));
        } else if let Some(violation) = judge(&low, *at) {
            return Some(violation);
        } else {
            low = None;
        }
    }
    judge(&low, over)
}

/// Merges the requests of users and the availability in members into one timeline.
///
/// While a member cannot be watched, its availability is a range. The range covers the values before, during and right
/// after that time, so Meridian has the benefit of the doubt.
fn timeline<'a>(gathered: &'a Gathered, app: &str) -> Vec<(u64, News<'a>)> {
    let asked = gathered.asked.iter().filter(|asked| asked.app == app);
    let mut all: Vec<(u64, News<'_>)> = asked.map(|asked| (asked.at, News::Asked(&asked.what))).collect();
    let clusters: BTreeSet<&str> = gathered.versions.iter().map(|version| version.cluster.as_str()).collect();
    for cluster in clusters {
        let versions = || gathered.versions.iter().filter(|version| version.cluster == cluster && version.app == app);
        let blind = blind(gathered, cluster);
        for version in versions() {
            if !blind.iter().any(|(from, until)| (*from..=*until).contains(&version.at)) {
                // A controller that was down may still carry out an order that was withdrawn meanwhile.
                let least = if version.is_unobserved { 0 } else { version.available };
                all.push((version.at, News::Has(cluster, least, version.available)));
            }
        }
        for (from, until) in blind {
            let before = versions().rfind(|version| version.at < from).map_or(0, |version| version.available);
            let within: Vec<i64> = versions()
                .filter(|version| (from..=until).contains(&version.at))
                .map(|version| version.available)
                .collect();
            let (least, most) =
                within.iter().fold((before, before), |(least, most), now| (least.min(*now), most.max(*now)));
            all.push((from, News::Has(cluster, least, most)));
            let after = within.last().copied().unwrap_or(before);
            all.push((until, News::Has(cluster, after, after)));
        }
    }
    all.sort_by_key(|(at, news)| (*at, !matches!(news, News::Asked(_))));
    all
}

/// Returns the times for which a member could not be watched; times that touch are joined.
fn blind(gathered: &Gathered, cluster: &str) -> Vec<(u64, u64)> {
    let blinding = gathered.faults.iter().filter(|broken| broken.fault.blinds() == Some(cluster));
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for broken in blinding {
        let until = broken.until.saturating_add(CAUGHT_UP);
        match joined.last_mut() {
            Some(last) if last.1 >= broken.from => last.1 = until,
            _ => joined.push((broken.from, until)),
        }
    }
    joined
}

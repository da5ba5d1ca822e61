//! Turns request, fleet and directives into the cells, groups and constraints for giving seats.

use std::collections::BTreeMap;

use crds::placement_policy::v1alpha1::{SurviveBy, Topology as Level, WeightMode, WhenUnsatisfiable};
use vocabulary::CellName;

use super::capacity::{PLENTY, fits};
use super::check::{Share, parse_share};
use super::eligibility::{Eligibility, eligible_beside};
use super::groups::{Evenness, Group, Membership, Seat};
use super::request::{Directive, Effect, Ledger, PreviousPlacement, Request};
use crate::topology::{CellFacts, Topology};

/// The setting of one decision.
///
/// `names`, `facts`, `verdicts`, `held`, `capacity` and `seats` have one entry for each cell, sorted by name.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) names: Vec<CellName>,
    pub(crate) facts: Vec<Option<&'a CellFacts>>,
    pub(crate) verdicts: Vec<Eligibility>,
    pub(crate) held: Vec<i64>,
    pub(crate) capacity: Vec<i64>,
    pub(crate) seats: Vec<Seat>,
    pub(crate) groups: Vec<Group>,
    pub(crate) spread: Vec<Evenness>,
    pub(crate) notes: Vec<String>,
}

/// Returns the domains of a level in which a cell lies.
///
/// A cell over several zones divides its seats evenly over them.
fn domains(level: Level, cell: &CellFacts) -> Vec<String> {
    match level {
        Level::Region => vec![cell.region.clone()],
        Level::Zone => cell.zones.iter().map(|zone| format!("{}/{zone}", cell.region)).collect(),
        Level::Cluster => vec![cell.cluster.to_string()],
        Level::Cell => vec![cell.name.to_string()],
    }
}

/// Index of a cell in a group, and the number of groups over which its seats are divided.
type Member = (usize, i64);

impl<'a> Setting<'a> {
    pub(crate) fn new(
        request: &Request<'_>,
        topology: &'a Topology,
        directives: &[Directive],
        previous: &BTreeMap<CellName, PreviousPlacement>,
        ledger: &Ledger,
    ) -> Self {
        let verdicts = eligible_beside(request, topology, directives, previous);
        // A held cell that is missing from the topology keeps its replicas. A deleted Cell stays in the topology until
        // it is empty, so it is not such a cell.
        let mut names: Vec<CellName> = topology.cells.keys().cloned().collect();
        names.extend(previous.keys().filter(|name| !topology.cells.contains_key(*name)).cloned());
        names.sort();
        let facts: Vec<Option<&CellFacts>> = names.iter().map(|name| topology.cells.get(name)).collect();
        let gone = || {
            Eligibility::Rejected(super::Rejection {
                rule: super::Rule::Unknown,
                message: "nothing is known of this cell; declare it again, or see the log for why it cannot be read"
                    .to_owned(),
            })
        };
        let verdicts: Vec<Eligibility> =
            names.iter().map(|name| verdicts.get(name).cloned().unwrap_or_else(gone)).collect();
        let held: Vec<i64> =
            names.iter().map(|name| previous.get(name).map_or(0, |held| i64::from(held.target))).collect();
        let mut setting = Self {
            seats: names.iter().map(|_| empty_seat()).collect(),
            capacity: vec![0; names.len()],
            names,
            facts,
            verdicts,
            held,
            groups: Vec::new(),
            spread: Vec::new(),
            notes: Vec::new(),
        };
        setting.capacities(request, topology, previous, ledger);
        setting.limits(request);
        setting.evenness(request);
        setting.fill(request);
        setting.directives(request, directives);
        setting.mark_open();
        setting
    }

    fn add_group(&mut self, name: String, members: &[Member], max: i64, min: i64, spread: Option<usize>) {
        let group = self.groups.len();
        self.groups.push(Group { name, max, min, open: false, spread });
        for (member, parts) in members {
            self.seats[*member].groups.push(Membership { group, parts: *parts });
        }
    }

    /// Adds a capacity group for each set of zones of a cluster.
    ///
    /// Cells in the same zones share capacity. A cell over several zones shares capacity with every cell in those
    /// zones.
    fn capacities(
        &mut self,
        request: &Request<'_>,
        topology: &Topology,
        previous: &BTreeMap<CellName, PreviousPlacement>,
        ledger: &Ledger,
    ) {
        let mut pools: BTreeMap<(String, Vec<String>), Vec<usize>> = BTreeMap::new();
        for (i, facts) in self.facts.iter().enumerate() {
            if let Some(facts) = facts {
                pools.entry((facts.cluster.to_string(), facts.zones.clone())).or_default().push(i);
            }
        }
        for ((cluster, zones), own) in &pools {
            let Some(facts) = topology.clusters.get(cluster.as_str()) else { continue };
            let beside = pools.range((cluster.clone(), Vec::new())..).take_while(|((other, _), _)| other == cluster);
            let within = |some: &[String]| some.iter().all(|zone| zones.contains(zone));
            let members: Vec<usize> =
                beside.filter(|((_, some), _)| within(some)).flat_map(|(_, members)| members.clone()).collect();
            let bound: i64 =
                members.iter().filter_map(|i| previous.get(&self.names[*i])).map(|held| i64::from(held.bound)).sum();
            let running: i64 = members.iter().map(|i| self.held[*i]).sum();
            let fits = fits(facts, zones, ledger, request.pod, bound).max(running);
            for i in own {
                self.capacity[*i] = fits - running + self.held[*i];
            }
            let members: Vec<Member> = members.into_iter().map(|i| (i, 1)).collect();
            self.add_group(format!("capacity of {cluster} in {}", zones.join("+")), &members, fits, 0, None);
        }
    }

    fn by_domain(&self, level: Level) -> BTreeMap<String, Vec<Member>> {
        let mut by_domain: BTreeMap<String, Vec<Member>> = BTreeMap::new();
        for (i, facts) in self.facts.iter().enumerate() {
            let counts = self.verdicts[i].is_eligible() || self.held[i] > 0;
            let Some(facts) = facts.filter(|_| counts) else { continue };
            let keys = domains(level, facts);
            let parts = keys.len() as i64;
            for key in keys {
                by_domain.entry(key).or_default().push((i, parts));
            }
        }
        by_domain
    }

    fn limits(&mut self, request: &Request<'_>) {
        for (i, limit) in request.spec.limits.iter().enumerate() {
            for (key, members) in self.by_domain(limit.topology) {
                let eligible = members.iter().any(|(i, _)| self.verdicts[*i].is_eligible());
                let min = if eligible && request.replicas > 0 { limit.min.unwrap_or(0) } else { 0 };
                let max = limit.max.map_or(PLENTY, i64::from);
                self.add_group(format!("limits[{i}] of {key}"), &members, max, i64::from(min), None);
            }
        }
    }

    fn evenness(&mut self, request: &Request<'_>) {
        for (i, spread) in request.spec.spread.iter().enumerate() {
            let first = self.groups.len();
            let domains = self.by_domain(spread.topology);
            let count = domains.len();
            for (key, members) in domains {
                self.add_group(format!("spread[{i}] of {key}"), &members, PLENTY, 0, Some(i));
            }
            let survive = spread.survive_loss.as_ref().map(|loss| match loss.by {
                SurviveBy::Overprovision => usize::try_from(loss.domains).unwrap_or(0),
            });
            self.spread.push(Evenness {
                max_skew: spread.max_skew.map(i64::from),
                min_domains: i64::from(spread.min_domains.unwrap_or(0)),
                survive: survive.filter(|_| request.replicas > 0),
                domains: (first..first + count).collect(),
                best_effort: spread.when_unsatisfiable == WhenUnsatisfiable::BestEffort,
                name: format!("spread[{i}] ({:?})", spread.topology),
            });
        }
    }

    /// Sets shares, weights and tiers of all cells.
    fn fill(&mut self, request: &Request<'_>) {
        let spec = request.spec;
        for i in 0..self.names.len() {
            let name = self.names[i].as_str();
            let open = self.verdicts[i].is_eligible();
            let seat = &mut self.seats[i];
            seat.open = open;
            seat.leaving = !self.verdicts[i].keeps_running();
            seat.held = self.held[i];
            seat.share = spec.shares.get(name).and_then(parse_share).map(|share| match share {
                Share::Replicas(count) => i64::from(count),
                Share::Percent(part) => i64::from(request.replicas) * i64::from(part) / 100,
            });
            seat.weight = match spec.weights.mode {
                WeightMode::Even => 1,
                WeightMode::Capacity => self.capacity[i].max(0),
                WeightMode::Static => i64::from(spec.weights.static_weights.get(name).copied().unwrap_or(0).max(0)),
            };
            seat.tier = match self.facts[i] {
                Some(facts) => {
                    spec.tiers.iter().position(|tier| tier.cells.matches(&facts.labels)).unwrap_or(spec.tiers.len())
                }
                None => spec.tiers.len(),
            };
        }
        for name in spec.shares.keys().filter(|name| !self.names.iter().any(|known| known.as_str() == name.as_str())) {
            self.notes.push(format!("shares names cell {name}, which does not exist"));
        }
    }

    fn directives(&mut self, request: &Request<'_>, directives: &[Directive]) {
        let mut ours: Vec<&Directive> =
            directives.iter().filter(|one| one.app.as_ref().is_none_or(|app| app == request.app)).collect();
        ours.sort_by_key(|one| one.id);
        for directive in ours {
            let covered: Vec<Member> = (0..self.names.len())
                .filter(|i| self.facts[*i].is_some_and(|facts| directive.target.covers(facts)))
                .map(|i| (i, 1))
                .collect();
            let name = directive.title();
            match directive.effect {
                // Eligibility applies the first three, and floors the last one.
                Effect::Exclude | Effect::Drain | Effect::Cordon | Effect::Hold | Effect::Release { .. } => {}
                Effect::Pin { replicas } => {
                    self.add_group(name, &covered, i64::from(replicas), i64::from(replicas), None);
                }
                Effect::Min { replicas } => self.add_group(name, &covered, PLENTY, i64::from(replicas), None),
                Effect::Max { replicas } => self.add_group(name, &covered, i64::from(replicas), 0, None),
                Effect::Weight { weight } => {
                    for (i, _) in covered {
                        self.seats[i].weight = i64::from(weight.max(0));
                    }
                }
            }
        }
    }

    fn mark_open(&mut self) {
        for seat in &self.seats {
            for own in seat.groups.iter().filter(|_| seat.open) {
                self.groups[own.group].open = true;
            }
        }
    }
}

fn empty_seat() -> Seat {
    Seat { open: false, leaving: false, held: 0, weight: 1, share: None, tier: 0, groups: Vec::new() }
}

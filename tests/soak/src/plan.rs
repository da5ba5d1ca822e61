//! What is going to happen: drawn from a seed before anything runs, so that it can be replayed.

use std::time::Duration;

use crate::seed::Random;

/// Members the plan works on.
pub const CLUSTERS: [&str; 3] = acceptance::manifests::MEMBERS;

/// Applications that come and go. `moves` runs lost replicas elsewhere after a short silence; the others hold.
pub const APPS: [&str; 4] = ["spread", "plain", "moves", "config"];

/// A fault that must be noticed, and one that may pass unseen, in milliseconds. A member's nodes count as lost after
/// 50 s without their leases; that would be another subject.
const LONG: std::ops::Range<u64> = 10_000..16_000;
const SHORT: std::ops::Range<u64> = 300..6_000;
/// Replicas of an application: enough that each cluster holds some, few enough for a small machine.
const REPLICAS: std::ops::Range<u64> = 3..13;

/// What a user does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// An Application is made; skipped while one of the name still goes.
    Create {
        /// Name.
        app: &'static str,
        /// Replicas.
        replicas: i64,
    },
    /// It is to have another number of replicas.
    Scale {
        /// Name.
        app: &'static str,
        /// Replicas.
        replicas: i64,
    },
    /// It is to run another image.
    Revise {
        /// Name.
        app: &'static str,
        /// Tag.
        version: u64,
    },
    /// Its component is to have another name; what runs stays the same.
    Rename {
        /// Name.
        app: &'static str,
        /// Number in the component's name.
        component: u64,
    },
    /// It is to run in some clusters only.
    Select {
        /// Name.
        app: &'static str,
        /// Clusters.
        clusters: Vec<&'static str>,
    },
    /// Something is written on it that means nothing.
    Annotate {
        /// Name.
        app: &'static str,
        /// Value.
        value: u64,
    },
    /// It is deleted.
    Delete {
        /// Name.
        app: &'static str,
    },
    /// Its object vanishes from the hub while nobody looks, and nobody asked for a deletion.
    Vanish {
        /// Name.
        app: &'static str,
    },
    /// A cluster takes nothing new.
    Cordon(&'static str),
    /// A cluster is emptied.
    Drain(&'static str),
    /// A cluster takes replicas again.
    Uncordon(&'static str),
}

/// Which of two operators, as it is when the fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that leads.
    Leader,
    /// The other one.
    Follower,
}

/// How a connection is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Closed, and nobody listens.
    Cut,
    /// Reset.
    Reset,
    /// Nothing passes and nobody is told.
    BlackHole,
    /// Late by so much in each direction.
    Slow(Duration),
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An operator is killed, and started again at the end.
    OperatorKilled(Which),
    /// An operator is frozen, and goes on at the end.
    OperatorFrozen(Which),
    /// An operator is asked to end, and started again at the end.
    OperatorStopped(Which),
    /// A member's API server is killed.
    MemberKilled(&'static str),
    /// A member's API server is frozen.
    MemberFrozen(&'static str),
    /// The operators' link to a member is disturbed.
    MemberLink(&'static str, Way),
    /// A member's API server answers 429.
    MemberThrottles(&'static str),
    /// A member's watches say nothing.
    MemberWatchesHeld(&'static str),
    /// The database is killed.
    DatabaseKilled,
    /// One operator's link to the database is disturbed.
    DatabaseLink(Which, Way),
    /// The hub's API server is killed.
    HubKilled,
    /// One operator's link to the hub is disturbed.
    HubLink(Which, Way),
}

impl Fault {
    /// What it disturbs: never two at once in one place.
    pub fn place(self) -> &'static str {
        match self {
            Self::OperatorKilled(_) | Self::OperatorFrozen(_) | Self::OperatorStopped(_) => "operators",
            Self::MemberKilled(member)
            | Self::MemberFrozen(member)
            | Self::MemberLink(member, _)
            | Self::MemberThrottles(member)
            | Self::MemberWatchesHeld(member) => member,
            Self::DatabaseKilled | Self::DatabaseLink(..) => "database",
            Self::HubKilled | Self::HubLink(..) => "hub",
        }
    }

    /// The member that operators cannot reach or see while it lasts.
    pub fn silences(self) -> Option<&'static str> {
        match self {
            Self::MemberKilled(member) | Self::MemberFrozen(member) => Some(member),
            Self::MemberLink(member, way) if !matches!(way, Way::Slow(_)) => Some(member),
            _ => None,
        }
    }

    /// The member that the run itself cannot watch while it lasts.
    pub fn blinds(self) -> Option<&'static str> {
        match self {
            Self::MemberKilled(member) | Self::MemberFrozen(member) => Some(member),
            _ => None,
        }
    }
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A user does something.
    Work(Work),
    /// A fault begins; the number names it.
    Begin(usize, Fault),
    /// A fault ends.
    End(usize),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Time to let pass before.
    pub wait: Duration,
    /// What is done then.
    pub act: Act,
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// Faults that last at once, at most.
    pub at_once: usize,
    /// Steps, in order. Every fault that begins ends.
    pub steps: Vec<Step>,
}

/// Applications and clusters as they will be if everything that was asked for is done.
#[derive(Debug, Default)]
struct World {
    there: Vec<&'static str>,
    lost: Vec<&'static str>,
    cordoned: Option<&'static str>,
    /// Number, fault and end, in milliseconds from the start.
    faults: Vec<(usize, Fault, u64)>,
}

impl Plan {
    /// Draws a plan of some acts and faults; ends of faults come on top.
    pub fn draw(seed: u64, acts: usize) -> Self {
        let mut random = Random::of(seed);
        let at_once = if random.chance(50) { 1 } else { 2 };
        let mut world = World::default();
        let (mut now, mut last, mut number) = (0, 0, 0);
        let mut steps = Vec::new();
        let mut push = |at: u64, act: Act| {
            steps.push(Step { wait: Duration::from_millis(at - last), act });
            last = at;
        };
        // The first two are there before anything breaks; the others come in the middle of it.
        for app in &APPS[..2] {
            world.there.push(app);
            push(now, Act::Work(Work::Create { app, replicas: random.within(REPLICAS.start, REPLICAS.end) as i64 }));
        }
        now += 4_000;
        for _ in 0..acts {
            now += if random.chance(30) { random.within(50, 400) } else { random.within(400, 3_000) };
            // A hub that is down takes no work: everything waits for its end.
            if let Some((.., end)) = world.faults.iter().find(|(_, fault, _)| *fault == Fault::HubKilled) {
                now = now.max(*end);
            }
            for (fault, end) in world.ended(now) {
                push(end, Act::End(fault));
            }
            let fault = (world.faults.len() < at_once && random.chance(45)).then(|| world.fault(&mut random)).flatten();
            match fault {
                Some(fault) => {
                    let range = if random.chance(30) { LONG } else { SHORT };
                    let lasts = random.within(range.start, range.end);
                    world.faults.push((number, fault, now + lasts));
                    push(now, Act::Begin(number, fault));
                    number += 1;
                }
                None => push(now, Act::Work(world.work(&mut random))),
            }
        }
        for (fault, end) in world.ended(u64::MAX) {
            push(end.max(now), Act::End(fault));
        }
        Self { seed, at_once, steps }
    }

    /// One line a step, for people.
    pub fn lines(&self) -> Vec<String> {
        let line = |(number, step): (usize, &Step)| {
            let what = match &step.act {
                Act::Work(work) => format!("{work:?}"),
                Act::Begin(fault, what) => format!("fault {fault} begins: {what:?}"),
                Act::End(fault) => format!("fault {fault} ends"),
            };
            format!("{number:2} +{:>5} ms {what}", step.wait.as_millis())
        };
        self.steps.iter().enumerate().map(line).collect()
    }
}

impl World {
    /// Takes the faults that end by then, in order.
    fn ended(&mut self, now: u64) -> Vec<(usize, u64)> {
        let mut ended: Vec<(usize, u64)> =
            self.faults.iter().filter(|(.., end)| *end <= now).map(|(number, _, end)| (*number, *end)).collect();
        self.faults.retain(|(.., end)| *end > now);
        ended.sort_by_key(|(_, end)| *end);
        ended
    }

    /// A fault in a place where nothing is broken.
    fn fault(&self, random: &mut Random) -> Option<Fault> {
        let which = if random.chance(60) { Which::Leader } else { Which::Follower };
        let late = Duration::from_millis(random.within(50, 500));
        let way = *random.one_of(&[Way::Cut, Way::Reset, Way::BlackHole, Way::Slow(late)])?;
        let member = *random.one_of(&CLUSTERS)?;
        let fault = *random.one_of(&[
            Fault::OperatorKilled(which),
            Fault::OperatorFrozen(which),
            Fault::OperatorStopped(which),
            Fault::MemberKilled(member),
            Fault::MemberFrozen(member),
            Fault::MemberLink(member, way),
            Fault::MemberLink(member, Way::BlackHole),
            Fault::MemberThrottles(member),
            Fault::MemberWatchesHeld(member),
            Fault::DatabaseKilled,
            Fault::DatabaseLink(which, way),
            Fault::HubKilled,
            Fault::HubLink(which, way),
        ])?;
        let free = self.faults.iter().all(|(_, other, _)| other.place() != fault.place());
        free.then_some(fault)
    }

    fn work(&mut self, random: &mut Random) -> Work {
        let replicas = random.within(REPLICAS.start, REPLICAS.end) as i64;
        let absent: Vec<_> =
            APPS.into_iter().filter(|app| !self.there.contains(app) && !self.lost.contains(app)).collect();
        let draw = random.within(0, 100);
        if draw < 15
            && let Some(app) = random.one_of(&absent)
        {
            self.there.push(app);
            return Work::Create { app, replicas };
        }
        let Some(app) = random.one_of(&self.there).copied() else {
            let app = random.one_of(&absent).copied().unwrap_or(APPS[0]);
            self.there.push(app);
            return Work::Create { app, replicas };
        };
        match draw {
            0..40 => Work::Scale { app, replicas },
            40..48 => Work::Rename { app, component: random.within(0, 3) },
            48..57 => {
                let left_out = random.one_of(&CLUSTERS).filter(|_| random.chance(70));
                let clusters = CLUSTERS.into_iter().filter(|cluster| Some(cluster) != left_out).collect();
                Work::Select { app, clusters }
            }
            57..68 => Work::Revise { app, version: random.within(2, 1_000) },
            68..74 => Work::Annotate { app, value: random.within(0, 1_000) },
            // Enough are left for something to be compared at the end.
            74..82 if self.there.len() > 2 => {
                self.there.retain(|other| *other != app);
                Work::Delete { app }
            }
            // Operators are frozen for it, so nothing else may be wrong with them.
            82..86
                if self.there.len() > 1
                    && self.lost.is_empty()
                    && self.faults.iter().all(|(_, fault, _)| fault.place() != "operators") =>
            {
                self.there.retain(|other| *other != app);
                self.lost.push(app);
                Work::Vanish { app }
            }
            _ => {
                if let Some(cluster) = self.cordoned.take() {
                    return Work::Uncordon(cluster);
                }
                let cluster = CLUSTERS[usize::try_from(random.within(0, 3)).unwrap_or(0)];
                self.cordoned = Some(cluster);
                if random.chance(60) { Work::Drain(cluster) } else { Work::Cordon(cluster) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_plan() {
        for seed in 0..50 {
            assert_eq!(Plan::draw(seed, 30), Plan::draw(seed, 30));
        }
        assert_ne!(Plan::draw(1, 30).steps, Plan::draw(2, 30).steps);
    }

    #[test]
    fn never_more_faults_at_once_than_said_and_every_fault_ends() {
        for seed in 0..500 {
            let plan = Plan::draw(seed, 30);
            let mut open: BTreeMap<usize, Fault> = BTreeMap::new();
            for step in &plan.steps {
                match &step.act {
                    Act::Begin(number, fault) => {
                        let places = || open.values().map(|other| other.place());
                        assert!(places().all(|place| place != fault.place()), "seed {seed}: two in one place");
                        open.insert(*number, *fault);
                    }
                    Act::End(number) => assert!(open.remove(number).is_some(), "seed {seed}: it never began"),
                    Act::Work(work) => {
                        let hub = open.values().any(|fault| *fault == Fault::HubKilled);
                        assert!(!hub, "seed {seed}: {work:?} while the hub is down");
                    }
                }
                assert!(open.len() <= plan.at_once, "seed {seed}");
            }
            assert!(open.is_empty(), "seed {seed}: {open:?}");
        }
    }

    #[test]
    fn everything_that_can_happen_does() {
        let all: String = (0..200).flat_map(|seed| Plan::draw(seed, 30).lines()).collect();
        for word in [
            "Create",
            "Scale",
            "Revise",
            "Rename",
            "Select",
            "Annotate",
            "Delete",
            "Vanish",
            "Cordon",
            "Drain",
            "Uncordon",
            "Killed",
            "Frozen",
            "Stopped",
            "Throttles",
            "WatchesHeld",
            "DatabaseLink",
            "HubLink",
            "MemberLink",
            "BlackHole",
        ] {
            assert!(all.contains(word), "{word}");
        }
    }
}

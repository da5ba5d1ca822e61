//! Draws the steps of a run from a seed before the run begins, so that a run can be replayed.

use std::time::Duration;

use crate::seed::Random;

/// Members of the fleet that the plan uses.
pub const CLUSTERS: [&str; 3] = acceptance::manifests::MEMBERS;

/// Applications that the plan creates and deletes.
///
/// `moves` replaces lost replicas elsewhere after a short silence. The other applications hold their replicas.
pub const APPS: [&str; 4] = ["spread", "plain", "moves", "config"];

/// Duration of a fault that operators must notice, in milliseconds.
///
/// `SHORT` is the duration of a fault that may pass unnoticed. The longest fault stays under 50 s: a node whose lease
/// is not renewed for 50 s counts as lost, which is not a subject of this test.
const LONG: std::ops::Range<u64> = 10_000..16_000;
const SHORT: std::ops::Range<u64> = 300..6_000;
/// Replicas of an application: enough for some in each cluster, few enough for a small machine.
const REPLICAS: std::ops::Range<u64> = 3..13;

/// Work of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Creates an Application; skipped while an Application of that name is still being deleted.
    Create {
        /// Name of the Application.
        app: &'static str,
        /// Requested number of replicas.
        replicas: i64,
    },
    /// Changes the number of replicas.
    Scale {
        /// Name of the Application.
        app: &'static str,
        /// Requested number of replicas.
        replicas: i64,
    },
    /// Changes the image.
    Revise {
        /// Name of the Application.
        app: &'static str,
        /// Tag of the image.
        version: u64,
    },
    /// Renames the component; the workload stays the same.
    Rename {
        /// Name of the Application.
        app: &'static str,
        /// Number in the name of the component.
        component: u64,
    },
    /// Restricts the Application to some clusters.
    Select {
        /// Name of the Application.
        app: &'static str,
        /// Clusters that remain allowed.
        clusters: Vec<&'static str>,
    },
    /// Writes an annotation that has no meaning.
    Annotate {
        /// Name of the Application.
        app: &'static str,
        /// Value of the annotation.
        value: u64,
    },
    /// Deletes the Application.
    Delete {
        /// Name of the Application.
        app: &'static str,
    },
    /// Removes the object from the hub while all operators are frozen.
    ///
    /// No user requests a deletion.
    Vanish {
        /// Name of the Application.
        app: &'static str,
    },
    /// Cordons a cluster: the cluster accepts no new replicas.
    Cordon(&'static str),
    /// Drains a cluster: all replicas leave the cluster.
    Drain(&'static str),
    /// Uncordons a cluster: the cluster accepts replicas again.
    Uncordon(&'static str),
}

/// Selects one of two operators by its role at the begin of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The operator that schedules, which usually holds the other leases too.
    Scheduler,
    /// The other operator.
    Other,
}

/// Disturbance of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The link closes connections and accepts no new ones.
    Cut,
    /// The link resets connections.
    Reset,
    /// The link drops all data, and neither side receives an error.
    BlackHole,
    /// The link delays data by this time in each direction.
    Slow(Duration),
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An operator is killed, and started again at the end of the fault.
    OperatorKilled(Which),
    /// An operator is frozen, and resumed at the end of the fault.
    OperatorFrozen(Which),
    /// An operator is stopped in an orderly way, and started again at the end of the fault.
    OperatorStopped(Which),
    /// A member's API server is killed.
    MemberKilled(&'static str),
    /// A member's API server is frozen.
    MemberFrozen(&'static str),
    /// The operators' link to a member is disturbed.
    MemberLink(&'static str, Way),
    /// A member's API server answers 429.
    MemberThrottles(&'static str),
    /// A member's watches deliver no events.
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
    /// Returns the place that the fault disturbs; each place has at most one fault at a time.
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

    /// Returns the member that operators cannot reach or observe during the fault.
    pub fn silences(self) -> Option<&'static str> {
        match self {
            Self::MemberKilled(member) | Self::MemberFrozen(member) => Some(member),
            Self::MemberLink(member, way) if !matches!(way, Way::Slow(_)) => Some(member),
            _ => None,
        }
    }

    /// Returns the member that the run itself cannot watch during the fault.
    pub fn blinds(self) -> Option<&'static str> {
        match self {
            Self::MemberKilled(member) | Self::MemberFrozen(member) => Some(member),
            _ => None,
        }
    }
}

/// Action of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A user does work.
    Work(Work),
    /// A fault begins; the number identifies the fault.
    Begin(usize, Fault),
    /// The fault with this number ends.
    End(usize),
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Delay since the step before.
    pub wait: Duration,
    /// Action of the step.
    pub act: Act,
}

/// All steps of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Seed from which the plan was drawn.
    pub seed: u64,
    /// Maximum number of faults at the same time.
    pub at_once: usize,
    /// Steps in order. Every fault that begins also ends.
    pub steps: Vec<Step>,
}

/// Applications, clusters and faults as they are if all planned steps succeed.
#[derive(Debug, Default)]
struct World {
    there: Vec<&'static str>,
    lost: Vec<&'static str>,
    cordoned: Option<&'static str>,
    /// Number, fault and end in milliseconds from the start.
    faults: Vec<(usize, Fault, u64)>,
}

impl Plan {
    /// Draws a plan of `acts` pieces of work and begins of faults; the ends of faults are additional steps.
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
        // The first two applications exist before any fault begins; the others are created during faults.
        for app in &APPS[..2] {
            world.there.push(app);
            push(now, Act::Work(Work::Create { app, replicas: random.within(REPLICAS.start, REPLICAS.end) as i64 }));
        }
        now += 4_000;
        for _ in 0..acts {
            now += if random.chance(30) { random.within(50, 400) } else { random.within(400, 3_000) };
            // A hub that is down accepts no work: the plan waits until that fault ends.
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

    /// Formats the plan for people, one line for each step.
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
    /// Removes and returns the faults that end by `now`, in order of their ends.
    fn ended(&mut self, now: u64) -> Vec<(usize, u64)> {
        let mut ended: Vec<(usize, u64)> =
            self.faults.iter().filter(|(.., end)| *end <= now).map(|(number, _, end)| (*number, *end)).collect();
        self.faults.retain(|(.., end)| *end > now);
        ended.sort_by_key(|(_, end)| *end);
        ended
    }

    /// Draws a fault; returns nothing when the place of the fault is already disturbed.
    fn fault(&self, random: &mut Random) -> Option<Fault> {
        let which = if random.chance(60) { Which::Scheduler } else { Which::Other };
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
            // Keeps at least two applications, so that the end state has something to compare.
            74..82 if self.there.len() > 2 => {
                self.there.retain(|other| *other != app);
                Work::Delete { app }
            }
            // `Vanish` freezes the operators, so the operators must have no other fault.
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
mod tests;

//! Cells that bid for replicas, and the groups of cells that bound their sums. Pure.

/// A cell that may hold seats.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    /// Whether the cell takes new seats.
    pub(crate) open: bool,
    /// Whether the cell must give its seats to other cells.
    pub(crate) leaving: bool,
    /// Seats of the previous placement.
    pub(crate) held: i64,
    /// Weight of the cell. A cell of weight 0 takes no seat by weight.
    pub(crate) weight: i64,
    /// Exact number of seats that `spec.placement.shares` asks for.
    pub(crate) share: Option<i64>,
    /// Index of the cell's tier. Lower tiers are filled first.
    pub(crate) tier: usize,
    /// Groups to whose sums the seats of the cell count.
    pub(crate) groups: Vec<Membership>,
}

/// Share of a cell in the sum of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Membership {
    pub(crate) group: usize,
    /// Number of zones over which the cell divides its seats evenly. The group is one of these zones.
    ///
    /// 1 where all seats of the cell count.
    pub(crate) parts: i64,
}

impl Membership {
    /// Maximum number of the cell's `seats` that lie in the group: odd seats lie in some of the parts.
    pub(super) fn most(self, seats: i64) -> i64 {
        (seats + self.parts - 1).div_euclid(self.parts)
    }

    /// Minimum number of the cell's `seats` that lie in the group.
    pub(super) fn least(self, seats: i64) -> i64 {
        seats.div_euclid(self.parts)
    }
}

/// Number of seats in a group, counted in three ways.
///
/// The three numbers differ only where cells divide their seats over zones.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    /// Seats divided evenly over zones, in units of `Seating::unit` a seat.
    pub(crate) even: i64,
    /// Maximum number of seats, wherever the odd seats lie.
    pub(crate) most: i64,
    /// Minimum number of seats, wherever the odd seats lie.
    pub(crate) least: i64,
}

/// A set of cells with bounds on the sum of their seats.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Name of the bound, for people.
    pub(crate) name: String,
    /// Maximum sum, which always holds: a capacity, a limit or a directive.
    pub(crate) max: i64,
    /// Minimum sum, reached where the placement allows it.
    pub(crate) min: i64,
    /// Whether at least one cell of the group takes new seats.
    pub(crate) open: bool,
    /// Index of the spread constraint of which this group is a domain.
    pub(crate) spread: Option<usize>,
}

/// A spread constraint: evenness between the domains of one topology level.
#[derive(Debug, Clone)]
pub(crate) struct Evenness {
    pub(crate) max_skew: Option<i64>,
    pub(crate) min_domains: i64,
    /// Number of domains that may be lost while enough seats remain.
    pub(crate) survive: Option<usize>,
    /// Indices of the groups that are the domains of the constraint.
    pub(crate) domains: Vec<usize>,
    pub(crate) best_effort: bool,
    pub(crate) name: String,
}

/// Selects the spread constraints that a new seat must respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Respect {
    /// All constraints.
    All,
    /// Constraints that are not best effort. Such a constraint holds back replicas when it cannot be kept.
    Binding,
    /// No constraint: the seat must be placed somewhere.
    Nothing,
}

impl Respect {
    pub(super) fn includes(self, spread: &Evenness) -> bool {
        match self {
            Self::All => true,
            Self::Binding => !spread.best_effort,
            Self::Nothing => false,
        }
    }
}

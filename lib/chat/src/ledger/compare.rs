//! What became of the organizations in two runs, side by side.

use serde::Serialize;

use super::{ErrorClass, State};
use crate::{MessageId, OrganizationId};

/// How an organization of one run differs from the same organization of another run. It can differ in several ways at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the run before has it.
    OnlyBefore,
    /// Only the run after has it.
    OnlyAfter,
    /// Its limit was computed before and was not after, or it failed where it was merely unfinished.
    StateWorse,
    /// The other way round.
    StateBetter,
    /// Both found a boundary, and the later one hides more.
    BoundaryNewer,
    /// Both found a boundary, and the later one shows more.
    BoundaryOlder,
    /// The count did not limit it before, and does after.
    BoundaryAppeared,
    /// The count limited it before, and does not after.
    BoundaryGone,
    /// Both computed a limit, with different numbers of visible messages.
    VisibleMessages,
}

impl Change {
    /// All changes, in the order in which tables show them.
    pub const ALL: [Self; 9] = [
        Self::OnlyBefore,
        Self::OnlyAfter,
        Self::StateWorse,
        Self::StateBetter,
        Self::BoundaryNewer,
        Self::BoundaryOlder,
        Self::BoundaryAppeared,
        Self::BoundaryGone,
        Self::VisibleMessages,
    ];

    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnlyBefore => "only in the run before",
            Self::OnlyAfter => "only in the run after",
            Self::StateWorse => "state is worse",
            Self::StateBetter => "state is better",
            Self::BoundaryNewer => "boundary is newer",
            Self::BoundaryOlder => "boundary is older",
            Self::BoundaryAppeared => "boundary appeared",
            Self::BoundaryGone => "boundary is gone",
            Self::VisibleMessages => "visible messages changed",
        }
    }

    /// Whether an organization changed so.
    pub fn holds(self, before: Option<&Outcome>, after: Option<&Outcome>) -> bool {
        let (before, after) = match (before, after) {
            (Some(before), Some(after)) => (before, after),
            (Some(_), None) => return self == Self::OnlyBefore,
            (None, Some(_)) => return self == Self::OnlyAfter,
            (None, None) => return false,
        };
        // Where nothing was computed, no boundary does not mean that the count does not limit.
        let settled = before.rank() == Rank::Good && after.rank() == Rank::Good;
        let computed = before.is_computed() && after.is_computed();
        let boundaries = (before.first_visible_message_id, after.first_visible_message_id);
        match self {
            Self::OnlyBefore | Self::OnlyAfter => false,
            Self::StateWorse => after.rank() > before.rank(),
            Self::StateBetter => after.rank() < before.rank(),
            Self::BoundaryNewer => settled && matches!(boundaries, (Some(old), Some(new)) if new > old),
            Self::BoundaryOlder => settled && matches!(boundaries, (Some(old), Some(new)) if new < old),
            Self::BoundaryAppeared => settled && matches!(boundaries, (None, Some(_))),
            Self::BoundaryGone => settled && matches!(boundaries, (Some(_), None)),
            Self::VisibleMessages => computed && before.visible_messages != after.visible_messages,
        }
    }
}

/// How well an organization stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Good,
    Unfinished,
    Bad,
}

/// What became of an organization in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its state.
    pub state: State,
    /// The boundary, where there is one.
    pub first_visible_message_id: Option<MessageId>,
    /// Visible messages.
    pub visible_messages: u32,
}

impl Outcome {
    fn rank(&self) -> Rank {
        if self.state.is_failure() {
            Rank::Bad
        } else if self.state.is_terminal() {
            Rank::Good
        } else {
            Rank::Unfinished
        }
    }

    fn is_computed(&self) -> bool {
        matches!(self.state, State::Done | State::Superseded)
    }
}

/// An organization in two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The organization.
    pub organization: OrganizationId,
    /// In the run before.
    pub before: Option<Outcome>,
    /// In the run after.
    pub after: Option<Outcome>,
}

/// How many organizations changed in one way, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The way.
    pub change: Change,
    /// How many; never 0.
    pub organizations: u64,
    /// The lowest of them, ascending.
    pub examples: Vec<Compared>,
}

/// Two runs side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Organizations of the run before.
    pub before: u64,
    /// Organizations of the run after.
    pub after: u64,
    /// Organizations of both that did not change.
    pub same: u64,
    /// The changes that there are, in the order of [`Change::ALL`].
    pub differences: Vec<Difference>,
    /// What fails after with a class that did not occur before.
    pub new_error_classes: Vec<ErrorClass>,
}

impl Comparison {
    /// True when both runs have the same organizations with the same limits, and nothing fails in a new way.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty() && self.new_error_classes.is_empty()
    }
}

/// Builds a [`Comparison`], organization by organization.
#[derive(Debug)]
pub struct Comparer {
    examples_max: usize,
    comparison: Comparison,
}

impl Comparer {
    /// Keeps at most `examples_max` examples of each change.
    pub fn new(examples_max: usize) -> Self {
        Self { examples_max, comparison: Comparison::default() }
    }

    /// Takes an organization of either run or of both; to be called in ascending order.
    pub fn add(&mut self, organization: OrganizationId, before: Option<Outcome>, after: Option<Outcome>) {
        let examples_max = self.examples_max;
        self.comparison.before += u64::from(before.is_some());
        self.comparison.after += u64::from(after.is_some());
        let mut changed = false;
        if before != after {
            for change in Change::ALL.into_iter().filter(|change| change.holds(before.as_ref(), after.as_ref())) {
                changed = true;
                let difference = self.difference(change);
                difference.organizations += 1;
                if difference.examples.len() < examples_max {
                    difference.examples.push(Compared { organization, before, after });
                }
            }
        }
        self.comparison.same += u64::from(!changed && before.is_some());
    }

    /// Takes what `higher` was told of, all of it above the organizations of this one.
    pub fn append(&mut self, higher: Self) {
        let higher = higher.comparison;
        self.comparison.before += higher.before;
        self.comparison.after += higher.after;
        self.comparison.same += higher.same;
        for theirs in higher.differences {
            let examples_max = self.examples_max;
            let ours = self.difference(theirs.change);
            ours.organizations += theirs.organizations;
            let wanted = examples_max.saturating_sub(ours.examples.len());
            ours.examples.extend(theirs.examples.into_iter().take(wanted));
        }
    }

    /// The one of this change, which is made if there is none yet.
    fn difference(&mut self, change: Change) -> &mut Difference {
        let differences = &mut self.comparison.differences;
        let at = differences.iter().position(|difference| difference.change == change).unwrap_or_else(|| {
            differences.push(Difference { change, organizations: 0, examples: Vec::new() });
            differences.len() - 1
        });
        &mut differences[at]
    }

    /// The comparison, once every organization was counted; with what fails in each run.
    pub fn finish(mut self, before: &[ErrorClass], after: Vec<ErrorClass>) -> Comparison {
        self.comparison.differences.sort_by_key(|difference| difference.change);
        let is_new = |class: &ErrorClass| !before.iter().any(|old| old.class == class.class);
        self.comparison.new_error_classes = after.into_iter().filter(is_new).collect();
        self.comparison
    }
}

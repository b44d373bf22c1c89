//! The viewing limit of one organization, as computed and stored.

use serde::{Deserialize, Serialize};

use crate::limits::PutOutcome;
use crate::{MessageId, OrganizationId, Policy, RunId, Timestamp};

/// Which computation is the newer one: compared by plan version, then `as_of`, then `collected_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// The organization's plan version.
    pub plan_version: u64,
    /// The instant for which the limit holds.
    pub as_of: Timestamp,
    /// When memberships, deletions and plan were read.
    pub collected_at: Timestamp,
}

/// What is stored of an organization: three-valued, and 0 never stands for "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "first_visible_message_id")]
pub enum Standing {
    /// Computed once, then released because the plan no longer limits. Reads as *not computed*.
    Released,
    /// At most N candidates: age alone limits.
    NoCountLimit,
    /// More than N candidates: the id of the N-th newest, inclusive.
    Limited(MessageId),
}

/// What a reader applies: age alone, or also a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Nothing is stored, or the row is released.
    NotComputed,
    /// Computed: no count boundary.
    NoCountLimit,
    /// The first visible message, inclusive.
    From(MessageId),
}

/// A stored limit.
///
/// Canonical columns are the same for the same data and `as_of`, however often and wherever they are computed; bookkeeping
/// columns tell how this row came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRow {
    /// Canonical: whose limit.
    pub organization: OrganizationId,
    /// Canonical: the policy's numbers.
    pub policy: Policy,
    /// Canonical but for `collected_at`: which computation is newer.
    pub version: Version,
    /// Canonical: released, no count limit, or the boundary.
    pub standing: Standing,
    /// Canonical, informative: the oldest candidate that is visible; `None` when there is none.
    pub oldest_visible_message_id: Option<MessageId>,
    /// Canonical: visible messages, at most N.
    pub visible_messages: u32,
    /// Canonical: rooms that the organization sees.
    pub rooms: u32,
    /// Bookkeeping: the run that computed the row.
    pub run: RunId,
    /// Bookkeeping: the boundary before this run; kept when the same run writes again.
    pub previous_first_visible_message_id: Option<MessageId>,
    /// Bookkeeping: rooms that had to be opened.
    pub rooms_opened: u32,
    /// Bookkeeping: ids that were read.
    pub messages_read: u64,
    /// Bookkeeping: when the row was computed.
    pub computed_at: Timestamp,
}

impl LimitRow {
    /// The count boundary, where there is one.
    pub fn first_visible_message_id(&self) -> Option<MessageId> {
        match self.standing {
            Standing::Limited(id) => Some(id),
            Standing::Released | Standing::NoCountLimit => None,
        }
    }

    /// What a reader applies.
    pub fn boundary(row: Option<&Self>) -> Boundary {
        match row.map(|row| row.standing) {
            None | Some(Standing::Released) => Boundary::NotComputed,
            Some(Standing::NoCountLimit) => Boundary::NoCountLimit,
            Some(Standing::Limited(id)) => Boundary::From(id),
        }
    }

    /// The version rule: whether this row may replace `stored`, and what it carries over from it. Every adapter of
    /// [`crate::Limits`] decides by it; the row is only to be written when the outcome is [`PutOutcome::Stored`].
    pub fn settle_over(&mut self, stored: Option<&Self>) -> PutOutcome {
        let Some(stored) = stored else { return PutOutcome::Stored { previous: None } };
        if self.version < stored.version {
            let released = stored.standing == Standing::Released;
            return if released { PutOutcome::Released } else { PutOutcome::Superseded };
        }
        self.previous_first_visible_message_id = if self.run == stored.run {
            stored.previous_first_visible_message_id
        } else {
            stored.first_visible_message_id()
        };
        PutOutcome::Stored { previous: Some(stored.clone()) }
    }

    /// The row that releases this one: the plan no longer limits.
    pub fn release(&self, version: Version, run: RunId, at: Timestamp) -> Self {
        Self {
            version,
            standing: Standing::Released,
            run,
            computed_at: at,
            oldest_visible_message_id: None,
            visible_messages: 0,
            rooms: 0,
            rooms_opened: 0,
            messages_read: 0,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(plan_version: u64, as_of: u64, collected_at: u64, standing: Standing, run: &str) -> LimitRow {
        LimitRow {
            organization: OrganizationId::from_bits(1),
            policy: Policy::default(),
            version: Version {
                plan_version,
                as_of: Timestamp::from_millis(as_of),
                collected_at: Timestamp::from_millis(collected_at),
            },
            standing,
            oldest_visible_message_id: None,
            visible_messages: 0,
            rooms: 0,
            run: RunId::new(run).expect("a run id"),
            previous_first_visible_message_id: None,
            rooms_opened: 0,
            messages_read: 0,
            computed_at: Timestamp::from_millis(collected_at),
        }
    }

    #[test]
    fn versions_compare_plan_first_then_instant_then_collection() {
        let older = row(1, 9, 9, Standing::NoCountLimit, "a").version;
        assert!(older < row(2, 1, 1, Standing::NoCountLimit, "a").version);
        assert!(older < row(1, 10, 1, Standing::NoCountLimit, "a").version);
        assert!(older < row(1, 9, 10, Standing::NoCountLimit, "a").version);
    }

    #[test]
    fn an_older_run_that_finishes_late_is_superseded() {
        let stored = row(0, 20, 20, Standing::NoCountLimit, "b");
        assert_eq!(row(0, 10, 30, Standing::NoCountLimit, "a").settle_over(Some(&stored)), PutOutcome::Superseded);
    }

    #[test]
    fn a_late_result_does_not_limit_an_upgraded_organization_again() {
        let stored = row(0, 10, 10, Standing::NoCountLimit, "a").release(
            row(1, 10, 15, Standing::Released, "a").version,
            RunId::new("a").expect("id"),
            Timestamp::from_millis(15),
        );
        assert_eq!(row(0, 10, 12, Standing::NoCountLimit, "a").settle_over(Some(&stored)), PutOutcome::Released);
    }

    #[test]
    fn the_same_row_twice_is_the_same_row_once_and_keeps_what_stood_before_the_run() {
        let seven = MessageId::from_bits(7);
        let before = row(0, 10, 10, Standing::Limited(seven), "a");
        let mut first = row(0, 20, 20, Standing::NoCountLimit, "b");
        first.settle_over(Some(&before));
        let mut again = row(0, 20, 20, Standing::NoCountLimit, "b");
        assert!(matches!(again.settle_over(Some(&first)), PutOutcome::Stored { .. }));
        assert_eq!(again, first);
        assert_eq!(again.previous_first_visible_message_id, Some(seven));
    }
}

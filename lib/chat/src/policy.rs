//! How much a limited organization may see.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, time::Day};

/// The viewing policy: the newest `max_messages`, none older than `max_age_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// N: how many messages of all rooms together. At least 1.
    pub max_messages: NonZeroU32,
    /// How old a visible message can be, in milliseconds; `None` = any age.
    pub max_age_ms: Option<u64>,
}

impl Policy {
    /// The default N.
    pub const MAX_MESSAGES: NonZeroU32 = NonZeroU32::new(5_000).expect("5,000 is not 0");
    /// The default age: 40 × 24 h.
    pub const MAX_AGE_MS: u64 = 40 * Day::MILLIS;
    /// The largest N that is computed: a set of so many ids is held in memory for each organization in work.
    pub const MAX_MESSAGES_CEILING: u32 = 1_000_000;

    /// A policy of `max_messages` (1 to [`Self::MAX_MESSAGES_CEILING`]) and `max_age_ms`.
    pub fn new(max_messages: u32, max_age_ms: Option<u64>) -> Result<Self, NotAPolicy> {
        match NonZeroU32::new(max_messages) {
            Some(n) if max_messages <= Self::MAX_MESSAGES_CEILING => Ok(Self { max_messages: n, max_age_ms }),
            _ => Err(NotAPolicy(max_messages)),
        }
    }

    /// N as a length.
    pub const fn n(&self) -> usize {
        self.max_messages.get() as usize
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_messages: Self::MAX_MESSAGES, max_age_ms: Some(Self::MAX_AGE_MS) }
    }
}

/// Numbers that make no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("max_messages is {0}: it must be from 1 to {max}", max = Policy::MAX_MESSAGES_CEILING)]
pub struct NotAPolicy(u32);

/// A policy, and the instant from which it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Period {
    /// The first instant at which it is in force; `None` = always, until a later one begins.
    pub from: Option<Timestamp>,
    /// The policy.
    pub policy: Policy,
}

/// Policies that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policies(Vec<Period>);

impl Policies {
    /// Puts the periods in the order of their begin.
    ///
    /// # Errors
    ///
    /// [`NotPolicies`] when there is none, or two begin at the same instant.
    pub fn new(mut periods: Vec<Period>) -> Result<Self, NotPolicies> {
        if periods.is_empty() {
            return Err(NotPolicies::Empty);
        }
        periods.sort_by_key(|period| period.from);
        match periods.windows(2).find(|pair| pair[0].from == pair[1].from) {
            None => Ok(Self(periods)),
            Some([Period { from: Some(from), .. }, ..]) => Err(NotPolicies::SameBegin(*from)),
            Some(_) => Err(NotPolicies::TwoWithoutBegin),
        }
    }

    /// Ascending by their begin.
    pub fn periods(&self) -> &[Period] {
        &self.0
    }

    /// The period that `at` is in: the last one that has begun by then.
    ///
    /// # Errors
    ///
    /// [`NoPolicy`] when `at` is before the first begin.
    pub fn in_force(&self, at: Timestamp) -> Result<&Period, NoPolicy> {
        let begun = self.0.iter().rev().find(|period| period.from.is_none_or(|from| from <= at));
        begun.ok_or_else(|| NoPolicy { at, first: self.0[0].from.unwrap_or(at) })
    }
}

/// Periods that do not follow each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPolicies {
    /// There is none.
    #[error("there is no policy: give at least one")]
    Empty,
    /// Two begin at the same instant.
    #[error("two policies begin at {0}: give each a `from` of its own")]
    SameBegin(Timestamp),
    /// Two are in force always.
    #[error("two policies have no `from`: only one can be the first")]
    TwoWithoutBegin,
}

/// No policy is in force at an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no policy is in force at {at}: the first begins at {first}; add one without `from` for the time before")]
pub struct NoPolicy {
    /// The instant that was asked for.
    pub at: Timestamp,
    /// The begin of the first policy.
    pub first: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(from: Option<u64>, max_messages: u32) -> Period {
        let policy = Policy::new(max_messages, None).expect("a policy");
        Period { from: from.map(Timestamp::from_millis), policy }
    }

    #[test]
    fn the_last_policy_that_has_begun_is_in_force() {
        let policies =
            Policies::new(vec![period(Some(20), 3), period(None, 1), period(Some(10), 2)]).expect("policies");
        for (at, n) in [(0, 1), (9, 1), (10, 2), (19, 2), (20, 3), (u64::MAX, 3)] {
            let found = policies.in_force(Timestamp::from_millis(at)).expect("a policy");
            assert_eq!(found.policy.n(), n, "at {at}");
        }
    }

    #[test]
    fn the_time_before_the_first_policy_is_named() {
        let policies = Policies::new(vec![period(Some(20), 3), period(Some(10), 2)]).expect("policies");
        let gap = policies.in_force(Timestamp::from_millis(9)).expect_err("a gap");
        assert_eq!(gap, NoPolicy { at: Timestamp::from_millis(9), first: Timestamp::from_millis(10) });
    }

    #[test]
    fn policies_that_begin_together_are_refused() {
        let same = Policies::new(vec![period(Some(7), 1), period(None, 2), period(Some(7), 3)]);
        assert_eq!(same, Err(NotPolicies::SameBegin(Timestamp::from_millis(7))));
        assert_eq!(Policies::new(vec![period(None, 1), period(None, 2)]), Err(NotPolicies::TwoWithoutBegin));
        assert_eq!(Policies::new(Vec::new()), Err(NotPolicies::Empty));
    }
}

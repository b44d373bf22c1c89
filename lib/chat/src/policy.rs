//! How much a limited organization may see.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::time::Day;

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

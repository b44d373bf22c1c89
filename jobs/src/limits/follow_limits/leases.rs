//! The leases on shards. Shards of another number keep the same organizations, and would save over each other: at any time those of one
//! number work, and others wait.

use std::time::Duration;

use worker::{Lease, State, StateError};

/// The family of the leases' records.
const LEASES: &str = "follow-limits/";
/// Leases that are looked at, at most.
const HELD_MAX: usize = 4_096;

/// What became of asking for a shard's lease.
pub(super) enum Taken {
    Lease(Lease),
    /// This shard works already, of so many, which may be others than were asked for.
    Held {
        shard: u32,
        shards: u32,
    },
}

pub(super) async fn take(state: &dyn State, shard: u32, shards: u32, lives_for: Duration) -> Result<Taken, StateError> {
    // Who need not take it need not give it back, which those of the other number could see.
    if let Some(other) = of_another_number(state, shards).await? {
        return Ok(other);
    }
    let Some(lease) = Lease::take_number(state, &format!("{LEASES}of{shards}"), shard, lives_for).await? else {
        return Ok(Taken::Held { shard, shards });
    };
    // Everybody looks after taking: of two numbers that begin at once none works before the other has seen it.
    match of_another_number(state, shards).await {
        Ok(None) => Ok(Taken::Lease(lease)),
        found => {
            let released = lease.release(state).await;
            found.and_then(|other| released.map(|()| other.unwrap_or(Taken::Held { shard, shards })))
        }
    }
}

/// A shard of another number that works now.
async fn of_another_number(state: &dyn State, shards: u32) -> Result<Option<Taken>, StateError> {
    let held = state.list(LEASES, None, HELD_MAX).await?;
    let number = |key: &str| {
        let (shards, shard) = key.strip_prefix(LEASES)?.strip_prefix("of")?.split_once('/')?;
        Some(Taken::Held { shard: shard.parse().ok()?, shards: shards.parse().ok()? })
    };
    let is_another = |taken: &Taken| matches!(taken, Taken::Held { shards: of, .. } if *of != shards);
    Ok(held.iter().filter_map(|record| number(&record.key)).find(is_another))
}

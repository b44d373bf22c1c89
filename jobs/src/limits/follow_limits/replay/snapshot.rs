//! What is saved, from which `follow-limits` goes on.

use std::collections::BTreeMap;

use chat::{ChangeCursor, OrganizationId, Policy, Timestamp};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use worker::StateError;

use crate::limits::follow_limits::follower::{SAVE_MAX, counted_at};
use crate::limits::follow_limits::shard::{Saved, Shard};
use crate::limits::follow_limits::{FollowPorts, saving};

/// Writes of [`SAVE_MAX`] sets each that are under way at once: a store behind a network answers each write after some milliseconds.
const SAVES_AT_ONCE: usize = 8;

/// Saves the sets, or only counts: how many organizations have to be read from the store, and the bytes of the others.
pub(super) async fn save_sets(
    ports: &FollowPorts,
    policy: &Policy,
    shard: &Shard,
    ids: &[OrganizationId],
    saves: bool,
) -> Result<(u64, u64), StateError> {
    let (mut to_read, mut bytes, clock) = (0, 0, Timestamp::now());
    let mut saving = FuturesUnordered::new();
    for some in ids.chunks(SAVE_MAX) {
        let mut sets = Vec::with_capacity(some.len());
        for id in some {
            let saved = shard.saved(*id);
            let value = saving::value_of(saved.as_ref());
            let is_known = value.is_some()
                && saved.is_some_and(|Saved { set, .. }| {
                    let (_, window) = counted_at(set.newest_id(), clock, policy, ports.epoch);
                    set.newest(window).is_some()
                });
            to_read += u64::from(!is_known);
            bytes += value.as_ref().map_or(0, |value| value.len() as u64);
            sets.push((*id, value));
        }
        if saves {
            saving.push(saving::save(&*ports.state, sets));
        }
        // Leases are renewed in between.
        tokio::task::yield_now().await;
        if saving.len() >= SAVES_AT_ONCE {
            saving.next().await.transpose()?;
        }
    }
    while let Some(saved) = saving.next().await {
        saved?;
    }
    Ok((to_read, bytes))
}

/// Takes away what was saved of organizations that are not followed any more, then says up to where the sets hold: last, because whoever
/// finds the new place believes every set.
pub(super) async fn save_places(
    ports: &FollowPorts,
    shards: u32,
    ids: &[OrganizationId],
    ends: BTreeMap<u32, u64>,
    changes: ChangeCursor,
) -> Result<(), StateError> {
    let (state, mut after) = (&*ports.state, None);
    loop {
        let (kept, last) = saving::kept(state, after).await?;
        let gone = kept.into_iter().filter(|id| ids.binary_search(id).is_err()).map(|id| (id, None)).collect();
        saving::save(state, gone).await?;
        match last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    let epoch = saving::next_epoch(&saving::places(state).await?);
    let place = saving::Place { shards, epoch, offsets: ends, changes };
    for shard in 0..shards {
        saving::save_place(state, shard, &place).await?;
    }
    Ok(())
}

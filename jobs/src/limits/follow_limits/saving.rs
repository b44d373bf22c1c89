//! What outlives a restart: each organization's set, and the place in the log from which they are to be brought up to date.
//!
//! An organization's record may be newer than the place: what is told again from there changes nothing in the end, because
//! the last word on every message is told last. A record that is torn or of another version is refused, and its organization read from the
//! store.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use chat::{ChangeCursor, LiveSet, MessageId, Newest, OrganizationId, RoomId};
use serde::{Deserialize, Serialize};
use worker::state::{Expected, Record, VALUE_BYTES_MAX, Write};
use worker::{State, StateError};

use super::shard::{Saved, Stored};

/// Of a set's record. Another one is not read.
const VERSION: u8 = 1;
/// Sets of one page: each can have [`VALUE_BYTES_MAX`].
const PAGE: usize = 32;
const SETS: &str = "follow-limits-set/";
const PLACES: &str = "follow-limits-place/";

/// Up to where all sets of a shard hold, at least.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// How many shards there were.
    pub(super) shards: u32,
    /// Which start of the shard has written it: grows with each.
    pub(super) epoch: u64,
    /// The offset of the next record, by partition of the log of what is readable.
    pub(super) offsets: BTreeMap<u32, u64>,
    /// How far the directory's changes were heard.
    pub(super) changes: ChangeCursor,
}

#[derive(Serialize, Deserialize)]
struct SetRecord {
    plan_version: u64,
    rooms: Vec<u64>,
    n: usize,
    complete_from: u64,
    /// Ascending ids: the first, then how much each is above the one before; each with the place of its room.
    ids: Vec<(u64, u32)>,
    stored: Option<StoredRecord>,
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    plan_version: u64,
    visible_messages: u32,
    first_visible: Option<u64>,
    oldest_visible: Option<u64>,
    rooms: u32,
}

/// Why a record is no set.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotASet {
    #[error("version {0:?} is not {VERSION}")]
    Version(Option<u8>),
    #[error("the checksum is wrong")]
    Checksum,
    #[error("it does not read: {0}")]
    Form(#[from] postcard::Error),
    #[error("numbers in it contradict each other")]
    Numbers,
}

fn key(id: OrganizationId) -> String {
    format!("{SETS}{:020}", id.get())
}

/// Version, content, CRC-32 of both.
fn encode(saved: &Saved) -> Result<Vec<u8>, postcard::Error> {
    let mut before = 0;
    let ids = saved.set.iter().map(|(id, room)| {
        let above = id.get() - before;
        before = id.get();
        (above, room)
    });
    let stored = saved.stored.map(|stored| StoredRecord {
        plan_version: stored.plan_version,
        visible_messages: stored.newest.visible_messages,
        first_visible: stored.newest.first_visible_message_id.map(MessageId::get),
        oldest_visible: stored.newest.oldest_visible_message_id.map(MessageId::get),
        rooms: stored.rooms,
    });
    let record = SetRecord {
        plan_version: saved.plan_version,
        rooms: saved.rooms.iter().map(|room| room.get()).collect(),
        n: saved.set.n(),
        complete_from: saved.set.complete_from().get(),
        ids: ids.collect(),
        stored,
    };
    let mut bytes = postcard::to_extend(&record, vec![VERSION])?;
    let checksum = checksum(&bytes);
    bytes.extend(checksum);
    Ok(bytes)
}

fn decode(id: OrganizationId, bytes: &[u8]) -> Result<Saved, NotASet> {
    let version = bytes.first().copied();
    if version != Some(VERSION) {
        return Err(NotASet::Version(version));
    }
    let (content, sum) = bytes.split_last_chunk::<4>().ok_or(NotASet::Checksum)?;
    if checksum(content) != *sum {
        return Err(NotASet::Checksum);
    }
    let record: SetRecord = postcard::from_bytes(content.get(1..).unwrap_or_default())?;
    let mut at = 0_u64;
    let mut live = Vec::with_capacity(record.ids.len());
    for (above, room) in record.ids {
        at = at.checked_add(above).ok_or(NotASet::Numbers)?;
        if usize::try_from(room).map_or(true, |room| room >= record.rooms.len()) {
            return Err(NotASet::Numbers);
        }
        live.push((MessageId::new(at).map_err(|_| NotASet::Numbers)?, room));
    }
    let stored = record.stored.map(|stored| Stored {
        plan_version: stored.plan_version,
        newest: Newest {
            visible_messages: stored.visible_messages,
            first_visible_message_id: stored.first_visible.map(MessageId::from_bits),
            oldest_visible_message_id: stored.oldest_visible.map(MessageId::from_bits),
            ..Newest::default()
        },
        rooms: stored.rooms,
    });
    Ok(Saved {
        id,
        plan_version: record.plan_version,
        rooms: record.rooms.into_iter().map(RoomId::from_bits).collect(),
        set: LiveSet::of(record.n, live, MessageId::from_bits(record.complete_from)),
        stored,
    })
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.write(bytes);
    hasher.finalize().to_le_bytes()
}

/// Writes these organizations' records, or takes away the record of one of which nothing can be said.
pub(super) async fn save(state: &dyn State, sets: Vec<(OrganizationId, Option<Vec<u8>>)>) -> Result<(), StateError> {
    for (id, value) in sets {
        match value {
            Some(value) => {
                let write = Write { key: &key(id), value: &value, expected: Expected::Anything, lives_for: None };
                state.put(write).await?;
            }
            None => state.delete(&key(id), None).await?,
        }
    }
    Ok(())
}

/// What is to be written of an organization: nothing where the set is too large for a record.
pub(super) fn value_of(saved: Option<&Saved>) -> Option<Vec<u8>> {
    encode(saved?).ok().filter(|value| value.len() <= VALUE_BYTES_MAX)
}

/// The sets that are kept above `after`, in the order of the organizations: up to a page, and the organization at which it ends.
pub(super) async fn page(
    state: &dyn State,
    after: Option<OrganizationId>,
) -> Result<(Vec<Saved>, Option<OrganizationId>), StateError> {
    let (records, last) = records(state, after).await?;
    let mut sets = Vec::new();
    for (id, record) in records {
        match decode(id, &record.value) {
            Ok(saved) => sets.push(saved),
            Err(error) => {
                tracing::warn!(organization = %id, %error, "a saved set is not read: the store is asked instead");
            }
        }
    }
    Ok((sets, last))
}

/// The organizations above `after` of which a record is kept, whether it reads or not: up to a page, and the organization at which it
/// ends.
pub(super) async fn kept(
    state: &dyn State,
    after: Option<OrganizationId>,
) -> Result<(Vec<OrganizationId>, Option<OrganizationId>), StateError> {
    let (records, last) = records(state, after).await?;
    Ok((records.into_iter().map(|(id, _)| id).collect(), last))
}

async fn records(
    state: &dyn State,
    after: Option<OrganizationId>,
) -> Result<(Vec<(OrganizationId, Record)>, Option<OrganizationId>), StateError> {
    let records = state.list(SETS, after.map(key).as_deref(), PAGE).await?;
    let id = |record: &Record| record.key.get(SETS.len()..)?.parse().ok().map(OrganizationId::from_bits);
    let last = records.last().filter(|_| records.len() == PAGE).and_then(id);
    Ok((records.into_iter().filter_map(|record| Some((id(&record)?, record))).collect(), last))
}

/// The epoch of whoever begins after these.
pub(super) fn next_epoch(places: &BTreeMap<u32, Place>) -> u64 {
    places.values().map(|place| place.epoch).max().unwrap_or(0) + 1
}

/// The places of all shards that ever saved.
pub(super) async fn places(state: &dyn State) -> Result<BTreeMap<u32, Place>, StateError> {
    let mut places = BTreeMap::new();
    for record in all(state, PLACES).await? {
        let shard = record.key.get(PLACES.len()..).and_then(|text| text.parse().ok());
        match (shard, serde_json::from_slice(&record.value)) {
            (Some(shard), Ok(place)) => _ = places.insert(shard, place),
            _ => tracing::warn!(key = record.key, "a saved place is not read"),
        }
    }
    Ok(places)
}

/// All records of a family that has one for each shard.
pub(super) async fn all(state: &dyn State, prefix: &str) -> Result<Vec<Record>, StateError> {
    const PAGE: usize = 100;
    let mut all: Vec<Record> = Vec::new();
    loop {
        let page = state.list(prefix, all.last().map(|record| &*record.key), PAGE).await?;
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// Says up to where the sets of a shard hold.
pub(super) async fn save_place(state: &dyn State, shard: u32, place: &Place) -> Result<(), StateError> {
    let value = serde_json::to_vec(place).unwrap_or_default();
    let key = format!("{PLACES}{shard}");
    state.put(Write { key: &key, value: &value, expected: Expected::Anything, lives_for: None }).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(ids: u64) -> Saved {
        let live = (0..ids).map(|at| (MessageId::from_bits((1 << 40) + at * 1_000_003), (at % 3) as u32)).collect();
        let newest = Newest {
            visible_messages: 5,
            first_visible_message_id: Some(MessageId::from_bits(9)),
            ..Newest::default()
        };
        Saved {
            id: OrganizationId::from_bits(7),
            plan_version: 3,
            rooms: [11, 12, 13].map(RoomId::from_bits).into(),
            set: LiveSet::of(5_000, live, MessageId::from_bits(1 << 40)),
            stored: Some(Stored { plan_version: 2, newest, rooms: 3 }),
        }
    }

    #[test]
    fn a_set_reads_back_as_it_was_saved_and_a_full_one_fits_into_a_record() {
        for ids in [0, 1, 100, 6_000] {
            let saved = saved(ids);
            let bytes = value_of(Some(&saved)).expect("it fits");
            assert_eq!(decode(saved.id, &bytes).expect("a set"), saved);
        }
    }

    #[test]
    fn a_torn_record_is_refused_wherever_it_is_torn() {
        let saved = saved(40);
        let whole = value_of(Some(&saved)).expect("it fits");
        for length in 0..whole.len() {
            assert!(decode(saved.id, &whole[..length]).is_err(), "cut to {length} bytes");
        }
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 0x40;
            assert!(decode(saved.id, &torn).is_err(), "changed at {at}");
        }
        let mut other = whole;
        other[0] = VERSION + 1;
        assert!(matches!(decode(saved.id, &other), Err(NotASet::Version(Some(2)))));
    }
}

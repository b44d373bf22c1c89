//! Loading many rooms: gathered in memory, committed about a million ids at a time.

use chat::{MessageId, PortResult, RoomId};
use heed::{PutFlags, RwTxn};

use super::{PackedIndex, set};
use crate::lmdb::Failure;

/// Ids that are gathered before they are committed: 8 MB in memory, and some 5 MB of dirty pages.
const BATCH_IDS: usize = 1_000_000;
/// Rooms that are gathered before they are committed, however few ids they have.
const BATCH_ROOMS: usize = 100_000;
/// The longest name of a source; LMDB's keys hold 511 bytes.
const MAX_SOURCE_BYTES: usize = 400;

/// What a load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Rooms that were given.
    pub rooms: u64,
    /// Rooms in which something changed.
    pub changed_rooms: u64,
    /// Live ids that were given.
    pub live_ids: u64,
    /// Tombstoned ids that were given.
    pub tombstones: u64,
}

/// A load in work. What a room holds already stays: the load adds to it, and a tombstone, old or new, beats a live id for
/// ever. Loading the same again changes nothing.
///
/// It blocks (a batch takes some 50 ms of processor time and the disk's time): use it where blocking is fine. Dropping it loses
/// what is not committed; [`Loader::resume_point`] of the next loader of the same source tells where to go on.
pub struct Loader {
    index: PackedIndex,
    marker: String,
    resume_point: Option<RoomId>,
    rooms: Vec<Gathered>,
    ids: Vec<MessageId>,
    last_room: Option<RoomId>,
    report: LoadReport,
}

/// One room's part of the gathered ids: first the live ones, then the tombstones.
struct Gathered {
    room: RoomId,
    live_end: usize,
    tombstones_end: usize,
}

impl Loader {
    pub(super) fn new(index: PackedIndex, source: &str) -> PortResult<Self> {
        if source.is_empty() || source.len() > MAX_SOURCE_BYTES {
            let length = source.len();
            return Err(index
                .store
                .refused(&format!("a load's source name has {length} bytes, not 1 to {MAX_SOURCE_BYTES}")));
        }
        let marker = format!("load/{source}");
        let reached = index.store.read(|txn| Ok(index.meta.get(txn, &marker)?))?;
        let resume_point = reached.map(RoomId::from_bits);
        let (rooms, ids) = (Vec::new(), Vec::with_capacity(BATCH_IDS));
        Ok(Self { index, marker, resume_point, rooms, ids, last_room: resume_point, report: LoadReport::default() })
    }

    /// How far an earlier load of the same source came that was not finished: rooms up to this one are committed, and only
    /// larger ones are taken now.
    pub fn resume_point(&self) -> Option<RoomId> {
        self.resume_point
    }

    /// Adds a room: `live` and `tombstones` ascending, repeats allowed; rooms strictly ascending. What is out of order is
    /// refused.
    pub fn add(&mut self, room: RoomId, live: &[MessageId], tombstones: &[MessageId]) -> PortResult<()> {
        if let Some(last) = self.last_room
            && room <= last
        {
            return Err(self
                .index
                .store
                .refused(&format!("room {room} comes after room {last}: load rooms ascending")));
        }
        if !live.is_sorted() || !tombstones.is_sorted() {
            return Err(self
                .index
                .store
                .refused(&format!("the ids of room {room} are not ascending: sort them first")));
        }
        self.last_room = Some(room);
        let live_end = self.gather(live);
        let tombstones_end = self.gather(tombstones);
        self.rooms.push(Gathered { room, live_end, tombstones_end });
        self.report.rooms += 1;
        self.report.live_ids += live.len() as u64;
        self.report.tombstones += tombstones.len() as u64;
        if self.ids.len() >= BATCH_IDS || self.rooms.len() >= BATCH_ROOMS {
            self.commit(false)?;
        }
        Ok(())
    }

    /// Commits what is gathered, so that it can be read; the load goes on.
    pub fn flush(&mut self) -> PortResult<()> {
        if self.rooms.is_empty() { Ok(()) } else { self.commit(false) }
    }

    /// Commits the rest and forgets the resume point.
    pub fn finish(mut self) -> PortResult<LoadReport> {
        self.commit(true)?;
        Ok(self.report)
    }

    /// Appends `ids` without repeats; answers where they end.
    fn gather(&mut self, ids: &[MessageId]) -> usize {
        self.ids.extend(ids.chunk_by(|a, b| a == b).map(|same| same[0]));
        self.ids.len()
    }

    fn commit(&mut self, last: bool) -> PortResult<()> {
        let changed_rooms = self.index.store.write(|txn| {
            let changed_rooms = self.write(txn)?;
            match self.last_room {
                Some(room) if !last => self.index.meta.put(txn, &self.marker, &room.get())?,
                _ => drop(self.index.meta.delete(txn, &self.marker)?),
            }
            Ok(changed_rooms)
        })?;
        self.report.changed_rooms += changed_rooms;
        self.rooms.clear();
        self.ids.clear();
        Ok(())
    }

    /// Writes what is gathered; answers how many rooms changed.
    fn write(&self, txn: &mut RwTxn) -> Result<u64, Failure> {
        let last_room = self.index.last_room(txn)?;
        let (mut changed_rooms, mut start) = (0, 0);
        for gathered in &self.rooms {
            let Gathered { room, live_end, tombstones_end } = *gathered;
            let (live, tombstones) = (&self.ids[start..live_end], &self.ids[live_end..tombstones_end]);
            start = tombstones_end;
            let changed = if last_room.is_none_or(|last| room > last) {
                self.append(txn, room, live, tombstones)?;
                !live.is_empty() || !tombstones.is_empty()
            } else {
                self.index.apply(txn, room, live, tombstones)?
            };
            changed_rooms += u64::from(changed);
        }
        Ok(changed_rooms)
    }

    /// Writes a room behind all others: nothing has to be looked up, and the tree's pages are filled one after the other.
    fn append(
        &self,
        txn: &mut RwTxn,
        room: RoomId,
        live: &[MessageId],
        tombstones: &[MessageId],
    ) -> Result<(), Failure> {
        let mut kept;
        let mut live = live;
        if !tombstones.is_empty() {
            kept = live.to_vec();
            set::subtract(&mut kept, tombstones);
            live = &kept;
        }
        self.index.live.append(txn, room, live)?;
        self.index.tombstones.append(txn, room, tombstones)?;
        let day = self.index.day_of(live.last());
        Ok(self.index.heads.put_with_flags(txn, PutFlags::APPEND, &room.get(), &day.0)?)
    }
}

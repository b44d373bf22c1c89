//! A set of ids for each room, kept as disjoint blocks.
//!
//! Key: room ‖ complement of the block's oldest id, both 64 bits, most significant byte first. So a room's blocks stand
//! together, newest first, and seeking the complement of `below − 1` lands on the block with the newest id below `below`.

use std::ops::Bound;

use chat::{MessageId, PageRequest, RoomId};
use heed::types::Bytes;
use heed::{Database, PutFlags, RoTxn, RwTxn};

use super::block::{self, Block};
use crate::lmdb::Failure;

type Key = [u8; 16];

/// The sets of all rooms, in one database.
#[derive(Clone, Copy)]
pub(super) struct IdSets {
    database: Database<'static, Bytes, Bytes>,
}

/// The blocks of a room that an edit touches.
#[derive(Default)]
struct Touched {
    keys: Vec<Key>,
    /// Their ids, ascending.
    ids: Vec<MessageId>,
    /// False when newer blocks of the room stand behind.
    newest: bool,
}

fn key(room: RoomId, oldest: MessageId) -> Key {
    let mut key = Key::default();
    key[..8].copy_from_slice(&room.get().to_be_bytes());
    key[8..].copy_from_slice(&(!oldest.get()).to_be_bytes());
    key
}

fn read_key(key: &[u8]) -> Result<(RoomId, MessageId), Failure> {
    let key =
        Key::try_from(key).map_err(|_| Failure::Corrupt(format!("a block's key has {} bytes, not 16", key.len())))?;
    let [room, oldest] = [key.first_chunk(), key.last_chunk()].map(|half| half.map_or(0, |b| u64::from_be_bytes(*b)));
    match (RoomId::new(room), MessageId::new(!oldest)) {
        (Ok(room), Ok(oldest)) => Ok((room, oldest)),
        _ => Err(Failure::Corrupt(format!("a block's key {key:02x?} holds no ids"))),
    }
}

fn parse(room: RoomId, oldest: MessageId, value: &[u8]) -> Result<Block<'_>, Failure> {
    let damaged = || Failure::Corrupt(format!("the block of room {room} from id {oldest} on is damaged"));
    Block::parse(oldest, value).ok_or_else(damaged)
}

impl IdSets {
    pub(super) fn new(database: Database<'static, Bytes, Bytes>) -> Self {
        Self { database }
    }

    /// Appends one page to `ids` and tells where the room goes on.
    pub(super) fn page(
        &self,
        txn: &RoTxn,
        request: &PageRequest,
        ids: &mut Vec<MessageId>,
    ) -> Result<Option<MessageId>, Failure> {
        let Some(newest) = request.below.previous() else { return Ok(None) };
        let mut missing = request.limit;
        let start = key(request.room, newest);
        let mut blocks = self.database.range(txn, &(Bound::Included(&start[..]), Bound::Unbounded))?;
        while let Some((key, value)) = blocks.next().transpose()? {
            let (room, oldest) = read_key(key)?;
            if room != request.room {
                break;
            }
            let block = parse(room, oldest, value)?;
            let before = ids.len();
            let newest_first = block.newest_first(0..block.below(request.below)).take(missing);
            // Every id is looked at anyway: to search for the lower bound first would cost more than to stop at it.
            ids.extend(newest_first.take_while(|id| *id >= request.at_least));
            missing -= ids.len() - before;
            if missing == 0 {
                return Ok(ids.last().copied().filter(|last| *last > request.at_least));
            }
            if oldest <= request.at_least {
                break;
            }
        }
        Ok(None)
    }

    /// Adds `add` to the room's set and takes `remove` out of it (both strictly ascending; `remove` wins). Only the blocks
    /// between the lowest and the highest of these ids are read, and written if they change. True when something changed.
    pub(super) fn edit(
        &self,
        txn: &mut RwTxn,
        room: RoomId,
        add: &[MessageId],
        remove: &[MessageId],
    ) -> Result<bool, Failure> {
        let lowest = [add.first(), remove.first()].into_iter().flatten().min();
        let highest = [add.last(), remove.last()].into_iter().flatten().max();
        let (Some(lowest), Some(highest)) = (lowest, highest) else { return Ok(false) };
        let touched = self.touched(txn, room, *lowest, *highest)?;
        let mut ids = union(&touched.ids, add);
        subtract(&mut ids, remove);
        if ids == touched.ids {
            return Ok(false);
        }
        for key in &touched.keys {
            self.database.delete(txn, key)?;
        }
        self.write(txn, room, &ids, touched.newest, PutFlags::empty())?;
        Ok(true)
    }

    /// Writes the set of a room that is larger than every room of the database.
    pub(super) fn append(&self, txn: &mut RwTxn, room: RoomId, ids: &[MessageId]) -> Result<(), Failure> {
        self.write(txn, room, ids, true, PutFlags::APPEND)
    }

    /// The ids of the blocks that overlap `lowest ..= highest`, ascending.
    pub(super) fn around(
        &self,
        txn: &RoTxn,
        room: RoomId,
        lowest: MessageId,
        highest: MessageId,
    ) -> Result<Vec<MessageId>, Failure> {
        Ok(self.touched(txn, room, lowest, highest)?.ids)
    }

    /// The largest room that has a block.
    pub(super) fn last_room(&self, txn: &RoTxn) -> Result<Option<RoomId>, Failure> {
        self.database.last(txn)?.map(|(key, _)| Ok(read_key(key)?.0)).transpose()
    }

    /// How many blocks there are, and their ids. Reads every block's header.
    pub(super) fn count(&self, txn: &RoTxn) -> Result<(u64, u64), Failure> {
        let (mut blocks, mut ids) = (0, 0);
        for entry in self.database.iter(txn)? {
            let (key, value) = entry?;
            let (room, oldest) = read_key(key)?;
            blocks += 1;
            ids += parse(room, oldest, value)?.len() as u64;
        }
        Ok((blocks, ids))
    }

    fn touched(&self, txn: &RoTxn, room: RoomId, lowest: MessageId, highest: MessageId) -> Result<Touched, Failure> {
        let start = key(room, highest);
        let mut touched = Touched::default();
        for entry in self.database.range(txn, &(Bound::Included(&start[..]), Bound::Unbounded))? {
            let (found, value) = entry?;
            let (of, oldest) = read_key(found)?;
            if of != room {
                break;
            }
            let block = parse(room, oldest, value)?;
            touched.keys.push(key(room, oldest));
            touched.ids.extend(block.newest_first(0..block.len()));
            if oldest <= lowest {
                break;
            }
        }
        touched.ids.reverse();
        let front = key(room, MessageId::MAX);
        let newer = (Bound::Included(&front[..]), Bound::Excluded(&start[..]));
        touched.newest = self.database.range(txn, &newer)?.next().transpose()?.is_none();
        Ok(touched)
    }

    /// Writes `ids` in blocks. At the newest end of a room blocks are filled to the brim, because ids come in ascending order;
    /// in the middle they are cut evenly, so that the next insertion finds room.
    fn write(
        &self,
        txn: &mut RwTxn,
        room: RoomId,
        ids: &[MessageId],
        newest: bool,
        flags: PutFlags,
    ) -> Result<(), Failure> {
        let mut blocks = cut(ids, usize::MAX);
        if !newest && blocks.len() > 1 {
            blocks = cut(ids, ids.len().div_ceil(blocks.len()));
        }
        let mut value = Vec::with_capacity(block::MAX_BYTES + 8);
        for ids in blocks.into_iter().rev() {
            block::encode(ids, &mut value);
            let oldest = ids.first().copied().unwrap_or(MessageId::MAX);
            self.database.put_with_flags(txn, flags, &key(room, oldest), &value)?;
        }
        Ok(())
    }
}

/// Cuts ids (strictly ascending) into blocks of at most `most` ids, oldest first.
fn cut(mut ids: &[MessageId], most: usize) -> Vec<&[MessageId]> {
    let mut blocks = Vec::new();
    while !ids.is_empty() {
        let (block, rest) = ids.split_at(block::fitting(ids, most).max(1));
        blocks.push(block);
        ids = rest;
    }
    blocks
}

/// Both of two strictly ascending lists, strictly ascending.
fn union(a: &[MessageId], b: &[MessageId]) -> Vec<MessageId> {
    let mut both = Vec::with_capacity(a.len() + b.len());
    both.extend_from_slice(a);
    both.extend_from_slice(b);
    if !both.is_sorted() {
        both.sort();
    }
    both.dedup();
    both
}

/// Takes `remove` out of `ids`, both strictly ascending.
pub(super) fn subtract(ids: &mut Vec<MessageId>, mut remove: &[MessageId]) {
    if remove.is_empty() {
        return;
    }
    ids.retain(|id| {
        while let Some((first, rest)) = remove.split_first()
            && first < id
        {
            remove = rest;
        }
        remove.first() != Some(id)
    });
}

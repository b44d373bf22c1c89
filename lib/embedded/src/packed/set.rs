//! A set of ids for each room, kept as disjoint blocks.
//!
//! The newest block of each room stands in a database of its own, under the room alone: most rooms have no other, and a
//! lookup by a whole number in a smaller tree is the cheapest read there is. Older blocks have the key room ‖ complement of
//! their oldest id, both 64 bits, most significant byte first. So a room's blocks stand together, newest first, and seeking
//! the complement of `below − 1` lands on the block with the newest id below `below`.

use std::ops::Bound;

use chat::{MessageId, PageRequest, RoomId};
use heed::byteorder::NativeEndian;
use heed::types::{Bytes, U64};
use heed::{Database, IntegerComparator, PutFlags, RoTxn, RwTxn};

use super::block::{self, Block};
use crate::lmdb::Failure;

type Key = [u8; 16];
type Newest = Database<'static, U64<NativeEndian>, Bytes, IntegerComparator>;
type Older = Database<'static, Bytes, Bytes>;

/// Of the first eight bytes of a newest block's value, which are its oldest id: older blocks may follow. Ids leave this bit free.
const OLDER_FOLLOW: u64 = 1 << 63;

/// The sets of all rooms.
#[derive(Clone, Copy)]
pub(super) struct IdSets {
    /// Room → oldest id, bit [`OLDER_FOLLOW`], block.
    newest: Newest,
    older: Older,
}

/// The blocks of a room that an edit touches.
#[derive(Default)]
struct Touched {
    /// Those among the older ones.
    keys: Vec<Key>,
    /// Their ids, ascending.
    ids: Vec<MessageId>,
    /// True when the newest block is among them, or the room has none.
    newest: bool,
    /// True when there may be blocks that are older than the newest.
    older_follow: bool,
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

/// Reads the value of a newest block: its oldest id, whether older ones may follow, the block.
fn parse_newest(room: RoomId, value: &[u8]) -> Result<(MessageId, bool, Block<'_>), Failure> {
    let (first, value) = value
        .split_first_chunk()
        .ok_or_else(|| Failure::Corrupt(format!("the newest block of room {room} is empty")))?;
    let first = u64::from_le_bytes(*first);
    let oldest = MessageId::from_bits(first);
    Ok((oldest, first & OLDER_FOLLOW != 0, parse(room, oldest, value)?))
}

/// What is left of a request, block by block.
struct Page<'a> {
    request: &'a PageRequest,
    ids: &'a mut Vec<MessageId>,
    missing: usize,
}

impl Page<'_> {
    /// Takes what `block` has; true when nothing more is wanted.
    fn take(&mut self, oldest: MessageId, block: &Block) -> bool {
        let before = self.ids.len();
        let newest_first = block.newest_first(0..block.below(self.request.below)).take(self.missing);
        // Every id is looked at anyway: to search for the lower bound first would cost more than to stop at it.
        self.ids.extend(newest_first.take_while(|id| *id >= self.request.at_least));
        self.missing -= self.ids.len() - before;
        self.missing == 0 || oldest <= self.request.at_least
    }

    fn resume_below(&self) -> Option<MessageId> {
        let last = if self.missing == 0 { self.ids.last() } else { None };
        last.copied().filter(|last| *last > self.request.at_least)
    }
}

impl IdSets {
    pub(super) fn new(newest: Newest, older: Older) -> Self {
        Self { newest, older }
    }

    /// Appends one page to `ids` and tells where the room goes on.
    pub(super) fn page(
        &self,
        txn: &RoTxn,
        request: &PageRequest,
        ids: &mut Vec<MessageId>,
    ) -> Result<Option<MessageId>, Failure> {
        let Some(newest) = request.below.previous() else { return Ok(None) };
        let Some(value) = self.newest.get(txn, &request.room.get())? else { return Ok(None) };
        let (oldest, older_follow, block) = parse_newest(request.room, value)?;
        let mut page = Page { request, ids, missing: request.limit };
        if !page.take(oldest, &block) && older_follow {
            let start = key(request.room, newest);
            for entry in self.older.range(txn, &(Bound::Included(&start[..]), Bound::Unbounded))? {
                let (key, value) = entry?;
                let (room, oldest) = read_key(key)?;
                if room != request.room || page.take(oldest, &parse(room, oldest, value)?) {
                    break;
                }
            }
        }
        Ok(page.resume_below())
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
        let mut touched = self.touched(txn, room, *lowest, *highest)?;
        let mut ids = edited(&touched, add, remove);
        if ids == touched.ids {
            return Ok(false);
        }
        if ids.is_empty() && touched.newest && touched.older_follow {
            // The newest block goes, so that an older one becomes the newest.
            touched = self.touched(txn, room, MessageId::from_bits(0), *highest)?;
            ids = edited(&touched, add, remove);
        }
        for key in &touched.keys {
            self.older.delete(txn, key)?;
        }
        if ids.is_empty() && touched.newest {
            self.newest.delete(txn, &room.get())?;
        } else {
            self.write(txn, room, &ids, &touched, PutFlags::empty())?;
        }
        Ok(true)
    }

    /// Writes the set of a room that is larger than every room of the database.
    pub(super) fn append(&self, txn: &mut RwTxn, room: RoomId, ids: &[MessageId]) -> Result<(), Failure> {
        self.write(txn, room, ids, &Touched { newest: true, ..Touched::default() }, PutFlags::APPEND)
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
        Ok(self.newest.last(txn)?.map(|(room, _)| RoomId::from_bits(room)))
    }

    /// The smallest room above `above` that has a block.
    pub(super) fn next_room(&self, txn: &RoTxn, above: Option<RoomId>) -> Result<Option<RoomId>, Failure> {
        let start = above.map_or(Bound::Unbounded, |above| Bound::Excluded(above.get()));
        let first = self.newest.range(txn, &(start, Bound::Unbounded))?.next().transpose()?;
        Ok(first.map(|(room, _)| RoomId::from_bits(room)))
    }

    /// How many blocks there are, and their ids. Reads every block's header.
    pub(super) fn count(&self, txn: &RoTxn) -> Result<(u64, u64), Failure> {
        let (mut blocks, mut ids) = (0, 0);
        for entry in self.newest.iter(txn)? {
            let (room, value) = entry?;
            blocks += 1;
            ids += parse_newest(RoomId::from_bits(room), value)?.2.len() as u64;
        }
        for entry in self.older.iter(txn)? {
            let (key, value) = entry?;
            let (room, oldest) = read_key(key)?;
            blocks += 1;
            ids += parse(room, oldest, value)?.len() as u64;
        }
        Ok((blocks, ids))
    }

    fn touched(&self, txn: &RoTxn, room: RoomId, lowest: MessageId, highest: MessageId) -> Result<Touched, Failure> {
        let mut touched = Touched::default();
        let Some(value) = self.newest.get(txn, &room.get())? else {
            return Ok(Touched { newest: true, ..touched });
        };
        let (oldest, older_follow, block) = parse_newest(room, value)?;
        touched.older_follow = older_follow;
        if oldest <= highest {
            touched.newest = true;
            touched.ids.extend(block.newest_first(0..block.len()));
        }
        if oldest > lowest && older_follow {
            let start = key(room, highest);
            for entry in self.older.range(txn, &(Bound::Included(&start[..]), Bound::Unbounded))? {
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
        }
        touched.ids.reverse();
        Ok(touched)
    }

    /// Writes `ids` in blocks in place of those touched. At the newest end of a room blocks are filled to the brim, because ids
    /// come in ascending order; in the middle they are cut evenly, so that the next insertion finds room.
    fn write(
        &self,
        txn: &mut RwTxn,
        room: RoomId,
        ids: &[MessageId],
        touched: &Touched,
        flags: PutFlags,
    ) -> Result<(), Failure> {
        let mut blocks = cut(ids, usize::MAX);
        let mut value = Vec::with_capacity(block::MAX_BYTES + 16);
        if touched.newest {
            let Some(newest) = blocks.pop() else { return Ok(()) };
            let older_follow = touched.older_follow || !blocks.is_empty();
            encode_newest(newest, older_follow, &mut value);
            self.newest.put_with_flags(txn, flags, &room.get(), &value)?;
        } else {
            if blocks.len() > 1 {
                blocks = cut(ids, ids.len().div_ceil(blocks.len()));
            }
            if !touched.older_follow {
                self.note_older(txn, room)?;
            }
        }
        for ids in blocks.into_iter().rev() {
            value.clear();
            block::encode(ids, &mut value);
            let oldest = ids.first().copied().unwrap_or(MessageId::MAX);
            self.older.put_with_flags(txn, flags, &key(room, oldest), &value)?;
        }
        Ok(())
    }

    /// Notes at the newest block that older ones follow.
    fn note_older(&self, txn: &mut RwTxn, room: RoomId) -> Result<(), Failure> {
        let Some(mut value) = self.newest.get(txn, &room.get())?.map(<[u8]>::to_vec) else { return Ok(()) };
        if let Some(highest) = value.get_mut(7) {
            *highest |= 0x80;
        }
        Ok(self.newest.put(txn, &room.get(), &value)?)
    }
}

/// The value of a newest block.
fn encode_newest(ids: &[MessageId], older_follow: bool, value: &mut Vec<u8>) {
    let oldest = ids.first().map_or(0, |id| id.get());
    value.clear();
    value.extend_from_slice(&(oldest | if older_follow { OLDER_FOLLOW } else { 0 }).to_le_bytes());
    block::encode(ids, value);
}

/// The ids of the blocks touched after an edit.
fn edited(touched: &Touched, add: &[MessageId], remove: &[MessageId]) -> Vec<MessageId> {
    let mut ids = union(&touched.ids, add);
    subtract(&mut ids, remove);
    ids
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

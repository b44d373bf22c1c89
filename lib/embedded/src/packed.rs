//! The packed index: the ids of each room's messages, sorted and packed in blocks, in one LMDB environment.
//!
//! | Database | Key | Value |
//! |---|---|---|
//! | `live` | room | its newest block of ids of messages that are not deleted |
//! | `live_older` | room ‖ complement of the oldest id | its other blocks |
//! | `tombstones`, `tombstones_older` | the same | blocks of ids that were deleted, so that a late creation does not bring them back |
//! | `heads` | room | day of the newest live id or later: an upper bound |
//! | `meta` | text | format, epoch, how far an unfinished load came |
//!
//! Heads stand here and not with the rooms in SQLite: a row of SQLite through sqlx costs nine times what a look into the
//! mapped tree does (`benches/stores`).

mod block;
#[cfg(test)]
pub(crate) mod cases;
mod loader;
mod set;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use chat::{Day, Epoch, Head, MessageId, PageRequest, Pages, PortResult, RoomId};
use heed::byteorder::{LE, NativeEndian};
use heed::types::{Str, U32, U64};
use heed::{Database, DatabaseOpener, IntegerComparator, RoTxn, RwTxn, WithTls};
use import::RoomMessages;

pub use loader::{LoadReport, Loader};

use self::set::IdSets;
use crate::lmdb::{Environment, Failure, MapSize};

type HeadsDatabase = Database<'static, U64<NativeEndian>, U32<LE>, IntegerComparator>;
type MetaDatabase = Database<'static, Str, U64<LE>>;

/// What the store is written in; grows when a reader of the old one could not read the new one.
const FORMAT: u64 = 1;

/// Whether `work` changed anything.
type Changed = bool;

/// A handle on the index. Clones share the environment.
#[derive(Clone)]
pub struct PackedIndex {
    store: Arc<Environment>,
    live: IdSets,
    tombstones: IdSets,
    heads: HeadsDatabase,
    meta: MetaDatabase,
    epoch: Epoch,
}

/// What the index holds, counted by reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Live messages.
    pub live_ids: u64,
    /// Deleted messages.
    pub tombstones: u64,
    /// Rooms whose head is known.
    pub rooms: u64,
    /// Blocks of both kinds.
    pub blocks: u64,
}

/// What the index knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is there.
    Live,
    /// It was deleted.
    Deleted,
}

impl PackedIndex {
    /// Opens the index in `dir`, which is created if need be; `epoch` is the store's own, and another one than that of the
    /// first opening is refused. Several processes can have the same directory open. Blocks for some file operations.
    pub fn open(dir: &Path, map_size: MapSize, epoch: Epoch) -> PortResult<Self> {
        let store = Environment::open(dir, map_size)?;
        let opened = store.open_databases(|opener, txn| {
            let live = (numbered(opener, "live").open(txn)?, opener.open_database(txn, Some("live_older"))?);
            let dead =
                (numbered(opener, "tombstones").open(txn)?, opener.open_database(txn, Some("tombstones_older"))?);
            let others = (numbered(opener, "heads").open(txn)?, opener.open_database(txn, Some("meta"))?);
            Ok(match (live, dead, others) {
                ((Some(live), Some(live_older)), (Some(dead), Some(dead_older)), (Some(heads), Some(meta))) => {
                    Some(((live, live_older), (dead, dead_older), (heads, meta)))
                }
                _ => None,
            })
        })?;
        let (live, dead, (heads, meta)) = match opened {
            Some(databases) => databases,
            None => store.create_databases(|opener, txn| {
                let live = (numbered(opener, "live").create(txn)?, opener.create_database(txn, Some("live_older"))?);
                let dead = numbered(opener, "tombstones").create(txn)?;
                let dead = (dead, opener.create_database(txn, Some("tombstones_older"))?);
                let heads = numbered(opener, "heads").create(txn)?;
                let meta = opener.create_database::<Str, U64<LE>>(txn, Some("meta"))?;
                // Another process may have been faster: what it wrote stays.
                if meta.get(txn, "format")?.is_none() {
                    meta.put(txn, "format", &FORMAT)?;
                    meta.put(txn, "epoch", &epoch.0.as_millis())?;
                }
                Ok((live, dead, (heads, meta)))
            })?,
        };
        let (live, tombstones) = (IdSets::new(live.0, live.1), IdSets::new(dead.0, dead.1));
        let index = Self { store, live, tombstones, heads, meta, epoch };
        index.check_meta()?;
        Ok(index)
    }

    fn check_meta(&self) -> PortResult<()> {
        let (format, epoch) =
            self.store.read(|txn| Ok((self.meta.get(txn, "format")?, self.meta.get(txn, "epoch")?)))?;
        match (format, epoch) {
            (Some(FORMAT), Some(epoch)) if epoch == self.epoch.0.as_millis() => Ok(()),
            (Some(FORMAT), Some(epoch)) => Err(self.store.refused(&format!(
                "its ids count from epoch {}, the setting says {}: correct the setting or use another directory",
                chat::Timestamp::from_millis(epoch),
                self.epoch.0
            ))),
            (Some(format), _) if format != FORMAT => Err(self.store.refused(&format!(
                "it is written in format {format}, this program reads format {FORMAT}: use the program that wrote it"
            ))),
            _ => Err(self.store.corrupt("its format or epoch is missing")),
        }
    }

    /// The instant from which the ids count.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// One page for each request, all from one snapshot.
    pub fn pages(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        if let Some(request) = requests.iter().find(|request| request.limit == 0) {
            return Err(self.store.refused(&format!("a page of 0 ids of room {}: ask for at least 1", request.room)));
        }
        self.store.read(|txn| {
            let mut pages = Pages::with_capacity(requests.len(), 64 * requests.len());
            for request in requests {
                let resume_below = self.live.page(txn, request, pages.ids_mut())?;
                pages.end_page(resume_below);
            }
            Ok(pages)
        })
    }

    /// The heads of `rooms`, in that order, all from one snapshot.
    pub fn heads_of(&self, rooms: &[RoomId]) -> PortResult<Vec<Head>> {
        self.store.read(|txn| {
            let head =
                |room: &RoomId| Ok(self.heads.get(txn, &room.get())?.map_or(Head::Unknown, |day| Head::Day(Day(day))));
            rooms.iter().map(head).collect()
        })
    }

    /// All ids of whole rooms above `after`, ascending, from one snapshot: of as many rooms as it takes to have `ids` of them,
    /// or of all. Rooms without any are left out.
    pub fn rooms_after(&self, after: Option<RoomId>, ids: usize) -> PortResult<Vec<RoomMessages>> {
        self.store.read(|txn| {
            let (mut rooms, mut read, mut above) = (Vec::new(), 0, after);
            while read < ids.max(1) {
                let next = [self.live.next_room(txn, above)?, self.tombstones.next_room(txn, above)?];
                let Some(room) = next.into_iter().flatten().min() else { break };
                above = Some(room);
                let all = |set: &IdSets| {
                    let request = PageRequest {
                        room,
                        below: MessageId::MAX,
                        at_least: MessageId::from_bits(0),
                        limit: usize::MAX,
                    };
                    let mut found = Vec::new();
                    set.page(txn, &request, &mut found)?;
                    found.reverse();
                    Ok::<_, Failure>(found)
                };
                let (live, tombstoned) = (all(&self.live)?, all(&self.tombstones)?);
                read += live.len() + tombstoned.len();
                if !(live.is_empty() && tombstoned.is_empty()) {
                    rooms.push(RoomMessages { room, live, tombstoned });
                }
            }
            Ok(rooms)
        })
    }

    /// What is known of each of `messages`, in that order, all from one snapshot; `None` for an id that was never given.
    pub fn known(&self, messages: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<Known>>> {
        self.store.read(|txn| {
            let mut found = Vec::new();
            let mut known = |&(room, id): &(RoomId, MessageId)| {
                let request = PageRequest { room, below: id.next(), at_least: id, limit: 1 };
                for (set, known) in [(&self.live, Known::Live), (&self.tombstones, Known::Deleted)] {
                    found.clear();
                    set.page(txn, &request, &mut found)?;
                    if !found.is_empty() {
                        return Ok(Some(known));
                    }
                }
                Ok(None)
            };
            messages.iter().map(&mut known).collect()
        })
    }

    /// Raises heads, durably. Blocks: see [`Self::insert`].
    pub fn raise_heads(&self, days: &[(RoomId, Day)]) -> PortResult<()> {
        if days.is_empty() {
            return Ok(());
        }
        self.store.write(|txn| days.iter().try_for_each(|(room, day)| self.raise_head(txn, *room, *day)))
    }

    /// Adds messages of one room, in any order, except those that have been deleted; raises its head. Durable when it returns.
    /// Blocks while another thread or process writes and for the synchronization to disk: call it where blocking is fine.
    pub fn insert(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        let ids = ascending(ids);
        self.store.write(|txn| self.apply(txn, room, &ids, &[]).map(drop))
    }

    /// Deletes messages of one room, known or not, in any order, for ever. Durable when it returns; blocks as
    /// [`Self::insert`] does.
    pub fn delete(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        let ids = ascending(ids);
        self.store.write(|txn| self.apply(txn, room, &[], &ids).map(drop))
    }

    /// [`Self::insert`] and [`Self::delete`] for many rooms, in one transaction. Ids stand in any order, each room once.
    pub(crate) fn edit(&self, rooms: &[RoomMessages]) -> PortResult<()> {
        if rooms.is_empty() {
            return Ok(());
        }
        self.store.write(|txn| {
            let edit = |room: &RoomMessages| {
                let (live, tombstones) = (ascending(&room.live), ascending(&room.tombstoned));
                self.apply(txn, room.room, &live, &tombstones).map(drop)
            };
            rooms.iter().try_for_each(edit)
        })
    }

    /// A loader of many rooms; `source` names what is loaded, so that an interrupted load can be taken up again.
    pub fn loader(&self, source: &str) -> PortResult<Loader> {
        Loader::new(self.clone(), source)
    }

    /// Counts what the index holds. Reads every page of it.
    pub fn counts(&self) -> PortResult<Counts> {
        self.store.read(|txn| {
            let (live_blocks, live_ids) = self.live.count(txn)?;
            let (tombstone_blocks, tombstones) = self.tombstones.count(txn)?;
            Ok(Counts { live_ids, tombstones, rooms: self.heads.len(txn)?, blocks: live_blocks + tombstone_blocks })
        })
    }

    /// The size of the index's file.
    pub fn bytes(&self) -> PortResult<u64> {
        self.store.used_bytes()
    }

    /// Bytes to which that file can grow.
    pub fn bytes_max(&self) -> u64 {
        self.store.map_size().bytes()
    }

    /// The newest live id of the index, as far as its heads tell: of at most 1,000 rooms with the newest day. Reads every head.
    pub fn newest(&self) -> PortResult<Option<MessageId>> {
        const ROOMS: usize = 1_000;
        let rooms = self.store.read(|txn| {
            let (mut newest, mut rooms) = (0, Vec::new());
            for head in self.heads.iter(txn)? {
                let (room, day) = head?;
                if day > newest {
                    newest = day;
                    rooms.clear();
                }
                if day == newest && rooms.len() < ROOMS {
                    rooms.push(RoomId::from_bits(room));
                }
            }
            Ok(rooms)
        })?;
        let (below, at_least) = (MessageId::MAX, MessageId::from_bits(0));
        let request = |room| PageRequest { room, below, at_least, limit: 1 };
        let pages = self.pages(&rooms.into_iter().map(request).collect::<Vec<_>>())?;
        Ok(pages.ids().iter().copied().max())
    }

    /// Tombstones first, then what is not under one, then the head: the one way by which anything is changed.
    fn apply(
        &self,
        txn: &mut RwTxn,
        room: RoomId,
        live: &[MessageId],
        tombstones: &[MessageId],
    ) -> Result<Changed, Failure> {
        let deleted = self.tombstones.edit(txn, room, tombstones, &[])?;
        let mut added = live.to_vec();
        if let (Some(lowest), Some(highest)) = (live.first(), live.last()) {
            set::subtract(&mut added, &self.tombstones.around(txn, room, *lowest, *highest)?);
        }
        let edited = self.live.edit(txn, room, &added, tombstones)?;
        self.raise_head(txn, room, self.day_of(added.last()))?;
        Ok(deleted || edited)
    }

    /// The day of the newest live id; where there is none, the first day, which is true of a room without messages.
    fn day_of(&self, newest: Option<&MessageId>) -> Day {
        newest.map_or(Day(0), |id| Day::of(self.epoch.time_of(*id)))
    }

    fn raise_head(&self, txn: &mut RwTxn, room: RoomId, day: Day) -> Result<(), Failure> {
        if self.heads.get(txn, &room.get())?.is_none_or(|stored| stored < day.0) {
            self.heads.put(txn, &room.get(), &day.0)?;
        }
        Ok(())
    }

    /// The largest room that has ids or a head: larger ones can be appended.
    fn last_room(&self, txn: &RoTxn) -> Result<Option<RoomId>, Failure> {
        let head = self.heads.last(txn)?.map(|(room, _)| RoomId::from_bits(room));
        Ok(self.live.last_room(txn)?.max(self.tombstones.last_room(txn)?).max(head))
    }
}

/// A database under whole numbers.
fn numbered<'e, 'n, V: 'static>(
    opener: &'n DatabaseOpener<'e, WithTls>,
    name: &'n str,
) -> heed::DatabaseOpenOptions<'e, 'n, WithTls, U64<NativeEndian>, V, IntegerComparator> {
    let mut options = opener.database_options().types::<U64<NativeEndian>, V>().key_comparator::<IntegerComparator>();
    options.name(name);
    options
}

fn ascending(ids: &[MessageId]) -> Vec<MessageId> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids.dedup();
    ids
}

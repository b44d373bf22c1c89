//! `Messages` in an LMDB environment of their own: what messages say, beside the packed ids.
//!
//! | Database | Key | Value |
//! |---|---|---|
//! | `messages` | room ‖ id, 64 bits each, most significant byte first | see `value` |
//!
//! A room's messages stand together in the order of time, so that a page is one walk backwards.

mod store;
mod value;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chat::{Message, MessageId, MessagePage, MessagePageRequest, MessageState, Messages, PortResult, RoomId};
use heed::types::Bytes;
use heed::{Database, RoTxn};

pub use store::LmdbMessageStore;

use crate::lmdb::{Environment, Failure, MapSize};

/// Bytes of bodies after which a page ends, though more messages were asked for.
const PAGE_BYTES: usize = 4 << 20;

type Key = [u8; 16];

/// The messages of rooms.
#[derive(Clone)]
pub struct LmdbMessages {
    store: Arc<Environment>,
    messages: Database<'static, Bytes, Bytes>,
}

fn key(room: RoomId, id: MessageId) -> Key {
    let mut key = Key::default();
    key[..8].copy_from_slice(&room.get().to_be_bytes());
    key[8..].copy_from_slice(&id.get().to_be_bytes());
    key
}

fn decode(room: RoomId, id: MessageId, bytes: &[u8]) -> Result<MessageState, Failure> {
    value::decode(bytes).map_err(|what| Failure::Corrupt(format!("message {id} of room {room}: {what}")))
}

impl LmdbMessages {
    /// Opens the messages in `dir`, which is created if need be. Several processes can have the same directory open. Blocks for
    /// some file operations.
    pub fn open(dir: &Path, map_size: MapSize) -> PortResult<Self> {
        const NAME: Option<&str> = Some("messages");
        let store = Environment::open(dir, map_size)?;
        let messages = match store.open_databases(|opener, txn| opener.open_database(txn, NAME))? {
            Some(messages) => messages,
            None => store.create_databases(|opener, txn| opener.create_database(txn, NAME))?,
        };
        Ok(Self { store, messages })
    }

    /// Writes messages in one transaction, durable when it returns; one without content is deleted for ever. What is deleted
    /// already stays so, a later one replaces an earlier one of the same id, and the same again changes nothing. Positions and the
    /// instants of edits are not written: an import knows of neither. Blocks while another thread or process writes and for the
    /// synchronization to disk.
    ///
    /// What has a position keeps what it says: an import is older than every change of a message path. It is unconditional otherwise:
    /// for an import, which excludes other writers. A message path writes through [`LmdbMessageStore`].
    pub fn put(&self, messages: &[Message]) -> PortResult<()> {
        let mut order: Vec<&Message> = messages.iter().collect();
        // In the order of keys, neighbours fall on the same pages. The sort is stable: the later one still comes later.
        order.sort_by_key(|message| (message.room, message.id));
        self.store.write(|txn| {
            let mut bytes = Vec::new();
            for message in order {
                let key = key(message.room, message.id);
                value::encode_imported(message.content.as_ref(), &mut bytes);
                let replaces = |stored: &[u8]| {
                    let is_kept = value::has_position(stored) && message.content.is_some();
                    !is_kept && !value::is_tombstone(stored) && stored != bytes
                };
                if self.messages.get(txn, &key)?.is_none_or(replaces) {
                    self.messages.put(txn, &key, &bytes)?;
                }
            }
            Ok(())
        })
    }

    /// Deletes those of `ids` that are kept with a content. Writes nothing where there is none.
    pub fn bury(&self, ids: &[(RoomId, MessageId)]) -> PortResult<()> {
        let kept = self.store.read(|txn| {
            let mut kept = Vec::new();
            for &(room, id) in ids {
                if self.messages.get(txn, &key(room, id))?.is_some_and(|stored| !value::is_tombstone(stored)) {
                    kept.push(Message::imported(room, id, None));
                }
            }
            Ok(kept)
        })?;
        if kept.is_empty() { Ok(()) } else { self.put(&kept) }
    }

    /// What is stored of one message, as `txn` sees it.
    fn state(&self, txn: &RoTxn, room: RoomId, id: MessageId) -> Result<Option<MessageState>, Failure> {
        self.messages.get(txn, &key(room, id))?.map(|bytes| decode(room, id, bytes)).transpose()
    }

    /// What is stored of each message, in the order of the question, all from one snapshot.
    fn states(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<MessageState>>> {
        self.store.read(|txn| ids.iter().map(|&(room, id)| self.state(txn, room, id)).collect())
    }

    fn page_of(&self, txn: &RoTxn, request: &MessagePageRequest) -> Result<MessagePage, Failure> {
        let (start, end) = (key(request.room, MessageId::from_bits(0)), key(request.room, request.below));
        let range = (Bound::Included(&start[..]), Bound::Excluded(&end[..]));
        let (mut messages, mut bytes) = (Vec::new(), 0);
        if start == end {
            return Ok(MessagePage::default());
        }
        for entry in self.messages.rev_range(txn, &range)? {
            let (key, value) = entry?;
            let id = key.last_chunk().and_then(|id| MessageId::new(u64::from_be_bytes(*id)).ok());
            let id = id.ok_or_else(|| Failure::Corrupt(format!("a message's key {key:02x?} holds no id")))?;
            messages.push(decode(request.room, id, value)?.into_message(request.room, id));
            bytes += value.len();
            if messages.len() >= request.limit || bytes >= PAGE_BYTES {
                return Ok(MessagePage { messages, resume_below: Some(id) });
            }
        }
        Ok(MessagePage { messages, resume_below: None })
    }
}

#[async_trait]
impl Messages for LmdbMessages {
    async fn get(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<Message>>> {
        let states = self.states(ids)?.into_iter().zip(ids);
        Ok(states.map(|(state, &(room, id))| state.map(|state| state.into_message(room, id))).collect())
    }

    async fn page(&self, request: &MessagePageRequest) -> PortResult<MessagePage> {
        if request.limit == 0 {
            return Err(self
                .store
                .refused(&format!("a page of 0 messages of room {}: ask for at least 1", request.room)));
        }
        self.store.read(|txn| self.page_of(txn, request))
    }
}

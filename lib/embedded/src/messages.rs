//! `Messages` in an LMDB environment of their own: what messages say, beside the packed ids.
//!
//! | Database | Key | Value |
//! |---|---|---|
//! | `messages` | room ‖ id, 64 bits each, most significant byte first | see `value` |
//!
//! A room's messages stand together in the order of time, so that a page is one walk backwards.

mod value;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chat::{Message, MessageId, MessagePage, MessagePageRequest, Messages, PortResult, RoomId};
use heed::types::Bytes;
use heed::{Database, RoTxn};

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

fn decode(room: RoomId, id: MessageId, bytes: &[u8]) -> Result<Message, Failure> {
    let content =
        value::decode(bytes).map_err(|what| Failure::Corrupt(format!("message {id} of room {room}: {what}")))?;
    Ok(Message { room, id, content })
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
    /// already stays so, a later one replaces an earlier one of the same id, and the same again changes nothing. Blocks while
    /// another thread or process writes and for the synchronization to disk.
    ///
    /// It is unconditional otherwise: for an import, which excludes other writers. A message path will write by position.
    pub fn put(&self, messages: &[Message]) -> PortResult<()> {
        let mut order: Vec<&Message> = messages.iter().collect();
        // In the order of keys, neighbours fall on the same pages. The sort is stable: the later one still comes later.
        order.sort_by_key(|message| (message.room, message.id));
        self.store.write(|txn| {
            let mut bytes = Vec::new();
            for message in order {
                let key = key(message.room, message.id);
                value::encode(message.content.as_ref(), &mut bytes);
                let stored = self.messages.get(txn, &key)?;
                if stored.is_none_or(|stored| !value::is_tombstone(stored) && stored != bytes) {
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
                    kept.push(Message { room, id, content: None });
                }
            }
            Ok(kept)
        })?;
        if kept.is_empty() { Ok(()) } else { self.put(&kept) }
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
            messages.push(decode(request.room, id, value)?);
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
        self.store.read(|txn| {
            let get = |&(room, id): &(RoomId, MessageId)| {
                let stored = self.messages.get(txn, &key(room, id))?;
                stored.map(|bytes| decode(room, id, bytes)).transpose()
            };
            ids.iter().map(get).collect()
        })
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

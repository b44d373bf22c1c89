//! `MessageStore` on the messages and the packed index, which are two LMDB environments and agree nevertheless.
//!
//! A batch is one transaction over the messages. Within it, after it is known which changes count and before their rows are written,
//! the index is changed in a transaction of its own, heads included. The messages' transaction, of which there is one at a time, keeps
//! every other writer out meanwhile. So:
//!
//! - Killed before the index has committed: nothing has happened.
//! - Killed between the two: ids stand in the index, or are gone from it, whose rows do not show it yet. The rows are what the next
//!   decision is made of, and they are as before: the same changes come again, find their ids in the index, and write their rows.
//! - A row that is there has its id in the index, and a tombstone has none: an edit need not look.

use async_trait::async_trait;
use chat::messages::check_changes;
use chat::{
    Applied, Message, MessageChange, MessageId, MessagePage, MessagePageRequest, MessageState, MessageStore, Messages,
    PortResult, RoomId,
};
use import::RoomMessages;
use std::collections::BTreeMap;

use super::{LmdbMessages, key, value};
use crate::blocking::blocking;
use crate::packed::{Known, PackedIndex};

/// Messages and the index of their ids, written together.
#[derive(Clone)]
pub struct LmdbMessageStore {
    messages: LmdbMessages,
    index: PackedIndex,
}

impl LmdbMessageStore {
    /// Writes to `messages` and to `index`, which belong to one data directory. Whoever reads either sees what is written here.
    pub fn new(messages: LmdbMessages, index: PackedIndex) -> Self {
        Self { messages, index }
    }

    /// Blocks while another thread or process writes and for the synchronization to disk.
    fn write(&self, mut changes: Vec<(usize, MessageChange)>) -> PortResult<Vec<Applied>> {
        // In the order of keys, neighbours fall on the same pages.
        changes.sort_by_key(|(_, change)| (change.room, change.id));
        let answers = self.messages.store.write(|txn| {
            let state = |(_, change): &(usize, MessageChange)| self.messages.state(txn, change.room, change.id);
            let stored = changes.iter().map(state).collect::<Result<Vec<_>, _>>()?;
            let entries: Vec<_> = changes.iter().map(|(_, change)| change).zip(stored).collect();
            let applied = match self.index_what_counts(&entries) {
                Ok(applied) => applied,
                // So far nothing is written.
                Err(e) => return Ok(Err(e)),
            };
            let mut bytes = Vec::new();
            for ((change, _), applied) in entries.iter().zip(&applied) {
                if *applied == Applied::Written {
                    value::encode(&change.state, &mut bytes);
                    self.messages.messages.put(txn, &key(change.room, change.id), &bytes)?;
                }
            }
            Ok(Ok(applied))
        });
        let mut answers: Vec<_> = changes.iter().map(|(place, _)| *place).zip(answers??).collect();
        answers.sort_by_key(|(place, _)| *place);
        Ok(answers.into_iter().map(|(_, applied)| applied).collect())
    }

    /// Decides which changes count and brings their ids into the index or out of it, durably, with their heads.
    fn index_what_counts(&self, entries: &[(&MessageChange, Option<MessageState>)]) -> PortResult<Vec<Applied>> {
        let mut applied: Vec<_> = entries.iter().map(|(change, stored)| change.against(stored.as_ref())).collect();
        self.stop_what_was_deleted(entries, &mut applied)?;
        let mut rooms: BTreeMap<RoomId, RoomMessages> = BTreeMap::new();
        for ((change, stored), _) in entries.iter().zip(&applied).filter(|(_, applied)| **applied == Applied::Written) {
            let (room, id) = (change.room, change.id);
            let empty = || RoomMessages { room, live: Vec::new(), tombstoned: Vec::new() };
            if change.state.is_deleted() {
                rooms.entry(room).or_insert_with(empty).tombstoned.push(id);
            } else if stored.is_none() {
                rooms.entry(room).or_insert_with(empty).live.push(id);
            }
        }
        self.index.edit(&rooms.into_values().collect::<Vec<_>>())?;
        Ok(applied)
    }

    /// Of a message that was imported by its id alone only the index knows that it was deleted, which holds for ever.
    fn stop_what_was_deleted(
        &self,
        entries: &[(&MessageChange, Option<MessageState>)],
        applied: &mut [Applied],
    ) -> PortResult<()> {
        let is_new =
            |(change, stored): &(&MessageChange, Option<MessageState>)| stored.is_none() && !change.state.is_deleted();
        let new: Vec<usize> = (0..entries.len()).filter(|place| is_new(&entries[*place])).collect();
        let ids: Vec<_> = new.iter().map(|place| (entries[*place].0.room, entries[*place].0.id)).collect();
        for (place, known) in new.into_iter().zip(self.index.known(&ids)?) {
            if known == Some(Known::Deleted) {
                applied[place] = Applied::Unchanged;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl MessageStore for LmdbMessageStore {
    async fn states(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<MessageState>>> {
        self.messages.states(ids)
    }

    async fn apply(&self, changes: &[MessageChange]) -> PortResult<Vec<Applied>> {
        check_changes(changes)?;
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let (store, changes) = (self.clone(), changes.iter().cloned().enumerate().collect());
        blocking(move || store.write(changes)).await
    }
}

#[async_trait]
impl Messages for LmdbMessageStore {
    async fn get(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<Message>>> {
        self.messages.get(ids).await
    }

    async fn page(&self, request: &MessagePageRequest) -> PortResult<MessagePage> {
        self.messages.page(request).await
    }
}

#[cfg(test)]
mod tests;

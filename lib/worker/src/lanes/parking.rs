//! Where the items of a stuck key wait durably, in order, until they are replayed.

use std::sync::Arc;

use async_trait::async_trait;

use crate::state::{Expected, State, StateError, Write};
use crate::work::Cause;

/// Durable parking. The calls for one lane never overlap: whoever calls has the lane's turn.
///
/// - Everything answered is durable. Storing the same item again, known by its offset, changes nothing but its bytes.
/// - A lane is listed as parked from before its first item is stored until [`Self::release`].
/// - Items come back ascending by offset: the order in which they were stored.
///
/// It is not fenced: a process that has lost its partition and does not know yet can still store an item, which is then handled
/// late, after the next assignment. Who handles items must know old ones by their position, or bear them.
#[async_trait]
pub trait Parking<K, T>: Send + Sync + 'static {
    /// Parks the lane, if it is not parked, and stores an item.
    async fn store(&self, partition: u32, key: &K, offset: u64, item: &T) -> Result<(), Cause>;

    /// The stored items of the lane with the lowest offsets, at most `limit`, with their offsets. Fewer than `limit` means the
    /// end.
    async fn stored(&self, partition: u32, key: &K, limit: usize) -> Result<Vec<(u64, T)>, Cause>;

    /// Forgets an item that was handled.
    async fn remove(&self, partition: u32, key: &K, offset: u64) -> Result<(), Cause>;

    /// The lane is no longer parked: nothing of it is stored.
    async fn release(&self, partition: u32, key: &K) -> Result<(), Cause>;

    /// The keys of parked lanes. All of them: they are as few as [`super::LaneLimits::parking`] allows.
    async fn parked(&self, partition: u32) -> Result<Vec<K>, Cause>;
}

/// For pools whose lanes wait and never park: their limits allow no parked lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoParking;

#[async_trait]
impl<K, T> Parking<K, T> for NoParking
where
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    async fn store(&self, _: u32, _: &K, _: u64, _: &T) -> Result<(), Cause> {
        Err(Cause::new("refused", "lanes do not park here"))
    }

    async fn stored(&self, _: u32, _: &K, _: usize) -> Result<Vec<(u64, T)>, Cause> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: u32, _: &K, _: u64) -> Result<(), Cause> {
        Ok(())
    }

    async fn release(&self, _: u32, _: &K) -> Result<(), Cause> {
        Ok(())
    }

    async fn parked(&self, _: u32) -> Result<Vec<K>, Cause> {
        Ok(Vec::new())
    }
}

/// How keys and items are written as records.
pub trait Parcels<K, T>: Send + Sync + 'static {
    /// The key in words that are never those of another key, without `/` and control characters.
    fn key_words(&self, key: &K) -> String;

    /// Reads [`Self::key_words`].
    fn read_key(&self, words: &str) -> Result<K, Cause>;

    /// The item in bytes, at most [`crate::state::VALUE_BYTES_MAX`]: what may be larger is written as a reference.
    fn item_bytes(&self, item: &T) -> Vec<u8>;

    /// Reads [`Self::item_bytes`].
    fn read_item(&self, bytes: &[u8]) -> Result<T, Cause>;
}

/// Keys asked for per page.
const PAGE: usize = 1_000;

/// Parking in [`State`]: per lane a marker `NAME-lanes/partition/key`, per item a record `NAME-items/partition/key/offset`.
pub struct StateParking<P> {
    state: Arc<dyn State>,
    name: String,
    parcels: P,
}

impl<P> StateParking<P> {
    /// Parking for the consumer group `name`, which has no `/`.
    pub fn new(state: Arc<dyn State>, name: impl Into<String>, parcels: P) -> Self {
        Self { state, name: name.into(), parcels }
    }

    fn lanes(&self, partition: u32) -> String {
        format!("{}-lanes/{partition}/", self.name)
    }

    fn lane<K, T>(&self, partition: u32, key: &K) -> Result<String, Cause>
    where
        P: Parcels<K, T>,
    {
        Ok(self.lanes(partition) + &self.checked_words(key)?)
    }

    fn items<K, T>(&self, partition: u32, key: &K) -> Result<String, Cause>
    where
        P: Parcels<K, T>,
    {
        Ok(format!("{}-items/{partition}/{}/", self.name, self.checked_words(key)?))
    }

    /// A `/` would put the items of one lane among those of another.
    fn checked_words<K, T>(&self, key: &K) -> Result<String, Cause>
    where
        P: Parcels<K, T>,
    {
        let words = self.parcels.key_words(key);
        if words.is_empty() || words.contains('/') {
            return Err(Cause::new("refused", format!("{words:?} names no lane: it must not be empty nor have a /")));
        }
        Ok(words)
    }

    async fn put(&self, key: &str, value: &[u8]) -> Result<(), Cause> {
        let write = Write { key, value, expected: Expected::Anything, lives_for: None };
        self.state.put(write).await.map(drop).map_err(|error| cause(&error))
    }

    async fn delete(&self, key: &str) -> Result<(), Cause> {
        self.state.delete(key, None).await.map_err(|error| cause(&error))
    }
}

#[async_trait]
impl<K, T, P> Parking<K, T> for StateParking<P>
where
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    P: Parcels<K, T>,
{
    async fn store(&self, partition: u32, key: &K, offset: u64, item: &T) -> Result<(), Cause> {
        // The marker first: items without one would be overtaken after a restart.
        self.put(&self.lane(partition, key)?, &[]).await?;
        let item_key = item_key(&self.items(partition, key)?, offset);
        self.put(&item_key, &self.parcels.item_bytes(item)).await
    }

    async fn stored(&self, partition: u32, key: &K, limit: usize) -> Result<Vec<(u64, T)>, Cause> {
        let prefix = self.items(partition, key)?;
        let records = self.state.list(&prefix, None, limit).await.map_err(|error| cause(&error))?;
        let read = |record: crate::state::Record| {
            let offset = record.key.get(prefix.len()..).and_then(|offset| offset.parse().ok());
            let offset =
                offset.ok_or_else(|| Cause::new("corrupt", format!("record {} ends in no offset", record.key)))?;
            Ok((offset, self.parcels.read_item(&record.value)?))
        };
        records.into_iter().map(read).collect()
    }

    async fn remove(&self, partition: u32, key: &K, offset: u64) -> Result<(), Cause> {
        self.delete(&item_key(&self.items(partition, key)?, offset)).await
    }

    async fn release(&self, partition: u32, key: &K) -> Result<(), Cause> {
        self.delete(&self.lane(partition, key)?).await
    }

    async fn parked(&self, partition: u32) -> Result<Vec<K>, Cause> {
        let prefix = self.lanes(partition);
        let mut keys = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.state.list(&prefix, after.as_deref(), PAGE).await.map_err(|error| cause(&error))?;
            for record in &page {
                keys.push(self.parcels.read_key(record.key.get(prefix.len()..).unwrap_or_default())?);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                _ => return Ok(keys),
            }
        }
    }
}

/// Padded, so that the order of keys is the order of offsets.
fn item_key(prefix: &str, offset: u64) -> String {
    format!("{prefix}{offset:020}")
}

fn cause(error: &StateError) -> Cause {
    let class = match error {
        StateError::Unavailable { .. } => "unavailable",
        StateError::Throttled { .. } => "throttled",
        StateError::Conflict { .. } => "conflict",
        StateError::Refused { .. } => "refused",
        StateError::Corrupt { .. } => "corrupt",
    };
    Cause::of(class, error)
}

//! Doubles that the tests of lanes share.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use worker::lanes::Parcels;
use worker::state::{Expected, Write};
use worker::{Cause, Record, RecordVersion, State, StateError};

/// Records in memory: here no crate with a store is known. `fails` of 100 calls fail, some of them after they took effect.
#[derive(Default)]
pub(crate) struct Records {
    records: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(crate) random: Mutex<fastrand::Rng>,
    pub(crate) fails: Mutex<u32>,
}

impl Records {
    fn fails(&self) -> Result<(), StateError> {
        let fails = *self.fails.lock().expect("fails");
        if self.random.lock().expect("random").u32(0..100) < fails {
            return Err(StateError::Unavailable { what: "records".to_owned(), source: "on purpose".into() });
        }
        Ok(())
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.records.lock().expect("records").keys().cloned().collect()
    }
}

#[async_trait]
impl State for Records {
    async fn get(&self, key: &str) -> Result<Option<Record>, StateError> {
        let found = self.list(key, None, 1).await?;
        Ok(found.into_iter().find(|record| record.key == key))
    }

    async fn put(&self, write: Write<'_>) -> Result<RecordVersion, StateError> {
        worker::state::check_key(write.key)?;
        assert_eq!(write.expected, Expected::Anything);
        self.fails()?;
        self.records.lock().expect("records").insert(write.key.to_owned(), write.value.to_vec());
        self.fails()?;
        Ok(RecordVersion::random())
    }

    async fn delete(&self, key: &str, _: Option<RecordVersion>) -> Result<(), StateError> {
        self.fails()?;
        self.records.lock().expect("records").remove(key);
        self.fails()
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>, StateError> {
        worker::state::check_prefix(prefix)?;
        self.fails()?;
        let records = self.records.lock().expect("records");
        let wanted =
            records.iter().filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        let record = |(key, value): (&String, &Vec<u8>)| Record {
            key: key.clone(),
            value: value.clone(),
            version: RecordVersion::random(),
            expires_at: None,
        };
        Ok(wanted.take(limit).map(record).collect())
    }
}

/// Keys and items are numbers; an item is its offset.
pub(crate) struct Numbers;

impl Parcels<u32, u64> for Numbers {
    fn key_words(&self, key: &u32) -> String {
        key.to_string()
    }

    fn read_key(&self, words: &str) -> Result<u32, Cause> {
        words.parse().map_err(|error| Cause::of("corrupt", &error))
    }

    fn item_bytes(&self, item: &u64) -> Vec<u8> {
        item.to_le_bytes().to_vec()
    }

    fn read_item(&self, bytes: &[u8]) -> Result<u64, Cause> {
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|error| Cause::of("corrupt", &error))?))
    }
}

//! A store of small records.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use worker::state::{Expected, Write};
use worker::{Record, RecordVersion, State, StateError};

/// Records in memory: here no crate with a store is known. None of them expires. `fails` of 100 calls fail, some of them after they took effect.
#[derive(Default)]
pub(crate) struct Records {
    records: Mutex<BTreeMap<String, (Vec<u8>, RecordVersion)>>,
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
        self.fails()?;
        let version = RecordVersion::random();
        {
            let mut records = self.records.lock().expect("records");
            let there = records.get(write.key).map(|(_, version)| *version);
            let is_expected = match write.expected {
                Expected::Anything => true,
                Expected::Nothing => there.is_none(),
                Expected::Version(version) => there == Some(version),
            };
            if !is_expected {
                return Err(StateError::Conflict { key: write.key.to_owned() });
            }
            records.insert(write.key.to_owned(), (write.value.to_vec(), version));
        }
        self.fails()?;
        Ok(version)
    }

    async fn delete(&self, key: &str, version: Option<RecordVersion>) -> Result<(), StateError> {
        self.fails()?;
        {
            let mut records = self.records.lock().expect("records");
            let there = records.get(key).map(|(_, version)| *version);
            if there.is_some() && version.is_some() && version != there {
                return Err(StateError::Conflict { key: key.to_owned() });
            }
            records.remove(key);
        }
        self.fails()
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>, StateError> {
        worker::state::check_prefix(prefix)?;
        self.fails()?;
        let records = self.records.lock().expect("records");
        let wanted =
            records.iter().filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        let record = |(key, (value, version)): (&String, &(Vec<u8>, RecordVersion))| Record {
            key: key.clone(),
            value: value.clone(),
            version: *version,
            expires_at: None,
        };
        Ok(wanted.take(limit).map(record).collect())
    }
}

//! `State` that fails on demand. A call is one write: it takes effect whole or not at all, its answer can be lost.

use async_trait::async_trait;
use worker::state::Write;
use worker::{Record, RecordVersion, State, StateError};

use crate::{Fault, Flaky};

impl<T> Flaky<T> {
    async fn state<A>(&self, call: impl Future<Output = Result<A, StateError>>) -> Result<A, StateError> {
        let what = "the flaky state".to_owned();
        match self.faults.next().await {
            None => call.await,
            Some(Fault::Throttled) => Err(StateError::Throttled { what, source: "too fast".into() }),
            Some(Fault::LostResponse) => {
                call.await?;
                Err(StateError::Unavailable { what, source: "the answer was lost".into() })
            }
            Some(Fault::Unavailable | Fault::Partial) => {
                Err(StateError::Unavailable { what, source: "refused before any effect".into() })
            }
        }
    }
}

#[async_trait]
impl<T: State> State for Flaky<T> {
    async fn get(&self, key: &str) -> Result<Option<Record>, StateError> {
        self.state(self.inner.get(key)).await
    }

    async fn put(&self, write: Write<'_>) -> Result<RecordVersion, StateError> {
        self.state(self.inner.put(write)).await
    }

    async fn delete(&self, key: &str, version: Option<RecordVersion>) -> Result<(), StateError> {
        self.state(self.inner.delete(key, version)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>, StateError> {
        self.state(self.inner.list(prefix, after, limit)).await
    }
}

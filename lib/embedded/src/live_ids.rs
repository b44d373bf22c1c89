//! `LiveIds` on the packed index.

use async_trait::async_trait;
use chat::{Access, LiveIds, PageRequest, Pages, PortResult};

use crate::packed::PackedIndex;

/// The live ids of the packed index. A call is one snapshot; it sees every commit of every process before it, and lags by
/// nothing.
#[derive(Clone)]
pub struct LmdbLiveIds {
    index: PackedIndex,
}

impl LmdbLiveIds {
    /// Reads from `index`.
    pub fn new(index: PackedIndex) -> Self {
        Self { index }
    }
}

#[async_trait]
impl LiveIds for LmdbLiveIds {
    // A page takes less than a microsecond when it is in memory: less than handing it to another thread would.
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        self.index.pages(requests)
    }

    fn access(&self) -> Access {
        Access::Local
    }
}

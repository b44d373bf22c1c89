//! `Heads` on the packed index.

use async_trait::async_trait;
use chat::{Day, Head, Heads, PortResult, RoomId};

use crate::blocking::blocking;
use crate::packed::PackedIndex;

/// The heads of the packed index, which raises them itself when ids are added.
#[derive(Clone)]
pub struct LmdbHeads {
    index: PackedIndex,
}

impl LmdbHeads {
    /// Reads and raises the heads of `index`.
    pub fn new(index: PackedIndex) -> Self {
        Self { index }
    }
}

#[async_trait]
impl Heads for LmdbHeads {
    async fn raise(&self, days: &[(RoomId, Day)]) -> PortResult<()> {
        let (index, days) = (self.index.clone(), days.to_vec());
        blocking(move || index.raise_heads(&days)).await
    }

    async fn of(&self, rooms: &[RoomId]) -> PortResult<Vec<Head>> {
        self.index.heads_of(rooms)
    }
}

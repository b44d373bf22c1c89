//! Live ids of which one room is poisoned.

use std::sync::Arc;

use async_trait::async_trait;
use chat::{Access, LiveIds, PageRequest, Pages, PortError, PortResult, RoomId};

/// What happens to whoever asks for the room.
#[derive(Clone, Copy, Debug)]
pub enum Poison {
    /// The call panics.
    Panics,
    /// The room does not read back.
    IsCorrupt,
}

/// A store of which one room is poisoned.
pub struct Poisoned {
    /// The store.
    pub inner: Arc<dyn LiveIds>,
    /// The room.
    pub room: RoomId,
    /// With what.
    pub poison: Poison,
}

#[async_trait]
impl LiveIds for Poisoned {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        if requests.iter().any(|request| request.room == self.room) {
            match self.poison {
                Poison::Panics => panic!("room {} is poisoned", self.room),
                Poison::IsCorrupt => return Err(PortError::corrupt(format!("room {} does not read back", self.room))),
            }
        }
        self.inner.newest(requests).await
    }

    fn access(&self) -> Access {
        self.inner.access()
    }
}

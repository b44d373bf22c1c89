//! `Heads` that fails on demand. `Partial`: some heads are raised, then the call fails.

use async_trait::async_trait;
use chat::{Day, Head, Heads, PortResult, RoomId};

use crate::{Fault, Flaky, temporary};

#[async_trait]
impl<T: Heads> Heads for Flaky<T> {
    async fn raise(&self, days: &[(RoomId, Day)]) -> PortResult<()> {
        let Some(fault) = self.faults.next().await else { return self.inner.raise(days).await };
        match fault {
            Fault::LostResponse => self.inner.raise(days).await?,
            Fault::Partial => self.inner.raise(&days[..self.faults.below(days.len())]).await?,
            Fault::Unavailable | Fault::Throttled => {}
        }
        Err(temporary::error(fault))
    }

    async fn of(&self, rooms: &[RoomId]) -> PortResult<Vec<Head>> {
        match self.faults.next().await {
            None => self.inner.of(rooms).await,
            Some(fault) => Err(temporary::error(fault)),
        }
    }
}

//! `Memberships` that fails on demand.

use async_trait::async_trait;
use chat::{MembershipChange, Memberships, PortResult};

use crate::{Fault, Flaky, temporary};

#[async_trait]
impl<T: Memberships> Memberships for Flaky<T> {
    async fn apply(&self, changes: &[MembershipChange]) -> PortResult<()> {
        let Some(fault) = self.faults.next().await else { return self.inner.apply(changes).await };
        match fault {
            Fault::LostResponse => self.inner.apply(changes).await?,
            Fault::Partial => {
                // Any of them, not only the first: adapters group a batch as they like.
                let some: Vec<_> = changes.iter().filter(|_| self.faults.below(2) == 0).copied().collect();
                self.inner.apply(&some).await?;
            }
            Fault::Unavailable | Fault::Throttled => {}
        }
        Err(temporary::error(fault))
    }
}

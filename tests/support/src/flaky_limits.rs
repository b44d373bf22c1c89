//! `Limits` that fails on demand. `Partial`: some rows are stored, then the call fails.

use async_trait::async_trait;
use chat::{LimitRow, Limits, OrganizationId, PortResult, PutOutcome};

use crate::{Fault, Flaky, temporary};

#[async_trait]
impl<T: Limits> Limits for Flaky<T> {
    async fn put(&self, rows: &[LimitRow]) -> PortResult<Vec<PutOutcome>> {
        let Some(fault) = self.faults.next().await else { return self.inner.put(rows).await };
        match fault {
            Fault::LostResponse => drop(self.inner.put(rows).await?),
            Fault::Partial => drop(self.inner.put(&rows[..self.faults.below(rows.len())]).await?),
            Fault::Unavailable | Fault::Throttled => {}
        }
        Err(temporary::error(fault))
    }

    async fn get(&self, organizations: &[OrganizationId]) -> PortResult<Vec<Option<LimitRow>>> {
        match self.faults.next().await {
            None => self.inner.get(organizations).await,
            Some(fault) => Err(temporary::error(fault)),
        }
    }

    async fn page(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<LimitRow>> {
        match self.faults.next().await {
            None => self.inner.page(after, limit).await,
            Some(fault) => Err(temporary::error(fault)),
        }
    }
}

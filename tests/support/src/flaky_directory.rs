//! `Directory` that fails on demand. Its pages are never cut short, because a short page is the end: `Partial` fails the call.

use async_trait::async_trait;
use chat::{AccountId, ChangeCursor, Directory, Organization, OrganizationId, Participant, PortResult, RoomId};

use crate::{Fault, Flaky, temporary};

impl<T> Flaky<T> {
    /// Calls the adapter, or fails before or after it.
    pub(crate) async fn ask<A>(&self, call: impl Future<Output = PortResult<A>>) -> PortResult<A> {
        match self.faults.next().await {
            None => call.await,
            Some(fault @ Fault::LostResponse) => {
                call.await?;
                Err(temporary::error(fault))
            }
            Some(fault) => Err(temporary::error(fault)),
        }
    }
}

#[async_trait]
impl<T: Directory> Directory for Flaky<T> {
    async fn free_organizations(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<Organization>> {
        self.ask(self.inner.free_organizations(after, limit)).await
    }

    async fn organizations(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<Organization>>> {
        self.ask(self.inner.organizations(ids)).await
    }

    async fn rooms_of(&self, ids: &[OrganizationId]) -> PortResult<Vec<Vec<RoomId>>> {
        self.ask(self.inner.rooms_of(ids)).await
    }

    async fn participants(&self, asked: &[(AccountId, RoomId)]) -> PortResult<Vec<Option<Participant>>> {
        self.ask(self.inner.participants(asked)).await
    }

    async fn changed_organizations(&self, after: ChangeCursor, limit: usize) -> PortResult<Vec<ChangeCursor>> {
        self.ask(self.inner.changed_organizations(after, limit)).await
    }
}

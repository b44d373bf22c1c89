//! `Dump` that fails on demand. `Partial`: a page fails as a whole, for a short one would mean the end.

use async_trait::async_trait;
use chat::{AccountId, Organization, OrganizationId, PortResult, RoomId};
use import::{Account, Counts, Dump, Membership, Name, NameKind, RoomMessages};

use crate::{Fault, Flaky, temporary};

impl<T> Flaky<T> {
    async fn read<R>(&self, read: impl Future<Output = PortResult<R>>) -> PortResult<R> {
        match self.faults.next().await {
            None => read.await,
            Some(fault @ (Fault::LostResponse | Fault::Partial)) => {
                read.await?;
                Err(temporary::error(fault))
            }
            Some(fault) => Err(temporary::error(fault)),
        }
    }
}

#[async_trait]
impl<T: Dump> Dump for Flaky<T> {
    async fn counts(&self) -> PortResult<Counts> {
        self.read(self.inner.counts()).await
    }

    async fn organizations(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<Organization>> {
        self.read(self.inner.organizations(after, limit)).await
    }

    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> PortResult<Vec<Account>> {
        self.read(self.inner.accounts(after, limit)).await
    }

    async fn rooms(&self, after: Option<RoomId>, limit: usize) -> PortResult<Vec<RoomId>> {
        self.read(self.inner.rooms(after, limit)).await
    }

    async fn memberships(&self, after: Option<Membership>, limit: usize) -> PortResult<Vec<Membership>> {
        self.read(self.inner.memberships(after, limit)).await
    }

    async fn names(&self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>> {
        self.read(self.inner.names(after, limit)).await
    }

    async fn messages(&self, after: Option<RoomId>, ids: usize) -> PortResult<Vec<RoomMessages>> {
        self.read(self.inner.messages(after, ids)).await
    }
}

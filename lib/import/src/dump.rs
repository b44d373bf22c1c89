//! Port: a store read whole, table by table. The counterpart of [`crate::Load`].

use async_trait::async_trait;
use chat::{AccountId, Organization, OrganizationId, PortResult, RoomId};

use crate::{Account, Membership, Name, NameKind, RoomMessages};

/// How many rows there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Organizations.
    pub organizations: u64,
    /// Accounts.
    pub accounts: u64,
    /// Rooms.
    pub rooms: u64,
    /// Current memberships.
    pub memberships: u64,
    /// Names.
    pub names: u64,
    /// Messages, live and deleted.
    pub messages: u64,
}

/// A store that can be read whole, page by page.
///
/// Laws (`tests/laws/dump.rs`): pages are ascending, disjoint, and together hold every row that is present throughout the
/// reading; a page with fewer rows than `limit` is the last; what [`crate::Load`] was given, and nothing else, reads back; the
/// counts are those of the rows. No promise is made about rows that change meanwhile: keep imports out while a store is
/// read.
#[async_trait]
pub trait Dump: Send + Sync {
    /// How many rows there are. It may read everything to find out.
    async fn counts(&self) -> PortResult<Counts>;

    /// Organizations with an id above `after`, at most `limit`.
    async fn organizations(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<Organization>>;

    /// Accounts with an id above `after`, at most `limit`.
    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> PortResult<Vec<Account>>;

    /// Rooms above `after`, at most `limit`.
    async fn rooms(&self, after: Option<RoomId>, limit: usize) -> PortResult<Vec<RoomId>>;

    /// Current memberships above `after`, by account, then room, at most `limit`.
    async fn memberships(&self, after: Option<Membership>, limit: usize) -> PortResult<Vec<Membership>>;

    /// Names above `after`, by kind, then id, at most `limit`.
    async fn names(&self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>>;

    /// The messages of rooms above `after`: of as many whole rooms as it takes to have `ids` of them, or all; no room is the end.
    async fn messages(&self, after: Option<RoomId>, ids: usize) -> PortResult<Vec<RoomMessages>>;
}

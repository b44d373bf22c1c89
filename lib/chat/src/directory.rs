//! Port: who is who. Organizations and the rooms their accounts are in.

use async_trait::async_trait;

use crate::{OrganizationId, PortResult, RoomId};

/// Whether the viewing limit applies to an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plan {
    /// The limit applies.
    Free,
    /// Everything is visible.
    Paid,
}

/// An organization as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its plan now.
    pub plan: Plan,
    /// Grows with every change of the plan; 0 where the directory does not count.
    pub plan_version: u64,
}

/// Who is who, read only. The truth about plans, active accounts and current memberships.
///
/// Laws (`tests/laws/directory.rs`):
/// - [`Directory::free_organizations`] lists each free organization once, in ascending order of id, in disjoint pages that
///   together hold every organization that is present and free throughout the listing.
/// - [`Directory::rooms_of`] answers distinct rooms in ascending order, in which at least one **active** account of the
///   organization is a member **now**; an unknown organization has no rooms.
/// - Answers stand in the order of the question.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Free organizations with an id above `after`, ascending, at most `limit`. Fewer than `limit` means the end.
    async fn free_organizations(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<Organization>>;

    /// The organizations asked for; `None` for an unknown one.
    async fn organizations(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<Organization>>>;

    /// For each organization the rooms it sees now.
    async fn rooms_of(&self, ids: &[OrganizationId]) -> PortResult<Vec<Vec<RoomId>>>;
}

//! Port: who is who. Organizations and the rooms their accounts are in.

use async_trait::async_trait;

use crate::{AccountId, OrganizationId, PortResult, RoomId};

/// Whether the viewing limit applies to an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plan {
    /// The limit applies.
    Free,
    /// Everything is visible.
    Paid,
}

impl Plan {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Paid => "paid",
        }
    }

    /// True when the viewing limit applies.
    pub const fn is_limited(self) -> bool {
        matches!(self, Self::Free)
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Plan {
    type Err = NotAPlan;

    fn from_str(text: &str) -> Result<Self, NotAPlan> {
        [Self::Free, Self::Paid].into_iter().find(|plan| plan.as_str() == text).ok_or_else(|| NotAPlan(text.to_owned()))
    }
}

/// Text that is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a plan: write free or paid")]
pub struct NotAPlan(String);

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

/// An active account as one room sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Participant {
    /// Whose the account is.
    pub organization: OrganizationId,
    /// Whether the account is a member of the room now.
    pub is_member: bool,
}

/// Who is who, read only. The truth about plans, active accounts and current memberships.
///
/// Laws (`tests/laws/directory.rs`):
/// - [`Directory::free_organizations`] lists each free organization once, in ascending order of id, in disjoint pages that
///   together hold every organization that is present and free throughout the listing.
/// - [`Directory::rooms_of`] answers distinct rooms in ascending order, in which at least one **active** account of the
///   organization is a member **now**; an unknown organization has no rooms.
/// - [`Directory::participants`] agrees with it: an organization sees exactly the rooms in which one of its participants is a
///   member. An account that is unknown or not active is no participant of any room; a room that is unknown or deleted has no
///   members.
/// - Answers stand in the order of the question.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Free organizations with an id above `after`, ascending, at most `limit`. Fewer than `limit` means the end.
    async fn free_organizations(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<Organization>>;

    /// The organizations asked for; `None` for an unknown one.
    async fn organizations(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<Organization>>>;

    /// For each organization the rooms it sees now.
    async fn rooms_of(&self, ids: &[OrganizationId]) -> PortResult<Vec<Vec<RoomId>>>;

    /// For each account and room: of which organization the account is, and whether it is a member of the room now; `None` for an
    /// account that is unknown or not active. A question may stand twice.
    ///
    /// # Errors
    ///
    /// Refused where a chat's own directory was not told how to answer it.
    async fn participants(&self, asked: &[(AccountId, RoomId)]) -> PortResult<Vec<Option<Participant>>>;
}

//! Port: who is who. Organizations and the rooms their accounts are in.

use async_trait::async_trait;
use chrono::Utc;
use serde::{Deserialize, Serialize};

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

/// Where a listing of changes stands: at one organization that was told. Ordered by `changed`, then by organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChangeCursor {
    /// Grows with time, from 1: microseconds since 1970 where the tables are ours, whatever a chat counts by where they are its own.
    /// Organizations that changed together have the same.
    pub changed: u64,
    /// Which organization.
    pub organization: OrganizationId,
}

impl ChangeCursor {
    /// What `changed` is now where the tables are ours: microseconds since 1970 by this machine's clock.
    pub fn changed_now() -> u64 {
        u64::try_from(Utc::now().timestamp_micros()).unwrap_or(0)
    }
}

impl Default for ChangeCursor {
    /// Before everything.
    fn default() -> Self {
        Self { changed: 0, organization: OrganizationId::from_bits(0) }
    }
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
/// - [`Directory::changed_organizations`] tells in ascending, disjoint pages every organization whose newest change is above the
///   cursor, those that changed together included; a change that is made after a cursor was answered is told above it.
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

    /// Organizations of which something may have changed that no event of the log tells, above `after`, ascending by `changed` and
    /// organization, at most `limit`; fewer than `limit` mean the end for now. Each answer is itself the cursor behind it.
    ///
    /// Told are changes of plan, accounts that come, move or are (de)activated, organizations that come or go, and memberships where
    /// the directory is a chat's own. What changed is not told: the caller asks for the organization as it is now, which may be
    /// unknown by then. An organization can be told again, with or without a change; of several changes the last is enough.
    ///
    /// A change can become visible below a cursor that was answered already: whoever writes commits a while after its number was
    /// taken, and the clocks of several writers differ. A caller that must miss nothing remembers where it stood a minute ago and
    /// asks again from there.
    ///
    /// # Errors
    ///
    /// Refused where a chat's own directory was not told how to answer it.
    async fn changed_organizations(&self, after: ChangeCursor, limit: usize) -> PortResult<Vec<ChangeCursor>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(changed: u64, organization: u64) -> ChangeCursor {
        ChangeCursor { changed, organization: OrganizationId::from_bits(organization) }
    }

    #[test]
    fn cursors_are_ordered_by_change_then_by_organization() {
        let ascending = [ChangeCursor::default(), cursor(1, 0), cursor(1, 7), cursor(2, 0), cursor(u64::MAX, 0)];
        assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
        assert!(cursor(ChangeCursor::changed_now(), 0) > cursor(1_700_000_000_000_000, 0), "microseconds since 1970");
    }

    #[test]
    fn a_cursor_reads_back_as_it_was_kept() {
        let kept = serde_json::to_string(&cursor(1_795_000_000_000_001, i64::MAX as u64)).expect("JSON");
        assert_eq!(kept, r#"{"changed":1795000000000001,"organization":"9223372036854775807"}"#);
        let read: ChangeCursor = serde_json::from_str(&kept).expect("a cursor");
        assert_eq!(read, cursor(1_795_000_000_000_001, i64::MAX as u64));
    }
}

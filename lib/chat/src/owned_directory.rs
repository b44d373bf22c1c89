//! Port: the directory where Lanner itself owns it. Where another system does, plans are changed there.

use async_trait::async_trait;

use crate::{Organization, OrganizationId, Plan, PortResult};

/// An organization with what belongs to it, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationRecord {
    /// The organization.
    pub organization: Organization,
    /// Its name, where the directory keeps names.
    pub name: Option<String>,
    /// Its accounts, active or not.
    pub accounts: u64,
    /// Those that are active.
    pub active_accounts: u64,
    /// The rooms that [`crate::Directory::rooms_of`] answers.
    pub rooms: u64,
}

/// The organizations of a directory that Lanner owns, with their counts; and their plans, for changes.
///
/// Laws (`tests/laws/owned_directory.rs`):
/// - Pages are ascending, disjoint, and complete for what is present throughout; of one plan or of all.
/// - Counts agree with what [`crate::Directory`] answers.
/// - The plan version grows by one with every change of the plan, and not when the plan is the same.
/// - A name that is kept is answered with its organization; others have none.
/// - Answers stand in the order of the question.
#[async_trait]
pub trait OwnedDirectory: Send + Sync {
    /// Organizations above `after` with this plan, or any, ascending, at most `limit`. Fewer than `limit` means the end.
    async fn page(
        &self,
        plan: Option<Plan>,
        after: Option<OrganizationId>,
        limit: usize,
    ) -> PortResult<Vec<OrganizationRecord>>;

    /// The organizations asked for; `None` for an unknown one.
    async fn records(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<OrganizationRecord>>>;

    /// Sets the plan and answers the organization as it is now. An unknown one is refused.
    async fn set_plan(&self, organization: OrganizationId, plan: Plan) -> PortResult<Organization>;
}

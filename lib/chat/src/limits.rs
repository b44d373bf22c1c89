//! Port: the current limit of each organization.

use async_trait::async_trait;

use crate::limit::LimitRow;
use crate::{OrganizationId, PortResult};

/// What became of a row that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is the current row now. `previous` is the row that it replaced.
    Stored {
        /// The row before, if there was one.
        previous: Option<LimitRow>,
    },
    /// A newer row stands; nothing was changed.
    Superseded,
    /// The organization was released under a newer plan; nothing was changed.
    Released,
}

/// The current limits.
///
/// Laws (`tests/laws/limits.rs`): a row is accepted if its version is at least the stored one's (so that the same row twice is
/// the same row once) and an older version never replaces a newer; a release is a row and never deletes; pages are ascending,
/// disjoint, complete for rows present throughout; a row reads back as it was put.
#[async_trait]
pub trait Limits: Send + Sync {
    /// Puts rows under the version rule ([`LimitRow::settle_over`]); answers in the order of the rows.
    async fn put(&self, rows: &[LimitRow]) -> PortResult<Vec<PutOutcome>>;

    /// The rows of `organizations`, in that order; `None` where nothing was ever computed.
    async fn get(&self, organizations: &[OrganizationId]) -> PortResult<Vec<Option<LimitRow>>>;

    /// Rows with an organization above `after`, ascending, at most `limit`. Fewer than `limit` means the end.
    async fn page(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<LimitRow>>;
}

//! What an operator runs by hand.

pub mod dead_letters;
pub mod doctor;
pub mod explain;
pub mod organizations;
pub mod preview;
pub mod reconcile;
pub mod rerun;
pub mod retry;
pub mod runs;
pub mod status;

use chat::{OrganizationId, PortError, RunId};

use crate::limits::{ExtractError, WaitError};

/// Unknown organizations that an error names.
const NAMED_IN_ERRORS: usize = 10;

/// Why an operator's command cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The directory does not know it.
    #[error("there is no organization {0}")]
    UnknownOrganization(OrganizationId),
    /// The directory does not know some of those that were named.
    #[error("{}", unknown(.0))]
    UnknownOrganizations(Vec<OrganizationId>),
    /// The ledger does not know it.
    #[error("there is no run {0}: lanner runs lists them")]
    UnknownRun(RunId),
    /// The run was cancelled: what failed in it stays as it is.
    #[error("run {0} is cancelled: nothing of it is done again; lanner rerun computes organizations anew")]
    Cancelled(RunId),
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Sending failed. What was not sent is pending in the ledger.
    #[error(transparent)]
    Send(#[from] ExtractError),
    /// Waiting failed.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

impl OperateError {
    /// True when the same command may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Port(error) => error.is_temporary(),
            Self::Send(error) => error.is_temporary(),
            Self::Wait(WaitError::Port(error)) => error.is_temporary(),
            Self::Wait(WaitError::Extract(error)) => error.is_temporary(),
            Self::Wait(WaitError::UnknownRun(_))
            | Self::UnknownOrganization(_)
            | Self::UnknownOrganizations(_)
            | Self::UnknownRun(_)
            | Self::Cancelled(_) => false,
        }
    }
}

fn unknown(ids: &[OrganizationId]) -> String {
    let named: Vec<String> = ids.iter().take(NAMED_IN_ERRORS).map(ToString::to_string).collect();
    let more = ids.len().saturating_sub(NAMED_IN_ERRORS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the directory does not know {} of the organizations: {}{more}", ids.len(), named.join(", "))
}

/// How many there are, and the first of them.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Group<T> {
    /// How many.
    pub count: u64,
    /// The first ones, as many as are shown.
    pub first: Vec<T>,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { count: 0, first: Vec::new() }
    }
}

impl<T> Group<T> {
    /// Counts `one`, and keeps it while fewer than `shown` are kept.
    fn add(&mut self, one: T, shown: usize) {
        self.count += 1;
        if self.first.len() < shown {
            self.first.push(one);
        }
    }
}

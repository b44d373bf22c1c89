//! A run, and an organization in it.

use serde::{Deserialize, Serialize};

use super::{Counts, Phase};
use crate::{OrganizationId, Policy, RunId, Timestamp};

/// What a run covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every free organization of the directory.
    AllFree,
    /// Organizations that an operator named.
    Named,
}

impl Scope {
    /// The word in databases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllFree => "all_free",
            Self::Named => "named",
        }
    }

    /// The scope of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::AllFree, Self::Named].into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A run as it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// Its name. Opening a name that exists joins that run.
    pub id: RunId,
    /// What it covers.
    pub scope: Scope,
    /// The instant for which limits are computed.
    pub as_of: Timestamp,
    /// The policy.
    pub policy: Policy,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// A run as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// What it covers.
    pub scope: Scope,
    /// The instant for which limits are computed.
    pub as_of: Timestamp,
    /// The policy.
    pub policy: Policy,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Organizations up to this one are registered **and** sent.
    pub sent_through: Option<OrganizationId>,
    /// When the last organization had been sent; `None` while extraction goes on.
    pub extracted_at: Option<Timestamp>,
    /// When somebody cancelled it.
    pub cancelled_at: Option<Timestamp>,
}

/// One organization of one run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// The run.
    pub run: RunId,
    /// The organization.
    pub organization: OrganizationId,
}

/// A run with its counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The run.
    pub run: Run,
    /// Its organizations by state.
    pub counts: Counts,
    /// When the last organization became terminal.
    pub last_finished_at: Option<Timestamp>,
}

impl Progress {
    /// How far the run is.
    pub fn phase(&self) -> Phase {
        if self.run.cancelled_at.is_some() {
            Phase::Cancelled
        } else if self.run.extracted_at.is_none() {
            Phase::Extracting
        } else if self.counts.settled() < self.counts.expected() {
            Phase::Running
        } else {
            Phase::Finished
        }
    }
}

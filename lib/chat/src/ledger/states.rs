//! Where an organization stands in a run, and how far the run is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The state of one organization in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Registered, not begun.
    Pending,
    /// A worker has begun, or its rooms are collected and wait for the merge.
    Running,
    /// An attempt failed; another one will be made.
    Retrying,
    /// Terminal: the limit is computed and stored.
    Done,
    /// Terminal: a newer limit stood already.
    Superseded,
    /// Terminal: the plan no longer limits.
    Released,
    /// Terminal: it can never succeed as it is.
    Failed,
    /// Terminal: every attempt failed; its cause is kept.
    Parked,
}

impl State {
    /// All states, in the order in which tables show them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Retrying,
        Self::Done,
        Self::Superseded,
        Self::Released,
        Self::Failed,
        Self::Parked,
    ];

    /// The word in tables and in databases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Released => "released",
            Self::Failed => "failed",
            Self::Parked => "parked",
        }
    }

    /// The state of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// True when nothing more happens to the organization in this run.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Retrying)
    }

    /// True when an operator should look: the limit was not computed and will not be.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Parked)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which job works on an organization. Attempts are counted for each stage by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its rooms are collected.
    CollectRooms,
    /// Its rooms are merged.
    MergeNewest,
}

impl Stage {
    /// The job's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CollectRooms => "collect-rooms",
            Self::MergeNewest => "merge-newest",
        }
    }

    /// The stage of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::CollectRooms, Self::MergeNewest].into_iter().find(|stage| stage.as_str() == word)
    }
}

/// How many organizations of a run are in which state. Always counted from the states themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts(pub BTreeMap<State, u64>);

impl Counts {
    /// Organizations in `state`.
    pub fn of(&self, state: State) -> u64 {
        self.0.get(&state).copied().unwrap_or(0)
    }

    /// All organizations of the run: the sum over the states.
    pub fn expected(&self) -> u64 {
        self.0.values().sum()
    }

    /// Organizations that are terminal.
    pub fn settled(&self) -> u64 {
        State::ALL.into_iter().filter(|state| state.is_terminal()).map(|state| self.of(state)).sum()
    }

    /// Organizations whose limit was not computed and will not be.
    pub fn failures(&self) -> u64 {
        State::ALL.into_iter().filter(|state| state.is_failure()).map(|state| self.of(state)).sum()
    }
}

/// How far a run is: derived, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Organizations are still being registered and sent.
    Extracting,
    /// Extraction is complete, some organizations are not terminal.
    Running,
    /// Extraction is complete and every organization is terminal.
    Finished,
    /// Somebody cancelled it.
    Cancelled,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Extracting => "extracting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        })
    }
}

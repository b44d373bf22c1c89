//! The dead-letter desk: what is parked or has failed in the runs that are kept, and queue messages that nobody can read.

use std::collections::BTreeMap;

use chat::ledger::{Filter, Run, RunOrganization, State, UnreadableMessage};
use chat::{OrganizationId, PortResult, RunId, Timestamp};

use super::OperateError;
use crate::Ports;

/// Runs that are looked through: more than are kept.
const RUNS: usize = 1_000;
/// Unreadable messages that are looked at: each can be as large as a queue takes.
const UNREADABLE: usize = 100;
/// The class under which unreadable messages are listed.
pub const UNREADABLE_CLASS: &str = "unreadable";

/// Which letters.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Only of this run; unreadable messages belong to none.
    pub run: Option<RunId>,
    /// Only of this class; `unreadable` for messages that nobody can read.
    pub error_class: Option<String>,
    /// At most so many letters; the summary counts all.
    pub limit: usize,
    /// How long runs and unreadable messages are kept, in milliseconds; `None` = for ever.
    pub retention_ms: Option<u64>,
}

/// Failures of one state and class over all runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ClassSummary {
    /// Failed or parked.
    pub state: State,
    /// The class.
    #[serde(rename = "error_class")]
    pub class: String,
    /// Organizations, summed over the runs.
    pub organizations: u64,
    /// Runs in which it happened.
    pub runs: u64,
    /// The newest of these runs.
    pub run: RunId,
    /// An organization of that run.
    pub example: OrganizationId,
    /// Its last failure in words.
    pub error: String,
}

/// An organization that failed in a run.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The run.
    pub run: RunId,
    /// What the ledger holds of it.
    pub row: RunOrganization,
    /// When the run is no longer kept, and this with it; `None` = never.
    pub expires_at: Option<Timestamp>,
}

/// The desk.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    /// By state and class, the most frequent first.
    pub summary: Vec<ClassSummary>,
    /// The newest letters: by run, newest first, then by organization.
    pub letters: Vec<Letter>,
    /// The newest unreadable messages, at most a hundred.
    pub unreadable: Vec<UnreadableMessage>,
}

/// When a run that was opened at `from`, or a message that was put aside then, is no longer kept; `None` = never.
pub fn expires_at(from: Timestamp, retention_ms: Option<u64>) -> Option<Timestamp> {
    retention_ms.map(|retention_ms| from.plus_millis(retention_ms))
}

/// Lists dead letters. Reads failing rows only, however many organizations the runs have.
pub async fn list(ports: &Ports, question: &Question) -> Result<Desk, OperateError> {
    let mut runs = ports.ledger.opened_runs(RUNS).await?;
    if let Some(id) = &question.run {
        runs.retain(|run| run.id == *id);
        if runs.is_empty() {
            return Err(OperateError::UnknownRun(id.clone()));
        }
    }
    let mut desk = Desk { summary: summary(ports, question, &runs).await?, ..Desk::default() };
    let failing: u64 = desk.summary.iter().map(|class| class.organizations).sum();
    for run in &runs {
        if desk.letters.len() >= question.limit || desk.letters.len() as u64 >= failing {
            break;
        }
        let states = vec![State::Failed, State::Parked];
        let filter = Filter { states, error_class: question.error_class.clone(), after: None };
        let left = question.limit - desk.letters.len();
        let rows = ports.ledger.organizations(&run.id, &filter, left).await?;
        let expires_at = expires_at(run.opened_at, question.retention_ms);
        let letter = |row| Letter { run: run.id.clone(), row, expires_at };
        desk.letters.extend(rows.into_iter().map(letter));
    }
    let asked = question.error_class.as_deref().is_none_or(|class| class == UNREADABLE_CLASS);
    if question.run.is_none() && asked {
        desk.unreadable = ports.ledger.unreadable(question.limit.min(UNREADABLE)).await?;
    }
    Ok(desk)
}

async fn summary(ports: &Ports, question: &Question, runs: &[Run]) -> PortResult<Vec<ClassSummary>> {
    let mut classes: BTreeMap<(State, String), ClassSummary> = BTreeMap::new();
    for run in runs {
        for found in ports.ledger.error_classes(&run.id).await? {
            let asked = question.error_class.as_ref().is_none_or(|class| *class == found.class);
            if !found.state.is_failure() || !asked {
                continue;
            }
            let new = || ClassSummary {
                state: found.state,
                class: found.class.clone(),
                organizations: 0,
                runs: 0,
                run: run.id.clone(),
                example: found.example,
                error: found.error.clone(),
            };
            let class = classes.entry((found.state, found.class.clone())).or_insert_with(new);
            class.organizations += found.organizations;
            class.runs += 1;
        }
    }
    let mut summary: Vec<_> = classes.into_values().collect();
    summary.sort_by_key(|class| std::cmp::Reverse(class.organizations));
    Ok(summary)
}

/// What the ledger holds of one organization in one run, whatever its state; `retention_ms` as in [`Question`].
pub async fn letter(
    ports: &Ports,
    run: &RunId,
    id: OrganizationId,
    retention_ms: Option<u64>,
) -> Result<Option<Letter>, OperateError> {
    let known = ports.ledger.opened_runs(RUNS).await?.into_iter().find(|known| known.id == *run);
    let known = known.ok_or_else(|| OperateError::UnknownRun(run.clone()))?;
    let filter = Filter { after: id.get().checked_sub(1).map(OrganizationId::from_bits), ..Filter::default() };
    let row = ports.ledger.organizations(run, &filter, 1).await?.pop().filter(|row| row.organization == id);
    Ok(row.map(|row| Letter { run: run.clone(), row, expires_at: expires_at(known.opened_at, retention_ms) }))
}

//! Explaining a run: what is late, what is absent, what failed.
//!
//! The organizations of the directory and those of the run are two ascending lists; they are read page by page and compared as
//! they go by, so that memory holds a page of each, whatever their number.

use std::collections::{BTreeMap, VecDeque};

use chat::ledger::{ErrorClass, Filter, Phase, Progress, RunOrganization, Scope, State};
use chat::{OrganizationId, Plan, PortResult, RunId, Standing, Timestamp};

use crate::Ports;
use crate::operate::{Group, OperateError};

/// Organizations of one page.
const PAGE: usize = 1_000;

/// When a run counts as late, and how much of it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The instant from which it is looked at.
    pub at: Timestamp,
    /// How long nothing may happen with an organization while workers are alive: one visibility timeout and the longest
    /// backoff, in milliseconds.
    pub quiet_ms: u64,
    /// Organizations that are kept of each group.
    pub shown: usize,
}

/// Why a free organization is not in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Extraction is not complete, and has not come to it.
    NotExtractedYet,
    /// Nothing is stored from before the run: it became free, or was made, after the extraction had passed it.
    New,
    /// It had a limit before the run was opened: the run should have it.
    Lost,
}

/// Why an organization of the run is none that a run would cover now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// Its plan no longer limits.
    Paid,
    /// The directory does not know it.
    Unknown,
}

/// What stands out in a run.
#[derive(Clone, Debug)]
pub struct RunExplanation {
    /// The run with its counts.
    pub progress: Progress,
    /// The instant of the look.
    pub at: Timestamp,
    /// True when extraction is not complete and has not moved for too long.
    pub extraction_stopped: bool,
    /// Organizations in work, or waiting, for no longer than they may.
    pub in_time: u64,
    /// Those that wait or are in work for longer than they may.
    pub late: Group<RunOrganization>,
    /// When everything that is in time now must have ended or be late; `None` when nothing is in time.
    pub look_again_at: Option<Timestamp>,
    /// Free in the directory, and not in the run.
    pub missing: BTreeMap<Missing, Group<OrganizationId>>,
    /// In the run, and no longer free.
    pub gone: BTreeMap<Gone, Group<OrganizationId>>,
    /// What failed, by state and class.
    pub failures: Vec<ErrorClass>,
}

/// Explains a run. `on_progress` is told how many organizations of the run were looked at.
pub async fn explain_run(
    ports: &Ports,
    run: &RunId,
    look: Look,
    mut on_progress: impl FnMut(u64),
) -> Result<RunExplanation, OperateError> {
    let progress = ports.ledger.progress(run).await?.ok_or_else(|| OperateError::UnknownRun(run.clone()))?;
    let failures = ports.ledger.error_classes(run).await?;
    let mut comparison = Comparison::new(ports, progress, failures, look);
    let mut seen = 0;
    while let Some(rows) = comparison.step().await? {
        seen += rows;
        on_progress(seen);
    }
    Ok(comparison.found)
}

/// Two ascending lists on their way past each other.
struct Comparison<'a> {
    ports: &'a Ports,
    look: Look,
    free: Pages<OrganizationId>,
    rows: Pages<RunOrganization>,
    newest_queued_at: Timestamp,
    found: RunExplanation,
}

/// A page of a list, and where the list goes on.
struct Pages<T> {
    page: VecDeque<T>,
    after: Option<OrganizationId>,
    ended: bool,
}

impl<T> Pages<T> {
    fn new(ended: bool) -> Self {
        Self { page: VecDeque::new(), after: None, ended }
    }

    fn wants(&self) -> bool {
        self.page.is_empty() && !self.ended
    }

    fn refill(&mut self, page: Vec<T>, id: impl Fn(&T) -> OrganizationId) {
        self.ended = page.len() < PAGE;
        self.after = page.last().map(id).or(self.after);
        self.page = page.into();
    }
}

impl<'a> Comparison<'a> {
    fn new(ports: &'a Ports, progress: Progress, failures: Vec<ErrorClass>, look: Look) -> Self {
        let opened_at = progress.run.opened_at;
        // Nobody is missing in a run of named organizations.
        let free = Pages::new(progress.run.scope == Scope::Named);
        let found = RunExplanation {
            progress,
            at: look.at,
            extraction_stopped: false,
            in_time: 0,
            late: Group::default(),
            look_again_at: None,
            missing: BTreeMap::new(),
            gone: BTreeMap::new(),
            failures,
        };
        Self { ports, look, free, rows: Pages::new(false), newest_queued_at: opened_at, found }
    }

    /// Reads the next page and compares as far as both lists are known; answers how many rows that were, `None` at the end.
    async fn step(&mut self) -> PortResult<Option<u64>> {
        let run = &self.found.progress.run;
        if self.free.wants() {
            let page = self.ports.directory.free_organizations(self.free.after, PAGE).await?;
            self.free.refill(page.into_iter().map(|organization| organization.id).collect(), |id| *id);
        }
        if self.rows.wants() {
            let filter = Filter { after: self.rows.after, ..Filter::default() };
            let page = self.ports.ledger.organizations(&run.id, &filter, PAGE).await?;
            self.rows.refill(page, |row| row.organization);
        }
        let (mut looked, mut missing, mut gone) = (0, Vec::new(), Vec::new());
        while !self.free.wants() && !self.rows.wants() {
            let (free, row) = (self.free.page.front(), self.rows.page.front().map(|row| row.organization));
            match (free.copied(), row) {
                (None, None) => {
                    self.end(&missing, &gone).await?;
                    return Ok(if looked > 0 { Some(looked) } else { None });
                }
                (Some(free), row) if row.is_none_or(|row| free < row) => {
                    missing.push(free);
                    self.free.page.pop_front();
                    continue;
                }
                (Some(free), Some(row)) if free == row => _ = self.free.page.pop_front(),
                // What the run itself has released is as it should be.
                _ if self.rows.page.front().is_some_and(|row| row.state == State::Released) => {}
                (_, row) => gone.extend(row),
            }
            if let Some(row) = self.rows.page.pop_front() {
                looked += 1;
                self.wait(row);
            }
        }
        self.end(&missing, &gone).await?;
        Ok(Some(looked))
    }

    /// Sorts what one page left over.
    async fn end(&mut self, missing: &[OrganizationId], gone: &[OrganizationId]) -> PortResult<()> {
        self.sort_missing(missing).await?;
        self.sort_gone(gone).await?;
        let since_ms = self.look.at.as_millis().saturating_sub(self.newest_queued_at.as_millis());
        self.found.extraction_stopped =
            self.found.progress.phase() == Phase::Extracting && since_ms > self.look.quiet_ms;
        Ok(())
    }

    /// Whether an organization that is not terminal is late. One that waits for its turn is in time while anything of its run
    /// ends; one that was begun may take the quiet time for each of its attempts.
    fn wait(&mut self, row: RunOrganization) {
        self.newest_queued_at = self.newest_queued_at.max(row.queued_at);
        if row.state.is_terminal() {
            return;
        }
        let moved = self.found.progress.last_finished_at.unwrap_or(row.queued_at);
        let since = match (row.state, row.started_at) {
            (State::Running | State::Retrying, Some(started_at)) => started_at,
            _ => row.queued_at.max(moved),
        };
        let due = since.plus_millis(self.look.quiet_ms.saturating_mul(u64::from(row.attempts.max(1))));
        if due < self.look.at {
            self.found.late.add(row, self.look.shown);
        } else {
            self.found.in_time += 1;
            self.found.look_again_at = self.found.look_again_at.max(Some(due.plus_millis(1)));
        }
    }

    async fn sort_missing(&mut self, ids: &[OrganizationId]) -> PortResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let limits = self.ports.limits.get(ids).await?;
        let run = &self.found.progress.run;
        for (id, row) in ids.iter().zip(limits) {
            let extracted = run.extracted_at.is_some() || run.sent_through >= Some(*id);
            let before = |row: chat::LimitRow| row.standing != Standing::Released && row.computed_at < run.opened_at;
            let why = match extracted {
                false => Missing::NotExtractedYet,
                true if row.is_some_and(before) => Missing::Lost,
                true => Missing::New,
            };
            self.found.missing.entry(why).or_default().add(*id, self.look.shown);
        }
        Ok(())
    }

    async fn sort_gone(&mut self, ids: &[OrganizationId]) -> PortResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        for (id, organization) in ids.iter().zip(self.ports.directory.organizations(ids).await?) {
            let why = match organization.map(|organization| organization.plan) {
                // Named, or free again since its page was read.
                Some(Plan::Free) => continue,
                Some(Plan::Paid) => Gone::Paid,
                None => Gone::Unknown,
            };
            self.found.gone.entry(why).or_default().add(*id, self.look.shown);
        }
        Ok(())
    }
}

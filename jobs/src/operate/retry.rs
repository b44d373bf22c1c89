//! What failed in a run, done again: selected, begun anew in the ledger, sent, and accounted for.
//!
//! The ledger is first: an organization is pending there before its message is sent. Whoever dies in between leaves pending rows,
//! which `lanner run --run R` and any waiting worker send again; nothing is lost, and nothing is done twice that matters.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::ledger::{Filter, Item, Run, RunOrganization, State};
use chat::{LimitRow, OrganizationId, PortResult, RunId};
use tokio_util::sync::CancellationToken;

use super::{Group, OperateError};
use crate::Ports;
use crate::limits::extract_organizations;

/// Organizations of one page.
const PAGE: usize = 500;
/// Organizations that are read at once when some of a run are looked up: few of many, or all.
const LOOKUP: usize = 200;
/// Runs that are looked through when none is named: more than are kept.
const RUNS: usize = 1_000;
/// How often it is asked whether anything is left.
const POLL: Duration = Duration::from_millis(100);

/// Which failed and parked organizations.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only of this run; else of all that are kept.
    pub run: Option<RunId>,
    /// Only these, ascending; empty = all.
    pub organizations: Vec<OrganizationId>,
    /// Only these classes of failure; empty = all.
    pub error_classes: Vec<String>,
    /// Also those that have a newer limit than the run would give them.
    pub with_newer: bool,
}

/// A page of what is selected: one run, ascending.
#[derive(Debug)]
struct Page<'a> {
    run: &'a Run,
    rows: Vec<RunOrganization>,
    /// Left out because a newer limit stands.
    newer: u64,
}

/// How many of one run failed in one state with one class.
pub type ByClass = BTreeMap<(RunId, State, String), u64>;

/// What a selection holds.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// All that are selected, and the first of them.
    pub items: Group<(RunId, RunOrganization)>,
    /// By run, state and class of the last failure.
    pub by_class: ByClass,
    /// Left out because a newer limit stands.
    pub newer: u64,
}

/// What the ledger holds of `selection`; `shown` items are kept. Changes nothing.
pub async fn survey(ports: &Ports, selection: &Selection, shown: usize) -> Result<Survey, OperateError> {
    let mut survey = Survey::default();
    each_page(ports, selection, async |page| {
        survey.newer += page.newer;
        for row in page.rows {
            let class = row.error_class.clone().unwrap_or_default();
            *survey.by_class.entry((page.run.id.clone(), row.state, class)).or_default() += 1;
            survey.items.add((page.run.id.clone(), row), shown);
        }
        Ok(())
    })
    .await?;
    Ok(survey)
}

/// Begins what is selected anew and sends it, page by page; `on_sent` is told of each page. Every organization of a page is sent,
/// also when the ledger's answer says that it was opened before: the answer to an earlier call may have been lost, and a
/// message too many is dropped by the worker.
pub async fn resend(
    ports: &Ports,
    selection: &Selection,
    mut on_sent: impl FnMut(&RunId, &[OrganizationId]),
) -> Result<u64, OperateError> {
    let mut sent = 0;
    each_page(ports, selection, async |page| {
        let ids: Vec<OrganizationId> = page.rows.iter().map(|row| row.organization).collect();
        let item = |id: &OrganizationId| Item { run: page.run.id.clone(), organization: *id };
        let items: Vec<Item> = ids.iter().map(item).collect();
        ports.ledger.reopen(&items).await?;
        extract_organizations::send(ports, page.run, &ids).await?;
        sent += ids.len() as u64;
        on_sent(&page.run.id, &ids);
        Ok(())
    })
    .await?;
    Ok(sent)
}

async fn each_page(
    ports: &Ports,
    selection: &Selection,
    mut on_page: impl AsyncFnMut(Page<'_>) -> Result<(), OperateError>,
) -> Result<(), OperateError> {
    for run in runs(ports, selection).await? {
        let class = match &selection.error_classes[..] {
            [class] => Some(class.clone()),
            _ => None,
        };
        let states = vec![State::Failed, State::Parked];
        let mut filter = Filter { states, error_class: class, after: None };
        let mut named = selection.organizations.chunks(PAGE);
        loop {
            let (rows, ended) = if selection.organizations.is_empty() {
                let rows = ports.ledger.organizations(&run.id, &filter, PAGE).await?;
                filter.after = rows.last().map(|row| row.organization);
                let ended = rows.len() < PAGE;
                (rows, ended)
            } else {
                let Some(ids) = named.next() else { break };
                (rows_of(ports, &run.id, ids).await?, false)
            };
            let page = choose(ports, selection, &run, rows).await?;
            if !page.rows.is_empty() || page.newer > 0 {
                on_page(page).await?;
            }
            if ended {
                break;
            }
        }
    }
    Ok(())
}

/// The runs to look through, newest first. Of a cancelled run nothing can be begun anew.
async fn runs(ports: &Ports, selection: &Selection) -> Result<Vec<Run>, OperateError> {
    let all = ports.ledger.opened_runs(RUNS).await?;
    let Some(id) = &selection.run else {
        return Ok(all.into_iter().filter(|run| run.cancelled_at.is_none()).collect());
    };
    let known = all.into_iter().find(|run| run.id == *id);
    let run = match known {
        Some(run) => run,
        None => {
            let found = ports.ledger.progress(id).await?;
            found.ok_or_else(|| OperateError::UnknownRun(id.clone()))?.run
        }
    };
    if run.cancelled_at.is_some() { Err(OperateError::Cancelled(run.id)) } else { Ok(vec![run]) }
}

/// The rows that are selected, without those whose organization has a newer limit.
async fn choose<'a>(
    ports: &Ports,
    selection: &Selection,
    run: &'a Run,
    mut rows: Vec<RunOrganization>,
) -> PortResult<Page<'a>> {
    let classes = &selection.error_classes;
    rows.retain(|row| row.state.is_failure());
    rows.retain(|row| classes.is_empty() || row.error_class.as_ref().is_some_and(|class| classes.contains(class)));
    let found = rows.len();
    if !selection.with_newer && !rows.is_empty() {
        let ids: Vec<OrganizationId> = rows.iter().map(|row| row.organization).collect();
        let mut limits = ports.limits.get(&ids).await?.into_iter();
        rows.retain(|_| !limits.next().flatten().is_some_and(|limit| is_newer(&limit, run)));
    }
    let newer = (found - rows.len()) as u64;
    Ok(Page { run, rows, newer })
}

/// True when a limit stands that another run computed for the same instant or a later one.
fn is_newer(limit: &LimitRow, run: &Run) -> bool {
    limit.run != run.id && limit.version.as_of >= run.as_of
}

/// The rows of some organizations of a run; ascending when `ids` are.
async fn rows_of(ports: &Ports, run: &RunId, ids: &[OrganizationId]) -> PortResult<Vec<RunOrganization>> {
    let mut found = Vec::with_capacity(ids.len());
    let mut page: std::iter::Peekable<std::vec::IntoIter<RunOrganization>> = Vec::new().into_iter().peekable();
    let mut covered = None;
    for id in ids {
        while page.next_if(|row| row.organization < *id).is_some() {}
        if page.peek().is_none() && covered.is_none_or(|covered| covered < *id) {
            let after = id.get().checked_sub(1).map(OrganizationId::from_bits);
            let rows = ports.ledger.organizations(run, &Filter { after, ..Filter::default() }, LOOKUP).await?;
            covered = if rows.len() < LOOKUP { Some(OrganizationId::MAX) } else { rows.last().map(|r| r.organization) };
            page = rows.into_iter().peekable();
        }
        found.extend(page.next_if(|row| row.organization == *id));
    }
    Ok(found)
}

/// Waits until none of `ids` (ascending) is pending, in work or waiting for another attempt in the run, or `stop`.
pub async fn wait_until_terminal(
    ports: &Ports,
    run: &RunId,
    ids: &[OrganizationId],
    stop: &CancellationToken,
) -> PortResult<()> {
    while !stop.is_cancelled() {
        let asked = tokio::time::Instant::now();
        if !any_open(ports, run, ids).await? {
            return Ok(());
        }
        // Never more than a tenth of the time for asking.
        let _ = tokio::time::timeout(POLL.max(9 * asked.elapsed()), stop.cancelled()).await;
    }
    Ok(())
}

/// Ends at the first one that is open: others of the run are only read while none is found.
async fn any_open(ports: &Ports, run: &RunId, ids: &[OrganizationId]) -> PortResult<bool> {
    let states = vec![State::Pending, State::Running, State::Retrying];
    let mut filter = Filter { states, ..Filter::default() };
    loop {
        let rows = ports.ledger.organizations(run, &filter, PAGE).await?;
        if rows.iter().any(|row| ids.binary_search(&row.organization).is_ok()) {
            return Ok(true);
        }
        if rows.len() < PAGE {
            return Ok(false);
        }
        filter.after = rows.last().map(|row| row.organization);
    }
}

/// How organizations of a run ended.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// By state.
    pub counts: chat::ledger::Counts,
    /// Those that failed or are not terminal, and the first of them.
    pub bad: Group<RunOrganization>,
    /// All others, and the first of them.
    pub good: Group<RunOrganization>,
}

/// How each of `ids` (ascending) stands in the run; `on_each` is told of each, `shown` of each kind are kept.
pub async fn account(
    ports: &Ports,
    run: &RunId,
    ids: &[OrganizationId],
    shown: usize,
    mut on_each: impl FnMut(&RunOrganization),
) -> PortResult<Account> {
    let mut account = Account::default();
    for some in ids.chunks(PAGE) {
        for row in rows_of(ports, run, some).await? {
            on_each(&row);
            *account.counts.0.entry(row.state).or_default() += 1;
            let good = row.state.is_terminal() && !row.state.is_failure();
            if good { account.good.add(row, shown) } else { account.bad.add(row, shown) }
        }
    }
    Ok(account)
}

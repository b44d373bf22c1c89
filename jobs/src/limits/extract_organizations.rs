//! `extract-organizations`: opens a run, registers and sends every organization it covers, releases what the plan no longer
//! limits.
//!
//! A page is registered in the ledger first and sent then; the next page's registration notes that this one is sent. So a
//! restart in the middle repeats at most one page, and memory holds one page, whatever the number of organizations.

use std::time::Duration;

use chat::ledger::{Item, NewRun, Run, Scope, Settlement, State};
use chat::{LimitRow, Organization, OrganizationId, Plan, PortError, PortResult, Standing, Timestamp};
use worker::{Backoff, Outgoing, Queue, QueueError};

use super::release::{figures_of, release};
use crate::Ports;
use crate::tasks::{Message, OrganizationTask};

/// Organizations of one page.
const PAGE: usize = 500;
/// How often a message that the queue did not take is sent again before giving up.
const SEND_TRIES: u32 = 8;

/// What extraction did.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// The run.
    pub run: Run,
    /// Organizations sent by this call.
    pub sent: u64,
    /// Limits released because the plan no longer limits.
    pub released: u64,
}

/// Why extraction stopped. Everything sent so far stays; running it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The run of this name was cancelled.
    #[error("run {0} is cancelled: start another one")]
    Cancelled(chat::RunId),
    /// A message could not be built.
    #[error("organization {organization}: {error}")]
    Message {
        /// Whose message.
        organization: OrganizationId,
        /// What is wrong with it.
        error: String,
    },
}

impl ExtractError {
    /// True when running it again may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Port(error) => error.is_temporary(),
            Self::Queue(error) => error.is_temporary(),
            Self::Cancelled(_) | Self::Message { .. } => false,
        }
    }
}

/// Opens (or joins) the run of all free organizations, and sends what is not yet sent. `on_page` is told how
/// many are sent by this call, after each page that was sent or looked through for limits to release.
pub async fn extract(ports: &Ports, new: &NewRun, mut on_page: impl FnMut(u64)) -> Result<Extracted, ExtractError> {
    let run = open(ports, new).await?;
    let (mut sent, mut released) = (0, 0);
    if run.extracted_at.is_none() {
        let mut after = run.sent_through;
        loop {
            let page = ports.directory.free_organizations(after, PAGE).await?;
            let ids: Vec<OrganizationId> = page.iter().map(|organization| organization.id).collect();
            ports.ledger.register(&run.id, &ids, after, Timestamp::now()).await?;
            send(ports, &run, &ids).await?;
            sent += ids.len() as u64;
            on_page(sent);
            if page.len() < PAGE {
                break;
            }
            after = ids.last().copied();
        }
        // Before the run can be finished: nobody looks for what a finished run has left.
        released = release_what_is_no_longer_limited(ports, &run, || on_page(sent)).await?;
        ports.ledger.complete_extraction(&run.id, Timestamp::now()).await?;
    }
    Ok(Extracted { run, sent, released })
}

/// Opens (or joins) a run of named organizations, and sends them.
pub async fn extract_named(ports: &Ports, new: &NewRun, ids: &[OrganizationId]) -> Result<Extracted, ExtractError> {
    let run = open(ports, new).await?;
    for page in ids.chunks(PAGE) {
        ports.ledger.register(&run.id, page, None, Timestamp::now()).await?;
        send(ports, &run, page).await?;
    }
    ports.ledger.complete_extraction(&run.id, Timestamp::now()).await?;
    Ok(Extracted { run, sent: ids.len() as u64, released: 0 })
}

/// A run of all free organizations.
pub fn all_free(id: chat::RunId, as_of: Timestamp, policy: chat::Policy) -> NewRun {
    NewRun { id, scope: Scope::AllFree, as_of, policy, opened_at: Timestamp::now() }
}

async fn open(ports: &Ports, new: &NewRun) -> Result<Run, ExtractError> {
    let run = ports.ledger.open_run(new).await?;
    if run.cancelled_at.is_some() {
        return Err(ExtractError::Cancelled(run.id));
    }
    Ok(run)
}

/// Sends organizations of a run to the organization queue; returns when every message is durable.
pub(crate) async fn send(ports: &Ports, run: &Run, ids: &[OrganizationId]) -> Result<(), ExtractError> {
    let message = |organization: &OrganizationId| {
        let task = OrganizationTask::new(run.id.clone(), run.as_of, *organization, run.policy);
        let body =
            task.encode().map_err(|cause| ExtractError::Message { organization: *organization, error: cause.error });
        body.map(Outgoing::now)
    };
    let messages = ids.iter().map(message).collect::<Result<Vec<_>, _>>()?;
    for batch in messages.chunks(ports.organization_queue.limits().batch_max.max(1)) {
        send_batch(&*ports.organization_queue, batch.to_vec()).await?;
    }
    Ok(())
}

async fn send_batch(queue: &dyn Queue, mut messages: Vec<Outgoing>) -> Result<(), QueueError> {
    #[expect(clippy::expect_used, reason = "the numbers stand right here")]
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10), 0.3).expect("checked numbers");
    for attempt in 1.. {
        let answers = match queue.send(&messages).await {
            Ok(answers) => answers,
            Err(error) if error.is_temporary() && attempt < SEND_TRIES => {
                tokio::time::sleep(backoff.jittered(attempt)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut left = Vec::new();
        for (message, answer) in messages.into_iter().zip(answers) {
            match answer {
                Ok(()) => {}
                Err(error) if error.is_temporary() && attempt < SEND_TRIES => left.push(message),
                Err(error) => return Err(error),
            }
        }
        if left.is_empty() {
            break;
        }
        messages = left;
        tokio::time::sleep(backoff.jittered(attempt)).await;
    }
    Ok(())
}

/// Organizations with a limit that are no longer free: the run sees all of them, and takes them in as released, so that the history of
/// each limit has its end.
async fn release_what_is_no_longer_limited(ports: &Ports, run: &Run, mut on_page: impl FnMut()) -> PortResult<u64> {
    let mut after = None;
    let mut released = 0;
    loop {
        let rows = ports.limits.page(after, PAGE).await?;
        after = rows.last().map(|row| row.organization);
        let last = rows.len() < PAGE;
        let paid = with_paid_plans(ports, run, rows).await?;
        if !paid.is_empty() {
            let ids: Vec<OrganizationId> = paid.iter().map(|(row, _)| row.organization).collect();
            ports.ledger.register(&run.id, &ids, None, Timestamp::now()).await?;
            for (row, organization) in paid.iter().filter(|(row, _)| row.standing != Standing::Released) {
                release(&*ports.limits, row, organization, &run.id, run.as_of).await?;
                released += 1;
            }
            let settlements: Vec<Settlement> = paid.into_iter().map(|(row, _)| settlement(run, row)).collect();
            ports.ledger.settle(&settlements).await?;
        }
        on_page();
        if last {
            return Ok(released);
        }
    }
}

/// Those of `rows` whose organizations are paid, but for what was released before this run. An organization that the directory does not
/// know keeps its limit: nothing changes on absence.
async fn with_paid_plans(ports: &Ports, run: &Run, rows: Vec<LimitRow>) -> PortResult<Vec<(LimitRow, Organization)>> {
    let ids: Vec<OrganizationId> = rows.iter().map(|row| row.organization).collect();
    let organizations = ports.directory.organizations(&ids).await?;
    let paid = |(row, organization): (LimitRow, Option<Organization>)| {
        let organization = organization.filter(|organization| organization.plan == Plan::Paid)?;
        (row.standing != Standing::Released || row.run == run.id).then_some((row, organization))
    };
    Ok(rows.into_iter().zip(organizations).filter_map(paid).collect())
}

/// The end of an organization whose limit this run released.
fn settlement(run: &Run, row: LimitRow) -> Settlement {
    let item = Item { run: run.id.clone(), organization: row.organization };
    Settlement { item, state: State::Released, figures: figures_of(Some(row)), failure: None, at: Timestamp::now() }
}

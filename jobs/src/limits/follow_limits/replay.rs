//! Builds the sets of `follow-limits` by replaying the log of what is readable, instead of reading the store of messages, and saves them as
//! the snapshot from which `follow-limits` goes on.
//!
//! The log is told up to the ends that it had when this began, and the place that is saved is those ends. Whoever is asked afterwards
//! (the directory, and the log again while the sets are checked) can only be newer, and what `follow-limits` hears again from
//! the place changes nothing in the end. So this needs no moment at which nobody writes.

mod begin;
mod check;
mod leases;
mod reader;
mod snapshot;

use std::collections::BTreeMap;
use std::time::Duration;

use chat::policy::NoPolicy;
use chat::{ChangeCursor, LiveSet, MessageId, OrganizationId, PortError, Timestamp};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::log::Bounds;
use worker::{LogError, RenewError, StateError};

pub use self::begin::{NotAStart, StartAt};
pub use self::check::{Checked, Difference, Visible};
use self::leases::Leases;
use self::reader::Reader;
use super::changes::Changes;
use super::follower::POLL_WAIT;
use super::shard::{Saved, Shard};
use super::{FollowPorts, start};

/// A log that brings nothing for so long before its end does not bring it at all.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// What is asked for.
#[derive(Clone, Debug)]
pub struct Replay {
    /// From where on the log is told.
    pub from: StartAt,
    /// So many organizations are compared with the store before anything is saved.
    pub check: usize,
    /// Everything but saving.
    pub is_dry_run: bool,
    /// How many shards `follow-limits` has.
    pub shards: u32,
    /// How long the lease of a process that died holds.
    pub lease_lives_for: Duration,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// Records told.
    pub records: u64,
    /// Seconds in which they were.
    pub read_s: f64,
    /// Seconds that all of it took.
    pub took_s: f64,
    /// The sets have every live message from here on; `None`: every one there is.
    pub complete_from: Option<Timestamp>,
    /// Free organizations.
    pub organizations: u64,
    /// Those whose limit cannot be known from the log: `follow-limits` reads them from the store when it starts.
    pub to_read: u64,
    /// Bytes of the sets as they are saved.
    pub bytes: u64,
    /// What was compared with the store.
    pub checked: Checked,
    /// Whether the sets were saved.
    pub saved: bool,
}

/// Why nothing is saved, or not all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// `follow-limits` runs.
    #[error("shard {0} is followed: stop follow-limits first")]
    Followed(u32),
    /// The log does not hold what would have to be told.
    #[error("{0}")]
    NotInLog(String),
    /// The log ends before its end.
    #[error("the log brings nothing more before offset {next} of partition {partition}: run it again")]
    Silent {
        /// Which partition.
        partition: u32,
        /// Where it ought to end.
        next: u64,
    },
    /// It was told to stop.
    #[error("interrupted: run it again, follow-limits goes on from what it had saved")]
    Stopped,
    /// There is no policy now.
    #[error(transparent)]
    Policy(#[from] NoPolicy),
    /// A lease is lost.
    #[error(transparent)]
    Lease(#[from] RenewError),
    /// Directory or messages.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Small records.
    #[error(transparent)]
    State(#[from] StateError),
}

impl ReplayError {
    /// True when the same may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Followed(_) | Self::Silent { .. } | Self::Stopped | Self::Lease(_) => true,
            Self::NotInLog(_) | Self::Policy(_) => false,
            Self::Port(error) => error.is_temporary(),
            Self::Log(error) => error.is_temporary(),
            Self::State(error) => error.is_temporary(),
        }
    }
}

/// Builds, checks and saves the sets of all shards, holding their leases unless nothing is to be saved. `on_each` is told how many records
/// were told, of how many.
///
/// # Errors
///
/// [`ReplayError`]. Some sets may have been saved by then, but no place: `follow-limits` goes on from its old one, and is right.
pub async fn replay(
    ports: &FollowPorts,
    asked: &Replay,
    stop: &CancellationToken,
    on_each: impl FnMut(u64, u64),
) -> Result<Replayed, ReplayError> {
    let work =
        async { stop.run_until_cancelled(work(ports, asked, on_each)).await.unwrap_or(Err(ReplayError::Stopped)) };
    if asked.is_dry_run {
        return work.await;
    }
    let mut leases = Leases::take(&*ports.state, asked.shards, asked.lease_lives_for).await?;
    let answer = leases.hold(work).await;
    leases.release().await;
    answer
}

async fn work(ports: &FollowPorts, asked: &Replay, mut on_each: impl FnMut(u64, u64)) -> Result<Replayed, ReplayError> {
    let (began, noted_at) = (Instant::now(), Timestamp::now());
    let policy = ports.policies.in_force(noted_at)?.policy;
    // Changes and ends before the directory is read: what comes afterwards is told to `follow-limits` again.
    let mut changes = Changes::from(ChangeCursor::default());
    start::hear_changes(&*ports.directory, &mut changes, || ()).await?;
    let bounds = start::bounds(&*ports.readable).await?;
    let begin = begin::find(&*ports.readable, &asked.from, &bounds, noted_at, &policy).await?;
    let complete_from = begin.complete_from.map_or(MessageId::from_bits(0), |from| ports.epoch.first_id(from));
    let (mut shard, ids) = known(ports, policy.n(), complete_from).await?;
    let ends = ends(&bounds);
    let total = ends.iter().map(|(partition, end)| end.saturating_sub(begin.offsets[partition])).sum();
    let mut reader = Reader::new(&*ports.readable, begin.offsets).await?;
    let reading = Instant::now();
    reader.read_to(&ends, &mut shard, |told| on_each(told.min(total), total)).await?;
    let (records, read_s) = (reader.told, reading.elapsed().as_secs_f64());
    let checked = check::check(ports, &policy, noted_at, asked.check, &ids, &mut reader, &mut shard).await?;
    // Of what changed below the first listing and came to light after the directory was read nobody is told again.
    let news = start::hear_changes(&*ports.directory, &mut changes, || ()).await?;
    news.into_iter().filter(|id| ids.binary_search(id).is_ok()).for_each(|id| shard.mark_dirty(id));
    let saves = !asked.is_dry_run && checked.differing.is_empty();
    let (to_read, bytes) = snapshot::save_sets(ports, &policy, &shard, &ids, saves).await?;
    if saves {
        snapshot::save_places(ports, asked.shards, &ids, ends, changes.settled()).await?;
    }
    Ok(Replayed {
        records,
        read_s,
        took_s: began.elapsed().as_secs_f64(),
        complete_from: begin.complete_from,
        organizations: ids.len() as u64,
        to_read,
        bytes,
        checked,
        saved: saves,
    })
}

fn ends(bounds: &BTreeMap<u32, Bounds>) -> BTreeMap<u32, u64> {
    bounds.iter().map(|(partition, bounds)| (*partition, bounds.next)).collect()
}

/// Every free organization with its rooms and nothing in its set yet; their ids, ascending.
async fn known(
    ports: &FollowPorts,
    n: usize,
    complete_from: MessageId,
) -> Result<(Shard, Vec<OrganizationId>), PortError> {
    let (mut shard, mut ids, mut after) = (Shard::default(), Vec::new(), None);
    loop {
        let (page, last) = start::free_page(&*ports.directory, after).await?;
        let of_page: Vec<OrganizationId> = page.iter().map(|organization| organization.id).collect();
        let rooms = ports.directory.rooms_of(&of_page).await?;
        for (organization, rooms) in page.into_iter().zip(rooms) {
            let set = LiveSet::of(n, Vec::new(), complete_from);
            let (id, plan_version) = (organization.id, organization.plan_version);
            shard.restore(Saved { id, plan_version, rooms, set, stored: None });
        }
        ids.extend(of_page);
        match last {
            Some(last) => after = Some(last),
            None => return Ok((shard, ids)),
        }
    }
}

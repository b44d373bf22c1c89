//! Organizations with what a computation needs of them, read in batches, and computed on all cores without writing anything.

use std::future::Future;
use std::sync::Arc;

use chat::{
    Access, Head, LimitRow, Organization, OrganizationId, Policy, PortError, PortResult, RoomId, RunId, Timestamp,
    Version,
};
use futures::{Stream, StreamExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::{Computed, compute, with_heads};
use crate::LimitPorts;

/// Organizations that one task computes.
pub(crate) const UNIT: usize = 64;
/// Organizations of a unit that are computed at once where a page is a request.
const WAITING: usize = 16;

/// An organization with the rooms it sees now.
#[derive(Clone, Debug)]
pub(crate) struct Collected {
    pub(crate) organization: Organization,
    collected_at: Timestamp,
    rooms: Vec<(RoomId, Head)>,
}

impl Collected {
    /// Computes the limit as the job does.
    pub(crate) async fn compute(
        &self,
        ports: &LimitPorts,
        as_of: Timestamp,
        policy: Policy,
        run: &RunId,
    ) -> PortResult<LimitRow> {
        let plan_version = self.organization.plan_version;
        let question = Computed {
            run,
            organization: self.organization.id,
            policy,
            version: Version { plan_version, as_of, collected_at: self.collected_at },
            rooms_seen: u32::try_from(self.rooms.len()).unwrap_or(u32::MAX),
            rooms: &self.rooms,
        };
        compute(&*ports.live_ids, ports.epoch, question).await.map(|found| found.row)
    }
}

/// Reads the rooms of `organizations`, and their heads where the merge needs them.
pub(crate) async fn collect(ports: &LimitPorts, organizations: Vec<Organization>) -> PortResult<Vec<Collected>> {
    let collected_at = Timestamp::now();
    let ids: Vec<_> = organizations.iter().map(|organization| organization.id).collect();
    let rooms = ports.directory.rooms_of(&ids).await?;
    let rooms = with_heads(&*ports.heads, ports.live_ids.access(), rooms).await?;
    let collected = |(organization, rooms)| Collected { organization, collected_at, rooms };
    Ok(organizations.into_iter().zip(rooms).map(collected).collect())
}

/// The free organizations, in units of work.
pub(crate) fn free_units(ports: &LimitPorts) -> impl Stream<Item = PortResult<Vec<Organization>>> {
    futures::stream::try_unfold(Some(None), move |next: Option<Option<OrganizationId>>| async move {
        let Some(after) = next else { return Ok(None) };
        let page = ports.directory.free_organizations(after, UNIT).await?;
        let next = if page.len() < UNIT { None } else { page.last().map(|organization| Some(organization.id)) };
        Ok(Some((page, next)))
    })
}

/// How many organizations of one unit are computed at once: where ids are local, waiting for nothing, one.
pub(crate) fn at_once(ports: &LimitPorts) -> usize {
    match ports.live_ids.access() {
        Access::Local => 1,
        Access::RoundTrip { .. } => WAITING,
    }
}

/// Works on each unit in a task of its own, one per core at a time; answers in the order of the units.
pub(crate) fn on_all_cores<I, O, Fut>(
    units: impl Stream<Item = PortResult<I>>,
    work: impl Fn(I) -> Fut + Send + Sync + 'static,
) -> impl Stream<Item = PortResult<O>>
where
    I: Send + 'static,
    O: Send + 'static,
    Fut: Future<Output = PortResult<O>> + Send + 'static,
{
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = Arc::new(work);
    let start = move |unit: PortResult<I>| {
        let started = unit.map(|unit| AbortOnDropHandle::new(tokio::spawn(work(unit))));
        async move {
            let died =
                |error| PortError::Refused { what: "a computation died".to_owned(), source: Some(Box::new(error)) };
            started?.await.map_err(died)?
        }
    };
    units.map(start).buffered(cores)
}

//! Whether what readers apply is what a computation finds.
//!
//! Compared is what readers apply, the newer one of boundary and age: an older boundary than age allows hides nothing more. Limits that are
//! followed may be a second behind: what differs is looked at again after a while, and only what differs each time drifts.

use std::time::Duration;

use chat::visibility::effective_boundary;
use chat::{LimitRow, MessageId, Organization, OrganizationId, Policies, PortResult, RoomId, RunId, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::collected::{Collected, at_once, collect};
use crate::LimitPorts;

/// How often what differs is looked at again before it is told.
const LOOKS: usize = 3;

/// An organization whose readers see something else than they ought to.
#[derive(Clone, Debug, Serialize)]
pub struct Drift {
    /// The organization.
    pub organization: OrganizationId,
    /// The instant for which both hold.
    pub as_of: Timestamp,
    /// The oldest id that readers may see, as stored.
    pub stored: MessageId,
    /// The oldest id that they ought to see.
    pub computed: MessageId,
    /// Messages that are shown and ought not to be, or, below 0, are hidden and ought not to be.
    pub shown_too_many: i64,
    /// The newest of them.
    pub newest: Option<Differing>,
}

/// A message of a difference.
#[derive(Clone, Debug, Serialize)]
pub struct Differing {
    /// Its room.
    pub room: RoomId,
    /// The message.
    pub message: MessageId,
    /// When it was posted.
    pub posted_at: Timestamp,
    /// Where the newest event stands that changed it; none where an import brought it or nothing is kept of it.
    pub event: Option<String>,
}

/// One organization, compared.
pub(crate) struct Compared {
    pub(crate) organization: Organization,
    as_of: Timestamp,
    pub(crate) is_stored: bool,
    stored: MessageId,
    computed: MessageId,
}

impl Compared {
    /// Whether readers see something else than they ought to.
    pub(crate) fn drifts(&self) -> bool {
        self.stored != self.computed
    }

    fn drift(&self) -> Drift {
        let Self { organization, as_of, stored, computed, .. } = self;
        let (organization, as_of, stored, computed) = (organization.id, *as_of, *stored, *computed);
        Drift { organization, as_of, stored, computed, shown_too_many: 0, newest: None }
    }
}

/// How an organization's readers see something else than they ought to, if they do each time it is looked at, `settle` apart.
pub(crate) async fn drift_of(
    ports: &LimitPorts,
    policies: &Policies,
    id: OrganizationId,
    settle: Duration,
) -> PortResult<Option<Drift>> {
    let found = ports.directory.organizations(&[id]).await?.into_iter().flatten();
    let compared = compare(ports, policies, found.filter(|found| found.plan.is_limited()).collect()).await?;
    let suspects = compared.iter().filter(|one| one.drifts()).map(|one| one.organization.id).collect();
    Ok(still_drifting(ports, policies, suspects, settle).await?.pop())
}

/// What differs of these organizations each time it is looked at, `settle` apart.
pub(crate) async fn still_drifting(
    ports: &LimitPorts,
    policies: &Policies,
    mut suspects: Vec<OrganizationId>,
    settle: Duration,
) -> PortResult<Vec<Drift>> {
    let mut drifting = Vec::new();
    for _ in 0..LOOKS {
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        tokio::time::sleep(settle).await;
        // Its plan may have changed meanwhile.
        let found = ports.directory.organizations(&suspects).await?.into_iter().flatten();
        let limited = found.filter(|organization| organization.plan.is_limited()).collect();
        drifting = compare(ports, policies, limited).await?;
        drifting.retain(Compared::drifts);
        suspects = drifting.iter().map(|one| one.organization.id).collect();
    }
    Ok(drifting.iter().map(Compared::drift).collect())
}

/// Compares free organizations, each at this instant.
pub(crate) async fn compare(
    ports: &LimitPorts,
    policies: &Policies,
    unit: Vec<Organization>,
) -> PortResult<Vec<Compared>> {
    #[expect(clippy::expect_used, reason = "the name stands right here")]
    let run = &RunId::new("reconcile").expect("a run id");
    let as_of = Timestamp::now();
    let in_force = policies.in_force(as_of).map(|period| period.policy).unwrap_or_default();
    let ids: Vec<OrganizationId> = unit.iter().map(|organization| organization.id).collect();
    // What is stored first: what is computed can only be newer.
    let stored = ports.limits.get(&ids).await?;
    let compare = |(collected, stored): (Collected, Option<LimitRow>)| async move {
        let computed = collected.compute(ports, as_of, in_force, run).await?;
        let effective = |row: Option<&LimitRow>| {
            let policy = row.map_or(in_force, |row| row.policy);
            effective_boundary(LimitRow::boundary(row), &policy, as_of, ports.epoch)
        };
        Ok(Compared {
            organization: collected.organization,
            as_of,
            is_stored: stored.is_some(),
            stored: effective(stored.as_ref()),
            computed: effective(Some(&computed)),
        })
    };
    let collected = collect(ports, unit).await?;
    let pairs = futures::stream::iter(collected.into_iter().zip(stored));
    pairs.map(compare).buffered(at_once(ports)).try_collect().await
}

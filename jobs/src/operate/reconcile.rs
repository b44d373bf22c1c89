//! Whether the limits that readers apply are those that a batch computation finds now. Writes nothing.
//!
//! Compared is what readers apply, the newer one of boundary and age: an older boundary than age allows hides nothing more. Limits that are
//! followed may be a second behind: what differs is looked at again after a while, and only what differs each time is told.

use std::sync::Arc;
use std::time::Duration;

use chat::visibility::effective_boundary;
use chat::{
    LimitRow, MessageId, Messages, Organization, OrganizationId, PageRequest, Policies, PortResult, RoomId, RunId,
    Timestamp,
};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::OperateError;
use super::collected::{Collected, at_once, collect, free_units, on_all_cores};
use super::rerun::find;
use crate::Ports;

/// How often what differs is looked at again before it is told.
const LOOKS: usize = 3;
/// Ids of one page of a room, while a difference is explained.
const PAGE: usize = 1_000;

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

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Reconciled {
    /// Free organizations that were compared.
    pub organizations: u64,
    /// Those without a stored limit: age alone hides something from their readers.
    pub not_computed: u64,
    /// Those whose readers see something else than they ought to.
    pub drifted: Vec<Drift>,
}

/// Compares all free organizations, or one, at the instant of each comparison; `on_each` is told how many were compared.
pub async fn reconcile(
    ports: &Ports,
    policies: &Policies,
    only: Option<OrganizationId>,
    settle: Duration,
    mut on_each: impl FnMut(u64),
) -> Result<Reconciled, OperateError> {
    let (mut found, mut suspects) = (Reconciled::default(), Vec::new());
    let shared = Arc::new((ports.clone(), policies.clone()));
    let compared = move |unit| {
        let shared = Arc::clone(&shared);
        async move { compare(&shared.0, &shared.1, unit).await }
    };
    let units = match only {
        Some(id) => futures::stream::iter([Ok(vec![find(ports, id).await?])]).boxed(),
        None => free_units(ports).boxed(),
    };
    let mut units = std::pin::pin!(on_all_cores(units, compared));
    while let Some(unit) = units.try_next().await? {
        for one in unit {
            found.organizations += 1;
            found.not_computed += u64::from(!one.is_stored);
            if one.drifts() {
                suspects.push(one.organization);
            }
        }
        on_each(found.organizations);
    }
    let mut drifting = Vec::new();
    for _ in 0..LOOKS {
        if suspects.is_empty() {
            return Ok(found);
        }
        tokio::time::sleep(settle).await;
        drifting = compare(ports, policies, std::mem::take(&mut suspects)).await?;
        drifting.retain(Compared::drifts);
        suspects = drifting.iter().map(|one| one.organization.clone()).collect();
    }
    found.drifted = drifting.iter().map(Compared::drift).collect();
    Ok(found)
}

/// Finds what the difference is made of: the messages between the two boundaries.
pub async fn explain_drift(ports: &Ports, messages: Option<&dyn Messages>, drift: &mut Drift) -> PortResult<()> {
    let (at_least, end) = (drift.stored.min(drift.computed), drift.stored.max(drift.computed));
    let rooms = ports.directory.rooms_of(&[drift.organization]).await?.into_iter().next().unwrap_or_default();
    let (mut many, mut newest) = (0, None);
    for room in rooms {
        let mut below = Some(end);
        while let Some(from) = below {
            let page = ports.live_ids.newest(&[PageRequest { room, below: from, at_least, limit: PAGE }]).await?;
            let (ids, resume_below) = page.page(0);
            many += i64::try_from(ids.len()).unwrap_or(i64::MAX);
            newest = newest.max(ids.first().map(|id| (*id, room)));
            below = resume_below;
        }
    }
    drift.shown_too_many = if drift.stored < drift.computed { many } else { -many };
    let Some((message, room)) = newest else { return Ok(()) };
    let kept = match messages {
        Some(messages) => messages.get(&[(room, message)]).await?.into_iter().next().flatten(),
        None => None,
    };
    let event = kept.and_then(|message| message.position).map(|position| position.to_string());
    drift.newest = Some(Differing { room, message, posted_at: ports.epoch.time_of(message), event });
    Ok(())
}

struct Compared {
    organization: Organization,
    as_of: Timestamp,
    is_stored: bool,
    stored: MessageId,
    computed: MessageId,
}

impl Compared {
    fn drifts(&self) -> bool {
        self.stored != self.computed
    }

    fn drift(&self) -> Drift {
        let Self { organization, as_of, stored, computed, .. } = self;
        let (organization, as_of, stored, computed) = (organization.id, *as_of, *stored, *computed);
        Drift { organization, as_of, stored, computed, shown_too_many: 0, newest: None }
    }
}

async fn compare(ports: &Ports, policies: &Policies, unit: Vec<Organization>) -> PortResult<Vec<Compared>> {
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

//! Whether the limits that readers apply are those that a batch computation finds now, and what a difference is made of. Writes nothing.

use std::sync::Arc;
use std::time::Duration;

use chat::{Messages, OrganizationId, PageRequest, Policies, PortResult};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::OperateError;
use super::rerun::find;
use crate::Ports;
use crate::limits::collected::{free_units, on_all_cores};
use crate::limits::drift::{compare, still_drifting};

pub use crate::limits::drift::{Differing, Drift};

/// Ids of one page of a room, while a difference is explained.
const PAGE: usize = 1_000;

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
    let limits = ports.of_limits();
    let shared = Arc::new((limits.clone(), policies.clone()));
    let compared = move |unit| {
        let shared = Arc::clone(&shared);
        async move { compare(&shared.0, &shared.1, unit).await }
    };
    let units = match only {
        Some(id) => futures::stream::iter([Ok(vec![find(ports, id).await?])]).boxed(),
        None => free_units(&limits).boxed(),
    };
    let mut units = std::pin::pin!(on_all_cores(units, compared));
    while let Some(unit) = units.try_next().await? {
        for one in unit {
            found.organizations += 1;
            found.not_computed += u64::from(!one.is_stored);
            if one.drifts() {
                suspects.push(one.organization.id);
            }
        }
        on_each(found.organizations);
    }
    found.drifted = still_drifting(&limits, policies, suspects, settle).await?;
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

//! Re-running organizations by hand: first what would change, then the run itself.

use chat::ledger::{NewRun, Scope};
use chat::{LimitRow, Organization, OrganizationId, Plan, Policy, PortResult, RunId, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _};

use super::OperateError;
use crate::limits::collected::{Collected, UNIT, at_once, collect, on_all_cores};
use crate::{LimitPorts, Ports};

/// Organizations of one question to the directory.
const PAGE: usize = 500;

/// What a re-run finds now, beside what is stored.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The organization.
    pub organization: Organization,
    /// What is stored.
    pub stored: Option<LimitRow>,
    /// What a computation finds; `None` when the plan does not limit, so that a re-run releases.
    pub computed: Option<LimitRow>,
}

impl Difference {
    /// How many messages become visible; negative: become hidden. None where nothing is stored or nothing will limit.
    pub fn visible_change(&self) -> i64 {
        match (&self.stored, &self.computed) {
            (Some(stored), Some(computed)) if stored.standing != chat::Standing::Released => {
                i64::from(computed.visible_messages) - i64::from(stored.visible_messages)
            }
            _ => 0,
        }
    }

    /// True when the organization would see something else, or by another rule, at the instant of the computation.
    pub fn moves(&self) -> bool {
        let seen = |row: &LimitRow| (row.standing, row.visible_messages, row.oldest_visible_message_id);
        self.changes() && self.stored.as_ref().map(seen) != self.computed.as_ref().map(seen)
    }

    /// True when a re-run would leave the organization with another row than the stored one, if only for another instant.
    pub fn changes(&self) -> bool {
        let canonical = |row: &LimitRow| {
            (
                row.policy,
                row.version.as_of,
                row.standing,
                row.oldest_visible_message_id,
                row.visible_messages,
                row.rooms,
            )
        };
        match (&self.stored, &self.computed) {
            (Some(stored), Some(computed)) => canonical(stored) != canonical(computed),
            (None, None) => false,
            (Some(stored), None) => stored.standing != chat::Standing::Released,
            (None, Some(_)) => true,
        }
    }
}

/// The organization, or an error that names it.
pub async fn find(ports: &Ports, id: OrganizationId) -> Result<Organization, OperateError> {
    let found = ports.directory.organizations(&[id]).await?.into_iter().next().flatten();
    found.ok_or(OperateError::UnknownOrganization(id))
}

/// Computes the limit without writing anything.
pub async fn difference(
    ports: &Ports,
    id: OrganizationId,
    as_of: Timestamp,
    policy: Policy,
    run: &RunId,
) -> Result<Difference, OperateError> {
    let found = differences_of(&ports.of_limits(), &[id], as_of, policy, run).await?.pop();
    found.ok_or(OperateError::UnknownOrganization(id))
}

/// The run that covers organizations named by an operator.
pub fn named(id: RunId, as_of: Timestamp, policy: Policy) -> NewRun {
    NewRun { id, scope: Scope::Named, as_of, policy, opened_at: Timestamp::now() }
}

/// What a re-run of many organizations would change.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    /// Organizations.
    pub organizations: u64,
    /// Those that would see something else, or by another rule.
    pub changed: u64,
    /// Those whose plan does not limit, so that a stored limit is released.
    pub unlimited: u64,
    /// Messages that become visible, summed; counted from the stored limits.
    pub become_visible: u64,
    /// Messages that become hidden, summed.
    pub become_hidden: u64,
}

/// Checks that the directory knows all of `ids`; an error names those that it does not.
pub async fn check_known(ports: &Ports, ids: &[OrganizationId]) -> Result<(), OperateError> {
    let mut unknown = Vec::new();
    for some in ids.chunks(PAGE) {
        let found = ports.directory.organizations(some).await?;
        unknown.extend(some.iter().zip(found).filter(|(_, found)| found.is_none()).map(|(id, _)| *id));
    }
    if unknown.is_empty() { Ok(()) } else { Err(OperateError::UnknownOrganizations(unknown)) }
}

/// Computes the limits of `ids`, which the directory knows, on all cores and without writing anything; `on_each` is told of each
/// difference, in the order of `ids`.
pub async fn differences(
    ports: &Ports,
    ids: &[OrganizationId],
    (as_of, policy): (Timestamp, Policy),
    run: &RunId,
    mut on_each: impl FnMut(&Difference),
) -> Result<Differences, OperateError> {
    let mut sums = Differences::default();
    let shared = (ports.of_limits(), run.clone());
    let units = futures::stream::iter(ids.chunks(UNIT).map(|unit| Ok(unit.to_vec())));
    let work = move |unit: Vec<OrganizationId>| {
        let (ports, run) = shared.clone();
        async move { differences_of(&ports, &unit, as_of, policy, &run).await }
    };
    let mut found = std::pin::pin!(on_all_cores(units, work));
    while let Some(unit) = found.try_next().await? {
        for one in unit {
            sums.organizations += 1;
            sums.changed += u64::from(one.moves());
            sums.unlimited += u64::from(one.computed.is_none());
            let change = one.visible_change();
            sums.become_visible += change.max(0).unsigned_abs();
            sums.become_hidden += change.min(0).unsigned_abs();
            on_each(&one);
        }
    }
    Ok(sums)
}

async fn differences_of(
    ports: &LimitPorts,
    ids: &[OrganizationId],
    as_of: Timestamp,
    policy: Policy,
    run: &RunId,
) -> PortResult<Vec<Difference>> {
    let known: Vec<Organization> = ports.directory.organizations(ids).await?.into_iter().flatten().collect();
    let stored = ports.limits.get(&known.iter().map(|organization| organization.id).collect::<Vec<_>>()).await?;
    let compute = |(collected, stored): (Collected, Option<LimitRow>)| async move {
        let computed = match collected.organization.plan {
            Plan::Free => Some(collected.compute(ports, as_of, policy, run).await?),
            Plan::Paid => None,
        };
        Ok(Difference { organization: collected.organization, stored, computed })
    };
    let collected = collect(ports, known).await?.into_iter().zip(stored);
    futures::stream::iter(collected).map(compute).buffered(at_once(ports)).try_collect().await
}

//! Re-running one organization by hand: first what would change, then the run itself.

use chat::ledger::{NewRun, Scope};
use chat::{LimitRow, Organization, OrganizationId, Plan, Policy, PortError, RunId, Timestamp, Version};

use crate::Ports;
use crate::limits::{Computed, compute};

/// Why an organization cannot be re-run.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// The directory does not know it.
    #[error("there is no organization {0}")]
    UnknownOrganization(OrganizationId),
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

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
    /// True when a re-run would leave the organization with another limit than the stored one.
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
pub async fn find(ports: &Ports, id: OrganizationId) -> Result<Organization, RerunError> {
    let found = ports.directory.organizations(&[id]).await?.into_iter().next().flatten();
    found.ok_or(RerunError::UnknownOrganization(id))
}

/// Computes the limit without writing anything.
pub async fn difference(
    ports: &Ports,
    id: OrganizationId,
    as_of: Timestamp,
    policy: Policy,
    run: &RunId,
) -> Result<Difference, RerunError> {
    let collected_at = Timestamp::now();
    let organization = find(ports, id).await?;
    let stored = ports.limits.get(&[id]).await?.into_iter().next().flatten();
    if organization.plan == Plan::Paid {
        return Ok(Difference { organization, stored, computed: None });
    }
    let rooms = ports.directory.rooms_of(&[id]).await?.into_iter().next().unwrap_or_default();
    let heads = ports.heads.of(&rooms).await?;
    let with_heads: Vec<_> = rooms.into_iter().zip(heads).collect();
    let question = Computed {
        run,
        organization: id,
        policy,
        version: Version { plan_version: organization.plan_version, as_of, collected_at },
        rooms_seen: u32::try_from(with_heads.len()).unwrap_or(u32::MAX),
        rooms: &with_heads,
    };
    let computed = compute(&*ports.live_ids, ports.epoch, question).await?.row;
    Ok(Difference { organization, stored, computed: Some(computed) })
}

/// The run that covers organizations named by an operator.
pub fn named(id: RunId, as_of: Timestamp, policy: Policy) -> NewRun {
    NewRun { id, scope: Scope::Named, as_of, policy, opened_at: Timestamp::now() }
}

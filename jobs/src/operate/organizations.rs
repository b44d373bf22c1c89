//! Organizations of a directory that Lanner owns: what is known of one, and changes of its plan.

use chat::ledger::RunOrganization;
use chat::{LimitRow, Organization, OrganizationId, OrganizationRecord, OwnedDirectory, Plan, RunId, Standing};

use super::OperateError;
use crate::Ports;
use crate::limits::release_at_once;

/// What is known of an organization.
#[derive(Clone, Debug)]
pub struct Known {
    /// The organization and its counts.
    pub record: OrganizationRecord,
    /// What is stored of its limit.
    pub stored: Option<LimitRow>,
    /// What became of it in the newest run that covered it.
    pub last_run: Option<(RunId, RunOrganization)>,
}

impl Known {
    /// The stored limit, if one is in force.
    pub fn limit(&self) -> Option<&LimitRow> {
        self.stored.as_ref().filter(|row| row.standing != Standing::Released)
    }
}

/// What is known of the organization.
///
/// # Errors
///
/// When the directory does not know it, or a port fails.
pub async fn show(ports: &Ports, owned: &dyn OwnedDirectory, id: OrganizationId) -> Result<Known, OperateError> {
    let record = owned.records(&[id]).await?.into_iter().next().flatten();
    let record = record.ok_or(OperateError::UnknownOrganization(id))?;
    let stored = ports.limits.get(&[id]).await?.into_iter().next().flatten();
    let last_run = ports.ledger.attempts_of(id, 1).await?.into_iter().next();
    Ok(Known { record, stored, last_run })
}

/// What a change of plan makes of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanChange {
    /// The organization with its new plan.
    pub after: Organization,
    /// The limit that ends because the new plan does not limit.
    pub released: Option<LimitRow>,
}

/// What [`set_plan`] would do now.
pub fn plan_change(known: &Known, plan: Plan) -> PlanChange {
    let before = &known.record.organization;
    let plan_version = before.plan_version + u64::from(before.plan != plan);
    PlanChange {
        after: Organization { id: before.id, plan, plan_version },
        released: known.limit().filter(|_| !plan.is_limited()).cloned(),
    }
}

/// Sets the plan, and releases the limit at once where the plan no longer limits, which the history tells; `release`, which begins as
/// [`SET_PLAN`](crate::limits::SET_PLAN), names the released row's origin. A call that was interrupted is finished by repeating it.
///
/// # Errors
///
/// When the directory does not know the organization, or a port fails.
pub async fn set_plan(
    ports: &Ports,
    owned: &dyn OwnedDirectory,
    id: OrganizationId,
    plan: Plan,
    release: &RunId,
) -> Result<PlanChange, OperateError> {
    // The plan first: a limit that is computed meanwhile sees it, or carries the older plan version and gives way.
    let after = owned.set_plan(id, plan).await?;
    let released =
        if plan.is_limited() { None } else { release_at_once(&*ports.limits, &*ports.ledger, &after, release).await? };
    Ok(PlanChange { after, released })
}

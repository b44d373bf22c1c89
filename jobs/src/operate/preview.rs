//! What another policy would change, computed beside the one in force from the same data at the same instant. Writes nothing.

use std::cmp::Reverse;
use std::sync::Arc;

use chat::{LimitRow, Organization, OrganizationId, Plan, Policy, PortResult, RunId, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _};

use super::OperateError;
use super::rerun::find;
use crate::limits::collected::{Collected, at_once, collect, free_units, on_all_cores};
use crate::{LimitPorts, Ports};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The instant for which both are computed.
    pub as_of: Timestamp,
    /// The policy in force.
    pub in_force: Policy,
    /// The other one.
    pub other: Policy,
}

/// One organization by both policies.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// By the policy in force.
    pub in_force: LimitRow,
    /// By the other one.
    pub other: LimitRow,
}

impl Comparison {
    /// The organization.
    pub fn organization(&self) -> OrganizationId {
        self.in_force.organization
    }

    /// How many messages become visible; negative: become hidden. Both policies show the newest so many of the same messages,
    /// so that one of the two sets holds the other.
    pub fn visible_change(&self) -> i64 {
        i64::from(self.other.visible_messages) - i64::from(self.in_force.visible_messages)
    }

    /// True when the count bound nothing, and now would.
    pub fn gains_boundary(&self) -> bool {
        self.in_force.first_visible_message_id().is_none() && self.other.first_visible_message_id().is_some()
    }

    /// True when the count bound, and no longer would.
    pub fn loses_boundary(&self) -> bool {
        self.in_force.first_visible_message_id().is_some() && self.other.first_visible_message_id().is_none()
    }

    /// True when the organization would see something else, or by another rule.
    pub fn changes(&self) -> bool {
        let seen = |row: &LimitRow| (row.standing, row.visible_messages, row.oldest_visible_message_id);
        seen(&self.in_force) != seen(&self.other)
    }
}

/// The sums over all free organizations.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Free organizations.
    pub organizations: u64,
    /// Those that would see something else, or by another rule.
    pub changed: u64,
    /// Those that would see more.
    pub see_more: u64,
    /// Those that would see less.
    pub see_less: u64,
    /// Visible messages by the policy in force, summed.
    pub visible_in_force: u64,
    /// Visible messages by the other policy, summed.
    pub visible_other: u64,
    /// Messages that become visible, summed over the organizations that see more.
    pub become_visible: u64,
    /// Messages that become hidden, summed over the organizations that see less.
    pub become_hidden: u64,
    /// Organizations that the count did not limit, and would.
    pub gain_boundary: u64,
    /// Organizations that the count limited, and no longer would.
    pub lose_boundary: u64,
    /// The most affected ones: by how many messages change, the lower id first.
    pub top: Vec<Comparison>,
}

impl Preview {
    fn add(&mut self, one: &Comparison, top: usize) {
        let change = one.visible_change();
        self.organizations += 1;
        self.changed += u64::from(one.changes());
        self.see_more += u64::from(change > 0);
        self.see_less += u64::from(change < 0);
        self.visible_in_force += u64::from(one.in_force.visible_messages);
        self.visible_other += u64::from(one.other.visible_messages);
        self.become_visible += change.max(0).unsigned_abs();
        self.become_hidden += change.min(0).unsigned_abs();
        self.gain_boundary += u64::from(one.gains_boundary());
        self.lose_boundary += u64::from(one.loses_boundary());
        let weight = |one: &Comparison| Reverse((one.visible_change().unsigned_abs(), Reverse(one.organization())));
        let place = self.top.partition_point(|kept| weight(kept) < weight(one));
        if place < top && one.changes() {
            self.top.insert(place, one.clone());
            self.top.truncate(top);
        }
    }
}

/// Compares all free organizations, ascending; keeps the `top` most affected ones. `on_each` is told of each. Memory holds a few
/// hundred organizations, whatever their number.
pub async fn preview(
    ports: &Ports,
    question: Question,
    top: usize,
    mut on_each: impl FnMut(&Comparison),
) -> PortResult<Preview> {
    let mut preview = Preview::default();
    let ports = ports.of_limits();
    let shared = Arc::new(ports.clone());
    let compared = on_all_cores(free_units(&ports), move |unit| {
        let ports = Arc::clone(&shared);
        async move { compare_all(&ports, unit, question).await }
    });
    let mut compared = std::pin::pin!(compared);
    while let Some(unit) = compared.try_next().await? {
        for one in unit {
            preview.add(&one, top);
            on_each(&one);
        }
    }
    Ok(preview)
}

/// Compares one organization; `None` when its plan does not limit.
pub async fn preview_one(
    ports: &Ports,
    id: OrganizationId,
    question: Question,
) -> Result<Option<Comparison>, OperateError> {
    let organization = find(ports, id).await?;
    if organization.plan == Plan::Paid {
        return Ok(None);
    }
    Ok(compare_all(&ports.of_limits(), vec![organization], question).await?.pop())
}

async fn compare_all(ports: &LimitPorts, unit: Vec<Organization>, question: Question) -> PortResult<Vec<Comparison>> {
    #[expect(clippy::expect_used, reason = "the name stands right here")]
    let run = &RunId::new("preview").expect("a run id");
    let compare = |collected: Collected| async move {
        let in_force = collected.compute(ports, question.as_of, question.in_force, run).await?;
        let other = collected.compute(ports, question.as_of, question.other, run).await?;
        Ok(Comparison { in_force, other })
    };
    let collected = collect(ports, unit).await?;
    futures::stream::iter(collected).map(compare).buffered(at_once(ports)).try_collect().await
}

//! Explaining one organization: which rule binds, where the boundary is, which rooms contribute, what is hidden.

pub mod message;
pub mod run;

use chat::ledger::{HistoryEntry, RunOrganization};
use chat::visibility::{self, Look, Visibility, effective_boundary};
use chat::{
    Boundary, LimitRow, MessageId, Organization, OrganizationId, PageRequest, Plan, Policy, PortResult, RoomId, RunId,
    Timestamp,
};

use super::OperateError;
use super::rerun::find;
use crate::Ports;

/// Ids of one page.
const PAGE: usize = 10_000;
/// Attempts and history entries that are shown.
const SHOWN: usize = 5;

/// Which rule decides what the organization sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The plan does not limit: everything is visible.
    Unlimited,
    /// No limit is computed yet: age alone.
    AgeUntilComputed,
    /// At most N candidates, or the boundary has grown older than the age: age alone.
    Age,
    /// The N-th newest message.
    Count,
}

/// What one room contributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RoomShare {
    /// Visible messages.
    pub visible: u64,
    /// Live messages hidden because they are not among the newest N.
    pub hidden_by_count: u64,
    /// Live messages hidden because they are too old.
    pub hidden_by_age: u64,
    /// The newest live message.
    pub newest: Option<MessageId>,
}

/// The whole explanation.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The organization.
    pub organization: Organization,
    /// What is stored.
    pub stored: Option<LimitRow>,
    /// The policy that is applied: the row's, else the one in force.
    pub policy: Policy,
    /// The instant of the explanation.
    pub at: Timestamp,
    /// Which rule binds.
    pub rule: Rule,
    /// The oldest id that may be seen; `None` when the plan does not limit.
    pub boundary: Option<MessageId>,
    /// Every room the organization sees, ordered by what it contributes.
    pub rooms: Vec<(RoomId, RoomShare)>,
    /// The latest runs that covered the organization, newest first.
    pub attempts: Vec<(RunId, RunOrganization)>,
    /// The latest changes of the boundary, newest first.
    pub history: Vec<HistoryEntry>,
}

impl Explanation {
    /// The sum over the rooms.
    pub fn total(&self) -> RoomShare {
        self.rooms.iter().fold(RoomShare::default(), |sum, (_, share)| RoomShare {
            visible: sum.visible + share.visible,
            hidden_by_count: sum.hidden_by_count + share.hidden_by_count,
            hidden_by_age: sum.hidden_by_age + share.hidden_by_age,
            newest: sum.newest.max(share.newest),
        })
    }
}

/// Explains what a member of every room of the organization sees at `at`. Reads every live id of its rooms.
pub async fn explain(
    ports: &Ports,
    id: OrganizationId,
    in_force: Policy,
    at: Timestamp,
) -> Result<Explanation, OperateError> {
    let organization = find(ports, id).await?;
    let stored = ports.limits.get(&[id]).await?.into_iter().next().flatten();
    let (boundary, policy) = applied(stored.as_ref(), in_force);
    let limited = organization.plan == Plan::Free;
    let effective = effective_boundary(boundary, &policy, at, ports.epoch);
    let rule = match boundary {
        _ if !limited => Rule::Unlimited,
        Boundary::NotComputed => Rule::AgeUntilComputed,
        Boundary::From(by_count) if by_count == effective => Rule::Count,
        Boundary::From(_) | Boundary::NoCountLimit => Rule::Age,
    };
    let look = |message| Look { message, live: true, member: true, limit: limited.then_some((boundary, policy)) };
    let seen = ports.directory.rooms_of(&[id]).await?.into_iter().next().unwrap_or_default();
    // What is written after the instant is not there yet.
    let written_by = ports.epoch.first_id(at.plus_millis(1));
    let mut rooms = Vec::with_capacity(seen.len());
    for room in seen {
        let decide = |message| visibility::decide(look(message), at, ports.epoch);
        rooms.push((room, share(ports, room, written_by, decide).await?));
    }
    rooms.sort_by_key(|(room, share)| (std::cmp::Reverse((share.visible, share.newest)), *room));
    Ok(Explanation {
        organization,
        stored,
        policy,
        at,
        rule,
        boundary: limited.then_some(effective),
        rooms,
        attempts: ports.ledger.attempts_of(id, SHOWN).await?,
        history: ports.ledger.history(id, SHOWN).await?,
    })
}

/// The boundary that readers apply, and the policy: the row's, else the one in force.
fn applied(stored: Option<&LimitRow>, in_force: Policy) -> (Boundary, Policy) {
    let boundary = LimitRow::boundary(stored);
    match (stored, boundary) {
        (Some(row), Boundary::NoCountLimit | Boundary::From(_)) => (boundary, row.policy),
        _ => (boundary, in_force),
    }
}

async fn share(
    ports: &Ports,
    room: RoomId,
    below: MessageId,
    decide: impl Fn(MessageId) -> Visibility,
) -> PortResult<RoomShare> {
    let mut share = RoomShare::default();
    let mut next = Some(below);
    while let Some(below) = next {
        let request = PageRequest { room, below, at_least: MessageId::from_bits(0), limit: PAGE };
        let pages = ports.live_ids.newest(&[request]).await?;
        let (ids, resume_below) = pages.page(0);
        share.newest = share.newest.max(ids.first().copied());
        for id in ids {
            match decide(*id) {
                Visibility::Visible => share.visible += 1,
                Visibility::HiddenByCount => share.hidden_by_count += 1,
                Visibility::HiddenByAge => share.hidden_by_age += 1,
                Visibility::NotAMember | Visibility::Deleted => {}
            }
        }
        next = resume_below.filter(|resume| *resume < below);
    }
    Ok(share)
}

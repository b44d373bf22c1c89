//! Explaining one message: whether an organization sees it, by which rule, and where it stands among the newest N.

use chat::visibility::{self, Look, Visibility, Window, effective_boundary};
use chat::{
    Boundary, LimitRow, MessageId, Organization, OrganizationId, PageRequest, Plan, Policy, PortResult, RoomId, RunId,
    Timestamp,
};

use super::applied;
use crate::Ports;
use crate::operate::OperateError;
use crate::operate::rerun::{Difference, difference};

/// Rooms of one call.
const ROOMS: usize = 256;
/// Ids of one page: with [`ROOMS`] pages at once, 4 MiB.
const PAGE: usize = 2_000;

/// Where a message is, and who sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its room.
    pub room: RoomId,
    /// What a member of every room that the organization sees would see of it.
    pub visibility: Visibility,
    /// Its place among the candidates, from 1 = newest; `None` for what is no candidate: too old, or written at the instant
    /// or after it.
    pub rank: Option<u64>,
    /// How many candidates the organization has; 0 where the plan does not limit, because nothing is counted.
    pub candidates: u64,
}

/// What a message that was not found can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Possibility {
    /// It stands in a room in which no active account of the organization is a member now.
    InARoomNotSeen,
    /// It stands in another room than the one that was asked about.
    InAnotherRoom,
    /// It was deleted.
    Deleted,
    /// It was never written.
    NeverExisted,
    /// Its id belongs to a time after the instant: it is not there yet.
    NewerThanTheInstant,
}

/// What a search for the message came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is there.
    Found(Found),
    /// It is not; it can be each of these.
    NotFound(Vec<Possibility>),
}

/// What a computation by the policy in force finds at the instant.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The row that a re-run would store.
    pub row: LimitRow,
    /// What it would decide about the message.
    pub visibility: Visibility,
}

/// The whole explanation.
#[derive(Clone, Debug)]
pub struct MessageExplanation {
    /// The organization.
    pub organization: Organization,
    /// The message.
    pub message: MessageId,
    /// When it was written, by its id.
    pub written_at: Timestamp,
    /// The instant of the explanation.
    pub at: Timestamp,
    /// What is stored.
    pub stored: Option<LimitRow>,
    /// The policy that is applied: the row's, else the one in force.
    pub policy: Policy,
    /// The oldest id that may be seen; `None` when the plan does not limit.
    pub boundary: Option<MessageId>,
    /// Where it is.
    pub finding: Finding,
    /// What a fresh computation says; `None` where there is nothing to compare: the message is not there, the plan does not
    /// limit, the instant lies in the future, or the stored limit is for a later instant.
    pub fresh: Option<Fresh>,
}

impl MessageExplanation {
    /// True when the stored limit decides otherwise about this message than a fresh computation.
    pub fn is_stale(&self) -> bool {
        match (&self.finding, &self.fresh) {
            (Finding::Found(found), Some(fresh)) => found.visibility != fresh.visibility,
            _ => false,
        }
    }

    /// True when the stored limit is another one than a fresh computation finds, whatever that means for this message.
    pub fn limit_differs(&self) -> bool {
        let differs = |fresh: &Fresh| {
            LimitRow::boundary(self.stored.as_ref()) != LimitRow::boundary(Some(&fresh.row))
                || self.policy != fresh.row.policy
        };
        self.fresh.as_ref().is_some_and(differs)
    }
}

/// Explains what a member of every room of the organization sees of `message` at `at`. Without `room` it is looked for in all
/// rooms that the organization sees. Reads every candidate of these rooms.
pub async fn explain_message(
    ports: &Ports,
    id: OrganizationId,
    message: MessageId,
    room: Option<RoomId>,
    in_force: Policy,
    at: Timestamp,
) -> Result<MessageExplanation, OperateError> {
    #[expect(clippy::expect_used, reason = "the name stands right here")]
    let run = RunId::new("explain").expect("a run id");
    let Difference { organization, stored, computed } = difference(ports, id, at, in_force, &run).await?;
    let (boundary, policy) = applied(stored.as_ref(), in_force);
    let limit = (organization.plan == Plan::Free).then_some((boundary, policy));
    let rooms = ports.directory.rooms_of(&[id]).await?.into_iter().next().unwrap_or_default();
    let asked = room.map_or_else(|| rooms.clone(), |room| vec![room]);
    let place = find_room(ports, &asked, message).await?;
    let not_yet = message >= ports.epoch.first_id(at.plus_millis(1));
    let mut fresh = None;
    let finding = match place {
        Some(place) if !not_yet => {
            let look = Look { message, live: true, member: rooms.contains(&place), limit };
            let decide = |limit| visibility::decide(Look { limit, ..look }, at, ports.epoch);
            let comparable = at <= Timestamp::now() && stored.as_ref().is_none_or(|row| row.version.as_of <= at);
            fresh = computed.filter(|_| comparable).map(|row| {
                let visibility = decide(Some((LimitRow::boundary(Some(&row)), row.policy)));
                Fresh { row, visibility }
            });
            let mut found = Found { room: place, visibility: decide(limit), rank: None, candidates: 0 };
            if limit.is_some() {
                let window = Window::at(at, &policy, ports.epoch);
                let (candidates, newer) = candidates(ports, &rooms, window, message).await?;
                let counts = look.member && (window.from..window.below).contains(&message);
                (found.candidates, found.rank) = (candidates, counts.then_some(newer + 1));
            }
            Finding::Found(found)
        }
        _ if not_yet => Finding::NotFound(vec![Possibility::NewerThanTheInstant]),
        _ => {
            let elsewhere = if room.is_some() { Possibility::InAnotherRoom } else { Possibility::InARoomNotSeen };
            Finding::NotFound(vec![elsewhere, Possibility::Deleted, Possibility::NeverExisted])
        }
    };
    let effective = |(boundary, policy): (Boundary, Policy)| effective_boundary(boundary, &policy, at, ports.epoch);
    Ok(MessageExplanation {
        organization,
        message,
        written_at: ports.epoch.time_of(message),
        at,
        stored,
        policy,
        boundary: limit.map(effective),
        finding,
        fresh,
    })
}

/// The one of `rooms` in which `message` is live.
async fn find_room(ports: &Ports, rooms: &[RoomId], message: MessageId) -> PortResult<Option<RoomId>> {
    for some in rooms.chunks(ROOMS) {
        let request = |room: &RoomId| PageRequest { room: *room, below: message.next(), at_least: message, limit: 1 };
        let mut place = None;
        let requests = some.iter().map(request).collect();
        each_page(ports, requests, |room, ids| {
            if ids.contains(&message) {
                place = Some(room);
            }
        })
        .await?;
        if place.is_some() {
            return Ok(place);
        }
    }
    Ok(None)
}

/// How many candidates `rooms` hold, and how many of them are newer than `message`.
async fn candidates(ports: &Ports, rooms: &[RoomId], window: Window, message: MessageId) -> PortResult<(u64, u64)> {
    let (mut all, mut newer) = (0, 0);
    for some in rooms.chunks(ROOMS) {
        let request =
            |room: &RoomId| PageRequest { room: *room, below: window.below, at_least: window.from, limit: PAGE };
        let requests = some.iter().map(request).collect();
        each_page(ports, requests, |_, ids| {
            all += ids.len() as u64;
            newer += ids.partition_point(|id| *id > message) as u64;
        })
        .await?;
    }
    Ok((all, newer))
}

/// Follows each request to its end; all that go on are one call.
async fn each_page(
    ports: &Ports,
    mut requests: Vec<PageRequest>,
    mut on_page: impl FnMut(RoomId, &[MessageId]),
) -> PortResult<()> {
    while !requests.is_empty() {
        let pages = ports.live_ids.newest(&requests).await?;
        let mut left = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let (ids, resume_below) = pages.page(index);
            on_page(request.room, ids);
            if let Some(below) = resume_below.filter(|resume| *resume < request.below) {
                left.push(PageRequest { below, ..*request });
            }
        }
        requests = left;
    }
    Ok(())
}

//! The messages of the limit path's queues.
//!
//! JSON, ids as strings, with a version. A room list is packed: the rooms ascending, each as the difference to the one
//! before, and the day of its head as the distance from `as_of`; both as variable-length integers, in base64.
//!
//! A message for the merge that is too large for its queue is kept by the ledger as it is, whole, so that its rooms, plan version and
//! instants always belong together. What is sent instead is a claim (version 2), which names the organization and nothing else:
//! whichever list is kept when it arrives is the one to merge.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chat::{Day, Head, OrganizationId, Policy, RoomId, RunId, Timestamp};
use integer_encoding::VarInt;
use serde::{Deserialize, Serialize};
use worker::Cause;

/// The version of messages that stand for themselves.
const VERSION: u32 = 1;
/// The version of a message for the merge whose rooms the ledger keeps.
const CLAIM_VERSION: u32 = 2;
/// How often in a row an organization is collected again because its list was gone. A list is kept until its organization ends, so that a
/// claim without one is late; one after the other are those of a ledger that loses what it has called durable.
const LISTS_LOST_MAX: u32 = 3;

/// Work for `collect-rooms`: an organization of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationTask {
    v: u32,
    /// The run.
    pub run: RunId,
    /// The instant for which the limit is computed.
    pub as_of: Timestamp,
    /// The organization.
    pub organization: OrganizationId,
    /// The policy.
    pub policy: Policy,
    /// How often it was sent because its room list was gone; left out where it never was.
    #[serde(default, skip_serializing_if = "is_zero")]
    lists_lost: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl OrganizationTask {
    /// An organization of a run.
    pub fn new(run: RunId, as_of: Timestamp, organization: OrganizationId, policy: Policy) -> Self {
        Self { v: VERSION, run, as_of, organization, policy, lists_lost: 0 }
    }

    /// The claim on its room list, which the ledger keeps.
    pub(crate) fn claim(&self) -> RoomClaim {
        RoomClaim {
            v: CLAIM_VERSION,
            run: self.run.clone(),
            as_of: self.as_of,
            organization: self.organization,
            policy: self.policy,
            lists_lost: self.lists_lost,
        }
    }
}

/// Work for `merge-newest`: an organization whose rooms the ledger keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomClaim {
    v: u32,
    pub(crate) run: RunId,
    as_of: Timestamp,
    pub(crate) organization: OrganizationId,
    policy: Policy,
    #[serde(default, skip_serializing_if = "is_zero")]
    lists_lost: u32,
}

impl RoomClaim {
    /// The task that collects the organization again, since its list is gone; none where that has been tried often enough.
    pub(crate) fn collect_again(&self) -> Option<OrganizationTask> {
        let lists_lost = self.lists_lost + 1;
        let task = OrganizationTask::new(self.run.clone(), self.as_of, self.organization, self.policy);
        (lists_lost <= LISTS_LOST_MAX).then_some(OrganizationTask { lists_lost, ..task })
    }
}

/// A message for `merge-newest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomMessage {
    /// With its rooms.
    Rooms(RoomTask),
    /// The ledger keeps its rooms.
    Claim(RoomClaim),
}

/// Work for `merge-newest`: an organization with the rooms to look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomTask {
    /// The run.
    pub run: RunId,
    /// The instant for which the limit is computed.
    pub as_of: Timestamp,
    /// The organization.
    pub organization: OrganizationId,
    /// The policy.
    pub policy: Policy,
    /// The plan version that was read with the rooms.
    pub plan_version: u64,
    /// When rooms and plan were read.
    pub collected_at: Timestamp,
    /// How many rooms the organization sees, the quiet ones included.
    pub rooms_seen: u32,
    /// The rooms that are not too quiet, ascending, with their heads.
    pub rooms: Vec<(RoomId, Head)>,
}

#[derive(Serialize, Deserialize)]
struct RoomTaskOnTheWire {
    v: u32,
    run: RunId,
    as_of: Timestamp,
    organization: OrganizationId,
    policy: Policy,
    plan_version: u64,
    collected_at: Timestamp,
    rooms_seen: u32,
    rooms: String,
}

/// A queue message as a task, and back.
pub(crate) trait Message: Sized {
    /// The bytes to send.
    fn encode(&self) -> Result<Vec<u8>, Cause>;

    /// Reads a message.
    fn decode(body: &[u8]) -> Result<Self, Cause>;
}

fn unreadable(why: impl std::fmt::Display) -> Cause {
    Cause::new("unreadable", why.to_string())
}

fn unknown_version(v: u32) -> Cause {
    unreadable(format!("version {v} of the message is not known here"))
}

fn check_version(v: u32) -> Result<(), Cause> {
    if v == VERSION { Ok(()) } else { Err(unknown_version(v)) }
}

impl RoomMessage {
    /// Reads a message for the merge.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Cause> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        match serde_json::from_slice(body).map_err(unreadable)? {
            Versioned { v: VERSION } => RoomTask::decode(body).map(Self::Rooms),
            Versioned { v: CLAIM_VERSION } => serde_json::from_slice(body).map(Self::Claim).map_err(unreadable),
            Versioned { v } => Err(unknown_version(v)),
        }
    }
}

impl RoomClaim {
    /// The bytes to send.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Cause> {
        serde_json::to_vec(self).map_err(unreadable)
    }
}

impl Message for OrganizationTask {
    fn encode(&self) -> Result<Vec<u8>, Cause> {
        serde_json::to_vec(self).map_err(unreadable)
    }

    fn decode(body: &[u8]) -> Result<Self, Cause> {
        let task: Self = serde_json::from_slice(body).map_err(unreadable)?;
        check_version(task.v).map(|()| task)
    }
}

impl Message for RoomTask {
    fn encode(&self) -> Result<Vec<u8>, Cause> {
        let wire = RoomTaskOnTheWire {
            v: VERSION,
            run: self.run.clone(),
            as_of: self.as_of,
            organization: self.organization,
            policy: self.policy,
            plan_version: self.plan_version,
            collected_at: self.collected_at,
            rooms_seen: self.rooms_seen,
            rooms: BASE64.encode(pack(&self.rooms, Day::of(self.as_of))),
        };
        serde_json::to_vec(&wire).map_err(unreadable)
    }

    fn decode(body: &[u8]) -> Result<Self, Cause> {
        let wire: RoomTaskOnTheWire = serde_json::from_slice(body).map_err(unreadable)?;
        check_version(wire.v)?;
        let packed = BASE64.decode(&wire.rooms).map_err(unreadable)?;
        Ok(Self {
            run: wire.run,
            as_of: wire.as_of,
            organization: wire.organization,
            policy: wire.policy,
            plan_version: wire.plan_version,
            collected_at: wire.collected_at,
            rooms_seen: wire.rooms_seen,
            rooms: unpack(&packed, Day::of(wire.as_of)).ok_or_else(|| unreadable("the room list is broken"))?,
        })
    }
}

/// Heads: 0 = unknown, else the days from `today` back, zigzag (a head can lie after `as_of`), plus 1.
fn pack(rooms: &[(RoomId, Head)], today: Day) -> Vec<u8> {
    let mut packed = Vec::with_capacity(4 * rooms.len());
    let mut number = [0; 10];
    let mut before = 0;
    for (room, head) in rooms {
        let head = match head {
            Head::Unknown => 0,
            Head::Day(day) => {
                let back = i64::from(today.0) - i64::from(day.0);
                1 + back.unsigned_abs() * 2 - u64::from(back > 0)
            }
        };
        for value in [room.get() - before, head] {
            let length = value.encode_var(&mut number);
            packed.extend_from_slice(&number[..length]);
        }
        before = room.get();
    }
    packed
}

fn unpack(mut packed: &[u8], today: Day) -> Option<Vec<(RoomId, Head)>> {
    let mut rooms = Vec::new();
    let mut before = 0_u64;
    while !packed.is_empty() {
        let room = before.checked_add(take(&mut packed)?)?;
        let head = match take(&mut packed)? {
            0 => Head::Unknown,
            head => {
                let distance = i64::try_from(head / 2).ok()?;
                let back = if head % 2 == 0 { distance } else { -distance };
                Head::Day(Day(u32::try_from(i64::from(today.0).checked_sub(back)?).ok()?))
            }
        };
        rooms.push((RoomId::new(room).ok()?, head));
        before = room;
    }
    Some(rooms)
}

fn take(packed: &mut &[u8]) -> Option<u64> {
    let (value, length) = u64::decode_var(packed)?;
    *packed = &packed[length..];
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(rooms: Vec<(RoomId, Head)>) -> RoomTask {
        RoomTask {
            run: RunId::new("daily-2026-11-22T00:00Z").expect("a run id"),
            as_of: "2026-11-22T00:00:00Z".parse().expect("an instant"),
            organization: OrganizationId::MAX,
            policy: Policy::default(),
            plan_version: u64::MAX,
            collected_at: Timestamp::from_millis(7),
            rooms_seen: 9,
            rooms,
        }
    }

    fn organization() -> OrganizationTask {
        let run = RunId::new("r").expect("a run id");
        OrganizationTask::new(run, Timestamp::from_millis(9), OrganizationId::MAX, Policy::default())
    }

    #[test]
    fn a_room_task_reads_back_as_written() {
        let today = Day::of("2026-11-22T00:00:00Z".parse().expect("an instant")).0;
        let heads = [
            Head::Unknown,
            Head::Day(Day(0)),
            Head::Day(Day(today)),
            Head::Day(Day(today + 3)),
            Head::Day(Day(today - 1)),
        ];
        let ids = [0, 1, 5_000_000, 5_000_001, RoomId::MAX.get()];
        let rooms = ids.into_iter().map(RoomId::from_bits).zip(heads).collect();
        for task in [task(rooms), task(Vec::new())] {
            assert_eq!(RoomTask::decode(&task.encode().expect("bytes")), Ok(task));
        }
    }

    #[test]
    fn broken_messages_are_unreadable_and_never_panic() {
        let whole = task((0..20).map(|room| (RoomId::from_bits(room * 1_000), Head::Unknown)).collect());
        let bytes = whole.encode().expect("bytes");
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            let mut broken = bytes.clone();
            let at = random.usize(0..broken.len());
            broken[at] = random.u8(..);
            broken.truncate(random.usize(0..=broken.len()));
            let _ = RoomMessage::decode(&broken);
            let _ = OrganizationTask::decode(&broken);
        }
        assert_eq!(unpack(&[0x80; 20], Day(0)), None);
        assert_eq!(unpack(&[1], Day(0)), None, "a room without a head");
    }

    #[test]
    fn messages_of_the_first_version_are_read() {
        let text = r#"{"v":1,"run":"r","as_of":"2026-11-22T00:00:00Z","organization":"7","policy":{"max_messages":5000,
            "max_age_ms":3456000000},"plan_version":3,"collected_at":"1970-01-01T00:00:00.007Z","rooms_seen":2,"rooms":"BQACAA"}"#;
        let read = RoomMessage::decode(text.as_bytes());
        let rooms = [5, 7].map(|room| (RoomId::from_bits(room), Head::Unknown)).to_vec();
        let (run, organization) = (RunId::new("r").expect("id"), OrganizationId::from_bits(7));
        let expected = RoomTask { run, organization, plan_version: 3, rooms_seen: 2, ..task(rooms) };
        assert_eq!(read, Ok(RoomMessage::Rooms(expected)));
    }

    #[test]
    fn a_claim_reads_back_and_no_other_version_does() {
        let organization = organization();
        let bytes = organization.claim().encode().expect("bytes");
        assert!(bytes.len() < 1_000);
        assert_eq!(RoomMessage::decode(&bytes), Ok(RoomMessage::Claim(organization.claim())));
        assert!(RoomTask::decode(&bytes).is_err(), "a claim has no rooms");
        let text = String::from_utf8(bytes).expect("text");
        for other in ["\"v\":1", "\"v\":3"] {
            let unknown = RoomMessage::decode(text.replace("\"v\":2", other).as_bytes());
            assert_eq!(unknown.map_err(|cause| cause.class), Err("unreadable".to_owned()));
        }
    }

    #[test]
    fn an_organization_is_collected_again_a_few_times() {
        let mut task = organization();
        for lost in 1..=LISTS_LOST_MAX {
            task = task.claim().collect_again().expect("again");
            task = OrganizationTask::decode(&task.encode().expect("bytes")).expect("a task");
            assert_eq!(task.lists_lost, lost);
        }
        assert_eq!(task.claim().collect_again(), None);
    }

    #[test]
    fn a_message_of_another_version_is_unreadable() {
        let task = organization();
        let text = String::from_utf8(task.encode().expect("bytes")).expect("text");
        assert_eq!(OrganizationTask::decode(text.as_bytes()), Ok(task));
        let newer = text.replace("\"v\":1", "\"v\":2");
        assert_eq!(
            OrganizationTask::decode(newer.as_bytes()).map_err(|cause| cause.class),
            Err("unreadable".to_owned())
        );
    }
}

//! Explanations of single messages against brute force.

use std::collections::BTreeSet;

use chat::visibility::{Visibility, age_cutoff};
use chat::{Epoch, MessageId, OrganizationId, Policy, RoomId, Timestamp};
use jobs::operate::OperateError;
use jobs::operate::explain::message::{Finding, Found, MessageExplanation, Possibility, explain_message};
use support::place::policy;
use support::{SmallChat, oracle};

use crate::handlers::rig::Rig;

/// What brute force says of a message in a room: where it is found, and how it stands.
struct Truth<'a> {
    chat: &'a SmallChat,
    rooms: BTreeSet<u64>,
    paid: bool,
    policy: Policy,
    candidates: Vec<MessageId>,
}

impl<'a> Truth<'a> {
    fn new(chat: &'a SmallChat, organization: u64, policy: Policy) -> Self {
        let rooms = oracle::rooms_of(chat).remove(&organization).unwrap_or_default();
        let paid = chat.organizations.contains(&(organization, true));
        let candidates = oracle::candidates(chat, &rooms, SmallChat::as_of(), &policy);
        Self { chat, rooms, paid, policy, candidates }
    }

    fn visibility(&self, id: MessageId) -> Visibility {
        let newest: BTreeSet<&MessageId> = self.candidates.iter().take(self.policy.n()).collect();
        if self.paid || newest.contains(&id) || id >= Epoch::default().first_id(SmallChat::as_of()) {
            Visibility::Visible
        } else if id < age_cutoff(SmallChat::as_of(), &self.policy, Epoch::default()) {
            Visibility::HiddenByAge
        } else {
            Visibility::HiddenByCount
        }
    }

    /// `room_given`: the room is asked about by name.
    fn finding(&self, (room, id, deleted): (u64, MessageId, bool), room_given: bool) -> Finding {
        if id >= Epoch::default().first_id(SmallChat::as_of().plus_millis(1)) {
            return Finding::NotFound(vec![Possibility::NewerThanTheInstant]);
        }
        let member = self.rooms.contains(&room);
        if deleted || (!member && !room_given) {
            let elsewhere = if room_given { Possibility::InAnotherRoom } else { Possibility::InARoomNotSeen };
            return Finding::NotFound(vec![elsewhere, Possibility::Deleted, Possibility::NeverExisted]);
        }
        let place = self.candidates.iter().position(|candidate| *candidate == id);
        let limited = !self.paid;
        Finding::Found(Found {
            room: RoomId::from_bits(room),
            visibility: if member { self.visibility(id) } else { Visibility::NotAMember },
            rank: place.filter(|_| limited && member).map(|place| place as u64 + 1),
            candidates: if limited { self.candidates.len() as u64 } else { 0 },
        })
    }

    /// Messages of the organization's rooms, and some of other rooms.
    fn sample(&self, random: &mut fastrand::Rng) -> Vec<(u64, MessageId, bool)> {
        let chosen = |message: &&(u64, MessageId, bool)| self.rooms.contains(&message.0) || random.u8(0..40) == 0;
        self.chat.messages.iter().filter(chosen).copied().collect()
    }
}

async fn explained(
    rig: &Rig,
    organization: u64,
    message: MessageId,
    room: Option<u64>,
    in_force: Policy,
    at: Timestamp,
) -> MessageExplanation {
    let (id, room) = (OrganizationId::from_bits(organization), room.map(RoomId::from_bits));
    explain_message(&rig.open.ports, id, message, room, in_force, at).await.expect("an explanation")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_a_sample_is_explained_as_brute_force_finds_it() {
    for seed in [81, 82] {
        let rig = Rig::new(seed, 12).await;
        rig.whole_run("daily").await;
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut hidden, mut visible) = (0, 0);
        for (organization, _) in &rig.place.chat.organizations {
            let truth = Truth::new(&rig.place.chat, *organization, policy());
            for message in truth.sample(&mut random) {
                for room in [None, Some(message.0)] {
                    let found = explained(&rig, *organization, message.1, room, policy(), rig.as_of).await;
                    let expected = truth.finding(message, room.is_some());
                    assert_eq!(found.finding, expected, "organization {organization}, message {message:?}");
                    assert!(!found.is_stale() && !found.limit_differs(), "{found:?}");
                    if let Finding::Found(found) = expected {
                        visible += u32::from(found.visibility == Visibility::Visible);
                        hidden += u32::from(found.visibility == Visibility::HiddenByCount);
                    }
                }
            }
        }
        assert!(hidden > 50 && visible > 50, "seed {seed} tests little: {hidden} hidden, {visible} visible");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_limit_that_says_something_else_than_a_computation_is_called_stale() {
    let rig = Rig::new(83, 14).await;
    rig.whole_run("daily").await;
    let other = Policy::new(9, policy().max_age_ms).expect("a policy");
    let mut stale = 0;
    for (organization, _) in rig.place.chat.organizations.iter().filter(|(_, paid)| !paid) {
        let stored = Truth::new(&rig.place.chat, *organization, policy());
        let fresh = Truth::new(&rig.place.chat, *organization, other);
        for id in &stored.candidates {
            let found = explained(&rig, *organization, *id, None, other, rig.as_of).await;
            assert_eq!(found.policy, policy(), "the row's policy is applied");
            assert_eq!(found.is_stale(), stored.visibility(*id) != fresh.visibility(*id), "{found:?}");
            assert!(found.limit_differs());
            stale += u32::from(found.is_stale());
        }
    }
    assert!(stale > 20, "{stale}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_stored_limit_age_alone_decides_and_a_computation_says_what_it_would_hide() {
    let rig = Rig::new(84, 20).await;
    let (organization, _) =
        rig.oracle().into_iter().find(|(_, answer)| answer.first_visible.is_some()).expect("the count binds somewhere");
    let truth = Truth::new(&rig.place.chat, organization, policy());
    let oldest = *truth.candidates.last().expect("a candidate");
    let found = explained(&rig, organization, oldest, None, policy(), rig.as_of).await;
    let Finding::Found(place) = &found.finding else { panic!("{found:?}") };
    assert_eq!(place.visibility, Visibility::Visible);
    assert_eq!(place.rank, Some(truth.candidates.len() as u64));
    assert!(found.is_stale() && found.stored.is_none());
    // A limit that is for a later instant is no worse for that.
    rig.whole_run("daily").await;
    let earlier = rig.as_of.minus_millis(1);
    assert!(explained(&rig, organization, oldest, None, policy(), earlier).await.fresh.is_none());
    let nobody = explain_message(&rig.open.ports, OrganizationId::MAX, oldest, None, policy(), rig.as_of).await;
    assert!(matches!(nobody, Err(OperateError::UnknownOrganization(OrganizationId::MAX))));
}

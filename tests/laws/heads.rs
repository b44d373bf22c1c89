//! The laws of `Heads`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chat::{Day, Epoch, Head, Heads, MessageId, PortResult, RoomId};
use support::retry;

use crate::random;

/// An adapter under the laws, and how messages come about beside it.
#[async_trait]
pub(crate) trait Headed: Send + Sync {
    /// The adapter.
    fn port(&self) -> &dyn Heads;

    /// The epoch of the message ids.
    fn epoch(&self) -> Epoch;

    /// Writes messages in the way of the product, head first.
    async fn insert(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()>;
}

macro_rules! laws {
    ($adapter:ident, $make:expr) => {
        mod $adapter {
            use super::*;
            $crate::tests_of!(
                heads,
                $make,
                [
                    an_unknown_room_answers_unknown,
                    raising_is_idempotent_never_lowers_and_commutes,
                    heads_stand_in_the_order_of_the_question,
                    a_head_never_understates_the_newest_id,
                ]
            );
        }
    };
}
pub(crate) use laws;

fn room(number: u64) -> RoomId {
    RoomId::from_bits(number)
}

async fn raise(store: &dyn Headed, days: &[(RoomId, Day)]) {
    retry(|| store.port().raise(days)).await;
}

async fn of(store: &dyn Headed, rooms: &[RoomId]) -> Vec<Head> {
    retry(|| store.port().of(rooms)).await
}

/// A room that was never raised is unknown, which counts as the newest.
pub(crate) async fn an_unknown_room_answers_unknown<H: Headed>(make: impl Fn() -> H) {
    let store = make();
    raise(&store, &[(room(5), Day(0))]).await;
    let expected = [Head::Unknown, Head::Day(Day(0)), Head::Unknown, Head::Unknown];
    assert_eq!(of(&store, &[room(4), room(5), room(6), RoomId::MAX]).await, expected);
    assert_eq!(of(&store, &[]).await, []);
}

/// Whatever is raised how often, in whatever order and batches: the head is the highest day.
pub(crate) async fn raising_is_idempotent_never_lowers_and_commutes<H: Headed>(make: impl Fn() -> H) {
    for mut random in random::cases(5) {
        let store = make();
        let mut model: BTreeMap<RoomId, Day> = BTreeMap::new();
        for _ in 0..10 {
            let day = |random: &mut fastrand::Rng| (room(random.u64(0..8)), Day(random.u32(0..100)));
            let days: Vec<_> = (0..random.usize(0..20)).map(|_| day(&mut random)).collect();
            for (room, day) in &days {
                let highest = model.entry(*room).or_insert(*day);
                *highest = (*highest).max(*day);
            }
            raise(&store, &days).await;
            if random.bool() {
                raise(&store, &days).await;
            }
            let rooms: Vec<RoomId> = model.keys().copied().collect();
            assert!(of(&store, &rooms).await.into_iter().eq(model.values().map(|day| Head::Day(*day))));
        }
    }
}

/// Answers stand in the order of the question, repeats included.
pub(crate) async fn heads_stand_in_the_order_of_the_question<H: Headed>(make: impl Fn() -> H) {
    let store = make();
    let days: Vec<_> = (0..300).map(|number| (room(number * 7), Day(number as u32))).collect();
    raise(&store, &days).await;
    let asked: Vec<u64> = (0..300).rev().chain([3, 3, 299]).collect();
    let rooms: Vec<RoomId> = asked.iter().map(|number| room(number * 7)).collect();
    let expected = asked.iter().map(|number| Head::Day(Day(*number as u32)));
    assert!(of(&store, &rooms).await.into_iter().eq(expected));
}

/// Every written id is below what the head says.
pub(crate) async fn a_head_never_understates_the_newest_id<H: Headed>(make: impl Fn() -> H) {
    for mut random in random::cases(5) {
        let store = make();
        let mut newest = MessageId::from_bits(0);
        for _ in 0..20 {
            let ids: Vec<MessageId> =
                (0..random.usize(1..5)).map(|_| MessageId::from_bits(random.u64(..) >> 9)).collect();
            newest = newest.max(ids.iter().max().copied().expect("an id"));
            retry(|| store.insert(room(9), &ids)).await;
            let head = of(&store, &[room(9)]).await[0];
            assert!(newest < head.below(store.epoch()), "{head:?} understates {newest}");
        }
    }
}

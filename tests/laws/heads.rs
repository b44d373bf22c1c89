//! The laws of `Heads`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chat::{Day, Epoch, Head, Heads, MessageId, RoomId};
use support::retry;

use crate::live_ids::MessageWriter;
use crate::random;
use crate::suite::{Adapter, Prepared, laws};

type Store = Prepared<dyn Heads, dyn MessageWriter>;
type Subject = Adapter<Store>;

laws! {
    heads;
    every:
        an_older_message_does_not_lower_a_head,
        of_raises_at_once_the_highest_day_stays,
        an_unknown_room_answers_unknown,
        raising_is_idempotent_never_lowers_and_commutes,
        heads_stand_in_the_order_of_the_question,
        a_head_never_understates_the_newest_id;
}

fn room(number: u64) -> RoomId {
    RoomId::from_bits(number)
}

async fn raise(store: &Store, days: &[(RoomId, Day)]) {
    retry(|| store.port.raise(days)).await;
}

async fn of(store: &Store, rooms: &[RoomId]) -> Vec<Head> {
    retry(|| store.port.of(rooms)).await
}

/// A room that was never raised is unknown, which counts as the newest.
async fn an_unknown_room_answers_unknown(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    raise(&store, &[(room(5), Day(0))]).await;
    let expected = [Head::Unknown, Head::Day(Day(0)), Head::Unknown, Head::Unknown];
    assert_eq!(of(&store, &[room(4), room(5), room(6), RoomId::MAX]).await, expected);
    assert_eq!(of(&store, &[]).await, []);
}

/// Whatever is raised how often, in whatever order and batches: the head is the highest day.
async fn raising_is_idempotent_never_lowers_and_commutes(adapter: &Subject) {
    for mut random in random::cases(5) {
        let (_folder, store) = adapter.fresh().await;
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
async fn heads_stand_in_the_order_of_the_question(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let days: Vec<_> = (0..300).map(|number| (room(number * 7), Day(number as u32))).collect();
    raise(&store, &days).await;
    let asked: Vec<u64> = (0..300).rev().chain([3, 3, 299]).collect();
    let rooms: Vec<RoomId> = asked.iter().map(|number| room(number * 7)).collect();
    let expected = asked.iter().map(|number| Head::Day(Day(*number as u32)));
    assert!(of(&store, &rooms).await.into_iter().eq(expected));
}

/// Every written id is below what the head says.
async fn a_head_never_understates_the_newest_id(adapter: &Subject) {
    for mut random in random::cases(5) {
        let (_folder, store) = adapter.fresh().await;
        let mut newest = MessageId::from_bits(0);
        for _ in 0..20 {
            let ids: Vec<MessageId> =
                (0..random.usize(1..5)).map(|_| MessageId::from_bits(random.u64(..) >> 9)).collect();
            newest = newest.max(ids.iter().max().copied().expect("an id"));
            retry(|| store.writer.insert(room(9), &ids)).await;
            let head = of(&store, &[room(9)]).await[0];
            assert!(newest < head.below(Epoch::default()), "{head:?} understates {newest}");
        }
    }
}

/// A message of an earlier day leaves the head where it is.
async fn an_older_message_does_not_lower_a_head(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    raise(&store, &[(room(9), Day(20_000))]).await;
    let old = [MessageId::from_bits(5)];
    retry(|| store.writer.insert(room(9), &old)).await;
    assert_eq!(of(&store, &[room(9)]).await, [Head::Day(Day(20_000))]);
}

/// Raising commutes also when it happens at the same time.
async fn of_raises_at_once_the_highest_day_stays(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let store = Arc::new(store);
    for round in 0..10 {
        let raises = (1..=8).map(|day| {
            let store = store.clone();
            tokio::spawn(async move { raise(&store, &[(room(round), Day(day))]).await })
        });
        for raised in raises.collect::<Vec<_>>() {
            raised.await.expect("raised");
        }
        assert_eq!(of(&store, &[room(round)]).await, [Head::Day(Day(8))]);
    }
}

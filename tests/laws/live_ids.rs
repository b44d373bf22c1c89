//! The laws of `LiveIds`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chat::{LiveIds, MessageId, PageRequest, Pages, PortResult, RoomId};
use support::retry;

use crate::random;
use crate::suite::{Adapter, Prepared, laws};

/// How messages come about. Each change can be read when it returns. Ids count from [`Epoch::default`](chat::Epoch).
#[async_trait]
pub(crate) trait MessageWriter: Send + Sync {
    /// Writes messages in the way of the product: first the head of the room, then the messages.
    async fn insert(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()>;

    /// Deletes messages.
    async fn delete(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()>;
}

type Store = Prepared<dyn LiveIds, dyn MessageWriter>;
type Subject = Adapter<Store>;

laws! {
    live_ids;
    every:
        an_empty_or_short_page_is_not_the_end,
        a_page_holds_live_ids_within_its_bounds_newest_first,
        following_the_resume_points_yields_every_id_once,
        a_deleted_id_never_comes_back,
        pages_stand_in_the_order_of_the_requests,
        an_empty_range_has_no_ids,
        many_tasks_read_at_once;
}

const ROOMS: u64 = 5;
/// Ids are drawn below this.
const TOP: u64 = 4_000 << MessageId::MILLIS_SHIFT;

fn id(bits: u64) -> MessageId {
    MessageId::from_bits(bits)
}

fn room(number: u64) -> RoomId {
    RoomId::from_bits(number)
}

fn everything(room: RoomId) -> PageRequest {
    PageRequest { room, below: MessageId::MAX, at_least: id(0), limit: 1_000 }
}

async fn pages(store: &Store, requests: &[PageRequest]) -> Pages {
    let pages = retry(|| store.port.newest(requests)).await;
    assert_eq!(pages.len(), requests.len(), "a page for each request");
    pages
}

/// Follows the resume points of one request to the end.
async fn follow(store: &Store, mut request: PageRequest) -> Vec<MessageId> {
    let mut all = Vec::new();
    // Each page but the empty ones brings an id, and an empty one is at most every other here.
    for _ in 0..20_000 {
        let pages = pages(store, &[request]).await;
        let (ids, resume_below) = pages.page(0);
        assert!(ids.len() <= request.limit, "at most {} ids, not {}", request.limit, ids.len());
        all.extend_from_slice(ids);
        let Some(below) = resume_below else { return all };
        assert!(below < request.below, "the resume point falls with every page");
        assert!(ids.last().is_none_or(|last| below <= *last), "the next page starts after the last id");
        request.below = below;
    }
    panic!("no end after 20,000 pages");
}

/// Writes some ids and deletes a few; answers what is live.
async fn filled(store: &Store, random: &mut fastrand::Rng) -> BTreeMap<RoomId, BTreeSet<MessageId>> {
    let mut live = BTreeMap::new();
    for number in 0..ROOMS {
        let ids: Vec<MessageId> = (0..random.usize(1..900)).map(|_| id(random.u64(0..TOP))).collect();
        let deleted = &ids[..ids.len() / 10];
        retry(|| store.writer.insert(room(number), &ids)).await;
        retry(|| store.writer.delete(room(number), deleted)).await;
        live.insert(room(number), ids.iter().filter(|id| !deleted.contains(id)).copied().collect());
    }
    live
}

fn request(random: &mut fastrand::Rng) -> PageRequest {
    let (a, b) = (id(random.u64(0..TOP)), id(random.u64(0..TOP)));
    PageRequest { room: room(random.u64(0..ROOMS)), below: a.max(b), at_least: a.min(b), limit: 1 << random.u32(0..11) }
}

/// A page holds distinct live ids of its room within the bounds, newest first, none left out in between.
async fn a_page_holds_live_ids_within_its_bounds_newest_first(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let live = filled(&store, &mut random).await;
        for _ in 0..60 {
            let request = request(&mut random);
            let pages = pages(&store, &[request]).await;
            let (ids, resume_below) = pages.page(0);
            let expected = live[&request.room].range(request.at_least..request.below).rev();
            assert!(ids.len() <= request.limit);
            assert!(ids.iter().eq(expected.clone().take(ids.len())), "{request:?}");
            assert!(resume_below.is_some() || ids.len() == expected.count(), "{request:?} ended too early");
        }
    }
}

/// Following `resume_below` until there is none yields every id exactly once, whatever the size of the pages.
async fn following_the_resume_points_yields_every_id_once(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let live = filled(&store, &mut random).await;
        for _ in 0..20 {
            let request = request(&mut random);
            let expected = live[&request.room].range(request.at_least..request.below).rev().copied();
            assert!(follow(&store, request).await.into_iter().eq(expected), "{request:?}");
        }
    }
}

/// A tombstone holds for ever: against a second insertion, and for an id that comes after its own deletion.
async fn a_deleted_id_never_comes_back(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let ids: Vec<MessageId> = (1..=500).map(|ms| id(ms << MessageId::MILLIS_SHIFT)).collect();
    retry(|| store.writer.insert(room(1), &ids[..400])).await;
    retry(|| store.writer.delete(room(1), &ids[200..500])).await;
    let expected: Vec<MessageId> = ids[..200].iter().rev().copied().collect();
    assert_eq!(follow(&store, everything(room(1))).await, expected, "right after the deletion");
    retry(|| store.writer.insert(room(1), &ids)).await;
    assert_eq!(follow(&store, everything(room(1))).await, expected, "after they were written again");
}

/// One page for each request in the order of the requests, also when a room is asked for twice or is unknown.
async fn pages_stand_in_the_order_of_the_requests(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let live = filled(&store, &mut random).await;
        let requests: Vec<PageRequest> =
            (0..200).map(|_| PageRequest { room: room(random.u64(0..2 * ROOMS)), ..request(&mut random) }).collect();
        let pages = pages(&store, &requests).await;
        for (index, request) in requests.iter().enumerate() {
            let (ids, _) = pages.page(index);
            let expected = live.get(&request.room).into_iter().flatten().rev();
            let expected = expected.filter(|id| (request.at_least..request.below).contains(id)).take(ids.len());
            assert!(ids.iter().eq(expected), "page {index}: {request:?}");
        }
    }
}

/// Where nothing can be, nothing is found and nothing fails.
async fn an_empty_range_has_no_ids(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let ids = [id(10), id(20), MessageId::MAX];
    retry(|| store.writer.insert(room(3), &ids)).await;
    for (number, at_least, below) in
        [(2, 0, 99), (4, 0, 99), (3, 11, 20), (3, 0, 10), (3, 0, 0), (3, 20, 10), (3, 21, 99)]
    {
        let request = PageRequest { at_least: id(at_least), below: id(below), ..everything(room(number)) };
        assert_eq!(follow(&store, request).await, [], "{request:?}");
    }
    let just_one = PageRequest { at_least: id(20), below: id(21), ..everything(room(3)) };
    assert_eq!(follow(&store, just_one).await, [id(20)]);
    assert!(pages(&store, &[]).await.is_empty());
}

/// Readers do not disturb each other or a writer, and each sees whole commits only.
async fn many_tasks_read_at_once(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let store = std::sync::Arc::new(store);
    let written = |batch: u64| (0..10).map(move |low| id((batch * 10 + low) << 20)).collect::<Vec<_>>();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut seen = 0;
                while seen < 50 * 10 {
                    let ids = follow(&store, everything(room(1))).await;
                    assert!(ids.len() >= seen && ids.len() % 10 == 0, "{} after {seen}", ids.len());
                    seen = ids.len();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for batch in 0..50 {
        let ids = written(batch);
        retry(|| store.writer.insert(room(1), &ids)).await;
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.expect("a reader");
    }
}

/// However much was deleted above them: the ids that are left are found, for the room goes on until it says that it ends.
async fn an_empty_or_short_page_is_not_the_end(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let ids: Vec<MessageId> = (1..=6_000).map(|ms| id(ms << MessageId::MILLIS_SHIFT)).collect();
    retry(|| store.writer.insert(room(1), &ids)).await;
    // Left are a few in the lower half and none above.
    let (left, deleted): (Vec<_>, Vec<_>) = ids.iter().enumerate().partition(|(n, _)| *n < 3_000 && n % 50 == 0);
    let deleted: Vec<MessageId> = deleted.into_iter().map(|(_, id)| *id).collect();
    retry(|| store.writer.delete(room(1), &deleted)).await;
    let expected: Vec<MessageId> = left.into_iter().rev().map(|(_, id)| *id).collect();
    for limit in [1, 2, 3, 1_000] {
        let request = PageRequest { limit, ..everything(room(1)) };
        assert_eq!(follow(&store, request).await, expected, "in pages of {limit}");
    }
}

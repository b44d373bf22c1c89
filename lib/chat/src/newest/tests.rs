//! Merge = threshold select = plain sort, whatever the pages look like.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::executor::block_on;

use super::*;
use crate::{Day, PageRequest, Pages};

/// Low bits of ids that are written while others read.
const LATE: u64 = 0x1000;
const EPOCH: Epoch = Epoch(Timestamp::from_millis(0));

/// Rooms in memory whose pages are as awkward as the port's laws allow.
struct AwkwardRooms {
    access: Access,
    /// The ids still there, by room.
    rooms: Mutex<Vec<BTreeSet<u64>>>,
    /// The oldest id each room has answered so far: what was read stays read.
    read_down_to: Mutex<Vec<u64>>,
    random: Mutex<fastrand::Rng>,
    /// Percent of the pages that are empty or short.
    awkward: u32,
    /// Percent of the calls after which something changes below what was read: an id is deleted, or one is written (a read
    /// that lagged behind catches up).
    changing: u32,
}

#[async_trait]
impl LiveIds for AwkwardRooms {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        let mut random = self.random.lock().expect("random");
        let mut rooms = self.rooms.lock().expect("rooms");
        let mut read = self.read_down_to.lock().expect("read");
        let mut pages = Pages::default();
        for request in requests {
            assert!(request.limit > 0, "a page of nothing was asked for");
            let index = request.room.get() as usize;
            let range = request.at_least.get()..request.below.get().max(request.at_least.get());
            let newest = rooms[index].range(range.clone()).next_back().copied();
            let awkward = random.u32(0..100) < self.awkward;
            // A page must get somewhere: it can be empty only while there is a gap above the newest id.
            let at_least_one = usize::from(newest.is_some_and(|id| id + 1 == range.end));
            let limit = if awkward { random.usize(at_least_one..=request.limit.min(3)) } else { request.limit };
            let ids: Vec<u64> = rooms[index].range(range.clone()).rev().take(limit).copied().collect();
            let last = ids.last().copied().or(newest.map(|id| id + 1)).unwrap_or(range.start);
            let more = rooms[index].range(range.start..last.max(range.start)).next().is_some();
            pages.ids_mut().extend(ids.iter().map(|id| MessageId::from_bits(*id)));
            // Saying that a room goes on when it does not is allowed, too: the next page is empty and the last.
            let goes_on = more || (awkward && last > range.start);
            read[index] = read[index].min(if goes_on { last } else { range.start });
            pages.end_page(goes_on.then(|| MessageId::from_bits(last)));
        }
        if random.u32(0..100) < self.changing && !rooms.is_empty() {
            let index = random.usize(0..rooms.len());
            let unread = rooms[index].range(..read[index]).next_back().copied();
            match unread {
                Some(id) if random.bool() => {
                    rooms[index].remove(&id);
                }
                // Ids are unique over all rooms: the low bits of the late ones are used by nobody else.
                Some(id) if (id | LATE) + (index as u64) < read[index] => {
                    rooms[index].insert((id | LATE) + index as u64);
                }
                _ => {}
            }
        }
        Ok(pages)
    }

    fn access(&self) -> Access {
        self.access
    }
}

struct Case {
    rooms: Vec<BTreeSet<u64>>,
    heads: Vec<Room>,
    policy: Policy,
    as_of: Timestamp,
}

/// A case with small numbers, so that edges, equal bounds and empty rooms are common.
fn case(random: &mut fastrand::Rng) -> Case {
    let span_ms = random.u64(1..400);
    let mut rooms = vec![BTreeSet::new(); random.usize(0..12)];
    let mut used = BTreeSet::new();
    for _ in 0..random.usize(0..300) {
        let id = (random.u64(0..span_ms) << 22) | random.u64(0..3);
        if !rooms.is_empty() && used.insert(id) {
            let room = random.usize(0..rooms.len());
            rooms[room].insert(id);
        }
    }
    let heads = rooms.iter().enumerate().map(|(index, ids)| {
        let head = match ids.last() {
            Some(_) if random.bool() => Head::Day(Day(random.u32(0..3))),
            _ => Head::Unknown,
        };
        Room::new(RoomId::from_bits(index as u64), head, EPOCH)
    });
    let heads = heads.collect();
    let max_age_ms = random.bool().then(|| random.u64(0..span_ms + 10));
    let policy = Policy::new(random.u32(1..60), max_age_ms).expect("a policy");
    Case { rooms, heads, policy, as_of: Timestamp::from_millis(random.u64(0..span_ms + 20)) }
}

fn oracle(rooms: &[BTreeSet<u64>], policy: &Policy, as_of: Timestamp) -> Newest {
    let window = Window::at(as_of, policy, EPOCH);
    let mut ids: Vec<u64> =
        rooms.iter().flatten().copied().filter(|id| (window.from.get()..window.below.get()).contains(id)).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    let visible = ids.len().min(policy.n());
    Newest {
        visible_messages: visible as u32,
        first_visible_message_id: (ids.len() > visible).then(|| MessageId::from_bits(ids[visible - 1])),
        oldest_visible_message_id: ids[..visible].last().map(|id| MessageId::from_bits(*id)),
        ..Newest::default()
    }
}

fn answer_only(newest: Newest) -> Newest {
    Newest { rooms_opened: 0, messages_read: 0, ..newest }
}

fn accesses(random: &mut fastrand::Rng) -> [Access; 2] {
    [Access::Local, Access::RoundTrip { first_page: random.usize(1..40), in_flight: random.usize(1..5) }]
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// 5,000 organizations; `LANNER_CASES` and `LANNER_SEED` say otherwise.
#[test]
fn merge_and_select_equal_a_plain_sort() {
    let seed = setting("LANNER_SEED", 20_261_122);
    for number in 0..setting("LANNER_CASES", 5_000) {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(number));
        let Case { rooms, heads, policy, as_of } = case(&mut random);
        for access in accesses(&mut random) {
            let read_down_to = Mutex::new(vec![u64::MAX; rooms.len()]);
            let changing = if random.bool() { 30 } else { 0 };
            let store = AwkwardRooms {
                access,
                rooms: Mutex::new(rooms.clone()),
                read_down_to,
                random: Mutex::new(random.fork()),
                awkward: random.u32(0..60),
                changing,
            };
            let found = block_on(newest(&store, &heads, &policy, as_of, EPOCH)).expect("an answer");
            // Heads that understate hide messages; the oracle must not see those either.
            let left = store.rooms.lock().expect("rooms");
            let expected = oracle(&left, &policy, as_of);
            assert_eq!(
                answer_only(found),
                expected,
                "LANNER_SEED={} LANNER_CASES=1, {access:?}",
                seed.wrapping_add(number)
            );
        }
    }
}

fn one_room(ids: impl IntoIterator<Item = u64>, access: Access) -> AwkwardRooms {
    AwkwardRooms {
        access,
        rooms: Mutex::new(vec![ids.into_iter().collect()]),
        read_down_to: Mutex::new(vec![u64::MAX]),
        random: Mutex::new(fastrand::Rng::with_seed(1)),
        awkward: 0,
        changing: 0,
    }
}

fn ask(store: &AwkwardRooms, n: u32) -> Newest {
    let policy = Policy::new(n, None).expect("a policy");
    let rooms = [Room::new(RoomId::from_bits(0), Head::Unknown, EPOCH)];
    block_on(newest(store, &rooms, &policy, Timestamp::MAX, EPOCH)).expect("an answer")
}

#[test]
fn exactly_n_candidates_have_no_boundary_and_one_more_has() {
    for access in [Access::Local, Access::RoundTrip { first_page: 2, in_flight: 1 }] {
        let exact = ask(&one_room(1..=5, access), 5);
        assert_eq!((exact.visible_messages, exact.first_visible_message_id), (5, None));
        assert_eq!(exact.oldest_visible_message_id, Some(MessageId::from_bits(1)));
        let more = ask(&one_room(1..=6, access), 5);
        assert_eq!((more.visible_messages, more.first_visible_message_id), (5, Some(MessageId::from_bits(2))));
    }
}

#[test]
fn the_merge_reads_no_more_than_it_promises() {
    let store = AwkwardRooms {
        access: Access::RoundTrip { first_page: 4, in_flight: 1 },
        rooms: Mutex::new((0..50_u64).map(|room| (0..100).map(|i| i * 50 + room).collect()).collect()),
        read_down_to: Mutex::new(vec![u64::MAX; 50]),
        random: Mutex::new(fastrand::Rng::with_seed(1)),
        awkward: 0,
        changing: 0,
    };
    // Rooms 10 and above have been quiet since before the newest messages.
    let rooms: Vec<Room> = (0..50)
        .map(|room| Room {
            id: RoomId::from_bits(room),
            below: MessageId::from_bits(if room < 10 { 5_000 } else { 1_000 }),
        })
        .collect();
    let policy = Policy::new(20, None).expect("a policy");
    let found = block_on(newest(&store, &rooms, &policy, Timestamp::MAX, EPOCH)).expect("an answer");
    assert_eq!(found.rooms_opened, 10, "quiet rooms were opened");
    assert!(found.messages_read <= 21 + 10 * 4, "{} ids read", found.messages_read);
}

#[test]
fn a_store_that_answers_out_of_order_is_refused_instead_of_believed() {
    struct Upside;
    #[async_trait]
    impl LiveIds for Upside {
        async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
            let mut pages = Pages::default();
            for _ in requests {
                pages.ids_mut().extend([1, 2].map(MessageId::from_bits));
                pages.end_page(None);
            }
            Ok(pages)
        }
        fn access(&self) -> Access {
            Access::Local
        }
    }
    let rooms = [Room::new(RoomId::from_bits(0), Head::Unknown, EPOCH)];
    let found = block_on(newest(&Upside, &rooms, &Policy::new(5, None).expect("a policy"), Timestamp::MAX, EPOCH));
    assert!(matches!(found, Err(PortError::Corrupt { .. })));
}

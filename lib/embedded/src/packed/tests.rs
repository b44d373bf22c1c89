//! The index against a model of two sets a room, and what several handles and processes see of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use chat::{Day, Epoch, Head, MessageId, PageRequest, RoomId};

use super::{PackedIndex, cases};
use crate::lmdb::MapSize;

#[derive(Default)]
struct Room {
    live: BTreeSet<MessageId>,
    tombstones: BTreeSet<MessageId>,
}

impl Room {
    fn apply(&mut self, live: &[MessageId], tombstones: &[MessageId]) {
        self.tombstones.extend(tombstones);
        self.live.extend(live);
        self.live.retain(|id| !self.tombstones.contains(id));
    }
}

fn open(dir: &Path) -> PackedIndex {
    PackedIndex::open(dir, MapSize::default(), Epoch::default()).expect("open")
}

fn room(room: u64) -> RoomId {
    RoomId::from_bits(room)
}

fn id(id: u64) -> MessageId {
    MessageId::from_bits(id)
}

fn all(index: &PackedIndex, room: RoomId) -> Vec<MessageId> {
    let request = PageRequest { room, below: MessageId::MAX, at_least: id(0), limit: usize::MAX };
    index.pages(&[request]).expect("pages").ids().to_vec()
}

/// Up to `most` ids of a small range, so that sequences of edits meet the same ids again.
fn few_ids(random: &mut fastrand::Rng, most: usize) -> Vec<MessageId> {
    let start = random.u64(0..4_000);
    let ids = (0..random.usize(0..=most)).map(|_| start + random.u64(0..3_000));
    ids.map(|low| id((low / 3) << MessageId::MILLIS_SHIFT | (low % 3) << 12 | (low % 2))).collect()
}

#[test]
fn any_sequence_of_insertions_deletions_and_loads_equals_two_sets() {
    cases::each(25, |random| {
        let dir = tempfile::tempdir().expect("a directory");
        let index = open(dir.path());
        let mut model: BTreeMap<RoomId, Room> = BTreeMap::new();
        for _ in 0..12 {
            let some_room = room(random.u64(0..4));
            let ids = few_ids(random, 2_500);
            match random.u8(0..4) {
                0 => {
                    index.delete(some_room, &ids).expect("delete");
                    model.entry(some_room).or_default().apply(&[], &ids);
                }
                1 => {
                    index.insert(some_room, &ids).expect("insert");
                    model.entry(some_room).or_default().apply(&ids, &[]);
                }
                2 => {
                    let newest = [ids.iter().max().copied().unwrap_or(id(0)).next()];
                    index.insert(some_room, &newest).expect("insert");
                    model.entry(some_room).or_default().apply(&newest, &[]);
                }
                _ => {
                    let mut loader = index.loader("test").expect("loader");
                    for number in 0..random.u64(1..6) {
                        let (mut live, mut dead) = (few_ids(random, 2_500), few_ids(random, 40));
                        live.sort();
                        dead.sort();
                        loader.add(room(number), &live, &dead).expect("add");
                        model.entry(room(number)).or_default().apply(&live, &dead);
                    }
                    loader.finish().expect("finish");
                }
            }
        }
        for (some_room, expected) in &model {
            assert!(all(&index, *some_room).into_iter().eq(expected.live.iter().rev().copied()), "room {some_room}");
            pages_equal_a_filter(&index, *some_room, &expected.live, random);
        }
        let counts = index.counts().expect("counts");
        assert_eq!(counts.live_ids as usize, model.values().map(|room| room.live.len()).sum::<usize>());
        assert_eq!(counts.tombstones as usize, model.values().map(|room| room.tombstones.len()).sum::<usize>());
    });
}

fn pages_equal_a_filter(index: &PackedIndex, room: RoomId, live: &BTreeSet<MessageId>, random: &mut fastrand::Rng) {
    for _ in 0..20 {
        let mut bound = || id(random.u64(0..2_400 << MessageId::MILLIS_SHIFT));
        let (a, b) = (bound(), bound());
        let request = PageRequest { room, below: a.max(b), at_least: a.min(b), limit: random.usize(1..2_000) };
        let pages = index.pages(&[request]).expect("pages");
        let (ids, resume_below) = pages.page(0);
        let expected: Vec<MessageId> =
            live.range(request.at_least..request.below).rev().take(request.limit).copied().collect();
        assert_eq!(ids, expected, "{request:?}");
        let left = live.range(request.at_least..request.below).count() - ids.len();
        assert!(left == 0 || resume_below == ids.last().copied(), "{request:?} ended before its end");
    }
}

#[test]
fn heads_are_raised_by_what_is_added_and_never_understate() {
    let dir = tempfile::tempdir().expect("a directory");
    let index = open(dir.path());
    let day = |day: u64| index.epoch().first_id(Day((19_723 + day) as u32).end()).previous().expect("an id");
    index.insert(room(1), &[day(3), day(9), day(4)]).expect("insert");
    index.delete(room(1), &[day(9)]).expect("delete");
    let mut loader = index.loader("heads").expect("loader");
    loader.add(room(1), &[day(8)], &[]).expect("add");
    loader.add(room(2), &[day(5)], &[day(7)]).expect("add");
    loader.add(room(3), &[], &[]).expect("add");
    loader.finish().expect("finish");
    let heads = index.heads_of(&[room(3), room(2), room(1), room(4)]).expect("heads");
    let day = |day: u32| Head::Day(Day(19_723 + day));
    assert_eq!(heads, [Head::Day(Day(0)), day(5), day(9), Head::Unknown]);
}

#[test]
fn loading_the_same_again_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let index = open(dir.path());
    let load = || {
        let mut loader = index.loader("again").expect("loader");
        for number in 0..50 {
            let live: Vec<MessageId> = (0..number * 20).map(|low| id(low << 30)).collect();
            loader.add(room(number), &live, &live[..live.len() / 9]).expect("add");
        }
        loader.finish().expect("finish")
    };
    let first = load();
    let before = (index.counts().expect("counts"), all(&index, room(40)));
    let second = load();
    assert_eq!((first.changed_rooms, second.changed_rooms), (49, 0));
    assert_eq!(before, (index.counts().expect("counts"), all(&index, room(40))));
}

#[test]
fn an_interrupted_load_goes_on_behind_its_last_commit() {
    let dir = tempfile::tempdir().expect("a directory");
    let index = open(dir.path());
    let ids: Vec<MessageId> = (0..300_000).map(|low| id(low << 24)).collect();
    let mut loader = index.loader("source").expect("loader");
    assert_eq!(loader.resume_point(), None);
    for number in 1..=5 {
        loader.add(room(number), &ids, &[]).expect("add");
    }
    drop(loader);
    assert_eq!(index.loader("another source").expect("loader").resume_point(), None);
    let mut loader = index.loader("source").expect("loader");
    assert_eq!(loader.resume_point(), Some(room(4)));
    assert_eq!(loader.add(room(4), &ids, &[]).expect_err("done already").class(), "refused");
    loader.add(room(5), &ids, &[]).expect("add");
    loader.finish().expect("finish");
    assert_eq!(index.loader("source").expect("loader").resume_point(), None);
    assert_eq!(index.counts().expect("counts").live_ids, 1_500_000);
}

#[test]
fn what_is_out_of_order_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let index = open(dir.path());
    let mut loader = index.loader("disorder").expect("loader");
    loader.add(room(7), &[id(1), id(1), id(2)], &[]).expect("repeats are fine");
    assert_eq!(loader.add(room(7), &[], &[]).expect_err("the same room").class(), "refused");
    assert_eq!(loader.add(room(8), &[id(2), id(1)], &[]).expect_err("descending").class(), "refused");
    assert_eq!(index.loader(&"x".repeat(401)).err().expect("too long").class(), "refused");
}

#[test]
fn another_epoch_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(open(dir.path()));
    let other = Epoch(chat::Timestamp::from_millis(1));
    let error = PackedIndex::open(dir.path(), MapSize::default(), other).err().expect("refused");
    assert_eq!(error.class(), "refused", "{error}");
}

#[test]
fn two_handles_on_one_directory_see_each_others_commits() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, other) = (open(dir.path()), open(dir.path()));
    one.insert(room(1), &[id(5)]).expect("insert");
    assert_eq!(all(&other, room(1)), [id(5)]);
    other.delete(room(1), &[id(5)]).expect("delete");
    assert_eq!(all(&one, room(1)), []);
}

const CHILD_DIR: &str = "LANNER_TEST_CHILD_DIR";

/// Runs the test of that name in a process of its own.
fn child(test: &str, dir: &Path) -> bool {
    let program = std::env::current_exe().expect("the test program");
    let mut command = Command::new(program);
    command.args(["--exact", &format!("packed::tests::{test}")]).env(CHILD_DIR, dir);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("a child").success()
}

#[test]
fn what_a_killed_process_committed_is_there_and_is_seen_by_those_that_have_it_open() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        open(Path::new(&dir)).insert(room(2), &[id(7)]).expect("insert");
        std::process::abort();
    }
    let dir = tempfile::tempdir().expect("a directory");
    let index = open(dir.path());
    index.insert(room(2), &[id(6)]).expect("insert");
    let test = "what_a_killed_process_committed_is_there_and_is_seen_by_those_that_have_it_open";
    assert!(!child(test, dir.path()), "the child was to be killed");
    assert_eq!(all(&index, room(2)), [id(7), id(6)]);
    index.insert(room(2), &[id(8)]).expect("the writer's lock is free again");
}

//! `lanner replay --limits` over the embedded adapters: what is built from the log is what a plain sort of everything says, and
//! `follow-limits` goes on from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use chat::event::{Decoded, decode};
use chat::message::{Kept, MessageState, Posted};
use chat::{
    Access, Directory, Epoch, Expected, LiveIds, MessageChange, MessageId, MessageStore, OrganizationId, PageRequest,
    Pages, Plan, Policy, PortResult, Position, Timestamp,
};
use jobs::limits::follow_limits::replay::{Replay, ReplayError, Replayed, StartAt, replay};
use jobs::limits::follow_limits::{self, FollowPorts};
use jobs::messages::readable_record;
use support::{Faults, until};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use worker::log::{Appended, Bounds, LogLimits, LogRecord, Missing, Place, Polled};
use worker::supervisor::{Outcome, Tree};
use worker::{Lease, Log, LogConsumer, LogError, State};

use crate::follow_limits::{History, N, ORGANIZATIONS, settings};
use crate::message_path::MS;

const DAY: Duration = Duration::from_secs(86_400);
/// Of a history: 80 events, every six hours, up to now.
const EVENTS: u64 = 80;

/// What is older than ten days does not count. The edge lies between two events.
async fn twenty_days(seed: u64) -> History {
    written(seed, false).await
}

/// The same, told event by event, so that records of different rooms stand in the order of their times, too.
async fn twenty_days_in_order(seed: u64) -> History {
    written(seed, true).await
}

async fn written(seed: u64, in_order: bool) -> History {
    let policy = Policy::new(N as u32, Some(10 * 86_400_000)).expect("a policy");
    let mut history = History::of_long_ago(seed, policy, days_ago(20.125), DAY / 4).await;
    let _read_model = history.chat.read_model();
    for _ in 0..EVENTS {
        history.event().await;
        if in_order {
            until("the read model is built", async || history.chat.is_built().await).await;
        }
    }
    for id in ORGANIZATIONS.map(OrganizationId::from_bits) {
        history.chat.directory.set_plan(id, Plan::Free).await.expect("a plan");
    }
    until("the read model is built", async || history.chat.is_built().await).await;
    history
}

fn days_ago(days: f64) -> Timestamp {
    Timestamp::now().minus_millis((days * 86_400_000.0) as u64)
}

fn asked(from: StartAt) -> Replay {
    Replay { from, check: 100, is_dry_run: false, shards: 1, lease_lives_for: 60_000 * MS }
}

/// The log of what is readable with its records appended when their events happened, and without those below `first`.
struct Aged {
    inner: Arc<dyn Log>,
    first: BTreeMap<u32, u64>,
}

struct AgedConsumer(Box<dyn LogConsumer>);

#[async_trait]
impl Log for Aged {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn limits(&self) -> LogLimits {
        self.inner.limits()
    }

    async fn partitions(&self) -> Result<u32, LogError> {
        self.inner.partitions().await
    }

    async fn append(&self, records: Vec<LogRecord>) -> Result<Appended, LogError> {
        self.inner.append(records).await
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        let bounds = self.inner.bounds(partition).await?;
        Ok(Bounds { first: self.first.get(&partition).copied().unwrap_or(0).max(bounds.first), ..bounds })
    }

    async fn committed(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError> {
        self.inner.committed(group, partition).await
    }

    async fn join(&self, group: &str, missing: Missing) -> Result<Box<dyn LogConsumer>, LogError> {
        self.inner.join(group, missing).await
    }

    async fn follow(&self, from: &[Place]) -> Result<Box<dyn LogConsumer>, LogError> {
        for place in from {
            assert!(self.bounds(place.partition).await?.first <= place.offset, "{place:?} is not in the log any more");
        }
        Ok(Box::new(AgedConsumer(self.inner.follow(from).await?)))
    }
}

#[async_trait]
impl LogConsumer for AgedConsumer {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, LogError> {
        let mut polled = self.0.poll(max, wait).await?;
        for read in &mut polled.records {
            let record = &read.record;
            if let Decoded::Event(event) = decode(&record.key, &record.headers, &record.value) {
                read.appended_at = UNIX_EPOCH + Duration::from_millis(event.at.as_millis());
            }
        }
        Ok(polled)
    }

    fn pause(&mut self, partitions: &[u32]) {
        self.0.pause(partitions);
    }

    fn resume(&mut self, partitions: &[u32]) {
        self.0.resume(partitions);
    }

    async fn commit(&mut self, next: &[Place]) -> Result<(), LogError> {
        self.0.commit(next).await
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        self.0.close().await
    }
}

/// Counts how often the store is asked.
struct Counted {
    inner: Arc<dyn LiveIds>,
    calls: Arc<AtomicU64>,
}

#[async_trait]
impl LiveIds for Counted {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.newest(requests).await
    }

    fn access(&self) -> Access {
        self.inner.access()
    }
}

fn ports(history: &History, first: BTreeMap<u32, u64>) -> FollowPorts {
    let ports = history.chat.follow_ports(history.policy, &Faults::new(1, 0));
    FollowPorts { readable: Arc::new(Aged { inner: Arc::clone(&ports.readable), first }), ..ports }
}

async fn run(ports: &FollowPorts, asked: &Replay) -> Result<Replayed, ReplayError> {
    replay(ports, asked, &CancellationToken::new(), |done, total| assert!(done <= total)).await
}

/// Follows from what was saved until all limits are right; how often the store was asked for that.
async fn reads_of_following(history: &mut History) -> u64 {
    let ports = history.chat.follow_ports(history.policy, &Faults::new(1, 0));
    let calls = Arc::new(AtomicU64::new(0));
    let live_ids = Arc::new(Counted { inner: Arc::clone(&ports.live_ids), calls: Arc::clone(&calls) });
    let child = follow_limits::child(FollowPorts { live_ids, ..ports }, settings(0, 1));
    let tree = Tree::new("process", vec![child]).expect("a tree");
    let _following = AbortOnDropHandle::new(tokio::spawn(tree.run(CancellationToken::new())));
    history.check().await;
    // Whatever would be read is read by now.
    tokio::time::sleep(300 * MS).await;
    history.check().await;
    calls.load(Ordering::Relaxed)
}

/// All that is kept in small records of limits that are followed.
async fn records(history: &History) -> Vec<worker::Record> {
    let mut records = Vec::new();
    for family in ["follow-limits/", "follow-limits-set/", "follow-limits-place/"] {
        records.extend(history.chat.state.list(family, None, 100).await.expect("records"));
    }
    records
}

async fn bounds(log: &dyn Log) -> BTreeMap<u32, Bounds> {
    let mut bounds = BTreeMap::new();
    for partition in 0..log.partitions().await.expect("partitions") {
        bounds.insert(partition, log.bounds(partition).await.expect("bounds"));
    }
    bounds
}

/// The first offset of each partition whose record was appended at `time` or later.
async fn offsets_at(log: &dyn Log, time: Timestamp) -> BTreeMap<u32, u64> {
    let time = UNIX_EPOCH + Duration::from_millis(time.as_millis());
    let bounds = bounds(log).await;
    let from: Vec<Place> = bounds.iter().map(|(&partition, b)| Place { partition, offset: b.first }).collect();
    let mut offsets: BTreeMap<u32, u64> = bounds.iter().map(|(partition, bounds)| (*partition, bounds.next)).collect();
    let mut left: u64 = bounds.values().map(|bounds| bounds.next - bounds.first).sum();
    let mut follower = log.follow(&from).await.expect("a follower");
    while left > 0 {
        for read in follower.poll(1_000, 100 * MS).await.expect("a poll").records {
            left -= 1;
            if read.appended_at >= time {
                let offset = offsets.get_mut(&read.place.partition).expect("a partition");
                *offset = read.place.offset.min(*offset);
            }
        }
    }
    offsets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_from_the_beginning_all_limits_are_known_and_nothing_is_read_from_the_store() {
    for seed in 0..4 {
        let mut history = twenty_days(300 + seed).await;
        let _read_model = history.chat.read_model();
        let ports = ports(&history, BTreeMap::new());
        let replayed = run(&ports, &asked(StartAt::Beginning)).await.expect("replayed");
        let all: u64 = bounds(&*ports.readable).await.values().map(|bounds| bounds.next).sum();
        assert!(replayed.saved && replayed.records == all, "{replayed:?} of {all}");
        assert_eq!((replayed.organizations, replayed.to_read, replayed.complete_from), (2, 0, None));
        assert_eq!((replayed.checked.compared, replayed.checked.not_known), (2, 0));
        // What comes before somebody follows again is told to them.
        history.event().await;
        until("the read model is built", async || history.chat.is_built().await).await;
        let joins_read_at_most = 4;
        let reads = reads_of_following(&mut history).await;
        assert!(reads <= joins_read_at_most, "{reads} reads: seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_at_all_is_read_from_the_store_where_nothing_happened_since() {
    let mut history = twenty_days(310).await;
    run(&ports(&history, BTreeMap::new()), &asked(StartAt::Beginning)).await.expect("replayed");
    let _read_model = history.chat.read_model();
    assert_eq!(reads_of_following(&mut history).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_time_or_offsets_before_the_age_everything_is_known_and_from_later_ones_what_is_missing_is_read() {
    for seed in 0..3 {
        let mut history = twenty_days_in_order(320 + seed).await;
        let _read_model = history.chat.read_model();
        let ports = ports(&history, BTreeMap::new());
        let early = days_ago(11.0);
        let all: u64 = bounds(&*ports.readable).await.values().map(|bounds| bounds.next).sum();
        let offsets = offsets_at(&*ports.readable, early).await;
        let left: u64 = all - offsets.values().sum::<u64>();
        let by_time = run(&ports, &asked(StartAt::Time(early))).await.expect("replayed");
        assert_eq!((by_time.to_read, by_time.records), (0, left), "the records since {early}: {by_time:?}");
        assert_eq!(reads_of_following(&mut history).await, 0);
        tokio::time::sleep(700 * MS).await;
        let by_offsets = run(&ports, &asked(StartAt::Offsets(offsets))).await.expect("replayed");
        assert_eq!((by_offsets.to_read, by_offsets.records), (0, left), "{by_offsets:?}");
        assert_eq!(reads_of_following(&mut history).await, 0);
        tokio::time::sleep(700 * MS).await;
        // Two events at most: nobody has more than N since.
        let late = run(&ports, &asked(StartAt::Time(days_ago(0.4)))).await.expect("replayed");
        assert_eq!((late.to_read, late.organizations), (2, 2), "{late:?}");
        assert!(late.saved && late.records <= 3, "{late:?}");
        assert!(reads_of_following(&mut history).await > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_not_in_the_log_is_refused_with_what_is_there() {
    let history = twenty_days(330).await;
    let ports = ports(&history, BTreeMap::new());
    let ends: BTreeMap<u32, u64> =
        bounds(&*ports.readable).await.into_iter().map(|(partition, bounds)| (partition, bounds.next)).collect();
    let busy = *ends.iter().find(|(_, next)| **next > 0).expect("records").0;
    let changed = |partition: u32, offset: u64| {
        let mut offsets = ends.clone();
        offsets.insert(partition, offset);
        StartAt::Offsets(offsets)
    };
    let mut missing = ends.clone();
    missing.remove(&2);
    let refused = [
        (changed(busy, ends[&busy] + 1), format!("holds 0 to below {}", ends[&busy])),
        (changed(9, 0), "no partition 9".to_owned()),
        (StartAt::Offsets(missing), "partition 2 is not named".to_owned()),
        (StartAt::Time(Timestamp::now().plus_millis(60_000)), "future".to_owned()),
    ];
    for (from, words) in refused {
        let error = run(&ports, &asked(from.clone())).await.expect_err("refused");
        assert!(matches!(error, ReplayError::NotInLog(_)) && error.to_string().contains(&words), "{from:?}: {error}");
    }
    // Behind the last record nothing is known of what was before.
    let nothing = run(&ports, &asked(StartAt::Offsets(ends))).await.expect("replayed");
    assert_eq!((nothing.records, nothing.to_read), (0, 2), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_beginning_of_the_log_is_gone_it_must_have_been_too_old_to_count() {
    let mut history = twenty_days_in_order(340).await;
    let _read_model = history.chat.read_model();
    let whole = ports(&history, BTreeMap::new());
    // Of each partition one record is left that is too old to count.
    let first = offsets_at(&*whole.readable, days_ago(12.0)).await;
    let first: BTreeMap<u32, u64> =
        first.into_iter().map(|(partition, offset)| (partition, offset.saturating_sub(1))).collect();
    let old = ports(&history, first.clone());
    let replayed = run(&old, &asked(StartAt::Beginning)).await.expect("replayed");
    assert!(replayed.to_read == 0 && replayed.complete_from < Some(days_ago(10.0)), "{replayed:?}");
    assert!(replayed.complete_from > Some(days_ago(16.0)), "{replayed:?}");
    let gone = run(&old, &asked(StartAt::Time(days_ago(19.0)))).await.expect_err("refused");
    assert!(matches!(gone, ReplayError::NotInLog(_)) && gone.to_string().contains("begins with offset"), "{gone}");
    assert_eq!(reads_of_following(&mut history).await, 0);
    tokio::time::sleep(700 * MS).await;
    let young = ports(&history, offsets_at(&*whole.readable, days_ago(5.0)).await);
    let refused = run(&young, &asked(StartAt::Beginning)).await.expect_err("refused");
    assert!(matches!(refused, ReplayError::NotInLog(_)) && refused.to_string().contains("--from time="), "{refused}");
    // Without an age everything counts.
    history.policy = Policy::new(N as u32, None).expect("a policy");
    let refused = run(&ports(&history, first), &asked(StartAt::Beginning)).await.expect_err("refused");
    assert!(matches!(refused, ReplayError::NotInLog(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_shard_is_followed_nothing_is_saved_and_a_dry_run_writes_nothing() {
    let history = twenty_days(350).await;
    let (ports, state) = (ports(&history, BTreeMap::new()), &history.chat.state);
    // Of another numbering, too.
    for (number, of, shards) in [(1, 2, 2), (3, 4, 2), (0, 1, 2)] {
        let lives_for = Duration::from_secs(60);
        let family = format!("follow-limits/of{of}");
        let lease = Lease::take_number(state, &family, number, lives_for).await.expect("a state");
        let lease = lease.expect("nobody holds it");
        let before = records(&history).await;
        let error = run(&ports, &Replay { shards, ..asked(StartAt::Beginning) }).await.expect_err("refused");
        assert!(matches!(error, ReplayError::Followed(shard) if shard == number) && error.is_temporary(), "{error}");
        assert_eq!(error.to_string(), format!("shard {number} is followed: stop follow-limits first"));
        assert_eq!(records(&history).await, before, "the other leases are given back");
        let dry = Replay { is_dry_run: true, shards, ..asked(StartAt::Beginning) };
        let replayed = run(&ports, &dry).await.expect("replayed");
        assert!(!replayed.saved && replayed.bytes > 0 && replayed.checked.compared == 2, "{replayed:?}");
        assert_eq!(records(&history).await, before);
        lease.release(state).await.expect("released");
    }
    run(&ports, &Replay { shards: 2, ..asked(StartAt::Beginning) }).await.expect("replayed");
    let left = records(&history).await.into_iter().map(|record| record.key).collect::<Vec<_>>();
    let set = |id: u64| format!("follow-limits-set/{id:020}");
    let places = [0, 1].map(|shard| format!("follow-limits-place/{shard}"));
    assert_eq!(left, [&[set(1), set(2)][..], &places].concat(), "no lease is left");
}

/// A store that answers nobody before it may.
struct Waiting {
    inner: Arc<dyn LiveIds>,
    may: Semaphore,
}

#[async_trait]
impl LiveIds for Waiting {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        let _may = self.may.acquire().await.expect("open");
        self.inner.newest(requests).await
    }

    fn access(&self) -> Access {
        self.inner.access()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_is_held_while_it_works() {
    let history = twenty_days(355).await;
    let ports = ports(&history, BTreeMap::new());
    let store = Arc::new(Waiting { inner: Arc::clone(&ports.live_ids), may: Semaphore::new(0) });
    let ports = FollowPorts { live_ids: Arc::clone(&store) as Arc<dyn LiveIds>, ..ports };
    let asked = Replay { lease_lives_for: 9_000 * MS, ..asked(StartAt::Beginning) };
    let state = &history.chat.state;
    let tried = async {
        let (taken, versions) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
        // The fifth is written when the first would be over.
        until("the lease is renewed", async || {
            let leases = state.list("follow-limits/of1", None, 1).await.expect("a state");
            if !leases.is_empty() && take_for_a_moment(state).await {
                taken.store(true, Ordering::Relaxed);
            }
            let mut versions = versions.lock().expect("versions");
            versions.extend(leases.iter().map(|lease| lease.version.bits()));
            versions.len() == 5
        })
        .await;
        store.may.add_permits(Semaphore::MAX_PERMITS);
        taken.into_inner()
    };
    let (replayed, taken) = tokio::join!(run(&ports, &asked), tried);
    assert!(!taken, "somebody else could take it");
    assert!(replayed.expect("replayed").saved);
    assert!(take_for_a_moment(state).await, "it is given back");
}

async fn take_for_a_moment(state: &dyn State) -> bool {
    Lease::take_number(state, "follow-limits/of1", 0, MS).await.expect("a state").is_some()
}

/// A message that no event told, in a room of organization 1.
async fn unheard_of(history: &History) -> MessageId {
    let one = OrganizationId::from_bits(1);
    let rooms = history.chat.directory.rooms_of(&[one]).await.expect("rooms").remove(0);
    let id = Epoch::default().first_id(days_ago(0.01));
    let posted = Posted { author: None, organization: Some(one), body: String::new(), edited_at: None };
    let state = MessageState { position: Some(Position::from_bits(1)), kept: Kept::Live(posted) };
    let change = MessageChange { room: rooms[0], id, state, expected: Expected::Absent };
    history.chat.store.apply(&[change]).await.expect("stored");
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_never_told_is_found_by_the_check_and_nothing_is_saved() {
    let history = twenty_days(360).await;
    let ports = ports(&history, BTreeMap::new());
    unheard_of(&history).await;
    let replayed = run(&ports, &asked(StartAt::Beginning)).await.expect("replayed");
    let differing: Vec<u64> = replayed.checked.differing.iter().map(|one| one.organization.get()).collect();
    assert!(differing.contains(&1) && !replayed.saved, "{replayed:?}");
    assert!(replayed.checked.differing.iter().all(|one| one.log != one.store), "{replayed:?}");
    assert_eq!(records(&history).await, []);
    let unchecked = run(&ports, &Replay { check: 0, ..asked(StartAt::Beginning) }).await.expect("replayed");
    assert!(unchecked.saved && unchecked.checked.compared == 0, "{unchecked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_which_the_log_does_not_say_whether_it_is_live_makes_who_sees_it_be_read() {
    let mut history = twenty_days(370).await;
    let _read_model = history.chat.read_model();
    let rooms = history.chat.directory.rooms_of(&[OrganizationId::from_bits(1)]).await.expect("rooms").remove(0);
    let log = history.chat.log().await;
    let silent = log.iter().find(|read| {
        let record = &read.record;
        match decode(&record.key, &record.headers, &record.value) {
            Decoded::Event(event) => event.message().is_some() && rooms.contains(&event.room),
            _ => false,
        }
    });
    let record = readable_record(silent.expect("a message of theirs"), None);
    history.chat.readable.append(vec![record]).await.expect("appended");
    let replayed = run(&ports(&history, BTreeMap::new()), &asked(StartAt::Beginning)).await.expect("replayed");
    assert!(replayed.saved && replayed.to_read >= 1, "{replayed:?}");
    let sets = history.chat.state.list("follow-limits-set/", None, 10).await.expect("records");
    assert_eq!(sets.len() as u64, 2 - replayed.to_read);
    reads_of_following(&mut history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_of_organizations_that_are_not_followed_any_more_are_taken_away() {
    let history = twenty_days(380).await;
    let ports = ports(&history, BTreeMap::new());
    run(&ports, &asked(StartAt::Beginning)).await.expect("replayed");
    history.chat.directory.set_plan(OrganizationId::from_bits(2), Plan::Paid).await.expect("a plan");
    run(&ports, &asked(StartAt::Beginning)).await.expect("replayed");
    let sets = history.chat.state.list("follow-limits-set/", None, 10).await.expect("records");
    assert_eq!(sets.iter().map(|set| &*set.key).collect::<Vec<_>>(), [format!("follow-limits-set/{:020}", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_write_or_interrupted_follow_limits_goes_on_and_is_right() {
    let (mut finished, mut died) = (0, 0);
    // The 9th call gives the lease back.
    for (call, is_first) in (1..12).flat_map(|call| [(call, true), (call, false)]) {
        let mut history = twenty_days(400 + call).await;
        let _read_model = history.chat.read_model();
        // Something older is saved already.
        if !is_first {
            let (stop, faults) = (CancellationToken::new(), Faults::new(1, 0));
            let tree = history.chat.follow_tree(settings(0, 1), history.policy, &faults);
            let following = tokio::spawn(tree.run(stop.clone()));
            history.check().await;
            stop.cancel();
            assert_eq!(following.await.expect("no panic"), Outcome::Stopped);
            for _ in 0..6 {
                history.event().await;
            }
            until("the read model is built", async || history.chat.is_built().await).await;
        }
        let faults = Faults::new(call, 0).dying_at(4, call);
        let ports = history.chat.follow_ports(history.policy, &faults);
        let asked = Replay { check: 0, ..asked(StartAt::Beginning) };
        tokio::select! {
            replayed = run(&ports, &asked) => finished += u64::from(replayed.is_ok()),
            () = faults.died() => died += 1,
        }
        let kept = async |family| history.chat.state.list(family, None, 10).await.expect("records").len();
        let (places, sets) = (kept("follow-limits-place/").await, kept("follow-limits-set/").await);
        assert!(!is_first || places == 0 || sets == 2, "a place stands before its sets: call {call}");
        // The lease of who died ends by itself: that is not waited for.
        history.chat.state.delete("follow-limits/of1/0", None).await.expect("a state");
        history.event().await;
        let _following = history.follow(settings(0, 1), &Faults::new(call, 0));
        history.check().await;
    }
    assert!(died > 5 && finished > 0, "{died} died, {finished} finished: the test proves little");
    let history = twenty_days(399).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let stopped = replay(&ports(&history, BTreeMap::new()), &asked(StartAt::Beginning), &stop, |_, _| ()).await;
    assert!(matches!(stopped, Err(ReplayError::Stopped)), "{stopped:?}");
    assert_eq!(records(&history).await, [], "the lease is given back");
}

#[test]
fn the_edge_of_the_age_lies_between_two_events() {
    // Else a message could come of age while a test compares.
    let first = 20.125;
    let nearest = (0..=EVENTS).map(|at| (first - at as f64 / 4.0 - 10.0_f64).abs()).fold(f64::MAX, f64::min);
    assert!(nearest > 0.1, "{nearest} days");
}

//! The laws of [`worker::Log`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use support::waiting::AT_MOST;
use tokio::time::Instant;
use worker::log::{Bounds, LogRecord, Missing, Place, Polled, ReadRecord, partition_of};
use worker::{Log, LogConsumer, LogError};

use crate::random;
use crate::suite::{Adapter, laws};

laws! {
    log;
    every:
        what_is_read_is_what_was_appended_in_order,
        what_is_appended_is_there_for_every_process,
        a_record_that_is_too_large_is_refused_for_itself,
        what_is_appended_in_order_ends_at_the_first_that_is_refused,
        appends_that_wait_for_each_other_keep_their_order,
        a_group_goes_on_at_its_committed_offset,
        groups_know_nothing_of_each_other,
        members_share_the_partitions_and_inherit_them,
        who_no_longer_holds_a_partition_commits_nothing,
        a_position_that_is_not_in_the_log_is_an_error,
        a_paused_partition_brings_nothing_and_loses_nothing,
        a_follower_takes_nothing_from_anybody,
        polls_dropped_at_any_await_lose_nothing,
        members_that_come_go_and_die_skip_nothing;
}

type Subject = Adapter<Arc<dyn Log>>;
type Consumer = Box<dyn LogConsumer>;

/// How long a poll of these tests waits.
const WAIT: Duration = Duration::from_millis(100);

fn record(key: &str, value: impl Into<Vec<u8>>) -> LogRecord {
    LogRecord { key: key.as_bytes().to_vec(), headers: Vec::new(), value: value.into() }
}

async fn append(log: &dyn Log, records: Vec<LogRecord>) -> Vec<Place> {
    let answers = log.append(records).await.expect("an answer");
    answers.into_iter().map(|answer| answer.expect("appended")).collect()
}

async fn join(log: &dyn Log, group: &str) -> Consumer {
    log.join(group, Missing::First).await.expect("a member")
}

async fn poll(consumer: &mut Consumer) -> Polled {
    consumer.poll(100, WAIT).await.expect("a poll")
}

/// Polls until `records` have come; answers them.
async fn receive(consumer: &mut Consumer, records: usize) -> Vec<ReadRecord> {
    let (mut received, deadline) = (Vec::new(), Instant::now() + AT_MOST);
    while received.len() < records {
        assert!(Instant::now() < deadline, "only {} of {records} records have come", received.len());
        received.extend(poll(consumer).await.records);
    }
    received
}

/// Polls until exactly these partitions are held, as told by `held`; drops what comes.
async fn poll_until_held(consumer: &mut Consumer, held: &mut BTreeSet<u32>, many: usize) {
    let deadline = Instant::now() + AT_MOST;
    while held.len() != many {
        assert!(Instant::now() < deadline, "{held:?} are held, not {many}");
        note(&poll(consumer).await, held);
    }
}

fn note(polled: &Polled, held: &mut BTreeSet<u32>) {
    for partition in &polled.revoked {
        assert!(held.remove(partition), "{partition} was revoked and not held");
    }
    for place in &polled.assigned {
        assert!(held.insert(place.partition), "{} was assigned twice", place.partition);
    }
    assert!(
        polled.records.iter().all(|record| held.contains(&record.place.partition)),
        "a record of a partition that is not held"
    );
}

/// Where each partition would go on after these records.
fn behind(records: &[ReadRecord]) -> Vec<Place> {
    let mut next = BTreeMap::new();
    for record in records {
        next.insert(record.place.partition, record.place.offset + 1);
    }
    next.into_iter().map(|(partition, offset)| Place { partition, offset }).collect()
}

/// From the beginning of every partition.
async fn beginnings(log: &dyn Log) -> Vec<Place> {
    let partitions = log.partitions().await.expect("partitions");
    (0..partitions).map(|partition| Place { partition, offset: 0 }).collect()
}

/// Everything that the log holds.
async fn all(log: &dyn Log) -> Vec<ReadRecord> {
    let mut held = 0;
    for place in beginnings(log).await {
        let Bounds { first, next } = log.bounds(place.partition).await.expect("bounds");
        held += usize::try_from(next - first).expect("few");
    }
    let mut follower = log.follow(&beginnings(log).await).await.expect("a follower");
    let records = receive(&mut follower, held).await;
    follower.close().await.expect("closed");
    records
}

async fn what_is_read_is_what_was_appended_in_order(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    let partitions = log.partitions().await.expect("partitions");
    assert!(partitions > 1, "one partition proves little");
    let every_byte: Vec<u8> = (0..=255).collect();
    let odd = LogRecord {
        key: every_byte.clone(),
        headers: vec![
            ("ce_id".to_owned(), b"1".to_vec()),
            ("部屋".to_owned(), every_byte.clone()),
            ("ce_id".to_owned(), Vec::new()),
        ],
        value: every_byte,
    };
    let mut records = vec![odd, record("", ""), record("17", "部屋 ½")];
    records.extend((0..200).map(|number| record(&(number % 7).to_string(), number.to_string())));
    let before = SystemTime::now();
    let places = append(&*log, records.clone()).await;
    let mut expected: BTreeMap<u32, Vec<(u64, LogRecord)>> = BTreeMap::new();
    for (place, record) in places.iter().zip(records) {
        assert_eq!(place.partition, partition_of(&record.key, partitions), "{:?}", record.key);
        expected.entry(place.partition).or_default().push((place.offset, record));
    }
    let mut found: BTreeMap<u32, Vec<(u64, LogRecord)>> = BTreeMap::new();
    for ReadRecord { place, appended_at, record } in all(&*log).await {
        let since = appended_at.duration_since(before - Duration::from_secs(5)).expect("not before it was appended");
        assert!(since < Duration::from_secs(120), "{since:?}");
        found.entry(place.partition).or_default().push((place.offset, record));
    }
    assert_eq!(found, expected);
    for records in found.values() {
        assert!(records.is_sorted_by(|one, other| one.0 < other.0), "offsets do not grow");
    }
}

async fn what_is_appended_is_there_for_every_process(adapter: &Subject) {
    let (folder, first) = adapter.fresh().await;
    let second = adapter.open(&folder).await;
    let mut reader = second.follow(&beginnings(&*second).await).await.expect("a follower");
    append(&*first, vec![record("a", "1")]).await;
    assert_eq!(receive(&mut reader, 1).await[0].record, record("a", "1"));
    append(&*second, vec![record("a", "2")]).await;
    drop((first, second, reader));
    let again = adapter.open(&folder).await;
    let values: Vec<Vec<u8>> = all(&*again).await.into_iter().map(|read| read.record.value).collect();
    assert_eq!(values, [b"1", b"2"]);
}

async fn a_record_that_is_too_large_is_refused_for_itself(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    let limits = log.limits();
    let largest = record("a", vec![b'x'; limits.record_bytes_max - 1]);
    assert_eq!(largest.bytes(), limits.record_bytes_max);
    let too_large = record("a", vec![b'x'; limits.record_bytes_max]);
    let records = vec![record("a", "1"), too_large, record("a", "2")];
    let answers = log.append(records).await.expect("an answer");
    assert!(matches!(answers[1], Err(LogError::Refused { .. })), "{answers:?}");
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    append(&*log, vec![largest]).await;
    assert_eq!(all(&*log).await.len(), 3);
    let many = vec![record("a", ""); limits.batch_max + 1];
    assert!(matches!(log.append(many).await, Err(LogError::Refused { .. })));
    assert_eq!(append(&*log, Vec::new()).await, []);
}

async fn what_is_appended_in_order_ends_at_the_first_that_is_refused(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    let limits = log.limits();
    let small = |many: usize| (0..many).map(|number| record("a", number.to_string()));
    // More than a call takes.
    let many = limits.batch_max + 2;
    let too_large = record("a", vec![b'x'; limits.record_bytes_max]);
    let records = small(many).chain([too_large.clone()]).chain(small(2)).collect();
    let answer = log.append_in_order(records).await;
    assert!(matches!(answer, Err(LogError::Refused { .. })), "{answer:?}");
    let stored = || async { all(&*log).await.into_iter().map(|read| read.record).collect::<Vec<_>>() };
    assert_eq!(stored().await, small(many).collect::<Vec<_>>());
    let answer = log.append_in_order(vec![too_large, record("a", "never")]).await;
    assert!(matches!(answer, Err(LogError::Refused { .. })), "{answer:?}");
    log.append_in_order(Vec::new()).await.expect("nothing");
    log.append_in_order(vec![record("a", "last")]).await.expect("appended");
    assert_eq!(stored().await, small(many).chain([record("a", "last")]).collect::<Vec<_>>());
}

async fn appends_that_wait_for_each_other_keep_their_order(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    let writers = (0..8).map(|writer: u32| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for number in 0..10 {
                // Two in a call, then the next call.
                let value = |part: u32| (number * 2 + part).to_string();
                let key = writer.to_string();
                append(&*log, vec![record(&key, value(0)), record(&key, value(1))]).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
    let mut next: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for read in all(&*log).await {
        let next = next.entry(read.record.key).or_default();
        assert_eq!(read.record.value, next.to_string().into_bytes());
        *next += 1;
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [20; 8]);
}

async fn a_group_goes_on_at_its_committed_offset(adapter: &Subject) {
    let (folder, log) = adapter.fresh().await;
    let values = |records: &[ReadRecord]| -> BTreeSet<Vec<u8>> {
        records.iter().map(|read| read.record.value.clone()).collect()
    };
    append(&*log, (0..40).map(|n| record(&n.to_string(), n.to_string())).collect()).await;
    let mut member = join(&*log, "group").await;
    let first = receive(&mut member, 40).await;
    let (done, open) = first.split_at(15);
    member.commit(&behind(done)).await.expect("committed");
    member.close().await.expect("closed");
    for place in behind(done) {
        assert_eq!(log.committed("group", place.partition).await.expect("an offset"), Some(place.offset));
    }

    let log = adapter.open(&folder).await;
    append(&*log, (40..50).map(|n| record(&n.to_string(), n.to_string())).collect()).await;
    // It has been here before: a missing position would be an error, except where nothing was ever committed.
    let mut member = join(&*log, "group").await;
    let again = receive(&mut member, open.len() + 10).await;
    let expected: BTreeSet<Vec<u8>> =
        values(open).into_iter().chain((40..50).map(|n| n.to_string().into_bytes())).collect();
    assert_eq!(values(&again), expected, "what was not committed is read again, nothing else is");
    member.commit(&behind(&again)).await.expect("committed");
    assert!(poll(&mut member).await.records.is_empty());
    member.close().await.expect("closed");
}

async fn groups_know_nothing_of_each_other(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    append(&*log, (0..20).map(|n| record(&n.to_string(), "")).collect()).await;
    let (mut one, mut other) = (join(&*log, "one").await, join(&*log, "other").await);
    let records = receive(&mut one, 20).await;
    one.commit(&behind(&records)).await.expect("committed");
    assert_eq!(receive(&mut other, 20).await.len(), 20);
    assert_eq!(log.committed("other", records[0].place.partition).await.expect("an answer"), None);
    one.close().await.expect("closed");
    other.close().await.expect("closed");
}

async fn members_share_the_partitions_and_inherit_them(adapter: &Subject) {
    let (folder, log) = adapter.fresh().await;
    let partitions = log.partitions().await.expect("partitions") as usize;
    let other_process = adapter.open(&folder).await;
    let (mut first, mut held) = (join(&*log, "group").await, BTreeSet::new());
    poll_until_held(&mut first, &mut held, partitions).await;
    let (mut second, mut seconds) = (join(&*other_process, "group").await, BTreeSet::new());
    let deadline = Instant::now() + AT_MOST;
    while held.len() != partitions.div_ceil(2) || seconds.len() != partitions / 2 {
        assert!(Instant::now() < deadline, "{held:?} and {seconds:?} of {partitions} are held");
        note(&poll(&mut first).await, &mut held);
        note(&poll(&mut second).await, &mut seconds);
        assert!(held.is_disjoint(&seconds), "{held:?} and {seconds:?}");
        if held.len() == partitions / 2 && seconds.len() == partitions.div_ceil(2) {
            break;
        }
    }
    second.close().await.expect("closed");
    poll_until_held(&mut first, &mut held, partitions).await;
    // One that dies is missed after its session's timeout.
    let (mut third, mut thirds) = (join(&*other_process, "group").await, BTreeSet::new());
    let deadline = Instant::now() + AT_MOST;
    while thirds.is_empty() {
        assert!(Instant::now() < deadline, "nothing for the third");
        note(&poll(&mut first).await, &mut held);
        note(&poll(&mut third).await, &mut thirds);
    }
    drop(third);
    poll_until_held(&mut first, &mut held, partitions).await;
    first.close().await.expect("closed");
}

async fn who_no_longer_holds_a_partition_commits_nothing(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    let partitions = log.partitions().await.expect("partitions") as usize;
    append(&*log, (0..50).map(|n| record(&n.to_string(), "")).collect()).await;
    let mut first = join(&*log, "group").await;
    let records = receive(&mut first, 50).await;
    let mut held: BTreeSet<u32> = (0..partitions as u32).collect();
    let (mut second, mut seconds) = (join(&*log, "group").await, BTreeSet::new());
    let deadline = Instant::now() + AT_MOST;
    while seconds.is_empty() {
        assert!(Instant::now() < deadline, "nothing for the second");
        note(&poll(&mut first).await, &mut held);
        note(&poll(&mut second).await, &mut seconds);
    }
    let lost: Vec<Place> = behind(&records).into_iter().filter(|place| seconds.contains(&place.partition)).collect();
    assert!(!lost.is_empty(), "no record stands in {seconds:?}");
    let answer = first.commit(&lost).await;
    assert!(matches!(answer, Err(LogError::Fenced { .. })), "{answer:?}");
    for place in &lost {
        assert_eq!(log.committed("group", place.partition).await.expect("an answer"), None);
    }
    let kept: Vec<Place> = behind(&records).into_iter().filter(|place| held.contains(&place.partition)).collect();
    first.commit(&kept).await.expect("its own");
    first.close().await.expect("closed");
    second.close().await.expect("closed");
}

async fn a_position_that_is_not_in_the_log_is_an_error(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    let place = append(&*log, vec![record("a", "1")]).await[0];
    let lost = async |group: &str, missing: Missing| {
        let deadline = Instant::now() + AT_MOST;
        let mut member = log.join(group, missing).await.expect("a member");
        loop {
            assert!(Instant::now() < deadline, "no error for {group}");
            match member.poll(100, WAIT).await {
                Ok(polled) => assert!(polled.records.is_empty(), "it has jumped to {:?}", polled.records),
                Err(error) => break error,
            }
        }
    };
    let never = lost("never", Missing::Lost).await;
    assert!(matches!(never, LogError::PositionLost { .. }), "{never:?}");
    let mut member = join(&*log, "beyond").await;
    receive(&mut member, 1).await;
    member.commit(&[Place { offset: place.offset + 1_000, ..place }]).await.expect("committed");
    member.close().await.expect("closed");
    let beyond = lost("beyond", Missing::First).await;
    assert!(matches!(&beyond, LogError::PositionLost { partition, .. } if *partition == place.partition), "{beyond:?}");
    let followed = async |from: Place| match log.follow(&[from]).await {
        Err(error) => Err(error),
        Ok(mut follower) => follower.poll(1, WAIT).await.map(|_| ()),
    };
    let beyond = followed(Place { offset: place.offset + 1_000, ..place }).await;
    assert!(matches!(beyond, Err(LogError::PositionLost { .. })), "{beyond:?}");
    let nowhere = followed(Place { partition: 9_999, offset: 0 }).await;
    assert!(matches!(nowhere, Err(LogError::Refused { .. })), "{nowhere:?}");
}

async fn a_paused_partition_brings_nothing_and_loses_nothing(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    let partitions = log.partitions().await.expect("partitions");
    let mut member = join(&*log, "group").await;
    poll_until_held(&mut member, &mut BTreeSet::new(), partitions as usize).await;
    append(&*log, (0..30).map(|n| record(&n.to_string(), "1")).collect()).await;
    let before = receive(&mut member, 30).await;
    let paused = before[0].place.partition;
    member.pause(&[paused]);
    append(&*log, (0..30).map(|n| record(&n.to_string(), "2")).collect()).await;
    let of_paused = before.iter().filter(|read| read.place.partition == paused).count();
    let others = receive(&mut member, 30 - of_paused).await;
    assert!(poll(&mut member).await.records.is_empty());
    assert!(others.iter().all(|read| read.place.partition != paused), "a paused partition brings records");
    member.resume(&[paused]);
    let resumed = receive(&mut member, of_paused).await;
    assert!(resumed.iter().all(|read| read.place.partition == paused && read.record.value == b"2"));
    member.close().await.expect("closed");
}

async fn a_follower_takes_nothing_from_anybody(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    let places = append(&*log, (0..20).map(|n| record(&n.to_string(), n.to_string())).collect()).await;
    let mut member = join(&*log, "group").await;
    let mut follower = log.follow(&[Place { offset: 0, ..places[3] }]).await.expect("a follower");
    let expected = places.iter().filter(|place| place.partition == places[3].partition).count();
    let polled = poll(&mut follower).await;
    let first = polled.records;
    let mut followed = first;
    if followed.len() < expected {
        followed.extend(receive(&mut follower, expected - followed.len()).await);
    }
    assert_eq!(followed.len(), expected);
    assert!(matches!(follower.commit(&behind(&followed)).await, Err(LogError::Refused { .. })));
    assert_eq!(receive(&mut member, 20).await.len(), 20);
    let mut later = log.follow(&[places[3]]).await.expect("a follower");
    assert_eq!(receive(&mut later, 1).await[0].place, places[3], "it begins where it was told to");
    follower.close().await.expect("closed");
    later.close().await.expect("closed");
    member.close().await.expect("closed");
}

async fn polls_dropped_at_any_await_lose_nothing(adapter: &Subject) {
    let (_folder, log) = adapter.fresh().await;
    let partitions = log.partitions().await.expect("partitions") as usize;
    append(&*log, (0..300).map(|n| record(&n.to_string(), n.to_string())).collect()).await;
    let mut member = join(&*log, "group").await;
    let (mut held, mut seen, mut dropped) = (BTreeSet::new(), BTreeMap::new(), 0);
    let mut random = random::cases(1).next().expect("a case");
    let deadline = Instant::now() + AT_MOST;
    while seen.len() < 300 || held.len() < partitions {
        assert!(Instant::now() < deadline, "{} records and {held:?} have come", seen.len());
        // One of four may take as long as it needs: on a busy machine the others may never come to their end.
        let (patient, yields) = (random.u32(0..4) == 0, random.u32(0..5));
        let patience = async {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            if patient {
                tokio::time::sleep(AT_MOST).await;
            }
        };
        tokio::select! {
            biased;
            polled = member.poll(7, WAIT) => {
                let polled = polled.expect("a poll");
                // Nothing was committed: what was taken away comes again.
                seen.retain(|_, partition| !polled.revoked.contains(partition));
                note(&polled, &mut held);
                for read in polled.records {
                    let before = seen.insert(read.record.value, read.place.partition);
                    assert_eq!(before, None, "a record came twice to one member");
                }
            }
            () = patience => dropped += 1,
        }
    }
    assert!(dropped > 0, "no poll was dropped: the test proves nothing");
    member.close().await.expect("closed");
}

/// What a group has done, whoever did it.
#[derive(Default)]
struct Done {
    /// By key, the values in the order of the first time that they were handled.
    first: BTreeMap<Vec<u8>, Vec<u32>>,
    repeated: usize,
}

impl Done {
    fn note(&mut self, records: &[ReadRecord]) {
        for read in records {
            let number = String::from_utf8_lossy(&read.record.value).parse().expect("a number");
            let seen = self.first.entry(read.record.key.clone()).or_default();
            if seen.contains(&number) {
                self.repeated += 1;
            } else {
                seen.push(number);
            }
        }
    }
}

/// Handles and commits until it is told to end, by its own death or by closing.
async fn work(log: Arc<dyn Log>, done: Arc<std::sync::Mutex<Done>>, mut random: fastrand::Rng) {
    let mut member = join(&*log, "group").await;
    let (lives_for, born) = (Duration::from_millis(random.u64(300..2_500)), Instant::now());
    while born.elapsed() < lives_for {
        let polled = member.poll(random.usize(1..40), WAIT).await.expect("a poll");
        done.lock().expect("nobody panicked").note(&polled.records);
        match member.commit(&behind(&polled.records)).await {
            Ok(()) | Err(LogError::Fenced { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    if random.bool() {
        member.close().await.expect("closed");
    }
}

async fn members_that_come_go_and_die_skip_nothing(adapter: &Subject) {
    let (folder, log) = adapter.fresh().await;
    let done = Arc::new(std::sync::Mutex::new(Done::default()));
    let mut random = random::cases(1).next().expect("a case");
    let mut members = tokio::task::JoinSet::new();
    for round in 0..6_u32 {
        while members.len() < 3 {
            let log = if random.bool() { Arc::clone(&log) } else { adapter.open(&folder).await };
            members.spawn(work(log, Arc::clone(&done), random.fork()));
        }
        append(&*log, (0..60).map(|n| record(&(n % 12).to_string(), (round * 5 + n / 12).to_string())).collect()).await;
        tokio::time::sleep(Duration::from_millis(random.u64(0..400))).await;
        if let Some(ended) = members.try_join_next() {
            ended.expect("a member");
        }
    }
    while let Some(ended) = members.join_next().await {
        ended.expect("a member");
    }
    // Whoever is left does the rest.
    let (mut last, deadline) = (join(&*log, "group").await, Instant::now() + AT_MOST);
    loop {
        let handled = done.lock().expect("nobody panicked").first.values().map(Vec::len).sum::<usize>();
        if handled == 360 {
            break;
        }
        assert!(Instant::now() < deadline, "only {handled} of 360 records are handled");
        let polled = poll(&mut last).await;
        done.lock().expect("nobody panicked").note(&polled.records);
    }
    let done = done.lock().expect("nobody panicked");
    for (key, numbers) in &done.first {
        assert!(numbers.iter().copied().eq(0..30), "key {key:?} came as {numbers:?}");
    }
    assert!(done.repeated < 360, "{} repeats: nothing is ever committed", done.repeated);
}

//! Members of a group that come and go.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, timeout};
use worker::log::{Log, LogError, Missing, Place};

use crate::stage::{LONG, Member, append, join, record, stage, until_shared};

#[tokio::test]
async fn dropping_and_closing_after_a_rebalance_return_at_once() {
    let Some(stage) = stage("dropping and closing after a rebalance") else { return };
    let log = stage.log(4).await;
    append(&log, (0..100).map(|n: u32| record(&n.to_string(), "x")).collect()).await;
    for round in 0..20 {
        let group = format!("{}-{round}", stage.topic);
        let (mut a, mut b) = (join(&log, &group).await, join(&log, &group).await);
        until_shared(&mut a, &mut b, 4).await;
        for member in [a, b] {
            let at = Instant::now();
            if round % 2 == 0 {
                drop(member);
            } else {
                member.consumer.close().await.expect("it leaves");
            }
            // On one thread: a drop that waited would be seen here.
            assert!(at.elapsed() < Duration::from_secs(2), "round {round} took {:?}", at.elapsed());
        }
    }
}

#[tokio::test]
async fn who_leaves_or_dies_gives_his_partitions_to_the_others_who_go_on_at_the_committed_offset() {
    let Some(stage) = stage("who leaves or dies") else { return };
    let log = stage.log(4).await;
    append(&log, (0..100).map(|n: u32| record(&n.to_string(), "x")).collect()).await;
    for dies in [false, true] {
        let group = format!("{}-{dies}", stage.topic);
        let (mut a, mut b) = (join(&log, &group).await, join(&log, &group).await);
        until_shared(&mut a, &mut b, 4).await;
        let third: Vec<Place> = a.held.keys().map(|partition| Place { partition: *partition, offset: 3 }).collect();
        a.consumer.commit(&third).await.expect("a commit");
        if dies {
            drop(a);
        } else {
            a.consumer.close().await.expect("it leaves");
        }
        let mut given = Vec::new();
        timeout(LONG, async {
            while given.len() < 2 {
                given.extend(b.poll().await.assigned);
            }
        })
        .await
        .expect("the other's partitions");
        given.sort();
        assert_eq!(given, third);
        b.consumer.close().await.expect("it leaves");
    }
}

#[tokio::test]
async fn a_commit_of_who_was_taken_for_dead_is_fenced_and_changes_nothing() {
    let Some(stage) = stage("a commit of who was taken for dead") else { return };
    let log = stage.log(2).await;
    append(&log, (0..100).map(|n: u32| record(&n.to_string(), "x")).collect()).await;
    let (mut a, mut b) = (join(&log, &stage.topic).await, join(&log, &stage.topic).await);
    until_shared(&mut a, &mut b, 2).await;
    // It works on something for longer than the session, and does not poll.
    b.until_holds(2).await;
    let partition = *a.held.keys().next().expect("a partition");
    let refused = a.consumer.commit(&[Place { partition, offset: 7 }]).await;
    assert!(matches!(refused, Err(LogError::Fenced { partition: fenced, .. }) if fenced == partition), "{refused:?}");
    assert_eq!(log.committed(&stage.topic, partition).await.expect("an answer"), None);
    // It comes back, and hears what it has lost before anything else.
    let polled = a.consumer.poll(10, LONG).await.expect("a poll");
    assert_eq!(polled.revoked, [partition]);
    a.note(&polled);
    until_shared(&mut a, &mut b, 2).await;
}

#[tokio::test]
async fn a_partition_that_is_not_held_is_fenced_and_the_others_are_committed() {
    let Some(stage) = stage("a partition that is not held") else { return };
    let log = stage.log(2).await;
    append(&log, (0..100).map(|n: u32| record(&n.to_string(), "x")).collect()).await;
    let (mut a, mut b) = (join(&log, &stage.topic).await, join(&log, &stage.topic).await);
    until_shared(&mut a, &mut b, 2).await;
    let fenced = a.consumer.commit(&[Place { partition: 0, offset: 5 }, Place { partition: 1, offset: 5 }]).await;
    let theirs = *b.held.keys().next().expect("a partition");
    assert!(matches!(fenced, Err(LogError::Fenced { partition, .. }) if partition == theirs), "{fenced:?}");
    assert_eq!(log.committed(&stage.topic, 1 - theirs).await.expect("an answer"), Some(5));
    assert_eq!(log.committed(&stage.topic, theirs).await.expect("an answer"), None);
}

/// Members come and go at random, some by dying; what they commit is what they have read, sometimes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_and_leave_at_random_and_every_record_is_seen() {
    let Some(stage) = stage("members join and leave at random") else { return };
    let seed =
        std::env::var("LANNER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| Rng::new().u64(..));
    println!("LANNER_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let (log, reader) = (stage.log(4).await, stage.log(4).await);
    let writer = tokio::spawn(async move {
        let mut places = BTreeSet::new();
        for batch in 0..250_u32 {
            places.extend(append(&log, (0..20).map(|n| record(&format!("{}", batch * 20 + n), "x")).collect()).await);
            sleep(Duration::from_millis(50)).await;
        }
        places
    });
    let mut seen = BTreeSet::new();
    let mut members: Vec<Member> = Vec::new();
    while !writer.is_finished() {
        match random.u32(0..4) {
            0 if !members.is_empty() => {
                let member = members.swap_remove(random.usize(..members.len()));
                member.consumer.close().await.expect("it leaves");
            }
            1 if !members.is_empty() => drop(members.swap_remove(random.usize(..members.len()))),
            _ if members.len() < 2 => members.push(join(&reader, &stage.topic).await),
            _ => {}
        }
        // Long enough for a rebalance, or not.
        let until = Instant::now() + Duration::from_millis(random.u64(0..1_500));
        while Instant::now() < until {
            poll_all(&mut members, &reader, &stage.topic, &mut seen, &mut random).await;
            tokio::task::yield_now().await;
        }
    }
    let appended = writer.await.expect("the writer");
    members.push(join(&reader, &stage.topic).await);
    let deadline = Instant::now() + LONG;
    while !appended.is_subset(&seen) {
        let missed: Vec<_> = appended.difference(&seen).take(5).collect();
        assert!(Instant::now() < deadline, "not seen: {missed:?}");
        poll_all(&mut members, &reader, &stage.topic, &mut seen, &mut random).await;
    }
    assert_eq!(seen, appended, "nothing else was read");
}

async fn poll_all(members: &mut [Member], log: &dyn Log, group: &str, seen: &mut BTreeSet<Place>, random: &mut Rng) {
    for member in members {
        let polled = match member.consumer.poll(50, Duration::from_millis(50)).await {
            Ok(polled) => polled,
            Err(error) => {
                assert!(error.is_temporary(), "{error}");
                continue;
            }
        };
        member.note(&polled);
        for given in &polled.assigned {
            let committed = log.committed(group, given.partition).await.expect("an answer").unwrap_or(0);
            assert_eq!(given.offset, committed, "partition {} goes on where it was committed", given.partition);
        }
        seen.extend(polled.records.iter().map(|read| read.place));
        if random.u32(0..3) > 0 {
            match member.consumer.commit(&member.next()).await {
                Err(LogError::Fenced { .. }) | Ok(()) => {}
                Err(error) => assert!(error.is_temporary(), "{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_member_that_takes_one_record_at_a_time_stays_in_its_group() {
    let Some(stage) = stage("a member that takes one record at a time") else { return };
    let log = stage.log(1).await;
    append(&log, (0..30).map(|n: u32| record(&n.to_string(), "x")).collect()).await;
    let mut consumer = log.join(&stage.topic, Missing::First).await.expect("a member");
    let mut seen = 0;
    while seen < 30 {
        let polled = consumer.poll(1, LONG).await.expect("a poll");
        assert!(polled.revoked.is_empty(), "after {seen}");
        seen += polled.records.len();
        // All of them together take longer than a session.
        sleep(Duration::from_millis(150)).await;
    }
    consumer.commit(&[Place { partition: 0, offset: 30 }]).await.expect("it is a member");
}

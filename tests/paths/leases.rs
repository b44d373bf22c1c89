//! Leases on numbers, in records that fail now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded::{Access, DataDir, SqliteState};
use support::{Faults, Flaky};
use tempfile::TempDir;
use tokio::time::Instant;
use worker::{Lease, RenewError, State};

const MS: Duration = Duration::from_millis(1);
const NAME: &str = "writers";

async fn state(percent: u32) -> (TempDir, Arc<dyn State>) {
    let folder = TempDir::new().expect("a folder");
    let data = DataDir::open(folder.path(), Access::Write, "test").await.expect("a data directory");
    let state = SqliteState::open(&data).await.expect("a state");
    (folder, Arc::new(Flaky::new(state, Faults::new(3, percent))))
}

async fn take(state: &dyn State, numbers: u32, lives_for: Duration) -> Option<Lease> {
    Lease::take(state, NAME, numbers, lives_for).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_number_is_held_once_and_is_free_again_when_it_is_given_back() {
    let (_folder, state) = state(0).await;
    let mut leases = Vec::new();
    for _ in 0..10 {
        leases.push(take(&*state, 10, 60_000 * MS).await.expect("a number"));
    }
    let numbers: BTreeSet<u32> = leases.iter().map(Lease::number).collect();
    assert_eq!(numbers, (0..10).collect());
    assert!(take(&*state, 10, 60_000 * MS).await.is_none(), "an eleventh");
    assert!(leases.iter().all(Lease::is_valid));
    let given_back = leases.pop().expect("a lease");
    let number = given_back.number();
    given_back.release(&*state).await.expect("given back");
    assert_eq!(take(&*state, 10, 60_000 * MS).await.expect("a number").number(), number);
    assert!(take(&*state, 0, 60_000 * MS).await.is_none(), "there are no numbers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_not_renewed_is_over_before_somebody_else_has_it() {
    let (_folder, state) = state(0).await;
    let mut lease = take(&*state, 1, 400 * MS).await.expect("a number");
    for _ in 0..4 {
        tokio::time::sleep(lease.renew_every()).await;
        lease.renew(&*state).await.expect("renewed");
        assert!(take(&*state, 1, 400 * MS).await.is_none(), "it is held");
    }
    let other = loop {
        if let Some(other) = take(&*state, 1, 60_000 * MS).await {
            break other;
        }
        tokio::time::sleep(5 * MS).await;
    };
    assert!(!lease.is_valid());
    assert!(matches!(lease.renew(&*state).await, Err(RenewError::Lost { number: 0, .. })));
    lease.release(&*state).await.expect("nothing to give back");
    assert!(other.is_valid() && take(&*state, 1, MS).await.is_none(), "the other still holds it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_failing_records_no_number_is_ever_valid_for_two() {
    let (_folder, state) = state(20).await;
    let holders: Arc<Mutex<BTreeMap<u32, (usize, Instant)>>> = Arc::default();
    let hold = |holder: usize, lease: &Lease, holders: &Mutex<BTreeMap<u32, (usize, Instant)>>| {
        let before = holders.lock().expect("holders").insert(lease.number(), (holder, lease.valid_until()));
        let is_over = |(before, valid_until)| before == holder || valid_until <= Instant::now();
        assert!(before.is_none_or(is_over), "{before:?} and {holder} hold {}", lease.number());
    };
    let lives = (0..6_usize).map(|holder| {
        let (state, holders) = (Arc::clone(&state), Arc::clone(&holders));
        tokio::spawn(async move {
            let (mut taken, mut renewed) = (0, 0);
            while taken < 12 {
                let Ok(Some(mut lease)) = Lease::take(&*state, NAME, 3, 300 * MS).await else {
                    tokio::time::sleep(10 * MS).await;
                    continue;
                };
                taken += 1;
                for _ in 0..fastrand::u32(..5) {
                    if !lease.is_valid() {
                        break;
                    }
                    hold(holder, &lease, &holders);
                    tokio::time::sleep(lease.renew_every() / 2).await;
                    renewed += u32::from(lease.renew(&*state).await.is_ok());
                }
                // It works no longer under it: what it has told of its end no longer counts.
                let of_others = |number: &u32, by: &mut (usize, Instant)| (*number, by.0) != (lease.number(), holder);
                holders.lock().expect("holders").retain(of_others);
                if fastrand::bool() {
                    let _ = lease.release(&*state).await;
                }
            }
            renewed
        })
    });
    let mut renewed = 0;
    for life in lives.collect::<Vec<_>>() {
        renewed += life.await.expect("a life");
    }
    assert!(renewed > 20, "only {renewed} renewals");
}

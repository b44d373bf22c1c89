//! Leases that are renewed beside the work that is done under them. The clock stands still while nobody waits for it.

#[path = "double/records.rs"]
mod records;

use std::time::Duration;

use async_trait::async_trait;
use records::Records;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use worker::state::Write;
use worker::{Lease, Record, RecordVersion, RenewError, State, StateError};

const LIVES_FOR: Duration = Duration::from_secs(60);
/// A write has its effect, and so much later it is answered.
const ANSWERS_AFTER: Duration = Duration::from_secs(1);
const NAME: &str = "shards";

async fn hold<T>(leases: &mut [Lease], state: &Narrow, work: impl Future<Output = T>) -> Result<T, RenewError> {
    let held = tokio::time::timeout(100 * LIVES_FOR, Lease::hold(leases, state, work)).await;
    held.expect("neither waits for the other for ever")
}

/// A store with one connection that writes.
struct Narrow {
    records: Records,
    connection: Semaphore,
}

impl Narrow {
    fn new() -> Self {
        Self { records: Records::default(), connection: Semaphore::new(1) }
    }

    async fn leases(&self, many: u32) -> Vec<Lease> {
        let mut leases = Vec::new();
        for number in 0..many {
            let taken = Lease::take_number(self, NAME, number, LIVES_FOR).await.expect("an answer");
            leases.push(taken.expect("nobody holds it"));
        }
        leases
    }

    /// Who writes has the connection for so long.
    async fn write_for(&self, time: Duration) {
        let _connection = self.connection.acquire().await.expect("open");
        sleep(time).await;
    }
}

#[async_trait]
impl State for Narrow {
    async fn get(&self, key: &str) -> Result<Option<Record>, StateError> {
        self.records.get(key).await
    }

    async fn put(&self, write: Write<'_>) -> Result<RecordVersion, StateError> {
        let _connection = self.connection.acquire().await.expect("open");
        let written = self.records.put(write).await;
        sleep(ANSWERS_AFTER).await;
        written
    }

    async fn delete(&self, key: &str, version: Option<RecordVersion>) -> Result<(), StateError> {
        let _connection = self.connection.acquire().await.expect("open");
        self.records.delete(key, version).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>, StateError> {
        self.records.list(prefix, after, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_while_a_renewal_waits_for_the_connection_that_the_work_has() {
    let state = Narrow::new();
    let mut leases = state.leases(3).await;
    let began = Instant::now();
    let work = async {
        for _ in 0..60 {
            state.write_for(LIVES_FOR / 20).await;
        }
        "done"
    };
    assert_eq!(hold(&mut leases, &state, work).await.expect("held"), "done");
    assert!(began.elapsed() >= 3 * LIVES_FOR && leases.iter().all(Lease::is_valid));
    for lease in leases {
        lease.release(&state).await.expect("given back");
    }
    assert_eq!(state.records.keys(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_under_way_when_the_work_is_done_comes_to_its_end() {
    let state = Narrow::new();
    let mut leases = state.leases(1).await;
    let work = sleep(leases[0].renew_every() + ANSWERS_AFTER / 2);
    hold(&mut leases, &state, work).await.expect("held");
    leases.remove(0).release(&state).await.expect("given back");
    assert_eq!(state.records.keys(), [""; 0], "the lease knows its record");
}

#[tokio::test(start_paused = true)]
async fn the_work_ends_with_a_lease_that_somebody_else_has() {
    let state = Narrow::new();
    let mut leases = state.leases(3).await;
    let of_the_second = state.records.keys().remove(1);
    let work = async {
        sleep(LIVES_FOR).await;
        state.delete(&of_the_second, None).await.expect("deleted");
        Lease::take_number(&state, NAME, 1, LIVES_FOR).await.expect("an answer").expect("taken");
        sleep(10 * LIVES_FOR).await;
    };
    let began = Instant::now();
    let error = hold(&mut leases, &state, work).await.expect_err("lost");
    assert!(matches!(error, RenewError::Lost { number: 1, .. }), "{error}");
    assert!(began.elapsed() < 2 * LIVES_FOR);
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_while_the_lease_is_valid() {
    let state = Narrow::new();
    let mut leases = state.leases(1).await;
    let fail = |percent| *state.records.fails.lock().expect("fails") = percent;
    let work = async {
        fail(100);
        sleep(LIVES_FOR / 2).await;
        fail(0);
        sleep(2 * LIVES_FOR).await;
    };
    hold(&mut leases, &state, work).await.expect("one renewal failed, the next one did not");
    let work = async {
        fail(100);
        sleep(2 * LIVES_FOR).await;
    };
    let began = Instant::now();
    let error = hold(&mut leases, &state, work).await.expect_err("over");
    assert!(!leases[0].is_valid() && began.elapsed() < LIVES_FOR, "{error}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_under_a_lease_that_is_over_while_it_is_being_renewed() {
    let state = Narrow::new();
    let mut leases = state.leases(1).await;
    let began = Instant::now();
    let hanging = async {
        state.write_for(10 * LIVES_FOR).await;
    };
    let error = hold(&mut leases, &state, hanging).await.expect_err("over");
    assert!(matches!(error, RenewError::Lost { number: 0, .. }), "{error}");
    assert!(began.elapsed() < LIVES_FOR, "{:?}", began.elapsed());
}

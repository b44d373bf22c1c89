use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const SETTINGS: RetrySettings = RetrySettings {
    tries: 4,
    delay_min: Duration::from_millis(100),
    delay_max: Duration::from_millis(300),
    tokens: 8,
    tokens_per_s: 2.0,
};

fn retry(settings: RetrySettings) -> Retry {
    Retry::new(&settings, Duration::from_secs(10)).expect("settings")
}

fn failed(kind: Kind) -> Failed {
    Failed { kind, code: String::new(), source: "on purpose".into() }
}

/// Calls a service that fails `failures` times; answers how often it was asked.
async fn ask(retry: &Retry, kind: Kind, failures: u32) -> (u32, bool) {
    let asked = AtomicU32::new(0);
    let answer = retry
        .call(|| async {
            let before = asked.fetch_add(1, Ordering::Relaxed);
            if before < failures { Err(failed(kind)) } else { Ok(()) }
        })
        .await;
    (asked.into_inner(), answer.is_ok())
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_while_is_tried_again_and_what_fails_for_good_is_not() {
    let retry = retry(SETTINGS);
    assert_eq!(ask(&retry, Kind::Unavailable, 3).await, (4, true));
    assert_eq!(ask(&retry, Kind::Unavailable, 9).await, (4, false), "tries are bounded");
    assert_eq!(ask(&retry, Kind::Refused, 1).await, (1, false));
    assert_eq!(ask(&retry, Kind::Missing, 1).await, (1, false));
    let usage = retry.meter().usage();
    assert_eq!((usage.requests, usage.retries, usage.throttled), (10, 6, 0));
}

#[tokio::test(start_paused = true)]
async fn waits_are_spread_from_nothing_to_a_bound_that_doubles() {
    let mut longest = [Duration::ZERO; 3];
    for _ in 0..200 {
        let retry = retry(SETTINGS);
        let mut tries = retry.tries();
        for (longest, bound) in longest.iter_mut().zip([100, 200, 300]) {
            let before = Instant::now();
            assert!(tries.again().await);
            // The clock of tokio ticks in milliseconds.
            assert!(before.elapsed() <= Duration::from_millis(bound + 1));
            *longest = before.elapsed().max(*longest);
        }
        assert!(!tries.again().await);
    }
    assert!(longest[0] > Duration::from_millis(80) && longest[2] > Duration::from_millis(240), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_bucket_ends_retries_and_time_fills_it() {
    let retry = retry(RetrySettings { tokens_per_s: 0.5, ..SETTINGS });
    let mut asked = 0;
    for _ in 0..20 {
        asked += ask(&retry, Kind::Unavailable, 9).await.0 - 1;
    }
    assert!((8..=10).contains(&asked), "{asked} retries out of a bucket of 8");
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(ask(&retry, Kind::Unavailable, 2).await, (3, true), "two tokens came back");
    tokio::time::advance(Duration::from_secs(3_600)).await;
    let mut tries = retry.tries();
    let mut full = 0;
    while retry.bucket.lock().expect("bucket").take() {
        full += 1;
    }
    assert_eq!(full, 8, "never more than a full bucket");
    assert!(!tries.again().await);
}

#[tokio::test(start_paused = true)]
async fn throttling_halves_the_bucket_once_a_second() {
    let retry = retry(RetrySettings { tokens: 100, tokens_per_s: 0.0, ..SETTINGS });
    let tokens = || retry.bucket.lock().expect("bucket").tokens;
    (0..10).for_each(|_| retry.throttled());
    assert_eq!((tokens(), retry.meter().usage().throttled), (50.0, 10));
    tokio::time::advance(Duration::from_secs(1)).await;
    (0..10).for_each(|_| retry.throttled());
    assert_eq!(tokens(), 25.0);
    // A request that is throttled is one, too.
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(ask(&retry, Kind::Throttled, 9).await, (4, false));
    assert_eq!(tokens(), 12.5 - 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_given_up() {
    let retry = retry(RetrySettings { tries: 1, ..SETTINGS });
    let before = Instant::now();
    let answer: Result<(), Failed> = retry.call(std::future::pending).await;
    assert_eq!(answer.expect_err("late").kind, Kind::Unavailable);
    assert_eq!(before.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn progress_begins_the_tries_anew() {
    let retry = retry(RetrySettings { tokens: 100, ..SETTINGS });
    let mut tries = retry.tries();
    for _ in 0..10 {
        assert!(tries.again().await);
        assert!(tries.again().await);
        tries.progressed();
    }
}

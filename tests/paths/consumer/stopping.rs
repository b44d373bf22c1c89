//! The orderly stop: nothing stranded, no attempt burnt, in time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use support::until;
use tokio::sync::Notify;
use tokio::time::Instant;
use worker::{Queue, Verdict};

use super::bench::{Bench, MS};
use super::failing::Spy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_work_finish_and_gives_back_the_rest_without_burning_attempts() {
    let bench = Bench::new().await;
    let quick: Vec<String> = (0..4).map(|n| format!("quick {n}")).collect();
    let stuck: Vec<String> = (0..4).map(|n| format!("stuck {n}")).collect();
    let waiting: Vec<String> = (0..10).map(|n| format!("waiting {n}")).collect();
    let first: Vec<&str> = quick.iter().chain(&stuck).map(String::as_str).collect();
    bench.send(&first).await;
    let mut settings = bench.settings();
    (settings.visible_for, settings.stop_grace) = (60_000 * MS, 700 * MS);
    let go_on = Arc::new(Notify::new());
    let waits = Arc::clone(&go_on);
    let running = bench.start(settings, move |name| {
        let waits = Arc::clone(&waits);
        async move {
            if name.starts_with("quick") {
                waits.notified().await
            } else {
                std::future::pending().await
            }
            Verdict::Done
        }
        .boxed()
    });
    until("all slots are taken", async || bench.book.calls_of_all() == 8).await;
    bench.send(&waiting.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let asked = Instant::now();
    running.stop.cancel();
    go_on.notify_waiters();
    let report = running.stop().await;
    let took = asked.elapsed();

    assert!(took >= 700 * MS && took < 3_700 * MS, "the stop took {took:?}");
    assert_eq!((report.done, report.released, report.lost), (4, 4, 0));
    assert!(quick.iter().all(|name| bench.book.begun(name) == 1 && bench.book.forgiven(name) == 0));
    assert!(
        stuck.iter().all(|name| bench.book.begun(name) == 0 && bench.book.forgiven(name) == 1),
        "an attempt was burnt"
    );
    assert_eq!(bench.depth().await, (14, 0), "something is stranded");
    let mut bodies: Vec<String> = Vec::new();
    for delivery in bench.queue.receive(100, 1_000 * MS, Duration::ZERO).await.expect("a receive") {
        bodies.push(String::from_utf8(delivery.body).expect("text"));
    }
    bodies.sort();
    let expected: Vec<String> = stuck.into_iter().chain(waiting).collect();
    assert_eq!(bodies, expected, "another receiver gets exactly what was not done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_arrive_at_the_moment_of_the_stop_are_not_stranded() {
    for round in 0..10 {
        let bench = Bench::new().await;
        let spy = Arc::new(Spy::new(bench.queue.clone()));
        let mut settings = bench.settings();
        (settings.visible_for, settings.receive_wait) = (60_000 * MS, 5_000 * MS);
        let running = bench.start_on(Arc::clone(&spy) as _, settings, |_| async { Verdict::Done }.boxed());
        until("it receives", async || spy.receives.load(Ordering::SeqCst) > 0).await;
        let names: Vec<String> = (0..20).map(|n| format!("{round}-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sending = bench.send(&names);
        let stopping = async {
            tokio::time::sleep(round % 5 * MS).await;
            running.stop().await
        };
        let (report, ()) = tokio::join!(stopping, sending);
        let (visible, hidden) = bench.depth().await;
        assert_eq!((report.done + visible, hidden), (20, 0), "round {round}: {report:?}");
        let begun: u32 = names.iter().map(|name| bench.book.begun(name)).sum();
        assert_eq!(u64::from(begun), report.done, "round {round}: an attempt was burnt");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspects_that_wait_for_their_turn_are_given_back_at_a_stop() {
    let bench = Bench::new().await;
    bench.send(&["s1", "s2", "s3"]).await;
    for _ in 0..3 {
        let received = bench.queue.receive(10, 60_000 * MS, Duration::ZERO).await.expect("a receive");
        let back: Vec<_> = received.into_iter().map(|delivery| (delivery.receipt, Duration::ZERO)).collect();
        bench.queue.change_visibility(&back).await.expect("given back");
    }
    let mut settings = bench.settings();
    (settings.visible_for, settings.stop_grace) = (60_000 * MS, 200 * MS);
    let running = bench.start(settings, |_| std::future::pending().boxed());
    until("one suspect is in work, the others wait", async || {
        bench.book.calls_of_all() == 1 && bench.depth().await == (0, 3)
    })
    .await;
    let report = running.stop().await;
    assert_eq!(report.released, 3);
    assert_eq!(bench.depth().await, (3, 0));
    assert!(["s1", "s2", "s3"].iter().all(|name| bench.book.begun(name) == 0), "an attempt was burnt");
}

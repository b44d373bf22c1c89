//! The consume loop over the embedded queue: what `worker::Consumer` promises.

mod bench;
mod failing;
mod hanging;
mod stopping;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bench::{Bench, MS, again, bury};
use futures::FutureExt;
use support::until;
use tokio::sync::Notify;
use tokio::time::Instant;
use worker::{Queue, Verdict};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_acknowledged_only_after_it_is_handled() {
    let bench = Bench::new().await;
    let go_on = Arc::new(Notify::new());
    let waits = Arc::clone(&go_on);
    bench.send(&["a"]).await;
    let running = bench.start(bench.settings(), move |_| {
        let waits = Arc::clone(&waits);
        async move {
            waits.notified().await;
            Verdict::Done
        }
        .boxed()
    });
    until("the handler has begun", async || bench.book.begun("a") == 1).await;
    assert_eq!(bench.depth().await, (0, 1), "the message is hidden, not deleted, while it is handled");
    go_on.notify_one();
    until("the message is deleted", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.done, bench.book.begun("a")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn again_returns_after_its_delay_and_counts() {
    let bench = Bench::new().await;
    bench.send(&["a"]).await;
    let book = Arc::clone(&bench.book);
    let running = bench.start(bench.settings(), move |_| {
        let first = book.begun("a") == 1;
        async move { if first { again("unlucky", Some(400 * MS)) } else { Verdict::Done } }.boxed()
    });
    until("the message is deleted", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.again, report.done), (1, 1));
    let calls = bench.book.calls("a");
    let between = calls[1].duration_since(calls[0]);
    assert!(between >= 400 * MS, "it came back after {between:?}");
    assert_eq!((bench.book.begun("a"), bench.book.classes("a")), (2, vec!["unlucky".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn again_without_a_delay_backs_off_and_the_delay_grows() {
    let bench = Bench::new().await;
    bench.send(&["a"]).await;
    let mut settings = bench.settings();
    settings.backoff = bench::backoff(100, 400);
    let book = Arc::clone(&bench.book);
    let running = bench.start(settings, move |_| {
        let more = book.begun("a") < 3;
        async move { if more { again("unlucky", None) } else { Verdict::Done } }.boxed()
    });
    until("the message is deleted", async || bench.depth().await == (0, 0)).await;
    running.stop().await;
    let calls = bench.book.calls("a");
    let gaps: Vec<Duration> = calls.windows(2).map(|two| two[1].duration_since(two[0])).collect();
    assert!(gaps[0] >= 100 * MS && gaps[1] >= 200 * MS, "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_heartbeat_keeps_long_work_from_being_delivered_twice() {
    let bench = Bench::new().await;
    bench.send(&["long", "long too"]).await;
    let mut settings = bench.settings();
    settings.visible_for = 600 * MS;
    let running = bench.start(settings, |_| {
        async {
            tokio::time::sleep(1_800 * MS).await;
            Verdict::Done
        }
        .boxed()
    });
    until("both are in work", async || bench.book.calls_of_all() == 2).await;
    let other = bench.queue.clone();
    until("the messages are deleted", async || {
        let stolen = other.receive(10, 10 * MS, Duration::ZERO).await.expect("a receive");
        assert!(stolen.is_empty(), "a message in work was delivered to somebody else");
        bench.depth().await == (0, 0)
    })
    .await;
    let report = running.stop().await;
    assert_eq!((report.done, report.lost), (2, 0));
    assert_eq!(bench.book.calls_of_all(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_are_in_flight_than_the_bound_and_all_slots_are_used() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..60).map(|n| format!("m{n}")).collect();
    bench.send(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let most = Arc::new(bench::Gauge::default());
    let gauge = Arc::clone(&most);
    let mut settings = bench.settings();
    (settings.in_flight, settings.receive_min) = (4, 2);
    let running = bench.start(settings, move |_| {
        let gauge = Arc::clone(&gauge);
        async move {
            let _inside = gauge.enter();
            tokio::time::sleep(15 * MS).await;
            Verdict::Done
        }
        .boxed()
    });
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!(report.done, 60);
    assert_eq!(most.most(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspects_are_handled_one_at_a_time_and_delay_nobody_else() {
    let bench = Bench::new().await;
    bench.send(&["suspect 1", "suspect 2", "suspect 3"]).await;
    for _ in 0..3 {
        let received = bench.queue.receive(10, 60_000 * MS, Duration::ZERO).await.expect("a receive");
        let back: Vec<_> = received.into_iter().map(|delivery| (delivery.receipt, Duration::ZERO)).collect();
        assert_eq!(back.len(), 3);
        bench.queue.change_visibility(&back).await.expect("given back");
    }
    let most = Arc::new(bench::Gauge::default());
    let gauge = Arc::clone(&most);
    let fresh_done = Arc::new(AtomicUsize::new(0));
    let fresh = Arc::clone(&fresh_done);
    let running = bench.start(bench.settings(), move |name| {
        let (gauge, fresh) = (Arc::clone(&gauge), Arc::clone(&fresh));
        async move {
            if name.starts_with("fresh") {
                fresh.fetch_add(1, Ordering::SeqCst);
                return Verdict::Done;
            }
            let _inside = gauge.enter();
            // Each suspect holds its place until both neighbours have passed.
            until("neighbours are done", async || fresh.load(Ordering::SeqCst) == 2).await;
            tokio::time::sleep(50 * MS).await;
            Verdict::Done
        }
        .boxed()
    });
    until("a suspect is in work", async || bench.book.calls_of_all() > 0).await;
    bench.send(&["fresh 1", "fresh 2"]).await;
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.done, most.most()), (5, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_can_never_succeed_is_buried_at_once() {
    let bench = Bench::new().await;
    bench.send(&["hopeless", "good"]).await;
    let running = bench.start(bench.settings(), |name| {
        async move { if name == "hopeless" { bury("impossible") } else { Verdict::Done } }.boxed()
    });
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.buried, report.done), (1, 1));
    assert_eq!(bench.book.end_of("hopeless"), Some(("buried", "impossible".to_owned())));
    assert_eq!(bench.book.begun("hopeless"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_message_is_put_aside_with_its_bytes() {
    let bench = Bench::new().await;
    bench.send(&["?\u{1} {\"broken\": \u{00e9}", "good"]).await;
    let running = bench.start(bench.settings(), |_| async { Verdict::Done }.boxed());
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.unreadable, report.done), (1, 1));
    let aside = bench.book.aside();
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0].0, "?\u{1} {\"broken\": \u{00e9}".as_bytes());
    assert_eq!(aside[0].1.class, "unreadable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_without_work_left_is_dropped_and_an_unknown_one_is_kept_aside() {
    let bench = Bench::new().await;
    bench.send(&["settled before", "unknown here", "good"]).await;
    let running = bench.start(bench.settings(), |_| async { Verdict::Done }.boxed());
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.dropped, report.unreadable, report.done), (1, 1, 1));
    assert_eq!(bench.book.aside()[0].0, b"unknown here");
    assert!(bench.book.calls("settled before").is_empty() && bench.book.calls("unknown here").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_without_work_is_quick() {
    let bench = Bench::new().await;
    let mut settings = bench.settings();
    settings.receive_wait = Duration::from_secs(20);
    let running = bench.start(settings, |_| async { Verdict::Done }.boxed());
    tokio::time::sleep(50 * MS).await;
    let asked = Instant::now();
    running.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(15), "an idle consumer took {:?} to stop", asked.elapsed());
}

//! Handlers that make no progress: who notices, who ends them, and what becomes of their messages.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use support::until;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::Verdict;
use worker::supervisor::{Kind, Outcome, Tree};

use super::bench::{Bench, MS};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_hangs_is_started_again_and_its_message_parks_after_its_last_attempt() {
    let bench = Bench::new().await;
    let mut settings = bench.settings();
    (settings.in_flight, settings.attempts_max) = (2, 2);
    (settings.hang_after, settings.visible_for) = (300 * MS, 900 * MS);
    let consumer = bench.consumer(Arc::new(bench.queue.clone()), settings, |name| {
        async move {
            if name == "hangs" {
                std::future::pending().await
            }
            Verdict::Done
        }
        .boxed()
    });
    bench.send(&["hangs", "a", "b", "c"]).await;
    let tree = Tree::new("process", vec![consumer.child()]).expect("a tree");
    let (vitals, stop) = (tree.vitals(), CancellationToken::new());
    let running = tokio::spawn(tree.run(stop.clone()));
    until("the others are done", async || consumer.report().done == 3).await;
    until("it is parked", async || bench.book.end_of("hangs").is_some()).await;
    assert_eq!(bench.book.end_of("hangs"), Some(("parked", "no answer".to_owned())));
    assert_eq!(bench.book.calls("hangs").len(), 2, "each hang is an attempt");
    bench.send(&["d", "e"]).await;
    until("the handlers still handle", async || consumer.report().done == 5).await;
    stop.cancel();
    assert_eq!(running.await.expect("no panic"), Outcome::Stopped);
    let hangs: u64 = vitals.all().map(|(_, counts)| counts.stops(Kind::Hang)).sum();
    assert_eq!(hangs, 2);
    assert_eq!(bench.depth().await, (0, 0), "something is stranded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vitals_name_the_handler_that_is_silent_and_nobody_who_waits_for_work() {
    let bench = Bench::new().await;
    let mut settings = bench.settings();
    settings.in_flight = 2;
    let consumer =
        bench.consumer(Arc::new(bench.queue.clone()), settings, |_| std::future::pending::<Verdict>().boxed());
    let tree = Tree::new("process", vec![consumer.child()]).expect("a tree");
    let (vitals, stop) = (tree.vitals(), CancellationToken::new());
    let running = tokio::spawn(tree.run(stop.clone()));
    let born = Instant::now();
    until("it has waited in vain several times", async || born.elapsed() > 1_000 * MS).await;
    let (_, silent_for) = vitals.stalest().expect("children");
    assert!(silent_for < 600 * MS, "idle, and somebody is silent for {silent_for:?}");
    bench.send(&["a"]).await;
    let stale = || vitals.stalest().filter(|(_, silent_for)| *silent_for > 1_000 * MS);
    until("somebody is silent", async || stale().is_some()).await;
    let (child, _) = stale().expect("still");
    assert!(child.starts_with("process/test/handlers/"), "{child}");
    running.abort();
}

/// The process is ended with it: a second run beside the first would share its message.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_makes_the_supervisor_give_up() {
    let bench = Bench::new().await;
    let mut settings = bench.settings();
    (settings.hang_after, settings.stop_grace) = (200 * MS, 200 * MS);
    let running = bench.start(settings, |_| {
        async {
            std::thread::sleep(Duration::from_secs(8));
            Verdict::Done
        }
        .boxed()
    });
    bench.send(&["blocks"]).await;
    let began = Instant::now();
    let gave_up = running.consumer.await.expect("no panic").expect_err("the supervisor gave up");
    assert!(began.elapsed() < Duration::from_secs(7), "it waited for {:?}", began.elapsed());
    assert!(gave_up.is_final(), "{gave_up}");
    let words = gave_up.to_string();
    assert!(words.contains("process/test/handlers/") && words.contains("its task cannot be ended"), "{words}");
    assert_eq!(bench.book.begun("blocks"), 1, "the attempt counts");
}

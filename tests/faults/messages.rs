//! The message path with its services killed at random: what was accepted is not lost, and the read model is the fold of the log.

use std::time::Duration;

use support::Program;
use support::message_path::{Feed, READ_MODEL, READS, Served, WRITES, push};
use tempfile::TempDir;

use crate::schedule::schedules;

/// Events of a schedule, and rooms over which they are dealt.
const EVENTS: usize = 300;
const ROOMS: u64 = 5;

async fn killed(seed: u64) {
    let feed = Feed::random(seed, EVENTS, ROOMS);
    let folder = TempDir::new().expect("a folder");
    let tables = folder.path().join("tables");
    feed.chat().write_csv(&tables);
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &folder.path().join("data"));
    program.run(&format!("import {}", tables.display())).exits(0);
    let served = Served::new(
        &program
            .with("LANNER_EVENT_LOG_MEMBER_TIMEOUT_MS", 1_000)
            .with("LANNER_WRITE_API_APPEND_TIMEOUT_MS", 1_000)
            .with("LANNER_WORKERS_BACKOFF_MIN_MS", 20),
    );
    served.start_all().await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kills = 0;
    let killing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(random.u64(20..400))).await;
            let job = [WRITES, WRITES, READ_MODEL, READ_MODEL, READS][random.usize(..5)];
            served.kill(job);
            tokio::time::sleep(Duration::from_millis(random.u64(..150))).await;
            served.start(job);
            kills += 1;
        }
    };
    let pushed = tokio::select! {
        pushed = push(&served, &feed, 4) => pushed,
        () = killing => unreachable!("it never ends"),
    };
    // The job that was killed last may not run.
    [WRITES, READ_MODEL, READS].into_iter().for_each(|job| served.start_if_ended(job));
    served.answer().await;
    pushed.check(&served, &feed).await;
    println!("seed {seed}: {kills} kills, {} requests repeated", pushed.repeated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_when_what_was_accepted_is_read() {
    for seed in schedules() {
        killed(seed).await;
    }
}

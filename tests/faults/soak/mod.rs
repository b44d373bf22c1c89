//! Random schedules over the whole limit path: every port fails now and then, processes are killed and started again, an
//! operator interferes; then what must hold is checked.
//!
//! `LANNER_SCHEDULES` (default 10) is the number of schedules, `LANNER_SEED` the first seed, `LANNER_AT_ONCE` (default 24) how many
//! run at the same time: they mostly wait. A schedule that fails prints the command that runs it alone.

mod check;
mod operator;
mod process;
mod schedule;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use support::waiting::number_from_env;

use self::schedule::{Tally, schedule};

#[test]
fn no_organization_is_lost_or_counted_twice_in_random_schedules_of_faults_kills_and_operators() {
    let first = number_from_env("LANNER_SEED", 1);
    let end = first + number_from_env("LANNER_SCHEDULES", 10);
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..number_from_env("LANNER_AT_ONCE", 24) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| schedule(seed))) {
                        Ok(tally) => total.lock().expect("a tally").add(&tally),
                        Err(_) => {
                            failed.store(true, Ordering::Relaxed);
                            eprintln!("schedule {seed} failed; alone: {}", command(seed));
                        }
                    }
                }
            });
        }
    });
    println!("{}", total.lock().expect("a tally"));
    assert!(!failed.load(Ordering::Relaxed), "a schedule failed: its seed and how to run it alone stand above");
}

fn command(seed: u64) -> String {
    format!("LANNER_SEED={seed} LANNER_SCHEDULES=1 cargo test --test faults soak:: -- --nocapture")
}

/// The entry of children; by itself it does nothing.
#[test]
fn a_child_of_a_schedule_lives_its_life() {
    process::live_as_a_child();
}

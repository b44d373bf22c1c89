//! Random schedules over the whole limit path: every port fails now and then, processes are killed and started again, an
//! operator interferes; then what must hold is checked.
//!
//! `LANNER_SCHEDULES` (default 10) is the number of schedules, `LANNER_SEED` the first seed, `LANNER_AT_ONCE` (default 16) how many
//! run at the same time: they mostly wait. A schedule that fails prints the command that runs it alone. A seed decides everything
//! but how the threads and the disk of this machine take turns: `LANNER_REPEAT` (default 1) runs each seed several times.

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
    let repeat = number_from_env("LANNER_REPEAT", 1).max(1);
    let count = number_from_env("LANNER_SCHEDULES", 10) * repeat;
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..number_from_env("LANNER_AT_ONCE", 16) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    let seed = first + index / repeat;
                    match catch_unwind(AssertUnwindSafe(|| schedule(seed))) {
                        Ok(tally) => note(&mut total.lock().expect("a tally"), &tally),
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

fn note(total: &mut Tally, one: &Tally) {
    total.add(one);
    if total.schedules.is_multiple_of(100) {
        println!("{} schedules hold", total.schedules);
    }
}

fn command(seed: u64) -> String {
    format!("LANNER_SEED={seed} LANNER_SCHEDULES=1 LANNER_REPEAT=20 cargo test --test faults soak:: -- --nocapture")
}

/// The entry of children; by itself it does nothing.
#[test]
fn a_child_of_a_schedule_lives_its_life() {
    process::live_as_a_child();
}

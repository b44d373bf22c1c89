//! SIGTERM at a random point: an orderly stop in less than 10 s, no attempt burnt, and the same run goes on.

use std::process::Child;
use std::time::Duration;

use super::schedule::{RUN, Schedule, Template, look, schedules};
use tokio::time::Instant;

/// Longer than a stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Sends SIGTERM and waits for the end. Answers the exit code and how long the end took.
fn terminate(mut child: Child) -> (Option<i32>, Duration) {
    let asked = Instant::now();
    let sent = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    let ended = child.wait().expect("an end");
    (ended.code(), asked.elapsed())
}

/// Starts, stops and starts again; answers whether the stop fell inside the run.
async fn stop_and_go_on(template: &mut Template, schedule: &Schedule, part: f64) -> bool {
    let child = schedule.program.start(RUN);
    tokio::time::sleep(template.undisturbed.mul_f64(part)).await;
    let (code, took) = terminate(child);
    // Where a run takes seconds, ten are enough for any stop; a busy machine gets its share more.
    let at_most = STOP_MAX.max(5 * template.measured);
    assert!(took < at_most, "the stop took {took:?}, more than {at_most:?}");
    if code.is_none() {
        // The signal came before the program listened to it: as good as a kill, and nothing had begun.
        assert!(look(&schedule.data_dir).await.rows.iter().all(|row| row.started_at.is_none()), "killed in its work");
    } else {
        assert!(matches!(code, Some(0 | 75)), "exit code {code:?}");
    }
    let stopped = look(&schedule.data_dir).await;
    assert!(stopped.rows.iter().all(|row| row.error.is_none()), "a stop is no failure");
    schedule.program.run(RUN).exits(0);
    let inside = stopped.is_inside() && stopped.rows.iter().any(|row| row.started_at.is_some());
    if !inside {
        template.adapt(&stopped);
    }
    inside
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_stop_burns_no_attempt() {
    let mut template = Template::new().await;
    let (mut stops, mut inside) = (0, 0);
    for seed in schedules() {
        println!("stopped: LANNER_SEED={seed}");
        let mut schedule = template.schedule(&format!("stopped-{seed}"));
        // A second attempt in either job would park the organization.
        schedule.program = schedule.program.with("LANNER_WORKERS_ATTEMPTS_MAX", 1);
        let part = 0.2 + 0.6 * fastrand::Rng::with_seed(seed).f64();
        inside += u32::from(stop_and_go_on(&mut template, &schedule, part).await);
        stops += 1;
        let rows = template.check(&schedule).await;
        assert!(rows.iter().all(|row| row.attempts == 1), "an attempt was burnt");
        std::fs::remove_dir_all(&schedule.data_dir).expect("removed");
    }
    println!("{inside} of {stops} stops fell inside the run");
    assert!(inside > 0, "none of {stops} stops fell inside the run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_without_grace_drops_the_work_and_forgives_it() {
    let mut template = Template::new().await;
    for seed in schedules().take(3) {
        println!("stopped without grace: LANNER_SEED={seed}");
        let mut schedule = template.schedule(&format!("graceless-{seed}"));
        schedule.program = schedule.program.with("LANNER_WORKERS_STOP_GRACE_MS", 0);
        let part = 0.3 + 0.4 * fastrand::Rng::with_seed(seed).f64();
        stop_and_go_on(&mut template, &schedule, part).await;
        template.check(&schedule).await;
    }
}

//! Killed, stopped, throttled, and without a database for a while: nothing is lost, nothing counts twice, the run completes.

use std::process::Child;
use std::time::Duration;

use chat::ledger::{Phase, State};
use support::waiting::number_from_env;
use support::{Faults, FaultyProxy, Gate, Program, QueueServer, SqlServer};
use tokio::time::Instant;

use super::stage::{Stage, instant, not_run, on_each_server, persevere, run_line};

on_each_server!(
    killed_at_random_and_started_again,
    stopped_at_random_no_attempt_is_burnt,
    without_a_database_for_a_while,
);

const ORGANIZATIONS: u64 = 150;
/// Longer than a stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Schedules take seconds each: at most so many.
const SCHEDULES_MAX: u64 = 100;

/// Small batches, so that a run takes a while.
fn slowly(program: &Program) -> Program {
    program.clone().with("LANNER_WORKERS_IN_FLIGHT", 10).with("LANNER_WORKERS_BATCH_MAX", 4)
}

/// How often something happens on one of the two servers.
fn schedules() -> u64 {
    (number_from_env("LANNER_SCHEDULES", 10) / 2).clamp(1, SCHEDULES_MAX / 2)
}

/// Every organization is settled once, and as it must be.
async fn check(stage: &Stage, run: &str, nth: u64) {
    let (progress, rows) = stage.look(run).await;
    let progress = progress.expect("the run");
    assert_eq!(progress.phase(), Phase::Finished);
    let (done, expected) = (progress.counts.of(State::Done), progress.counts.expected());
    assert_eq!((done, expected, rows.len() as u64), (stage.chat.free(), done, done), "{:?}", progress.counts);
    stage.check_limits(instant(nth));
}

/// How long a run takes that nobody disturbs.
fn undisturbed(stage: &Stage, program: &Program) -> Duration {
    let started = Instant::now();
    program.run(&run_line("undisturbed", instant(0))).exits(0);
    stage.check_limits(instant(0));
    println!("an undisturbed run takes {:?}", started.elapsed());
    started.elapsed()
}

/// Both workers in processes of their own, which end with this.
struct Workers(Vec<Child>);

impl Workers {
    fn start(program: &Program) -> Self {
        Self(["collect-rooms", "merge-newest"].into_iter().map(|job| program.start(job)).collect())
    }

    #[track_caller]
    fn still_work(&mut self) {
        for worker in &mut self.0 {
            assert!(worker.try_wait().expect("a look").is_none(), "a worker ended because something was gone");
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            worker.kill().expect("a kill");
            worker.wait().expect("an end");
        }
    }
}

async fn killed_at_random_and_started_again(server: SqlServer) {
    let Some(stage) = Stage::filled(server, ORGANIZATIONS).await else { return };
    let program = slowly(&stage.program);
    let takes = undisturbed(&stage, &program);
    let mut random = fastrand::Rng::with_seed(number_from_env("LANNER_SEED", 1));
    let mut inside = 0;
    for nth in 1..=schedules() {
        let run = format!("killed-{nth}");
        let line = run_line(&run, instant(nth));
        for _ in 0..2 {
            let mut child = program.start(&line);
            tokio::time::sleep(takes.mul_f64(0.1 + 0.7 * random.f64())).await;
            child.kill().expect("a kill");
            child.wait().expect("an end");
            let (progress, _) = stage.look(&run).await;
            inside += u32::from(progress.is_some_and(|progress| progress.phase() != Phase::Finished));
        }
        program.run(&format!("{line} --wait")).exits(0);
        check(&stage, &run, nth).await;
    }
    println!("{inside} kills fell inside a run");
    assert!(inside > 0, "no kill fell inside a run");
}

async fn stopped_at_random_no_attempt_is_burnt(server: SqlServer) {
    let Some(stage) = Stage::filled(server, ORGANIZATIONS).await else { return };
    // A second attempt in either job would park the organization.
    // Nor may a message come back because a busy machine renews it late.
    let program =
        slowly(&stage.program).with("LANNER_WORKERS_ATTEMPTS_MAX", 1).with("LANNER_WORKERS_VISIBLE_FOR_MS", 10_000);
    let takes = undisturbed(&stage, &program);
    let mut random = fastrand::Rng::with_seed(number_from_env("LANNER_SEED", 1));
    let mut inside = 0;
    for nth in 1..=schedules() {
        let run = format!("stopped-{nth}");
        let line = run_line(&run, instant(nth));
        let mut child = program.start(&line);
        tokio::time::sleep(takes.mul_f64(0.2 + 0.6 * random.f64())).await;
        let asked = Instant::now();
        std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
        child.wait().expect("an end");
        let took = asked.elapsed();
        assert!(took < STOP_MAX.max(5 * takes), "the stop took {took:?}");
        let (progress, rows) = stage.look(&run).await;
        inside += u32::from(progress.is_some_and(|progress| progress.phase() != Phase::Finished));
        assert!(rows.iter().all(|row| row.error.is_none()), "a stop is no failure");
        program.run(&format!("{line} --wait")).exits(0);
        check(&stage, &run, nth).await;
        let (_, rows) = stage.look(&run).await;
        assert!(rows.iter().all(|row| row.attempts == 1), "an attempt was burnt");
    }
    println!("{inside} stops fell inside a run");
    assert!(inside > 0, "no stop fell inside a run");
}

async fn without_a_database_for_a_while(server: SqlServer) {
    let Some(stage) = Stage::filled(server, ORGANIZATIONS).await else { return };
    let place =
        stage.services.sql_url.split('/').nth(2).expect("a host").rsplit('@').next().expect("a host").to_owned();
    let gate = Gate::start(&place).await;
    let through = stage.services.sql_url.replace(&place, &gate.address);
    let program = slowly(&stage.program)
        .with("LANNER_DIRECTORY_URL", &through)
        .with("LANNER_LEDGER_URL", &through)
        .with("LANNER_WORKERS_ATTEMPTS_MAX", 1_000);
    let takes = undisturbed(&stage, &program);
    let mut workers = Workers::start(&program);
    let line = format!("extract-organizations --run gone --as-of {} --max-messages 25", instant(1));
    program.run(&line).exits(0);
    tokio::time::sleep(takes.mul_f64(0.2)).await;
    gate.shut();
    program.run("status --run gone").exits(75);
    let gone_s = if number_from_env("LANNER_SCHEDULES", 10) > 100 { 30 } else { 6 };
    tokio::time::sleep(Duration::from_secs(gone_s)).await;
    workers.still_work();
    gate.open();
    program.run(&format!("{line} --wait")).exits(0);
    check(&stage, "gone", 1).await;
}

/// Killed and started again, the queue server has forgotten every message. Not once for each SQL server: nothing of it is about SQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_queue_server_is_started_again() {
    let Some(mut stage) = Stage::new(SqlServer::Postgres, ORGANIZATIONS).await else { return };
    let mut queues = match QueueServer::start(stage.folder.path()).await {
        Ok(queues) => queues,
        Err(reason) => return not_run(&format!("a queue server that is started again: {reason}")),
    };
    stage.program = stage.program.clone().with("LANNER_SQS_ENDPOINT", queues.url());
    stage.program.run("provision --reason test").exits(0);
    stage.import();
    let program = slowly(&stage.program).with("LANNER_WORKERS_ATTEMPTS_MAX", 1_000);
    let takes = undisturbed(&stage, &program);
    let mut workers = Workers::start(&program);
    let line = format!("extract-organizations --run restarted --as-of {} --max-messages 25", instant(1));
    program.run(&line).exits(0);
    for _ in 0..2 {
        tokio::time::sleep(takes.mul_f64(0.2)).await;
        let (progress, _) = stage.look("restarted").await;
        assert_ne!(progress.expect("the run").phase(), Phase::Finished, "it was finished before anything happened");
        queues.restart_after(Duration::from_secs(2)).await;
    }
    workers.still_work();
    program.run(&format!("{line} --wait")).exits(0);
    check(&stage, "restarted", 1).await;
}

/// Not once for each SQL server: nothing of it is about SQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn throttled_with_lost_answers_and_partial_batches() {
    let Some(stage) = Stage::filled(SqlServer::MySql, ORGANIZATIONS).await else { return };
    let seed = number_from_env("LANNER_SEED", 1);
    let dynamodb = FaultyProxy::start(&stage.services.dynamodb_url, Faults::new(seed, 20)).await;
    let sqs = FaultyProxy::start(&stage.services.sqs_url, Faults::new(seed + 1, 10)).await;
    let program = stage
        .program
        .clone()
        .with("LANNER_DYNAMODB_ENDPOINT", &dynamodb.url)
        .with("LANNER_SQS_ENDPOINT", &sqs.url)
        .with("LANNER_WORKERS_ATTEMPTS_MAX", 1_000);
    persevere(&program, &format!("{} --wait", run_line("throttled", instant(1))));
    check(&stage, "throttled", 1).await;
}

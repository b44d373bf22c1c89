//! The message path on services: Kafka, DynamoDB, a SQL directory.

use std::time::Duration;

use support::message_path::{Another, Feed, READ_MODEL, READS, Served, WRITES, push};
use support::waiting::number_from_env;
use support::{Broker, Program, SqlServer, until};

use super::stage::{Stage, not_run, on_each_server, persevere};

on_each_server!(a_feed_pushed_over_http_is_read_back, limits_are_kept_live_and_built_by_a_replay);

const FOLLOW: &str = "follow-limits";
/// How often a service is killed.
const KILLS: usize = 12;
/// How often the broker is killed, or a member comes or goes.
const DISTURBANCES: usize = 16;

/// The chat of a feed on services, with the log in the Kafka of all tests. None where the servers are not there, which is said.
async fn program_for(feed: &Feed, server: SqlServer) -> Option<(Stage, Program)> {
    let Ok(brokers) = std::env::var("LANNER_TEST_KAFKA_URL") else {
        not_run("the message path on services: LANNER_TEST_KAFKA_URL is not set (tests/servers sets it)");
        return None;
    };
    let (stage, program) = program_on(&brokers, server).await?;
    let found = program.run("doctor").exits(42).out;
    assert!(found.contains("topics") && found.contains("do not exist"), "{found}");
    program.run("provision --reason test").exits(0);
    import(feed, &stage, &program);
    Some((stage, program))
}

async fn program_on(brokers: &str, server: SqlServer) -> Option<(Stage, Program)> {
    let stage = Stage::new(server, 1).await?;
    let program = stage
        .program
        .clone()
        .with("LANNER_CONFIG", concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/services/message-path.toml"))
        .with("LANNER_EVENT_LOG_BOOTSTRAP", brokers)
        .with("LANNER_EVENT_LOG_TOPIC_PREFIX", &stage.services.prefix)
        .with("LANNER_EVENT_LOG_PARTITIONS", 4)
        .with("LANNER_EVENT_LOG_SESSION_TIMEOUT_MS", 3_000);
    Some((stage, program))
}

fn import(feed: &Feed, stage: &Stage, program: &Program) {
    let tables = stage.folder.path().join("feed");
    feed.chat().write_csv(&tables);
    persevere(program, &format!("import {}", tables.display()));
}

async fn a_feed_pushed_over_http_is_read_back(server: SqlServer) {
    // What comes first of it, more on one of the servers; all of it in the soak.
    let all = number_from_env("LANNER_SCHEDULES", 10) > 100;
    let many = if all { usize::MAX } else { [500, 2_500][usize::from(server == SqlServer::Postgres)] };
    let Some(feed) = Feed::find(many) else { return };
    let Some((stage, program)) = program_for(&feed, server).await else { return };
    let served = Served::new(&program);
    served.start_all().await;
    let pushed = push(&served, &feed, 48).await;
    pushed.check(&served, &feed).await;
    for job in [WRITES, READ_MODEL, READS] {
        assert_eq!(served.stop(job), Some(0), "{job}");
    }
    assert!(!stage.data_dir().exists(), "a data directory was made");
}

async fn limits_are_kept_live_and_built_by_a_replay(server: SqlServer) {
    let feed = Feed::random(14, 240, 3);
    let Some((_stage, program)) = program_for(&feed, server).await else { return };
    // What drifts is not to be cured before it is seen.
    let program = program
        .with("LANNER_POLICY", "[{max_messages=10}]")
        .with("LANNER_FOLLOW_LIMITS_SAVE_EVERY_MS", 300)
        .with("LANNER_FOLLOW_LIMITS_RECONCILE_EVERY_MS", 0);
    let served = Served::new(&program);
    served.start_all().await;
    let killing = async {
        for _ in 0..3 {
            served.start(FOLLOW);
            tokio::time::sleep(Duration::from_secs(3)).await;
            served.kill(FOLLOW);
        }
        served.start(FOLLOW);
    };
    let (pushed, ()) = tokio::join!(push(&served, &feed, 4), killing);
    pushed.check(&served, &feed).await;
    program.reconciles();
    let limits = program.run("limits export").exits(0).out;
    let limited = limits.lines().find(|line| line.contains(",10,")).expect("somebody has the newest 10");
    let organization = limited.split(',').next().expect("an id");

    let history = || program.run(&format!("limits history --organization {organization} --json")).exits(0).json();
    // It is released by who is first, the operator or who follows. Older is its first limit, where nothing was written before it was one.
    let causes = || {
        let rows = history().as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| Some(row["cause"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    program.run(&format!("organizations set-plan {organization} paid --reason bought")).exits(0);
    program.run(&format!("organizations set-plan {organization} free --reason ended")).exits(0);
    let after_both = ["computed", "released"].map(str::to_owned);
    until("it is limited again", async || causes().starts_with(&after_both)).await;
    program.reconciles();

    program.run("replay --limits").exits(75).says(&["stop follow-limits first"]);
    assert_eq!(served.stop(FOLLOW), Some(0));
    let replayed = program.run("replay --limits --json").exits(0).json();
    assert_eq!((replayed["saved"].as_bool(), replayed["to_read"].as_u64()), (Some(true), Some(0)), "{replayed}");
    served.start(FOLLOW);
    let more = Feed { name: "once more".to_owned(), ..feed };
    push(&served, &more, 4).await;
    until("the shard has heard it", async || {
        let shards = program.run("status --shards --json").exits(0).json();
        shards["shards"][0]["lag_records"] == 0 && shards["shards"][0]["has_caught_up"] == true
    })
    .await;
    program.reconciles();
    assert_eq!(served.stop(FOLLOW), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_on_services_what_was_accepted_is_read() {
    let feed = Feed::random(11, 300, 5);
    let Some((_stage, program)) = program_for(&feed, SqlServer::MySql).await else { return };
    let served = Served::new(&program.with("LANNER_WORKERS_BACKOFF_MIN_MS", 20));
    served.start_all().await;
    let mut random = fastrand::Rng::with_seed(11);
    let killing = async {
        // So many that it comes to its end on a slow machine, too.
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(random.u64(500..3_000))).await;
            let job = [WRITES, READ_MODEL, READS][random.usize(..3)];
            served.kill(job);
            served.start(job);
        }
        std::future::pending().await
    };
    let pushed = tokio::select! {
        pushed = push(&served, &feed, 4) => pushed,
        () = killing => unreachable!("it never ends"),
    };
    pushed.check(&served, &feed).await;
}

/// The broker dies, and members of the group come and go: every room keeps the order in which its events were accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_a_broker_that_dies_and_updaters_that_come_and_go_every_room_keeps_its_order() {
    let mut broker = match Broker::start() {
        Ok(broker) => broker,
        Err(reason) => return not_run(&format!("a broker that dies: {reason}")),
    };
    let feed = Feed::random(12, 600, 8);
    let Some((stage, program)) = program_on(&broker.bootstrap(), SqlServer::Postgres).await else { return };
    until("the broker answers", async || program.run("provision --reason test").code == Some(0)).await;
    import(&feed, &stage, &program);
    let served = Served::new(
        &program.with("LANNER_WORKERS_BACKOFF_MIN_MS", 20).with("LANNER_WRITE_API_APPEND_TIMEOUT_MS", 3_000),
    );
    served.start_all().await;
    let mut random = fastrand::Rng::with_seed(12);
    let mut others = Vec::new();
    let disturbing = async {
        for round in 0..DISTURBANCES {
            tokio::time::sleep(Duration::from_millis(random.u64(200..2_000))).await;
            match round % 4 {
                0 => {
                    broker.kill();
                    tokio::time::sleep(Duration::from_millis(random.u64(..1_000))).await;
                    broker.start_again();
                }
                3 if !others.is_empty() => {
                    // Some are asked to leave, others are killed.
                    let other = others.swap_remove(random.usize(..others.len()));
                    if random.bool() {
                        // 75: it was started while the broker was dead, or could not tell it that it leaves.
                        assert!(matches!(Another::stop(other), Some(0 | 75)), "it leaves in order");
                    }
                }
                _ => others.push(served.start_another_read_model()),
            }
        }
        std::future::pending().await
    };
    let pushed = tokio::select! {
        pushed = push(&served, &feed, 4) => pushed,
        () = disturbing => unreachable!("it never ends"),
    };
    pushed.check(&served, &feed).await;
}

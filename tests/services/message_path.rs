//! The message path on services: Kafka, DynamoDB, a SQL directory.

use std::time::Duration;

use support::message_path::{Feed, READ_MODEL, READS, Served, WRITES, push};
use support::waiting::number_from_env;
use support::{Program, SqlServer};

use super::stage::{Stage, not_run, on_each_server, persevere};

on_each_server!(a_feed_pushed_over_http_is_read_back);

/// How often a service is killed.
const KILLS: usize = 12;

/// The chat of a feed on services, with the log in Kafka. None where the servers are not there, which is said.
async fn program_for(feed: &Feed, server: SqlServer) -> Option<(Stage, Program)> {
    let stage = Stage::new(server, 1).await?;
    let Ok(brokers) = std::env::var("LANNER_TEST_KAFKA_URL") else {
        not_run("the message path on services: LANNER_TEST_KAFKA_URL is not set (tests/servers sets it)");
        return None;
    };
    let program = stage
        .program
        .clone()
        .with("LANNER_CONFIG", concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/services/message-path.toml"))
        .with("LANNER_EVENT_LOG_BOOTSTRAP", brokers)
        .with("LANNER_EVENT_LOG_TOPIC_PREFIX", &stage.services.prefix)
        .with("LANNER_EVENT_LOG_PARTITIONS", 4)
        .with("LANNER_EVENT_LOG_SESSION_TIMEOUT_MS", 3_000);
    let found = program.run("doctor").exits(42).out;
    assert!(found.contains("topics") && found.contains("do not exist"), "{found}");
    program.run("provision --reason test").exits(0);
    let tables = stage.folder.path().join("feed");
    feed.chat().write_csv(&tables);
    persevere(&program, &format!("import {}", tables.display()));
    Some((stage, program))
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

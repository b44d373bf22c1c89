//! The binary from nothing to limits, every command.

use serde_json::Value;
use support::{Program, SqlServer};

use super::stage::{Stage, instant, on_each_server, run_line};

on_each_server!(from_nothing_to_limits_with_every_command, workers_of_their_own_share_the_work);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_made_is_in_the_audit_of_an_embedded_ledger_too() {
    let Some(stage) = Stage::new(SqlServer::MySql, 1).await else { return };
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &stage.data_dir())
        .with("LANNER_QUEUE_ADAPTER", "sqs")
        .with("LANNER_AWS_REGION", "eu-central-1")
        .with("LANNER_AWS_CREDENTIALS", "local")
        .with("LANNER_SQS_ENDPOINT", &stage.services.sqs_url)
        .with("LANNER_SQS_QUEUE_PREFIX", format!("mixed-{}", stage.services.prefix));
    let items = program.run("provision --reason test --json").exits(0).json();
    assert_eq!(items["items"].as_array().map(Vec::len), Some(4), "{items}");
    program.run(&format!("import {}", stage.folder.path().join("tables").display())).exits(0);
    assert!(program.run("audit --json").exits(0).out.contains("\"provision\""));
}

#[track_caller]
fn all(items: &Value, field: &str, expected: bool) {
    let items = items["items"].as_array().expect("items");
    assert_eq!(items.len(), 10, "3 tables, 4 queues, 3 stores in SQL: {items:?}");
    assert!(items.iter().all(|item| item[field] == expected), "{field} is not {expected}: {items:?}");
}

async fn from_nothing_to_limits_with_every_command(server: SqlServer) {
    let Some(stage) = Stage::new(server, 60).await else { return };
    let program = &stage.program;
    all(&program.run("provision --dry-run --json").exits(0).json(), "exists", false);
    let found = program.run("doctor").exits(42).out;
    assert!(found.contains("do not exist") && found.contains("lanner provision"), "{found}");
    program.run(&run_line("early", instant(0))).exits(42);

    let real = program.clone().with("LANNER_AWS_CREDENTIALS", "standard");
    real.run("provision --reason test").exits(2).says(&["DynamoDB and SQS", "--at-aws"]);
    all(&program.run("provision --reason test --json").exits(0).json(), "made", true);
    all(&program.run("provision --reason test --json").exits(0).json(), "made", false);
    stage.import();
    program.run("doctor").exits(0);
    program.run(&run_line("daily", instant(0))).exits(0);
    stage.check_limits(instant(0));

    for line in [
        "status",
        "runs",
        "audit",
        "dead-letters list",
        "compare daily daily",
        "explain --run daily",
        "explain --organization 3",
        "limits get --organization 3",
        "limits history --organization 3",
        "organizations list",
        "organizations show 3",
        "preview --max-messages 9",
        "messages --room 7",
        "rerun --organization 3 --dry-run",
        "runs prune --older-than 1d --dry-run",
    ] {
        program.run(line).exits(0);
    }
    let audit = program.run("audit --json").exits(0).out;
    assert!(audit.contains("provision") && audit.contains("import"), "{audit}");
    program.run("organizations set-plan 3 paid --reason test").exits(0);
    let released = program.run("limits get --organization 3 --json").exits(0).out;
    assert!(released.contains("released"), "{released}");
    assert!(!stage.data_dir().exists(), "no adapter is embedded");
}

async fn workers_of_their_own_share_the_work(server: SqlServer) {
    let Some(stage) = Stage::filled(server, 200).await else { return };
    let mut workers: Vec<_> =
        ["collect-rooms", "merge-newest", "merge-newest"].into_iter().map(|job| stage.program.start(job)).collect();
    let line = format!("extract-organizations --run shared --as-of {} --max-messages 25 --wait", instant(0));
    stage.program.run(&line).exits(0);
    stage.check_limits(instant(0));
    for worker in &mut workers {
        std::process::Command::new("kill").args(["-TERM", &worker.id().to_string()]).status().expect("kill runs");
    }
    for mut worker in workers {
        assert_eq!(worker.wait().expect("an end").code(), Some(0));
    }
}

//! What an operator does with runs: follows, compares, cancels, deletes, and reads who did it.

use chat::ledger::{NewRun, Scope};
use chat::{Policy, RunId, Timestamp};
use serde_json::Value;
use support::Ended;

use super::shop::{RUN, Shop};
use super::{check_ids, check_table, json};

const EXTRACT: &str = "extract-organizations --run waiting --as-of 2026-01-01T00:00:00Z";

/// Runs the command of a line with a reason of several words.
fn with_reason(shop: &Shop, line: &str) -> Ended {
    let words = line.split_whitespace().chain(["--reason", "a customer asked"]);
    shop.program.clone().with("LANNER_ACTOR", "someone").run_with(words)
}

fn names(runs: &Value) -> Vec<&str> {
    runs.as_array().expect("runs").iter().filter_map(|run| run["run"]["id"].as_str()).collect()
}

#[test]
fn two_runs_are_compared_and_the_exit_code_says_whether_they_differ() {
    let shop = Shop::with_run(61);
    let free = shop.chat.free();
    let tighter = "run --run tighter --as-of 2026-01-01T00:00:00Z --max-messages 5";
    shop.program.run(tighter).exits(0);
    let compared = json(shop.program.run("compare daily tighter --examples 2 --json"), 4);
    assert_eq!(compared["same"], false);
    assert_eq!(compared["organizations"]["before"], free);
    let differences = compared["differences"].as_array().expect("differences");
    let of = |change: &str| differences.iter().find(|difference| difference["change"] == change);
    let visible = of("visible_messages").expect("fewer are visible");
    assert_eq!(visible["examples"].as_array().map(Vec::len), Some(2));
    assert!(of("boundary_newer").is_some() && of("boundary_older").is_none(), "{differences:?}");
    let table = shop.program.run("compare daily tighter").exits(4);
    check_table(&table);
    assert!(table.out.contains("boundary is newer"), "{}", table.out);

    let same = shop.program.run("compare latest tighter").exits(0);
    check_table(&same);
    let placed = json(shop.program.run("compare previous latest --json"), 4);
    assert_eq!((placed["before"]["id"].as_str(), placed["after"]["id"].as_str()), (Some("daily"), Some("tighter")));
    shop.program.run("compare daily nobody").exits(2).says(&["nobody", "lanner runs"]);
}

#[test]
fn latest_and_previous_pass_over_runs_of_single_organizations() {
    let shop = Shop::with_run(62);
    let (organization, _) = shop.a_limited_one();
    for _ in 0..3 {
        with_reason(&shop, &format!("rerun --organization {organization}")).exits(0);
    }
    let status = json(shop.program.run("status --run latest --json"), 0);
    assert_eq!(status["run"]["id"], "daily");
    shop.program.run("status --run previous").exits(2).says(&["there is no run previous"]);
}

#[test]
fn a_cancelled_run_is_dropped_by_the_workers_and_kept_in_the_audit() {
    let shop = Shop::new(63);
    let free = shop.chat.free();
    shop.program.run(EXTRACT).exits(0);
    let dry = json(shop.program.run("runs cancel waiting --dry-run --json"), 0);
    assert_eq!((dry["cancelled"].as_bool(), dry["dropped"].as_u64()), (Some(false), Some(free)));
    assert_eq!(json(shop.program.run("status --json"), 0)["phase"], "running");
    shop.program.run("runs cancel waiting").exits(2).says(&["--reason"]);
    shop.program.run_with(["runs", "cancel", "waiting", "--reason", " "]).exits(2);

    let cancelled = with_reason(&shop, "runs cancel waiting").exits(0);
    check_table(&cancelled);
    assert!(cancelled.out.contains(&free.to_string()), "{}", cancelled.out);
    with_reason(&shop, "runs cancel waiting").exits(2).says(&["cancelled", "nothing to cancel"]);
    shop.program.run(RUN).exits(0);
    let status = json(shop.program.run("status --run waiting --json"), 0);
    assert_eq!((status["phase"].as_str(), status["equation"]["not_started"].as_u64()), (Some("cancelled"), Some(free)));
    with_reason(&shop, "runs cancel daily").exits(2).says(&["finished"]);

    let audits = json(shop.program.run_with(["audit", "--action", "runs cancel", "--json"]), 0);
    let audits = audits.as_array().expect("rows");
    assert_eq!(audits.len(), 2, "what is refused leaves no row: {audits:?}");
    assert!(audits[0]["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("cancelled")));
    assert!(audits.iter().all(|row| row["actor"] == "someone" && row["reason"] == "a customer asked"));
    check_table(&shop.program.run("audit --since 1h --limit 3").exits(0));
    assert_eq!(json(shop.program.run("audit --until 1h --json"), 0), Value::Array(Vec::new()));
    shop.program.run("audit --since yesterday").exits(2).says(&["yesterday"]);
}

/// Opens a run as somebody did 40 days ago.
async fn a_run_of_40_days_ago(shop: &Shop) {
    let open = support::place::open(&shop.data_dir(), embedded::Access::Write).await;
    let opened_at = Timestamp::now().minus_millis(40 * 86_400_000);
    let id = RunId::new("ancient").expect("a run id");
    let run = NewRun { id: id.clone(), scope: Scope::AllFree, as_of: opened_at, policy: Policy::default(), opened_at };
    open.ports.ledger.open_run(&run).await.expect("opened");
    let organizations: Vec<_> = (1..=9).map(chat::OrganizationId::from_bits).collect();
    open.ports.ledger.register(&id, &organizations, None, opened_at).await.expect("registered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_runs_are_deleted_by_hand() {
    let shop = Shop::with_run(64);
    a_run_of_40_days_ago(&shop).await;
    let dry = json(shop.program.run("runs prune --dry-run --json"), 0);
    assert_eq!((dry["runs"].as_u64(), dry["organizations"].as_u64()), (Some(1), Some(9)));
    assert_eq!(names(&json(shop.program.run("runs list --json"), 0)), ["daily", "ancient"]);
    shop.program.run("runs prune --older-than 40d").exits(2).says(&["--reason"]);
    let kept = shop.program.clone().with("LANNER_RETENTION_RUNS", "unlimited");
    kept.run("runs prune --dry-run").exits(2).says(&["--older-than"]);

    let pruned = with_reason(&shop, "runs prune --older-than 41d --json").exits(0).json();
    assert_eq!((pruned["runs"].as_u64(), pruned["organizations"].as_u64()), (Some(0), Some(0)));
    let pruned = with_reason(&shop, "runs prune").exits(0);
    check_table(&pruned);
    assert!(pruned.out.starts_with("deleted: 1 runs, 9 organizations"), "{}", pruned.out);
    assert_eq!(names(&json(shop.program.run("runs --json"), 0)), ["daily"]);
    let rows = json(shop.program.run_with(["audit", "--action", "runs prune", "--json"]), 0);
    assert_eq!(rows.as_array().map(Vec::len), Some(4));

    // The run in work stays, however old it is.
    shop.program.run(EXTRACT).exits(0);
    with_reason(&shop, "runs prune --older-than 0s").exits(0);
    assert_eq!(names(&json(shop.program.run("runs --json"), 0)), ["waiting"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extraction_deletes_what_is_older_than_the_retention() {
    let shop = Shop::new(65);
    a_run_of_40_days_ago(&shop).await;
    let kept = shop.program.clone().with("LANNER_RETENTION_RUNS", "unlimited");
    kept.run(RUN).exits(0);
    assert_eq!(names(&json(shop.program.run("runs --json"), 0)), ["daily", "ancient"]);
    // A run that is joined again is in work, whatever its age: it goes on and stays.
    shop.program.run("extract-organizations --run ancient").exits(0);
    assert_eq!(names(&json(shop.program.run("runs --json"), 0)), ["daily", "ancient"]);
    shop.program.run(EXTRACT).exits(0);
    assert_eq!(names(&json(shop.program.run("runs --json"), 0)), ["waiting", "daily"]);

    a_run_of_40_days_ago(&shop).await;
    shop.program.run("run --run next").exits(0);
    assert_eq!(names(&json(shop.program.run("runs --json"), 0)), ["next", "waiting", "daily"]);
}

#[test]
fn the_status_is_an_equation_and_following_a_run_ends_with_it() {
    let shop = Shop::with_run(66);
    let status = json(shop.program.run("status --json"), 0);
    let equation = status["equation"].as_object().expect("an equation");
    let parts: u64 = equation.iter().filter(|(name, _)| *name != "expected").filter_map(|(_, n)| n.as_u64()).sum();
    assert_eq!(equation["expected"].as_u64(), Some(parts));
    assert!(status["rate_per_s"].as_f64().is_some_and(|rate| rate > 0.0));
    assert!(status["slowest"][0]["took_s"].is_number() && status["remaining_s"].is_null());
    let table = shop.program.run("status").exits(0);
    check_table(&table);
    for word in ["expected", "= done", "+ not started", "took longest", "newest 25 messages"] {
        assert!(table.out.contains(word), "'{word}' is missing in {}", table.out);
    }

    check_table(&shop.program.run("status --watch").exits(0));
    let followed = shop.program.run("status --watch --json").exits(0);
    for line in followed.out.lines() {
        let document: Value = serde_json::from_str(line).expect("a document on a line");
        check_ids(&document);
        assert_eq!(document["phase"], "finished");
    }
    assert_eq!(followed.out.lines().count(), 1);
}

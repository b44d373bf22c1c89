//! `lanner doctor`: what is looked at, what is said of what is wrong, and the exit code.

use std::fs;

use embedded::{Access, DataDir};
use serde_json::Value;
use support::Program;

use super::operate::{failed_run, free, later, put_aside};
use super::shop::Shop;
use super::{check_table, json};

/// Systems and levels of the findings that are not `ok`.
fn not_ok(told: &Value) -> Vec<(String, String)> {
    let text = |finding: &Value, name: &str| finding[name].as_str().expect("a text").to_owned();
    let findings = told["findings"].as_array().expect("findings");
    let bad = findings.iter().filter(|finding| finding["level"] != "ok");
    bad.map(|finding| (text(finding, "system"), text(finding, "level"))).collect()
}

fn findings_of<'a>(told: &'a Value, system: &str) -> Vec<&'a Value> {
    told["findings"].as_array().expect("findings").iter().filter(|finding| finding["system"] == system).collect()
}

/// What a person sees, without the line ends of its cells.
#[track_caller]
fn table(program: &Program, code: i32) -> String {
    let ended = program.run("doctor").exits(code);
    check_table(&ended);
    ended.out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn all_is_well_after_a_run() {
    let shop = Shop::with_run(101);
    let told = json(shop.program.run("doctor --json"), 0);
    assert_eq!(not_ok(&told), [], "{told:#}");
    assert_eq!(told["level"], "ok");
    for system in ["settings", "data directory", "epoch", "directory", "ledger", "queue", "messages", "limits"] {
        assert!(!findings_of(&told, system).is_empty(), "{system} is not looked at");
    }
    let free = format!("{} ", shop.chat.free());
    assert!(findings_of(&told, "directory")[0]["found"].as_str().expect("words").contains(&free));
    assert!(findings_of(&told, "limits")[0]["found"].as_str().expect("words").starts_with(&free));
    let shown = table(&shop.program, 0);
    assert!(shown.contains("all is well"), "{shown}");
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let shop = Shop::without_import(102);
    let told = json(shop.program.run("doctor --json"), 42);
    let skipped = ["epoch", "directory", "ledger", "queue", "messages", "limits"];
    let skipped = skipped.map(|system| (system.to_owned(), "skipped".to_owned()));
    let expected = [vec![("data directory".to_owned(), "wrong".to_owned())], skipped.to_vec()].concat();
    assert_eq!(not_ok(&told), expected);
    assert!(table(&shop.program, 42).contains("lanner import"));
    assert!(!shop.data_dir().exists(), "a doctor makes nothing");

    let shop = Shop::new(103);
    let told = json(shop.program.run("doctor --json"), 0);
    assert_eq!(told["level"], "warning");
    assert!(not_ok(&told).contains(&("ledger".to_owned(), "warning".to_owned())), "{told:#}");
    assert!(table(&shop.program, 0).contains("lanner run"));
}

#[test]
fn wrong_settings_and_a_wrong_epoch_are_a_matter_of_configuration() {
    let shop = Shop::with_run(104);
    let wrong = shop.program.clone().with("LANNER_WORKERS_IN_FLIGHT", 0);
    let told = json(wrong.run("doctor --json"), 42);
    assert_eq!(not_ok(&told)[0], ("settings".to_owned(), "wrong".to_owned()));
    assert!(table(&wrong, 42).contains("workers.in_flight is 0"));
    let wrong = shop.program.clone().with("LANNER_HTTP_LISTEN", "9100");
    let told = json(wrong.run("doctor --json"), 42);
    assert_eq!(not_ok(&told), [("http".to_owned(), "wrong".to_owned())], "{told:#}");
    let told = json(shop.program.clone().with("LANNER_HTTP_LISTEN", "127.0.0.1:9100").run("doctor --json"), 0);
    assert_eq!((not_ok(&told).len(), findings_of(&told, "http").len()), (0, 1), "{told:#}");
    let wrong = shop.program.clone().with("LANNER_STORE_EPOCH", "2023-01-01T00:00:00Z");
    let told = json(wrong.run("doctor --json"), 42);
    let expected = [("epoch", "wrong"), ("messages", "skipped")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(not_ok(&told), expected);
    let wrong = shop.program.clone().with("LANNER_POLICY", "[{from=\"2036-01-01T00:00:00Z\"}]");
    assert!(table(&wrong, 42).contains("2036-01-01T00:00:00Z"));
}

#[test]
fn damage_is_found_and_the_others_are_looked_at() {
    let shop = Shop::with_run(105);
    fs::write(shop.data_dir().join("ledger.sqlite"), "no database").expect("written");
    // What a process that has just ended left in the log would repair the damage.
    for log in ["ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let _ = fs::remove_file(shop.data_dir().join(log));
    }
    fs::write(shop.data_dir().join("limits").join("data.mdb"), vec![7; 64 << 10]).expect("written");
    let told = json(shop.program.run("doctor --json"), 42);
    let expected = [("ledger", "wrong"), ("limits", "wrong")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(not_ok(&told), expected, "{told:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doctor_waits_for_no_writer_and_names_it() {
    let shop = Shop::with_run(106);
    let held = DataDir::open(shop.data_dir(), Access::Exclusive, "a-long-import").await.expect("a data directory");
    let told = json(shop.program.run("doctor --json"), 0);
    let named = findings_of(&told, "data directory")
        .into_iter()
        .any(|finding| finding["found"].as_str().is_some_and(|words| words.contains("a-long-import")));
    assert!(named, "{told:#}");
    drop(held);
}

#[test]
fn messages_that_nobody_works_on_and_a_message_from_the_future_are_found() {
    let shop = Shop::new(107);
    shop.program.run("extract-organizations --run left").exits(0);
    let told = json(shop.program.run("doctor --json"), 0);
    let queue = findings_of(&told, "queue");
    assert_eq!(queue[0]["level"], "warning");
    let words = queue[0]["found"].as_str().expect("words");
    assert!(words.contains(&shop.chat.free().to_string()) && words.contains("nobody works"), "{words}");

    let tables = shop.tables();
    let rows = fs::read_to_string(tables.join("messages.csv")).expect("messages");
    let room = rows.lines().nth(1).and_then(|line| line.split(',').next()).expect("a room");
    fs::write(tables.join("messages.csv"), format!("{rows}{room},{},false\n", i64::MAX / 2)).expect("written");
    shop.program.run_with(["import", tables.to_str().expect("a path")]).exits(0);
    let told = json(shop.program.run("doctor --json"), 42);
    assert!(not_ok(&told).contains(&("messages".to_owned(), "wrong".to_owned())), "{told:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_named_before_they_are_pruned() {
    let shop = Shop::with_run(108);
    failed_run(&shop, "broken", later(), &free(&shop)[..5]).await;
    put_aside(&shop, b"no message").await;
    let words = "dead letters that will be pruned within 7 days";
    let said =
        |retention: &str| table(&shop.program.clone().with("LANNER_RETENTION_RUNS", retention), 0).contains(words);
    assert!(said("7d"));
    assert!(!said("8d") && !said("unlimited"));
    let told = json(shop.program.clone().with("LANNER_RETENTION_RUNS", "1d").run("doctor --json"), 0);
    let found = findings_of(&told, "ledger").into_iter().filter_map(|finding| finding["found"].as_str());
    let found = found.filter(|found| found.contains(words)).collect::<String>();
    assert!(found.ends_with("5 organizations of 1 runs, 1 unreadable messages"), "{found}");
}

//! The binary itself: every command as a person and as a program sees it.

mod bad_input;
mod completion;
mod disks;
mod doctor;
mod documents;
mod export;
mod extraction;
mod mapping;
mod message_path;
mod operate;
mod operating;
mod organizations;
mod probes;
mod schemas;
mod settings;
mod shop;
mod together;
mod trees;

use serde_json::Value;
use shop::{RUN, Shop};
use support::{Ended, Program};
use tempfile::TempDir;

/// What a person sees: at most 80 columns, no escape codes. Lines that name a file are as long as its name.
#[track_caller]
fn check_table(ended: &Ended) {
    for line in ended.out.lines().chain(ended.err.lines()) {
        let names_a_file = line.contains(std::path::MAIN_SEPARATOR) || line.starts_with("left out: ");
        assert!(names_a_file || line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        assert!(!line.contains('\u{1b}'), "an escape code without a terminal: {line:?}");
    }
    assert!(!ended.out.trim().is_empty(), "nothing was said");
}

/// What a program sees: every id is a string.
#[track_caller]
fn check_ids(value: &Value) {
    match value {
        Value::Array(values) => values.iter().for_each(check_ids),
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_id =
                    name.ends_with("_id") || ["organization", "room", "run", "boundary", "id"].contains(&&**name);
                assert!(!(is_id && value.is_number()), "{name} is a number: {value}");
                check_ids(value);
            }
        }
        _ => {}
    }
}

#[track_caller]
fn json(ended: Ended, code: i32) -> Value {
    let value = ended.exits(code).json();
    check_ids(&value);
    value
}

#[test]
fn the_demo_works_in_an_empty_folder_and_again() {
    let folder = TempDir::new().expect("a folder");
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &folder.path().join("demo"));
    let first = program.run("demo").exits(0);
    check_table(&first);
    assert!(first.out.contains("count") && first.out.contains("Try next"), "{}", first.out);
    let (words, _) = first.out.split_once("Try next").expect("what to try next");
    assert!(words.contains("7 free organizations"), "{words}");
    let rows = json(program.run("demo --json"), 0);
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 7, "seven of the eight organizations are free");
    assert!(rows[0]["organization"].is_string(), "{}", rows[0]);
}

#[test]
fn import_says_what_it_took() {
    let shop = Shop::new(51);
    let tables = shop.tables();
    let report = json(shop.program.run_with(["import", "--json", tables.to_str().expect("a path")]), 0);
    assert_eq!(report["tables"]["rooms"]["loaded"], shop.chat.rooms.len());
    let deleted = shop.chat.messages.iter().filter(|message| message.2).count();
    assert_eq!(report["deleted_messages"], deleted);
    assert_eq!(report["live_messages"], shop.chat.messages.len() - deleted);
    assert!(report["message_ids"][0].is_string());
    let again = shop.program.run_with(["import", tables.to_str().expect("a path")]).exits(0);
    check_table(&again);
}

#[test]
fn a_run_and_everything_that_shows_it() {
    let shop = Shop::new(52);
    let free = shop.chat.free();
    let run = json(shop.program.run(&format!("{RUN} --json")), 0);
    assert_eq!(run["states"]["done"], free);
    assert_eq!(run["run"]["id"], "daily");
    check_table(&shop.program.run(RUN).exits(0));

    let runs = json(shop.program.run("runs --json"), 0);
    assert_eq!((runs[0]["run"]["id"].as_str(), runs[0]["settled"].as_u64()), (Some("daily"), Some(free)));
    check_table(&shop.program.run("runs").exits(0));

    let status = json(shop.program.run("status --json"), 0);
    assert_eq!((status["phase"].as_str(), status["expected"].as_u64()), (Some("finished"), Some(free)));
    check_table(&shop.program.run("status --run daily").exits(0));
    shop.program.run("status --run nobody").exits(2).says(&["nobody"]);

    let export = shop.program.run("limits export").exits(0);
    assert_eq!(export.out, shop.expected_export());
    let lines = shop.program.run("limits export --format jsonl").exits(0);
    assert_eq!(lines.out, shop.program.run("limits export --json").exits(0).out);
    assert_eq!(lines.out.lines().count() as u64, free);
    for line in lines.out.lines() {
        check_ids(&serde_json::from_str(line).expect("a row"));
    }
}

#[test]
fn one_organization_is_shown_and_explained() {
    let shop = Shop::with_run(53);
    let (organization, answer) = shop.a_limited_one();
    let boundary = answer.first_visible.expect("a boundary").to_string();

    let got = json(shop.program.run(&format!("limits get --organization {organization} --json")), 0);
    assert_eq!(got["standing"]["first_visible_message_id"], boundary.as_str());
    assert_eq!(got["visible_messages"], answer.visible);
    check_table(&shop.program.run(&format!("limits get --organization {organization}")).exits(0));

    let line = format!("explain --organization {organization} --at 2026-01-01T00:00:00Z");
    let explained = json(shop.program.run(&format!("{line} --json")), 0);
    assert_eq!(explained["rule"], "count");
    assert_eq!(explained["boundary"], boundary.as_str());
    assert_eq!(explained["rooms"].as_array().map(Vec::len), Some(answer.rooms as usize));
    assert_eq!(explained["history"].as_array().map(Vec::len), Some(1));
    let table = shop.program.run(&line).exits(0);
    check_table(&table);
    assert!(table.out.contains(&boundary), "{}", table.out);

    let paid = shop.chat.organizations.iter().find(|(_, paid)| *paid).expect("a paid one").0;
    let explained = json(shop.program.run(&format!("explain --organization {paid} --json")), 0);
    assert_eq!((explained["rule"].as_str(), explained["plan"].as_str()), (Some("unlimited"), Some("paid")));
    assert!(json(shop.program.run(&format!("limits get --organization {paid} --json")), 0).is_null());
}

#[test]
fn the_programs_own_tables() {
    let shop = Shop::new(54);
    let jobs = json(shop.program.run("jobs --json"), 0);
    let names: Vec<&str> = jobs.as_array().expect("jobs").iter().filter_map(|job| job["name"].as_str()).collect();
    let limit_path = ["extract-organizations", "collect-rooms", "merge-newest"];
    assert_eq!(
        names,
        [&limit_path[..], &["serve-writes", "build-read-model", "serve-reads", "follow-limits"]].concat()
    );
    let table = shop.program.run("jobs").exits(0);
    assert!(names.iter().all(|name| table.out.contains(name)));
    check_table(&table);
    let help = shop.program.run("--help").exits(0);
    check_table(&help);
    assert!(help.out.contains("Exit codes"), "{}", help.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rerun_shows_the_difference_and_leaves_two_audit_rows() {
    let shop = Shop::with_run(55);
    let (organization, answer) = shop.a_limited_one();
    let before = shop.program.run("limits export").exits(0).out;
    let dry = format!("rerun --organization {organization} --as-of 2026-01-01T00:00:00Z --max-messages 5 --dry-run");
    let shown = json(shop.program.run(&format!("{dry} --json")), 0);
    assert_eq!((shown["changes"].as_bool(), shown["after"]["visible_messages"].as_u64()), (Some(true), Some(5)));
    check_table(&shop.program.run(&dry).exits(0));
    assert_eq!(shop.program.run("limits export").exits(0).out, before, "a dry run wrote limits");
    assert_eq!(
        shop.program.run("runs --json").exits(0).json().as_array().map(Vec::len),
        Some(1),
        "a dry run wrote a run"
    );
    let audits = async || {
        let open = support::place::open(&shop.data_dir(), embedded::Access::Read).await;
        let all = open.ports.ledger.audits(&chat::ledger::AuditFilter::default(), 20).await.expect("audits");
        all.into_iter().filter(|audit| audit.action == "rerun").collect::<Vec<_>>()
    };
    assert!(audits().await.is_empty(), "a dry run wrote audit rows");

    let program = shop.program.clone().with("LANNER_ACTOR", "someone");
    let line = format!("rerun --organization {organization} --as-of 2026-01-01T00:00:00Z --max-messages 5 --reason");
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.push("a customer asked");
    let table = program.run_with(&words).exits(0);
    check_table(&table);
    assert!(table.out.contains(&answer.first_visible.expect("a boundary").to_string()), "{}", table.out);
    let audits = audits().await;
    let outcomes: Vec<&str> = audits.iter().map(|audit| &*audit.outcome).collect();
    assert_eq!(outcomes, ["finished", "started"]);
    assert!(audits.iter().all(|audit| audit.actor == "someone" && audit.reason == "a customer asked"));
    assert!(audits.iter().all(|audit| audit.target.contains(&organization.to_string())));
    let stored = json(shop.program.run(&format!("limits get --organization {organization} --json")), 0);
    assert_eq!(stored["visible_messages"], 5);
    words.push("--json");
    let again = json(program.run_with(&words), 0);
    assert_eq!(again["changes"], false, "the same again changes nothing: {again}");
}

#[test]
fn a_demo_that_was_interrupted_goes_on_and_data_of_others_is_left_alone() {
    let shop = Shop::with_run(56);
    shop.program.run("demo").exits(2).says(&["not the demo's"]);
    assert_eq!(shop.program.run("limits export").exits(0).out, shop.expected_export());

    let folder = TempDir::new().expect("a folder");
    let demo = folder.path().join("demo");
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &demo);
    // It stands as it does after a kill in the middle of its import.
    program.run("demo").exits(0);
    std::fs::rename(demo.join("demo-tables"), demo.join("demo-tables.unfinished")).expect("renamed");
    program.run("demo").exits(0);
    assert!(demo.join("demo-tables").is_dir() && !demo.join("demo-tables.unfinished").exists());
}

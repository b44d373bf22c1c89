//! `lanner extract-organizations` as a scheduler starts it.

use std::process::Command;

use chat::Timestamp;
use serde_json::Value;
use support::{Program, until};
use tempfile::TempDir;

use super::shop::Shop;

#[test]
fn a_slot_that_has_not_begun_is_a_clock_behind_and_may_be_tried_again() {
    let shop = Shop::new(81);
    let minutes = Timestamp::now().as_millis() / 60_000;
    let early = format!("extract-organizations --job-name lanner-extract-{}", minutes + 2);
    shop.program.run(&early).exits(75).says(&["has not begun", "run it again"]);
    shop.program.run("extract-organizations --as-of 2999-01-01T00:00:00Z").exits(2).says(&["future"]);
    shop.program.run(&format!("extract-organizations --job-name lanner-extract-{minutes}")).exits(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extraction_that_is_stopped_while_it_sends_ends_and_goes_on() {
    const ORGANIZATIONS: u64 = 60_000;
    let dir = TempDir::new().expect("a folder");
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &dir.path().join("data"));
    let rows: String = (0..ORGANIZATIONS).map(|id| format!("{id},free\n")).collect();
    let tables = dir.path().join("tables");
    std::fs::create_dir_all(&tables).expect("a folder");
    for (name, text) in [
        ("organizations", format!("id,plan\n{rows}").as_str()),
        ("accounts", "id,org_id\n"),
        ("rooms", "id\n"),
        ("memberships", "room_id,account_id\n"),
        ("messages", "room_id,message_id\n"),
    ] {
        std::fs::write(tables.join(name).with_extension("csv"), text).expect("a table");
    }
    program.run_with(["import", tables.to_str().expect("a path")]).exits(0);
    let line = "extract-organizations --run daily --as-of 2026-01-01T00:00:00Z";
    let mut extraction = program.start(line);
    // Nothing is printed while there is no run.
    let expected = || {
        let told: Option<Value> = serde_json::from_str(&program.run("status --run daily --json").out).ok();
        told.and_then(|told| told["expected"].as_u64()).unwrap_or(0)
    };
    until("organizations are being sent", async || expected() > 0).await;
    Command::new("kill").args(["-TERM", &extraction.id().to_string()]).status().expect("kill runs");
    assert_eq!(extraction.wait().expect("an end").code(), Some(75));
    assert!(expected() < ORGANIZATIONS, "it was not stopped while it sent");
    program.run(line).exits(0);
    assert_eq!(expected(), ORGANIZATIONS);
}

//! What an operator runs by hand, through the binary.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;

use chat::ledger::{AuditFilter, Failure, Figures, Item, NewRun, Scope, Settlement, State, UnreadableMessage};
use chat::{OrganizationId, RunId, Timestamp};
use serde_json::{Value, json as value};
use support::place::policy;
use support::{Ended, SmallChat};

use super::shop::Shop;
use super::{check_ids, check_table, json};

const AT: &str = "2026-01-01T00:00:00Z";

fn run_id(name: &str) -> RunId {
    RunId::new(name).expect("a run id")
}

/// The free organizations.
pub(super) fn free(shop: &Shop) -> Vec<u64> {
    shop.chat.organizations.iter().filter(|(_, paid)| !paid).map(|known| known.0).collect()
}

/// Writes a run of these organizations, all parked but the last, which has failed.
pub(super) async fn failed_run(shop: &Shop, name: &str, as_of: Timestamp, organizations: &[u64]) {
    let open = support::place::open(&shop.data_dir(), embedded::Access::Write).await;
    let ledger = &open.ports.ledger;
    let now = Timestamp::now();
    let new = NewRun { id: run_id(name), scope: Scope::Named, as_of, policy: policy(), opened_at: now };
    ledger.open_run(&new).await.expect("opened");
    let ids: Vec<OrganizationId> = organizations.iter().copied().map(OrganizationId::from_bits).collect();
    ledger.register(&new.id, &ids, None, now).await.expect("registered");
    ledger.complete_extraction(&new.id, now).await.expect("noted");
    let end = |(index, id): (usize, &OrganizationId)| {
        let last = index + 1 == ids.len();
        let (state, class) = if last { (State::Failed, "corrupt") } else { (State::Parked, "unavailable") };
        let error = format!("{class}: {}", "what happened is a long story ".repeat(20));
        let failure = Some(Failure { class: class.to_owned(), error });
        let item = Item { run: new.id.clone(), organization: *id };
        Settlement { item, state, figures: Figures::default(), failure, at: now }
    };
    let ends: Vec<Settlement> = ids.iter().enumerate().map(end).collect();
    ledger.settle(&ends).await.expect("settled");
}

/// Puts an unreadable message aside.
pub(super) async fn put_aside(shop: &Shop, body: &[u8]) {
    let message = UnreadableMessage {
        id: None,
        queue: "rooms".to_owned(),
        body: body.to_owned(),
        cause: "expected value at line 1 column 1".to_owned(),
        at: Timestamp::now(),
    };
    let open = support::place::open(&shop.data_dir(), embedded::Access::Write).await;
    open.ports.ledger.put_aside(&message).await.expect("put aside");
}

/// An instant a little after the one of [`RUN`].
pub(super) fn later() -> Timestamp {
    SmallChat::as_of().plus_millis(60_000)
}

async fn audits(shop: &Shop, action: &str) -> Vec<(String, String, String)> {
    let open = support::place::open(&shop.data_dir(), embedded::Access::Read).await;
    let all = open.ports.ledger.audits(&AuditFilter::default(), 50).await.expect("audits");
    let mine = all.into_iter().filter(|audit| audit.action == action);
    mine.map(|audit| (audit.target, audit.reason, audit.outcome)).collect()
}

/// The states of a run.
async fn states(shop: &Shop, run: &str) -> BTreeMap<State, u64> {
    let open = support::place::open(&shop.data_dir(), embedded::Access::Read).await;
    open.ports.ledger.progress(&run_id(run)).await.expect("progress").expect("a run").counts.0
}

#[track_caller]
fn checked(ended: Ended, code: i32) -> Ended {
    let ended = ended.exits(code);
    check_table(&ended);
    ended
}

#[test]
fn a_message_is_explained_with_its_place_and_what_it_can_be_when_it_is_not_found() {
    let shop = Shop::with_run(151);
    let program = shop.program.clone().with("LANNER_POLICY", "[{max_messages=25}]");
    let (organization, answer) = shop.a_limited_one();
    let boundary = answer.first_visible.expect("a boundary");
    let line = format!("explain --organization {organization} --message {boundary} --at {AT}");
    let found = json(program.run(&format!("{line} --json")), 0);
    assert_eq!((found["visibility"].as_str(), found["rank"].as_u64()), (Some("visible"), Some(25)));
    assert!(found["candidates"].as_u64() > Some(25) && found["room"].is_string() && found["message_id"].is_string());
    assert_eq!((&found["stale"], &found["limit_differs"]), (&value!(false), &value!(false)));
    let table = checked(program.run(&line), 0);
    assert!(table.out.contains("25 of ") && table.out.contains("yes:"), "{}", table.out);

    // By the setting of 5,000 the row is stale for what only the count hides.
    let rooms = support::oracle::rooms_of(&shop.chat).remove(&organization).expect("rooms");
    let candidates = support::oracle::candidates(&shop.chat, &rooms, SmallChat::as_of(), &policy());
    let hidden = candidates[25];
    let line = format!("explain --organization {organization} --message {hidden} --at {AT}");
    let found = json(shop.program.run(&format!("{line} --json")), 0);
    assert_eq!((&found["visibility"], &found["stale"]), (&value!("hidden_by_count"), &value!(true)));
    assert_eq!(found["fresh"]["visibility"], "visible");
    let table = checked(shop.program.run(&line), 0);
    assert!(table.out.contains("stale") && table.out.contains("lanner rerun"), "{}", table.out);

    let line = format!("explain --organization {organization} --message {} --at {AT}", hidden.get() - 1);
    let found = json(program.run(&format!("{line} --json")), 0);
    assert_eq!(found["possibilities"], value!(["in_a_room_not_seen", "deleted", "never_existed"]));
    checked(program.run(&line), 0);
    let future = chat::MessageId::MAX;
    let found = checked(program.run(&format!("explain --organization {organization} --message {future}")), 0);
    assert!(found.out.contains("newer than"), "{}", found.out);
}

#[test]
fn explain_takes_only_what_belongs_together() {
    let shop = Shop::with_run(152);
    for line in [
        "explain",
        "explain --message 3",
        "explain --room 3 --organization 3",
        "explain --run daily --organization 3",
        "explain --run daily --message 3 --organization 3",
        "explain --run daily --at 2026-01-01T00:00:00Z",
        "explain --organization 3 --message 3 --rooms 4",
        "explain --run nobody",
        "explain --organization 999999 --message 3",
        "limits history --organization 999999",
        "preview",
        "preview --max-messages 0",
        "preview --max-messages 3 --organization 999999",
        "preview --max-messages 3 --each --organization 3",
        "dead-letters show",
        "dead-letters show --run daily",
        "dead-letters show --run daily --organization 999999",
        "dead-letters show --message 1",
        "dead-letters list --run nobody",
        "dead-letters redrive",
        "dead-letters redrive --run nobody --dry-run",
        "retry --run daily --dry-run",
        "retry --run daily --failed",
        "retry --run nobody --failed --dry-run",
        "rerun --dry-run",
        "rerun --organization 3 --organizations-file x --dry-run",
    ] {
        assert!(!shop.program.run(line).exits(2).err.is_empty(), "{line}: no words");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_explained_by_what_is_late_absent_and_failed() {
    let shop = Shop::with_run(153);
    let found = json(shop.program.run("explain --run daily --json"), 0);
    assert_eq!((&found["phase"], &found["late"]["count"]), (&value!("finished"), &value!(0)));
    let table = checked(shop.program.run("explain --run daily"), 0);
    assert!(table.out.contains("has ended well"), "{}", table.out);

    failed_run(&shop, "broken", later(), &free(&shop)[..5]).await;
    let found = json(shop.program.run("explain --run broken --json"), 0);
    let classes: Vec<_> =
        found["error_classes"].as_array().expect("classes").iter().map(|c| c["error_class"].as_str()).collect();
    assert_eq!(classes, [Some("unavailable"), Some("corrupt")]);
    let table = checked(shop.program.run("explain --run broken"), 0);
    for words in ["retry --run broken", "unavailable", "import the data anew"] {
        assert!(table.out.contains(words), "{}", table.out);
    }
    // Extracted, and no worker came.
    shop.program.run(&format!("extract-organizations --run alone --as-of {AT}")).exits(0);
    let table = checked(shop.program.run("explain --run alone"), 0);
    assert!(table.out.contains("look again at"), "{}", table.out);
}

#[test]
fn a_history_shows_each_boundary() {
    let shop = Shop::with_run(154);
    let (organization, answer) = shop.a_limited_one();
    shop.program
        .run(&format!("rerun --organization {organization} --as-of {AT} --max-messages 5 --reason why"))
        .exits(0);
    let line = format!("limits history --organization {organization}");
    let entries = json(shop.program.run(&format!("{line} --json")), 0);
    assert_eq!(entries.as_array().map(Vec::len), Some(2));
    let first = answer.first_visible.expect("a boundary").to_string();
    assert_eq!(
        (&entries[1]["first_visible_message_id"], &entries[0]["previous_first_visible_message_id"]),
        (&value!(first), &value!(first))
    );
    let table = checked(shop.program.run(&line), 0);
    assert!(table.out.contains(&first) && table.out.contains("computed"), "{}", table.out);
    let one = json(shop.program.run(&format!("{line} --limit 1 --json")), 0);
    assert_eq!(one.as_array().map(Vec::len), Some(1));
    let paid = shop.chat.organizations.iter().find(|(_, paid)| *paid).expect("a paid one").0;
    checked(shop.program.run(&format!("limits history --organization {paid}")), 0);
}

#[test]
fn a_preview_agrees_with_the_exports_of_two_runs() {
    let (shop, other) = (Shop::with_run(155), Shop::new(155));
    let program = shop.program.clone().with("LANNER_POLICY", "[{max_messages=25}]");
    other.program.run(&format!("run --as-of {AT} --max-messages 9 --max-age 20d")).exits(0);
    let exports = [&shop, &other].map(|shop| shop.program.run("limits export").exits(0).out);
    let line = format!("preview --max-messages 9 --max-age 20d --as-of {AT}");
    let each = program.run(&format!("{line} --each")).exits(0).out;
    let mut sums = [0_i64; 4];
    assert_eq!(each.lines().count(), exports[0].lines().count());
    for ((both, old), new) in each.lines().zip(exports[0].lines()).zip(exports[1].lines()).skip(1) {
        let new_fields = new.split_once(',').expect("fields").1;
        assert_eq!(both, format!("{old},{new_fields}"));
        let visible = |line: &str| line.split(',').nth(1).and_then(|n| n.parse::<i64>().ok()).expect("a number");
        let bound = |line: &str| line.contains(",count,");
        sums[0] += (visible(new) - visible(old)).max(0);
        sums[1] += (visible(old) - visible(new)).max(0);
        sums[2] += i64::from(!bound(old) && bound(new));
        sums[3] += i64::from(bound(old) && !bound(new));
    }
    let found = json(program.run(&format!("{line} --json")), 0);
    let names = ["become_visible", "become_hidden", "gain_boundary", "lose_boundary"];
    assert_eq!(names.map(|name| found[name].as_i64().expect("a number")), sums);
    assert!(sums[1] > 0 && sums[2] > 0, "{sums:?}");
    assert_eq!(found["top"].as_array().map(Vec::len), Some(10));
    let table = checked(program.run(&format!("{line} --top 3")), 0);
    assert!(table.out.contains("nothing was written"), "{}", table.out);
    for line in program.run(&format!("{line} --each --json")).exits(0).out.lines() {
        check_ids(&serde_json::from_str(line).expect("a row"));
    }

    let (organization, _) = shop.a_limited_one();
    let one = json(program.run(&format!("{line} --organization {organization} --json")), 0);
    assert_eq!((&one["in_force"]["visible_messages"], &one["changes"]), (&value!(25), &value!(true)));
    checked(program.run(&format!("{line} --organization {organization}")), 0);
    let paid = shop.chat.organizations.iter().find(|(_, paid)| *paid).expect("a paid one").0;
    assert!(json(program.run(&format!("{line} --organization {paid} --json")), 0).is_null());
    assert_eq!(shop.program.run("limits export").exits(0).out, exports[0], "a preview wrote limits");
    assert_eq!(shop.program.run("runs --json").exits(0).json().as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_shown_and_sent_again() {
    let shop = Shop::with_run(156);
    let nothing = checked(shop.program.run("dead-letters list"), 0);
    assert!(nothing.out.contains("nothing is parked"), "{}", nothing.out);
    let ids = free(&shop);
    failed_run(&shop, "broken", later(), &ids[..6]).await;
    failed_run(&shop, "outdated", SmallChat::as_of().minus_millis(1), &ids[..3]).await;
    let body = b"\x00 nonsense \xff".repeat(40);
    put_aside(&shop, &body).await;
    let listed = json(shop.program.run("dead-letters list --json"), 0);
    assert_eq!(listed["summary"][0]["organizations"], 7);
    assert_eq!(listed["organizations"].as_array().map(Vec::len), Some(9));
    assert_eq!(listed["unreadable"][0]["id"], "1");
    let table = checked(shop.program.run("dead-letters list --limit 2"), 0);
    assert!(table.out.contains("7 more") && table.out.contains("34 days"), "{}", table.out);
    checked(shop.program.run(&format!("dead-letters show --run broken --organization {}", ids[0])), 0);
    let shown = json(shop.program.run(&format!("dead-letters show --run broken --organization {} --json", ids[0])), 0);
    assert_eq!(shown["organization"]["error_class"], "unavailable");
    checked(shop.program.run("dead-letters show --message 1"), 0);
    assert_eq!(json(shop.program.run("dead-letters show --message 1 --json"), 0)["bytes"], body.len());

    let kept = shop.program.clone().with("LANNER_RETENTION_RUNS", "unlimited");
    let listed = json(kept.run("dead-letters list --json"), 0);
    assert!(listed["organizations"][0]["expires_at"].is_null() && listed["unreadable"][0]["expires_at"].is_null());
    let table = checked(kept.run("dead-letters list"), 0);
    assert!(table.out.contains("ever") && !table.out.contains("days"), "{}", table.out);
    let soon = shop.program.clone().with("LANNER_RETENTION_RUNS", "3d");
    let table = checked(soon.run("dead-letters list"), 0);
    assert_eq!(table.out.matches("2 days").count() + table.out.matches(" 71 h").count(), 10, "{}", table.out);

    let dry = json(shop.program.run("dead-letters redrive --dry-run --json"), 0);
    assert_eq!((&dry["organizations"], &dry["left_out_newer"]), (&value!(6), &value!(3)));
    let table = checked(shop.program.run("dead-letters redrive --dry-run"), 0);
    assert!(table.out.contains("nothing was changed") && table.out.contains("--all"), "{}", table.out);
    let all = json(shop.program.run("dead-letters redrive --dry-run --all --json"), 0);
    assert_eq!(all["organizations"], 9);
    assert!(audits(&shop, "dead-letters redrive").await.is_empty(), "a dry run wrote audit rows");
    assert_eq!(states(&shop, "broken").await, BTreeMap::from([(State::Parked, 5), (State::Failed, 1)]));

    let two = format!("--organization {} --organization {} --organization {}", ids[1], ids[0], ids[1]);
    let sent = json(shop.program.run(&format!("dead-letters redrive --run broken {two} --reason back --json")), 0);
    assert_eq!(sent["sent"], 2);
    assert_eq!(states(&shop, "broken").await[&State::Pending], 2);
    checked(shop.program.run("dead-letters redrive --error-class unavailable --reason back"), 0);
    assert_eq!(states(&shop, "broken").await, BTreeMap::from([(State::Pending, 5), (State::Failed, 1)]));
    let rows = audits(&shop, "dead-letters redrive").await;
    let outcomes: Vec<&str> = rows.iter().map(|row| &*row.2).collect();
    assert_eq!(outcomes, ["3 sent", "started", "2 sent", "started"]);
    assert!(rows.iter().all(|row| row.1 == "back"));
    // What was sent waits for a worker: a joining run is one.
    shop.program.run("run --run broken --wait").exits(3);
    assert_eq!(states(&shop, "broken").await, BTreeMap::from([(State::Done, 5), (State::Failed, 1)]));
    let nothing = checked(shop.program.run("dead-letters redrive --error-class unavailable --reason again"), 0);
    assert!(nothing.out.contains("nothing to send"), "{}", nothing.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_gives_an_account_of_every_organization() {
    let shop = Shop::with_run(157);
    let ids = free(&shop);
    failed_run(&shop, "broken", later(), &ids[..7]).await;
    let dry = checked(shop.program.run("retry --run broken --failed --dry-run"), 0);
    assert!(dry.out.contains("7 organizations; dry run"), "{}", dry.out);
    assert!(audits(&shop, "retry").await.is_empty());

    let sent =
        json(shop.program.run("retry --run broken --failed --error-class corrupt --no-wait --reason back --json"), 0);
    assert_eq!((&sent["sent"], states(&shop, "broken").await[&State::Pending]), (&value!(1), 1));
    let done = json(shop.program.run("retry --run broken --failed --reason back --json"), 0);
    let rows = done["organizations"].as_array().expect("rows");
    assert_eq!(rows.len(), 6, "what was sent before is not among them");
    let told: Vec<_> = rows.iter().filter_map(|row| row["organization"].as_str()?.parse::<u64>().ok()).collect();
    assert_eq!(told, ids[..6]);
    assert!(rows.iter().all(|row| row["state"] == "done"));
    assert_eq!(done["states"], value!({"done": 6}));
    assert_eq!(states(&shop, "broken").await[&State::Done], 7, "workers take what was sent before, too");
    let outcomes: Vec<String> = audits(&shop, "retry").await.into_iter().map(|row| row.2).collect();
    assert_eq!(outcomes, ["6 sent", "started", "1 sent", "started"]);
    let nothing = checked(shop.program.run("retry --run broken --failed --reason back"), 0);
    assert!(nothing.out.contains("nothing to do again"), "{}", nothing.out);

    // An organization that the directory does not know fails again.
    failed_run(&shop, "unknown", later().plus_millis(1), &[ids[0], 999_999]).await;
    let quiet = shop.program.clone().with("LANNER_LOG_FILTER", "off");
    let again = checked(quiet.run("retry --run unknown --failed --reason hope"), 3);
    for words in ["failed again", "unknown organization", "1 done, 1 failed", "explain --run unknown"] {
        assert!(again.out.contains(words), "{}", again.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_organizations_of_a_file_are_computed_in_one_run() {
    let shop = Shop::with_run(158);
    let ids = free(&shop);
    let paid = shop.chat.organizations.iter().find(|(_, paid)| *paid).expect("a paid one").0;
    let file = shop.beside("organizations.txt");
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    let path = file.to_str().expect("a path").to_owned();
    let rerun = |more: &str| {
        let line = format!("rerun --organizations-file {path} --as-of {AT} --max-messages 5 {more}");
        shop.program.run(&line)
    };
    write("3\n# a comment\n4x\n\n-1\n");
    rerun("--reason why").exits(65).says(&["line 3: '4x'", "line 5: '-1'", "organizations.txt"]);
    write(&format!("{}\n999999\n888888\n", ids[0]));
    rerun("--reason why").exits(2).says(&["999999", "888888", "2 of the organizations"]);
    write("# none\n");
    rerun("--dry-run").exits(65).says(&["names no organization"]);
    shop.program.run("rerun --organizations-file /nonexistent/file --dry-run").exits(65).says(&["/nonexistent/file"]);
    assert!(audits(&shop, "rerun").await.is_empty());
    let export = shop.program.run("limits export").exits(0).out;

    write(&format!("# asked for\r\n{}\r\n\n{} # twice\n{}\n{paid}\n{}\n", ids[4], ids[2], ids[2], ids[0]));
    let dry = json(rerun("--dry-run --json"), 0);
    let rows = dry["organizations"].as_array().expect("rows");
    assert_eq!(rows.len(), 4, "duplicates count once");
    assert_eq!((&dry["totals"]["organizations"], &dry["totals"]["unlimited"]), (&value!(4), &value!(1)));
    checked(rerun("--dry-run"), 0);
    assert_eq!(shop.program.run("limits export").exits(0).out, export, "a dry run wrote limits");
    assert!(audits(&shop, "rerun").await.is_empty(), "a dry run wrote audit rows");

    let done = json(rerun("--reason why --json"), 0);
    assert_eq!(done["states"], value!({"done": 3, "released": 1}));
    let after: BTreeMap<&str, &Value> =
        rows.iter().map(|row| (row["organization"].as_str().expect("an id"), &row["after"])).collect();
    for row in done["organizations"].as_array().expect("rows") {
        let expected = after[row["organization"].as_str().expect("an id")];
        if row["state"] == "done" {
            assert_eq!(row["visible_messages"], expected["visible_messages"], "the dry run said so");
        }
    }
    let rows = audits(&shop, "rerun").await;
    assert_eq!(rows.len(), 2, "one pair for all");
    assert!(rows.iter().all(|row| row.0.contains("4 organizations") && row.1 == "why"), "{rows:?}");
    assert_eq!(shop.program.run("runs --json").exits(0).json().as_array().map(Vec::len), Some(2), "one run for all");
    checked(rerun("--reason why"), 0);

    let mut command = shop.program.command(["rerun", "--organizations-file", "-", "--dry-run", "--json"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary starts");
    writeln!(child.stdin.take().expect("standard input"), "{}", ids[1]).expect("written");
    let ended = json(Ended::from(child.wait_with_output().expect("an end")), 0);
    assert_eq!(ended["totals"]["organizations"], 1);
}

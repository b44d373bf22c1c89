//! What every command prints with `--json` is what its schema in `docs/schema` says.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Command;

use support::{Program, Schemas};

use super::check_ids;
use super::mapping::{POSTS, example};
use super::operate::{failed_run, free, later, put_aside};
use super::shop::Shop;

/// Commands that print no JSON.
const WITHOUT: [&str; 2] = ["completion", "man"];

/// Commands with a call of each, in this order on one data directory; `{…}` is filled in.
type Calls = &'static [(&'static str, &'static str)];

const CALLS: Calls = &[
    ("jobs", "jobs"),
    ("settings", "settings"),
    ("settings", "settings --explain workers.in_flight"),
    ("settings", "settings --explain policy"),
    ("settings", "settings --explain messages"),
    ("import", "import {bad_tables} --skip-bad --dry-run"),
    ("import", "import {tables}"),
    ("doctor", "doctor"),
    ("status", "status"),
    ("run", "run --run daily --as-of 2026-01-01T00:00:00Z --max-messages 25"),
    ("runs list", "runs list"),
    ("runs list", "runs"),
    ("status", "status"),
    ("status", "status --run daily --watch"),
    ("limits get", "limits get --organization {limited}"),
    ("limits get", "limits get --organization {paid}"),
    ("limits export", "limits export"),
    ("explain", "explain --organization {limited} --at 2026-01-01T00:00:00Z"),
    ("explain", "explain --organization {paid}"),
    ("explain", "explain --organization {limited} --message {boundary} --at 2026-01-01T00:00:00Z"),
    ("explain", "explain --organization {limited} --message {nowhere} --at 2026-01-01T00:00:00Z"),
    ("explain", "explain --run daily"),
    ("preview", "preview --max-messages 9 --as-of 2026-01-01T00:00:00Z"),
    ("preview", "preview --max-messages 9 --as-of 2026-01-01T00:00:00Z --each"),
    ("preview", "preview --max-messages 9 --organization {limited}"),
    ("preview", "preview --max-messages 9 --organization {paid}"),
    ("reconcile", "reconcile --settle 10ms"),
    ("reconcile", "reconcile --settle 10ms --organization {limited}"),
    ("rerun", "rerun --organization {limited} --max-messages 5 --dry-run"),
    ("rerun", "rerun --organization {limited} --as-of 2026-01-02T00:00:00Z --max-messages 5 --reason words"),
    ("rerun", "rerun --organization {paid} --dry-run"),
    ("rerun", "rerun --organization {paid} --reason words"),
    ("rerun", "rerun --organizations-file {ids} --max-messages 5 --dry-run"),
    ("rerun", "rerun --organizations-file {ids} --max-messages 5 --reason words"),
    ("limits history", "limits history --organization {limited}"),
    ("extract-organizations", "extract-organizations --run by-itself"),
    ("explain", "explain --run by-itself"),
    ("collect-rooms", "collect-rooms"),
    ("merge-newest", "merge-newest"),
    ("run", "run --run by-itself --wait"),
    ("extract-organizations", "extract-organizations --run by-itself --wait"),
    ("extract-organizations", "extract-organizations --run left"),
    ("runs cancel", "runs cancel left --dry-run"),
    ("runs cancel", "runs cancel left --reason words"),
    ("provision", "provision --dry-run"),
    ("provision", "provision --reason words"),
    ("organizations list", "organizations list"),
    ("organizations show", "organizations show {limited}"),
    ("organizations show", "organizations show {paid}"),
    ("organizations set-plan", "organizations set-plan {limited} paid --dry-run"),
    ("organizations set-plan", "organizations set-plan {limited} paid --reason words"),
    ("messages", "messages --room {room}"),
    ("serve-writes", "serve-writes"),
    ("build-read-model", "build-read-model"),
    ("replay", "replay --limits --dry-run"),
    ("replay", "replay --limits --check 0 --from time=2026-01-01T00:00:00Z"),
    ("follow-limits", "follow-limits"),
    ("status", "status --shards"),
    ("serve-reads", "serve-reads"),
    ("up", "up"),
    ("token", "token --account 1 --organization 3"),
    ("export", "export {export} --dry-run"),
    ("export", "export {export}"),
];

/// Those that need a run that has failed, and an unreadable message.
const OF_FAILURES: Calls = &[
    ("status", "status"),
    ("explain", "explain --run broken"),
    ("compare", "compare daily broken"),
    ("compare", "compare daily daily"),
    ("dead-letters list", "dead-letters list"),
    ("dead-letters show", "dead-letters show --run broken --organization {failed}"),
    ("dead-letters show", "dead-letters show --message 1"),
    ("dead-letters redrive", "dead-letters redrive --dry-run"),
    ("retry", "retry --run broken --failed --dry-run"),
    ("dead-letters redrive", "dead-letters redrive --run broken --organization {failed} --all --reason words"),
    ("retry", "retry --run broken --failed --error-class corrupt --all --no-wait --reason words"),
    ("retry", "retry --run broken --failed --all --reason words"),
    ("dead-letters redrive", "dead-letters redrive --run broken --reason words"),
    ("doctor", "doctor"),
    ("runs prune", "runs prune --older-than 1d --dry-run"),
    ("runs prune", "runs prune --older-than 1d --reason words"),
    ("audit", "audit"),
];

/// What was imported no event ever told: with any age the log differs from the store.
const OF_DIFFERENCES: Calls = &[("replay", "replay --limits")];

/// The demo wants a folder of its own.
const DEMO: Calls = &[("demo", "demo")];

/// Those of a data directory with names and bodies.
const OF_POSTS: Calls = &[
    ("import", "import --mapping {mapping} {posts} --dry-run"),
    ("import", "import --mapping {mapping} {posts}"),
    ("messages", "messages --room 1"),
    ("organizations list", "organizations list"),
    ("export", "export {export} --bodies"),
];

fn schemas() -> Schemas {
    Schemas::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema"))
}

fn file_of(command: &str) -> String {
    command.replace(' ', "-")
}

/// Runs each call and checks what it prints.
#[track_caller]
fn check(program: &Program, calls: Calls, filled: &[(&str, String)]) {
    let schemas = schemas();
    let listens = ["LANNER_WRITE_API_LISTEN", "LANNER_READ_API_LISTEN"];
    let program = &listens.iter().fold(program.clone(), |program, name| program.with(name, "127.0.0.1:0"));
    for (command, line) in calls {
        let mut line = (*line).to_owned();
        filled.iter().for_each(|(name, value)| line = line.replace(&format!("{{{name}}}"), value));
        let out = output(program, &format!("{line} --json"));
        assert!(schemas.check(&file_of(command), &out) > 0, "lanner {line} --json printed nothing");
        for value in serde_json::Deserializer::from_str(&out).into_iter() {
            check_ids(&value.expect("JSON"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_prints_what_its_schema_says() {
    let shop = Shop::without_import(57);
    let bad_tables = shop.beside("bad-tables");
    shop.chat.write_csv(&bad_tables);
    let rooms = std::fs::read_to_string(bad_tables.join("rooms.csv")).expect("a table");
    std::fs::write(bad_tables.join("rooms.csv"), rooms + "not-a-room\n").expect("a table");
    let paid = shop.chat.organizations.iter().find(|(_, paid)| *paid).expect("a paid one").0;
    let (limited, answer) = shop.a_limited_one();
    let boundary = answer.first_visible.expect("a boundary").get();
    let ids = shop.beside("ids");
    std::fs::write(&ids, format!("{limited}\n{paid}\n")).expect("a file");
    let free = free(&shop);
    let failed = *free.iter().find(|id| **id != limited).expect("another one");
    let filled = [
        ("bad_tables", bad_tables.display().to_string()),
        ("tables", shop.tables().display().to_string()),
        ("limited", limited.to_string()),
        ("paid", paid.to_string()),
        ("boundary", boundary.to_string()),
        ("nowhere", (boundary - 1).to_string()),
        ("ids", ids.display().to_string()),
        ("room", shop.chat.rooms[0].to_string()),
        ("export", shop.beside("export").display().to_string()),
        ("failed", failed.to_string()),
    ];
    check(&shop.program, CALLS, &filled);
    check(&shop.program.clone().with("LANNER_POLICY", "[{max_age=\"unlimited\"}]"), OF_DIFFERENCES, &filled);
    failed_run(&shop, "broken", later(), &free).await;
    put_aside(&shop, b"no message").await;
    check(&shop.program, OF_FAILURES, &filled);
}

#[test]
fn the_demo_and_what_has_names_print_what_their_schemas_say() {
    let shop = Shop::without_import(58);
    let program = |name| Program::new(env!("CARGO_BIN_EXE_lanner"), &shop.beside(name));
    check(&program("demo"), DEMO, &[]);
    let posts = shop.beside("posts.tsv");
    std::fs::write(&posts, POSTS).expect("a file");
    let filled = [
        ("mapping", example("posts.tsv.toml").display().to_string()),
        ("posts", posts.display().to_string()),
        ("export", shop.beside("export").display().to_string()),
    ];
    check(&program("posts"), OF_POSTS, &filled);
}

/// What the command prints. One that runs on is stopped as soon as it works.
fn output(program: &Program, line: &str) -> String {
    let mut child = program.command(line.split_whitespace()).spawn().expect("the binary starts");
    let (mut words, mut out) = (String::new(), String::new());
    let mut err = BufReader::new(child.stderr.take().expect("standard error"));
    while err.read_line(&mut words).expect("words") > 0 {
        if words.ends_with("until stopped (Ctrl-C or SIGTERM)\n") {
            let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            assert!(sent.expect("kill runs").success());
        }
    }
    child.stdout.take().expect("standard output").read_to_string(&mut out).expect("text");
    let code = child.wait().expect("an end").code();
    assert!(matches!(code, Some(0 | 3 | 4)), "lanner {line} ended with {code:?}: {words}");
    out
}

#[test]
fn every_command_has_a_schema_and_a_call_that_is_checked() {
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), Path::new("nowhere"));
    let mut commands = BTreeSet::new();
    leaves(&program, "", &mut commands);
    assert!(commands.contains("limits export") && commands.contains("run"), "does help still read so? {commands:?}");
    WITHOUT.iter().for_each(|command| assert!(commands.remove(*command), "there is no command {command}"));
    let called: BTreeSet<String> = [CALLS, OF_DIFFERENCES, OF_FAILURES, DEMO, OF_POSTS]
        .concat()
        .iter()
        .map(|(command, _)| (*command).to_owned())
        .collect();
    assert_eq!(commands, called, "the commands on the left, those with a checked call on the right");
    let schemas = schemas();
    let described: BTreeSet<String> =
        schemas.names().filter(|name| *name != "definitions").map(str::to_owned).collect();
    assert_eq!(commands.iter().map(|command| file_of(command)).collect::<BTreeSet<_>>(), described);
}

/// Collects the commands below `command` that have none below themselves, as `lanner help` shows them.
fn leaves(program: &Program, command: &str, found: &mut BTreeSet<String>) {
    let help = program.run(&format!("{command} --help")).exits(0).out;
    let Some((_, rest)) = help.split_once("\nCommands:\n") else {
        assert!(help.contains("--json"), "{command} takes no --json");
        found.insert(command.to_owned());
        return;
    };
    // A name stands two columns in, the second line of a description farther.
    let names = rest.lines().take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    for name in names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help") {
        leaves(program, format!("{command} {name}").trim(), found);
    }
}

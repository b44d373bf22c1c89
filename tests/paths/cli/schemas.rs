//! What every command prints with `--json` is what its schema in `docs/schema` says.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Command;

use support::{Program, Schemas};

use super::shop::Shop;

/// Commands that print no JSON.
const WITHOUT: [&str; 0] = [];

/// Every command, in this order on one data directory; `{…}` is filled in.
const CALLS: [(&str, &str); 20] = [
    ("jobs", "jobs"),
    ("settings", "settings"),
    ("demo", "demo"),
    ("import", "import {bad_tables} --skip-bad --dry-run"),
    ("import", "import {tables}"),
    ("run", "run --run daily --as-of 2026-01-01T00:00:00Z --max-messages 25"),
    ("runs", "runs"),
    ("status", "status"),
    ("status", "status --run daily --watch"),
    ("limits get", "limits get --organization {limited}"),
    ("limits get", "limits get --organization {paid}"),
    ("limits export", "limits export"),
    ("explain", "explain --organization {limited} --at 2026-01-01T00:00:00Z"),
    ("explain", "explain --organization {paid}"),
    ("rerun", "rerun --organization {limited} --max-messages 5 --dry-run"),
    ("rerun", "rerun --organization {limited} --as-of 2026-01-02T00:00:00Z --max-messages 5 --reason words"),
    ("rerun", "rerun --organization {paid} --dry-run"),
    ("extract-organizations", "extract-organizations --run by-itself"),
    ("collect-rooms", "collect-rooms"),
    ("merge-newest", "merge-newest"),
];

fn schemas() -> Schemas {
    Schemas::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema"))
}

fn file_of(command: &str) -> String {
    command.replace(' ', "-")
}

#[test]
fn every_command_prints_what_its_schema_says() {
    let (schemas, shop) = (schemas(), Shop::without_import(57));
    let bad_tables = shop.beside("bad-tables");
    shop.chat.write_csv(&bad_tables);
    let rooms = std::fs::read_to_string(bad_tables.join("rooms.csv")).expect("a table");
    std::fs::write(bad_tables.join("rooms.csv"), rooms + "not-a-room\n").expect("a table");
    // The demo wants a folder of its own.
    let demo = Program::new(env!("CARGO_BIN_EXE_lanner"), &shop.beside("demo"));
    let paid = shop.chat.organizations.iter().find(|(_, paid)| *paid).expect("a paid one").0;
    for (command, line) in CALLS {
        let line = line
            .replace("{bad_tables}", &bad_tables.display().to_string())
            .replace("{tables}", &shop.tables().display().to_string())
            .replace("{limited}", &shop.a_limited_one().0.to_string())
            .replace("{paid}", &paid.to_string());
        let out = output(if command == "demo" { &demo } else { &shop.program }, &format!("{line} --json"));
        assert!(schemas.check(&file_of(command), &out) > 0, "lanner {line} --json printed nothing");
    }
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
    assert!(matches!(code, Some(0 | 3)), "lanner {line} ended with {code:?}: {words}");
    out
}

#[test]
fn every_command_has_a_schema_and_a_call_that_is_checked() {
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), Path::new("nowhere"));
    let mut commands = BTreeSet::new();
    leaves(&program, "", &mut commands);
    assert!(commands.contains("limits export") && commands.contains("run"), "does help still read so? {commands:?}");
    WITHOUT.iter().for_each(|command| assert!(commands.remove(*command), "there is no command {command}"));
    let called: BTreeSet<String> = CALLS.iter().map(|(command, _)| (*command).to_owned()).collect();
    assert_eq!(commands, called, "the commands on the left, those that CALLS checks on the right");
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

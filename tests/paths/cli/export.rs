//! What was exported is what was imported.

use std::fs;
use std::path::{Path, PathBuf};

use support::Program;
use tempfile::TempDir;

use super::shop::{RUN, Shop};
use super::{check_table, json};

/// Another data directory, beside the shop's.
fn program(folder: &TempDir) -> Program {
    Program::new(env!("CARGO_BIN_EXE_lanner"), &folder.path().join("data"))
}

fn words<'a>(command: &'a str, path: &'a Path, more: &'a str) -> Vec<&'a str> {
    [command, path.to_str().expect("a path")].into_iter().chain(more.split_whitespace()).collect()
}

/// The folder's files and what they hold, but for the limits, which an import does not read.
fn tables(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut tables: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.to_string_lossy().contains("limits"))
        .map(|path| (path.file_name().expect("a name").into(), fs::read(&path).expect("a table")))
        .collect();
    tables.sort();
    tables
}

/// A shop whose messages tell what they say, with what a text can hold.
fn telling(seed: u64) -> Shop {
    let shop = Shop::without_import(seed);
    let mut text = "room_id,message_id,deleted,author_id,body\n".to_owned();
    for (number, (room, id, deleted)) in shop.chat.messages.iter().enumerate() {
        let body = [" \"\"a\"\", \u{1f389}\n\tb\r\n", "", "plain", "\\n"][number % 4];
        let author = if number % 3 == 0 { String::new() } else { number.to_string() };
        text.push_str(&format!("{room},{id},{deleted},{author},\"{body}\"\n"));
    }
    fs::write(shop.tables().join("messages.csv"), text).expect("a table");
    let names = "kind,id,organization_id,name\norganization,3,,\"Three, Inc.\"\nroom,7,3,general\naccount,1,3,\u{e9}\n";
    fs::write(shop.tables().join("names.csv"), names).expect("a table");
    shop.program.run_with(words("import", &shop.tables(), "")).exits(0);
    shop.program.run(RUN).exits(0);
    shop
}

#[test]
fn an_export_imported_and_exported_is_the_same_and_leads_to_the_same_limits() {
    let shop = telling(81);
    for format in ["parquet", "csv"] {
        let other = TempDir::new().expect("a folder");
        let (first, second) = (other.path().join("first"), other.path().join("second"));
        let line = format!("--format {format} --bodies");
        check_table(&shop.program.run_with(words("export", &first, &line)).exits(0));
        let program = program(&other);
        let report = json(program.run_with(words("import", &first, "--json")), 0);
        assert_eq!(report["bodies"], shop.chat.messages.len());
        program.run_with(words("export", &second, &line)).exits(0);
        assert!(tables(&first) == tables(&second), "{format}: the tables differ");
        assert_eq!(tables(&first).len(), 7, "six tables and meta.json");
        program.run(RUN).exits(0);
        assert_eq!(program.run("limits export").exits(0).out, shop.expected_export());
    }
}

#[test]
fn the_limits_go_along_with_what_they_were_computed_by() {
    let shop = Shop::with_run(82);
    let folder = shop.beside("export");
    shop.program.run_with(words("export", &folder, "--format csv --tables limits")).exits(0);
    let limits = fs::read_to_string(folder.join("limits.csv")).expect("a table");
    let expected: Vec<String> = shop
        .expected_export()
        .lines()
        .enumerate()
        .map(|(number, line)| match number {
            0 => format!("{line},max_messages,max_age_ms,as_of,run"),
            _ => format!("{line},25,3456000000,2026-01-01T00:00:00Z,daily"),
        })
        .collect();
    assert_eq!(limits.lines().collect::<Vec<_>>(), expected);
    let mut names: Vec<_> =
        fs::read_dir(&folder).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["limits.csv", "meta.json"]);
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let shop = telling(83);
    let folder = shop.beside("export");
    let counted = json(shop.program.run_with(words("export", &folder, "--dry-run --json")), 0);
    assert!(!folder.exists());
    check_table(&shop.program.run_with(words("export", &folder, "--dry-run")).exits(0));
    let written = json(shop.program.run_with(words("export", &folder, "--json")), 0);
    let rows = |report: &serde_json::Value| -> Vec<(String, u64)> {
        let tables = report["tables"].as_array().expect("tables").iter();
        tables.map(|table| (table["table"].to_string(), table["rows"].as_u64().expect("rows"))).collect()
    };
    assert_eq!(rows(&counted), rows(&written));
    let messages = rows(&written).into_iter().find(|(table, _)| table == "\"messages\"").expect("messages");
    assert_eq!(messages.1, shop.chat.messages.len() as u64);
}

#[test]
fn a_folder_that_holds_something_is_left_alone_unless_forced() {
    let shop = Shop::with_run(84);
    let folder = shop.beside("export");
    fs::create_dir(&folder).expect("a folder");
    // What an interrupted export left is no hindrance.
    fs::write(folder.join("rooms.csv.unfinished"), "id\n1").expect("a file");
    shop.program.run_with(words("export", &folder, "--format csv")).exits(0);
    let before = tables(&folder);
    shop.program.run_with(words("export", &folder, "")).exits(2).says(&["not empty", "--force"]);
    assert!(tables(&folder) == before);
    shop.program.run_with(words("export", &folder, "--force")).exits(0);
    // A table stands there once: an import of the folder is not in doubt.
    let other = TempDir::new().expect("a folder");
    program(&other).run_with(words("import", &folder, "")).exits(0);
    fs::write(shop.beside("a-file"), "text").expect("a file");
    shop.program.run_with(words("export", &shop.beside("a-file"), "")).exits(1).says(&["a-file"]);
    shop.program.run_with(words("export", &folder, "--tables rooms,people")).exits(2).says(&["people", "memberships"]);
    let nothing = TempDir::new().expect("a folder");
    program(&nothing).run_with(words("export", &folder, "")).exits(2).says(&["holds no data yet"]);
    assert!(!nothing.path().join("data").exists());
}

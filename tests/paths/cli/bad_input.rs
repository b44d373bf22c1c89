//! Bad input: the exit code, the words, and nothing changed.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use support::Ended;

use super::shop::{RUN, Shop};

#[test]
fn arguments_that_mean_nothing_are_a_matter_of_usage() {
    let shop = Shop::with_run(61);
    for line in [
        "explain --organization 999999",
        "limits get --organization 999999",
        "rerun --organization 999999 --dry-run",
        "rerun --organization 999999 --reason because",
    ] {
        shop.program.run(line).exits(2).says(&["999999"]);
    }
    shop.program.run("run --as-of 2999-01-01T00:00:00Z").exits(2).says(&["future"]);
    shop.program.run("rerun --organization 3 --as-of 2999-01-01T00:00:00Z --dry-run").exits(2).says(&["future"]);
    for line in [
        "run --as-of yesterday",
        "run --max-messages 0",
        "run --max-age soon",
        "run --run no/slash",
        "explain --organization -1",
        "explain --organization 9223372036854775808",
        "rerun --organization 3",
        "rerun --organization 3 --reason  ",
        "no-such-command",
    ] {
        let ended = shop.program.run(line).exits(2);
        assert!(!ended.err.is_empty(), "{line}: no words");
    }
    assert_eq!(shop.program.run("runs --json").exits(0).json().as_array().map(Vec::len), Some(1), "a run was made");
}

#[test]
fn settings_that_are_wrong_are_named_and_nothing_is_done() {
    let shop = Shop::with_run(62);
    let file = shop.beside("lanner.toml");
    let path = file.to_str().expect("a path");
    for (text, words) in [
        ("[workers", vec!["lanner.toml"]),
        ("[workers]\nin_fligth = 3\n", vec!["workers.in_fligth", "in_flight"]),
        ("[worker]\nin_flight = 3\n", vec!["[worker]"]),
        ("[workers]\nin_flight = 0\n", vec!["workers.in_flight"]),
        ("[[policy]]\nmax_age = \"soon\"\n", vec!["policy.max_age"]),
        ("[policy]\nmax_age = \"40d\"\n", vec!["line 1", "[[policy]]"]),
        ("[log]\nfilter = { file = \"/nonexistent/filter\" }\n", vec!["log.filter", "/nonexistent/filter"]),
    ] {
        fs::write(&file, text).expect("a file");
        shop.program.run_with(["--config", path, "run"]).exits(42).says(&words);
    }
    shop.program
        .run_with(["--config", "/nonexistent/lanner.toml", "run"])
        .exits(42)
        .says(&["/nonexistent/lanner.toml"]);
    shop.program.clone().with("LANNER_WORKERS_BATCH_MAX", "x").run("run").exits(42).says(&["LANNER_WORKERS_BATCH_MAX"]);
    shop.program.clone().with("LANNER_WORKERS_BATCHMAX", 7).run("run").exits(42).says(&["LANNER_WORKERS_BATCH_MAX?"]);
    let other_epoch = shop.program.clone().with("LANNER_STORE_EPOCH", "2023-01-01T00:00:00Z");
    for line in ["run", "limits export"] {
        other_epoch.run(line).exits(42).says(&["2023-01-01T00:00:00Z", "2024-01-01T00:00:00Z"]);
    }
    assert_eq!(shop.program.run("limits export").exits(0).out, shop.expected_export());
}

#[test]
fn a_data_directory_that_is_none_is_a_matter_of_configuration() {
    let shop = Shop::with_run(63);
    let file = shop.beside("a-file");
    fs::write(&file, "text").expect("a file");
    let tables = shop.tables();
    for line in [vec!["run"], vec!["status"], vec!["import", tables.to_str().expect("a path")]] {
        let mut words = vec!["--data-dir", file.to_str().expect("a path")];
        words.extend(line);
        // The first --data-dir is the test's own: clap takes one only.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lanner"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LANNER_")) {
            command.env_remove(name);
        }
        let ended = Ended::from(command.args(&words).output().expect("the binary starts"));
        ended.exits(42).says(&["a-file", "not a directory"]);
    }
    let store = shop.data_dir().join("store.json");
    let text = fs::read_to_string(&store).expect("store.json");
    fs::write(&store, text.replace("\"format\":1", "\"format\":2")).expect("store.json");
    for line in ["run", "status", "limits export"] {
        shop.program.run(line).exits(42).says(&["newer version", "format 2"]);
    }
    fs::write(&store, "{").expect("store.json");
    shop.program.run("run").exits(42).says(&["store.json"]);
    fs::write(&store, text).expect("store.json");
    assert_eq!(shop.program.run("limits export").exits(0).out, shop.expected_export());
}

#[test]
fn what_reads_needs_a_data_directory_that_holds_something() {
    let shop = Shop::without_import(64);
    for line in ["status", "runs", "limits export", "explain --organization 3"] {
        shop.program.run(line).exits(2).says(&["holds no data yet"]);
    }
    assert!(!shop.data_dir().exists(), "a reader made the data directory");
}

fn import(shop: &Shop, folder: &Path, more: &[&str]) -> Ended {
    shop.program.run_with(["import", folder.to_str().expect("a path")].iter().chain(more))
}

/// The tables, with `change` applied to a copy of them.
fn spoiled(shop: &Shop, name: &str, change: impl FnOnce(&Path)) -> std::path::PathBuf {
    let folder = shop.beside(name);
    shop.chat.write_csv(&folder);
    change(&folder);
    folder
}

fn append(folder: &Path, table: &str, line: &str) {
    let path = folder.join(table);
    let text = fs::read_to_string(&path).expect("a table");
    fs::write(&path, format!("{text}{line}\n")).expect("a table");
}

#[test]
fn tables_that_are_wrong_are_refused_and_nothing_is_changed() {
    let shop = Shop::with_run(65);
    shop.program.run("import /nonexistent/tables").exits(2).says(&["/nonexistent/tables"]);
    let lines = |table: &str| fs::read_to_string(shop.tables().join(table)).expect("a table").lines().count();
    let contradicted = shop.chat.messages[0];
    let contradiction = format!("{},{},{}", contradicted.0, contradicted.1, !contradicted.2);
    let room = shop.chat.rooms[0];
    type Change<'a> = Box<dyn FnOnce(&Path) + 'a>;
    let cases: Vec<(&str, Change, Vec<String>)> = vec![
        ("missing", Box::new(|f| fs::remove_file(f.join("rooms.csv")).expect("removed")), vec!["rooms.parquet".into()]),
        (
            "column",
            Box::new(|f| fs::write(f.join("rooms.csv"), "name\n1\n").expect("written")),
            vec!["column id".into()],
        ),
        (
            "range",
            Box::new(|f| append(f, "rooms.csv", "9223372036854775808")),
            vec!["9223372036854775808".into(), "rooms.csv".into(), (lines("rooms.csv") + 1).to_string()],
        ),
        (
            "negative",
            Box::new(|f| append(f, "messages.csv", &format!("{room},-5,false"))),
            vec!["-5".into(), "messages.csv".into()],
        ),
        (
            "words",
            Box::new(|f| append(f, "organizations.csv", "77,gold")),
            vec!["gold".into(), "neither free nor paid".into()],
        ),
        (
            "contradiction",
            Box::new(|f| append(f, "messages.csv", &contradiction)),
            vec![contradicted.1.to_string(), "messages.csv".into()],
        ),
        (
            "stranger",
            Box::new(|f| append(f, "accounts.csv", "99999,424242,true")),
            vec!["424242".into(), "unknown organization".into()],
        ),
        ("fields", Box::new(|f| append(f, "messages.csv", "1,2,3,4,5")), vec!["messages.csv".into()]),
    ];
    for (name, change, words) in cases {
        let folder = spoiled(&shop, name, change);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        import(&shop, &folder, &[]).exits(65).says(&words);
        assert_eq!(shop.program.run("limits export").exits(0).out, shop.expected_export(), "{name}");
    }
    assert_eq!(
        shop.program.run("run --run after --as-of 2026-01-01T00:00:00Z --max-messages 25 --json").exits(0).json()["states"]
            ["done"],
        shop.chat.free()
    );
}

#[test]
fn broken_parquet_files_are_refused_and_nothing_is_changed() {
    let shop = Shop::with_run(66);
    let ids: Vec<i64> = shop.chat.rooms.iter().map(|room| *room as i64).collect();
    let whole = spoiled(&shop, "whole", |folder| {
        fs::remove_file(folder.join("rooms.csv")).expect("removed");
        write_parquet(&folder.join("rooms.parquet"), &ids, false);
    });
    import(&shop, &whole, &[]).exits(0);
    let bytes = fs::read(whole.join("rooms.parquet")).expect("a file");
    for length in [0, 3, bytes.len() / 2, bytes.len() - 1] {
        fs::write(whole.join("rooms.parquet"), &bytes[..length]).expect("a file");
        import(&shop, &whole, &[]).exits(65).says(&["rooms.parquet"]);
    }
    write_parquet(&whole.join("rooms.parquet"), &ids, true);
    import(&shop, &whole, &[]).exits(65).says(&["rooms.parquet", "id"]);
    fs::write(whole.join("rooms.csv"), "id\n").expect("a file");
    import(&shop, &whole, &[]).exits(65).says(&["rooms.parquet", "rooms.csv"]);
    assert_eq!(shop.program.run("limits export").exits(0).out, shop.expected_export());
    shop.program.run(RUN).exits(0);
}

fn write_parquet(path: &Path, ids: &[i64], as_doubles: bool) {
    let kind = if as_doubles { "double" } else { "int64" };
    let schema = parse_message_type(&format!("message rooms {{ required {kind} id; }}")).expect("a schema");
    let file = File::create(path).expect("a file");
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), properties).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let mut column = group.next_column().expect("a column").expect("the column");
    if as_doubles {
        let doubles: Vec<f64> = ids.iter().map(|id| *id as f64).collect();
        column.typed::<DoubleType>().write_batch(&doubles, None, None).expect("values");
    } else {
        column.typed::<Int64Type>().write_batch(ids, None, None).expect("values");
    }
    column.close().expect("closed");
    group.close().expect("closed");
    writer.close().expect("closed");
}

#[test]
fn with_skip_bad_the_bad_rows_are_left_out_and_listed() {
    let shop = Shop::without_import(67);
    let folder = spoiled(&shop, "bad", |folder| {
        append(folder, "organizations.csv", "77,gold");
        append(folder, "accounts.csv", "99999,77,true");
        append(folder, "messages.csv", "424242,5,false");
    });
    let table = import(&shop, &folder, &["--skip-bad"]).exits(3);
    super::check_table(&table);
    assert_eq!(table.out.matches("left out: ").count(), 3, "{}", table.out);
    assert!(["gold", "424242", "99999"].iter().any(|word| table.out.contains(word)), "{}", table.out);
    let report = super::json(import(&shop, &folder, &["--skip-bad", "--json"]), 3);
    assert_eq!(report["tables"]["organizations"]["loaded"], shop.chat.organizations.len());
    shop.program.run(RUN).exits(0);
    assert_eq!(shop.program.run("limits export").exits(0).out, shop.expected_export(), "the good rows are all there");
}

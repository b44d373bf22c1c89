//! Files of messages, imported by a mapping.

use std::fs;
use std::path::{Path, PathBuf};

use support::{Ended, Program};
use tempfile::TempDir;

use super::{check_table, json};

/// A sample of `docs/examples/posts.tsv.toml`: two organizations with a room of the same name.
pub(super) const POSTS: &str = "posted_at\torganization\troom\tauthor\tbody\n\
    2026-01-01T08:00:00.000100\tacme\tgeneral\tann\tHello! \u{1f44b}\n\
    2026-01-01T08:00:00.000200\tacme\tgeneral\tbob\tlet x = 1;\\n\\tprintln!(\"{x}\\\\n\");\n\
    2026-01-01T09:00:00\tglobex\tgeneral\tann\tzw\u{f6}lf\n\
    2026-01-02T10:00:00.5\tacme\trandom\tann\t\u{1b}[31mred\n";

struct Bench {
    dir: TempDir,
    program: Program,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().expect("a folder");
        let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &dir.path().join("data"));
        Self { dir, program }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    fn import(&self, mapping: &Path, file: &Path, more: &[&str]) -> Ended {
        let paths = ["--mapping", mapping.to_str().expect("a path"), file.to_str().expect("a path")];
        self.program.run_with(["import"].iter().chain(&paths).chain(more))
    }
}

pub(super) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(name)
}

#[test]
fn posts_become_a_chat_whose_limits_can_be_computed() {
    let bench = Bench::new();
    let posts = bench.file("posts.tsv", POSTS);
    let mapping = example("posts.tsv.toml");
    check_table(&bench.import(&mapping, &posts, &["--dry-run"]).exits(0));
    assert!(!bench.dir.path().join("data").exists(), "a dry run made the data directory");
    let report = json(bench.import(&mapping, &posts, &["--json"]), 0);
    assert_eq!((report["live_messages"].as_u64(), report["bodies"].as_u64()), (Some(4), Some(4)));
    for (table, loaded) in [("organizations", 2), ("accounts", 3), ("rooms", 3), ("memberships", 4), ("names", 8)] {
        assert_eq!(report["tables"][table]["loaded"], loaded, "{table}");
    }
    bench.program.run("run --as-of 2026-01-03T00:00:00Z --max-messages 2").exits(0);
    let export = bench.program.run("limits export").exits(0).out;
    let counts: Vec<&str> = export.lines().skip(1).map(|line| line.rsplit_once(',').expect("columns").0).collect();
    assert!(counts[0].starts_with("1,2,") && counts[0].ends_with(",count"), "{export}");
    assert!(counts[1].starts_with("2,1,") && counts[1].ends_with(",age"), "{export}");
}

#[test]
fn what_was_written_can_be_read() {
    let bench = Bench::new();
    bench.import(&example("posts.tsv.toml"), &bench.file("posts.tsv", POSTS), &[]).exits(0);
    let messages = json(bench.program.run("messages --room 1 --json"), 0);
    assert_eq!(messages[0]["body"], "let x = 1;\n\tprintln!(\"{x}\\n\");");
    assert_eq!((messages[0]["author"].as_str(), messages[1]["author"].as_str()), (Some("bob"), Some("ann")));
    assert_eq!(messages[1]["body"], "Hello! \u{1f44b}");
    assert_eq!(messages[1]["written_at"], "2026-01-01T08:00:00Z");
    let newest = messages[0]["message_id"].as_str().expect("an id");
    let older = json(bench.program.run(&format!("messages --room 1 --below {newest} --json")), 0);
    assert_eq!(older, serde_json::json!([messages[1]]));
    assert_eq!(json(bench.program.run("messages --room 1 --limit 1 --json"), 0).as_array().map(Vec::len), Some(1));
    let organizations = json(bench.program.run("organizations list --json"), 0);
    let names: Vec<_> = organizations.as_array().expect("rows").iter().map(|row| row["name"].as_str()).collect();
    assert_eq!(names, [Some("acme"), Some("globex")]);
    for line in ["organizations list", "organizations show 1"] {
        let table = bench.program.run(line).exits(0);
        check_table(&table);
        assert!(table.out.contains("acme"), "{}", table.out);
    }
    // Nothing of a body reaches the terminal's controls.
    check_table(&bench.program.run("messages --room 1").exits(0));
    check_table(&bench.program.run("messages --room 3").exits(0));
    check_table(&bench.program.run("messages --room 99").exits(0));
}

#[test]
fn a_file_that_has_grown_keeps_its_ids_and_a_folder_of_numbers_is_not_mixed_in() {
    let bench = Bench::new();
    let mapping = example("posts.tsv.toml");
    bench.import(&mapping, &bench.file("posts.tsv", POSTS), &[]).exits(0);
    let before = json(bench.program.run("messages --room 1 --json"), 0);
    let grown = POSTS.replacen('\n', "\n2025-12-31T00:00:00\tnew\tgeneral\tzoe\tfirst now\n", 1);
    bench.import(&mapping, &bench.file("grown.tsv", &grown), &[]).exits(0);
    assert_eq!(json(bench.program.run("messages --room 1 --json"), 0), before);
    assert_eq!(json(bench.program.run("messages --room 4 --json"), 0)[0]["author"], "zoe");

    let other = super::shop::Shop::new(85);
    let posts = bench.file("posts.tsv", POSTS);
    let line = ["import", "--mapping", mapping.to_str().expect("a path"), posts.to_str().expect("a path")];
    other.program.run_with(line).exits(42).says(&["another data directory", "2015-01-01"]);
    let same_epoch = fs::read_to_string(&mapping).expect("a mapping").replace("2015-", "2024-");
    let same_epoch = bench.file("same-epoch.toml", &same_epoch);
    let line = ["import", "--mapping", same_epoch.to_str().expect("a path"), posts.to_str().expect("a path")];
    other.program.run_with(line).exits(1).says(&["without names", "another data directory"]);
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_changed() {
    let bench = Bench::new();
    let mapping = example("posts.tsv.toml");
    let bad = bench.file("bad.tsv", &format!("{POSTS}yesterday\tacme\tgeneral\tann\thi\n"));
    bench.import(&mapping, &bad, &[]).exits(65).says(&["bad.tsv, line 6, column posted_at", "yesterday"]);
    assert!(bench.program.run("messages --room 1").exits(0).out.contains("nothing is kept"));
    let table = bench.import(&mapping, &bad, &["--skip-bad"]).exits(3);
    check_table(&table);
    assert!(table.out.contains("left out: bad.tsv, line 6"), "{}", table.out);
    let posts = bench.file("posts.tsv", POSTS);
    let text = fs::read_to_string(&mapping).expect("a mapping").replace("quoting", "qouting");
    bench.import(&bench.file("wrong.toml", &text), &posts, &[]).exits(42).says(&["wrong.toml", "file.quoting?"]);
    bench.import(&mapping, bench.dir.path(), &[]).exits(2).says(&["not a file"]);
    bench.program.run_with(["import", posts.to_str().expect("a path")]).exits(2).says(&["--mapping"]);
    bench.program.run("import").exits(2);
}

#[test]
fn the_example_mapping_is_printed() {
    let bench = Bench::new();
    let printed = bench.program.run("import --example-mapping").exits(0).out;
    let text = "time,organization,room,author,body\n2026-01-01T08:00:00Z,acme,general,ann,\"a, \"\"b\"\"\"\n";
    bench.import(&bench.file("example.toml", &printed), &bench.file("messages.csv", text), &[]).exits(0);
    assert_eq!(json(bench.program.run("messages --room 1 --json"), 0)[0]["body"], "a, \"b\"");
}

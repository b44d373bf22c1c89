//! Files of any shape, by a mapping.

use std::{fs, io::Write, path::PathBuf};

use chat::{Epoch, OrganizationId, Plan};
use tempfile::TempDir;

use super::folder::{Content, Memory};
use crate::{ImportError, ImportOptions, ImportReport, Mapping, Name, NameKind, Reason, Table, import_mapped};

const POSTS: &str = include_str!("../../../../docs/examples/posts.tsv.toml");
const EVENTS: &str = include_str!("../../../../docs/examples/events.jsonl.toml");

/// Two organizations with a room of the same name; two messages at one millisecond; an author of the same name in both.
const LINES: &str = "posted_at\torganization\troom\tauthor\tbody\n\
    2017-05-11T15:46:08.512661\tred\tgeneral\tAda\tfirst\\tline\\nsecond \\\\n \"quoted\"\n\
    2017-05-11T15:46:08.512999\tblue\tgeneral\tBob\t\u{1f389} \n\
    2017-05-11T15:46:07\tred\tother\tBob\t\n\
    2017-05-11T15:46:09\tred\tgeneral\tBob\tlast\n";

fn mapping(text: &str) -> Mapping {
    Mapping::parse(text).expect("a mapping")
}

fn files(contents: &[&[u8]]) -> (TempDir, Vec<PathBuf>) {
    let dir = TempDir::new().expect("a folder");
    let file = |(number, content): (usize, &&[u8])| {
        let path = dir.path().join(format!("file-{number}.tsv"));
        fs::write(&path, content).expect("a file");
        path
    };
    let paths = contents.iter().enumerate().map(file).collect();
    (dir, paths)
}

async fn run(
    mapping: &Mapping,
    contents: &[&[u8]],
    store: &mut Memory,
    skip_bad: bool,
) -> Result<ImportReport, ImportError> {
    let (dir, paths) = files(contents);
    let options = ImportOptions { skip_bad, sort_rows: 3, ..ImportOptions::new(dir.path()) };
    import_mapped(mapping, &paths, &options, store, &mut |_| {}).await
}

async fn imported(mapping: &Mapping, contents: &[&[u8]]) -> Content {
    let mut store = Memory::default();
    run(mapping, contents, &mut store, false).await.expect("an import");
    store.visible
}

/// Where and why an import stops; with bad rows left out it leaves out just this.
async fn bad_row(mapping: &Mapping, content: &str) -> (u64, String, Reason) {
    let mut store = Memory::default();
    let bad = match run(mapping, &[content.as_bytes()], &mut store, false).await {
        Err(ImportError::BadRow(bad)) => bad,
        other => panic!("{other:?}"),
    };
    assert_eq!(bad.file, "file-0.tsv");
    assert_eq!(store.visible, Content::default(), "nothing may change");
    let report = run(mapping, &[content.as_bytes()], &mut store, true).await.expect("an import");
    let left_out = &report.tables[&Table::Messages].left_out;
    assert_eq!((left_out.count(), &left_out.rows[0]), (1, &*bad));
    (bad.row, bad.column.clone(), bad.reason)
}

fn name(kind: NameKind, id: u64, within: Option<u64>, name: &str) -> Name {
    Name { kind, id, within: within.map(OrganizationId::from_bits), name: name.to_owned() }
}

fn epoch() -> Epoch {
    Epoch("2015-01-01T00:00:00Z".parse().expect("an instant"))
}

/// The first id of an instant of 2017-05-11.
fn id(time: &str) -> u64 {
    epoch().first_id(format!("2017-05-11T{time}Z").parse().expect("an instant")).get()
}

#[tokio::test]
async fn columns_become_tables() {
    let content = imported(&mapping(POSTS), &[LINES.as_bytes()]).await;
    let organizations: Vec<_> = content.organizations.iter().map(|row| (row.id.get(), row.plan)).collect();
    assert_eq!(organizations, [(1, Plan::Free), (2, Plan::Free)]);
    let accounts: Vec<_> = content.accounts.iter().map(|row| (row.id.get(), row.organization.get())).collect();
    assert_eq!(accounts, [(1, 1), (2, 2), (3, 1)]);
    let memberships: Vec<_> = content.memberships.iter().map(|row| (row.account.get(), row.room.get())).collect();
    assert_eq!(memberships, [(1, 1), (2, 2), (3, 1), (3, 3)]);
    let names = [
        name(NameKind::Organization, 1, None, "red"),
        name(NameKind::Organization, 2, None, "blue"),
        name(NameKind::Room, 1, Some(1), "general"),
        name(NameKind::Room, 2, Some(2), "general"),
        name(NameKind::Room, 3, Some(1), "other"),
        name(NameKind::Account, 1, Some(1), "Ada"),
        name(NameKind::Account, 2, Some(2), "Bob"),
        name(NameKind::Account, 3, Some(1), "Bob"),
    ];
    assert_eq!(content.names, names);
    let bodies: Vec<_> = content.bodies.into_iter().collect();
    let body = |author: u64, body: &str| (Some(author), body.to_owned());
    let expected = [
        ((1, id("15:46:08.512")), body(1, "first\tline\nsecond \\n \"quoted\"")),
        ((1, id("15:46:09")), body(3, "last")),
        ((2, id("15:46:08.512") + 1), body(2, "\u{1f389} ")),
        ((3, id("15:46:07")), body(3, "")),
    ];
    assert_eq!(bodies, expected);
    assert_eq!(content.live.values().map(|ids| ids.len()).sum::<usize>(), 4);
}

#[tokio::test]
async fn compressed_files_and_several_files_are_one() {
    let mapping = mapping(POSTS);
    let expected = imported(&mapping, &[LINES.as_bytes()]).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(LINES.as_bytes()).expect("compressed");
    let gzip = gzip.finish().expect("compressed");
    let zstd = zstd::encode_all(LINES.as_bytes(), 1).expect("compressed");
    for compressed in [&gzip, &zstd] {
        assert_eq!(imported(&mapping, &[compressed]).await, expected);
        let cut = &compressed[..compressed.len() / 2];
        let error = run(&mapping, &[cut], &mut Memory::default(), true).await.expect_err("it is cut off");
        assert!(matches!(error, ImportError::Broken { .. }), "{error:?}");
    }
    let (header, lines) = LINES.split_once('\n').expect("a header");
    let half = lines.match_indices('\n').nth(1).expect("lines").0 + 1;
    let second = format!("{header}\r\n{}", lines[half..].replace('\n', "\r\n"));
    assert_eq!(imported(&mapping, &[LINES[..header.len() + 1 + half].as_bytes(), second.as_bytes()]).await, expected);
}

#[tokio::test]
async fn the_same_again_and_what_has_grown_keep_their_ids() {
    let mapping = mapping(POSTS);
    let mut store = Memory::default();
    run(&mapping, &[LINES.as_bytes()], &mut store, false).await.expect("an import");
    let once = store.visible.clone();
    run(&mapping, &[LINES.as_bytes()], &mut store, false).await.expect("an import");
    assert_eq!(store.visible, once);
    // The first name of the file is a new one now, and two times occur again.
    let (header, lines) = LINES.split_once('\n').expect("a header");
    let grown = format!(
        "{header}\n2017-05-01T00:00:00\tgreen\tgeneral\tEve\thi\n{lines}\
         2017-05-11T15:46:08.512\tred\tgeneral\tAda\tthird\n2017-05-11T15:46:09\tblue\tnew\tBob\tsecond\n"
    );
    run(&mapping, &[grown.as_bytes()], &mut store, false).await.expect("an import");
    let now = &store.visible;
    assert!(once.names.iter().all(|name| now.names.contains(name)), "{:?}", now.names);
    assert!(once.bodies.iter().all(|(key, body)| now.bodies.get(key) == Some(body)), "{:?}", now.bodies);
    assert_eq!((now.names.len(), now.bodies.len()), (12, 7));
    assert!(now.bodies.contains_key(&(1, id("15:46:08.512") + 2)));
}

#[tokio::test]
async fn names_of_what_is_gone_stay() {
    let mapping = mapping(POSTS);
    let mut store = Memory::default();
    run(&mapping, &[LINES.as_bytes()], &mut store, false).await.expect("an import");
    let names = store.visible.names.clone();
    let header = LINES.split_once('\n').expect("a header").0;
    run(&mapping, &[header.as_bytes()], &mut store, false).await.expect("an import");
    assert_eq!((store.visible.names.clone(), store.visible.organizations.len()), (names, 0));
}

#[tokio::test]
async fn killed_at_any_call_and_run_again_is_once() {
    let mapping = mapping(POSTS);
    let expected = imported(&mapping, &[LINES.as_bytes()]).await;
    for calls in 0.. {
        let mut store = Memory { calls_left: Some(calls), ..Memory::default() };
        if run(&mapping, &[LINES.as_bytes()], &mut store, false).await.is_ok() {
            assert!(calls > 12, "every kind of call has failed once");
            break;
        }
        store.calls_left = None;
        run(&mapping, &[LINES.as_bytes()], &mut store, false).await.expect("an import");
        assert_eq!(store.visible, expected, "killed at call {calls}");
    }
}

#[tokio::test]
async fn json_lines_with_shared_rooms_and_plans() {
    let lines = r#"{"ts":1494517568.512,"channel":"lobby","user":{"name":"ada","team":"a","plan":"free"},"text":"hi\n\u00e9"}

{"ts":"1494517569","channel":"lobby","user":{"name":"ada","team":"b","plan":"paid"},"text":null,"deleted":false}
{"ts":1494517570,"channel":"lobby","user":{"name":"ada","team":"a","plan":"free"},"deleted":true}
"#;
    let mapping = mapping(EVENTS);
    let content = imported(&mapping, &[lines.as_bytes()]).await;
    let plans: Vec<_> = content.organizations.iter().map(|row| row.plan).collect();
    assert_eq!((plans, content.rooms.len(), content.accounts.len()), (vec![Plan::Free, Plan::Paid], 1, 2));
    assert_eq!(content.organization_rooms.len(), 2, "both see the one room");
    let bodies: Vec<_> = content.bodies.values().cloned().collect();
    assert_eq!(bodies, [(Some(1), "hi\n\u{e9}".to_owned()), (Some(2), String::new())]);
    assert_eq!(content.tombstoned[&1].len(), 1);
    let line = |change: (&str, &str)| lines.lines().next().expect("a line").replace(change.0, change.1);
    for (change, column, reason) in [
        (("{\"ts\"", "{ts"), "", Reason::NotJson),
        (("\"lobby\"", "[1]"), "channel", Reason::NotAValue),
        (("\"lobby\"", "null"), "channel", Reason::Missing),
        (("\"free\"", "\"gold\""), "user.plan", Reason::UnknownPlan),
        (("\"free\"", "\"paid\""), "user.plan", Reason::Contradiction),
        (("1494517568.512", "true"), "ts", Reason::NotATime),
        (("\"text\"", "\"deleted\":\"x\",\"text\""), "deleted", Reason::NotAFlag),
    ] {
        let text = format!("{lines}{}\n", line(change));
        assert_eq!(bad_row(&mapping, &text).await, (5, column.to_owned(), reason), "{change:?}");
    }
}

#[tokio::test]
async fn ids_can_be_taken_as_they_are() {
    let text = "epoch = \"2015-01-01T00:00:00Z\"\n[file]\nformat = \"delimited\"\nheader = false\ndelimiter = \";\"\n\
                [organization]\ncolumn = \"1\"\nids = \"numbers\"\nplan = \"paid\"\n[room]\ncolumn = \"2\"\nids = \"numbers\"\n\
                shared = true\n[author]\ncolumn = \"3\"\nids = \"numbers\"\n[message]\nid = \"4\"\nbody = \"5\"\n";
    let numbers = mapping(text);
    let lines = "70;800;9000;5;\"a;\"\"b\"\"\n c\"\n71;800;9001;7;x\n70;801;9000;6;y\n";
    let content = imported(&numbers, &[lines.as_bytes()]).await;
    assert_eq!(content.accounts.iter().map(|row| row.id.get()).collect::<Vec<_>>(), [9000, 9001]);
    assert!(content.names.is_empty());
    assert_eq!(content.bodies[&(800, 5)], (Some(9000), "a;\"b\"\n c".to_owned()));
    for (line, row, column, reason) in [
        ("x;800;9000;8;", 5, "1", Reason::NotANumber),
        ("70;800;9001;8;", 5, "3", Reason::Contradiction),
        ("70;800;9000;9223372036854775808;", 5, "4", Reason::NotANumber),
        ("70;800;;8;", 5, "3", Reason::Missing),
        ("70;800", 5, "", Reason::FieldCount),
        // Told by the checks that every import makes: the line of the file is found all the same.
        ("70;801;9000;5;", 5, "message_id", Reason::TwoRooms),
    ] {
        assert_eq!(bad_row(&numbers, &format!("{lines}{line}\n")).await, (row, column.to_owned(), reason), "{line}");
    }
}

#[tokio::test]
async fn lines_that_are_bad_are_named() {
    let mapping = mapping(POSTS);
    let good = "2017-05-11T15:46:08.512661\tred\tgeneral\tAda\thello";
    for (line, column, reason) in [
        (good.replace("hello", "a\tb"), "", Reason::FieldCount),
        ("broken".to_owned(), "", Reason::FieldCount),
        (good.replace("2017-05-11", "11.5.2017 "), "posted_at", Reason::NotATime),
        (good.replace("2017", "2014"), "posted_at", Reason::OutsideEpoch),
        (good.replace("2017", "2117"), "posted_at", Reason::OutsideEpoch),
        (good.replace("Ada", " "), "author", Reason::Missing),
        (good.replace("hello", &"x".repeat((1 << 20) + 1)), "body", Reason::TooLong),
    ] {
        let text = format!("{LINES}{line}\n");
        assert_eq!(bad_row(&mapping, &text).await, (6, column.to_owned(), reason), "{column}");
    }
    let error = run(&mapping, &[LINES.replace("room", "channel").as_bytes()], &mut Memory::default(), true).await;
    assert!(matches!(error, Err(ImportError::MissingColumn { column, .. }) if column == "room"));
}

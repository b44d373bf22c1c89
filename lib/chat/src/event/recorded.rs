//! Every event that was ever written can be read: one recorded file for each kind and version in `lib/chat/events/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::{Actor, Decoded, Event, EventId, Kind, Record, What, decode};
use crate::{AccountId, MessageId, OrganizationId, RoomId, Timestamp};

/// A file: `key` and headers as text, the value as JSON.
#[derive(Deserialize)]
struct File {
    key: String,
    headers: BTreeMap<String, String>,
    value: serde_json::Value,
}

impl File {
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect()
    }
}

/// All files by their names without `.json`, which are types without `lanner.`.
fn files() -> BTreeMap<String, File> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a file");
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
        let file = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (name.unwrap_or_else(|| panic!("{} is no .json", path.display())).to_owned(), file)
    };
    std::fs::read_dir(folder).expect("the folder").map(read).collect()
}

/// What the file of a kind holds.
fn recorded(kind: Kind) -> Event {
    let (message, member) = (MessageId::from_bits(382_445_117_235_200_001), AccountId::from_bits(9));
    let author = AccountId::from_bits(i64::MAX as u64);
    let what = match kind {
        Kind::MessageCreated => What::MessageCreated {
            message,
            author,
            author_organization: OrganizationId::from_bits(4),
            body: "two lines,\nand a \"quote\": \u{65e5}\u{672c}\u{8a9e} \u{1f389}".to_owned(),
        },
        Kind::MessageUpdated => What::MessageUpdated { message, body: String::new() },
        Kind::MessageDeleted => What::MessageDeleted { message, as_admin: true },
        Kind::RoomCreated => What::RoomCreated,
        Kind::RoomDeleted => What::RoomDeleted,
        Kind::RoomMemberJoined => What::RoomMemberJoined { member },
        Kind::RoomMemberLeft => What::RoomMemberLeft { member },
    };
    Event {
        id: EventId::new("382445117235200001.1").expect("an id"),
        at: Timestamp::from_millis(1_795_305_600_123),
        by: Actor { account: AccountId::from_bits(7), organization: OrganizationId::from_bits(3) },
        room: RoomId::from_bits(77),
        what,
    }
}

#[test]
fn every_recorded_event_still_reads_as_what_it_was() {
    for (name, file) in files() {
        let value = file.value.to_string();
        let decoded = decode(file.key.as_bytes(), &file.headers(), value.as_bytes());
        let Decoded::Event(event) = decoded else { panic!("{name}.json reads as {decoded:?}") };
        assert_eq!(event, recorded(event.kind()), "{name}.json");
        assert_eq!(file.headers["ce_type"], format!("lanner.{name}"), "a file is named by its type");
    }
}

#[test]
fn every_kind_and_each_of_its_versions_has_a_recorded_file() {
    let files: BTreeSet<String> = files().into_keys().collect();
    for kind in Kind::ALL {
        let name = kind.type_name().strip_prefix("lanner.").expect("our prefix");
        let (stem, version) = name.rsplit_once(".v").expect("a version");
        for version in 1..=version.parse::<u32>().expect("a number") {
            let name = format!("{stem}.v{version}");
            assert!(files.contains(&name), "record {name}.json in lib/chat/events");
        }
    }
}

#[test]
fn what_is_written_today_is_what_was_recorded() {
    let files = files();
    for kind in Kind::ALL {
        let file = &files[kind.type_name().strip_prefix("lanner.").expect("our prefix")];
        let Record { key, mut headers, value } = recorded(kind).encode();
        headers.sort();
        assert_eq!((key, headers), (file.key.clone().into_bytes(), file.headers()), "{kind:?}");
        let value: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
        assert_eq!(value, file.value, "{kind:?}");
    }
}

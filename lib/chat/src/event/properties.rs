//! What holds for any event and for any bytes.

use super::{Actor, Decoded, Event, EventId, Kind, Record, What, decode};
use crate::messages::MAX_BODY_BYTES;
use crate::{AccountId, MessageId, OrganizationId, Position, RoomChange, RoomId, Timestamp};

const CASES: u64 = 2_000;

fn bits(random: &mut fastrand::Rng) -> u64 {
    random.u64(..) >> random.u32(1..64)
}

fn text(random: &mut fastrand::Rng, most: usize) -> String {
    (0..random.usize(0..=most)).map(|_| if random.bool() { random.char(..) } else { random.char(' '..='~') }).collect()
}

fn what(kind: Kind, random: &mut fastrand::Rng) -> What {
    let (message, member) = (MessageId::from_bits(bits(random)), AccountId::from_bits(bits(random)));
    match kind {
        Kind::MessageCreated => What::MessageCreated {
            message,
            author: member,
            author_organization: OrganizationId::from_bits(bits(random)),
            body: text(random, 50),
        },
        Kind::MessageUpdated => What::MessageUpdated { message, body: text(random, 50) },
        Kind::MessageDeleted => What::MessageDeleted { message, as_admin: random.bool() },
        Kind::RoomCreated => What::RoomCreated,
        Kind::RoomDeleted => What::RoomDeleted,
        Kind::RoomMemberJoined => What::RoomMemberJoined { member },
        Kind::RoomMemberLeft => What::RoomMemberLeft { member },
    }
}

fn event(random: &mut fastrand::Rng) -> Event {
    let id: String = (0..random.usize(1..=EventId::MAX_BYTES)).map(|_| random.char('!'..='~')).collect();
    let kind = Kind::ALL[random.usize(0..Kind::ALL.len())];
    Event {
        id: EventId::new(&id).expect("an id"),
        at: Timestamp::from_millis(random.u64(0..=Timestamp::MAX.as_millis())),
        by: Actor {
            account: AccountId::from_bits(bits(random)),
            organization: OrganizationId::from_bits(bits(random)),
        },
        room: RoomId::from_bits(bits(random)),
        what: what(kind, random),
    }
}

fn read(record: &Record) -> Decoded {
    decode(&record.key, &record.headers, &record.value)
}

/// A record with other values under some headers; `None` takes the header away.
fn with_header(mut record: Record, name: &str, value: Option<&str>) -> Record {
    record.headers.retain(|(header, _)| header != name);
    record.headers.extend(value.map(|value| (name.to_owned(), value.as_bytes().to_vec())));
    record
}

fn sample(kind: Kind) -> Record {
    let mut random = fastrand::Rng::with_seed(7);
    Event { what: what(kind, &mut random), ..event(&mut random) }.encode()
}

fn reason(record: &Record) -> String {
    match read(record) {
        Decoded::Undecodable { reason } => reason,
        other => panic!("{record:?} reads as {other:?}"),
    }
}

#[test]
fn an_event_reads_back_as_it_was_written() {
    for seed in 0..CASES {
        let event = event(&mut fastrand::Rng::with_seed(seed));
        assert_eq!(read(&event.encode()), Decoded::Event(event), "seed {seed}");
    }
}

#[test]
fn headers_and_fields_that_nobody_knows_are_tolerated() {
    for seed in 0..CASES {
        let event = event(&mut fastrand::Rng::with_seed(seed));
        let mut record = event.encode();
        record.headers.insert(0, ("traceparent".to_owned(), vec![0xff]));
        record.headers.insert(0, ("traceparent".to_owned(), Vec::new()));
        let mut value: serde_json::Value = serde_json::from_slice(&record.value).expect("JSON");
        value["later"] = serde_json::json!([1, {"x": null}]);
        record.value = value.to_string().into_bytes();
        assert_eq!(read(&record), Decoded::Event(event), "seed {seed}");
    }
}

#[test]
fn damaged_records_and_any_bytes_never_panic() {
    for seed in 0..CASES {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut record = event(&mut random).encode();
        for _ in 0..random.usize(1..4) {
            let part = match random.usize(0..9) {
                0 => &mut record.key,
                1..=4 => &mut record.value,
                header => &mut record.headers[header - 5].1,
            };
            match random.u8(0..4) {
                0 => *part = (0..random.usize(0..40)).map(|_| random.u8(..)).collect(),
                1 => part.truncate(random.usize(0..=part.len())),
                _ if part.is_empty() => {}
                _ => {
                    let at = random.usize(0..part.len());
                    part[at] = random.u8(..);
                }
            }
        }
        if let Decoded::Undecodable { reason } = read(&record) {
            assert!(!reason.is_empty() && reason.len() <= 256, "seed {seed}: {reason}");
        }
    }
}

#[test]
fn a_reason_ends_within_its_bound_and_not_within_a_character() {
    for blanks in 0..4 {
        let long = " ".repeat(blanks) + &"\u{1f389}".repeat(1_000);
        for name in ["ce_specversion", "ce_subject", "ce_time", "content-type"] {
            let reason = reason(&with_header(sample(Kind::RoomCreated), name, Some(&long)));
            assert!((250..=256).contains(&reason.len()), "{reason}");
        }
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let created = sample(Kind::MessageCreated);
    for name in ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time"] {
        assert_eq!(reason(&with_header(created.clone(), name, None)), format!("header {name} is missing"));
        let mut twice = created.clone();
        twice.headers.push((name.to_owned(), b"x".to_vec()));
        assert_eq!(reason(&twice), format!("header {name} stands twice"));
        let mut bytes = with_header(created.clone(), name, None);
        bytes.headers.push((name.to_owned(), vec![0xff]));
        assert_eq!(reason(&bytes), format!("header {name} is not UTF-8"));
    }
    for (name, value) in [
        ("ce_specversion", "2.0"),
        ("ce_id", ""),
        ("ce_id", "a b"),
        ("ce_source", ""),
        ("ce_type", ""),
        ("ce_subject", "room"),
        ("ce_subject", "9223372036854775808"),
        ("ce_time", "yesterday"),
        ("ce_time", "1795305600123"),
        ("content-type", "text/plain"),
    ] {
        let reason = reason(&with_header(created.clone(), name, Some(value)));
        assert!(
            reason.starts_with(&format!("header {name} ")) || reason.starts_with(&format!("header {name}:")),
            "{reason}"
        );
    }
    for (value, expected) in [
        ("", "no JSON object"),
        ("[\"1\",\"2\",\"3\",\"4\",\"5\",\"x\"]", "no JSON object"),
        ("{\"account\":", "EOF"),
        ("{\"account\":\"7\"}", "missing field `organization`"),
        ("{\"account\":7}", "expected a string"),
        ("{\"account\":\"9223372036854775808\"}", "'9223372036854775808' is not an id"),
        ("{\"account\":\"1\",\"account\":\"1\"}", "duplicate field"),
    ] {
        let reason = reason(&Record { value: value.as_bytes().to_vec(), ..created.clone() });
        assert!(reason.contains(expected), "{value}: {reason}");
    }
    let long = "x".repeat(MAX_BODY_BYTES + 1);
    let updated = format!("{{\"account\":\"1\",\"organization\":\"2\",\"message\":\"3\",\"body\":\"{long}\"}}");
    let updated = Record { value: updated.into_bytes(), ..sample(Kind::MessageUpdated) };
    assert_eq!(reason(&updated), "the body has 1048577 bytes, it may have 1048576");
}

#[test]
fn key_and_subject_must_be_the_same_room_in_the_same_digits() {
    let record = with_header(sample(Kind::RoomCreated), "ce_subject", Some("77"));
    let with_key = |key: &str| Record { key: key.as_bytes().to_vec(), ..record.clone() };
    assert!(matches!(read(&with_key("77")), Decoded::Event(event) if event.room == RoomId::from_bits(77)));
    for key in ["78", "", "077", "77 ", "\"77\""] {
        assert!(reason(&with_key(key)).contains("are not one room"), "{key}");
    }
    // Both alike, but other digits lead to another partition.
    let padded = with_header(with_key("077"), "ce_subject", Some("077"));
    assert!(reason(&padded).contains("are not one room"));
}

#[test]
fn an_unknown_kind_and_a_later_version_are_kept_as_unknown() {
    let record = with_header(sample(Kind::MessageCreated), "ce_subject", Some("77"));
    for name in ["lanner.message.created.v2", "lanner.message.created", "lanner.reaction.added.v1", "com.example"] {
        // What is under a kind that nobody knows cannot be wrong.
        let later = with_header(Record { value: vec![0xff], ..record.clone() }, "ce_type", Some(name));
        let Decoded::Unknown(unknown) = read(&later) else { panic!("{name} is not unknown") };
        assert_eq!((unknown.type_name.as_str(), unknown.room), (name, Some(RoomId::from_bits(77))));
        assert!(unknown.id.is_some());
        let bare = with_header(with_header(later, "ce_subject", Some("a room")), "ce_id", None);
        let Decoded::Unknown(unknown) = read(&bare) else { panic!("{name} is not unknown") };
        assert_eq!((unknown.id, unknown.room), (None, None));
    }
    let long = with_header(record, "ce_type", Some(&"x".repeat(257)));
    assert!(reason(&long).contains("257 bytes"));
}

#[test]
fn each_kind_has_its_own_type_and_is_told_by_its_event() {
    for (number, kind) in (0..).zip(Kind::ALL) {
        assert_eq!(Kind::of_type(kind.type_name()), Some(kind));
        let Decoded::Event(event) = read(&sample(kind)) else { panic!("{kind:?}") };
        assert_eq!(event.kind(), kind);
        assert_eq!(event.message().is_some(), number < 3, "{kind:?}");
        let change = event.membership(Position::from_bits(9));
        assert_eq!(change.is_some(), number >= 3, "{kind:?}");
        if kind == Kind::RoomDeleted {
            assert_eq!(change.map(|change| change.what), Some(RoomChange::Deleted));
        }
    }
}

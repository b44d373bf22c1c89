//! Bytes to events. Whatever the bytes are, it answers.

use serde::de::DeserializeOwned;

use super::{Actor, Event, EventId, Kind, What, wire};
use crate::messages::MAX_BODY_BYTES;
use crate::{RoomId, Timestamp};

/// The longest type that is kept of an unknown kind, in bytes.
const MAX_TYPE_BYTES: usize = 256;
/// The longest reason, in bytes: it may quote what somebody else wrote.
const MAX_REASON_BYTES: usize = 256;

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// An event of a known kind.
    Event(Event),
    /// An event of a kind, or of a version of a kind, that this program does not know: to be skipped or passed on, and counted.
    Unknown(Unknown),
    /// No event. To be put aside for a person, with this reason.
    Undecodable {
        /// What is wrong, in words; at most 256 bytes.
        reason: String,
    },
}

/// What is known of an event of an unknown kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its type, at most 256 bytes.
    pub type_name: String,
    /// Its id, where it has one that is readable.
    pub id: Option<EventId>,
    /// Its room, where its subject is one.
    pub room: Option<RoomId>,
}

/// Reads a record. Unknown headers and unknown fields are tolerated; of a name that is read, one header.
pub fn decode(key: &[u8], headers: &[(String, Vec<u8>)], value: &[u8]) -> Decoded {
    read(key, headers, value).unwrap_or_else(|mut reason| {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        Decoded::Undecodable { reason }
    })
}

fn read(key: &[u8], headers: &[(String, Vec<u8>)], value: &[u8]) -> Result<Decoded, String> {
    let headers = Headers(headers);
    let spec = headers.required(wire::SPEC_VERSION)?;
    if spec != wire::SPEC {
        return Err(format!("header {} is '{spec}', this program reads {}", wire::SPEC_VERSION, wire::SPEC));
    }
    let name = headers.required(wire::TYPE)?;
    if name.is_empty() || name.len() > MAX_TYPE_BYTES {
        return Err(format!("header {} has {} bytes, it may have 1 to {MAX_TYPE_BYTES}", wire::TYPE, name.len()));
    }
    let Some(kind) = Kind::of_type(name) else {
        let id = headers.optional(wire::ID).ok().flatten().and_then(|id| EventId::new(id).ok());
        let room = headers.optional(wire::SUBJECT).ok().flatten().and_then(|room| room.parse().ok());
        return Ok(Decoded::Unknown(Unknown { type_name: name.to_owned(), id, room }));
    };
    let id = EventId::new(headers.required(wire::ID)?).map_err(|e| format!("header {}: {e}", wire::ID))?;
    if headers.required(wire::SOURCE)?.is_empty() {
        return Err(format!("header {} is empty", wire::SOURCE));
    }
    let (room, at) = (headers.room(key)?, headers.time()?);
    headers.check_content_type()?;
    let (by, what) = parse(kind, value)?;
    Ok(Decoded::Event(Event { id, at, by, room, what }))
}

struct Headers<'a>(&'a [(String, Vec<u8>)]);

impl<'a> Headers<'a> {
    fn optional(&self, name: &str) -> Result<Option<&'a str>, String> {
        let mut found = self.0.iter().filter(|(header, _)| header == name);
        let Some((_, value)) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(format!("header {name} stands twice"));
        }
        std::str::from_utf8(value).map(Some).map_err(|_| format!("header {name} is not UTF-8"))
    }

    fn required(&self, name: &str) -> Result<&'a str, String> {
        self.optional(name)?.ok_or_else(|| format!("header {name} is missing"))
    }

    /// The room is told twice: who partitions sees the key, who reads the event the subject.
    fn room(&self, key: &[u8]) -> Result<RoomId, String> {
        let subject = self.required(wire::SUBJECT)?;
        let room: RoomId = subject.parse().map_err(|e| format!("header {}: {e}", wire::SUBJECT))?;
        if key == room.to_string().as_bytes() && key == subject.as_bytes() {
            return Ok(room);
        }
        let key = String::from_utf8_lossy(&key[..key.len().min(32)]);
        Err(format!("key '{key}' and header {} '{subject}' are not one room, written as decimal digits", wire::SUBJECT))
    }

    fn time(&self) -> Result<Timestamp, String> {
        let text = self.required(wire::TIME)?;
        // A timestamp of ours may be milliseconds, too; CloudEvents knows only RFC 3339.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let time = if digits { None } else { text.parse().ok() };
        time.ok_or_else(|| format!("header {} is no instant such as 2026-11-22T00:00:00Z: '{text}'", wire::TIME))
    }

    fn check_content_type(&self) -> Result<(), String> {
        let Some(content_type) = self.optional(wire::CONTENT_TYPE)? else { return Ok(()) };
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(wire::JSON) {
            return Ok(());
        }
        Err(format!("header {} is '{content_type}', not {}", wire::CONTENT_TYPE, wire::JSON))
    }
}

fn parse(kind: Kind, value: &[u8]) -> Result<(Actor, What), String> {
    Ok(match kind {
        Kind::MessageCreated => {
            let wire::Created { account, organization, message, author, author_organization, body } = json(value)?;
            let what = What::MessageCreated { message, author, author_organization, body: checked(body)? };
            (Actor { account, organization }, what)
        }
        Kind::MessageUpdated => {
            let wire::Updated { account, organization, message, body } = json(value)?;
            (Actor { account, organization }, What::MessageUpdated { message, body: checked(body)? })
        }
        Kind::MessageDeleted => {
            let wire::Deleted { account, organization, message, as_admin } = json(value)?;
            (Actor { account, organization }, What::MessageDeleted { message, as_admin })
        }
        Kind::RoomCreated => (by(value)?, What::RoomCreated),
        Kind::RoomDeleted => (by(value)?, What::RoomDeleted),
        Kind::RoomMemberJoined => {
            let wire::Member { account, organization, member } = json(value)?;
            (Actor { account, organization }, What::RoomMemberJoined { member })
        }
        Kind::RoomMemberLeft => {
            let wire::Member { account, organization, member } = json(value)?;
            (Actor { account, organization }, What::RoomMemberLeft { member })
        }
    })
}

fn by(value: &[u8]) -> Result<Actor, String> {
    let wire::Room { account, organization } = json(value)?;
    Ok(Actor { account, organization })
}

fn json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    // serde would take an array for an object whose fields stand in its order.
    if value.trim_ascii_start().first() != Some(&b'{') {
        return Err("the value is no JSON object".to_owned());
    }
    serde_json::from_slice(value).map_err(|e| format!("the value: {e}"))
}

fn checked(body: String) -> Result<String, String> {
    if body.len() <= MAX_BODY_BYTES {
        return Ok(body);
    }
    Err(format!("the body has {} bytes, it may have {MAX_BODY_BYTES}", body.len()))
}

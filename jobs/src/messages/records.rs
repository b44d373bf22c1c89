//! Events as records of a log, and back.

use chat::event::{Event, Record};
use chat::{Position, position::NotAnOffset};
use worker::log::{LogRecord, Place, ReadRecord};
use worker::{Log, LogError};

/// An extension attribute, in the log of what is readable: where the event stands in the log of events, as `PARTITION/OFFSET`.
const PLACE: &str = "ce_place";
/// An extension attribute, in the log of what is readable: whether the event's message is live, `true` or `false`. Not every event counts
/// that says so, and an event that is told again may have been overtaken: who follows needs no fold of its own.
const LIVE: &str = "ce_live";

/// Appends an event; answers where it stands.
///
/// # Errors
///
/// [`LogError::Unavailable`]: it is not in the log. [`LogError::Unknown`]: perhaps it is.
pub async fn append_event(log: &dyn Log, event: &Event) -> Result<Place, LogError> {
    let Record { key, headers, value } = event.encode();
    let answers = log.append(vec![LogRecord { key, headers, value }]).await?;
    let nothing = || LogError::Unknown { log: log.name().to_owned(), source: "the log answered nothing".into() };
    answers.into_iter().next().unwrap_or_else(|| Err(nothing()))
}

/// The position of what stands at `place`, in the log's `epoch`.
pub fn position_of(epoch: u16, place: Place) -> Result<Position, NotAnOffset> {
    Position::new(epoch, place.offset)
}

/// Of a record of the log of what is readable: whether the message of its event is live; `None` where it does not say.
pub(crate) fn is_live(record: &LogRecord) -> Option<bool> {
    let value = record.headers.iter().find(|(name, _)| name == LIVE)?;
    std::str::from_utf8(&value.1).ok()?.parse().ok()
}

/// What tells others that an event can be read: the event as it is, where it stands, and of an event of a message whether the message
/// is live now.
pub fn readable_record(read: &ReadRecord, is_live: Option<bool>) -> LogRecord {
    let Place { partition, offset } = read.place;
    let mut record = read.record.clone();
    record.headers.push((PLACE.to_owned(), format!("{partition}/{offset}").into_bytes()));
    record.headers.extend(is_live.map(|is_live| (LIVE.to_owned(), is_live.to_string().into_bytes())));
    record
}

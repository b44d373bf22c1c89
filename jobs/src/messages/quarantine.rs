//! Records that nobody can handle, kept for a person with everything that is known of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chat::ledger::UnreadableMessage;
use chat::{Ledger, PortResult, Timestamp};
use serde::{Deserialize, Serialize};
use worker::log::ReadRecord;

/// A record as the ledger keeps it: JSON, bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The log it came from.
    pub log: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset, in words: a JSON number loses bits above 2⁵³.
    pub offset: String,
    /// Its key.
    pub key: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its value.
    pub value: String,
}

impl Quarantined {
    /// A record of the log of this name.
    pub fn new(log: &str, read: &ReadRecord) -> Self {
        let header = |(name, value): &(String, Vec<u8>)| (name.clone(), STANDARD.encode(value));
        Self {
            log: log.to_owned(),
            partition: read.place.partition,
            offset: read.place.offset.to_string(),
            key: STANDARD.encode(&read.record.key),
            headers: read.record.headers.iter().map(header).collect(),
            value: STANDARD.encode(&read.record.value),
        }
    }
}

/// Keeps the record with its cause: durable when it returns.
pub(super) async fn put_aside(ledger: &dyn Ledger, log: &str, read: &ReadRecord, cause: String) -> PortResult<()> {
    let body = serde_json::to_vec(&Quarantined::new(log, read)).unwrap_or_default();
    ledger.put_aside(&UnreadableMessage { id: None, queue: log.to_owned(), body, cause, at: Timestamp::now() }).await
}

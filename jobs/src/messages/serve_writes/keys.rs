//! Idempotency keys: the same request under the same key is accepted once.
//!
//! A record in [`State`] tells what was dealt for the request before anything is appended. Who repeats a request whose fate is not
//! known appends the same events again, with the same ids, which changes nothing: so a key holds over a crash at any instant.

use std::sync::Arc;
use std::time::Duration;

use chat::event::EventId;
use chat::{MessageId, Position, RoomId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use worker::state::{Expected, Record, RecordVersion, Write as StateWrite};
use worker::{State, StateError};

use super::{Accepted, Caller, Plan, Write, WriteError};

/// The family of the records.
const FAMILY: &str = "idempotency";

/// What a client calls a request, so that it can repeat it: 1 to [`IdempotencyKey::MAX_BYTES`] visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// Text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {} visible ASCII characters", IdempotencyKey::MAX_BYTES)]
pub struct NotAKey;

impl IdempotencyKey {
    /// The longest key.
    pub const MAX_BYTES: usize = 255;

    /// Checks length and characters.
    pub fn new(text: &str) -> Result<Self, NotAKey> {
        let fits = (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(NotAKey) }
    }
}

/// Keys and what became of their requests.
pub(super) struct Keys {
    state: Arc<dyn State>,
    lives_for: Duration,
    /// After this long nobody works on a request any more.
    in_progress_for: Duration,
}

/// What a key says about a request.
pub(super) enum Claim {
    /// It was accepted before.
    Accepted(Accepted),
    /// It is this caller's to do.
    Ours(Claimed),
}

/// A request that is being worked on.
pub(super) struct Claimed {
    key: String,
    version: RecordVersion,
    record: KeyRecord,
}

impl Claimed {
    /// What was dealt for it, perhaps by an earlier attempt.
    pub(super) fn plan(&self) -> &Plan {
        &self.record.plan
    }
}

#[derive(Serialize, Deserialize)]
struct KeyRecord {
    /// SHA-256 of the request.
    request: String,
    plan: Plan,
    fate: Fate,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
enum Fate {
    /// Somebody works on it.
    InProgress { since: Timestamp },
    /// Nobody does: it was not accepted, or that is not known.
    Open,
    /// It stands in the log.
    Accepted { event: String, room: RoomId, message: Option<MessageId>, at: Timestamp, position: String },
}

impl Keys {
    pub(super) fn new(state: Arc<dyn State>, lives_for: Duration, in_progress_for: Duration) -> Self {
        Self { state, lives_for, in_progress_for }
    }

    /// Claims a request under the caller's key; `plan` deals what it needs when it comes for the first time.
    pub(super) async fn claim(
        &self,
        caller: Caller,
        key: &IdempotencyKey,
        write: &Write,
        plan: impl FnOnce() -> Result<Plan, WriteError>,
    ) -> Result<Claim, WriteError> {
        let key = format!("{FAMILY}/{}/{}/{}", caller.organization, caller.account, key.0);
        let request = fingerprint(caller, write);
        let stored = self.state.get(&key).await.map_err(failed)?;
        let (plan, expected) = match stored {
            None => (plan()?, Expected::Nothing),
            Some(stored) => match self.judge(&stored, &request)? {
                Judged::Accepted(accepted) => return Ok(Claim::Accepted(accepted)),
                Judged::Open(plan) => (plan, Expected::Version(stored.version)),
            },
        };
        let record = KeyRecord { request, plan, fate: Fate::InProgress { since: Timestamp::now() } };
        let version = self.put(&key, &record, expected).await.map_err(failed)?;
        Ok(Claim::Ours(Claimed { key, version, record }))
    }

    fn judge(&self, stored: &Record, request: &str) -> Result<Judged, WriteError> {
        let unreadable = |error: serde_json::Error| WriteError::Failed { source: error.into() };
        let record: KeyRecord = serde_json::from_slice(&stored.value).map_err(unreadable)?;
        if record.request != request {
            return Err(WriteError::KeyReused);
        }
        match record.fate {
            Fate::Open => Ok(Judged::Open(record.plan)),
            Fate::InProgress { since } => {
                let over = since.plus_millis(u64::try_from(self.in_progress_for.as_millis()).unwrap_or(u64::MAX));
                if Timestamp::now() < over { Err(WriteError::KeyInProgress) } else { Ok(Judged::Open(record.plan)) }
            }
            Fate::Accepted { event, room, message, at, position } => {
                let corrupt =
                    |what: &str| WriteError::Failed { source: format!("record {}: {what}", stored.key).into() };
                let event = EventId::new(&event).map_err(|_| corrupt("no event's id"))?;
                let version: Position = position.parse().map_err(|_| corrupt("no position"))?;
                Ok(Judged::Accepted(Accepted { event, room, message, at, version }))
            }
        }
    }

    /// Notes what became of it. Where that fails, a repetition appends the same events again: no harm.
    pub(super) async fn settle(&self, claimed: Claimed, written: &Result<Accepted, WriteError>) {
        let Claimed { key, version, mut record } = claimed;
        let settled = match written {
            Ok(accepted) => {
                record.fate = Fate::Accepted {
                    event: accepted.event.to_string(),
                    room: accepted.room,
                    message: accepted.message,
                    at: accepted.at,
                    position: accepted.version.to_string(),
                };
                self.put(&key, &record, Expected::Version(version)).await.map(drop)
            }
            Err(WriteError::Unknown { .. } | WriteError::NotStored { .. }) => {
                record.fate = Fate::Open;
                self.put(&key, &record, Expected::Version(version)).await.map(drop)
            }
            // It was answered and nothing came of it: the key is free.
            Err(_) => self.state.delete(&key, Some(version)).await,
        };
        if let Err(error) = settled {
            tracing::warn!(error = &error as &dyn std::error::Error, "the fate of an idempotency key is not kept");
        }
    }

    async fn put(&self, key: &str, record: &KeyRecord, expected: Expected) -> Result<RecordVersion, StateError> {
        let value = serde_json::to_vec(record).unwrap_or_default();
        self.state.put(StateWrite { key, value: &value, expected, lives_for: Some(self.lives_for) }).await
    }
}

enum Judged {
    Accepted(Accepted),
    Open(Plan),
}

/// Nothing was appended.
fn failed(error: StateError) -> WriteError {
    match error {
        // Another request with this key came first.
        StateError::Conflict { .. } => WriteError::KeyInProgress,
        error if error.is_temporary() => WriteError::not_stored(error),
        error => WriteError::Failed { source: error.into() },
    }
}

/// The same for the same request, and for no other.
fn fingerprint(caller: Caller, write: &Write) -> String {
    let (kind, numbers, body) = match write {
        Write::CreateRoom => ("create-room", [0; 2], ""),
        Write::DeleteRoom { room } => ("delete-room", [room.get(), 0], ""),
        Write::Join { room, member } => ("join", [room.get(), member.get()], ""),
        Write::Leave { room, member } => ("leave", [room.get(), member.get()], ""),
        Write::Post { room, body } => ("post", [room.get(), 0], &**body),
        Write::Edit { room, message, body } => ("edit", [room.get(), message.get()], &**body),
        Write::Delete { room, message } => ("delete", [room.get(), message.get()], ""),
    };
    let mut hash = Sha256::new();
    hash.update(kind);
    hash.update([0, u8::from(caller.is_admin)]);
    numbers.iter().for_each(|number| hash.update(number.to_be_bytes()));
    hash.update(body);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

//! The epoch of the message ids: the record `store/epoch` of the table of state, an instant as RFC 3339.
//!
//! It belongs to the table of messages for ever: with another one the same ids would mean other times.

use chat::{Epoch, PortError, PortResult, Timestamp};
use worker::state::Write;
use worker::{Expected, State, StateError};

use crate::DynamoDbState;
use crate::state::port_error;

const KEY: &str = "store/epoch";

/// The instant from which the message ids of this store count; none while nobody has fixed it.
///
/// # Errors
///
/// As every read; corrupt when the record is no instant.
pub async fn store_epoch(state: &DynamoDbState) -> PortResult<Option<Epoch>> {
    let Some(record) = state.get(KEY).await.map_err(port_error)? else { return Ok(None) };
    let epoch = std::str::from_utf8(&record.value).ok().and_then(|text| text.parse::<Timestamp>().ok());
    let corrupt = || PortError::corrupt(format!("table {}: the record {KEY} is no instant", state.table()));
    epoch.map(|epoch| Some(Epoch(epoch))).ok_or_else(corrupt)
}

/// Fixes the epoch for ever, or confirms the one that is fixed. Of several who do so at once one is first.
///
/// # Errors
///
/// Refused when a different one is fixed already.
pub async fn fix_epoch(state: &DynamoDbState, epoch: Epoch) -> PortResult<()> {
    let agree = |fixed: Epoch| {
        let (table, fixed, asked) = (state.table(), fixed.0, epoch.0);
        let what = format!("the message ids of this store count from {fixed} (table {table}), not from {asked}");
        if fixed == asked { Ok(()) } else { Err(PortError::refused(what)) }
    };
    if let Some(fixed) = store_epoch(state).await? {
        return agree(fixed);
    }
    let value = epoch.0.to_string();
    let write = Write { key: KEY, value: value.as_bytes(), expected: Expected::Nothing, lives_for: None };
    match state.put(write).await {
        // Somebody else was faster.
        Err(e @ StateError::Conflict { .. }) => store_epoch(state).await?.map_or(Err(port_error(e)), agree),
        written => written.map(drop).map_err(port_error),
    }
}

//! Room lists that are too large for a queue message.

use crate::{PortError, PortResult};

/// Bytes of a room list that a ledger keeps: those of some millions of rooms.
pub const ROOM_LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Refuses a room list that is too large.
pub fn check_room_list(list: &[u8]) -> PortResult<()> {
    if list.len() <= ROOM_LIST_BYTES_MAX {
        return Ok(());
    }
    let bytes = list.len();
    Err(PortError::refused(format!(
        "a room list of {bytes} bytes is too large: at most {ROOM_LIST_BYTES_MAX} are kept"
    )))
}

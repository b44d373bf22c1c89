//! Rooms with their heads, where the merge needs them.

use chat::{Access, Head, Heads, PortResult, RoomId};

/// Rooms of one question.
const AT_ONCE: usize = 10_000;

/// Lists of rooms with the head of each room; unknown heads where nobody asks for them.
pub(crate) async fn with_heads(
    heads: &dyn Heads,
    access: Access,
    rooms: Vec<Vec<RoomId>>,
) -> PortResult<Vec<Vec<(RoomId, Head)>>> {
    let mut known = Vec::new();
    if access.needs_heads() {
        let all: Vec<RoomId> = rooms.iter().flatten().copied().collect();
        for some in all.chunks(AT_ONCE) {
            known.extend(heads.of(some).await?);
        }
    }
    let mut known = known.into_iter();
    let mut with_head = |room| (room, known.next().unwrap_or(Head::Unknown));
    Ok(rooms.into_iter().map(|rooms| rooms.into_iter().map(&mut with_head).collect()).collect())
}

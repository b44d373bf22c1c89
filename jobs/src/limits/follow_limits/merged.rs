//! The newest ids of an organization, each with its room, from the store: the merge of the batch path, overheard.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chat::newest::Room;
use chat::visibility::age_cutoff;
use chat::{
    Access, Day, Epoch, Head, LiveIds, LiveSet, MessageId, PageRequest, Pages, Policy, PortResult, RoomId, Timestamp,
    newest,
};

/// How far ahead of this clock ids may be that are read, too: they count as soon as their time has come.
const AHEAD_MS: u64 = Day::MILLIS;

/// What was read.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) ids: Vec<(MessageId, RoomId)>,
    /// Every live id from here on is among them.
    pub(super) complete_from: MessageId,
    pub(super) messages_read: u64,
}

/// Reads what a [`LiveSet`] for `policy` can keep of these rooms.
pub(super) async fn merged(
    live_ids: &dyn LiveIds,
    rooms: &[(RoomId, Head)],
    policy: &Policy,
    now: Timestamp,
    epoch: Epoch,
) -> PortResult<Merged> {
    let overheard = Overheard { live_ids, ids: Mutex::default() };
    let rooms: Vec<Room> = rooms.iter().map(|(id, head)| Room::new(*id, *head, epoch)).collect();
    let most = u32::try_from(LiveSet::capacity_of(policy.n())).ok().and_then(NonZeroU32::new);
    let wide = Policy {
        max_messages: most.unwrap_or(policy.max_messages),
        max_age_ms: policy.max_age_ms.map(|age_ms| age_ms.saturating_add(AHEAD_MS)),
    };
    let found = newest(&overheard, &rooms, &wide, now.plus_millis(AHEAD_MS), epoch).await?;
    Ok(Merged {
        ids: overheard.ids.into_inner().unwrap_or_else(PoisonError::into_inner),
        complete_from: found.first_visible_message_id.unwrap_or_else(|| age_cutoff(now, policy, epoch)),
        messages_read: found.messages_read,
    })
}

/// Notes every id that is read, with its room.
struct Overheard<'a> {
    live_ids: &'a dyn LiveIds,
    ids: Mutex<Vec<(MessageId, RoomId)>>,
}

#[async_trait]
impl LiveIds for Overheard<'_> {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        let pages = self.live_ids.newest(requests).await?;
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, request) in requests.iter().enumerate() {
            ids.extend(pages.page(index).0.iter().map(|id| (*id, request.room)));
        }
        Ok(pages)
    }

    fn access(&self) -> Access {
        self.live_ids.access()
    }
}

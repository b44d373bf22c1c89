//! Threshold select: visit rooms newest head first, in batches; keep what can still be among the newest N + 1; raise the
//! threshold below which nothing is read any more; sort nothing.
//!
//! Every id is touched once, and a selection over at most 2 (N + 1) + one batch of ids runs each time that many have come
//! together, so the cost per id is constant. Memory: the same number of ids.

use super::{Newest, Question, Room, check_page};
use crate::{LiveIds, MessageId, PageRequest, PortResult};

/// Rooms asked for at once: enough to make the call itself free, few enough that the threshold rises early.
const BATCH_ROOMS: usize = 128;

pub(super) async fn select(live_ids: &dyn LiveIds, rooms: &[Room], question: Question) -> PortResult<Newest> {
    let Question { window, n } = question;
    let mut waiting: Vec<Room> = rooms.iter().filter(|room| room.below > window.from).copied().collect();
    if waiting.len() > BATCH_ROOMS {
        waiting.sort_unstable_by_key(|room| std::cmp::Reverse(room.below));
    }
    let mut answer = Newest::default();
    let mut pool = Pool { keep: n + 1, ids: Vec::new(), at_least: window.from };
    for batch in waiting.chunks(BATCH_ROOMS) {
        if batch[0].below <= pool.at_least {
            break;
        }
        answer.rooms_opened += u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let requests = batch.iter().map(|room| PageRequest {
            room: room.id,
            below: room.below.min(window.below),
            at_least: pool.at_least,
            limit: pool.keep,
        });
        read_to_the_end(live_ids, requests.collect(), &mut pool, &mut answer).await?;
    }
    pool.finish(n, &mut answer);
    Ok(answer)
}

/// Reads the rooms of a batch down to the threshold or until each has given N + 1 ids.
async fn read_to_the_end(
    live_ids: &dyn LiveIds,
    mut requests: Vec<PageRequest>,
    pool: &mut Pool,
    answer: &mut Newest,
) -> PortResult<()> {
    while !requests.is_empty() {
        let pages = live_ids.newest(&requests).await?;
        let mut rest = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let (ids, resume_below) = pages.page(index);
            check_page(request.room, request.below, ids, resume_below)?;
            let missing = request.limit.saturating_sub(ids.len());
            if let Some(below) = resume_below
                && missing > 0
            {
                rest.push(PageRequest { below, limit: missing, ..*request });
            }
        }
        answer.messages_read += pages.ids().len() as u64;
        answer.read_units += pages.read_units();
        pool.add(pages.ids());
        rest.retain_mut(|request| {
            request.at_least = request.at_least.max(pool.at_least);
            request.below > request.at_least
        });
        requests = rest;
    }
    Ok(())
}

/// The ids that can still be among the newest N + 1.
struct Pool {
    keep: usize,
    ids: Vec<MessageId>,
    /// Nothing below this can be among them.
    at_least: MessageId,
}

impl Pool {
    fn add(&mut self, ids: &[MessageId]) {
        self.ids.extend_from_slice(ids);
        if self.ids.len() >= 2 * self.keep {
            self.cut();
        }
    }

    /// Cuts down to the newest N + 1. A further id is of use only if it is newer than all of what was cut off.
    fn cut(&mut self) {
        let last = self.keep - 1;
        self.ids.select_nth_unstable_by(last, |a, b| b.cmp(a));
        self.at_least = self.at_least.max(self.ids[last].next());
        self.ids.truncate(self.keep);
    }

    fn finish(mut self, n: usize, answer: &mut Newest) {
        if self.ids.len() > self.keep {
            self.cut();
        }
        let visible = self.ids.len().min(n);
        answer.visible_messages = u32::try_from(visible).unwrap_or(u32::MAX);
        if self.ids.len() > n {
            self.ids.select_nth_unstable_by(n - 1, |a, b| b.cmp(a));
            answer.first_visible_message_id = Some(self.ids[n - 1]);
            answer.oldest_visible_message_id = answer.first_visible_message_id;
        } else {
            answer.oldest_visible_message_id = self.ids.iter().min().copied();
        }
    }
}

//! The lazy k-way merge: pop the largest, open a room only when it is on top, stop at the (N+1)-th candidate.
//!
//! Reads at most N + 1 ids and one page for each opened room (plus `in_flight` − 1 pages that were asked for together);
//! holds one page for each opened room.

use std::collections::BinaryHeap;

use super::{Newest, Question, Room, check_page};
use crate::{LiveIds, MessageId, PageRequest, PortResult};

/// How pages are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paging {
    /// Ids of a room's first page; later pages double.
    pub(super) first_page: usize,
    /// Pages asked for at once, at least 1.
    pub(super) in_flight: usize,
}

/// What the heap orders: the newest id that a room can still contribute. A known id comes before a bound of the same
/// value, because it needs no page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Top {
    newest: MessageId,
    known: bool,
    reader: usize,
}

/// One room being read.
struct Reader {
    room: Room,
    page: Vec<MessageId>,
    at: usize,
    /// Where the next page begins; `None` when the room has no more.
    resume_below: Option<MessageId>,
    next_limit: usize,
    opened: bool,
}

impl Reader {
    /// The newest id that this room can still contribute.
    fn top(&self, reader: usize, from: MessageId) -> Option<Top> {
        if let Some(id) = self.page.get(self.at) {
            return Some(Top { newest: *id, known: true, reader });
        }
        let newest = self.resume_below?.previous()?;
        (newest >= from).then_some(Top { newest, known: false, reader })
    }
}

pub(super) async fn merge(
    live_ids: &dyn LiveIds,
    rooms: &[Room],
    question: Question,
    paging: Paging,
) -> PortResult<Newest> {
    let Question { window, n } = question;
    let mut readers: Vec<Reader> = rooms.iter().map(|room| reader(*room, window.below, paging.first_page)).collect();
    let mut heap: BinaryHeap<Top> =
        readers.iter().enumerate().filter_map(|(i, reader)| reader.top(i, window.from)).collect();
    let mut answer = Newest::default();
    let mut seen = 0;
    while let Some(top) = heap.pop() {
        if !top.known {
            let wanted = unread_on_top(top, &mut heap, paging.in_flight);
            read_pages(live_ids, &mut readers, &wanted, question, seen, &mut answer).await?;
            heap.extend(wanted.iter().filter_map(|i| readers[*i].top(*i, window.from)));
            continue;
        }
        if seen == n {
            answer.first_visible_message_id = answer.oldest_visible_message_id;
            break;
        }
        seen += 1;
        answer.oldest_visible_message_id = Some(top.newest);
        readers[top.reader].at += 1;
        heap.extend(readers[top.reader].top(top.reader, window.from));
    }
    answer.visible_messages = u32::try_from(seen).unwrap_or(u32::MAX);
    Ok(answer)
}

fn reader(room: Room, below: MessageId, first_page: usize) -> Reader {
    let resume_below = Some(room.below.min(below));
    Reader { room, page: Vec::new(), at: 0, resume_below, next_limit: first_page.max(1), opened: false }
}

/// The room on top and those right behind it that also need a page: they are asked for together.
fn unread_on_top(top: Top, heap: &mut BinaryHeap<Top>, in_flight: usize) -> Vec<usize> {
    let mut wanted = vec![top.reader];
    while wanted.len() < in_flight
        && let Some(next) = heap.peek()
        && !next.known
    {
        wanted.push(next.reader);
        heap.pop();
    }
    wanted
}

async fn read_pages(
    live_ids: &dyn LiveIds,
    readers: &mut [Reader],
    wanted: &[usize],
    question: Question,
    seen: usize,
    answer: &mut Newest,
) -> PortResult<()> {
    // The candidate after the N-th tells that there are more, so one more than what is missing can be of use.
    let missing = question.n + 1 - seen;
    let requests: Vec<PageRequest> = wanted
        .iter()
        .map(|i| PageRequest {
            room: readers[*i].room.id,
            below: readers[*i].resume_below.unwrap_or(question.window.below),
            at_least: question.window.from,
            limit: readers[*i].next_limit.min(missing),
        })
        .collect();
    let pages = live_ids.newest(&requests).await?;
    answer.read_units += pages.read_units();
    for (index, (request, i)) in requests.iter().zip(wanted).enumerate() {
        let (ids, resume_below) = pages.page(index);
        check_page(request.room, request.below, ids, resume_below)?;
        let reader = &mut readers[*i];
        answer.rooms_opened += u32::from(!reader.opened);
        answer.messages_read += ids.len() as u64;
        reader.opened = true;
        reader.page.clear();
        reader.page.extend_from_slice(ids);
        reader.at = 0;
        reader.resume_below = resume_below;
        reader.next_limit = reader.next_limit.saturating_mul(2);
    }
    Ok(())
}

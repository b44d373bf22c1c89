//! Messages: read, checked, and handed to the store room by room.

use std::{io, ops::RangeInclusive};

use chat::{MessageId, RoomId};

use crate::{
    ImportError, Load, Reason, RoomMessages, Stage, Table,
    check::{Checked, PROGRESS_ROWS, Work},
    sort::{Follow, Sorted},
};

/// Ids handed to the store at a time, about.
const LOAD_IDS: usize = 64 << 10;

/// The messages as read, and what of them is not to be loaded.
pub(crate) struct Messages {
    /// room → id, live.
    by_room: Sorted,
    /// room → id, live; rows of messages that stand in a lower room too.
    elsewhere: Sorted,
}

impl Messages {
    /// Reads and checks the messages of `rooms`.
    pub(crate) fn read(work: &mut Work<'_>, rooms: &mut Sorted) -> Result<Self, ImportError> {
        let mut by_room = work.sorter();
        // Where ids only grow, none stands twice: nothing more needs to be checked but the rooms.
        let (mut last, mut growing) = (None, true);
        let mut checked = work.read(Table::Messages, Stage::Messages, |room, value| {
            growing &= last < Some(value >> 1);
            last = Some(value >> 1);
            by_room.push(room, value)
        })?;
        let mut by_room = by_room.finish()?;
        work.begin(Stage::CheckMessages, Some(by_room.rows()));
        let mut by_id = work.sorter();
        let loaded = each_room(work, &mut checked, &mut by_room, rooms, |room, value| match growing {
            true => Ok(()),
            false => by_id.push(value >> 1, room << 1 | (value & 1)),
        })?;
        let mut elsewhere = work.sorter();
        let mut by_id = by_id.finish()?;
        let mut groups = by_id.groups()?;
        while let Some((id, values)) = groups.next()? {
            for &value in &values[1..] {
                let pair = (value >> 1, id << 1 | (value & 1));
                checked.problems.pair(pair, "message_id", id, Reason::TwoRooms);
                elsewhere.push(pair.0, pair.1)?;
            }
        }
        let elsewhere = elsewhere.finish()?;
        work.settle(checked, loaded - elsewhere.rows())?;
        Ok(Self { by_room, elsewhere })
    }

    /// Hands all messages of `rooms` above `after` to the store, but for those that are not wanted.
    pub(crate) async fn load(
        &mut self,
        work: &mut Work<'_>,
        load: &mut dyn Load,
        rooms: &mut Sorted,
        after: Option<RoomId>,
    ) -> Result<(), ImportError> {
        let failed = |source| ImportError::Load { what: "messages", source };
        let total = self.by_room.rows();
        let mut known = Follow::new(rooms)?;
        let mut elsewhere = Follow::new(&mut self.elsewhere)?;
        let mut groups = self.by_room.groups()?;
        let wanted = work.wanted_messages();
        let (mut batch, mut quiet, mut ids, mut done, mut told) = (Vec::new(), Vec::new(), 0, 0, 0);
        while let Some((room, values)) = groups.next()? {
            done += values.len() as u64;
            if known.find(room)?.is_none() {
                continue;
            }
            let mut messages = room_messages(room, values, elsewhere.values(room)?);
            let newest = newest_until(&messages, *wanted.end());
            work.report.unwanted_messages += retain(&mut messages, &wanted);
            note(work, &messages);
            if after.is_some_and(|after| messages.room <= after) {
                continue;
            }
            if messages.live.is_empty() && messages.tombstoned.is_empty() {
                quiet.extend(newest.map(|newest| (messages.room, newest)));
            } else {
                ids += messages.live.len() + messages.tombstoned.len();
                batch.push(messages);
            }
            if ids + quiet.len() >= LOAD_IDS {
                // Quiet rooms first: a load that is killed goes on behind the last room with messages.
                load.quiet_rooms(&quiet).await.map_err(failed)?;
                load.messages(&batch).await.map_err(failed)?;
                quiet.clear();
                batch.clear();
                ids = 0;
            }
            if done - told >= PROGRESS_ROWS {
                told = done;
                work.done(done, Some(total));
            }
        }
        if !quiet.is_empty() {
            load.quiet_rooms(&quiet).await.map_err(failed)?;
        }
        if !batch.is_empty() {
            load.messages(&batch).await.map_err(failed)?;
        }
        if let Some(table) = work.report.tables.get_mut(&Table::Messages) {
            table.loaded = table.loaded.saturating_sub(work.report.unwanted_messages);
        }
        work.done(total, Some(total));
        Ok(())
    }
}

/// The newest message that is not newer than `last`, live or deleted.
fn newest_until(messages: &RoomMessages, last: MessageId) -> Option<MessageId> {
    let newest = |ids: &[MessageId]| ids[..ids.partition_point(|id| *id <= last)].last().copied();
    newest(&messages.live).max(newest(&messages.tombstoned))
}

/// Leaves the wanted messages and answers how many others there were.
fn retain(messages: &mut RoomMessages, wanted: &RangeInclusive<MessageId>) -> u64 {
    let count = |messages: &RoomMessages| (messages.live.len() + messages.tombstoned.len()) as u64;
    let before = count(messages);
    messages.live.retain(|id| wanted.contains(id));
    messages.tombstoned.retain(|id| wanted.contains(id));
    before - count(messages)
}

/// Checks rooms and repeated rows; gives each distinct message of a known room to `take` and answers how many there are.
fn each_room(
    work: &mut Work<'_>,
    checked: &mut Checked,
    by_room: &mut Sorted,
    rooms: &mut Sorted,
    mut take: impl FnMut(u64, u64) -> io::Result<()>,
) -> io::Result<u64> {
    let total = by_room.rows();
    let mut known = Follow::new(rooms)?;
    let mut groups = by_room.groups()?;
    let (mut done, mut told, mut distinct) = (0, 0, 0);
    while let Some((room, values)) = groups.next()? {
        done += values.len() as u64;
        if known.find(room)?.is_none() {
            for &value in values {
                checked.problems.pair((room, value), "room_id", room, Reason::UnknownRoom);
            }
            continue;
        }
        let mut previous = None;
        for &value in values {
            match previous {
                Some(first) if first >> 1 != value >> 1 => {}
                None => {}
                Some(first) => {
                    if first == value {
                        checked.duplicates += 1;
                    } else {
                        let pair = (room, value);
                        checked.problems.pair(pair, "message_id", value >> 1, Reason::Contradiction);
                    }
                    continue;
                }
            }
            previous = Some(value);
            distinct += 1;
            take(room, value)?;
        }
        if done - told >= PROGRESS_ROWS {
            told = done;
            work.done(done, Some(total));
        }
    }
    work.done(total, Some(total));
    Ok(distinct)
}

/// A room's distinct messages. `values` and `elsewhere` ascend; of rows that contradict each other the first, the deletion, holds.
fn room_messages(room: u64, values: &[u64], elsewhere: &[u64]) -> RoomMessages {
    let mut messages =
        RoomMessages { room: RoomId::from_bits(room), live: Vec::with_capacity(values.len()), tombstoned: Vec::new() };
    let mut previous = None;
    for &value in values {
        let id = value >> 1;
        if previous.replace(id) == Some(id) || (!elsewhere.is_empty() && elsewhere.binary_search(&value).is_ok()) {
            continue;
        }
        let ids = if value & 1 == 1 { &mut messages.live } else { &mut messages.tombstoned };
        ids.push(MessageId::from_bits(id));
    }
    messages
}

/// Counts a room's messages in the report.
fn note(work: &mut Work<'_>, messages: &RoomMessages) {
    let report = &mut work.report;
    report.live_messages += messages.live.len() as u64;
    report.deleted_messages += messages.tombstoned.len() as u64;
    for ids in [&messages.live, &messages.tombstoned] {
        if let (Some(&first), Some(&last)) = (ids.first(), ids.last()) {
            let (smallest, largest) = report.message_ids.unwrap_or((first, last));
            report.message_ids = Some((smallest.min(first), largest.max(last)));
        }
    }
}

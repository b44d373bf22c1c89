//! Which partitions a reader has, and what was read of them and not brought yet. Nothing here waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;

use worker::log::{Place, Polled, ReadRecord};

use crate::assignments::Change;

/// Partitions and the records that wait. Of a paused partition wait at most as many as the client hands over at a time.
#[derive(Default)]
pub(super) struct Held {
    /// Given to this reader; where they begin is not known yet.
    new: BTreeSet<u32>,
    /// With the offset from which the next record comes.
    held: BTreeMap<u32, u64>,
    paused: BTreeSet<u32>,
    waiting: VecDeque<ReadRecord>,
    /// What no poll has told yet.
    assigned: Vec<Place>,
    revoked: Vec<u32>,
}

impl Held {
    pub(super) fn note(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Given(partition) => self.give(partition),
                Change::Taken(partition) => self.take_away(partition),
            }
        }
    }

    pub(super) fn give(&mut self, partition: u32) {
        self.new.insert(partition);
    }

    pub(super) fn take_away(&mut self, partition: u32) {
        self.new.remove(&partition);
        self.paused.remove(&partition);
        self.forget(partition);
        let told = !self.assigned.iter().any(|place| place.partition == partition);
        self.assigned.retain(|place| place.partition != partition);
        if self.held.remove(&partition).is_some() && told {
            self.revoked.push(partition);
        }
    }

    /// The partition begins here. What the client brought of it before is brought again from there.
    pub(super) fn hold(&mut self, begin: Place) {
        self.new.remove(&begin.partition);
        self.forget(begin.partition);
        self.held.insert(begin.partition, begin.offset);
        self.assigned.push(begin);
    }

    fn forget(&mut self, partition: u32) {
        self.waiting.retain(|record| record.place.partition != partition);
    }

    pub(super) fn new_ones(&self) -> Vec<u32> {
        self.new.iter().copied().collect()
    }

    pub(super) fn holds(&self, partition: u32) -> bool {
        self.held.contains_key(&partition)
    }

    pub(super) fn all(&self) -> BTreeSet<u32> {
        self.held.keys().copied().collect()
    }

    pub(super) fn paused(&self) -> BTreeSet<u32> {
        self.paused.clone()
    }

    pub(super) fn pause(&mut self, partitions: &[u32]) {
        self.paused.extend(partitions.iter().filter(|partition| self.held.contains_key(partition)));
    }

    pub(super) fn resume(&mut self, partitions: &[u32]) {
        self.paused.retain(|partition| !partitions.contains(partition));
    }

    /// Keeps what was read. A record that stands before one that was read already is the end of it: the log has lost its end, and what
    /// stands there now is something else. Answers where, and where the partition should have gone on.
    pub(super) fn keep(&mut self, records: impl Iterator<Item = ReadRecord>) -> Result<(), (Place, u64)> {
        for record in records {
            let place = record.place;
            if let Some(next) = self.held.get_mut(&place.partition) {
                if place.offset < *next {
                    return Err((place, *next));
                }
                *next = place.offset + 1;
            }
            self.waiting.push_back(record);
        }
        Ok(())
    }

    /// True when a poll would bring something, or has to find out where a partition begins.
    pub(super) fn has_something(&self) -> bool {
        !(self.new.is_empty() && self.assigned.is_empty() && self.revoked.is_empty())
            || self.waiting.iter().any(|record| self.flows(record))
    }

    pub(super) fn take_revoked(&mut self) -> Vec<u32> {
        mem::take(&mut self.revoked)
    }

    /// What was given, and at most `max` records of partitions that are not paused.
    pub(super) fn bring(&mut self, max: usize) -> Polled {
        let mut records = Vec::with_capacity(max.min(self.waiting.len()));
        for _ in 0..self.waiting.len() {
            let Some(record) = self.waiting.pop_front() else { break };
            if records.len() < max && self.flows(&record) {
                records.push(record);
            } else {
                self.waiting.push_back(record);
            }
        }
        Polled { assigned: mem::take(&mut self.assigned), revoked: Vec::new(), records }
    }

    fn flows(&self, record: &ReadRecord) -> bool {
        self.held.contains_key(&record.place.partition) && !self.paused.contains(&record.place.partition)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use worker::log::LogRecord;

    use super::*;

    fn place(partition: u32, offset: u64) -> Place {
        Place { partition, offset }
    }

    fn read(partition: u32, offset: u64) -> ReadRecord {
        ReadRecord { place: place(partition, offset), appended_at: UNIX_EPOCH, record: LogRecord::default() }
    }

    fn places(polled: &Polled) -> Vec<(u32, u64)> {
        polled.records.iter().map(|record| (record.place.partition, record.place.offset)).collect()
    }

    /// Holds partitions 0 and 1, which was told.
    fn two() -> Held {
        let mut held = Held::default();
        held.note(vec![Change::Given(0), Change::Given(1)]);
        held.hold(place(0, 0));
        held.hold(place(1, 0));
        assert_eq!(held.bring(0).assigned, [place(0, 0), place(1, 0)]);
        held
    }

    #[test]
    fn a_paused_partition_waits_in_order_and_does_not_stop_the_others() {
        let mut held = two();
        held.keep([read(0, 0), read(1, 0), read(0, 1), read(1, 1)].into_iter()).expect("they go on");
        held.pause(&[0, 7]);
        assert_eq!(places(&held.bring(10)), [(1, 0), (1, 1)]);
        assert!(!held.has_something(), "the client has to be polled");
        held.resume(&[0]);
        assert_eq!(places(&held.bring(1)), [(0, 0)]);
        assert_eq!(places(&held.bring(10)), [(0, 1)]);
    }

    #[test]
    fn what_is_taken_brings_nothing_any_more_and_is_told_once() {
        let mut held = two();
        held.keep([read(0, 0), read(1, 0)].into_iter()).expect("they go on");
        held.pause(&[0]);
        held.note(vec![Change::Taken(0)]);
        assert_eq!((held.take_revoked(), held.take_revoked()), (vec![0], vec![]));
        assert_eq!(places(&held.bring(10)), [(1, 0)]);
        held.note(vec![Change::Given(0)]);
        held.hold(place(0, 5));
        held.keep([read(0, 5)].into_iter()).expect("they go on");
        assert_eq!(places(&held.bring(10)), [(0, 5)], "it is not paused any more");
    }

    #[test]
    fn what_came_before_the_beginning_was_known_is_not_brought() {
        let mut held = Held::default();
        held.note(vec![Change::Given(0)]);
        held.keep([read(0, 2), read(0, 3)].into_iter()).expect("they go on");
        assert!(held.bring(10).records.is_empty());
        held.hold(place(0, 2));
        held.keep([read(0, 2)].into_iter()).expect("they go on");
        assert_eq!(places(&held.bring(10)), [(0, 2)]);
    }

    #[test]
    fn a_log_that_has_lost_its_end_is_noticed() {
        let mut held = two();
        held.keep([read(0, 0), read(0, 1), read(0, 7)].into_iter()).expect("gaps are no loss");
        assert_eq!(held.keep([read(1, 0), read(0, 7)].into_iter()), Err((place(0, 7), 8)));
    }

    #[test]
    fn what_was_given_and_taken_between_two_polls_is_not_told() {
        let mut held = Held::default();
        held.note(vec![Change::Given(3)]);
        held.hold(place(3, 9));
        held.note(vec![Change::Taken(3)]);
        assert!(held.take_revoked().is_empty());
        assert!(held.bring(10).assigned.is_empty());
    }
}

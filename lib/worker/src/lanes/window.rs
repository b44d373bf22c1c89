//! What of a partition is not committed yet: finished out of order, committed as a prefix.

use std::collections::VecDeque;

/// Places above which an empty window gives its memory back.
const KEEP_PLACES: usize = 1_024;

struct Place {
    offset: u64,
    finished: bool,
}

/// One place per item, in the order of the log. Numbers of places ascend and are never used again. Offsets may have gaps, and a
/// record that led to several items has several places of the same offset.
pub(super) struct Window {
    places: VecDeque<Place>,
    /// Number of the first place.
    first: u64,
    /// The offset after the newest record.
    next_offset: u64,
}

impl Window {
    pub(super) fn new(position: u64) -> Self {
        Self { places: VecDeque::new(), first: 0, next_offset: position }
    }

    /// Places that are not committed.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The offset below which everything is finished.
    pub(super) fn position(&self) -> u64 {
        self.places.front().map_or(self.next_offset, |place| place.offset)
    }

    /// Takes a place for an item of the record at `offset`; answers its number.
    pub(super) fn add(&mut self, offset: u64) -> u64 {
        self.places.push_back(Place { offset, finished: false });
        self.first + self.places.len() as u64 - 1
    }

    /// The record at `offset` has all its places.
    pub(super) fn close(&mut self, offset: u64) {
        self.next_offset = offset.saturating_add(1);
    }

    pub(super) fn offset_of(&self, place: u64) -> u64 {
        self.index(place).and_then(|index| self.places.get(index)).map_or(self.next_offset, |place| place.offset)
    }

    /// The item of this place is finished.
    pub(super) fn finish(&mut self, place: u64) {
        if let Some(place) = self.index(place).and_then(|index| self.places.get_mut(index)) {
            place.finished = true;
        }
        while self.places.front().is_some_and(|place| place.finished) {
            self.places.pop_front();
            self.first += 1;
        }
        if self.places.is_empty() && self.places.capacity() > KEEP_PLACES {
            self.places = VecDeque::new();
        }
    }

    fn index(&self, place: u64) -> Option<usize> {
        usize::try_from(place.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_the_first_offset_that_is_not_finished() {
        let mut window = Window::new(7);
        assert_eq!(window.position(), 7);
        let places: Vec<u64> = [10, 12, 12, 20]
            .map(|offset| {
                let place = window.add(offset);
                window.close(offset);
                place
            })
            .to_vec();
        window.finish(places[1]);
        assert_eq!((window.position(), window.len()), (10, 4));
        window.finish(places[0]);
        assert_eq!((window.position(), window.len()), (12, 2));
        window.finish(places[2]);
        assert_eq!((window.position(), window.len()), (20, 1));
        window.finish(places[3]);
        assert_eq!((window.position(), window.len()), (21, 0));
    }

    #[test]
    fn records_that_concern_nobody_are_passed() {
        let mut window = Window::new(0);
        window.close(4);
        assert_eq!(window.position(), 5);
        let place = window.add(5);
        window.close(5);
        window.close(6);
        assert_eq!(window.position(), 5);
        window.finish(place);
        assert_eq!(window.position(), 7);
    }
}

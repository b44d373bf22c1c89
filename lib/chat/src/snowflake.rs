//! New message ids.

use crate::{Epoch, MessageId, Timestamp};

/// Which of the writers of a store makes an id: 0 to [`WriterNumber::MAX`]. No two have the same at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WriterNumber(u16);

/// A number that no writer can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no number of a writer: they are 0 to {max}", max = WriterNumber::MAX)]
pub struct NotAWriter(u32);

impl WriterNumber {
    /// The largest: 10 bits.
    pub const MAX: u16 = (1 << (MessageId::MILLIS_SHIFT - MessageId::COUNTER_BITS)) - 1;

    /// Checks the range.
    pub fn new(number: u32) -> Result<Self, NotAWriter> {
        u16::try_from(number).ok().filter(|number| *number <= Self::MAX).map(Self).ok_or(NotAWriter(number))
    }
}

/// Why there is no id. Nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoId {
    /// The clock has gone back, or more ids were asked for than milliseconds have: an id now would be ahead of its time.
    #[error("the clock is {by_ms} ms behind the ids that were made")]
    ClockBehind {
        /// By how much.
        by_ms: u64,
    },
    /// The clock shows an instant that no id of this store can have.
    #[error("no message id can be of {0}: check the clock and the epoch of the store")]
    OutOfRange(Timestamp),
}

/// Makes ids, each larger than the one before. One per writer's number: who takes a number over must not begin before the last id of the
/// one who had it, which a lease by the same clock makes sure of.
#[derive(Debug)]
pub struct MessageIds {
    epoch: Epoch,
    writer: WriterNumber,
    /// The next id is at this millisecond or later, with this counter where it is at it.
    next_ms: u64,
    counter: u64,
}

impl MessageIds {
    /// How far ids may be ahead of the clock, in milliseconds: a clock that is corrected by less stops nobody.
    pub const AHEAD_MAX_MS: u64 = 100;

    const COUNTER_MAX: u64 = (1 << MessageId::COUNTER_BITS) - 1;

    /// For a writer of a store.
    pub fn new(epoch: Epoch, writer: WriterNumber) -> Self {
        Self { epoch, writer, next_ms: 0, counter: 0 }
    }

    /// The next id, at the instant `now`.
    pub fn next(&mut self, now: Timestamp) -> Result<MessageId, NoId> {
        let now_ms = now.as_millis().checked_sub(self.epoch.0.as_millis()).ok_or(NoId::OutOfRange(now))?;
        let (ms, counter) = if now_ms > self.next_ms { (now_ms, 0) } else { (self.next_ms, self.counter) };
        if ms > MessageId::MILLIS_MAX {
            return Err(NoId::OutOfRange(now));
        }
        if ms - now_ms > Self::AHEAD_MAX_MS {
            return Err(NoId::ClockBehind { by_ms: ms - now_ms });
        }
        (self.next_ms, self.counter) = if counter == Self::COUNTER_MAX { (ms + 1, 0) } else { (ms, counter + 1) };
        let writer = u64::from(self.writer.0) << MessageId::COUNTER_BITS;
        Ok(MessageId::from_bits((ms << MessageId::MILLIS_SHIFT) | writer | counter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(writer: u32) -> MessageIds {
        MessageIds::new(Epoch::default(), WriterNumber::new(writer).expect("a writer"))
    }

    fn at(ms: u64) -> Timestamp {
        Epoch::default().0.plus_millis(ms)
    }

    #[test]
    fn an_id_tells_its_instant_its_writer_and_its_place() {
        let mut ids = ids(1_023);
        assert_eq!(ids.next(at(5)).expect("an id").get(), (5 << 22) | (1_023 << 12));
        let second = ids.next(at(5)).expect("an id");
        assert_eq!(second.get(), (5 << 22) | (1_023 << 12) | 1);
        assert_eq!(Epoch::default().time_of(second), at(5));
        assert_eq!(ids.next(at(6)).expect("an id").get(), (6 << 22) | (1_023 << 12));
    }

    #[test]
    fn ids_grow_whatever_the_clock_does_and_differ_between_writers() {
        let (mut one, mut other) = (ids(1), ids(2));
        let mut random = fastrand::Rng::with_seed(3);
        let (mut last, mut all, mut clock) = (None, std::collections::HashSet::new(), 1_000_u64);
        for _ in 0..200_000 {
            clock = clock.saturating_add_signed(random.i64(-2..4));
            for ids in [&mut one, &mut other] {
                if let Ok(id) = ids.next(at(clock)) {
                    assert!(all.insert(id), "{id} twice");
                    assert!(id.millis() <= clock + MessageIds::AHEAD_MAX_MS);
                }
            }
            let id = one.next(at(clock)).ok();
            assert!(id.is_none() || id > last);
            last = id.or(last);
        }
    }

    #[test]
    fn more_ids_than_a_millisecond_has_run_ahead_a_little_and_then_wait() {
        let mut ids = ids(0);
        let mut made = 0;
        let refused = loop {
            match ids.next(at(1_000)) {
                Ok(_) => made += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(made, 4_096 * (MessageIds::AHEAD_MAX_MS + 1));
        assert_eq!(refused, NoId::ClockBehind { by_ms: MessageIds::AHEAD_MAX_MS + 1 });
        assert!(ids.next(at(1_001)).is_ok());
    }

    #[test]
    fn a_clock_that_is_far_behind_or_out_of_range_makes_no_id() {
        let mut ids = ids(0);
        ids.next(at(10_000)).expect("an id");
        assert_eq!(ids.next(at(9_000)), Err(NoId::ClockBehind { by_ms: 1_000 }));
        assert!(ids.next(at(9_901)).is_ok(), "a small correction");
        assert!(matches!(ids.next(Timestamp::from_millis(0)), Err(NoId::OutOfRange(_))));
        assert!(matches!(ids.next(at(MessageId::MILLIS_MAX + 1)), Err(NoId::OutOfRange(_))));
        assert!(WriterNumber::new(1_024).is_err());
    }
}

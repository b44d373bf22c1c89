//! Where a change stands in a log.

/// A place in one partition of a log: 16 bits of epoch, 48 bits of offset.
///
/// All changes of a room stand in one partition, so of two changes of a room the one with the greater position is the newer one,
/// whenever they arrive. Positions of different rooms say nothing about each other. The epoch grows when a log begins anew and its
/// offsets start over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

/// An offset that no position can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an offset of a log: offsets are whole numbers from 0 to 281474976710655")]
pub struct NotAnOffset(u64);

impl Position {
    /// Bits of the offset, the lower part.
    pub const OFFSET_BITS: u32 = 48;
    /// The largest offset.
    pub const OFFSET_MAX: u64 = (1 << Self::OFFSET_BITS) - 1;

    /// The position of `offset`, from 0 to [`Position::OFFSET_MAX`], in `epoch`.
    pub fn new(epoch: u16, offset: u64) -> Result<Self, NotAnOffset> {
        if offset > Self::OFFSET_MAX {
            return Err(NotAnOffset(offset));
        }
        Ok(Self((u64::from(epoch) << Self::OFFSET_BITS) | offset))
    }

    /// From the number that [`Position::get`] answers; every number is one.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Epoch and offset in one number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How often the log has begun anew.
    pub const fn epoch(self) -> u16 {
        (self.0 >> Self::OFFSET_BITS) as u16
    }

    /// The offset in its epoch.
    pub const fn offset(self) -> u64 {
        self.0 & Self::OFFSET_MAX
    }

    /// The number as databases keep it, which have no unsigned ones: 2⁶³ less than the position, so that the order is the same.
    pub const fn as_i64(self) -> i64 {
        (self.0 ^ (1 << 63)).cast_signed()
    }

    /// From the number that [`Position::as_i64`] answers; every number is one.
    pub const fn from_i64(stored: i64) -> Self {
        Self(stored.cast_unsigned() ^ (1 << 63))
    }
}

impl std::fmt::Display for Position {
    /// Epoch and offset, such as `3:1024`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.epoch(), self.offset())
    }
}

/// Text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a position: positions are an epoch and an offset, such as 0:1024")]
pub struct NotAPosition(String);

impl std::str::FromStr for Position {
    type Err = NotAPosition;

    /// Reads what [`Position`] displays.
    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts = text.split_once(':').filter(|(epoch, offset)| digits(epoch) && digits(offset));
        let read = parts.and_then(|(epoch, offset)| Self::new(epoch.parse().ok()?, offset.parse().ok()?).ok());
        read.ok_or_else(|| NotAPosition(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_from_its_words_and_nothing_else_does() {
        for position in [0, 1, 1 << 48, u64::MAX].map(Position::from_bits) {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in ["", ":", "1", "1:", ":1", "+1:2", "1:-2", "1:2:3", "65536:0", "0:281474976710656", " 1:2"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_later_epoch_is_newer_than_any_offset_before_it() {
        let last = Position::new(2, Position::OFFSET_MAX).expect("a position");
        let next = Position::new(3, 0).expect("a position");
        assert!(last < next);
        assert_eq!((next.epoch(), next.offset(), next.to_string()), (3, 0, "3:0".to_owned()));
        assert_eq!(Position::new(0, 1 << 48), Err(NotAnOffset(1 << 48)));
    }

    #[test]
    fn databases_keep_the_order() {
        let bits = [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX];
        let stored: Vec<i64> = bits.iter().map(|bits| Position::from_bits(*bits).as_i64()).collect();
        assert_eq!(stored, [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX]);
        assert_eq!(stored.into_iter().map(|stored| Position::from_i64(stored).get()).collect::<Vec<_>>(), bits);
    }
}

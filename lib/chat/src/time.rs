//! Instants, days and the epoch of message ids.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::id::MessageId;

/// An instant, in milliseconds since 1970-01-01T00:00:00Z. RFC 3339 in JSON and in print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last instant that can be printed as a four-digit year: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since the Unix epoch; instants after [`Timestamp::MAX`] are brought back to it.
    pub const fn from_millis(unix_ms: u64) -> Self {
        if unix_ms > Self::MAX.0 { Self::MAX } else { Self(unix_ms) }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The clock's time.
    pub fn now() -> Self {
        Self::from_millis(u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0))
    }

    /// This instant moved back, at most to the Unix epoch.
    pub const fn minus_millis(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// This instant moved forward, at most to [`Timestamp::MAX`].
    pub const fn plus_millis(self, ms: u64) -> Self {
        Self::from_millis(self.0.saturating_add(ms))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = DateTime::from_timestamp_millis(i64::try_from(self.0).unwrap_or(i64::MAX))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        let format = if self.0.is_multiple_of(1000) { SecondsFormat::Secs } else { SecondsFormat::Millis };
        f.write_str(&time.to_rfc3339_opts(format, true))
    }
}

/// Text that is no instant.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an instant: write it as 2026-11-22T00:00:00Z (or milliseconds since 1970)")]
pub struct NotATimestamp(String);

impl std::str::FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unreadable = || NotATimestamp(text.to_owned());
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let ms = text.parse().map_err(|_| unreadable())?;
            return if ms <= Self::MAX.0 { Ok(Self(ms)) } else { Err(unreadable()) };
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| unreadable())?;
        let ms = u64::try_from(time.timestamp_millis()).map_err(|_| unreadable())?;
        if ms <= Self::MAX.0 { Ok(Self(ms)) } else { Err(unreadable()) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A day, counted from 1970-01-01 in UTC. The resolution of room heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// Milliseconds in a day.
    pub const MILLIS: u64 = 86_400_000;

    /// The day in which `time` lies.
    pub fn of(time: Timestamp) -> Self {
        Self(u32::try_from(time.as_millis() / Self::MILLIS).unwrap_or(u32::MAX))
    }

    /// The first instant after this day.
    pub const fn end(self) -> Timestamp {
        Timestamp::from_millis((self.0 as u64 + 1) * Self::MILLIS)
    }
}

/// The instant from which message ids count their milliseconds. It belongs to the store, not to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch(pub Timestamp);

impl Default for Epoch {
    /// 2024-01-01T00:00:00Z.
    fn default() -> Self {
        Self(Timestamp::from_millis(1_704_067_200_000))
    }
}

impl Epoch {
    /// The smallest id that a message of instant `t` can have: `(t − epoch) << 22`, 0 before the epoch and
    /// [`MessageId::MAX`] after the last instant that 41 bits can hold.
    pub fn first_id(self, t: Timestamp) -> MessageId {
        let ms = t.as_millis().saturating_sub(self.0.as_millis());
        if ms > MessageId::MILLIS_MAX { MessageId::MAX } else { MessageId::from_bits(ms << MessageId::MILLIS_SHIFT) }
    }

    /// The instant at which the message `id` was written.
    pub fn time_of(self, id: MessageId) -> Timestamp {
        self.0.plus_millis(id.millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_id_is_clamped_at_both_ends() {
        let epoch = Epoch::default();
        assert_eq!(epoch.first_id(Timestamp::from_millis(0)).get(), 0);
        assert_eq!(epoch.first_id(epoch.0).get(), 0);
        assert_eq!(epoch.first_id(epoch.0.plus_millis(1)).get(), 1 << 22);
        assert_eq!(epoch.first_id(Timestamp::MAX), MessageId::MAX);
    }

    #[test]
    fn an_id_tells_its_millisecond() {
        let epoch = Epoch::default();
        let t = epoch.0.plus_millis(12_345);
        assert_eq!(epoch.time_of(epoch.first_id(t)), t);
    }

    #[test]
    fn instants_read_back_as_printed() {
        for text in
            ["2026-11-22T00:00:00Z", "2026-11-22T00:00:00.001Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"]
        {
            assert_eq!(text.parse::<Timestamp>().expect(text).to_string(), text);
        }
        assert_eq!("1709251200000".parse::<Timestamp>().expect("millis").to_string(), "2024-03-01T00:00:00Z");
        for text in ["", "yesterday", "2026-11-22", "1969-12-31T23:59:59Z", "99999999999999999999", "-1"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_day_ends_where_the_next_begins() {
        let noon = "2026-11-22T12:00:00Z".parse().expect("an instant");
        let day = Day::of(noon);
        assert_eq!(day.end().to_string(), "2026-11-23T00:00:00Z");
        assert_eq!(Day::of(day.end()), Day(day.0 + 1));
        assert_eq!(Day::of(day.end().minus_millis(1)), day);
    }
}

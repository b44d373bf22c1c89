//! Ids. Integers from 0 to 2⁶³ − 1; decimal strings in JSON, because a JSON number loses bits above 2⁵³.

use serde::{Deserialize, Serialize};

/// A number or text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an id: ids are whole numbers from 0 to 9223372036854775807")]
pub struct NotAnId(String);

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The largest id.
            pub const MAX: Self = Self(i64::MAX as u64);

            /// Checks the range: 0 to 2⁶³ − 1.
            pub fn new(value: u64) -> Result<Self, NotAnId> {
                if value <= Self::MAX.0 { Ok(Self(value)) } else { Err(NotAnId(value.to_string())) }
            }

            /// From bits that are known to be in range: the top bit is dropped.
            pub const fn from_bits(bits: u64) -> Self {
                Self(bits & Self::MAX.0)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number as databases keep it.
            pub const fn as_i64(self) -> i64 {
                self.0 as i64
            }
        }

        impl TryFrom<i64> for $name {
            type Error = NotAnId;

            fn try_from(value: i64) -> Result<Self, NotAnId> {
                u64::try_from(value).map(Self).map_err(|_| NotAnId(value.to_string()))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                let value = if digits { text.parse().ok() } else { None };
                value.and_then(|v| Self::new(v).ok()).ok_or_else(|| NotAnId(text.to_owned()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// An organization: a tenant of the chat, with a plan.
    OrganizationId
    /// An account: a person or program of one organization.
    AccountId
    /// A room. Accounts of several organizations can be its members.
    RoomId
    /// A message: a Snowflake. 41 bits of milliseconds since the store's [`crate::Epoch`], 10 bits of worker, 12 bits of
    /// counter, so that id order is time order.
    MessageId
}

impl MessageId {
    /// Bits below the milliseconds.
    pub const MILLIS_SHIFT: u32 = 22;
    /// Bits of the counter, the lowest part.
    pub const COUNTER_BITS: u32 = 12;
    /// The last millisecond since the epoch that an id can carry.
    pub const MILLIS_MAX: u64 = (1 << 41) - 1;

    /// Milliseconds since the store's epoch.
    pub const fn millis(self) -> u64 {
        self.0 >> Self::MILLIS_SHIFT
    }

    /// The next larger id, or the largest.
    pub const fn next(self) -> Self {
        if self.0 == Self::MAX.0 { self } else { Self(self.0 + 1) }
    }

    /// The next smaller id, or none below 0.
    pub const fn previous(self) -> Option<Self> {
        if self.0 == 0 { None } else { Some(Self(self.0 - 1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_strings_in_json_and_keep_every_bit() {
        let json = serde_json::to_string(&MessageId::MAX).expect("json");
        assert_eq!(json, "\"9223372036854775807\"");
        assert_eq!(serde_json::from_str::<MessageId>(&json).expect("id"), MessageId::MAX);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "-1", "+1", "1.0", "abc", "9223372036854775808", "99999999999999999999", " 1"] {
            assert!(text.parse::<RoomId>().is_err(), "{text:?} was taken");
        }
        assert!(RoomId::try_from(-1_i64).is_err());
        assert!(RoomId::new(u64::MAX).is_err());
    }
}

//! Runs: one computation of the limit for many organizations at one instant.

use serde::{Deserialize, Serialize};

/// A run's name: 1 to 100 of `a-z A-Z 0-9 : . _ + -`, for example `daily-2026-11-22T00:00Z`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RunId(String);

/// Text that is no run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a run id: use 1 to 100 letters, digits, and : . _ + -")]
pub struct NotARunId(String);

impl RunId {
    /// Checks the form.
    pub fn new(text: impl Into<String>) -> Result<Self, NotARunId> {
        let text = text.into();
        let ok = |b: u8| b.is_ascii_alphanumeric() || b":._+-".contains(&b);
        if (1..=100).contains(&text.len()) && text.bytes().all(ok) { Ok(Self(text)) } else { Err(NotARunId(text)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for RunId {
    type Err = NotARunId;

    fn from_str(text: &str) -> Result<Self, NotARunId> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

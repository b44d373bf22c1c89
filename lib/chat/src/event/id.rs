//! The id of an event.

/// The id of an event: 1 to [`EventId::MAX_BYTES`] visible ASCII characters, so that it can stand in any header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Box<str>);

/// Text that is no id of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event's id has 1 to {} visible ASCII characters", EventId::MAX_BYTES)]
pub struct NotAnEventId;

impl EventId {
    /// The longest id.
    pub const MAX_BYTES: usize = 128;

    /// Checks length and characters.
    pub fn new(text: &str) -> Result<Self, NotAnEventId> {
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(Self(text.into())) } else { Err(NotAnEventId) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

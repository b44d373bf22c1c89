//! How a port fails: the kinds a caller treats differently, and nothing about who failed.

use std::time::Duration;

/// The cause below a failure, kept so that logs can show the whole chain.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What every port answers.
pub type PortResult<T> = Result<T, PortError>;

/// Why a port could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The system behind the port cannot be reached or is busy. Nothing is wrong with the request: try again.
    #[error("{what} is unavailable")]
    Unavailable {
        /// Which system, in words.
        what: String,
        /// When the system itself said how long to wait.
        retry_after: Option<Duration>,
        /// What happened below.
        source: Option<BoxError>,
    },
    /// The system refuses the pace. Slow down, then try again.
    #[error("{what} asks for a slower pace")]
    Throttled {
        /// Which system, in words.
        what: String,
        /// What happened below.
        source: Option<BoxError>,
    },
    /// Somebody else changed the same thing first. Read again, then decide again.
    #[error("{what}")]
    Conflict {
        /// What collided.
        what: String,
    },
    /// The request can never succeed as it is. Do not repeat it.
    #[error("{what}")]
    Refused {
        /// What was refused and why.
        what: String,
        /// What happened below.
        source: Option<BoxError>,
    },
    /// Stored data does not read back as what it should be. Do not repeat; a person has to look.
    #[error("{what}")]
    Corrupt {
        /// What does not read, and where it is.
        what: String,
        /// What happened below.
        source: Option<BoxError>,
    },
}

impl PortError {
    /// The system `what` cannot be reached or is busy, because of `source`.
    pub fn unavailable(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Unavailable { what: what.into(), retry_after: None, source: Some(source.into()) }
    }

    /// The request can never succeed as it is.
    pub fn refused(what: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), source: None }
    }

    /// Stored data does not read back.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), source: None }
    }

    /// True when the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Throttled { .. } | Self::Conflict { .. })
    }

    /// A short, stable word for tables and metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Throttled { .. } => "throttled",
            Self::Conflict { .. } => "conflict",
            Self::Refused { .. } => "refused",
            Self::Corrupt { .. } => "corrupt",
        }
    }
}

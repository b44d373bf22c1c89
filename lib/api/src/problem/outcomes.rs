//! What the jobs answer, as problems.

use std::error::Error;
use std::fmt::Write as _;

use chat::visibility::Visibility;
use jobs::messages::Forbidden;
use jobs::messages::serve_reads::ReadError;
use jobs::messages::serve_writes::WriteError;

use super::{Problem, kinds};

impl From<Forbidden> for Problem {
    fn from(forbidden: Forbidden) -> Self {
        Self::new(match forbidden {
            Forbidden::UnknownAccount | Forbidden::OtherOrganization => kinds::OTHER_ORGANIZATION,
            Forbidden::NotAMember => kinds::NOT_A_MEMBER,
            Forbidden::NotAnAdmin => kinds::NOT_AN_ADMIN,
        })
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Forbidden(forbidden) => forbidden.into(),
            WriteError::MembershipsOwnedElsewhere => Self::new(kinds::MEMBERSHIPS_OWNED_ELSEWHERE),
            WriteError::UnknownMember(member) => {
                Self::new(kinds::UNKNOWN_MEMBER).detail(format!("account {member} is unknown or not active"))
            }
            WriteError::EmptyBody => Self::new(kinds::EMPTY_TEXT),
            WriteError::BodyTooLong { bytes, max } => Self::new(kinds::TOO_LARGE)
                .detail(format!("the text has {bytes} bytes, and a message at most {max}"))
                .member("max_bytes", max),
            WriteError::KeyReused => Self::new(kinds::KEY_REUSED),
            WriteError::KeyInProgress => Self::new(kinds::KEY_IN_PROGRESS),
            WriteError::NotStored { source, retry_after } => {
                tracing::warn!(error = %chain(&*source), "not stored");
                Self::new(kinds::NOT_STORED).retry_after(retry_after)
            }
            WriteError::Unknown { source } => {
                tracing::warn!(error = %chain(&*source), "whether it was stored is not known");
                Self::new(kinds::OUTCOME_UNKNOWN)
            }
            WriteError::Failed { source } => broken(&*source),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Forbidden(forbidden) => forbidden.into(),
            ReadError::NotFound => Self::new(kinds::NOT_FOUND),
            ReadError::Deleted | ReadError::Hidden(Visibility::Deleted) => Self::new(kinds::DELETED),
            ReadError::Hidden(Visibility::NotAMember) => Forbidden::NotAMember.into(),
            ReadError::Hidden(Visibility::HiddenByAge) => Self::new(kinds::VIEW_LIMIT).member("rule", "age"),
            ReadError::Hidden(Visibility::HiddenByCount) => Self::new(kinds::VIEW_LIMIT).member("rule", "count"),
            ReadError::Hidden(Visibility::Visible) => broken(&Contradiction),
            ReadError::Behind { version, retry_after } => {
                let problem = Self::new(kinds::BEHIND).retry_after(retry_after);
                match version {
                    Some(version) => problem.member("version", version.to_string()),
                    None => problem,
                }
            }
            ReadError::Unavailable { source, retry_after } => {
                tracing::warn!(error = %chain(&*source), "cannot be read now");
                Self::new(kinds::UNAVAILABLE).retry_after(retry_after)
            }
            ReadError::Failed { source } => broken(&*source),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("hidden, by a rule that says that it is visible")]
struct Contradiction;

/// The cause is for the logs; who asks cannot do anything about it.
fn broken(source: &(dyn Error + 'static)) -> Problem {
    tracing::error!(error = %chain(source), "a request failed");
    Problem::new(kinds::INTERNAL)
}

/// An error with all its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

//! Exit codes. A CronJob's owner reads nothing else.

use chat::PortError;
use jobs::limits::{ExtractError, WaitError};
use jobs::operate::OperateError;
use jobs::operate::runs::RunError;
use worker::QueueError;

/// Done.
pub(crate) const DONE: u8 = 0;
/// It failed; the message says why. Running it again unchanged will not help.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong: an unknown flag, an unknown organization, an instant in the future.
pub(crate) const USAGE: u8 = 2;
/// Done in part: some organizations failed or wait for another attempt, or some rows were left out.
pub(crate) const PARTIAL: u8 = 3;
/// Two runs were compared, and they differ.
pub(crate) const DIFFERENT: u8 = 4;
/// The settings or the data directory are wrong; nothing was done.
pub(crate) const CONFIGURATION: u8 = 42;
/// The input is wrong: a row, a file, a column. Nothing was changed.
pub(crate) const INPUT: u8 = 65;
/// What does the work failed again and again, or cannot be ended. Started again, the process goes on.
pub(crate) const GAVE_UP: u8 = worker::supervisor::EXIT_GAVE_UP;
/// Something is busy, full or was interrupted. Running it again goes on.
pub(crate) const TEMPORARY: u8 = 75;

/// What `lanner --help` says about exit codes.
pub(crate) const HELP: &str = "Exit codes: 0 done · 1 failed · 2 usage · 3 done in part · 4 it differs
            42 configuration · 65 bad input · 70 gave up on its own parts
            75 busy, full or interrupted: run it again";

/// A command's end that is not good: the code, and the words for standard error.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) error: anyhow::Error,
}

/// How a command ends: the exit code, or a failure.
pub(crate) type Outcome = Result<u8, Failure>;

impl Failure {
    pub(crate) fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }

    /// Says what the failure is about.
    pub(crate) fn about(self, path: &std::path::Path) -> Self {
        Self { error: self.error.context(path.display().to_string()), ..self }
    }

    /// The same without any value that was given by reference.
    pub(crate) fn without_secrets(self, layers: &crate::settings::Layers) -> Self {
        if !layers.has_secrets() {
            return self;
        }
        Self { error: anyhow::anyhow!("{}", layers.words_without_secrets(&self.error)), ..self }
    }

    pub(crate) fn usage(words: impl std::fmt::Display) -> Self {
        Self::new(USAGE, anyhow::anyhow!("{words}"))
    }
}

/// The error and its causes, without repeating what a cause already says.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.ends_with(&cause) {
            continue;
        }
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&cause);
    }
    words
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(FAILED, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let code = match error.kind() {
            StorageFull | QuotaExceeded => TEMPORARY,
            ReadOnlyFilesystem | PermissionDenied => CONFIGURATION,
            _ => FAILED,
        };
        Self::new(code, error)
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::new(if error.is_temporary() { TEMPORARY } else { FAILED }, error)
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        Self::new(if error.is_temporary() { TEMPORARY } else { FAILED }, error)
    }
}

impl From<ExtractError> for Failure {
    fn from(error: ExtractError) -> Self {
        Self::new(if error.is_temporary() { TEMPORARY } else { FAILED }, error)
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        let code = match &error {
            WaitError::UnknownRun(_) => USAGE,
            WaitError::Port(port) if port.is_temporary() => TEMPORARY,
            WaitError::Extract(extract) if extract.is_temporary() => TEMPORARY,
            WaitError::Port(_) | WaitError::Extract(_) => FAILED,
        };
        Self::new(code, error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Port(port) => port.into(),
            RunError::Unknown(_) | RunError::Over { .. } => Self::new(USAGE, error),
        }
    }
}

impl From<OperateError> for Failure {
    fn from(error: OperateError) -> Self {
        let code = match &error {
            OperateError::UnknownOrganization(_)
            | OperateError::UnknownOrganizations(_)
            | OperateError::UnknownRun(_)
            | OperateError::Cancelled(_) => USAGE,
            error if error.is_temporary() => TEMPORARY,
            _ => FAILED,
        };
        Self::new(code, error)
    }
}

//! Logs: one line per event on standard error, for people or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Text that is no log filter.
#[derive(Debug, thiserror::Error)]
#[error("'{filter}' is not a log filter: use error, warn, info, debug, trace, or a list such as info,sqlx=warn")]
pub struct NotAFilter {
    filter: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Starts logging to standard error. `filter` is a level or a list of `target=level`. Calling it twice keeps the first.
pub fn start(filter: &str, format: Format) -> Result<(), NotAFilter> {
    let parsed =
        EnvFilter::builder().parse(filter).map_err(|source| NotAFilter { filter: filter.to_owned(), source })?;
    let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr).with_ansi(colored);
    // A second start in one process (tests) keeps the first subscriber.
    let _ = match format {
        Format::Text => lines.with_target(false).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}

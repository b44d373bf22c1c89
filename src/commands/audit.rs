//! `lanner audit`: who did what, and why.

use chat::Timestamp;
use chat::ledger::{AuditEntry, AuditFilter};
use clap::Args;

use super::App;
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, BRIEF, brief, minute, say};
use crate::settings::parse_age;
use crate::wiring;

/// List who did what and why, newest first
///
/// Every command that changes something leaves a row when it starts and one that says what came of it.
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Only this action, such as rerun
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only where the target contains these words, such as "organization 42"
    #[arg(long, value_name = "WORDS")]
    target: Option<String>,
    /// Only since an instant, such as 2026-11-22T00:00:00Z, or for a time up to now, such as 7d
    #[arg(long, value_name = "INSTANT|AGE")]
    since: Option<String>,
    /// Only before an instant, or before a time ago
    #[arg(long, value_name = "INSTANT|AGE")]
    until: Option<String>,
}

pub(crate) async fn run(app: &App, args: &AuditArgs) -> Outcome {
    let now = Timestamp::now();
    let filter = AuditFilter {
        action: args.action.clone(),
        target: args.target.clone(),
        since: args.since.as_deref().map(|text| instant(text, now)).transpose()?,
        until: args.until.as_deref().map(|text| instant(text, now)).transpose()?,
    };
    let opened = wiring::open(&app.settings, wiring::Access::Read, "audit").await?;
    let rows = opened.ports.ledger.audits(&filter, args.limit).await?;
    if app.json {
        output::json(&rows)?;
        return Ok(exit::DONE);
    }
    if rows.is_empty() {
        say!("no audit rows");
        return Ok(exit::DONE);
    }
    // A line for what happened, and below it what is too long for a column.
    let entries: Vec<String> = rows.iter().map(in_words).collect();
    say!("{}", entries.join("\n"));
    Ok(exit::DONE)
}

fn in_words(row: &AuditEntry) -> String {
    let (outcome, target) = (brief(&row.outcome, BRIEF), brief(&row.target, BRIEF));
    let mut lines = vec![output::wrapped(&format!("{}  {}  {}: {outcome}", minute(row.at), row.actor, row.action), 0)];
    lines.push(output::wrapped(&target, 4));
    if !row.reason.is_empty() {
        lines.push(output::wrapped(&format!("reason: {}", brief(&row.reason, BRIEF)), 4));
    }
    lines.join("\n")
}

/// An instant, or a time before `now`.
fn instant(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    match parse_age(text) {
        Ok(Some(age_ms)) => Ok(now.minus_millis(age_ms)),
        _ => {
            Err(Failure::usage(format!("'{text}' is neither an instant nor an age: write 2026-11-22T00:00:00Z or 7d")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_an_instant_or_an_age() {
        let now = "2026-11-22T00:00:00Z".parse().expect("an instant");
        for (text, meant) in [("2026-11-21T12:00:00Z", "2026-11-21T12:00:00Z"), ("7d", "2026-11-15T00:00:00Z")] {
            assert_eq!(instant(text, now).expect(text).to_string(), meant);
        }
        assert!(instant("unlimited", now).is_err() && instant("yesterday", now).is_err());
    }
}

//! `lanner status`: how far a run is, what takes long in it, what fails; and how limits are followed.

use std::time::Duration;

use chat::RunId;
use chat::ledger::RunOrganization;
use clap::Args;
use jobs::operate::runs::{find, is_in_work};
use jobs::operate::status::{Equation, Status, look};
use serde_json::json;

use super::run::policy_in_words;
use super::runs::as_json;
use super::{App, shards, watch};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, BRIEF, Column, brief, facts, say, short, table, thousands};
use crate::wiring;

/// Organizations of each kind that are shown.
const SHOWN: usize = 10;

/// Show how far a run is, what takes long in it, and what failed; or how limits are followed
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// The run, or latest, or previous [default: the newest one]
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Follow the run until it is over: a live view on a terminal, else a line for each change
    #[arg(long)]
    watch: bool,
    /// Show the shards of follow-limits instead: how far behind the log, what they keep, how many limits are not known exactly
    #[arg(long, conflicts_with_all = ["run", "watch"])]
    shards: bool,
}

pub(crate) async fn run(app: &App, args: &StatusArgs) -> Outcome {
    if args.shards {
        return shards::run(app).await;
    }
    let opened = wiring::open(&app.settings, wiring::Access::Read, "status").await?;
    let ledger = &*opened.ports.ledger;
    let id = match &args.run {
        Some(name) => find(ledger, name).await?.run.id,
        None => match ledger.opened_runs(1).await?.pop() {
            Some(run) => run.id,
            None if app.json => {
                output::json(&json!(null))?;
                return Ok(exit::DONE);
            }
            None => {
                say!("no runs yet: lanner run makes one");
                return Ok(exit::DONE);
            }
        },
    };
    let status = if args.watch {
        watch::follow(app, ledger, &id).await?
    } else {
        let status = look(ledger, &id, SHOWN).await?.ok_or_else(|| gone(&id))?;
        show(app, &status)?;
        status
    };
    Ok(if status.progress.counts.failures() > 0 { exit::PARTIAL } else { exit::DONE })
}

/// The run was there and is not any more.
pub(super) fn gone(run: &RunId) -> Failure {
    Failure::usage(format!("there is no run {run} any more: it was deleted as old"))
}

/// Prints the whole status, as text or as JSON.
pub(super) fn show(app: &App, status: &Status) -> Result<(), Failure> {
    if app.json {
        output::json(&document(status, status.mean_rate_per_s()))?;
        return Ok(());
    }
    let run = &status.progress.run;
    let mut lines = vec![
        ("run", run.id.to_string()),
        ("as of", run.as_of.to_string()),
        ("policy", policy_in_words(&run.policy)),
        ("state", status.progress.phase().to_string()),
        ("opened", run.opened_at.to_string()),
    ];
    if let Some(at) = status.progress.last_finished_at {
        lines.push(("last finished", at.to_string()));
    }
    if let Some(rate) = status.mean_rate_per_s() {
        lines.push(("rate", format!("{} organizations/s on average", per_second(rate))));
    }
    if let Some(remaining) = status.remaining(status.mean_rate_per_s()) {
        lines.push(("remaining", format!("about {}", short(remaining))));
    }
    say!("{}\n\n{}", facts(&lines), equation(&status.progress.counts).join("\n"));
    show_classes(status);
    show_failures(status);
    show_slowest(status);
    Ok(())
}

/// The status as JSON.
pub(super) fn document(status: &Status, rate_per_s: Option<f64>) -> serde_json::Value {
    let equation = Equation::of(&status.progress.counts);
    let seconds = |duration: Duration| (duration.as_secs_f64() * 1_000.0).round() / 1_000.0;
    let slowest = status.slowest.iter().map(|row| {
        let mut value = json!(row);
        value["took_s"] = json!(status.took(row).map(seconds));
        value
    });
    let mut value = as_json(&status.progress);
    value["equation"] = json!({
        "expected": equation.expected,
        "done": equation.done,
        "failed": equation.failed,
        "parked": equation.parked,
        "retrying": equation.retrying,
        "in_work": equation.in_work,
        "not_started": equation.not_started,
    });
    value["rate_per_s"] = json!(rate_per_s.map(|rate| (rate * 10.0).round() / 10.0));
    value["remaining_s"] = json!(status.remaining(rate_per_s).map(|remaining| remaining.as_secs()));
    value["error_classes"] = json!(status.error_classes);
    value["failures"] = json!(status.failures);
    value["slowest"] = json!(slowest.collect::<Vec<_>>());
    value
}

/// expected = done + failed + parked + retrying + in work + not started, one below the other.
pub(super) fn equation(counts: &chat::ledger::Counts) -> Vec<String> {
    use chat::ledger::State::{Released, Superseded};
    let equation = Equation::of(counts);
    let parts = [("superseded", counts.of(Superseded)), ("released", counts.of(Released))];
    let parts: Vec<String> =
        parts.iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!("{} {word}", thousands(*n))).collect();
    let of_these = if parts.is_empty() { String::new() } else { format!("  (of these {})", parts.join(", ")) };
    let lines = [
        (" ", "expected", equation.expected, ""),
        ("=", "done", equation.done, &*of_these),
        ("+", "failed", equation.failed, ""),
        ("+", "parked", equation.parked, ""),
        ("+", "retrying", equation.retrying, ""),
        ("+", "in work", equation.in_work, ""),
        ("+", "not started", equation.not_started, ""),
    ];
    let width = thousands(equation.expected).len();
    lines.iter().map(|(sign, word, n, more)| format!("{sign} {word:11}  {:>width$}{more}", thousands(*n))).collect()
}

/// A rate with one decimal below 10.
pub(super) fn per_second(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { thousands(rate.round() as u64) }
}

fn show_classes(status: &Status) {
    if status.error_classes.is_empty() {
        return;
    }
    let columns = [
        Column::Number("organizations"),
        Column::Name("state"),
        Column::Text("class"),
        Column::Number("for example"),
        Column::Text("error"),
    ];
    let rows = status.error_classes.iter().take(SHOWN).map(|class| {
        vec![
            thousands(class.organizations),
            class.state.to_string(),
            class.class.clone(),
            class.example.to_string(),
            brief(&class.error, BRIEF),
        ]
    });
    say!("\n{}", table(&columns, rows));
    if let Some(more) = status.error_classes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        say!("and {more} more: --json shows all");
    }
}

fn show_failures(status: &Status) {
    if status.failures.is_empty() {
        return;
    }
    let columns = [
        Column::Number("failed last"),
        Column::Name("state"),
        Column::Number("attempts"),
        Column::Text("class"),
        Column::Text("error"),
    ];
    let rows = status.failures.iter().map(|row| {
        vec![
            row.organization.to_string(),
            row.state.to_string(),
            row.attempts.to_string(),
            row.error_class.clone().unwrap_or_default(),
            brief(row.error.as_deref().unwrap_or_default(), BRIEF),
        ]
    });
    say!("\n{}", table(&columns, rows));
}

fn show_slowest(status: &Status) {
    if status.slowest.is_empty() {
        return;
    }
    let head = if is_in_work(&status.progress) && status.slowest.iter().any(|row| row.finished_at.is_none()) {
        "in work longest"
    } else {
        "took longest"
    };
    let columns = [
        Column::Number(head),
        Column::Number("for"),
        Column::Name("state"),
        Column::Name("stage"),
        Column::Number("attempts"),
        Column::Number("rooms"),
    ];
    let rows = status.slowest.iter().map(|row| {
        vec![
            row.organization.to_string(),
            took_in_words(status, row),
            row.state.to_string(),
            row.stage.map_or("", |stage| stage.as_str()).to_owned(),
            row.attempts.to_string(),
            thousands(u64::from(row.rooms)),
        ]
    });
    say!("\n{}", table(&columns, rows));
}

/// How long the organization has been in work, or was.
pub(super) fn took_in_words(status: &Status, row: &RunOrganization) -> String {
    status.took(row).map_or_else(|| "-".to_owned(), short)
}

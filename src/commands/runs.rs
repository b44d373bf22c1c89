//! `lanner runs`: what was run; cancelling a run, deleting old ones.

use chat::ledger::{Old, Progress, Pruned};
use chat::{RunId, Timestamp};
use clap::{Args, Subcommand};
use jobs::limits::prune;
use jobs::operate::runs::{cancel, cancellable, is_in_work};
use serde_json::json;

use super::rerun::not_blank;
use super::{Action, App};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, minute, say, table, thousands};
use crate::progress;
use crate::settings::parse_age;
use crate::wiring;

/// List the runs, cancel one, delete old ones
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    command: Option<RunsCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Subcommand, Debug)]
enum RunsCommand {
    List(ListArgs),
    Cancel(CancelArgs),
    Prune(PruneArgs),
}

/// List the runs, newest first
#[derive(Args, Debug)]
struct ListArgs {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

/// Cancel a run: workers drop what is left of it
///
/// What is done stays done. A cancelled run does not go on: start another one.
#[derive(Args, Debug)]
struct CancelArgs {
    /// The run, or latest, or previous
    run: RunId,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", required_unless_present = "dry_run", value_parser = not_blank)]
    reason: Option<String>,
    /// Tell how many organizations would be dropped, change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Delete old runs with their organizations, and old unreadable messages
///
/// Finished or not; a newest run that is still in work stays. History and audit stay. The space is used again by later runs. Every
/// extraction does the same by the setting retention.runs.
#[derive(Args, Debug)]
struct PruneArgs {
    /// Delete what is older than this, such as 35d [default: the setting retention.runs]
    #[arg(long, value_name = "AGE")]
    older_than: Option<String>,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", required_unless_present = "dry_run", value_parser = not_blank)]
    reason: Option<String>,
    /// Count what would be deleted, delete nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(app: &App, args: &RunsArgs) -> Outcome {
    match &args.command {
        None => list(app, &args.list).await,
        Some(RunsCommand::List(args)) => list(app, args).await,
        Some(RunsCommand::Cancel(args)) => cancel_run(app, args).await,
        Some(RunsCommand::Prune(args)) => prune_runs(app, args).await,
    }
}

/// A run as JSON; `lanner status` adds to it.
pub(super) fn as_json(progress: &Progress) -> serde_json::Value {
    json!({
        "run": progress.run,
        "phase": progress.phase(),
        "expected": progress.counts.expected(),
        "settled": progress.counts.settled(),
        "failed": progress.counts.failures(),
        "states": progress.counts,
        "last_finished_at": progress.last_finished_at,
    })
}

async fn list(app: &App, args: &ListArgs) -> Outcome {
    let opened = wiring::open(&app.settings, wiring::Access::Read, "runs").await?;
    let runs = opened.ports.ledger.runs(args.limit).await?;
    if app.json {
        output::json(&runs.iter().map(as_json).collect::<Vec<_>>())?;
        return Ok(exit::DONE);
    }
    if runs.is_empty() {
        say!("no runs yet: lanner run makes one");
        return Ok(exit::DONE);
    }
    let columns = [
        Column::Name("run"),
        Column::Name("as of"),
        Column::Name("state"),
        Column::Number("settled"),
        Column::Number("failed"),
    ];
    let rows = runs.iter().map(|progress| {
        vec![
            progress.run.id.to_string(),
            minute(progress.run.as_of),
            progress.phase().to_string(),
            format!("{}/{}", thousands(progress.counts.settled()), thousands(progress.counts.expected())),
            thousands(progress.counts.failures()),
        ]
    });
    say!("{}", table(&columns, rows));
    Ok(exit::DONE)
}

fn access(dry_run: bool) -> wiring::Access {
    if dry_run { wiring::Access::Read } else { wiring::Access::Write }
}

async fn cancel_run(app: &App, args: &CancelArgs) -> Outcome {
    let opened = wiring::open(&app.settings, access(args.dry_run), "runs cancel").await?;
    let ledger = &*opened.ports.ledger;
    let before = cancellable(ledger, &args.run).await?;
    let id = &before.run.id;
    let open = before.counts.expected() - before.counts.settled();
    let Some(reason) = args.reason.as_ref().filter(|_| !args.dry_run) else {
        let words = "dry run: nothing was changed";
        return told(app, json!({"run": id, "dry_run": true, "cancelled": false, "dropped": open}), || {
            format!("{} organizations of run {id} would be dropped\n{words}", thousands(open))
        });
    };
    let action = Action { name: "runs cancel", target: format!("run {id}"), reason: reason.clone() };
    action.record(ledger, "started").await?;
    let cancelled = cancel(ledger, id).await;
    let outcome = match &cancelled {
        Ok(after) => format!("cancelled, {} organizations dropped", after.counts.expected() - after.counts.settled()),
        Err(error) => format!("failed: {error}"),
    };
    action.record(ledger, outcome).await?;
    let after = cancelled?;
    let dropped = after.counts.expected() - after.counts.settled();
    told(app, json!({"run": id, "dry_run": false, "cancelled": true, "dropped": dropped}), || {
        format!("run {id} is cancelled: workers drop the {} organizations that are left", thousands(dropped))
    })
}

async fn prune_runs(app: &App, args: &PruneArgs) -> Outcome {
    let age_ms = match &args.older_than {
        Some(text) => parse_age(text).map_err(Failure::usage)?,
        None => app.settings.retention_ms()?,
    };
    let Some(age_ms) = age_ms else {
        return Err(Failure::usage("runs are kept for ever: say how old is old with --older-than"));
    };
    let opened = wiring::open(&app.settings, access(args.dry_run), "runs prune").await?;
    let ledger = &*opened.ports.ledger;
    let newest = ledger.runs(1).await?.pop();
    let except = newest.filter(is_in_work).map(|progress| progress.run.id);
    let old = Old { before: Timestamp::now().minus_millis(age_ms), except };
    let prunable = ledger.prunable(&old).await?;
    let shown = |pruned: &Pruned, dry_run: bool| {
        let value = json!({
            "before": old.before,
            "dry_run": dry_run,
            "runs": pruned.runs,
            "organizations": pruned.organizations,
            "unreadable_messages": pruned.unreadable,
        });
        told(app, value, || match dry_run {
            true => format!("to delete: {}\ndry run: nothing was changed", in_words(pruned)),
            false => format!("deleted: {}", in_words(pruned)),
        })
    };
    let Some(reason) = args.reason.as_ref().filter(|_| !args.dry_run) else { return shown(&prunable, true) };
    let target = format!("what is older than {}", old.before);
    let action = Action { name: "runs prune", target, reason: reason.clone() };
    action.record(ledger, "started").await?;
    let mut bar = progress::Progress::new("organizations deleted", app.json);
    let pruned = tokio::select! {
        pruned = prune(ledger, &old, |pruned| bar.at(pruned.organizations, prunable.organizations)) => pruned.map_err(Failure::from),
        () = app.stop.cancelled() => {
            Err(Failure::new(exit::TEMPORARY, anyhow::anyhow!("interrupted: the same command goes on")))
        }
    };
    bar.finish();
    let outcome = match &pruned {
        Ok(pruned) => format!("deleted: {}", in_words(pruned)),
        Err(failure) => format!("failed: {:#}", failure.error),
    };
    action.record(ledger, outcome).await?;
    shown(&pruned?, false)
}

fn in_words(pruned: &Pruned) -> String {
    format!(
        "{} runs, {} organizations, {} unreadable messages",
        thousands(pruned.runs),
        thousands(pruned.organizations),
        thousands(pruned.unreadable),
    )
}

fn told(app: &App, value: serde_json::Value, words: impl Fn() -> String) -> Outcome {
    if app.json {
        output::json(&value)?;
    } else {
        say!("{}", words());
    }
    Ok(exit::DONE)
}

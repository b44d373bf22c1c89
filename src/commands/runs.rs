//! `lanner runs` and `lanner status`: what was run, and how far it is.

use std::time::Duration;

use chat::RunId;
use chat::ledger::{Filter, Phase, Progress, State};
use clap::Args;
use serde_json::json;

use super::App;
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, facts, minute, or_dash, say, table, thousands};
use crate::wiring;

/// Failed organizations that `status` shows.
const FAILURES_SHOWN: usize = 10;

/// List the runs, newest first
#[derive(Args, Debug)]
pub(crate) struct RunsArgs {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

pub(crate) async fn list(app: &App, args: &RunsArgs) -> Outcome {
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
        Column::Text("run"),
        Column::Text("as of"),
        Column::Text("state"),
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

/// Show how far a run is, and what failed in it
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// The run [default: the newest one]
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Look again every second until the run is finished
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn status(app: &App, args: &StatusArgs) -> Outcome {
    let opened = wiring::open(&app.settings, wiring::Access::Read, "status").await?;
    let ports = &opened.ports;
    let mut shown = None;
    loop {
        let progress = match &args.run {
            Some(id) => {
                ports.ledger.progress(id).await?.ok_or_else(|| Failure::usage(format!("there is no run {id}")))?
            }
            None => match ports.ledger.runs(1).await?.pop() {
                Some(progress) => progress,
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
        let over = matches!(progress.phase(), Phase::Finished | Phase::Cancelled);
        if shown.as_ref() != Some(&progress.counts) || over {
            if shown.is_some() && !app.json {
                say!("");
            }
            show(app, &progress, ports).await?;
            shown = Some(progress.counts.clone());
        }
        if over || !args.watch || app.stop.is_cancelled() {
            return Ok(if progress.counts.failures() > 0 { exit::PARTIAL } else { exit::DONE });
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), app.stop.cancelled()).await;
    }
}

fn as_json(progress: &Progress) -> serde_json::Value {
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

async fn show(app: &App, progress: &Progress, ports: &jobs::Ports) -> Result<(), Failure> {
    let filter = Filter { states: vec![State::Failed, State::Parked, State::Retrying], ..Filter::default() };
    let bad = ports.ledger.organizations(&progress.run.id, &filter, FAILURES_SHOWN).await?;
    if app.json {
        let mut value = as_json(progress);
        value["failures"] = json!(bad);
        output::json(&value)?;
        return Ok(());
    }
    let counts = &progress.counts;
    let mut lines = vec![
        ("run", progress.run.id.to_string()),
        ("as of", progress.run.as_of.to_string()),
        ("state", progress.phase().to_string()),
        ("expected", thousands(counts.expected())),
    ];
    for state in State::ALL {
        if counts.of(state) > 0 {
            lines.push((state.as_str(), thousands(counts.of(state))));
        }
    }
    lines.push(("opened", progress.run.opened_at.to_string()));
    lines.push(("last finished", or_dash(progress.last_finished_at)));
    say!("{}", facts(&lines));
    if !bad.is_empty() {
        let columns = [
            Column::Number("organization"),
            Column::Text("state"),
            Column::Number("attempts"),
            Column::Text("class"),
            Column::Text("error"),
        ];
        let rows = bad.iter().map(|row| {
            vec![
                row.organization.to_string(),
                row.state.to_string(),
                row.attempts.to_string(),
                row.error_class.clone().unwrap_or_default(),
                row.error.clone().unwrap_or_default(),
            ]
        });
        say!("\n{}", table(&columns, rows));
    }
    Ok(())
}

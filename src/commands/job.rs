//! One job by itself: `lanner extract-organizations`, `lanner collect-rooms`, `lanner merge-newest`.

use std::sync::Arc;

use chat::ledger::NewRun;
use chat::{RunId, Timestamp};
use clap::Args;
use jobs::Ports;
use jobs::limits::{
    Until, collect_rooms, extract_organizations, merge_newest, prune_after_extraction, wait_until_finished,
};
use worker::{Consumer, ConsumerReport, Pulse, Work};

use super::observe::Observed;
use super::processes;
use super::run::{EXTRACTION_GOES_ON, exit_code};
use super::runs::as_json;
use super::{Action, App, Question, manual_run_id};
use crate::exit::{Failure, Outcome};
use crate::output::{facts, json, say, thousands};
use crate::progress::Progress;
use crate::wiring;

/// Open a run and send every free organization to the organization queue
///
/// Run by a scheduler. Workers (collect-rooms, merge-newest) do the rest. Two starts in one slot join the same run, and a
/// start after an interruption goes on where the last one stopped.
#[derive(Args, Debug)]
pub(crate) struct ExtractArgs {
    #[command(flatten)]
    question: Question,
    /// Name of the run [default: from --job-name, else manual-NOW]
    #[arg(long, value_name = "RUN", conflicts_with = "job_name")]
    run: Option<RunId>,
    /// Name of the Kubernetes Job, whose suffix is the slot in minutes since 1970; --as-of defaults to the slot
    #[arg(long, value_name = "NAME", env = "LANNER_JOB_NAME")]
    job_name: Option<String>,
    /// Wait until the workers have settled every organization
    #[arg(long)]
    wait: bool,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true)]
    reason: String,
}

pub(crate) async fn extract(app: &App, args: &ExtractArgs) -> Outcome {
    let slot = match (&args.run, &args.job_name) {
        (None, Some(name)) => Some(slot_of(name)?),
        _ => None,
    };
    let (as_of, policy) = args.question.resolve(&app.settings, slot.unwrap_or_else(Timestamp::now))?;
    let id = match (&args.run, slot) {
        (Some(id), _) => id.clone(),
        (None, Some(slot)) => RunId::new(format!("daily-{}Z", &slot.to_string()[..16])).map_err(Failure::usage)?,
        (None, None) => manual_run_id("manual")?,
    };
    let opened = wiring::open(&app.settings, wiring::Access::Write, "extract-organizations").await?;
    let ports = &opened.ports;
    let new = extract_organizations::all_free(id, as_of, policy);
    let action =
        Action { name: "extract-organizations", target: format!("run {}", new.id), reason: args.reason.clone() };
    action.record(&*ports.ledger, "started").await?;
    let pulse = Pulse::new();
    let queues = [&ports.organization_queue, &ports.room_queue].map(Arc::clone);
    let observed = Observed::bind(app, &queues).await?.beside("extract-organizations", &pulse)?;
    let outcome = extract_and_wait(app, ports, &new, args.wait, &pulse, &action).await;
    observed.stop().await;
    outcome
}

/// Extracts and says what was sent; with `wait` waits until all is settled and says how the run ended.
async fn extract_and_wait(
    app: &App,
    ports: &Ports,
    new: &NewRun,
    wait: bool,
    pulse: &Pulse,
    action: &Action,
) -> Outcome {
    let mut bar = Progress::new("organizations sent", app.json);
    let extraction = extract_organizations::extract(ports, new, |sent| {
        pulse.beat();
        bar.at(sent, 0);
    });
    let extracted =
        app.unless_stopped(extraction, EXTRACTION_GOES_ON).await.and_then(|extracted| extracted.map_err(Failure::from));
    let outcome = match &extracted {
        Ok(extracted) => format!("{} organizations sent", extracted.sent),
        Err(failure) => format!("failed: {:#}", failure.error),
    };
    action.record(&*ports.ledger, outcome).await?;
    let extracted = extracted?;
    let retention_ms = app.settings.retention_ms()?;
    prune_after_extraction(&*ports.ledger, &extracted.run.id, retention_ms, &app.stop, |_| pulse.beat()).await;
    bar.finish();
    if !wait {
        if app.json {
            json(&serde_json::json!({"run": extracted.run, "sent": extracted.sent, "released": extracted.released}))?;
        } else {
            say!(
                "{}",
                facts(&[
                    ("run", extracted.run.id.to_string()),
                    ("as of", extracted.run.as_of.to_string()),
                    ("sent", format!("{} organizations", thousands(extracted.sent))),
                    ("released", format!("{} limits", thousands(extracted.released))),
                ])
            );
        }
        return Ok(crate::exit::DONE);
    }
    let mut bar = Progress::new("organizations", app.json);
    let progress = wait_until_finished(ports, &extracted.run.id, Until::Settled, &app.stop, |progress| {
        pulse.beat();
        bar.at(progress.counts.settled(), progress.counts.expected());
    })
    .await?;
    bar.finish();
    if app.json {
        json(&as_json(&progress))?;
    } else {
        say!("{} is {}", progress.run.id, progress.phase());
    }
    Ok(exit_code(app, &progress))
}

/// The slot in a CronJob's job name: the digits after the last dash are minutes since 1970.
fn slot_of(job_name: &str) -> Result<Timestamp, Failure> {
    let minutes = job_name.rsplit('-').next().and_then(|suffix| suffix.parse::<u64>().ok());
    let slot = minutes.map(|minutes| minutes.saturating_mul(60_000));
    slot.filter(|ms| *ms <= Timestamp::MAX.as_millis()).map(Timestamp::from_millis).ok_or_else(|| {
        Failure::usage(format!("'{job_name}' is not the name of a CronJob's job: it must end in -MINUTES (since 1970)"))
    })
}

/// One of the jobs that run until they are told to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Worker {
    CollectRooms,
    MergeNewest,
}

/// Runs the job until SIGINT or SIGTERM.
pub(crate) async fn work(app: &App, worker: Worker) -> Outcome {
    let name = match worker {
        Worker::CollectRooms => "collect-rooms",
        Worker::MergeNewest => "merge-newest",
    };
    let opened = wiring::open(&app.settings, wiring::Access::Write, name).await?;
    let queues = [&opened.ports.organization_queue, &opened.ports.room_queue].map(Arc::clone);
    let observed = Observed::bind(app, &queues).await?;
    let settings = app.settings.stage()?;
    let report = match worker {
        Worker::CollectRooms => until_stopped(app, &collect_rooms::consumer(&opened.ports, settings), observed).await,
        Worker::MergeNewest => until_stopped(app, &merge_newest::consumer(&opened.ports, settings), observed).await,
    };
    print_report(app, name, report?)?;
    Ok(crate::exit::DONE)
}

/// Runs a consumer with what tells of it.
async fn until_stopped<W: Work>(
    app: &App,
    consumer: &Consumer<W>,
    observed: Observed,
) -> Result<ConsumerReport, Failure> {
    let tree = processes::tree(vec![consumer.child()], observed.children(), consumer.stop_bounds())?;
    eprintln!("{}: working until stopped (Ctrl-C or SIGTERM)", consumer.job());
    processes::run(tree, app.stop.clone()).await?;
    Ok(consumer.report())
}

fn print_report(app: &App, name: &str, report: ConsumerReport) -> Result<(), Failure> {
    let counts = [
        ("done", report.done),
        ("again", report.again),
        ("parked", report.parked),
        ("buried", report.buried),
        ("dropped", report.dropped),
        ("released", report.released),
        ("lost", report.lost),
        ("unreadable", report.unreadable),
    ];
    if app.json {
        let counts: serde_json::Map<_, _> = counts.iter().map(|(word, n)| ((*word).to_owned(), (*n).into())).collect();
        json(&serde_json::json!({"job": name, "messages": counts}))?;
        return Ok(());
    }
    let words: Vec<String> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!("{} {word}", thousands(*n))).collect();
    say!("{name}: stopped; {}", if words.is_empty() { "there was nothing to do".to_owned() } else { words.join(", ") });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_the_suffix_of_the_job_name() {
        assert_eq!(slot_of("lanner-extract-29912400").expect("a slot").to_string(), "2026-11-15T12:00:00Z");
        for name in ["", "lanner", "lanner-", "lanner-x1", "lanner-99999999999999999999"] {
            assert!(slot_of(name).is_err(), "{name:?} was taken");
        }
    }
}

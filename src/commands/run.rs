//! `lanner run`: the whole limit path in one process.

use chat::ledger::{NewRun, Phase, Progress as RunProgress, State};
use chat::{Day, Policy, Timestamp};
use clap::Args;
use jobs::Ports;
use jobs::limits::{
    Until, collect_rooms, extract_organizations, merge_newest, prune_after_extraction, wait_until_finished,
};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::runs::as_json;
use super::{Action, App, Question, manual_run_id, processes};
use crate::exit::{self, Failure, Outcome};
use crate::output::{facts, json, say, thousands};
use crate::progress::Progress;
use crate::wiring;

/// Compute the viewing limit of every free organization
///
/// Extracts the free organizations, collects their rooms, merges the rooms newest first and stores the limits, all in this
/// process. A run that was interrupted goes on when it is started again with the same --run.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) question: Question,
    /// Name of the run; a name that exists is joined, with its own instant and policy [default: manual-NOW]
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<chat::RunId>,
    /// Also wait for organizations that failed and wait for another attempt
    #[arg(long)]
    pub(crate) wait: bool,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
}

pub(crate) async fn run(app: &App, args: &RunArgs) -> Outcome {
    let (as_of, policy) = args.question.resolve(&app.settings, Timestamp::now())?;
    let id = match &args.run {
        Some(id) => id.clone(),
        None => manual_run_id("manual")?,
    };
    let opened = wiring::open(&app.settings, wiring::Access::Write, "run").await?;
    let new = extract_organizations::all_free(id, as_of, policy);
    let until = if args.wait { Until::Settled } else { Until::Attempted };
    let ledger = &*opened.ports.ledger;
    let action = Action { name: "run", target: format!("run {}", new.id), reason: args.reason.clone() };
    action.record(ledger, "started").await?;
    let driven = drive(app, &opened.ports, Start::AllFree(&new), until).await;
    action.record(ledger, outcome_of(&driven)).await?;
    let (progress, seconds) = driven?;
    report(app, &progress, seconds)?;
    Ok(exit_code(app, &progress))
}

/// What came of a run, for the audit.
pub(crate) fn outcome_of(driven: &Result<(RunProgress, f64), Failure>) -> String {
    match driven {
        Ok((progress, _)) => progress.phase().to_string(),
        Err(failure) => format!("failed: {:#}", failure.error),
    }
}

/// What a run in this process covers.
pub(crate) enum Start<'a> {
    AllFree(&'a NewRun),
    Named(&'a NewRun, &'a [chat::OrganizationId]),
}

/// Extracts, works and waits in this process.
pub(crate) async fn drive(
    app: &App,
    ports: &Ports,
    start: Start<'_>,
    until: Until,
) -> Result<(RunProgress, f64), Failure> {
    with_workers(app, ports, follow(app, ports, start, until)).await
}

/// Does `work` while both queue-fed jobs run in this process; answers with the seconds that it took.
pub(crate) async fn with_workers<T>(
    app: &App,
    ports: &Ports,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<(T, f64), Failure> {
    let started = tokio::time::Instant::now();
    let settings = app.settings.stage()?;
    let (collect, merge) = (collect_rooms::consumer(ports, settings), merge_newest::consumer(ports, settings));
    let tree = processes::tree(vec![collect.child(), merge.child()], Vec::new(), settings.consumer.stop_bounds())?;
    let stop = CancellationToken::new();
    let mut workers = AbortOnDropHandle::new(tokio::spawn(processes::run(tree, stop.clone())));
    let worked = tokio::select! {
        worked = work => worked,
        ended = &mut workers => return Err(ended_early(ended)),
    };
    stop.cancel();
    workers.await.map_err(|error| Failure::new(exit::FAILED, error))??;
    Ok((worked?, started.elapsed().as_secs_f64()))
}

/// What a run says that is stopped while it sends organizations.
pub(super) const EXTRACTION_GOES_ON: &str = "not all organizations are sent: start the same run again";

async fn follow(app: &App, ports: &Ports, start: Start<'_>, until: Until) -> Result<RunProgress, Failure> {
    let mut bar = Progress::new("organizations", app.json);
    let all_free = matches!(start, Start::AllFree(_));
    let extraction = async {
        match start {
            Start::AllFree(new) => extract_organizations::extract(ports, new, |_| {}).await,
            Start::Named(new, ids) => extract_organizations::extract_named(ports, new, ids).await,
        }
    };
    let extracted = app.unless_stopped(extraction, EXTRACTION_GOES_ON).await??;
    // Pruning beside the work delays nobody.
    let retention_ms = if all_free { app.settings.retention_ms()? } else { None };
    let pruned = prune_after_extraction(&*ports.ledger, &extracted.run.id, retention_ms, &app.stop, |_| {});
    let waited = wait_until_finished(ports, &extracted.run.id, until, &app.stop, |progress| {
        bar.at(progress.counts.settled(), progress.counts.expected());
    });
    let ((), progress) = tokio::join!(pruned, waited);
    let progress = progress?;
    bar.finish();
    Ok(progress)
}

/// The jobs have ended although nobody stopped them.
fn ended_early(ended: Result<Result<(), Failure>, JoinError>) -> Failure {
    match ended {
        Ok(Err(gave_up)) => gave_up,
        Ok(Ok(())) => Failure::new(exit::FAILED, anyhow::anyhow!("the jobs ended without being stopped")),
        Err(error) => Failure::new(exit::FAILED, error),
    }
}

fn report(app: &App, progress: &RunProgress, seconds: f64) -> Result<(), Failure> {
    if app.json {
        json(&as_json(progress))?;
        return Ok(());
    }
    let counts = &progress.counts;
    let states: Vec<String> = State::ALL
        .into_iter()
        .filter(|state| counts.of(*state) > 0)
        .map(|state| format!("{} {state}", thousands(counts.of(state))))
        .collect();
    say!(
        "{}",
        facts(&[
            ("run", progress.run.id.to_string()),
            ("as of", progress.run.as_of.to_string()),
            ("policy", policy_in_words(&progress.run.policy)),
            ("state", progress.phase().to_string()),
            ("organizations", if states.is_empty() { "none are free".to_owned() } else { states.join(", ") }),
            ("took", format!("{seconds:.2} s")),
        ])
    );
    if counts.failures() > 0 {
        say!("\nlanner status --run {} shows what failed and why", progress.run.id);
    }
    Ok(())
}

/// 0 when every organization has its limit, 3 when some have not, 75 when interrupted.
pub(crate) fn exit_code(app: &App, progress: &RunProgress) -> u8 {
    match progress.phase() {
        Phase::Finished if progress.counts.failures() == 0 => exit::DONE,
        Phase::Finished | Phase::Cancelled => exit::PARTIAL,
        Phase::Extracting | Phase::Running if app.stop.is_cancelled() => exit::TEMPORARY,
        Phase::Extracting | Phase::Running => exit::PARTIAL,
    }
}

/// "newest 5,000 messages, none older than 40 days".
pub(crate) fn policy_in_words(policy: &Policy) -> String {
    let any = || "of any age".to_owned();
    let age = policy.max_age_ms.map_or_else(any, |ms| format!("none older than {}", age_in_words(ms)));
    format!("newest {} messages, {age}", thousands(policy.n() as u64))
}

/// 40 × 24 h as "40 days"; what is no whole number of days as hours, minutes and seconds.
pub(super) fn age_in_words(ms: u64) -> String {
    let days = ms / Day::MILLIS;
    if ms.is_multiple_of(Day::MILLIS) {
        return format!("{days} {}", if days == 1 { "day" } else { "days" });
    }
    humantime::format_duration(std::time::Duration::from_millis(ms)).to_string()
}

//! `lanner retry`: what failed in a run, done again in this process; and how each organization of a run ended.

use chat::ledger::{Counts, RunOrganization, State};
use chat::{OrganizationId, RunId};
use clap::Args;
use jobs::Ports;
use jobs::limits::{Until, wait_until_finished};
use jobs::operate::retry::{Account, Selection, Survey, account, resend, survey, wait_until_terminal};
use jobs::operate::runs::find;
use serde_json::{Value, json};

use super::rerun::not_blank;
use super::run::with_workers;
use super::{Action, App};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, JsonList, brief, facts, or_dash, say, table, thousands};
use crate::progress::Progress;
use crate::wiring;

/// Organizations that are shown.
pub(super) const SHOWN: usize = 10;
/// Characters of an error in a table.
const ERROR: usize = 80;

/// Do again what failed in a run
///
/// Begins failed and parked organizations anew, works on them in this process and says how each of them ended. After a crash the
/// rest is taken up by `lanner run --run R`. Organizations that have a newer limit since are left out.
#[derive(Args, Debug)]
pub(crate) struct RetryArgs {
    /// The run, or latest, or previous
    #[arg(long, value_name = "RUN")]
    run: RunId,
    /// What failed or is parked
    #[arg(long, required = true)]
    failed: bool,
    /// Only this class of failure; can be given several times
    #[arg(long, value_name = "CLASS")]
    error_class: Vec<String>,
    /// Also organizations that have a newer limit since
    #[arg(long)]
    all: bool,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", required_unless_present = "dry_run", value_parser = not_blank)]
    reason: Option<String>,
    /// Show what would be done again, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Only send them: workers elsewhere do the work
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn run(app: &App, args: &RetryArgs) -> Outcome {
    let access = if args.dry_run { wiring::Access::Read } else { wiring::Access::Write };
    let opened = wiring::open(&app.settings, access, "retry").await?;
    let ports = &opened.ports;
    let run = &find(&*ports.ledger, &args.run).await?.run.id;
    let selection = Selection {
        run: Some(run.clone()),
        organizations: Vec::new(),
        error_classes: args.error_class.clone(),
        with_newer: args.all,
    };
    let found = survey(ports, &selection, SHOWN).await?;
    let Some(reason) = args.reason.as_ref().filter(|_| !args.dry_run) else {
        show_survey(app, &found, None, "dry run: nothing was changed")?;
        return Ok(exit::DONE);
    };
    if found.items.count == 0 {
        show_survey(app, &found, Some(0), "nothing to do again")?;
        return Ok(exit::DONE);
    }
    let target = format!("{} organizations of run {}", found.items.count, run);
    let action = Action { name: "retry", target, reason: reason.clone() };
    action.record(&*ports.ledger, "started").await?;
    let sent = if args.no_wait {
        send(app, ports, &selection, found.items.count).await
    } else {
        let work = work(app, ports, run, &selection, found.items.count);
        with_workers(app, ports, work).await.map(|(sent, _)| sent)
    };
    let outcome = match &sent {
        Ok(sent) => format!("{} sent", sent.len()),
        Err(failure) => format!("failed: {:#}", failure.error),
    };
    action.record(&*ports.ledger, outcome).await?;
    let sent = sent?;
    if !args.no_wait {
        return give_account(app, ports, run, &sent).await;
    }
    let words = "sent: workers that run take them";
    show_survey(app, &found, Some(sent.len() as u64), words)?;
    Ok(exit::DONE)
}

/// Begins the selection anew and sends it; answers whom, ascending: 8 bytes for each, at most one for each of the run.
async fn send(app: &App, ports: &Ports, selection: &Selection, expected: u64) -> Result<Vec<OrganizationId>, Failure> {
    let mut bar = Progress::new("organizations sent", app.json);
    let mut sent: Vec<OrganizationId> = Vec::new();
    let sending = resend(ports, selection, |_, ids| {
        sent.extend_from_slice(ids);
        bar.at(sent.len() as u64, expected);
    });
    let words = "`lanner run --run R` takes up what was begun anew, the same retry the rest";
    app.unless_stopped(sending, words).await??;
    bar.finish();
    Ok(sent)
}

async fn work(
    app: &App,
    ports: &Ports,
    run: &RunId,
    selection: &Selection,
    expected: u64,
) -> Result<Vec<OrganizationId>, Failure> {
    let sent = send(app, ports, selection, expected).await?;
    let mut bar = Progress::new("organizations", app.json);
    // The run as a whole is watched for what a queue has lost, and sent again; these organizations decide when it is over.
    let watching = wait_until_finished(ports, run, Until::Settled, &app.stop, |progress| {
        let open = progress.counts.expected() - progress.counts.settled();
        bar.at(expected.saturating_sub(open), expected);
    });
    tokio::select! {
        watched = watching => watched.map(|_| ())?,
        waited = wait_until_terminal(ports, run, &sent, &app.stop) => waited?,
    }
    bar.finish();
    Ok(sent)
}

/// Says how each of `ids` (ascending) ended in the run, all of them with `--json`. 0 when all ended well, 3 when some did not, 75
/// when it was interrupted.
pub(super) async fn give_account(app: &App, ports: &Ports, run: &RunId, ids: &[OrganizationId]) -> Outcome {
    let mut list = app.json.then(|| JsonList::begin(&json!({"run": run}), "organizations")).transpose()?;
    let mut failed = None;
    let found = account(ports, run, ids, SHOWN, |row| {
        if let Some(Err(error)) = list.as_mut().map(|list| list.item(row)) {
            failed.get_or_insert(error);
        }
    })
    .await?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    match list {
        Some(list) => list.end(&json!({"states": found.counts}))?,
        None => print_account(run, &found),
    }
    let open = found.counts.expected() - found.counts.settled();
    Ok(match (open, found.counts.failures()) {
        (0, 0) => exit::DONE,
        (0, _) => exit::PARTIAL,
        _ if app.stop.is_cancelled() => exit::TEMPORARY,
        _ => exit::PARTIAL,
    })
}

fn print_account(run: &RunId, found: &Account) {
    say!("{}", facts(&[("run", run.to_string()), ("organizations", states_in_words(&found.counts))]));
    if found.bad.count > 0 {
        let columns = [Column::Number("organization"), Column::Text("outcome"), Column::Text("cause")];
        let rows = found
            .bad
            .first
            .iter()
            .map(|row| vec![row.organization.to_string(), outcome_word(row.state).to_owned(), cause_of(row)]);
        say!("\n{}", table(&columns, rows));
    }
    if found.good.count > 0 {
        let columns = [
            Column::Number("organization"),
            Column::Text("outcome"),
            Column::Number("visible"),
            Column::Number("boundary before"),
            Column::Number("after"),
        ];
        say!("\n{}", table(&columns, found.good.first.iter().map(good_cells)));
    }
    let shown = (found.bad.first.len() + found.good.first.len()) as u64;
    if found.counts.expected() > shown {
        say!("... and {} more (--json prints all)", thousands(found.counts.expected() - shown));
    }
    if found.counts.failures() > 0 {
        say!("\nlanner explain --run {run} says what to do");
    }
}

fn good_cells(row: &RunOrganization) -> Vec<String> {
    let (mut visible, mut before, mut after) = ("-".to_owned(), "-".to_owned(), "-".to_owned());
    if row.state == State::Done {
        visible = thousands(u64::from(row.visible_messages));
        before = or_dash(row.previous_first_visible_message_id);
        after = or_dash(row.first_visible_message_id);
    }
    vec![row.organization.to_string(), row.state.to_string(), visible, before, after]
}

/// A state as the end of a retry.
const fn outcome_word(state: State) -> &'static str {
    match state {
        State::Failed => "failed again",
        State::Parked => "parked again",
        _ => state.as_str(),
    }
}

fn cause_of(row: &RunOrganization) -> String {
    let class = row.error_class.as_deref().unwrap_or_default();
    brief(&format!("{class}: {}", row.error.as_deref().unwrap_or_default()), ERROR)
}

/// "12 done, 1 parked"
fn states_in_words(counts: &Counts) -> String {
    let of = |state: &State| format!("{} {state}", thousands(counts.of(*state)));
    let states: Vec<String> = State::ALL.iter().filter(|state| counts.of(**state) > 0).map(of).collect();
    if states.is_empty() { "none".to_owned() } else { states.join(", ") }
}

/// What a selection holds, for programs; `sent` is none with a dry run.
pub(super) fn survey_json(found: &Survey, sent: Option<u64>, words: &str) -> Value {
    let classes = found.by_class.iter().map(
        |((run, state, class), organizations)| json!({"run": run, "state": state, "error_class": class, "organizations": organizations}),
    );
    let first = found.items.first.iter().map(|(run, row)| json!({"run": run, "organization": row}));
    json!({
        "organizations": found.items.count,
        "left_out_newer": found.newer,
        "by_class": classes.collect::<Vec<_>>(),
        "first": first.collect::<Vec<_>>(),
        "dry_run": sent.is_none(),
        "sent": sent,
        "outcome": words,
    })
}

/// Shows what a selection holds: how many by run and class, the first ones, and how many were left out.
pub(super) fn show_survey(app: &App, found: &Survey, sent: Option<u64>, words: &str) -> Result<(), Failure> {
    if app.json {
        output::json(&survey_json(found, sent, words))?;
        return Ok(());
    }
    if !found.by_class.is_empty() {
        let columns =
            [Column::Name("run"), Column::Name("state"), Column::Text("class"), Column::Number("organizations")];
        let rows = found.by_class.iter().map(|((run, state, class), organizations)| {
            vec![run.to_string(), state.to_string(), class.clone(), thousands(*organizations)]
        });
        say!("{}", table(&columns, rows));
        let columns = [
            Column::Number("organization"),
            Column::Name("run"),
            Column::Number("attempts"),
            Column::Text("last error"),
        ];
        let rows = found.items.first.iter().map(|(run, row)| {
            vec![row.organization.to_string(), run.to_string(), row.attempts.to_string(), cause_of(row)]
        });
        say!("\n{}", table(&columns, rows));
        let more = found.items.count - found.items.first.len() as u64;
        if more > 0 {
            say!("... and {} more", thousands(more));
        }
        say!("");
    }
    if found.newer > 0 {
        say!("left out, because they have a newer limit since: {} (--all takes them)", thousands(found.newer));
    }
    say!("{} organizations; {words}", thousands(found.items.count));
    Ok(())
}

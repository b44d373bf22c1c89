//! `lanner dead-letters`: what is parked, has failed or cannot be read; and doing it again.

use chat::ledger::UnreadableMessage;
use chat::{OrganizationId, RunId, Timestamp};
use clap::{Args, Subcommand};
use jobs::Ports;
use jobs::operate::dead_letters::{self, Desk, Letter, Question, expires_at};
use jobs::operate::retry::{Selection, resend, survey};
use jobs::operate::runs::find;
use serde_json::{Value, json};

use super::rerun::not_blank;
use super::retry::{show_survey, survey_json};
use super::{Action, App};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, brief, facts, or_dash, say, table, thousands};
use crate::progress::Progress;
use crate::wiring;

/// Characters of an error in a table.
const ERROR: usize = 80;
/// Characters of an unreadable message that are shown.
const BODY: usize = 2_000;

/// What is parked, has failed or cannot be read; and doing it again
#[derive(Subcommand, Debug)]
pub(crate) enum DeadLettersCommand {
    /// List parked and failed organizations and unreadable queue messages, a summary by class first
    List(ListArgs),
    /// Show one of them with its whole cause
    Show(ShowArgs),
    /// Begin parked and failed organizations anew and send them to the workers
    ///
    /// The ledger is first: an organization is pending there before its message is sent. After a crash in between, `lanner run
    /// --run R` or a worker with a waiting run sends the rest. Organizations that have a newer limit since are left out.
    Redrive(RedriveArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Only of this run
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Only of this class; `unreadable` for messages that nobody can read
    #[arg(long, value_name = "CLASS")]
    error_class: Option<String>,
    /// At most so many organizations and so many messages; the summary counts all
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The run in which it failed
    #[arg(long, value_name = "RUN", requires = "organization", required_unless_present = "message")]
    run: Option<RunId>,
    /// The organization
    #[arg(long, value_name = "ID", requires = "run")]
    organization: Option<OrganizationId>,
    /// An unreadable message, by its number in the list
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["run", "organization"])]
    message: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct RedriveArgs {
    /// Only of this run [default: all runs that are kept]
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Only this organization; can be given several times
    #[arg(long, value_name = "ID")]
    organization: Vec<OrganizationId>,
    /// Only this class of failure
    #[arg(long, value_name = "CLASS")]
    error_class: Option<String>,
    /// Also organizations that have a newer limit since
    #[arg(long)]
    all: bool,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", required_unless_present = "dry_run", value_parser = not_blank)]
    reason: Option<String>,
    /// Show what would be sent, change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(app: &App, command: &DeadLettersCommand) -> Outcome {
    let access = match command {
        DeadLettersCommand::Redrive(args) if !args.dry_run => wiring::Access::Write,
        _ => wiring::Access::Read,
    };
    let opened = wiring::open(&app.settings, access, "dead-letters").await?;
    match command {
        DeadLettersCommand::List(args) => list(app, &opened.ports, args).await,
        DeadLettersCommand::Show(args) => show(app, &opened.ports, args).await,
        DeadLettersCommand::Redrive(args) => redrive(app, &opened.ports, args).await,
    }
}

/// The name of the run that was given, which may be latest or previous.
async fn named(ports: &Ports, run: Option<&RunId>) -> Result<Option<RunId>, Failure> {
    let Some(run) = run else { return Ok(None) };
    Ok(Some(find(&*ports.ledger, run).await?.run.id))
}

async fn list(app: &App, ports: &Ports, args: &ListArgs) -> Outcome {
    let retention_ms = app.settings.retention_ms()?;
    let (run, error_class) = (named(ports, args.run.as_ref()).await?, args.error_class.clone());
    let question = Question { run, error_class, limit: args.limit, retention_ms };
    let desk = dead_letters::list(ports, &question).await?;
    if app.json {
        output::json(&json!({
            "summary": desk.summary,
            "organizations": desk.letters.iter().map(letter_json).collect::<Vec<_>>(),
            "unreadable": desk.unreadable.iter().map(|message| message_json(message, retention_ms)).collect::<Vec<_>>(),
        }))?;
        return Ok(exit::DONE);
    }
    if desk.summary.is_empty() && desk.unreadable.is_empty() {
        say!("nothing is parked, failed or unreadable");
        return Ok(exit::DONE);
    }
    print(&desk, retention_ms);
    Ok(exit::DONE)
}

fn print(desk: &Desk, retention_ms: Option<u64>) {
    let now = Timestamp::now();
    let all: u64 = desk.summary.iter().map(|class| class.organizations).sum();
    if !desk.summary.is_empty() {
        let columns = [
            Column::Name("state"),
            Column::Text("class"),
            Column::Number("organizations"),
            Column::Number("runs"),
            Column::Text("error, for example"),
        ];
        let rows = desk.summary.iter().map(|class| {
            let (state, runs) = (class.state.to_string(), thousands(class.runs));
            vec![state, class.class.clone(), thousands(class.organizations), runs, brief(&class.error, ERROR)]
        });
        say!("{}", table(&columns, rows));
    }
    if !desk.letters.is_empty() {
        let columns = [
            Column::Number("organization"),
            Column::Name("run"),
            Column::Text("class"),
            Column::Number("attempts"),
            Column::Name("age"),
            Column::Name("kept for"),
        ];
        let rows = desk.letters.iter().map(|letter| {
            let row = &letter.row;
            vec![
                row.organization.to_string(),
                letter.run.to_string(),
                row.error_class.clone().unwrap_or_default(),
                row.attempts.to_string(),
                age(row.finished_at.unwrap_or(row.queued_at), now),
                left(letter.expires_at, now),
            ]
        });
        say!("\n{}", table(&columns, rows));
        if all > desk.letters.len() as u64 {
            say!("... and {} more (--limit N)", thousands(all - desk.letters.len() as u64));
        }
    }
    if !desk.unreadable.is_empty() {
        let columns = [
            Column::Number("message"),
            Column::Name("queue"),
            Column::Name("age"),
            Column::Name("kept for"),
            Column::Text("cause"),
        ];
        let rows = desk.unreadable.iter().map(|message| {
            let cause = brief(&message.cause, ERROR);
            let kept_for = left(expires_at(message.at, retention_ms), now);
            vec![or_dash(message.id), message.queue.clone(), age(message.at, now), kept_for, cause]
        });
        say!("\nunreadable, newest first\n{}", table(&columns, rows));
    }
    say!("\nlanner dead-letters show tells the whole cause, redrive does organizations again");
}

async fn show(app: &App, ports: &Ports, args: &ShowArgs) -> Outcome {
    if let Some(id) = args.message {
        let found = ports.ledger.unreadable_message(id).await?;
        let message = found.ok_or_else(|| Failure::usage(format!("there is no unreadable message {id}")))?;
        return show_message(app, &message);
    }
    let (Some(run), Some(id)) = (&named(ports, args.run.as_ref()).await?, args.organization) else {
        return Err(Failure::usage("name a run and an organization, or a message"));
    };
    let found = dead_letters::letter(ports, run, id, app.settings.retention_ms()?).await?;
    let letter = found.ok_or_else(|| Failure::usage(format!("run {run} has no organization {id}")))?;
    if app.json {
        output::json(&letter_json(&letter))?;
        return Ok(exit::DONE);
    }
    let row = &letter.row;
    say!(
        "{}",
        facts(&[
            ("organization", row.organization.to_string()),
            ("run", letter.run.to_string()),
            ("state", row.state.to_string()),
            ("stage", row.stage.map_or("-", chat::ledger::Stage::as_str).to_owned()),
            ("attempts", row.attempts.to_string()),
            ("queued at", row.queued_at.to_string()),
            ("started at", or_dash(row.started_at)),
            ("finished at", or_dash(row.finished_at)),
            ("kept until", kept_until(letter.expires_at)),
            ("class", row.error_class.clone().unwrap_or_else(|| "-".to_owned())),
        ])
    );
    if let Some(error) = &row.error {
        say!("\n{}", output::wrapped(error, 0));
    }
    if row.state.is_failure() {
        say!("\nlanner dead-letters redrive --run {run} \\\n  --organization {id} --reason WORDS");
    }
    Ok(exit::DONE)
}

fn show_message(app: &App, message: &UnreadableMessage) -> Outcome {
    let retention_ms = app.settings.retention_ms()?;
    if app.json {
        let mut value = message_json(message, retention_ms);
        value["body"] = json!(String::from_utf8_lossy(&message.body));
        output::json(&value)?;
        return Ok(exit::DONE);
    }
    say!(
        "{}",
        facts(&[
            ("message", or_dash(message.id)),
            ("queue", message.queue.clone()),
            ("put aside at", message.at.to_string()),
            ("kept until", kept_until(expires_at(message.at, retention_ms))),
            ("bytes", thousands(message.body.len() as u64)),
        ])
    );
    say!("\n{}", output::wrapped(&message.cause, 0));
    say!("\n{}", output::wrapped(&brief(&String::from_utf8_lossy(&message.body), BODY), 0));
    say!("\nIt cannot be sent again. What it was about is in the ledger: a run that is not");
    say!("finished sends it anew (lanner run --run R), a finished one has done it.");
    Ok(exit::DONE)
}

async fn redrive(app: &App, ports: &Ports, args: &RedriveArgs) -> Outcome {
    let mut organizations = args.organization.clone();
    organizations.sort_unstable();
    organizations.dedup();
    let selection = Selection {
        run: named(ports, args.run.as_ref()).await?,
        organizations,
        error_classes: args.error_class.iter().cloned().collect(),
        with_newer: args.all,
    };
    let found = survey(ports, &selection, super::retry::SHOWN).await?;
    let Some(reason) = args.reason.as_ref().filter(|_| !args.dry_run) else {
        show_survey(app, &found, None, "dry run: nothing was changed")?;
        return Ok(exit::DONE);
    };
    if found.items.count == 0 {
        show_survey(app, &found, Some(0), "nothing to send")?;
        return Ok(exit::DONE);
    }
    if !app.json {
        show_survey(app, &found, Some(0), "sending")?;
    }
    let target = format!("{} organizations of {}", found.items.count, of_words(&selection, args));
    let action = Action { name: "dead-letters redrive", target, reason: reason.clone() };
    action.record(&*ports.ledger, "started").await?;
    let mut bar = Progress::new("organizations sent", app.json);
    let mut done = 0;
    let sending = resend(ports, &selection, |_, ids| {
        done += ids.len() as u64;
        bar.at(done, found.items.count);
    });
    let words = "what was begun anew is sent by `lanner run --run R`; the same redrive goes on with the rest";
    let sent = app.unless_stopped(sending, words).await.and_then(|sent| sent.map_err(Failure::from));
    bar.finish();
    let outcome = match &sent {
        Ok(sent) => format!("{sent} sent"),
        Err(failure) => format!("failed: {:#}", failure.error),
    };
    action.record(&*ports.ledger, outcome).await?;
    let sent = sent?;
    let words = "sent: workers that run take them, or lanner run --run R";
    if app.json {
        output::json(&survey_json(&found, Some(sent), words))?;
    } else {
        say!("\n{} {words}", thousands(sent));
    }
    Ok(exit::DONE)
}

fn of_words(selection: &Selection, args: &RedriveArgs) -> String {
    let run = selection.run.as_ref().map_or_else(|| "all runs".to_owned(), |run| format!("run {run}"));
    args.error_class.as_ref().map_or(run.clone(), |class| format!("{run}, class {class}"))
}

fn letter_json(letter: &Letter) -> Value {
    json!({"run": letter.run, "organization": letter.row, "expires_at": letter.expires_at})
}

fn message_json(message: &UnreadableMessage, retention_ms: Option<u64>) -> Value {
    json!({
        "id": message.id.map(|id| id.to_string()),
        "queue": message.queue,
        "cause": message.cause,
        "at": message.at,
        "expires_at": expires_at(message.at, retention_ms),
        "bytes": message.body.len(),
    })
}

/// How long something is still kept.
fn left(expires_at: Option<Timestamp>, now: Timestamp) -> String {
    match expires_at {
        None => "ever".to_owned(),
        Some(at) if at <= now => "next run".to_owned(),
        Some(at) => age(now, at),
    }
}

fn kept_until(expires_at: Option<Timestamp>) -> String {
    expires_at.map_or_else(|| "runs are kept for ever".to_owned(), |at| at.to_string())
}

/// From one instant to the other, in its largest unit.
fn age(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.as_millis().saturating_sub(from.as_millis()) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

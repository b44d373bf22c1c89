//! `lanner explain --run R`: what is late, absent or failed, and what to do about it.

use chat::ledger::{ErrorClass, Phase, RunOrganization, State};
use chat::{OrganizationId, RunId, Timestamp};
use jobs::Ports;
use jobs::operate::Group;
use jobs::operate::explain::run::{Gone, Look, Missing, RunExplanation, explain_run};
use jobs::operate::runs::find;
use serde_json::json;

use crate::commands::App;
use crate::exit::{self, Outcome};
use crate::output::{self, Column, brief, facts, minute, say, table, thousands};
use crate::progress::Progress;

/// Organizations that are shown of each group.
const SHOWN: usize = 5;
/// Characters of an error in a table.
const ERROR: usize = 100;

pub(super) async fn explain(app: &App, ports: &Ports, run: &RunId, at: Timestamp) -> Outcome {
    let run = &find(&*ports.ledger, run).await?.run.id;
    let workers = &app.settings.workers;
    let look = Look { at, quiet_ms: workers.visible_for_ms.saturating_add(workers.backoff_max_ms), shown: SHOWN };
    let mut bar = Progress::new("organizations", app.json);
    let found = explain_run(ports, run, look, |seen| bar.at(seen, 0)).await?;
    bar.finish();
    if app.json {
        output::json(&as_json(&found))?;
    } else {
        print(&found);
    }
    Ok(exit::DONE)
}

fn as_json(found: &RunExplanation) -> serde_json::Value {
    let counts = &found.progress.counts;
    json!({
        "run": found.progress.run,
        "phase": found.progress.phase(),
        "at": found.at,
        "states": counts,
        "extraction_stopped": found.extraction_stopped,
        "in_time": found.in_time,
        "late": found.late,
        "look_again_at": found.look_again_at,
        "missing": found.missing,
        "gone": found.gone,
        "error_classes": found.failures,
    })
}

fn print(found: &RunExplanation) {
    let counts = &found.progress.counts;
    let phase = found.progress.phase();
    say!(
        "{}",
        facts(&[
            ("run", found.progress.run.id.to_string()),
            ("as of", found.progress.run.as_of.to_string()),
            ("state", phase.to_string()),
            ("settled", format!("{} of {}", thousands(counts.settled()), thousands(counts.expected()))),
            ("in time", thousands(found.in_time)),
            ("late", thousands(found.late.count)),
            ("absent", thousands(found.missing.values().map(|group| group.count).sum())),
            ("no longer free", thousands(found.gone.values().map(|group| group.count).sum())),
            ("failed or parked", thousands(counts.failures())),
        ])
    );
    print_late(found);
    print_absent(found);
    print_failures(found);
    let nothing =
        found.late.count == 0 && found.missing.is_empty() && found.gone.is_empty() && found.failures.is_empty();
    if nothing && phase == Phase::Finished {
        say!("\nEvery organization of the run has ended well, and none is missing.");
    }
}

fn print_late(found: &RunExplanation) {
    let run = &found.progress.run.id;
    if found.progress.phase() == Phase::Cancelled {
        say!("\nThe run is cancelled: what had not ended stays as it is. lanner run starts another.");
        return;
    }
    if found.extraction_stopped {
        say!("\nExtraction has stopped before its end. It goes on with:\n  lanner run --run {run}");
    }
    if found.late.count > 0 {
        say!("\nLate: in work or waiting for longer than a visibility timeout and a backoff");
        let columns = [
            Column::Number("organization"),
            Column::Name("state"),
            Column::Number("attempts"),
            Column::Name("since"),
            Column::Text("last error"),
        ];
        let rows = found.late.first.iter().map(|row| {
            let since = row.started_at.unwrap_or(row.queued_at);
            let (state, attempts) = (row.state.to_string(), row.attempts.to_string());
            vec![row.organization.to_string(), state, attempts, minute(since), last_error(row)]
        });
        say!("{}", table(&columns, rows));
        print_more(&found.late);
        say!("Is a worker running? One that runs, or this, takes them up, and sends again");
        say!("what a queue has lost:\n  lanner run --run {run} --wait");
    }
    if let Some(at) = found.look_again_at {
        say!("\n{} are in work or waiting in time: look again at {at}.", thousands(found.in_time));
    }
}

fn print_absent(found: &RunExplanation) {
    let run = &found.progress.run.id;
    for (why, group) in &found.missing {
        match why {
            Missing::NotExtractedYet => say!("\nFree, and not in the run yet: extraction has not come to them"),
            Missing::New => say!("\nFree, and not in the run: new since its extraction; the next run has them"),
            Missing::Lost => say!("\nFree, and not in the run although they had a limit before it: lost"),
        }
        print_ids(group);
        match why {
            Missing::NotExtractedYet => say!("  lanner run --run {run}"),
            Missing::New | Missing::Lost => say!("  lanner rerun --organization ID --reason WORDS"),
        }
    }
    for (why, group) in &found.gone {
        match why {
            Gone::Paid => say!("\nIn the run, and no longer free: the next run releases their limits"),
            Gone::Unknown => say!("\nIn the run, and unknown to the directory: they keep their limits"),
        }
        print_ids(group);
    }
}

fn print_ids(group: &Group<OrganizationId>) {
    let ids: Vec<String> = group.first.iter().map(ToString::to_string).collect();
    let more = if group.count > ids.len() as u64 { ", ..." } else { "" };
    say!("  {}: {}{more}", thousands(group.count), ids.join(", "));
}

fn print_failures(found: &RunExplanation) {
    if found.failures.is_empty() {
        return;
    }
    say!("\nFailed, parked or waiting for another attempt, by class");
    let columns = [
        Column::Name("state"),
        Column::Text("class"),
        Column::Number("organizations"),
        Column::Number("example"),
        Column::Text("error"),
    ];
    let rows = found.failures.iter().map(|class| {
        let (state, error) = (class.state.to_string(), brief(&class.error, ERROR));
        vec![state, class.class.clone(), thousands(class.organizations), class.example.to_string(), error]
    });
    say!("{}", table(&columns, rows));
    for class in &found.failures {
        let words = what_to_do(class);
        if !words.is_empty() {
            say!("\n{} {}: {words}", class.state, class.class);
        }
    }
    if found.failures.iter().any(|class| class.state.is_failure()) {
        let run = &found.progress.run.id;
        say!("\n  lanner retry --run {run} \\\n    --failed --error-class CLASS --reason WORDS");
    }
}

/// What an operator does about failures of a class.
fn what_to_do(class: &ErrorClass) -> &'static str {
    if class.state == State::Retrying {
        return "another attempt follows by itself, while a worker runs";
    }
    match class.class.as_str() {
        "unavailable" => "a system was away for longer than all attempts;\nretry when it is back",
        "throttled" => "a system refused the pace; retry later, perhaps with fewer\nworkers.in_flight",
        "conflict" => "others wrote the same for longer than all attempts; retry",
        "corrupt" => "stored data does not read back; import the data anew, then retry",
        "refused" => "a system refuses the request as it is; the error says why",
        "panic" => "a defect of the program, which the error describes; retry after an\nupgrade",
        "no answer" => {
            "attempts began and never ended: the process died in them, or was\nkilled for its memory; retry alone and watch it"
        }
        "unknown organization" => "the directory does not know it any more; retry only when it\nis there again",
        _ => "the error says what to look at; then retry",
    }
}

fn last_error(row: &RunOrganization) -> String {
    match (&row.error_class, &row.error) {
        (Some(class), Some(error)) => brief(&format!("{class}: {error}"), ERROR),
        _ => "-".to_owned(),
    }
}

fn print_more<T>(group: &Group<T>) {
    let more = group.count - group.first.len() as u64;
    if more > 0 {
        say!("... and {} more", thousands(more));
    }
}

//! `lanner compare`: what another run made of the same organizations.

use chat::RunId;
use chat::ledger::{Change, Compared, Comparison, Outcome as Found, Progress};
use clap::Args;
use jobs::operate::runs::{find, is_in_work};
use serde_json::json;

use super::App;
use super::run::policy_in_words;
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, BRIEF, Column, brief, facts, or_dash, say, table, thousands};
use crate::wiring;

/// Compare two runs: which boundaries moved, what failed newly
///
/// A run is given by its name, or as latest or previous: the newest runs of all free organizations. The exit code is 0 when they are
/// the same and 4 when they differ.
#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// The run before
    #[arg(value_name = "BEFORE")]
    before: RunId,
    /// The run after
    #[arg(value_name = "AFTER")]
    after: RunId,
    /// Show the first so many organizations of each difference
    #[arg(long, value_name = "N", default_value_t = 3)]
    examples: usize,
}

pub(crate) async fn run(app: &App, args: &CompareArgs) -> Outcome {
    let opened = wiring::open(&app.settings, wiring::Access::Read, "compare").await?;
    let ledger = &*opened.ports.ledger;
    let (before, after) = tokio::try_join!(find(ledger, &args.before), find(ledger, &args.after))?;
    let compared = ledger.compare(&before.run.id, &after.run.id, args.examples).await?;
    if app.json {
        output::json(&json!({
            "before": before.run,
            "after": after.run,
            "same": compared.is_same(),
            "organizations": {"before": compared.before, "after": compared.after, "same": compared.same},
            "differences": compared.differences,
            "new_error_classes": compared.new_error_classes,
        }))?;
    } else {
        show(&before, &after, &compared)?;
    }
    Ok(if compared.is_same() { exit::DONE } else { exit::DIFFERENT })
}

fn show(before: &Progress, after: &Progress, compared: &Comparison) -> Result<(), Failure> {
    let sides = [("before", before, compared.before), ("after", after, compared.after)];
    let lines: Vec<(&str, String)> = sides
        .iter()
        .flat_map(|(side, progress, organizations)| {
            let words = format!("{} organizations, {}", thousands(*organizations), progress.phase());
            let run = &progress.run;
            let (as_of, policy) = (format!("as of {}", run.as_of), policy_in_words(&run.policy));
            [(*side, run.id.to_string()), ("", as_of), ("", policy), ("", words)]
        })
        .collect();
    say!("{}", facts(&lines));
    if is_in_work(before) || is_in_work(after) {
        say!("a run that is not finished changes while it is compared");
    }
    let mut rows = vec![vec!["the same".to_owned(), thousands(compared.same)]];
    rows.extend(
        compared
            .differences
            .iter()
            .map(|difference| vec![difference.change.as_str().to_owned(), thousands(difference.organizations)]),
    );
    say!("\n{}", table(&[Column::Text(""), Column::Number("organizations")], rows));
    let examples = compared.differences.iter().flat_map(|difference| {
        difference.examples.iter().enumerate().map(|(place, example)| {
            let change = difference.change;
            let words = if place == 0 { change.as_str() } else { "" };
            example_row(change, words, example)
        })
    });
    let examples: Vec<Vec<String>> = examples.collect();
    if !examples.is_empty() {
        let columns =
            [Column::Text("first of"), Column::Number("organization"), Column::Text("before"), Column::Text("after")];
        say!("\n{}", table(&columns, examples));
    }
    if !compared.new_error_classes.is_empty() {
        let columns = [
            Column::Text("new failures"),
            Column::Name("state"),
            Column::Number("organizations"),
            Column::Number("for example"),
            Column::Text("error"),
        ];
        let rows = compared.new_error_classes.iter().map(|class| {
            vec![
                class.class.clone(),
                class.state.to_string(),
                thousands(class.organizations),
                class.example.to_string(),
                brief(&class.error, BRIEF),
            ]
        });
        say!("\n{}", table(&columns, rows));
    }
    Ok(())
}

/// What the change is about: the boundary, the number of visible messages, or the state.
fn example_row(change: Change, words: &str, example: &Compared) -> Vec<String> {
    let cell = |found: &Option<Found>| match (found, change) {
        (None, _) => "-".to_owned(),
        (Some(found), Change::VisibleMessages) => thousands(u64::from(found.visible_messages)),
        (Some(found), Change::OnlyBefore | Change::OnlyAfter | Change::StateWorse | Change::StateBetter) => {
            found.state.to_string()
        }
        (Some(found), _) => or_dash(found.first_visible_message_id),
    };
    vec![words.to_owned(), example.organization.to_string(), cell(&example.before), cell(&example.after)]
}

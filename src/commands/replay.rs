//! `lanner replay`: what is kept beside the log of what is readable, made of it anew.

use std::time::Duration;

use chat::OrganizationId;
use clap::Args;
use jobs::limits::follow_limits::replay::{Difference, Replay, ReplayError, Replayed, StartAt, Visible, replay};

use super::App;
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, bytes_in_words, facts, or_dash, say, short, table, thousands};
use crate::progress::Progress;
use crate::wiring::MessagePath;

/// Build what follow-limits keeps by replaying the readable log
///
/// Instead of reading the store of messages. All shards of follow-limits are stopped meanwhile; started again, they go on from what was
/// saved. Before anything is saved some organizations are compared with the store: ends with 4 when one differs.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// Build the sets of follow-limits
    #[arg(long, required = true)]
    limits: bool,
    /// From where on: beginning, offset=PARTITION:OFFSET[,...] of every partition, or time=2026-11-01T00:00:00Z
    #[arg(long, value_name = "PLACE", default_value = "beginning")]
    from: StartAt,
    /// Compare so many organizations with the store before anything is saved; 0: none
    #[arg(long, value_name = "N", default_value_t = 100)]
    check: usize,
    /// Do everything but save; follow-limits may run meanwhile
    #[arg(long)]
    dry_run: bool,
}

/// Differences that are shown.
const SHOWN: usize = 20;

pub(crate) async fn run(app: &App, args: &ReplayArgs) -> Outcome {
    debug_assert!(args.limits, "clap asks for it");
    let path = MessagePath::open(&app.settings, "replay", &MessagePath::FOLLOW).await?;
    let (ports, follow) = (path.follow().await?, app.settings.follow_limits()?);
    let asked = Replay {
        from: args.from.clone(),
        check: args.check,
        is_dry_run: args.dry_run,
        shards: follow.shards,
        lease_lives_for: follow.lease_lives_for,
    };
    let mut bar = Progress::new("records", app.json);
    let replayed = replay(&ports, &asked, &app.stop, |done, total| bar.at(done, total)).await;
    bar.finish();
    let replayed = replayed?;
    if app.json {
        output::json(&replayed)?;
    } else {
        print(&replayed);
    }
    Ok(if replayed.checked.differing.is_empty() { exit::DONE } else { exit::DIFFERENT })
}

fn print(replayed: &Replayed) {
    let checked = &replayed.checked;
    let rate = replayed.records as f64 / replayed.read_s.max(0.001);
    let from = replayed.complete_from.map_or_else(|| "the first one".to_owned(), |from| from.to_string());
    say!(
        "{}",
        facts(&[
            ("records replayed", thousands(replayed.records)),
            ("a second", thousands(rate as u64)),
            ("took", short(Duration::from_secs_f64(replayed.took_s))),
            ("messages known from", from),
            ("free organizations", thousands(replayed.organizations)),
            ("to be read from the store", thousands(replayed.to_read)),
            ("sets", bytes_in_words(replayed.bytes)),
            ("compared with the store", thousands(checked.compared)),
            ("of these differ", thousands(checked.differing.len() as u64)),
        ])
    );
    if !checked.differing.is_empty() {
        differing(&checked.differing);
    } else if replayed.saved {
        say!("\nstart follow-limits: it goes on from here");
    } else {
        say!("\nnothing was saved: run it without --dry-run");
    }
}

fn differing(found: &[Difference]) {
    let columns = [
        Column::Number("organization"),
        Column::Number("by the log"),
        Column::Number("oldest"),
        Column::Number("by the store"),
        Column::Number("oldest"),
    ];
    let row = |Difference { organization, log, store, .. }: &Difference| {
        let organization: &OrganizationId = organization;
        let messages = |visible: &Visible| thousands(u64::from(visible.messages));
        let oldest = |visible: &Visible| or_dash(visible.boundary.or(visible.oldest));
        vec![organization.to_string(), messages(log), oldest(log), messages(store), oldest(store)]
    };
    say!("\n{}", table(&columns, found.iter().take(SHOWN).map(row)));
    if found.len() > SHOWN {
        say!("and {} more: --json lists them", found.len() - SHOWN);
    }
    say!(
        "\nNothing was saved: the log does not tell what the store has. Where messages
were imported that no event ever told, leave the sets to follow-limits, which
reads the store, or begin after the import: --from time=INSTANT."
    );
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        let code = match &error {
            ReplayError::NotInLog(_) => exit::INPUT,
            ReplayError::Policy(_) => exit::CONFIGURATION,
            error if error.is_temporary() => exit::TEMPORARY,
            _ => exit::FAILED,
        };
        Self::new(code, error)
    }
}

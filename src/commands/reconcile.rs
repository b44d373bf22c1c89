//! `lanner reconcile`: whether readers see what they ought to see now.

use std::sync::Arc;
use std::time::Duration;

use chat::{Epoch, OrganizationId};
use clap::Args;
use jobs::operate::reconcile::{Drift, Reconciled, explain_drift, reconcile};

use super::App;
use crate::exit::{self, Outcome};
use crate::output::{self, Column, facts, minute, or_dash, say, table, thousands};
use crate::progress::Progress;
use crate::wiring;

/// Compare the limits that readers apply with what a computation finds now; write nothing
///
/// For limits that follow-limits keeps: there must be no difference. Where only the daily runs compute, differences show how much has
/// happened since. What differs is looked at again, three times, before it is told. Ends with 4 when something differs.
#[derive(Args, Debug)]
pub(crate) struct ReconcileArgs {
    /// Compare one organization
    #[arg(long, value_name = "ID")]
    organization: Option<OrganizationId>,
    /// How long to wait before what differs is looked at again
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    settle: Duration,
}

/// Differences that are explained, and shown in a table.
const EXPLAINED: usize = 20;

pub(crate) async fn run(app: &App, args: &ReconcileArgs) -> Outcome {
    let opened = wiring::open(&app.settings, wiring::Access::Read, "reconcile").await?;
    let work = async {
        let mut bar = Progress::new("organizations", app.json);
        let policies = app.settings.policies();
        let found = reconcile(&opened.ports, policies, args.organization, args.settle, |done| bar.at(done, 0)).await;
        bar.finish();
        let mut found = found?;
        if !found.drifted.is_empty() {
            // Where only ids are kept nobody knows the events.
            let kept = wiring::open_messages(&app.settings, "reconcile").await.ok();
            let messages = kept.as_ref().map(|kept| Arc::clone(&kept.messages));
            for drift in found.drifted.iter_mut().take(EXPLAINED) {
                explain_drift(&opened.ports, messages.as_deref(), drift).await?;
            }
        }
        Ok::<_, crate::exit::Failure>(found)
    };
    let found = app.unless_stopped(work, "nothing was written, run it again").await??;
    if app.json {
        output::json(&found)?;
    } else {
        print(&found, opened.ports.epoch);
    }
    Ok(if found.drifted.is_empty() { exit::DONE } else { exit::DIFFERENT })
}

fn print(found: &Reconciled, epoch: Epoch) {
    say!(
        "{}",
        facts(&[
            ("free organizations", thousands(found.organizations)),
            ("without a limit", thousands(found.not_computed)),
            ("differ", thousands(found.drifted.len() as u64)),
        ])
    );
    if found.drifted.is_empty() {
        return;
    }
    let columns = [
        Column::Number("organization"),
        Column::Text("readers"),
        Column::Number("newest of these"),
        Column::Number("room"),
        Column::Name("posted"),
        Column::Text("event"),
    ];
    let row = |drift: &Drift| {
        let newest = drift.newest.as_ref();
        let readers = match drift.shown_too_many {
            0 => "see the same".to_owned(),
            many if many > 0 => format!("see {many} too many"),
            many => format!("miss {}", many.unsigned_abs()),
        };
        vec![
            drift.organization.to_string(),
            readers,
            or_dash(newest.map(|newest| newest.message)),
            or_dash(newest.map(|newest| newest.room)),
            or_dash(newest.map(|newest| minute(epoch.time_of(newest.message)))),
            or_dash(newest.and_then(|newest| newest.event.as_ref())),
        ]
    };
    say!("\n{}", table(&columns, found.drifted.iter().take(EXPLAINED).map(row)));
    if found.drifted.len() > EXPLAINED {
        say!("and {} more: --json lists them", found.drifted.len() - EXPLAINED);
    }
    say!("\nlanner explain --organization ID --message ID says of a message why it is seen or not");
}

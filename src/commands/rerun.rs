//! `lanner rerun`: one organization, or those of a file, again by hand.

mod many;

use std::path::PathBuf;

use chat::ledger::{Progress, State};
use chat::{LimitRow, OrganizationId, Standing, Timestamp};
use clap::Args;
use jobs::limits::Until;
use jobs::operate::rerun::{Difference, difference, named};
use serde_json::json;

use super::run::{Start, drive, exit_code, outcome_of};
use super::{Action, App, Question, manual_run_id};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, or_dash, say, table};
use crate::wiring;

/// Compute the limit of one organization again, or of those in a file, and store it
///
/// Shows what changes. With --dry-run nothing is written.
#[derive(Args, Debug)]
pub(crate) struct RerunArgs {
    /// The organization
    #[arg(long, value_name = "ID", required_unless_present = "organizations_file")]
    organization: Option<OrganizationId>,
    /// The organizations of a file, one id a line, with # before comments; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "organization")]
    organizations_file: Option<PathBuf>,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", required_unless_present = "dry_run", value_parser = not_blank)]
    reason: Option<String>,
    /// Show what would change, write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    question: Question,
}

/// The reason of an action, which is not left out by blanks.
pub(crate) fn not_blank(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() { Err("say why, in a few words".to_owned()) } else { Ok(trimmed.to_owned()) }
}

pub(crate) async fn rerun(app: &App, args: &RerunArgs) -> Outcome {
    let (as_of, policy) = args.question.resolve(&app.settings, Timestamp::now())?;
    let access = if args.dry_run { wiring::Access::Read } else { wiring::Access::Write };
    let ids = args.organizations_file.as_deref().map(many::read).transpose()?;
    let opened = wiring::open(&app.settings, access, "rerun").await?;
    let ports = &opened.ports;
    let id = manual_run_id("rerun")?;
    let reason = args.reason.as_ref().filter(|_| !args.dry_run);
    if let Some(ids) = ids {
        return many::rerun(app, ports, &ids, &named(id, as_of, policy), reason).await;
    }
    let Some(organization) = args.organization else { return Err(Failure::usage("name an organization")) };
    let before = difference(ports, organization, as_of, policy, &id).await?;
    let Some(reason) = reason else {
        let words = match before.computed {
            Some(_) => "dry run: nothing was written",
            None => "dry run: nothing was written; the plan does not limit",
        };
        show(app, &before, before.computed.as_ref(), true, words)?;
        return Ok(exit::DONE);
    };
    let target = format!("organization {organization} in run {id}");
    let action = Action { name: "rerun", target, reason: reason.clone() };
    action.record(&*ports.ledger, "started").await?;
    let new = named(id.clone(), as_of, policy);
    let driven = drive(app, ports, Start::Named(&new, &[organization]), Until::Settled).await;
    action.record(&*ports.ledger, outcome_of(&driven)).await?;
    let (progress, _) = driven?;
    let stored = ports.limits.get(&[organization]).await?.into_iter().next().flatten();
    let words = what_came_of_it(&progress, stored.as_ref());
    show(app, &before, stored.as_ref(), false, &words)?;
    Ok(exit_code(app, &progress))
}

/// What the run of one organization has made of its limit, which is `stored` now.
fn what_came_of_it(progress: &Progress, stored: Option<&LimitRow>) -> String {
    let (id, counts) = (&progress.run.id, &progress.counts);
    let mine = stored.is_some_and(|row| row.run == *id);
    if counts.of(State::Released) > 0 {
        return match stored {
            Some(_) if mine => format!("the plan does not limit: run {id} released the limit"),
            Some(row) => format!("the plan does not limit: run {} had released the limit", row.run),
            None => "the plan does not limit, and no limit was stored".to_owned(),
        };
    }
    if counts.settled() < counts.expected() || counts.failures() > 0 {
        return format!("run {id} stored nothing: lanner status --run {id} says why");
    }
    if mine { format!("stored by run {id}") } else { format!("run {id} left the stored limit, which is newer") }
}

fn show(app: &App, before: &Difference, after: Option<&LimitRow>, dry_run: bool, words: &str) -> Result<(), Failure> {
    if app.json {
        output::json(&json!({
            "organization": before.organization.id,
            "before": before.stored,
            "after": after,
            "changes": before.changes(),
            "dry_run": dry_run,
            "outcome": words,
        }))?;
        return Ok(());
    }
    let columns = [Column::Text("organization"), Column::Text(""), Column::Text("before"), Column::Text("after")];
    let old = before.stored.as_ref();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut line = |name: &str, of: &dyn Fn(&LimitRow) -> String| {
        let [old, new] = [old, after].map(|row| row.map_or_else(|| "-".to_owned(), of));
        let mark = if old == new { "" } else { "*" };
        rows.push(vec![name.to_owned(), mark.to_owned(), old, new]);
    };
    line("limited by", &|row| limited_by(row).to_owned());
    line("first visible", &|row| or_dash(row.first_visible_message_id()));
    line("oldest visible", &|row| or_dash(row.oldest_visible_message_id));
    line("visible messages", &|row| output::thousands(u64::from(row.visible_messages)));
    line("rooms", &|row| output::thousands(u64::from(row.rooms)));
    line("as of", &|row| row.version.as_of.to_string());
    let head = before.organization.id.to_string();
    let text = table(&columns, rows);
    say!("{}", text.replacen("organization", &format!("{head:12}"), 1));
    say!("\n{}", output::wrapped(words, 0));
    Ok(())
}

/// Which rule the row stands for.
pub(crate) fn limited_by(row: &LimitRow) -> &'static str {
    match row.standing {
        Standing::Limited(_) => "count",
        Standing::NoCountLimit => "age",
        Standing::Released => "released",
    }
}

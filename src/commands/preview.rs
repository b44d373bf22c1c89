//! `lanner preview`: what another policy would change.

use chat::{OrganizationId, Policy, Timestamp};
use clap::{ArgGroup, Args};
use jobs::Ports;
use jobs::operate::preview::{Comparison, Preview, Question, preview, preview_one};
use serde_json::{Value, json};

use super::limits::csv_fields;
use super::rerun::limited_by;
use super::run::policy_in_words;
use super::{App, Question as Flags};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, facts, minute, or_dash, say, signed, table, thousands};
use crate::progress::Progress;
use crate::wiring;

/// Show what another policy would change; write nothing
///
/// Computes every free organization by the policy in force and by the other one, from the same data and for the same instant.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("policy").required(true).multiple(true).args(["max_messages", "max_age"]))]
pub(crate) struct PreviewArgs {
    #[command(flatten)]
    other: Flags,
    /// Show one organization in detail
    #[arg(long, value_name = "ID")]
    organization: Option<OrganizationId>,
    /// Show so many organizations, those that change most
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with_all = ["organization", "each"])]
    top: usize,
    /// Print a line for each organization instead of the sums: CSV, or with --json one object a line
    #[arg(long, conflicts_with = "organization")]
    each: bool,
}

/// Organizations that --top can ask for: they are held in memory.
const TOP_MAX: usize = 10_000;

pub(crate) async fn run(app: &App, args: &PreviewArgs) -> Outcome {
    if args.top > TOP_MAX {
        return Err(Failure::usage(format!("--top {}: at most {TOP_MAX}; --each prints all", args.top)));
    }
    let (as_of, other) = args.other.resolve(&app.settings, Timestamp::now())?;
    let question = Question { as_of, in_force: app.settings.policy(as_of)?, other };
    let opened = wiring::open(&app.settings, wiring::Access::Read, "preview").await?;
    let work = async {
        match args.organization {
            Some(id) => one(app, &opened.ports, id, question).await,
            None if args.each => each(app, &opened.ports, question).await,
            None => all(app, &opened.ports, question, args.top).await,
        }
    };
    app.unless_stopped(work, "nothing was written, run it again").await?
}

async fn each(app: &App, ports: &Ports, question: Question) -> Outcome {
    if !app.json {
        let columns = "visible_messages,oldest_visible_message_id,limited_by,first_visible_message_id";
        let other: Vec<String> = columns.split(',').map(|column| format!("other_{column}")).collect();
        say!("organization_id,{columns},{}", other.join(","));
    }
    preview(ports, question, 0, |one| {
        if app.json {
            say!("{}", as_json(one));
        } else {
            say!("{},{},{}", one.organization(), csv_fields(&one.in_force), csv_fields(&one.other));
        }
    })
    .await?;
    Ok(exit::DONE)
}

async fn one(app: &App, ports: &Ports, id: OrganizationId, question: Question) -> Outcome {
    let found = preview_one(ports, id, question).await?;
    if app.json {
        output::json(&found.as_ref().map(as_json))?;
        return Ok(exit::DONE);
    }
    let Some(found) = found else {
        say!("organization {id}: its plan does not limit, no policy changes what it sees");
        return Ok(exit::DONE);
    };
    let columns = [Column::Text("organization"), Column::Text(""), Column::Text("in force"), Column::Text("other")];
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut line = |name: &str, of: &dyn Fn(&chat::LimitRow) -> String| {
        let (old, new) = (of(&found.in_force), of(&found.other));
        let mark = if old == new { "" } else { "*" };
        rows.push(vec![name.to_owned(), mark.to_owned(), old, new]);
    };
    line("newest messages", &|row| thousands(row.policy.n() as u64));
    line("none older than", &|row| {
        row.policy.max_age_ms.map_or_else(|| "any age".to_owned(), super::run::age_in_words)
    });
    line("limited by", &|row| limited_by(row).to_owned());
    line("first visible", &|row| or_dash(row.first_visible_message_id()));
    line("oldest visible", &|row| or_dash(row.oldest_visible_message_id));
    line("sees back to", &|row| or_dash(row.oldest_visible_message_id.map(|id| minute(ports.epoch.time_of(id)))));
    line("visible messages", &|row| thousands(u64::from(row.visible_messages)));
    let head = id.to_string();
    say!("{}", table(&columns, rows).replacen("organization", &format!("{head:12}"), 1));
    say!("\n{} messages; as of {}; nothing was written", signed(found.visible_change()), question.as_of);
    Ok(exit::DONE)
}

async fn all(app: &App, ports: &Ports, question: Question, top: usize) -> Outcome {
    let mut bar = Progress::new("organizations", app.json);
    let mut done = 0;
    let found = preview(ports, question, top, |_| {
        done += 1;
        bar.at(done, 0);
    })
    .await?;
    bar.finish();
    if app.json {
        output::json(&summary(&found, question))?;
    } else {
        print(&found, question);
    }
    Ok(exit::DONE)
}

fn as_json(one: &Comparison) -> Value {
    json!({
        "organization": one.organization(),
        "changes": one.changes(),
        "visible_change": one.visible_change(),
        "in_force": one.in_force,
        "other": one.other,
    })
}

fn summary(found: &Preview, question: Question) -> Value {
    json!({
        "as_of": question.as_of,
        "in_force": question.in_force,
        "other": question.other,
        "organizations": found.organizations,
        "changed": found.changed,
        "see_more": found.see_more,
        "see_less": found.see_less,
        "visible_in_force": found.visible_in_force,
        "visible_other": found.visible_other,
        "become_visible": found.become_visible,
        "become_hidden": found.become_hidden,
        "gain_boundary": found.gain_boundary,
        "lose_boundary": found.lose_boundary,
        "top": found.top.iter().map(as_json).collect::<Vec<_>>(),
    })
}

fn print(found: &Preview, question: Question) {
    let policy = |policy: &Policy| policy_in_words(policy);
    say!(
        "{}",
        facts(&[
            ("as of", question.as_of.to_string()),
            ("in force", policy(&question.in_force)),
            ("other", policy(&question.other)),
            ("free organizations", thousands(found.organizations)),
            ("change", thousands(found.changed)),
            ("see more", format!("{}, by {} messages", thousands(found.see_more), thousands(found.become_visible))),
            ("see less", format!("{}, by {} messages", thousands(found.see_less), thousands(found.become_hidden))),
            ("gain a boundary", thousands(found.gain_boundary)),
            ("lose a boundary", thousands(found.lose_boundary)),
            (
                "visible messages",
                format!("{} in force, {} other", thousands(found.visible_in_force), thousands(found.visible_other))
            ),
        ])
    );
    if !found.top.is_empty() {
        let columns = [
            Column::Number("organization"),
            Column::Number("in force"),
            Column::Number("other"),
            Column::Number("change"),
            Column::Text("limited by"),
        ];
        let rows = found.top.iter().map(|one| {
            let (old, new) = (limited_by(&one.in_force), limited_by(&one.other));
            vec![
                one.organization().to_string(),
                thousands(u64::from(one.in_force.visible_messages)),
                thousands(u64::from(one.other.visible_messages)),
                signed(one.visible_change()),
                if old == new { old.to_owned() } else { format!("{old}, then {new}") },
            ]
        });
        say!("\n{}", table(&columns, rows));
    }
    say!("\nnothing was written");
}

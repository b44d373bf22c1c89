//! `lanner demo`: makes a small chat, computes the limits, shows what came out and what to try next.

use std::path::Path;

use chat::{OrganizationId, Standing, Timestamp};
use clap::Args;
use jobs::limits::{Until, extract_organizations};

use super::import::import_folder;
use super::run::{Start, drive, exit_code};
use super::{App, Question, manual_run_id};
use crate::demo_chat;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Column, minute, or_dash, say, table, thousands};
use crate::wiring;

/// Make a small chat, compute its limits and show the result
///
/// Works in the folder lanner-demo unless --data-dir says otherwise. Run again, it uses the chat that is there.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    question: Question,
}

/// The folder of the demo when none is given.
pub(crate) const DEFAULT_DIR: &str = "lanner-demo";

pub(crate) async fn run(app: &App, args: &DemoArgs) -> Outcome {
    let (as_of, policy) = args.question.resolve(&app.settings, Timestamp::now())?;
    let dir = &app.settings.data.dir;
    let tables = dir.join("demo-tables");
    if !tables.is_dir() {
        make(app, dir, &tables).await?;
    } else if !app.json {
        say!("using the chat in {}; remove the folder to start over\n", dir.display());
    }
    let opened = wiring::open(&app.settings, wiring::Access::Write, "demo").await?;
    let new = extract_organizations::all_free(manual_run_id("demo")?, as_of, policy);
    let (progress, seconds) = drive(app, &opened.ports, Start::AllFree(&new), Until::Settled).await?;
    show(app, &opened.ports, as_of, seconds).await?;
    Ok(exit_code(app, &progress))
}

async fn make(app: &App, dir: &Path, tables: &Path) -> Result<(), Failure> {
    // The tables get their name last: a demo that was interrupted goes on with the chat that it had begun.
    let unfinished = dir.join("demo-tables.unfinished");
    if dir.join("store.json").exists() && !unfinished.is_dir() {
        let words = format!(
            "{} holds data that is not the demo's: give the demo a folder of its own with --data-dir",
            dir.display()
        );
        return Err(Failure::usage(words));
    }
    std::fs::create_dir_all(&unfinished).map_err(|error| Failure::from(error).about(&unfinished))?;
    if !demo_chat::is_whole(&unfinished) {
        let chat = demo_chat::write(&unfinished, Timestamp::now())?;
        if !app.json {
            say!(
                "a small chat: {} organizations, {} rooms, {} messages of the last 60 days\n",
                chat.organizations,
                chat.rooms,
                thousands(chat.messages)
            );
        }
    }
    import_folder(app, &unfinished, "demo").await?;
    std::fs::rename(&unfinished, tables).map_err(|error| Failure::from(error).about(tables))?;
    Ok(())
}

async fn show(app: &App, ports: &jobs::Ports, as_of: Timestamp, seconds: f64) -> Result<(), Failure> {
    let rows = ports.limits.page(None, 100).await?;
    if app.json {
        output::json(&rows)?;
        return Ok(());
    }
    let columns = [
        Column::Number("organization"),
        Column::Number("rooms"),
        Column::Number("visible"),
        Column::Text("limited by"),
        Column::Text("sees back to"),
        Column::Number("first visible id"),
    ];
    let cells = rows.iter().filter(|row| row.standing != Standing::Released).map(|row| {
        vec![
            row.organization.to_string(),
            thousands(u64::from(row.rooms)),
            thousands(u64::from(row.visible_messages)),
            super::rerun::limited_by(row).to_owned(),
            or_dash(row.oldest_visible_message_id.map(|id| minute(ports.epoch.time_of(id)))),
            or_dash(row.first_visible_message_id()),
        ]
    });
    say!("{}", table(&columns, cells));
    say!(
        "\n{} free organizations as of {as_of}, in {seconds:.2} s.\n\
         \"count\": more messages than the policy shows, so the boundary is the first\n\
         visible id; \"age\": only the age limits.",
        rows.len()
    );
    let busiest = rows.iter().find(|row| row.first_visible_message_id().is_some()).or(rows.first());
    try_next(&app.settings.data.dir, busiest.map(|row| row.organization));
    Ok(())
}

fn try_next(dir: &Path, organization: Option<OrganizationId>) {
    let id = organization.map_or_else(|| "1".to_owned(), |id| id.to_string());
    let program = std::env::args().next().unwrap_or_else(|| "lanner".to_owned());
    say!("\nTry next:");
    for (command, about) in [
        (format!("explain --organization {id}"), "why it sees what it sees"),
        ("preview --max-messages 1000".to_owned(), "what another policy would change"),
        ("run".to_owned(), "compute all of them again"),
        ("limits export".to_owned(), "the limits as CSV"),
        ("runs".to_owned(), "what was run"),
    ] {
        say!("  # {about}\n  {program} --data-dir {} {command}", dir.display());
    }
}

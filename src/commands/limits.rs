//! `lanner limits`: the stored limits.

use std::io::Write;

use chat::ledger::HistoryEntry;
use chat::{LimitRow, OrganizationId, Standing};
use clap::{Args, Subcommand, ValueEnum};

use super::App;
use super::rerun::limited_by;
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, facts, minute, or_dash, say, table, thousands};
use crate::wiring;

/// Rows of one page.
const PAGE: usize = 1_000;

/// The stored limits
#[derive(Subcommand, Debug)]
pub(crate) enum LimitsCommand {
    /// Show the limit of one organization
    Get(GetArgs),
    /// Show how the boundary of one organization has moved, newest first: what runs found, and changes of plan at once
    History(HistoryArgs),
    /// Print the limit of every computed organization, ordered by id
    Export(ExportArgs),
}

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// The organization
    #[arg(long, value_name = "ID")]
    organization: OrganizationId,
}

#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// The organization
    #[arg(long, value_name = "ID")]
    organization: OrganizationId,
    /// At most so many changes
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// csv, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

pub(crate) async fn run(app: &App, command: &LimitsCommand) -> Outcome {
    let opened = wiring::open(&app.settings, wiring::Access::Read, "limits").await?;
    match command {
        LimitsCommand::Get(args) => get(app, &opened.ports, args.organization).await,
        LimitsCommand::History(args) => history(app, &opened.ports, args).await,
        LimitsCommand::Export(args) => {
            let format = if app.json { Format::Jsonl } else { args.format };
            export(&opened.ports, format).await
        }
    }
}

async fn get(app: &App, ports: &jobs::Ports, id: OrganizationId) -> Outcome {
    let known = ports.directory.organizations(&[id]).await?.into_iter().next().flatten();
    let row = ports.limits.get(&[id]).await?.into_iter().next().flatten();
    if row.is_none() && known.is_none() {
        return Err(Failure::usage(format!("there is no organization {id}")));
    }
    if app.json {
        output::json(&row)?;
        return Ok(exit::DONE);
    }
    let Some(row) = row else {
        say!("organization {id}: not computed; age alone limits until a run covers it");
        return Ok(exit::DONE);
    };
    say!(
        "{}",
        facts(&[
            ("organization", row.organization.to_string()),
            ("limited by", limited_by(&row).to_owned()),
            ("first visible", or_dash(row.first_visible_message_id())),
            ("oldest visible", or_dash(row.oldest_visible_message_id)),
            ("visible messages", thousands(u64::from(row.visible_messages))),
            ("rooms", thousands(u64::from(row.rooms))),
            ("as of", row.version.as_of.to_string()),
            ("collected at", row.version.collected_at.to_string()),
            ("plan version", row.version.plan_version.to_string()),
            ("run", row.run.to_string()),
            ("boundary before", or_dash(row.previous_first_visible_message_id)),
            ("rooms opened", thousands(u64::from(row.rooms_opened))),
            ("messages read", thousands(row.messages_read)),
            ("computed at", row.computed_at.to_string()),
        ])
    );
    Ok(exit::DONE)
}

async fn history(app: &App, ports: &jobs::Ports, args: &HistoryArgs) -> Outcome {
    let id = args.organization;
    let entries = ports.ledger.history(id, args.limit).await?;
    if entries.is_empty() {
        let known = ports.directory.organizations(&[id]).await?.into_iter().next().flatten();
        known.ok_or_else(|| Failure::usage(format!("there is no organization {id}")))?;
    }
    if app.json {
        output::json(&entries)?;
        return Ok(exit::DONE);
    }
    if entries.is_empty() {
        say!("organization {id}: no run and no change of plan has moved its boundary");
        return Ok(exit::DONE);
    }
    let columns = [Column::Name("as of"), Column::Number("boundary"), Column::Text("cause"), Column::Name("run")];
    say!("{}", table(&columns, entries.iter().zip(1..).flat_map(|(entry, below)| lines(entry, entries.get(below)))));
    Ok(exit::DONE)
}

/// A change, and what stood before it where that is not what the change below has found: it was kept live meanwhile.
fn lines(entry: &HistoryEntry, below: Option<&HistoryEntry>) -> Vec<Vec<String>> {
    let change = vec![minute(entry.as_of), or_dash(entry.new), entry.cause.clone(), entry.run.to_string()];
    match below {
        Some(below) if below.new != entry.old => {
            let [nothing, moved] = ["-", "live"].map(str::to_owned);
            vec![change, vec![nothing.clone(), or_dash(entry.old), moved, nothing]]
        }
        _ => vec![change],
    }
}

async fn export(ports: &jobs::Ports, format: Format) -> Outcome {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if format == Format::Csv {
        writeln!(
            out,
            "organization_id,visible_messages,oldest_visible_message_id,limited_by,first_visible_message_id"
        )?;
    }
    let mut after = None;
    loop {
        let rows = ports.limits.page(after, PAGE).await?;
        for row in rows.iter().filter(|row| row.standing != Standing::Released) {
            match format {
                Format::Csv => writeln!(out, "{}", csv_line(row))?,
                Format::Jsonl => {
                    serde_json::to_writer(&mut out, row).map_err(anyhow::Error::from)?;
                    writeln!(out)?;
                }
            }
        }
        if rows.len() < PAGE {
            break;
        }
        after = rows.last().map(|row| row.organization);
    }
    out.flush()?;
    Ok(exit::DONE)
}

fn csv_line(row: &LimitRow) -> String {
    format!("{},{}", row.organization, csv_fields(row))
}

/// What follows the organization. Numbers and words only: nothing needs quotes.
pub(super) fn csv_fields(row: &LimitRow) -> String {
    let id = |id: Option<chat::MessageId>| id.map_or_else(String::new, |id| id.to_string());
    format!(
        "{},{},{},{}",
        row.visible_messages,
        id(row.oldest_visible_message_id),
        limited_by(row),
        id(row.first_visible_message_id())
    )
}

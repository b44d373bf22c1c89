//! `lanner export`: the data directory's content as the tables that `lanner import` reads.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use import::export::{
    ExportError, ExportFormat, ExportOptions, ExportProgress, ExportReport, ExportTable, export, plan,
};

use super::App;
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, say, table, thousands};
use crate::progress::Progress;
use crate::wiring;

/// Write the directory, the messages and the limits as tables
///
/// They are the tables that lanner import reads, and meta.json: imported into another data directory, they lead to the same
/// content and, after a run, to the same limits. The limits go along for other programs; an import does not read them. No import
/// can change anything meanwhile; runs go on.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The folder to write; it is made if need be
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// How tables are written
    #[arg(long, value_enum, default_value_t = Format::Parquet)]
    format: Format,
    /// Which tables: organizations, accounts, rooms, memberships, messages, limits, names [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = parse_table)]
    tables: Vec<ExportTable>,
    /// Write messages with their authors and bodies
    #[arg(long)]
    bodies: bool,
    /// Replace the tables in a folder that is not empty
    #[arg(long)]
    force: bool,
    /// Count the rows, write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Parquet,
    Csv,
}

fn parse_table(name: &str) -> Result<ExportTable, String> {
    let names = || ExportTable::ALL.map(ExportTable::name).join(", ");
    let found = ExportTable::ALL.into_iter().find(|table| table.name() == name);
    found.ok_or_else(|| format!("the tables are {}", names()))
}

pub(crate) async fn run(app: &App, args: &ExportArgs) -> Outcome {
    let (source, _data_dir) = wiring::open_export(&app.settings).await?;
    let format = match args.format {
        Format::Parquet => ExportFormat::Parquet,
        Format::Csv => ExportFormat::Csv,
    };
    let tables = if args.tables.is_empty() { ExportTable::ALL.to_vec() } else { args.tables.clone() };
    let options = ExportOptions { format, tables, bodies: args.bodies, force: args.force };
    let report = if args.dry_run {
        plan(&source, &options).await?
    } else {
        let mut show = shown(app.json);
        let dir = args.dir.clone();
        // On a task of its own, because it encodes for seconds without a pause: a stop does not wait for it.
        let exporting = tokio::spawn(async move { export(&source, &dir, &options, &mut show).await });
        let words = "no table was written; run the same export again";
        app.unless_stopped(exporting, words).await?.map_err(anyhow::Error::from)??
    };
    if app.json {
        output::json(&report)?;
    } else {
        print(&report);
        if args.dry_run {
            say!("dry run: nothing was written");
        }
    }
    Ok(exit::DONE)
}

/// Shows progress, a bar for each table.
fn shown(quiet: bool) -> impl FnMut(ExportProgress) + Send {
    let mut shown: Option<(ExportTable, Progress)> = None;
    move |progress: ExportProgress| {
        if shown.as_ref().is_none_or(|(table, _)| *table != progress.table) {
            if let Some((_, bar)) = shown.take() {
                bar.finish();
            }
            shown = Some((progress.table, Progress::new(&format!("write {}", progress.table.name()), quiet)));
        }
        if let Some((_, bar)) = &mut shown {
            bar.at(progress.done, progress.total);
        }
    }
}

fn print(report: &ExportReport) {
    let columns = [Column::Text("file"), Column::Number("rows"), Column::Number("bytes")];
    let rows = report.tables.iter().map(|table| {
        vec![table.file.clone(), thousands(table.rows), table.bytes.map_or_else(|| "-".to_owned(), thousands)]
    });
    say!("{}\n", table(&columns, rows));
    say!("epoch of the message ids: {}", report.epoch.0);
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let code = match &error {
            ExportError::NotEmpty { .. } => exit::USAGE,
            ExportError::Write { source, .. } => Self::from(std::io::Error::from(source.kind())).code,
            ExportError::Read { source, .. } if source.is_temporary() => exit::TEMPORARY,
            ExportError::Encode { .. } | ExportError::Read { .. } => exit::FAILED,
        };
        Self::new(code, error)
    }
}

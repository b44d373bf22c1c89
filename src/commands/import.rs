//! `lanner import`: a folder of tables, or files of messages, become the data directory's content.

use std::path::{Path, PathBuf};

use chat::{Epoch, Timestamp};
use clap::Args;
use import::{Discard, ImportError, ImportOptions, ImportReport, Load, Mapping, Progress as ImportProgress, Stage};

use super::{Action, App};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, say, table, thousands};
use crate::progress::Progress;
use crate::wiring::{self, OpenedImport};

/// Rows left out that are named on the terminal; --json names more.
const NAMED: usize = 10;

/// Bring a folder of tables, or any files of messages, into the directory and the messages
///
/// A folder holds organizations, accounts, rooms, memberships and messages, each as .parquet or .csv (with a header), and
/// perhaps meta.json with epoch_ms, the epoch of the message ids. Rows can stand in any order.
///
/// With --mapping, files with one message a line are read (CSV, TSV or JSON lines, also compressed): the mapping says which
/// column is what, and accounts, rooms and memberships follow from who wrote where. Names and times become ids, the same ones
/// when a file is imported again or has grown.
///
/// The directory is replaced by what is read; messages are added to those that are there. An import that was interrupted is
/// finished by running it again.
#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// The folder; with --mapping, files, read in this order as if they were one
    #[arg(value_name = "PATH", required_unless_present = "example_mapping")]
    paths: Vec<PathBuf>,
    /// What the columns of the files mean
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Print a mapping with every key explained, as a file to start from
    #[arg(long)]
    example_mapping: bool,
    /// Leave out bad rows and count them, instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Leave out messages written before this instant, such as 2026-01-01T00:00:00Z: what no policy shows need not be stored
    #[arg(long, value_name = "INSTANT")]
    messages_since: Option<Timestamp>,
    /// Leave out messages written at this instant or later
    #[arg(long, value_name = "INSTANT")]
    messages_before: Option<Timestamp>,
    /// Read and check everything, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true)]
    reason: String,
}

pub(crate) async fn run(app: &App, args: &ImportArgs) -> Outcome {
    if args.example_mapping {
        say!("{}", Mapping::EXAMPLE.trim_end());
        return Ok(exit::DONE);
    }
    let input = Input::new(&args.paths, args.mapping.as_deref())?;
    let &ImportArgs { skip_bad, messages_since, messages_before, .. } = args;
    let wanted = Wanted { skip_bad, messages_since, messages_before };
    let report = if args.dry_run {
        check(app, &input, wanted).await?
    } else {
        import(app, &input, wanted, &args.reason).await?
    };
    if app.json {
        output::json(&report)?;
    } else {
        print(&report);
    }
    if args.dry_run && !app.json {
        say!("dry run: nothing was changed");
    }
    let left_out: u64 = report.tables.values().map(|table| table.left_out.count()).sum();
    Ok(if left_out > 0 { exit::PARTIAL } else { exit::DONE })
}

/// What is imported.
#[derive(Clone, Debug)]
enum Input {
    Folder(PathBuf),
    Files(Box<Mapping>, Vec<PathBuf>),
}

impl Input {
    fn new(paths: &[PathBuf], mapping: Option<&Path>) -> Result<Self, Failure> {
        let Some(mapping) = mapping else {
            return match paths {
                [path] if path.is_dir() => Ok(Self::Folder(path.clone())),
                [path] if path.is_file() => Err(Failure::usage(format!(
                    "{} is not a folder: give the folder that holds the tables, or say with --mapping what its columns mean",
                    path.display()
                ))),
                [path] => Err(Failure::usage(format!(
                    "{} is not a folder: give the folder that holds the tables",
                    path.display()
                ))),
                _ => Err(Failure::usage("give one folder; several files need --mapping")),
            };
        };
        let unreadable = |error| Failure::from(error).about(mapping);
        let text = std::fs::read_to_string(mapping).map_err(unreadable)?;
        let mapping = Mapping::parse(&text).map_err(|error| Failure::from(error).about(mapping))?;
        match paths.iter().find(|path| !path.is_file()) {
            Some(path) => Err(Failure::usage(format!("{} is not a file: --mapping reads files", path.display()))),
            None => Ok(Self::Files(Box::new(mapping), paths.to_vec())),
        }
    }

    /// What is imported, in words, for the audit.
    fn target(&self) -> String {
        let absolute =
            |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        match self {
            Self::Folder(path) => absolute(path),
            Self::Files(_, paths) if paths.len() == 1 => absolute(&paths[0]),
            Self::Files(_, paths) => format!("{} and {} more files", absolute(&paths[0]), paths.len() - 1),
        }
    }
}

/// What of the input is taken.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    skip_bad: bool,
    messages_since: Option<Timestamp>,
    messages_before: Option<Timestamp>,
}

impl Wanted {
    fn options(self, scratch: PathBuf, epoch: Option<Epoch>) -> ImportOptions {
        let Self { skip_bad, messages_since, messages_before } = self;
        ImportOptions { skip_bad, messages_since, messages_before, epoch, ..ImportOptions::new(scratch) }
    }
}

/// Imports the folder, with progress.
pub(crate) async fn import_folder(app: &App, path: &Path, reason: &str) -> Result<ImportReport, Failure> {
    import(app, &Input::new(&[path.to_owned()], None)?, Wanted::default(), reason).await
}

async fn import(app: &App, input: &Input, wanted: Wanted, reason: &str) -> Result<ImportReport, Failure> {
    let opened = wiring::open_import(&app.settings).await?;
    let ledger = opened.ledger.clone();
    let action = Action { name: "import", target: input.target(), reason: reason.to_owned() };
    action.record(&*ledger, "started").await?;
    let imported = import_into(app, input, wanted, opened).await;
    let outcome = match &imported {
        Ok(report) => format!("{} live messages", report.live_messages),
        Err(failure) => format!("failed: {:#}", failure.error),
    };
    // On a full disk the audit has no room either; what the import says matters more.
    let recorded = action.record(&*ledger, outcome).await;
    let report = imported?;
    recorded.map(|()| report)
}

async fn import_into(app: &App, input: &Input, wanted: Wanted, opened: OpenedImport) -> Result<ImportReport, Failure> {
    read(app, input, wanted.options(opened.scratch, opened.epoch), opened.load).await
}

/// Reads and checks everything as an import would, and changes nothing.
async fn check(app: &App, input: &Input, wanted: Wanted) -> Result<ImportReport, Failure> {
    let (scratch, epoch) = wiring::import_facts(&app.settings).await?;
    read(app, input, wanted.options(scratch, epoch), Box::new(Discard)).await
}

async fn read(
    app: &App,
    input: &Input,
    options: ImportOptions,
    mut load: Box<dyn Load>,
) -> Result<ImportReport, Failure> {
    let mut shown: Option<(Stage, Progress)> = None;
    let quiet = app.json;
    let mut show = move |progress: ImportProgress| {
        let same = shown.as_ref().is_some_and(|(stage, _)| *stage == progress.stage);
        if !same {
            if let Some((_, bar)) = shown.take() {
                bar.finish();
            }
            shown = Some((progress.stage, Progress::new(words(progress.stage), quiet)));
        }
        if let Some((_, bar)) = &mut shown {
            bar.at(progress.done, progress.total.unwrap_or(0));
        }
    };
    // On a task of its own, because it decodes and sorts for seconds without a pause: a stop does not wait for it. Ending the
    // process in the middle is safe.
    let input = input.clone();
    let importing = tokio::spawn(async move {
        match &input {
            Input::Folder(folder) => import::import(folder, &options, &mut *load, &mut show).await,
            Input::Files(mapping, paths) => {
                import::import_mapped(mapping, paths, &options, &mut *load, &mut show).await
            }
        }
    });
    let imported = app.unless_stopped(importing, "run the same import again to finish it").await?;
    Ok(imported.map_err(anyhow::Error::from)??)
}

fn words(stage: Stage) -> &'static str {
    match stage {
        Stage::Mapping => "read files",
        Stage::Organizations => "read organizations",
        Stage::Accounts => "read accounts",
        Stage::Rooms => "read rooms",
        Stage::Memberships => "read memberships",
        Stage::Messages => "read messages",
        Stage::CheckMessages => "check messages",
        Stage::Names => "read names",
        Stage::LoadDirectory => "load directory",
        Stage::LoadMessages => "load messages",
        Stage::LoadBodies => "load bodies",
    }
}

fn print(report: &ImportReport) {
    let columns = [
        Column::Text("file"),
        Column::Number("rows"),
        Column::Number("loaded"),
        Column::Number("repeated"),
        Column::Number("left out"),
    ];
    let rows = report.tables.values().map(|table| {
        let counts = [table.rows, table.loaded, table.duplicates, table.left_out.count()];
        std::iter::once(table.file.clone()).chain(counts.map(thousands)).collect()
    });
    say!("{}\n", table(&columns, rows));
    say!("epoch of the message ids: {}", report.epoch.0);
    say!("messages: {} live, {} deleted", thousands(report.live_messages), thousands(report.deleted_messages));
    if report.unwanted_messages > 0 {
        say!("messages left out as too old or too new: {}", thousands(report.unwanted_messages));
    }
    if report.bodies > 0 {
        say!("authors and bodies of messages: {}", thousands(report.bodies));
    }
    if report.ended_memberships > 0 {
        say!("memberships that have ended: {}", thousands(report.ended_memberships));
    }
    for table in report.tables.values() {
        if !table.ignored_columns.is_empty() {
            say!("{}: ignored columns: {}", table.file, table.ignored_columns.join(", "));
        }
    }
    if !report.ignored_files.is_empty() {
        say!("ignored files: {}", report.ignored_files.join(", "));
    }
    let named = report.tables.values().flat_map(|table| &table.left_out.rows);
    for bad in named.take(NAMED) {
        say!("left out: {bad}");
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let code = match &error {
            ImportError::Scratch { .. } | ImportError::Changed { .. } => exit::TEMPORARY,
            ImportError::Load { source, .. } if source.is_temporary() => exit::TEMPORARY,
            ImportError::EpochDisagrees { .. } | ImportError::Mapping { .. } => exit::CONFIGURATION,
            ImportError::Load { .. } => exit::FAILED,
            _ => exit::INPUT,
        };
        Self::new(code, error)
    }
}

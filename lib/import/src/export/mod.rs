//! Writes a store as the folder of tables that an import reads: the directory, the messages, and the limits beside them.
//!
//! Pages are written as they are read: memory holds one page, one room's ids, and one row group of Parquet.

mod rows;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chat::{BoxError, Epoch, Limits, Messages, PortError};
use serde::Serialize;

use crate::Dump;
use writer::Writer;

/// A table of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportTable {
    /// Organizations.
    Organizations,
    /// Accounts.
    Accounts,
    /// Rooms.
    Rooms,
    /// Current memberships.
    Memberships,
    /// Messages, live and deleted.
    Messages,
    /// The current limits, without those that were released. An import does not read them: a run computes them.
    Limits,
    /// Names of organizations, rooms and accounts; not written where there are none.
    Names,
}

impl ExportTable {
    /// All tables, in the order in which they are written.
    pub const ALL: [Self; 7] = [
        Self::Organizations,
        Self::Accounts,
        Self::Rooms,
        Self::Memberships,
        Self::Messages,
        Self::Limits,
        Self::Names,
    ];

    /// Its name, which is also that of its file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organizations => "organizations",
            Self::Accounts => "accounts",
            Self::Rooms => "rooms",
            Self::Memberships => "memberships",
            Self::Messages => "messages",
            Self::Limits => "limits",
            Self::Names => "names",
        }
    }
}

/// How tables are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Parquet, compressed with zstd.
    Parquet,
    /// CSV with a header.
    Csv,
}

impl ExportFormat {
    const fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Parquet => Self::Csv,
            Self::Csv => Self::Parquet,
        }
    }
}

/// What is exported, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// How tables are written.
    pub format: ExportFormat,
    /// Which.
    pub tables: Vec<ExportTable>,
    /// Whether messages are written with their authors and bodies.
    pub bodies: bool,
    /// Write into a folder that holds something already: tables of the same names are replaced.
    pub force: bool,
}

/// What an export reads.
#[derive(Clone)]
pub struct ExportSource {
    /// The directory and the message ids.
    pub dump: Arc<dyn Dump>,
    /// What messages say.
    pub messages: Arc<dyn Messages>,
    /// The limits.
    pub limits: Arc<dyn Limits>,
    /// From when message ids count.
    pub epoch: Epoch,
}

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportProgress {
    /// Which table.
    pub table: ExportTable,
    /// Rows written.
    pub done: u64,
    /// Rows altogether.
    pub total: u64,
}

/// What an export wrote, or would write.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    /// From when message ids count; `meta.json` says it.
    pub epoch: Epoch,
    /// Each table, in the order in which they were written.
    pub tables: Vec<ExportedTable>,
}

/// A table that was written.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedTable {
    /// Which.
    pub table: ExportTable,
    /// Its file.
    pub file: String,
    /// How many rows it has.
    pub rows: u64,
    /// The size of the file; none where nothing was written.
    pub bytes: Option<u64>,
}

/// Why an export stops.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder holds something already.
    #[error("{} is not empty: give another folder, or --force to replace the tables in it", folder.display())]
    NotEmpty {
        /// Which folder.
        folder: PathBuf,
    },
    /// The folder or a file in it cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A table cannot be written in this format.
    #[error("cannot write {}", path.display())]
    Encode {
        /// What.
        path: PathBuf,
        /// What the encoder says.
        source: BoxError,
    },
    /// The store failed.
    #[error("cannot read {what}")]
    Read {
        /// What was being read.
        what: &'static str,
        /// How the store failed.
        source: PortError,
    },
}

/// What an export would write.
pub async fn plan(source: &ExportSource, options: &ExportOptions) -> Result<ExportReport, ExportError> {
    let counts = rows::counts(source, options).await?;
    let tables = counts.into_iter().map(|(table, rows)| {
        let file = format!("{}.{}", table.name(), options.format.ending());
        ExportedTable { table, file, rows, bytes: None }
    });
    Ok(ExportReport { epoch: source.epoch, tables: tables.collect() })
}

/// Writes the tables and `meta.json` into `folder`, which is made if need be.
///
/// Every file is written under a name that ends in `.unfinished` and renamed when all are whole, `meta.json` last. Killed before,
/// an export leaves nothing that an import would read.
pub async fn export(
    source: &ExportSource,
    folder: &Path,
    options: &ExportOptions,
    progress: &mut (dyn FnMut(ExportProgress) + Send),
) -> Result<ExportReport, ExportError> {
    let failed = |source| ExportError::Write { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    if !options.force && !is_empty(folder).map_err(failed)? {
        return Err(ExportError::NotEmpty { folder: folder.to_owned() });
    }
    let mut report = plan(source, options).await?;
    for exported in &mut report.tables {
        let path = unfinished(folder, &exported.file);
        let mut writer = Writer::create(&path, options.format, rows::columns(exported.table, options.bodies))?;
        exported.rows = rows::write(source, options, exported.table, exported.rows, &mut writer, progress).await?;
        exported.bytes = Some(writer.finish()?);
    }
    let meta = serde_json::json!({ "epoch_ms": source.epoch.0.as_millis() });
    write_whole(&unfinished(folder, META), format!("{meta}\n").as_bytes())?;
    let others = ExportTable::ALL.iter().filter(|table| options.tables.contains(table));
    for table in others {
        // Of a table in two formats an import would not know which is meant; of one that has no rows now, old ones stand there.
        for format in [options.format, options.format.other()] {
            remove(&folder.join(format!("{}.{}", table.name(), format.ending())))?;
        }
    }
    for name in report.tables.iter().map(|exported| exported.file.as_str()).chain([META]) {
        let path = folder.join(name);
        fs::rename(unfinished(folder, name), &path).map_err(|source| ExportError::Write { path, source })?;
    }
    Ok(report)
}

const META: &str = "meta.json";
/// What the names of files end in until all are whole.
const UNFINISHED: &str = ".unfinished";

fn unfinished(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{UNFINISHED}"))
}

/// Whether nothing stands in the folder but what an interrupted export left.
fn is_empty(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if !entry?.file_name().to_string_lossy().ends_with(UNFINISHED) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remove(path: &Path) -> Result<(), ExportError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ExportError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let write = || {
        fs::write(path, bytes)?;
        fs::File::open(path)?.sync_all()
    };
    write().map_err(|source| ExportError::Write { path: path.to_owned(), source })
}

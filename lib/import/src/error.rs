//! Why an import stops.

use std::path::PathBuf;

use chat::{BoxError, Epoch, PortError};

use crate::{BadRow, Table};

/// Why an import stopped. Nothing visible has changed, except after [`ImportError::Load`] (see [`crate::Load`]).
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A table stands in no file.
    #[error("{} has neither {table}.parquet nor {table}.csv: add the table", folder.display())]
    MissingTable {
        /// Where it was looked for.
        folder: PathBuf,
        /// Which table.
        table: Table,
    },
    /// A table stands in two files.
    #[error("{} has both {table}.parquet and {table}.csv: remove the one that is not meant", folder.display())]
    TwoFiles {
        /// Where.
        folder: PathBuf,
        /// Which table.
        table: Table,
    },
    /// A column is missing.
    #[error("{file} has no column {column}; its columns are: {present}")]
    MissingColumn {
        /// Which file.
        file: String,
        /// The column, with its other permitted names.
        column: String,
        /// The columns that are there.
        present: String,
    },
    /// Two columns of a file carry the same meaning.
    #[error("{file} has the columns {first} and {second}, which mean the same: remove one")]
    TwoColumns {
        /// Which file.
        file: String,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A column has a type that cannot be taken.
    #[error("column {column} of {file} is {found}; it must be {expected}")]
    ColumnType {
        /// Which file.
        file: String,
        /// Which column.
        column: String,
        /// Its type.
        found: String,
        /// What is taken.
        expected: &'static str,
    },
    /// A file is broken, cut off, or not what its name says.
    #[error("{file} cannot be read{}: is it whole?", at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default())]
    Broken {
        /// Which file.
        file: String,
        /// Where in it, as far as known.
        at: Option<String>,
        /// What the decoder says.
        source: BoxError,
    },
    /// `meta.json` does not say what it should.
    #[error("meta.json: epoch_ms must be a whole number of milliseconds since 1970, at most 253402300799999")]
    Epoch,
    /// A mapping does not say what it should.
    #[error("the mapping: {what}")]
    Mapping {
        /// What is wrong.
        what: String,
    },
    /// `meta.json` or a mapping and the store count message ids from different instants.
    #[error(
        "{said_by} says that message ids count from {}, the data directory or the setting store.epoch says {}: \
         correct the one that is wrong, or import into another data directory",
        told.0, fixed.0
    )]
    EpochDisagrees {
        /// Who says the one: `meta.json` or the mapping.
        said_by: &'static str,
        /// What it says.
        told: Epoch,
        /// What the store says.
        fixed: Epoch,
    },
    /// A row is bad and bad rows are not to be left out.
    #[error("{0}")]
    BadRow(Box<BadRow>),
    /// A file changed while it was read.
    #[error("{file} changed while it was imported: import again when nothing writes to it")]
    Changed {
        /// Which file.
        file: String,
    },
    /// The folder for temporary files does not take or return them.
    #[error("cannot write or read back temporary files in the data directory: is the disk full?")]
    Scratch {
        /// What happened.
        #[from]
        source: std::io::Error,
    },
    /// The store failed.
    #[error("cannot load {what}")]
    Load {
        /// What was being loaded.
        what: &'static str,
        /// How the store failed.
        source: PortError,
    },
}

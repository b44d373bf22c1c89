//! Bad rows: why, where, and how many were left out.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::{ImportError, source::TableFile, tables};

/// Rows named per table and reason; the rest is counted.
const NAMED: usize = 100;

/// Why a row is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A CSV row with more or fewer fields than the header.
    FieldCount,
    /// Nothing stands where something must.
    Missing,
    /// Not a whole number from 0 to 2⁶³ − 1.
    NotANumber,
    /// Neither text nor a number.
    NotAValue,
    /// A line that is no JSON object.
    NotJson,
    /// No instant in the format that the mapping says.
    NotATime,
    /// An instant before the epoch of the message ids, or too long after it.
    OutsideEpoch,
    /// Neither true nor false.
    NotAFlag,
    /// A text that is not UTF-8.
    NotText,
    /// A text longer than 1 MiB.
    TooLong,
    /// A name of something else than an organization, a room or an account.
    UnknownKind,
    /// More messages at one millisecond than there are ids.
    TooMany,
    /// Neither `free` nor `paid`.
    UnknownPlan,
    /// It refers to an organization that is not there.
    UnknownOrganization,
    /// It refers to an account that is not there.
    UnknownAccount,
    /// It refers to a room that is not there.
    UnknownRoom,
    /// Another row with the same id says something else.
    Contradiction,
    /// The message stands in another room too.
    TwoRooms,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FieldCount => "wrong number of fields",
            Self::Missing => "no value",
            Self::NotANumber => "not a whole number from 0 to 9223372036854775807",
            Self::NotAValue => "neither text nor a number",
            Self::NotJson => "not a JSON object",
            Self::NotATime => "not an instant as time_format says",
            Self::OutsideEpoch => "not within the 69 years after the epoch of the message ids (set another epoch)",
            Self::UnknownKind => "neither organization, room nor account",
            Self::TooMany => "more messages at one millisecond than ids",
            Self::NotAFlag => "neither true nor false",
            Self::NotText => "not UTF-8",
            Self::TooLong => "longer than 1 MiB",
            Self::UnknownPlan => "neither free nor paid",
            Self::UnknownOrganization => "an unknown organization",
            Self::UnknownAccount => "an unknown account",
            Self::UnknownRoom => "an unknown room",
            Self::Contradiction => "another row says something else of it",
            Self::TwoRooms => "the message stands in another room too",
        })
    }
}

/// A bad row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// The file.
    pub file: String,
    /// Counted from 1; in a file of text the line.
    pub row: u64,
    /// The column, or empty for the row as a whole.
    pub column: String,
    /// The value as it stands in the file, shortened.
    pub value: String,
    /// Why it is bad.
    pub reason: Reason,
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {} {}", self.file, if self.file.ends_with(".parquet") { "row" } else { "line" }, self.row)?;
        if !self.column.is_empty() {
            write!(f, ", column {}", self.column)?;
        }
        write!(f, ": {}", self.reason)?;
        if !self.value.is_empty() {
            write!(f, ": {}", self.value)?;
        }
        Ok(())
    }
}

/// Rows left out of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// How many for which reason.
    pub counts: BTreeMap<Reason, u64>,
    /// Some of them: at most 100 per reason.
    pub rows: Vec<BadRow>,
}

impl LeftOut {
    /// How many altogether.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// The bad rows of one table, as they are found.
#[derive(Debug)]
pub(crate) struct Problems {
    file: TableFile,
    skip_bad: bool,
    left_out: LeftOut,
    /// Found after sorting: the pair says which row, its number is looked up by [`Problems::settle`].
    unplaced: Vec<Unplaced>,
}

#[derive(Debug)]
struct Unplaced {
    pair: (u64, u64),
    column: &'static str,
    value: u64,
    reason: Reason,
}

impl LeftOut {
    /// Counts a bad row, and keeps it while there are few.
    fn add(&mut self, bad: impl FnOnce() -> BadRow, reason: Reason) {
        let count = self.counts.entry(reason).or_default();
        *count += 1;
        if *count <= NAMED as u64 {
            self.rows.push(bad());
        }
    }
}

impl Problems {
    /// `left_out`: rows that were left out already when the file was mapped.
    pub(crate) fn new(file: &TableFile, left_out: LeftOut, skip_bad: bool) -> Self {
        Self { file: file.clone(), skip_bad, left_out, unplaced: Vec::new() }
    }

    /// A row whose number is known is bad.
    pub(crate) fn row(&mut self, row: u64, column: &str, value: String, reason: Reason) -> Result<(), ImportError> {
        let bad = || BadRow { file: self.file.name.clone(), row, column: column.to_owned(), value, reason };
        leave_out(&mut self.left_out, self.skip_bad, bad, reason)
    }

    /// The row that sorts as `pair` is bad, because of `value` in `column`.
    pub(crate) fn pair(&mut self, pair: (u64, u64), column: &'static str, value: u64, reason: Reason) {
        let count = self.left_out.counts.entry(reason).or_default();
        *count += 1;
        if *count <= NAMED as u64 {
            self.unplaced.push(Unplaced { pair, column, value, reason });
        }
    }

    /// Reads the file once more to find the numbers of rows that were found after sorting; nothing to do without any.
    /// Fails with the first of them unless bad rows are left out.
    pub(crate) fn settle(&mut self) -> Result<(), ImportError> {
        let mut wanted: HashMap<(u64, u64), Vec<Unplaced>> = HashMap::new();
        for unplaced in self.unplaced.drain(..).rev() {
            wanted.entry(unplaced.pair).or_default().push(unplaced);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut reader = tables::open(&self.file)?;
        let mut batch = tables::Batch::default();
        let mut left: usize = wanted.values().map(Vec::len).sum();
        while left > 0 && reader.read(&mut batch)? {
            for row in batch.good_rows() {
                let pair = self.file.table.pair(&batch.columns, row);
                let Some(found) = pair.and_then(|pair| wanted.get_mut(&pair)).and_then(Vec::pop) else { continue };
                left -= 1;
                let (file, row) = batch.place(row, &self.file.name);
                let (column, value) = (found.column.to_owned(), found.value.to_string());
                let bad = BadRow { file, row, column, value, reason: found.reason };
                if !self.skip_bad {
                    return Err(ImportError::BadRow(Box::new(bad)));
                }
                self.left_out.rows.push(bad);
            }
        }
        if left > 0 {
            return Err(ImportError::Changed { file: self.file.name.clone() });
        }
        Ok(())
    }

    /// What was left out.
    pub(crate) fn finish(self) -> LeftOut {
        self.left_out
    }
}

/// Stops at a bad row, or counts it.
pub(crate) fn leave_out(
    left_out: &mut LeftOut,
    skip_bad: bool,
    bad: impl FnOnce() -> BadRow,
    reason: Reason,
) -> Result<(), ImportError> {
    if !skip_bad {
        return Err(ImportError::BadRow(Box::new(bad())));
    }
    left_out.add(bad, reason);
    Ok(())
}

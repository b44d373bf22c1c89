//! Reads a table into a sorter and makes its rows distinct.

use std::{io, ops::RangeInclusive};

use chat::{MessageId, Timestamp};
use tokio::time::Instant;

use crate::{
    ImportError, ImportOptions, ImportReport, LeftOut, Progress, Stage, Table, TableReport,
    problems::Problems,
    sort::{Sorted, Sorter},
    source::{Folder, TableFile},
    tables::{self, Format},
};

/// Rows between two calls of the progress callback, about.
pub(crate) const PROGRESS_ROWS: u64 = 1 << 18;

/// An import under way.
pub(crate) struct Work<'a> {
    pub(crate) folder: Folder,
    pub(crate) options: &'a ImportOptions,
    pub(crate) progress: &'a mut (dyn FnMut(Progress) + Send),
    pub(crate) report: ImportReport,
    pub(crate) stage: Stage,
    pub(crate) since: Instant,
}

impl Work<'_> {
    /// Ends the stage under way and begins the next.
    pub(crate) fn begin(&mut self, stage: Stage, total: Option<u64>) {
        self.end();
        self.stage = stage;
        self.done(0, total);
    }

    /// Ends the stage under way: notes its time.
    pub(crate) fn end(&mut self) {
        *self.report.seconds.entry(self.stage).or_default() += self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
    }

    /// Tells how far the stage is.
    pub(crate) fn done(&mut self, done: u64, total: Option<u64>) {
        (self.progress)(Progress { stage: self.stage, done, total });
    }

    pub(crate) fn sorter(&self) -> Sorter {
        Sorter::new(&self.options.scratch_dir, self.options.sort_rows)
    }

    pub(crate) fn file(&self, table: Table) -> TableFile {
        self.folder.tables[table as usize].clone()
    }

    /// Rows of `table` that were left out when it was mapped.
    fn left_out(&self, table: Table) -> LeftOut {
        match &self.folder.tables[table as usize].format {
            Format::Mapped(mapped) if table == Table::Messages => mapped.left_out.clone(),
            _ => LeftOut::default(),
        }
    }

    /// The message ids that are wanted.
    pub(crate) fn wanted_messages(&self) -> RangeInclusive<MessageId> {
        let first = |at: Option<Timestamp>| at.map(|at| self.folder.epoch.first_id(at));
        let from = first(self.options.messages_since).unwrap_or(MessageId::from_bits(0));
        match first(self.options.messages_before).map(MessageId::previous) {
            None => from..=MessageId::MAX,
            Some(Some(last)) => from..=last,
            // Before the first of all ids there is none.
            Some(None) => MessageId::MAX..=MessageId::from_bits(0),
        }
    }

    /// Reads `table` and gives every row that is good by itself to `take`, as its pair (see [`Table::pair`]).
    pub(crate) fn read(
        &mut self,
        table: Table,
        stage: Stage,
        mut take: impl FnMut(u64, u64) -> io::Result<()>,
    ) -> Result<Checked, ImportError> {
        let file = self.file(table);
        let left_out = self.left_out(table);
        let left_out_rows = left_out.count();
        let mut problems = Problems::new(&file, left_out, self.options.skip_bad);
        let mut reader = tables::open(&file)?;
        let total = reader.total();
        self.begin(stage, total);
        let mut batch = tables::Batch::default();
        let (mut rows, mut told) = (0, 0);
        while reader.read(&mut batch)? {
            // One row counts once, however many of its values are bad.
            for same_row in batch.bad.chunk_by(|a, b| a.row == b.row) {
                let bad = &same_row[0];
                problems.row(batch.number(bad.row), bad.column, bad.value.clone(), bad.reason)?;
            }
            for row in batch.good_rows() {
                if let Some((key, value)) = table.pair(&batch.columns, row) {
                    take(key, value)?;
                }
            }
            rows += batch.rows as u64;
            if rows - told >= PROGRESS_ROWS {
                told = rows;
                self.done(rows, total);
            }
        }
        self.done(rows, Some(rows));
        let rows = rows + left_out_rows;
        let ignored_columns = reader.ignored().to_vec();
        Ok(Checked { table, file: file.name, rows, duplicates: 0, ignored_columns, problems })
    }

    /// Finds the row numbers of what is bad, and notes what became of the table.
    pub(crate) fn settle(&mut self, mut checked: Checked, loaded: u64) -> Result<(), ImportError> {
        checked.problems.settle()?;
        let Checked { table, file, rows, duplicates, ignored_columns, problems } = checked;
        let left_out = problems.finish();
        let report = TableReport { file, rows, loaded, duplicates, ignored_columns, left_out };
        self.report.tables.insert(table, report);
        Ok(())
    }
}

/// A table that has been read, and what is known about its rows.
pub(crate) struct Checked {
    table: Table,
    file: String,
    rows: u64,
    pub(crate) duplicates: u64,
    ignored_columns: Vec<String>,
    pub(crate) problems: Problems,
}

impl Checked {
    /// One row per key. Rows that say the same are counted; of rows that contradict each other the smallest stays, so that the
    /// order of the file makes no difference. `pair` turns a row into its pair (see [`Table::pair`]).
    pub(crate) fn distinct(
        &mut self,
        mut rows: Sorted,
        mut into: Sorter,
        pair: impl Fn(u64, u64) -> (u64, u64),
    ) -> io::Result<Sorted> {
        let mut groups = rows.groups()?;
        while let Some((key, values)) = groups.next()? {
            into.push(key, values[0])?;
            for &value in &values[1..] {
                if value == values[0] {
                    self.duplicates += 1;
                } else {
                    self.problems.pair(pair(key, value), "id", key, crate::Reason::Contradiction);
                }
            }
        }
        into.finish()
    }
}

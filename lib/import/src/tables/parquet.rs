//! Tables in Parquet files, through the typed column readers: no row and no tree of values is ever built.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
};

use parquet::{
    basic::{ConvertedType, LogicalType, Type},
    column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        reader::{FileReader, RowGroupReader},
        serialized_reader::SerializedFileReader,
    },
    schema::types::ColumnDescriptor,
};

use super::{
    BATCH_ROWS, BadCell, Batch, Column, Found, Kind, Numbers, Read, Texts, find_columns, name_kind, plan, shown,
};
use crate::{ImportError, Reason, source::TableFile};

/// Rows of a batch with texts: each can be long.
const TEXT_ROWS: usize = 128;

/// A Parquet file.
pub(super) struct Parquet {
    file: String,
    reader: SerializedFileReader<File>,
    found: Found,
    total: u64,
    /// The row group that is opened next.
    next_group: usize,
    /// Rows of the open group that are still to come.
    left: usize,
    cursors: Vec<Option<Cursor>>,
    /// Rows given so far.
    given: u64,
}

impl Parquet {
    pub(super) fn open(file: &TableFile) -> Result<Self, ImportError> {
        guarded(&file.name, || Self::open_unguarded(file))
    }

    fn open_unguarded(file: &TableFile) -> Result<Self, ImportError> {
        let opened = File::open(&file.path).map_err(|source| ImportError::Read { path: file.path.clone(), source })?;
        let reader = SerializedFileReader::new(opened).map_err(|source| broken(&file.name, None, source))?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let present: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let found = find_columns(file.table, &file.name, &present)?;
        for (column, place) in found.columns.iter().zip(&found.places) {
            if let Some(place) = *place {
                check_type(column, &schema.column(place), &file.name)?;
            }
        }
        let total = reader.metadata().file_metadata().num_rows();
        let (file, total) = (file.name.clone(), u64::try_from(total).unwrap_or_default());
        let cursors = Vec::new();
        Ok(Self { file, reader, found, total, next_group: 0, left: 0, cursors, given: 0 })
    }

    fn open_group(&mut self) -> Result<(), ImportError> {
        let group = self.reader.get_row_group(self.next_group).map_err(|e| broken(&self.file, None, e))?;
        self.left = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        self.next_group += 1;
        self.cursors.clear();
        for (column, place) in self.found.columns.iter().zip(&self.found.places) {
            let open = |place| Cursor::open(group.as_ref(), place).map_err(|e| broken(&self.file, Some(column), e));
            self.cursors.push(place.map(open).transpose()?);
        }
        Ok(())
    }
}

/// The library panics on some broken files. What panicked is not used again: whoever gets the error drops the reader.
fn guarded<T>(file: &str, work: impl FnOnce() -> Result<T, ImportError>) -> Result<T, ImportError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let source = "the decoder gave up on it".into();
        Err(ImportError::Broken { file: file.to_owned(), at: None, source })
    })
}

fn broken(file: &str, column: Option<&Column>, source: ParquetError) -> ImportError {
    let at = column.map(|column| format!("column {}", column.names[0]));
    ImportError::Broken { file: file.to_owned(), at, source: source.into() }
}

/// Refuses what a column of this kind cannot be. An integer may be annotated as such, not as a time or a decimal.
fn check_type(column: &Column, found: &ColumnDescriptor, file: &str) -> Result<(), ImportError> {
    use ConvertedType as C;
    let plain_integer = match found.logical_type_ref() {
        None => !matches!(
            found.converted_type(),
            C::DECIMAL | C::DATE | C::TIME_MILLIS | C::TIME_MICROS | C::TIMESTAMP_MILLIS | C::TIMESTAMP_MICROS
        ),
        Some(logical) => matches!(logical, LogicalType::Integer { .. }),
    };
    let fits = match (column.kind, found.physical_type()) {
        (Kind::Number, Type::INT64 | Type::INT32) => plain_integer,
        (Kind::Flag, Type::BOOLEAN) | (Kind::Plan | Kind::NameKind | Kind::Text, Type::BYTE_ARRAY) => true,
        _ => false,
    };
    // A repeated or nested value has more levels than "there or not".
    if fits && found.max_rep_level() == 0 && found.max_def_level() <= 1 {
        return Ok(());
    }
    let annotation = found.logical_type_ref().map(|logical| format!(" ({logical:?})")).unwrap_or_default();
    let found = format!("{}{annotation}", found.physical_type());
    let (file, column, expected) = (file.to_owned(), column.names[0].to_owned(), column.kind.expected());
    Err(ImportError::ColumnType { file, column, found, expected })
}

impl Read for Parquet {
    fn read(&mut self, batch: &mut Batch) -> Result<bool, ImportError> {
        let file = self.file.clone();
        guarded(&file, || self.read_unguarded(batch))
    }

    fn total(&self) -> Option<u64> {
        Some(self.total)
    }

    fn ignored(&self) -> &[String] {
        &self.found.ignored
    }

    fn tells(&self) -> bool {
        self.found.tells()
    }
}

impl Parquet {
    fn read_unguarded(&mut self, batch: &mut Batch) -> Result<bool, ImportError> {
        batch.clear(self.found.columns.len(), Numbers::From(self.given + 1));
        while self.left == 0 {
            if self.next_group == self.reader.num_row_groups() {
                return Ok(false);
            }
            self.open_group()?;
        }
        let texts = self.found.columns.iter().any(|column| column.kind == Kind::Text);
        let rows = self.left.min(if texts { TEXT_ROWS } else { BATCH_ROWS });
        for (place, column) in self.found.columns.iter().enumerate() {
            let Some(cursor) = &mut self.cursors[place] else {
                batch.columns[place].resize(rows, column.default.unwrap_or_default());
                continue;
            };
            let failed = |error| broken(&self.file, Some(column), error);
            match cursor {
                Cursor::Text(typed) if column.kind == Kind::Text => {
                    typed.read_texts(rows, column, &mut batch.texts, &mut batch.bad).map_err(failed)?;
                }
                cursor => cursor.read(rows, column, &mut batch.columns[place], &mut batch.bad).map_err(failed)?,
            }
        }
        batch.rows = rows;
        batch.bad.sort_by_key(|bad| bad.row);
        self.left -= rows;
        self.given += rows as u64;
        Ok(true)
    }
}

/// A column of a row group.
enum Cursor {
    Long(Typed<Int64Type>, bool),
    Int(Typed<Int32Type>, bool),
    Flag(Typed<BoolType>),
    Text(Typed<ByteArrayType>),
}

struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    levels: Vec<i16>,
    values: Vec<T::T>,
}

impl Cursor {
    fn open(group: &dyn RowGroupReader, place: usize) -> Result<Self, ParquetError> {
        let column = group.metadata().column(place).column_descr_ptr();
        let unsigned = match column.logical_type_ref() {
            Some(LogicalType::Integer(integer)) => !integer.is_signed,
            _ => matches!(column.converted_type(), ConvertedType::UINT_32 | ConvertedType::UINT_64),
        };
        match group.get_column_reader(place)? {
            reader @ ColumnReader::Int64ColumnReader(_) => Ok(Self::Long(Typed::new(reader), unsigned)),
            reader @ ColumnReader::Int32ColumnReader(_) => Ok(Self::Int(Typed::new(reader), unsigned)),
            reader @ ColumnReader::BoolColumnReader(_) => Ok(Self::Flag(Typed::new(reader))),
            reader @ ColumnReader::ByteArrayColumnReader(_) => Ok(Self::Text(Typed::new(reader))),
            _ => Err(ParquetError::General("a row group's column has another type than the file's".to_owned())),
        }
    }

    /// Reads exactly `rows` values, as numbers, and notes the bad ones.
    fn read(
        &mut self,
        rows: usize,
        column: &Column,
        out: &mut Vec<u64>,
        bad: &mut Vec<BadCell>,
    ) -> Result<(), ParquetError> {
        let not_a_number = |value: String| (Reason::NotANumber, value);
        let signed = |value: i64| u64::try_from(value).map_err(|_| not_a_number(value.to_string()));
        match self {
            // Ids are below 2⁶³: what is negative as a signed number is bad, whichever the column calls itself.
            Self::Long(typed, unsigned) => typed.read(rows, column, out, bad, |&value| match (*unsigned, value) {
                (true, ..0) => Err(not_a_number(value.cast_unsigned().to_string())),
                _ => signed(value),
            }),
            Self::Int(typed, true) => typed.read(rows, column, out, bad, |&value| Ok(value.cast_unsigned().into())),
            Self::Int(typed, false) => typed.read(rows, column, out, bad, |&value| signed(value.into())),
            Self::Flag(typed) => typed.read(rows, column, out, bad, |&value| Ok(value.into())),
            Self::Text(typed) => typed.read(rows, column, out, bad, |value: &ByteArray| {
                let (known, reason) = match column.kind {
                    Kind::NameKind => (name_kind(value.data()), Reason::UnknownKind),
                    _ => (plan(value.data()), Reason::UnknownPlan),
                };
                known.ok_or_else(|| (reason, shown(value.data())))
            }),
        }
    }
}

impl Typed<ByteArrayType> {
    /// Reads exactly `rows` texts and notes the bad ones; none is an empty one.
    fn read_texts(
        &mut self,
        rows: usize,
        column: &Column,
        out: &mut Texts,
        bad: &mut Vec<BadCell>,
    ) -> Result<(), ParquetError> {
        let values = self.fill(rows)?;
        let mut values = self.values[..values].iter();
        let all = self.levels.is_empty();
        for row in 0..rows {
            let value = if all || self.levels.get(row).is_some_and(|level| *level > 0) { values.next() } else { None };
            let text = value.map(ByteArray::data).unwrap_or_default();
            if let Err(reason) = out.push(text) {
                bad.push(BadCell { row, column: column.names[0], reason, value: shown(text) });
            }
        }
        Ok(())
    }
}

impl<T: DataType> Typed<T> {
    fn new(reader: ColumnReader) -> Self {
        Self { reader: get_typed_column_reader(reader), levels: Vec::new(), values: Vec::new() }
    }

    /// Reads exactly `rows` records; answers how many of them have a value.
    fn fill(&mut self, rows: usize) -> Result<usize, ParquetError> {
        self.levels.clear();
        self.values.clear();
        let (records, values, _) = self.reader.read_records(rows, Some(&mut self.levels), None, &mut self.values)?;
        if records != rows {
            return Err(ParquetError::EOF(format!("it ends {} rows early", rows - records)));
        }
        Ok(values)
    }

    fn read(
        &mut self,
        rows: usize,
        column: &Column,
        out: &mut Vec<u64>,
        bad: &mut Vec<BadCell>,
        convert: impl Fn(&T::T) -> Result<u64, (Reason, String)>,
    ) -> Result<(), ParquetError> {
        let values = self.fill(rows)?;
        let mut take = |row, value| match convert(value) {
            Ok(number) => number,
            Err((reason, value)) => {
                bad.push(BadCell { row, column: column.names[0], reason, value });
                0
            }
        };
        if values == rows {
            out.extend(self.values.iter().enumerate().map(|(row, value)| take(row, value)));
            return Ok(());
        }
        let mut values = self.values.iter();
        for (row, &level) in self.levels.iter().enumerate() {
            let value = if level == 0 { None } else { values.next() };
            out.push(value.map_or_else(|| column.default.unwrap_or_default(), |value| take(row, value)));
        }
        if column.default.is_none() {
            let missing = self.levels.iter().enumerate().filter(|(_, level)| **level == 0);
            let cell = |row| BadCell { row, column: column.names[0], reason: Reason::Missing, value: String::new() };
            bad.extend(missing.map(|(row, _)| cell(row)));
        }
        Ok(())
    }
}

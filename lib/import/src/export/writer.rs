//! Rows into a file of CSV or Parquet.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::{Compression, ZstdLevel},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::{ExportError, ExportFormat};

/// Rows of a row group, and bytes of text after which it ends.
const GROUP_ROWS: usize = 256 << 10;
const GROUP_BYTES: usize = 32 << 20;
const BUFFER: usize = 1 << 20;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 0 to 2⁶³ − 1, of something.
    Id,
    Number,
    OptionalId,
    Flag,
    Text,
    OptionalText,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// A value; it fits the kind of its column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'a> {
    Number(u64),
    Flag(bool),
    Text(&'a str),
    Nothing,
}

/// Writes the rows of one table.
pub(super) struct Writer {
    path: PathBuf,
    kind: FileKind,
}

enum FileKind {
    Csv(Box<csv::Writer<BufWriter<File>>>),
    Parquet(Box<Group>),
}

impl Writer {
    /// Creates the file, or empties it.
    pub(super) fn create(path: &Path, format: ExportFormat, columns: &'static [Column]) -> Result<Self, ExportError> {
        let failed = |source| ExportError::Write { path: path.to_owned(), source };
        let file = BufWriter::with_capacity(BUFFER, File::create(path).map_err(failed)?);
        let kind = match format {
            ExportFormat::Csv => {
                let mut writer = csv::Writer::from_writer(file);
                let header = writer.write_record(columns.iter().map(|column| column.name));
                header.map_err(|source| encode(path, source))?;
                FileKind::Csv(Box::new(writer))
            }
            ExportFormat::Parquet => {
                FileKind::Parquet(Box::new(Group::new(file, columns).map_err(|source| encode(path, source))?))
            }
        };
        Ok(Self { path: path.to_owned(), kind })
    }

    /// Adds a row, a cell for each column.
    pub(super) fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), ExportError> {
        match &mut self.kind {
            FileKind::Csv(writer) => csv_row(writer, cells).map_err(|source| encode(&self.path, source)),
            FileKind::Parquet(group) => group.row(cells).map_err(|source| encode(&self.path, source)),
        }
    }

    /// Ends the file; answers its size when it is durable.
    pub(super) fn finish(self) -> Result<u64, ExportError> {
        let path = self.path;
        let failed = |source| ExportError::Write { path: path.clone(), source };
        let mut buffer = match self.kind {
            FileKind::Csv(writer) => {
                writer.into_inner().map_err(|e| failed(io::Error::new(e.error().kind(), e.error().to_string())))?
            }
            FileKind::Parquet(group) => group.finish().map_err(|source| encode(&path, source))?,
        };
        buffer.flush().map_err(failed)?;
        let file = buffer.get_ref();
        file.sync_all().map_err(failed)?;
        Ok(file.metadata().map_err(failed)?.len())
    }
}

/// Encoders carry failures of the file in their own; those are told as what they are.
fn encode(path: &Path, source: impl Into<chat::BoxError>) -> ExportError {
    let (path, source) = (path.to_owned(), source.into());
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*source);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return ExportError::Write { path, source: io::Error::new(error.kind(), error.to_string()) };
        }
        cause = error.source();
    }
    ExportError::Encode { path, source }
}

fn csv_row(writer: &mut csv::Writer<BufWriter<File>>, cells: &[Cell<'_>]) -> csv::Result<()> {
    for cell in cells {
        match cell {
            Cell::Number(number) => writer.write_field(number.to_string())?,
            Cell::Flag(flag) => writer.write_field(if *flag { "true" } else { "false" })?,
            Cell::Text(text) => writer.write_field(text)?,
            Cell::Nothing => writer.write_field("")?,
        }
    }
    writer.write_record(None::<&[u8]>)
}

/// The values of a column, and which rows have one.
#[derive(Default)]
struct Values {
    numbers: Vec<i64>,
    flags: Vec<bool>,
    texts: Vec<ByteArray>,
    levels: Vec<i16>,
}

/// A row group of a Parquet file, gathered column by column.
struct Group {
    file: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Values>,
    rows: usize,
    bytes: usize,
}

impl Group {
    fn new(file: BufWriter<File>, columns: &[Column]) -> Result<Self, ParquetError> {
        let field = |column: &Column| {
            let (needed, kind, note) = match column.kind {
                Kind::Id | Kind::Number => ("required", "int64", ""),
                Kind::OptionalId => ("optional", "int64", ""),
                Kind::Flag => ("required", "boolean", ""),
                Kind::Text => ("required", "binary", " (UTF8)"),
                Kind::OptionalText => ("optional", "binary", " (UTF8)"),
            };
            format!("{needed} {kind} {}{note};", column.name)
        };
        let fields: String = columns.iter().map(field).collect();
        let schema = Arc::new(parse_message_type(&format!("message rows {{ {fields} }}"))?);
        let compression = Compression::ZSTD(ZstdLevel::try_new(1)?);
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let file = SerializedFileWriter::new(file, schema, properties)?;
        let columns = columns.iter().map(|_| Values::default()).collect();
        Ok(Self { file, columns, rows: 0, bytes: 0 })
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), ParquetError> {
        for (values, cell) in self.columns.iter_mut().zip(cells) {
            values.levels.push(i16::from(!matches!(cell, Cell::Nothing)));
            match *cell {
                Cell::Number(number) => values.numbers.push(number.cast_signed()),
                Cell::Flag(flag) => values.flags.push(flag),
                Cell::Text(text) => {
                    self.bytes += text.len();
                    values.texts.push(ByteArray::from(text));
                }
                Cell::Nothing => {}
            }
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        let mut columns = self.columns.iter_mut();
        while let (Some(mut column), Some(values)) = (group.next_column()?, columns.next()) {
            // The levels of a column that must have values are not written.
            let levels = Some(&values.levels[..]);
            match column.untyped() {
                ColumnWriter::Int64ColumnWriter(writer) => writer.write_batch(&values.numbers, levels, None)?,
                ColumnWriter::BoolColumnWriter(writer) => writer.write_batch(&values.flags, levels, None)?,
                ColumnWriter::ByteArrayColumnWriter(writer) => writer.write_batch(&values.texts, levels, None)?,
                _ => return Err(ParquetError::General("a column of a type that no table has".to_owned())),
            };
            column.close()?;
            values.numbers.clear();
            values.flags.clear();
            values.texts.clear();
            values.levels.clear();
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    fn finish(mut self) -> Result<BufWriter<File>, ParquetError> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.file.into_inner()
    }
}

//! CSV, TSV and JSON lines as records of the same few fields.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde_json::Value;

use super::{Format, Mapping, Quoting};
use crate::{ImportError, Reason, tables::shown};

/// The longest line of JSON lines. A body of the greatest length fits, even if each of its characters is escaped.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// Bytes of the read buffer.
const BUFFER: usize = 1 << 20;

/// What a field is; its place in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Organization,
    Plan,
    Room,
    Author,
    Time,
    Id,
    Body,
    Deleted,
}

/// How many kinds of fields there are.
pub(super) const FIELDS: usize = 8;

/// The columns of a mapping, by field.
pub(super) fn columns(mapping: &Mapping) -> [Option<String>; FIELDS] {
    let message = &mapping.message;
    [
        Some(mapping.organization.column.clone()),
        mapping.organization.plan_column.clone(),
        Some(mapping.room.column.clone()),
        Some(mapping.author.column.clone()),
        message.time.clone(),
        message.id.clone(),
        message.body.clone(),
        message.deleted.clone(),
    ]
}

/// A record: its line, and the text of each field; `None` where the column is not mapped or has no value.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) fields: [Option<String>; FIELDS],
}

impl Record {
    /// The text of a field, blanks around it cut off; `None` where there is none.
    pub(super) fn field(&self, field: Field) -> Option<&str> {
        self.fields[field as usize].as_deref().map(str::trim).filter(|text| !text.is_empty())
    }
}

/// Why a record cannot be taken.
pub(super) struct Bad {
    pub(super) column: String,
    pub(super) value: String,
    pub(super) reason: Reason,
}

/// The records of a file.
pub(super) struct Records {
    path: PathBuf,
    columns: [Option<String>; FIELDS],
    quoting: Quoting,
    kind: Kind,
    /// Columns that are not mapped; of JSON nobody knows them.
    pub(super) ignored: Vec<String>,
}

enum Kind {
    Delimited {
        reader: csv::Reader<Box<dyn BufRead + Send>>,
        record: ByteRecord,
        /// True when `record` was read to learn the width and is still to be given.
        pending: bool,
        places: [Option<usize>; FIELDS],
        width: usize,
    },
    Json {
        reader: Box<dyn BufRead + Send>,
        line: u64,
        text: Vec<u8>,
    },
}

/// Opens a file, decompressed if it begins as gzip or zstd do.
fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let start = file.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(BufReader::with_capacity(BUFFER, zstd::stream::read::Decoder::with_buffer(file)?))
        }
        _ => Box::new(file),
    })
}

impl Records {
    pub(super) fn open(path: &Path, mapping: &Mapping) -> Result<Self, ImportError> {
        let reader = open(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
        let (columns, quoting) = (columns(mapping), mapping.file.quoting);
        let kind = match mapping.file.format {
            Format::JsonLines => Kind::Json { reader, line: 0, text: Vec::new() },
            Format::Delimited => {
                let mut builder = ReaderBuilder::new();
                builder.delimiter(mapping.file.delimiter as u8).flexible(true).has_headers(false);
                if quoting != Quoting::Quotes {
                    // A line ends where a line feed stands, and nowhere else.
                    builder.quoting(false).terminator(Terminator::Any(b'\n'));
                }
                let reader = builder.buffer_capacity(BUFFER).from_reader(reader);
                Kind::Delimited { reader, record: ByteRecord::new(), pending: false, places: [None; FIELDS], width: 0 }
            }
        };
        let mut records = Self { path: path.to_owned(), columns, quoting, kind, ignored: Vec::new() };
        records.find_columns(mapping.file.header)?;
        Ok(records)
    }

    /// Reads the header, or takes the first record's width where there is none.
    fn find_columns(&mut self, header: bool) -> Result<(), ImportError> {
        let name = self.name();
        let Kind::Delimited { reader, record, pending, places, width } = &mut self.kind else { return Ok(()) };
        let more = reader.read_byte_record(record).map_err(|source| broken(&name, source))?;
        let mut present: Vec<String> = if header {
            let text =
                |field: &[u8]| shown(field.trim_ascii()).trim_start_matches('\u{feff}').trim_matches('\r').to_owned();
            record.iter().map(text).collect()
        } else {
            (1..=record.len()).map(|number| number.to_string()).collect()
        };
        *width = record.len();
        for (place, column) in places.iter_mut().zip(&self.columns) {
            let Some(column) = column else { continue };
            *place = present.iter().position(|name| name == column);
            if place.is_none() && (header || more) {
                let (file, column, present) = (name, column.clone(), present.join(", "));
                return Err(ImportError::MissingColumn { file, column, present });
            }
        }
        present.retain(|name| !self.columns.iter().flatten().any(|column| column == name));
        self.ignored = if header { present } else { Vec::new() };
        *pending = more && !header;
        Ok(())
    }

    /// Its name, without the folder.
    pub(super) fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// Reads the next record; `None` at the end. The inner error is a bad row, after which the next can be read.
    pub(super) fn next(&mut self, into: &mut Record) -> Result<Option<Result<(), Bad>>, ImportError> {
        let name = self.name();
        match &mut self.kind {
            Kind::Delimited { reader, record, pending, places, width } => {
                if !std::mem::take(pending)
                    && !reader.read_byte_record(record).map_err(|source| broken(&name, source))?
                {
                    return Ok(None);
                }
                into.line = record.position().map_or(0, csv::Position::line);
                Ok(Some(split(record, places, *width, &self.columns, self.quoting, into)))
            }
            Kind::Json { reader, line, text } => loop {
                text.clear();
                let read = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', text);
                *line += 1;
                let at = || Some(format!("line {line}"));
                let failed =
                    |at: Option<String>, source: chat::BoxError| ImportError::Broken { file: name.clone(), at, source };
                let length = read.map_err(|source| failed(at(), source.into()))?;
                if length as u64 == MAX_LINE_BYTES && !text.ends_with(b"\n") {
                    return Err(failed(at(), "a line is longer than 16 MiB".into()));
                }
                if length == 0 {
                    return Ok(None);
                }
                if !text.trim_ascii().is_empty() {
                    into.line = *line;
                    return Ok(Some(pick(text.trim_ascii(), &self.columns, into)));
                }
            },
        }
    }
}

fn broken(file: &str, source: csv::Error) -> ImportError {
    let at = source.position().map(|position| format!("line {}", position.line()));
    ImportError::Broken { file: file.to_owned(), at, source: source.into() }
}

fn bad(column: Option<&String>, value: &[u8], reason: Reason) -> Bad {
    Bad { column: column.cloned().unwrap_or_default(), value: shown(value), reason }
}

/// Takes the fields out of a line of a delimited file.
fn split(
    record: &ByteRecord,
    places: &[Option<usize>; FIELDS],
    width: usize,
    columns: &[Option<String>; FIELDS],
    quoting: Quoting,
    into: &mut Record,
) -> Result<(), Bad> {
    if record.len() != width {
        let value = format!("{} instead of {width}", record.len());
        return Err(bad(None, value.as_bytes(), Reason::FieldCount));
    }
    for ((place, column), field) in places.iter().zip(columns).zip(&mut into.fields) {
        let Some(place) = *place else {
            *field = None;
            continue;
        };
        let mut bytes = record.get(place).unwrap_or_default();
        if quoting != Quoting::Quotes && place + 1 == width {
            bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad(column.as_ref(), bytes, Reason::NotText))?;
        let field = field.get_or_insert_default();
        field.clear();
        match quoting {
            Quoting::Backslash => unescape(text, field),
            Quoting::Quotes | Quoting::None => field.push_str(text),
        }
    }
    Ok(())
}

/// Appends `text` with `\\`, `\t`, `\n` and `\r` as what they mean; any other backslash is itself.
fn unescape(text: &str, into: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        into.push_str(&rest[..at]);
        let meant = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => Some('\\'),
            Some(b't') => Some('\t'),
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            _ => None,
        };
        into.push(meant.unwrap_or('\\'));
        rest = &rest[at + 1 + usize::from(meant.is_some())..];
    }
    into.push_str(rest);
}

/// Takes the fields out of a JSON object.
fn pick(text: &[u8], columns: &[Option<String>; FIELDS], into: &mut Record) -> Result<(), Bad> {
    let value: Value = serde_json::from_slice(text).map_err(|_| bad(None, text, Reason::NotJson))?;
    if !value.is_object() {
        return Err(bad(None, text, Reason::NotJson));
    }
    for (column, field) in columns.iter().zip(&mut into.fields) {
        let Some(path) = column else {
            *field = None;
            continue;
        };
        *field = match at(&value, path) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::Bool(flag)) => Some(flag.to_string()),
            Some(other) => return Err(bad(column.as_ref(), other.to_string().as_bytes(), Reason::NotAValue)),
        };
    }
    Ok(())
}

/// The value at a path of names and places: `user.id`, `users.0.id`. A field whose name holds dots is found, too.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = value.get(path) {
        return Some(found);
    }
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(values) => values.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslashes_stand_for_what_they_mean() {
        for (text, expected) in [
            ("a\\tb\\nc\\\\d\\re", "a\tb\nc\\d\re"),
            ("\\\\n", "\\n"),
            ("\\x \\", "\\x \\"),
            ("\\\u{e9}\\n", "\\\u{e9}\n"),
            ("", ""),
        ] {
            let mut plain = String::new();
            unescape(text, &mut plain);
            assert_eq!(plain, expected);
        }
    }

    #[test]
    fn paths_lead_into_objects_and_arrays() {
        let value: Value = serde_json::from_str(r#"{"user":{"id":7},"tags":[{"x":"y"}],"a.b":1}"#).expect("JSON");
        assert_eq!(at(&value, "user.id"), Some(&Value::from(7)));
        assert_eq!(at(&value, "tags.0.x"), Some(&Value::from("y")));
        assert_eq!(at(&value, "a.b"), Some(&Value::from(1)));
        assert!(at(&value, "user.id.more").is_none() && at(&value, "tags.x").is_none() && at(&value, "no").is_none());
    }
}

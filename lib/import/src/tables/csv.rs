//! Tables in CSV files with a header: comma, double quotes, UTF-8.

use std::fs::File;

use ::csv::{ByteRecord, ReaderBuilder};

use super::{
    BATCH_BYTES, BATCH_ROWS, BadCell, Batch, Column, Found, Kind, NO_ID, Numbers, Read, find_columns, name_kind, plan,
    shown,
};
use crate::{ImportError, Reason, source::TableFile};

/// A CSV file.
pub(super) struct Csv {
    file: String,
    reader: ::csv::Reader<File>,
    fields: usize,
    found: Found,
    record: ByteRecord,
}

impl Csv {
    pub(super) fn open(file: &TableFile) -> Result<Self, ImportError> {
        let opened = File::open(&file.path).map_err(|source| ImportError::Read { path: file.path.clone(), source })?;
        // Rows with too few or too many fields are bad rows, not broken files.
        let mut reader = ReaderBuilder::new().flexible(true).buffer_capacity(1 << 20).from_reader(opened);
        let header = reader.byte_headers().map_err(|source| broken(&file.name, source))?;
        let header = header.iter().map(|name| shown(name.trim_ascii()).trim_start_matches('\u{feff}').to_owned());
        let present: Vec<String> = header.collect();
        let found = find_columns(file.table, &file.name, &present)?;
        Ok(Self { file: file.name.clone(), reader, fields: present.len(), found, record: ByteRecord::new() })
    }
}

fn broken(file: &str, source: ::csv::Error) -> ImportError {
    let at = source.position().map(|position| format!("line {}", position.line()));
    ImportError::Broken { file: file.to_owned(), at, source: source.into() }
}

impl Read for Csv {
    fn read(&mut self, batch: &mut Batch) -> Result<bool, ImportError> {
        let Found { columns: of_table, places, .. } = &self.found;
        batch.clear(of_table.len(), Numbers::Lines(Vec::with_capacity(BATCH_ROWS)));
        let Batch { rows, columns, texts, bad, numbers: Numbers::Lines(lines) } = batch else { return Ok(false) };
        while *rows < BATCH_ROWS && texts.bytes() < BATCH_BYTES {
            let more = self.reader.read_byte_record(&mut self.record).map_err(|source| broken(&self.file, source))?;
            if !more {
                break;
            }
            lines.push(self.record.position().map_or(0, ::csv::Position::line));
            let complete = self.record.len() == self.fields;
            if !complete {
                let value = format!("{} instead of {}", self.record.len(), self.fields);
                bad.push(BadCell { row: *rows, column: "", reason: Reason::FieldCount, value });
            }
            for ((column, place), values) in of_table.iter().zip(places).zip(columns.iter_mut()) {
                let field = place.and_then(|place| self.record.get(place)).unwrap_or_default();
                // Blanks around a text belong to it.
                let (field, parsed) = match column.kind {
                    Kind::Text => (field, texts.push(field).map(|()| NO_ID)),
                    _ => (field.trim_ascii(), parse(column, field.trim_ascii())),
                };
                match parsed {
                    Ok(value) => values.push(value),
                    Err(reason) => {
                        values.push(0);
                        if complete {
                            bad.push(BadCell { row: *rows, column: column.names[0], reason, value: shown(field) });
                        }
                    }
                }
            }
            *rows += 1;
        }
        Ok(*rows > 0)
    }

    fn total(&self) -> Option<u64> {
        None
    }

    fn ignored(&self) -> &[String] {
        &self.found.ignored
    }

    fn tells(&self) -> bool {
        self.found.tells()
    }
}

fn parse(column: &Column, field: &[u8]) -> Result<u64, Reason> {
    if field.is_empty() {
        return column.default.ok_or(Reason::Missing);
    }
    match column.kind {
        Kind::Number => number(field).ok_or(Reason::NotANumber),
        Kind::NameKind => name_kind(field).ok_or(Reason::UnknownKind),
        Kind::Plan => plan(field).ok_or(Reason::UnknownPlan),
        Kind::Flag => match field {
            b"0" => Ok(0),
            b"1" => Ok(1),
            _ if field.eq_ignore_ascii_case(b"false") => Ok(0),
            _ if field.eq_ignore_ascii_case(b"true") => Ok(1),
            _ => Err(Reason::NotAFlag),
        },
        Kind::Text => Ok(NO_ID),
    }
}

/// Digits alone, at most 2⁶³ − 1.
fn number(field: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for &byte in field {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    i64::try_from(value).is_ok().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_up_to_the_largest_id() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"007"), Some(7));
        assert_eq!(number(b"9223372036854775807"), Some(i64::MAX as u64));
        for text in ["9223372036854775808", "18446744073709551616", "-1", "+1", "1.0", "1e3", "x", "\u{0661}"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }
}

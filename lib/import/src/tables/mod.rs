//! The tables, their columns, and one reader of column batches for both file formats.

mod csv;
mod parquet;

use std::sync::Arc;

use chat::messages::MAX_BODY_BYTES;
use serde::Serialize;

use crate::{
    ImportError, NameKind, Reason,
    mapping::{self, Mapped},
    source::TableFile,
};

/// Rows of a batch.
const BATCH_ROWS: usize = 32 << 10;
/// Bytes of text after which a batch ends.
const BATCH_BYTES: usize = 8 << 20;

/// A table of the import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// `id`, `plan` (`free` or `paid`), optionally `plan_version` (0).
    Organizations,
    /// `id`, `org_id` or `organization_id`, optionally `active` (true).
    Accounts,
    /// `id`.
    Rooms,
    /// `room_id`, `account_id`, optionally `active` (true) and `left` (false).
    Memberships,
    /// `room_id`, `message_id`, optionally `deleted` (false), `author_id` or `author`, and `body`.
    Messages,
    /// `kind` (`organization`, `room` or `account`), `id`, `name`, optionally `organization_id`. A folder need not have it.
    Names,
}

/// What a column holds. All of it but text is kept as `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 0 to 2⁶³ − 1.
    Number,
    /// 0 or 1.
    Flag,
    /// 0 for free, 1 for paid.
    Plan,
    /// The number of a [`NameKind`].
    NameKind,
    /// Any text, at most [`MAX_BODY_BYTES`] long. A table has one such column at most.
    Text,
}

impl Kind {
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Number => "a 32 or 64 bit integer",
            Self::Flag => "a boolean",
            Self::Plan | Self::NameKind | Self::Text => "text",
        }
    }
}

/// A column of a table.
#[derive(Debug)]
pub(crate) struct Column {
    /// Its name and what else it may be called.
    pub(crate) names: &'static [&'static str],
    pub(crate) kind: Kind,
    /// What holds where the column or its value is missing; `None`: must be there.
    pub(crate) default: Option<u64>,
    /// It says what a message is about: such columns are read only where the file has one of them.
    content: bool,
}

/// Stands for "nobody" among ids.
pub(crate) const NO_ID: u64 = u64::MAX;

const fn required(names: &'static [&'static str], kind: Kind) -> Column {
    Column { names, kind, default: None, content: false }
}

const fn optional(names: &'static [&'static str], kind: Kind, default: u64) -> Column {
    Column { names, kind, default: Some(default), content: false }
}

const fn content(names: &'static [&'static str], kind: Kind) -> Column {
    Column { names, kind, default: Some(NO_ID), content: true }
}

impl Table {
    /// All tables that a folder must have, in the order in which they are imported.
    pub const ALL: [Self; 5] = [Self::Organizations, Self::Accounts, Self::Rooms, Self::Memberships, Self::Messages];

    /// Its name, which is also that of its file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organizations => "organizations",
            Self::Accounts => "accounts",
            Self::Rooms => "rooms",
            Self::Memberships => "memberships",
            Self::Messages => "messages",
            Self::Names => "names",
        }
    }

    pub(crate) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Organizations => {
                const {
                    &[
                        required(&["id"], Kind::Number),
                        required(&["plan"], Kind::Plan),
                        optional(&["plan_version"], Kind::Number, 0),
                    ]
                }
            }
            Self::Accounts => {
                const {
                    &[
                        required(&["id"], Kind::Number),
                        required(&["org_id", "organization_id"], Kind::Number),
                        optional(&["active"], Kind::Flag, 1),
                    ]
                }
            }
            Self::Rooms => const { &[required(&["id"], Kind::Number)] },
            Self::Memberships => {
                const {
                    &[
                        required(&["room_id"], Kind::Number),
                        required(&["account_id"], Kind::Number),
                        optional(&["active"], Kind::Flag, 1),
                        optional(&["left"], Kind::Flag, 0),
                    ]
                }
            }
            Self::Messages => {
                const {
                    &[
                        required(&["room_id"], Kind::Number),
                        required(&["message_id"], Kind::Number),
                        optional(&["deleted"], Kind::Flag, 0),
                        content(&["author_id", "author"], Kind::Number),
                        content(&["body"], Kind::Text),
                    ]
                }
            }
            Self::Names => {
                const {
                    &[
                        required(&["kind"], Kind::NameKind),
                        required(&["id"], Kind::Number),
                        optional(&["organization_id"], Kind::Number, NO_ID),
                        required(&["name"], Kind::Text),
                    ]
                }
            }
        }
    }

    /// A row as the pair under which it is sorted. Ids are below 2⁶³, so a flag fits below one:
    ///
    /// | table | key | value, flag |
    /// | --- | --- | --- |
    /// | organizations | id | plan version, paid |
    /// | accounts | organization | id, active |
    /// | rooms | id | 0 |
    /// | memberships | room | account, ended |
    /// | messages | room | id, live |
    /// | names | id | kind |
    ///
    /// `None` where the row has fewer columns than the table, which no reader gives.
    #[inline]
    pub(crate) fn pair(self, columns: &[Vec<u64>], row: usize) -> Option<(u64, u64)> {
        Some(match (self, columns) {
            (Self::Organizations, [id, plan, version]) => (id[row], version[row] << 1 | plan[row]),
            (Self::Accounts, [id, organization, active]) => (organization[row], id[row] << 1 | active[row]),
            (Self::Rooms, [id]) => (id[row], 0),
            (Self::Memberships, [room, account, active, left]) => {
                (room[row], account[row] << 1 | u64::from(active[row] == 0 || left[row] == 1))
            }
            (Self::Messages, [room, id, deleted, ..]) => (room[row], id[row] << 1 | (1 - deleted[row])),
            (Self::Names, [kind, id, ..]) => (id[row], kind[row]),
            _ => return None,
        })
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A value that cannot be taken.
#[derive(Debug)]
pub(crate) struct BadCell {
    /// Its row in the batch, from 0.
    pub(crate) row: usize,
    pub(crate) column: &'static str,
    pub(crate) reason: Reason,
    /// The value as it stands in the file.
    pub(crate) value: String,
}

/// Some rows of a table, column by column, in the order of [`Found::columns`].
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) rows: usize,
    /// One `Vec` per column, each with `rows` values; a bad value is 0 here.
    pub(crate) columns: Vec<Vec<u64>>,
    pub(crate) texts: Texts,
    pub(crate) bad: Vec<BadCell>,
    numbers: Numbers,
}

/// How rows are numbered for people.
#[derive(Debug)]
pub(crate) enum Numbers {
    /// The batch's first row; the others follow.
    From(u64),
    /// The line on which each row begins.
    Lines(Vec<u64>),
    /// The file and the line of each row.
    Places(Vec<(Arc<str>, u64)>),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::From(1)
    }
}

impl Batch {
    /// The number of a row: 1-based; in a CSV file the line.
    pub(crate) fn number(&self, row: usize) -> u64 {
        match &self.numbers {
            Numbers::From(first) => first + row as u64,
            Numbers::Lines(lines) => lines.get(row).copied().unwrap_or_default(),
            Numbers::Places(places) => places.get(row).map_or(0, |(_, line)| *line),
        }
    }

    /// The file in which a row stands, `file` where the table has but one, and its number.
    pub(crate) fn place(&self, row: usize, file: &str) -> (String, u64) {
        let own = match &self.numbers {
            Numbers::Places(places) => places.get(row).map(|(file, _)| &**file),
            _ => None,
        };
        (own.unwrap_or(file).to_owned(), self.number(row))
    }

    /// Adds a row: the values of the first columns; the others are text.
    pub(crate) fn push(&mut self, values: &[u64]) {
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(*value);
        }
        self.rows += 1;
    }

    /// Says where the row that is added next stands.
    pub(crate) fn push_place(&mut self, file: &Arc<str>, line: u64) {
        if let Numbers::Places(places) = &mut self.numbers {
            places.push((file.clone(), line));
        }
    }

    /// The rows without a bad value. `bad` is in order of rows.
    pub(crate) fn good_rows(&self) -> impl Iterator<Item = usize> {
        let mut bad = self.bad.iter().map(|cell| cell.row).peekable();
        (0..self.rows).filter(move |row| {
            while bad.next_if(|bad| bad < row).is_some() {}
            bad.peek() != Some(row)
        })
    }

    pub(crate) fn clear(&mut self, columns: usize, numbers: Numbers) {
        self.rows = 0;
        self.columns.resize_with(columns, Vec::new);
        self.columns.iter_mut().for_each(Vec::clear);
        self.texts.clear();
        self.bad.clear();
        self.numbers = numbers;
    }
}

/// Reads a table from its start, a batch at a time.
pub(crate) trait Read: Send {
    /// Fills `batch` with the next rows; false, and no row, at the end.
    fn read(&mut self, batch: &mut Batch) -> Result<bool, ImportError>;

    /// How many rows the file says it has.
    fn total(&self) -> Option<u64>;

    /// Columns that the table does not have.
    fn ignored(&self) -> &[String];

    /// Whether the rows tell what a message says.
    fn tells(&self) -> bool;
}

/// Opens a table's file and checks its columns.
pub(crate) fn open(file: &TableFile) -> Result<Box<dyn Read>, ImportError> {
    Ok(match &file.format {
        Format::Parquet => Box::new(parquet::Parquet::open(file)?),
        Format::Csv => Box::new(csv::Csv::open(file)?),
        Format::Mapped(mapped) => Box::new(mapping::Reader::open(file.table, mapped)),
    })
}

/// How a file is written.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    Parquet,
    Csv,
    /// Not at all: it is what other files became.
    Mapped(Arc<Mapped>),
}

/// Which columns of a table a file has.
#[derive(Debug)]
struct Found {
    /// The table's columns; those about the content of messages only where the file has one of them.
    columns: Vec<&'static Column>,
    /// Where each stands in the file.
    places: Vec<Option<usize>>,
    /// Columns of the file that are not the table's.
    ignored: Vec<String>,
}

impl Found {
    fn tells(&self) -> bool {
        self.columns.iter().any(|column| column.content)
    }
}

/// Looks for the columns of `table` among those that are `present`.
fn find_columns(table: Table, file: &str, present: &[String]) -> Result<Found, ImportError> {
    let mut places = Vec::new();
    for column in table.columns() {
        if column.content {
            // An author's id is often accompanied by a name: the first of the permitted names is taken, others are ignored.
            let place = column.names.iter().find_map(|name| present.iter().position(|present| present == name));
            places.push(place);
            continue;
        }
        let mut found = present.iter().enumerate().filter(|(_, name)| column.names.contains(&name.as_str()));
        let place = found.next();
        if let (Some((_, first)), Some((_, second))) = (place, found.next()) {
            let (file, first, second) = (file.to_owned(), first.clone(), second.clone());
            return Err(ImportError::TwoColumns { file, first, second });
        }
        if place.is_none() && column.default.is_none() {
            let (file, column, present) = (
                file.to_owned(),
                column.names.join(" (or ") + if column.names.len() > 1 { ")" } else { "" },
                present.join(", "),
            );
            return Err(ImportError::MissingColumn { file, column, present });
        }
        places.push(place.map(|(place, _)| place));
    }
    let ignored = present.iter().enumerate().filter(|(place, _)| !places.contains(&Some(*place)));
    let ignored = ignored.map(|(_, name)| name.clone()).collect();
    let tells = table.columns().iter().zip(&places).any(|(column, place)| column.content && place.is_some());
    let (mut columns, mut taken) = (Vec::new(), Vec::new());
    for (column, place) in table.columns().iter().zip(places) {
        if tells || !column.content {
            columns.push(column);
            taken.push(place);
        }
    }
    Ok(Found { columns, places: taken, ignored })
}

/// The texts of a batch, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    /// The text of a row; empty in a table without texts.
    pub(crate) fn row(&self, row: usize) -> &str {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let end = self.ends.get(row).copied().unwrap_or_default();
        self.text.get(start..end).unwrap_or_default()
    }

    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds the next row's text, which has been checked.
    pub(crate) fn add(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// Adds the next row's text; one that cannot be taken is empty.
    fn push(&mut self, text: &[u8]) -> Result<(), Reason> {
        let text = match std::str::from_utf8(text) {
            Ok(text) if text.len() <= MAX_BODY_BYTES => Ok(text),
            Ok(_) => Err(Reason::TooLong),
            Err(_) => Err(Reason::NotText),
        };
        self.add(text.unwrap_or_default());
        text.map(drop)
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

/// The plan that `text` names.
fn plan(text: &[u8]) -> Option<u64> {
    match text {
        b"free" => Some(0),
        b"paid" => Some(1),
        _ => None,
    }
}

/// The kind of name that `text` means.
fn name_kind(text: &[u8]) -> Option<u64> {
    NameKind::of(std::str::from_utf8(text).ok()?).map(|kind| kind as u64)
}

/// A value for a message: at most 80 characters of it.
pub(crate) fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(320)]).chars().take(80).collect()
}

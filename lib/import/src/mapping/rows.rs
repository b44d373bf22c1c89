//! Mapped rows in temporary files, read back as the tables of an import.
//!
//! One file holds a row of fixed width for each message, the other the bodies. Both are unnamed: whatever ends the process,
//! the system takes them back.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Seek, SeekFrom, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use chat::{MessageId, OrganizationId, Plan};

use crate::{
    ImportError, LeftOut, Name, Table,
    sort::{Follow, Sorted},
    tables::{Batch, NO_ID, Numbers, Read},
};

/// Rows of a batch.
const BATCH_ROWS: usize = 8 << 10;
/// Bytes of bodies after which a batch ends.
const BATCH_BYTES: usize = 8 << 20;
const BUFFER: usize = 1 << 20;
/// Of a row's last word: how many bits tell the line; those above tell the file.
const LINE_BITS: u32 = 48;

/// What a message becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) room: u64,
    pub(super) author: u64,
    /// The message's id; first, where it is made of the time, the milliseconds since the epoch.
    pub(super) id: u64,
    pub(super) deleted: bool,
    /// Which of the files, and the line in it.
    pub(super) file: usize,
    pub(super) line: u64,
}

const ROW_BYTES: usize = 32;

impl Row {
    fn encode(&self) -> [u8; ROW_BYTES] {
        let place = (self.file as u64) << LINE_BITS | (self.line & ((1 << LINE_BITS) - 1));
        let mut bytes = [0; ROW_BYTES];
        let words = [self.room, self.author, self.id << 1 | u64::from(self.deleted), place];
        for (into, word) in bytes.chunks_exact_mut(8).zip(words) {
            into.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; ROW_BYTES]) -> Self {
        let mut words = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
        let mut word = || words.next().unwrap_or_default();
        let (room, author, id, place) = (word(), word(), word(), word());
        let (file, line) = ((place >> LINE_BITS) as usize, place & ((1 << LINE_BITS) - 1));
        Self { room, author, id: id >> 1, deleted: id & 1 == 1, file, line }
    }
}

/// A temporary file that several readers read, each at a place of its own.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<File>>);

impl Shared {
    fn reader(&self) -> BufReader<At> {
        BufReader::with_capacity(BUFFER, At { file: self.clone(), offset: 0 })
    }
}

struct At {
    file: Shared,
    offset: u64,
}

impl io::Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.read(buffer)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Takes rows.
pub(super) struct Writer {
    rows: BufWriter<File>,
    bodies: BufWriter<File>,
    count: u64,
}

impl Writer {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let file = || Ok::<_, io::Error>(BufWriter::with_capacity(BUFFER, tempfile::tempfile_in(folder)?));
        Ok(Self { rows: file()?, bodies: file()?, count: 0 })
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds a row. A body has less than 2³² bytes.
    pub(super) fn push(&mut self, row: &Row, body: &str) -> io::Result<()> {
        self.rows.write_all(&row.encode())?;
        self.bodies.write_all(&(body.len() as u32).to_le_bytes())?;
        self.bodies.write_all(body.as_bytes())?;
        self.count += 1;
        Ok(())
    }

    /// Ends the rows.
    pub(super) fn finish(self) -> io::Result<Rows> {
        let file = |writer: BufWriter<File>| {
            let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            Ok::<_, io::Error>(Shared(Arc::new(Mutex::new(file))))
        };
        Ok(Rows { rows: file(self.rows)?, bodies: file(self.bodies)?, count: self.count })
    }
}

/// All rows.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    rows: Shared,
    bodies: Shared,
    count: u64,
}

impl Rows {
    /// With the ids that `ids` tells by the number of the row, from 0.
    pub(super) fn with_ids(self, mut ids: Sorted, folder: &Path) -> io::Result<Self> {
        let mut follow = Follow::new(&mut ids)?;
        let mut into = BufWriter::with_capacity(BUFFER, tempfile::tempfile_in(folder)?);
        let mut from = self.rows.reader();
        let mut bytes = [0; ROW_BYTES];
        for number in 0..self.count {
            from.read_exact(&mut bytes)?;
            let row = Row::decode(&bytes);
            let id = follow.find(number)?.unwrap_or(row.id);
            into.write_all(&Row { id, ..row }.encode())?;
        }
        let rows = into.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self { rows: Shared(Arc::new(Mutex::new(rows))), ..self })
    }

    /// The place of a row: file and line.
    pub(super) fn place(&self, number: u64) -> io::Result<(usize, u64)> {
        let mut bytes = [0; ROW_BYTES];
        At { file: self.rows.clone(), offset: number * ROW_BYTES as u64 }.read_exact(&mut bytes)?;
        let row = Row::decode(&bytes);
        Ok((row.file, row.line))
    }
}

/// Everything that files became.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// The files' names, without their folders.
    pub(super) files: Vec<Arc<str>>,
    pub(super) organizations: Vec<(OrganizationId, Plan)>,
    /// Account and organization.
    pub(super) accounts: Vec<(u64, u64)>,
    pub(super) rooms: Vec<u64>,
    pub(super) names: Vec<Name>,
    pub(super) rows: Rows,
    /// Columns that the mapping does not name.
    pub(super) ignored: Vec<String>,
    /// Records that could not be taken.
    pub(crate) left_out: LeftOut,
}

/// Reads one of the tables.
pub(crate) struct Reader {
    table: Table,
    mapped: Arc<Mapped>,
    given: u64,
    rows: BufReader<At>,
    bodies: BufReader<At>,
}

impl Reader {
    pub(crate) fn open(table: Table, mapped: &Arc<Mapped>) -> Self {
        let (rows, bodies) = (mapped.rows.rows.reader(), mapped.rows.bodies.reader());
        Self { table, mapped: mapped.clone(), given: 0, rows, bodies }
    }

    fn count(&self) -> u64 {
        match self.table {
            Table::Organizations => self.mapped.organizations.len() as u64,
            Table::Accounts => self.mapped.accounts.len() as u64,
            Table::Rooms => self.mapped.rooms.len() as u64,
            Table::Names => self.mapped.names.len() as u64,
            Table::Memberships | Table::Messages => self.mapped.rows.count,
        }
    }

    /// A row of a table that is in memory.
    fn known(&self, batch: &mut Batch, at: usize) {
        match self.table {
            Table::Organizations => {
                let (id, plan) = self.mapped.organizations[at];
                batch.push(&[id.get(), u64::from(plan == Plan::Paid), 0]);
            }
            Table::Accounts => {
                let (id, organization) = self.mapped.accounts[at];
                batch.push(&[id, organization, 1]);
            }
            Table::Names => {
                let name = &self.mapped.names[at];
                batch.push(&[name.kind as u64, name.id, name.within.map_or(NO_ID, OrganizationId::get)]);
                batch.texts.add(&name.name);
            }
            _ => batch.push(&[self.mapped.rooms[at]]),
        }
    }

    /// A row that stands in the temporary files.
    fn spilled(&mut self, batch: &mut Batch) -> io::Result<()> {
        let mut bytes = [0; ROW_BYTES];
        self.rows.read_exact(&mut bytes)?;
        let row = Row::decode(&bytes);
        batch.push_place(&self.mapped.files[row.file], row.line);
        if self.table == Table::Memberships {
            batch.push(&[row.room, row.author, 1, 0]);
            return Ok(());
        }
        batch.push(&[row.room, row.id, u64::from(row.deleted), row.author]);
        let mut length = [0; 4];
        self.bodies.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.bodies.read_exact(&mut body)?;
        batch.texts.add(&String::from_utf8_lossy(&body));
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, batch: &mut Batch) -> Result<bool, ImportError> {
        let spilled = matches!(self.table, Table::Memberships | Table::Messages);
        let numbers = if spilled { Numbers::Places(Vec::new()) } else { Numbers::From(self.given + 1) };
        batch.clear(self.table.columns().len(), numbers);
        while batch.rows < BATCH_ROWS && batch.texts.bytes() < BATCH_BYTES && self.given < self.count() {
            if spilled {
                self.spilled(batch)?;
            } else {
                self.known(batch, self.given as usize);
            }
            self.given += 1;
        }
        Ok(batch.rows > 0)
    }

    fn total(&self) -> Option<u64> {
        Some(self.count())
    }

    fn ignored(&self) -> &[String] {
        if self.table == Table::Messages { &self.mapped.ignored } else { &[] }
    }

    fn tells(&self) -> bool {
        self.table == Table::Messages
    }
}

/// The largest number of files: their numbers and the lines share a word.
pub(super) const MAX_FILES: usize = 1 << (64 - LINE_BITS);
/// How many messages of one millisecond have ids of their own.
pub(super) const IDS_PER_MILLISECOND: u64 = 1 << MessageId::MILLIS_SHIFT;

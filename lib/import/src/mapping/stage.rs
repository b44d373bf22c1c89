//! Records become rows: names become ids, times become message ids, what cannot be taken is a bad row.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use chat::{Epoch, MessageId, OrganizationId, Plan, messages::MAX_BODY_BYTES};

use super::{
    Ids, Mapping, PlanName,
    names::Names,
    records::{Bad, Field, Record, Records},
    rows::{IDS_PER_MILLISECOND, MAX_FILES, Mapped, Row, Rows, Writer},
    time,
};
use crate::{
    BadRow, ImportError, ImportOptions, LeftOut, Name, NameKind, Progress, Reason, Stage, check::PROGRESS_ROWS,
    problems::leave_out, sort::Sorter,
};

/// Maps the files at `paths`, in that order, as if they were one. `known`: the names that have ids already.
pub(crate) fn map(
    mapping: &Mapping,
    paths: &[PathBuf],
    known: Vec<Name>,
    epoch: Epoch,
    options: &ImportOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Mapped, ImportError> {
    if paths.len() > MAX_FILES {
        let what = format!("{} files at once: the most is {MAX_FILES}", paths.len());
        return Err(ImportError::Mapping { what });
    }
    // All files are opened first: a missing column of the last one is told before the first is read.
    for path in paths {
        Records::open(path, mapping)?;
    }
    let mut stage = Mapper {
        mapping,
        epoch,
        names: Names::new(known),
        organizations: HashMap::new(),
        accounts: HashMap::new(),
        rooms: HashSet::new(),
    };
    let mut writer = Writer::new(&options.scratch_dir)?;
    // Milliseconds since the epoch → number of the row.
    let mut by_time = Sorter::new(&options.scratch_dir, options.sort_rows);
    let (mut left_out, mut files, mut ignored, mut done) = (LeftOut::default(), Vec::new(), Vec::new(), 0);
    for (file, path) in paths.iter().enumerate() {
        let mut records = Records::open(path, mapping)?;
        let name = records.name();
        ignored.append(&mut records.ignored);
        let mut record = Record::default();
        while let Some(read) = records.next(&mut record)? {
            match read.and_then(|()| stage.row(&record)) {
                Ok(row) => {
                    by_time.push(row.id, writer.count())?;
                    let body = record.fields[Field::Body as usize].as_deref().unwrap_or_default();
                    writer.push(&Row { file, line: record.line, ..row }, body)?;
                }
                Err(Bad { column, value, reason }) => {
                    let bad = || BadRow { file: name.clone(), row: record.line, column, value, reason };
                    leave_out(&mut left_out, options.skip_bad, bad, reason)?;
                }
            }
            done += 1;
            if done % PROGRESS_ROWS == 0 {
                progress(Progress { stage: Stage::Mapping, done, total: None });
            }
        }
        files.push(Arc::from(name));
    }
    ignored.sort_unstable();
    ignored.dedup();
    let mut rows = writer.finish()?;
    if mapping.message.id.is_none() {
        rows = number(rows, by_time, options, &files)?;
    }
    Ok(stage.finish(files, ignored, rows, left_out))
}

/// Makes ids of times: the first id of the millisecond plus how many rows of that millisecond came before. So the same rows in
/// the same order have the same ids, and rows that are added at the end change none.
fn number(rows: Rows, by_time: Sorter, options: &ImportOptions, files: &[Arc<str>]) -> Result<Rows, ImportError> {
    let scratch: &Path = &options.scratch_dir;
    let mut by_row = Sorter::new(scratch, options.sort_rows);
    let mut by_time = by_time.finish()?;
    let mut groups = by_time.groups()?;
    while let Some((ms, numbers)) = groups.next()? {
        if let Some(&beyond) = numbers.get(IDS_PER_MILLISECOND as usize) {
            let (file, row) = rows.place(beyond)?;
            let file = files.get(file).map(ToString::to_string).unwrap_or_default();
            let (column, value, reason) = (String::new(), String::new(), Reason::TooMany);
            return Err(ImportError::BadRow(Box::new(BadRow { file, row, column, value, reason })));
        }
        for (counter, &number) in numbers.iter().enumerate() {
            by_row.push(number, ms << MessageId::MILLIS_SHIFT | counter as u64)?;
        }
    }
    Ok(rows.with_ids(by_row.finish()?, scratch)?)
}

struct Mapper<'a> {
    mapping: &'a Mapping,
    epoch: Epoch,
    names: Names,
    /// What the rows name: each organization's plan, each account's organization, each room.
    organizations: HashMap<u64, Plan>,
    accounts: HashMap<u64, u64>,
    rooms: HashSet<u64>,
}

impl Mapper<'_> {
    /// What a record becomes; without file and line.
    fn row(&mut self, record: &Record) -> Result<Row, Bad> {
        let message = &self.mapping.message;
        let id = match &message.id {
            Some(column) => id(record, Field::Id, column)?,
            None => self.milliseconds(record)?,
        };
        let deleted = match &message.deleted {
            Some(column) => flag(record, column)?,
            None => false,
        };
        let body = record.fields[Field::Body as usize].as_deref().unwrap_or_default();
        if body.len() > MAX_BODY_BYTES {
            return Err(bad(message.body.as_deref().unwrap_or_default(), body, Reason::TooLong));
        }
        let plan = self.plan(record)?;
        let Mapping { organization, room, author, .. } = self.mapping;
        // Nothing gets an id before all that can be bad by itself was looked at.
        let texts =
            [(Field::Organization, &organization.column), (Field::Room, &room.column), (Field::Author, &author.column)];
        for (field, column) in texts {
            if record.field(field).is_none() {
                return Err(bad(column, "", Reason::Missing));
            }
        }
        let (of, shared) = (&organization.column, room.shared);
        let organization = self.id(record, Field::Organization, of, organization.ids, NameKind::Organization, None)?;
        if self.organizations.get(&organization).is_some_and(|known| *known != plan) {
            let column = self.mapping.organization.plan_column.as_deref().unwrap_or_default();
            return Err(bad(column, record.field(Field::Plan).unwrap_or_default(), Reason::Contradiction));
        }
        let within = (!shared).then_some(organization);
        let room = self.id(record, Field::Room, &room.column, room.ids, NameKind::Room, within)?;
        let author =
            self.id(record, Field::Author, &author.column, author.ids, NameKind::Account, Some(organization))?;
        if *self.accounts.entry(author).or_insert(organization) != organization {
            let column = &self.mapping.author.column;
            return Err(bad(column, &author.to_string(), Reason::Contradiction));
        }
        self.organizations.insert(organization, plan);
        self.rooms.insert(room);
        Ok(Row { room, author, id, deleted, file: 0, line: 0 })
    }

    /// The milliseconds between the epoch and the time of a record.
    fn milliseconds(&self, record: &Record) -> Result<u64, Bad> {
        let message = &self.mapping.message;
        let column = message.time.as_deref().unwrap_or_default();
        let text = record.field(Field::Time).ok_or_else(|| bad(column, "", Reason::Missing))?;
        let at = time::parse(message.time_format, text).ok_or_else(|| bad(column, text, Reason::NotATime))?;
        let ms = at.as_millis().checked_sub(self.epoch.0.as_millis()).filter(|ms| *ms <= MessageId::MILLIS_MAX);
        ms.ok_or_else(|| bad(column, text, Reason::OutsideEpoch))
    }

    fn plan(&self, record: &Record) -> Result<Plan, Bad> {
        let column = match (&self.mapping.organization.plan, &self.mapping.organization.plan_column) {
            (Some(PlanName::Paid), _) => return Ok(Plan::Paid),
            (Some(PlanName::Free), _) | (None, None) => return Ok(Plan::Free),
            (None, Some(column)) => column,
        };
        match record.field(Field::Plan) {
            Some("free") => Ok(Plan::Free),
            Some("paid") => Ok(Plan::Paid),
            Some(other) => Err(bad(column, other, Reason::UnknownPlan)),
            None => Err(bad(column, "", Reason::Missing)),
        }
    }

    fn id(
        &mut self,
        record: &Record,
        field: Field,
        column: &str,
        ids: Ids,
        kind: NameKind,
        within: Option<u64>,
    ) -> Result<u64, Bad> {
        let text = record.field(field).unwrap_or_default();
        match ids {
            Ids::Numbers => id(record, field, column),
            Ids::Names => self.names.id(kind, within, text).ok_or_else(|| bad(column, text, Reason::NotANumber)),
        }
    }

    fn finish(self, files: Vec<Arc<str>>, ignored: Vec<String>, rows: Rows, left_out: LeftOut) -> Mapped {
        let organizations =
            self.organizations.into_iter().map(|(id, plan)| (OrganizationId::from_bits(id), plan)).collect();
        let (accounts, rooms) = (self.accounts.into_iter().collect(), self.rooms.into_iter().collect());
        Mapped { files, organizations, accounts, rooms, names: self.names.into_vec(), rows, ignored, left_out }
    }
}

fn bad(column: &str, value: &str, reason: Reason) -> Bad {
    Bad { column: column.to_owned(), value: crate::tables::shown(value.as_bytes()), reason }
}

/// A number from 0 to 2⁶³ − 1.
fn id(record: &Record, field: Field, column: &str) -> Result<u64, Bad> {
    let text = record.field(field).ok_or_else(|| bad(column, "", Reason::Missing))?;
    let id = text.parse::<MessageId>().map_err(|_| bad(column, text, Reason::NotANumber))?;
    Ok(id.get())
}

fn flag(record: &Record, column: &str) -> Result<bool, Bad> {
    let Some(text) = record.field(Field::Deleted) else { return Ok(false) };
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(bad(column, text, Reason::NotAFlag)),
    }
}

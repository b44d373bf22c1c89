//! A folder of tables written by a test, as CSV or as Parquet, and a store in memory that takes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use chat::{MessageId, Organization, PortError, PortResult, RoomId};
use parquet::{
    column::writer::ColumnWriter,
    data_type::ByteArray,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use tempfile::TempDir;

use crate::{
    Account, ImportError, ImportOptions, ImportReport, Load, Membership, MessageBody, Name, NameKind,
    OrganizationRooms, Reason, RoomMessages, Source, import,
};

/// Three organizations, five accounts, four rooms; account 14 is inactive, 12 left room 102, room 103 is shared, 104 is empty.
pub(super) const CSV: [(&str, &str); 5] = [
    ("organizations", "id,plan\n1,free\n2,paid\n3,free\n"),
    ("accounts", "id,org_id,active\n10,1,true\n11,1,true\n12,2,true\n13,3,true\n14,3,false\n"),
    ("rooms", "id\n101\n102\n103\n104\n"),
    (
        "memberships",
        "room_id,account_id,left\n101,10,false\n101,11,false\n102,11,false\n102,12,true\n103,10,false\n103,12,false\n\
         104,14,false\n103,13,false\n",
    ),
    (
        "messages",
        "room_id,message_id,deleted\n101,1000,false\n102,1001,false\n101,1002,true\n103,1003,false\n101,1004,false\n\
         103,1005,false\n",
    ),
];

/// Writes the tables as CSV; what `changed` names is written as it says.
pub(super) fn csv_folder(changed: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a folder");
    for (table, text) in CSV {
        let text = changed.iter().find(|(name, _)| *name == table).map_or(text, |(_, text)| text);
        fs::write(dir.path().join(format!("{table}.csv")), text).expect("a file");
    }
    dir
}

/// Turns a table's CSV file into Parquet, in row groups of two rows. `schema`: the fields of the message type.
pub(super) fn to_parquet(dir: &TempDir, table: &str, schema: &str) {
    let csv = dir.path().join(format!("{table}.csv"));
    let text = fs::read_to_string(&csv).expect("the table");
    fs::remove_file(csv).expect("removed");
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    write_parquet(&dir.path().join(format!("{table}.parquet")), schema, &rows);
}

/// Writes rows as Parquet; an empty field is null.
pub(super) fn write_parquet(path: &Path, schema: &str, rows: &[Vec<&str>]) {
    let schema = Arc::new(parse_message_type(&format!("message t {{ {schema} }}")).expect("a schema"));
    let file = fs::File::create(path).expect("a file");
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(file, schema, properties).expect("a writer");
    for rows in rows.chunks(2) {
        let mut group = writer.next_row_group().expect("a group");
        let mut place = 0;
        while let Some(mut column) = group.next_column().expect("a column") {
            let levels: Vec<i16> = rows.iter().map(|row| i16::from(!row[place].is_empty())).collect();
            let levels = Some(&levels[..]);
            let values = rows.iter().map(|row| row[place]).filter(|value| !value.is_empty());
            match column.untyped() {
                ColumnWriter::Int64ColumnWriter(typed) => {
                    let values: Vec<i64> = values.map(|value| value.parse().expect("a number")).collect();
                    typed.write_batch(&values, levels, None).expect("written");
                }
                ColumnWriter::Int32ColumnWriter(typed) => {
                    let values: Vec<i32> = values.map(|value| value.parse().expect("a number")).collect();
                    typed.write_batch(&values, levels, None).expect("written");
                }
                ColumnWriter::BoolColumnWriter(typed) => {
                    let values: Vec<bool> = values.map(|value| value == "true").collect();
                    typed.write_batch(&values, levels, None).expect("written");
                }
                ColumnWriter::ByteArrayColumnWriter(typed) => {
                    let values: Vec<ByteArray> = values.map(ByteArray::from).collect();
                    typed.write_batch(&values, levels, None).expect("written");
                }
                _ => panic!("the tests write no such type"),
            }
            column.close().expect("closed");
            place += 1;
        }
        group.close().expect("closed");
    }
    writer.close().expect("closed");
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) organizations: Vec<Organization>,
    pub(super) accounts: Vec<Account>,
    pub(super) rooms: Vec<RoomId>,
    pub(super) memberships: Vec<Membership>,
    pub(super) organization_rooms: Vec<OrganizationRooms>,
    pub(super) names: Vec<Name>,
    pub(super) live: BTreeMap<u64, BTreeSet<u64>>,
    pub(super) tombstoned: BTreeMap<u64, BTreeSet<u64>>,
    /// Room and id → author and body.
    pub(super) bodies: BTreeMap<(u64, u64), (Option<u64>, String)>,
}

/// A store in memory that keeps the port's promises and fails after so many calls as `calls_left` says.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) visible: Content,
    pub(super) pending: Content,
    pub(super) source: Option<Source>,
    pub(super) unfinished: Option<(Source, Option<RoomId>)>,
    pub(super) calls_left: Option<u32>,
    pub(super) message_rooms: u32,
    pub(super) quiet_rooms: Vec<(u64, u64)>,
}

impl Memory {
    fn call(&mut self) -> PortResult<()> {
        match &mut self.calls_left {
            Some(0) => Err(PortError::refused("killed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Load for Memory {
    async fn known_names(&mut self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>> {
        let above = self.visible.names.iter().filter(|name| after.is_none_or(|after| (name.kind, name.id) > after));
        Ok(above.take(limit).cloned().collect())
    }

    async fn begin(&mut self, source: &Source) -> PortResult<()> {
        self.pending = Content::default();
        self.source = Some(source.clone());
        self.call()
    }

    async fn organizations(&mut self, rows: &[Organization]) -> PortResult<()> {
        self.pending.organizations.extend_from_slice(rows);
        self.call()
    }

    async fn accounts(&mut self, rows: &[Account]) -> PortResult<()> {
        self.pending.accounts.extend_from_slice(rows);
        self.call()
    }

    async fn rooms(&mut self, rows: &[RoomId]) -> PortResult<()> {
        self.pending.rooms.extend_from_slice(rows);
        self.call()
    }

    async fn memberships(&mut self, rows: &[Membership]) -> PortResult<()> {
        self.pending.memberships.extend_from_slice(rows);
        self.call()
    }

    async fn organization_rooms(&mut self, rows: &[OrganizationRooms]) -> PortResult<()> {
        self.pending.organization_rooms.extend_from_slice(rows);
        self.call()
    }

    async fn names(&mut self, rows: &[Name]) -> PortResult<()> {
        self.pending.names.extend_from_slice(rows);
        self.pending.names.sort_by_key(|name| (name.kind, name.id));
        self.call()
    }

    async fn publish(&mut self) -> PortResult<Option<RoomId>> {
        self.call()?;
        let Content { live, tombstoned, bodies, .. } = std::mem::take(&mut self.visible);
        self.visible = Content { live, tombstoned, bodies, ..std::mem::take(&mut self.pending) };
        let source = self.source.clone().expect("begun");
        let reached = self.unfinished.take().filter(|(other, _)| *other == source).and_then(|(_, reached)| reached);
        self.unfinished = Some((source, reached));
        Ok(reached)
    }

    async fn quiet_rooms(&mut self, rooms: &[(RoomId, MessageId)]) -> PortResult<()> {
        self.quiet_rooms.extend(rooms.iter().map(|(room, newest)| (room.get(), newest.get())));
        Ok(())
    }

    async fn messages(&mut self, rooms: &[RoomMessages]) -> PortResult<()> {
        for messages in rooms {
            // One call for each room: an import can be killed between any two.
            self.call()?;
            self.message_rooms += 1;
            let room = messages.room.get();
            let live = self.visible.live.entry(room).or_default();
            live.extend(messages.live.iter().map(|id| id.get()));
            let tombstoned = self.visible.tombstoned.entry(room).or_default();
            tombstoned.extend(messages.tombstoned.iter().map(|id| id.get()));
            live.retain(|id| !tombstoned.contains(id));
            self.visible.bodies.retain(|(of, id), _| *of != room || !tombstoned.contains(id));
            self.unfinished.as_mut().expect("published").1 = Some(messages.room);
        }
        Ok(())
    }

    async fn bodies(&mut self, rows: &[MessageBody]) -> PortResult<()> {
        for row in rows {
            self.call()?;
            let key = (row.room.get(), row.id.get());
            if self.visible.live.get(&key.0).is_some_and(|live| live.contains(&key.1)) {
                self.visible.bodies.insert(key, (row.author.map(|author| author.get()), row.body.clone()));
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> PortResult<()> {
        self.call()?;
        self.unfinished = None;
        Ok(())
    }
}

/// Imports into `store`, a few rows sorted in memory at a time.
pub(super) async fn run(dir: &TempDir, store: &mut Memory, skip_bad: bool) -> Result<ImportReport, ImportError> {
    let scratch = TempDir::new().expect("a folder");
    let options = ImportOptions { skip_bad, sort_rows: 3, ..ImportOptions::new(scratch.path()) };
    import(dir.path(), &options, store, &mut |_| {}).await
}

/// What an import of `dir` leads to.
pub(super) async fn imported(dir: &TempDir) -> Content {
    let mut store = Memory::default();
    run(dir, &mut store, false).await.expect("an import");
    assert_eq!(store.unfinished, None);
    store.visible
}

/// Why an import of `dir` stops; the store must be as it was.
pub(super) async fn refused(dir: &TempDir) -> ImportError {
    let mut store = Memory::default();
    run(&csv_folder(&[]), &mut store, false).await.expect("an import");
    let before = store.visible.clone();
    let error = run(dir, &mut store, false).await.expect_err("it should stop");
    assert_eq!(store.visible, before, "nothing visible may change");
    error
}

/// Imports `dir` twice: it stops at `row` of `file` because of `reason`, and with bad rows left out it leaves out just this.
pub(super) async fn one_bad_row(dir: &TempDir, file: &str, row: u64, reason: Reason) -> Content {
    match refused(dir).await {
        ImportError::BadRow(bad) => {
            assert_eq!((bad.file.as_str(), bad.row, bad.reason), (file, row, reason), "{bad}");
        }
        other => panic!("{other:?}"),
    }
    let mut store = Memory::default();
    let report = run(dir, &mut store, true).await.expect("an import");
    let named: Vec<_> = report.tables.values().flat_map(|table| &table.left_out.rows).collect();
    assert_eq!(named.len(), 1, "{named:?}");
    assert_eq!((named[0].file.as_str(), named[0].row, named[0].reason), (file, row, reason));
    let counted: u64 = report.tables.values().map(|table| table.left_out.count()).sum();
    assert_eq!(counted, 1);
    store.visible
}

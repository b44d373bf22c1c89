//! The rows of each table, page by page.

use chat::{LimitRow, MessageId, OrganizationId, Plan, RoomId, Standing};

use super::{
    ExportError, ExportOptions, ExportProgress, ExportSource, ExportTable,
    writer::{Cell, Column, Kind, Writer},
};
use crate::RoomMessages;

/// Rows of a page.
const PAGE: usize = 8 << 10;
/// Ids of messages of a page, about.
const PAGE_IDS: usize = 64 << 10;
/// Bodies asked for at a time: each can be long.
const BODIES: usize = 128;

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// The columns of a table.
pub(super) fn columns(table: ExportTable, bodies: bool) -> &'static [Column] {
    use Kind::{Flag, Id, Number, OptionalId, OptionalText, Text};
    match table {
        ExportTable::Organizations => {
            const { &[column("id", Id), column("plan", Text), column("plan_version", Number)] }
        }
        ExportTable::Accounts => const { &[column("id", Id), column("org_id", Id), column("active", Flag)] },
        ExportTable::Rooms => const { &[column("id", Id)] },
        ExportTable::Memberships => const { &[column("room_id", Id), column("account_id", Id)] },
        ExportTable::Messages if bodies => {
            const {
                &[
                    column("room_id", Id),
                    column("message_id", Id),
                    column("deleted", Flag),
                    column("author_id", OptionalId),
                    column("body", OptionalText),
                ]
            }
        }
        ExportTable::Messages => const { &[column("room_id", Id), column("message_id", Id), column("deleted", Flag)] },
        ExportTable::Limits => {
            const {
                &[
                    column("organization_id", Id),
                    column("visible_messages", Number),
                    column("oldest_visible_message_id", OptionalId),
                    column("limited_by", Text),
                    column("first_visible_message_id", OptionalId),
                    column("max_messages", Number),
                    column("max_age_ms", OptionalId),
                    column("as_of", Text),
                    column("run", Text),
                ]
            }
        }
        ExportTable::Names => {
            const { &[column("kind", Text), column("id", Id), column("organization_id", OptionalId), column("name", Text)] }
        }
    }
}

fn failed(what: &'static str) -> impl Fn(chat::PortError) -> ExportError {
    move |source| ExportError::Read { what, source }
}

/// Which tables are written, with how many rows.
pub(super) async fn counts(
    source: &ExportSource,
    options: &ExportOptions,
) -> Result<Vec<(ExportTable, u64)>, ExportError> {
    let counts = source.dump.counts().await.map_err(failed("how many rows there are"))?;
    let mut found = Vec::new();
    for table in ExportTable::ALL.into_iter().filter(|table| options.tables.contains(table)) {
        let rows = match table {
            ExportTable::Organizations => counts.organizations,
            ExportTable::Accounts => counts.accounts,
            ExportTable::Rooms => counts.rooms,
            ExportTable::Memberships => counts.memberships,
            ExportTable::Messages => counts.messages,
            ExportTable::Limits => limits(source, &mut |_| Ok(())).await?,
            ExportTable::Names => counts.names,
        };
        if table != ExportTable::Names || rows > 0 {
            found.push((table, rows));
        }
    }
    Ok(found)
}

/// Tells progress of a table and counts its rows.
struct Told<'a> {
    table: ExportTable,
    done: u64,
    total: u64,
    progress: &'a mut (dyn FnMut(ExportProgress) + Send),
}

impl Told<'_> {
    fn rows(&mut self, rows: usize) {
        self.done += rows as u64;
        (self.progress)(ExportProgress { table: self.table, done: self.done, total: self.total });
    }
}

/// Asks for page after page, each after the last row of the one before, and writes their rows.
macro_rules! pages {
    ($told:ident, $writer:ident, $page:expr, |$row:ident| $after:expr => $cells:expr) => {{
        let (mut after, page) = (None, $page);
        loop {
            let rows = page(after).await.map_err(failed($told.table.name()))?;
            for $row in &rows {
                $writer.row(&$cells)?;
            }
            $told.rows(rows.len());
            let Some($row) = rows.last().filter(|_| rows.len() >= PAGE) else { break };
            after = Some($after);
        }
    }};
}

/// Writes a table; answers how many rows it has.
pub(super) async fn write(
    source: &ExportSource,
    options: &ExportOptions,
    table: ExportTable,
    total: u64,
    writer: &mut Writer,
    progress: &mut (dyn FnMut(ExportProgress) + Send),
) -> Result<u64, ExportError> {
    let dump = &source.dump;
    let mut told = Told { table, done: 0, total, progress };
    told.rows(0);
    match table {
        ExportTable::Organizations => pages!(told, writer, |after| dump.organizations(after, PAGE), |row| row.id => [
            Cell::Number(row.id.get()),
            Cell::Text(if row.plan == Plan::Free { "free" } else { "paid" }),
            Cell::Number(row.plan_version),
        ]),
        ExportTable::Accounts => pages!(told, writer, |after| dump.accounts(after, PAGE), |row| row.id => [
            Cell::Number(row.id.get()),
            Cell::Number(row.organization.get()),
            Cell::Flag(row.active),
        ]),
        ExportTable::Rooms => {
            pages!(told, writer, |after| dump.rooms(after, PAGE), |row| *row => [Cell::Number(row.get())]);
        }
        ExportTable::Memberships => pages!(told, writer, |after| dump.memberships(after, PAGE), |row| *row => [
            Cell::Number(row.room.get()),
            Cell::Number(row.account.get()),
        ]),
        ExportTable::Names => pages!(told, writer, |after| dump.names(after, PAGE), |row| (row.kind, row.id) => [
            Cell::Text(row.kind.word()),
            Cell::Number(row.id),
            row.within.map_or(Cell::Nothing, |within| Cell::Number(within.get())),
            Cell::Text(&row.name),
        ]),
        ExportTable::Limits => {
            let rows = limits(source, &mut |row| writer.row(&limit_cells(row, &row.version.as_of.to_string()))).await?;
            told.rows(usize::try_from(rows).unwrap_or(usize::MAX));
        }
        ExportTable::Messages => {
            let mut after = None;
            loop {
                let rooms = dump.messages(after, PAGE_IDS).await.map_err(failed("messages"))?;
                for room in &rooms {
                    messages(source, options.bodies, room, writer).await?;
                    told.rows(room.live.len() + room.tombstoned.len());
                }
                let Some(last) = rooms.last() else { break };
                after = Some(last.room);
                // A local store never waits: this is where others get their turn.
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(told.done)
}

/// Gives every limit that holds to `take`; answers how many there are.
async fn limits(
    source: &ExportSource,
    take: &mut (dyn FnMut(&LimitRow) -> Result<(), ExportError> + Send),
) -> Result<u64, ExportError> {
    let (mut after, mut count) = (None::<OrganizationId>, 0);
    loop {
        let rows = source.limits.page(after, PAGE).await.map_err(failed("limits"))?;
        for row in rows.iter().filter(|row| row.standing != Standing::Released) {
            take(row)?;
            count += 1;
        }
        match rows.last() {
            Some(last) if rows.len() >= PAGE => after = Some(last.organization),
            _ => return Ok(count),
        }
    }
}

fn limit_cells<'a>(row: &'a LimitRow, as_of: &'a str) -> [Cell<'a>; 9] {
    let id = |id: Option<MessageId>| id.map_or(Cell::Nothing, |id| Cell::Number(id.get()));
    let limited_by = match row.standing {
        Standing::Limited(_) => "count",
        Standing::NoCountLimit => "age",
        Standing::Released => "released",
    };
    [
        Cell::Number(row.organization.get()),
        Cell::Number(row.visible_messages.into()),
        id(row.oldest_visible_message_id),
        Cell::Text(limited_by),
        id(row.first_visible_message_id()),
        Cell::Number(row.policy.max_messages.get().into()),
        row.policy.max_age_ms.map_or(Cell::Nothing, Cell::Number),
        Cell::Text(as_of),
        Cell::Text(row.run.as_str()),
    ]
}

/// Writes a room's messages in the order of their ids.
async fn messages(
    source: &ExportSource,
    bodies: bool,
    room: &RoomMessages,
    writer: &mut Writer,
) -> Result<(), ExportError> {
    let of = Cell::Number(room.room.get());
    let mut ids: Vec<(MessageId, bool)> = Vec::with_capacity(room.live.len() + room.tombstoned.len());
    ids.extend(room.live.iter().map(|id| (*id, false)));
    ids.extend(room.tombstoned.iter().map(|id| (*id, true)));
    ids.sort_unstable();
    if !bodies {
        return ids
            .iter()
            .try_for_each(|(id, deleted)| writer.row(&[of, Cell::Number(id.get()), Cell::Flag(*deleted)]));
    }
    for ids in ids.chunks(BODIES) {
        let asked: Vec<(RoomId, MessageId)> = ids.iter().map(|(id, _)| (room.room, *id)).collect();
        let found = source.messages.get(&asked).await.map_err(failed("what messages say"))?;
        for ((id, deleted), message) in ids.iter().zip(&found) {
            let content = message.as_ref().and_then(|message| message.content.as_ref()).filter(|_| !deleted);
            let author = content.and_then(|content| content.author);
            writer.row(&[
                of,
                Cell::Number(id.get()),
                Cell::Flag(*deleted),
                author.map_or(Cell::Nothing, |author| Cell::Number(author.get())),
                content.map_or(Cell::Nothing, |content| Cell::Text(&content.body)),
            ])?;
        }
    }
    Ok(())
}

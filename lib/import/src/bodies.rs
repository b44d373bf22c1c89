//! What messages say: read once more in the order of the files, after the messages, and handed to the store in batches.
//!
//! Texts are too long for the sorter of fixed-width rows. They need none: the store knows by then which messages it holds.

use chat::{AccountId, MessageId, RoomId};

use crate::{
    ImportError, Load, MessageBody, Stage, Table,
    check::{PROGRESS_ROWS, Work},
    tables::{self, NO_ID},
};

/// Rows and bytes of text handed to the store at a time, about.
const LOAD_ROWS: usize = 64 << 10;
const LOAD_BYTES: usize = 16 << 20;

/// Hands the authors and bodies of all messages to the store, where the file has some.
pub(crate) async fn load(work: &mut Work<'_>, load: &mut dyn Load) -> Result<(), ImportError> {
    let mut reader = tables::open(&work.file(Table::Messages))?;
    if !reader.tells() {
        return Ok(());
    }
    let total = work.report.tables.get(&Table::Messages).map(|table| table.rows);
    work.begin(Stage::LoadBodies, total);
    let failed = |source| ImportError::Load { what: "what messages say", source };
    let wanted = work.wanted_messages();
    let mut batch = tables::Batch::default();
    let (mut bodies, mut bytes, mut rows, mut told) = (Vec::new(), 0, 0, 0);
    while reader.read(&mut batch)? {
        for row in batch.good_rows() {
            if let [room, id, _, author, ..] = &batch.columns[..] {
                let (room, id) = (RoomId::from_bits(room[row]), MessageId::from_bits(id[row]));
                if !wanted.contains(&id) {
                    continue;
                }
                let author = Some(author[row]).filter(|author| *author != NO_ID).map(AccountId::from_bits);
                let body = batch.texts.row(row).to_owned();
                bytes += body.len();
                bodies.push(MessageBody { room, id, author, body });
            }
        }
        if bodies.len() >= LOAD_ROWS || bytes >= LOAD_BYTES {
            load.bodies(&bodies).await.map_err(failed)?;
            work.report.bodies += bodies.len() as u64;
            bodies.clear();
            bytes = 0;
        }
        rows += batch.rows as u64;
        if rows - told >= PROGRESS_ROWS {
            told = rows;
            work.done(rows, total);
        }
    }
    if !bodies.is_empty() {
        load.bodies(&bodies).await.map_err(failed)?;
        work.report.bodies += bodies.len() as u64;
    }
    work.done(rows, total);
    Ok(())
}

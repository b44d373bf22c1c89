//! Names of organizations, rooms and accounts: read once to be checked, once more to be handed to the store.

use chat::OrganizationId;

use crate::{
    ImportError, Load, Name, NameKind, Stage, Table,
    check::Work,
    tables::{self, NO_ID},
};

/// Checks the names, where there are some.
pub(crate) fn check(work: &mut Work<'_>) -> Result<(), ImportError> {
    if !has_names(work) {
        return Ok(());
    }
    let mut names = 0;
    let checked = work.read(Table::Names, Stage::Names, |_, _| {
        names += 1;
        Ok(())
    })?;
    work.settle(checked, names)
}

/// Hands all names to the store, a batch at a time.
pub(crate) async fn load(work: &mut Work<'_>, load: &mut dyn Load) -> Result<(), ImportError> {
    if !has_names(work) {
        return Ok(());
    }
    let mut reader = tables::open(&work.file(Table::Names))?;
    let mut batch = tables::Batch::default();
    while reader.read(&mut batch)? {
        let mut names = Vec::with_capacity(batch.rows);
        for row in batch.good_rows() {
            let [kinds, ids, within, ..] = &batch.columns[..] else { continue };
            let Some(kind) = NameKind::ALL.into_iter().find(|kind| *kind as u64 == kinds[row]) else { continue };
            let within = Some(within[row]).filter(|within| *within != NO_ID).map(OrganizationId::from_bits);
            names.push(Name { kind, id: ids[row], within, name: batch.texts.row(row).to_owned() });
        }
        load.names(&names).await.map_err(|source| ImportError::Load { what: "names", source })?;
    }
    Ok(())
}

fn has_names(work: &Work<'_>) -> bool {
    work.folder.tables.len() > Table::Names as usize
}

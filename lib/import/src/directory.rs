//! Organizations, accounts, rooms and memberships: read, checked, and handed to the store.

use std::io;

use chat::{AccountId, Organization, OrganizationId, Plan, RoomId};

use crate::{
    Account, ImportError, Load, Membership, OrganizationRooms, Reason, Stage, Table,
    check::{Checked, PROGRESS_ROWS, Work},
    sort::{Follow, Sorted},
};

/// Rows handed to the store at a time.
const LOAD_ROWS: usize = 8 << 10;

/// The checked rows of the directory.
pub(crate) struct Directory {
    /// id → plan version, paid.
    organizations: Sorted,
    /// id → organization, active.
    accounts: Sorted,
    /// id → 0.
    pub(crate) rooms: Sorted,
    /// account → room; distinct and current.
    memberships: Sorted,
    /// organization → room; repeated for each account.
    organization_rooms: Sorted,
}

impl Directory {
    /// Reads and checks all tables but the messages.
    pub(crate) fn read(work: &mut Work<'_>) -> Result<Self, ImportError> {
        let mut organizations = read_distinct(work, Table::Organizations, Stage::Organizations)?;
        let mut accounts = read_accounts(work, &mut organizations)?;
        let mut rooms = read_distinct(work, Table::Rooms, Stage::Rooms)?;
        let (memberships, organization_rooms) = read_memberships(work, &mut accounts, &mut rooms)?;
        Ok(Self { organizations, accounts, rooms, memberships, organization_rooms })
    }

    /// How many rows [`Directory::load`] hands over, about.
    pub(crate) fn rows(&self) -> u64 {
        [&self.organizations, &self.accounts, &self.rooms, &self.memberships].iter().map(|rows| rows.rows()).sum()
    }

    /// Hands everything to the store.
    pub(crate) async fn load(&mut self, work: &mut Work<'_>, load: &mut dyn Load) -> Result<(), ImportError> {
        let failed = |what| move |source| ImportError::Load { what, source };
        let mut teller = Teller { total: self.rows(), ..Teller::default() };
        let mut batches = Batches::new(&mut self.organizations, |id, value| Organization {
            id: OrganizationId::from_bits(id),
            plan: if value & 1 == 1 { Plan::Paid } else { Plan::Free },
            plan_version: value >> 1,
        })?;
        while let Some(rows) = batches.next()? {
            load.organizations(rows).await.map_err(failed("organizations"))?;
            teller.tell(work, rows.len());
        }
        let mut batches = Batches::new(&mut self.accounts, |id, value| Account {
            id: AccountId::from_bits(id),
            organization: OrganizationId::from_bits(value >> 1),
            active: value & 1 == 1,
        })?;
        while let Some(rows) = batches.next()? {
            load.accounts(rows).await.map_err(failed("accounts"))?;
            teller.tell(work, rows.len());
        }
        let mut batches = Batches::new(&mut self.rooms, |id, _| RoomId::from_bits(id))?;
        while let Some(rows) = batches.next()? {
            load.rooms(rows).await.map_err(failed("rooms"))?;
            teller.tell(work, rows.len());
        }
        let mut batches = Batches::new(&mut self.memberships, |account, room| Membership {
            account: AccountId::from_bits(account),
            room: RoomId::from_bits(room),
        })?;
        while let Some(rows) = batches.next()? {
            load.memberships(rows).await.map_err(failed("memberships"))?;
            teller.tell(work, rows.len());
        }
        work.report.organization_rooms = load_organization_rooms(&mut self.organization_rooms, load).await?;
        Ok(())
    }
}

/// Tells progress now and then.
#[derive(Default)]
struct Teller {
    done: u64,
    told: u64,
    total: u64,
}

impl Teller {
    fn tell(&mut self, work: &mut Work<'_>, rows: usize) {
        self.done += rows as u64;
        if self.done - self.told >= PROGRESS_ROWS || self.done == self.total {
            self.told = self.done;
            work.done(self.done, Some(self.total));
        }
    }
}

/// Sorted rows as batches of what a store takes. A batch ends with a key's last value.
struct Batches<'a, T, F> {
    groups: crate::sort::Groups<'a>,
    rows: Vec<T>,
    convert: F,
}

impl<'a, T, F: Fn(u64, u64) -> T> Batches<'a, T, F> {
    fn new(sorted: &'a mut Sorted, convert: F) -> io::Result<Self> {
        Ok(Self { groups: sorted.groups()?, rows: Vec::new(), convert })
    }

    fn next(&mut self) -> io::Result<Option<&[T]>> {
        self.rows.clear();
        while self.rows.len() < LOAD_ROWS
            && let Some((key, values)) = self.groups.next()?
        {
            self.rows.extend(values.iter().map(|&value| (self.convert)(key, value)));
        }
        Ok((!self.rows.is_empty()).then_some(&self.rows))
    }
}

/// Answers how many pairs there are.
async fn load_organization_rooms(sorted: &mut Sorted, load: &mut dyn Load) -> Result<u64, ImportError> {
    let mut groups = sorted.groups()?;
    let (mut batch, mut rooms, mut pairs) = (Vec::new(), 0, 0);
    loop {
        let group = groups.next()?;
        let end = group.is_none();
        if let Some((organization, values)) = group {
            let distinct = values.chunk_by(|a, b| a == b).map(|same| RoomId::from_bits(same[0]));
            let row =
                OrganizationRooms { organization: OrganizationId::from_bits(organization), rooms: distinct.collect() };
            rooms += row.rooms.len();
            batch.push(row);
        }
        if rooms >= LOAD_ROWS || (end && !batch.is_empty()) {
            let failed = |source| ImportError::Load { what: "the rooms of organizations", source };
            load.organization_rooms(&batch).await.map_err(failed)?;
            pairs += rooms as u64;
            rooms = 0;
            batch.clear();
        }
        if end {
            return Ok(pairs);
        }
    }
}

/// A table that refers to nothing.
fn read_distinct(work: &mut Work<'_>, table: Table, stage: Stage) -> Result<Sorted, ImportError> {
    let mut sorter = work.sorter();
    let mut checked = work.read(table, stage, |id, value| sorter.push(id, value))?;
    let distinct = checked.distinct(sorter.finish()?, work.sorter(), |id, value| (id, value))?;
    work.settle(checked, distinct.rows())?;
    Ok(distinct)
}

fn read_accounts(work: &mut Work<'_>, organizations: &mut Sorted) -> Result<Sorted, ImportError> {
    let mut by_organization = work.sorter();
    let mut checked = work.read(Table::Accounts, Stage::Accounts, |key, value| by_organization.push(key, value))?;
    let mut by_id = work.sorter();
    let mut by_organization = by_organization.finish()?;
    let mut known = Follow::new(organizations)?;
    let mut groups = by_organization.groups()?;
    while let Some((organization, values)) = groups.next()? {
        let is_known = known.find(organization)?.is_some();
        for &value in values {
            if is_known {
                by_id.push(value >> 1, organization << 1 | (value & 1))?;
            } else {
                let column = "organization_id";
                checked.problems.pair((organization, value), column, organization, Reason::UnknownOrganization);
            }
        }
    }
    let pair = |id, value| (value >> 1, id << 1 | (value & 1));
    let distinct = checked.distinct(by_id.finish()?, work.sorter(), pair)?;
    work.settle(checked, distinct.rows())?;
    Ok(distinct)
}

/// Current memberships by account, and the rooms that follow from them by organization.
fn read_memberships(
    work: &mut Work<'_>,
    accounts: &mut Sorted,
    rooms: &mut Sorted,
) -> Result<(Sorted, Sorted), ImportError> {
    let mut by_room = work.sorter();
    let mut checked = work.read(Table::Memberships, Stage::Memberships, |key, value| by_room.push(key, value))?;
    let mut by_account = work.sorter();
    let mut by_room = by_room.finish()?;
    let mut known = Follow::new(rooms)?;
    let mut groups = by_room.groups()?;
    while let Some((room, values)) = groups.next()? {
        let is_known = known.find(room)?.is_some();
        for &value in values {
            if is_known {
                by_account.push(value >> 1, room << 1 | (value & 1))?;
            } else {
                checked.problems.pair((room, value), "room_id", room, Reason::UnknownRoom);
            }
        }
    }
    drop(groups);
    drop(by_room);
    let (memberships, organization_rooms) = current(work, &mut checked, by_account.finish()?, accounts)?;
    work.settle(checked, memberships.rows())?;
    Ok((memberships, organization_rooms))
}

/// The current ones among known rooms' memberships. Somebody who left a room and came back has a row for each: current.
fn current(
    work: &mut Work<'_>,
    checked: &mut Checked,
    mut by_account: Sorted,
    accounts: &mut Sorted,
) -> io::Result<(Sorted, Sorted)> {
    let (mut memberships, mut organization_rooms) = (work.sorter(), work.sorter());
    let mut known = Follow::new(accounts)?;
    let mut groups = by_account.groups()?;
    while let Some((account, values)) = groups.next()? {
        let Some(owner) = known.find(account)? else {
            for &value in values {
                let pair = (value >> 1, account << 1 | (value & 1));
                checked.problems.pair(pair, "account_id", account, Reason::UnknownAccount);
            }
            continue;
        };
        for same in values.chunk_by(|a, b| a >> 1 == b >> 1) {
            checked.duplicates += same.len() as u64 - 1;
            let (room, ended) = (same[0] >> 1, same[0] & 1 == 1);
            if ended {
                work.report.ended_memberships += 1;
                continue;
            }
            memberships.push(account, room)?;
            if owner & 1 == 1 {
                organization_rooms.push(owner >> 1, room)?;
            }
        }
    }
    Ok((memberships.finish()?, organization_rooms.finish()?))
}

use chat::{AccountId, Directory, OrganizationId};
use import::{Dump, Membership};

use super::*;
use crate::directory::SCHEMA;
use crate::sqlite::{Database, Schema};
use crate::{Access, DataDir, EmbeddedDump, MapSize, PackedIndex};

async fn dir(folder: &tempfile::TempDir) -> DataDir {
    DataDir::open(folder.path(), Access::Write, "test").await.expect("a data directory")
}

fn change(position: u64, room: u64, what: RoomChange) -> MembershipChange {
    MembershipChange { room: RoomId::from_bits(room), position: Position::from_bits(position), what }
}

async fn rooms(directory: &SqliteDirectory) -> Vec<u64> {
    let lists = directory.rooms_of(&[OrganizationId::from_bits(1)]).await.expect("rooms");
    lists[0].iter().map(|room| room.get()).collect()
}

/// Organization 1 with accounts 10 and 11; 10 is in rooms 100 and 101, 11 in room 101.
const ROWS: &str = "INSERT INTO organizations VALUES (1, 'free', 0);
    INSERT INTO accounts VALUES (10, 1, 1), (11, 1, 1);
    INSERT INTO rooms VALUES (100), (101);
    INSERT INTO memberships (account, room) VALUES (10, 100), (10, 101), (11, 101);
    INSERT INTO organization_rooms VALUES (1, x'6401');";

#[tokio::test]
async fn a_directory_from_before_positions_keeps_what_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = dir(&folder).await;
    let before = Schema { what: SCHEMA.what, migrations: &SCHEMA.migrations[..2] };
    let database = Database::open(&dir, dir.directory_sqlite(), &before).await.expect("made");
    sqlx::raw_sql(ROWS).execute(database.writer().expect("a writer")).await.expect("rows");
    drop(database);
    let directory = SqliteDirectory::open(&dir).await.expect("brought up to date");
    assert_eq!(rooms(&directory).await, [100, 101]);
    let account = AccountId::from_bits(10);
    let left = [change(0, 100, RoomChange::Left(account)), change(0, 101, RoomChange::Left(account))];
    directory.apply(&left).await.expect("changed");
    assert_eq!(rooms(&directory).await, [101]);
}

#[tokio::test]
async fn an_export_leaves_out_memberships_that_wait_for_their_account() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = dir(&folder).await;
    let directory = SqliteDirectory::open(&dir).await.expect("a directory");
    sqlx::raw_sql(ROWS).execute(directory.database.writer().expect("a writer")).await.expect("rows");
    let joins = [9, 11, 12].map(|account| change(1, 100, RoomChange::Joined(AccountId::from_bits(account))));
    directory.apply(&joins).await.expect("changed");
    let index = PackedIndex::open(&dir.live_ids(), MapSize::default(), chat::Epoch::default()).expect("an index");
    let dump = EmbeddedDump::new(directory, index);
    let member = |(account, room)| Membership { account: AccountId::from_bits(account), room: RoomId::from_bits(room) };
    let expected = [(10, 100), (10, 101), (11, 100), (11, 101)].map(member);
    assert_eq!(dump.counts().await.expect("counts").memberships, 4);
    let (first, rest) = (dump.memberships(None, 1).await, dump.memberships(Some(expected[0]), 9).await);
    assert_eq!([first.expect("a page"), rest.expect("a page")].concat(), expected);
}

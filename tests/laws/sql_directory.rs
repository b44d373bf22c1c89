//! What is promised of our directory in SQL beyond the laws of the ports: older tables are brought up to date.

use chat::{
    AccountId, ChangeCursor, Directory, MembershipChange, Memberships, OrganizationId, Position, RoomChange, RoomId,
};
use sql::{SqlDirectory, SqlSettings, SqlUrl};
use support::waiting::not_run;
use support::{SqlServer, scratch};
use tempfile::TempDir;

/// Takes the tables back to what they were before changes had positions, and fills them.
fn before_positions(server: SqlServer) -> String {
    let reference = match server {
        SqlServer::MySql => {
            "ALTER TABLE memberships ADD CONSTRAINT any_name FOREIGN KEY (account) REFERENCES accounts (id);"
        }
        SqlServer::Postgres => "ALTER TABLE memberships ADD FOREIGN KEY (account) REFERENCES accounts (id);",
    };
    format!(
        "DROP TABLE room_positions;
         DROP TABLE membership_positions;
         DROP TABLE organization_changes;
         DELETE FROM _lanner_directory_migrations WHERE version >= 3;
         {reference}
         INSERT INTO organizations VALUES (1, 'free', 0);
         INSERT INTO accounts VALUES (10, 1, TRUE);
         INSERT INTO rooms VALUES (100), (101);
         INSERT INTO memberships (account, room) VALUES (10, 100), (10, 101);"
    )
}

async fn seen(directory: &SqlDirectory) -> Vec<u64> {
    let lists = directory.rooms_of(&[OrganizationId::from_bits(1)]).await.expect("rooms");
    lists[0].iter().map(|room| room.get()).collect()
}

async fn brought_up_to_date(server: SqlServer) {
    let folder = TempDir::new().expect("a folder");
    let url = match server.database(folder.path()).await {
        Ok(url) => url,
        Err(reason) => return not_run(&format!("our directory on {}", server.name()), &reason),
    };
    let settings = SqlSettings::new(SqlUrl::new(&url).expect("an address"));
    drop(SqlDirectory::open(&settings).await.expect("a directory"));
    scratch::run_sql(server, &url, &before_positions(server)).await.expect("older tables");

    let directory = SqlDirectory::open(&settings).await.expect("brought up to date");
    assert_eq!(seen(&directory).await, [100, 101]);
    let change = |what| MembershipChange { room: RoomId::from_bits(100), position: Position::from_bits(0), what };
    let [known, unknown] = [10, 40].map(AccountId::from_bits);
    directory.apply(&[change(RoomChange::Left(known)), change(RoomChange::Joined(unknown))]).await.expect("changed");
    assert_eq!(seen(&directory).await, [101]);
    let told = directory.changed_organizations(ChangeCursor::default(), 10).await.expect("changes");
    let before = ChangeCursor { changed: 1, organization: OrganizationId::from_bits(1) };
    assert_eq!(told, [before], "what was there before is told to who begins");
    drop(directory);
    scratch::drop_databases(folder.path());
}

#[tokio::test]
async fn tables_from_before_positions_keep_what_they_hold_on_mysql() {
    brought_up_to_date(SqlServer::MySql).await;
}

#[tokio::test]
async fn tables_from_before_positions_keep_what_they_hold_on_postgres() {
    brought_up_to_date(SqlServer::Postgres).await;
}

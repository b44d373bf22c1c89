//! An existing chat's database is read as it is: the examples under `docs/examples`, on both servers.

use std::path::Path;

use chat::{
    AccountId, ChangeCursor, Directory as _, Epoch, Head, Memberships as _, MessageId, Organization, OrganizationId,
    Participant, Plan, Policy, PortResult, RoomChange, RoomId, Timestamp, newest,
};
use sql::{DirectoryQueries, SqlDirectory, SqlLiveIds, SqlSettings, SqlUrl};
use support::{Program, SqlServer, room_log, scratch};
use tempfile::TempDir;

/// A database with the tables and rows of an example, and its queries.
struct Chat {
    server: SqlServer,
    url: String,
    settings: SqlSettings,
    example: std::path::PathBuf,
    queries: toml::Table,
    folder: TempDir,
}

impl Drop for Chat {
    fn drop(&mut self) {
        scratch::drop_databases(self.folder.path());
    }
}

impl Chat {
    /// None where the server is not there, which is said.
    async fn new(server: SqlServer, example: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let url = match server.database(folder.path()).await {
            Ok(url) => url,
            Err(reason) => {
                use std::io::Write as _;
                let line = format!("NOT RUN: existing chat on {}: {reason}\n", server.name());
                _ = std::io::stderr().write_all(line.as_bytes());
                return None;
            }
        };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(example);
        let schema = std::fs::read_to_string(example.join("schema.sql")).expect("the schema");
        scratch::run_sql(server, &url, &schema).await.expect("the schema");
        let settings = SqlSettings::new(SqlUrl::new(&url).expect("an address"));
        let queries = settings_of(&example.join("lanner.toml"));
        Some(Self { server, url, settings, example, queries, folder })
    }

    async fn run(&self, sql: &str) {
        scratch::run_sql(self.server, &self.url, sql).await.expect("rows");
    }

    async fn directory(&self, queries: &DirectoryQueries) -> SqlDirectory {
        SqlDirectory::open_chat(&self.settings, queries).await.expect("a directory")
    }

    async fn refusal(&self, queries: &DirectoryQueries) -> String {
        let e = SqlDirectory::open_chat(&self.settings, queries).await.expect_err("refused");
        assert_eq!(e.class(), "refused");
        let mut text = e.to_string();
        let mut cause = std::error::Error::source(&e);
        while let Some(e) = cause {
            text = format!("{text}: {e}");
            cause = e.source();
        }
        text
    }
}

fn settings_of(path: &Path) -> toml::Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().expect("settings")
}

fn text(table: &toml::Table, name: &str) -> String {
    table[name].as_str().expect(name).to_owned()
}

fn directory_queries(table: &toml::Table) -> DirectoryQueries {
    let table = table["directory"].as_table().expect("[directory]");
    DirectoryQueries {
        free_organizations: text(table, "free_organizations"),
        organizations: text(table, "organizations"),
        rooms: text(table, "rooms"),
        participant: Some(text(table, "participant")),
        changed_organizations: Some(text(table, "changed_organizations")),
    }
}

fn organization(id: u64) -> OrganizationId {
    OrganizationId::from_bits(id)
}

fn rooms(ids: &[u64]) -> Vec<RoomId> {
    ids.iter().copied().map(RoomId::from_bits).collect()
}

/// Whose an account is, and whether it is in the room.
async fn participants(directory: &SqlDirectory, asked: &[(u64, u64)]) -> PortResult<Vec<Option<(u64, bool)>>> {
    let pairs: Vec<_> = asked.iter().map(|(id, room)| (AccountId::from_bits(*id), RoomId::from_bits(*room))).collect();
    let numbers = |found: Participant| (found.organization.get(), found.is_member);
    Ok(directory.participants(&pairs).await?.into_iter().map(|found| found.map(numbers)).collect())
}

fn cursor(changed: u64, id: u64) -> ChangeCursor {
    ChangeCursor { changed, organization: organization(id) }
}

/// What changed since, in pages of `limit`: numbers and organizations.
async fn changes(directory: &SqlDirectory, after: ChangeCursor, limit: usize) -> Vec<(u64, u64)> {
    let (mut told, mut reached) = (Vec::new(), after);
    loop {
        let page = directory.changed_organizations(reached, limit).await.expect("changes");
        told.extend(page.iter().map(|change| (change.changed, change.organization.get())));
        match page.last() {
            Some(last) if page.len() == limit => reached = *last,
            _ => return told,
        }
    }
}

const ROWS: &str = "
    INSERT INTO workspaces (id, name, billing_plan, billing_plan_changes, deleted_at, changed_at) VALUES
        (1, 'one', 'free', 3, NULL, 1700000000005), (2, 'two', 'team', 1, NULL, 1700000000005),
        (3, 'three', 'free', 0, NULL, 1700000000004), (4, 'gone', 'free', 0, '2026-01-01 00:00:00', 1700000000005),
        (5, 'five', 'business', 2, NULL, 1700000000006);
    INSERT INTO users (id, workspace_id, deactivated_at) VALUES
        (10, 1, NULL), (11, 1, NULL), (12, 1, '2026-01-01 00:00:00'), (30, 3, NULL), (40, 4, NULL);
    INSERT INTO channels (id, name) VALUES (100, 'a'), (101, 'b'), (102, 'c'), (103, 'd');
    INSERT INTO channel_members (id, channel_id, user_id, joined_at, left_at) VALUES
        (1, 100, 10, '2025-01-01 00:00:00', NULL),
        (2, 101, 10, '2025-01-01 00:00:00', '2025-02-01 00:00:00'),
        (3, 102, 10, '2025-01-01 00:00:00', '2025-02-01 00:00:00'),
        (4, 102, 10, '2025-03-01 00:00:00', NULL),
        (5, 102, 11, '2025-01-01 00:00:00', NULL),
        (6, 103, 12, '2025-01-01 00:00:00', NULL),
        (7, 100, 30, '2025-01-01 00:00:00', NULL),
        (8, 100, 40, '2025-01-01 00:00:00', NULL);";

async fn a_chat_with_other_tables(server: SqlServer) {
    let Some(chat) = Chat::new(server, "existing-chat").await else { return };
    chat.run(ROWS).await;
    let directory = chat.directory(&directory_queries(&chat.queries)).await;
    assert!(directory.warnings().is_empty(), "{:?}", directory.warnings());

    let free = |id, plan_version| Organization { id: organization(id), plan: Plan::Free, plan_version };
    let page = directory.free_organizations(None, 10).await.expect("a page");
    assert_eq!(page, [free(1, 3), free(3, 0)]);
    assert_eq!(directory.free_organizations(Some(organization(1)), 1).await.expect("a page"), [free(3, 0)]);
    let paid = Organization { plan: Plan::Paid, ..free(2, 1) };
    let asked = [2, 4, 9, 1].map(organization);
    let found = directory.organizations(&asked).await.expect("organizations");
    assert_eq!(found, [Some(paid), None, None, Some(free(1, 3))]);
    let seen = directory.rooms_of(&[3, 1, 2].map(organization)).await.expect("rooms");
    assert_eq!(seen, [rooms(&[100]), rooms(&[100, 102]), vec![]], "left, came back, deactivated");
    let asked = [(30, 100), (10, 101), (10, 102), (11, 100), (10, 102), (12, 103), (99, 100), (40, 100), (10, 999)];
    let found = participants(&directory, &asked).await.expect("participants");
    let [member, not] = [Some((1, true)), Some((1, false))];
    assert_eq!(found, [Some((3, true)), not, member, not, member, None, None, None, not]);

    let at = |ms: u64| 1_700_000_000_000 + ms;
    let all = [(at(4), 3), (at(5), 1), (at(5), 2), (at(5), 4), (at(6), 5)];
    for limit in [1, 2, 10] {
        assert_eq!(changes(&directory, ChangeCursor::default(), limit).await, all, "in pages of {limit}");
        assert_eq!(changes(&directory, cursor(at(5), 2), limit).await, all[3..], "in pages of {limit}");
    }

    let refused = directory.put_rooms(&rooms(&[1])).await.expect_err("it is not ours");
    assert_eq!(refused.class(), "refused");
    let change = room_log::next(RoomId::from_bits(100), RoomChange::Deleted);
    for changes in [&[][..], &[change]] {
        let refused = directory.apply(changes).await.expect_err("it is not ours");
        assert!(refused.class() == "refused" && refused.to_string().contains("directory.owner = chat"), "{refused}");
    }
}

async fn what_is_wrong_with_a_query(server: SqlServer) {
    let Some(chat) = Chat::new(server, "existing-chat").await else { return };
    chat.run(ROWS).await;
    let good = directory_queries(&chat.queries);

    let without = "SELECT workspace_id AS organization FROM users WHERE workspace_id IN (:ids)".to_owned();
    let refused = chat.refusal(&DirectoryQueries { rooms: without, ..good.clone() }).await;
    assert!(refused.contains("query rooms has no column 'room', it has: organization"), "{refused}");

    let wrong = "SELECT id, billing_plan AS free FROM workspaces WHERE id IN (:ids)".to_owned();
    let refused = chat.refusal(&DirectoryQueries { organizations: wrong, ..good.clone() }).await;
    assert!(refused.contains("query organizations has column 'free' of type VARCHAR"), "{refused}");

    let unknown = "SELECT id FROM nowhere WHERE id > :after ORDER BY id LIMIT :limit".to_owned();
    let refused = chat.refusal(&DirectoryQueries { free_organizations: unknown, ..good.clone() }).await;
    assert!(refused.contains("query free_organizations") && refused.contains("nowhere"), "{refused}");

    let misspelt = "SELECT id FROM workspaces WHERE id > :from ORDER BY id LIMIT :limit".to_owned();
    let refused = chat.refusal(&DirectoryQueries { free_organizations: misspelt, ..good.clone() }).await;
    assert!(refused.contains("unknown placeholder :from"), "{refused}");

    let writes = "DELETE FROM workspaces WHERE id IN (:ids)".to_owned();
    let refused = chat.refusal(&DirectoryQueries { organizations: writes, ..good.clone() }).await;
    assert!(refused.contains("query organizations"), "{refused}");

    let ignores_after = "SELECT id FROM workspaces ORDER BY id LIMIT :limit".to_owned();
    let directory = chat.directory(&DirectoryQueries { free_organizations: ignores_after, ..good.clone() }).await;
    let e = directory.free_organizations(Some(organization(3)), 2).await.expect_err("it would never end");
    assert!(e.to_string().contains("id > :after"), "{e}");

    let as_text = "SELECT workspace_id AS organization, 'yes' AS member FROM users WHERE id = :account".to_owned();
    let refused = chat.refusal(&DirectoryQueries { participant: Some(as_text), ..good.clone() }).await;
    assert!(refused.contains("query participant has column 'member' of type"), "{refused}");

    let several = "SELECT users.workspace_id AS organization, channel_members.channel_id = :room AS member
        FROM users JOIN channel_members ON channel_members.user_id = users.id WHERE users.id = :account";
    let queries = DirectoryQueries { participant: Some(several.to_owned()), ..good.clone() };
    let e = participants(&chat.directory(&queries).await, &[(10, 100)]).await.expect_err("which of them counts?");
    assert!(e.class() == "refused" && e.to_string().contains("query participant must answer one row"), "{e}");

    let directory = chat.directory(&DirectoryQueries { participant: None, ..good.clone() }).await;
    let e = participants(&directory, &[(10, 100)]).await.expect_err("it was not told how");
    assert!(e.class() == "refused" && e.to_string().contains("set directory.participant"), "{e}");
    directory.rooms_of(&[organization(1)]).await.expect("the limit path needs no more");

    for ignores in ["changed_at > 0", "changed_at >= :after"] {
        let endless = format!(
            "SELECT changed_at AS changed, id AS organization FROM workspaces WHERE {ignores} ORDER BY changed_at, id LIMIT :limit"
        );
        let queries = DirectoryQueries { changed_organizations: Some(endless), ..good.clone() };
        let reached = cursor(1_700_000_000_005, 2);
        let e = chat.directory(&queries).await.changed_organizations(reached, 2).await.expect_err("it would never end");
        assert!(e.class() == "refused" && e.to_string().contains("query changed_organizations must answer"), "{e}");
    }
    let half = "SELECT id AS organization FROM workspaces WHERE changed_at > :after LIMIT :limit".to_owned();
    let refused = chat.refusal(&DirectoryQueries { changed_organizations: Some(half), ..good.clone() }).await;
    assert!(refused.contains("query changed_organizations has no column 'changed'"), "{refused}");
    let directory = chat.directory(&DirectoryQueries { changed_organizations: None, ..good.clone() }).await;
    let e = directory.changed_organizations(ChangeCursor::default(), 1).await.expect_err("it was not told how");
    assert!(e.class() == "refused" && e.to_string().contains("set directory.changed_organizations"), "{e}");
    participants(&directory, &[(10, 100)]).await.expect("the message path needs no more");

    let scans =
        "SELECT id, billing_plan = 'free' AS free FROM workspaces WHERE billing_plan_changes IN (:ids)".to_owned();
    let directory = chat.directory(&DirectoryQueries { organizations: scans, ..good }).await;
    assert_eq!(directory.warnings(), ["the query organizations reads all of workspaces: it needs an index"]);
}

async fn what_a_query_does_is_read_only(server: SqlServer) {
    let Some(chat) = Chat::new(server, "existing-chat").await else { return };
    let body = "INSERT INTO channels (id, name) VALUES (7, 'written')";
    let function = match server {
        SqlServer::MySql => format!("CREATE FUNCTION writes() RETURNS INT DETERMINISTIC BEGIN {body}; RETURN 1; END"),
        SqlServer::Postgres => {
            format!("CREATE FUNCTION writes() RETURNS INT LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN 1; END $$")
        }
    };
    chat.run(&function).await;
    chat.run(ROWS).await;
    let queries = directory_queries(&chat.queries);
    let writes = "SELECT id, writes() = 1 AS free FROM workspaces WHERE id IN (:ids)".to_owned();
    // MySQL refuses when the query is checked, PostgreSQL when it runs.
    if let Ok(directory) =
        SqlDirectory::open_chat(&chat.settings, &DirectoryQueries { organizations: writes, ..queries }).await
    {
        assert!(directory.organizations(&[organization(1)]).await.is_err(), "a function wrote");
    }
}

/// Realm 1 has 12,000 messages, realm 2 exactly 10,000, realm 3 has 500; ids in the order of time, mixed between the realms.
async fn a_zulip_like_chat(server: SqlServer) {
    let Some(chat) = Chat::new(server, "zulip").await else { return };
    chat.run(
        "INSERT INTO zerver_realm (id, string_id, plan_type, deactivated) VALUES
            (1, 'large', 2, FALSE), (2, 'just', 2, FALSE), (3, 'small', 2, FALSE), (4, 'paid', 3, FALSE), (5, 'off', 2, TRUE);
         INSERT INTO zerver_stream (id, realm_id, recipient_id) VALUES (1, 1, 11), (2, 1, 12), (3, 2, 21), (4, 3, 31);
         INSERT INTO zerver_userprofile (id, realm_id, is_active, recipient_id) VALUES
            (1, 1, TRUE, 13), (2, 2, TRUE, 22), (3, 3, TRUE, NULL), (4, 1, FALSE, 14), (5, 5, TRUE, 51);
         INSERT INTO zerver_subscription (id, user_profile_id, recipient_id, active) VALUES
            (1, 1, 11, TRUE), (2, 1, 12, FALSE), (3, 1, 13, TRUE), (4, 4, 11, TRUE), (5, 5, 51, TRUE);
         INSERT INTO zerver_realmauditlog (id, realm_id, event_type, event_time) VALUES
            (1, 3, 215, '2026-01-01 00:00:00'), (2, 3, 601, '2026-01-01 00:00:00'), (3, 4, 204, '2026-01-01 00:00:01'),
            (4, 1, 124, '2026-01-01 00:00:02'), (5, 1, 103, '2026-01-01 00:00:03'), (6, 5, 201, '2026-01-01 00:00:03');",
    )
    .await;
    let mut left = [(1, 12_000_u32, [11, 12, 13]), (2, 10_000, [21, 22, 21]), (3, 500, [31, 31, 31])];
    let mut ids: [Vec<u64>; 3] = Default::default();
    let mut random = fastrand::Rng::with_seed(1);
    let mut rows = Vec::new();
    let mut id = 1_000_u64;
    while let Some(most) = left.iter().map(|(_, count, _)| *count).max().filter(|most| *most > 0) {
        // Ids have gaps: deleted messages are moved away.
        id += random.u64(1..4);
        let realm = random.usize(0..3);
        if left[realm].1 == 0 || random.u32(0..most) >= left[realm].1.max(most / 20) {
            continue;
        }
        left[realm].1 -= 1;
        ids[realm].push(id);
        let recipient = left[realm].2[random.usize(0..3)];
        rows.push(format!("({id}, {}, {recipient}, 1, '2026-01-01 00:00:00')", left[realm].0));
    }
    for rows in rows.chunks(5_000) {
        let columns = "INSERT INTO zerver_message (id, realm_id, recipient_id, sender_id, date_sent) VALUES";
        chat.run(&format!("{columns} {}", rows.join(", "))).await;
    }

    let in_its_rooms = [(1, 11), (1, 13), (1, 12), (1, 21), (4, 11), (5, 51), (9, 11)];
    let in_its_realm = [(1, 1), (2, 2), (1, 2), (3, 1), (4, 1), (5, 5), (9, 1)];
    let [yes, no] = [Some((1, true)), Some((1, false))];
    for (file, asked, expected, first_changes) in [
        ("lanner.toml", in_its_realm, [yes, Some((2, true)), no, Some((3, false)), None, None, None], &[(1, 3)][..]),
        ("recipients.toml", in_its_rooms, [yes, yes, no, no, None, None, None], &[(1, 3), (2, 3)]),
    ] {
        let queries = settings_of(&chat.example.join(file));
        let directory = chat.directory(&directory_queries(&queries)).await;
        let newest_ids = text(queries["messages"].as_table().expect("[messages]"), "newest_ids");
        let live_ids = SqlLiveIds::open_chat(&chat.settings, &newest_ids).await.expect("live ids");
        assert!(directory.warnings().is_empty() && live_ids.warnings().is_empty());
        assert_eq!(participants(&directory, &asked).await.expect("participants"), expected);
        let later_changes = [(3, 4), (5, 1), (6, 5)];
        assert_eq!(changes(&directory, ChangeCursor::default(), 2).await, [first_changes, &later_changes].concat());
        assert_eq!(changes(&directory, cursor(2, 3), 1).await, later_changes, "a name that changed is not told");
        let realms = directory.free_organizations(None, 10).await.expect("realms");
        let realms: Vec<OrganizationId> = realms.iter().map(|realm| realm.id).collect();
        assert_eq!(realms, [1, 2, 3].map(organization));
        let policy = Policy::new(10_000, None).expect("a policy");
        let (as_of, epoch) = ("2026-11-22T00:00:00Z".parse::<Timestamp>().expect("an instant"), Epoch::default());
        for (ids, rooms) in ids.iter().zip(directory.rooms_of(&realms).await.expect("rooms")) {
            let rooms: Vec<_> = rooms.into_iter().map(|room| newest::Room::new(room, Head::Unknown, epoch)).collect();
            let found = newest(&live_ids, &rooms, &policy, as_of, epoch).await.expect("the newest");
            let nth_newest = ids.len().checked_sub(10_001).map(|hidden| MessageId::from_bits(ids[hidden + 1]));
            assert_eq!(found.first_visible_message_id, nth_newest);
            assert_eq!(found.visible_messages as usize, ids.len().min(10_000));
        }
        run_the_binary(&chat, file, &ids);
    }
}

/// The whole limit path with the example's settings, everything else embedded.
fn run_the_binary(chat: &Chat, file: &str, ids: &[Vec<u64>; 3]) {
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &chat.folder.path().join(file))
        .with("LANNER_CONFIG", chat.example.join(file).display())
        .with("LANNER_DIRECTORY_URL", &chat.url)
        .with("LANNER_MESSAGES_URL", &chat.url);
    let looked = program.run("doctor").exits(42).out;
    assert!(looked.contains("answered by the configured queries"), "only the data directory is missing: {looked}");
    program.run("run").exits(0);
    program.run("doctor").exits(0);
    // The limits follow from the other three queries; these are checked where they are given.
    for optional in ["LANNER_DIRECTORY_PARTICIPANT", "LANNER_DIRECTORY_CHANGED_ORGANIZATIONS"] {
        program.clone().with(optional, "").run("doctor").exits(0);
    }
    let half = "SELECT realm_id AS organization FROM zerver_userprofile WHERE id = :account";
    let program_with_half = program.clone().with("LANNER_DIRECTORY_PARTICIPANT", half);
    program_with_half.run("run").exits(42).says(&["the query participant has no column 'member'"]);
    let half = "SELECT id AS changed FROM zerver_realmauditlog WHERE id > :after ORDER BY id LIMIT :limit";
    let program_with_half = program.clone().with("LANNER_DIRECTORY_CHANGED_ORGANIZATIONS", half);
    program_with_half.run("run").exits(42).says(&["the query changed_organizations has no column 'organization'"]);
    let rows: Vec<String> = ids
        .iter()
        .enumerate()
        .map(|(index, ids)| match ids.len().checked_sub(10_000) {
            Some(hidden @ 1..) => format!("{},10000,{1},count,{1}", index + 1, ids[hidden]),
            _ => format!("{},{},{},age,", index + 1, ids.len(), ids[0]),
        })
        .collect();
    let exported = program.run("limits export").exits(0).out;
    assert_eq!(exported.lines().skip(1).collect::<Vec<_>>(), rows);
    program.run("organizations set-plan 1 paid --reason test").exits(1).says(&["belongs to the chat"]);
}

/// A test of each case on each server.
macro_rules! on_both_servers {
    ($($case:ident => $mysql:ident, $postgres:ident;)+) => {$(
        #[tokio::test]
        async fn $mysql() {
            $case(SqlServer::MySql).await;
        }

        #[tokio::test]
        async fn $postgres() {
            $case(SqlServer::Postgres).await;
        }
    )+};
}

on_both_servers! {
    a_chat_with_other_tables => a_chat_on_mysql_is_read_as_it_is, a_chat_on_postgres_is_read_as_it_is;
    what_is_wrong_with_a_query => a_wrong_query_is_told_on_mysql, a_wrong_query_is_told_on_postgres;
    what_a_query_does_is_read_only => no_query_writes_on_mysql, no_query_writes_on_postgres;
    a_zulip_like_chat => a_zulip_like_chat_on_mysql_has_its_boundaries, a_zulip_like_chat_on_postgres_has_its_boundaries;
}

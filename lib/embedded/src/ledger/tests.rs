use chat::ledger::{Change, Figures, Item, NewRun, Scope, Settlement, Stage, State};
use chat::{Ledger as _, MessageId, OrganizationId, Policy, RunId, Timestamp};
use sqlx::Row as _;

use super::SqliteLedger;
use crate::{Access, DataDir};

async fn open(folder: &tempfile::TempDir, access: Access) -> SqliteLedger {
    let dir = DataDir::open(folder.path(), access, "test").await.expect("a data directory");
    SqliteLedger::open(&dir).await.expect("a ledger")
}

fn organizations(count: u64) -> Vec<OrganizationId> {
    (0..count).map(OrganizationId::from_bits).collect()
}

async fn filled(ledger: &SqliteLedger, name: &str, as_of: u64, count: u64) -> RunId {
    let id = RunId::new(name).expect("a run id");
    let (as_of, policy) = (Timestamp::from_millis(as_of), Policy::default());
    let run = NewRun { id: id.clone(), scope: Scope::AllFree, as_of, policy, opened_at: as_of };
    ledger.open_run(&run).await.expect("opened");
    ledger.register(&id, &organizations(count), None, as_of).await.expect("registered");
    id
}

fn end(run: &RunId, organization: u64, state: State, boundary: u64) -> Settlement {
    let first_visible_message_id = Some(MessageId::from_bits(boundary));
    Settlement {
        item: Item { run: run.clone(), organization: OrganizationId::from_bits(organization) },
        state,
        figures: Figures { first_visible_message_id, visible_messages: 5_000, ..Figures::default() },
        failure: None,
        at: Timestamp::from_millis(boundary),
    }
}

#[tokio::test]
async fn readers_work_while_a_transaction_is_open_and_see_what_is_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let writer = open(&folder, Access::Write).await;
    let run = filled(&writer, "r", 1, 10).await;
    let reader = open(&folder, Access::Read).await;

    let mut long = writer.database.begin().await.expect("begun");
    sqlx::query("DELETE FROM run_organizations").execute(&mut *long).await.expect("deleted");
    for ledger in [&writer, &reader] {
        let progress = ledger.progress(&run).await.expect("no reader waits").expect("the run");
        assert_eq!(progress.counts.of(State::Pending), 10);
    }
    writer.database.commit(long).await.expect("committed");
    let progress = reader.progress(&run).await.expect("progress").expect("the run");
    assert_eq!(progress.counts.expected(), 0);

    let refused = reader.register(&run, &organizations(1), None, Timestamp::from_millis(2)).await;
    assert_eq!(refused.expect_err("opened for reading").class(), "refused");
}

#[tokio::test]
async fn the_views_tell_what_the_tables_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(&folder, Access::Write).await;
    // The run with the older instant finishes last: the newer one is what counts.
    let newer = filled(&ledger, "newer", 2_000, 3).await;
    let older = filled(&ledger, "older", 1_000, 3).await;
    let ends = [end(&newer, 0, State::Done, 20), end(&newer, 1, State::Parked, 21), end(&older, 0, State::Done, 30)];
    ledger.settle(&ends).await.expect("settled");

    let pool = ledger.database.reader();
    let progress =
        sqlx::query("SELECT run, expected, pending, done, parked, last_finished_at FROM run_progress ORDER BY run");
    let rows = progress.fetch_all(pool).await.expect("run_progress");
    let row = |i: usize| (rows[i].get::<&str, _>(0), (1..6).map(|c| rows[i].get(c)).collect::<Vec<i64>>());
    assert_eq!(row(0), ("newer", vec![3, 1, 1, 1, 21]));
    assert_eq!(row(1), ("older", vec![3, 2, 1, 0, 30]));

    let latest: Vec<(i64, String, i64)> =
        sqlx::query_as("SELECT organization, run, first_visible_message_id FROM latest_limits")
            .fetch_all(pool)
            .await
            .expect("latest_limits");
    assert_eq!(latest, [(0, "newer".to_owned(), 20)]);

    let failed: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT run, organization, state FROM failed_organizations")
            .fetch_all(pool)
            .await
            .expect("failed_organizations");
    assert_eq!(failed, [("newer".to_owned(), 1, "parked".to_owned())]);
}

#[tokio::test]
async fn runs_of_many_pages_are_compared_to_their_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(&folder, Access::Write).await;
    let all = filled(&ledger, "all", 1, 45_000).await;
    let some = filled(&ledger, "some", 2, 0).await;
    // Pages of the two end at different organizations, and one run is read to its end alone.
    let ids: Vec<_> = organizations(41_000).into_iter().filter(|id| id.get() % 7 != 3).collect();
    ledger.register(&some, &ids, None, Timestamp::from_millis(2)).await.expect("registered");
    for (before, after, gone) in [(&all, &some, Change::OnlyBefore), (&some, &all, Change::OnlyAfter)] {
        let compared = ledger.compare(before, after, 1).await.expect("compared");
        assert_eq!(compared.same, ids.len() as u64);
        let found: Vec<_> = compared.differences.iter().map(|d| (d.change, d.organizations)).collect();
        assert_eq!(found, [(gone, 45_000 - ids.len() as u64)]);
        assert_eq!(compared.differences[0].examples[0].organization.get(), 3);
    }
}

#[tokio::test]
async fn a_batch_of_any_size_is_one_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(&folder, Access::Write).await;
    let count = 20_000;
    let run = filled(&ledger, "r", 1, count).await;
    let items: Vec<Item> =
        organizations(count).into_iter().map(|organization| Item { run: run.clone(), organization }).collect();
    ledger.begin(Stage::CollectRooms, &items, Timestamp::from_millis(2)).await.expect("begun");
    let ends: Vec<_> = (0..count).map(|organization| end(&run, organization, State::Done, 9)).collect();
    assert!(ledger.settle(&ends).await.expect("settled").into_iter().all(|settled| settled));
    let progress = ledger.progress(&run).await.expect("progress").expect("the run");
    assert_eq!(progress.counts.of(State::Done), count);
}

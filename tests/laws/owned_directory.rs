//! The laws of `OwnedDirectory`.

use chat::{AccountId, Organization, OrganizationId, OrganizationRecord, OwnedDirectory, Plan, RoomId};
use import::{Account, Membership, Name, NameKind};
use support::retry;

use crate::directory::DirectoryWriter;
use crate::suite::{Adapter, Prepared, laws};

type Store = Prepared<dyn OwnedDirectory, dyn DirectoryWriter>;
type Subject = Adapter<Store>;

laws! {
    owned_directory;
    every:
        pages_are_ascending_and_of_the_plan_that_is_asked_for,
        accounts_and_rooms_are_counted,
        a_name_stands_with_its_organization,
        records_stand_in_the_order_of_the_question,
        a_plan_that_is_set_is_answered_with_its_version,
        an_unknown_organization_has_no_plan_to_set;
}

fn row(id: u64, plan: Plan) -> Organization {
    Organization { id: OrganizationId::from_bits(id), plan, plan_version: 0 }
}

fn plan_of(id: u64) -> Plan {
    if id.is_multiple_of(3) { Plan::Paid } else { Plan::Free }
}

async fn list(store: &Store, plan: Option<Plan>, limit: usize) -> Vec<u64> {
    let (mut listed, mut after) = (Vec::new(), None);
    for _ in 0..1_000 {
        let page = retry(|| store.port.page(plan, after, limit)).await;
        assert!(page.len() <= limit);
        listed.extend(page.iter().map(|record| record.organization.id.get()));
        if page.len() < limit {
            return listed;
        }
        after = page.last().map(|record| record.organization.id);
    }
    panic!("the listing does not end");
}

async fn pages_are_ascending_and_of_the_plan_that_is_asked_for(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    assert!(list(&store, None, 5).await.is_empty());
    let ids = || (0..30).chain([OrganizationId::MAX.get()]);
    let organizations: Vec<_> = ids().map(|id| row(id, plan_of(id))).collect();
    store.writer.put_organizations(&organizations).await.expect("organizations");
    for plan in [None, Some(Plan::Free), Some(Plan::Paid)] {
        let expected: Vec<u64> = ids().filter(|id| plan.is_none_or(|plan| plan_of(*id) == plan)).collect();
        for limit in [1, 4, expected.len(), 1_000] {
            assert_eq!(list(&store, plan, limit).await, expected, "{plan:?} in pages of {limit}");
        }
    }
}

/// Organization 1 with accounts 10 and 11, the second inactive; 2 with nobody; 3 with account 30. Rooms 100 to 103.
async fn small(store: &Store) {
    let organizations = [1, 2, 3].map(|id| row(id, Plan::Free));
    store.writer.put_organizations(&organizations).await.expect("organizations");
    let account =
        |id, of, active| Account { id: AccountId::from_bits(id), organization: OrganizationId::from_bits(of), active };
    let accounts = [account(10, 1, true), account(11, 1, false), account(30, 3, true)];
    store.writer.put_accounts(&accounts).await.expect("accounts");
    store.writer.put_rooms(&(100..104).map(RoomId::from_bits).collect::<Vec<_>>()).await.expect("rooms");
    let member = |id, room| Membership { account: AccountId::from_bits(id), room: RoomId::from_bits(room) };
    let memberships = [member(10, 100), member(10, 101), member(11, 101), member(11, 102), member(30, 100)];
    store.writer.join(&memberships).await.expect("joined");
}

fn counts(record: &OrganizationRecord) -> (u64, u64, u64, u64) {
    (record.organization.id.get(), record.accounts, record.active_accounts, record.rooms)
}

async fn accounts_and_rooms_are_counted(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let page = retry(|| store.port.page(None, None, 10)).await;
    let expected = [(1, 2, 1, 2), (2, 0, 0, 0), (3, 1, 1, 1)];
    assert_eq!(page.iter().map(counts).collect::<Vec<_>>(), expected);
    store.writer.set_active(AccountId::from_bits(11), true).await.expect("activated");
    let ids = [OrganizationId::from_bits(1)];
    let found = retry(|| store.port.records(&ids)).await;
    assert_eq!(found[0].as_ref().map(counts), Some((1, 2, 2, 3)));
}

async fn a_name_stands_with_its_organization(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let name = |kind, id, name: &str| Name { kind, id, within: None, name: name.to_owned() };
    // What is called the same id is not always the same thing.
    let names =
        [name(NameKind::Organization, 1, "Größe"), name(NameKind::Room, 2, "a room"), name(NameKind::Account, 3, "x")];
    store.writer.put_names(&names).await.expect("names");
    let page = retry(|| store.port.page(None, None, 10)).await;
    let expected = [Some("Größe"), None, None];
    assert_eq!(page.iter().map(|record| record.name.as_deref()).collect::<Vec<_>>(), expected);
    let ids = [1, 2, 3].map(OrganizationId::from_bits);
    let found = retry(|| store.port.records(&ids)).await;
    let found: Vec<_> = found.iter().map(|found| found.as_ref().and_then(|record| record.name.as_deref())).collect();
    assert_eq!(found, expected);
}

async fn records_stand_in_the_order_of_the_question(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let ids = [3, 99, 1, 3].map(OrganizationId::from_bits);
    let found = retry(|| store.port.records(&ids)).await;
    let found: Vec<_> = found.iter().map(|found| found.as_ref().map(|record| record.organization.id.get())).collect();
    assert_eq!(found, [Some(3), None, Some(1), Some(3)]);
    assert!(retry(|| store.port.records(&[])).await.is_empty());
}

async fn a_plan_that_is_set_is_answered_with_its_version(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let ids = [OrganizationId::from_bits(2)];
    let id = ids[0];
    for (plan, version) in [(Plan::Free, 0), (Plan::Paid, 1), (Plan::Paid, 1), (Plan::Free, 2)] {
        let set = retry(|| store.port.set_plan(id, plan)).await;
        assert_eq!(set, Organization { id, plan, plan_version: version });
        let found = retry(|| store.port.records(&ids)).await;
        assert_eq!(found[0].as_ref().map(|record| &record.organization), Some(&set));
    }
}

async fn an_unknown_organization_has_no_plan_to_set(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let unknown = OrganizationId::from_bits(99);
    for _ in 0..100 {
        match store.port.set_plan(unknown, Plan::Paid).await {
            Err(error) if error.is_temporary() => {}
            answer => return assert_eq!(answer.expect_err("refused").class(), "refused"),
        }
    }
    panic!("it is unavailable for ever");
}

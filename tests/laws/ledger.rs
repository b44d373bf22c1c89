//! Laws of [`chat::Ledger`].

mod room_lists;

use std::collections::BTreeMap;
use std::sync::Arc;

use chat::ledger::{
    AuditEntry, AuditFilter, Begun, BoundaryChange, Change, Counts, Failure, Figures, Filter, HistoryEntry, HistoryRow,
    Item, NewRun, Old, Outcome, Phase, Pruned, RunOrganization, Scope, Settlement, Stage, State, UnreadableMessage,
};
use chat::{Ledger, MessageId, OrganizationId, Policy, PortError, PortResult, RunId, Timestamp};
use futures::future::join;

use crate::random;
use crate::suite::{Adapter, Folder, laws};

laws! {
    ledger;
    every:
        a_refused_call_changes_nothing,
        counts_are_the_sum_of_the_states_at_all_times,
        opening_a_run_that_exists_joins_it_as_it_stands,
        registering_again_changes_nothing,
        terminal_is_terminal,
        reopening_begins_what_failed_anew_and_nothing_else,
        beginning_tells_why_there_is_nothing_to_do,
        a_changed_boundary_is_in_the_history_once,
        what_is_added_to_the_history_is_there_once,
        pages_are_ascending_disjoint_and_complete,
        what_was_written_survives_and_another_process_sees_it,
        a_failure_is_kept_within_a_bound,
        runs_and_attempts_come_newest_first,
        the_slowest_are_those_in_work_or_those_that_took_longest,
        the_latest_failures_are_those_that_ended_last,
        runs_are_compared_organization_by_organization,
        a_comparison_counts_what_a_plain_comparison_counts,
        what_is_old_is_pruned_and_nothing_else;
    exact:
        of_two_processes_one_settles_an_organization,
        of_two_processes_each_attempt_counts,
        batches_that_cross_wait_for_each_other_and_count,
        each_stage_counts_its_attempts_from_one,
        an_item_twice_in_a_batch_is_counted_twice,
        forgiving_takes_back_exactly_one_attempt,
        settling_answers_true_once,
        of_several_who_add_the_same_history_one_does,
        cancelling_answers_true_once_and_not_when_finished,
        a_batch_may_mix_runs_and_its_answers_stand_in_order,
        notes_come_newest_first,
        audit_rows_are_found_by_what_and_when,
        a_call_that_prunes_is_short_and_a_run_goes_out_of_sight_at_once;
}

/// Calls of one flaky adapter in a row that may fail.
const TRIES: usize = 1_000;

type Subject = Adapter<Arc<dyn Ledger>>;

/// Repeats a call while its failure is temporary.
async fn sure<T>(call: impl AsyncFn() -> PortResult<T>) -> T {
    for _ in 0..TRIES {
        match call().await {
            Ok(answer) => return answer,
            Err(e) => assert!(e.is_temporary(), "{e}"),
        }
    }
    panic!("{TRIES} failures in a row");
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

fn run(name: &str) -> RunId {
    RunId::new(name).expect("a run id")
}

fn org(id: u64) -> OrganizationId {
    OrganizationId::from_bits(id)
}

fn orgs(ids: impl IntoIterator<Item = u64>) -> Vec<OrganizationId> {
    ids.into_iter().map(org).collect()
}

fn item(name: &str, id: u64) -> Item {
    Item { run: run(name), organization: org(id) }
}

fn items(name: &str, ids: impl IntoIterator<Item = u64>) -> Vec<Item> {
    ids.into_iter().map(|id| item(name, id)).collect()
}

fn new_run(name: &str, as_of: u64) -> NewRun {
    NewRun { id: run(name), scope: Scope::AllFree, as_of: at(as_of), policy: Policy::default(), opened_at: at(as_of) }
}

fn failure(class: &str, error: &str) -> Failure {
    Failure { class: class.to_owned(), error: error.to_owned() }
}

/// An end without figures.
fn end(name: &str, id: u64, state: State) -> Settlement {
    let failure = state.is_failure().then(|| failure("poison", "it never works"));
    Settlement { item: item(name, id), state, figures: Figures::default(), failure, at: at(9_000) }
}

/// An end that moves the boundary.
fn moved(name: &str, id: u64, state: State, from: Option<u64>, to: Option<u64>) -> Settlement {
    let boundary = |id: Option<u64>| id.map(MessageId::from_bits);
    let figures = Figures {
        first_visible_message_id: boundary(to),
        previous_first_visible_message_id: boundary(from),
        ..Figures::default()
    };
    Settlement { figures, ..end(name, id, state) }
}

/// A ledger with one run that holds organizations 0 to `count` − 1.
async fn filled(adapter: &Subject, name: &str, count: u64) -> (Folder, Arc<dyn Ledger>) {
    let (folder, ledger) = adapter.fresh().await;
    fill(&*ledger, name, 1, count).await;
    (folder, ledger)
}

async fn fill(ledger: &dyn Ledger, name: &str, as_of: u64, count: u64) {
    sure(async || ledger.open_run(&new_run(name, as_of)).await).await;
    sure(async || ledger.register(&run(name), &orgs(0..count), Some(org(count - 1)), at(2)).await).await;
    sure(async || ledger.complete_extraction(&run(name), at(3)).await).await;
}

async fn counts(ledger: &dyn Ledger, name: &str) -> Counts {
    sure(async || ledger.progress(&run(name)).await).await.expect("the run is there").counts
}

async fn all(ledger: &dyn Ledger, name: &str) -> Vec<RunOrganization> {
    sure(async || ledger.organizations(&run(name), &Filter::default(), 10_000).await).await
}

async fn counts_are_the_sum_of_the_states_at_all_times(adapter: &Subject) {
    for mut random in random::cases(5) {
        let (_folder, ledger) = adapter.fresh().await;
        sure(async || ledger.open_run(&new_run("r", 1)).await).await;
        let mut model: BTreeMap<u64, State> = BTreeMap::new();
        for _ in 0..40 {
            random_call(&*ledger, &mut random, &mut model).await;
            let mut expected = Counts::default();
            model.values().for_each(|state| *expected.0.entry(*state).or_default() += 1);
            assert_eq!(counts(&*ledger, "r").await, expected);
        }
        let states: BTreeMap<u64, State> =
            all(&*ledger, "r").await.into_iter().map(|row| (row.organization.get(), row.state)).collect();
        assert_eq!(states, model);
    }
}

/// One random call on the ledger, and what it does to the states in words.
async fn random_call(ledger: &dyn Ledger, random: &mut fastrand::Rng, model: &mut BTreeMap<u64, State>) {
    const ENDS: [State; 5] = [State::Done, State::Superseded, State::Released, State::Failed, State::Parked];
    let chosen: Vec<u64> = (0..random.usize(0..12)).map(|_| random.u64(0..30)).collect();
    let batch = items("r", chosen.iter().copied());
    let becomes = match random.u8(0..6) {
        0 | 1 => {
            sure(async || ledger.register(&run("r"), &orgs(chosen.clone()), None, at(2)).await).await;
            chosen.iter().for_each(|id| _ = model.entry(*id).or_insert(State::Pending));
            return;
        }
        2 => {
            sure(async || ledger.begin(Stage::CollectRooms, &batch, at(3)).await).await;
            State::Running
        }
        3 => {
            let failures: Vec<_> = batch.iter().map(|item| (item.clone(), failure("x", "y"))).collect();
            sure(async || ledger.fail(&failures).await).await;
            State::Retrying
        }
        4 => {
            let state = ENDS[random.usize(0..ENDS.len())];
            let ends: Vec<_> = chosen.iter().map(|id| end("r", *id, state)).collect();
            sure(async || ledger.settle(&ends).await).await;
            state
        }
        _ => return sure(async || ledger.forgive(Stage::CollectRooms, &batch).await).await,
    };
    for (_, state) in model.iter_mut().filter(|(id, state)| chosen.contains(id) && !state.is_terminal()) {
        *state = becomes;
    }
}

async fn opening_a_run_that_exists_joins_it_as_it_stands(adapter: &Subject) {
    let (_folder, ledger) = adapter.fresh().await;
    let first = NewRun { scope: Scope::Named, policy: Policy::new(7, None).expect("a policy"), ..new_run("r", 1) };
    let opened = sure(async || ledger.open_run(&first).await).await;
    assert_eq!((opened.scope, opened.as_of, opened.policy), (first.scope, first.as_of, first.policy));
    sure(async || ledger.register(&run("r"), &orgs([5]), Some(org(5)), at(2)).await).await;
    let joined = sure(async || ledger.open_run(&new_run("r", 99)).await).await;
    assert_eq!((joined.as_of, joined.policy, joined.sent_through), (first.as_of, first.policy, Some(org(5))));
    assert_eq!(counts(&*ledger, "r").await.expected(), 1);
    assert_eq!(sure(async || ledger.runs(10).await).await.len(), 1);
}

async fn registering_again_changes_nothing(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 5).await;
    sure(async || ledger.settle(&[end("r", 1, State::Done)]).await).await;
    sure(async || ledger.begin(Stage::CollectRooms, &items("r", [2]), at(4)).await).await;
    let before = all(&*ledger, "r").await;
    sure(async || ledger.register(&run("r"), &orgs([0, 1, 2, 2, 3]), Some(org(3)), at(50)).await).await;
    assert_eq!(all(&*ledger, "r").await, before);
    let progress = sure(async || ledger.progress(&run("r")).await).await.expect("the run");
    assert_eq!(progress.run.sent_through, Some(org(4)), "what is sent stays sent");
    let unknown = ledger_error(async || ledger.register(&run("other"), &orgs([1]), None, at(1)).await).await;
    assert!(matches!(unknown, PortError::Refused { .. }), "{unknown:?}");
}

/// The first failure that is not temporary.
async fn ledger_error<T>(call: impl AsyncFn() -> PortResult<T>) -> PortError {
    for _ in 0..TRIES {
        match call().await {
            Ok(_) => panic!("it succeeded"),
            Err(e) if e.is_temporary() => {}
            Err(e) => return e,
        }
    }
    panic!("{TRIES} failures in a row");
}

async fn terminal_is_terminal(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 5).await;
    let ends = [State::Done, State::Superseded, State::Released, State::Failed, State::Parked];
    let settlements: Vec<_> = ends.iter().zip(0..).map(|(state, id)| end("r", id, *state)).collect();
    sure(async || ledger.settle(&settlements).await).await;
    let before = all(&*ledger, "r").await;
    assert!(before.iter().all(|row| row.finished_at == Some(at(9_000))));
    let everything = items("r", 0..5);
    for state in ends {
        let again: Vec<_> = (0..5).map(|id| moved("r", id, state, Some(1), Some(2))).collect();
        assert_eq!(sure(async || ledger.settle(&again).await).await, [false; 5]);
    }
    sure(async || ledger.begin(Stage::MergeNewest, &everything, at(7)).await).await;
    sure(async || ledger.forgive(Stage::MergeNewest, &everything).await).await;
    let failures: Vec<_> = everything.iter().map(|item| (item.clone(), failure("late", "late"))).collect();
    sure(async || ledger.fail(&failures).await).await;
    assert_eq!(all(&*ledger, "r").await, before);
    let open = ledger_error(async || ledger.settle(&[end("r", 0, State::Running)]).await).await;
    assert!(matches!(open, PortError::Refused { .. }), "{open:?}");
}

async fn reopening_begins_what_failed_anew_and_nothing_else(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 6).await;
    sure(async || ledger.begin(Stage::CollectRooms, &items("r", 0..6), at(1)).await).await;
    let lost = [(item("r", 0), failure("throttled", "too fast")), (item("r", 1), failure("poison", "bad row"))];
    sure(async || ledger.fail(&lost).await).await;
    let ends = [State::Parked, State::Failed, State::Done, State::Superseded, State::Released];
    let settlements: Vec<_> = ends.iter().zip(0..).map(|(state, id)| end("r", id, *state)).collect();
    sure(async || ledger.settle(&settlements).await).await;
    let before = all(&*ledger, "r").await;
    let classes = sure(async || ledger.error_classes(&run("r")).await).await;
    let found: Vec<_> = classes.iter().map(|c| (c.state, c.organizations, c.example)).collect();
    assert_eq!(
        found,
        [(State::Failed, 1, OrganizationId::from_bits(1)), (State::Parked, 1, OrganizationId::from_bits(0))]
    );

    let mut asked = items("r", [0, 1, 2, 3, 4, 5, 77]);
    asked.push(item("other", 1));
    sure(async || ledger.reopen(&asked).await).await;
    let after = all(&*ledger, "r").await;
    for (old, new) in before.iter().zip(&after) {
        if old.state.is_failure() {
            assert_eq!((new.state, new.attempts, new.started_at, new.finished_at), (State::Pending, 0, None, None));
            assert_eq!((&new.error_class, &new.error), (&old.error_class, &old.error), "the failure stays to be read");
        } else {
            assert_eq!(old, new);
        }
    }
    assert_eq!(counts(&*ledger, "r").await.expected(), 6);
    assert!(sure(async || ledger.error_classes(&run("r")).await).await.is_empty());

    sure(async || ledger.settle(&[end("r", 0, State::Parked)]).await).await;
    sure(async || ledger.cancel_run(&run("r"), at(50)).await).await;
    assert_eq!(sure(async || ledger.reopen(&items("r", [0])).await).await, [false], "a cancelled run stays so");
}

async fn beginning_tells_why_there_is_nothing_to_do(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 3).await;
    sure(async || ledger.settle(&[end("r", 1, State::Parked)]).await).await;
    let mut asked = items("r", [1, 77]);
    asked.push(item("other", 1));
    let begun = sure(async || ledger.begin(Stage::CollectRooms, &asked, at(4)).await).await;
    assert_eq!(begun, [Begun::Settled(State::Parked), Begun::Unknown, Begun::Unknown]);
    sure(async || ledger.cancel_run(&run("r"), at(5)).await).await;
    let begun = sure(async || ledger.begin(Stage::CollectRooms, &items("r", [0, 1, 77]), at(6)).await).await;
    assert_eq!(begun, [Begun::Cancelled, Begun::Settled(State::Parked), Begun::Unknown]);
    assert_eq!(counts(&*ledger, "r").await.of(State::Pending), 2, "a cancelled run begins nothing");
}

async fn each_stage_counts_its_attempts_from_one(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 2).await;
    let begin = async |stage, now| ledger.begin(stage, &items("r", [1]), at(now)).await.expect("begun");
    assert_eq!(begin(Stage::CollectRooms, 10).await, [Begun::Attempt(1)]);
    assert_eq!(begin(Stage::CollectRooms, 11).await, [Begun::Attempt(2)]);
    ledger.fail(&[(item("r", 1), failure("unavailable", "the directory is away"))]).await.expect("failed");
    let row = &all(&*ledger, "r").await[1];
    assert_eq!((row.state, row.error_class.as_deref()), (State::Retrying, Some("unavailable")));
    assert_eq!(begin(Stage::CollectRooms, 12).await, [Begun::Attempt(3)]);
    assert_eq!(begin(Stage::MergeNewest, 13).await, [Begun::Attempt(1)]);
    assert_eq!(begin(Stage::MergeNewest, 14).await, [Begun::Attempt(2)]);
    let row = &all(&*ledger, "r").await[1];
    assert_eq!((row.state, row.stage, row.attempts), (State::Running, Some(Stage::MergeNewest), 2));
    assert_eq!(row.started_at, Some(at(10)), "started when its first attempt began");
}

async fn an_item_twice_in_a_batch_is_counted_twice(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 3).await;
    let begun = ledger.begin(Stage::CollectRooms, &items("r", [2, 0, 2, 2]), at(4)).await.expect("begun");
    assert_eq!(begun, [Begun::Attempt(1), Begun::Attempt(1), Begun::Attempt(2), Begun::Attempt(3)]);
    let failures = [(item("r", 2), failure("a", "first")), (item("r", 2), failure("b", "second"))];
    ledger.fail(&failures).await.expect("failed");
    assert_eq!(all(&*ledger, "r").await[2].error.as_deref(), Some("second"));
    let ends = [end("r", 2, State::Done), end("r", 2, State::Parked)];
    assert_eq!(ledger.settle(&ends).await.expect("settled"), [true, false]);
    assert_eq!(all(&*ledger, "r").await[2].state, State::Done);
}

async fn forgiving_takes_back_exactly_one_attempt(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 2).await;
    let one = items("r", [1]);
    for _ in 0..3 {
        ledger.begin(Stage::CollectRooms, &one, at(4)).await.expect("begun");
    }
    ledger.forgive(Stage::CollectRooms, &one).await.expect("forgiven");
    assert_eq!(all(&*ledger, "r").await[1].attempts, 2);
    ledger.forgive(Stage::MergeNewest, &one).await.expect("another stage");
    assert_eq!(all(&*ledger, "r").await[1].attempts, 2);
    for _ in 0..5 {
        ledger.forgive(Stage::CollectRooms, &one).await.expect("forgiven");
    }
    let begun = ledger.begin(Stage::CollectRooms, &one, at(5)).await.expect("begun");
    assert_eq!(begun, [Begun::Attempt(1)], "never below none");
}

async fn settling_answers_true_once(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 3).await;
    let figures = Figures {
        rooms: 3,
        rooms_opened: 2,
        messages_read: 5_001,
        read_units: 16.5,
        visible_messages: 5_000,
        first_visible_message_id: Some(MessageId::MAX),
        previous_first_visible_message_id: Some(MessageId::from_bits(0)),
    };
    let done = Settlement { figures, ..end("r", 1, State::Done) };
    let answers = ledger.settle(&[end("r", 44, State::Done), done.clone(), end("r", 2, State::Failed)]).await;
    assert_eq!(answers.expect("settled"), [false, true, true]);
    assert_eq!(ledger.settle(&[done]).await.expect("settled"), [false]);
    let rows = all(&*ledger, "r").await;
    let row = &rows[1];
    let stored = Figures {
        rooms: row.rooms,
        rooms_opened: row.rooms_opened,
        messages_read: row.messages_read,
        read_units: row.read_units,
        visible_messages: row.visible_messages,
        first_visible_message_id: row.first_visible_message_id,
        previous_first_visible_message_id: row.previous_first_visible_message_id,
    };
    assert_eq!((row.state, stored), (State::Done, figures));
    assert_eq!(rows[2].error_class.as_deref(), Some("poison"));
}

async fn a_changed_boundary_is_in_the_history_once(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "first", 10).await;
    fill(&*ledger, "second", 1_000, 10).await;
    let settle = async |batch: Vec<Settlement>| sure(async || ledger.settle(&batch).await).await;
    settle(vec![
        moved("first", 0, State::Done, None, Some(5)),
        moved("first", 1, State::Done, Some(5), Some(5)),
        moved("first", 2, State::Superseded, Some(5), Some(6)),
        moved("first", 3, State::Released, None, None),
        moved("first", 4, State::Failed, Some(5), None),
        moved("first", 5, State::Done, Some(7), None),
    ])
    .await;
    settle(vec![moved("second", 0, State::Released, Some(5), None)]).await;
    settle(vec![moved("second", 0, State::Released, Some(5), None)]).await;
    let history = async |id| sure(async || ledger.history(org(id), 10).await).await;
    let entry = |name: &str, as_of, old: Option<u64>, new: Option<u64>, cause: &str| HistoryEntry {
        as_of: at(as_of),
        run: run(name),
        old: old.map(MessageId::from_bits),
        new: new.map(MessageId::from_bits),
        cause: cause.to_owned(),
    };
    let released = entry("second", 1_000, Some(5), None, "released");
    assert_eq!(history(0).await, [released.clone(), entry("first", 1, None, Some(5), "computed")]);
    assert_eq!(history(5).await, [entry("first", 1, Some(7), None, "computed")]);
    for id in 1..5 {
        assert_eq!(history(id).await, [], "organization {id}");
    }
    assert_eq!(sure(async || ledger.history(org(0), 1).await).await, [released]);
}

async fn what_is_added_to_the_history_is_there_once(adapter: &Subject) {
    let (folder, ledger) = filled(adapter, "batch", 2).await;
    let row = |id, as_of, name: &str, old: Option<u64>, new: Option<u64>| {
        let (old, new) = (old.map(MessageId::from_bits), new.map(MessageId::from_bits));
        let change = new.map_or_else(|| BoundaryChange::released(old), |new| BoundaryChange::computed(old, Some(new)));
        HistoryRow { organization: org(id), as_of: at(as_of), run: run(name), change: change.expect("a change") }
    };
    let add = async |rows: Vec<HistoryRow>| sure(async || ledger.add_history(&rows).await).await;
    sure(async || ledger.settle(&[moved("batch", 0, State::Done, None, Some(5))]).await).await;
    add(Vec::new()).await;
    // Before and after what a run found, for an organization of no run, twice in one call, and again.
    let rows = [
        row(0, 9, "later", Some(5), None),
        row(0, 0, "earlier", None, Some(2)),
        row(0, 9, "later", Some(5), None),
        row(77, 9, "later", Some(u64::MAX >> 1), None),
    ];
    add(rows.to_vec()).await;
    add(rows.to_vec()).await;
    // What is there stays, whatever else is said of it; so is what a run has settled.
    add(vec![row(0, 10, "later", None, Some(8)), row(0, 9, "other", None, Some(9)), row(0, 1, "batch", None, Some(6))])
        .await;
    let history = async |ledger: &dyn Ledger, id| {
        let found = sure(async || ledger.history(org(id), 10).await).await;
        let boundary = |id: Option<MessageId>| id.map(MessageId::get);
        let entry = |e: HistoryEntry| (e.as_of, e.run.as_str().to_owned(), boundary(e.old), boundary(e.new), e.cause);
        found.into_iter().map(entry).collect::<Vec<_>>()
    };
    let of = |as_of, name: &str, old, new, cause: &str| (at(as_of), name.to_owned(), old, new, cause.to_owned());
    let expected = [
        of(9, "other", None, Some(9), "computed"),
        of(9, "later", Some(5), None, "released"),
        of(1, "batch", None, Some(5), "computed"),
        of(0, "earlier", None, Some(2), "computed"),
    ];
    let again = adapter.open(&folder).await;
    assert_eq!(history(&*again, 0).await, expected);
    assert_eq!(history(&*again, 77).await, [of(9, "later", Some(u64::MAX >> 1), None, "released")]);
    assert_eq!(history(&*again, 1).await, []);
    let many: Vec<HistoryRow> = (0..3_000).map(|id| row(1_000 + id, 9, "live", None, Some(id))).collect();
    add(many.clone()).await;
    add(many).await;
    for id in [1_000, 2_500, 3_999] {
        assert_eq!(history(&*again, id).await.len(), 1, "organization {id}");
    }
}

async fn of_several_who_add_the_same_history_one_does(adapter: &Subject) {
    let (folder, ledger) = filled(adapter, "r", 1).await;
    let mut ledgers = vec![ledger];
    for _ in 0..3 {
        ledgers.push(adapter.open(&folder).await);
    }
    for round in 0..20 {
        let rows: Vec<HistoryRow> = (0..5)
            .map(|id| HistoryRow {
                organization: org(id),
                as_of: at(round),
                run: run(&format!("live-{round}")),
                change: BoundaryChange::released(Some(MessageId::from_bits(7))).expect("a change"),
            })
            .collect();
        let adding = ledgers.iter().map(|ledger| ledger.add_history(&rows));
        futures::future::try_join_all(adding).await.expect("added");
    }
    for id in 0..5 {
        assert_eq!(ledgers[0].history(org(id), 100).await.expect("history").len(), 20, "organization {id}");
    }
}

async fn cancelling_answers_true_once_and_not_when_finished(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 1).await;
    let phase = async |name: &str| ledger.progress(&run(name)).await.expect("progress").expect("the run").phase();
    assert_eq!(phase("r").await, Phase::Running);
    assert!(ledger.cancel_run(&run("r"), at(5)).await.expect("cancelled"));
    assert!(!ledger.cancel_run(&run("r"), at(6)).await.expect("again"));
    assert_eq!(phase("r").await, Phase::Cancelled);
    fill(&*ledger, "finished", 2, 1).await;
    ledger.settle(&[end("finished", 0, State::Done)]).await.expect("settled");
    assert!(!ledger.cancel_run(&run("finished"), at(7)).await.expect("finished"));
    assert_eq!(phase("finished").await, Phase::Finished);
    // Nothing registered and extraction not complete: there is something to cancel.
    ledger.open_run(&new_run("empty", 3)).await.expect("opened");
    assert_eq!(phase("empty").await, Phase::Extracting);
    assert!(ledger.cancel_run(&run("empty"), at(8)).await.expect("cancelled"));
    assert!(ledger.cancel_run(&run("other"), at(8)).await.is_err());
    assert_eq!(ledger.progress(&run("other")).await.expect("progress"), None);
}

async fn a_batch_may_mix_runs_and_its_answers_stand_in_order(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "a", 3).await;
    fill(&*ledger, "b", 2, 3).await;
    ledger.begin(Stage::CollectRooms, &items("b", [1]), at(4)).await.expect("begun");
    ledger.settle(&[end("a", 2, State::Done)]).await.expect("settled");
    let mixed = [item("b", 1), item("a", 2), item("a", 1), item("b", 2), item("c", 1), item("b", 1)];
    let begun = ledger.begin(Stage::CollectRooms, &mixed, at(5)).await.expect("begun");
    let expected = [
        Begun::Attempt(2),
        Begun::Settled(State::Done),
        Begun::Attempt(1),
        Begun::Attempt(1),
        Begun::Unknown,
        Begun::Attempt(3),
    ];
    assert_eq!(begun, expected);
    let ends: Vec<_> = mixed.iter().map(|i| Settlement { item: i.clone(), ..end("a", 0, State::Done) }).collect();
    assert_eq!(ledger.settle(&ends).await.expect("settled"), [true, false, true, true, false, false]);
    assert_eq!(ledger.settle(&[]).await.expect("nothing"), [false; 0]);
}

async fn pages_are_ascending_disjoint_and_complete(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 50).await;
    fill(&*ledger, "other", 2, 20).await;
    let ends: Vec<_> = (0..50)
        .filter(|id| id % 3 != 0)
        .map(|id| end("r", id, if id % 3 == 1 { State::Done } else { State::Parked }))
        .collect();
    sure(async || ledger.settle(&ends).await).await;
    for states in [vec![], vec![State::Parked], vec![State::Parked, State::Pending], vec![State::Failed]] {
        let wanted = |id: &u64| {
            let state = [State::Pending, State::Done, State::Parked][(*id % 3) as usize];
            states.is_empty() || states.contains(&state)
        };
        let expected: Vec<u64> = (0..50).filter(wanted).collect();
        let mut found = Vec::new();
        let mut filter = Filter { states: states.clone(), ..Filter::default() };
        loop {
            let page = sure(async || ledger.organizations(&run("r"), &filter, 7).await).await;
            found.extend(page.iter().map(|row| row.organization.get()));
            filter.after = page.last().map(|row| row.organization);
            if page.len() < 7 {
                break;
            }
        }
        assert_eq!(found, expected, "{states:?}");
    }
}

async fn what_was_written_survives_and_another_process_sees_it(adapter: &Subject) {
    let (folder, ledger) = filled(adapter, "r", 4).await;
    let other = adapter.open(&folder).await;
    sure(async || ledger.settle(&[moved("r", 1, State::Done, None, Some(8))]).await).await;
    assert_eq!(counts(&*other, "r").await.of(State::Done), 1, "the other process sees it");
    sure(async || other.begin(Stage::CollectRooms, &items("r", [2]), at(4)).await).await;
    assert_eq!(counts(&*ledger, "r").await.of(State::Running), 1, "and the other way round");
    let before = all(&*ledger, "r").await;
    drop((ledger, other));
    let again = adapter.open(&folder).await;
    assert_eq!(all(&*again, "r").await, before);
    assert_eq!(sure(async || again.history(org(1), 5).await).await.len(), 1);
    let progress = sure(async || again.progress(&run("r")).await).await.expect("the run");
    assert_eq!((progress.run.extracted_at, progress.last_finished_at), (Some(at(3)), Some(at(9_000))));
}

async fn a_failure_is_kept_within_a_bound(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 2).await;
    let long = "誤り".repeat(100_000);
    sure(async || ledger.fail(&[(item("r", 0), failure(&long, &long))]).await).await;
    let parked = Settlement { failure: Some(failure("a\0b", "c\0d")), ..end("r", 1, State::Parked) };
    sure(async || ledger.settle(std::slice::from_ref(&parked)).await).await;
    let rows = all(&*ledger, "r").await;
    let kept = rows[0].error.as_deref().expect("an error");
    assert!(long.starts_with(kept) && (1_000..10_000).contains(&kept.len()), "{} bytes", kept.len());
    assert!(rows[0].error_class.as_deref().is_some_and(|class| long.starts_with(class) && class.len() < 200));
    assert!(rows[1].error.as_deref().is_some_and(|error| error.starts_with('c') && error.ends_with('d')));
}

async fn runs_and_attempts_come_newest_first(adapter: &Subject) {
    let (_folder, ledger) = adapter.fresh().await;
    for (name, as_of) in [("b", 20), ("c", 30), ("a", 10)] {
        fill(&*ledger, name, as_of, 2).await;
    }
    let runs = sure(async || ledger.runs(2).await).await;
    assert_eq!(runs.iter().map(|progress| progress.run.id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
    assert!(runs.iter().all(|progress| progress.counts.of(State::Pending) == 2));
    sure(async || ledger.settle(&[end("b", 1, State::Done)]).await).await;
    let attempts = sure(async || ledger.attempts_of(org(1), 10).await).await;
    let found: Vec<_> = attempts.iter().map(|(run, row)| (run.as_str(), row.state)).collect();
    assert_eq!(found, [("c", State::Pending), ("b", State::Done), ("a", State::Pending)]);
    let heads = sure(async || ledger.opened_runs(2).await).await;
    assert_eq!(heads, runs.iter().map(|progress| progress.run.clone()).collect::<Vec<_>>());
    assert_eq!(sure(async || ledger.opened_runs(9).await).await.len(), 3);
    assert_eq!(sure(async || ledger.attempts_of(org(1), 1).await).await.len(), 1);
    assert_eq!(sure(async || ledger.attempts_of(org(9), 10).await).await, []);
}

async fn notes_come_newest_first(adapter: &Subject) {
    let (folder, ledger) = adapter.fresh().await;
    let audit = |ms, action: &str| AuditEntry {
        at: at(ms),
        actor: "an operator".to_owned(),
        action: action.to_owned(),
        target: "organization 42".to_owned(),
        reason: "they asked; 'quoted'".to_owned(),
        outcome: "done".to_owned(),
    };
    for (ms, action) in [(1, "first"), (3, "third"), (2, "second"), (3, "fourth")] {
        ledger.record(&audit(ms, action)).await.expect("recorded");
    }
    let unreadable = |ms, body: &[u8]| UnreadableMessage {
        id: None,
        queue: "rooms".to_owned(),
        body: body.to_vec(),
        cause: "not JSON".to_owned(),
        at: at(ms),
    };
    for (ms, body) in [(1, &b"\xff\x00old"[..]), (2, b"")] {
        ledger.put_aside(&unreadable(ms, body)).await.expect("put aside");
    }
    drop(ledger);
    let ledger = adapter.open(&folder).await;
    let audits = ledger.audits(&AuditFilter::default(), 3).await.expect("audits");
    assert_eq!(audits, [audit(3, "fourth"), audit(3, "third"), audit(2, "second")]);
    let kept = ledger.unreadable(10).await.expect("unreadable");
    let without_ids: Vec<_> = kept.iter().cloned().map(|message| UnreadableMessage { id: None, ..message }).collect();
    assert_eq!(without_ids, [unreadable(2, b""), unreadable(1, b"\xff\x00old")]);
    for message in &kept {
        let id = message.id.expect("kept under an id");
        assert_eq!(ledger.unreadable_message(id).await.expect("found").as_ref(), Some(message));
    }
    for id in [0, u64::MAX, kept.iter().filter_map(|message| message.id).sum()] {
        assert_eq!(ledger.unreadable_message(id).await.expect("looked for"), None);
    }
    assert_eq!(ledger.unreadable(1).await.expect("unreadable").len(), 1);
}

async fn audit_rows_are_found_by_what_and_when(adapter: &Subject) {
    let (_folder, ledger) = adapter.fresh().await;
    for (ms, action, target) in [(1, "rerun", "organization 42 in run a"), (2, "run", "run a"), (3, "rerun", "run b_%")]
    {
        let target = target.to_owned();
        let (actor, reason, outcome) = ("x".to_owned(), "y".to_owned(), "z".to_owned());
        let entry = AuditEntry { at: at(ms), actor, action: action.to_owned(), target, reason, outcome };
        ledger.record(&entry).await.expect("recorded");
    }
    let found = async |filter: AuditFilter| {
        let rows = ledger.audits(&filter, 10).await.expect("audits");
        rows.iter().map(|row| row.at.as_millis() - at(0).as_millis()).collect::<Vec<_>>()
    };
    let word = |text: &str| Some(text.to_owned());
    assert_eq!(found(AuditFilter { action: word("rerun"), ..AuditFilter::default() }).await, [3, 1]);
    assert_eq!(found(AuditFilter { target: word("run a"), ..AuditFilter::default() }).await, [2, 1]);
    assert_eq!(found(AuditFilter { target: word("_%"), ..AuditFilter::default() }).await, [3], "words, not a pattern");
    assert_eq!(found(AuditFilter { since: Some(at(2)), ..AuditFilter::default() }).await, [3, 2]);
    assert_eq!(found(AuditFilter { until: Some(at(2)), ..AuditFilter::default() }).await, [1]);
    let all = AuditFilter { action: word("rerun"), target: word("a"), since: Some(at(1)), until: Some(at(3)) };
    assert_eq!(found(all).await, [1]);
}

async fn the_slowest_are_those_in_work_or_those_that_took_longest(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 6).await;
    let slowest = async |limit| {
        let rows = sure(async || ledger.slowest(&run("r"), limit).await).await;
        rows.iter().map(|row| row.organization.get()).collect::<Vec<_>>()
    };
    assert_eq!(slowest(10).await, [0; 0], "nothing has begun");
    for (id, ms) in [(0, 50), (1, 20), (2, 40), (3, 30), (4, 10)] {
        sure(async || ledger.begin(Stage::CollectRooms, &items("r", [id]), at(ms)).await).await;
    }
    sure(async || ledger.fail(&[(item("r", 2), failure("x", "y"))]).await).await;
    let ended = |id, ms| Settlement { at: at(ms), ..end("r", id, State::Done) };
    sure(async || ledger.settle(&[ended(4, 9_000), ended(3, 31)]).await).await;
    assert_eq!(slowest(10).await, [1, 2, 0], "those in work, the earliest start first");
    assert_eq!(slowest(2).await, [1, 2]);
    // Organization 5 ends without ever having begun: it took no time.
    sure(async || ledger.settle(&[ended(0, 60), ended(1, 60), ended(2, 60), ended(5, 99_000)]).await).await;
    assert_eq!(slowest(10).await, [4, 1, 2, 0, 3], "the longest first");
    assert_eq!(slowest(1).await, [4]);
    assert_eq!(sure(async || ledger.slowest(&run("other"), 5).await).await, []);
}

async fn the_latest_failures_are_those_that_ended_last(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 9).await;
    let ended = |id, state, ms| Settlement { at: at(ms), ..end("r", id, state) };
    let (failed, parked) = (State::Failed, State::Parked);
    let ends = [(0, failed, 30), (1, parked, 50), (2, State::Done, 60), (3, parked, 40), (4, failed, 50)];
    let ends: Vec<_> = ends.into_iter().map(|(id, state, ms)| ended(id, state, ms)).collect();
    sure(async || ledger.settle(&ends).await).await;
    sure(async || ledger.fail(&[(item("r", 5), failure("x", "y"))]).await).await;
    let latest = async |limit| {
        let rows = sure(async || ledger.latest_failures(&run("r"), limit).await).await;
        rows.iter().map(|row| row.organization.get()).collect::<Vec<_>>()
    };
    assert_eq!(latest(10).await, [4, 1, 3, 0]);
    assert_eq!(latest(2).await, [4, 1]);
    assert_eq!(sure(async || ledger.latest_failures(&run("other"), 5).await).await, []);
}

/// An end with a boundary and as many visible messages.
fn found(name: &str, id: u64, state: State, boundary: Option<u64>, visible_messages: u32) -> Settlement {
    let mut end = moved(name, id, state, None, boundary);
    end.figures.visible_messages = visible_messages;
    end
}

async fn runs_are_compared_organization_by_organization(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "a", 12).await;
    sure(async || ledger.open_run(&new_run("b", 2)).await).await;
    sure(async || ledger.register(&run("b"), &orgs((0..10).chain([20])), None, at(2)).await).await;
    let (done, parked) = (State::Done, State::Parked);
    let failing = |name, id, state, class| Settlement { failure: Some(failure(class, "why")), ..end(name, id, state) };
    let before = [
        found("a", 0, done, Some(5), 9),
        found("a", 1, done, Some(5), 9),
        found("a", 2, done, Some(5), 9),
        found("a", 3, done, None, 9),
        found("a", 4, done, Some(5), 9),
        found("a", 5, done, Some(5), 9),
        failing("a", 6, parked, "known"),
        failing("a", 7, State::Failed, "known"),
        found("a", 8, done, Some(5), 9),
    ];
    let after = [
        found("b", 0, State::Superseded, Some(5), 9),
        found("b", 1, done, Some(6), 9),
        found("b", 2, done, Some(4), 10),
        found("b", 3, done, Some(5), 9),
        found("b", 4, done, None, 9),
        end("b", 5, State::Released),
        found("b", 6, done, Some(1), 1),
        failing("b", 8, parked, "unheard of"),
        failing("b", 9, parked, "known"),
    ];
    sure(async || ledger.settle(&before).await).await;
    sure(async || ledger.settle(&after).await).await;
    let compared = sure(async || ledger.compare(&run("a"), &run("b"), 10).await).await;
    let differences: Vec<(Change, Vec<u64>)> = compared
        .differences
        .iter()
        .map(|d| (d.change, d.examples.iter().map(|e| e.organization.get()).collect()))
        .collect();
    let expected = [
        (Change::OnlyBefore, vec![10, 11]),
        (Change::OnlyAfter, vec![20]),
        (Change::StateWorse, vec![8, 9]),
        (Change::StateBetter, vec![6, 7]),
        (Change::BoundaryNewer, vec![1]),
        (Change::BoundaryOlder, vec![2]),
        (Change::BoundaryAppeared, vec![3]),
        (Change::BoundaryGone, vec![4, 5]),
        (Change::VisibleMessages, vec![2]),
    ];
    assert_eq!(differences, expected);
    assert!(compared.differences.iter().all(|d| d.organizations == d.examples.len() as u64));
    assert_eq!((compared.before, compared.after, compared.same), (12, 11, 1));
    let classes: Vec<_> = compared.new_error_classes.iter().map(|c| (&*c.class, c.organizations)).collect();
    assert_eq!(classes, [("unheard of", 1)]);
    let newer = &compared.differences[4].examples[0];
    let outcome = |boundary| {
        Some(Outcome {
            state: done,
            first_visible_message_id: Some(MessageId::from_bits(boundary)),
            visible_messages: 9,
        })
    };
    assert_eq!((newer.before, newer.after), (outcome(5), outcome(6)));

    let few = sure(async || ledger.compare(&run("a"), &run("b"), 1).await).await;
    assert!(few.differences.iter().all(|d| d.examples.len() == 1));
    assert_eq!(few.differences[0].organizations, 2);
    assert!(sure(async || ledger.compare(&run("a"), &run("a"), 1).await).await.is_same());
    let unknown = ledger_error(async || ledger.compare(&run("a"), &run("other"), 1).await).await;
    assert!(matches!(unknown, PortError::Refused { .. }), "{unknown:?}");
}

async fn a_comparison_counts_what_a_plain_comparison_counts(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, ledger) = adapter.fresh().await;
        for (name, as_of) in [("a", 1), ("b", 2)] {
            sure(async || ledger.open_run(&new_run(name, as_of)).await).await;
            let mut ids: Vec<u64> = (0..200).filter(|_| random.u8(0..4) > 0).collect();
            sure(async || ledger.register(&run(name), &orgs(ids.clone()), None, at(2)).await).await;
            let mut ends = Vec::new();
            ids.retain(|_| random.u8(0..8) > 0);
            for id in ids {
                let state = [State::Done, State::Done, State::Released, State::Parked][random.usize(0..4)];
                let boundary = [None, Some(5), Some(random.u64(0..9))][random.usize(0..3)];
                ends.push(found(name, id, state, boundary.filter(|_| state == State::Done), random.u32(0..3)));
            }
            sure(async || ledger.settle(&ends).await).await;
        }
        let outcomes = async |name: &str| -> BTreeMap<OrganizationId, Outcome> {
            let outcome = |row: RunOrganization| Outcome {
                state: row.state,
                first_visible_message_id: row.first_visible_message_id,
                visible_messages: row.visible_messages,
            };
            all(&*ledger, name).await.into_iter().map(|row| (row.organization, outcome(row))).collect()
        };
        let (before, after) = (outcomes("a").await, outcomes("b").await);
        let compared = sure(async || ledger.compare(&run("a"), &run("b"), 3).await).await;
        for change in Change::ALL {
            let holds = |id: &u64| change.holds(before.get(&org(*id)), after.get(&org(*id)));
            let expected: Vec<u64> = (0..200).filter(holds).collect();
            let difference = compared.differences.iter().find(|difference| difference.change == change);
            assert_eq!(difference.map_or(0, |d| d.organizations), expected.len() as u64, "{change:?}");
            let examples = difference.map_or(&[][..], |d| &d.examples).iter().map(|e| e.organization.get());
            assert!(examples.eq(expected.into_iter().take(3)), "{change:?}");
        }
        assert_eq!((compared.before, compared.after), (before.len() as u64, after.len() as u64));
    }
}

fn old(before: u64, except: Option<&str>) -> Old {
    Old { before: at(before), except: except.map(run) }
}

/// Prunes to the end. Every call deletes at most `rows_max` rows.
async fn prune_all(ledger: &dyn Ledger, old: &Old, rows_max: usize) -> Pruned {
    let mut all = Pruned::default();
    for _ in 0..1_000 {
        let pruned = sure(async || ledger.prune(old, rows_max).await).await;
        assert!(pruned.organizations + pruned.unreadable <= rows_max as u64, "{pruned:?}");
        all.runs += pruned.runs;
        all.organizations += pruned.organizations;
        all.unreadable += pruned.unreadable;
        if !pruned.more {
            return all;
        }
    }
    panic!("pruning does not end");
}

async fn what_is_old_is_pruned_and_nothing_else(adapter: &Subject) {
    let (folder, ledger) = filled(adapter, "finished", 30).await;
    for (name, opened) in [("unfinished", 10), ("in-work", 20), ("new", 100)] {
        fill(&*ledger, name, opened, 25).await;
    }
    sure(async || ledger.settle(&[moved("finished", 3, State::Done, None, Some(7))]).await).await;
    let message = |ms, body: &[u8]| UnreadableMessage {
        id: None,
        queue: "rooms".to_owned(),
        body: body.to_vec(),
        cause: "not JSON".to_owned(),
        at: at(ms),
    };
    for kept in [message(99, b"old"), message(100, b"new")] {
        sure(async || ledger.put_aside(&kept).await).await;
    }
    let before = all(&*ledger, "new").await;
    let old = old(100, Some("in-work"));
    let prunable = sure(async || ledger.prunable(&old).await).await;
    assert!(prunable.runs == 2 && prunable.organizations == 55 && prunable.unreadable >= 1 && prunable.more);
    prune_all(&*ledger, &old, 7).await;

    let other = adapter.open(&folder).await;
    let left: Vec<String> =
        sure(async || other.runs(10).await).await.iter().map(|progress| progress.run.id.to_string()).collect();
    assert_eq!(left, ["new", "in-work"]);
    assert_eq!(all(&*other, "new").await, before);
    assert_eq!(counts(&*other, "in-work").await.expected(), 25);
    for name in ["finished", "unfinished"] {
        assert_eq!(sure(async || other.progress(&run(name)).await).await, None);
        assert_eq!(all(&*other, name).await, []);
    }
    let begun = sure(async || other.begin(Stage::CollectRooms, &items("unfinished", [1]), at(5)).await).await;
    assert_eq!(begun, [Begun::Unknown], "a message on its way finds nothing to do");
    assert_eq!(sure(async || other.history(org(3), 5).await).await.len(), 1, "history outlives its run");
    let kept = sure(async || other.unreadable(10).await).await;
    assert!(!kept.is_empty() && kept.iter().all(|kept| kept.body == b"new"));
    assert!(sure(async || other.prunable(&old).await).await.is_nothing());

    fill(&*other, "finished", 200, 3).await;
    assert_eq!(counts(&*other, "finished").await.of(State::Pending), 3, "the name is free again");
}

async fn a_call_that_prunes_is_short_and_a_run_goes_out_of_sight_at_once(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "a", 20).await;
    fill(&*ledger, "b", 2, 20).await;
    fill(&*ledger, "new", 50, 20).await;
    let audit = AuditEntry {
        at: at(1),
        actor: "someone".to_owned(),
        action: "run".to_owned(),
        target: "run a".to_owned(),
        reason: String::new(),
        outcome: "started".to_owned(),
    };
    ledger.record(&audit).await.expect("recorded");
    let first = ledger.prune(&old(50, None), 8).await.expect("pruned");
    assert_eq!(first, Pruned { organizations: 8, more: true, ..Pruned::default() });
    let seen: Vec<_> = ledger.runs(10).await.expect("runs").into_iter().map(|progress| progress.run.id).collect();
    assert_eq!(seen, [run("new")]);
    let opened: Vec<_> = ledger.opened_runs(10).await.expect("runs").into_iter().map(|run| run.id).collect();
    assert_eq!(opened, [run("new")]);
    assert_eq!(ledger.attempts_of(org(15), 10).await.expect("attempts").len(), 1);
    assert_eq!(ledger.progress(&run("b")).await.expect("progress"), None);
    let prunable = ledger.prunable(&old(0, None)).await.expect("prunable");
    assert_eq!((prunable.runs, prunable.organizations), (2, 32), "what was begun is ended, whatever is old now");
    let rest = prune_all(&*ledger, &old(0, None), 8).await;
    assert_eq!((rest.runs, rest.organizations), (2, 32));
    assert_eq!(ledger.audits(&AuditFilter::default(), 10).await.expect("audits"), [audit], "the audit outlives it");
}

async fn a_refused_call_changes_nothing(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 3).await;
    let before = all(&*ledger, "r").await;
    let ends = [moved("r", 0, State::Done, None, Some(5)), end("r", 1, State::Running), end("r", 2, State::Done)];
    let refused = ledger_error(async || ledger.settle(&ends).await).await;
    assert!(matches!(refused, PortError::Refused { .. }), "{refused:?}");
    assert_eq!(all(&*ledger, "r").await, before);
    assert_eq!(sure(async || ledger.history(org(0), 5).await).await, []);
}

async fn of_two_processes_one_settles_an_organization(adapter: &Subject) {
    let (folder, first) = filled(adapter, "r", 40).await;
    let second = adapter.open(&folder).await;
    let settle = async |ledger: &dyn Ledger, state| {
        let mut ended = Vec::new();
        for id in 0..40 {
            let ends = [moved("r", id, state, None, Some(5))];
            ended.extend(ledger.settle(&ends).await.expect("settled"));
        }
        ended
    };
    let (done, superseded) = join(settle(&*first, State::Done), settle(&*second, State::Superseded)).await;
    for (row, (done, superseded)) in all(&*first, "r").await.iter().zip(done.into_iter().zip(superseded)) {
        assert!(done != superseded, "{} was settled by both or none", row.organization);
        assert_eq!(row.state, if done { State::Done } else { State::Superseded });
        assert_eq!(first.history(row.organization, 5).await.expect("history").len(), usize::from(done));
    }
}

async fn of_two_processes_each_attempt_counts(adapter: &Subject) {
    let (folder, first) = filled(adapter, "r", 1).await;
    let second = adapter.open(&folder).await;
    let begin = async |ledger: &dyn Ledger| {
        let mut begun = Vec::new();
        for _ in 0..20 {
            begun.extend(ledger.begin(Stage::CollectRooms, &items("r", [0]), at(4)).await.expect("begun"));
        }
        begun
    };
    let (mut begun, more) = join(begin(&*first), begin(&*second)).await;
    begun.extend(more);
    for attempt in 1..=40 {
        assert!(begun.contains(&Begun::Attempt(attempt)), "attempt {attempt} is missing: {begun:?}");
    }
}

/// Batches of the same organizations in opposite orders: nobody waits in a circle, and nothing is counted twice or lost.
async fn batches_that_cross_wait_for_each_other_and_count(adapter: &Subject) {
    let (folder, first) = filled(adapter, "r", 60).await;
    let second = adapter.open(&folder).await;
    let upward = items("r", 0..60);
    let downward: Vec<Item> = upward.iter().rev().cloned().collect();
    let work = async |ledger: &dyn Ledger, batch: &[Item]| {
        for _ in 0..10 {
            ledger.begin(Stage::CollectRooms, batch, at(4)).await.expect("begun");
            ledger.fail(&[(batch[0].clone(), failure("x", "y"))]).await.expect("failed");
        }
        let ends: Vec<_> = batch.iter().map(|item| end("r", item.organization.get(), State::Done)).collect();
        ledger.settle(&ends).await.expect("settled").into_iter().filter(|settled| *settled).count()
    };
    let (up, down) = join(work(&*first, &upward), work(&*second, &downward)).await;
    assert_eq!(up + down, 60, "each was settled once");
    // The faster one may settle while the other still begins.
    let attempts: Vec<u32> = all(&*first, "r").await.iter().map(|row| row.attempts).collect();
    assert!(attempts.iter().all(|attempts| (10..=20).contains(attempts)), "{attempts:?}");
    assert!(attempts.iter().all(|first| *first == attempts[0]), "a call counts its whole batch: {attempts:?}");
}

//! One organization that cannot be computed: it ends in one place with its cause, and all others finish.

use std::sync::Arc;

use chat::ledger::State;
use chat::{OrganizationId, RoomId, RunId};
use support::oracle::{self, Answer};
use support::place::{Place, organizations_of, policy, stored_limits};
use support::{Poison, Poisoned, Program, SmallChat};

use crate::flaky;

/// Runs with one poisoned room; checks that exactly its organizations end as `state` with `class`.
async fn check(poison: Poison, state: State, class: &str) {
    let place = Place::new(41, 100).await;
    let mut open = place.open().await;
    let answers = oracle::answers(&place.chat, SmallChat::as_of(), &policy());
    let limited = answers.iter().find(|(_, answer)| answer.first_visible.is_some()).expect("the count binds somewhere");
    let victim = OrganizationId::from_bits(*limited.0);
    // Its newest room is opened whatever the head is.
    let rooms = open.ports.directory.rooms_of(&[victim]).await.expect("rooms").remove(0);
    let newest = |room: &RoomId| place.chat.messages.iter().filter(|m| m.0 == room.get()).map(|m| m.1).max();
    let room = rooms.into_iter().max_by_key(newest).expect("a room");
    let mut hit = 0;
    for organization in answers.keys() {
        let rooms = open.ports.directory.rooms_of(&[OrganizationId::from_bits(*organization)]).await.expect("rooms");
        hit += u64::from(rooms[0].contains(&room));
    }
    open.ports.live_ids = Arc::new(Poisoned { inner: Arc::clone(&open.ports.live_ids), room, poison });
    let run: RunId = "daily".parse().expect("a run id");
    let progress = flaky::whole_run(&open.ports, &run, 3).await;

    let failed = progress.counts.of(state);
    assert!((1..=hit).contains(&failed), "{failed} organizations failed, {hit} see the room");
    assert_eq!(progress.counts.of(State::Done) + failed, place.chat.free());
    for row in organizations_of(&*open.ports.ledger, &run).await.iter().filter(|row| row.state == state) {
        assert_eq!(row.error_class.as_deref(), Some(class));
        assert!(row.error.as_deref().is_some_and(|error| error.contains(&room.to_string())), "{row:?}");
    }
    let rows = stored_limits(&*open.ports.limits).await;
    assert_eq!(rows.len() as u64, place.chat.free() - failed);
    assert!(rows.iter().all(|row| Answer::of(row) == answers[&row.organization.get()]));
    assert!(rows.iter().all(|row| row.organization != victim));

    let status =
        Program::new(env!("CARGO_BIN_EXE_lanner"), &place.data_dir()).run("status --run daily --json").exits(3);
    let failures = status.json()["failures"].clone();
    let shown = failures.as_array().expect("failures");
    assert_eq!(shown.len() as u64, failed);
    assert!(shown.iter().any(|row| row["organization"] == victim.to_string()));
    assert!(shown.iter().all(|row| row["error_class"] == class && row["state"] == state.as_str()));
    let table = Program::new(env!("CARGO_BIN_EXE_lanner"), &place.data_dir()).run("status").exits(3);
    assert!(table.out.contains(class) && table.out.contains(&victim.to_string()), "{}", table.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_panics_parks_its_organization_and_no_other() {
    check(Poison::Panics, State::Parked, "panic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_does_not_read_back_fails_its_organization_at_once() {
    check(Poison::IsCorrupt, State::Failed, "corrupt").await;
}

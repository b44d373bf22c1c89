//! One organization that cannot be computed: it is parked with its cause, and no other feels it.

use std::sync::Arc;
use std::time::Duration;

use chat::ledger::{Filter, State};
use chat::{Epoch, OrganizationId, RoomId, RunId};
use jobs::limits::{StageSettings, Until, collect_rooms, extract_organizations, merge_newest, wait_until_finished};
use support::place::policy;
use support::{Poison, Poisoned, SqlServer, oracle};
use tokio_util::sync::CancellationToken;
use worker::Backoff;

use super::lean::connect;
use super::stage::{Stage, instant};

const ATTEMPTS_MAX: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_poison_is_parked_and_its_neighbours_are_done_at_their_first_attempt() {
    let Some(stage) = Stage::filled(SqlServer::Postgres, 80).await else { return };
    let connected =
        connect(&stage.services, &stage.services.sqs_url, Epoch::default(), Duration::from_millis(100)).await;
    let mut ports = connected.ports;
    let answers = oracle::answers(&stage.chat, instant(1), &policy());
    let limited = answers.iter().find(|(_, answer)| answer.first_visible.is_some()).expect("the count binds somewhere");
    // Its newest room is opened whatever the head is.
    let rooms = ports.directory.rooms_of(&[OrganizationId::from_bits(*limited.0)]).await.expect("rooms").remove(0);
    let newest = |room: &RoomId| stage.chat.messages.iter().filter(|m| m.0 == room.get()).map(|m| m.1).max();
    let room = rooms.into_iter().max_by_key(newest).expect("a room");
    ports.live_ids = Arc::new(Poisoned { inner: Arc::clone(&ports.live_ids), room, poison: Poison::Panics });

    let run: RunId = "poisoned".parse().expect("a run id");
    let mut settings = StageSettings::embedded();
    (settings.consumer.in_flight, settings.consumer.receive_min) = (20, 10);
    settings.consumer.attempts_max = ATTEMPTS_MAX;
    settings.consumer.backoff =
        Backoff::new(Duration::from_millis(200), Duration::from_millis(500), 0.3).expect("a backoff");
    let stop = CancellationToken::new();
    let work = async {
        let new = extract_organizations::all_free(run.clone(), instant(1), policy());
        extract_organizations::extract(&ports, &new, |_| {}).await.expect("an extraction");
        wait_until_finished(&ports, &run, Until::Settled, &stop, |_| {}).await.expect("an end");
        stop.cancel();
    };
    let (collected, merged, ()) = tokio::join!(
        collect_rooms::consumer(&ports, settings).run(stop.clone()),
        merge_newest::consumer(&ports, settings).run(stop.clone()),
        work
    );
    collected.expect("a readable queue");
    merged.expect("a readable queue");

    let rows = ports.ledger.organizations(&run, &Filter::default(), 1_000).await.expect("the organizations");
    assert_eq!(rows.len() as u64, stage.chat.free());
    let (parked, done): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.state == State::Parked);
    assert!(parked.iter().any(|row| row.organization.get() == *limited.0), "the poison is not parked");
    for row in &parked {
        assert_eq!((row.attempts, row.error_class.as_deref()), (ATTEMPTS_MAX, Some("panic")), "{row:?}");
        let rooms = ports.directory.rooms_of(&[row.organization]).await.expect("rooms").remove(0);
        assert!(rooms.contains(&room), "{row:?} does not see the poisoned room");
    }
    assert!(done.iter().all(|row| (row.state, row.attempts) == (State::Done, 1)), "{done:?}");
}

//! What a healthy run costs, as the services charge it: read units, write units, requests.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::ledger::{Filter, State};
use chat::visibility::Window;
use chat::{MessageId, OrganizationId, PageRequest, RoomId, RunId};
use jobs::Ports;
use jobs::limits::{StageSettings, Until, collect_rooms, extract_organizations, merge_newest, wait_until_finished};
use support::SqlServer;
use tokio_util::sync::CancellationToken;
use worker::Pulse;

use super::lean::{Lean, connect};
use super::stage::Stage;

/// Bytes of an id in the index `live_ids`, and of what half a read unit reads.
const ID_BYTES: usize = 26;
const HALF_UNIT_BYTES: usize = 4_096;

/// What reading the visible messages of an organization costs at least, in read units: each room for itself, only what counts.
async fn least_read_units(ports: &Ports, organization: OrganizationId, lean: &Lean) -> f64 {
    let window = Window::at(lean.as_of, &lean.policy, lean.epoch);
    let rooms = ports.directory.rooms_of(&[organization]).await.expect("rooms").remove(0);
    let mut ids: Vec<(MessageId, RoomId)> = Vec::new();
    for room in rooms {
        let mut below = window.below;
        loop {
            let request = PageRequest { room, below, at_least: window.from, limit: 5_000 };
            let pages = ports.live_ids.newest(&[request]).await.expect("ids");
            let (page, resume_below) = pages.page(0);
            ids.extend(page.iter().map(|id| (*id, room)));
            let Some(resume_below) = resume_below else { break };
            below = resume_below;
        }
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.truncate(lean.policy.n());
    let mut counted: BTreeMap<RoomId, usize> = BTreeMap::new();
    for (_, room) in ids {
        *counted.entry(room).or_default() += 1;
    }
    counted.values().map(|ids| 0.5 * (ids * ID_BYTES).div_ceil(HALF_UNIT_BYTES) as f64).sum()
}

/// Runs every free organization as `lanner run` does with its default settings on SQS.
async fn run(ports: &Ports, run: &RunId, lean: &Lean) {
    let mut settings = StageSettings::embedded();
    settings.consumer.receive_min = 10;
    settings.consumer.receive_wait = Duration::from_secs(20);
    let stop = CancellationToken::new();
    let new = extract_organizations::all_free(run.clone(), lean.as_of, lean.policy);
    let work = async {
        extract_organizations::extract(ports, &new, |_| {}).await.expect("an extraction");
        let progress = wait_until_finished(ports, run, Until::Settled, &stop, |_| {}).await.expect("an end");
        stop.cancel();
        progress
    };
    let (collected, merged, progress) = tokio::join!(
        collect_rooms::run(ports, settings, Pulse::new(), stop.clone()),
        merge_newest::run(ports, settings, Pulse::new(), stop.clone()),
        work
    );
    collected.expect("a readable queue");
    merged.expect("a readable queue");
    assert_eq!(progress.counts.of(State::Done), progress.counts.expected(), "{:?}", progress.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_healthy_run_costs_little_more_than_what_counts() {
    let Some(lean) = Lean::find() else { return };
    let Some(stage) = Stage::new(SqlServer::Postgres, 1).await else { return };
    stage.program.run("provision --reason test").exits(0);
    stage.program.run(&lean.import_line()).exits(0);
    let connected = connect(&stage.services, lean.epoch).await;
    let ports = &connected.ports;
    let id: RunId = "cost".parse().expect("a run id");
    let before = (connected.dynamodb.usage(), connected.sqs.usage());
    run(ports, &id, &lean).await;
    let after = (connected.dynamodb.usage(), connected.sqs.usage());

    let rows = ports.ledger.organizations(&id, &Filter::default(), 1_000_000).await.expect("the organizations");
    let organizations = rows.len() as f64;
    let mut least = 0.0;
    for row in &rows {
        least += least_read_units(ports, row.organization, &lean).await;
    }
    let read: f64 = rows.iter().map(|row| row.read_units).sum();
    let charged = after.0.read_units - before.0.read_units;
    let written = after.0.write_units - before.0.write_units;
    let requests = (after.1.requests - before.1.requests) as f64 / (2.0 * organizations);
    println!(
        "{organizations} organizations: {read} read units for message ids, at least {least} ({:.3} times), {charged} with the \
         stored limits; {written} write units; {requests:.3} requests to SQS for each organization and hop",
        read / least
    );
    assert!(read <= 1.25 * least, "{read} read units, {least} would do");
    assert!(read <= charged, "the ledger tells of {read} read units, {charged} were charged");
    assert!((written - organizations).abs() < 1e-6, "{written} write units for {organizations} limits");
    assert!(requests <= 0.35, "{requests} requests for each organization and hop");
}

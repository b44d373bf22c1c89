//! What a healthy run costs, as the services charge it: read units, write units, requests.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::ledger::{Filter, State};
use chat::visibility::Window;
use chat::{MessageId, OrganizationId, PageRequest, RoomId, RunId};
use embedded::Access;
use jobs::Ports;
use jobs::limits::{StageSettings, Until, collect_rooms, extract_organizations, merge_newest, wait_until_finished};
use support::{Faults, FaultyProxy, Program, SqlServer, place};
use tokio_util::sync::CancellationToken;

use super::lean::{Lean, connect};
use super::stage::Stage;

/// Bytes of an id in the index `live_ids`, of a whole message as it may well be, and of what half a read unit reads.
const ID_BYTES: usize = 26;
const MESSAGE_BYTES: usize = 250;
const HALF_UNIT_BYTES: usize = 4_096;

/// How many visible messages of each free organization lie in each of its rooms. Found in an embedded store with the same data, which
/// charges nothing for looking.
async fn visible_by_room(embedded: &Ports, organizations: &[OrganizationId], lean: &Lean) -> Vec<usize> {
    let window = Window::at(lean.as_of, &lean.policy, lean.epoch);
    let mut visible = Vec::new();
    for rooms in embedded.directory.rooms_of(organizations).await.expect("rooms") {
        let page = |room: &RoomId| PageRequest {
            room: *room,
            below: window.below,
            at_least: window.from,
            limit: lean.policy.n(),
        };
        let requests: Vec<PageRequest> = rooms.iter().map(page).collect();
        let pages = embedded.live_ids.newest(&requests).await.expect("ids");
        let ids_of = |index: usize| pages.page(index).0.iter().map(move |id| (*id, index));
        let mut ids: Vec<(MessageId, usize)> = (0..pages.len()).flat_map(ids_of).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let mut counted: BTreeMap<usize, usize> = BTreeMap::new();
        for (_, room) in ids.into_iter().take(lean.policy.n()) {
            *counted.entry(room).or_default() += 1;
        }
        visible.extend(counted.into_values());
    }
    visible
}

/// What reading them costs at least, in read units: each room for itself, only what counts.
fn least_read_units(visible: &[usize], bytes: usize) -> f64 {
    visible.iter().map(|messages| 0.5 * (messages * bytes).div_ceil(HALF_UNIT_BYTES) as f64).sum()
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
        collect_rooms::consumer(ports, settings).run(stop.clone()),
        merge_newest::consumer(ports, settings).run(stop.clone()),
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
    stage.persevere(&lean.import_line());
    let embedded_dir = stage.folder.path().join("embedded");
    Program::new(env!("CARGO_BIN_EXE_lanner"), &embedded_dir).run(&lean.import_line()).exits(0);
    let counting = FaultyProxy::start(&stage.services.sqs_url, Faults::new(1, 0)).await;
    // Long enough that batches fill on a slow machine, too.
    let linger = Duration::from_secs(5);
    let connected = connect(&stage.services, &counting.url, lean.epoch, linger).await;
    let ports = &connected.ports;
    let id: RunId = "cost".parse().expect("a run id");
    let (before, opening) = (connected.dynamodb.usage(), counting.requests());
    run(ports, &id, &lean).await;
    let after = connected.dynamodb.usage();
    let mut requests = counting.requests();
    requests.iter_mut().for_each(|(name, count)| *count -= opening.get(name).copied().unwrap_or(0));

    let rows = ports.ledger.organizations(&id, &Filter::default(), 1_000_000).await.expect("the organizations");
    let ids: Vec<OrganizationId> = rows.iter().map(|row| row.organization).collect();
    let organizations = rows.len() as f64;
    let embedded = place::open_with(&embedded_dir, Access::Read, lean.epoch).await;
    let visible = visible_by_room(&embedded.ports, &ids, &lean).await;
    let least = least_read_units(&visible, ID_BYTES);
    let read: f64 = rows.iter().map(|row| row.read_units).sum();
    let charged = after.read_units - before.read_units;
    let written = after.write_units - before.write_units;
    // Looks at the depth and renewals grow with the time that a busy machine takes, not with organizations.
    let by_message = ["SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"];
    let by_hop = by_message.iter().map(|name| requests[*name]).sum::<u64>() as f64 / (2.0 * organizations);
    println!(
        "{organizations} organizations: {read} read units for message ids, at least {least} ({:.3} times), {charged} with the \
         stored limits; {written} write units; {by_hop:.3} requests to SQS for each organization and hop: {requests:?}",
        read / least
    );
    println!(
        "{} messages visible in {} rooms: read as whole messages, at least {} read units; a row for each of them in a table of candidates, \
         as many write units",
        visible.iter().sum::<usize>(),
        visible.len(),
        least_read_units(&visible, MESSAGE_BYTES)
    );
    assert!(read <= 1.25 * least, "{read} read units, {least} would do");
    assert!(read <= charged, "the ledger tells of {read} read units, {charged} were charged");
    // One each. A write that a busy server answers too late has its effect, and nobody tells what it cost.
    let told = 0.9 * organizations..=organizations + 1e-6;
    assert!(told.contains(&written), "{written} write units for {organizations} limits");
    assert!(by_hop <= 0.35, "{by_hop} requests for each organization and hop: {requests:?}");
}

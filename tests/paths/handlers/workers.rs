//! Several workers at once on one queue.

use std::time::Duration;

use chat::ledger::Phase;
use embedded::{Access, LmdbLiveIds};
use jobs::limits::{Until, merge_newest, wait_until_finished};
use support::Slow;
use support::place::Adapters;
use tokio_util::sync::CancellationToken;

use super::rig::{Rig, run_id, settings};

/// What one call to the stores takes.
const LATENCY: Duration = Duration::from_millis(5);
const IN_FLIGHT: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_several_workers_handles_as_many_organizations_at_once_as_it_may() {
    let rig = Rig::new(21, 600).await;
    for workers in [2, 4, 8] {
        let run = run_id(&format!("workers-{workers}"));
        let tasks = rig.collect_and_take(run.as_str()).await;
        rig.send_all(&*rig.open.ports.room_queue, &tasks).await;
        let adapters = Adapters::open(&rig.place.data_dir(), Access::Write).await;
        let stop = CancellationToken::new();
        let start = |_| {
            let live_ids = Slow::new(LmdbLiveIds::new(adapters.index.clone()), LATENCY).gathering(IN_FLIGHT);
            let (ports, stop) = (adapters.slow(&live_ids, LATENCY), stop.clone());
            let mut settings = settings();
            (settings.consumer.in_flight, settings.consumer.receive_min) = (IN_FLIGHT, 1);
            let merging = tokio::spawn(async move { merge_newest::consumer(&ports, settings).run(stop).await });
            (live_ids, merging)
        };
        let running: Vec<_> = (0..workers).map(start).collect();
        let progress = wait_until_finished(&rig.open.ports, &run, Until::Settled, &stop, |_| {}).await;
        assert_eq!(progress.expect("progress").phase(), Phase::Finished);
        stop.cancel();
        let mut done = 0;
        for (live_ids, merging) in running {
            done += merging.await.expect("no panic").expect("a readable queue").done;
            assert_eq!(live_ids.most_at_once(), IN_FLIGHT, "of {workers} workers");
        }
        assert_eq!(done, tasks.len() as u64);
        rig.check_done(run.as_str()).await;
        rig.check_limits().await;
    }
}

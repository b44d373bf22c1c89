//! The whole limit path over ports that fail on demand.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::RunId;
use chat::ledger::{Progress, State};
use embedded::Access;
use jobs::Ports;
use jobs::limits::{StageSettings, Until, collect_rooms, extract_organizations, merge_newest, wait_until_finished};
use support::oracle::{self, Answer};
use support::place::{Adapters, Place, organizations_of, policy, stored_limits};
use support::waiting::number_from_env;
use support::{Faults, SmallChat};
use tokio_util::sync::CancellationToken;
use worker::Backoff;

/// Calls that fail, in percent.
const PERCENT: u32 = 15;
/// Far longer than a run takes, also on a machine that others keep busy.
const LIFE_MAX: Duration = Duration::from_secs(600);

/// Extracts, works and waits; repeats what fails temporarily, as a scheduler would.
pub(super) async fn whole_run(ports: &Ports, run: &RunId, attempts_max: u32) -> Progress {
    let mut settings = StageSettings::embedded();
    settings.consumer.visible_for = Duration::from_millis(600);
    settings.consumer.attempts_max = attempts_max;
    settings.consumer.backoff =
        Backoff::new(Duration::from_millis(5), Duration::from_millis(50), 0.3).expect("a backoff");
    (settings.consumer.in_flight, settings.consumer.receive_min, settings.batch_max) = (32, 1, 16);
    let stop = CancellationToken::new();
    let (for_collecting, for_merging) = ((ports.clone(), stop.clone()), (ports.clone(), stop.clone()));
    let collecting =
        tokio::spawn(async move { collect_rooms::consumer(&for_collecting.0, settings).run(for_collecting.1).await });
    let merging =
        tokio::spawn(async move { merge_newest::consumer(&for_merging.0, settings).run(for_merging.1).await });
    let finished = async {
        let new = extract_organizations::all_free(run.clone(), SmallChat::as_of(), policy());
        while let Err(error) = extract_organizations::extract(ports, &new, |_| {}).await {
            assert!(error.is_temporary(), "extraction failed for good: {error:?}");
        }
        loop {
            match wait_until_finished(ports, run, Until::Settled, &stop, |_| {}).await {
                Ok(progress) => return progress,
                Err(error) => println!("waiting failed: {error}"),
            }
        }
    };
    let progress = tokio::time::timeout(LIFE_MAX, finished).await.expect("the run ends");
    stop.cancel();
    collecting.await.expect("no panic").expect("a readable queue");
    merging.await.expect("no panic").expect("a readable queue");
    progress
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_organization_is_lost_or_counted_twice_when_every_port_fails_now_and_then() {
    let first = number_from_env("LANNER_SEED", 1);
    for seed in first..first + number_from_env("LANNER_SCHEDULES", 10).div_ceil(4).min(25) {
        println!("flaky: LANNER_SEED={seed}");
        let place = Place::new(seed, 300).await;
        let adapters = Adapters::open(&place.data_dir(), Access::Write).await;
        let (plain, flaky) = (adapters.plain(), adapters.flaky(&Faults::new(seed, PERCENT)));
        let run: RunId = "daily".parse().expect("a run id");
        let progress = whole_run(&flaky, &run, 1_000).await;

        let free = place.chat.free();
        let counts = &progress.counts;
        assert_eq!((counts.of(State::Done), counts.expected()), (free, free), "seed {seed}: {counts:?}");
        assert_eq!(organizations_of(&*plain.ledger, &run).await.len() as u64, free);
        let answers = oracle::answers(&place.chat, SmallChat::as_of(), &policy());
        let rows = stored_limits(&*plain.limits).await;
        let found: BTreeMap<u64, Answer> = rows.iter().map(|row| (row.organization.get(), Answer::of(row))).collect();
        assert_eq!(found, answers, "seed {seed}");
        for row in &rows {
            let history = plain.ledger.history(row.organization, 10).await.expect("a history");
            let expected = usize::from(row.first_visible_message_id().is_some());
            assert_eq!(history.len(), expected, "seed {seed}: {history:?}");
        }
        assert!(plain.ledger.unreadable(10).await.expect("messages").is_empty());
    }
}

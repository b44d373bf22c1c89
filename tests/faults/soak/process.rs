//! One process of a schedule: both workers and the waiting of `lanner run`, over ports that fail, until it is done, stopped or
//! dead. It lives in a runtime of its own, which is dropped at whatever await it stands, or in a child that is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chat::ledger::NewRun;
use chat::{LiveIds, MessageId, RoomId, RunId, Timestamp};
use embedded::LmdbLiveIds;
use jobs::Ports;
use jobs::limits::{StageSettings, Until, WaitError};
use jobs::limits::{collect_rooms, extract_organizations, merge_newest, wait_until_finished};
use serde::{Deserialize, Serialize};
use support::place::{Adapters, LIVE_IDS, policy};
use support::{Distant, Faults, Flaky, until};
use tokio_util::sync::CancellationToken;
use worker::Backoff;

/// What a child is told, and by which it knows that it is one.
const LIFE: &str = "LANNER_FAULTS_LIFE";
/// What a child says when it is to be killed.
const DYING: &str = "kill me now";
/// Far longer than any life lasts, also on a machine that others keep busy: then something hangs.
const LIFE_MAX: Duration = Duration::from_secs(1_800);

/// A process that is killed at some call has nothing to do when it has not got there by then.
const AT_CALL_WITHIN: Duration = Duration::from_millis(1_500);

/// How a process ends, unless its run is over first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum End {
    /// With its run.
    WithTheRun,
    /// Killed at its n-th call of a port.
    AtCall { port: u64, call: u64 },
    /// Killed after so many milliseconds, wherever it is.
    AfterMs(u64),
    /// Stopped in good order after so many milliseconds.
    StoppedAfterMs(u64),
}

/// Everything that decides what a process does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) data_dir: PathBuf,
    pub(super) run: RunId,
    pub(super) as_of: Timestamp,
    /// Whether it opens the run and extracts; otherwise it waits for somebody who does.
    pub(super) extracts: bool,
    pub(super) end: End,
    pub(super) seed: u64,
    pub(super) fault_percent: u32,
    pub(super) attempts_max: u32,
    pub(super) in_flight: usize,
    pub(super) batch_max: usize,
    pub(super) visible_for_ms: u64,
    pub(super) stop_grace_ms: u64,
    /// Whether a page of live ids is a request, so that heads are asked for and rooms are merged one by one.
    pub(super) far_away: bool,
    /// Deletions that the store of live ids does not show yet: room and message.
    pub(super) unseen: Vec<(u64, u64)>,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ended {
    pub(super) killed: bool,
    pub(super) stopped: bool,
    pub(super) calls: u64,
    pub(super) faults: u64,
}

impl Life {
    fn faults(&self) -> Faults {
        let faults = Faults::new(self.seed, self.fault_percent).with_timeouts(Duration::from_millis(30));
        if let End::AtCall { port, call } = self.end { faults.dying_at(port, call) } else { faults }
    }

    fn settings(&self) -> StageSettings {
        let mut settings = StageSettings::embedded();
        let (min, max) = (Duration::from_millis(2), Duration::from_millis(20));
        settings.consumer.backoff = Backoff::new(min, max, 0.3).expect("a backoff");
        settings.consumer.visible_for = Duration::from_millis(self.visible_for_ms);
        settings.consumer.receive_wait = Duration::from_millis(50);
        settings.consumer.stop_grace = Duration::from_millis(self.stop_grace_ms);
        settings.consumer.attempts_max = self.attempts_max;
        (settings.consumer.in_flight, settings.consumer.receive_min) = (self.in_flight, 1);
        settings.batch_max = self.batch_max;
        settings
    }

    async fn ports(&self, faults: &Faults) -> Ports {
        let adapters = Adapters::open(&self.data_dir, embedded::Access::Write).await;
        let mut ports = adapters.flaky(faults);
        let inner = LmdbLiveIds::new(adapters.index);
        let access =
            if self.far_away { chat::Access::RoundTrip { first_page: 8, in_flight: 4 } } else { inner.access() };
        let mut unseen: BTreeMap<RoomId, BTreeSet<MessageId>> = BTreeMap::new();
        for (room, id) in &self.unseen {
            unseen.entry(RoomId::from_bits(*room)).or_default().insert(MessageId::from_bits(*id));
        }
        ports.live_ids = Arc::new(Flaky::new(Distant { inner, access, unseen }, faults.of_port(LIVE_IDS)));
        ports
    }

    /// Waits until the process is to be killed.
    async fn dead(&self, faults: &Faults) {
        match self.end {
            End::AtCall { .. } => drop(tokio::time::timeout(AT_CALL_WITHIN, faults.died()).await),
            End::AfterMs(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            End::StoppedAfterMs(_) | End::WithTheRun => std::future::pending().await,
        }
    }

    /// Cancels `stop` when the process is to stop.
    async fn stopped(&self, stop: &CancellationToken) {
        match self.end {
            End::StoppedAfterMs(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            _ => std::future::pending().await,
        }
        stop.cancel();
    }

    /// Works until the run is settled or cancelled, or `stop`.
    async fn work(&self, faults: &Faults, stop: CancellationToken) {
        let (ports, settings) = (self.ports(faults).await, self.settings());
        let collecting = tokio::spawn({
            let (ports, stop) = (ports.clone(), stop.clone());
            async move { collect_rooms::consumer(&ports, settings).run(stop).await }
        });
        let merging = tokio::spawn({
            let (ports, stop) = (ports.clone(), stop.clone());
            async move { merge_newest::consumer(&ports, settings).run(stop).await }
        });
        if self.extracts {
            let new = extract_organizations::all_free(self.run.clone(), self.as_of, policy());
            extract(&ports, &new, &stop).await;
        }
        while !stop.is_cancelled() {
            match wait_until_finished(&ports, &self.run, Until::Settled, &stop, |_| {}).await {
                Ok(_) => break,
                Err(WaitError::UnknownRun(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => assert!(error.is_temporary(), "waiting failed for good: {error:?}"),
            }
        }
        stop.cancel();
        for worker in [collecting, merging] {
            worker.await.expect("no panic").expect("a queue that can be read");
        }
    }

    /// Takes what is left in the queues, over ports that do not fail, until nothing is.
    pub(super) async fn drain(&self, ports: &Ports) {
        let stop = CancellationToken::new();
        let empty = async || {
            let mut left = 0;
            for queue in [&ports.organization_queue, &ports.room_queue] {
                let depth = queue.depth().await.expect("a depth");
                left += depth.visible + depth.hidden;
            }
            left == 0
        };
        let watching = async {
            until("both queues are empty", empty).await;
            stop.cancel();
        };
        let (collected, merged, ()) = tokio::join!(
            collect_rooms::consumer(ports, self.settings()).run(stop.clone()),
            merge_newest::consumer(ports, self.settings()).run(stop.clone()),
            watching
        );
        let done = collected.expect("a readable queue").done + merged.expect("a readable queue").done;
        assert_eq!(done, 0, "something was left to do in a finished run");
    }

    /// Lives in this thread, in a runtime that is dropped with everything in it.
    pub(super) fn here(&self) -> Ended {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let faults = self.faults();
        let mut ended = runtime.block_on(async {
            let stop = CancellationToken::new();
            let life = tokio::time::timeout(LIFE_MAX, self.work(&faults, stop.clone()));
            tokio::pin!(life);
            let (killed, stopped) = tokio::select! {
                over = &mut life => { over.expect("a life ends"); (false, false) }
                () = self.dead(&faults) => (true, false),
                () = self.stopped(&stop) => { life.await.expect("a stop ends"); (false, true) }
            };
            Ended { killed, stopped, ..Ended::default() }
        });
        runtime.shutdown_background();
        (ended.calls, ended.faults) = faults.counted();
        ended
    }

    /// Lives in a process of its own, which gets SIGKILL.
    pub(super) fn in_a_child(&self) -> Ended {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "soak::a_child_of_a_schedule_lives_its_life", "--nocapture"]);
        command.env(LIFE, serde_json::to_string(self).expect("JSON"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a child");
        let mut ended = Ended::default();
        let out = BufReader::new(child.stdout.take().expect("its output"));
        if out.lines().map_while(Result::ok).any(|line| line.contains(DYING)) {
            child.kill().expect("a kill");
        }
        let mut said = String::new();
        if let Some(mut err) = child.stderr.take() {
            err.read_to_string(&mut said).expect("its words");
        }
        let status = child.wait().expect("an end");
        ended.killed = status.code().is_none();
        ended.stopped = !ended.killed && matches!(self.end, End::StoppedAfterMs(_));
        assert!(ended.killed || status.success(), "a child failed: {said}");
        ended
    }
}

/// Opens and extracts, again and again while it fails temporarily. A cancelled run stays as it is.
pub(super) async fn extract(ports: &Ports, new: &NewRun, stop: &CancellationToken) {
    while let Err(error) = extract_organizations::extract(ports, new, |_| {}).await {
        if matches!(error, extract_organizations::ExtractError::Cancelled(_)) || stop.is_cancelled() {
            return;
        }
        assert!(error.is_temporary(), "extraction failed for good: {error:?}");
    }
}

/// The life that this process was started for, if any.
pub(super) fn live_as_a_child() {
    let Ok(life) = std::env::var(LIFE) else { return };
    let life: Life = serde_json::from_str(&life).expect("a life");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (faults, stop) = (life.faults(), CancellationToken::new());
        let work = tokio::time::timeout(LIFE_MAX, life.work(&faults, stop.clone()));
        tokio::pin!(work);
        tokio::select! {
            over = &mut work => over.expect("a life ends"),
            () = life.stopped(&stop) => work.await.expect("a stop ends"),
            () = life.dead(&faults) => {
                println!("{DYING}");
                std::io::stdout().flush().expect("an output");
                std::future::pending::<()>().await;
            }
        }
    });
}

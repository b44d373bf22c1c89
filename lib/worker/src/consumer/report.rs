//! What a consumer did, counted while it does it: for its report and as metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

/// What a consumer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerReport {
    /// Tasks done.
    pub done: u64,
    /// Attempts that failed and are repeated.
    pub again: u64,
    /// Tasks parked after their last attempt.
    pub parked: u64,
    /// Tasks that can never succeed.
    pub buried: u64,
    /// Messages with nothing to do.
    pub dropped: u64,
    /// Messages given back at a stop.
    pub released: u64,
    /// Messages lost to somebody else while in work.
    pub lost: u64,
    /// Messages that mean nothing.
    pub unreadable: u64,
}

/// How a message ends for this consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Again,
    Parked,
    Buried,
    Dropped,
    Released,
    Lost,
    Unreadable,
}

impl Ending {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Done, "done"),
        (Self::Again, "again"),
        (Self::Parked, "parked"),
        (Self::Buried, "buried"),
        (Self::Dropped, "dropped"),
        (Self::Released, "released"),
        (Self::Lost, "lost"),
        (Self::Unreadable, "unreadable"),
    ];
}

/// A message in flight, as the gauge counts it.
pub(super) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// The same, while it is still counted.
pub(super) struct Counters {
    job: &'static str,
    counts: [AtomicU64; Ending::ALL.len()],
    messages: [Counter; Ending::ALL.len()],
    receive_failures: Counter,
    redeliveries: Counter,
    in_flight: Gauge,
    handling: Histogram,
}

impl Counters {
    pub(super) fn new(job: &'static str) -> Self {
        Self {
            job,
            counts: Default::default(),
            messages: Ending::ALL
                .map(|(_, word)| metrics::counter!("lanner_messages_total", "job" => job, "ending" => word)),
            receive_failures: metrics::counter!("lanner_receive_failures_total", "job" => job),
            redeliveries: metrics::counter!("lanner_redeliveries_total", "job" => job),
            in_flight: metrics::gauge!("lanner_messages_in_flight", "job" => job),
            handling: metrics::histogram!("lanner_handling_seconds", "job" => job),
        }
    }

    /// Counts a message.
    pub(super) fn count(&self, ending: Ending) {
        self.counts[ending as usize].fetch_add(1, Ordering::Relaxed);
        self.messages[ending as usize].increment(1);
    }

    /// Counts an attempt that failed. Classes are few: they are words of the code, not of the input.
    pub(super) fn attempt_failed(&self, class: &str) {
        metrics::counter!("lanner_attempt_failures_total", "job" => self.job, "class" => class.to_owned()).increment(1);
    }

    pub(super) fn receive_failed(&self) {
        self.receive_failures.increment(1);
    }

    /// Counts a message in flight, until what is returned is dropped.
    pub(super) fn begun(&self, receive_count: u32) -> InFlight {
        self.in_flight.increment(1);
        if receive_count > 1 {
            self.redeliveries.increment(1);
        }
        InFlight(self.in_flight.clone())
    }

    pub(super) fn handled(&self, took: Duration) {
        self.handling.record(took);
    }

    /// What was counted so far.
    pub(super) fn report(&self) -> ConsumerReport {
        let get = |ending: Ending| self.counts[ending as usize].load(Ordering::Relaxed);
        ConsumerReport {
            done: get(Ending::Done),
            again: get(Ending::Again),
            parked: get(Ending::Parked),
            buried: get(Ending::Buried),
            dropped: get(Ending::Dropped),
            released: get(Ending::Released),
            lost: get(Ending::Lost),
            unreadable: get(Ending::Unreadable),
        }
    }
}

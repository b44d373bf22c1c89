//! Many concurrent single calls become few batch calls.
//!
//! While one batch is being flushed the next one fills, so the batches grow with the load and a lone call waits for
//! nobody. Ports take batches; handlers think of one task; this stands between them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::error;

use crate::Cause;

/// Collects single calls into batches. Cloning gives another handle to the same batches.
#[derive(Debug)]
pub struct Batcher<I, O> {
    calls: mpsc::Sender<Call<I, O>>,
}

type Call<I, O> = (I, oneshot::Sender<O>);

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone() }
    }
}

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// Entries of a batch, at least 1.
    pub max: usize,
    /// How long the first entry may wait for others.
    pub linger: Duration,
}

impl Batching {
    /// Batches of at most `max`, without waiting.
    pub fn up_to(max: usize) -> Self {
        Self { max, linger: Duration::ZERO }
    }
}

impl<I: Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// Starts a task that flushes batches one after the other. `flush` must answer each entry, in order. The task ends when
    /// the last handle is dropped, after everything handed over has been flushed.
    pub fn start<F, Fut>(batching: Batching, mut flush: F) -> Self
    where
        F: FnMut(Vec<I>) -> Fut + Send + 'static,
        Fut: Future<Output = Vec<O>> + Send,
    {
        let max = batching.max.max(1);
        let (calls, mut waiting) = mpsc::channel::<Call<I, O>>(2 * max);
        tokio::spawn(async move {
            loop {
                let mut batch = Vec::new();
                if waiting.recv_many(&mut batch, max).await == 0 {
                    return;
                }
                gather(&mut waiting, &mut batch, max).await;
                fill(&mut waiting, &mut batch, max, batching.linger).await;
                let (entries, answers): (Vec<I>, Vec<oneshot::Sender<O>>) = batch.into_iter().unzip();
                // A panic is this batch's alone: without a task to flush the next ones the whole process would be of no use.
                let flushed = AssertUnwindSafe(async { flush(entries).await }).catch_unwind().await;
                let outcomes = flushed.unwrap_or_else(|panic| {
                    error!(error = Cause::of_panic(&*panic).error, "a batch call panicked");
                    Vec::new()
                });
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Nobody listens any more when the caller was cancelled; the effect stands.
                    let _ = answer.send(outcome);
                }
            }
        });
        Self { calls }
    }

    /// Hands over one entry and waits for its answer. `None` when the flush panicked or did not answer the entry.
    pub async fn call(&self, entry: I) -> Option<O> {
        let (answer, answered) = oneshot::channel();
        self.calls.send((entry, answer)).await.ok()?;
        answered.await.ok()
    }
}

/// Lets tasks that are ready to run hand over their entries, until none has one. Those that were answered by the last batch come again
/// one after the other: a batch that were closed at the first would be small for ever, and each costs a synchronization to disk or a
/// round trip.
async fn gather<C>(waiting: &mut mpsc::Receiver<C>, batch: &mut Vec<C>, max: usize) {
    loop {
        tokio::task::yield_now().await;
        let before = batch.len();
        while batch.len() < max
            && let Ok(call) = waiting.try_recv()
        {
            batch.push(call);
        }
        if batch.len() == before || batch.len() == max {
            return;
        }
    }
}

async fn fill<C>(waiting: &mut mpsc::Receiver<C>, batch: &mut Vec<C>, max: usize, linger: Duration) {
    let deadline = Instant::now() + linger;
    while batch.len() < max && !linger.is_zero() {
        let room = max - batch.len();
        match tokio::time::timeout_at(deadline, waiting.recv_many(batch, room)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Sizes = Arc<Mutex<Vec<usize>>>;

    fn doubling(batching: Batching) -> (Batcher<u64, u64>, Sizes) {
        let sizes = Sizes::default();
        let seen = Arc::clone(&sizes);
        let batcher = Batcher::start(batching, move |entries: Vec<u64>| {
            seen.lock().expect("sizes").push(entries.len());
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                entries.into_iter().map(|entry| 2 * entry).collect()
            }
        });
        (batcher, sizes)
    }

    #[tokio::test(start_paused = true)]
    async fn each_caller_gets_its_own_answer_and_batches_are_bounded() {
        let (batcher, sizes) = doubling(Batching::up_to(10));
        let answers = futures::future::join_all((0..95).map(|i| batcher.call(i))).await;
        assert_eq!(answers, (0..95).map(|i| Some(2 * i)).collect::<Vec<_>>());
        let sizes = sizes.lock().expect("sizes").clone();
        assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
        assert!(sizes.len() <= 12, "batches did not fill: {sizes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_call_waits_no_longer_than_the_linger() {
        let (batcher, _) = doubling(Batching { max: 10, linger: Duration::from_millis(500) });
        let started = Instant::now();
        assert_eq!(batcher.call(4).await, Some(8));
        assert_eq!(started.elapsed(), Duration::from_millis(505));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_that_panics_answers_none_to_its_batch_and_the_next_ones_are_flushed() {
        let batcher: Batcher<u64, u64> = Batcher::start(Batching::up_to(10), |entries: Vec<u64>| {
            // At once, or once it is awaited.
            assert_ne!(entries[0], 0, "on purpose");
            async move {
                assert_ne!(entries[0], 1, "on purpose");
                entries
            }
        });
        for entry in [0, 1, 0] {
            assert_eq!(batcher.call(entry).await, None);
        }
        assert_eq!(batcher.call(2).await, Some(2));
    }
}

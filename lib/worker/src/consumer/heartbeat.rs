//! Who holds which message, and for how long: renewed while it is in flight.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::supervisor::Context;
use crate::work::Cause;
use crate::{Queue, QueueError, Receipt};

/// The messages in flight.
#[derive(Default)]
pub(super) struct Held(Mutex<HashMap<Receipt, Hold>>);

struct Hold {
    lost: CancellationToken,
    until: Instant,
}

/// A message is held until this is dropped.
pub(super) struct Holding {
    held: Arc<Held>,
    receipt: Receipt,
    /// Cancelled when somebody else may have the message.
    pub(super) lost: CancellationToken,
}

impl Holding {
    /// From here on the message is not renewed.
    pub(super) fn let_go(&self) {
        self.held.all().remove(&self.receipt);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Held {
    pub(super) fn hold(self: &Arc<Self>, receipt: &Receipt, visible_for: Duration) -> Holding {
        let lost = CancellationToken::new();
        let hold = Hold { lost: lost.clone(), until: Instant::now() + visible_for };
        self.all().insert(receipt.clone(), hold);
        Holding { held: Arc::clone(self), receipt: receipt.clone(), lost }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Receipt, Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What must be renewed by now, if it is to be held on.
    fn held_at_most_until(&self, due: Instant) -> Vec<Receipt> {
        self.all().iter().filter(|(_, hold)| hold.until <= due).map(|(receipt, _)| receipt.clone()).collect()
    }

    fn renewed(&self, receipt: &Receipt, answer: &Result<(), QueueError>, until: Instant) {
        match (self.all().get_mut(receipt), answer) {
            (Some(hold), Ok(())) => hold.until = until,
            (Some(hold), Err(QueueError::NotHeld { .. })) => hold.lost.cancel(),
            _ => {}
        }
    }

    /// Who could not renew in time no longer holds the message.
    fn lose_what_is_over(&self) {
        let now = Instant::now();
        self.all().values().filter(|hold| hold.until <= now).for_each(|hold| hold.lost.cancel());
    }
}

/// Renews what has been in flight for a while, until stopped: most work ends before it needs that.
pub(super) async fn run(
    queue: Arc<dyn Queue>,
    held: Arc<Held>,
    visible_for: Duration,
    context: Context,
) -> Result<(), Cause> {
    while waits(visible_for / 6, &context).await {
        let receipts = held.held_at_most_until(Instant::now() + visible_for * 2 / 3);
        for batch in receipts.chunks(queue.limits().batch_max.max(1)) {
            let changes: Vec<_> = batch.iter().map(|receipt| (receipt.clone(), visible_for)).collect();
            let until = Instant::now() + visible_for;
            match queue.change_visibility(&changes).await {
                Ok(answers) => {
                    batch.iter().zip(&answers).for_each(|(receipt, answer)| held.renewed(receipt, answer, until));
                }
                Err(error) => warn!(queue = queue.name(), %error, "heartbeat failed"),
            }
            context.pulse.beat();
        }
        held.lose_what_is_over();
    }
    Ok(())
}

/// False when stopped meanwhile.
async fn waits(pause: Duration, context: &Context) -> bool {
    let _rest = context.pulse.rest();
    tokio::time::timeout(pause, context.stop.cancelled()).await.is_err()
}

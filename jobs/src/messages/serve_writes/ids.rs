//! New ids, under a lease on a writer's number.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat::{Epoch, MessageId, MessageIds, NoId, Timestamp, WriterNumber};
use tokio::sync::Notify;
use tokio::time::Instant;
use worker::supervisor::{Child, Phase, Policy, RestartLimit};
use worker::{Backoff, Cause, Lease, State};

/// The family of the leases' records.
const LEASES: &str = "id-writer";
/// How long a lease lives: that long after a crash its number is nobody's.
const LEASE_LIVES_FOR: Duration = Duration::from_secs(30);
/// How long it may take to come to a lease, or to renew one, until the process is taken for hanging.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// Why there is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No lease on a writer's number is held: two writers could make the same id.
    #[error("no lease on a writer's number is held")]
    NoLease,
    /// The generator refuses.
    #[error(transparent)]
    NoId(#[from] NoId),
}

/// Makes ids as long as a lease is held.
#[derive(Debug)]
pub struct LeasedIds {
    epoch: Epoch,
    held: Mutex<Option<Held>>,
    /// Told whenever a lease is taken.
    taken: Notify,
}

#[derive(Debug)]
struct Held {
    ids: MessageIds,
    valid_until: Instant,
}

impl LeasedIds {
    /// None yet: see [`LeasedIds::child`].
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, held: Mutex::new(None), taken: Notify::new() }
    }

    /// The next id.
    pub fn next(&self) -> Result<MessageId, IdError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.as_mut().filter(|held| Instant::now() < held.valid_until).ok_or(IdError::NoLease)?;
        Ok(held.ids.next(Timestamp::now())?)
    }

    /// Whether a lease is held.
    pub fn is_ready(&self) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().is_some_and(|held| Instant::now() < held.valid_until)
    }

    /// Waits until a lease is held.
    pub async fn ready(&self) {
        loop {
            let taken = self.taken.notified();
            if self.is_ready() {
                return;
            }
            taken.await;
        }
    }

    /// Takes a lease and renews it until stopped; then gives it back.
    pub fn child(self: Arc<Self>, state: Arc<dyn State>, backoff: Backoff) -> Child {
        // Without the store of small records there are no ids, and nothing that another process could do better.
        let limit = RestartLimit { max: 100, within: Duration::from_secs(600) };
        let policy = Policy { hang_after: Some(HANGS_AFTER), limit, ..Policy::new(backoff) };
        // After intake: what is in flight still needs ids.
        Child::new(LEASES, Phase::Commits, policy, move |context| {
            let (ids, state) = (Arc::clone(&self), Arc::clone(&state));
            async move {
                let numbers = u32::from(WriterNumber::MAX) + 1;
                let lease = Lease::take(&*state, LEASES, numbers, LEASE_LIVES_FOR).await;
                let Some(mut lease) = lease.map_err(|error| Cause::of("state", &error))? else {
                    return Err(Cause::new("state", format!("all {numbers} numbers of writers are held")));
                };
                ids.hold(&lease).map_err(|error| Cause::of("corrupt", &error))?;
                loop {
                    context.pulse.beat();
                    tokio::select! {
                        () = context.stop.cancelled() => break,
                        () = tokio::time::sleep(lease.renew_every()) => {}
                    }
                    // One that cannot be renewed now is renewed by the next start, or another one is taken.
                    lease.renew(&*state).await.map_err(|error| Cause::of("state", &error))?;
                    ids.renewed(&lease);
                }
                ids.drop_lease();
                lease.release(&*state).await.map_err(|error| Cause::of("state", &error))
            }
        })
    }

    fn hold(&self, lease: &Lease) -> Result<(), chat::snowflake::NotAWriter> {
        let ids = MessageIds::new(self.epoch, WriterNumber::new(lease.number())?);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(Held { ids, valid_until: lease.valid_until() });
        self.taken.notify_waiters();
        Ok(())
    }

    fn renewed(&self, lease: &Lease) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_mut() {
            held.valid_until = lease.valid_until();
        }
    }

    fn drop_lease(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

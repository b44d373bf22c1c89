//! A lease on one of several numbers, in [`State`]: held by one process at a time, for as long as it is renewed.

use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::state::{Expected, RecordVersion, State, StateError, Write};

/// How much earlier than the record the holder takes its lease for over, as a part of its life: clocks do not run quite alike.
const MARGIN: u32 = 4;

/// A lease that was taken. It is over when it is not renewed in time; whoever works under it asks [`Lease::is_valid`] before every effect
/// that needs it.
#[derive(Debug)]
pub struct Lease {
    name: String,
    number: u32,
    /// Random: a process that comes back is somebody else.
    holder: [u8; 8],
    version: RecordVersion,
    lives_for: Duration,
    valid_until: Instant,
}

/// Why a lease is not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// Somebody else holds the number, or may: it is over.
    #[error("the lease on {name} {number} is lost")]
    Lost {
        /// What is leased.
        name: String,
        /// Which number.
        number: u32,
    },
    /// Not this time: try again while it is valid.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Lease {
    /// Takes one of the numbers below `numbers` that nobody holds, any of them; `None` when all are held. The record is `NAME/NUMBER`.
    pub async fn take(
        state: &dyn State,
        name: &str,
        numbers: u32,
        lives_for: Duration,
    ) -> Result<Option<Self>, StateError> {
        let first = fastrand::u32(..numbers.max(1));
        for number in (0..numbers).map(|step| (first + step) % numbers) {
            if let Some(lease) = Self::take_number(state, name, number, lives_for).await? {
                return Ok(Some(lease));
            }
        }
        Ok(None)
    }

    /// Takes this number; `None` when it is held.
    pub async fn take_number(
        state: &dyn State,
        name: &str,
        number: u32,
        lives_for: Duration,
    ) -> Result<Option<Self>, StateError> {
        let (holder, asked) = (fastrand::u64(..).to_be_bytes(), Instant::now());
        let taken = match put(state, name, number, &holder, Expected::Nothing, lives_for).await {
            Ok(version) => Some(version),
            Err(StateError::Conflict { .. }) => held_by(state, name, number, &holder).await?,
            Err(error) if error.is_temporary() => match held_by(state, name, number, &holder).await? {
                Some(version) => Some(version),
                None => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let valid_until = valid_until(asked, lives_for);
        Ok(taken.map(|version| Self { name: name.to_owned(), number, holder, version, lives_for, valid_until }))
    }

    /// The number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether nobody else can hold it now.
    pub fn is_valid(&self) -> bool {
        Instant::now() < self.valid_until
    }

    /// Until when nobody else can hold it, unless it is renewed before.
    pub fn valid_until(&self) -> Instant {
        self.valid_until
    }

    /// When to renew it: a third of its life after the last time.
    pub fn renew_every(&self) -> Duration {
        self.lives_for / 3
    }

    /// Holds it for another life.
    pub async fn renew(&mut self, state: &dyn State) -> Result<(), RenewError> {
        let (name, number) = (&*self.name, self.number);
        let asked = Instant::now();
        let expected = Expected::Version(self.version);
        self.version = match put(state, name, number, &self.holder, expected, self.lives_for).await {
            Ok(version) => version,
            // Perhaps the last answer was lost.
            Err(StateError::Conflict { .. }) => {
                let held = held_by(state, name, number, &self.holder).await?;
                let version = held
                    .filter(|version| *version != self.version)
                    .ok_or_else(|| RenewError::Lost { name: name.to_owned(), number })?;
                put(state, name, number, &self.holder, Expected::Version(version), self.lives_for).await?
            }
            Err(error) => return Err(error.into()),
        };
        self.valid_until = valid_until(asked, self.lives_for);
        Ok(())
    }

    /// What `work` answers, while `leases` are renewed beside it: at the same time and not in between, because either may hold what the
    /// other waits for, such as the only connection to the store. A renewal that fails for now is tried again while the lease is valid.
    ///
    /// # Errors
    ///
    /// When a lease is over, or cannot be renewed: `work` is let go at that moment.
    pub async fn hold<T>(
        leases: &mut [Self],
        state: &dyn State,
        work: impl Future<Output = T>,
    ) -> Result<T, RenewError> {
        let done = CancellationToken::new();
        let worked = async {
            let answer = work.await;
            done.cancel();
            Ok(answer)
        };
        // A renewal that is under way when the work is done comes to its end: whoever gives the lease back knows its record.
        let (answer, ()) = tokio::try_join!(worked, renew_until(&done, leases, state))?;
        Ok(answer)
    }

    /// Renews it if that can be done now; `Ok` while it is valid.
    async fn renew_in_time(&mut self, state: &dyn State) -> Result<(), RenewError> {
        match timeout_at(self.valid_until, self.renew(state)).await {
            Ok(Err(RenewError::State(error))) if error.is_temporary() && self.is_valid() => {
                warn!(name = self.name, number = self.number, %error, "the lease was not renewed: it is tried again");
                Ok(())
            }
            Ok(renewed) => renewed,
            Err(_) => Err(RenewError::Lost { name: self.name.clone(), number: self.number }),
        }
    }

    /// Gives it back, so that another can take it at once.
    pub async fn release(self, state: &dyn State) -> Result<(), StateError> {
        match state.delete(&key(&self.name, self.number), Some(self.version)).await {
            Err(StateError::Conflict { .. }) => Ok(()),
            released => released,
        }
    }
}

async fn renew_until(done: &CancellationToken, leases: &mut [Lease], state: &dyn State) -> Result<(), RenewError> {
    let Some(every) = leases.iter().map(Lease::renew_every).min() else { return Ok(()) };
    while done.run_until_cancelled(sleep(every)).await.is_some() {
        try_join_all(leases.iter_mut().map(|lease| lease.renew_in_time(state))).await?;
    }
    Ok(())
}

fn key(name: &str, number: u32) -> String {
    format!("{name}/{number}")
}

fn valid_until(asked: Instant, lives_for: Duration) -> Instant {
    asked + lives_for - lives_for / MARGIN
}

async fn put(
    state: &dyn State,
    name: &str,
    number: u32,
    holder: &[u8],
    expected: Expected,
    lives_for: Duration,
) -> Result<RecordVersion, StateError> {
    let key = key(name, number);
    state.put(Write { key: &key, value: holder, expected, lives_for: Some(lives_for) }).await
}

/// The version of the record, if it is this holder's.
async fn held_by(
    state: &dyn State,
    name: &str,
    number: u32,
    holder: &[u8],
) -> Result<Option<RecordVersion>, StateError> {
    let record = state.get(&key(name, number)).await?;
    Ok(record.filter(|record| record.value == holder).map(|record| record.version))
}

//! `follow-limits`: keeps the limits of free organizations exact, seconds after a post, a deletion, a join, a leave, a transfer or a change of
//! plan. It follows the log of what is readable with the newest ids of each organization in memory.
//!
//! ```text
//! readable log ──► sets ──► limits, at most one write of an organization a second
//!                   ▲ dirty: what a set cannot know
//!    directory, store of messages (the merge of the batch path, beside the stream)
//! ```
//!
//! - A record says whether its message is live now: the last word on each message holds, so that records told twice, and records
//!   from further back, change nothing in the end.
//! - An organization is *dirty* when its rooms may have changed, when more was deleted than its set has to spare, or when it is new. It is
//!   looked up in the directory and, where that is not enough, read from the store; what was told meanwhile and shortly before is put on
//!   top, because the store may lag behind the log.
//! - What the log does not tell (plans, accounts) is asked of the directory every second.
//! - The history of boundaries has what runs find, and of live limits what follows a change of plan.
//! - Sets are saved now and then with their place in the log; a restart goes on from there. What does not read is made anew.
//! - A shard is one process under a lease: it keeps the organizations whose hash has its number.
//! - One organization after the other is compared with a batch computation beside the stream: there must be no drift. Where there is one, it
//!   is told, and its set made anew.

mod changes;
mod effects;
mod follower;
mod leases;
mod merged;
mod recent;
pub mod replay;
mod saving;
mod shard;
#[cfg(test)]
mod simulation;
mod start;
mod status;
mod told;
mod writing;

pub use status::{ShardStatus, statuses};

use std::sync::Arc;
use std::time::Duration;

use chat::{Directory, Epoch, Heads, Ledger, Limits, LiveIds, OrganizationId, Policies};
use worker::supervisor::{Child, Directive, Directives, Phase, Policy, RestartLimit};
use worker::{Backoff, Cause, Log, LogError, State, StateError};

use crate::LimitPorts;

/// Name of the job.
pub const NAME: &str = "follow-limits";

/// What it is connected to.
#[derive(Clone)]
pub struct FollowPorts {
    /// The log of what is readable.
    pub readable: Arc<dyn Log>,
    /// Who is who.
    pub directory: Arc<dyn Directory>,
    /// The last active day of each room.
    pub heads: Arc<dyn Heads>,
    /// The live messages of rooms.
    pub live_ids: Arc<dyn LiveIds>,
    /// The current limits.
    pub limits: Arc<dyn Limits>,
    /// Where the history of boundaries stands: what follows a change of plan is added to it.
    pub ledger: Arc<dyn Ledger>,
    /// Small records: leases and saved sets.
    pub state: Arc<dyn State>,
    /// How much may be seen, from when on.
    pub policies: Policies,
    /// The epoch of the store's message ids.
    pub epoch: Epoch,
}

impl FollowPorts {
    /// The part of them that a computation needs.
    fn of_limits(&self) -> LimitPorts {
        let Self { directory, heads, live_ids, limits, epoch, .. } = self.clone();
        LimitPorts { directory, heads, live_ids, limits, epoch }
    }
}

/// How it is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which shard this is, from 0.
    pub shard: u32,
    /// How many shards there are, at least 1.
    pub shards: u32,
    /// Organizations that are read from the store at once.
    pub in_flight: usize,
    /// At most one write of an organization in this time.
    pub write_every: Duration,
    /// How often sets are saved.
    pub save_every: Duration,
    /// Records of each partition that a restart reads once more than it must: the store of messages may not show yet what they tell.
    pub rewind: u64,
    /// How often an organization is compared with a batch computation; `None`: never.
    pub reconcile_every: Option<Duration>,
    /// How long the lease of a process that died holds.
    pub lease_lives_for: Duration,
    /// Delays after failures.
    pub backoff: Backoff,
    /// Without progress for this long it hangs.
    pub hang_after: Duration,
}

impl Settings {
    /// Settings for one shard.
    pub fn of_one(backoff: Backoff) -> Self {
        Self {
            shard: 0,
            shards: 1,
            in_flight: 64,
            write_every: Duration::from_secs(1),
            save_every: Duration::from_secs(60),
            rewind: 20_000,
            reconcile_every: None,
            lease_lives_for: Duration::from_secs(15),
            backoff,
            hang_after: Duration::from_secs(120),
        }
    }

    /// Whether an organization is this shard's.
    pub fn keeps(&self, organization: OrganizationId) -> bool {
        // Fibonacci hashing: ids are dealt in sequence, and their low bits may mean something.
        let spread = organization.get().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        spread % u64::from(self.shards.max(1)) == u64::from(self.shard)
    }
}

/// The job as a supervised child: each run of it begins with what was saved.
pub fn child(ports: FollowPorts, settings: Settings) -> Child {
    // The directory or a store may be down for long: that is no reason to end the process.
    let limit = RestartLimit { max: 100, within: Duration::from_secs(600) };
    // What another start cannot cure.
    let directives = ["refused", "corrupt"]
        .into_iter()
        .fold(Directives::default(), |directives, class| directives.on_class(class, Directive::Escalate));
    let policy = Policy { hang_after: Some(settings.hang_after), limit, directives, ..Policy::new(settings.backoff) };
    Child::new(NAME, Phase::Work, policy, move |context| follower::run(ports.clone(), settings, context))
}

fn log_failed(error: LogError) -> Cause {
    Cause::of(error.class(), &error)
}

fn state_failed(error: StateError) -> Cause {
    Cause::of(error.class(), &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_organization_is_one_shards_and_none_has_much_more_than_another() {
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1), 0.0).expect("a backoff");
        let shards: Vec<Settings> =
            (0..4).map(|shard| Settings { shard, shards: 4, ..Settings::of_one(backoff) }).collect();
        let mut kept = [0; 4];
        for organization in (1..=10_000).map(OrganizationId::from_bits) {
            let holders: Vec<usize> = (0..4).filter(|at| shards[*at].keeps(organization)).collect();
            assert_eq!(holders.len(), 1);
            kept[holders[0]] += 1;
        }
        assert!(kept.iter().all(|many| (2_300..2_700).contains(many)), "{kept:?}");
    }
}

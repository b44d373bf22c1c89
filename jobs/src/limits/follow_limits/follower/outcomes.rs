//! What became of what was read and written beside the stream.

use std::time::Duration;

use chat::visibility::Window;
use chat::{Organization, OrganizationId, PortError, PutOutcome, RoomId, Timestamp};
use tokio::time::Instant;
use worker::{Cause, Lease, RenewError};

use super::super::effects::{self, Effect};
use super::super::shard::{Due, Looked};
use super::super::writing::Written;
use super::super::{NAME, state_failed};
use super::{ASK_EVERY, Follower, Turn, renew_failed};
use crate::limits::cause_of;
use crate::limits::drift::Drift;

/// Behind the log by so much a limit may differ.
const LAGS_FROM_MS: u64 = 2_000;
/// After a time without failures the next delay is the first again.
const QUIET: Duration = Duration::from_secs(60);

impl Follower {
    /// Takes note of what became of something.
    pub(super) fn became(&mut self, effect: Effect) -> Result<(), Cause> {
        match effect {
            Effect::Looked(ids, answer) => {
                self.looks -= 1;
                match answer {
                    Ok(found) => ids.iter().zip(found).for_each(|(id, (found, rooms))| self.looked(*id, found, rooms)),
                    Err(error) => {
                        ids.into_iter().for_each(|id| self.shard.failed(id));
                        self.port_failed("directory", &error);
                    }
                }
            }
            Effect::Merged { id, rooms, policy, merged } => {
                self.merges -= 1;
                match merged {
                    Ok(merged) => {
                        metrics::counter!("lanner_follow_recomputed_total", "job" => NAME).increment(1);
                        metrics::counter!("lanner_follow_ids_read_total", "job" => NAME)
                            .increment(merged.messages_read);
                        self.shard.install(id, &rooms, policy.n(), merged, &self.recent);
                    }
                    Err(error) => {
                        self.shard.failed(id);
                        self.port_failed("messages", &error);
                    }
                }
            }
            Effect::Asked(asked, answer) => {
                self.is_asking = false;
                match answer {
                    Ok(found) => {
                        let found = found.into_iter().flatten().map(|participant| participant.organization);
                        found.filter(|id| self.settings.keeps(*id)).for_each(|id| self.shard.mark_dirty(id));
                    }
                    Err(error) => {
                        self.asks.extend(asked);
                        self.port_failed("directory", &error);
                    }
                }
            }
            Effect::Changed(answer) => match answer {
                Ok(page) => {
                    let (news, more) = self.changes.answered(Instant::now(), &page);
                    news.into_iter().filter(|id| self.settings.keeps(*id)).for_each(|id| self.shard.mark_dirty(id));
                    self.changes_turn.ended();
                    if more {
                        self.changes_turn.next = Instant::now();
                    }
                }
                Err(error) => {
                    self.changes_turn.ended();
                    self.port_failed("directory", &error);
                }
            },
            Effect::Put(due, answer) => {
                self.is_putting = false;
                self.put(&due, answer);
            }
            Effect::Released(id, answer) => {
                if let Err(error) = answer {
                    self.shard.mark_dirty(id);
                    tracing::warn!(organization = %id, class = error.class(), %error, "a limit was not released: it is tried again");
                } else {
                    self.to_release.remove(&id);
                }
            }
            Effect::Saved(answer) => match answer {
                Ok(()) => {
                    self.saving.iter_mut().for_each(|saving| saving.writing.clear());
                    self.save_some();
                }
                Err(error) => {
                    self.saving_ended();
                    self.failed("state", &error);
                }
            },
            Effect::Placed(answer) => {
                self.saving_ended();
                if let Err(error) = answer {
                    self.failed("state", &error);
                }
            }
            Effect::Renewed(lease, answer) => return self.renewed(lease, answer),
            Effect::Bounds(answer) => {
                self.bounds_turn.ended();
                match answer {
                    Ok(bounds) => self.measure(&bounds),
                    Err(error) => self.failed("log", &error),
                }
            }
            Effect::StatusTold(answer) => {
                self.tell_turn.ended();
                // Nobody waits for it, and it is told again soon.
                if let Err(error) = answer {
                    tracing::debug!(error = state_failed(error).error, "how the shard is doing was not told");
                }
            }
            Effect::Reconciled(id, answer) => {
                self.reconcile_turn.iter_mut().for_each(Turn::ended);
                match answer {
                    Ok(drift) => self.reconciled(id, drift),
                    Err(error) => self.port_failed("reconcile", &error),
                }
            }
        }
        Ok(())
    }

    fn looked(&mut self, id: OrganizationId, found: Option<Organization>, rooms: Vec<RoomId>) {
        let window = Window::at(Timestamp::now(), &self.policy, self.ports.epoch);
        self.to_release.remove(&id);
        match self.shard.looked(id, found.as_ref(), &rooms, self.policy.n(), window) {
            Looked::Settled => {}
            Looked::Merge => self.to_merge.push_back((id, rooms)),
            // Nobody else marks its limit before the next run of the batch path.
            Looked::Dropped => {
                if let Some(organization) = found {
                    self.to_release.insert(id);
                    let again_in = self.settings.write_every;
                    self.pending.push(effects::release(&self.ports, &self.ids, organization, again_in));
                }
            }
        }
    }

    fn put(&mut self, due: &[Due], answer: Result<Written, PortError>) {
        let again_at = Instant::now() + self.settings.write_every;
        let Written { outcomes, history } = match answer {
            Ok(written) => written,
            Err(error) => {
                due.iter().for_each(|due| self.shard.not_written(due.id, again_at));
                return self.port_failed("limits", &error);
            }
        };
        if let Err(error) = history {
            // Those that it is about are written again; it is no reason to keep others waiting.
            tracing::warn!(class = error.class(), %error, "the history was not written: it is tried again");
        }
        for (due, outcome) in due.iter().zip(outcomes) {
            let outcome = match outcome {
                Some(PutOutcome::Stored { .. }) => {
                    self.shard.written(due, again_at);
                    "stored"
                }
                None => {
                    self.shard.not_written(due.id, again_at);
                    "unrecorded"
                }
                // Somebody's clock is ahead of this one.
                Some(PutOutcome::Superseded) => {
                    self.shard.not_written(due.id, again_at);
                    "superseded"
                }
                Some(PutOutcome::Released) => {
                    self.shard.not_written(due.id, again_at);
                    self.shard.mark_dirty(due.id);
                    "released"
                }
            };
            metrics::counter!("lanner_follow_writes_total", "job" => NAME, "outcome" => outcome).increment(1);
        }
    }

    fn reconciled(&mut self, id: OrganizationId, drift: Option<Drift>) {
        let outcome = match drift {
            None => "same",
            // Who knows that it is behind does not drift.
            Some(_) if !self.shard.is_current(id) || self.status.lag_ms > LAGS_FROM_MS => "behind",
            Some(Drift { organization, stored, computed, .. }) => {
                tracing::error!(%organization, %stored, %computed, "a limit has drifted: its organization is read anew");
                self.status.drifted += 1;
                self.shard.distrust(id);
                "drifted"
            }
        };
        self.status.reconciled += 1;
        metrics::counter!("lanner_follow_reconciled_total", "job" => NAME, "outcome" => outcome).increment(1);
    }

    fn renewed(&mut self, lease: Lease, answer: Result<(), RenewError>) -> Result<(), Cause> {
        match answer {
            Ok(()) => {
                self.lease_valid_until = lease.valid_until();
                self.renew_at = Instant::now() + lease.renew_every();
            }
            Err(RenewError::State(error)) if error.is_temporary() => {
                self.renew_at = Instant::now() + ASK_EVERY;
                self.failed("state", &error);
            }
            Err(error) => return Err(renew_failed(error)),
        }
        self.lease = Some(lease);
        Ok(())
    }

    fn port_failed(&mut self, what: &'static str, error: &PortError) {
        let cause = cause_of(error);
        self.backs_off(what, &cause);
    }

    fn failed(&mut self, what: &'static str, error: &(dyn std::error::Error + 'static)) {
        self.backs_off(what, &Cause::of("unavailable", error));
    }

    fn backs_off(&mut self, what: &'static str, cause: &Cause) {
        let now = Instant::now();
        // Failures that come together are one.
        if now >= self.not_before {
            self.failures = if now >= self.not_before + QUIET { 1 } else { self.failures.saturating_add(1) };
            self.not_before = now + self.settings.backoff.jittered(self.failures);
        }
        tracing::warn!(what, class = cause.class, error = cause.error, "failed: it is tried again");
    }
}

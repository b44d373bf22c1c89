//! The structure: lanes, timers, windows. Synchronous; time is told to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::mem;

use slab::Slab;
use smallvec::smallvec;
use tokio::time::Instant;

use super::lane::{Item, Lane, Parked, Phase};
use super::limits::LaneLimits;
use super::partition::{Assigned, PartitionProgress, PushError};
use super::turn::{Run, Task, Turn};

/// Lanes above which the room for them is given back when the last one goes.
const KEEP_LANES: usize = 1_024;

/// How many there are of what, for gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Lanes in memory: those with an item, and parked ones.
    pub lanes: usize,
    /// Lanes ready for their turn.
    pub ready: usize,
    /// Turns that were given out and not answered.
    pub in_flight: usize,
    /// Lanes that wait for their time, to be retried or replayed.
    pub waiting: usize,
    /// Parked lanes.
    pub parked: usize,
    /// Places between commit position and newest item, over all partitions.
    pub held: usize,
}

/// Lanes of several partitions.
///
/// Promises (tested against a model): items of a key are handled one run at a time and in the order of the log, whatever is retried;
/// the commit position never passes an item that is not finished; no bound is exceeded; a lane that waits or is parked delays no
/// other; ready lanes take turns; answers to turns of a revoked partition change nothing.
///
/// A lane exists while it has an item or is parked. All calls are O(log n) or better in lanes and items, except
/// [`Self::revoke`], which is linear in what there is.
pub struct Lanes<K, T> {
    limits: LaneLimits,
    now: Instant,
    generations: u64,
    in_flight: usize,
    assigned: BTreeMap<u32, Assigned<K>>,
    lanes: Slab<Lane<K, T>>,
    ready: VecDeque<usize>,
    timers: BTreeSet<(Instant, usize)>,
    changed: BTreeSet<u32>,
}

impl<K: Clone + Eq + Hash, T> Lanes<K, T> {
    /// Without partitions, at the instant `now`.
    pub fn new(limits: LaneLimits, now: Instant) -> Self {
        Self {
            limits,
            now,
            generations: 0,
            in_flight: 0,
            assigned: BTreeMap::new(),
            lanes: Slab::new(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Takes a partition whose next record is the one at `position` or above. One that is assigned already is revoked first.
    pub fn assign(&mut self, partition: u32, position: u64) {
        self.revoke(partition);
        self.generations += 1;
        let assigned = Assigned::new(self.generations, position);
        self.assigned.insert(partition, assigned);
    }

    /// Notes that items of `key` are stored since earlier, to be replayed from `replay_at` on, or when asked to. It must be
    /// said before anything of the partition is pushed, and is taken beyond the bound of parked lanes, too: to forget one would
    /// break its order. False: the partition is not assigned or the lane is in use.
    pub fn restore_parked(&mut self, partition: u32, key: K, replay_at: Option<Instant>) -> bool {
        let Some(assigned) = self.assigned.get_mut(&partition) else { return false };
        if assigned.lanes.contains_key(&key) {
            return false;
        }
        let mut lane = Lane::new(partition, key.clone());
        lane.parked = Some(Box::new(Parked { replay_at, failed_replays: 0 }));
        let index = self.lanes.insert(lane);
        assigned.lanes.insert(key, index);
        assigned.parked += 1;
        self.settle(index);
        true
    }

    /// Drops a partition with its lanes at once. Turns that are out may still be answered, and count until then.
    pub fn revoke(&mut self, partition: u32) {
        let Some(assigned) = self.assigned.remove(&partition) else { return };
        self.changed.remove(&partition);
        let lanes = &self.lanes;
        let others = |lane: &usize| lanes.get(*lane).is_some_and(|lane| lane.partition != partition);
        self.ready.retain(others);
        self.timers.retain(|(_, lane)| others(lane));
        for lane in assigned.lanes.into_values() {
            self.lanes.try_remove(lane);
        }
        self.give_back();
    }

    /// From now on the partition takes nothing new and begins no replay; what it has is finished.
    pub fn drain(&mut self, partition: u32) {
        if let Some(assigned) = self.assigned.get_mut(&partition) {
            assigned.draining = true;
            self.changed.insert(partition);
        }
    }

    /// Takes the record at `offset`, dealt into items with their keys, of which no two may be the same; a record that concerns
    /// nobody has none. All or nothing is taken.
    pub fn push<I>(&mut self, partition: u32, offset: u64, items: I) -> Result<(), PushError>
    where
        I: IntoIterator<Item = (K, T), IntoIter: ExactSizeIterator>,
    {
        let items = items.into_iter();
        let assigned = self.assigned.get_mut(&partition).ok_or(PushError::NotAssigned(partition))?;
        assigned.takes(&self.limits, partition, offset, items.len())?;
        let position = assigned.window.position();
        for (key, item) in items.take(self.limits.held_max - assigned.window.len()) {
            let item = Item { place: assigned.window.add(offset), item };
            match assigned.lanes.get(&key) {
                Some(lane) => Self::append(&mut self.lanes[*lane], *lane, item, &mut self.ready, &mut self.timers),
                None => {
                    let mut lane = Lane::new(partition, key.clone());
                    lane.head = Some(item);
                    lane.phase = Phase::Ready;
                    let index = self.lanes.insert(lane);
                    assigned.lanes.insert(key, index);
                    self.ready.push_back(index);
                }
            }
        }
        assigned.window.close(offset);
        if !assigned.paused && assigned.window.len() >= self.limits.high_water {
            assigned.paused = true;
            self.changed.insert(partition);
        }
        if assigned.window.position() != position {
            self.changed.insert(partition);
        }
        Ok(())
    }

    /// Tells the time: lanes whose time has come become ready. Time that goes back is not listened to.
    pub fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while self.timers.first().is_some_and(|(due, _)| *due <= self.now) {
            if let Some((_, index)) = self.timers.pop_first() {
                self.lanes[index].phase = Phase::Ready;
                self.ready.push_back(index);
            }
        }
    }

    /// When the next lane has waited long enough; `None`: none waits.
    pub fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The next turn, if a lane is ready and a place in flight is free.
    pub fn next_turn(&mut self) -> Option<Turn<K, T>> {
        while self.in_flight < self.limits.in_flight_max {
            let index = self.ready.pop_front()?;
            if let Some(turn) = self.begin(index) {
                return Some(turn);
            }
        }
        None
    }

    /// The task is done: all its items are handled, or one is stored, or a replay has left nothing stored. The lane goes on.
    pub fn done(&mut self, turn: Turn<K, T>) {
        let low_water = self.limits.low_water;
        let Some(assigned) = self.answered(&turn) else { return };
        let is_replay = turn.places.is_empty();
        if is_replay {
            assigned.parked = assigned.parked.saturating_sub(1);
        }
        if assigned.finish(&turn.places, low_water) {
            self.changed.insert(turn.partition);
        }
        let lane = &mut self.lanes[turn.lane];
        lane.failed_attempts = 0;
        if !is_replay {
            lane.alone = lane.alone.saturating_sub(1);
        }
        if is_replay {
            lane.parked = None;
        }
        self.settle(turn.lane);
    }

    /// The task failed: the lane waits until `due`, then tries the same again, but the items of a run one by one, and that it was
    /// tried together counts as no attempt. A replay takes up where it was.
    pub fn retry_at(&mut self, turn: Turn<K, T>, due: Instant) {
        if self.answered(&turn).is_none() {
            return;
        }
        let lane = &mut self.lanes[turn.lane];
        let items = match turn.task {
            Task::Handle(items) => items,
            Task::Store(item) => smallvec![item],
            Task::Replay => {
                let failed_replays = turn.attempt;
                lane.parked = Some(Box::new(Parked { replay_at: Some(due), failed_replays }));
                return self.settle(turn.lane);
            }
        };
        match u32::try_from(items.len()) {
            Ok(1) => lane.failed_attempts = turn.attempt,
            many => lane.alone = many.unwrap_or(u32::MAX),
        }
        lane.put_back(items, turn.places);
        lane.phase = Phase::Waiting(due);
        self.timers.insert((due, turn.lane));
    }

    /// Parks the lane: its items and all that follow are given out again to be stored, one by one, and from `replay_at` on, or when asked,
    /// they are replayed. A replay that is parked counts its attempts anew. Gives the turn back when no more lanes may be parked,
    /// or when it was to store an item, which can only be tried again.
    pub fn park(&mut self, turn: Turn<K, T>, replay_at: Option<Instant>) -> Result<(), Turn<K, T>> {
        let parked_max = self.limits.parked_max;
        let is_current = self.is_current(&turn);
        let is_full = self.assigned.get(&turn.partition).is_some_and(|assigned| assigned.parked >= parked_max);
        match &turn.task {
            Task::Store(_) if is_current => return Err(turn),
            Task::Handle(_) if is_current && is_full => return Err(turn),
            _ => {}
        }
        let Some(assigned) = self.answered(&turn) else { return Ok(()) };
        if matches!(turn.task, Task::Handle(_)) {
            assigned.parked += 1;
        }
        let lane = &mut self.lanes[turn.lane];
        if let Task::Handle(items) = turn.task {
            lane.put_back(items, turn.places);
        }
        (lane.failed_attempts, lane.alone) = (0, 0);
        lane.parked = Some(Box::new(Parked { replay_at, failed_replays: 0 }));
        self.settle(turn.lane);
        Ok(())
    }

    /// Has a parked lane replayed as soon as it has its turn. False: it is not parked, or is in flight right now.
    pub fn replay_now(&mut self, partition: u32, key: &K) -> bool {
        let Some(index) = self.assigned.get(&partition).and_then(|assigned| assigned.lanes.get(key)).copied() else {
            return false;
        };
        let lane = &mut self.lanes[index];
        let Some(parked) = lane.parked.as_mut() else { return false };
        if matches!(lane.phase, Phase::InFlight) {
            return false;
        }
        parked.replay_at = Some(self.now);
        if let Phase::Waiting(due) = lane.phase {
            self.timers.remove(&(due, index));
        }
        if !matches!(lane.phase, Phase::Ready) {
            lane.phase = Phase::Ready;
            self.ready.push_back(index);
        }
        true
    }

    /// Where a partition stands.
    pub fn progress(&self, partition: u32) -> Option<PartitionProgress> {
        let assigned = self.assigned.get(&partition)?;
        Some(assigned.progress(partition))
    }

    /// Partitions whose position, pause or drain changed since this was last asked.
    pub fn take_changed(&mut self) -> Vec<PartitionProgress> {
        let changed = mem::take(&mut self.changed);
        changed.into_iter().filter_map(|partition| self.progress(partition)).collect()
    }

    /// Partitions that are assigned.
    pub fn partitions(&self) -> Vec<u32> {
        self.assigned.keys().copied().collect()
    }

    /// How many there are of what.
    pub fn counts(&self) -> LaneCounts {
        LaneCounts {
            lanes: self.lanes.len(),
            ready: self.ready.len(),
            in_flight: self.in_flight,
            waiting: self.timers.len(),
            parked: self.assigned.values().map(|assigned| assigned.parked).sum(),
            held: self.assigned.values().map(|assigned| assigned.window.len()).sum(),
        }
    }

    fn append(
        lane: &mut Lane<K, T>,
        index: usize,
        item: Item<T>,
        ready: &mut VecDeque<usize>,
        timers: &mut BTreeSet<(Instant, usize)>,
    ) {
        if lane.head.is_some() || matches!(lane.phase, Phase::InFlight) {
            lane.behind.push_back(item);
            return;
        }
        // Only a parked lane is there without an item. It may be ready already, for its replay.
        lane.head = Some(item);
        if let Phase::Waiting(due) = lane.phase {
            timers.remove(&(due, index));
        }
        if !matches!(lane.phase, Phase::Ready) {
            lane.phase = Phase::Ready;
            ready.push_back(index);
        }
    }

    /// Gives a ready lane its turn. `None`: its partition drains and there was nothing to do but a replay.
    fn begin(&mut self, index: usize) -> Option<Turn<K, T>> {
        let lane = &mut self.lanes[index];
        let assigned = self.assigned.get_mut(&lane.partition)?;
        let replays = !assigned.draining && lane.replays_by(self.now);
        let (task, places, failed) = if replays {
            (Task::Replay, Run::new(), lane.parked.as_ref().map_or(0, |parked| parked.failed_replays))
        } else {
            let (mut items, places) = lane.take_run(if lane.parked.is_some() { 1 } else { self.limits.run_max });
            let stored = lane.parked.as_ref().and_then(|_| items.pop());
            let task = match stored {
                Some(item) => Task::Store(item),
                None if places.is_empty() => {
                    lane.phase = Phase::Resting;
                    return None;
                }
                None => Task::Handle(items),
            };
            (task, places, lane.failed_attempts)
        };
        lane.phase = Phase::InFlight;
        assigned.in_flight += 1;
        self.in_flight += 1;
        Some(Turn {
            partition: lane.partition,
            key: lane.key.clone(),
            offset: places.first().map_or(assigned.window.position(), |place| assigned.window.offset_of(*place)),
            attempt: failed.saturating_add(1),
            task,
            generation: assigned.generation,
            lane: index,
            places,
        })
    }

    fn is_current(&self, turn: &Turn<K, T>) -> bool {
        self.assigned.get(&turn.partition).is_some_and(|assigned| assigned.generation == turn.generation)
    }

    /// Takes note that a turn came back. `None`: its partition was revoked since, the answer changes nothing.
    fn answered(&mut self, turn: &Turn<K, T>) -> Option<&mut Assigned<K>> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let assigned = self.assigned.get_mut(&turn.partition)?;
        if assigned.generation != turn.generation {
            return None;
        }
        assigned.in_flight = assigned.in_flight.saturating_sub(1);
        if assigned.draining {
            self.changed.insert(turn.partition);
        }
        Some(assigned)
    }

    /// Decides what becomes of a lane that is neither in flight nor waiting.
    fn settle(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if lane.head.is_none() {
            lane.head = lane.behind.pop_front();
        }
        if lane.head.is_some() {
            lane.phase = Phase::Ready;
            self.ready.push_back(index);
            return;
        }
        match &lane.parked {
            Some(parked) => match parked.replay_at {
                Some(due) => {
                    lane.phase = Phase::Waiting(due);
                    self.timers.insert((due, index));
                }
                None => lane.phase = Phase::Resting,
            },
            None => self.remove(index),
        }
    }

    fn remove(&mut self, index: usize) {
        let lane = self.lanes.remove(index);
        if let Some(assigned) = self.assigned.get_mut(&lane.partition) {
            assigned.lanes.remove(&lane.key);
            if assigned.lanes.is_empty() && assigned.lanes.capacity() > KEEP_LANES {
                assigned.lanes = HashMap::new();
            }
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        if self.lanes.is_empty() && self.lanes.capacity() > KEEP_LANES {
            self.lanes = Slab::new();
            self.ready = VecDeque::new();
        }
    }
}

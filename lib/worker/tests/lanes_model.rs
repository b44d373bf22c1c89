//! [`Lanes`] against a model that only remembers: random pushes, turns, answers, time, revokes and drains.
//!
//! `LANNER_LAW_CASES` cases (else 500), the first with `LANNER_SEED`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use worker::lanes::{LaneLimits, Lanes, PartitionProgress, PushError, Task, Turn};

const STEPS: usize = 300;
const PARTITIONS: u32 = 3;
const KEYS: u8 = 5;

/// Partition and offset, so that no two items are alike.
type Item = (u32, u64);

#[derive(Clone, Copy)]
struct Limits {
    in_flight_max: usize,
    low_water: usize,
    high_water: usize,
    held_max: usize,
    parked_max: usize,
    run_max: usize,
}

#[derive(Default)]
struct ModelLane {
    items: VecDeque<u64>,
    in_flight: bool,
    waits_until: Option<Instant>,
    parked: Option<Option<Instant>>,
    failed_attempts: u32,
    /// Items that failed in a run.
    alone: usize,
    failed_replays: u32,
}

struct ModelPartition {
    generation: u64,
    draining: bool,
    paused: bool,
    next_offset: u64,
    /// Offset, key, finished: from the first that is not finished.
    places: VecDeque<(u64, u8, bool)>,
    lanes: BTreeMap<u8, ModelLane>,
}

/// Of the items of a turn.
fn offsets(turn: &Turn<u8, Item>) -> Vec<u64> {
    match &turn.task {
        Task::Handle(items) => items.iter().map(|item| item.1).collect(),
        Task::Store(item) => vec![item.1],
        Task::Replay => Vec::new(),
    }
}

impl ModelLane {
    fn replays(&self, now: Instant, draining: bool) -> bool {
        !draining && matches!(self.parked, Some(Some(due)) if due <= now)
    }

    fn is_ready(&self, now: Instant, draining: bool) -> bool {
        !self.in_flight
            && self.waits_until.is_none_or(|due| due <= now)
            && (!self.items.is_empty() || self.replays(now, draining))
    }
}

impl ModelPartition {
    fn position(&self) -> u64 {
        self.places.front().map_or(self.next_offset, |place| place.0)
    }

    fn parked(&self) -> usize {
        self.lanes.values().filter(|lane| lane.parked.is_some()).count()
    }

    fn finish(&mut self, offset: u64, key: u8, low_water: usize) {
        for place in &mut self.places {
            place.2 |= (place.0, place.1) == (offset, key);
        }
        while self.places.front().is_some_and(|place| place.2) {
            self.places.pop_front();
        }
        self.paused &= self.places.len() > low_water;
    }
}

struct Case {
    random: fastrand::Rng,
    limits: Limits,
    now: Instant,
    lanes: Lanes<u8, Item>,
    model: BTreeMap<u32, ModelPartition>,
    generations: u64,
    out: Vec<(u64, Turn<u8, Item>)>,
    /// Generation, partition, key, offset of what is done; a lane's must ascend.
    done: BTreeMap<(u64, u32, u8), u64>,
    /// What a caller knows who only listens to changes.
    told: BTreeMap<u32, PartitionProgress>,
}

#[test]
fn lanes_do_what_the_model_does() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = setting("LANNER_SEED").unwrap_or(1);
    for seed in first..first + setting("LANNER_LAW_CASES").unwrap_or(500) {
        let failed = std::panic::catch_unwind(|| Case::new(seed).run()).err();
        if let Some(panic) = failed {
            eprintln!("failed with LANNER_LAW_CASES=1 LANNER_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_lane_with_many_items_takes_turns_with_the_others() {
    let limits = LaneLimits::new(1, 10, 20, 20).expect("limits");
    let mut lanes = Lanes::new(limits, Instant::now());
    lanes.assign(0, 0);
    for (offset, key) in [1, 1, 1, 1, 2, 2, 3].into_iter().enumerate() {
        lanes.push(0, offset as u64, [(key, ())]).expect("pushed");
    }
    let mut served = Vec::new();
    while let Some(turn) = lanes.next_turn() {
        served.push(turn.key);
        lanes.done(turn);
    }
    assert_eq!(served, [1, 2, 3, 1, 2, 1, 1]);
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let low_water = random.usize(0..4);
        let high_water = low_water + random.usize(1..8);
        let limits = Limits {
            in_flight_max: random.usize(1..6),
            low_water,
            high_water,
            held_max: high_water + random.usize(0..5),
            parked_max: random.usize(0..4),
            run_max: random.usize(1..4),
        };
        let now = Instant::now();
        let checked = LaneLimits::new(limits.in_flight_max, low_water, high_water, limits.held_max).expect("limits");
        let lanes = Lanes::new(checked.parking(limits.parked_max).in_runs(limits.run_max), now);
        let (model, out, done, told) = Default::default();
        Self { random, limits, now, lanes, model, generations: 0, out, done, told }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            match self.random.usize(0..100) {
                0..2 => self.assign(),
                2 => self.revoke(),
                3 => self.drain(),
                4..40 => self.push(),
                40..65 => self.turn(),
                65..90 => self.answer(),
                90..98 => self.time_passes(),
                _ => self.replay_now(),
            }
            self.check();
        }
        self.finish_all();
    }

    fn partition(&mut self) -> u32 {
        self.random.u32(0..PARTITIONS)
    }

    fn later(&mut self) -> Instant {
        self.now + Duration::from_millis(self.random.u64(0..100))
    }

    fn assign(&mut self) {
        let partition = self.partition();
        let position = self.random.u64(0..50);
        self.generations += 1;
        self.lanes.assign(partition, position);
        let mut lanes = BTreeMap::new();
        for key in 0..KEYS {
            if self.random.usize(0..10) == 0 {
                let replay_at = self.random.bool().then(|| self.later());
                assert!(self.lanes.restore_parked(partition, key, replay_at));
                assert!(!self.lanes.restore_parked(partition, key, replay_at), "restored twice");
                lanes.insert(key, ModelLane { parked: Some(replay_at), ..ModelLane::default() });
            }
        }
        let (generation, places) = (self.generations, VecDeque::new());
        let assigned =
            ModelPartition { generation, draining: false, paused: false, next_offset: position, places, lanes };
        self.model.insert(partition, assigned);
        self.told.extend(self.lanes.progress(partition).map(|progress| (partition, progress)));
    }

    fn revoke(&mut self) {
        let partition = self.partition();
        self.lanes.revoke(partition);
        self.model.remove(&partition);
    }

    fn drain(&mut self) {
        let partition = self.partition();
        self.lanes.drain(partition);
        if let Some(model) = self.model.get_mut(&partition) {
            model.draining = true;
        }
    }

    fn push(&mut self) {
        let partition = self.partition();
        let keys: BTreeSet<u8> = (0..self.random.usize(0..4)).map(|_| self.random.u8(0..KEYS)).collect();
        let next = self.model.get(&partition).map_or(0, |model| model.next_offset);
        let offset = if self.random.usize(0..30) == 0 { next.saturating_sub(1) } else { next + self.random.u64(0..3) };
        let items: Vec<(u8, Item)> = keys.iter().map(|key| (*key, (partition, offset))).collect();
        let answer = self.lanes.push(partition, offset, items);
        let Some(model) = self.model.get_mut(&partition) else {
            return assert_eq!(answer, Err(PushError::NotAssigned(partition)));
        };
        let expected = if model.draining {
            Err(PushError::Draining(partition))
        } else if offset < next {
            Err(PushError::Backwards { partition, offset, next })
        } else if keys.len() > self.limits.held_max {
            Err(PushError::TooMany { items: keys.len(), held_max: self.limits.held_max })
        } else if model.places.len() + keys.len() > self.limits.held_max {
            Err(PushError::Full(partition))
        } else {
            Ok(())
        };
        assert_eq!(answer, expected);
        if answer.is_err() {
            return;
        }
        model.next_offset = offset + 1;
        for key in keys {
            model.places.push_back((offset, key, false));
            let lane = model.lanes.entry(key).or_default();
            lane.items.push_back(offset);
        }
        model.paused |= model.places.len() >= self.limits.high_water;
    }

    fn turn(&mut self) {
        self.lanes.tick(self.now);
        let turn = self.lanes.next_turn();
        let now = self.now;
        let any_ready =
            self.model.values().any(|model| model.lanes.values().any(|lane| lane.is_ready(now, model.draining)));
        let is_due = any_ready && self.out.len() < self.limits.in_flight_max;
        assert_eq!(turn.is_some(), is_due, "{turn:?}: a lane is kept waiting, or has its turn too early");
        let Some(turn) = turn else { return };
        let model = self.model.get_mut(&turn.partition).expect("a turn of an assigned partition");
        let draining = model.draining;
        let lane = model.lanes.get_mut(&turn.key).expect("a turn of a lane that is there");
        assert!(lane.is_ready(now, draining), "{turn:?} was not ready");
        if lane.replays(now, draining) {
            assert_eq!((&turn.task, turn.attempt), (&Task::Replay, lane.failed_replays + 1));
        } else {
            let run_max = if lane.parked.is_some() || lane.alone > 0 { 1 } else { self.limits.run_max };
            let many = run_max.min(lane.items.len());
            let items: Vec<Item> = lane.items.drain(..many).map(|offset| (turn.partition, offset)).collect();
            let first = *items.first().expect("an item");
            let task = if lane.parked.is_some() { Task::Store(first) } else { Task::Handle(items.into()) };
            assert_eq!((&turn.task, turn.offset, turn.attempt), (&task, first.1, lane.failed_attempts + 1));
        }
        lane.in_flight = true;
        lane.waits_until = None;
        self.out.push((model.generation, turn));
    }

    fn answer(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let (generation, turn) = self.out.swap_remove(self.random.usize(0..self.out.len()));
        match self.random.usize(0..10) {
            0..6 => self.done(generation, turn),
            6..8 => self.retry(generation, turn),
            _ => self.park(generation, turn),
        }
    }

    /// The model of the partition of a turn, unless it was revoked since.
    fn current(&mut self, generation: u64, partition: u32) -> Option<&mut ModelPartition> {
        self.model.get_mut(&partition).filter(|model| model.generation == generation)
    }

    fn done(&mut self, generation: u64, turn: Turn<u8, Item>) {
        let (partition, key, offsets) = (turn.partition, turn.key, offsets(&turn));
        let is_replay = turn.task == Task::Replay;
        self.lanes.done(turn);
        let low_water = self.limits.low_water;
        let Some(model) = self.current(generation, partition) else { return };
        let lane = model.lanes.get_mut(&key).expect("a lane");
        lane.in_flight = false;
        lane.failed_attempts = 0;
        lane.alone = lane.alone.saturating_sub(usize::from(!is_replay));
        if is_replay {
            lane.parked = None;
            lane.failed_replays = 0;
        }
        if lane.items.is_empty() && lane.parked.is_none() {
            model.lanes.remove(&key);
        }
        offsets.iter().for_each(|offset| model.finish(*offset, key, low_water));
        for offset in offsets {
            let before = self.done.insert((generation, partition, key), offset);
            assert!(before.is_none_or(|before| before < offset), "{offset} after {before:?}");
        }
    }

    fn retry(&mut self, generation: u64, turn: Turn<u8, Item>) {
        let due = self.later();
        let (partition, key, attempt, offsets) = (turn.partition, turn.key, turn.attempt, offsets(&turn));
        let is_replay = turn.task == Task::Replay;
        self.lanes.retry_at(turn, due);
        let Some(model) = self.current(generation, partition) else { return };
        let lane = model.lanes.get_mut(&key).expect("a lane");
        lane.in_flight = false;
        if is_replay {
            lane.parked = Some(Some(due));
            lane.failed_replays = attempt;
        } else {
            match offsets.len() {
                1 => lane.failed_attempts = attempt,
                many => lane.alone = many,
            }
            offsets.into_iter().rev().for_each(|offset| lane.items.push_front(offset));
            lane.waits_until = Some(due);
        }
    }

    fn park(&mut self, generation: u64, turn: Turn<u8, Item>) {
        let replay_at = self.random.bool().then(|| self.later());
        let parked_max = self.limits.parked_max;
        let (partition, key, offsets) = (turn.partition, turn.key, offsets(&turn));
        let (is_replay, is_store) = (turn.task == Task::Replay, matches!(turn.task, Task::Store(_)));
        let answer = self.lanes.park(turn, replay_at);
        let Some(model) = self.current(generation, partition) else {
            return assert!(answer.is_ok(), "late answers change nothing");
        };
        let refused = is_store || (!is_replay && model.parked() >= parked_max);
        if let Err(turn) = answer {
            assert!(refused, "{turn:?}");
            return self.out.push((generation, turn));
        }
        assert!(!refused, "a lane too many is parked");
        let lane = model.lanes.get_mut(&key).expect("a lane");
        lane.in_flight = false;
        lane.parked = Some(replay_at);
        (lane.failed_attempts, lane.alone, lane.failed_replays) = (0, 0, 0);
        offsets.into_iter().rev().for_each(|offset| lane.items.push_front(offset));
    }

    fn time_passes(&mut self) {
        self.now += Duration::from_millis(self.random.u64(0..60));
        self.lanes.tick(self.now);
    }

    fn replay_now(&mut self) {
        let (partition, key, now) = (self.partition(), self.random.u8(0..KEYS), self.now);
        self.lanes.tick(now);
        let answer = self.lanes.replay_now(partition, &key);
        let lane = self.model.get_mut(&partition).and_then(|model| model.lanes.get_mut(&key));
        let lane = lane.filter(|lane| lane.parked.is_some() && !lane.in_flight);
        assert_eq!(answer, lane.is_some());
        if let Some(lane) = lane {
            lane.parked = Some(Some(now));
            lane.waits_until = None;
        }
    }

    fn check(&mut self) {
        self.told.extend(self.lanes.take_changed().into_iter().map(|progress| (progress.partition, progress)));
        let counts = self.lanes.counts();
        assert_eq!(counts.in_flight, self.out.len());
        assert!(counts.in_flight <= self.limits.in_flight_max);
        assert_eq!(counts.lanes, self.model.values().map(|model| model.lanes.len()).sum::<usize>(), "idle lanes stay");
        assert_eq!(counts.held, self.model.values().map(|model| model.places.len()).sum::<usize>());
        assert_eq!(counts.parked, self.model.values().map(ModelPartition::parked).sum::<usize>());
        assert_eq!(self.lanes.partitions(), self.model.keys().copied().collect::<Vec<_>>());
        for (partition, model) in &self.model {
            let progress = self.lanes.progress(*partition).expect("an assigned partition");
            assert!(model.places.len() <= self.limits.held_max);
            assert_eq!(progress.position, model.position(), "the prefix skips or lags");
            assert_eq!(self.told.get(partition), Some(&progress), "a change was not told");
            assert_eq!(progress.is_paused, model.paused || model.draining);
            let in_flight = model.lanes.values().any(|lane| lane.in_flight);
            assert_eq!(progress.is_drained, model.draining && model.places.is_empty() && !in_flight);
        }
    }

    /// Whatever happened, everything can be finished, and the prefix arrives at the end.
    fn finish_all(mut self) {
        for partition in 0..PARTITIONS {
            self.lanes.drain(partition);
            if let Some(model) = self.model.get_mut(&partition) {
                model.draining = true;
            }
        }
        self.check();
        loop {
            while let Some((generation, turn)) = self.out.pop() {
                self.done(generation, turn);
                self.check();
            }
            self.now += Duration::from_millis(100);
            self.turn();
            if self.out.is_empty() {
                break;
            }
        }
        for (partition, model) in &self.model {
            let progress = self.lanes.progress(*partition).expect("an assigned partition");
            assert!(progress.is_drained, "{progress:?}");
            assert_eq!(progress.position, model.next_offset);
        }
    }
}

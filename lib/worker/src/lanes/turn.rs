//! A lane's turn: what it has to do, and the right to answer.

use smallvec::SmallVec;

/// Items of one lane in the order of the log. Most turns have one, which takes no memory of its own.
pub type Run<T> = SmallVec<[T; 1]>;

/// What a lane has to do at its turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Task<T> {
    /// Handle these items, at least one.
    Handle(Run<T>),
    /// The lane is parked: store this item durably behind those that are stored.
    Store(T),
    /// The lane is parked and its time has come: handle what is stored, in order. Done means that nothing is stored any more.
    Replay,
}

/// A lane's turn: its task and the right to answer it. Whoever has it holds the lane: it must come back to [`super::Lanes`] by
/// [`done`](super::Lanes::done), [`retry_at`](super::Lanes::retry_at) or [`park`](super::Lanes::park), also after its
/// partition was revoked; what is dropped stays counted as in flight.
#[must_use = "a turn that is not answered stays in flight"]
#[derive(Debug, PartialEq, Eq)]
pub struct Turn<K, T> {
    /// Of which partition.
    pub partition: u32,
    /// Of which key.
    pub key: K,
    /// Where the record of its first item stands in the partition; for a replay, the commit position.
    pub offset: u64,
    /// How often this task is tried, with this time: from 1.
    pub attempt: u32,
    /// What is to be done.
    pub task: Task<T>,
    pub(super) generation: u64,
    pub(super) lane: usize,
    /// A place for each item, none for a replay.
    pub(super) places: Run<u64>,
}

//! A lane's turn: what it has to do, and the right to answer.

/// What a lane has to do at its turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Task<T> {
    /// Handle this item.
    Handle(T),
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
    /// Where its record stands in the partition; for a replay, the commit position.
    pub offset: u64,
    /// How often this task is tried, with this time: from 1.
    pub attempt: u32,
    /// What is to be done.
    pub task: Task<T>,
    pub(super) generation: u64,
    pub(super) lane: usize,
    pub(super) place: Option<u64>,
}

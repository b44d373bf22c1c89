//! Events of messages to rows: read what is stored, decide, write on condition that nobody else has written.

use std::collections::HashMap;

use chat::event::Event;
use chat::message::{Fold, Verdict};
use chat::{Applied, MessageId, MessageStore, PortError, PortResult, Position, RoomId};
use worker::{Cause, LogError};

/// Writers of one message that may come in between before its events are tried again later.
const CONFLICTS_MAX: usize = 8;

/// Events of messages of one room, in the order of the log.
pub(super) type Run = Vec<(Event, Position)>;

/// What became of an event.
#[derive(Clone, Debug)]
pub(super) struct Projected {
    pub(super) verdict: Verdict,
    /// Whether its message is live after it, as far as the store knows: that may include later events.
    pub(super) is_live: bool,
}

/// What became of the events of a run, or why nothing is known of some of them.
pub(super) type Outcome = Result<Vec<Projected>, Failed>;

/// A failure that several events of one batch share.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) cause: Cause,
    pub(super) is_temporary: bool,
}

impl Failed {
    fn of(error: &PortError) -> Self {
        Self { cause: Cause::of(error.class(), error), is_temporary: error.is_temporary() }
    }

    pub(super) fn again(class: &str, words: String) -> Self {
        Self { cause: Cause::new(class, words), is_temporary: true }
    }
}

impl From<PortError> for Failed {
    fn from(error: PortError) -> Self {
        Self::of(&error)
    }
}

impl From<LogError> for Failed {
    fn from(error: LogError) -> Self {
        Self { cause: Cause::of("unavailable", &error), is_temporary: error.is_temporary() }
    }
}

/// Applies runs of different rooms; answers for each.
pub(super) async fn write(store: &dyn MessageStore, runs: &[Run]) -> Vec<Outcome> {
    let mut projected: Vec<Vec<Option<Projected>>> = runs.iter().map(|run| vec![None; run.len()]).collect();
    let mut open = messages(runs);
    let mut failed = Failed::again("conflict", format!("written by others {CONFLICTS_MAX} times in a row"));
    for _ in 0..CONFLICTS_MAX {
        if open.is_empty() {
            break;
        }
        match write_open(store, open, &mut projected).await {
            Ok(conflicts) => open = conflicts,
            Err(error) => {
                failed = Failed::of(&error);
                break;
            }
        }
    }
    let answer = |run: Vec<Option<Projected>>| run.into_iter().collect::<Option<_>>().ok_or_else(|| failed.clone());
    projected.into_iter().map(answer).collect()
}

/// The events of one message, each with its run and its place there.
struct Message<'a> {
    room: RoomId,
    id: MessageId,
    events: Vec<(&'a Event, Position, (usize, usize))>,
}

/// The messages that these events are about, in the order of their first events.
fn messages(runs: &[Run]) -> Vec<Message<'_>> {
    let mut messages: Vec<Message> = Vec::new();
    let mut known: HashMap<(RoomId, MessageId), usize> = HashMap::new();
    for (number, run) in runs.iter().enumerate() {
        for (index, (event, position)) in run.iter().enumerate() {
            let Some(id) = event.message() else { continue };
            let message = *known.entry((event.room, id)).or_insert_with(|| {
                messages.push(Message { room: event.room, id, events: Vec::new() });
                messages.len() - 1
            });
            messages[message].events.push((event, *position, (number, index)));
        }
    }
    messages
}

/// One round, all events of a message in one change; answers the messages that somebody else wrote meanwhile.
async fn write_open<'a>(
    store: &dyn MessageStore,
    open: Vec<Message<'a>>,
    projected: &mut [Vec<Option<Projected>>],
) -> PortResult<Vec<Message<'a>>> {
    let ids: Vec<_> = open.iter().map(|message| (message.room, message.id)).collect();
    let states = store.states(&ids).await?;
    let (mut changes, mut changed) = (Vec::new(), Vec::new());
    for (message, state) in open.into_iter().zip(states) {
        let mut fold = Fold::new(message.room, message.id, state);
        let apply = |(event, position, _): &(&Event, Position, _)| {
            let verdict = fold.apply(event, *position);
            Projected { verdict, is_live: fold.state().is_some_and(|state| !state.is_deleted()) }
        };
        let folded = message.events.iter().map(apply).collect();
        match fold.into_change() {
            Some(change) => {
                changes.push(change);
                changed.push((message, folded));
            }
            None => note(&message, folded, projected),
        }
    }
    let applied = store.apply(&changes).await?;
    let mut conflicts = Vec::new();
    for ((message, folded), applied) in changed.into_iter().zip(applied) {
        match applied {
            Applied::Written => note(&message, folded, projected),
            // Somebody else was there: what is there now is read again.
            Applied::Unchanged | Applied::Conflict => conflicts.push(message),
        }
    }
    Ok(conflicts)
}

fn note(message: &Message<'_>, folded: Vec<Projected>, projected: &mut [Vec<Option<Projected>>]) {
    for ((_, _, (run, index)), of_event) in message.events.iter().zip(folded) {
        projected[*run][*index] = Some(of_event);
    }
}

//! Several events of one message come to one change.

use super::{MessageState, Refusal, Verdict, apply};
use crate::event::Event;
use crate::messages::{Expected, MessageChange};
use crate::{MessageId, Position, RoomId};

/// A message while events are folded into what was stored of it.
#[derive(Clone, Debug)]
pub struct Fold {
    room: RoomId,
    id: MessageId,
    /// What was stored when the fold began: a change is conditional on it.
    expected: Expected,
    state: Option<MessageState>,
    is_changed: bool,
}

impl Fold {
    /// Begins with what is stored of the message `id` of `room`; `None` where nothing is.
    pub fn new(room: RoomId, id: MessageId, stored: Option<MessageState>) -> Self {
        Self { room, id, expected: Expected::of(stored.as_ref()), state: stored, is_changed: false }
    }

    /// Folds one event, the next one in the order of the log: see [`apply`].
    pub fn apply(&mut self, event: &Event, position: Position) -> Verdict {
        if (event.room, event.message()) != (self.room, Some(self.id)) {
            return Verdict::Refused(Refusal::Elsewhere);
        }
        let verdict = apply(self.state.as_ref(), event, position);
        if let Verdict::Changed(state) | Verdict::Buried(state) = &verdict {
            self.state = Some(state.clone());
            self.is_changed = true;
        }
        verdict
    }

    /// What the message is after the events so far.
    pub fn state(&self) -> Option<&MessageState> {
        self.state.as_ref()
    }

    /// The one change that all events so far come to; `None` where they change nothing.
    pub fn into_change(self) -> Option<MessageChange> {
        let Self { room, id, expected, state, is_changed } = self;
        state.filter(|_| is_changed).map(|state| MessageChange { room, id, expected, state })
    }
}

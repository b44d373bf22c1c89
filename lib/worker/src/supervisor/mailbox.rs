//! A child's mail. It belongs to the supervisor, not to a run: addresses stay valid over restarts, and mail that a run had not
//! finished is delivered again to the next.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::Pulse;

/// How a child's mail is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Mail that waits or is in hand, at least 1.
    pub bound: usize,
    /// What becomes of mail sent while no run is there to read it.
    pub while_down: WhileDown,
}

/// What becomes of mail sent while no run is there to read it: before the first one, and from the end of one until the start
/// of the next. Mail that already waits stays in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhileDown {
    /// Waits, up to the bound.
    Stash,
    /// Is refused.
    Reject,
    /// Waits; at the bound the oldest that waits makes room, and is counted as dropped.
    DropOldest,
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let while_down = match self.while_down {
            WhileDown::Stash => "stash",
            WhileDown::Reject => "reject",
            WhileDown::DropOldest => "drop oldest",
        };
        write!(f, "{} letters, while down {while_down}", self.bound)
    }
}

/// What became of mail so far. `accepted = done + dropped + held` at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailCounts {
    /// Taken in.
    pub accepted: u64,
    /// Finished.
    pub done: u64,
    /// Given up for newer mail.
    pub dropped: u64,
    /// Waits or is in hand.
    pub held: u64,
    /// Refused, each time it was: never taken in.
    pub refused: u64,
    /// Came back because a run ended before it was finished, each time it did.
    pub returned: u64,
}

/// Mail that was not taken in, with the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mail refused: {why}")]
pub struct Refused<M> {
    /// What was sent.
    pub mail: M,
    /// Why it was refused.
    pub why: Refusal,
}

/// Why mail was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The mailbox is at its bound.
    #[error("the mailbox is full")]
    Full,
    /// No run is there, and mail is not kept for the next.
    #[error("the child is being restarted")]
    Down,
    /// There will be no next run.
    #[error("the child has stopped")]
    Closed,
}

/// Where a child's mail is sent to, whichever run of it reads. Clones are the same address.
#[derive(Debug)]
pub struct Address<M>(Arc<Post<M>>);

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Address<M> {
    /// Sends without waiting.
    pub fn try_send(&self, mail: M) -> Result<(), Refused<M>> {
        self.0.put(mail).inspect_err(|_| self.0.desk().counts.refused += 1)
    }

    /// Sends, and waits for room where the mailbox is full; only mail that is refused for another reason comes back.
    pub async fn send(&self, mut mail: M) -> Result<(), Refused<M>> {
        loop {
            let room = self.0.room.notified();
            match self.0.put(mail) {
                Err(Refused { mail: again, why: Refusal::Full }) => mail = again,
                sent => return sent.inspect_err(|_| self.0.desk().counts.refused += 1),
            }
            room.await;
        }
    }

    /// What became of mail so far.
    pub fn counts(&self) -> MailCounts {
        let desk = self.0.desk();
        MailCounts { held: (desk.waiting.len() + desk.in_hand.len()) as u64, ..desk.counts }
    }

    /// Takes out what nobody will read any more, oldest first, and counts it as dropped. Nothing before the child has stopped.
    pub fn unread(&self) -> Vec<Arc<M>> {
        let mut desk = self.0.desk();
        if desk.state != State::Closed {
            return Vec::new();
        }
        let unread = std::mem::take(&mut desk.waiting);
        desk.counts.dropped += unread.len() as u64;
        unread.into_values().map(|letter| letter.body).collect()
    }
}

/// Where one run reads its child's mail.
#[derive(Debug)]
pub struct Inbox<M> {
    post: Arc<Post<M>>,
    run: u64,
    pulse: Pulse,
    beat_every: Option<Duration>,
}

impl<M> Inbox<M> {
    /// The oldest mail that waits; waits for some, and beats the pulse meanwhile: whoever waits for work does not hang. `None`
    /// once this run is over, also for what the run has left behind. Safe to drop at any await.
    pub async fn recv(&self) -> Option<Mail<M>> {
        loop {
            let news = self.post.mail.notified();
            self.pulse.beat();
            {
                let mut desk = self.post.desk();
                if desk.state != State::Up || desk.run != self.run {
                    return None;
                }
                if let Some(mail) = self.post.take(&mut desk) {
                    return Some(mail);
                }
            }
            match self.beat_every {
                Some(every) => drop(tokio::time::timeout(every, news).await),
                None => news.await,
            }
        }
    }
}

/// One piece of mail in hand. Dropped before it is [`done`](Self::done), as when the run ends, it is delivered again, before
/// anything newer.
#[derive(Debug)]
pub struct Mail<M> {
    post: Arc<Post<M>>,
    number: u64,
    deliveries: u32,
    body: Arc<M>,
}

impl<M> Mail<M> {
    /// How often this mail was delivered, this time included. Mail that is delivered again and again may be what ends the runs.
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }

    /// It is finished, and never delivered again.
    pub fn done(self) {
        let mut desk = self.post.desk();
        if desk.in_hand.remove(&self.number).is_some() {
            desk.counts.done += 1;
            drop(desk);
            self.post.room.notify_one();
        }
    }
}

impl<M> Deref for Mail<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.body
    }
}

impl<M> Drop for Mail<M> {
    fn drop(&mut self) {
        let mut desk = self.post.desk();
        if let Some(letter) = desk.in_hand.remove(&self.number) {
            desk.waiting.insert(self.number, letter);
            desk.counts.returned += 1;
            drop(desk);
            self.post.mail.notify_one();
        }
    }
}

/// What a supervisor needs of a mailbox, whatever is in the mail.
pub(super) trait Reopen: Send + Sync {
    fn open(&self);
    fn down(&self);
    fn close(&self);
    fn mailbox(&self) -> Mailbox;
}

#[derive(Debug)]
pub(super) struct Post<M> {
    mailbox: Mailbox,
    desk: Mutex<Desk<M>>,
    mail: Notify,
    room: Notify,
}

/// Mail is numbered in the order in which it was sent: what returns finds its place again.
#[derive(Debug)]
struct Desk<M> {
    state: State,
    run: u64,
    next: u64,
    waiting: BTreeMap<u64, Letter<M>>,
    in_hand: BTreeMap<u64, Letter<M>>,
    counts: MailCounts,
}

#[derive(Debug)]
struct Letter<M> {
    deliveries: u32,
    body: Arc<M>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Up,
    Closed,
}

impl<M> Post<M> {
    pub(super) fn new(mailbox: Mailbox) -> Arc<Self> {
        let mailbox = Mailbox { bound: mailbox.bound.max(1), ..mailbox };
        let (waiting, in_hand, counts) = (BTreeMap::new(), BTreeMap::new(), MailCounts::default());
        let desk = Mutex::new(Desk { state: State::Down, run: 0, next: 0, waiting, in_hand, counts });
        Arc::new(Self { mailbox, desk, mail: Notify::new(), room: Notify::new() })
    }

    pub(super) fn address(self: &Arc<Self>) -> Address<M> {
        Address(Arc::clone(self))
    }

    /// The inbox of the run that was opened last.
    pub(super) fn inbox(self: &Arc<Self>, pulse: Pulse, beat_every: Option<Duration>) -> Inbox<M> {
        Inbox { post: Arc::clone(self), run: self.desk().run, pulse, beat_every }
    }

    fn desk(&self) -> MutexGuard<'_, Desk<M>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mail: M) -> Result<(), Refused<M>> {
        let mut desk = self.desk();
        let refusal = match (desk.state, self.mailbox.while_down) {
            (State::Closed, _) => Some(Refusal::Closed),
            (State::Down, WhileDown::Reject) => Some(Refusal::Down),
            (state, while_down) => {
                let may_drop = state == State::Down && while_down == WhileDown::DropOldest;
                (!desk.has_room(self.mailbox.bound, may_drop)).then_some(Refusal::Full)
            }
        };
        if let Some(why) = refusal {
            return Err(Refused { mail, why });
        }
        let number = desk.next;
        desk.next += 1;
        desk.counts.accepted += 1;
        desk.waiting.insert(number, Letter { deliveries: 0, body: Arc::new(mail) });
        drop(desk);
        self.mail.notify_one();
        Ok(())
    }

    fn take(self: &Arc<Self>, desk: &mut Desk<M>) -> Option<Mail<M>> {
        let (number, mut letter) = desk.waiting.pop_first()?;
        letter.deliveries = letter.deliveries.saturating_add(1);
        let mail =
            Mail { post: Arc::clone(self), number, deliveries: letter.deliveries, body: Arc::clone(&letter.body) };
        desk.in_hand.insert(number, letter);
        Some(mail)
    }

    /// Whoever waits looks at the new state.
    fn change(&self, state: State) {
        self.desk().state = state;
        self.mail.notify_waiters();
        self.room.notify_waiters();
    }
}

impl<M> Desk<M> {
    fn has_room(&mut self, bound: usize, may_drop: bool) -> bool {
        if self.waiting.len() + self.in_hand.len() < bound {
            return true;
        }
        let dropped = may_drop && self.waiting.pop_first().is_some();
        self.counts.dropped += u64::from(dropped);
        dropped
    }
}

impl<M: Send + Sync> Reopen for Post<M> {
    fn open(&self) {
        self.desk().run += 1;
        self.change(State::Up);
    }

    fn down(&self) {
        self.change(State::Down);
    }

    fn close(&self) {
        self.change(State::Closed);
    }

    fn mailbox(&self) -> Mailbox {
        self.mailbox
    }
}

//! The organizations of one shard, their sets, and what has to be done for them. Synchronous; nothing is read or written here.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chat::visibility::Window;
use chat::{LiveSet, MessageId, Newest, Organization, OrganizationId, RoomId, Timestamp};
use slab::Slab;
use tokio::time::Instant;

use super::merged::Merged;
use super::recent::Recent;

/// What is stored of an organization's limit, as far as it can differ from one computation to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) plan_version: u64,
    pub(super) newest: Newest,
    pub(super) rooms: u32,
}

/// How far an organization's set can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is what the log has told.
    Current,
    /// It waits for its turn to be read.
    Dirty,
    /// It is being read; `again`: something happened meanwhile that has to be looked at, too.
    InWork { again: bool },
}

/// An organization that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) id: OrganizationId,
    pub(super) plan_version: u64,
    /// The rooms that it sees; the keys are the numbers in the set.
    rooms: Slab<RoomId>,
    pub(super) set: LiveSet,
    phase: Phase,
    /// Whether rooms and set were ever read.
    is_known: bool,
    /// Whether a write waits for its time.
    is_touched: bool,
    /// Whether the snapshot has something older.
    is_unsaved: bool,
    write_not_before: Instant,
    /// What is stored, where that is known.
    stored: Option<Stored>,
    /// Whether `stored` is what was saved, and nothing has been told since.
    is_restored: bool,
}

/// What has to be done after a look at the directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Nothing more.
    Settled,
    /// Its plan does not limit, or nobody knows it any more: it is followed no longer.
    Dropped,
    /// Its newest messages have to be read from the store.
    Merge,
}

/// A limit to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) id: OrganizationId,
    pub(super) as_of: Timestamp,
    pub(super) limit: Stored,
    /// Of which plan the limit is that is stored, where that is known.
    pub(super) plan_before: Option<u64>,
}

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) organizations: usize,
    pub(super) dirty: usize,
    pub(super) to_write: usize,
    pub(super) ids: usize,
    pub(super) bytes: usize,
}

/// The organizations of a shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    by_id: HashMap<OrganizationId, usize>,
    organizations: Slab<Followed>,
    /// Of each room, who sees it, and the room's number there.
    rooms: HashMap<RoomId, Vec<(usize, usize)>>,
    dirty: VecDeque<OrganizationId>,
    in_work: BTreeSet<OrganizationId>,
    touched: BTreeSet<(Instant, usize)>,
    unsaved: BTreeSet<OrganizationId>,
}

impl Shard {
    /// A message is live from now on, or is not. True when somebody sees its room.
    pub(super) fn message(&mut self, room: RoomId, message: MessageId, is_live: bool) {
        let Some(seen_by) = self.rooms.get(&room) else { return };
        for &(index, number) in seen_by {
            let followed = &mut self.organizations[index];
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let changed = if is_live { followed.set.insert(message, number) } else { followed.set.remove(message) };
            if changed {
                touch(followed, index, &mut self.touched, &mut self.unsaved);
            }
        }
    }

    /// Everybody who sees this room has to be looked at, and whoever is in work: what is known of their rooms may be from before.
    pub(super) fn room_changed(&mut self, room: RoomId) {
        let seen_by = self.rooms.get(&room).into_iter().flatten().map(|(index, _)| self.organizations[*index].id);
        let touched: Vec<OrganizationId> = seen_by.chain(self.in_work.iter().copied()).collect();
        touched.into_iter().for_each(|id| self.mark_dirty(id));
    }

    /// The organization has to be looked at; one that is not followed is from now on, until it is known to be none to follow.
    pub(super) fn mark_dirty(&mut self, id: OrganizationId) {
        let index = *self.by_id.entry(id).or_insert_with(|| self.organizations.insert(Followed::new(id)));
        let followed = &mut self.organizations[index];
        match followed.phase {
            Phase::Current => {
                followed.phase = Phase::Dirty;
                self.dirty.push_back(id);
                unsaved(followed, &mut self.unsaved);
            }
            Phase::Dirty => {}
            Phase::InWork { .. } => followed.phase = Phase::InWork { again: true },
        }
    }

    /// Everybody has to be looked at and read anew.
    pub(super) fn forget_all(&mut self) {
        let ids: Vec<OrganizationId> = self.by_id.keys().copied().collect();
        for id in ids {
            if let Some(index) = self.by_id.get(&id) {
                self.organizations[*index].is_known = false;
            }
            self.mark_dirty(id);
        }
    }

    /// What was written of it is not what it ought to be: everything of it is read and written anew.
    pub(super) fn distrust(&mut self, id: OrganizationId) {
        if let Some(index) = self.by_id.get(&id) {
            let followed = &mut self.organizations[*index];
            (followed.is_known, followed.stored) = (false, None);
            self.mark_dirty(id);
        }
    }

    /// Whether the organization's set can be believed now.
    pub(super) fn is_current(&self, id: OrganizationId) -> bool {
        self.by_id.get(&id).is_some_and(|index| self.organizations[*index].phase == Phase::Current)
    }

    /// The organization after `place`, in some order that ends, with its place.
    pub(super) fn next_after(&self, place: Option<usize>) -> Option<(usize, OrganizationId)> {
        let is_behind = |index: usize| place.is_none_or(|place| index > place);
        self.organizations.iter().find(|(index, _)| is_behind(*index)).map(|(index, followed)| (index, followed.id))
    }

    /// Up to so many organizations that wait to be looked at, oldest first. Each must come back by [`Self::looked`] or [`Self::failed`].
    pub(super) fn take_dirty(&mut self, most: usize) -> Vec<OrganizationId> {
        let taken: Vec<OrganizationId> = self.dirty.drain(..most.min(self.dirty.len())).collect();
        for id in &taken {
            if let Some(index) = self.by_id.get(id) {
                self.organizations[*index].phase = Phase::InWork { again: false };
                self.in_work.insert(*id);
            }
        }
        taken
    }

    /// The look failed, or the reading after it: it is to be repeated.
    pub(super) fn failed(&mut self, id: OrganizationId) {
        if let Some(index) = self.by_id.get(&id) {
            self.organizations[*index].phase = Phase::Dirty;
            self.in_work.remove(&id);
            self.dirty.push_back(id);
        }
    }

    /// What the directory says of an organization and its rooms.
    pub(super) fn looked(
        &mut self,
        id: OrganizationId,
        organization: Option<&Organization>,
        rooms: &[RoomId],
        n: usize,
        window: Window,
    ) -> Looked {
        let Some(&index) = self.by_id.get(&id) else { return Looked::Settled };
        let Some(organization) = organization.filter(|organization| organization.plan.is_limited()) else {
            let again = self.organizations[index].phase == Phase::InWork { again: true };
            self.drop_one(index);
            if again {
                // Its plan may have changed once more.
                self.mark_dirty(id);
            }
            return Looked::Dropped;
        };
        let followed = &mut self.organizations[index];
        followed.plan_version = organization.plan_version;
        let now: BTreeSet<RoomId> = rooms.iter().copied().collect();
        let before: BTreeSet<RoomId> = followed.rooms.iter().map(|(_, room)| *room).collect();
        if !followed.is_known || followed.set.n() != n || !now.is_subset(&before) {
            return Looked::Merge;
        }
        for room in before.difference(&now) {
            self.leave(index, *room);
        }
        if self.organizations[index].set.newest(window).is_none() {
            return Looked::Merge;
        }
        self.settle(index);
        Looked::Settled
    }

    /// What was read of the store, and what was told since it may have been read.
    pub(super) fn install(&mut self, id: OrganizationId, rooms: &[RoomId], n: usize, merged: Merged, recent: &Recent) {
        let Some(&index) = self.by_id.get(&id) else { return };
        let before: Vec<RoomId> = self.organizations[index].rooms.iter().map(|(_, room)| *room).collect();
        before.into_iter().for_each(|room| self.leave(index, room));
        self.organizations[index].rooms = Slab::with_capacity(rooms.len());
        let numbers: HashMap<RoomId, u32> = rooms.iter().map(|room| (*room, self.enter(index, *room))).collect();
        let live = merged.ids.into_iter().filter_map(|(id, room)| Some((id, *numbers.get(&room)?)));
        let mut set = LiveSet::of(n, live.collect(), merged.complete_from);
        // The last word on each message alone: all that came and went meanwhile would push out what stays.
        let mut last_words: HashMap<MessageId, (u32, bool)> = HashMap::new();
        for (room, number) in &numbers {
            last_words.extend(recent.of(*room).map(|(message, is_live)| (message, (*number, is_live))));
        }
        last_words.iter().filter(|(_, (_, is_live))| !is_live).for_each(|(message, _)| _ = set.remove(*message));
        last_words.retain(|_, (_, is_live)| *is_live);
        last_words.into_iter().for_each(|(message, (number, _))| _ = set.insert(message, number));
        let followed = &mut self.organizations[index];
        followed.set = set;
        followed.is_known = true;
        self.settle(index);
    }

    /// An organization as it was saved.
    pub(super) fn restore(&mut self, saved: Saved) {
        let index = self.organizations.insert(Followed::new(saved.id));
        if let Some(known) = self.by_id.insert(saved.id, index) {
            self.organizations.remove(known);
        }
        for room in &saved.rooms {
            self.enter(index, *room);
        }
        let followed = &mut self.organizations[index];
        followed.plan_version = saved.plan_version;
        followed.set = saved.set;
        followed.stored = saved.stored;
        followed.is_known = true;
        // It may have been changed and not been written before it was saved.
        touch(followed, index, &mut self.touched, &mut self.unsaved);
        followed.is_restored = true;
    }

    /// Limits whose time has come and that differ from what is stored, up to so many. What a set cannot answer becomes dirty.
    /// `at` tells for which instant, and so of which window, from the newest id of a set.
    pub(super) fn due(
        &mut self,
        now: Instant,
        most: usize,
        at: impl Fn(Option<MessageId>) -> (Timestamp, Window),
    ) -> Vec<Due> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some((due_at, index)) = self.touched.first().copied()
            && due_at <= now
        {
            self.touched.pop_first();
            let followed = &mut self.organizations[index];
            followed.is_touched = false;
            if followed.phase != Phase::Current {
                // It is touched again when it has been read.
                continue;
            }
            let (as_of, window) = at(followed.set.newest_id());
            followed.set.forget_below(window.from);
            let Some(newest) = followed.set.newest(window) else {
                let id = followed.id;
                self.mark_dirty(id);
                continue;
            };
            let rooms = u32::try_from(followed.rooms.len()).unwrap_or(u32::MAX);
            let limit = Stored { plan_version: followed.plan_version, newest, rooms };
            if followed.stored != Some(limit) {
                let plan_before = followed.stored.map(|stored| stored.plan_version);
                due.push(Due { id: followed.id, as_of, limit, plan_before });
            }
        }
        due
    }

    /// A limit was written. The next one is not before `again_at`.
    pub(super) fn written(&mut self, due: &Due, again_at: Instant) {
        if let Some(index) = self.by_id.get(&due.id) {
            let followed = &mut self.organizations[*index];
            followed.stored = Some(due.limit);
            followed.write_not_before = again_at;
            unsaved(followed, &mut self.unsaved);
        }
    }

    /// A limit was not written: again, not before `again_at`.
    pub(super) fn not_written(&mut self, id: OrganizationId, again_at: Instant) {
        if let Some(&index) = self.by_id.get(&id) {
            let followed = &mut self.organizations[index];
            followed.stored = None;
            followed.write_not_before = again_at;
            touch(followed, index, &mut self.touched, &mut self.unsaved);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts { organizations: self.by_id.len(), to_write: self.touched.len(), ..Counts::default() };
        for (_, followed) in &self.organizations {
            counts.dirty += usize::from(followed.phase != Phase::Current);
            counts.ids += followed.set.len();
            counts.bytes += followed.set.heap_bytes();
        }
        counts
    }

    /// The organizations that a snapshot has something older of, from now on until they change again.
    pub(super) fn take_unsaved(&mut self) -> VecDeque<OrganizationId> {
        let taken = std::mem::take(&mut self.unsaved);
        for id in &taken {
            if let Some(index) = self.by_id.get(id) {
                self.organizations[*index].is_unsaved = false;
            }
        }
        taken.into_iter().collect()
    }

    /// Has an organization saved with the next snapshot.
    pub(super) fn save_again(&mut self, id: OrganizationId) {
        match self.by_id.get(&id) {
            Some(index) => unsaved(&mut self.organizations[*index], &mut self.unsaved),
            None => _ = self.unsaved.insert(id),
        }
    }

    /// An organization as it is to be saved; `None`: nothing can be said of it now.
    pub(super) fn saved(&self, id: OrganizationId) -> Option<Saved> {
        let followed = &self.organizations[*self.by_id.get(&id)?];
        (followed.phase == Phase::Current && followed.is_known).then(|| followed.saved())
    }

    fn settle(&mut self, index: usize) {
        let followed = &mut self.organizations[index];
        let again = followed.phase == Phase::InWork { again: true };
        followed.phase = Phase::Current;
        touch(followed, index, &mut self.touched, &mut self.unsaved);
        let id = followed.id;
        self.in_work.remove(&id);
        if again {
            self.mark_dirty(id);
        }
    }

    fn enter(&mut self, index: usize, room: RoomId) -> u32 {
        let number = self.organizations[index].rooms.insert(room);
        self.rooms.entry(room).or_default().push((index, number));
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// Takes a room out of an organization, with its ids.
    fn leave(&mut self, index: usize, room: RoomId) {
        let Some(seen_by) = self.rooms.get_mut(&room) else { return };
        let Some(at) = seen_by.iter().position(|(known, _)| *known == index) else { return };
        let (_, number) = seen_by.swap_remove(at);
        if seen_by.is_empty() {
            self.rooms.remove(&room);
        }
        let followed = &mut self.organizations[index];
        followed.rooms.try_remove(number);
        followed.set.remove_room(u32::try_from(number).unwrap_or(u32::MAX));
    }

    fn drop_one(&mut self, index: usize) {
        let rooms: Vec<RoomId> = self.organizations[index].rooms.iter().map(|(_, room)| *room).collect();
        rooms.into_iter().for_each(|room| self.leave(index, room));
        let followed = self.organizations.remove(index);
        self.touched.retain(|(_, touched)| *touched != index);
        self.by_id.remove(&followed.id);
        self.in_work.remove(&followed.id);
        self.unsaved.insert(followed.id);
    }
}

impl Followed {
    fn new(id: OrganizationId) -> Self {
        Self {
            id,
            plan_version: 0,
            rooms: Slab::new(),
            set: LiveSet::new(1),
            phase: Phase::Current,
            is_known: false,
            is_touched: false,
            is_unsaved: false,
            write_not_before: Instant::now(),
            stored: None,
            is_restored: false,
        }
    }

    fn saved(&self) -> Saved {
        // Rooms are numbered anew: what has gone leaves gaps.
        let numbers: HashMap<u32, u32> = (0..)
            .zip(self.rooms.iter())
            .map(|(new, (number, _))| (u32::try_from(number).unwrap_or(u32::MAX), new))
            .collect();
        let live = self.set.iter().map(|(id, number)| (id, numbers.get(&number).copied().unwrap_or(u32::MAX)));
        Saved {
            id: self.id,
            plan_version: self.plan_version,
            rooms: self.rooms.iter().map(|(_, room)| *room).collect(),
            set: LiveSet::of(self.set.n(), live.collect(), self.set.complete_from()),
            stored: self.stored,
        }
    }
}

/// An organization as a snapshot keeps it; the numbers in the set are places in `rooms`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Saved {
    pub(super) id: OrganizationId,
    pub(super) plan_version: u64,
    pub(super) rooms: Vec<RoomId>,
    pub(super) set: LiveSet,
    pub(super) stored: Option<Stored>,
}

fn touch(
    followed: &mut Followed,
    index: usize,
    touched: &mut BTreeSet<(Instant, usize)>,
    to_save: &mut BTreeSet<OrganizationId>,
) {
    unsaved(followed, to_save);
    if followed.is_restored {
        // What is told again may have been written before, and what came of it is not known here.
        (followed.is_restored, followed.stored) = (false, None);
    }
    if !followed.is_touched {
        followed.is_touched = true;
        touched.insert((followed.write_not_before.max(Instant::now()), index));
    }
}

fn unsaved(followed: &mut Followed, to_save: &mut BTreeSet<OrganizationId>) {
    if !followed.is_unsaved {
        followed.is_unsaved = true;
        to_save.insert(followed.id);
    }
}

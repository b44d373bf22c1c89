//! Where a run of the shard begins: with what was saved, as far as it holds.

use std::collections::{BTreeMap, BTreeSet};

use chat::{ChangeCursor, Directory, Organization, OrganizationId, PortResult, Standing};
use tokio::time::Instant;
use worker::log::{Bounds, Place};
use worker::{Cause, Log, LogConsumer, LogError, Pulse};

use super::changes::{self, Changes};
use super::shard::Shard;
use super::{FollowPorts, Settings, log_failed, saving, state_failed};
use crate::limits::cause_of;

/// Organizations of one page.
const PAGE: usize = 1_000;

/// What a run begins with.
pub(super) struct Started {
    pub(super) shard: Shard,
    /// The offset of the next record, by partition.
    pub(super) offsets: BTreeMap<u32, u64>,
    /// Where the log ended when this began: what stands before is told before anything is written.
    pub(super) ends: BTreeMap<u32, u64>,
    pub(super) changes: Changes,
    pub(super) epoch: u64,
}

pub(super) async fn bounds(log: &dyn Log) -> Result<BTreeMap<u32, Bounds>, LogError> {
    let mut bounds = BTreeMap::new();
    for partition in 0..log.partitions().await? {
        bounds.insert(partition, log.bounds(partition).await?);
    }
    Ok(bounds)
}

pub(super) async fn start(
    ports: &FollowPorts,
    settings: &Settings,
    n: usize,
    pulse: &Pulse,
) -> Result<(Started, Box<dyn LogConsumer>), Cause> {
    let bounds = bounds(&*ports.readable).await.map_err(log_failed)?;
    let places = saving::places(&*ports.state).await.map_err(state_failed)?;
    let epoch = saving::next_epoch(&places);
    let place = usable(&places, settings, &bounds);
    // Before the organizations are listed: what changes afterwards is heard.
    let changes = match &place {
        Some(place) => Changes::from(place.changes),
        None => {
            let mut changes = Changes::from(ChangeCursor::default());
            // They are heard, not skipped: one of them can come to light late.
            let heard = hear_changes(&*ports.directory, &mut changes, || pulse.beat()).await;
            heard.map_err(|error| cause_of(&error))?;
            changes
        }
    };
    let mut shard = Shard::default();
    let mut wanted = free_organizations(ports, settings, pulse).await?;
    let all = wanted.len();
    restore(ports, settings, place.as_ref().map(|_| n), &mut wanted, &mut shard, pulse).await?;
    tracing::info!(organizations = all, restored = all - wanted.len(), epoch, "limits are followed");
    wanted.into_iter().for_each(|id| shard.mark_dirty(id));
    if place.is_none() {
        mark_limited(ports, settings, &mut shard, pulse).await?;
    }
    let offsets = offsets(place.as_ref(), &bounds, settings.rewind);
    let from: Vec<Place> = offsets.iter().map(|(&partition, &offset)| Place { partition, offset }).collect();
    let consumer = ports.readable.follow(&from).await.map_err(log_failed)?;
    let ends = bounds.into_iter().map(|(partition, bounds)| (partition, bounds.next)).collect();
    Ok((Started { shard, offsets, ends, changes, epoch }, consumer))
}

/// The place up to which the saved sets of this shard hold: its own, or, when there were other shards, the furthest back of all of them.
fn usable(
    places: &BTreeMap<u32, saving::Place>,
    settings: &Settings,
    bounds: &BTreeMap<u32, Bounds>,
) -> Option<saving::Place> {
    let place = match places.get(&settings.shard) {
        Some(own) if own.shards == settings.shards => own.clone(),
        _ => furthest_back(places)?,
    };
    let holds = |(partition, bounds): (&u32, &Bounds)| {
        place.offsets.get(partition).is_some_and(|offset| (bounds.first..=bounds.next).contains(offset))
    };
    if !bounds.iter().all(holds) {
        tracing::warn!("what was saved stands at a place that is not in the log: everything is read from the store");
        return None;
    }
    Some(place)
}

/// Of all shards of one numbering; `None` where some of them have never saved or belong to another one.
fn furthest_back(places: &BTreeMap<u32, saving::Place>) -> Option<saving::Place> {
    let shards = places.get(&0)?.shards;
    let mut all: Vec<&saving::Place> = Vec::new();
    for shard in 0..shards {
        all.push(places.get(&shard).filter(|place| place.shards == shards)?);
    }
    let mut furthest = (*all.first()?).clone();
    for place in all {
        furthest.changes = furthest.changes.min(place.changes);
        for (partition, offset) in &mut furthest.offsets {
            *offset = place.offsets.get(partition).map_or(0, |other| (*other).min(*offset));
        }
    }
    Some(furthest)
}

fn offsets(place: Option<&saving::Place>, bounds: &BTreeMap<u32, Bounds>, rewind: u64) -> BTreeMap<u32, u64> {
    let offset = |(&partition, bounds): (&u32, &Bounds)| {
        let rewound = bounds.next.saturating_sub(rewind).max(bounds.first);
        let saved = place.and_then(|place| place.offsets.get(&partition)).copied();
        (partition, saved.map_or(rewound, |saved| saved.min(rewound)))
    };
    bounds.iter().map(offset).collect()
}

/// Hears all that the directory tells of changes from where `changes` stands: the organizations that are news.
pub(super) async fn hear_changes(
    directory: &dyn Directory,
    changes: &mut Changes,
    mut on_page: impl FnMut(),
) -> PortResult<Vec<OrganizationId>> {
    let mut news = Vec::new();
    loop {
        on_page();
        let page = directory.changed_organizations(changes.after(), changes::PAGE).await?;
        let (some, more) = changes.answered(Instant::now(), &page);
        news.extend(some);
        if !more {
            return Ok(news);
        }
    }
}

/// A page of the free organizations above `after`, and the one at which it ends where there may be more.
pub(super) async fn free_page(
    directory: &dyn Directory,
    after: Option<OrganizationId>,
) -> PortResult<(Vec<Organization>, Option<OrganizationId>)> {
    let page = directory.free_organizations(after, PAGE).await?;
    let last = page.last().filter(|_| page.len() == PAGE).map(|last| last.id);
    Ok((page, last))
}

async fn free_organizations(
    ports: &FollowPorts,
    settings: &Settings,
    pulse: &Pulse,
) -> Result<BTreeSet<OrganizationId>, Cause> {
    let (mut after, mut wanted) = (None, BTreeSet::new());
    loop {
        pulse.beat();
        let (page, last) = free_page(&*ports.directory, after).await.map_err(|error| cause_of(&error))?;
        wanted.extend(page.iter().map(|organization| organization.id).filter(|id| settings.keeps(*id)));
        match last {
            Some(last) => after = Some(last),
            None => return Ok(wanted),
        }
    }
}

/// Whoever has a limit has to be looked at: nobody has heard which of them left the free plan before this began.
async fn mark_limited(ports: &FollowPorts, settings: &Settings, shard: &mut Shard, pulse: &Pulse) -> Result<(), Cause> {
    let mut after = None;
    loop {
        pulse.beat();
        let rows = ports.limits.page(after, PAGE).await.map_err(|error| cause_of(&error))?;
        let limited = rows.iter().filter(|row| row.standing != Standing::Released).map(|row| row.organization);
        limited.filter(|id| settings.keeps(*id)).for_each(|id| shard.mark_dirty(id));
        match rows.last().filter(|_| rows.len() == PAGE) {
            Some(last) => after = Some(last.organization),
            None => return Ok(()),
        }
    }
}

/// Takes what was saved of the organizations wanted, if it is of `n` messages; those without are left. What else was saved of this shard's
/// organizations is taken away with the next snapshot: once its place has moved on nobody may believe it.
async fn restore(
    ports: &FollowPorts,
    settings: &Settings,
    n: Option<usize>,
    wanted: &mut BTreeSet<OrganizationId>,
    shard: &mut Shard,
    pulse: &Pulse,
) -> Result<(), Cause> {
    let mut after = None;
    loop {
        pulse.beat();
        let (sets, last) = saving::page(&*ports.state, after).await.map_err(state_failed)?;
        for saved in sets {
            if n == Some(saved.set.n()) && wanted.remove(&saved.id) {
                shard.restore(saved);
            } else if settings.keeps(saved.id) {
                shard.save_again(saved.id);
            }
        }
        match last {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use worker::Backoff;

    use super::*;

    fn place(shards: u32, offset: u64) -> saving::Place {
        saving::Place { shards, epoch: 1, offsets: BTreeMap::from([(0, offset)]), changes: ChangeCursor::default() }
    }

    fn of(shard: u32, shards: u32, places: &[(u32, saving::Place)]) -> Option<u64> {
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1), 0.0).expect("a backoff");
        let settings = Settings { shard, shards, ..Settings::of_one(backoff) };
        let bounds = BTreeMap::from([(0, Bounds { first: 10, next: 100 })]);
        let places = places.iter().cloned().collect();
        usable(&places, &settings, &bounds).map(|place| place.offsets[&0])
    }

    #[test]
    fn a_shard_goes_on_where_it_was_and_new_shards_where_the_last_of_the_old_ones_was() {
        assert_eq!(of(0, 1, &[]), None);
        assert_eq!(of(0, 1, &[(0, place(1, 50))]), Some(50));
        let two = [(0, place(2, 60)), (1, place(2, 40))];
        assert_eq!(of(1, 2, &two), Some(40));
        assert_eq!(of(0, 2, &two), Some(60));
        for shard in 0..4 {
            assert_eq!(of(shard, 4, &two), Some(40), "of all that there were");
        }
        // Shard 0 of four has begun: what shard 1 of two had said is of half of them.
        assert_eq!(of(1, 4, &[(0, place(4, 90)), (1, place(2, 40))]), None);
    }

    #[test]
    fn a_place_that_is_not_in_the_log_is_not_used() {
        assert_eq!(of(0, 1, &[(0, place(1, 9))]), None);
        assert_eq!(of(0, 1, &[(0, place(1, 101))]), None);
    }
}

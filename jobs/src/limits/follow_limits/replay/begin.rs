//! From where on the log is told, and from which messages on it is complete there.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat::time::NotATimestamp;
use chat::{Policy, Timestamp};
use tokio::time::Instant;
use worker::Log;
use worker::log::{Bounds, Place};

use super::{POLL_WAIT, ReplayError, SILENT_MAX};

/// By how much clocks may differ: those that deal message ids from those that say when a record was appended. Machines whose clocks
/// are kept by NTP differ by milliseconds; one that is a minute off is found by other means.
const MARGIN: Duration = Duration::from_secs(60);

/// From where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest record of each partition.
    Beginning,
    /// These offsets, by partition.
    Offsets(BTreeMap<u32, u64>),
    /// What was appended from this instant on.
    Time(Timestamp),
}

/// Text that is no place to begin at.
#[derive(Debug, thiserror::Error)]
pub enum NotAStart {
    /// None of the forms.
    #[error("'{0}' is not beginning, offset=PARTITION:OFFSET[,PARTITION:OFFSET...] or time=2026-11-01T00:00:00Z")]
    Form(String),
    /// A partition stands there twice.
    #[error("partition {0} is named twice")]
    Twice(u32),
    /// No instant.
    #[error(transparent)]
    Time(#[from] NotATimestamp),
}

impl std::str::FromStr for StartAt {
    type Err = NotAStart;

    fn from_str(text: &str) -> Result<Self, NotAStart> {
        if text == "beginning" {
            return Ok(Self::Beginning);
        }
        if let Some(time) = text.strip_prefix("time=") {
            return Ok(Self::Time(time.parse()?));
        }
        let form = || NotAStart::Form(text.to_owned());
        let mut offsets = BTreeMap::new();
        for one in text.strip_prefix("offset=").ok_or_else(form)?.split(',') {
            let (partition, offset) = one.split_once(':').ok_or_else(form)?;
            let partition = partition.parse().map_err(|_| form())?;
            if offsets.insert(partition, offset.parse().map_err(|_| form())?).is_some() {
                return Err(NotAStart::Twice(partition));
            }
        }
        Ok(Self::Offsets(offsets))
    }
}

/// Where it begins.
#[derive(Debug)]
pub(super) struct Begin {
    /// The first offset that is told, by partition.
    pub(super) offsets: BTreeMap<u32, u64>,
    /// Every message from here on was told; `None`: every one there is.
    pub(super) complete_from: Option<Timestamp>,
}

/// Finds the place in a log of these bounds, which were asked for after `now`.
pub(super) async fn find(
    log: &dyn Log,
    from: &StartAt,
    bounds: &BTreeMap<u32, Bounds>,
    now: Timestamp,
    policy: &Policy,
) -> Result<Begin, ReplayError> {
    match from {
        StartAt::Beginning => beginning(log, bounds, now, policy).await,
        StartAt::Offsets(offsets) => at_offsets(log, offsets, bounds, now).await,
        StartAt::Time(time) => at_time(log, *time, bounds, now).await,
    }
}

/// From the first records. Where older ones were deleted by retention, whatever they told must be too old to count.
async fn beginning(
    log: &dyn Log,
    bounds: &BTreeMap<u32, Bounds>,
    now: Timestamp,
    policy: &Policy,
) -> Result<Begin, ReplayError> {
    let offsets = bounds.iter().map(|(partition, bounds)| (*partition, bounds.first)).collect();
    let cut = bounds.iter().filter(|(_, bounds)| bounds.first > 0).map(|(&partition, &bounds)| (partition, bounds));
    let firsts = firsts(log, cut).await?;
    let cutoff = policy.max_age_ms.map(|age_ms| now.minus_millis(age_ms));
    for (partition, (offset, appended_at)) in &firsts {
        if cutoff.is_none_or(|cutoff| complete_after(*appended_at) > cutoff) {
            return Err(not_in_log(format!(
                "partition {partition} begins with offset {offset}, appended at {appended_at}: what was deleted before may be \
                 of messages that count; leave the sets to follow-limits, which reads the store, or say --from time=INSTANT and \
                 what the log does not tell is read from the store"
            )));
        }
    }
    let latest = firsts.values().map(|(_, appended_at)| complete_after(*appended_at)).max();
    Ok(Begin { offsets, complete_from: latest })
}

/// From these offsets. Messages that are newer than what stands before are all told.
async fn at_offsets(
    log: &dyn Log,
    offsets: &BTreeMap<u32, u64>,
    bounds: &BTreeMap<u32, Bounds>,
    now: Timestamp,
) -> Result<Begin, ReplayError> {
    for (partition, Bounds { first, next }) in bounds {
        match offsets.get(partition) {
            None => {
                return Err(not_in_log(format!(
                    "partition {partition} is not named: the log has {} of them, from 0, and this one holds offset {first} to below \
                     {next}",
                    bounds.len()
                )));
            }
            Some(offset) if !(first..=next).contains(&offset) => {
                return Err(not_in_log(format!(
                    "offset {offset} of partition {partition} is not in the log, which holds {first} to below {next}"
                )));
            }
            Some(_) => {}
        }
    }
    if let Some(unknown) = offsets.keys().find(|partition| !bounds.contains_key(partition)) {
        return Err(not_in_log(format!("there is no partition {unknown}: the log has {}, from 0", bounds.len())));
    }
    // The record before tells when the newest of what is not told was appended; where it is gone, the one at the offset was appended later.
    let cut = offsets.iter().filter(|(_, offset)| **offset > 0);
    let before = cut.map(|(&partition, &offset)| (partition, (offset - 1).max(bounds[&partition].first)));
    let (known, unknown): (BTreeMap<u32, u64>, BTreeMap<u32, u64>) =
        before.partition(|(partition, offset)| *offset < bounds[partition].next);
    let found = probe(log, &known).await?;
    let latest = found.values().map(|(_, appended_at)| *appended_at).chain((!unknown.is_empty()).then_some(now)).max();
    Ok(Begin { offsets: offsets.clone(), complete_from: latest.map(complete_after) })
}

/// From the first records that were appended at `time` or later, found by halving: a log has no index by time.
async fn at_time(
    log: &dyn Log,
    time: Timestamp,
    bounds: &BTreeMap<u32, Bounds>,
    now: Timestamp,
) -> Result<Begin, ReplayError> {
    if time > now {
        return Err(not_in_log(format!("{time} is in the future: the clock says {now}")));
    }
    let cut = bounds.iter().filter(|(_, bounds)| bounds.first > 0).map(|(&partition, &bounds)| (partition, bounds));
    for (partition, (offset, appended_at)) in firsts(log, cut).await? {
        if appended_at > time {
            return Err(not_in_log(format!(
                "{time} is not in the log: partition {partition} begins with offset {offset}, appended at {appended_at}"
            )));
        }
    }
    // Earlier by the margin: records of several writers do not stand quite in the order of their clocks.
    let wanted = time.minus_millis(margin_ms());
    let mut ranges: BTreeMap<u32, (u64, u64)> =
        bounds.iter().map(|(partition, bounds)| (*partition, (bounds.first, bounds.next))).collect();
    loop {
        let open = ranges.iter().filter(|(_, (low, high))| low < high);
        let middles: BTreeMap<u32, u64> =
            open.map(|(partition, (low, high))| (*partition, low + (high - low) / 2)).collect();
        if middles.is_empty() {
            break;
        }
        for (partition, (offset, appended_at)) in probe(log, &middles).await? {
            let Some((low, high)) = ranges.get_mut(&partition) else { continue };
            if appended_at < wanted && offset < *high {
                *low = offset + 1;
            } else {
                *high = middles[&partition];
            }
        }
    }
    let offsets = ranges.into_iter().map(|(partition, (low, _))| (partition, low)).collect();
    Ok(Begin { offsets, complete_from: Some(complete_after(time)) })
}

/// The first records of these partitions; without one nobody knows when what was deleted was appended.
async fn firsts(
    log: &dyn Log,
    bounds: impl Iterator<Item = (u32, Bounds)>,
) -> Result<BTreeMap<u32, (u64, Timestamp)>, ReplayError> {
    let mut places = BTreeMap::new();
    for (partition, Bounds { first, next }) in bounds {
        if first >= next {
            return Err(not_in_log(format!(
                "partition {partition} is empty and had records up to below offset {next}: nobody knows how old they were; leave the \
                 sets to follow-limits, which reads the store"
            )));
        }
        places.insert(partition, first);
    }
    probe(log, &places).await
}

/// The first record at or behind each of these offsets: its own offset, and when it was appended.
async fn probe(log: &dyn Log, places: &BTreeMap<u32, u64>) -> Result<BTreeMap<u32, (u64, Timestamp)>, ReplayError> {
    let mut found = BTreeMap::new();
    if places.is_empty() {
        return Ok(found);
    }
    let from: Vec<Place> = places.iter().map(|(&partition, &offset)| Place { partition, offset }).collect();
    let (mut consumer, asked_at) = (log.follow(&from).await?, Instant::now());
    while let Some((&partition, &next)) = places.iter().find(|(partition, _)| !found.contains_key(*partition)) {
        if asked_at.elapsed() >= SILENT_MAX {
            return Err(ReplayError::Silent { partition, next });
        }
        for read in consumer.poll(1, POLL_WAIT).await?.records {
            let at = timestamp(read.appended_at);
            found.entry(read.place.partition).or_insert((read.place.offset, at));
            consumer.pause(&[read.place.partition]);
        }
    }
    Ok(found)
}

fn not_in_log(what: String) -> ReplayError {
    ReplayError::NotInLog(what)
}

fn margin_ms() -> u64 {
    u64::try_from(MARGIN.as_millis()).unwrap_or(u64::MAX)
}

/// From which messages on all are told, when everything is that was appended from `appended_at` on.
fn complete_after(appended_at: Timestamp) -> Timestamp {
    appended_at.plus_millis(margin_ms())
}

fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_in_three_forms_and_no_other() {
        assert_eq!("beginning".parse::<StartAt>().expect("a place"), StartAt::Beginning);
        let offsets = StartAt::Offsets(BTreeMap::from([(0, 5), (3, 0)]));
        assert_eq!("offset=3:0,0:5".parse::<StartAt>().expect("a place"), offsets);
        let time = "2026-11-01T00:00:00Z";
        assert_eq!(
            format!("time={time}").parse::<StartAt>().expect("a place"),
            StartAt::Time(time.parse().expect("a time"))
        );
        for wrong in ["", "end", "offset=", "offset=1", "offset=1:2,", "offset=1:x", "offset=-1:2", "time=soon", "time"]
        {
            assert!(wrong.parse::<StartAt>().is_err(), "{wrong}");
        }
        assert!(matches!("offset=1:2,1:3".parse::<StartAt>(), Err(NotAStart::Twice(1))));
    }
}

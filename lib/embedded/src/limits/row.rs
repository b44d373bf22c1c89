//! A limit row in bytes: a version, then the fields in a fixed order, least significant byte first.
//!
//! A later version may append fields; a reader that does not know a version says so instead of guessing.

use chat::limit::Standing;
use chat::{LimitRow, MessageId, OrganizationId, Policy, RunId, Timestamp, Version};

const VERSION: u8 = 1;
const RELEASED: u8 = 0;
const NO_COUNT_LIMIT: u8 = 1;
const LIMITED: u8 = 2;
/// Stands for "none" among ids and ages; no id has the top bit, and no age comes near.
const NONE: u64 = u64::MAX;

/// Packs a row; the organization is the key and not repeated.
pub(super) fn encode(row: &LimitRow) -> Vec<u8> {
    let LimitRow { policy, version, run, .. } = row;
    let (standing, boundary) = match row.standing {
        Standing::Released => (RELEASED, NONE),
        Standing::NoCountLimit => (NO_COUNT_LIMIT, NONE),
        Standing::Limited(id) => (LIMITED, id.get()),
    };
    let id = |id: Option<MessageId>| id.map_or(NONE, MessageId::get);
    let mut out = vec![VERSION, standing];
    for number in [policy.max_messages.get(), row.visible_messages, row.rooms, row.rooms_opened] {
        out.extend(number.to_le_bytes());
    }
    for number in [
        policy.max_age_ms.unwrap_or(NONE),
        version.plan_version,
        version.as_of.as_millis(),
        version.collected_at.as_millis(),
        boundary,
        id(row.oldest_visible_message_id),
        id(row.previous_first_visible_message_id),
        row.messages_read,
        row.computed_at.as_millis(),
    ] {
        out.extend(number.to_le_bytes());
    }
    // A run id is at most 100 bytes long.
    out.push(run.as_str().len() as u8);
    out.extend(run.as_str().as_bytes());
    out
}

/// Reads a row back; says what is wrong with it if it does not read.
pub(super) fn decode(organization: OrganizationId, bytes: &[u8]) -> Result<LimitRow, String> {
    let mut fields = Fields(bytes);
    match fields.take::<1>()? {
        [VERSION] => {}
        [version] => return Err(format!("written in version {version}, this program reads version {VERSION}")),
    }
    let [standing] = fields.take()?;
    let mut counts = [0_u32; 4];
    for count in &mut counts {
        *count = u32::from_le_bytes(fields.take()?);
    }
    let [max_messages, visible_messages, rooms, rooms_opened] = counts;
    let max_age_ms = Some(fields.number()?).filter(|age| *age != NONE);
    let version = Version { plan_version: fields.number()?, as_of: fields.time()?, collected_at: fields.time()? };
    let standing = match (standing, fields.id()?) {
        (RELEASED, None) => Standing::Released,
        (NO_COUNT_LIMIT, None) => Standing::NoCountLimit,
        (LIMITED, Some(id)) => Standing::Limited(id),
        (standing, _) => return Err(format!("standing {standing} does not fit its boundary")),
    };
    let oldest_visible_message_id = fields.id()?;
    let previous_first_visible_message_id = fields.id()?;
    let (messages_read, computed_at) = (fields.number()?, fields.time()?);
    Ok(LimitRow {
        organization,
        policy: Policy::new(max_messages, max_age_ms).map_err(|e| e.to_string())?,
        version,
        standing,
        oldest_visible_message_id,
        visible_messages,
        rooms,
        run: fields.run()?,
        previous_first_visible_message_id,
        rooms_opened,
        messages_read,
        computed_at,
    })
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (field, rest) = self.0.split_first_chunk().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*field)
    }

    fn number(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, String> {
        self.number().map(Timestamp::from_millis)
    }

    fn id(&mut self) -> Result<Option<MessageId>, String> {
        match self.number()? {
            NONE => Ok(None),
            id => MessageId::new(id).map(Some).map_err(|e| e.to_string()),
        }
    }

    fn run(&mut self) -> Result<RunId, String> {
        let [length] = self.take()?;
        let text = self.0.get(..usize::from(length)).ok_or("it ends too early")?;
        let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
        RunId::new(text).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(random: &mut fastrand::Rng) -> LimitRow {
        fn some<T>(random: &mut fastrand::Rng, value: T) -> Option<T> {
            random.bool().then_some(value)
        }
        let id = MessageId::from_bits(random.u64(..));
        let mut time = || Timestamp::from_millis(random.u64(0..1 << 50));
        let (as_of, collected_at, computed_at) = (time(), time(), time());
        let age = random.u64(0..1 << 60);
        LimitRow {
            organization: OrganizationId::from_bits(random.u64(..)),
            policy: Policy::new(random.u32(1..1_000_000), some(random, age)).expect("a policy"),
            version: Version { plan_version: random.u64(..), as_of, collected_at },
            standing: [Standing::Released, Standing::NoCountLimit, Standing::Limited(id)][random.usize(..3)],
            oldest_visible_message_id: some(random, id),
            visible_messages: random.u32(..),
            rooms: random.u32(..),
            run: RunId::new("r".repeat(random.usize(1..=100))).expect("a run id"),
            previous_first_visible_message_id: some(random, MessageId::MAX),
            rooms_opened: random.u32(..),
            messages_read: random.u64(..),
            computed_at,
        }
    }

    #[test]
    fn a_row_reads_back_as_written() {
        crate::packed::cases::each(200, |random| {
            let row = row(random);
            assert_eq!(decode(row.organization, &encode(&row)), Ok(row));
        });
    }

    #[test]
    fn damaged_bytes_and_unknown_versions_are_errors() {
        crate::packed::cases::each(200, |random| {
            let row = row(random);
            let mut bytes = encode(&row);
            assert!(decode(row.organization, &bytes[..random.usize(..bytes.len())]).is_err());
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            // Whether it reads or not is open, but it must not panic.
            decode(row.organization, &bytes).map(drop).unwrap_or_default();
            bytes[0] = VERSION + 1;
            assert!(decode(row.organization, &bytes).is_err_and(|what| what.contains("version 2")));
        });
    }
}

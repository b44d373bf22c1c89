//! The demo's chat: a few organizations of very different size, some rooms shared, some messages deleted.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use chat::{Day, Epoch, Timestamp};

/// Accounts, rooms and messages of each organization. The first is busy enough for the count to bind, the last is paid.
const ORGANIZATIONS: [(u64, u64, u64); 8] = [
    (24, 40, 14_000),
    (12, 25, 9_000),
    (9, 16, 5_600),
    (8, 12, 2_400),
    (5, 9, 900),
    (3, 5, 120),
    (2, 1, 0),
    (15, 20, 8_000),
];
/// Days over which messages are spread; those beyond the policy's 40 are hidden by age.
const DAYS: u64 = 60;
/// The same chat every time, but for its instant.
const SEED: u64 = 40;

/// The file that is written last.
const LAST: &str = "meta.json";

/// What was made.
pub(crate) struct Chat {
    pub(crate) organizations: usize,
    pub(crate) rooms: u64,
    pub(crate) messages: u64,
}

/// Writes the tables as CSV into `folder`; the newest message is just before `now`.
pub(crate) fn write(folder: &Path, now: Timestamp) -> anyhow::Result<Chat> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let epoch = Epoch::default();
    let mut organizations = table(folder, "organizations", "id,plan")?;
    let mut accounts = table(folder, "accounts", "id,org_id")?;
    let mut rooms = table(folder, "rooms", "id")?;
    let mut memberships = table(folder, "memberships", "room_id,account_id")?;
    let mut messages = table(folder, "messages", "room_id,message_id,deleted")?;
    let mut chat = Chat { organizations: ORGANIZATIONS.len(), rooms: 0, messages: 0 };
    let (mut first_account, mut counter) = (1, 0);
    for (index, (account_count, room_count, message_count)) in ORGANIZATIONS.into_iter().enumerate() {
        let organization = index as u64 + 1;
        let plan = if organization == ORGANIZATIONS.len() as u64 { "paid" } else { "free" };
        writeln!(organizations, "{organization},{plan}")?;
        for account in first_account..first_account + account_count {
            writeln!(accounts, "{account},{organization}")?;
        }
        for room in chat.rooms + 1..=chat.rooms + room_count {
            writeln!(rooms, "{room}")?;
            let mut members: Vec<u64> =
                (0..random.u64(2..8)).map(|_| first_account + random.u64(0..account_count)).collect();
            // Every eighth room has a guest from the organization before.
            if room % 8 == 0 && first_account > 1 {
                members.push(first_account - 1);
            }
            members.sort_unstable();
            members.dedup();
            for account in members {
                writeln!(memberships, "{room},{account}")?;
            }
        }
        for _ in 0..message_count {
            // A square makes some rooms much busier than others.
            let at = random.f64() * random.f64() * room_count as f64;
            let room = chat.rooms + 1 + (at as u64).min(room_count - 1);
            let ms_ago = 1 + random.u64(0..DAYS * Day::MILLIS);
            counter = (counter + 1) % (1 << chat::MessageId::COUNTER_BITS);
            let worker = organization << chat::MessageId::COUNTER_BITS;
            let id = epoch.first_id(now.minus_millis(ms_ago)).get() | worker | counter;
            writeln!(messages, "{room},{id},{}", random.u8(0..100) < 2)?;
        }
        first_account += account_count;
        chat.rooms += room_count;
        chat.messages += message_count;
    }
    for mut table in [organizations, accounts, rooms, memberships, messages] {
        table.flush()?;
    }
    std::fs::write(folder.join(LAST), format!("{{\"epoch_ms\": {}}}\n", epoch.0.as_millis()))?;
    Ok(chat)
}

/// True when [`write()`] came to its end in `folder`.
pub(crate) fn is_whole(folder: &Path) -> bool {
    folder.join(LAST).exists()
}

fn table(folder: &Path, name: &str, header: &str) -> anyhow::Result<BufWriter<File>> {
    let path = folder.join(format!("{name}.csv"));
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    let mut writer = BufWriter::new(file);
    writeln!(writer, "{header}")?;
    Ok(writer)
}

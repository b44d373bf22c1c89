//! A small chat made from a seed: shared rooms, inactive accounts, ended memberships, deleted messages, messages too old and
//! messages after the instant.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use chat::{Day, Epoch, MessageId, Timestamp};

/// A whole chat, as the tables of an import hold it.
#[derive(Clone, Debug, Default)]
pub struct SmallChat {
    /// Id, and whether the plan is paid.
    pub organizations: Vec<(u64, bool)>,
    /// Id, organization, whether active.
    pub accounts: Vec<(u64, u64, bool)>,
    /// Ids.
    pub rooms: Vec<u64>,
    /// Room, account, whether it has ended.
    pub memberships: BTreeSet<(u64, u64, bool)>,
    /// Room, id, whether deleted.
    pub messages: Vec<(u64, MessageId, bool)>,
}

impl SmallChat {
    /// The instant around which the messages of [`Self::random`] lie.
    pub fn as_of() -> Timestamp {
        Timestamp::from_millis(1_767_225_600_000)
    }

    /// A chat of `organizations` organizations, of which every eighth is paid. The same seed makes the same chat.
    pub fn random(seed: u64, organizations: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut chat = Self::default();
        let (mut account, mut counter) = (0, 0);
        for index in 0..organizations {
            let organization = 10 * index + 3;
            chat.organizations.push((organization, index % 8 == 7));
            let first_account = account + 1;
            for _ in 0..random.u64(1..4) {
                account += 1;
                chat.accounts.push((account, organization, random.u8(0..10) > 0));
            }
            for _ in 0..random.u64(0..5) {
                let room = 7 * (chat.rooms.len() as u64 + 1);
                chat.rooms.push(room);
                for _ in 0..random.u64(1..4) {
                    // Guests come from any organization before.
                    let from = if random.u8(0..5) == 0 { 1 } else { first_account };
                    let member = random.u64(from..=account);
                    if !chat.memberships.contains(&(room, member, true)) {
                        chat.memberships.insert((room, member, random.u8(0..12) == 0));
                    }
                }
                chat.write_messages(&mut random, room, &mut counter);
            }
        }
        // Who both is a member and was one, is one.
        let current: BTreeSet<_> = chat.memberships.iter().filter(|m| !m.2).map(|m| (m.0, m.1)).collect();
        chat.memberships.retain(|m| !m.2 || !current.contains(&(m.0, m.1)));
        chat
    }

    fn write_messages(&mut self, random: &mut fastrand::Rng, room: u64, counter: &mut u64) {
        let epoch = Epoch::default();
        for _ in 0..random.u64(0..40) {
            let ms = random.u64(0..60 * Day::MILLIS);
            // Every twentieth comes after the instant.
            let at = match random.u8(0..20) {
                0 => Self::as_of().plus_millis(ms % Day::MILLIS),
                _ => Self::as_of().minus_millis(ms),
            };
            *counter += 1;
            let id = MessageId::from_bits(epoch.first_id(at).get() | (*counter % (1 << MessageId::MILLIS_SHIFT)));
            self.messages.push((room, id, random.u8(0..20) == 0));
        }
    }

    /// How many organizations are free.
    pub fn free(&self) -> u64 {
        self.organizations.iter().filter(|(_, paid)| !paid).count() as u64
    }

    /// Writes the tables as CSV into `folder`, which is made.
    pub fn write_csv(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        let table = |name: &str, header: &str, rows: &mut dyn FnMut(&mut String)| {
            let mut text = format!("{header}\n");
            rows(&mut text);
            fs::write(folder.join(format!("{name}.csv")), text).expect("a table");
        };
        macro_rules! rows {
            ($rows:expr, $pattern:pat, $($format:tt)*) => {
                &mut |text: &mut String| for $pattern in &$rows { writeln!(text, $($format)*).expect("text"); }
            };
        }
        let plan = |paid: bool| if paid { "paid" } else { "free" };
        table("organizations", "id,plan", rows!(self.organizations, (id, paid), "{id},{}", plan(*paid)));
        table("accounts", "id,org_id,active", rows!(self.accounts, (id, org, active), "{id},{org},{active}"));
        table("rooms", "id", rows!(self.rooms, id, "{id}"));
        let memberships = rows!(self.memberships, (room, account, ended), "{room},{account},{}", !ended);
        table("memberships", "room_id,account_id,active", memberships);
        let messages = rows!(self.messages, (room, id, deleted), "{room},{id},{deleted}");
        table("messages", "room_id,message_id,deleted", messages);
    }
}

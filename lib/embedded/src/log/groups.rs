//! Consumer groups in the log's own store: who is a member, who holds which partition, what is committed.
//!
//! | Key | Value |
//! |---|---|
//! | `c` ‖ group ‖ 0 ‖ partition (32 bits) | the committed offset |
//! | `m` ‖ group ‖ 0 ‖ member (64 bits) | until when it is taken for alive, in milliseconds since 1970 |
//! | `h` ‖ group ‖ 0 ‖ partition | the member that holds it |
//!
//! Nobody decides for all: each member, whenever it polls, gives away what it holds beyond its share, and takes what nobody alive holds
//! up to it. Shares differ by at most one partition, so that this comes to rest.

use heed::types::Bytes;
use heed::{Database, RoTxn, RwTxn};

use super::number;
use crate::lmdb::Failure;

/// The database of groups.
#[derive(Clone, Copy)]
pub(super) struct Groups(pub(super) Database<'static, Bytes, Bytes>);

/// A group's name, checked.
#[derive(Clone, Debug)]
pub(super) struct Group(String);

/// The longest name: a key of LMDB has 511 bytes.
const NAME_BYTES_MAX: usize = 255;

impl Group {
    pub(super) fn new(name: &str) -> Result<Self, String> {
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
        if fits { Ok(Self(name.to_owned())) } else { Err(format!("{name:?} is no name of a consumer group")) }
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    fn prefix(&self, kind: u8) -> Vec<u8> {
        [&[kind], self.0.as_bytes(), &[0]].concat()
    }

    fn partition_key(&self, kind: u8, partition: u32) -> Vec<u8> {
        [&self.prefix(kind)[..], &partition.to_be_bytes()].concat()
    }

    fn member_key(&self, member: u64) -> Vec<u8> {
        [&self.prefix(MEMBER)[..], &member.to_be_bytes()].concat()
    }
}

const COMMITTED: u8 = b'c';
const MEMBER: u8 = b'm';
const HELD: u8 = b'h';

/// What a member finds.
pub(super) struct Standing {
    /// The partitions that it should take or keep, ascending.
    pub(super) keeps: Vec<u32>,
    /// Whether anything must be written for that.
    pub(super) differs: bool,
    /// Until when it is taken for alive; nothing when it is no member.
    pub(super) until_ms: Option<u64>,
}

impl Groups {
    pub(super) fn committed(self, txn: &RoTxn, group: &Group, partition: u32) -> Result<Option<u64>, Failure> {
        self.0.get(txn, &group.partition_key(COMMITTED, partition))?.map(number).transpose()
    }

    /// Whether `member` is alive and holds `partition`.
    pub(super) fn holds(
        self,
        txn: &RoTxn,
        group: &Group,
        partition: u32,
        member: u64,
        now_ms: u64,
    ) -> Result<bool, Failure> {
        let until_ms = self.0.get(txn, &group.member_key(member))?.map(number).transpose()?;
        let holder = self.holder(txn, group, partition)?;
        Ok(until_ms > Some(now_ms) && holder == Some(member))
    }

    pub(super) fn commit(self, txn: &mut RwTxn, group: &Group, partition: u32, offset: u64) -> Result<(), Failure> {
        Ok(self.0.put(txn, &group.partition_key(COMMITTED, partition), &offset.to_be_bytes())?)
    }

    /// What `member` should hold now, among those who are alive, as if it were one of them.
    pub(super) fn standing(
        self,
        txn: &RoTxn,
        group: &Group,
        partitions: u32,
        member: u64,
        now_ms: u64,
    ) -> Result<Standing, Failure> {
        let mut alive = Vec::new();
        let mut until_ms = None;
        for entry in self.0.prefix_iter(txn, &group.prefix(MEMBER))? {
            let (key, value) = entry?;
            let (id, until) = (last(key)?, number(value)?);
            if id == member {
                until_ms = Some(until);
            } else if until > now_ms {
                alive.push(id);
            }
        }
        alive.push(member);
        alive.sort_unstable();
        let (number_of, place) = (alive.len(), alive.iter().position(|id| *id == member).unwrap_or_default());
        let share = partitions as usize / number_of + usize::from(place < partitions as usize % number_of);
        let (mut mine, mut free) = (Vec::new(), Vec::new());
        for partition in 0..partitions {
            match self.holder(txn, group, partition)? {
                Some(holder) if holder == member => mine.push(partition),
                Some(holder) if alive.binary_search(&holder).is_ok() => {}
                _ => free.push(partition),
            }
        }
        let differs = mine.len() > share || (mine.len() < share && !free.is_empty());
        free.truncate(share.saturating_sub(mine.len()));
        mine.truncate(share);
        mine.append(&mut free);
        mine.sort_unstable();
        Ok(Standing { keeps: mine, differs, until_ms })
    }

    /// Renews the membership and holds exactly `keeps`.
    pub(super) fn settle(
        self,
        txn: &mut RwTxn,
        group: &Group,
        partitions: u32,
        member: u64,
        until_ms: u64,
        keeps: &[u32],
    ) -> Result<(), Failure> {
        self.0.put(txn, &group.member_key(member), &until_ms.to_be_bytes())?;
        for partition in 0..partitions {
            let key = group.partition_key(HELD, partition);
            let is_mine = self.holder(txn, group, partition)? == Some(member);
            match keeps.binary_search(&partition) {
                Ok(_) if !is_mine => self.0.put(txn, &key, &member.to_be_bytes())?,
                Err(_) if is_mine => _ = self.0.delete(txn, &key)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets a member and what it holds, and others who are dead.
    pub(super) fn leave(
        self,
        txn: &mut RwTxn,
        group: &Group,
        partitions: u32,
        member: u64,
        now_ms: u64,
    ) -> Result<(), Failure> {
        self.settle(txn, group, partitions, member, 0, &[])?;
        let mut dead = Vec::new();
        for entry in self.0.prefix_iter(txn, &group.prefix(MEMBER))? {
            let (key, until) = entry?;
            if number(until)? <= now_ms {
                dead.push(key.to_vec());
            }
        }
        for key in dead {
            self.0.delete(txn, &key)?;
        }
        Ok(())
    }

    fn holder(self, txn: &RoTxn, group: &Group, partition: u32) -> Result<Option<u64>, Failure> {
        self.0.get(txn, &group.partition_key(HELD, partition))?.map(number).transpose()
    }
}

fn last(key: &[u8]) -> Result<u64, Failure> {
    let id = key.last_chunk().map(|id| u64::from_be_bytes(*id));
    id.ok_or_else(|| Failure::Corrupt(format!("a member's key {key:02x?} is none")))
}

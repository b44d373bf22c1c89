//! All adapters that stand under the laws.

mod lmdb;
mod sqlite;

pub(crate) use sqlite::*;

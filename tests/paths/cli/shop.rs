//! A data directory that the binary itself has filled.

use std::path::PathBuf;

use support::oracle::{self, Answer};
use support::place::policy;
use support::{Program, SmallChat};
use tempfile::TempDir;

/// A run at the instant of small chats, by their policy.
pub(super) const RUN: &str = "run --run daily --as-of 2026-01-01T00:00:00Z --max-messages 25";
const ORGANIZATIONS: u64 = 30;

pub(super) struct Shop {
    dir: TempDir,
    pub(super) chat: SmallChat,
    pub(super) program: Program,
}

impl Shop {
    /// A chat whose tables are written and imported.
    pub(super) fn new(seed: u64) -> Self {
        let shop = Self::without_import(seed);
        shop.program.run_with(["import", shop.tables().to_str().expect("a path")]).exits(0);
        shop
    }

    /// With its limits computed, too.
    pub(super) fn with_run(seed: u64) -> Self {
        let shop = Self::new(seed);
        shop.program.run(RUN).exits(0);
        shop
    }

    /// Only its tables.
    pub(super) fn without_import(seed: u64) -> Self {
        let dir = TempDir::new().expect("a folder");
        let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &dir.path().join("data"));
        let shop = Self { dir, chat: SmallChat::random(seed, ORGANIZATIONS), program };
        shop.chat.write_csv(&shop.tables());
        shop
    }

    pub(super) fn tables(&self) -> PathBuf {
        self.beside("tables")
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.beside("data")
    }

    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What `limits export` must print after [`RUN`].
    pub(super) fn expected_export(&self) -> String {
        oracle::export(&oracle::answers(&self.chat, SmallChat::as_of(), &policy()))
    }

    /// A free organization for which the count binds.
    pub(super) fn a_limited_one(&self) -> (u64, Answer) {
        let answers = oracle::answers(&self.chat, SmallChat::as_of(), &policy());
        answers.into_iter().find(|(_, answer)| answer.first_visible.is_some()).expect("the count binds somewhere")
    }
}

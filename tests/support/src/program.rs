//! Running the binary as a user does.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tokio::time::Instant;

use crate::waiting::AT_MOST;

/// The binary, for one data directory.
#[derive(Clone, Debug)]
pub struct Program {
    executable: PathBuf,
    data_dir: PathBuf,
    environment: Vec<(String, String)>,
}

/// How a call of the binary ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Program {
    /// `executable` is `env!("CARGO_BIN_EXE_lanner")`, which only the package of the binary knows.
    pub fn new(executable: &str, data_dir: &Path) -> Self {
        Self { executable: executable.into(), data_dir: data_dir.to_owned(), environment: Vec::new() }
    }

    /// With an environment variable.
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// The command with `arguments`; no LANNER_ variable of the test's own environment reaches it.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.executable);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LANNER_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(&self.data_dir).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end. `line` is split at blanks.
    pub fn run(&self, line: &str) -> Ended {
        self.run_with(line.split_whitespace())
    }

    /// Runs to the end.
    pub fn run_with<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ended {
        self.command(arguments).output().expect("the binary starts").into()
    }

    /// Compares limits until nothing differs any more: who follows may have to wait for a lease, and to catch up.
    #[track_caller]
    pub fn reconciles(&self) {
        let deadline = Instant::now() + AT_MOST;
        loop {
            let ended = self.run("reconcile --settle 1s");
            if ended.code != Some(4) || Instant::now() >= deadline {
                ended.exits(0);
                return;
            }
        }
    }

    /// Starts and goes on. Its output is thrown away, so that it can never block on it.
    pub fn start(&self, line: &str) -> Child {
        let mut command = self.command(line.split_whitespace());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ended {
    /// Checks the exit code; answers itself.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "standard output:\n{}\nstandard error:\n{}", self.out, self.err);
        self
    }

    /// Checks that standard error says all of `words`; answers itself.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "'{word}' is missing in: {}", self.err);
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in: {}", self.out))
    }
}

//! Progress of long work: a bar on a terminal, plain lines elsewhere, nothing with `--json`.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::output::{draws, short, thousands};

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Nobody waits for longer, and nothing is said of it.
const LEFT_MAX_S: f64 = 1e7;

/// Shows how far something is, on standard error.
pub(crate) struct Progress {
    what: String,
    kind: Kind,
}

enum Kind {
    Silent,
    Bar(ProgressBar),
    Lines { last: Instant, started: Instant },
}

impl Progress {
    /// Progress of `what`; `quiet` shows nothing.
    pub(crate) fn new(what: &str, quiet: bool) -> Self {
        let kind = if quiet {
            Kind::Silent
        } else if draws() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
            // The template stands right here; were it wrong, the default bar is as good.
            if let Ok(style) = ProgressStyle::with_template("{msg:22} [{bar:24}] {human_pos}/{human_len} {eta}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what.to_owned());
            Kind::Bar(bar)
        } else {
            let now = Instant::now();
            Kind::Lines { last: now, started: now }
        };
        Self { what: what.to_owned(), kind }
    }

    /// `done` of `total` (0 = not known).
    pub(crate) fn at(&mut self, done: u64, total: u64) {
        match &mut self.kind {
            Kind::Silent => {}
            Kind::Bar(bar) => {
                bar.set_length(total.max(done));
                bar.set_position(done);
            }
            Kind::Lines { last, started } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let rate = done as f64 / started.elapsed().as_secs_f64();
                let of = if total > 0 { format!(" of {}", thousands(total)) } else { String::new() };
                let left = total.saturating_sub(done) as f64 / rate;
                let left = if total > done && left < LEFT_MAX_S {
                    format!(", {} left", short(Duration::from_secs_f64(left)))
                } else {
                    String::new()
                };
                eprintln!("{}: {}{of}, {} a second{left}", self.what, thousands(done), thousands(rate as u64));
            }
            Kind::Lines { .. } => {}
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Kind::Bar(bar) = self.kind {
            bar.finish_and_clear();
        }
    }
}

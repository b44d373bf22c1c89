//! What the tests share. All but one run in virtual time.

mod delays;
mod description;
mod directives;
mod hooks;
mod hour;
mod mail;
mod stop;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::{Backoff, Cause};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// 100 ms, doubling to 1 s, nothing random.
fn policy() -> Policy {
    Policy::new(Backoff::new(ms(100), secs(1), 0.0).expect("a backoff"))
}

fn endless() -> RestartLimit {
    RestartLimit { max: u32::MAX, within: secs(1) }
}

/// Makes progress until it is asked to stop.
async fn serve(context: Context) -> Result<(), Cause> {
    while tokio::time::timeout(secs(1), context.stop.cancelled()).await.is_err() {
        context.pulse.beat();
    }
    Ok(())
}

/// A panic that prints nothing: some tests have a thousand.
fn quiet_panic() -> ! {
    std::panic::resume_unwind(Box::new("on purpose"))
}

fn broken() -> Result<(), Cause> {
    Err(Cause::new("broken", "on purpose"))
}

/// What a tree's hooks heard, as lines.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn hook(&self) -> impl Fn(&Notice) + use<> {
        let heard = self.clone();
        move |notice| heard.push(line(notice))
    }

    fn push(&self, line: String) {
        self.0.lock().expect("lines").push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("lines").clone()
    }
}

fn line(notice: &Notice) -> String {
    let Notice { child, run, event } = notice;
    match event {
        Event::BeforeStart => format!("{child} {run} before start"),
        Event::AfterStart => format!("{child} {run} after start"),
        Event::AfterStop(reason) => format!("{child} {run} after stop: {}", reason.kind().word()),
        Event::BeforeBackoff(delay) => format!("{child} {run} before backoff: {delay:?}"),
        Event::GaveUp(escalation) => format!("{child} {run} gave up {}", escalation.why),
    }
}

/// Tasks of the test's own runtime; the test itself is none.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

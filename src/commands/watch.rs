//! `lanner status --watch`: follows a run until it is over.
//!
//! On a terminal a picture is drawn in place, below what is there and within its size; nothing of the terminal is changed that
//! would have to be restored, so that it is in order however the program ends. Elsewhere a line is said for each change.

use std::io::Write as _;
use std::time::Duration;

use chat::Ledger;
use chat::RunId;
use chat::ledger::State;
use console::{Style, Term, truncate_str};
use jobs::operate::runs::is_in_work;
use jobs::operate::status::{Equation, Meter, Status, look};
use tokio::time::Instant;

use super::App;
use super::run::policy_in_words;
use super::status::{document, equation, gone, per_second, show, took_in_words};
use crate::exit::Failure;
use crate::output::{self, BRIEF, brief, say, short, thousands};

/// Time between two looks, at least.
const EVERY: Duration = Duration::from_secs(1);
/// Organizations of each kind that fit on the largest screen.
const ROWS_MAX: usize = 10;
/// Cells of the bar where the screen has them.
const BAR_MAX: usize = 50;

/// Follows the run until it is over, or until the program is told to stop. Answers the last look.
pub(super) async fn follow(app: &App, ledger: &dyn Ledger, run: &RunId) -> Result<Status, Failure> {
    let term = Term::stdout();
    let mut screen = (!app.json && term.is_term()).then(|| Screen::new(term));
    let mut meter = Meter::default();
    let mut shown = None;
    loop {
        let asked = Instant::now();
        let status = look(ledger, run, ROWS_MAX).await?.ok_or_else(|| gone(run))?;
        let rate = meter.rate_per_s(status.progress.counts.settled());
        let over = !is_in_work(&status.progress);
        let stop = app.stop.is_cancelled();
        if let Some(screen) = &mut screen {
            let (height, width) = screen.size();
            screen.draw(&picture(&status, rate, height, width), (height, width))?;
        } else if shown.as_ref() != Some(&status.progress.counts) || over {
            shown = Some(status.progress.counts.clone());
            if app.json {
                output::json_line(&document(&status, rate.or_else(|| status.mean_rate_per_s())))?;
            } else {
                say!("{}", line(&status, rate));
            }
        }
        if over || stop {
            if over && !app.json && screen.is_none() {
                say!("");
                show(app, &status)?;
            }
            return Ok(status);
        }
        // A look costs time in proportion to the run's size: never spend more than a fifth of the time on it.
        let pause = EVERY.max(4 * asked.elapsed());
        let _ = tokio::time::timeout(pause, app.stop.cancelled()).await;
    }
}

/// One line of what changes.
fn line(status: &Status, rate: Option<f64>) -> String {
    let e = Equation::of(&status.progress.counts);
    let mut words = format!("{}: {} of {} done", status.progress.phase(), thousands(e.done), thousands(e.expected));
    for (n, word) in [(e.failed + e.parked, "failed"), (e.retrying, "retrying")] {
        if n > 0 {
            words.push_str(&format!(", {} {word}", thousands(n)));
        }
    }
    if let Some(rate) = rate {
        words.push_str(&format!(", {}/s", per_second(rate)));
    }
    if let Some(remaining) = status.remaining(rate) {
        words.push_str(&format!(", {} left", short(remaining)));
    }
    words
}

/// The lines of the picture, at most `height` of at most `width` cells.
fn picture(status: &Status, rate: Option<f64>, height: usize, width: usize) -> Vec<String> {
    let run = &status.progress.run;
    let bold = Style::new().bold();
    let mut lines = vec![
        format!("{} is {}", bold.apply_to(&run.id), status.progress.phase()),
        format!("as of {}, {}", run.as_of, policy_in_words(&run.policy)),
        String::new(),
        bar(status, width),
        pace(status, rate),
        String::new(),
    ];
    let colours = [None, Some(Style::new().green()), Some(Style::new().red()), Some(Style::new().red())];
    let e = Equation::of(&status.progress.counts);
    let coloured = [e.expected, e.done, e.failed, e.parked, e.retrying, e.in_work, e.not_started];
    for ((place, line), n) in equation(&status.progress.counts).into_iter().enumerate().zip(coloured) {
        let colour = colours.get(place).cloned().flatten().or((place == 4).then(|| Style::new().yellow()));
        lines.push(match colour.filter(|_| n > 0) {
            Some(colour) => colour.apply_to(line).to_string(),
            None => line,
        });
    }
    // Two blank lines and two heads; the cursor stands below the picture.
    let left = height.saturating_sub(lines.len() + 4);
    let failures = status.failures.len().min(ROWS_MAX).min(left / 2);
    let slowest = status.slowest.len().min(ROWS_MAX).min(left - failures);
    if slowest > 0 {
        let in_work = status.slowest.iter().any(|row| !row.state.is_terminal());
        lines.push(String::new());
        lines.push(bold.apply_to(if in_work { "in work longest" } else { "took longest" }).to_string());
        lines.extend(status.slowest.iter().take(slowest).map(|row| slow_row(status, row)));
    }
    if failures > 0 {
        lines.push(String::new());
        lines.push(bold.apply_to("failed last").to_string());
        lines.extend(status.failures.iter().take(failures).map(failure_row));
    }
    lines.truncate(height);
    lines.iter().map(|line| truncate_str(line, width, "…").into_owned()).collect()
}

fn bar(status: &Status, width: usize) -> String {
    let counts = &status.progress.counts;
    let (settled, expected) = (counts.settled(), counts.expected());
    // Rounded down: 100 % is said when nothing is left.
    let per_mille = (u128::from(settled) * 1_000).checked_div(u128::from(expected)).unwrap_or(0);
    let numbers =
        format!(" {:>3}.{} %  {} of {}", per_mille / 10, per_mille % 10, thousands(settled), thousands(expected));
    let cells = width.saturating_sub(numbers.len() + 2).min(BAR_MAX);
    let full = usize::try_from(per_mille * cells as u128 / 1_000).unwrap_or(cells);
    let tip = if full > 0 && full < cells { ">" } else { "" };
    let done = "=".repeat(full - tip.len()) + tip;
    format!("[{}{}]{numbers}", Style::new().green().apply_to(&done), " ".repeat(cells - full))
}

/// How fast it goes and how long it takes.
fn pace(status: &Status, rate: Option<f64>) -> String {
    if !is_in_work(&status.progress) {
        let mean = status.mean_rate_per_s().map(|rate| format!("{} organizations/s on average", per_second(rate)));
        return mean.unwrap_or_default();
    }
    let Some(rate) = rate else { return "measuring the rate".to_owned() };
    let left = match status.remaining(Some(rate)) {
        Some(remaining) => format!(", about {} left", short(remaining)),
        None if status.progress.run.extracted_at.is_none() => ", more are being sent".to_owned(),
        None => ", nothing moves".to_owned(),
    };
    format!("{} organizations/s{left}", per_second(rate))
}

fn slow_row(status: &Status, row: &chat::ledger::RunOrganization) -> String {
    let again = if row.state == State::Retrying { "waits for another attempt" } else { "" };
    let stage = row.stage.map_or("", |stage| stage.as_str());
    let took = took_in_words(status, row);
    let attempts = format!("attempt {}", row.attempts);
    format!("  {:<19}  {took:>12}  {stage:13}  {attempts:10}  {again}", row.organization.to_string())
}

fn failure_row(row: &chat::ledger::RunOrganization) -> String {
    let class = row.error_class.as_deref().unwrap_or_default();
    let error = brief(row.error.as_deref().unwrap_or_default(), BRIEF);
    format!("  {:<19}  {:6}  {class}: {error}", row.organization.to_string(), row.state.as_str())
}

/// Draws a picture over the one before.
struct Screen {
    term: Term,
    /// Lines of the picture that is there.
    drawn: usize,
    size: (usize, usize),
}

impl Screen {
    fn new(term: Term) -> Self {
        Self { term, drawn: 0, size: (0, 0) }
    }

    /// Lines and cells of a picture: the cursor needs a line of its own, and a full last cell would wrap on some terminals.
    fn size(&self) -> (usize, usize) {
        let (height, width) = self.term.size();
        (usize::from(height).saturating_sub(1).max(1), usize::from(width).saturating_sub(1).max(1))
    }

    fn draw(&mut self, lines: &[String], size: (usize, usize)) -> std::io::Result<()> {
        // One write, so that no half of a picture is seen.
        let mut bytes = String::new();
        if self.drawn > 0 && self.size != size {
            // The terminal has laid its lines out anew: where the picture stands now is not known.
            bytes.push_str("\x1b[2J\x1b[H");
        } else if self.drawn > 0 {
            bytes.push_str(&format!("\r\x1b[{}A", self.drawn));
        }
        for line in lines {
            bytes.push_str(line);
            bytes.push_str("\x1b[K\r\n");
        }
        bytes.push_str("\x1b[J");
        self.drawn = lines.len();
        self.size = size;
        (&self.term).write_all(bytes.as_bytes())?;
        self.term.flush()
    }
}

#[cfg(test)]
mod tests {
    use chat::ledger::{Counts, Progress, Run, RunOrganization, Scope, Stage};
    use chat::{OrganizationId, Policy, Timestamp};

    use super::*;

    /// A run with more of everything than fits on a screen.
    fn crowded() -> Status {
        let at = Timestamp::from_millis(1_800_000_000_000);
        let id = RunId::new("daily-2026-11-22T00:00Z").expect("a run id");
        let (as_of, extracted_at) = (at, Some(at));
        let policy = Policy::default();
        let run = Run {
            id,
            scope: Scope::AllFree,
            as_of,
            policy,
            opened_at: at,
            sent_through: None,
            extracted_at,
            cancelled_at: None,
        };
        let row = |state, started_at| RunOrganization {
            organization: OrganizationId::MAX,
            state,
            stage: Some(Stage::MergeNewest),
            attempts: 5,
            rooms: 40,
            rooms_opened: 40,
            messages_read: 9,
            read_units: 0.0,
            visible_messages: 0,
            first_visible_message_id: None,
            previous_first_visible_message_id: None,
            error_class: Some("unavailable".to_owned()),
            error: Some("連絡が取れない\nthe store is away ".repeat(20)),
            queued_at: at,
            started_at,
            finished_at: None,
        };
        let counts = Counts(State::ALL.into_iter().zip([999_999; 8]).collect());
        Status {
            progress: Progress { run, counts, last_finished_at: None },
            slowest: vec![row(State::Retrying, Some(at)); 20],
            error_classes: Vec::new(),
            failures: vec![row(State::Parked, Some(at)); 20],
            seen_at: at.plus_millis(90_000_000),
        }
    }

    #[test]
    fn the_picture_stays_within_the_screen() {
        let status = crowded();
        for (height, width) in [(23, 79), (60, 200), (23, 20), (8, 79), (1, 1), (14, 33)] {
            let lines = picture(&status, Some(1_234.5), height, width);
            assert!(lines.len() <= height, "{} lines on {height}", lines.len());
            for line in &lines {
                let cells = console::measure_text_width(line);
                assert!(cells <= width, "{cells} cells on {width}: {line}");
                assert!(!line.contains('\n'), "a line that breaks: {line:?}");
            }
        }
        let whole = picture(&status, Some(1_234.5), 23, 79).join("\n");
        for words in ["is running", "62.5 %", "1,235 organizations/s, about", "in work longest", "failed last"] {
            assert!(whole.contains(words), "'{words}' is missing in\n{whole}");
        }
    }
}

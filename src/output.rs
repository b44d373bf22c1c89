//! What a person or a program sees: tables of at most 80 columns, or JSON.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use chat::Timestamp;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

/// Columns of a table that is not on a terminal, and the most that a table takes on one.
const WIDTH: u16 = 80;

/// Prints a line for whoever reads standard output. A reader that has seen enough (`lanner status --watch | head`) ends the
/// program quietly.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::line(format_args!($($words)*)) };
}
pub(crate) use say;

/// What [`say!`] does.
pub(crate) fn line(words: std::fmt::Arguments<'_>) {
    let written = writeln!(std::io::stdout().lock(), "{words}");
    let Err(error) = written else { return };
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(i32::from(crate::exit::DONE));
    }
    eprintln!("lanner: standard output: {error}");
    std::process::exit(i32::from(crate::exit::FAILED));
}

/// Writes one JSON value and a line end to standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

/// Writes one JSON value as one line, for documents that follow each other.
pub(crate) fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

/// A column: its head, and whether its cells are numbers.
pub(crate) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// A table of plain cells, without lines, at most 80 columns wide.
pub(crate) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    let alignment = |column: &Column| match column {
        Column::Text(_) => CellAlignment::Left,
        Column::Number(_) => CellAlignment::Right,
    };
    table.set_header(columns.iter().map(|column| {
        let (Column::Text(head) | Column::Number(head)) = column;
        Cell::new(head).set_alignment(alignment(column))
    }));
    for row in rows {
        table.add_row(
            row.into_iter().zip(columns).map(|(cell, column)| Cell::new(cell).set_alignment(alignment(column))),
        );
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Names and values below each other.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines: Vec<String> = facts.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

/// 1234567 as 1,234,567.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An instant for a table: to the minute.
pub(crate) fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} {}", &text[..10], &text[11..16])
}

/// Characters of a text that a table shows.
const BRIEF_MAX: usize = 120;

/// A text of any length as one line of a table's cell: its beginning, control characters as blanks.
pub(crate) fn brief(text: &str) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut brief: String = text.chars().take(BRIEF_MAX).map(line).collect();
    if text.chars().nth(BRIEF_MAX).is_some() {
        brief.push('…');
    }
    brief
}

/// An id, or a dash.
pub(crate) fn or_dash(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A duration in a few characters: 850 ms, 12.3 s, 31 s, 4 min 10 s, 3 h 5 min, 2 d 4 h.
pub(crate) fn short(duration: Duration) -> String {
    let (ms, s) = (duration.as_millis(), duration.as_secs());
    match s {
        0 => format!("{ms} ms"),
        1..60 if ms.is_multiple_of(1_000) => format!("{s} s"),
        1..60 => format!("{s}.{} s", ms % 1_000 / 100),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// True when standard error is a terminal, so that bars may be drawn.
pub(crate) fn draws() -> bool {
    std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn durations_are_short() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (31_000, "31 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(short(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn a_brief_text_is_one_line() {
        assert_eq!(brief("room 12\nis gone"), "room 12 is gone");
        assert_eq!(brief(&"é".repeat(5_000)).chars().count(), BRIEF_MAX + 1);
    }

    #[test]
    fn tables_are_no_wider_than_80_columns() {
        let columns = [Column::Text("words"), Column::Number("number")];
        let text = table(&columns, [vec!["word ".repeat(60), "12".to_owned()]]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

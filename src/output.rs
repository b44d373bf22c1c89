//! What a person or a program sees: tables of at most 80 columns, or JSON.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use chat::Timestamp;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

/// Columns of a table that is not on a terminal, and the most that a table takes on one.
pub(crate) const WIDTH: usize = 80;

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

/// A JSON object with a list that is written as it comes, so that memory holds one entry.
pub(crate) struct JsonList {
    entries: u64,
}

impl JsonList {
    /// Writes the fields of `head`, an object, and begins the list `name`.
    pub(crate) fn begin(head: &serde_json::Value, name: &str) -> anyhow::Result<Self> {
        let mut out = std::io::stdout().lock();
        write!(out, "{{")?;
        for (field, value) in head.as_object().into_iter().flatten() {
            write!(out, "{}: {value}, ", serde_json::to_string(field)?)?;
        }
        write!(out, "{}: [", serde_json::to_string(name)?)?;
        Ok(Self { entries: 0 })
    }

    /// Writes one entry.
    pub(crate) fn item(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let separator = if self.entries == 0 { "\n" } else { ",\n" };
        self.entries += 1;
        write!(std::io::stdout().lock(), "{separator}  {}", serde_json::to_string(value)?)?;
        Ok(())
    }

    /// Ends the list and writes the fields of `tail` after it.
    pub(crate) fn end(self, tail: &serde_json::Value) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        write!(out, "\n]")?;
        for (field, value) in tail.as_object().into_iter().flatten() {
            write!(out, ", {}: {value}", serde_json::to_string(field)?)?;
        }
        writeln!(out, "}}")?;
        Ok(())
    }
}

/// -1234 as -1,234, and 5 as +5.
pub(crate) fn signed(number: i64) -> String {
    let sign = match number {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", thousands(number.unsigned_abs()))
}

/// A column by its head.
pub(crate) enum Column {
    /// Prose, which may wrap.
    Text(&'static str),
    /// Names and instants: they wrap only where there is no room for all of them.
    Name(&'static str),
    /// Numbers, on the right; they wrap as names do.
    Number(&'static str),
}

/// Columns that are left for prose beside names and numbers, at least.
const PROSE: usize = 10;

/// A table of plain cells, without lines, at most 80 columns wide.
pub(crate) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    arranged(columns, rows, WIDTH)
}

fn arranged(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>, width: usize) -> String {
    let mut table = Table::new();
    let width = u16::try_from(width).unwrap_or(u16::MAX);
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    let alignment = |column: &Column| match column {
        Column::Text(_) | Column::Name(_) => CellAlignment::Left,
        Column::Number(_) => CellAlignment::Right,
    };
    table.set_header(columns.iter().map(|column| {
        let (Column::Text(head) | Column::Name(head) | Column::Number(head)) = column;
        Cell::new(head).set_alignment(alignment(column))
    }));
    for row in rows {
        table.add_row(
            row.into_iter().zip(columns).map(|(cell, column)| Cell::new(cell).set_alignment(alignment(column))),
        );
    }
    let is_prose = |column: &Column| matches!(column, Column::Text(_));
    let needs = columns.iter().zip(table.column_max_content_widths());
    let needs =
        needs.map(|(column, content)| 2 + if is_prose(column) { PROSE.min(content.into()) } else { content.into() });
    let whole = needs.sum::<usize>() <= usize::from(width);
    for (column, kind) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if whole && !is_prose(kind) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
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

/// Prose in lines of at most 80 columns, each `indent` blanks in; what has no blank to break at is cut.
pub(crate) fn wrapped(text: &str, indent: usize) -> String {
    let lines = arranged(&[Column::Text("")], [vec![text.to_owned()]], WIDTH - indent);
    let lines: Vec<String> =
        lines.trim_start_matches('\n').lines().map(|line| format!("{:indent$}{line}", "")).collect();
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

/// 1536 as 1.5 KiB.
pub(crate) fn bytes_in_words(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            let digits = usize::from(size.fract() > 0.0);
            return format!("{size:.digits$} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

/// An instant for a table: to the minute.
pub(crate) fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{} {}", &text[..10], &text[11..16])
}

/// Characters of a text in a table's cell.
pub(crate) const BRIEF: usize = 120;

/// A text of any length as one line: its first `max` characters, control characters as blanks.
pub(crate) fn brief(text: &str, max: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    if line.chars().count() <= max { line } else { line.chars().take(max).chain(['…']).collect() }
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
    fn bytes_have_a_unit() {
        for (bytes, text) in [(0, "0 bytes"), (1 << 10, "1 KiB"), (3 << 9, "1.5 KiB"), (256 << 30, "256 GiB")] {
            assert_eq!(bytes_in_words(bytes), text);
        }
        assert_eq!(bytes_in_words(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn a_brief_text_is_one_line() {
        assert_eq!(brief("room 12\n is gone", BRIEF), "room 12 is gone");
        assert_eq!(brief(&"é".repeat(5_000), 7), "ééééééé…");
    }

    #[test]
    fn names_and_numbers_are_not_broken_where_they_fit() {
        let columns = [Column::Name("run"), Column::Number("organization"), Column::Text("error")];
        let (run, id) = ("manual-20261122T034041Z-65c9".to_owned(), i64::MAX.to_string());
        let text = table(&columns, [vec![run.clone(), id.clone(), "what happened ".repeat(20)]]);
        assert!(text.contains(&format!("{run}  {id}  what happened")), "{text}");
        let text = table(&columns, [vec!["r".repeat(64), id, "what happened".to_owned()]]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn tables_are_no_wider_than_80_columns() {
        let columns = [Column::Text("words"), Column::Number("number")];
        let text = table(&columns, [vec!["word ".repeat(60), "12".to_owned()]]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

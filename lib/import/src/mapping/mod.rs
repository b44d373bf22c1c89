//! Files with one message a line, whatever their columns: what a mapping says, and how they become the tables of an import.
//!
//! - [`Mapping`]: which column is what
//! - `records`: CSV, TSV and JSON lines as the same few fields
//! - `names`: names become ids
//! - `stage`: records become rows, which the reader of tables gives to the same checks and sorters as a folder's
//! - `rows`: those rows, in temporary files

mod names;
mod records;
mod rows;
mod stage;
mod time;

use chat::{Epoch, Timestamp};
use serde::Deserialize;
use toml::{Table, Value};

use crate::ImportError;
pub(crate) use rows::{Mapped, Reader};
pub(crate) use stage::map;

/// Which column of a file is what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Mapping {
    #[serde(default)]
    epoch: Option<String>,
    file: FileFormat,
    organization: OrganizationColumns,
    room: RoomColumns,
    author: AuthorColumns,
    message: MessageColumns,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
struct FileFormat {
    format: Format,
    #[serde(default = "comma")]
    delimiter: char,
    #[serde(default = "yes")]
    header: bool,
    #[serde(default)]
    quoting: Quoting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Delimited,
    JsonLines,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Quoting {
    #[default]
    Quotes,
    Backslash,
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ids {
    #[default]
    Names,
    Numbers,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
struct OrganizationColumns {
    column: String,
    #[serde(default)]
    ids: Ids,
    plan: Option<PlanName>,
    plan_column: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PlanName {
    Free,
    Paid,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
struct RoomColumns {
    column: String,
    #[serde(default)]
    ids: Ids,
    #[serde(default)]
    shared: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
struct AuthorColumns {
    column: String,
    #[serde(default)]
    ids: Ids,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
struct MessageColumns {
    time: Option<String>,
    #[serde(default)]
    time_format: TimeFormat,
    id: Option<String>,
    body: Option<String>,
    deleted: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TimeFormat {
    #[default]
    Iso,
    UnixSeconds,
    UnixMilliseconds,
}

fn comma() -> char {
    ','
}

fn yes() -> bool {
    true
}

/// Every key: its section, empty for the mapping's own, and its name.
const KEYS: [(&str, &[&str]); 6] = [
    ("", &["epoch", "file", "organization", "room", "author", "message"]),
    ("file", &["format", "delimiter", "header", "quoting"]),
    ("organization", &["column", "ids", "plan", "plan_column"]),
    ("room", &["column", "ids", "shared"]),
    ("author", &["column", "ids"]),
    ("message", &["time", "time_format", "id", "body", "deleted"]),
];

impl Mapping {
    /// A mapping with every key explained, to start from.
    pub const EXAMPLE: &'static str = include_str!("example.toml");

    /// Reads a mapping from TOML. Unknown keys are refused, with the known one that is most like it.
    pub fn parse(text: &str) -> Result<Self, ImportError> {
        let wrong = |what: String| ImportError::Mapping { what };
        let table: Table = text.parse().map_err(|e: toml::de::Error| wrong(e.to_string().trim_end().to_owned()))?;
        check_keys(&table)?;
        let said = |e: toml::de::Error| wrong(e.message().to_owned());
        let mapping: Self = Value::Table(table).try_into().map_err(said)?;
        mapping.check()?;
        Ok(mapping)
    }

    fn check(&self) -> Result<(), ImportError> {
        let refuse = |what: &str| Err(ImportError::Mapping { what: what.to_owned() });
        if self.organization.plan.is_some() == self.organization.plan_column.is_some() {
            return refuse("give either organization.plan or organization.plan_column");
        }
        if self.message.time.is_some() == self.message.id.is_some() {
            return refuse("give either message.time or message.id");
        }
        if self.room.ids == Ids::Numbers && !self.room.shared {
            return refuse("room.ids = \"numbers\" means the same room in every organization: set room.shared = true");
        }
        if !self.file.delimiter.is_ascii() || ['\n', '\r', '"', '\\'].contains(&self.file.delimiter) {
            return refuse("file.delimiter must be one ASCII character that is no line end, quote or backslash");
        }
        self.epoch().map(drop)
    }

    /// From when message ids count, if it is said.
    pub(crate) fn epoch(&self) -> Result<Option<Epoch>, ImportError> {
        let parse = |text: &String| text.parse::<Timestamp>().map(Epoch);
        let parsed = self.epoch.as_ref().map(parse).transpose();
        parsed.map_err(|e| ImportError::Mapping { what: format!("epoch: {e}") })
    }

    /// Whether any name becomes an id.
    pub(crate) fn deals_ids(&self) -> bool {
        [self.organization.ids, self.room.ids, self.author.ids].contains(&Ids::Names)
    }
}

fn check_keys(table: &Table) -> Result<(), ImportError> {
    let known = |section: &str| KEYS.iter().find(|(name, _)| *name == section).map_or(&[][..], |(_, keys)| *keys);
    let check = |section: &str, keys: &Table| {
        let place = if section.is_empty() { String::new() } else { format!("{section}.") };
        match keys.keys().find(|key| !known(section).contains(&key.as_str())) {
            Some(key) => Err(unknown(&place, key, known(section))),
            None => Ok(()),
        }
    };
    check("", table)?;
    for (section, value) in table {
        if let Value::Table(keys) = value {
            check(section, keys)?;
        }
    }
    Ok(())
}

fn unknown(place: &str, key: &str, known: &[&str]) -> ImportError {
    let near = known.iter().map(|known| (strsim::jaro_winkler(key, known), known));
    let nearest = near.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness > 0.7);
    let suggestion = nearest.map_or_else(
        || format!("the keys here are {}", known.join(", ")),
        |(_, nearest)| format!("did you mean {place}{nearest}?"),
    );
    ImportError::Mapping { what: format!("unknown key {place}{key}: {suggestion}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_mapping_and_explains_every_key() {
        Mapping::parse(Mapping::EXAMPLE).expect("a mapping");
        for (section, keys) in KEYS {
            for key in keys {
                let shown = match (section, *key) {
                    ("", "epoch") => "# epoch = ".to_owned(),
                    ("", section) => format!("[{section}]"),
                    (_, key) => format!("{key} = "),
                };
                assert!(Mapping::EXAMPLE.contains(&shown), "{section}.{key}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let change = |from: &str, to: &str| Mapping::EXAMPLE.replace(from, to);
        for (text, words) in [
            (change("header = true", "heder = true"), "file.heder: did you mean file.header?"),
            (change("[author]", "[auhtor]"), "auhtor: did you mean author?"),
            (change("header = true", "xyzzy = true"), "the keys here are format, delimiter"),
            (change("plan = \"free\"", ""), "organization.plan or organization.plan_column"),
            (change("time = \"time\"", ""), "message.time or message.id"),
            (change("# id = \"id\"", "id = \"id\""), "message.time or message.id"),
            (change("column = \"room\"\nids = \"names\"", "column = \"room\"\nids = \"numbers\""), "room.shared"),
            (change("delimiter = \",\"", "delimiter = \"\u{2192}\""), "file.delimiter"),
            (change("delimiter = \",\"", "delimiter = \"ab\""), "character"),
            (change("# epoch = \"2024-01-01T00:00:00Z\"", "epoch = \"soon\""), "epoch"),
            (change("plan = \"free\"", "plan = \"gold\""), "gold"),
            ("[file".to_owned(), "line 1"),
            (change("column = \"author\"", ""), "column"),
        ] {
            let error = Mapping::parse(&text).expect_err(words).to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}

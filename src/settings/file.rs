//! The settings file: its values, and on which line each stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::document::Document;
use super::layers::Source;
use super::suggest;

/// A settings file; the default is an empty one.
#[derive(Default)]
pub(super) struct File {
    path: PathBuf,
    values: Table,
    /// Section, which of its tables, key → line from 1. The section itself has the key "".
    lines: BTreeMap<(String, usize, String), usize>,
}

impl File {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let about = || format!("settings file {}", path.display());
        let text = std::fs::read_to_string(path).with_context(about)?;
        let values: Table = text.parse().with_context(about)?;
        let lines = lines(&text).with_context(about)?;
        Ok(Self { path: path.to_owned(), values, lines })
    }

    /// Where a key stands.
    pub(super) fn source(&self, section: &str, nth: usize, key: &str) -> Source {
        let place = |key: &str| self.lines.get(&(section.to_owned(), nth, key.to_owned()));
        let line = place(key).or_else(|| place("")).copied().unwrap_or(1);
        Source::File { path: self.path.clone(), line }
    }

    /// Refuses sections that nobody reads.
    pub(super) fn check_sections(&self, document: &Document) -> anyhow::Result<()> {
        for name in self.values.keys() {
            if document.section(name).is_some() {
                continue;
            }
            let names = || document.sections.iter().map(|section| section.name.as_str());
            let otherwise = || format!("the sections are {}", names().collect::<Vec<_>>().join(", "));
            let hint = match suggest::nearest(name, names()) {
                Some(meant) => format!(": did you mean [{meant}]?"),
                None => match document.key_names().find(|full| full.rsplit('.').next() == Some(name)) {
                    Some(full) => format!(": did you mean {full}?"),
                    None => format!(": {}", otherwise()),
                },
            };
            bail!("{}: unknown section [{name}]{hint}", self.source(name, 0, ""));
        }
        Ok(())
    }

    /// A section that is one table; empty where the file has none.
    pub(super) fn table(&self, section: &str) -> anyhow::Result<Table> {
        match self.values.get(section) {
            None => Ok(Table::new()),
            Some(Value::Table(table)) => Ok(table.clone()),
            Some(_) => bail!("{}: {section} is not a section: write [{section}]", self.source(section, 0, "")),
        }
    }

    /// A section that is a list of tables, if the file has it.
    pub(super) fn tables(&self, section: &str) -> anyhow::Result<Option<Vec<Table>>> {
        let Some(value) = self.values.get(section) else { return Ok(None) };
        let tables = value.as_array().and_then(|list| list.iter().map(|value| value.as_table().cloned()).collect());
        let wrong = || format!("{}: {section} is a list of tables: write [[{section}]]", self.source(section, 0, ""));
        tables.map(Some).with_context(wrong)
    }
}

fn lines(text: &str) -> anyhow::Result<BTreeMap<(String, usize, String), usize>> {
    let parsed = DeTable::parse(text)?;
    let line_of = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    let mut lines = BTreeMap::new();
    for (section, value) in parsed.get_ref() {
        let name = section.get_ref().to_string();
        let mut add = |nth: usize, table: &DeTable| {
            for (key, _) in table {
                lines.insert((name.clone(), nth, key.get_ref().to_string()), line_of(key.span().start));
            }
        };
        match value.get_ref() {
            DeValue::Table(table) => add(0, table),
            DeValue::Array(array) => {
                let tables = array.iter().filter_map(|value| value.get_ref().as_table());
                tables.enumerate().for_each(|(nth, table)| add(nth, table));
            }
            _ => {}
        }
        lines.insert((name, 0, String::new()), line_of(section.span().start));
    }
    Ok(lines)
}

//! Defaults < file < environment < flags, put over each other: every key in force with its value and where that comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use toml::{Table, Value};

use super::document::{Document, Key, Section, kind_in_words};
use super::environment::{self, Environment};
use super::file::File;
use super::reference::Reference;
use super::suggest;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Source {
    Default,
    File { path: PathBuf, line: usize },
    Environment { name: String },
    Flag { name: &'static str },
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Environment { name } => write!(f, "environment {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
        }
    }
}

/// A key in force. Not `Debug`: the value can be a secret.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Never printed where [`Self::reference`] is some.
    value: Value,
    /// Where the value stands, if it was given by reference.
    reference: Option<Reference>,
    pub(crate) source: Source,
}

impl Entry {
    /// The value as it may be shown: a reference in place of a secret.
    pub(crate) fn shown(&self) -> Value {
        self.reference.as_ref().map_or_else(|| self.value.clone(), Reference::as_value)
    }
}

/// A section in force: one table, or the tables of a list.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) section: String,
    pub(crate) is_list: bool,
    pub(crate) tables: Vec<Vec<Entry>>,
}

/// All sections in force, in the order of the documented defaults.
#[derive(Clone)]
pub(crate) struct Layers(Vec<Layer>);

/// What stands above the defaults.
pub(crate) struct Inputs<'a> {
    /// The settings file.
    pub(crate) file: Option<&'a Path>,
    /// Environment variables.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// The flag `--data-dir`.
    pub(crate) data_dir: Option<&'a Path>,
}

impl Layers {
    /// Reads and checks every key against what the document allows.
    pub(super) fn read(document: &Document, inputs: &Inputs) -> anyhow::Result<Self> {
        let file = inputs.file.map(File::read).transpose()?.unwrap_or_default();
        file.check_sections(document)?;
        let mut reader = Reader {
            file,
            environment: Environment::new(inputs.environment),
            data_dir: inputs.data_dir,
            referred: BTreeSet::new(),
        };
        let layers = document.sections.iter().map(|section| reader.section(section)).collect::<anyhow::Result<_>>()?;
        reader.environment.check_rest(document, &reader.referred)?;
        Ok(Self(layers))
    }

    /// The sections.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Layer> {
        self.0.iter()
    }

    /// The values as the typed settings read them. Secrets are in it: not to be printed.
    pub(super) fn values(&self) -> Table {
        let table = |entries: &Vec<Entry>| {
            Value::Table(entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect())
        };
        self.table(table)
    }

    /// The values as they may be shown.
    pub(crate) fn shown(&self) -> Table {
        self.table(|entries| Value::Table(entries.iter().map(|entry| (entry.key.clone(), entry.shown())).collect()))
    }

    fn table(&self, one: impl Fn(&Vec<Entry>) -> Value) -> Table {
        let value = |layer: &Layer| match layer.is_list {
            true => Value::Array(layer.tables.iter().map(&one).collect()),
            false => layer.tables.first().map_or_else(|| Value::Table(Table::new()), &one),
        };
        self.0.iter().map(|layer| (layer.section.clone(), value(layer))).collect()
    }

    /// `text` without any value that was given by reference.
    pub(crate) fn without_secrets(&self, text: &str) -> String {
        let entries = self.0.iter().flat_map(|layer| layer.tables.iter().flatten());
        let secrets = entries.filter(|entry| entry.reference.is_some()).filter_map(|entry| entry.value.as_str());
        let mut secrets: Vec<&str> = secrets.filter(|secret| !secret.is_empty()).collect();
        // The longest first: one can stand within another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut text = text.to_owned();
        for secret in secrets {
            text = text.replace(secret, "(secret)");
            // As `Debug` and JSON write it.
            text = text.replace(&secret.escape_debug().to_string(), "(secret)");
        }
        text
    }

    /// The error in words without any value that was given by reference. What lies below a cause that shows one is left out: it
    /// can show a piece of it.
    pub(crate) fn words_without_secrets(&self, error: &anyhow::Error) -> String {
        let mut words = Vec::new();
        for cause in error.chain().map(ToString::to_string) {
            let plain = self.without_secrets(&cause);
            let shows = plain != cause;
            words.push(plain);
            if shows {
                break;
            }
        }
        words.dedup();
        words.join(": ")
    }

    /// True when a value was given by reference.
    pub(crate) fn has_secrets(&self) -> bool {
        self.0.iter().flat_map(|layer| layer.tables.iter().flatten()).any(|entry| entry.reference.is_some())
    }
}

struct Reader<'a> {
    file: File,
    environment: Environment<'a>,
    data_dir: Option<&'a Path>,
    /// Environment variables that the file refers to.
    referred: BTreeSet<String>,
}

impl Reader<'_> {
    fn section(&mut self, section: &Section) -> anyhow::Result<Layer> {
        let tables = if section.is_list { self.list(section)? } else { vec![self.single(section)?] };
        Ok(Layer { section: section.name.clone(), is_list: section.is_list, tables })
    }

    fn single(&mut self, section: &Section) -> anyhow::Result<Vec<Entry>> {
        let table = self.file.table(&section.name)?;
        let adapter = section.key("adapter").map(|key| self.entry(section, key, table.get(&key.name))).transpose()?;
        let adapter = adapter.flatten().and_then(|entry| entry.value.as_str().map(str::to_owned));
        // The environment can name another adapter than the file, whose keys are then not in force, but known.
        let in_file = table.get("adapter").and_then(Value::as_str).map(str::to_owned);
        let in_file = in_file.or_else(|| adapter.clone());
        for (name, _) in &table {
            self.check_known(section, name, in_file.as_deref(), 0)?;
        }
        let mut entries = Vec::new();
        for key in section.keys_with(adapter.as_deref()) {
            entries.extend(self.entry(section, key, table.get(&key.name))?);
        }
        Ok(entries)
    }

    fn check_known(&self, section: &Section, name: &str, adapter: Option<&str>, nth: usize) -> anyhow::Result<()> {
        let place = self.file.source(&section.name, nth, name);
        let full = format!("{}.{name}", section.name);
        match section.key(name) {
            Some(Key { adapter: Some(of), .. }) if Some(of.as_str()) != adapter => {
                let adapter = adapter.unwrap_or_default();
                bail!("{place}: {full} belongs to the adapter {of}, and {}.adapter is {adapter}", section.name)
            }
            Some(_) => Ok(()),
            None => {
                let names: Vec<String> = section.keys_with(adapter).map(|key| section.full_name(key)).collect();
                let otherwise = || format!("the keys are {}", names.join(", "));
                let hint = suggest::hint(&full, names.iter().map(String::as_str), otherwise);
                bail!("{place}: unknown key {full}{hint}")
            }
        }
    }

    /// The key's value from the last layer that has it; none for an optional one that nobody gives.
    fn entry(&mut self, section: &Section, key: &Key, in_file: Option<&Value>) -> anyhow::Result<Option<Entry>> {
        let full = section.full_name(key);
        let from_environment = self.entry_of_environment(&full, key)?;
        if full == "data.dir"
            && let Some(dir) = self.data_dir
        {
            let value = Value::String(dir.display().to_string());
            let source = Source::Flag { name: "--data-dir" };
            return Ok(Some(Entry { key: key.name.clone(), value, reference: None, source }));
        }
        if from_environment.is_some() {
            return Ok(from_environment);
        }
        if let Some(value) = in_file {
            let source = self.file.source(&section.name, 0, &key.name);
            return self.entry_of_file(&full, key, value, source).map(Some);
        }
        Ok(default_of(key))
    }

    fn entry_of_environment(&mut self, full: &str, key: &Key) -> anyhow::Result<Option<Entry>> {
        let name = environment::name_of(full);
        if let Some((name, text)) = self.environment.take(&name) {
            let source = Source::Environment { name };
            let value = typed(&text, key).with_context(|| source.to_string())?;
            return checked(full, key, value, None, source).map(Some);
        }
        if !key.default.is_str() {
            return Ok(None);
        }
        let Some((name, path)) = self.environment.take_file(&name) else { return Ok(None) };
        let (source, reference) = (Source::Environment { name }, Reference::File(path.into()));
        let value = reference.resolve(self.environment.all()).with_context(|| source.to_string())?;
        checked(full, key, Value::String(value), Some(reference), source).map(Some)
    }

    fn entry_of_file(&mut self, full: &str, key: &Key, value: &Value, source: Source) -> anyhow::Result<Entry> {
        let Some(reference) = Reference::of(value).filter(|_| key.default.is_str()) else {
            return checked(full, key, value.clone(), None, source);
        };
        if let Reference::Environment(name) = &reference {
            self.referred.insert(name.clone());
        }
        let resolved = reference.resolve(self.environment.all()).with_context(|| format!("{source}: {full}"))?;
        checked(full, key, Value::String(resolved), Some(reference), source)
    }

    /// The tables of a list: the environment's, else the file's, else the default one.
    fn list(&mut self, section: &Section) -> anyhow::Result<Vec<Vec<Entry>>> {
        let (tables, from_environment) = match self.environment.take(&environment::name_of(&section.name)) {
            Some((name, text)) => {
                let source = Source::Environment { name };
                (Some(inline_tables(&text).with_context(|| format!("{source}"))?), Some(source))
            }
            None => (self.file.tables(&section.name)?, None),
        };
        let Some(tables) = tables else { return Ok(vec![section.keys.iter().filter_map(default_of).collect()]) };
        let mut rows = Vec::with_capacity(tables.len());
        for (nth, table) in tables.iter().enumerate() {
            for (name, _) in table {
                self.check_known(section, name, None, nth).map_err(|error| match &from_environment {
                    Some(source) => anyhow!("{source}: {error}"),
                    None => error,
                })?;
            }
            let mut row = Vec::new();
            for key in &section.keys {
                let Some(value) = table.get(&key.name) else {
                    row.extend(default_of(key));
                    continue;
                };
                let source =
                    from_environment.clone().unwrap_or_else(|| self.file.source(&section.name, nth, &key.name));
                row.push(self.entry_of_file(&section.full_name(key), key, value, source)?);
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

fn default_of(key: &Key) -> Option<Entry> {
    let entry =
        || Entry { key: key.name.clone(), value: key.default.clone(), reference: None, source: Source::Default };
    (!key.optional).then(entry)
}

/// `[{a = 1}, {a = 2}]`.
fn inline_tables(text: &str) -> anyhow::Result<Vec<Table>> {
    let wanted = "write a list of tables such as [{max_messages=3000,max_age=\"40d\"}]";
    let parsed: Table = format!("list = {text}").parse().with_context(|| wanted)?;
    let tables = |value: &Value| value.as_array()?.iter().map(|value| value.as_table().cloned()).collect();
    parsed.get("list").filter(|_| parsed.len() == 1).and_then(tables).with_context(|| wanted)
}

/// Text from the environment as the type of the key.
fn typed(text: &str, key: &Key) -> anyhow::Result<Value> {
    Ok(match &key.default {
        Value::Integer(_) => Value::Integer(text.parse().with_context(|| format!("'{text}' is not a whole number"))?),
        Value::Boolean(_) => Value::Boolean(text.parse().with_context(|| format!("'{text}' is not true or false"))?),
        _ => Value::String(text.to_owned()),
    })
}

/// The value, if the key takes it. Says nothing of a value that came by reference.
fn checked(full: &str, key: &Key, value: Value, reference: Option<Reference>, source: Source) -> anyhow::Result<Entry> {
    // TOML writes an instant without quotes.
    let value = match value {
        Value::Datetime(instant) if key.default.is_str() => Value::String(instant.to_string()),
        value => value,
    };
    if !value.same_type(&key.default) {
        bail!("{source}: {full} must be {}", kind_in_words(&key.default));
    }
    let shown = if reference.is_some() { "not allowed".to_owned() } else { value.to_string() };
    if let (Some((from, to)), Some(number)) = (key.range, value.as_integer())
        && !(from..=to).contains(&number)
    {
        bail!("{source}: {full} is {shown}: it must be from {from} to {to}");
    }
    if let Some(text) = value.as_str()
        && !key.one_of.is_empty()
        && !key.one_of.iter().any(|allowed| allowed == text)
    {
        let hint = match reference {
            Some(_) => format!(": it must be one of {}", key.one_of.join(", ")),
            None => suggest::hint(text, key.one_of.iter().map(String::as_str), || {
                format!("it must be one of {}", key.one_of.join(", "))
            }),
        };
        bail!("{source}: {full} is {shown}{hint}");
    }
    Ok(Entry { key: key.name.clone(), value, reference, source })
}

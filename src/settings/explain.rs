//! One key explained, or all keys of a section.

use serde::Serialize;
use toml::Value;

use super::document::{Document, Key, Section};
use super::layers::{Layers, Source};
use super::{DEFAULTS, environment, suggest};

/// What was asked for.
#[derive(Serialize)]
pub(crate) struct Explanation {
    /// The section, if all of it was asked for.
    pub(crate) section: Option<AboutSection>,
    pub(crate) keys: Vec<AboutKey>,
}

/// What a section is for.
#[derive(Serialize)]
pub(crate) struct AboutSection {
    pub(crate) name: String,
    pub(crate) about: String,
    /// It is a list of tables.
    pub(crate) list: bool,
}

/// What a key means and what is in force.
#[derive(Serialize)]
pub(crate) struct AboutKey {
    pub(crate) key: String,
    pub(crate) about: String,
    /// None where it can be left out.
    pub(crate) default: Option<Value>,
    /// From and to.
    pub(crate) range: Option<(i64, i64)>,
    pub(crate) one_of: Vec<String>,
    /// The adapter to which it belongs.
    pub(crate) adapter: Option<String>,
    pub(crate) environment: String,
    /// The value in each table of the section: one, unless the section is a list or the key is not in force.
    pub(crate) in_force: Vec<InForce>,
}

/// A value in force.
#[derive(Serialize)]
pub(crate) struct InForce {
    /// A reference in place of a secret.
    pub(crate) value: Value,
    pub(crate) source: Source,
}

/// Explains `word`: a key, a section, or the environment variable of one.
///
/// # Errors
///
/// When there is none of that name, with what was probably meant.
pub(crate) fn explain(layers: &Layers, word: &str) -> anyhow::Result<Explanation> {
    let document = Document::parse(DEFAULTS)?;
    let is = |name: &str| name == word || environment::name_of(name) == word;
    if let Some(section) = document.sections.iter().find(|section| is(&section.name)) {
        let about = AboutSection { name: section.name.clone(), about: section.about.clone(), list: section.is_list };
        let keys = section.keys.iter().map(|key| about_key(layers, section, key)).collect();
        return Ok(Explanation { section: Some(about), keys });
    }
    for section in &document.sections {
        if let Some(key) = section.keys.iter().find(|key| is(&section.full_name(key))) {
            return Ok(Explanation { section: None, keys: vec![about_key(layers, section, key)] });
        }
    }
    let keys: Vec<String> = document.key_names().collect();
    let sections = || document.sections.iter().map(|section| section.name.as_str());
    let otherwise = || format!("the sections are {}", sections().collect::<Vec<_>>().join(", "));
    let hint = suggest::hint(word, keys.iter().map(String::as_str).chain(sections()), otherwise);
    anyhow::bail!("there is no setting {word}{hint}")
}

fn about_key(layers: &Layers, section: &Section, key: &Key) -> AboutKey {
    let tables = layers.iter().filter(|layer| layer.section == section.name).flat_map(|layer| &layer.tables);
    let entries = tables.flatten().filter(|entry| entry.key == key.name);
    let full = section.full_name(key);
    AboutKey {
        about: key.about.clone(),
        default: (!key.optional).then(|| key.default.clone()),
        range: key.range,
        one_of: key.one_of.clone(),
        adapter: key.adapter.clone(),
        environment: environment::name_of(if section.is_list { &section.name } else { &full }),
        in_force: entries.map(|entry| InForce { value: entry.shown(), source: entry.source.clone() }).collect(),
        key: full,
    }
}

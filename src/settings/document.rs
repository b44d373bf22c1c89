//! The documented defaults: every section and key, its default, what it means and which values it takes, all read from
//! `settings.default.toml`.
//!
//! - Comments directly above a section or key are its meaning. `# Range: 1 to 10.` and `# One of: a, b.` are checked.
//! - `[[section]]` is a list of tables; what is given replaces the whole list.
//! - `#key = value`, without a blank behind the `#`, is a key that can be left out; its value is an example.
//! - After a line `#[adapter = "x"]`, such keys belong to that adapter and their value is their default.

use anyhow::{Context, anyhow, bail};
use toml::{Table, Value};

/// Every section.
pub(super) struct Document {
    pub(super) sections: Vec<Section>,
}

/// A section.
pub(super) struct Section {
    pub(super) name: String,
    pub(super) about: String,
    /// It is a list of tables.
    pub(super) is_list: bool,
    pub(super) keys: Vec<Key>,
}

/// A key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) about: String,
    /// The default; an example where [`Self::optional`].
    pub(super) default: Value,
    /// It has no default.
    pub(super) optional: bool,
    /// It belongs to this adapter alone.
    pub(super) adapter: Option<String>,
    /// From and to, for whole numbers.
    pub(super) range: Option<(i64, i64)>,
    /// The texts it takes; empty = any.
    pub(super) one_of: Vec<String>,
}

impl Document {
    /// Reads the text of a default file.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut reader = Reader { sections: Vec::new(), comment: Vec::new(), adapter: None };
        for (index, line) in text.lines().enumerate() {
            reader.line(line).with_context(|| format!("the documented defaults, line {}", index + 1))?;
        }
        Ok(Self { sections: reader.sections })
    }

    /// A section by name.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Every `section.key`.
    pub(super) fn key_names(&self) -> impl Iterator<Item = String> {
        self.sections.iter().flat_map(|section| section.keys.iter().map(|key| section.full_name(key)))
    }
}

impl Section {
    /// A key by name.
    pub(super) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// `section.key`.
    pub(super) fn full_name(&self, key: &Key) -> String {
        format!("{}.{}", self.name, key.name)
    }

    /// The keys that mean something with `adapter`.
    pub(super) fn keys_with(&self, adapter: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.adapter.is_none() || key.adapter.as_deref() == adapter)
    }
}

struct Reader {
    sections: Vec<Section>,
    comment: Vec<String>,
    adapter: Option<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        if let Some(adapter) = line.strip_prefix("#[adapter = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            self.adapter = Some(adapter.to_owned());
            self.comment.clear();
        } else if let Some(comment) =
            line.strip_prefix("# ").or_else(|| line.strip_prefix('#').filter(|l| l.is_empty()))
        {
            self.comment.push(comment.to_owned());
        } else if let Some(commented) = line.strip_prefix('#') {
            self.key(commented, true)?;
        } else if line.trim().is_empty() {
            self.comment.clear();
        } else if line.starts_with('[') {
            self.section(line)?;
        } else {
            self.key(line, false)?;
        }
        Ok(())
    }

    fn section(&mut self, line: &str) -> anyhow::Result<()> {
        let is_list = line.starts_with("[[");
        let name = line.trim_matches(['[', ']']).to_owned();
        if self.sections.iter().any(|section| section.name == name) {
            bail!("[{name}] stands twice");
        }
        self.adapter = None;
        let about = std::mem::take(&mut self.comment).join(" ");
        self.sections.push(Section { name, about, is_list, keys: Vec::new() });
        Ok(())
    }

    fn key(&mut self, line: &str, commented: bool) -> anyhow::Result<()> {
        let table: Table = line.parse()?;
        let (name, default) = table.into_iter().next().context("no key")?;
        let (mut about, mut range, mut one_of) = (Vec::new(), None, Vec::new());
        for comment in std::mem::take(&mut self.comment) {
            let marked = |mark: &str| comment.strip_prefix(mark).map(|rest| rest.trim_end_matches('.'));
            if let Some(text) = marked("Range: ") {
                let (from, to) = text.split_once(" to ").ok_or_else(|| anyhow!("'{text}' is not a range"))?;
                range = Some((from.parse()?, to.parse()?));
            } else if let Some(text) = marked("One of: ") {
                one_of = text.split(", ").map(str::to_owned).collect();
            } else {
                about.push(comment);
            }
        }
        let section = self.sections.last_mut().context("a key before the first section")?;
        let optional = commented && self.adapter.is_none();
        let adapter = self.adapter.clone();
        section.keys.push(Key { name, about: about.join(" "), default, optional, adapter, range, one_of });
        Ok(())
    }
}

/// What a value has to be, in words.
pub(super) fn kind_in_words(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        Value::String(_) => "a text in quotes",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
        Value::Float(_) => "a number",
        Value::Datetime(_) => "an instant",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_meaning_and_a_default_it_allows() {
        let document = Document::parse(crate::settings::DEFAULTS).expect("the defaults");
        assert!(document.key_names().count() > 15, "does this test still read the defaults?");
        for section in &document.sections {
            for key in &section.keys {
                let name = section.full_name(key);
                assert!(!key.about.is_empty(), "{name} is not explained");
                if let (Some((from, to)), Some(value)) = (key.range, key.default.as_integer()) {
                    assert!((from..=to).contains(&value), "{name}: the default is out of range");
                }
                assert_eq!(key.default.is_integer(), key.range.is_some(), "{name}: a number has a range");
            }
        }
    }

    #[test]
    fn keys_of_an_adapter_are_its_own() {
        let text = "# Who.\n[people]\n# Which.\n# One of: embedded, mysql.\nadapter = \"embedded\"\n\
                    #[adapter = \"mysql\"]\n# Where it is.\n#url = \"\"\n\n# Next.\n[next]\n# Left out.\n#a = 1\n";
        let document = Document::parse(text).expect("a document");
        let people = document.section("people").expect("the section");
        assert_eq!((people.about.as_str(), people.keys.len()), ("Who.", 2));
        let names = |adapter| people.keys_with(adapter).map(|key| key.name.as_str()).collect::<Vec<_>>();
        assert_eq!((names(Some("embedded")), names(Some("mysql"))), (vec!["adapter"], vec!["adapter", "url"]));
        assert_eq!(people.keys[0].one_of, ["embedded", "mysql"]);
        let next = &document.section("next").expect("the section").keys[0];
        assert!(next.optional && next.adapter.is_none() && !people.keys[1].optional);
    }

    #[test]
    fn a_default_file_that_means_nothing_names_the_line() {
        for text in ["[a]\n\nx = ", "\n\nx = 1", "[a]\n\n[a]", "[a]\n# Range: 1 or 2.\nx = 1"] {
            let error = Document::parse(text).err().expect(text);
            assert!(format!("{error:#}").contains("line 3"), "{text:?}: {error:#}");
        }
    }
}

//! Values given by reference: they stand in a file or an environment variable, are secrets, and are never printed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use toml::{Table, Value};

/// The longest value that is read from a file, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    File(PathBuf),
    Environment(String),
}

impl Reference {
    /// `{ file = "PATH" }` or `{ env = "NAME" }`.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let table = value.as_table().filter(|table| table.len() == 1)?;
        let text = |name| table.get(name).and_then(Value::as_str);
        text("file")
            .map(|path| Self::File(path.into()))
            .or_else(|| text("env").map(|name| Self::Environment(name.to_owned())))
    }

    /// The reference itself, as a settings file has it.
    pub(super) fn as_value(&self) -> Value {
        let (name, text) = match self {
            Self::File(path) => ("file", path.display().to_string()),
            Self::Environment(name) => ("env", name.clone()),
        };
        Value::Table(Table::from_iter([(name.to_owned(), Value::String(text))]))
    }

    /// Reads the value. One line end behind it does not belong to it.
    pub(super) fn resolve(&self, environment: &BTreeMap<String, String>) -> anyhow::Result<String> {
        let path = match self {
            Self::Environment(name) => {
                return environment
                    .get(name)
                    .cloned()
                    .with_context(|| format!("environment variable {name} is not set"));
            }
            Self::File(path) => path,
        };
        let read = || -> std::io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            std::fs::File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().with_context(|| format!("the file {} it refers to", path.display()))?;
        if bytes.len() as u64 > BYTES_MAX {
            bail!("the file {} it refers to is longer than {BYTES_MAX} bytes", path.display());
        }
        // The cause would show where it stops being text.
        let Ok(mut text) = String::from_utf8(bytes) else {
            bail!("the file {} it refers to is not UTF-8 text", path.display());
        };
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(bytes: &[u8]) -> anyhow::Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), bytes)?;
        Reference::File(file.path().to_owned()).resolve(&BTreeMap::new())
    }

    #[test]
    fn one_line_end_is_cut_and_nothing_else() {
        for (bytes, value) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("", "")] {
            assert_eq!(of_file(bytes.as_bytes()).expect("a value"), value, "{bytes:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_value_is_refused_without_showing_it() {
        assert!(of_file(&[b'x'; 64 << 10]).is_ok());
        for (bytes, words) in [(vec![b'x'; (64 << 10) + 1], "longer than 65536 bytes"), (vec![b'x', 0xff], "UTF-8")] {
            let error = format!("{:#}", of_file(&bytes).expect_err("refused"));
            assert!(error.contains(words) && !error.contains("xx"), "{error}");
        }
    }
}

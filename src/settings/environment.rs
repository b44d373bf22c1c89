//! Environment variables that are settings, and those that only look like it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use anyhow::bail;

use super::document::Document;
use super::suggest;

/// What every variable of ours begins with.
const PREFIX: &str = "LANNER_";
/// Behind the name of a key: the value stands in this file.
const FILE: &str = "_FILE";
/// Variables of ours that are no settings: of the command line, of whoever runs it, and of the tests.
const NOT_SETTINGS: [&str; 8] = [
    "LANNER_CONFIG",
    "LANNER_ACTOR",
    "LANNER_JOB_NAME",
    "LANNER_SEED",
    "LANNER_CASES",
    "LANNER_LAW_CASES",
    "LANNER_SCHEDULES",
    "LANNER_REAL_DATA",
];

/// `workers.in_flight` as `LANNER_WORKERS_IN_FLIGHT`.
pub(super) fn name_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// The variables that are text: all of ours, and those that a file can refer to.
pub(super) fn ours(all: impl Iterator<Item = (OsString, OsString)>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut text = BTreeMap::new();
    for (name, value) in all {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => {
                text.insert(name, value);
            }
            Err(_) if name.starts_with(PREFIX) => bail!("environment: {name} is not UTF-8 text"),
            Err(_) => {}
        }
    }
    Ok(text)
}

/// The variables, and which of them nobody has asked for yet.
pub(super) struct Environment<'a> {
    all: &'a BTreeMap<String, String>,
    taken: BTreeSet<String>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(all: &'a BTreeMap<String, String>) -> Self {
        Self { all, taken: BTreeSet::new() }
    }

    /// Every variable.
    pub(super) fn all(&self) -> &'a BTreeMap<String, String> {
        self.all
    }

    /// The variable `name` with its value.
    pub(super) fn take(&mut self, name: &str) -> Option<(String, String)> {
        let (name, value) = self.all.get_key_value(name)?;
        self.taken.insert(name.clone());
        Some((name.clone(), value.clone()))
    }

    /// The variable that names the file with the value of `name`.
    pub(super) fn take_file(&mut self, name: &str) -> Option<(String, String)> {
        self.take(&format!("{name}{FILE}"))
    }

    /// Refuses variables that look like settings and are none, but for those that the file refers to.
    pub(super) fn check_rest(&self, document: &Document, referred: &BTreeSet<String>) -> anyhow::Result<()> {
        for (name, value) in self.all.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            let known = self.taken.contains(name) || referred.contains(name) || NOT_SETTINGS.contains(&name.as_str());
            if known || is_of_a_service(name, value) {
                continue;
            }
            if let Some(key) = name.strip_suffix(FILE).filter(|key| self.taken.contains(*key)) {
                bail!("environment: {name} and {key} are both set: keep one of them");
            }
            let lists =
                document.sections.iter().filter(|section| section.is_list).map(|section| name_of(&section.name));
            let in_list = lists.clone().find(|list| name.starts_with(&format!("{list}_")));
            if let Some(list) = in_list {
                bail!("environment: {name} is no setting: give the whole list as {list}");
            }
            if let Some((key, adapter)) = of_another_adapter(document, name) {
                bail!("environment: {name} belongs to {key} of the adapter {adapter}, which is not chosen");
            }
            let names: Vec<String> = document.key_names().map(|key| name_of(&key)).chain(lists).collect();
            let candidates = names.iter().map(String::as_str).chain(NOT_SETTINGS);
            let otherwise = || "lanner settings --defaults lists them".to_owned();
            bail!("environment: {name} is no setting{}", suggest::hint(name, candidates, otherwise));
        }
        Ok(())
    }
}

/// The key that `name` sets with an adapter that is not chosen, and that adapter.
fn of_another_adapter<'d>(document: &'d Document, name: &str) -> Option<(String, &'d str)> {
    let name = name.strip_suffix(FILE).unwrap_or(name);
    document.sections.iter().find_map(|section| {
        let key = section.keys.iter().find(|key| name_of(&section.full_name(key)) == name)?;
        Some((section.full_name(key), key.adapter.as_deref()?))
    })
}

/// True for what Kubernetes puts into every container where a Service is called `lanner` or `lanner-…`.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let is_a_number = |rest: &str| rest.split('_').next().is_some_and(|n| n.parse::<u16>().is_ok());
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
        || name.split_once("_PORT_").is_some_and(|(_, rest)| is_a_number(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_services_are_told_from_settings() {
        for (name, value) in [
            ("LANNER_PORT", "tcp://10.0.0.7:80"),
            ("LANNER_SERVICE_HOST", "10.0.0.7"),
            ("LANNER_WEB_SERVICE_PORT_HTTP", "80"),
            ("LANNER_PORT_80_TCP_ADDR", "10.0.0.7"),
        ] {
            assert!(is_of_a_service(name, value), "{name}");
        }
        for (name, value) in [("LANNER_WORKERS_IN_FLIGHT", "7"), ("LANNER_PORT", "80"), ("LANNER_PORT_NAME", "x")] {
            assert!(!is_of_a_service(name, value), "{name}");
        }
    }
}

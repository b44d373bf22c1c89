//! The keys of bearer tokens: those of the settings, or one of the data directory's own.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::Keys;
use embedded::DataDir;

use crate::exit::{self, Failure};
use crate::settings::Settings;

/// The file of the data directory's own key.
const FILE: &str = "jwks.json";

/// The keys of the settings; without any, those of the data directory, where they are made once.
pub(super) fn keys(settings: &Settings, data_dir: Option<&DataDir>) -> Result<Keys, Failure> {
    let auth = &settings.auth;
    let read = |text: &str, from: &str| {
        Keys::from_jwks(text).map_err(|error| {
            Failure::new(exit::CONFIGURATION, anyhow::Error::new(error).context(format!("the JWK Set of {from}")))
        })
    };
    let keys = match data_dir {
        _ if !auth.jwks.is_empty() => read(&auth.jwks, "the setting auth.jwks")?,
        Some(data_dir) => {
            let path = data_dir.path().join(FILE);
            let text = made_once(&path)
                .map_err(|error| Failure::new(exit::CONFIGURATION, error.context(path.display().to_string())))?;
            read(&text, &path.display().to_string())?
        }
        None => {
            let words = "settings: auth.jwks is empty: without a data directory the keys of tokens must be given";
            return Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(words)));
        }
    };
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(keys.expecting(given(&auth.audience), given(&auth.issuer)))
}

/// The text of the file, which is made where it is missing, for its owner alone. Of several processes one makes it.
fn made_once(path: &Path) -> anyhow::Result<String> {
    if !path.exists() {
        let text = Keys::generate()?;
        let unfinished = unfinished(path);
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
        match std::fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => std::fs::remove_file(&unfinished)?,
        }
    }
    std::fs::read_to_string(path).context("it cannot be read")
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.unfinished", std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let first = made_once(&path).expect("a key");
        assert_eq!(made_once(&path).expect("the same key"), first);
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}

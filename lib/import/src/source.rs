//! The folder that is imported: which file holds which table, and from when ids count.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use chat::{Epoch, Timestamp};

use crate::{ImportError, ImportOptions, Table, mapping::Mapped, tables::Format};

/// Bytes of a file's end that go into its fingerprint: a Parquet file's footer stands there.
const FINGERPRINT_TAIL: u64 = 64 << 10;

/// The file of a table.
#[derive(Clone, Debug)]
pub(crate) struct TableFile {
    pub(crate) table: Table,
    pub(crate) path: PathBuf,
    /// Its name in the folder.
    pub(crate) name: String,
    pub(crate) format: Format,
}

/// What the folder holds.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// In the order of [`Table::ALL`]; then, perhaps, the names.
    pub(crate) tables: Vec<TableFile>,
    pub(crate) epoch: Epoch,
    /// The files that are read. Their fingerprint tells whether they have changed.
    sources: Vec<PathBuf>,
    /// What else leads to another content.
    salt: u64,
    /// Names of files that are no part of an import, ascending.
    pub(crate) ignored: Vec<String>,
}

impl Folder {
    /// Looks which files there are. `fixed` is the epoch that the store already counts from, if any.
    pub(crate) fn open(path: &Path, fixed: Option<Epoch>) -> Result<Self, ImportError> {
        let unreadable = |source| ImportError::Read { path: path.to_owned(), source };
        let mut ignored = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            ignored.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
        }
        ignored.sort_unstable();
        let mut take = |name: String| match ignored.binary_search(&name) {
            Ok(place) => Some(ignored.remove(place)),
            Err(_) => None,
        };
        let mut tables = Vec::new();
        for table in Table::ALL.into_iter().chain([Table::Names]) {
            let folder = path.to_owned();
            let (name, format) = match (take(format!("{table}.parquet")), take(format!("{table}.csv"))) {
                (Some(name), None) => (name, Format::Parquet),
                (None, Some(name)) => (name, Format::Csv),
                (None, None) if table == Table::Names => continue,
                (None, None) => return Err(ImportError::MissingTable { folder, table }),
                (Some(_), Some(_)) => return Err(ImportError::TwoFiles { folder, table }),
            };
            tables.push(TableFile { table, path: path.join(&name), name, format });
        }
        let told = match take("meta.json".to_owned()) {
            Some(name) => read_epoch(&path.join(name))?,
            None => None,
        };
        let epoch = agreed("meta.json", told, fixed)?;
        let sources = tables.iter().map(|file: &TableFile| file.path.clone()).collect();
        Ok(Self { path: path.to_owned(), tables, epoch, sources, salt: 0, ignored })
    }

    /// What the files at `paths` became; `name` stands for them, `salt` for how they were mapped.
    pub(crate) fn mapped(mapped: Mapped, epoch: Epoch, paths: &[PathBuf], name: String, salt: u64) -> Self {
        let mapped = Arc::new(mapped);
        let file = |table: Table| {
            let name = if table == Table::Messages { name.clone() } else { table.name().to_owned() };
            TableFile { table, path: PathBuf::new(), name, format: Format::Mapped(mapped.clone()) }
        };
        let tables = Table::ALL.into_iter().chain([Table::Names]).map(file).collect();
        Self { path: PathBuf::from(name.clone()), tables, epoch, sources: paths.to_vec(), salt, ignored: Vec::new() }
    }

    /// Equal for the same unchanged files and the same options. It takes names, lengths, times of change and the end of each
    /// file, not all bytes: what depends on it (where an interrupted load goes on) is worth no second reading.
    pub(crate) fn fingerprint(&self, options: &ImportOptions) -> Result<u64, ImportError> {
        let mut hasher = DefaultHasher::new();
        let wanted = (options.messages_since, options.messages_before);
        (options.skip_bad, wanted, self.epoch.0.as_millis(), self.salt).hash(&mut hasher);
        for path in &self.sources {
            let tail = || {
                let mut opened = File::open(path)?;
                let metadata = opened.metadata()?;
                let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                opened.seek(SeekFrom::Start(metadata.len().saturating_sub(FINGERPRINT_TAIL)))?;
                let mut tail = Vec::new();
                opened.take(FINGERPRINT_TAIL).read_to_end(&mut tail)?;
                Ok((metadata.len(), since, tail))
            };
            let tail = tail().map_err(|source| ImportError::Read { path: path.clone(), source })?;
            (path.file_name(), tail).hash(&mut hasher);
        }
        Ok(hasher.finish())
    }
}

/// The epoch that `said_by` says, which must be that of the store if that is fixed.
pub(crate) fn agreed(said_by: &'static str, told: Option<Epoch>, fixed: Option<Epoch>) -> Result<Epoch, ImportError> {
    match (told, fixed) {
        (Some(told), Some(fixed)) if told != fixed => Err(ImportError::EpochDisagrees { said_by, told, fixed }),
        (Some(epoch), _) | (None, Some(epoch)) => Ok(epoch),
        (None, None) => Ok(Epoch::default()),
    }
}

fn read_epoch(path: &Path) -> Result<Option<Epoch>, ImportError> {
    let text = fs::read(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    let meta: serde_json::Value = serde_json::from_slice(&text).map_err(|source| ImportError::Broken {
        file: "meta.json".to_owned(),
        at: None,
        source: source.into(),
    })?;
    match meta.get("epoch_ms") {
        None if meta.is_object() => Ok(None),
        Some(value) => match value.as_u64() {
            Some(ms) if ms <= Timestamp::MAX.as_millis() => Ok(Some(Epoch(Timestamp::from_millis(ms)))),
            _ => Err(ImportError::Epoch),
        },
        None => Err(ImportError::Epoch),
    }
}

//! The import as a whole.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use tokio::time::Instant;

use crate::{
    ImportError, ImportReport, Load, Mapping, Name, Progress, Source, Stage,
    check::Work,
    directory::Directory,
    mapping,
    messages::Messages,
    names,
    source::{Folder, agreed},
};

/// Names asked for at a time.
const NAMES: usize = 8 << 10;

/// How to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOptions {
    /// Where temporary files go: a folder on a disk with room for 24 bytes per message, 48 where the file is not in order of id.
    pub scratch_dir: PathBuf,
    /// Leave bad rows out and count them, instead of stopping at the first.
    pub skip_bad: bool,
    /// Rows sorted in memory at a time; each costs 32 bytes while it is sorted.
    pub sort_rows: usize,
    /// From when the store's message ids count, where that is fixed already. A `meta.json` that says otherwise is refused;
    /// without one this is taken, else [`chat::Epoch::default`].
    pub epoch: Option<chat::Epoch>,
    /// Messages written before this instant are left out, as if the files did not hold them.
    pub messages_since: Option<chat::Timestamp>,
    /// Messages written at this instant or after it are left out.
    pub messages_before: Option<chat::Timestamp>,
}

impl ImportOptions {
    /// Stops at bad rows; sorts 4,194,304 rows at a time (128 MiB).
    pub fn new(scratch_dir: impl Into<PathBuf>) -> Self {
        Self {
            scratch_dir: scratch_dir.into(),
            skip_bad: false,
            sort_rows: 4 << 20,
            epoch: None,
            messages_since: None,
            messages_before: None,
        }
    }
}

/// Imports the tables in `folder` into the store behind `load` and answers what happened.
///
/// 1. Everything is read and checked. A bad row stops the import here, with the store as it was, unless bad rows are to be
///    left out. What refers to a row that is left out is left out too.
/// 2. The directory (organizations, accounts, rooms, memberships) is loaded and published at once.
/// 3. Messages are loaded, then what they say, if the files tell: those are read once more for it, a bounded batch at a time.
///
/// Killed before the end of 2, an import leaves the store as it was; killed later, it leaves the new directory and some of the
/// messages: run it again. A second run of the same files ends as the first, and goes on where that one had stored messages durably.
///
/// Decoding and sorting run on the calling task: give it a thread of its own if others wait.
pub async fn import(
    folder: &Path,
    options: &ImportOptions,
    load: &mut dyn Load,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<ImportReport, ImportError> {
    let folder = Folder::open(folder, options.epoch)?;
    run(folder, options, load, progress).await
}

/// Imports the messages in the files at `paths`, which are read in that order as if they were one, into the store behind `load`.
///
/// The mapping tells which column is what; who wrote in a room is its member. The rows that follow go the way of [`import()`].
/// Names get ids in the order of their first appearance, after those that the store knows; messages get ids from their times. So
/// the same files again, or with lines added at the end of the last, lead to the same ids.
///
/// Memory grows with the number of distinct names and ids, some 100 bytes each, and with nothing else; the folder for temporary
/// files needs room for the bodies and 32 bytes for each message besides.
pub async fn import_mapped(
    mapping: &Mapping,
    paths: &[PathBuf],
    options: &ImportOptions,
    load: &mut dyn Load,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<ImportReport, ImportError> {
    let since = Instant::now();
    progress(Progress { stage: Stage::Mapping, done: 0, total: None });
    let epoch = agreed("the mapping", mapping.epoch()?, options.epoch)?;
    let mut known = Vec::new();
    while mapping.deals_ids() {
        let after = known.last().map(|name: &Name| (name.kind, name.id));
        let failed = |source| ImportError::Load { what: "anything", source };
        let mut page = load.known_names(after, NAMES).await.map_err(failed)?;
        let end = page.len() < NAMES;
        known.append(&mut page);
        if end {
            break;
        }
    }
    let name = match paths {
        [path] => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        paths => format!("{} files", paths.len()),
    };
    let mut hasher = DefaultHasher::new();
    mapping.hash(&mut hasher);
    let mapped = mapping::map(mapping, paths, known, epoch, options, progress)?;
    let folder = Folder::mapped(mapped, epoch, paths, name, hasher.finish());
    let seconds = since.elapsed().as_secs_f64();
    let mut report = run(folder, options, load, progress).await?;
    report.seconds.insert(Stage::Mapping, seconds);
    Ok(report)
}

async fn run(
    folder: Folder,
    options: &ImportOptions,
    load: &mut dyn Load,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<ImportReport, ImportError> {
    let source = Source { epoch: folder.epoch, fingerprint: folder.fingerprint(options)? };
    let report = ImportReport {
        epoch: folder.epoch,
        tables: BTreeMap::new(),
        ignored_files: folder.ignored.clone(),
        ended_memberships: 0,
        organization_rooms: 0,
        live_messages: 0,
        deleted_messages: 0,
        unwanted_messages: 0,
        bodies: 0,
        message_ids: None,
        resumed_after: None,
        seconds: BTreeMap::new(),
    };
    let mut work = Work { folder, options, progress, report, stage: Stage::Organizations, since: Instant::now() };
    // All files are opened first: a missing column of the last one is told before the first is read.
    for file in &work.folder.tables {
        crate::tables::open(file)?;
    }
    let mut directory = Directory::read(&mut work)?;
    let mut messages = Messages::read(&mut work, &mut directory.rooms)?;
    names::check(&mut work)?;
    if work.folder.fingerprint(options)? != source.fingerprint {
        return Err(ImportError::Changed { file: work.folder.path.display().to_string() });
    }

    let failed = |what| move |source| ImportError::Load { what, source };
    work.begin(Stage::LoadDirectory, Some(directory.rows()));
    load.begin(&source).await.map_err(failed("anything"))?;
    directory.load(&mut work, load).await?;
    names::load(&mut work, load).await?;
    let after = load.publish().await.map_err(failed("the directory"))?;
    work.begin(Stage::LoadMessages, None);
    work.report.resumed_after = after;
    messages.load(&mut work, load, &mut directory.rooms, after).await?;
    crate::bodies::load(&mut work, load).await?;
    load.finish().await.map_err(failed("messages"))?;
    work.end();
    Ok(work.report)
}

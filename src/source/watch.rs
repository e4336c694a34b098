//! What following asks of a source: whether it has changed, and which of its rows may be new.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Error, Part, Record, Source, Spot, Stamp, Tables, is_sqlite, is_unwritten, sqlite, unread};

/// What [`follow`](crate::follow) asks of a database.
impl Source {
    /// Finds the tables of a database, and reads none. None: it is no database.
    pub fn open(path: &Path, tables: &Tables) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        let is_database =
            metadata.is_file() && (is_sqlite(path).map_err(failed)? || is_unwritten(path, &metadata));
        if is_database { sqlite::follow(path, tables).map(Some) } else { Ok(None) }
    }

    /// The next rows of a table, in order; none at its end.
    pub fn stamps(&self, part: usize, after: Option<u64>) -> Result<Vec<Stamp>, Error> {
        match (self.parts.get(part), &self.database) {
            (Some(Part::Rows(rows)), Some(database)) => rows.stamps(database, after),
            _ => Ok(Vec::new()),
        }
    }

    /// The row at a place, whatever stands there now.
    pub fn row(&self, part: usize, at: u64) -> Result<Option<(Spot, Record)>, Error> {
        match (self.parts.get(part), &self.database) {
            (Some(Part::Rows(rows)), Some(database)) => rows.get(database, at),
            _ => Ok(None),
        }
    }
}

/// Tells whether a file, a folder or a database has changed.
#[derive(Debug, Default)]
pub struct Watch {
    database: Option<sqlite::Watch>,
    /// What the system says of the files: which they are, how long, when written.
    files: Vec<(u64, u64, u64, i128)>,
}

impl Watch {
    /// True if it may have changed since this was last asked; at first always.
    pub fn has_changed(&mut self, path: &Path) -> Result<bool, Error> {
        let failed = |source| unread(path, source);
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(Error::NotFollowed { path: path.to_owned() });
        }
        let files = stamps(path).map_err(failed)?;
        let is_same_file = |a: &[(u64, u64, u64, i128)], b: &[(u64, u64, u64, i128)]| {
            a.first().map(|file| (file.0, file.1)) == b.first().map(|file| (file.0, file.1))
        };
        let replaced = !is_same_file(&self.files, &files);
        let touched = std::mem::replace(&mut self.files, files) != self.files;
        if !path.is_file() || !is_sqlite(path).map_err(failed)? {
            self.database = None;
            return Ok(touched);
        }
        if replaced {
            self.database = None;
        }
        let watch = match &mut self.database {
            Some(watch) => watch,
            none => none.insert(sqlite::Watch::of(path)?),
        };
        watch.has_changed()
    }

    /// Which file it is, as far as the system knows.
    pub fn identity(&self) -> String {
        self.files.first().map_or_else(String::new, |(device, inode, ..)| format!("{device}:{inode}"))
    }
}

/// What the system says of a file, or of a folder and the files in it.
fn stamps(path: &Path) -> io::Result<Vec<(u64, u64, u64, i128)>> {
    let stamp = |metadata: &std::fs::Metadata| {
        let written = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        (metadata.dev(), metadata.ino(), metadata.len(), written)
    };
    let metadata = std::fs::metadata(path)?;
    let mut stamps = vec![stamp(&metadata)];
    if metadata.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path)? {
            files.extend(entry?.metadata().ok().as_ref().map(stamp));
        }
        files.sort_unstable();
        stamps.extend(files);
    }
    Ok(stamps)
}

//! What following asks of a source: whether it has changed, and which of its rows may be new.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::{Error, Location, Part, Record, Source, Spot, Stamp, Tables};
use super::{is_sqlite, is_unwritten, postgres, sqlite, unread};

/// Every row of an SQLite database is asked for its length at most so often: a pause for each. To ask takes a tenth of it, so
/// a tenth of a core is spent at most. Meanwhile only new rows are looked for, and those that are not over.
const ROW_PAUSE: Duration = Duration::from_micros(10);
/// Fewer rows are asked for with every look.
const MANY_ROWS: u64 = 10_000;

/// Tells whether a file, a folder or a database has changed, and which of its rows may be new.
#[derive(Debug)]
pub struct Watch(Kind);

/// Of which rows a look asks for stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Of all: those that are missing are gone.
    Whole,
    /// Of all that may have been written since the last look.
    Written,
    /// Of those behind the last one that is known. Others may have been written too.
    Behind,
}

#[derive(Debug)]
enum Kind {
    Files(Box<Files>),
    Postgres(Box<postgres::Watch>),
}

impl Watch {
    /// Of a source that can be read again.
    pub fn of(location: &Location) -> Result<Self, Error> {
        Ok(Self(match location {
            Location::Path(path) => Kind::Files(Box::new(Files::of(path))),
            Location::Stdin => return Err(Error::NotFollowed { path: location.name() }),
            Location::Postgres(url) => Kind::Postgres(Box::new(postgres::Watch::of(url)?)),
        }))
    }

    /// True if it may have changed since this was last asked, at first always, or if it is to be looked at `again` anyway.
    /// Then a look begins, which has to be [ended](Self::ended); so it has after an error.
    pub async fn has_changed(&mut self, again: bool) -> Result<bool, Error> {
        match &mut self.0 {
            Kind::Files(files) => files.is_to_be_looked_at(again),
            Kind::Postgres(watch) => watch.has_changed(again).await,
        }
    }

    /// Finds the tables of a database, and reads none. None: it is no database.
    pub async fn open(&mut self, tables: &Tables) -> Result<Option<Source>, Error> {
        match &mut self.0 {
            Kind::Files(files) => files.open(tables),
            Kind::Postgres(watch) => watch.open(tables).await.map(Some),
        }
    }

    /// A look ended: well, with so many rows, or not.
    pub fn ended(&mut self, rows: Option<u64>) {
        match &mut self.0 {
            Kind::Files(files) => files.ended(rows),
            Kind::Postgres(watch) => watch.ended(rows.is_some()),
        }
    }

    /// What tells a part from another of that name: where a database was replaced, nothing of it was read.
    pub fn identity(&self, source: &Source, part: usize) -> String {
        match (&self.0, source.parts.get(part)) {
            (Kind::Files(files), _) => files.identity(),
            (_, Some(Part::Leaf(leaf))) => leaf.identity().to_owned(),
            _ => String::new(),
        }
    }

    /// Of which rows the look that began asks for stamps.
    pub fn reach(&self) -> Reach {
        match &self.0 {
            Kind::Files(files) if files.is_whole => Reach::Whole,
            Kind::Files(_) => Reach::Behind,
            Kind::Postgres(watch) if watch.is_partial() => Reach::Written,
            Kind::Postgres(_) => Reach::Whole,
        }
    }

    /// The file that was followed until another took its place, if it lies beside it by another name. Asked for once.
    pub fn take_rotated(&mut self) -> Option<PathBuf> {
        match &mut self.0 {
            Kind::Files(files) => files.take_rotated(),
            Kind::Postgres(_) => None,
        }
    }

    /// True if another process may have led since the last look that ended well.
    pub fn is_new_lead(&self) -> bool {
        matches!(&self.0, Kind::Postgres(watch) if watch.is_new_lead())
    }

    /// True if another process stands by.
    pub fn is_shared(&self) -> bool {
        matches!(&self.0, Kind::Postgres(watch) if watch.is_shared())
    }
}

/// What following asks of a database that was opened for it.
impl Source {
    /// True if a row has another place or another length whenever it was written to, and one mark for ever.
    pub fn tells_versions(&self) -> bool {
        self.postgres.is_some()
    }

    /// The next rows of a table behind a place, in order, and the last place that was looked at; none at its end.
    pub async fn stamps(&self, part: usize, after: Option<u64>) -> Result<Option<(Vec<Stamp>, u64)>, Error> {
        match (self.parts.get(part), &self.database, &self.postgres) {
            (Some(Part::Rows(rows)), Some(database), _) => {
                let stamps = rows.stamps(database, after)?;
                let last = stamps.last().map(|stamp| stamp.at);
                Ok(last.map(|last| (stamps, last)))
            }
            (Some(Part::Leaf(leaf)), _, Some(database)) => leaf.stamps(database, after).await,
            _ => Ok(None),
        }
    }

    /// Hands over the rows at places, whatever stands there now.
    pub async fn rows(
        &self,
        part: usize,
        places: &[u64],
        accept: &mut (dyn FnMut(Spot, Record) + Send),
    ) -> Result<(), Error> {
        match (self.parts.get(part), &self.database, &self.postgres) {
            (Some(Part::Rows(rows)), Some(database), _) => rows.rows(database, places, accept),
            (Some(Part::Leaf(leaf)), _, Some(database)) => leaf.rows(database, places, accept).await,
            _ => Ok(()),
        }
    }

    /// Reads records of one part again. Returns where one is gone, or is no longer what was seen.
    pub async fn as_seen(
        &self,
        spots: &[Spot],
        accept: &mut (dyn FnMut(Record) + Send),
    ) -> Result<Option<u64>, Error> {
        let Some(first) = spots.first() else { return Ok(None) };
        if let Some(Part::Text(_) | Part::Table(_)) = self.part(*first) {
            for spot in spots {
                match self.fetch(*spot).await {
                    Ok(Some(record)) if record.json.len() == spot.length as usize => accept(record),
                    Ok(_) | Err(Error::Changed { .. }) => return Ok(Some(spot.at)),
                    Err(error) => return Err(error),
                }
            }
            return Ok(None);
        }
        let places: Vec<u64> = spots.iter().map(|spot| spot.at).collect();
        let mut missing: BTreeMap<u64, Spot> = spots.iter().map(|spot| (spot.at, *spot)).collect();
        let mut same = |now: Spot, record| {
            if missing.get(&now.at).is_some_and(|seen| (seen.length, seen.mark) == (now.length, now.mark)) {
                missing.remove(&now.at);
                accept(record);
            }
        };
        self.rows(first.part as usize, &places, &mut same).await?;
        Ok(missing.into_keys().next())
    }
}

/// A file, a folder, or a database in a file.
#[derive(Debug, Default)]
struct Files {
    path: PathBuf,
    database: Option<sqlite::Watch>,
    /// What the system says of the files: which they are, how long, when written.
    stamps: Vec<(u64, u64, u64, i128)>,
    /// Which file is the database's log. Where it is another, what was opened reads one that nobody writes any more.
    log: Option<(u64, u64)>,
    /// Which file another took the place of.
    replaced: Option<(u64, u64)>,
    /// The look that began asks for every row.
    is_whole: bool,
    /// The last look that ended did not.
    is_owed: bool,
    /// From then on a look does.
    whole_from: Option<Instant>,
}

impl Files {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    fn open(&self, tables: &Tables) -> Result<Option<Source>, Error> {
        let path = &self.path;
        if self.database.is_some() {
            return sqlite::follow(path, tables).map(Some);
        }
        let failed = |source| Error::Read { path: path.clone(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        let is_database =
            metadata.is_file() && (is_sqlite(path).map_err(failed)? || is_unwritten(path, &metadata));
        if is_database { sqlite::follow(path, tables).map(Some) } else { Ok(None) }
    }

    fn is_to_be_looked_at(&mut self, again: bool) -> Result<bool, Error> {
        let has_changed = self.has_changed()?;
        let waits = self.database.is_some() && self.whole_from.is_some_and(|from| Instant::now() < from);
        self.is_whole = !waits;
        Ok(has_changed || again || (self.is_owed && self.is_whole))
    }

    fn ended(&mut self, rows: Option<u64>) {
        match rows {
            None => self.whole_from = None,
            Some(_) if !self.is_whole => self.is_owed = true,
            Some(rows) => {
                self.is_owed = false;
                let is_long = rows > MANY_ROWS;
                self.whole_from = is_long.then(|| {
                    Instant::now() + ROW_PAUSE.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX))
                });
            }
        }
    }

    fn has_changed(&mut self) -> Result<bool, Error> {
        let path = &self.path;
        let failed = |source| unread(path, source);
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(Error::NotFollowed { path: path.clone() });
        }
        let files = stamps(path).map_err(failed)?;
        let is_same_file = |a: &[(u64, u64, u64, i128)], b: &[(u64, u64, u64, i128)]| {
            a.first().map(|file| (file.0, file.1)) == b.first().map(|file| (file.0, file.1))
        };
        let replaced = !is_same_file(&self.stamps, &files);
        if replaced && metadata.is_file() && self.database.is_none() {
            self.replaced = self.stamps.first().map(|(device, inode, ..)| (*device, *inode));
        }
        let touched = std::mem::replace(&mut self.stamps, files) != self.stamps;
        if replaced || self.log != log(path) {
            (self.database, self.whole_from) = (None, None);
        }
        // What SQLite has open is not opened beside it: to close that again would take its locks away, and who writes would
        // remove the log from under it.
        if self.database.is_none() {
            if !metadata.is_file() || !is_sqlite(path).map_err(failed)? {
                return Ok(touched);
            }
            self.database = Some(sqlite::Watch::of(path)?);
        }
        let changed = self.database.as_mut().map_or(Ok(touched), sqlite::Watch::has_changed);
        self.log = log(path);
        changed
    }

    fn take_rotated(&mut self) -> Option<PathBuf> {
        let replaced = self.replaced.take()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let is_it = |path: &PathBuf| {
            let metadata = std::fs::metadata(path);
            metadata.is_ok_and(|metadata| metadata.is_file() && (metadata.dev(), metadata.ino()) == replaced)
        };
        let beside = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
        beside.filter_map(|entry| Some(entry.ok()?.path())).find(is_it)
    }

    /// Which file it is, as far as the system knows.
    fn identity(&self) -> String {
        self.stamps.first().map_or_else(String::new, |(device, inode, ..)| format!("{device}:{inode}"))
    }
}

/// Which file is the log of a database, if it has one.
fn log(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(super::sqlite_wal::log_of(path).ok()?).ok()?;
    Some((metadata.dev(), metadata.ino()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_row_of_a_large_table_is_asked_for_now_and_then_and_always_once_more_in_the_end() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("agno.db");
        let database = rusqlite::Connection::open(&path).unwrap();
        database.execute_batch("CREATE TABLE agno_runs (run_id TEXT, run_data TEXT)").unwrap();
        let write = || database.execute_batch("INSERT INTO agno_runs VALUES ('', '')").unwrap();
        let mut files = Files::of(&path);
        let look = |files: &mut Files, rows| {
            let is_look = files.is_to_be_looked_at(false).unwrap();
            if is_look {
                files.ended(rows);
            }
            is_look.then_some(files.is_whole)
        };
        // As many as take longer than a test.
        let (many, few, (whole, behind)) = (Some(u64::MAX), Some(MANY_ROWS), (Some(true), Some(false)));
        let pass_time = |files: &mut Files| {
            assert!(files.whole_from.is_some_and(|from| from > Instant::now()));
            files.whole_from = Some(Instant::now());
        };
        assert_eq!(look(&mut files, many), whole);
        assert_eq!(look(&mut files, many), None);
        write();
        assert_eq!(look(&mut files, Some(1)), behind);
        assert_eq!(look(&mut files, many), None);
        pass_time(&mut files);
        assert_eq!(look(&mut files, many), whole, "a row that is known was rewritten, perhaps");
        pass_time(&mut files);
        assert_eq!(look(&mut files, many), None, "nothing was written");
        write();
        assert_eq!(look(&mut files, few), whole);
        write();
        assert_eq!(look(&mut files, many), whole, "few rows are asked for each time");
        write();
        assert_eq!(look(&mut files, None), behind);
        write();
        assert_eq!(look(&mut files, many), whole, "the last look failed");
    }
}

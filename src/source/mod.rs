//! Where records come from: SQLite and Postgres databases, folders, files, standard input.
//!
//! A source hands over records and knows nothing of what they mean. It only ever reads: it never writes to
//! what it reads, and never holds a lock while anything else happens.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod choice;
mod described;
mod error;
mod file;
mod folder;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod inspect;
mod location;
#[cfg(feature = "postgres")]
#[cfg_attr(
    not(feature = "sqlite"),
    expect(dead_code, unused_imports, reason = "nothing is followed without a state file")
)]
mod postgres;
mod sessions;
#[cfg(feature = "sqlite")]
#[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "followed are all sources or none"))]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_inspect;
#[cfg(feature = "sqlite")]
mod sqlite_wal;
mod tables;
mod url;
mod values;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod watch;

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::framework::Oddities;
use crate::framework::agno::Columns;
use crate::stable_hash::stable_hash_of;
pub use error::Error;
pub use location::Location;
pub use sessions::sessions;
pub use tables::Tables;
pub use url::PostgresUrl;
pub use values::split;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
pub use watch::{Reach, Watch};

/// How long a database that another program holds locked is waited for.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often a half-written file is read again before it is called half-written.
const REREADS: usize = 4;
/// How long to wait before reading a half-written file again.
const REREAD_DELAY: Duration = Duration::from_millis(250);

/// One piece of JSON as a source handed it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// A run, a list of runs, or the row of a session with its runs.
    pub json: Vec<u8>,
    /// What the source knows of it beside its JSON.
    pub columns: Columns,
}

/// Where in its source a record stands, to read it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// A table, or a file.
    pub part: u32,
    /// A row's number, or where a file's value begins.
    pub at: u64,
    /// How long the record is; of a row of Postgres the transaction that wrote it.
    length: u32,
    /// Tells whether what stands there now is still the same: the row's id, or the value's bytes, as a hash.
    mark: u32,
}

impl Spot {
    /// Of a source of one part, as it was noted.
    pub fn new(at: u64, length: u32, mark: u32) -> Self {
        Self { part: 0, at, length, mark }
    }

    /// How long the record was; of a row of Postgres the transaction that wrote it.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// A hash that tells whether another record stands there by now.
    pub fn mark(&self) -> u32 {
        self.mark
    }

    /// Of a value in a file.
    fn of_text(part: u32, at: u64, json: &[u8]) -> Self {
        // One that is too long for us to say so cannot be read again.
        Self { part, at, length: u32::try_from(json.len()).unwrap_or(u32::MAX), mark: mark(json) }
    }
}

fn mark(bytes: &[u8]) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
    let mark = stable_hash_of(bytes) as u32;
    mark
}

/// What is known of a row without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its number.
    pub at: u64,
    /// Its length in bytes; of a row of Postgres the transaction that wrote it.
    pub length: u32,
    /// Tells it from other rows.
    pub mark: u32,
}

/// A source that was read, and whose records can be read again.
#[derive(Debug, Default)]
pub struct Source {
    parts: Vec<Part>,
    #[cfg(feature = "sqlite")]
    database: Option<sqlite::Database>,
    #[cfg(feature = "postgres")]
    postgres: Option<std::sync::Arc<postgres::Database>>,
    /// What was odd about it.
    pub oddities: Oddities,
}

#[derive(Debug)]
enum Part {
    Text(file::Text),
    Table(folder::Table),
    #[cfg(feature = "sqlite")]
    Rows(sqlite::Rows),
    #[cfg(feature = "postgres")]
    Relation(postgres::Rows),
    #[cfg(feature = "postgres")]
    Leaf(postgres::Leaf),
}

impl Source {
    /// Of one text alone.
    fn of(text: file::Text, oddities: Oddities) -> Self {
        let mut source = Self { oddities, ..Self::default() };
        source.parts.push(Part::Text(text));
        source
    }

    /// Adds the parts of another source behind its own.
    pub fn extend(&mut self, other: Self) {
        self.parts.extend(other.parts);
        self.oddities.merge(&other.oddities);
    }

    /// How many parts it has; [`Spot::part`] is one of them.
    pub fn parts(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX)
    }

    /// Reads records again, those that are not gone.
    pub async fn fetch_all(
        &self,
        spots: &[Spot],
        accept: &mut (dyn FnMut(Record) + Send),
    ) -> Result<(), Error> {
        for spots in spots.chunk_by(|a, b| a.part == b.part) {
            #[cfg(feature = "postgres")]
            if let Some(Part::Relation(rows)) = spots.first().and_then(|spot| self.part(*spot)) {
                if let Some(database) = &self.postgres {
                    rows.fetch(database, spots, accept).await?;
                }
                continue;
            }
            for spot in spots {
                if let Some(record) = self.fetch_one(*spot).await? {
                    accept(record);
                }
            }
        }
        Ok(())
    }

    /// Reads a record again. None: it is gone.
    pub async fn fetch(&self, spot: Spot) -> Result<Option<Record>, Error> {
        let mut found = None;
        self.fetch_all(&[spot], &mut |record| found = Some(record)).await?;
        Ok(found)
    }

    async fn fetch_one(&self, spot: Spot) -> Result<Option<Record>, Error> {
        match self.part(spot) {
            Some(Part::Text(text)) => text.fetch(spot).map(Some),
            Some(Part::Table(table)) => table.fetch().await.map(Some),
            #[cfg(feature = "sqlite")]
            Some(Part::Rows(rows)) => {
                self.database.as_ref().map_or(Ok(None), |database| rows.fetch(database, spot))
            }
            // Asked for by the page.
            #[cfg(feature = "postgres")]
            Some(Part::Relation(_) | Part::Leaf(_)) => Ok(None),
            None => Ok(None),
        }
    }

    fn part(&self, spot: Spot) -> Option<&Part> {
        self.parts.get(spot.part as usize)
    }
}

impl Source {
    /// What each of its parts is called: a table, or a file.
    pub fn part_names(&self) -> Vec<String> {
        let name = |part: &Part| match part {
            Part::Text(text) => text.path().display().to_string(),
            Part::Table(table) => table.path().display().to_string(),
            #[cfg(feature = "sqlite")]
            Part::Rows(rows) => rows.table().to_owned(),
            #[cfg(feature = "postgres")]
            Part::Relation(_) => String::new(),
            #[cfg(feature = "postgres")]
            Part::Leaf(leaf) => leaf.label().to_owned(),
        };
        self.parts.iter().map(name).collect()
    }
}

/// Reads everything at a location and hands it over record by record. What it returns can read each again.
///
/// Half-written files and locked databases are waited for briefly. On an error some records may have been
/// handed over already.
pub async fn read(
    location: &Location,
    tables: &Tables,
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<Source, Error> {
    let path = match location {
        Location::Stdin => {
            return file::read_once(Path::new("standard input"), io::stdin().lock(), accept).await;
        }
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => return postgres::read(url, tables, accept).await,
        #[cfg(not(feature = "postgres"))]
        Location::Postgres(_) => return Err(Error::NoPostgres { path: location.name() }),
        Location::Path(path) => path,
    };
    let failed = |source| unread(path, source);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return folder::read(path, tables, accept).await;
    }
    if !metadata.is_file() {
        return file::read_once(path, std::fs::File::open(path).map_err(failed)?, accept).await;
    }
    if is_sqlite(path).map_err(failed)? || is_unwritten(path, &metadata) {
        #[cfg(feature = "sqlite")]
        return sqlite::read(path, tables, accept);
        #[cfg(not(feature = "sqlite"))]
        return Err(Error::NoSqlite { path: path.clone() });
    }
    file::read(path, accept).await
}

/// Reads what stands in a file of runs behind `known` values, in order, if each is as it was; else all of it. True: they
/// are, and only what is new was handed over.
pub async fn read_behind(
    path: &Path,
    known: &[Spot],
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<(Source, bool), Error> {
    file::read_behind(path, known, accept).await
}

/// Why a path could not be read; nothing of a URL is said but its scheme.
fn unread(path: &Path, source: io::Error) -> Error {
    match path.to_string_lossy().split_once("://") {
        Some((scheme, _)) if source.kind() == io::ErrorKind::NotFound => {
            Error::OtherUrl { scheme: scheme.to_owned() }
        }
        _ => Error::Read { path: path.to_owned(), source },
    }
}

/// True where table names mean something: in databases and folders.
pub fn has_tables(location: &Location) -> bool {
    match location {
        Location::Stdin => false,
        Location::Postgres(_) => true,
        Location::Path(path) => path.is_dir() || path.is_file() && is_sqlite(path).unwrap_or(false),
    }
}

/// A database of which SQLite has written nothing yet.
fn is_unwritten(path: &Path, metadata: &std::fs::Metadata) -> bool {
    const EXTENSIONS: [&str; 3] = ["db", "sqlite", "sqlite3"];
    let named = path.extension().is_some_and(|own| EXTENSIONS.iter().any(|extension| own == *extension));
    metadata.len() == 0 && named
}

/// True if files can be made in a folder.
#[cfg(feature = "sqlite")]
pub fn may_write(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// True for what SQLite wrote.
fn is_sqlite(path: &Path) -> io::Result<bool> {
    let mut start = [0; described::SQLITE.len()];
    let mut read = 0;
    let mut file = std::fs::File::open(path)?;
    while let Some(rest) = start.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match io::Read::read(&mut file, rest)? {
            0 => break,
            count => read += count,
        }
    }
    Ok(start == *described::SQLITE)
}

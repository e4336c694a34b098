//! What outlives the process: ledger, outbox and positions, in one SQLite file and one transaction.
//!
//! * **Positions** ([`records`]) are the records read so far, by where they stand and how long they are, and the families
//!   they make. A family with a new record is *due* until it was counted.
//! * **The ledger** ([`counted`]) is what every run moved, every session and every series.
//! * **Runs that were handed over** ([`posted`]), which nobody else keeps.
//! * **The outbox** ([`outbox`]) is requests of spans that wait to be delivered, and those that were refused.
//!
//! A family's records are marked as counted, its shares set, its spans put into the outbox, all or nothing. So a kill at
//! any moment loses nothing and counts nothing twice. Where the file cannot be written the process ends: what it had in
//! memory is not more than what the file says.
//!
//! An older copy of the file is told by a mark beside it (`rewind.rs`), and counters start anew.
//!
//! The file belongs to one process at a time, and holds no content unless sending content was asked for.

pub mod counted;
pub mod glance;
pub mod outbox;
pub mod past;
pub mod posted;
pub mod records;
mod rewind;
mod spent;
pub mod told;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

use crate::ledger::Ledger;
use crate::ledger::stored::StoredSeries;

/// The layout of the file; an older one is brought up to it, a newer one is refused.
pub const VERSION: i64 = 3;

/// Half a second in all. A program that starts another one shares its locks with it until that has become what it is to be,
/// and one that is ended by force takes a moment.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// What each layout adds to the one before it. A step that was ever released is not changed any more.
const LAYOUTS: [&str; 3] = [LAYOUT_1, LAYOUT_2, LAYOUT_3];

const LAYOUT_3: &str = "
-- The records that a look reads again though they are known.
CREATE INDEX records_unfinished ON records (source, at) WHERE open_hash IS NOT NULL OR length = 0;
";

const LAYOUT_2: &str = "
-- Runs that were handed over to us, by the hash of their keys: nobody else keeps them.
CREATE TABLE posted (at INTEGER PRIMARY KEY, json BLOB NOT NULL);
-- What runs spent, by the hash of their keys, in the minute they began: for budgets.
CREATE TABLE spent (
    run INTEGER NOT NULL, minute INTEGER NOT NULL, spender TEXT NOT NULL, model TEXT NOT NULL, tokens INTEGER NOT NULL,
    nano_usd INTEGER NOT NULL);
CREATE INDEX spent_run ON spent (run);
CREATE INDEX spent_minute ON spent (minute);
";

const LAYOUT_1: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- A table of a database, or a file.
CREATE TABLE sources (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, identity TEXT NOT NULL);
CREATE TABLE records (
    source INTEGER NOT NULL, at INTEGER NOT NULL, length INTEGER NOT NULL, mark INTEGER NOT NULL,
    -- Holds a run that is not over: it may change without becoming longer. Then this is a hash of it.
    open_hash INTEGER,
    family INTEGER, PRIMARY KEY (source, at)) WITHOUT ROWID;
CREATE INDEX records_family ON records (family);
-- Sessions and runs, by the hash of their ids.
CREATE TABLE nodes (hash INTEGER PRIMARY KEY, family INTEGER NOT NULL);
CREATE INDEX nodes_family ON nodes (family);
-- Families to be counted, now or at a time.
CREATE TABLE due (family INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL);
-- Runs that were there before we came and were not put together yet, by the hash of their keys.
CREATE TABLE history (run INTEGER PRIMARY KEY, mode INTEGER NOT NULL);
-- Runs that were copies when their origin was there, and are when it is not.
CREATE TABLE copies (run INTEGER PRIMARY KEY);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, reuse TEXT NOT NULL, counted TEXT NOT NULL,
    first_seen_ns INTEGER NOT NULL, is_sent INTEGER NOT NULL DEFAULT 0, UNIQUE (run_id, reuse));
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, stored TEXT NOT NULL, tokens INTEGER NOT NULL, attributes TEXT NOT NULL,
    changed_ns INTEGER NOT NULL, is_open INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX sessions_changed ON sessions (is_open, changed_ns);
CREATE TABLE series (id INTEGER PRIMARY KEY, stored TEXT NOT NULL);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, bytes BLOB NOT NULL, items INTEGER NOT NULL, added_ns INTEGER NOT NULL);
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT, signal TEXT NOT NULL, bytes BLOB NOT NULL, items INTEGER NOT NULL,
    reason TEXT NOT NULL, added_ns INTEGER NOT NULL);
";

/// Why a state file cannot be used. What it holds is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No folder, no permission.
    #[error("cannot open the state file {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is none to look into.
    #[error("there is no state file {path}; agno-otel run makes it, and --state names another")]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// Another process holds it.
    #[error(
        "the state file {path} is in use by another agno-otel; stop it first, or give this one a file of its own with \
         --state"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A later version made it.
    #[error(
        "the state file {path} was written by a later version of agno-otel (layout {version}, this one knows {VERSION}); \
         install that version, or give this one a file of its own with --state"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        version: i64,
    },
    /// An SQLite database of something else.
    #[error("{path} is a database, but none of agno-otel's; name another file with --state")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// SQLite could not read or write it.
    #[error("cannot use the state file {path}{advice}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What may help, if anything is known to.
        advice: &'static str,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// What tells it from an older copy could not be read or written.
    #[error("cannot mark {}.lock, which tells the state file from an older copy; nothing was sent: see to its disk and \
             start again", path.display())]
    Mark {
        /// The state file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What stands in it cannot be what we wrote.
    #[error(
        "the state file {path} is damaged ({what}); restore it, or move it away: counters then start anew under another \
         service.instance.id"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Statements that are kept prepared: more than there are, so that none is prepared twice.
const STATEMENTS: usize = 128;

/// The state file, opened.
#[derive(Debug)]
pub struct State {
    connection: Connection,
    path: PathBuf,
    /// What was counted; runs and sessions are in it only while they are counted.
    ledger: Ledger,
    /// `service.instance.id` of everything counted in this file.
    instance_id: String,
    /// True where it was made just now.
    is_new: bool,
    /// Bytes in the outbox and of dead letters: to add them up reads the pages of all.
    kept_bytes: u64,
    /// Families that are being put together, and whether something of them was noted meanwhile.
    gathering: BTreeMap<i64, bool>,
    /// Held as long as the file is used, and marked with what was released last.
    lock: File,
}

impl State {
    /// Opens the file, and makes it with its folder where there is none. Both are for their owner's eyes alone: spans that
    /// wait hold what was said, where sending that was asked for.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        private(path).map_err(failed)?;
        // By any name it is one file.
        let path = &path.canonicalize().map_err(failed)?;
        let lock = lock(path)?;
        let connection = Connection::open(path).map_err(|error| sqlite_error(path, error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Else SQLite prepares a statement with an order anew for every value it is given.
        let is_steady = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true);
        is_steady.map_err(|error| sqlite_error(path, error))?;
        let ledger = Ledger::default();
        let (path, instance_id) = (path.to_owned(), String::new());
        let gathering = BTreeMap::new();
        let (is_new, kept_bytes) = (false, 0);
        let mut state = Self { connection, path, ledger, instance_id, is_new, kept_bytes, gathering, lock };
        state.prepare()?;
        Ok(state)
    }

    fn prepare(&mut self) -> Result<(), Error> {
        let of_file = |error| sqlite_error(&self.path, error);
        let version: i64 =
            self.connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(of_file)?;
        if version > VERSION {
            return Err(Error::Newer { path: self.path.clone(), version });
        }
        let tables = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 = self.connection.query_row(tables, [], |row| row.get(0)).map_err(of_file)?;
        if version == 0 && tables > 0 {
            return Err(Error::Foreign { path: self.path.clone() });
        }
        self.expect_whole()?;
        let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
        self.connection.execute_batch(settings).map_err(of_file)?;
        for (layout, next) in LAYOUTS.iter().zip(1..).skip(usize::try_from(version).unwrap_or(0)) {
            let instance = format!("INSERT INTO meta VALUES ('instance', '{}');", uuid::Uuid::new_v4());
            let instance = if next == 1 { instance.as_str() } else { "" };
            let step = format!("BEGIN IMMEDIATE; {layout} {instance} PRAGMA user_version = {next}; COMMIT;");
            self.connection.execute_batch(&step).map_err(of_file)?;
        }
        self.is_new = version == 0;
        self.instance_id = self.meta("instance")?.ok_or_else(|| self.damaged("no instance id"))?;
        self.load_series()?;
        self.add_up_kept()?;
        self.expect_newest()
    }

    /// Refuses a file whose pages do not hang together: rows may be missing, and what they counted be counted again. It
    /// reads the whole file, 2 s for a gigabyte; a third of a second for 300,000 runs.
    fn expect_whole(&self) -> Result<(), Error> {
        let found = self.query("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))?;
        match found.into_iter().next() {
            Some(what) if what != "ok" => {
                Err(self.damaged(what.trim_start_matches("*** in database main ***").trim()))
            }
            _ => Ok(()),
        }
    }

    fn load_series(&mut self) -> Result<(), Error> {
        let last_stamp_ns = self.number("last_stamp_ns")?;
        let is_unsettled = self.meta::<Vec<u8>>("released")?.is_some();
        let unsettled_ns = if is_unsettled { Some(self.number("released_ns")?) } else { None };
        let stored: Vec<(i64, String)> = self.rows("SELECT id, stored FROM series ORDER BY id")?;
        for (place, (id, text)) in (0..).zip(stored) {
            let series: Result<StoredSeries, _> = serde_json::from_str(&text);
            let series = series.ok().filter(|_| id == place).ok_or_else(|| self.damaged("series"))?;
            if !self.ledger.remember_series(series, last_stamp_ns, unsettled_ns) {
                tracing::warn!(series = id, "left out a series of a metric this version does not know");
            }
        }
        self.ledger.take_unstored();
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True where there was no file, and none was lost.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// `service.instance.id` of what is counted here.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// The ledger.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Does all of something or nothing. After an error this state is not to be used any more: what is in memory may be
    /// more than what was written.
    pub fn commit<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.execute("BEGIN IMMEDIATE", [])?;
        let done = work(self)?;
        self.execute("COMMIT", [])?;
        Ok(done)
    }

    fn meta<T: rusqlite::types::FromSql>(&self, name: &str) -> Result<Option<T>, Error> {
        let found = self.query("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))?;
        Ok(found.into_iter().next())
    }

    fn number(&self, name: &str) -> Result<u64, Error> {
        Ok(self.meta::<i64>(name)?.map_or(0, i64::cast_unsigned))
    }

    fn set_meta(&self, name: &str, value: impl rusqlite::ToSql) -> Result<(), Error> {
        self.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", rusqlite::params![name, value])?;
        Ok(())
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize, Error> {
        let run = || self.connection.prepare_cached(sql)?.execute(parameters);
        run().map_err(|error| sqlite_error(&self.path, error))
    }

    fn rows<A, B>(&self, sql: &str) -> Result<Vec<(A, B)>, Error>
    where
        A: rusqlite::types::FromSql,
        B: rusqlite::types::FromSql,
    {
        self.query(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn query<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        of_row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let run = || -> rusqlite::Result<Vec<T>> {
            self.connection.prepare_cached(sql)?.query_map(parameters, of_row)?.collect()
        };
        run().map_err(|error| sqlite_error(&self.path, error))
    }

    fn damaged(&self, what: &str) -> Error {
        Error::Damaged { path: self.path.clone(), what: what.to_owned() }
    }
}

/// Opens a file that nobody else may read, and makes it where there is none.
fn private(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

/// Who holds the lock beside a state file, by their process id, and is known by the system: nothing is locked to find out.
/// None: nobody, or the system does not say.
pub fn holder(path: &Path) -> Option<u32> {
    let inode = std::fs::metadata(lock_path(&path.canonicalize().ok()?)).ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // 1: FLOCK  ADVISORY  WRITE 4711 fd:01:131 0 EOF
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_it =
            words.get(1) == Some(&"FLOCK") && words.get(5)?.rsplit(':').next() == Some(inode.as_str());
        if is_it { words.get(4)?.parse().ok() } else { None }
    })
}

/// What stands beside a state file to be locked.
fn lock_path(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    beside.into()
}

/// Locks the state against other processes; the lock ends with this one, however that ends.
#[expect(clippy::disallowed_methods, reason = "opening reads the whole file, and nothing goes on beside it")]
fn lock(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let file = private(&lock_path(path)).map_err(failed)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(Error::InUse { path: path.to_owned() })
}

fn sqlite_error(path: &Path, source: rusqlite::Error) -> Error {
    let advice = match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => " (the disk is full; nothing was lost: free some space and start again)",
        Some(ErrorCode::SystemIoFailure) => {
            " (its disk failed or is full, or a limit was met; nothing was lost: see to it and start again)"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            " (it is damaged; restore it, or move it away: counters then start anew under another service.instance.id)"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            " (its folder must be ours to write in; name another with --state)"
        }
        _ => "",
    };
    Error::Sqlite { path: path.to_owned(), advice, source }
}

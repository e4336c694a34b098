//! Agno's SQLite databases, read without ever standing in their writer's way.
//!
//! Opened read-only, with `query_only`. Rows are copied out in short statements: in the journal mode Agno 2 uses,
//! an open read transaction would make its writer fail.
//!
//! In WAL mode, which Agno 3 uses, SQLite needs a `-wal` and a `-shm` file beside a database to read it, and makes
//! them where they are missing. To open it as one that never changes would leave nothing behind, and read nonsense
//! from one that does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Row};

use super::choice::{Described, quoted};
use super::sqlite_wal::tell_of_lacking_log;
use super::{Error, LOCK_PATIENCE, Part, Record, Source, Spot, Stamp, Tables};
use crate::framework::Oddity;
use crate::framework::agno::Columns;
use crate::framework::agno::tables::{Layout, Table};

/// A statement ends after this many bytes of JSON, so that no read transaction lasts.
const PAGE_BYTES: usize = 1024 * 1024;
/// A statement that reads no JSON ends after this many rows.
const STAMP_ROWS: i64 = 4096;
/// How long a database that is followed is waited for: it is looked at again soon.
const FOLLOW_PATIENCE: Duration = Duration::from_millis(100);
/// A statement ends after this many rows.
const PAGE_ROWS: usize = 256;

pub(super) fn read(
    path: &Path,
    tables: &Tables,
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<Source, Error> {
    tell_of_lacking_log(path)?;
    let source = open(path, tables, LOCK_PATIENCE)?;
    for (number, part) in (0..).zip(&source.parts) {
        if let (Part::Rows(rows), Some(database)) = (part, &source.database) {
            rows.read(database, number, accept)?;
        }
    }
    Ok(source)
}

/// Finds the tables to read, and reads none.
pub(super) fn open(path: &Path, tables: &Tables, patience: Duration) -> Result<Source, Error> {
    let database = Database::open(path, patience)?;
    let found = database.tables().map_err(|error| database.error(error))?;
    let (what, is_called) = ("an SQLite database", |table: &Table, name: &str| table.name == name);
    let chosen = Described { path, what, found: &found, is_called }.choose(tables)?;
    let mut source = Source::default();
    for (table, layout) in chosen {
        match layout {
            Layout::SessionsWithRuns | Layout::Runs => {
                database.expect_rowids(table)?;
                source.parts.push(Part::Rows(Rows::of(table, &layout)));
            }
            Layout::V1 => {
                let count = database.count(table).map_err(|error| database.error(error))?;
                source.oddities.add_many(Oddity::AgnoV1, count);
            }
            Layout::Sessions | Layout::Other => {}
        }
    }
    source.database = Some(database);
    Ok(source)
}

/// Hands over the `session_data` of every session.
pub(super) fn sessions(
    path: &Path,
    tables: &Tables,
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<(), Error> {
    let database = Database::open(path, LOCK_PATIENCE)?;
    let found = database.tables().map_err(|error| database.error(error))?;
    let (what, is_called) = ("an SQLite database", |table: &Table, name: &str| table.name == name);
    for (table, _) in (Described { path, what, found: &found, is_called }).choose(tables)? {
        if table.has_session_data() {
            database.expect_rowids(table)?;
            Rows::of_sessions(table).read(&database, 0, accept)?;
        }
    }
    Ok(())
}

/// Opens a database that is followed.
pub(super) fn follow(path: &Path, tables: &Tables) -> Result<Source, Error> {
    open(path, tables, FOLLOW_PATIENCE)
}

/// Tells whether a database was written to.
#[derive(Debug)]
pub(super) struct Watch {
    database: Database,
    version: Option<i64>,
}

impl Watch {
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        tell_of_lacking_log(path)?;
        Ok(Self { database: Database::open(path, FOLLOW_PATIENCE)?, version: None })
    }

    /// True if anybody wrote to it since this was last asked; at first always.
    pub(super) fn has_changed(&mut self) -> Result<bool, Error> {
        let version = self.database.connection.query_row("PRAGMA data_version", [], |row| row.get(0));
        let version = Some(version.map_err(|error| self.database.error(error))?);
        Ok(std::mem::replace(&mut self.version, version) != version)
    }
}

#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    pub(super) connection: Connection,
}

impl Database {
    pub(super) fn open(path: &Path, patience: Duration) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(patience)?;
            connection.pragma_update(None, "query_only", true)?;
            // In KiB, negative. Rows are read once or twice, so a larger cache serves nothing.
            connection.pragma_update(None, "cache_size", -256)?;
            Ok(connection)
        };
        let connection = open().map_err(|error| sqlite_error(path, error))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    pub(super) fn error(&self, error: rusqlite::Error) -> Error {
        sqlite_error(&self.path, error)
    }

    pub(super) fn tables(&self) -> rusqlite::Result<Vec<Table>> {
        let mut names =
            self.connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
        let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut columns = self.connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let mut tables = Vec::new();
        for name in names {
            let columns = columns.query_map([&name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            tables.push(Table { name, columns });
        }
        Ok(tables)
    }

    fn expect_rowids(&self, table: &Table) -> Result<(), Error> {
        let sql = "SELECT wr FROM pragma_table_list(?1) WHERE schema = 'main'";
        let without = self.connection.query_row(sql, [&table.name], |row| row.get(0));
        if without.map_err(|error| self.error(error))? {
            return Err(Error::WithoutRowid { path: self.path.clone(), table: table.name.clone() });
        }
        Ok(())
    }

    pub(super) fn count(&self, table: &Table) -> rusqlite::Result<u64> {
        let count: i64 = self.connection.query_row(
            &format!("SELECT count(*) FROM {}", quoted(&table.name)),
            [],
            |row| row.get(0),
        )?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

/// The rows of one table.
#[derive(Debug)]
pub(super) struct Rows {
    table: String,
    json: &'static str,
    /// The column of the row's id, or `NULL`.
    id: String,
    /// What is read of a row, up to the `WHERE`.
    select: String,
}

impl Rows {
    fn of(table: &Table, layout: &Layout) -> Self {
        let is_run = *layout == Layout::Runs;
        let (json, id) = if is_run { ("run_data", "run_id") } else { ("runs", "session_id") };
        let stored = if is_run { table.column_or_null("updated_at") } else { "NULL".to_owned() };
        let select = format!(
            "SELECT rowid, {json}, session_id, {user}, {stored}, {index}, {id} FROM {table}",
            user = table.column_or_null("user_id"),
            index = table.column_or_null("run_index"),
            id = table.column_or_null(id),
            table = quoted(&table.name),
        );
        Self { table: table.name.clone(), json, id: table.column_or_null(id), select }
    }

    fn of_sessions(table: &Table) -> Self {
        let select = format!(
            "SELECT rowid, session_data, session_id, {user}, NULL, NULL, session_id FROM {table}",
            user = table.column_or_null("user_id"),
            table = quoted(&table.name),
        );
        Self { table: table.name.clone(), json: "session_data", id: "session_id".to_owned(), select }
    }

    /// Hands over the JSON of every row, in short statements that each go on where the last one ended.
    fn read(
        &self,
        database: &Database,
        part: u32,
        accept: &mut (dyn FnMut(Spot, Record) + Send),
    ) -> Result<(), Error> {
        let mut after = i64::MIN;
        loop {
            let page = self.page(database, after).map_err(|error| database.error(error))?;
            let Some((last, ..)) = page.last() else { return Ok(()) };
            after = *last;
            for (rowid, mark, record) in page {
                if let Some(record) = record {
                    let length = u32::try_from(record.json.len()).unwrap_or(u32::MAX);
                    accept(Spot { part, at: rowid.cast_unsigned(), length, mark }, record);
                }
            }
        }
    }

    /// The next rows, with their rowids and marks.
    fn page(&self, database: &Database, after: i64) -> rusqlite::Result<Vec<(i64, u32, Option<Record>)>> {
        let mut page = Vec::new();
        let mut bytes = 0;
        let sql = format!("{} WHERE rowid > ?1 ORDER BY rowid LIMIT {PAGE_ROWS}", self.select);
        let mut statement = database.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([after])?;
        while let Some(row) = rows.next()? {
            let record = record(row)?;
            bytes += record.as_ref().map_or(0, |record| record.json.len());
            page.push((row.get(0)?, mark_of(row)?, record));
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(page)
    }

    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// The next rows that hold JSON, with their lengths in bytes, which SQLite knows without reading them, and their marks.
    pub(super) fn stamps(&self, database: &Database, after: Option<u64>) -> Result<Vec<Stamp>, Error> {
        let (json, table, id) = (self.json, quoted(&self.table), &self.id);
        let sql = format!(
            "SELECT rowid, octet_length({json}), {id} FROM {table} WHERE rowid > ?1 AND {json} IS NOT NULL
             ORDER BY rowid LIMIT {STAMP_ROWS}"
        );
        let after = after.map_or(i64::MIN, u64::cast_signed);
        let read = || -> rusqlite::Result<Vec<Stamp>> {
            let mut statement = database.connection.prepare_cached(&sql)?;
            let rows = statement.query_map([after], |row| {
                let length = u32::try_from(row.get::<_, i64>(1)?).unwrap_or(u32::MAX);
                let at = row.get::<_, i64>(0)?.cast_unsigned();
                Ok(Stamp { at, length, mark: mark_at(row, 2)? })
            })?;
            rows.collect()
        };
        read().map_err(|error| database.error(error))
    }

    /// Hands over the rows at places, whatever stands there now; as many in one short transaction as in one statement of
    /// [`read`](Self::read).
    pub(super) fn rows(
        &self,
        database: &Database,
        places: &[u64],
        accept: &mut (dyn FnMut(Spot, Record) + Send),
    ) -> Result<(), Error> {
        let mut places = places.iter();
        while places.len() > 0 {
            let (mut page, mut bytes) = (Vec::new(), 0);
            let begun = database.connection.unchecked_transaction();
            let transaction = begun.map_err(|error| database.error(error))?;
            for at in places.by_ref().take(PAGE_ROWS) {
                if let Some((spot, record)) = self.get(database, *at)? {
                    bytes += record.json.len();
                    page.push((spot, record));
                }
                if bytes >= PAGE_BYTES {
                    break;
                }
            }
            transaction.finish().map_err(|error| database.error(error))?;
            for (spot, record) in page {
                accept(spot, record);
            }
        }
        Ok(())
    }

    /// Reads one row, whatever stands there now.
    fn get(&self, database: &Database, at: u64) -> Result<Option<(Spot, Record)>, Error> {
        let Some((mark, Some(record))) = self.at(database, at)? else { return Ok(None) };
        let length = u32::try_from(record.json.len()).unwrap_or(u32::MAX);
        Ok(Some((Spot { part: 0, at, length, mark }, record)))
    }

    /// Reads one row again.
    pub(super) fn fetch(&self, database: &Database, spot: Spot) -> Result<Option<Record>, Error> {
        match self.at(database, spot.at)? {
            // A `VACUUM` numbers rows anew.
            Some((mark, _)) if mark != spot.mark => Err(Error::Changed { path: database.path.clone() }),
            Some((_, record)) => Ok(record),
            None => Ok(None),
        }
    }

    /// The row with this number: its mark, and its record where it holds JSON.
    fn at(&self, database: &Database, at: u64) -> Result<Option<(u32, Option<Record>)>, Error> {
        let sql = format!("{} WHERE rowid = ?1", self.select);
        let read = || {
            let mut statement = database.connection.prepare_cached(&sql)?;
            let row = statement.query_row([at.cast_signed()], |row| Ok((mark_of(row)?, record(row)?)));
            row.optional()
        };
        read().map_err(|error| database.error(error))
    }
}

/// Tells a row from others by its run's or session's id.
fn mark_of(row: &Row<'_>) -> rusqlite::Result<u32> {
    mark_at(row, 6)
}

fn mark_at(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(id) | ValueRef::Blob(id) => super::mark(id),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
    })
}

fn record(row: &Row<'_>) -> rusqlite::Result<Option<Record>> {
    let json = match row.get_ref(1)? {
        ValueRef::Text(text) | ValueRef::Blob(text) => text.to_owned(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => return Ok(None),
    };
    let text = |column| match row.get_ref(column) {
        Ok(ValueRef::Text(text)) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    };
    let integer = |column| match row.get_ref(column) {
        Ok(ValueRef::Integer(value)) => Some(value),
        _ => None,
    };
    let columns =
        Columns { session_id: text(2), user_id: text(3), stored_at_s: integer(4), index: integer(5) };
    Ok(Some(Record { json, columns }))
}

fn sqlite_error(path: &Path, error: rusqlite::Error) -> Error {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::Locked { path, waited: LOCK_PATIENCE }
        }
        Some(ErrorCode::CannotOpen) => Error::Sqlite {
            path,
            advice: " (a database in WAL mode needs its -wal and -shm files, and a folder we may create them in)",
            source: error,
        },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Sqlite {
            path,
            advice: " (the file is damaged; restore it, or try sqlite3's .recover)",
            source: error,
        },
        _ => Error::Sqlite { path, advice: "", source: error },
    }
}

//! A look into the state file from beside the process that has it.

use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::outbox::Amount;
use super::rewind::Mark;
use super::{Error, VERSION, sqlite_error};

/// What a state file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// `service.instance.id` of what is counted in it.
    pub instance_id: String,
    /// Sources that were read, each with how many of its records hold runs.
    pub sources: Vec<(String, u64)>,
    /// Runs counted.
    pub runs: u64,
    /// Sessions counted.
    pub sessions: u64,
    /// Series of metrics.
    pub series: u64,
    /// Families of records that are still to be counted.
    pub due: u64,
    /// Requests of spans that wait to be delivered.
    pub outbox: Amount,
    /// Requests that were refused and are kept.
    pub dead_letters: Amount,
    /// When metrics were last released, in Unix nanoseconds.
    pub released_ns: Option<u64>,
}

/// One kept request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLetter {
    /// Its number.
    pub id: i64,
    /// Traces or metrics.
    pub signal: String,
    /// Spans or points in it.
    pub items: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// Why it was refused.
    pub reason: String,
    /// When, in Unix nanoseconds.
    pub since_ns: u64,
}

/// A state file opened for reading.
#[derive(Debug)]
pub struct Window<'p> {
    path: &'p Path,
    connection: Connection,
}

impl<'p> Window<'p> {
    /// Opens a file that may be in use. It is not changed.
    pub fn open(path: &'p Path) -> Result<Self, Error> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
            _ => Error::Open { path: path.to_owned(), source },
        };
        std::fs::metadata(path).map_err(failed)?;
        let of_file = |error| sqlite_error(path, error);
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(of_file)?;
        let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(of_file)?;
        match version {
            0 => Err(Error::Foreign { path: path.to_owned() }),
            1..=VERSION => Ok(Self { path, connection }),
            version => Err(Error::Newer { path: path.to_owned(), version }),
        }
    }

    /// What it holds.
    pub fn glance(&self) -> Result<Glance, Error> {
        let read = || -> rusqlite::Result<Glance> {
            Ok(Glance {
                instance_id: self.meta::<String>("instance")?.unwrap_or_default(),
                sources: self.sources()?,
                runs: self.count("runs")?,
                sessions: self.count("sessions")?,
                series: self.count("series")?,
                due: self.count("due")?,
                outbox: self.amount("outbox")?,
                dead_letters: self.amount("dead_letters")?,
                released_ns: self.meta::<i64>("released_ns")?.map(i64::cast_unsigned),
            })
        };
        read().map_err(|error| sqlite_error(self.path, error))
    }

    /// The layout of the file, and the newest this version knows.
    pub fn layout(&self) -> Result<(i64, i64), Error> {
        let version = self.connection.query_row("PRAGMA user_version", [], |row| row.get(0));
        Ok((version.map_err(|error| sqlite_error(self.path, error))?, VERSION))
    }

    /// How many different values each attribute of the series has, by its name.
    pub fn values(&self) -> Result<Vec<(String, u64)>, Error> {
        let sql = "SELECT json_extract(attribute.value, '$[0]'), count(DISTINCT json_extract(attribute.value, '$[1]'))
                   FROM series, json_each(series.stored, '$.attributes') AS attribute GROUP BY 1";
        let of_row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
        let read = || -> rusqlite::Result<Vec<(String, u64)>> {
            self.connection.prepare(sql)?.query_map([], of_row)?.collect()
        };
        read().map_err(|error| sqlite_error(self.path, error))
    }

    /// True if the file is older than what was sent: counters will start anew.
    pub fn is_behind(&self) -> Result<bool, Error> {
        // First the mark: whoever has the file writes it after the file.
        let mark = Mark::beside(self.path);
        let read = || -> rusqlite::Result<bool> {
            let instance_id = self.meta::<String>("instance")?.unwrap_or_default();
            let stamp_ns = self.meta::<i64>("last_stamp_ns")?.unwrap_or(0).cast_unsigned();
            Ok(mark.is_some_and(|mark| mark.is_ahead_of(&instance_id, stamp_ns)))
        };
        read().map_err(|error| sqlite_error(self.path, error))
    }

    /// The requests that were refused, oldest first.
    pub fn dead_letters(&self) -> Result<Vec<KeptLetter>, Error> {
        let sql = "SELECT id, signal, items, length(bytes), reason, added_ns FROM dead_letters ORDER BY id";
        let read = || -> rusqlite::Result<Vec<KeptLetter>> {
            let of_row = |row: &rusqlite::Row<'_>| {
                Ok(KeptLetter {
                    id: row.get(0)?,
                    signal: row.get(1)?,
                    items: row.get::<_, i64>(2)?.cast_unsigned(),
                    bytes: row.get::<_, i64>(3)?.cast_unsigned(),
                    reason: row.get(4)?,
                    since_ns: row.get::<_, i64>(5)?.cast_unsigned(),
                })
            };
            self.connection.prepare(sql)?.query_map([], of_row)?.collect()
        };
        read().map_err(|error| sqlite_error(self.path, error))
    }

    fn meta<T: rusqlite::types::FromSql>(&self, name: &str) -> rusqlite::Result<Option<T>> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        self.connection.query_row(sql, [name], |row| row.get(0)).optional()
    }

    fn count(&self, table: &str) -> rusqlite::Result<u64> {
        let sql = format!("SELECT count(*) FROM {table}");
        Ok(self.connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    fn amount(&self, table: &str) -> rusqlite::Result<Amount> {
        self.connection.query_row(&Amount::sql(table), [], Amount::of_row)
    }

    fn sources(&self) -> rusqlite::Result<Vec<(String, u64)>> {
        let sql =
            "SELECT name, (SELECT count(*) FROM records WHERE source = sources.id AND family IS NOT NULL)
                   FROM sources ORDER BY name";
        let of_row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
        self.connection.prepare(sql)?.query_map([], of_row)?.collect()
    }
}

//! Requests of spans that wait to be delivered, those that were refused, and the metrics that are under way.

use rusqlite::params;

use super::{Error, State};
use crate::delivery::Refusal;
use crate::otel::request::{Chunk, Signal};

/// Requests taken out of the outbox at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Their numbers: all up to this one.
    pub up_to: i64,
    /// What they hold, oldest first.
    pub chunks: Vec<Chunk>,
}

/// How much of something there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Requests.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was put there, in Unix nanoseconds.
    pub since_ns: Option<u64>,
}

impl State {
    /// Puts spans into the outbox. To be called within [`commit`](Self::commit).
    pub(super) fn put(&mut self, chunk: &Chunk, now_ns: u64) -> Result<(), Error> {
        let (items, now_ns) = (chunk.items.cast_signed(), now_ns.cast_signed());
        let sql = "INSERT INTO outbox (bytes, items, added_ns) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![chunk.bytes, items, now_ns])?;
        self.kept_bytes += chunk.bytes.len() as u64;
        Ok(())
    }

    /// The oldest requests, as many as make one of at most so many bytes; at least one, if there is one.
    pub fn oldest(&self, max_bytes: usize) -> Result<Waiting, Error> {
        let read = || -> rusqlite::Result<Waiting> {
            let mut statement =
                self.connection.prepare_cached("SELECT id, bytes, items FROM outbox ORDER BY id")?;
            let mut rows = statement.query([])?;
            let (mut waiting, mut bytes) = (Waiting::default(), 0);
            while let Some(row) = rows.next()? {
                bytes += row.get_ref(1)?.as_blob()?.len();
                if bytes > max_bytes && !waiting.chunks.is_empty() {
                    break;
                }
                waiting.up_to = row.get(0)?;
                let items = row.get::<_, i64>(2)?.cast_unsigned();
                waiting.chunks.push(Chunk { bytes: row.get(1)?, items });
            }
            Ok(waiting)
        };
        read().map_err(|error| super::sqlite_error(&self.path, error))
    }

    /// Takes requests out of the outbox that were delivered, or refused and are kept as dead letters.
    pub fn delivered(&mut self, up_to: i64, refused: &[Refusal], now_ns: u64) -> Result<(), Error> {
        self.commit(|state| {
            let sql = "SELECT coalesce(sum(length(bytes)), 0) FROM outbox WHERE id <= ?1";
            let bytes = state.query(sql, [up_to], |row| row.get::<_, i64>(0))?.into_iter().sum::<i64>();
            state.execute("DELETE FROM outbox WHERE id <= ?1", [up_to])?;
            state.kept_bytes = state.kept_bytes.saturating_sub(bytes.cast_unsigned());
            refused.iter().try_for_each(|letter| state.keep(letter, now_ns))?;
            state.store_series()
        })
    }

    /// Keeps a refused request. To be called within [`commit`](Self::commit).
    pub(super) fn keep(&mut self, letter: &Refusal, now_ns: u64) -> Result<(), Error> {
        let Refusal { signal, bytes, items, reason, may_have_arrived: _ } = letter;
        let sql =
            "INSERT INTO dead_letters (signal, bytes, items, reason, added_ns) VALUES (?1, ?2, ?3, ?4, ?5)";
        let (items, now_ns) = (items.cast_signed(), now_ns.cast_signed());
        self.execute(sql, params![signal.name(), bytes, items, reason, now_ns])?;
        self.kept_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Bytes of spans that wait to be delivered, or were refused and are kept.
    pub fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    pub(super) fn add_up_kept(&mut self) -> Result<(), Error> {
        let amount = |table| self.amount(table).map(|amount| amount.bytes);
        self.kept_bytes = amount("outbox")?.saturating_add(amount("dead_letters")?);
        Ok(())
    }

    /// What waits to be delivered.
    pub fn waiting(&self) -> Result<Amount, Error> {
        self.amount("outbox")
    }

    fn amount(&self, table: &str) -> Result<Amount, Error> {
        let amounts = self.query(&Amount::sql(table), [], Amount::of_row)?;
        Ok(amounts.into_iter().next().unwrap_or_default())
    }

    /// Puts refused spans back into the outbox. Returns how many requests.
    pub fn retry_dead_letters(&mut self) -> Result<usize, Error> {
        self.commit(|state| {
            let sql = "INSERT INTO outbox (bytes, items, added_ns)
                       SELECT bytes, items, added_ns FROM dead_letters WHERE signal = ?1 ORDER BY id";
            let count = state.execute(sql, [Signal::Traces.name()])?;
            state.execute("DELETE FROM dead_letters WHERE signal = ?1", [Signal::Traces.name()])?;
            Ok(count)
        })
    }

    /// Forgets what was refused. Returns how many requests.
    pub fn drop_dead_letters(&mut self) -> Result<usize, Error> {
        let count = self.execute("DELETE FROM dead_letters", [])?;
        self.add_up_kept()?;
        Ok(count)
    }
}

impl Amount {
    pub(super) fn sql(table: &str) -> String {
        format!("SELECT count(*), coalesce(sum(length(bytes)), 0), min(added_ns) FROM {table}")
    }

    pub(super) fn of_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            requests: row.get::<_, i64>(0)?.cast_unsigned(),
            bytes: row.get::<_, i64>(1)?.cast_unsigned(),
            since_ns: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
        })
    }
}

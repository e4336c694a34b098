//! What `check` asks of an SQLite database.

use std::path::Path;
use std::time::Duration;

use rusqlite::OptionalExtension as _;
use tokio::time::Instant;

use super::choice::{Described, quoted};
use super::inspect::{Found, FoundPart, Remark, SAMPLE, layout, of_seconds, traced};
use super::sqlite::Database;
use super::sqlite_wal::{is_in_wal_mode, lacks_log};
use super::{Error, Tables};
use crate::framework::Oddity;
use crate::framework::agno::tables::{Layout, Table};

/// How long a locked database is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn inspect(path: &Path, tables: &Tables) -> Result<Found, Error> {
    let mut found = Found::default();
    found.remarks.extend(files(path));
    let database = Database::open(path, PATIENCE)?;
    let all = database.tables().map_err(|error| database.error(error))?;
    let (what, is_called) = ("an SQLite database", |table: &Table, name: &str| table.name == name);
    let chosen = Described { path, what, found: &all, is_called }.choose(tables)?;
    let read = || -> rusqlite::Result<()> {
        let started = Instant::now();
        for (table, kind) in &chosen {
            let (what, json) = match kind {
                Layout::SessionsWithRuns => ("sessions", "runs"),
                Layout::Runs => ("runs", "run_data"),
                Layout::V1 => {
                    found.oddities.add_many(Oddity::AgnoV1, database.count(table)?);
                    continue;
                }
                Layout::Sessions | Layout::Other => continue,
            };
            let newest = if table.columns.iter().any(|column| column == "updated_at") {
                "updated_at"
            } else {
                "created_at"
            };
            let newest = table.column_or_null(newest);
            let sql = format!(
                "SELECT count(*), max({newest}), sum(octet_length({json})) FROM {} WHERE {json} IS NOT NULL",
                quoted(&table.name)
            );
            let row = |row: &rusqlite::Row<'_>| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1).ok().flatten()))
            };
            let (count, newest_s) = database.connection.query_row(&sql, [], row)?;
            found.newest_ns = found.newest_ns.max(newest_s.and_then(of_seconds));
            found.parts.push(FoundPart { name: table.name.clone(), what, count: count.unsigned_abs() });
        }
        found.counting = Some(started.elapsed());
        for table in all.iter().filter(|table| table.holds_traces()) {
            found.remarks.extend(traced(&table.name, database.count(table)?));
        }
        let of =
            |kind: Layout| chosen.iter().find(|(_, own)| *own == kind).map(|(table, _)| quoted(&table.name));
        let (sessions, runs) = (of(Layout::SessionsWithRuns), of(Layout::Runs));
        let mut unmigrated = 0;
        if let (Some(sessions), Some(runs)) = (&sessions, &runs) {
            // A migration takes over a session's first run too. 2.x wrote a list as a text of JSON within JSON.
            let sql = format!(
                "SELECT count(*) FROM (SELECT json_extract(list, '$[0].run_id') AS first FROM (
                     SELECT CASE WHEN json_valid(runs) THEN json_extract(runs, '$') END AS list FROM {sessions}
                     WHERE runs IS NOT NULL LIMIT {SAMPLE}) WHERE json_valid(list))
                 WHERE first IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = first)"
            );
            let count: Option<i64> = database.connection.query_row(&sql, [], |row| row.get(0)).optional()?;
            unmigrated = count.unwrap_or(0).unsigned_abs();
        }
        found.layout = layout(sessions.is_some(), runs.is_some(), unmigrated);
        Ok(())
    };
    let mut read = read;
    read().map_err(|error| database.error(error))?;
    Ok(found)
}

/// What the files beside it say.
fn files(path: &Path) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let is_wal = is_in_wal_mode(path).unwrap_or(false);
    remarks.push(Remark::fine("run asks by row numbers; no index is needed"));
    remarks.push(Remark::fine(if is_wal { "journal mode WAL" } else { "journal mode DELETE or like it" }));
    if is_wal && lacks_log(path).unwrap_or(false) {
        remarks.push(Remark::fixed_by(
            "no -wal file stands beside it: all is there if its application has ended, of a copy runs may be missing",
            "copy with sqlite3 SOURCE \".backup COPY\", or bring the -wal",
        ));
    }
    let folder = path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned()));
    if is_wal && folder.is_some_and(|folder| !super::may_write(&folder)) {
        remarks.push(Remark::fixed_by(
            "its folder is read-only for us, and SQLite needs -wal and -shm files there to read it",
            "run while its application runs, which makes them, or let us write in the folder",
        ));
    }
    remarks
}

//! What `check` asks of a source: whether it can be read, how it is laid out, how new the newest of it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Location, Tables, is_sqlite, is_unwritten};
use crate::framework::agno;
use crate::framework::{Keep, Oddities};

/// Sessions of 2.x that are looked into to tell whether they were migrated.
pub(super) const SAMPLE: u32 = 1_000;

/// What was found of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Its tables or files, with what they hold.
    pub parts: Vec<FoundPart>,
    /// How it is laid out, of which version.
    pub layout: String,
    /// When the newest of it was written, in Unix nanoseconds.
    pub newest_ns: Option<u64>,
    /// What its server's clock says, in Unix nanoseconds.
    pub clock_ns: Option<u64>,
    /// How long its rows took to be counted; a look at what is new takes about as long.
    pub counting: Option<Duration>,
    /// What else is worth saying.
    pub remarks: Vec<Remark>,
    /// What of its records is odd.
    pub oddities: Oddities,
}

/// A table or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPart {
    /// Its name.
    pub name: String,
    /// What is counted in it.
    pub what: &'static str,
    /// How many there are.
    pub count: u64,
}

/// Something worth saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What is so.
    pub what: String,
    /// What can be done about it; empty where it is as it should be.
    pub fix: String,
}

impl Remark {
    /// As it should be.
    pub(super) fn fine(what: impl Into<String>) -> Self {
        Self { what: what.into(), fix: String::new() }
    }

    pub(super) fn fixed_by(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

/// What is said of a table of traces that Agno keeps itself: the application is instrumented.
pub(super) fn traced(table: &str, count: u64) -> Option<Remark> {
    (count > 0).then(|| {
        Remark::fixed_by(
            format!("the application traces itself: {count} traces in {table}. If it sends them too, there are two sources of spans for the same runs"),
            "turn one off, or sum tokens over one alone; --jaeger shows whether they arrive (docs/check.md)",
        )
    })
}

/// Looks into a source without changing anything. It may take as long as reading it does.
pub async fn inspect(location: &Location, tables: &Tables) -> Result<Found, Error> {
    let path = match location {
        Location::Stdin => {
            let remark = Remark::fixed_by("standard input can be read once, and not now", "run needs a path");
            return Ok(Found { remarks: vec![remark], ..Found::default() });
        }
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => return super::postgres::inspect(url, tables).await,
        #[cfg(not(feature = "postgres"))]
        Location::Postgres(_) => return Err(Error::NoPostgres { path: location.name() }),
        Location::Path(path) => path,
    };
    let failed = |source| super::unread(path, source);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_file() && (is_sqlite(path).map_err(failed)? || is_unwritten(path, &metadata)) {
        #[cfg(feature = "sqlite")]
        return super::sqlite_inspect::inspect(path, tables);
    }
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(Error::NotFollowed { path: path.clone() });
    }
    inspect_texts(path, tables).await
}

/// Files: read whole, for nothing tells what is in them.
async fn inspect_texts(path: &Path, tables: &Tables) -> Result<Found, Error> {
    let (mut found, mut runs, mut newest_s) = (Found::default(), 0, None);
    let mut accept = |_, record: super::Record| {
        let decoded = agno::decode_owned(record.json, &record.columns, Keep::Figures);
        runs += decoded.runs.len() as u64;
        let created_s = decoded.runs.iter().filter_map(|run| run.run.created_at_s);
        newest_s = newest_s.max(created_s.max());
        found.oddities.merge(&decoded.oddities);
    };
    let source = super::read(&Location::Path(PathBuf::from(path)), tables, &mut accept).await?;
    found.layout = if path.is_dir() { "a folder".to_owned() } else { "a file of runs".to_owned() };
    found.parts.push(FoundPart { name: format!("{} files", source.parts()), what: "runs", count: runs });
    found.newest_ns = newest_s.and_then(of_seconds);
    Ok(found)
}

/// Unix nanoseconds of a Unix second.
pub(super) fn of_seconds(at_s: i64) -> Option<u64> {
    u64::try_from(at_s).ok()?.checked_mul(1_000_000_000)
}

/// What a database's tables say of the version that made them.
pub(super) fn layout(has_sessions_with_runs: bool, has_runs: bool, unmigrated: u64) -> String {
    match (has_sessions_with_runs, has_runs) {
        (true, true) if unmigrated > 0 => {
            format!(
                "Agno 3.x beside 2.x: {unmigrated} sessions not migrated; both are read, each run counted once"
            )
        }
        (true, true) => "Agno 3.x, migrated from 2.x; each run is counted once".to_owned(),
        (true, false) => "Agno 2.x: runs in their session's row".to_owned(),
        (false, true) => "Agno 3.x: a row per run".to_owned(),
        (false, false) => "no tables of Agno's yet; it makes them with its first run".to_owned(),
    }
}

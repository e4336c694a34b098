//! Folders: written by Agno's `JsonDb`, a file per table, or filled with files of runs.
//!
//! Other files are left out and counted. One of them that is unreadable stops nothing; a table of Agno's does.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::described::described;
use super::values::Values;
use super::{Error, Kind, REREAD_DELAY, REREADS, Record, Tables, file};
use crate::framework::agno::{Columns, Form, decode, form};
use crate::framework::{Keep, Oddities, Oddity};

/// What the files are called that may hold runs.
const EXTENSIONS: [&str; 3] = ["json", "jsonl", "ndjson"];
/// What Agno calls its tables unless told otherwise.
const DEFAULT_NAMES: [(&str, Kind); 2] = [("agno_sessions", Kind::Sessions), ("agno_runs", Kind::Runs)];

pub(super) async fn read(
    folder: &Path,
    tables: &Tables,
    accept: &mut (dyn FnMut(Record) + Send),
) -> Result<Oddities, Error> {
    let Files { files, databases } = Files::of(folder)?;
    for (_, table) in tables.named() {
        if !files.iter().any(|path| is_json(path) && stem(path) == table) {
            let (path, table) = (folder.to_owned(), table.to_owned());
            return Err(Error::NoTable { path, table, found: list(&files) });
        }
    }
    let mut found = 0;
    let mut oddities = Oddities::default();
    for path in &files {
        match content(path, tables).await? {
            Content::Table(text) => accept(Record { json: text, columns: Columns::default() }),
            Content::Runs(text, values) => oddities.merge(&file::hand_over(text, &values, accept)),
            Content::Unwanted => {}
            Content::Other(oddity) => {
                tracing::info!(path = %path.display(), "left out: it holds no runs");
                oddities.add(oddity);
                continue;
            }
        }
        found += 1;
    }
    if found == 0 {
        let found = match databases.first() {
            Some(database) => {
                format!("a folder with the SQLite database {}; give its path", database.display())
            }
            None => format!("a folder with {}", list(&files)),
        };
        return Err(Error::NotAgno { path: folder.to_owned(), found });
    }
    for database in databases {
        tracing::warn!(path = %database.display(), "left out: an SQLite database within a folder; give its path too");
    }
    Ok(oddities)
}

/// What a folder holds, not what its folders hold.
#[derive(Default)]
struct Files {
    files: Vec<PathBuf>,
    databases: Vec<PathBuf>,
}

impl Files {
    fn of(folder: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: folder.to_owned(), source };
        let mut found = Self::default();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_named =
                EXTENSIONS.iter().any(|extension| path.extension().is_some_and(|own| own == *extension));
            if !path.is_file() {
                if is_named && !path.is_dir() {
                    tracing::warn!(path = %path.display(), "left out: no file, and no link to one");
                }
            } else if super::is_sqlite(&path).unwrap_or(false) {
                found.databases.push(path);
            } else if is_named {
                found.files.push(path);
            }
        }
        found.files.sort();
        found.databases.sort();
        Ok(found)
    }
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

fn list(files: &[PathBuf]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = files
        .iter()
        .take(SHOWN)
        .filter_map(|path| path.file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    match files.len() {
        0 => "no .json, .jsonl or .ndjson file".to_owned(),
        count if count > SHOWN => format!("{} and {} more", names.join(", "), count - SHOWN),
        _ => names.join(", "),
    }
}

/// What a file is.
enum Content {
    /// A table of Agno's.
    Table(Vec<u8>),
    /// A table, but another of its kind was named.
    Unwanted,
    /// Runs.
    Runs(Vec<u8>, Values),
    /// Neither.
    Other(Oddity),
}

async fn content(path: &Path, tables: &Tables) -> Result<Content, Error> {
    let name = stem(path);
    let named = tables.named().into_iter().find(|(_, table)| is_json(path) && *table == name);
    let default = DEFAULT_NAMES.into_iter().find(|(table, _)| is_json(path) && *table == name);
    let mut text = file::load(path)?;
    let mut kind = named.or(default.map(|(table, kind)| (kind, table))).map(|(kind, _)| kind);
    if kind.is_some() || begins_as_table(&text) {
        text = whole(path).await?;
    }
    kind = kind.or_else(|| table_kind(&text));
    if let Some(kind) = kind {
        return Ok(if tables.want(kind, name) { Content::Table(text) } else { Content::Unwanted });
    }
    let values = Values::of(&text);
    Ok(match &values {
        Values { whole: 0, cut: true, .. } => Content::Other(Oddity::HalfLine),
        _ if holds_runs(&text, &values) => Content::Runs(text, values),
        _ => Content::Other(Oddity::OtherFile),
    })
}

/// 2.x truncates a table's file and writes it anew, so a reader may meet a part of it.
async fn whole(path: &Path) -> Result<Vec<u8>, Error> {
    for _ in 0..REREADS {
        let text = file::load(path)?;
        if form(&text) == Form::Whole {
            return Ok(text);
        }
        tokio::time::sleep(REREAD_DELAY).await;
    }
    let text = file::load(path)?;
    match form(&text) {
        Form::Whole => Ok(text),
        Form::Cut => Err(Error::HalfWritten { path: path.to_owned() }),
        Form::Other => Err(Error::NotAgno { path: path.to_owned(), found: described(&text) }),
    }
}

/// True for what may be the beginning of a table, but no whole value.
fn begins_as_table(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"[") && kind_by_words(text).is_some() && form(text) == Form::Cut
}

/// Whose rows a list holds: of sessions, of runs, or of neither.
fn table_kind(text: &[u8]) -> Option<Kind> {
    #[derive(Deserialize)]
    struct Row {
        session_id: Option<IgnoredAny>,
        session_type: Option<IgnoredAny>,
        run_data: Option<IgnoredAny>,
    }
    let kind = |row: &Row| match row {
        Row { session_id: None, .. } => None,
        Row { run_data: Some(_), .. } => Some(Kind::Runs),
        Row { session_type: Some(_), .. } => Some(Kind::Sessions),
        Row { .. } => None,
    };
    if !text.trim_ascii_start().starts_with(b"[") {
        return None;
    }
    match serde_json::from_slice::<Vec<Row>>(text) {
        Ok(rows) => rows.iter().find_map(kind),
        // Python's JSON.
        Err(_) if form(text) == Form::Whole => kind_by_words(text),
        Err(_) => None,
    }
}

fn kind_by_words(text: &[u8]) -> Option<Kind> {
    match (has(text, "session_id"), has(text, "run_data"), has(text, "session_type")) {
        (true, true, _) => Some(Kind::Runs),
        (true, false, true) => Some(Kind::Sessions),
        _ => None,
    }
}

fn has(text: &[u8], key: &str) -> bool {
    let key = format!("\"{key}\"");
    text.windows(key.len()).any(|part| part == key.as_bytes())
}

/// True if anything in it is a run, or so near to one that the user must be told.
fn holds_runs(text: &[u8], values: &Values) -> bool {
    values.places.iter().filter_map(|place| text.get(place.clone())).any(|json| {
        let decoded = decode(json, &Columns::default(), Keep::default());
        let is_near = |oddity| match oddity {
            Oddity::StreamEvent | Oddity::NoRunId => true,
            // A memory of today has the key that 1.x keeps runs under, but no session.
            Oddity::AgnoV1 => has(json, "session_id"),
            _ => false,
        };
        !decoded.runs.is_empty() || decoded.oddities.iter().any(|(oddity, _)| is_near(oddity))
    })
}

//! Folders: written by Agno's `JsonDb`, a file per table, or filled with files of runs.
//!
//! Other files are left out and counted. One of them that is unreadable stops nothing; a table of Agno's does.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::described::described;
use super::file::{Text, load};
use super::tables::Kind;
use super::{Error, Part, REREAD_DELAY, REREADS, Record, Source, Spot, Tables};
use crate::framework::agno::{Columns, Form, decode, form};
use crate::framework::{Keep, Oddity};

/// What the files are called that may hold runs.
const EXTENSIONS: [&str; 3] = ["json", "jsonl", "ndjson"];
/// Bytes in which a file that is a list has begun.
const BEGINNING_BYTES: u64 = 1024;
/// What Agno calls its tables unless told otherwise.
const DEFAULT_NAMES: [(&str, Kind); 2] = [("agno_sessions", Kind::Sessions), ("agno_runs", Kind::Runs)];

pub(super) async fn read(
    folder: &Path,
    tables: &Tables,
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<Source, Error> {
    let Files { files, databases } = Files::of(folder)?;
    for (_, table) in tables.named() {
        if !files.iter().any(|path| is_json(path) && stem(path) == table) {
            let (path, table) = (folder.to_owned(), table.to_owned());
            return Err(Error::NoTable { path, table, found: list(&files) });
        }
    }
    let mut found_unwanted = false;
    let mut source = Source::default();
    for path in &files {
        let part = source.parts();
        match content(path, tables).await? {
            Content::Table(json) => {
                accept(Spot::of_text(part, 0, &json), Record { json, columns: Columns::default() });
                source.parts.push(Part::Table(Table { path: path.clone() }));
            }
            Content::Runs(text) => {
                source.oddities.merge(&text.read(part, accept).await?);
                source.parts.push(Part::Text(text));
            }
            Content::Unwanted => found_unwanted = true,
            Content::Other(oddity) => {
                tracing::info!(path = %path.display(), "left out: it holds no runs");
                source.oddities.add(oddity);
            }
        }
    }
    if source.parts.is_empty() && !found_unwanted {
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
    Ok(source)
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
    Runs(Text),
    /// Neither.
    Other(Oddity),
}

async fn content(path: &Path, tables: &Tables) -> Result<Content, Error> {
    let name = stem(path);
    let named = tables.named().into_iter().find(|(_, table)| is_json(path) && *table == name);
    let default = DEFAULT_NAMES.into_iter().find(|(table, _)| is_json(path) && *table == name);
    let kind = named.or(default.map(|(table, kind)| (kind, table))).map(|(kind, _)| kind);
    if kind.is_some() || is_list(path)? {
        let mut json = load(path)?;
        if kind.is_some() || begins_as_table(&json) {
            json = whole(path).await?;
        }
        if let Some(kind) = kind.or_else(|| table_kind(&json)) {
            return Ok(if tables.want(kind, |named| named == name) {
                Content::Table(json)
            } else {
                Content::Unwanted
            });
        }
    }
    holds_runs(Text::of(path))
}

/// True for a file that begins as a list does; only such a one may be a table.
fn is_list(path: &Path) -> Result<bool, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut start = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(BEGINNING_BYTES).read_to_end(&mut start).map_err(failed)?;
    Ok(start.iter().find(|byte| byte.is_ascii() && !byte.is_ascii_whitespace()) == Some(&b'['))
}

/// A table of Agno's `JsonDb`, always read whole.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
}

impl Table {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it again, as it is by now.
    pub(super) async fn fetch(&self) -> Result<Record, Error> {
        Ok(Record { json: whole(&self.path).await?, columns: Columns::default() })
    }
}

/// 2.x truncates a table's file and writes it anew, so a reader may meet a part of it.
async fn whole(path: &Path) -> Result<Vec<u8>, Error> {
    for _ in 0..REREADS {
        let text = load(path)?;
        if form(&text) == Form::Whole {
            return Ok(text);
        }
        tokio::time::sleep(REREAD_DELAY).await;
    }
    let text = load(path)?;
    match form(&text) {
        Form::Whole => Ok(text),
        Form::Cut => Err(Error::HalfWritten { path: path.to_owned() }),
        Form::Other => {
            Err(Error::NotAgno { path: path.to_owned(), found: described(&text, text.len() as u64) })
        }
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

/// A file is of runs if anything in it is one, or so near to one that the user must be told.
fn holds_runs(text: Text) -> Result<Content, Error> {
    let is_run = |json: &[u8]| {
        let decoded = decode(json, &Columns::default(), Keep::default());
        let is_near = |oddity| match oddity {
            Oddity::StreamEvent | Oddity::NoRunId => true,
            // A memory of today has the key that 1.x keeps runs under, but no session.
            Oddity::AgnoV1 => has(json, "session_id"),
            _ => false,
        };
        !decoded.runs.is_empty() || decoded.oddities.iter().any(|(oddity, _)| is_near(oddity))
    };
    let mut values = text.values(0)?;
    while let Some(value) = values.next().map_err(|error| text.failed(error))? {
        if is_run(&value.json) {
            return Ok(Content::Runs(text));
        }
    }
    Ok(Content::Other(if values.cut && values.whole == 0 { Oddity::HalfLine } else { Oddity::OtherFile }))
}

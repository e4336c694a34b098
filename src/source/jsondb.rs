//! Folders written by Agno's `JsonDb`: a file of sessions and, from 3.0 on, a file of runs.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Error, REREAD_DELAY, REREADS, Record, Tables, file};
use crate::framework::Oddities;
use crate::framework::agno::{Columns, Form, form};

pub(super) async fn read(
    folder: &Path,
    tables: &Tables,
    accept: &mut (dyn FnMut(Record) + Send),
) -> Result<Oddities, Error> {
    let files = json_files(folder)?;
    let named = tables.named();
    let stem = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    for table in &named {
        if !files.iter().any(|path| stem(path) == *table) {
            let (path, table) = (folder.to_owned(), (*table).to_owned());
            return Err(Error::NoTable { path, table, found: list(&files) });
        }
    }
    let mut found = 0;
    for path in &files {
        if !named.is_empty() && !named.contains(&stem(path).as_str()) {
            continue;
        }
        let text = whole(path).await?;
        if !named.is_empty() || holds_rows(&text) {
            found += 1;
            accept(Record { json: text, columns: Columns::default() });
        }
    }
    if found == 0 {
        return Err(Error::NotAgno {
            path: folder.to_owned(),
            found: format!("a folder with {}", list(&files)),
        });
    }
    Ok(Oddities::default())
}

fn json_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
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
        0 => "no .json file".to_owned(),
        count if count > SHOWN => format!("{} and {} more", names.join(", "), count - SHOWN),
        _ => names.join(", "),
    }
}

/// 2.x truncates a file and writes it anew, so a reader may meet a part of it.
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
        Form::Other => {
            let found = format!("{} bytes that are not JSON", text.len());
            Err(Error::NotAgno { path: path.to_owned(), found })
        }
    }
}

/// True for lists of session rows or run rows; a folder also holds memories, metrics and knowledge.
fn holds_rows(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Row {
        session_id: Option<IgnoredAny>,
        session_type: Option<IgnoredAny>,
        run_data: Option<IgnoredAny>,
    }
    let is_row =
        |row: &Row| row.session_id.is_some() && (row.session_type.is_some() || row.run_data.is_some());
    match serde_json::from_slice::<Vec<Row>>(text) {
        Ok(rows) => rows.iter().any(is_row),
        // Python's JSON: let the decoder find out.
        Err(_) => text.windows(12).any(|part| part == b"\"session_id\""),
    }
}

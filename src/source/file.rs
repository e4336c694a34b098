//! Files of runs: one run, a list, or one per line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{Error, REREAD_DELAY, REREADS, Record};
use crate::framework::agno::{Columns, Form, form};
use crate::framework::{Oddities, Oddity};

pub(super) async fn read(path: &Path, accept: &mut (dyn FnMut(Record) + Send)) -> Result<Oddities, Error> {
    let mut text = load(path)?;
    for _ in 0..REREADS {
        if !matches!(shape(&text), Shape::Cut) && !ends_in_half_line(&text) {
            break;
        }
        tokio::time::sleep(REREAD_DELAY).await;
        text = load(path)?;
    }
    hand_over(path, text, accept)
}

/// Reads what cannot be read again, such as a pipe.
pub(super) fn read_once(path: &Path, accept: &mut (dyn FnMut(Record) + Send)) -> Result<Oddities, Error> {
    hand_over(path, load(path)?, accept)
}

pub(super) fn read_stdin(accept: &mut (dyn FnMut(Record) + Send)) -> Result<Oddities, Error> {
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).map_err(|source| Error::Stdin { source })?;
    hand_over(Path::new("standard input"), text, accept)
}

pub(super) fn load(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

enum Shape {
    Whole,
    Lines,
    Cut,
    Other,
}

fn shape(text: &[u8]) -> Shape {
    let mut lines = lines(text);
    let first = lines.next().unwrap_or_default();
    // One run per line, or a whole value on one line. Anything else may be a value over several lines.
    match (form(first), lines.next()) {
        (Form::Whole, Some(_)) => Shape::Lines,
        (Form::Whole, None) => Shape::Whole,
        (Form::Cut | Form::Other, _) => match form(text) {
            Form::Whole => Shape::Whole,
            Form::Cut => Shape::Cut,
            Form::Other if matches!(first.first(), Some(b'{' | b'[')) && later_lines_are_json(text) => {
                Shape::Lines
            }
            Form::Other => Shape::Other,
        },
    }
}

/// A first line that is no JSON does not make the rest of a file unreadable.
fn later_lines_are_json(text: &[u8]) -> bool {
    lines(text).nth(1).is_some_and(|line| form(line) == Form::Whole)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

fn ends_in_half_line(text: &[u8]) -> bool {
    let unfinished = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    !unfinished.is_empty() && matches!(shape(text), Shape::Lines) && form(unfinished) == Form::Cut
}

fn hand_over(path: &Path, text: Vec<u8>, accept: &mut (dyn FnMut(Record) + Send)) -> Result<Oddities, Error> {
    let mut oddities = Oddities::default();
    let path: PathBuf = path.to_owned();
    if text.trim_ascii().is_empty() {
        return Err(Error::NotAgno { path, found: "nothing (it is empty)".to_owned() });
    }
    match shape(&text) {
        Shape::Whole => accept(Record { json: text, columns: Columns::default() }),
        Shape::Lines => {
            let half = ends_in_half_line(&text);
            let count = lines(&text).count() - usize::from(half);
            for line in lines(&text).take(count) {
                accept(Record { json: line.to_owned(), columns: Columns::default() });
            }
            oddities.add_many(Oddity::HalfLine, u64::from(half));
        }
        Shape::Cut => return Err(Error::HalfWritten { path }),
        Shape::Other => {
            let kind = if std::str::from_utf8(&text).is_ok() { "text" } else { "bytes" };
            return Err(Error::NotAgno {
                path,
                found: format!("{} bytes of {kind} that is not JSON", text.len()),
            });
        }
    }
    Ok(oddities)
}

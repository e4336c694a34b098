//! Files of runs: one run, a list, one per line, or one after the other.

use std::io::Read as _;
use std::path::Path;

use super::described::{SQLITE, described};
use super::values::Values;
use super::{Error, REREAD_DELAY, REREADS, Record};
use crate::framework::agno::Columns;
use crate::framework::{Oddities, Oddity};

pub(super) async fn read(path: &Path, accept: &mut (dyn FnMut(Record) + Send)) -> Result<Oddities, Error> {
    let mut text = load(path)?;
    let mut values = Values::of(&text);
    for _ in 0..REREADS {
        if !values.cut {
            break;
        }
        tokio::time::sleep(REREAD_DELAY).await;
        text = load(path)?;
        values = Values::of(&text);
    }
    checked(path, text, &values, accept)
}

/// Reads what cannot be read again, such as a pipe.
pub(super) fn read_once(path: &Path, accept: &mut (dyn FnMut(Record) + Send)) -> Result<Oddities, Error> {
    let text = load(path)?;
    let values = Values::of(&text);
    checked(path, text, &values, accept)
}

pub(super) fn read_stdin(accept: &mut (dyn FnMut(Record) + Send)) -> Result<Oddities, Error> {
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).map_err(|source| Error::Stdin { source })?;
    let text = without_mark(text);
    let values = Values::of(&text);
    checked(Path::new("standard input"), text, &values, accept)
}

pub(super) fn load(path: &Path) -> Result<Vec<u8>, Error> {
    let text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(without_mark(text))
}

/// Some editors begin UTF-8 with a byte order mark.
fn without_mark(mut text: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if text.starts_with(MARK) {
        text.drain(..MARK.len());
    }
    text
}

fn checked(
    path: &Path,
    text: Vec<u8>,
    values: &Values,
    accept: &mut (dyn FnMut(Record) + Send),
) -> Result<Oddities, Error> {
    let path = || path.to_owned();
    match values {
        Values { whole: 1.., .. } => Ok(hand_over(text, values, accept)),
        _ if text.starts_with(SQLITE) => Err(Error::SqlitePiped { path: path() }),
        Values { cut: true, .. } if values.places.is_empty() => Err(Error::HalfWritten { path: path() }),
        _ => Err(Error::NotAgno { path: path(), found: described(&text) }),
    }
}

/// Hands over every value. Lines that are no JSON too: the decoder counts them.
pub(super) fn hand_over(text: Vec<u8>, values: &Values, accept: &mut (dyn FnMut(Record) + Send)) -> Oddities {
    let mut oddities = Oddities::default();
    oddities.add_many(Oddity::HalfLine, u64::from(values.cut));
    let mut accept = |json| accept(Record { json, columns: Columns::default() });
    if let ([_], false) = (values.places.as_slice(), values.cut) {
        // All of it, without a copy.
        accept(text);
        return oddities;
    }
    for json in values.places.iter().filter_map(|place| text.get(place.clone())) {
        accept(json.to_owned());
    }
    oddities
}

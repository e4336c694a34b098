//! What is wrong with a config file: where it stands, what it is called, and what was perhaps meant.
//!
//! Values are shown only of keys that hold words from a list, times or sizes: others may be secrets, in the wrong place
//! too.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::File;

/// How alike two keys must be for one to be the other, misspelt: from 0 to 1.
const ALIKE: f64 = 0.8;

/// Why a config file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not there, or not for us.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is larger than {limit} bytes; that is no config file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it may have.
        limit: u64,
    },
    /// It is no text.
    #[error("{} is not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A key nobody reads.
    #[error("{place}: {key}: unknown key; {}", instead(key, known))]
    UnknownKey {
        /// File and line.
        place: String,
        /// The key, from the top.
        key: String,
        /// The keys that could stand there.
        known: Vec<String>,
    },
    /// Not TOML, or a value that is none for its key.
    #[error("{place}: {problem}")]
    Wrong {
        /// File and line.
        place: String,
        /// What is wrong there.
        problem: String,
    },
}

/// What might be meant by a key.
fn instead(key: &str, known: &[String]) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let alike = known.iter().map(|known| (strsim::jaro_winkler(last, known), known));
    let best = alike.filter(|(alike, _)| *alike > ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b));
    match best {
        Some((_, known)) => format!("did you mean \"{known}\"?"),
        None => format!("expected one of {}", known.join(", ")),
    }
}

/// Says in our words what the parser found.
pub(super) fn explain(error: &toml::de::Error, text: &str, file: &File) -> Error {
    let span = error.span().unwrap_or_default();
    let place = file.place(span.start);
    let key = DeTable::parse(text).ok().and_then(|table| key_at(table.get_ref(), &span)).unwrap_or_default();
    let message = error.message();
    if let Some(known) = known(message) {
        return Error::UnknownKey { place, key, known };
    }
    let problem = problem(message);
    let problem = if key.is_empty() { problem } else { format!("{key}: {problem}") };
    Error::Wrong { place, problem }
}

/// The key whose name or value stands there, from the top. Tables reach no further than their headers.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let holds = |range: Range<usize>| range.start <= span.start && span.end <= range.end;
    let below = |value: &DeValue<'_>| match value {
        DeValue::Table(table) => key_at(table, span),
        DeValue::Array(values) => values.iter().find_map(|value| match value.get_ref() {
            DeValue::Table(table) => key_at(table, span),
            _ => None,
        }),
        _ => None,
    };
    let deeper =
        table.iter().find_map(|(key, value)| Some(format!("{}.{}", key.get_ref(), below(value.get_ref())?)));
    deeper.or_else(|| {
        let here = table.iter().find(|(key, value)| holds(key.span()) || holds(value.span()));
        here.map(|(key, _)| key.get_ref().to_string())
    })
}

/// The keys that could have stood where serde met an unknown one.
fn known(message: &str) -> Option<Vec<String>> {
    let (_, known) = message.strip_prefix("unknown field `")?.rsplit_once("`, expected ")?;
    Some(known.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// serde's message without the value, which it quotes.
fn problem(message: &str) -> String {
    if let Some(key) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return format!("{key} is missing");
    }
    let wrong = message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected "));
    let Some((found, expected)) = wrong else {
        return message.to_owned();
    };
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "string" => "text",
        "integer" | "floating" => "a number",
        "boolean" => "true or false",
        "map" => "a table",
        "sequence" => "a list",
        _ => "something else",
    };
    match expected {
        "a sequence" => format!("expected a list, or tables in [[ ]], found {found}"),
        "a map" => format!("expected a table, found {found}"),
        "a string" => format!("expected text, found {found}"),
        "a boolean" => format!("expected true or false, found {found}"),
        other => format!("expected {other}, found {found}"),
    }
}

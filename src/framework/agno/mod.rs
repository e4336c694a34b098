//! Agno's words, for releases 2.0 to 3.1.
//!
//! [`decode`] turns one record into runs, flat, each pointing to its parent. A record may be a run, a list of
//! runs, the row of a session with its runs, or the row of a run; JSON inside a JSON string (how Agno 2 stores
//! it in SQLite) is opened.

mod content;
mod json;
mod lenient;
mod matching;
mod media;
mod message;
pub mod reconcile;
mod record;
mod run;
mod steps;
mod strip;
pub mod tables;
mod taken;
mod tokens;
mod usage;

use serde_json::value::RawValue;

use super::{Keep, Oddities, Oddity};
use crate::model::step::Scalar;
use record::RunRecord;

pub use taken::{Taken, items, take_apart};
pub use usage::{Link, settle};

/// The releases of Agno whose records are understood.
pub const VERSIONS: &str = "2.0 to 3.1";
/// How deep a run may lie in a record: a list of rows, a row, a string in it, its list, a run are five.
const MAX_LAYERS: usize = 8;
/// Scalars of `provider_metrics` kept for a span.
const MAX_PROVIDER_SCALARS: usize = 32;
/// Bytes kept of a provider's own word.
const MAX_PROVIDER_TEXT_BYTES: usize = 64;

/// What the source knows of a record beside its JSON: columns of the row it stood in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// The row's session.
    pub session_id: Option<String>,
    /// The row's user.
    pub user_id: Option<String>,
    /// Unix second the row was written; only for rows of a single run.
    pub stored_at_s: Option<i64>,
    /// The run's place in its session.
    pub index: Option<i64>,
}

/// A run as decoded, with what [`settle`] needs to say what it spent.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedRun {
    /// The run; `usage` and the calls without a message are filled by [`settle`].
    pub run: crate::model::Run,
    /// What the record says of the run's spend.
    pub(crate) recorded: usage::Recorded,
    /// Up to which of its messages it was saved before its end, if it was (`checkpoint`).
    pub(crate) checkpoint: Option<usize>,
}

/// How far a piece of text is JSON, Python's ways allowed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One whole JSON value.
    Whole,
    /// The beginning of one.
    Cut,
    /// Something else, or several values.
    Other,
}

/// Tells whether text is one JSON value, without decoding it.
pub fn form(text: &[u8]) -> Form {
    let check =
        |text: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(text).map_err(|error| error.is_eof());
    match check(text).or_else(|_| check(json::repair(text).as_bytes())) {
        Ok(_) => Form::Whole,
        Err(true) => Form::Cut,
        Err(false) => Form::Other,
    }
}

/// What a record held.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Every run in it, nested ones included, each once per place it stood in.
    pub runs: Vec<DecodedRun>,
    /// What was not understood.
    pub oddities: Oddities,
    /// How much was asked for.
    pub keep: Keep,
}

/// Decodes one record.
///
/// Never fails: text that is no JSON, or JSON that is no run, is an oddity.
pub fn decode(json: &[u8], columns: &Columns, keep: Keep) -> Decoded {
    decode_text_within(json, columns, keep, 0)
}

/// Decodes one record as [`decode`] does, and lets go of a string around the JSON, which Agno 2 writes, as soon as it is
/// opened: a session may be large.
pub fn decode_owned(json: Vec<u8>, columns: &Columns, keep: Keep) -> Decoded {
    let is_text = json.trim_ascii_start().first() == Some(&b'"');
    match serde_json::from_slice::<String>(&json).ok().filter(|text| is_text && starts_value(text)) {
        None => decode(&json, columns, keep),
        Some(text) => {
            drop(json);
            decode_text_within(text.as_bytes(), columns, keep, 1)
        }
    }
}

fn decode_text_within(json: &[u8], columns: &Columns, keep: Keep, layer: usize) -> Decoded {
    let mut decoded = Decoded { keep, ..Decoded::default() };
    lenient::take_oddities();
    walk(json, &bounded(columns), &mut decoded, layer);
    decoded.oddities.merge(&lenient::take_oddities());
    decoded
}

/// Who is told what a record holds.
trait Visit {
    /// What was odd so far.
    fn oddities(&mut self) -> &mut Oddities;
    /// A run that stands in no other, with its text.
    fn run(&mut self, record: &RunRecord<'_>, text: &str, columns: &Columns);

    fn odd(&mut self, oddity: Oddity) {
        self.oddities().add(oddity);
    }
}

impl Visit for Decoded {
    fn oddities(&mut self) -> &mut Oddities {
        &mut self.oddities
    }

    fn run(&mut self, record: &RunRecord<'_>, _text: &str, columns: &Columns) {
        run::flatten(record, columns, None, self);
    }
}

/// True for text that may be JSON with runs in it.
fn starts_value(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"', 'n'])
}

/// Columns hold names and ids as the record does.
fn bounded(columns: &Columns) -> Columns {
    let name = |name: &Option<String>| name.as_deref().map(|name| lenient::bounded(name.into()).into_owned());
    Columns { session_id: name(&columns.session_id), user_id: name(&columns.user_id), ..*columns }
}

/// Tells of every run in a text that stands in no other run.
fn walk(json: &[u8], columns: &Columns, visit: &mut dyn Visit, layer: usize) {
    if layer >= MAX_LAYERS {
        return visit.odd(Oddity::TooDeep);
    }
    let odd_before = lenient::take_oddities();
    visit.oddities().merge(&odd_before);
    if let Some((text, parsed)) =
        std::str::from_utf8(json).ok().and_then(|text| Some((text, Parsed::of(text).ok()?)))
    {
        return walk_parsed(text, parsed, columns, visit, layer);
    }
    // What the failed parse counted is counted again by the next one.
    lenient::take_oddities();
    let repaired = json::repair(json);
    let without_repeats;
    let parsed = if let Ok(parsed) = Parsed::of(&repaired) {
        Ok((repaired.as_str(), parsed))
    } else {
        lenient::take_oddities();
        // Repeated keys: a `Value` keeps the last of them, as Python does.
        without_repeats = serde_json::from_str::<serde_json::Value>(&repaired).map(|value| value.to_string());
        match &without_repeats {
            Ok(text) => {
                Parsed::of(text).map(|parsed| (text.as_str(), parsed)).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    };
    match parsed {
        Ok((text, parsed)) => {
            visit.odd(Oddity::PythonJson);
            walk_parsed(text, parsed, columns, visit, layer);
        }
        Err(error) if error.contains("recursion limit") => visit.odd(Oddity::TooDeep),
        Err(_) => visit.odd(Oddity::NotJson),
    }
}

/// The outermost shape of a record.
enum Parsed<'a> {
    Run(Box<RunRecord<'a>>),
    List(Vec<&'a RawValue>),
    Text(String),
    Null,
    Other,
}

impl<'a> Parsed<'a> {
    fn of(text: &'a str) -> Result<Self, serde_json::Error> {
        match text.trim_start().as_bytes().first() {
            Some(b'{') => serde_json::from_str(text).map(Self::Run),
            Some(b'[') => serde_json::from_str(text).map(Self::List),
            Some(b'"') => serde_json::from_str(text).map(Self::Text),
            _ => serde_json::from_str::<Option<serde::de::IgnoredAny>>(text)
                .map(|value| if value.is_none() { Self::Null } else { Self::Other }),
        }
    }
}

fn walk_parsed(text: &str, parsed: Parsed<'_>, columns: &Columns, visit: &mut dyn Visit, layer: usize) {
    match parsed {
        Parsed::Run(record) => walk_object(text, &record, columns, visit, layer),
        Parsed::List(items) => {
            for (place, item) in items.into_iter().enumerate() {
                let index = columns.index.or(i64::try_from(place).ok());
                walk(item.get().as_bytes(), &Columns { index, ..columns.clone() }, visit, layer + 1);
            }
        }
        Parsed::Text(text) if starts_value(&text) => {
            walk(text.as_bytes(), columns, visit, layer + 1);
        }
        // An unset JSON column holds `null`.
        Parsed::Null if layer > 0 || *columns != Columns::default() => {}
        Parsed::Text(_) | Parsed::Null | Parsed::Other => visit.odd(Oddity::NotARun),
    }
}

fn walk_object(text: &str, record: &RunRecord<'_>, columns: &Columns, visit: &mut dyn Visit, layer: usize) {
    let columns = columns_of(record, columns);
    if let Some(run_data) = record.run_data {
        return walk(run_data.get().as_bytes(), &columns, visit, layer + 1);
    }
    if let (Some(runs), None) = (record.runs, record.run_id.as_str()) {
        let columns = Columns { stored_at_s: None, index: None, ..columns };
        return walk(runs.get().as_bytes(), &columns, visit, layer + 1);
    }
    if record.event.as_str().is_some() {
        // 1.x marks its runs as events too, and its metrics are lists.
        let legacy = record.metrics.0.as_ref().is_some_and(run::is_legacy);
        return visit.odd(if legacy { Oddity::AgnoV1 } else { Oddity::StreamEvent });
    }
    if is_v1(record) {
        return visit.odd(Oddity::AgnoV1);
    }
    if record.run_id.as_str().is_none() {
        let is_session = record.session_type.as_str().is_some();
        let looks_like_run = record.status.as_str().is_some() && !record.messages.0.is_empty();
        return match (is_session, looks_like_run) {
            (true, _) => {}
            (false, true) => visit.odd(Oddity::NoRunId),
            (false, false) => visit.odd(Oddity::NotARun),
        };
    }
    if !is_agnos(record) {
        return visit.odd(Oddity::NotARun);
    }
    visit.run(record, text, &columns);
}

/// True for an object with more of a run than an id: other programs have runs too.
fn is_agnos(record: &RunRecord<'_>) -> bool {
    let names = [
        &record.agent_id,
        &record.agent_name,
        &record.team_id,
        &record.team_name,
        &record.workflow_id,
        &record.workflow_name,
        &record.session_id,
    ];
    names.iter().any(|name| name.as_str().is_some())
        || !record.messages.0.is_empty()
        || record.metrics.0.is_some()
}

/// 1.x keeps runs under `memory`, and metrics as one list per field.
fn is_v1(record: &RunRecord<'_>) -> bool {
    record.memory.is_some() && record.run_id.as_str().is_none()
        || record.metrics.0.as_ref().is_some_and(run::is_legacy)
}

/// What a row says of itself wins over what the source said of it.
fn columns_of(record: &RunRecord<'_>, columns: &Columns) -> Columns {
    let is_run_row = record.run_data.is_some();
    Columns {
        session_id: record.session_id.owned().or_else(|| columns.session_id.clone()),
        user_id: record.user_id.owned().or_else(|| columns.user_id.clone()),
        stored_at_s: match record.updated_at {
            Some(raw) if is_run_row => {
                raw.get().trim().parse().ok().filter(|second| message::is_second(*second))
            }
            _ => columns.stored_at_s,
        },
        index: if is_run_row { record.run_index.integer() } else { columns.index },
    }
}

/// The scalars of an object, by key; nested values are left out.
fn scalars(raw: Option<&RawValue>) -> Vec<(String, Scalar)> {
    let Some(raw) = raw.filter(|raw| raw.get().starts_with('{')) else {
        return Vec::new();
    };
    let Ok(fields) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(raw.get()) else {
        return Vec::new();
    };
    let scalar = |value: serde_json::Value| match value {
        serde_json::Value::Bool(flag) => Some(Scalar::Bool(flag)),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => Some(Scalar::Integer(integer)),
            None => number.as_f64().map(Scalar::Float),
        },
        serde_json::Value::String(text) if is_word(&text) => Some(Scalar::Text(text)),
        _ => None,
    };
    fields
        .into_iter()
        .filter(|(key, _)| is_word(key))
        .filter_map(|(key, value)| scalar(value).map(|scalar| (key, scalar)))
        .take(MAX_PROVIDER_SCALARS)
        .collect()
}

/// One short word, such as a service tier. Anything longer could be content.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_PROVIDER_TEXT_BYTES
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/'))
}

/// Records made up by tests.
#[cfg(test)]
mod made_up {
    use serde_json::{Value, json};

    use super::{Columns, Keep, decode};
    use crate::model::Run;

    /// What a record is decoded into.
    pub(super) fn runs(record: &Value) -> Vec<Run> {
        let decoded = decode(record.to_string().as_bytes(), &Columns::default(), Keep::default());
        decoded.runs.into_iter().map(|one| one.run).collect()
    }

    /// An agent's run with these fields beside its ids.
    pub(super) fn run(fields: &Value) -> Run {
        let mut record = json!({"run_id": "r", "agent_id": "a"});
        record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let [run] = <[Run; 1]>::try_from(runs(&record)).unwrap();
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_what_python_writes_is_cut_short_and_nothing_else() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, -1.5e3, true], "c": "\ud83d\u0000 é"}"#;
        assert_eq!(form(text.as_bytes()), Form::Whole);
        for end in 1..text.len() {
            assert_eq!(form(&text.as_bytes()[..end]), Form::Cut, "the first {end} bytes");
        }
        assert_eq!(form(b"[Nan]"), Form::Other);
    }
}

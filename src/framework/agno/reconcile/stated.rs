//! `session_metrics`: what Agno states of a session. Never a source of numbers, always one side of a comparison.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::lenient::{self, Object, Text};
use super::super::record::MetricsRecord;
use super::super::tokens::stated;
use super::super::{Columns, MAX_LAYERS, json};
use super::figures::Figures;
use crate::framework::Oddities;

/// A session's row, as far as it is needed here.
#[derive(Debug, Clone, PartialEq)]
pub struct StatedSession {
    /// Its id.
    pub session_id: String,
    /// Whose it is; Agno leaves out runs of other users.
    pub user_id: Option<String>,
    /// Its `session_metrics`, if it has any.
    pub figures: Option<Figures>,
    /// The cost in them.
    pub cost: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RowRecord<'a> {
    #[serde(borrow)]
    session_id: Text<'a>,
    user_id: Text<'a>,
    session_type: Text<'a>,
    session_data: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SessionData<'a> {
    #[serde(borrow)]
    session_metrics: Object<MetricsRecord<'a>>,
}

/// The sessions of a record: the `session_data` of the row that its columns tell of, or rows themselves. What is no
/// session is passed over: the runs' own reading has counted it.
pub fn stated_sessions(json: &[u8], columns: &Columns) -> Vec<StatedSession> {
    let Some(text) = opened(json) else { return Vec::new() };
    let sessions = match &columns.session_id {
        Some(session_id) => vec![session(session_id.clone(), columns.user_id.clone(), &text)],
        None => rows(&text).unwrap_or_default(),
    };
    lenient::take_oddities();
    sessions
}

/// JSON as it is within the strings around it, made fit to be read.
fn opened(json: &[u8]) -> Option<String> {
    let mut text = match std::str::from_utf8(json) {
        Ok(text) if is_json(text) => text.to_owned(),
        _ => json::repair(json),
    };
    for _ in 0..MAX_LAYERS {
        if !text.trim_start().starts_with('"') {
            return Some(text);
        }
        text = serde_json::from_str(&text).ok()?;
        if !is_json(&text) {
            text = json::repair(text.as_bytes());
        }
    }
    None
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn rows(text: &str) -> Option<Vec<StatedSession>> {
    let items: Vec<&RawValue> = match text.trim_start().as_bytes().first()? {
        b'[' => serde_json::from_str(text).ok()?,
        b'{' => vec![serde_json::from_str(text).ok()?],
        _ => return None,
    };
    let row = |item: &&RawValue| {
        let row: RowRecord<'_> = serde_json::from_str(item.get()).ok()?;
        row.session_type.as_str()?;
        let data = row.session_data.and_then(|data| opened(data.get().as_bytes()));
        Some(session(row.session_id.owned()?, row.user_id.owned(), &data.unwrap_or_default()))
    };
    Some(items.iter().filter_map(row).collect())
}

fn session(session_id: String, user_id: Option<String>, data: &str) -> StatedSession {
    let data: Option<SessionData<'_>> = serde_json::from_str(data).ok();
    let metrics = data.and_then(|data| data.session_metrics.0);
    let stated = metrics.map(|metrics| stated(&metrics, &mut Oddities::default()));
    let cost = stated.as_ref().and_then(|stated| stated.floats.iter().find(|(field, _)| *field == "cost"));
    StatedSession {
        session_id,
        user_id,
        figures: stated.as_ref().map(Figures::of),
        cost: cost.map(|(_, cost)| *cost),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Each session with what it states: input, output, total.
    fn amounts(json: &str, columns: &Columns) -> Vec<(String, Option<[i64; 3]>)> {
        let amount = |figures: Figures| {
            let amount = figures.amount();
            [amount.input, amount.output, amount.total]
        };
        let sessions = stated_sessions(json.as_bytes(), columns);
        sessions.into_iter().map(|one| (one.session_id, one.figures.map(amount))).collect()
    }

    #[test]
    fn session_data_is_read_as_every_release_writes_it() {
        let columns = Columns { session_id: Some("s".to_owned()), ..Columns::default() };
        let metrics =
            json!({"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "timer": null, "details": null});
        let data = json!({"session_state": {}, "session_metrics": metrics}).to_string();
        let found = vec![("s".to_owned(), Some([5, 2, 7]))];
        assert_eq!(amounts(&data, &columns), found);
        // 2.x in SQLite: a string of JSON.
        assert_eq!(amounts(&Value::String(data.clone()).to_string(), &columns), found);
        assert_eq!(amounts(&data.replace("{}", "{\"x\": NaN}"), &columns), found);
        for none in ["{}", "null", "{\"session_metrics\": null}", "[]", "nonsense"] {
            assert_eq!(amounts(none, &columns), [("s".to_owned(), None)], "{none}");
        }
        // Nothing but zeros is stated, too.
        assert_eq!(amounts("{\"session_metrics\": {}}", &columns), [("s".to_owned(), Some([0, 0, 0]))]);
    }

    #[test]
    fn rows_are_told_from_runs_and_from_everything_else() {
        let data = json!({"session_metrics": {"total_tokens": 7}});
        let row = json!({"session_id": "s", "session_type": "agent", "session_data": data, "user_id": "u"});
        let run = json!({"session_id": "s", "run_id": "r", "run_data": {}});
        let rows = json!([row, run, 5, {"session_id": "t", "session_type": "team"}]).to_string();
        let nothing = Columns::default();
        assert_eq!(amounts(&rows, &nothing), [("s".to_owned(), Some([0, 0, 7])), ("t".to_owned(), None)]);
        assert_eq!(stated_sessions(rows.as_bytes(), &nothing)[0].user_id.as_deref(), Some("u"));
        assert_eq!(amounts("7", &nothing), []);
    }
}

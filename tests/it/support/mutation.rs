//! Records nobody would write, made of real ones: what the fuzz targets and some tests feed to everything.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

/// Real records, made smaller by `fuzz/make_seeds.py`.
const RECORDS: &str = include_str!("../../../fuzz/records.json");
/// Changes made to one record at most: later ones change what is unlike any record already.
const MAX_CHANGES: usize = 16;
/// Values a record may grow to.
const MAX_VALUES: usize = 2_000;
/// Nesting a change adds at most; with that of real records it stays below what `serde_json` reads.
const MAX_NESTING: usize = 20;

/// The records mutations begin with.
pub(crate) fn records() -> &'static [Value] {
    static PARSED: OnceLock<Vec<Value>> = OnceLock::new();
    PARSED.get_or_init(|| serde_json::from_str(RECORDS).unwrap())
}

/// The record of that number as it is, and as these bytes change it.
pub(crate) fn mutated(number: u8, bytes: &[u8]) -> (&'static Value, Value) {
    let record = &records()[usize::from(number) % records().len()];
    let mut changed = record.clone();
    for change in bytes.chunks_exact(4).take(MAX_CHANGES) {
        let &[what, at, other, with] = change else { continue };
        apply(&mut changed, what, (at, other), with);
        let (values, depth) = size(&changed);
        if values > MAX_VALUES || depth > 100 {
            break;
        }
    }
    (record, changed)
}

/// How many values there are in a value, itself included, and how deep it is.
fn size(value: &Value) -> (usize, usize) {
    let of_all = |inner: &mut dyn Iterator<Item = &Value>| {
        inner.map(size).fold((1, 1), |(values, depth), (more, deep)| (values + more, depth.max(deep + 1)))
    };
    match value {
        Value::Array(items) => of_all(&mut items.iter()),
        Value::Object(fields) => of_all(&mut fields.values()),
        _ => (1, 1),
    }
}

/// One change: what is done, where, with what.
fn apply(root: &mut Value, what: u8, (at, other): (u8, u8), with: u8) {
    let count = size(root).0;
    // A byte reaches every part of a large record, if not every value.
    let place = |byte: u8, fine: u8| (usize::from(byte) * count / 256 + usize::from(fine % 8)) % count;
    let (here, there) = (place(at, with), place(other, with >> 3));
    match what % 12 {
        0 => swap(root, here, there),
        1 => remove(root, here),
        2 | 3 => set(root, here, hostile(with)),
        4 => nudge(root, here, other, with),
        5 => repeat(root, here, usize::from(other % 24)),
        6 => make_equal(root, here, there),
        7 => nest(root, here, with),
        8 => {
            let copy = nth(root, there).cloned().unwrap_or_default();
            set(root, here, copy);
        }
        9 => add_field(root, here, with, hostile(other)),
        10 => {
            let copy = nth(root, there).cloned().unwrap_or_default();
            add_field(root, here, with, copy);
        }
        _ => rename(root, here, with),
    }
}

/// The value of that number, each before those inside it.
fn nth(value: &mut Value, number: usize) -> Option<&mut Value> {
    fn walk<'v>(value: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
        if *left == 0 {
            return Some(value);
        }
        *left -= 1;
        match value {
            Value::Array(items) => items.iter_mut().find_map(|inner| walk(inner, left)),
            Value::Object(fields) => fields.values_mut().find_map(|inner| walk(inner, left)),
            _ => None,
        }
    }
    walk(value, &mut { number })
}

fn set(root: &mut Value, at: usize, value: Value) {
    if let Some(slot) = nth(root, at) {
        *slot = value;
    }
}

fn swap(root: &mut Value, one: usize, other: usize) {
    let (one, other) = (one.min(other), one.max(other));
    let taken = nth(root, other).map(Value::take).unwrap_or_default();
    let before = nth(root, one).map(|slot| std::mem::replace(slot, taken)).unwrap_or_default();
    set(root, other, before);
}

/// Takes a field or an item out of the first object or list from there on.
fn remove(root: &mut Value, at: usize) {
    match nth(root, at) {
        Some(Value::Array(items)) if !items.is_empty() => {
            items.remove(at % items.len());
        }
        Some(Value::Object(fields)) if !fields.is_empty() => {
            let name = fields.keys().nth(at % fields.len()).cloned().unwrap_or_default();
            fields.remove(&name);
        }
        Some(value) => *value = Value::Null,
        None => {}
    }
}

/// A number becomes a little, or very, different.
fn nudge(root: &mut Value, at: usize, by: u8, with: u8) {
    if let Some(value) = nth(root, at) {
        *value = match value.as_i64() {
            Some(number) if with < 128 => json!(number.saturating_add(i64::from(by) - 128)),
            Some(number) => json!(number.saturating_mul(i64::from(by) - 128)),
            None => json!(f64::from(by) / 7.0),
        };
    }
}

fn repeat(root: &mut Value, at: usize, times: usize) {
    if let Some(Value::Array(items)) = nth(root, at) {
        let item = items.get(at % items.len().max(1)).cloned();
        items.extend(std::iter::repeat_n(item.unwrap_or_default(), times));
    }
}

/// All values of some name become that of one of them: ids of runs, messages, tools and sessions.
fn make_equal(root: &mut Value, at: usize, to: usize) {
    fn all(value: &mut Value, name: &str, to: &Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|inner| all(inner, name, to)),
            Value::Object(fields) => {
                for (field, inner) in fields {
                    if field == name {
                        inner.clone_from(to);
                    } else {
                        all(inner, name, to);
                    }
                }
            }
            _ => {}
        }
    }
    const IDS: [&str; 8] = [
        "run_id",
        "parent_run_id",
        "session_id",
        "id",
        "tool_call_id",
        "step_id",
        "step_run_id",
        "child_run_id",
    ];
    let to = nth(root, to).filter(|value| value.is_string()).cloned().unwrap_or_else(|| json!("same"));
    all(root, IDS[at % IDS.len()], &to);
}

fn nest(root: &mut Value, at: usize, with: u8) {
    if let Some(value) = nth(root, at) {
        let inner = value.take();
        *value = match with % 5 {
            0 => Value::from(inner.to_string()),
            1 => json!({"runs": inner}),
            2 => json!({"run_data": inner, "run_index": with, "updated_at": 1_795_397_679}),
            3 => json!({"run_id": "outer", "team_id": "t", "member_responses": [inner]}),
            _ => (0..usize::from(with) % MAX_NESTING).fold(inner, |inner, _| json!([inner])),
        };
    }
}

fn add_field(root: &mut Value, at: usize, name: u8, value: Value) {
    if let Some(Value::Object(fields)) = nth(root, at) {
        fields.insert(FIELDS[usize::from(name) % FIELDS.len()].to_owned(), value);
    }
}

fn rename(root: &mut Value, at: usize, name: u8) {
    if let Some(Value::Object(fields)) = nth(root, at) {
        let old = fields.keys().nth(at % fields.len().max(1)).cloned().unwrap_or_default();
        let value = fields.remove(&old).unwrap_or_default();
        let mut renamed = Map::from_iter([(FIELDS[usize::from(name) % FIELDS.len()].to_owned(), value)]);
        fields.append(&mut renamed);
    }
}

/// Values where nobody expects them.
fn hostile(choice: u8) -> Value {
    match choice % 24 {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(i64::MAX),
        5 => json!(i64::MIN),
        6 => json!(u64::MAX),
        7 => json!(1_u64 << 53),
        8 => json!(1e300),
        9 => json!(-0.5),
        10 => json!(5e-324),
        11 => json!(1_795_397_679),
        12 => json!(4_099_999_999_i64),
        13 => json!(3.1e7),
        14 => json!(""),
        15 => json!("\u{0}\u{FFFD}\u{1F600}\"\\"),
        16 => json!("x".repeat(1_100)),
        17 => json!("ß".repeat(600)),
        18 => json!([]),
        19 => json!({}),
        20 => json!([[], {}, null, "a", 1]),
        21 => json!({"": [{"input_tokens": 3}], "k".repeat(1_100): [{"output_tokens": 4}], "a b": {"id": 1}}),
        22 => json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        _ => json!("ERROR"),
    }
}

/// Names the decoder looks for, wherever they stand.
pub(crate) const FIELDS: [&str; 48] = [
    "run_id",
    "parent_run_id",
    "session_id",
    "agent_id",
    "team_id",
    "workflow_id",
    "workflow_step_id",
    "model",
    "model_provider",
    "status",
    "created_at",
    "content",
    "input",
    "metadata",
    "traceparent",
    "messages",
    "reasoning_messages",
    "reasoning_content",
    "tools",
    "metrics",
    "details",
    "requirements",
    "compaction",
    "regenerated_from",
    "forked_from_run_id",
    "forked_from_session_id",
    "forked_from_message_index",
    "member_responses",
    "step_executor_runs",
    "workflow_agent_run",
    "step_results",
    "steps",
    "role",
    "from_history",
    "tool_calls",
    "tool_call_id",
    "tool_name",
    "tool_args",
    "child_run_id",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "duration",
    "start_time",
    "time_to_first_token",
];

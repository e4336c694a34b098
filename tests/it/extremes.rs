//! What no application should store and one does some day: read for all it is worth, told to the user in words.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fixtures;
use crate::support::program::{agno_otel, run, send_nowhere, summary_of};
use crate::support::runs::{run_of, with_own_ids};

/// Tokens of [`fine`].
const FINE_TOKENS: u64 = 12;

fn fine() -> Value {
    json!({"run_id": "fine", "agent_id": "a", "session_id": "s", "status": "COMPLETED",
        "metrics": {"input_tokens": 10, "output_tokens": 2}})
}

/// The text of a run of seven tokens with these fields in front, as they stand.
fn odd(fields: &str) -> String {
    let run = r#""run_id": "odd", "agent_id": "a", "session_id": "s", "status": "COMPLETED""#;
    format!("{{{fields}, {run}, \"metrics\": {{\"input_tokens\": 7}}}}")
}

/// What `send` says of a file with this line and a fine run in another, ending with this code: its summary as JSON,
/// and in words.
#[track_caller]
fn sent(line: &str, code: i32) -> (Value, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("runs.jsonl");
    std::fs::write(&path, format!("{}\n{line}\n", fine())).unwrap();
    let summary = run(&mut send_nowhere([&path])).expect_code(code).summary();
    let mut words = agno_otel(["send", "--content", "full", "--to", "otlp-json:/dev/null"]);
    (summary, run(words.arg(&path)).expect_code(code).stdout)
}

/// Expects an oddity that costs the odd run nothing but what is odd.
#[track_caller]
fn expect_read(line: &str, tokens: u64, oddity: &str, meaning: &str) {
    let (summary, words) = sent(line, 0);
    assert_eq!(summary["runs"]["agent"], 2, "{summary}");
    assert_eq!(summary["total_tokens"], FINE_TOKENS + tokens, "{summary}");
    assert_eq!(summary["oddities"], json!({oddity: 1}));
    let said = format!("1 × {oddity}: {meaning}");
    assert!(words.contains(&said), "no \"{said}\" in:\n{words}");
}

/// Expects nothing odd at all.
#[track_caller]
fn expect_plain(line: &str) {
    let (summary, _) = sent(line, 0);
    assert_eq!((&summary["runs"]["agent"], &summary["oddities"]), (&json!(2), &json!({})));
    assert_eq!(summary["total_tokens"], FINE_TOKENS + 7, "{summary}");
}

const PYTHON: &str = "not quite JSON (NaN, lone surrogates, repeated keys); read all the same";

#[test]
fn a_million_nested_brackets_cost_their_record_and_are_said_to_be_too_deep() {
    let brackets = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let (summary, words) = sent(&brackets, 5);
    assert_eq!(
        (&summary["total_tokens"], &summary["oddities"]),
        (&json!(FINE_TOKENS), &json!({"too_deep": 1}))
    );
    assert!(words.contains("1 × too_deep: nested too deeply; what lies deeper was left out"), "{words}");
    // Where nothing is read, nothing is lost.
    expect_plain(&odd(&format!("\"metadata\": {brackets}")));
}

#[test]
fn nan_and_infinities_cost_the_figure_they_stand_for() {
    expect_read(
        &odd(r#""created_at": NaN, "session_state": [Infinity, -Infinity]"#),
        7,
        "python_json",
        PYTHON,
    );
}

#[test]
fn two_to_the_seventieth_is_no_count_of_tokens() {
    let run = odd("\"model\": \"m\"")
        .replace("\"input_tokens\": 7", &format!("\"input_tokens\": {}", 1_u128 << 70));
    let meaning = "token counts that cannot be (negative, fractional, beyond 2^53); left out";
    expect_read(&run, 0, "unbelievable_tokens", meaning);
    // Elsewhere it is nobody's business.
    expect_plain(&odd(&format!("\"session_state\": {{\"n\": {}}}", 1_u128 << 70)));
}

#[test]
fn lone_surrogates_are_replaced() {
    expect_read(&odd(r#""agent_name": "a \ud83d b""#), 7, "python_json", PYTHON);
    // In content they are replaced where content is read, and nowhere else.
    expect_plain(&odd(r#""content": "a \ud83d b""#));
}

#[test]
fn nul_is_a_character_like_others() {
    expect_plain(&odd(r#""agent_name": "a\u0000b", "content": "\u0000""#));
    // Not escaped it is no JSON, and read all the same.
    expect_read(&odd("\"agent_name\": \"a\0b\""), 7, "python_json", PYTHON);
}

#[test]
fn of_repeated_keys_the_last_counts_as_in_python() {
    let run = odd(r#""metrics": {"input_tokens": 1000}, "agent_name": "x", "agent_name": "y""#);
    expect_read(&run, 7, "python_json", PYTHON);
}

#[test]
fn texts_of_400_kilobytes_are_content_or_cut() {
    let text = "x".repeat(400_000);
    expect_plain(&odd(&format!(
        "\"content\": \"{text}\", \"messages\": [{{\"role\": \"user\", \"content\": \"{text}\"}}]"
    )));
    let meaning = "names or ids longer than any is; cut";
    expect_read(&odd(&format!("\"agent_name\": \"{text}\"")), 7, "long_text", meaning);
}

#[test]
fn roles_of_400_kilobytes_are_cut_too() {
    let details = json!({"x".repeat(400_000): [{"input_tokens": 7}]});
    let run = odd("\"model\": \"m\"")
        .replace("\"input_tokens\": 7", &format!("\"input_tokens\": 7, \"details\": {details}"));
    expect_read(&run, 7, "long_text", "names or ids longer than any is; cut");
}

/// A database as Agno 2 makes it, with one session of these runs in one row.
fn one_row(folder: &Path, session: &str, runs: &[String]) -> PathBuf {
    let path = folder.join("agno.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    let columns = "session_id TEXT PRIMARY KEY, session_type TEXT, user_id TEXT, runs JSON";
    database.execute_batch(&format!("CREATE TABLE agno_sessions ({columns})")).unwrap();
    // As SQLAlchemy stores it: JSON in a JSON string.
    let json = Value::from(format!("[{}]", runs.join(","))).to_string();
    database.execute("INSERT INTO agno_sessions VALUES (?1, 'agent', 'u', ?2)", [session, &json]).unwrap();
    path
}

#[test]
fn columns_of_400_kilobytes_are_cut_too() {
    let folder = TempDir::new().unwrap();
    let run = json!({"run_id": "r", "agent_id": "a", "metrics": {"input_tokens": 7}}).to_string();
    let summary = summary_of(&[one_row(folder.path(), &"x".repeat(400_000), &[run])]);
    assert_eq!((&summary["total_tokens"], &summary["oddities"]), (&json!(7), &json!({"long_text": 1})));
}

#[test]
fn a_row_of_200_megabytes_is_read_to_its_last_run() {
    const RUNS: u32 = 4_000;
    let folder = TempDir::new().unwrap();
    let fixture = "agno/2.5.17/tools_multi.run.json";
    let run = run_of(fixture).to_string();
    let said = "said\\n".repeat(9_000);
    let large = |copy| {
        let run = with_own_ids(&run, copy);
        format!("{}, \"session_state\": \"{said}\"}}", run.strip_suffix('}').unwrap())
    };
    let runs: Vec<String> = (0..RUNS).map(large).collect();
    let path = one_row(folder.path(), "s", &runs);
    assert!(std::fs::metadata(&path).unwrap().len() >= 200_000_000);
    let one = summary_of(&[fixtures().join(fixture)]);
    let summary = summary_of(&[path]);
    assert_eq!((&summary["runs"]["agent"], &summary["oddities"]), (&json!(RUNS), &json!({})));
    for total in ["total_tokens", "spans"] {
        assert_eq!(
            summary[total].as_u64(),
            one[total].as_u64().map(|once| u64::from(RUNS) * once),
            "{total}"
        );
    }
}

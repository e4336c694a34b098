//! Content stays where it is: no text of a prompt, an answer, an argument or a result leaves by default, or masked;
//! and on request exactly that leaves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::canaries;
use crate::support::program::{Ended, agno_otel, run};
use crate::support::receiver::Receiver;

/// A file with these records, one per line.
fn lines(folder: &Path, records: &[Value]) -> PathBuf {
    let path = folder.join("runs.jsonl");
    std::fs::write(&path, records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
    path
}

/// Fails the test if a canary is in what was said.
#[track_caller]
fn expect_silence(whence: &str, said: &[u8]) {
    // Every letter, so that neither case nor escapes hide one. Protobuf keeps strings as they are.
    let text = String::from_utf8_lossy(said).to_lowercase();
    if let Some(at) = text.find(canaries::MARK) {
        let around: String =
            text[..at].chars().rev().take(80).collect::<Vec<_>>().into_iter().rev().collect();
        let from: String = text[at..].chars().take(80).collect();
        panic!("{whence} says: {around}{from}");
    }
}

#[track_caller]
fn expect_silent(whence: &str, ended: &Ended) {
    expect_silence(&format!("standard output of {whence}"), ended.stdout.as_bytes());
    expect_silence(&format!("standard error of {whence}"), ended.stderr.as_bytes());
}

/// Everything these sources make the binary say: by default, and masked.
fn expect_silence_about(sources: &[PathBuf], code: i32) {
    expect_silence_with(&[], sources, code);
    expect_silence_with(&["--content", "masked"], sources, code);
}

/// Everything these sources make the binary say, with its logs as loud as they get.
fn expect_silence_with(content: &[&str], sources: &[PathBuf], code: i32) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("out.jsonl");
    let to = format!("otlp-json:{}", file.display());
    let receiver = Receiver::start();
    let (url, loud) = (receiver.url(), "-vv");
    let commands: [&[&str]; 6] = [
        &["send", "--to", &to, loud],
        &["send", "--to", "otlp-json:-", "--json", "--older-names", loud],
        &["send", "--endpoint", &url, loud],
        &["send", "--endpoint", &url, "--json", "--older-names", loud],
        &["show", loud],
        &["show", "--json", loud],
    ];
    for arguments in commands {
        for level in [None, Some("trace")] {
            let mut command = agno_otel(arguments);
            if let Some(level) = level {
                command.env("RUST_LOG", level);
            }
            // Showing refuses no record.
            let code = if arguments[0] == "show" && code == 5 { 0 } else { code };
            let ended = run(command.args(content).args(sources)).expect_code(code);
            expect_silent(&arguments.join(" "), &ended);
        }
    }
    if code != 3 {
        expect_silence("the file", &std::fs::read(&file).unwrap());
        assert!(!receiver.spans().is_empty());
    }
    for request in receiver.received() {
        expect_silence(&request.path, &request.body);
        expect_silence("a header", format!("{:?}", request.headers).as_bytes());
    }
}

#[test]
fn no_content_of_any_run_leaves_by_default() {
    let folder = TempDir::new().unwrap();
    let records = canaries::every_run();
    expect_silence_about(&[lines(folder.path(), &records)], 0);
}

#[test]
fn no_content_leaves_through_rows_of_sessions_either() {
    let folder = TempDir::new().unwrap();
    let records = [
        canaries::session(&json!([canaries::agent(), canaries::team()])),
        // As 2.x stores it in SQLite: JSON in a string.
        canaries::session(&Value::from(json!([canaries::workflow()]).to_string())),
        json!({"session_id": "s-9", "run_id": "r-9", "run_index": 0, "updated_at": 1_795_396_300, "run_data": canaries::paused()}),
    ];
    expect_silence_about(&[lines(folder.path(), &records)], 0);
}

#[test]
fn no_content_leaves_through_fields_of_a_type_they_never_have() {
    let folder = TempDir::new().unwrap();
    let mut records = Vec::new();
    for field in canaries::FIELDS {
        for value in
            [canaries::of(field), json!([canaries::of(field)]), json!({canaries::MARK: canaries::of(field)})]
        {
            let mut record = canaries::agent();
            record[*field] = value;
            records.push(record);
        }
    }
    expect_silence_about(&[lines(folder.path(), &records)], 0);
}

#[test]
fn no_content_leaves_through_what_is_not_json_or_not_quite() {
    let folder = TempDir::new().unwrap();
    let good = canaries::agent().to_string();
    let nan = good.replacen("\"duration\":1.5", "\"duration\":NaN", 1);
    let surrogate = good.replacen(canaries::MARK, &format!("{}\\ud83d", canaries::MARK), 1);
    let repeated = good.replacen('{', "{\"content\":\"canary repeated\",", 1);
    assert!(nan != good && surrogate != good);
    let text = format!(
        "{good}\n{nan}\n{surrogate}\n{repeated}\n{{\"canary\": canary}}\ncanary in plain words\n\"canary\"\n[\"canary\"]\n{}",
        &good[..good.len() / 2]
    );
    let path = folder.path().join("odd.jsonl");
    std::fs::write(&path, text).unwrap();
    expect_silence_about(&[path], 5);
    let broken = folder.path().join("broken.json");
    for text in ["canary in plain words", "{\"canary\": canary}", "{\"canary\": \"canary"] {
        std::fs::write(&broken, text).unwrap();
        expect_silence_about(std::slice::from_ref(&broken), 3);
    }
}

/// The places whose canaries are in a text.
fn canaries_in(text: &str) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for start in [format!("{} of ", canaries::MARK), format!("{}.example/", canaries::MARK)] {
        for (at, _) in text.match_indices(&start) {
            let allowed = |letter: &char| letter.is_ascii_alphanumeric() || ['_', '.', ' '].contains(letter);
            places.insert(text[at + start.len()..].chars().take_while(allowed).collect());
        }
    }
    places
}

#[test]
fn on_request_what_was_said_leaves_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let path = lines(folder.path(), &canaries::every_run());
    let sent = |arguments: &[&str]| {
        let mut command = agno_otel(["send", "--to", "otlp-json:-", "-vv"]);
        let ended = run(command.args(arguments).env("RUST_LOG", "trace").arg(&path)).expect_code(0);
        expect_silence("a log", ended.stderr.as_bytes());
        canaries_in(&ended.stdout)
    };
    let receiver = Receiver::start();
    let mut command = agno_otel(["send", "--content", "full", "--endpoint", &receiver.url(), "-vv"]);
    expect_silent("send", &run(command.env("RUST_LOG", "trace").arg(&path)).expect_code(0));
    let expected: BTreeSet<String> = canaries::SAID.iter().map(|place| (*place).to_owned()).collect();
    assert_eq!(sent(&["--content", "full"]), expected);
    assert_eq!(sent(&["--content", "none"]), BTreeSet::new());
    assert_eq!(sent(&[]), BTreeSet::new());
}

#[test]
fn a_user_is_named_only_on_request() {
    let folder = TempDir::new().unwrap();
    let path = lines(folder.path(), &[canaries::agent(), canaries::team()]);
    let mentions = |arguments: &[&str]| {
        let receiver = Receiver::start();
        let mut command = agno_otel(["send", "--endpoint", &receiver.url()]);
        run(command.args(arguments).arg(&path)).expect_code(0);
        let bodies: Vec<u8> = receiver.received().iter().flat_map(|request| request.body.to_vec()).collect();
        let text = String::from_utf8_lossy(&bodies).into_owned();
        (text.contains("user.id"), text.contains(canaries::USER))
    };
    assert_eq!(mentions(&[]), (false, false));
    assert_eq!(mentions(&["--user-id"]), (true, true));
}

#[test]
fn the_canaries_are_where_agno_keeps_content() {
    // The test of the tests: what is guarded must be in the input, field by field.
    let all = canaries::every_run();
    let text = all.iter().map(Value::to_string).collect::<String>();
    for field in canaries::FIELDS {
        assert!(text.contains(&format!("\"{field}\":")), "no {field}");
    }
    assert!(text.matches(canaries::MARK).count() > 120, "{}", text.matches(canaries::MARK).count());
    let caught = std::panic::catch_unwind(|| expect_silence("a test", b"a CANARY sings"));
    assert!(caught.is_err());
}

//! Files of runs that grow and rotate.

use std::fs::{File, rename};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::following::{Running, follow, stop, usage, wait_until};
use crate::support::receiver::Receiver;

fn line(number: u32, tokens: u64) -> String {
    let run = format!("00000000-0000-4000-8000-{number:012}");
    format!(
        r#"{{"run_id": "{run}", "agent_id": "a", "session_id": "s{number}", "status": "COMPLETED", "model": "m",
            "model_provider": "OpenAI", "messages": [{{"role": "assistant", "id": "{run}", "metrics":
            {{"input_tokens": {tokens}, "output_tokens": 0}}}}]}}"#
    )
    .replace('\n', " ")
        + "\n"
}

fn append(path: &Path, text: &str) {
    File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn signal(running: &Running, name: &str) {
    let id = running.0.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

fn counts(receiver: &Receiver, tokens: i64) {
    wait_until(&format!("{tokens} tokens, now {}", usage(receiver)), || usage(receiver) == tokens);
}

#[test]
fn what_was_written_last_before_a_file_was_rotated_away_is_counted() {
    let folder = TempDir::new().unwrap();
    let (path, state) = (folder.path().join("runs.jsonl"), folder.path().join("state.db"));
    let receiver = Receiver::start();
    append(&path, &line(1, 1));
    let start =
        || Running(follow(&receiver.url(), &state, &[&path], &["--history", "count"]).spawn().unwrap());
    let running = start();
    counts(&receiver, 1);
    append(&path, &line(2, 10));
    counts(&receiver, 11);
    for (number, tokens) in [(3, 100), (5, 10_000)] {
        // Between two looks.
        signal(&running, "STOP");
        append(&path, &line(number, tokens));
        rename(&path, folder.path().join(format!("runs.jsonl.{number}"))).unwrap();
        append(&path, &line(number + 1, tokens * 10));
        signal(&running, "CONT");
        let before: i64 = if number == 3 { 11 } else { 1_111 };
        counts(&receiver, before + 11 * i64::try_from(tokens).unwrap());
    }
    // Its writer may not have let go of it.
    append(&folder.path().join("runs.jsonl.5"), &line(7, 1_000_000));
    append(&path, &line(8, 10_000_000));
    counts(&receiver, 11_111_111);
    stop(running, 143);
    let running = start();
    append(&path, &line(9, 100_000_000));
    counts(&receiver, 111_111_111);
    stop(running, 143);
}

#[test]
fn a_line_that_was_rewritten_before_others_is_noticed() {
    let folder = TempDir::new().unwrap();
    let (path, state) = (folder.path().join("runs.jsonl"), folder.path().join("state.db"));
    let receiver = Receiver::start();
    std::fs::write(&path, line(1, 1) + &line(2, 10)).unwrap();
    let running =
        Running(follow(&receiver.url(), &state, &[&path], &["--history", "count"]).spawn().unwrap());
    counts(&receiver, 11);
    // Of the same length, and with a line behind it.
    std::fs::write(&path, line(1, 5) + &line(2, 10) + &line(3, 100)).unwrap();
    counts(&receiver, 115);
    stop(running, 143);
}

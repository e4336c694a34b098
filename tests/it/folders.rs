//! A folder is read as what it is: Agno's `JsonDb`, files of runs, or both. Nothing in it is lost in silence.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fixtures;
use crate::support::program::{agno_otel, run, send_nowhere, summary_of};

const AGNO: &str = "agno/3.1.10";

fn fixture(name: &str) -> PathBuf {
    fixtures().join(AGNO).join(name)
}

/// A folder with these copies of fixtures, under names of our own.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, source) in files {
        std::fs::copy(fixture(source), folder.path().join(name)).unwrap();
    }
    folder
}

/// What must not depend on how the runs were read.
fn essence(summary: &Value) -> Value {
    json!([summary["runs"], summary["tokens"], summary["traces"], summary["spans"]])
}

fn run_folder() -> (TempDir, Value) {
    let folder = folder(&[("a.json", "team_run.run.json"), ("b.json", "history.runs.json")]);
    let runs: Vec<Value> =
        serde_json::from_slice(&std::fs::read(fixture("session_25.runs.json")).unwrap()).unwrap();
    let lines: String = runs.iter().map(|run| format!("{run}\n")).collect();
    std::fs::write(folder.path().join("c.jsonl"), &lines).unwrap();
    std::fs::copy(fixture("tools_multi.run.json"), folder.path().join("d.ndjson")).unwrap();
    let files = ["team_run.run.json", "history.runs.json", "session_25.runs.json", "tools_multi.run.json"];
    let expected = essence(&summary_of(&files.map(fixture)));
    (folder, expected)
}

#[test]
fn every_file_of_runs_in_a_folder_is_read() {
    let (folder, expected) = run_folder();
    let summary = summary_of(&[folder.path()]);
    assert_eq!(essence(&summary), expected);
    assert_eq!(summary["oddities"], json!({}));
}

#[test]
fn what_holds_no_runs_stops_nothing_and_is_counted() {
    let (folder, expected) = run_folder();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    write("memories.json", br#"[{"memory_id": "m", "memory": "likes tea", "user_id": "u"}]"#);
    write("notes.json", br#"{"milk": 1}"#);
    write("empty.json", b"");
    write("garbage.json", b"\x00\xff\xfe not json");
    write("readme.txt", b"not looked at");
    assert_eq!(summary_of(&[folder.path()])["oddities"], json!({"other_file": 4}));
    // This one would have been a run.
    write("half.json", br#"{"run_id": "a", "messages": [{"#);
    let said = run(send_nowhere([folder.path()]).arg("-v")).expect_code(5);
    assert_eq!(essence(&said.summary()), expected);
    assert_eq!(said.summary()["oddities"], json!({"other_file": 4, "half_line": 1}));
    said.expect_words(&["memories.json", "notes.json", "empty.json", "garbage.json", "half.json"]);
}

#[test]
fn a_jsondb_and_files_of_runs_can_share_a_folder() {
    let folder = folder(&[
        ("agno_runs.json", "jsondb.jsondb/agno_runs.json"),
        ("agno_sessions.json", "jsondb.jsondb/agno_sessions.json"),
        ("one.json", "team_run.run.json"),
    ]);
    std::fs::write(folder.path().join("agno_memories.json"), "[]").unwrap();
    let summary = summary_of(&[folder.path()]);
    assert_eq!(
        essence(&summary),
        essence(&summary_of(&[fixture("jsondb.jsondb"), fixture("team_run.run.json")]))
    );
    assert_eq!(summary["oddities"], json!({"other_file": 1}));
    // A folder whose tables hold nothing yet is no mistake.
    let fresh = TempDir::new().unwrap();
    std::fs::write(fresh.path().join("agno_sessions.json"), "[]").unwrap();
    run(&mut send_nowhere([fresh.path()])).expect_code(0).expect_words(&["holds no runs"]);
}

#[test]
fn tables_under_other_names_are_found_and_naming_one_leaves_the_other() {
    let folder = folder(&[
        ("my_runs.json", "jsondb.jsondb/agno_runs.json"),
        ("my_sessions.json", "jsondb.jsondb/agno_sessions.json"),
    ]);
    let expected = essence(&summary_of(&[fixture("jsondb.jsondb")]));
    assert_eq!(essence(&summary_of(&[folder.path()])), expected);
    for flags in [["--sessions-table", "my_sessions"], ["--runs-table", "my_runs"]] {
        let named = run(send_nowhere([folder.path()]).args(flags)).expect_code(0).summary();
        assert_eq!(essence(&named), expected, "{flags:?}");
    }
    std::fs::copy(fixture("jsondb.jsondb/agno_sessions.json"), folder.path().join("other.json")).unwrap();
    let other = run(send_nowhere([folder.path()]).args(["--sessions-table", "other"])).expect_code(0);
    assert_eq!(other.summary()["records"], 2, "two tables of three");
}

#[test]
fn links_that_lead_nowhere_and_folders_within_stop_nothing() {
    let (folder, expected) = run_folder();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    link(Path::new("loop.json"), "loop.json");
    link(Path::new("."), "self");
    link(Path::new("gone.json"), "dangling.jsonl");
    link(&fixture("team_run.run.json"), "again.json");
    std::fs::create_dir(folder.path().join("folder.json")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe.json")).status().unwrap();
    assert!(made.success());
    let ended = run(&mut send_nowhere([folder.path()])).expect_code(0);
    assert_eq!(essence(&ended.summary()), expected);
    ended.expect_words(&["loop.json", "dangling.jsonl", "pipe.json", "no file"]);
    let alone = run(&mut send_nowhere([folder.path().join("loop.json")])).expect_code(3);
    alone.expect_words(&["loop.json", "symbolic links"]);
}

#[test]
fn a_database_within_a_folder_is_not_passed_over_in_silence() {
    let (runs, expected) = run_folder();
    std::fs::copy(fixture("simple.db"), runs.path().join("agno.db")).unwrap();
    let ended = run(&mut send_nowhere([runs.path()])).expect_code(0);
    assert_eq!(essence(&ended.summary()), expected);
    ended.expect_words(&["agno.db", "give its path"]);
    let only = folder(&[("agno.db", "simple.db")]);
    run(&mut send_nowhere([only.path()])).expect_code(3).expect_words(&["agno.db", "give its path"]);
}

#[test]
fn a_folder_of_fixtures_is_read_whatever_else_is_in_it() {
    for (version, code) in [("2.0.2", 0), ("3.1.10", 5)] {
        let folder = fixtures().join("agno").join(version);
        // Streams of events lie in one of them, and are left out.
        let ended = run(&mut send_nowhere([&folder])).expect_code(code);
        assert!(ended.summary()["total_tokens"].as_u64().unwrap() > 0);
    }
}

#[test]
fn a_folder_we_may_not_look_into_is_said_to_be_one() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, _) = run_folder();
    let closed = |mode| std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
    closed(0o000);
    // Root may look anywhere.
    let may_look = std::fs::read_dir(folder.path()).is_ok();
    let ended = run(agno_otel(["show"]).arg(folder.path()));
    closed(0o700);
    if !may_look {
        ended.expect_code(3).expect_words(&[folder.path().to_str().unwrap(), "Permission denied"]);
    }
}

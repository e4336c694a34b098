//! Whatever holds Agno's runs is read, and whatever does not is told apart with words that help.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::fixtures;
use crate::support::program::{changed_copy, run, run_with_input, send_nowhere, summary_of};

const AGNO: &str = "agno/3.1.10";

fn fixture(name: &str) -> PathBuf {
    fixtures().join(AGNO).join(name)
}

/// A file with this text in a folder of its own.
fn file(name: &str, text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// Runs, tokens and spans: what must not depend on how the runs were read.
fn essence(summary: &Value) -> Value {
    json!([summary["runs"], summary["tokens"], summary["traces"], summary["spans"]])
}

#[track_caller]
fn expect_same(a: &[PathBuf], b: &[PathBuf]) {
    let (a, b) = (summary_of(a), summary_of(b));
    assert!(a["total_tokens"].as_u64().unwrap() > 0, "{a}");
    assert_eq!(essence(&a), essence(&b));
}

#[test]
fn a_database_and_a_file_of_the_same_runs_say_the_same_alone_and_together() {
    let pairs = [
        ("team_run.db", "team_run.run.json"),
        ("history.db", "history.runs.json"),
        ("workflow_run.db", "workflow_run.run.json"),
        ("nan_values.db", "nan_values.to_json.txt"),
        ("jsondb.jsondb", "jsondb.runs.json"),
    ];
    for (database, runs) in pairs {
        let (database, runs) = (fixture(database), fixture(runs));
        let alone = summary_of(std::slice::from_ref(&database));
        let tokens = |summary: &Value| json!([summary["runs"], summary["tokens"]]);
        assert!(alone["total_tokens"].as_u64().unwrap() > 0);
        assert_eq!(tokens(&alone), tokens(&summary_of(std::slice::from_ref(&runs))), "{}", runs.display());
        for together in
            [[database.clone(), runs.clone()], [runs.clone(), database.clone()], [runs.clone(), runs.clone()]]
        {
            assert_eq!(tokens(&alone), tokens(&summary_of(&together)), "{together:?}");
        }
    }
}

#[test]
fn one_run_a_list_and_lines_are_read_alike_from_files_and_from_standard_input() {
    let path = fixture("history.runs.json");
    let runs: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let lines: String = runs.iter().map(|run| format!("{run}\n")).collect();
    let pretty = serde_json::to_string_pretty(&runs).unwrap();
    let expected = essence(&summary_of(std::slice::from_ref(&path)));
    let texts = [
        lines.clone(),
        lines.trim_end().to_owned(),
        lines.replace('\n', "\r\n"),
        format!("\n\n{}\n", lines.replace('\n', "\n\n")),
        pretty,
        format!("{}\n", json!(runs)),
        format!("\u{feff}{lines}"),
        runs.iter().map(|run| serde_json::to_string_pretty(run).unwrap() + "\n").collect(),
        runs.iter().map(Value::to_string).collect(),
    ];
    for text in texts {
        let (_folder, path) = file("runs.txt", &text);
        assert_eq!(essence(&summary_of(&[path])), expected, "{text:.60}");
        let ended = run_with_input(&mut send_nowhere(["-"]), text.as_bytes()).expect_code(0);
        assert_eq!(essence(&ended.summary()), expected, "{text:.60}");
    }
    // Some by file, the rest by standard input.
    let (_folder, first) = file("first.json", runs[0].to_string());
    let rest: String = runs[1..].iter().map(|run| format!("{run}\n")).collect();
    let ended = run_with_input(send_nowhere(["-"]).arg(first), rest.as_bytes()).expect_code(0);
    assert_eq!(essence(&ended.summary()), expected);
}

#[test]
fn tables_with_names_of_the_users_own_are_found_and_can_be_named() {
    for (case, sql, flags) in [
        ("agno/3.1.10/team_run.db", "ALTER TABLE agno_runs RENAME TO my_runs", ["--runs-table", "my_runs"]),
        (
            "agno/2.0.2/team_run.db",
            "ALTER TABLE agno_sessions RENAME TO \"my \"\"own\"\" sessions\"",
            ["--sessions-table", "my \"own\" sessions"],
        ),
    ] {
        let folder = TempDir::new().unwrap();
        let copy = changed_copy(case, folder.path(), sql);
        expect_same(std::slice::from_ref(&copy), &[fixtures().join(case)]);
        let named = run(send_nowhere([&copy]).args(flags)).expect_code(0).summary();
        assert_eq!(essence(&named), essence(&summary_of(&[fixtures().join(case)])));
    }
}

#[test]
fn a_named_table_is_the_only_one_that_is_read() {
    let folder = TempDir::new().unwrap();
    let copy = changed_copy(
        "agno/3.1.10/team_run.db",
        folder.path(),
        "CREATE TABLE other_runs AS SELECT * FROM agno_runs LIMIT 1",
    );
    let ended = run(send_nowhere([&copy]).args(["--runs-table", "other_runs"])).expect_code(0);
    assert_eq!(ended.summary()["records"], 1);
}

#[test]
fn a_named_table_that_is_not_there_is_answered_with_those_that_are() {
    let database = fixture("team_run.db");
    let ended = run(send_nowhere([&database]).args(["--runs-table", "my_runs"])).expect_code(3);
    ended.expect_words(&["team_run.db", "my_runs", "agno_runs", "agno_sessions"]);
    let folder = fixture("jsondb.jsondb");
    let ended = run(send_nowhere([&folder]).args(["--sessions-table", "mine"])).expect_code(3);
    ended.expect_words(&["jsondb.jsondb", "mine", "agno_runs.json", "agno_sessions.json"]);
    // It is there, but Agno never made it.
    let ended = run(send_nowhere([&database]).args(["--runs-table", "agno_schema_versions"])).expect_code(3);
    ended.expect_words(&["agno_schema_versions"]);
}

#[test]
fn a_database_that_agno_has_only_just_made_holds_nothing_and_that_is_no_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("VACUUM").unwrap();
    let emptied = changed_copy(
        "agno/3.1.10/simple.db",
        folder.path(),
        "DELETE FROM agno_runs; DELETE FROM agno_sessions",
    );
    assert_eq!(summary_of(&[emptied])["total_tokens"], 0);
    let (_folder, empty) = file("agno.db", b"");
    for fresh in [path, empty] {
        let ended = run(&mut send_nowhere([&fresh])).expect_code(0);
        ended.expect_words(&[fresh.to_str().unwrap(), "holds no runs"]);
    }
}

#[test]
fn what_is_not_agnos_is_refused_with_what_was_found() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let shop = folder.path().join("shop.db");
    rusqlite::Connection::open(&shop).unwrap().execute_batch("CREATE TABLE customers (id, name)").unwrap();
    let bare = folder.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    let notes = folder.path().join("notes");
    std::fs::create_dir(&notes).unwrap();
    std::fs::write(notes.join("shopping.json"), "[{\"milk\": 1}]").unwrap();
    let cases: Vec<(PathBuf, &[&str])> = vec![
        (shop, &["shop.db", "SQLite", "customers"]),
        (write("notes.txt", b"Dear diary,\ntoday nothing happened.\n"), &["notes.txt", "not JSON"]),
        (write("runs.gz", b"\x1f\x8b\x08\0"), &["runs.gz", "gzip", "zcat"]),
        (write("runs.zip", b"PK\x03\x04\x14"), &["runs.zip", "zip file", "unpack"]),
        (write("utf16.json", b"\xff\xfe{\0}\0"), &["utf16.json", "UTF-16", "iconv"]),
        (write("nothing.json", b""), &["nothing.json", "empty"]),
        (write("blank.json", b" \n\n"), &["blank.json", "empty"]),
        (
            write("photo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe"),
            &["photo.png", "bytes", "neither JSON nor text"],
        ),
        (bare, &["bare", "no .json, .jsonl or .ndjson file"]),
        (notes, &["notes", "shopping.json"]),
        (folder.path().join("missing.db"), &["missing.db", "No such file"]),
    ];
    for (path, words) in cases {
        let ended = run(&mut send_nowhere([&path])).expect_code(3).expect_words(words);
        assert!(ended.stderr.starts_with("agno-otel: "), "{}", ended.stderr);
        assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_database_by_pipe_is_answered_with_what_to_do() {
    let bytes = std::fs::read(fixture("team_run.db")).unwrap();
    for pipe in ["-", "/dev/stdin"] {
        let ended = run_with_input(&mut send_nowhere([pipe]), &bytes).expect_code(3);
        ended.expect_words(&["SQLite database", "give its path"]);
    }
    run_with_input(&mut send_nowhere(["-", "-"]), b"")
        .expect_code(2)
        .expect_words(&["standard input", "twice"]);
}

#[test]
fn a_table_without_rowids_is_named() {
    let folder = TempDir::new().unwrap();
    let sql = "CREATE TABLE own (run_id TEXT PRIMARY KEY, session_id, run_data) WITHOUT ROWID; DROP TABLE agno_runs;";
    let copy = changed_copy("agno/3.1.10/team_run.db", folder.path(), sql);
    run(&mut send_nowhere([copy])).expect_code(3).expect_words(&["team_run.db", "own", "WITHOUT ROWID"]);
}

#[test]
fn naming_one_kind_of_table_leaves_the_other_to_be_found() {
    let database = fixture("team_run.db");
    let expected = essence(&summary_of(std::slice::from_ref(&database)));
    for flags in [["--sessions-table", "agno_sessions"], ["--runs-table", "agno_runs"]] {
        let named = run(send_nowhere([&database]).args(flags)).expect_code(0).summary();
        assert_eq!(essence(&named), expected, "{flags:?}");
    }
    let ended = run(send_nowhere([&database]).args(["--runs-table", "agno_sessions"])).expect_code(3);
    ended.expect_words(&["agno_sessions", "not those of Agno's runs"]);
}

// A name must be right for one source at least; where it is not there, what is there is read.
#[test]
fn a_named_table_that_one_database_lacks_does_not_fail_the_others() {
    let folder = TempDir::new().unwrap();
    let own = changed_copy("agno/3.1.10/team_run.db", folder.path(), "ALTER TABLE agno_runs RENAME TO mine");
    let other = fixture("history.db");
    let expected = essence(&summary_of(&[own.clone(), other.clone()]));
    for sources in [[&own, &other], [&other, &own]] {
        let ended = run(send_nowhere(sources).args(["--runs-table", "mine"])).expect_code(0);
        assert_eq!(essence(&ended.summary()), expected);
        ended.expect_words(&["history.db", "mine", "agno_runs"]);
    }
    let runs = fixture("history.runs.json");
    for sources in [[&other, &runs], [&runs, &other]] {
        let ended = run(send_nowhere(sources).args(["--runs-table", "mine"])).expect_code(3);
        ended.expect_words(&["history.db", "mine", "agno_runs"]);
    }
}

#[test]
fn a_damaged_database_is_said_to_be_damaged() {
    let mut bytes = std::fs::read(fixture("team_run.db")).unwrap();
    bytes[100..4096].fill(0xEE);
    let (_folder, path) = file("damaged.db", bytes);
    run(&mut send_nowhere([&path])).expect_code(3).expect_words(&["damaged.db", "damaged"]);
}

/// Sends a file that holds no run at all: it is refused with what was found instead.
#[track_caller]
fn expect_odd(text: &str, oddity: &str, count: u64, word: &str) {
    let (_folder, path) = file("odd.json", text);
    let found = format!("{count} × {oddity}");
    run(&mut send_nowhere([&path])).expect_code(3).expect_words(&["odd.json", &found, word]);
}

// A part of a file's records is left out and counted; a file of nothing else is refused.
#[test]
fn json_that_is_no_run_is_counted_and_said() {
    let fine = json!({"run_id": "a", "agent_id": "a"});
    let mixed = [
        (format!("{fine}\n{}\n", json!({"milk": 1})), "not_a_run", 1),
        (json!([fine, true, {"milk": 1}, 7]).to_string(), "not_a_run", 3),
        (format!("{fine}\ntrue\n7\n"), "not_a_run", 2),
        (json!([fine, {"status": "COMPLETED", "messages": [{"role": "user"}]}]).to_string(), "no_run_id", 1),
        (format!("{fine}\nnot json\n"), "not_json", 1),
        (format!("# runs of May\n{fine}\n"), "not_json", 1),
        (format!("{{\"run_id\": \"b\n{fine}\n"), "not_json", 1),
    ];
    for (text, oddity, count) in mixed {
        let (_folder, path) = file("mixed.json", &text);
        let ended = run(&mut send_nowhere([&path])).expect_code(5);
        assert_eq!(ended.summary()["oddities"][oddity], count, "{text}: {}", ended.stdout);
    }
    expect_odd("{\"milk\": 1}", "not_a_run", 1, "no Agno run");
}

#[test]
fn streamed_events_are_told_from_runs() {
    let text = std::fs::read_to_string(fixture("stream.events.jsonl")).unwrap();
    let events = text.lines().filter(|line| line.contains("\"event\"")).count() as u64;
    assert!(events > 10, "the fixture holds {events} events");
    expect_odd(&text, "stream_event", events, "give the runs instead");
}

#[test]
fn agno_1_is_recognised_and_refused_with_advice() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixtures().join("agno/1.8.4")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "db") {
            seen += 1;
            run(&mut send_nowhere([&path])).expect_code(3).expect_words(&[
                "Agno 1.x",
                "agno_sessions",
                "migrate",
            ]);
        }
    }
    assert!(seen >= 5, "fixtures are missing");
}

#[test]
fn agno_1_is_recognised_in_files_too() {
    let database = rusqlite::Connection::open(fixtures().join("agno/1.8.4/simple.db")).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let (session_id, memory) =
        database.query_row("SELECT session_id, memory FROM agno_sessions", [], row).unwrap();
    let memory: Value = serde_json::from_str(&memory).unwrap();
    let session = json!({"session_id": session_id, "memory": memory});
    for record in [&session, &memory["runs"][0]] {
        expect_odd(&record.to_string(), "agno_v1", 1, "migrate");
    }
}

#[test]
fn a_message_names_its_cause_once() {
    let ended = run(&mut send_nowhere([Path::new("/nowhere/agno.db")])).expect_code(3);
    assert_eq!(ended.stderr.matches("No such file").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_postgres_url_is_no_path_and_its_password_is_never_said() {
    // Nobody listens on port 1.
    let cases = [
        ("postgres://ai:s3cret@127.0.0.1:1/agno", "postgres://ai@127.0.0.1:1/agno"),
        ("postgresql+psycopg://ai:s3cret@127.0.0.1:1/agno", "listens"),
        ("postgres://ai:s3cret@127.0.0.1:1/agno?pool_size=3", "pool_size"),
        ("postgres://ai:s3?cret@127.0.0.1:1/agno", "%3F"),
    ];
    for (url, word) in cases {
        let ended = run(send_nowhere([Path::new(url)]).env("RUST_LOG", "trace"));
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!said.contains("s3") && !said.contains("cret"), "{said}");
        ended.expect_code(3).expect_words(&[word]);
    }
}

#[test]
fn a_url_of_another_kind_is_refused_and_not_repeated() {
    let ended = run(&mut send_nowhere(["mysql://root:hunter2@db/agno"])).expect_code(3);
    ended.expect_words(&["mysql://", "postgres://"]);
    let ended = run(&mut send_nowhere(["mysql://root:hunter2@db/agno"]));
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

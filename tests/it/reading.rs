//! Reading never stands in the way of Agno's writer, never changes what it reads, and waits for what is not
//! finished, but not for ever.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agno_otel::framework::agno::Columns;
use agno_otel::{Intake, Record, Settings};
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::fixtures;
use crate::support::program::{agno_otel, changed_copy, run, run_with_input, send_nowhere, summary_of};
use crate::support::runs::with_own_ids;

const TEAM: &str = "agno/3.1.10/team_run.db";

/// Does something a little later, while the binary waits for it.
#[expect(clippy::disallowed_methods, reason = "the promise is about waiting")]
fn later(delay: Duration, work: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        std::thread::sleep(delay);
        work();
    })
}

/// A reader that looks for the first time within this must have met the unfinished state.
const SOON: Duration = Duration::from_millis(300);

fn total(summary: &Value) -> u64 {
    summary["total_tokens"].as_u64().unwrap()
}

fn of_fixture(name: &str) -> Value {
    summary_of(&[fixtures().join(name)])
}

/// Two runs as lines, the second cut after so many of its bytes.
fn half_written(folder: &Path) -> (PathBuf, String, usize) {
    let runs: Vec<Value> = ["simple", "tools_multi"]
        .iter()
        .map(|case| {
            serde_json::from_slice(
                &std::fs::read(fixtures().join(format!("agno/3.1.10/{case}.run.json"))).unwrap(),
            )
            .unwrap()
        })
        .collect();
    let whole = format!("{}\n{}\n", runs[0], runs[1]);
    let cut = runs[0].to_string().len() + 200;
    let path = folder.join("runs.jsonl");
    std::fs::write(&path, &whole[..cut]).unwrap();
    (path, whole, cut)
}

#[test]
fn a_half_written_last_line_is_left_out_and_said() {
    let folder = TempDir::new().unwrap();
    let (path, _, _) = half_written(folder.path());
    let summary = run(&mut send_nowhere([&path])).expect_code(5).summary();
    assert_eq!(total(&summary), total(&of_fixture("agno/3.1.10/simple.run.json")));
    assert_eq!(summary["oddities"], json!({"half_line": 1}));
}

#[test]
fn a_line_completed_while_it_is_waited_for_is_read() {
    let folder = TempDir::new().unwrap();
    let (path, whole, cut) = half_written(folder.path());
    let writer = path.clone();
    let writing = later(SOON, move || {
        let mut file = std::fs::OpenOptions::new().append(true).open(writer).unwrap();
        std::io::Write::write_all(&mut file, &whole.as_bytes()[cut..]).unwrap();
    });
    let summary = summary_of(&[path]);
    writing.join().unwrap();
    let expected =
        ["simple", "tools_multi"].map(|case| total(&of_fixture(&format!("agno/3.1.10/{case}.run.json"))));
    assert_eq!(total(&summary), expected.iter().sum::<u64>());
    assert_eq!(summary["oddities"], json!({}));
}

#[test]
fn a_file_that_shrinks_while_it_is_waited_for_is_read_as_it_is_then() {
    let folder = TempDir::new().unwrap();
    let (path, whole, _) = half_written(folder.path());
    let first = whole.find('\n').unwrap() as u64 + 1;
    let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let writing = later(SOON, move || writer.set_len(first).unwrap());
    let summary = summary_of(&[path]);
    writing.join().unwrap();
    assert_eq!(total(&summary), total(&of_fixture("agno/3.1.10/simple.run.json")));
    assert_eq!(summary["oddities"], json!({}));
}

#[test]
fn a_database_that_lost_its_end_is_said_to_be_damaged() {
    for sql in ["", "PRAGMA journal_mode = WAL"] {
        let folder = TempDir::new().unwrap();
        let path = changed_copy(TEAM, folder.path(), sql);
        let length = std::fs::metadata(&path).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
        run(&mut send_nowhere([&path])).expect_code(3).expect_words(&["team_run.db", "damaged"]);
    }
}

#[test]
fn a_named_pipe_is_read_to_its_end() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("runs.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (text, code, words) in [
        (std::fs::read(fixtures().join("agno/3.1.10/team_run.run.json")).unwrap(), 0, &[] as &[&str]),
        (b"{\"run_id\": \"a\", ".to_vec(), 3, &["runs.pipe", "half written"]),
        (std::fs::read(fixtures().join(TEAM)).unwrap(), 3, &["runs.pipe", "SQLite", "give its path"]),
    ] {
        let writer = pipe.clone();
        let writing = later(Duration::ZERO, move || std::fs::write(writer, text).unwrap());
        run(&mut send_nowhere([&pipe])).expect_code(code).expect_words(words);
        writing.join().unwrap();
    }
}

/// A copy of the `JsonDb` fixture whose runs file is only half there.
fn partial_jsondb(folder: &Path) -> (PathBuf, Vec<u8>) {
    let source = fixtures().join("agno/3.1.10/jsondb.jsondb");
    for name in ["agno_runs.json", "agno_sessions.json"] {
        std::fs::copy(source.join(name), folder.join(name)).unwrap();
    }
    let path = folder.join("agno_runs.json");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    (path, whole)
}

#[test]
fn a_jsondb_file_completed_while_it_is_waited_for_is_read() {
    let folder = TempDir::new().unwrap();
    let (path, whole) = partial_jsondb(folder.path());
    let writing = later(SOON, move || std::fs::write(path, whole).unwrap());
    let summary = summary_of(&[folder.path()]);
    writing.join().unwrap();
    assert_eq!(summary["tokens"], of_fixture("agno/3.1.10/jsondb.jsondb")["tokens"]);
}

#[test]
fn a_jsondb_file_truncated_to_nothing_is_waited_for_too() {
    let folder = TempDir::new().unwrap();
    let (path, whole) = partial_jsondb(folder.path());
    std::fs::write(&path, "").unwrap();
    let writing = later(SOON, move || std::fs::write(path, whole).unwrap());
    let summary = summary_of(&[folder.path()]);
    writing.join().unwrap();
    assert_eq!(summary["tokens"], of_fixture("agno/3.1.10/jsondb.jsondb")["tokens"]);
}

#[test]
fn what_stays_half_written_is_said_to_be() {
    let folder = TempDir::new().unwrap();
    partial_jsondb(folder.path());
    let ended = run(&mut send_nowhere([folder.path()])).expect_code(3);
    ended.expect_words(&["agno_runs.json", "half written"]);
    let run_file = std::fs::read(fixtures().join("agno/3.1.10/team_run.run.json")).unwrap();
    let path = folder.path().join("one.json");
    std::fs::write(&path, &run_file[..run_file.len() / 2]).unwrap();
    run(&mut send_nowhere([&path])).expect_code(3).expect_words(&["one.json", "half written"]);
}

#[test]
fn a_database_that_stays_locked_is_waited_for_and_then_said_to_be() {
    let folder = TempDir::new().unwrap();
    let path = changed_copy(TEAM, folder.path(), "");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let started = Instant::now();
    run(&mut send_nowhere([&path])).expect_code(3).expect_words(&["team_run.db", "locked", "try again"]);
    let waited = started.elapsed();
    assert!((4..10).contains(&waited.as_secs()), "{waited:?}");
}

#[test]
fn a_lock_that_is_released_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let path = changed_copy(TEAM, folder.path(), "");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let releasing = later(Duration::from_secs(1), move || writer.execute_batch("COMMIT").unwrap());
    let summary = summary_of(&[path]);
    releasing.join().unwrap();
    assert_eq!(summary["tokens"], of_fixture(TEAM)["tokens"]);
}

/// A database with many more runs than one page of reading holds.
pub(crate) fn large(folder: &Path) -> PathBuf {
    let path = changed_copy(TEAM, folder, "");
    let mut database = Connection::open(&path).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let runs: Vec<(String, String)> = {
        let mut statement = database.prepare("SELECT run_id, run_data FROM agno_runs").unwrap();
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    };
    let transaction = database.transaction().unwrap();
    for copy in 1..1_500 {
        for (run_id, run_data) in &runs {
            insert(&transaction, run_id, run_data, copy).unwrap();
        }
    }
    transaction.commit().unwrap();
    path
}

/// Inserts a copy of a run with ids of its own.
pub(crate) fn insert(database: &Connection, run_id: &str, run_data: &str, copy: u32) -> rusqlite::Result<()> {
    let columns: Vec<String> = {
        let mut statement = database.prepare_cached("SELECT name FROM pragma_table_info('agno_runs')")?;
        statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    let values = columns.iter().map(|column| match column.as_str() {
        "run_id" => "?2",
        "run_data" => "?3",
        other => other,
    });
    let (names, values) = (columns.join(", "), values.collect::<Vec<_>>().join(", "));
    let sql = format!("INSERT INTO agno_runs ({names}) SELECT {values} FROM agno_runs WHERE run_id = ?1");
    let quoted = with_own_ids(&format!("\"{run_id}\""), copy);
    database.prepare_cached(&sql)?.execute([
        run_id,
        quoted.trim_matches('"'),
        &with_own_ids(run_data, copy),
    ])?;
    Ok(())
}

#[test]
fn agnos_writer_can_always_commit_while_we_read() {
    let folder = TempDir::new().unwrap();
    let path = large(folder.path());
    let writer = Connection::open(&path).unwrap();
    let mode: String = writer.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete", "the mode in which readers can block a writer");
    writer.busy_timeout(Duration::from_secs(1)).unwrap();
    let mut reader = send_nowhere([&path]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut commits = 0;
    let mut slowest = Duration::ZERO;
    while reader.try_wait().unwrap().is_none() {
        // Busy, but not so busy that a reader could never come in between.
        later(Duration::from_millis(5), || {}).join().unwrap();
        let started = Instant::now();
        writer
            .execute("UPDATE agno_sessions SET updated_at = updated_at + 1", [])
            .expect("the reader blocks the writer");
        slowest = slowest.max(started.elapsed());
        commits += 1;
    }
    assert!(reader.wait().unwrap().success());
    assert!(commits > 5, "{commits} commits prove nothing");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[test]
fn rows_are_all_read_however_many_pages_they_fill() {
    let folder = TempDir::new().unwrap();
    let path = large(folder.path());
    let one = of_fixture(TEAM);
    let all = summary_of(&[path]);
    assert_eq!(total(&all), 1_500 * total(&one));
    assert_eq!(all["records"], 1_500 * 3);
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                Sha256::digest(std::fs::read(entry.path()).unwrap()).to_vec(),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn reading_changes_no_byte_and_leaves_no_file_behind() {
    let folder = TempDir::new().unwrap();
    let path = changed_copy(TEAM, folder.path(), "");
    std::fs::copy(fixtures().join("agno/3.1.10/team_run.run.json"), folder.path().join("runs.json")).unwrap();
    let before = files(folder.path());
    let both = summary_of(&[path, folder.path().join("runs.json")]);
    assert_eq!(both["tokens"], of_fixture(TEAM)["tokens"]);
    assert!(files(folder.path()) == before, "the folder has changed");
}

#[test]
fn reading_a_database_in_wal_mode_changes_nothing_its_writer_would_notice() {
    let folder = TempDir::new().unwrap();
    let path = changed_copy(TEAM, folder.path(), "PRAGMA journal_mode = WAL");
    let before = files(folder.path());
    assert_eq!(before.len(), 1, "closed cleanly, so without a log: {before:?}");
    assert_eq!(summary_of(std::slice::from_ref(&path))["tokens"], of_fixture(TEAM)["tokens"]);
    assert!(files(folder.path())[0] == before[0], "the database has changed");
    let writer = Connection::open(&path).unwrap();
    writer.execute("UPDATE agno_sessions SET updated_at = updated_at + 1", []).unwrap();
    writer.close().unwrap();
    assert_eq!(files(folder.path()).len(), 1, "its writer cleans up as ever");
}

#[test]
fn what_a_write_ahead_log_holds_is_read() {
    let folder = TempDir::new().unwrap();
    let path = changed_copy(TEAM, folder.path(), "PRAGMA journal_mode = WAL");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let top = "SELECT run_id, run_data FROM agno_runs";
    let runs: Vec<(String, String)> =
        writer.prepare(top).unwrap().query_map([], row).unwrap().map(Result::unwrap).collect();
    for (run_id, run_data) in &runs {
        insert(&writer, run_id, run_data, 1).unwrap();
    }
    let expected = 2 * total(&of_fixture(TEAM));
    // While the writer lives, and from a copy of what it left when it was killed.
    assert_eq!(total(&summary_of(std::slice::from_ref(&path))), expected);
    let killed = TempDir::new().unwrap();
    for end in ["", "-wal"] {
        let name = format!("team_run.db{end}");
        std::fs::copy(folder.path().join(&name), killed.path().join(&name)).unwrap();
    }
    let copy = killed.path().join("team_run.db");
    assert_eq!(total(&summary_of(std::slice::from_ref(&copy))), expected);
    // The log is the writer's to fold in; nothing of it may be lost by reading.
    let reopened = Connection::open(&copy).unwrap();
    let count: i64 = reopened.query_row("SELECT count(*) FROM agno_runs", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 2 * i64::try_from(runs.len()).unwrap());
}

#[test]
fn a_file_we_may_only_read_is_read() {
    let folder = TempDir::new().unwrap();
    for case in [TEAM, "agno/3.1.10/team_run.run.json"] {
        let path = folder.path().join(Path::new(case).file_name().unwrap());
        std::fs::copy(fixtures().join(case), &path).unwrap();
        let mut permissions = std::fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(&path, permissions).unwrap();
        assert_eq!(summary_of(&[path])["tokens"], of_fixture(case)["tokens"]);
    }
}

#[test]
fn what_is_read_is_never_written_over() {
    let folder = TempDir::new().unwrap();
    let path = changed_copy(TEAM, folder.path(), "");
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let before = std::fs::read(&path).unwrap();
    for target in [&path, &link] {
        let to = format!("otlp-json:{}", target.display());
        let ended = run(agno_otel(["send", "--to", &to]).arg(&path));
        assert!(std::fs::read(&path).unwrap() == before, "the database was overwritten");
        ended.expect_code(2).expect_words(&["team_run.db"]);
    }
}

#[test]
fn what_can_be_read_only_once_is_read() {
    let run_file = std::fs::read(fixtures().join("agno/3.1.10/team_run.run.json")).unwrap();
    // As a shell hands over `<(…)`: a pipe with a name.
    let ended = run_with_input(&mut send_nowhere(["/dev/stdin"]), &run_file).expect_code(0);
    assert_eq!(ended.summary()["tokens"], of_fixture(TEAM)["tokens"]);
}

// Postgres' JSONB has the keys of an object in an order of its own.
#[test]
fn the_order_of_roles_in_details_changes_no_id() {
    let entry = |id: &str, tokens: u64| json!([{"id": id, "provider": "OpenAI", "input_tokens": tokens}]);
    let spans = |roles: [(&str, Value); 2]| {
        let details: String = roles.map(|(role, entries)| format!("{role:?}: {entries}")).join(", ");
        let json = format!(
            "{{\"run_id\": \"r\", \"session_id\": \"s\", \"agent_id\": \"a\", \"created_at\": 1, \"metrics\": \
             {{\"input_tokens\": 12, \"details\": {{{details}}}}}}}"
        );
        let mut intake = Intake::default();
        intake.accept(&Record { json: json.into_bytes(), columns: Columns::default() });
        let traces = intake.finish(0).spans(Settings::default());
        let mut ids: Vec<_> =
            traces[0].spans.iter().map(|span| (span.span_id.clone(), span.name.clone())).collect();
        ids.sort();
        ids
    };
    let (main, memory) = (("model", entry("m", 8)), ("memory_model", entry("n", 4)));
    let found = spans([main.clone(), memory.clone()]);
    assert_eq!(found.len(), 3);
    assert_eq!(found, spans([memory, main]));
}

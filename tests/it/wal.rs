//! Databases in the mode Agno 3 uses: their newest runs can be in a file of their own.

use std::path::{Path, PathBuf};

use agno_otel::source::{self, Location, Tables};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::reading::{insert, large};
use crate::support::fixtures;
use crate::support::program::{changed_copy, run, send_nowhere, summary_of};

const TEAM: &str = "agno/3.1.10/team_run.db";

fn in_wal_mode(folder: &Path) -> PathBuf {
    changed_copy(TEAM, folder, "PRAGMA journal_mode = WAL")
}

#[test]
fn a_database_whose_log_was_left_behind_is_told() {
    let folder = TempDir::new().unwrap();
    let path = in_wal_mode(folder.path());
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("PRAGMA wal_autocheckpoint = 0; DELETE FROM agno_runs").unwrap();
    // With its log it is whole, and nothing is said.
    let whole = run(&mut send_nowhere([&path])).expect_code(0);
    assert_eq!(whole.summary()["total_tokens"], 0);
    assert!(!whole.stderr.contains("-wal"), "{}", whole.stderr);
    let copies = TempDir::new().unwrap();
    let copy = copies.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    let ended = run(send_nowhere([&copy]).arg("-v")).expect_code(0);
    ended.expect_words(&["copy.db", "without a -wal file", ".backup"]);
    // In the other mode there is no log to miss.
    let plain = run(&mut send_nowhere([fixtures().join(TEAM)])).expect_code(0);
    assert_eq!(plain.stderr, "");
}

#[test]
fn a_database_nobody_has_open_is_read_whatever_its_name_and_not_a_byte_of_it_changes() {
    for name in ["team_run.db", "a ?#%41 ü'.db"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(name);
        std::fs::rename(in_wal_mode(folder.path()), &path).unwrap();
        let before = std::fs::read(&path).unwrap();
        let summary = summary_of(std::slice::from_ref(&path));
        assert_eq!(summary["tokens"], summary_of(&[fixtures().join(TEAM)])["tokens"]);
        assert!(std::fs::read(&path).unwrap() == before, "the database has changed");
    }
}

/// The ids of all runs handed over, while something happens at the first.
fn read_while(path: &Path, mut happens: impl FnMut() + Send) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut ids = Vec::new();
    let mut accept = |_, record: agno_otel::Record| {
        if ids.is_empty() {
            happens();
        }
        let run: serde_json::Value = serde_json::from_slice(&record.json).unwrap();
        ids.push(run["run_id"].as_str().unwrap().to_owned());
    };
    let location = Location::of(path);
    runtime.block_on(source::read(&location, &Tables::default(), &mut accept)).unwrap();
    ids
}

#[test]
fn a_writer_that_comes_while_we_read_is_never_hindered_and_what_it_writes_is_read_whole() {
    for stays in [true, false] {
        let folder = TempDir::new().unwrap();
        let path = large(folder.path());
        let database = Connection::open(&path).unwrap();
        database.execute_batch("PRAGMA journal_mode = WAL").unwrap();
        let first = "SELECT run_id, run_data FROM agno_runs LIMIT 1";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let (run_id, run_data): (String, String) = database.query_row(first, [], row).unwrap();
        database.close().unwrap();
        let mut writer = None;
        let ids = read_while(&path, || {
            let connection = Connection::open(&path).unwrap();
            connection.busy_timeout(std::time::Duration::ZERO).unwrap();
            // Every page behind the first is written anew, and rows of the first move to the end.
            connection.execute_batch("UPDATE agno_runs SET rowid = rowid + 100000; VACUUM").unwrap();
            insert(&connection, &run_id, &run_data, 9_999).unwrap();
            connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
            if stays {
                writer = Some(connection);
            } else {
                connection.close().unwrap();
            }
        });
        let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), 1_500 * 3 + 1, "the writer stays: {stays}");
    }
}

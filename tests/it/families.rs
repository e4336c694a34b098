//! Records read family by family say what they say when all are in memory at once.

use std::path::{Path, PathBuf};

use agno_otel::framework::Keep;
use agno_otel::intake::Surveyed;
use agno_otel::model::Tokens;
use agno_otel::otel::TraceSpans;
use agno_otel::source::{self, Error, Location, Source, Spot, Tables};
use agno_otel::{Record, Settings, Survey};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::program::changed_copy;
use crate::support::{RECEIVED_NS, cases, fixtures, gather};

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn read(path: &Path, accept: &mut (dyn FnMut(Spot, Record) + Send)) -> Source {
    wait(source::read(&Location::of(path), &Tables::default(), accept)).unwrap()
}

fn survey(paths: &[&Path]) -> Surveyed {
    let mut survey = Survey::default();
    for path in paths {
        let source = read(path, &mut |spot, record| survey.accept(spot, record));
        survey.add(source);
    }
    survey.finish()
}

/// Everything that is said of all families, one after the other.
fn by_family(surveyed: &Surveyed) -> (Tokens, Vec<TraceSpans>) {
    let (mut tokens, mut traces) = (Tokens::default(), Vec::new());
    for family in surveyed.families() {
        let gathered = wait(surveyed.gather(&[family], Keep::Figures, RECEIVED_NS)).unwrap();
        tokens += gathered.tokens();
        traces.extend(gathered.spans(Settings::default()));
    }
    (tokens, in_order(traces))
}

fn in_order(mut traces: Vec<TraceSpans>) -> Vec<TraceSpans> {
    traces.sort_by(|a, b| {
        let key = |trace: &TraceSpans| trace.spans.first().map(|root| root.span_id.clone());
        (&a.run_id, key(a)).cmp(&(&b.run_id, key(b)))
    });
    traces
}

#[test]
fn families_one_by_one_say_what_all_runs_at_once_say() {
    let sources: Vec<PathBuf> = cases().into_iter().map(|case| case.source).collect();
    let paths: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    let at_once = gather(&paths);
    let surveyed = survey(&paths);
    let families = surveyed.families().count();
    assert!(families > 100, "only {families} families prove nothing");
    let (tokens, traces) = by_family(&surveyed);
    assert!(tokens.total() > 0);
    assert_eq!(tokens, at_once.tokens());
    assert!(traces == in_order(at_once.spans(Settings::default())), "other spans");
}

#[test]
fn a_fork_is_of_its_origins_family_wherever_it_stands() {
    let path = fixtures().join("generated/3.1.10/fork_copy_auxiliary.db");
    let records = crate::support::records(&[&path]).0;
    let folder = TempDir::new().unwrap();
    let mut files: Vec<PathBuf> = Vec::new();
    for (at, record) in records.iter().enumerate() {
        // A run's own record names its session.
        let file = folder.path().join(format!("{at}.json"));
        std::fs::write(&file, &record.json).unwrap();
        files.push(file);
    }
    assert!(files.len() > 1);
    let expected = gather(&[&path]).tokens();
    let forward: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let backward: Vec<&Path> = forward.iter().rev().copied().collect();
    for paths in [forward, backward] {
        assert_eq!(by_family(&survey(&paths)).0, expected);
    }
}

#[test]
fn a_run_that_came_after_the_first_reading_is_left_for_the_next_time() {
    let folder = TempDir::new().unwrap();
    let path = changed_copy("agno/2.5.17/history.db", folder.path(), "");
    let whole = gather(&[&path]).tokens();
    let database = Connection::open(&path).unwrap();
    let runs: String = database.query_row("SELECT runs FROM agno_sessions", [], |row| row.get(0)).unwrap();
    // Agno 2 keeps the list as JSON within a JSON string.
    let list: Vec<serde_json::Value> =
        serde_json::from_str(&serde_json::from_str::<String>(&runs).unwrap_or_else(|_| runs.clone()))
            .unwrap();
    let write = |list: &[serde_json::Value]| {
        let text = serde_json::to_string(list).unwrap();
        database
            .execute("UPDATE agno_sessions SET runs = ?1", [serde_json::to_string(&text).unwrap()])
            .unwrap();
    };
    write(&list[..1]);
    let surveyed = survey(&[&path]);
    let first = by_family(&surveyed).0;
    assert!(first.total() > 0 && first.total() < whole.total());
    write(&list);
    assert_eq!(by_family(&surveyed).0, first);
    assert_eq!(by_family(&survey(&[&path])).0, whole);
}

/// Where the records of a source stand.
fn spots(path: &Path) -> (Source, Vec<Spot>) {
    let mut spots = Vec::new();
    let source = read(path, &mut |spot, _| spots.push(spot));
    (source, spots)
}

#[test]
fn what_was_rewritten_between_two_readings_is_never_taken_for_something_else() {
    let folder = TempDir::new().unwrap();
    let runs = folder.path().join("runs.jsonl");
    std::fs::write(&runs, "{\"run_id\": \"a\"}\n{\"run_id\": \"b\"}\n").unwrap();
    let (source, found) = spots(&runs);
    let fetch = |source: &Source, spot: Spot| wait(source.fetch(spot));
    assert_eq!(fetch(&source, found[1]).unwrap().unwrap().json, b"{\"run_id\": \"b\"}");
    for text in ["{\"run_id\": \"b\"}\n{\"run_id\": \"c\"}\n", "{\"run_id\": \"a\"}\n"] {
        std::fs::write(&runs, text).unwrap();
        let error = fetch(&source, found[1]).unwrap_err();
        assert!(matches!(&error, Error::Changed { path } if path == &runs), "{error}");
    }

    let database = changed_copy("agno/3.1.10/history.db", folder.path(), "");
    let (source, found) = spots(&database);
    let writer = Connection::open(&database).unwrap();
    // A row that is gone is gone; rows that were numbered anew are others.
    writer.execute("DELETE FROM agno_runs WHERE rowid = ?1", [found[0].at.cast_signed()]).unwrap();
    assert_eq!(fetch(&source, found[0]).unwrap(), None);
    writer.execute_batch("UPDATE agno_runs SET rowid = rowid - 1").unwrap();
    assert!(matches!(fetch(&source, found[0]).unwrap_err(), Error::Changed { .. }));
}

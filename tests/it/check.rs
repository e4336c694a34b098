//! `check` says what is amiss and what to do, and changes nothing.

use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use serde_json::Value;

use crate::following::{Place, TEAM, add_copy, follow, stop, wait_until};
use crate::support::fixtures;
use crate::support::program::{Ended, agno_otel, run};
use crate::support::receiver::{Answer, Receiver};

pub(crate) fn check(url: &str, state: &Path, sources: &[&Path]) -> Command {
    let mut command = agno_otel(["check", "--json", "--endpoint", url, "--state"]);
    command.arg(state).args(sources);
    command
}

/// The findings about something, as `level what; fix`.
pub(crate) fn about(ended: &Ended, about: &str) -> Vec<String> {
    let summary = ended.summary();
    assert_eq!(summary["exit_code"], ended.code);
    let findings = summary["findings"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = findings.iter().filter(|finding| text(&finding["about"]).starts_with(about));
    of.map(|finding| {
        format!("{} {}; {}", text(&finding["level"]), text(&finding["what"]), text(&finding["fix"]))
    })
    .collect()
}

#[track_caller]
pub(crate) fn has(findings: &[String], level: &str, words: &[&str]) {
    let is_it =
        |finding: &&String| finding.starts_with(level) && words.iter().all(|word| finding.contains(word));
    assert!(findings.iter().any(|finding| is_it(&finding)), "no {level} with {words:?} in {findings:#?}");
}

pub(crate) fn listing(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(listing(&path));
        } else {
            all.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn what_is_well_is_said_and_nothing_is_changed_or_sent() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let before = listing(place.folder.path());
    let ended = run(&mut check(&receiver.url(), &place.state(), &[&place.database])).expect_code(0);
    assert_eq!(listing(place.folder.path()), before);
    has(&about(&ended, "state"), "ok", &["state.db", "not there yet"]);
    has(&about(&ended, "content"), "ok", &["no prompts"]);
    has(&about(&ended, "source"), "ok", &["Agno 3.x", "3 runs in agno_runs"]);
    has(&about(&ended, "endpoint of traces"), "ok", &["/v1/traces", "from --endpoint", "empty request"]);
    has(&about(&ended, "endpoint of metrics"), "ok", &["/v1/metrics", "empty request"]);
    assert_eq!(ended.stderr, "");
    // Each signal's way was tried, and no data made.
    let bodies: Vec<usize> = receiver.received().iter().map(|received| received.body.len()).collect();
    assert_eq!(bodies, [0, 0]);
}

#[test]
fn a_check_over_grpc_asks_both_services() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let mut command = check(&receiver.url(), &place.state(), &[&place.database]);
    let ended = run(command.args(["--protocol", "grpc"])).expect_code(0);
    has(&about(&ended, "endpoint of metrics"), "ok", &["gRPC", "empty request"]);
    assert_eq!(receiver.received().len(), 2);
}

#[test]
fn what_an_endpoint_says_comes_with_the_fix() {
    let place = Place::of(TEAM);
    let of = |answer: Answer| {
        let receiver = Receiver::answering(move |_, _| answer.clone());
        let ended = run(&mut check(&receiver.url(), &place.state(), &[&place.database])).expect_code(4);
        about(&ended, "endpoint of metrics")
    };
    has(&of(Answer::status(401)), "problem", &["HTTP 401", "--header"]);
    has(&of(Answer::status(404)), "problem", &["HTTP 404", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]);
    has(&of(Answer::status(503)), "problem", &["HTTP 503", "run waits"]);
    let late = Answer::taken().header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let receiver = Receiver::answering(move |_, _| late.clone());
    let ended = run(&mut check(&receiver.url(), &place.state(), &[&place.database])).expect_code(0);
    has(&about(&ended, "endpoint of traces"), "note", &["behind ours", "NTP"]);
    // Nobody there, at a port that is usually another protocol's.
    let ended = run(&mut check("http://127.0.0.1:4317", &place.state(), &[&place.database])).expect_code(4);
    has(&about(&ended, "endpoint of traces"), "problem", &["gRPC"]);
}

#[test]
fn sources_are_told_by_their_layout_and_what_cannot_be_read_comes_with_advice() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let fixture = |name: &str| fixtures().join("agno").join(name);
    for (source, words) in [
        ("2.5.17/history.db", ["Agno 2.x", "1 sessions in agno_sessions"]),
        ("3.1.10/legacy_2.9.0_migrated.db", ["migrated from 2.x", "agno_runs"]),
        ("3.1.10/legacy_2.0.2_opened_unmigrated.db", ["1 sessions not migrated", "counted once"]),
        ("3.1.10/team_run.run.json", ["a file of runs", "runs in"]),
    ] {
        let ended = run(&mut check(&receiver.url(), &place.state(), &[&fixture(source)])).expect_code(0);
        has(&about(&ended, "source"), "ok", &words);
    }
    let later = "UPDATE agno_runs SET updated_at = 4000000000";
    Connection::open(&place.database).unwrap().execute_batch(later).unwrap();
    let ended = run(&mut check(&receiver.url(), &place.state(), &[&place.database])).expect_code(0);
    has(&about(&ended, "source"), "note", &["ahead of our clock", "2096", "NTP"]);
    let away = place.folder.path().join("away.db");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    for (source, words) in
        [(&away, ["away.db", "No such file"]), (&readme, ["holds no Agno runs", "--runs-table"])]
    {
        let ended =
            run(&mut check(&receiver.url(), &place.state(), &[source, &place.database])).expect_code(3);
        has(&about(&ended, "source"), "problem", &words);
    }
    let old = place.folder.path().join("old.db");
    let old_table =
        "CREATE TABLE sessions (session_id, memory, session_data); INSERT INTO sessions VALUES (1, 2, 3)";
    Connection::open(&old).unwrap().execute_batch(old_table).unwrap();
    let ended = run(&mut check(&receiver.url(), &place.state(), &[&old])).expect_code(3);
    has(&about(&ended, "source"), "problem", &["Agno 1.x", "migrate"]);
}

#[test]
fn the_state_file_is_looked_at_beside_the_process_that_has_it() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let child = follow(&receiver.url(), &place.state(), &[&place.database], &[])
        .spawn()
        .map(crate::following::Running);
    let child = child.unwrap();
    wait_until("a release", || !receiver.metrics().is_empty());
    let look = |code| run(&mut check(&receiver.url(), &place.state(), &[&place.database])).expect_code(code);
    // The system tells its locks piece by piece, and may pass one over while others, of other tests too, come and go.
    let process = child.0.id().to_string();
    wait_until("who has it", || {
        let said = about(&look(0), "state");
        said.iter().any(|said| {
            said.starts_with("ok") && said.contains("in use by process") && said.contains(&process)
        })
    });
    // The process is not disturbed.
    add_copy(&place.database, 1);
    wait_until("its spans", || !receiver.traces().is_empty());
    stop(child, 143);
    has(&about(&look(0), "state"), "ok", &["in use by nobody"]);
    has(&about(&look(0), "outbox"), "ok", &["0 requests wait"]);
    let mut lock = place.state().into_os_string();
    lock.push(".lock");
    std::fs::write(lock, "another 9000000000000000000\n").unwrap();
    has(&about(&look(0), "state"), "note", &["older than what was sent"]);
    let sql = "INSERT INTO dead_letters (signal, bytes, items, reason, added_ns) VALUES ('traces', 'x', 1, 'no', 1)";
    Connection::open(place.state()).unwrap().execute_batch(sql).unwrap();
    has(&about(&look(0), "outbox"), "note", &["1 were refused", "dead-letters list"]);
    Connection::open(place.state()).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    has(&about(&look(1), "state"), "problem", &["layout 99"]);
}

#[test]
fn of_several_problems_that_which_stops_a_run_first_is_the_exit_code() {
    let place = Place::of(TEAM);
    let away = place.folder.path().join("away.db");
    let mut command = check("http://127.0.0.1:9", &place.state(), &[&away]);
    run(&mut command).expect_code(3);
    run(command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")).expect_code(2);
    // For people each finding is a line, the level first.
    let ended = run(agno_otel(["check", "--endpoint", "http://127.0.0.1:9"])
        .arg(&place.database)
        .env("AGNO_OTEL_STATE", place.state()))
    .expect_code(4);
    let (lines, counts) = ended.stdout.trim_end().rsplit_once('\n').unwrap();
    let levels: Vec<&str> = lines.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(levels.contains(&"ok") && levels.contains(&"problem"), "{}", ended.stdout);
    assert!(levels.iter().all(|level| ["ok", "note", "problem"].contains(level)), "{}", ended.stdout);
    let count = |wanted| levels.iter().filter(|level| **level == wanted).count();
    assert_eq!(count("problem"), 2);
    let (notes, fine) = (count("note"), count("ok"));
    let note = if notes == 1 { "note" } else { "notes" };
    assert_eq!(counts, format!("2 problems, {notes} {note}, {fine} ok"));
}

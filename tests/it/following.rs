//! `run` follows what Agno writes, counts it once, and loses nothing to a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use agno_otel::Settings;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::reading::insert;
use crate::support::points::{Identity, Point, Value, by_series, points};
use crate::support::program::{agno_otel, changed_copy, run};
use crate::support::receiver::{Answer, Receiver};
use crate::support::runs::with_own_ids;
use crate::support::{gather, gather_records};

pub(crate) const TEAM: &str = "agno/3.1.10/team_run.db";
/// Longer than anything here takes, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn follow(url: &str, state: &Path, sources: &[&Path], more: &[&str]) -> Command {
    let mut command = agno_otel(["run", "--endpoint", url, "--metrics-every", "1", "--state"]);
    command.arg(state).args(more).args(sources).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "never came to be: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A process that ends with its test, however that ends.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) fn stop(mut child: Running, code: i32) -> String {
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut said = [String::new(), String::new()];
    let [stdout, stderr] = &mut said;
    std::io::Read::read_to_string(child.0.stderr.as_mut().unwrap(), stderr).unwrap();
    std::io::Read::read_to_string(child.0.stdout.as_mut().unwrap(), stdout).unwrap();
    let ended = child.0.wait().unwrap().code();
    assert_eq!(ended, Some(code), "{said:?}");
    let [_, stderr] = said;
    stderr
}

/// A number that a soak may set.
pub(crate) fn of_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// A small generator of numbers, so that a failure can be had again by its seed.
pub(crate) struct Numbers(u64);

impl Numbers {
    /// Neighbouring seeds are no neighbours here.
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What a database of samples makes of everything it took: each series by time.
fn stored(requests: &[ExportMetricsServiceRequest]) -> BTreeMap<Identity, Vec<Point>> {
    let all = points(requests);
    let mut series: BTreeMap<Identity, Vec<Point>> = BTreeMap::new();
    for (identity, points) in by_series(&all) {
        let points: Vec<Point> = points.into_iter().cloned().collect();
        series.entry(identity).or_default().extend(points);
    }
    for points in series.values_mut() {
        points.sort_by_key(|point| point.at_ns);
    }
    series
}

fn number(point: &Point) -> i64 {
    match &point.value {
        Value::Number(number) => *number,
        other @ Value::Histogram { .. } => panic!("{other:?}"),
    }
}

/// The spend of a counter as the query has it: the last value less the smallest. Fails where a series falls, for then the
/// query is wrong for some window, and where it was not born at zero.
fn spend(receiver: &Receiver, metric: &str) -> i64 {
    spend_of(&receiver.metrics(), metric)
}

pub(crate) fn spend_of(requests: &[ExportMetricsServiceRequest], metric: &str) -> i64 {
    let mut sum = 0;
    for ((name, _), points) in stored(requests).iter().filter(|((name, _), _)| name == metric) {
        for pair in points.windows(2) {
            let seen = |point: &Point| (point.request, point.at_ns, number(point));
            let (before, after) = (seen(&pair[0]), seen(&pair[1]));
            assert!(before.2 <= after.2, "{name} fell: {before:?} {after:?}");
            assert!(pair[0].at_ns < pair[1].at_ns || pair[0].value == pair[1].value, "{pair:?}");
        }
        assert_eq!(number(&points[0]), 0, "{name} was not born at zero: {:?}", points[0]);
        sum += number(points.last().unwrap());
    }
    sum
}

pub(crate) fn usage(receiver: &Receiver) -> i64 {
    spend(receiver, "agno.token.usage")
}

pub(crate) fn tokens(path: &Path) -> i64 {
    gather(&[path]).tokens().total().try_into().unwrap()
}

/// Ids of all spans there should be.
pub(crate) fn expected_spans(path: &Path) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
    let traces = gather(&[path]).spans(Settings::default());
    traces.into_iter().flat_map(|trace| trace.spans).map(id).collect()
}

fn id(span: Span) -> (Vec<u8>, Vec<u8>) {
    (span.trace_id, span.span_id)
}

/// Ids of all spans received. Fails where one came twice and was not the same.
pub(crate) fn received_spans(receiver: &Receiver) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
    let mut spans = BTreeMap::new();
    for span in receiver.spans() {
        let before = spans.insert(id(span.clone()), span.clone());
        assert!(before.is_none_or(|before| before == span), "the same span with other bytes");
    }
    spans.into_keys().collect()
}

/// Adds the runs of the fixture once more, under ids of their own.
pub(crate) fn add_copy(path: &Path, copy: u32) {
    add_changed_copy(path, copy, str::to_owned);
}

pub(crate) fn add_changed_copy(path: &Path, copy: u32, change: impl Fn(&str) -> String) {
    let database = Connection::open(path).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let mut statement =
        database.prepare("SELECT run_id, run_data FROM agno_runs ORDER BY rowid LIMIT 3").unwrap();
    let runs: Vec<(String, String)> = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
    for (run_id, run_data) in runs {
        insert(&database, &run_id, &change(&run_data), copy).unwrap();
    }
}

pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) database: PathBuf,
}

impl Place {
    pub(crate) fn of(fixture: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let database = changed_copy(fixture, folder.path(), "");
        Self { folder, database }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state/state.db")
    }
}

#[test]
fn what_is_written_is_counted_and_sent_soon_and_once() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let one = tokens(&place.database);
    let start =
        || follow(&receiver.url(), &place.state(), &[&place.database], &[]).spawn().map(Running).unwrap();
    let child = start();
    // What was there before is history, and not counted.
    wait_until("a first release", || !receiver.metrics().is_empty());
    add_copy(&place.database, 1);
    let written = Instant::now();
    wait_until("the spans of a copy", || received_spans(&receiver).len() > 10);
    let lag = written.elapsed();
    assert!(lag < Duration::from_secs(10), "{lag:?}");
    wait_until("its tokens", || usage(&receiver) == one);
    let said = stop(child, 143);
    assert!(said.contains("not counted"), "{said}");
    // Nothing is new, so nothing moves.
    let (spans, requests) = (receiver.spans().len(), receiver.metrics().len());
    let child = start();
    wait_until("more releases", || receiver.metrics().len() >= requests + 3);
    add_copy(&place.database, 2);
    wait_until("the tokens of another copy", || usage(&receiver) == 2 * one);
    wait_until("its spans", || receiver.spans().len() >= 2 * spans);
    stop(child, 143);
    assert_eq!(receiver.spans().len(), 2 * spans, "spans were sent again");
    assert_eq!(usage(&receiver), 2 * one);
}

#[test]
fn writers_that_come_and_go_in_wal_mode_are_followed() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    Connection::open(&place.database).unwrap().pragma_update(None, "journal_mode", "WAL").unwrap();
    let one = tokens(&place.database);
    let more = ["--history", "count"];
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
    wait_until("what was there", || usage(&receiver) == one);
    for copy in 1..5 {
        // Who writes opens it, and is the last to close it, if we do not show that we are there.
        add_copy(&place.database, copy);
        wait_until("a copy", || usage(&receiver) == i64::from(copy + 1) * one);
    }
    let said = stop(child, 143);
    assert!(said.matches("without a -wal file").count() <= 1, "{said}");
}

#[test]
fn history_is_counted_where_that_is_asked_for_and_only_traced_where_that_is() {
    for (mode, counted, traced) in [("count", true, true), ("traces", false, true), ("skip", false, false)] {
        let (place, receiver) = (Place::of(TEAM), Receiver::start());
        let more = ["--history", mode];
        let child =
            follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
        let wanted = if counted { tokens(&place.database) } else { 0 };
        let expected = if traced { expected_spans(&place.database) } else { BTreeSet::new() };
        wait_until("some releases", || receiver.metrics().len() > 2);
        wait_until("the spend", || usage(&receiver) == wanted);
        wait_until("the spans", || received_spans(&receiver) == expected);
        stop(child, 143);
        assert_eq!(usage(&receiver), wanted, "{mode}");
        assert_eq!(received_spans(&receiver), expected, "{mode}");
    }
}

#[test]
fn a_run_in_flight_is_counted_as_it_grows_and_sent_when_it_is_over() {
    let place = Place::of("agno/3.1.10/tools_multi.db");
    let database = Connection::open(&place.database).unwrap();
    let whole: String = database.query_row("SELECT run_data FROM agno_runs", [], |row| row.get(0)).unwrap();
    let total = tokens(&place.database);
    let mut run: serde_json::Value = serde_json::from_str(&whole).unwrap();
    run["status"] = "RUNNING".into();
    run["metrics"] = serde_json::Value::Null;
    let messages = run["messages"].as_array_mut().unwrap();
    let first = messages.iter().position(|message| message["role"] == "assistant").unwrap();
    messages.truncate(first + 1);
    run["tools"] = serde_json::json!([]);
    let write = |run_data: &str| {
        let sql = "UPDATE agno_runs SET run_data = ?1, status = json_extract(?1, '$.status')";
        database.execute(sql, [run_data]).unwrap();
    };
    write(&run.to_string());
    let so_far = tokens(&place.database);
    assert!(so_far > 0 && so_far < total);
    let receiver = Receiver::start();
    let more = ["--history", "count"];
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
    wait_until("what it spent so far", || usage(&receiver) == so_far);
    assert!(receiver.spans().is_empty(), "it is not over");
    write(&whole);
    wait_until("all it spent", || usage(&receiver) == total);
    wait_until("its trace", || received_spans(&receiver) == expected_spans(&place.database));
    stop(child, 143);
}

#[test]
fn kills_lose_nothing_and_count_nothing_twice() {
    // Far more runs are not needed: what matters is where the kills fall. More of them: docs/soak.md.
    let (kills, seed) =
        (of_environment("AGNO_OTEL_KILLS", 200), of_environment("AGNO_OTEL_SEED", 0x5EED_0001));
    println!("{kills} kills, seed {seed}");
    let mut numbers = Numbers::of(seed);
    let place = Place::of(TEAM);
    let one = tokens(&place.database);
    let asked = AtomicU64::new(seed);
    let receiver =
        Receiver::answering(move |_, _| match Numbers::of(asked.fetch_add(1, Ordering::Relaxed)).below(10) {
            0 => Answer::status(503),
            1 => Answer::none(),
            2 => Answer::taken().after(Duration::from_millis(100)),
            _ => Answer::taken(),
        });
    let more = ["--history", "count"];
    let mut copies = 0;
    for _ in 0..kills {
        let mut child =
            follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
        std::thread::park_timeout(Duration::from_millis(numbers.below(60)));
        if numbers.below(3) == 0 {
            copies += 1;
            // New models now and then, for new series.
            let models = format!("gpt-{}-", copies / 20);
            add_changed_copy(&place.database, copies, |run| run.replace("gpt-mock-", &models));
        }
        // Some live long enough for further releases.
        let most = if numbers.below(10) == 0 { 2_000 } else { 120 };
        std::thread::park_timeout(Duration::from_millis(numbers.below(most)));
        child.0.kill().unwrap();
        child.0.wait().unwrap();
    }
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
    let (truth, expected) = ((i64::from(copies) + 1) * one, expected_spans(&place.database));
    assert_eq!(truth, tokens(&place.database));
    wait_until("all spans", || received_spans(&receiver).is_superset(&expected));
    wait_until("the whole spend", || usage(&receiver) == truth);
    stop(child, 143);
    assert_eq!(received_spans(&receiver), expected);
    assert_eq!(usage(&receiver), truth);
}

/// A receiver whose first answers to metrics are these; all else it takes.
fn answering_metrics(first: Vec<Answer>) -> Receiver {
    let asked = AtomicUsize::new(0);
    Receiver::answering(move |_, path| {
        if path != "/v1/metrics" {
            return Answer::taken();
        }
        first.get(asked.fetch_add(1, Ordering::Relaxed)).cloned().unwrap_or_else(Answer::taken)
    })
}

#[test]
fn a_birth_that_did_not_arrive_is_sent_again() {
    let nowhere = || [Answer::status(503), Answer::status(504), Answer::none()];
    for first in nowhere() {
        for second in nowhere() {
            for is_killed in [false, true] {
                let place = Place::of("agno/3.1.10/tools_multi.db");
                let receiver = answering_metrics(vec![first.clone(), second.clone()]);
                let more = ["--history", "count"];
                let start = || {
                    follow(&receiver.url(), &place.state(), &[&place.database], &more)
                        .spawn()
                        .map(Running)
                        .unwrap()
                };
                let mut child = start();
                wait_until("a first attempt", || !receiver.received_at("metrics").is_empty());
                if is_killed {
                    child.0.kill().unwrap();
                    child.0.wait().unwrap();
                    child = start();
                }
                let truth = tokens(&place.database);
                wait_until("the spend", || usage(&receiver) == truth);
                stop(child, 143);
                assert_eq!(usage(&receiver), truth);
            }
        }
    }
}

#[test]
fn what_arrived_without_an_answer_is_not_taken_back() {
    let place = Place::of("agno/3.1.10/tools_multi.db");
    // It takes the first and says nothing of it, and is away for a while then.
    let first = vec![Answer::taken().after(PATIENCE), Answer::status(503), Answer::status(503)];
    let receiver = answering_metrics(first);
    let more = ["--history", "count"];
    let start =
        || follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
    let truth = tokens(&place.database);
    let mut child = start();
    wait_until("the spend", || usage(&receiver) == truth);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    add_copy(&place.database, 1);
    let child = start();
    wait_until("the spend of both", || usage(&receiver) == 2 * truth);
    stop(child, 143);
    assert_eq!(usage(&receiver), 2 * truth);
}

#[test]
fn a_state_file_belongs_to_one_process_and_to_versions_that_know_it() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let start = || follow(&receiver.url(), &place.state(), &[&place.database], &[]);
    let child = start().spawn().map(Running).unwrap();
    wait_until("a first release", || !receiver.metrics().is_empty());
    run(&mut start()).expect_code(1).expect_words(&["state.db", "in use", "--state"]);
    stop(child, 143);
    Connection::open(place.state()).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    run(&mut start()).expect_code(1).expect_words(&["state.db", "later version", "99"]);
    let shop = place.folder.path().join("shop.db");
    Connection::open(&shop).unwrap().execute_batch("CREATE TABLE customers (id)").unwrap();
    run(&mut follow(&receiver.url(), &shop, &[&place.database], &[]))
        .expect_code(1)
        .expect_words(&["shop.db", "none of agno-otel's"]);
    std::fs::write(&shop, "not a database, but long enough to be taken for the beginning of one").unwrap();
    run(&mut follow(&receiver.url(), &shop, &[&place.database], &[]))
        .expect_code(1)
        .expect_words(&["shop.db"]);
}

#[test]
fn a_day_without_a_collector_costs_nothing_but_a_bounded_file() {
    let place = Place::of(TEAM);
    for copy in 1..200 {
        add_copy(&place.database, copy);
    }
    // Each copy in a session of its own, or all would be one family.
    let own = "PRAGMA foreign_keys = OFF; UPDATE agno_runs SET session_id = 's-' || ((rowid - 1) / 3),
               run_data = replace(run_data, '\"s-team\"', '\"s-' || ((rowid - 1) / 3) || '\"')";
    Connection::open(&place.database).unwrap().execute_batch(own).unwrap();
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let receiver =
        Receiver::answering(
            move |_, _| {
                if down.load(Ordering::Relaxed) { Answer::status(503) } else { Answer::taken() }
            },
        );
    let more = ["--history", "count", "--outbox-limit", "100000"];
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
    let waiting = || -> (i64, i64) {
        let Ok(state) = Connection::open(place.state()) else { return (0, 0) };
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let sql = "SELECT (SELECT coalesce(sum(length(bytes)), 0) FROM outbox), (SELECT count(*) FROM due)";
        state.query_row(sql, [], row).unwrap_or((0, 0))
    };
    wait_until("a full outbox", || waiting().0 >= 100_000);
    wait_until("some attempts", || receiver.received().len() > 3);
    let (bytes, due) = waiting();
    assert!(due > 0, "everything fitted");
    assert!(bytes < 4_000_000, "{bytes}");
    is_down.store(false, Ordering::Relaxed);
    let (truth, expected) = (tokens(&place.database), expected_spans(&place.database));
    wait_until("all spans", || received_spans(&receiver) == expected);
    wait_until("the whole spend", || usage(&receiver) == truth);
    let said = stop(child, 143);
    assert!(said.contains("the outbox is full"), "{said}");
}

#[test]
fn what_is_refused_is_kept_and_the_rest_goes_on() {
    let place = Place::of(TEAM);
    let receiver =
        Receiver::answering(
            |_, path| {
                if path == "/v1/traces" { Answer::status(400) } else { Answer::taken() }
            },
        );
    let more = ["--history", "count"];
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
    let truth = tokens(&place.database);
    wait_until("the whole spend", || usage(&receiver) == truth);
    wait_until("dropped spans counted", || spend(&receiver, "agno.bridge.dropped") > 0);
    let said = stop(child, 143);
    assert!(said.contains("dead letter"), "{said}");
    let state = Connection::open(place.state()).unwrap();
    let kept: i64 = state.query_row("SELECT sum(items) FROM dead_letters", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, i64::try_from(expected_spans(&place.database).len()).unwrap());
}

#[test]
fn lines_that_are_added_to_a_file_are_counted_as_they_come() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("runs.jsonl");
    let records = crate::support::records(&[&crate::support::fixtures().join(TEAM)]).0;
    let lines: Vec<String> = records
        .iter()
        .map(|record| {
            let run: serde_json::Value = serde_json::from_slice(&record.json).unwrap();
            format!("{run}\n")
        })
        .collect();
    std::fs::write(&path, &lines[0]).unwrap();
    let receiver = Receiver::start();
    let state = folder.path().join("state.db");
    let more = ["--history", "count"];
    let child = follow(&receiver.url(), &state, &[&path], &more).spawn().map(Running).unwrap();
    wait_until("a first release", || !receiver.metrics().is_empty());
    for line in &lines[1..] {
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    }
    let truth: i64 = gather_records(&records, agno_otel::framework::Oddities::default())
        .tokens()
        .total()
        .try_into()
        .unwrap();
    wait_until("the whole spend", || usage(&receiver) == truth);
    stop(child, 143);
}

/// `send` with a state file.
pub(crate) fn send(url: &str, state: &Path, sources: &[&Path]) -> Command {
    let mut command = agno_otel(["send", "--json", "--give-up-after", "1", "--endpoint", url, "--state"]);
    command.arg(state).args(sources);
    command
}

#[test]
fn a_file_and_its_database_sent_again_and_again_count_once() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let file = crate::support::fixtures().join("agno/3.1.10/team_run.run.json");
    let (truth, expected) = (tokens(&place.database), expected_spans(&place.database));
    let mut known = Vec::new();
    for sources in [&[place.database.as_path()] as &[&Path], &[&file], &[&file, &place.database]] {
        let summary = run(&mut send(&receiver.url(), &place.state(), sources)).expect_code(0).summary();
        known.push(summary["records_known"].as_u64().unwrap());
        assert_eq!(usage(&receiver), truth);
        assert_eq!(received_spans(&receiver), expected);
    }
    assert_eq!(known, [0, 0, 4]);
    assert_eq!(receiver.spans().len(), expected.len(), "spans were sent again");
    // A run that comes later is counted, by `run` as well, which goes on where `send` ended.
    add_copy(&place.database, 1);
    run(&mut send(&receiver.url(), &place.state(), &[&place.database])).expect_code(0);
    assert_eq!(usage(&receiver), 2 * truth);
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &[]).spawn().map(Running).unwrap();
    add_copy(&place.database, 2);
    wait_until("a third copy", || usage(&receiver) == 3 * truth);
    stop(child, 143);
}

#[test]
fn what_cannot_be_delivered_waits_in_the_state_file_and_status_says_so() {
    let place = Place::of(TEAM);
    let status = |more: &[&str]| {
        let mut command = agno_otel(["status", "--json", "--state"]);
        run(command.arg(place.state()).args(more))
    };
    status(&[]).expect_code(1).expect_words(&["state.db", "there is no state file"]);
    let down = Receiver::answering(|_, _| Answer::status(503));
    run(&mut send(&down.url(), &place.state(), &[&place.database])).expect_code(4);
    let waiting = status(&[]).expect_code(0).summary();
    assert_eq!(waiting["runs"], 3);
    assert!(waiting["outbox"]["requests"].as_u64().unwrap() > 0, "{waiting}");
    let up = Receiver::start();
    run(&mut send(&up.url(), &place.state(), &[&place.database])).expect_code(0);
    assert_eq!(usage(&up), tokens(&place.database));
    assert_eq!(received_spans(&up), expected_spans(&place.database));
    assert_eq!(status(&[]).expect_code(0).summary()["outbox"]["requests"], 0);
}

#[test]
fn dead_letters_can_be_listed_tried_again_and_dropped() {
    let place = Place::of(TEAM);
    let letters = |act: &str| {
        let mut command = agno_otel(["dead-letters"]);
        run(command.arg(act).arg("--state").arg(place.state())).expect_code(0).stdout
    };
    let refusing = |path: &'static str| {
        Receiver::answering(move |_, asked| if asked == path { Answer::status(400) } else { Answer::taken() })
    };
    let receiver = refusing("/v1/traces");
    run(&mut send(&receiver.url(), &place.state(), &[&place.database])).expect_code(5);
    let listed = letters("list");
    assert!(listed.contains("traces") && listed.contains("400"), "{listed}");
    assert!(letters("retry").starts_with("1 put back"));
    assert_eq!(letters("list"), "none\n");
    let receiver = Receiver::start();
    run(&mut send(&receiver.url(), &place.state(), &[&place.database])).expect_code(0);
    assert_eq!(received_spans(&receiver), expected_spans(&place.database));
    assert!(letters("drop").starts_with("0 forgotten"));
}

#[test]
fn standard_input_cannot_be_followed() {
    let place = Place::of(TEAM);
    let input = Path::new("-");
    for mut command in [
        follow("http://127.0.0.1:9", &place.state(), &[input], &[]),
        send("http://127.0.0.1:9", &place.state(), &[input]),
    ] {
        run(&mut command).expect_code(2).expect_words(&["standard input", "followed"]);
    }
}

#[test]
fn a_server_that_is_away_is_tried_again_and_its_password_is_never_said() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let url = Path::new("postgres://reader:hunter2@127.0.0.1:9/agno");
    // What else is followed does not wait for it.
    let sources = [url, place.database.as_path()];
    let child = follow(&receiver.url(), &place.state(), &sources, &["--history", "count"])
        .spawn()
        .map(Running)
        .unwrap();
    wait_until("the spend of the other", || usage(&receiver) == tokens(&place.database));
    let said = stop(child, 143);
    assert_eq!(said.matches("refused").count(), 1, "{said}");
    assert!(said.contains("127.0.0.1:9/agno") && said.contains("trying again"), "{said}");
    let state = std::fs::read(place.state()).unwrap();
    assert!(!said.contains("hunter2") && !state.windows(7).any(|seven| seven == b"hunter2"), "{said}");
    run(&mut send(&receiver.url(), &place.state(), &[url])).expect_code(3).expect_words(&["refused"]);
}

/// The last value of a counter's series with this attribute.
fn counted(receiver: &Receiver, metric: &str, (name, value): (&str, &str)) -> i64 {
    let of_series = |((own, attributes), points): (&Identity, &Vec<Point>)| {
        let is_it = own == metric && attributes.get(name).is_some_and(|own| own == value);
        is_it.then(|| number(points.last().unwrap()))
    };
    stored(&receiver.metrics()).iter().filter_map(of_series).sum()
}

/// Follows until this many tokens were counted and everything due was.
#[track_caller]
fn counts(place: &Place, receiver: &Receiver, more: &[&str], tokens: i64) {
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], more).spawn().map(Running).unwrap();
    let before = receiver.metrics().len();
    wait_until("three releases", || receiver.metrics().len() >= before + 3);
    wait_until("what was spent", || usage(receiver) == tokens);
    stop(child, 143);
    assert_eq!(usage(receiver), tokens);
}

#[test]
fn a_database_that_comes_later_is_no_history() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let truth = tokens(&place.database);
    let away = place.folder.path().join("away.db");
    std::fs::rename(&place.database, &away).unwrap();
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &[]).spawn().map(Running).unwrap();
    wait_until("a first release", || !receiver.metrics().is_empty());
    std::fs::rename(&away, &place.database).unwrap();
    wait_until("its spend", || usage(&receiver) == truth);
    // Gone, and back.
    std::fs::rename(&place.database, &away).unwrap();
    let before = receiver.metrics().len();
    wait_until("a release without it", || receiver.metrics().len() >= before + 2);
    std::fs::rename(&away, &place.database).unwrap();
    add_copy(&place.database, 1);
    wait_until("what came when it was back", || usage(&receiver) == 2 * truth);
    let said = stop(child, 143);
    assert!(said.contains("No such file") && said.contains("can be read again"), "{said}");
}

#[test]
fn what_was_noted_and_cannot_be_read_now_stays_due() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let truth = tokens(&place.database);
    // A look notes what is new, and the outbox takes nothing: it is not counted.
    let more = ["--history", "count", "--outbox-limit", "0"];
    let start = |more: &[&str]| {
        follow(&receiver.url(), &place.state(), &[&place.database], more).spawn().map(Running).unwrap()
    };
    let child = start(&more);
    wait_until("two releases", || receiver.metrics().len() >= 2);
    stop(child, 143);
    assert_eq!(usage(&receiver), 0);
    let away = place.folder.path().join("away.db");
    std::fs::rename(&place.database, &away).unwrap();
    let child = start(&[]);
    let before = receiver.metrics().len();
    wait_until("three releases", || receiver.metrics().len() >= before + 3);
    std::fs::rename(&away, &place.database).unwrap();
    wait_until("its spend", || usage(&receiver) == truth);
    stop(child, 143);
}

#[test]
fn a_run_is_counted_under_the_status_it_ended_with() {
    let place = Place::of("agno/3.1.10/tools_multi.db");
    let database = Connection::open(&place.database).unwrap();
    let set = |from: &str, to: &str| {
        let (from, to) = (format!("\"{from}\""), format!("\"{to}\""));
        let sql = "UPDATE agno_runs SET run_data = replace(run_data, ?1, ?2)";
        assert_eq!(database.execute(sql, [from, to]).unwrap(), 1);
    };
    set("COMPLETED", "RUNNING");
    let receiver = Receiver::start();
    let more = ["--history", "count"];
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
    let truth = tokens(&place.database);
    wait_until("its spend", || usage(&receiver) == truth);
    let of = |status| counted(&receiver, "agno.runs", ("agno.run.status", status));
    assert_eq!((of("RUNNING"), of("COMPLETED")), (0, 0));
    set("RUNNING", "COMPLETED");
    wait_until("its end", || of("COMPLETED") == 1);
    stop(child, 143);
    assert_eq!((of("RUNNING"), usage(&receiver)), (0, truth));
}

#[test]
fn a_row_that_takes_anothers_number_and_length_is_another_row() {
    let (place, receiver) = (Place::of("agno/3.1.10/tools_multi.db"), Receiver::start());
    let one = tokens(&place.database);
    counts(&place, &receiver, &["--history", "count"], one);
    let database = Connection::open(&place.database).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let (run_id, run_data) = database.query_row("SELECT run_id, run_data FROM agno_runs", [], row).unwrap();
    insert(&database, &run_id, &run_data, 1).unwrap();
    database.execute("DELETE FROM agno_runs WHERE run_id = ?1", [&run_id]).unwrap();
    database.execute("UPDATE agno_runs SET rowid = 1", []).unwrap();
    counts(&place, &receiver, &[], 2 * one);
}

#[test]
fn a_row_that_is_emptied_stands_in_nobodys_way() {
    let (place, receiver) = (Place::of("agno/2.5.17/history.db"), Receiver::start());
    let truth = tokens(&place.database);
    counts(&place, &receiver, &["--history", "count"], truth);
    let database = Connection::open(&place.database).unwrap();
    let runs: String = database.query_row("SELECT runs FROM agno_sessions", [], |row| row.get(0)).unwrap();
    database.execute("UPDATE agno_sessions SET runs = NULL", []).unwrap();
    counts(&place, &receiver, &[], truth);
    database.execute("UPDATE agno_sessions SET runs = ?1", [with_own_ids(&runs, 1)]).unwrap();
    counts(&place, &receiver, &[], 2 * truth);
}

#[test]
fn a_fork_whose_origin_was_deleted_is_not_counted_again() {
    let (place, receiver) = (Place::of("generated/3.1.10/fork_copy_auxiliary.db"), Receiver::start());
    let truth = tokens(&place.database);
    counts(&place, &receiver, &["--history", "count"], truth);
    let database = Connection::open(&place.database).unwrap();
    let fork =
        "SELECT session_id FROM agno_runs WHERE run_data LIKE '%\"forked_from_session_id\": \"%' LIMIT 1";
    let fork: String = database.query_row(fork, [], |row| row.get(0)).unwrap();
    let (origins, kept): (i64, i64) = database
        .query_row("SELECT sum(session_id <> ?1), sum(session_id = ?1) FROM agno_runs", [&fork], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert!(origins > 0 && kept > 0);
    database.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    database.execute("DELETE FROM agno_runs WHERE session_id <> ?1", [&fork]).unwrap();
    // Something of the fork is written again, and so all of it is read again.
    let again =
        "UPDATE agno_runs SET run_data = run_data || ' ' WHERE rowid = (SELECT max(rowid) FROM agno_runs)";
    database.execute(again, []).unwrap();
    counts(&place, &receiver, &[], truth);
}

#[test]
fn a_fork_that_was_history_before_its_origin_came_corrects_nothing() {
    let fixture = "generated/3.1.10/fork_copy_auxiliary.db";
    let (place, receiver, origin) = (Place::of(fixture), Receiver::start(), Place::of(fixture));
    let of_fork = "run_data LIKE '%\"forked_from_session_id\": \"%'";
    let delete = |place: &Place, what: &str| {
        let database = Connection::open(&place.database).unwrap();
        database.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        assert!(database.execute(&format!("DELETE FROM agno_runs WHERE {what}"), []).unwrap() > 0);
        database
    };
    drop(delete(&origin, of_fork));
    let database = delete(&place, &format!("NOT {of_fork}"));
    assert!(tokens(&place.database) > 0);
    counts(&place, &receiver, &[], 0);
    database.execute("ATTACH ?1 AS origin", [origin.database.to_str()]).unwrap();
    database.execute("INSERT INTO agno_runs SELECT * FROM origin.agno_runs", []).unwrap();
    database.execute_batch("DETACH origin").unwrap();
    counts(&place, &receiver, &[], tokens(&origin.database));
    assert_eq!(spend(&receiver, "agno.token.corrections"), 0);
}

#[test]
fn the_state_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    run(&mut send(&receiver.url(), &place.state(), &[&place.database])).expect_code(0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.state()), mode(place.state().parent().unwrap())), (0o600, 0o700));
    let link = place.folder.path().join("link.db");
    std::os::unix::fs::symlink(place.state(), &link).unwrap();
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &[]).spawn().map(Running).unwrap();
    let before = receiver.metrics().len();
    wait_until("a release", || receiver.metrics().len() > before);
    run(&mut follow(&receiver.url(), &link, &[&place.database], &[]))
        .expect_code(1)
        .expect_words(&["in use"]);
    stop(child, 143);
}

#[test]
fn a_send_that_nobody_answered_is_settled_by_the_next_that_is() {
    let place = Place::of("agno/3.1.10/tools_multi.db");
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let receiver = Receiver::answering(move |_, path| {
        if path == "/v1/metrics" && down.load(Ordering::Relaxed) { Answer::none() } else { Answer::taken() }
    });
    for _ in 0..2 {
        run(&mut send(&receiver.url(), &place.state(), &[&place.database])).expect_code(4);
    }
    is_down.store(false, Ordering::Relaxed);
    run(&mut send(&receiver.url(), &place.state(), &[&place.database])).expect_code(0);
    assert_eq!(usage(&receiver), tokens(&place.database));
}

#[test]
fn at_the_end_of_a_send_every_session_is_recorded_however_many_there_are() {
    const SESSIONS: u64 = 1_001;
    let (folder, receiver) = (TempDir::new().unwrap(), Receiver::start());
    let run_of = |number| {
        format!(
            r#"{{"run_id": "r{number}", "agent_id": "a", "session_id": "s{number}", "status": "COMPLETED", "messages":
            [{{"role": "assistant", "id": "m{number}", "metrics": {{"input_tokens": 1}}}}]}}"#
        )
    };
    let runs: Vec<String> = (0..SESSIONS).map(|number| run_of(number).replace('\n', "")).collect();
    let file = folder.path().join("runs.jsonl");
    std::fs::write(&file, runs.join("\n")).unwrap();
    run(&mut send(&receiver.url(), &folder.path().join("state.db"), &[&file])).expect_code(0);
    let points = points(&receiver.metrics());
    let mut of_sessions = points.iter().filter(|point| point.series.0 == "agno.session.tokens");
    let Some(Value::Histogram { count, .. }) = of_sessions.next_back().map(|point| &point.value) else {
        panic!("no histogram")
    };
    assert_eq!(*count, SESSIONS);
}

#[test]
fn a_run_can_be_observed() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let more = ["--history", "count", "--observe"];
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
    wait_until("its spans", || received_spans(&receiver).is_superset(&expected_spans(&place.database)));
    stop(child, 143);
    let services: BTreeSet<String> = receiver
        .logs()
        .into_iter()
        .flat_map(|request| request.resource_logs)
        .flat_map(|logs| logs.resource.unwrap().attributes)
        .filter(|attribute| attribute.key == "service.name")
        .map(|attribute| format!("{:?}", attribute.value.unwrap().value.unwrap()))
        .collect();
    assert_eq!(services.into_iter().collect::<Vec<_>>(), ["StringValue(\"agno-otel\")"]);
}

/// A release may go in many requests. What becomes of one says nothing of the others.
#[test]
fn each_request_of_a_release_is_settled_by_itself() {
    let cases = [
        ("refused", Answer::status(400)),
        ("surely not taken", Answer::status(503)),
        ("perhaps taken", Answer::none()),
    ];
    for (case, answer) in cases {
        let (place, is_well) = (Place::of(TEAM), Arc::new(AtomicBool::new(false)));
        let receiver = {
            let is_well = Arc::clone(&is_well);
            Receiver::judging(move |_, path, body| {
                if path != "/v1/metrics" || is_well.load(Ordering::Relaxed) {
                    return Answer::taken();
                }
                let message = ExportMetricsServiceRequest::decode(body).unwrap();
                let metrics: BTreeSet<String> =
                    points(&[message]).into_iter().map(|point| point.series.0).collect();
                match metrics.len() {
                    1 if metrics.contains("agno.token.usage") => answer.clone(),
                    1 => Answer::taken(),
                    _ => Answer::status(413),
                }
            })
        };
        let send = || run(&mut send(&receiver.url(), &place.state(), &[&place.database]));
        send();
        let taken = (usage(&receiver), spend(&receiver, "agno.runs"));
        assert!(taken.0 == 0 && taken.1 > 0, "{case}: {taken:?}");
        is_well.store(true, Ordering::Relaxed);
        for copy in 1..3 {
            add_copy(&place.database, copy);
            send().expect_code(0);
            let runs = i64::try_from(gather(&[&place.database]).forest.runs.len()).unwrap();
            let counted = (usage(&receiver), spend(&receiver, "agno.runs"));
            assert_eq!(counted, (tokens(&place.database), runs), "{case}, copy {copy}");
        }
    }
}

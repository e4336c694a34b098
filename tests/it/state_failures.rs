//! The state file under failure: lost, restored from a copy, torn, on a full disk, on one that fails. It is refused, or its
//! numbers are right; over all instances never more is counted than was spent.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tempfile::TempDir;

use crate::following::{
    Numbers, Place, Running, TEAM, add_changed_copy, add_copy, expected_spans, follow, of_environment,
    received_spans, send, spend_of, stop, tokens, wait_until,
};
use crate::support::program::run;
use crate::support::receiver::Receiver;

fn instance_of(request: &ExportMetricsServiceRequest) -> String {
    let attributes = &request.resource_metrics[0].resource.as_ref().unwrap().attributes;
    let instance = attributes.iter().find(|attribute| attribute.key == "service.instance.id").unwrap();
    let Some(Value::StringValue(instance)) = &instance.value.as_ref().unwrap().value else {
        panic!("no text")
    };
    instance.clone()
}

/// What each instance spent, in the order in which they came. Fails where a counter falls or is not born at zero.
fn spends_of(requests: &[ExportMetricsServiceRequest]) -> Vec<i64> {
    let mut order = Vec::new();
    let mut instances = BTreeMap::<String, Vec<ExportMetricsServiceRequest>>::new();
    for request in requests {
        let instance = instance_of(request);
        if !order.contains(&instance) {
            order.push(instance.clone());
        }
        instances.entry(instance).or_default().push(request.clone());
    }
    order.iter().map(|instance| spend_of(&instances[instance], "agno.token.usage")).collect()
}

pub(crate) fn spends(receiver: &Receiver) -> Vec<i64> {
    spends_of(&receiver.metrics())
}

/// A run as if it and all in it had begun at a time.
pub(crate) fn begun_at(run: &str, at_s: u64) -> String {
    fn set(value: &mut serde_json::Value, at_s: u64) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    if name == "created_at" { *value = at_s.into() } else { set(value, at_s) }
                }
            }
            serde_json::Value::Array(values) => values.iter_mut().for_each(|value| set(value, at_s)),
            _ => {}
        }
    }
    let mut run = serde_json::from_str(run).unwrap();
    set(&mut run, at_s);
    run.to_string()
}

pub(crate) fn now_s() -> u64 {
    agno_otel::clock::Clock::System.now_ns() / 1_000_000_000
}

pub(crate) fn start(place: &Place, receiver: &Receiver, more: &[&str]) -> Running {
    follow(&receiver.url(), &place.state(), &[&place.database], more).spawn().map(Running).unwrap()
}

fn kill(mut child: Running) {
    child.0.kill().unwrap();
    child.0.wait().unwrap();
}

pub(crate) fn beside(path: &Path, end: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Copies a state file with its log, and not what is marked beside it.
fn copy_state(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(beside(to, end)).ok();
        if beside(from, end).exists() && end != "-shm" {
            std::fs::copy(beside(from, end), beside(to, end)).unwrap();
        }
    }
}

#[test]
fn a_restored_copy_of_the_state_file_counts_nothing_twice_and_lets_no_counter_fall() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let one = tokens(&place.database);
    let more = ["--history", "count"];
    let child = start(&place, &receiver, &more);
    wait_until("the spend", || spends(&receiver) == [one]);
    stop(child, 143);
    let backup = place.folder.path().join("backup.db");
    copy_state(&place.state(), &backup);
    // What comes after the copy is counted, and the copy knows nothing of it.
    let child = start(&place, &receiver, &more);
    for copy in 1..3 {
        add_copy(&place.database, copy);
        wait_until("more spend", || spends(&receiver) == [i64::from(copy + 1) * one]);
    }
    kill(child);
    copy_state(&backup, &place.state());
    let child = start(&place, &receiver, &more);
    wait_until("another instance", || spends(&receiver).len() == 2);
    add_copy(&place.database, 3);
    wait_until("the spend of both", || spends(&receiver) == [3 * one, one]);
    wait_until("all spans", || received_spans(&receiver) == expected_spans(&place.database));
    let said = stop(child, 143);
    assert!(said.contains("older than what was sent") && said.contains("anew"), "{said}");
    // It was told once; from now on it is the newest.
    let child = start(&place, &receiver, &more);
    add_copy(&place.database, 4);
    wait_until("more of the second", || spends(&receiver) == [3 * one, 2 * one]);
    wait_until("all spans", || received_spans(&receiver) == expected_spans(&place.database));
    let said = stop(child, 143);
    assert!(!said.contains("older"), "{said}");
}

#[test]
fn a_log_that_was_deleted_after_a_kill_counts_nothing_twice() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let one = tokens(&place.database);
    let child = start(&place, &receiver, &["--history", "count"]);
    wait_until("the spend", || spends(&receiver) == [one]);
    stop(child, 143);
    let child = start(&place, &receiver, &[]);
    add_copy(&place.database, 1);
    wait_until("more spend", || spends(&receiver) == [2 * one]);
    kill(child);
    std::fs::remove_file(beside(&place.state(), "-wal")).unwrap();
    // One begins while we are away: later than a minute after the last release, so it is in none.
    add_changed_copy(&place.database, 2, |run| begun_at(run, now_s() + 100));
    let child = start(&place, &receiver, &[]);
    wait_until("the spend of both", || spends(&receiver) == [2 * one, one]);
    wait_until("all spans", || received_spans(&receiver) == expected_spans(&place.database));
    stop(child, 143);
    assert_eq!(spends(&receiver), [2 * one, one]);
}

#[test]
fn a_lost_state_file_counts_nothing_twice_where_history_is_counted() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let one = tokens(&place.database);
    let more = ["--history", "count"];
    let child = start(&place, &receiver, &more);
    wait_until("the spend", || spends(&receiver) == [one]);
    kill(child);
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(beside(&place.state(), end)).unwrap();
    }
    let child = start(&place, &receiver, &more);
    let before = receiver.metrics().len();
    wait_until("some releases", || receiver.metrics().len() > before + 2);
    assert_eq!(spends(&receiver), [one, 0]);
    add_copy(&place.database, 1);
    wait_until("what is new", || spends(&receiver) == [one, one]);
    stop(child, 143);
}

/// Damages a file in one of the ways disks and copies do.
fn damage(path: &Path, numbers: &mut Numbers) -> String {
    const PAGE: u64 = 4096;
    let mut bytes = std::fs::read(path).unwrap();
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let length = bytes.len() as u64;
    let at = |place: u64| usize::try_from(place).unwrap();
    let what = match numbers.below(4) {
        0 => {
            let kept = numbers.below(length);
            bytes.truncate(at(kept));
            format!("cut to {kept} of {length}")
        }
        1 => {
            let page = numbers.below(length.div_ceil(PAGE));
            let end = at(((page + 1) * PAGE).min(length));
            bytes[at(page * PAGE)..end].fill(0);
            format!("page {page} of {length} bytes zeroed")
        }
        2 => {
            // Rows can be gone without a trace.
            let page = numbers.below(length.div_ceil(PAGE));
            let header = if page == 0 { 100 } else { page * PAGE };
            let place = at(header + numbers.below(8)).min(bytes.len() - 1);
            bytes[place] ^= 1 << numbers.below(8);
            format!("a bit of byte {place} flipped")
        }
        _ => {
            let page = numbers.below(length.div_ceil(PAGE));
            let other = numbers.below(length.div_ceil(PAGE));
            let whole = |page: u64| at(page * PAGE)..at(((page + 1) * PAGE).min(length));
            let from = bytes[whole(other)].to_vec();
            for (to, from) in bytes[whole(page)].iter_mut().zip(from) {
                *to = from;
            }
            format!("page {page} of {length} bytes as page {other}")
        }
    };
    std::fs::write(path, bytes).unwrap();
    what
}

#[test]
fn a_torn_state_file_is_refused_or_its_numbers_are_right() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    for copy in 1..20 {
        add_copy(&place.database, copy);
    }
    let child = start(&place, &receiver, &["--history", "count"]);
    wait_until("the spend", || spends(&receiver) == [tokens(&place.database)]);
    stop(child, 143);
    let child = start(&place, &receiver, &[]);
    for copy in 20..25 {
        add_copy(&place.database, copy);
    }
    wait_until("the spend", || spends(&receiver) == [tokens(&place.database)]);
    kill(child);
    // As a kill left it; the sender comes back with two more copies to count.
    let before = receiver.metrics();
    for copy in 25..27 {
        add_changed_copy(&place.database, copy, |run| begun_at(run, now_s() + 100));
    }
    let (truth, mut refused, mut exact, mut short) = (tokens(&place.database), 0, 0, 0);
    // More of them once they are changed: AGNO_OTEL_TEARS=1000.
    for seed in 0..of_environment("AGNO_OTEL_TEARS", 60) {
        let mut numbers = Numbers::of(seed);
        let folder = TempDir::new().unwrap();
        let state = folder.path().join("state.db");
        copy_state(&place.state(), &state);
        std::fs::copy(beside(&place.state(), ".lock"), beside(&state, ".lock")).unwrap();
        let end = if numbers.below(2) == 0 { "" } else { "-wal" };
        let what = damage(&beside(&state, end), &mut numbers);
        let receiver = Receiver::start();
        let ended = run(&mut send(&receiver.url(), &state, &[&place.database]));
        let mut requests = before.clone();
        requests.extend(receiver.metrics());
        let spends = spends_of(&requests);
        let spent: i64 = spends.iter().sum();
        assert!(spent <= truth, "{seed}: {end} {what}: {spends:?} of {truth}: {}", ended.stderr);
        match ended.code {
            0 if spent == truth => exact += 1,
            0 => {
                assert!(ended.stderr.contains("anew"), "{seed}: {end} {what}: {}", ended.stderr);
                short += 1;
            }
            _ => {
                let ended = ended.expect_code(1).expect_words(&["state.db"]);
                assert!(ended.stderr.contains("restore it"), "{seed}: {end} {what}: {}", ended.stderr);
                refused += 1;
            }
        }
    }
    println!("{refused} refused, {exact} exact, {short} short and said to be");
    assert!(refused > 0 && exact > 0, "{refused} {exact} {short}");
}

/// A library that makes calls on the state file fail, for the real binary to be started with.
#[cfg(target_os = "linux")]
fn fault_library(folder: &Path) -> std::path::PathBuf {
    let (source, library) = (folder.join("fault.c"), folder.join("fault.so"));
    std::fs::write(&source, include_str!("support/fault.c")).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status();
    assert!(compiled.unwrap().success(), "cc is needed to build the tests, as it is to build SQLite");
    library
}

/// Runs while calls on the state file fail, one in so many; ends with the process. What it says.
#[cfg(target_os = "linux")]
fn fails(
    place: &Place,
    receiver: &Receiver,
    library: &Path,
    (call, errno, after): (&str, &str, u64),
) -> String {
    let mut command = follow(&receiver.url(), &place.state(), &[&place.database], &["--history", "count"]);
    command.env("LD_PRELOAD", library).env("FAULT_CALL", call).env("FAULT_ERRNO", errno);
    command.env("FAULT_PATH", "/state/state.db").env("FAULT_AFTER", after.to_string());
    let mut child = command.spawn().map(Running).unwrap();
    let started = tokio::time::Instant::now();
    while child.0.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(20) {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let mut said = String::new();
    let ended = child.0.try_wait().unwrap();
    child.0.kill().ok();
    std::io::Read::read_to_string(child.0.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(ended.and_then(|ended| ended.code()), Some(1), "{call} {errno} {after}: {said}");
    assert!(said.contains("state.db") && said.contains("start again"), "{call} {errno} {after}: {said}");
    said
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_or_fails_ends_the_process_and_costs_no_token() {
    const ENOSPC: &str = "28";
    const EIO: &str = "5";
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let library = fault_library(place.folder.path());
    let mut copies = 0;
    for (call, errno) in [("write", ENOSPC), ("write", EIO), ("sync", EIO)] {
        for after in [0, 1, 2, 5, 9, 17, 33] {
            copies += 1;
            add_copy(&place.database, copies);
            let said = fails(&place, &receiver, &library, (call, errno, after));
            assert!(errno != ENOSPC || said.contains("full"), "{said}");
        }
    }
    let truth = tokens(&place.database);
    let child = start(&place, &receiver, &["--history", "count"]);
    wait_until("the whole spend", || spends(&receiver) == [truth]);
    wait_until("all spans", || received_spans(&receiver) == expected_spans(&place.database));
    stop(child, 143);
    assert_eq!(spends(&receiver), [truth]);
}

#[test]
fn a_limit_of_file_sizes_ends_the_process_and_costs_no_token() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let child = start(&place, &receiver, &["--history", "count"]);
    wait_until("the spend", || spends(&receiver) == [tokens(&place.database)]);
    kill(child);
    for copy in 1..60 {
        add_copy(&place.database, copy);
    }
    let plain = follow(&receiver.url(), &place.state(), &[&place.database], &[]);
    let mut limited = Command::new("sh");
    // In units of 512 bytes.
    limited.args(["-c", "ulimit -f 600; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    run(&mut limited).expect_code(1).expect_words(&["state.db", "start again"]);
    let truth = tokens(&place.database);
    let child = start(&place, &receiver, &[]);
    wait_until("the whole spend", || spends(&receiver) == [truth]);
    wait_until("all spans", || received_spans(&receiver) == expected_spans(&place.database));
    stop(child, 143);
}

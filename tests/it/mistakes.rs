//! What people get wrong is said in words that lead on: the thing, what is the matter, what to do.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::support::fixtures;
use crate::support::program::{Ended, agno_otel, run, send_to};
use crate::support::receiver::{Answer, Receiver};

fn database() -> PathBuf {
    fixtures().join("agno/3.1.10/team_run.db")
}

/// Words of libraries and of Rust that no user should have to read.
const JARGON: [&str; 9] = [
    "Error {",
    "Some(",
    "Other(",
    "Os {",
    "Error code",
    "InvalidContentType",
    "UnknownIssuer",
    "anyhow",
    "panicked",
];

#[track_caller]
fn says(ended: Ended, code: i32, words: &[&str]) {
    let ended = ended.expect_code(code).expect_words(words);
    for jargon in JARGON {
        assert!(!ended.stderr.contains(jargon), "\"{jargon}\" in: {}", ended.stderr);
    }
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("agno-otel: "), "{last}");
}

#[test]
fn a_state_file_that_is_not_there_is_not_made_by_looking_for_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let state = folder.path().join("state.db");
    let commands = [
        &["status"] as &[&str],
        &["dead-letters", "list"],
        &["dead-letters", "retry"],
        &["dead-letters", "drop"],
    ];
    for command in commands {
        let ended = run(agno_otel(command).arg("--state").arg(&state));
        says(ended, 1, &["there is no state file", "state.db", "agno-otel run", "--state"]);
        assert!(!state.exists(), "{command:?} made one");
    }
}

#[test]
fn a_cause_is_said_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let damaged = folder.path().join("damaged.db");
    let whole = std::fs::read(database()).unwrap();
    std::fs::write(&damaged, &whole[..8_192]).unwrap();
    let ended = run(agno_otel(["show"]).arg(&damaged));
    assert_eq!(ended.stderr.matches("malformed").count(), 1, "{}", ended.stderr);
    says(ended, 3, &["damaged.db", "restore it"]);
}

#[test]
fn an_endpoint_that_takes_nothing_is_told_with_what_may_help() {
    for status in [401, 403] {
        let receiver = Receiver::answering(move |_, _| Answer::status(status));
        says(run(&mut send_to(&receiver.url(), &[database()])), 4, &[&status.to_string(), "--header"]);
        let over_grpc = Receiver::answering(|_, _| Answer::grpc(tonic::Status::unauthenticated("who?")));
        let ended = run(send_to(&over_grpc.url(), &[database()]).args(["--protocol", "grpc"]));
        says(ended, 4, &["Unauthenticated: who?", "--header"]);
    }
    let receiver = Receiver::start();
    let send = |url: &str| run(send_to(url, &[database()]).args(["--give-up-after", "0"]));
    let by_tls = receiver.url().replace("http:", "https:");
    says(send(&by_tls), 4, &["does not speak TLS", "http instead of https"]);
    // Taken and given back: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    says(send(&format!("http://127.0.0.1:{port}")), 4, &["nobody listens", "Collector"]);
}

#[test]
fn what_cannot_be_written_or_listened_at_says_why() {
    let folder = tempfile::TempDir::new().unwrap();
    let away = folder.path().join("away");
    for command in [&["export", "dashboards"] as &[&str], &["man", "--to"]] {
        says(run(agno_otel(command).arg(&away)), 1, &["no folder", "away", "make it first"]);
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let mut listen = agno_otel(["run", "--endpoint", "http://127.0.0.1:9", "--listen", &at, "--state"]);
    says(run(listen.arg(folder.path().join("state.db"))), 1, &[&at, "another program", "--listen"]);
    says(
        run(agno_otel(["send", "--to"])
            .arg(format!("otlp-json:{}", away.join("x").display()))
            .arg(database())),
        1,
        &["away/x"],
    );
}

#[test]
fn lengths_of_time_are_asked_for_in_words() {
    for (command, flag) in [("send", "--timeout"), ("run", "--timeout"), ("run", "--metrics-every")] {
        for wrong in ["0", "soon", "1.5"] {
            let ended = run(&mut agno_otel([command, flag, wrong, "a.db"]));
            ended.expect_code(2).expect_words(&[flag, "1 or more"]);
        }
    }
}

#[test]
fn a_script_is_never_told_what_comes_next() {
    let receiver = Receiver::start();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo.db");
    for command in [&["plan"] as &[&str], &["send", "--endpoint", &receiver.url()]] {
        assert_eq!(run(agno_otel(command).arg(&demo)).expect_code(0).stderr, "");
    }
    let ended = run(&mut send_to("http://127.0.0.1:9", &[demo])).expect_code(4);
    assert!(!ended.stderr.contains("next:"), "{}", ended.stderr);
}

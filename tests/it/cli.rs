//! The command line as people and scripts meet it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::fixtures;
use crate::support::program::{agno_otel, ended_of, run, run_with_input, send_nowhere};
use crate::support::receiver::Receiver;

const COMMANDS: [&str; 4] = ["send", "show", "export", "demo"];

fn team() -> String {
    fixtures().join("agno/3.1.10/team_run.db").display().to_string()
}

#[test]
fn help_and_version_are_no_errors_and_name_every_command() {
    let help = run(&mut agno_otel(["--help"])).expect_code(0);
    for command in COMMANDS {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command} in {}", help.stdout);
        let own = run(&mut agno_otel([command, "--help"])).expect_code(0);
        assert!(own.stdout.contains("Usage: agno-otel"), "{}", own.stdout);
        assert_eq!(own.stderr, "");
    }
    let version = run(&mut agno_otel(["-V"])).expect_code(0);
    assert_eq!(version.stdout.trim(), concat!("agno-otel ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let cases: [(&[&str], &str); 9] = [
        (&[], "Usage"),
        (&["sned"], "send"),
        (&["send"], "PATH"),
        (&["send", "--no-such-flag", "a.db"], "--no-such-flag"),
        (&["send", "--to", "parquet:out", "a.db"], "otlp-json:FILE"),
        (&["send", "--to", "otlp-json:", "a.db"], "otlp-json:FILE"),
        (&["send", "--to", "otlp-json:out", "--endpoint", "http://h", "a.db"], "--endpoint"),
        (&["send", "--give-up-after", "soon", "a.db"], "--give-up-after"),
        (&["send", "--endpoint", "localhost:4318", "a.db"], "--endpoint"),
    ];
    for (arguments, word) in cases {
        let ended = run(&mut agno_otel(arguments)).expect_code(2).expect_words(&[word]);
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[test]
fn the_summary_for_machines_says_what_was_read_counted_and_sent() {
    let summary = run(&mut send_nowhere([team()])).expect_code(0).summary();
    let tokens = summary["tokens"].as_object().unwrap();
    assert_eq!(
        tokens.keys().collect::<Vec<_>>(),
        ["cache_read", "cache_write", "input", "output", "reasoning"]
    );
    let sum: u64 = tokens.values().map(|tokens| tokens.as_u64().unwrap()).sum();
    assert!(sum > 0);
    assert_eq!(summary["total_tokens"], sum);
    assert_eq!(summary["runs"], serde_json::json!({"agent": 2, "team": 1, "workflow": 0}));
    for count in ["records", "sessions", "traces", "spans", "series", "requests_delivered"] {
        assert!(summary[count].as_u64().unwrap() > 0, "{count} in {summary}");
    }
    assert_eq!(summary["oddities"], serde_json::json!({}));
}

#[test]
fn the_summary_for_people_says_the_same() {
    let machines = run(&mut send_nowhere([team()])).expect_code(0).summary();
    let people = run(&mut agno_otel(["send", "--to", "otlp-json:/dev/null", &team()])).expect_code(0);
    let line = |label: &str| people.stdout.lines().find(|line| line.starts_with(label)).unwrap().to_owned();
    assert!(line("runs").contains("3 (agents 2, teams 1, workflows 0)"), "{}", people.stdout);
    assert!(line("spans").contains(&machines["spans"].to_string()), "{}", people.stdout);
    assert!(
        line("tokens").replace(',', "").contains(&machines["total_tokens"].to_string()),
        "{}",
        people.stdout
    );
    assert_eq!(people.stderr, "", "without a terminal there is no bar, and nothing to warn of");
}

#[test]
fn standard_output_gets_json_lines_alone_with_the_metrics_last() {
    let ended = run(&mut agno_otel(["send", "--to", "otlp-json:-", &team()])).expect_code(0);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, traces) = lines.split_last().unwrap();
    assert!(!traces.is_empty() && traces.iter().all(|line| line["resourceSpans"].is_array()));
    assert!(last["resourceMetrics"].is_array());
    assert!(ended.stderr.contains("tokens"), "the summary goes to standard error: {}", ended.stderr);
    let span = &traces[0]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let is_hex = |value: &Value, digits: usize| {
        let text = value.as_str().unwrap();
        text.len() == digits
            && text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
    };
    assert!(is_hex(&span["traceId"], 32) && is_hex(&span["spanId"], 16), "{span}");
    assert!(span["startTimeUnixNano"].is_string() && span["kind"].is_number(), "{span}");
}

#[test]
fn a_file_holds_what_would_have_been_sent() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("out.jsonl");
    std::fs::write(&file, "what was there before").unwrap();
    let to = format!("otlp-json:{}", file.display());
    let summary = run(&mut agno_otel(["send", "--json", "--to", &to, &team()])).expect_code(0).summary();
    let text = std::fs::read_to_string(&file).unwrap();
    let spans: usize = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .flat_map(|line| line["resourceSpans"].as_array().cloned().unwrap_or_default())
        .flat_map(|resource| resource["scopeSpans"].as_array().cloned().unwrap())
        .map(|scope| scope["spans"].as_array().unwrap().len())
        .sum();
    assert_eq!(summary["spans"], spans);
    assert!(text.ends_with('\n'));
    let nowhere = run(&mut agno_otel(["send", "--to", "otlp-json:/nowhere/out.jsonl", &team()]));
    nowhere.expect_code(1).expect_words(&["/nowhere/out.jsonl", "No such file"]);
}

#[test]
fn what_sends_nothing_asks_for_no_endpoint() {
    // Set for every program of a machine, and of no concern to these.
    let variables = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")];
    for (name, value) in variables {
        for arguments in
            [&["show", &team()] as &[&str], &["send", "--to", "otlp-json:/dev/null", &team()], &["demo"]]
        {
            run(agno_otel(arguments).env(name, value)).expect_code(0);
        }
    }
}

#[test]
fn a_variable_that_cannot_be_read_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = std::ffi::OsStr::from_bytes(b"http://h\xff");
    for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_SERVICE_NAME"] {
        for arguments in [&["send", &team()] as &[&str], &["demo"]] {
            let ended = run(agno_otel(arguments).env(name, bytes)).expect_code(2);
            assert_eq!(ended.stdout, "");
            ended.expect_words(&[name, "UTF-8"]);
        }
        run(agno_otel(["show", &team()]).env(name, bytes)).expect_code(0);
    }
    // What levels of logging are wanted is no reason to do nothing.
    for level in [std::ffi::OsStr::new("agno_otel=loud"), bytes] {
        run(agno_otel(["demo"]).env("RUST_LOG", level)).expect_code(0).expect_words(&["RUST_LOG"]);
    }
    let said = run(agno_otel(["demo"]).env("RUST_LOG", "agno_otel=info")).expect_code(0);
    assert_eq!(said.stderr, "");
}

#[test]
fn variables_that_are_not_followed_are_said_to_be() {
    let unfollowed = [
        ("OTEL_SDK_DISABLED", "TRUE"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
    ];
    for (name, value) in unfollowed {
        let ended = run(agno_otel(["demo"]).env(name, value)).expect_code(0);
        assert_eq!(ended.stderr.matches(name).count(), 1, "{}", ended.stderr);
        ended.expect_words(&["not followed"]);
        let shown = run(agno_otel(["show", &team()]).env(name, value)).expect_code(0);
        assert_eq!(shown.stderr, "", "nothing is sent");
    }
    for (name, value) in
        [("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_METRICS_EXPORTER", "")]
    {
        assert_eq!(run(agno_otel(["demo"]).env(name, value)).expect_code(0).stderr, "", "{name}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    for arguments in [
        &["send", "--to", "otlp-json:-"] as &[&str],
        &["show"],
        &["show", "--json"],
        &["send", "--json", "--to", "otlp-json:/dev/null"],
    ] {
        let mut command = agno_otel(arguments);
        if arguments[0] == "show" {
            command.arg("--also");
        }
        command.args([&team(), &fixtures().join("agno/3.1.10/unicode_large.db").display().to_string()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let ended = ended_of(child).expect_code(0);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn show_sends_nothing() {
    let receiver = Receiver::start();
    run(agno_otel(["show", &team()]).env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url())).expect_code(0);
    assert!(receiver.received().is_empty());
}

#[test]
fn a_signal_ends_a_wait_at_once_with_its_own_code() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        // A server that says "later" keeps the sender trying.
        let receiver = Receiver::answering(|_, _| crate::support::receiver::Answer::status(503));
        let mut command =
            agno_otel(["send", "-v", "--give-up-after", "600", "--endpoint", &receiver.url(), &team()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The first word of it on standard error: from here on it listens to signals, and it waits.
        let mut first = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("try again"), "{first}");
        let kill = std::process::Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(kill.success());
        let ended = ended_of(child).expect_code(code);
        ended.expect_words(&["stopped", "stays delivered", "not sent"]);
    }
}

#[test]
fn waiting_for_standard_input_can_be_interrupted() {
    // Several, because what the program is doing when it begins to listen is not always the same.
    for _ in 0..6 {
        let mut command = send_nowhere(["-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(3);
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            // Ctrl-C, as often as an impatient user presses it.
            std::process::Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let ended = child.try_wait().unwrap();
        child.kill().ok();
        child.wait().unwrap();
        assert!(ended.is_some(), "it cannot be interrupted");
    }
}

#[test]
fn agnos_own_figures_are_sent_to_the_last_digit() {
    let first = "0.22849098299775505";
    let run = format!(
        r#"{{"run_id": "r", "agent_id": "a", "status": "COMPLETED", "metrics": {{"input_tokens": 1, "time_to_first_token": {first}}}}}"#
    );
    let mut command = agno_otel(["send", "--to", "otlp-json:-", "-"]);
    let ended = run_with_input(&mut command, run.as_bytes()).expect_code(0);
    assert!(ended.stdout.contains(&format!(r#"{{"doubleValue":{first}}}"#)), "{}", ended.stdout);
}

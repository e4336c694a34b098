//! Where telemetry goes and what goes with it: flags, `OTEL_*` variables, headers that stay secret.

use std::path::PathBuf;

use crate::support::fixtures;
use crate::support::program::{agno_otel, run, send_to};
use crate::support::receiver::{Answer, Receiver};

fn tools() -> [PathBuf; 1] {
    [fixtures().join("agno/3.1.10/tools_multi.db")]
}

fn send() -> std::process::Command {
    let mut command = agno_otel(["send", "--json"]);
    command.args(tools());
    command
}

#[test]
fn the_general_endpoint_variable_gets_the_paths_appended() {
    let receiver = Receiver::start();
    run(send().env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/base/", receiver.url()))).expect_code(0);
    let paths: Vec<String> = receiver.received().into_iter().map(|received| received.path).collect();
    assert_eq!(paths, ["/base/v1/traces", "/base/v1/metrics"]);
}

#[test]
fn the_query_of_an_endpoint_stays_behind_its_path() {
    let receiver = Receiver::start();
    run(&mut send_to(&format!("{}/base?tenant=a", receiver.url()), &tools())).expect_code(0);
    let paths: Vec<String> = receiver.received().into_iter().map(|received| received.path).collect();
    assert_eq!(paths, ["/base/v1/traces", "/base/v1/metrics"]);
}

#[test]
fn a_signals_own_endpoint_is_taken_as_it_is() {
    let [traces, metrics] = [Receiver::start(), Receiver::start()];
    let mut command = send();
    command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/here/traces", traces.url()));
    command.env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", format!("{}/there/metrics", metrics.url()));
    run(&mut command).expect_code(0);
    let paths = |receiver: &Receiver| -> Vec<String> {
        receiver.received().into_iter().map(|got| got.path).collect()
    };
    assert_eq!(
        (paths(&traces), paths(&metrics)),
        (vec!["/here/traces".to_owned()], vec!["/there/metrics".to_owned()])
    );
}

#[test]
fn the_endpoint_flag_wins_over_every_variable() {
    let [by_flag, by_variable] = [Receiver::start(), Receiver::start()];
    let mut command = send_to(&by_flag.url(), &tools());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", by_variable.url());
    command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", by_variable.url()));
    run(&mut command).expect_code(0);
    assert_eq!((by_flag.received().len(), by_variable.received().len()), (2, 0));
}

#[test]
fn headers_are_sent_by_flag_and_by_variable_decoded() {
    let receiver = Receiver::start();
    let mut command = send_to(&receiver.url(), &tools());
    command.args(["--header", "x-flag=a=b, c"]);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc%3D%3D,x-team = blue%2Cgreen ");
    run(&mut command).expect_code(0);
    for request in receiver.received() {
        let get = |name: &str| request.headers[name].to_str().unwrap().to_owned();
        assert_eq!(get("x-flag"), "a=b, c");
        assert_eq!(get("authorization"), "Bearer abc==");
        assert_eq!(get("x-team"), "blue,green");
    }
}

#[test]
fn a_signals_own_headers_go_with_that_signal_alone() {
    let receiver = Receiver::start();
    let mut command = send_to(&receiver.url(), &tools());
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-for=all");
    command.env("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-for=metrics");
    run(&mut command).expect_code(0);
    assert_eq!(receiver.received_at("traces")[0].headers["x-for"], "all");
    assert_eq!(receiver.received_at("metrics")[0].headers["x-for"], "metrics");
}

#[test]
fn the_content_type_is_not_for_headers_to_change() {
    let receiver = Receiver::start();
    let mut command = send_to(&receiver.url(), &tools());
    run(command.args(["--header", "content-type=text/plain"])).expect_code(0);
    let received = receiver.received();
    let kinds: Vec<_> = received[0].headers.get_all("content-type").iter().collect();
    assert_eq!(kinds, ["application/x-protobuf"]);
}

#[test]
fn secrets_in_headers_and_urls_are_never_shown() {
    let secret = "hunter2secret";
    let refusing = Receiver::answering(|_, _| Answer::status(401));
    let later = Receiver::answering(|_, _| Answer::status(503));
    let with_password = |receiver: &Receiver| format!("http://user:{secret}@{}", receiver.authority());
    let header = format!("authorization=Bearer {secret}");
    for receiver in [&refusing, &later] {
        for (verbose, level) in [("-v", None), ("-vv", None), ("-vv", Some("trace"))] {
            let mut command = send_to(&with_password(receiver), &tools());
            command.args(["--give-up-after", "0", "--header", &header, verbose]);
            command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-api-key={secret}"));
            if let Some(level) = level {
                command.env("RUST_LOG", level);
            }
            let ended = run(&mut command).expect_code(4);
            assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret), "{}", ended.stderr);
            assert!(ended.stderr.contains(&receiver.authority()), "{}", ended.stderr);
        }
    }
}

#[test]
fn what_cannot_be_understood_is_named_without_its_secrets() {
    let secret = "hunter2secret";
    let cases: [(&str, String, &str); 5] = [
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("a=1,{secret}"), "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon".to_owned(), "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json".to_owned(), "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318".to_owned(), "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            format!("ftp://user:{secret}@host"),
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        ),
    ];
    for (name, value, word) in cases {
        let ended = run(send().env(name, value)).expect_code(2).expect_words(&[word]);
        assert!(!ended.stderr.contains(secret), "{name}: {}", ended.stderr);
    }
    let ended = run(send().args(["--header", secret])).expect_code(2).expect_words(&["--header"]);
    assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let receiver = Receiver::start();
    let mut command = send();
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url());
    for name in ["TRACES_ENDPOINT", "METRICS_ENDPOINT", "HEADERS", "TIMEOUT", "PROTOCOL", "TRACES_PROTOCOL"] {
        command.env(format!("OTEL_EXPORTER_OTLP_{name}"), "");
    }
    command.env("OTEL_SERVICE_NAME", "").env("OTEL_RESOURCE_ATTRIBUTES", "");
    run(&mut command).expect_code(0);
    assert_eq!(receiver.received().len(), 2);
}

//! What is sent arrives once and in full, or is said not to have.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;

use crate::support::fixtures;
use crate::support::program::{agno_otel, every_fixture, run, run_with_input, send_to, summary_of};
use crate::support::receiver::{Answer, Receiver};
use crate::support::runs::{lines, run_of};

/// Requests stay below this many bytes.
const LARGEST_REQUEST: usize = 3_670_016;

fn tools() -> [PathBuf; 1] {
    [fixtures().join("agno/3.1.10/tools_multi.db")]
}

/// A port nobody listens on.
fn dead_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn spans_and_metrics_arrive_as_protobuf_at_their_paths_and_spans_come_first() {
    let receiver = Receiver::start();
    run(&mut send_to(&receiver.url(), &tools())).expect_code(0);
    let received = receiver.received();
    let paths: Vec<&str> = received.iter().map(|received| received.path.as_str()).collect();
    assert_eq!(paths, ["/v1/traces", "/v1/metrics"]);
    for request in received {
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert!(request.headers["user-agent"].to_str().unwrap().starts_with("agno-otel/"));
    }
    assert!(!receiver.spans().is_empty());
    assert!(!receiver.metrics().is_empty());
}

#[test]
fn much_is_sent_in_requests_that_servers_take_and_every_span_arrives_once() {
    let copies = 3_000;
    let input = lines(&run_of("agno/3.1.10/tools_multi.run.json"), copies, 400);
    let receiver = Receiver::start();
    let mut command = agno_otel(["send", "--json", "--endpoint", &receiver.url(), "-"]);
    let summary = run_with_input(&mut command, input.as_bytes()).expect_code(0).summary();
    let received = receiver.received();
    for request in &received {
        assert!(request.body.len() < LARGEST_REQUEST, "{} bytes to {}", request.body.len(), request.path);
    }
    for path in ["traces", "metrics"] {
        assert!(receiver.received_at(path).len() > 1, "one request to {path} proves nothing");
    }
    let spans = receiver.spans();
    let ids: BTreeSet<_> = spans.iter().map(|span| (span.trace_id.clone(), span.span_id.clone())).collect();
    assert_eq!(ids.len(), spans.len(), "a span was sent twice");
    // A run, three model calls, three tool calls.
    assert_eq!(spans.len(), copies as usize * 7);
    assert_eq!(summary["spans"], spans.len());
    assert_eq!(summary["requests_delivered"], received.len());
}

#[test]
fn sending_again_sends_the_same_bytes() {
    let receiver = Receiver::start();
    let bodies = || -> Vec<_> {
        run(&mut send_to(&receiver.url(), &every_fixture())).expect_code(0);
        receiver.received_at("traces").into_iter().map(|received| received.body).collect()
    };
    let once = bodies();
    let twice = bodies();
    assert!(!once.is_empty());
    assert_eq!(twice.len(), 2 * once.len());
    assert!(twice[once.len()..] == once, "the second time other bytes were sent");
}

#[test]
fn the_order_of_sources_changes_no_span() {
    let sources: Vec<PathBuf> = ["team_run", "history", "workflow_run"]
        .iter()
        .map(|case| fixtures().join(format!("agno/3.1.10/{case}.db")))
        .collect();
    let reversed: Vec<PathBuf> = sources.iter().rev().cloned().collect();
    let spans = |sources: &[PathBuf]| {
        let receiver = Receiver::start();
        run(&mut send_to(&receiver.url(), sources)).expect_code(0);
        let mut spans = receiver.spans();
        // Traces come as their sources do.
        spans.sort_by(|a, b| (&a.trace_id, &a.span_id).cmp(&(&b.trace_id, &b.span_id)));
        spans
    };
    assert!(spans(&sources) == spans(&reversed));
}

#[test]
fn a_server_that_says_later_is_asked_again_until_it_takes_everything() {
    for status in [429, 502, 503, 504] {
        // Each path is refused once and then taken.
        let receiver =
            Receiver::answering(move |number, _| Answer::status(if number % 2 == 0 { status } else { 200 }));
        let ended = run(&mut send_to(&receiver.url(), &tools())).expect_code(0);
        let received = receiver.received();
        assert_eq!(received.len(), 4, "{status}");
        assert_eq!(received[0].body, received[1].body, "{status}: the retry is the same request");
        assert_eq!(received[2].body, received[3].body, "{status}: the retry is the same request");
        assert_eq!(ended.summary()["requests_delivered"], 2);
        assert_eq!(ended.summary()["requests_refused"], 0);
    }
}

#[test]
fn a_connection_that_breaks_is_no_delivery_and_the_request_is_sent_again() {
    let receiver =
        Receiver::answering(|number, _| if number % 2 == 0 { Answer::none() } else { Answer::taken() });
    let ended = run(&mut send_to(&receiver.url(), &tools())).expect_code(0);
    let received = receiver.received();
    assert_eq!(received.len(), 4);
    assert_eq!((&received[0].body, &received[2].body), (&received[1].body, &received[3].body));
    assert_eq!(ended.summary()["requests_delivered"], 2);
}

/// A run of so many turns: a model call that asks for a tool, and the tool's answer.
fn long_run(turns: usize, id: &str) -> String {
    let mut record = run_of("agno/3.1.10/simple.run.json");
    let turn = |turn: usize| {
        let asked = serde_json::json!([{"id": format!("call_{turn}"), "function": {"name": "look_up"}}]);
        let metrics = serde_json::json!({"input_tokens": 1, "output_tokens": 1, "total_tokens": 2});
        let (call, result) = (format!("a-{turn}-{id}"), format!("t-{turn}-{id}"));
        [
            serde_json::json!({"id": call, "role": "assistant", "tool_calls": asked, "metrics": metrics}),
            serde_json::json!({"id": result, "role": "tool", "tool_call_id": format!("call_{turn}"), "tool_name": "look_up"}),
        ]
    };
    record["messages"] = (0..turns).flat_map(turn).collect();
    record.to_string()
}

#[test]
fn one_trace_too_large_for_a_request_is_spread_over_several() {
    let turns = 1_500;
    let record = long_run(turns, &"x".repeat(900));
    let receiver = Receiver::start();
    let mut command = agno_otel(["send", "--json", "--endpoint", &receiver.url(), "-"]);
    run_with_input(&mut command, record.as_bytes()).expect_code(0);
    let requests = receiver.received_at("traces");
    assert!(requests.len() > 1, "one request proves nothing");
    assert!(requests.iter().all(|request| request.body.len() < LARGEST_REQUEST));
    let spans = receiver.spans();
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!((ids.len(), spans.len()), (2 * turns + 1, 2 * turns + 1));
}

#[test]
fn retry_after_is_honoured() {
    let receiver = Receiver::answering(|number, _| match number {
        0 => Answer::status(503).header("retry-after", "1"),
        _ => Answer::taken(),
    });
    run(&mut send_to(&receiver.url(), &tools())).expect_code(0);
    let received = receiver.received();
    let waited = received[1].at - received[0].at;
    assert!(waited >= Duration::from_millis(990), "{waited:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

#[test]
fn a_wait_longer_than_our_patience_ends_at_once_and_says_why() {
    let receiver = Receiver::answering(|_, _| Answer::status(429).header("retry-after", "900"));
    let mut command = send_to(&receiver.url(), &tools());
    let ended = run(command.args(["--give-up-after", "2"])).expect_code(4);
    ended.expect_words(&["gave up", &receiver.authority(), "429"]);
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn a_server_that_does_not_answer_in_time_is_asked_again() {
    // The first connection is taken and never answered; the receiver listens only afterwards.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut command = send_to(&url, &tools());
    let ended = run(command.args(["--timeout", "1", "--give-up-after", "2"])).expect_code(4);
    ended.expect_words(&["no answer within 1s", &silent.local_addr().unwrap().to_string()]);
    silent.set_nonblocking(true).unwrap();
    assert!(silent.accept().is_ok() && silent.accept().is_ok(), "it was asked once only");
}

#[test]
fn a_server_that_refuses_everything_is_named_and_nothing_is_tried_twice() {
    for status in [400, 401, 404, 500] {
        let receiver = Receiver::answering(move |_, _| {
            Answer::status(status).header("content-type", "text/plain").body(b"go away".to_vec())
        });
        let ended = run(&mut send_to(&receiver.url(), &tools())).expect_code(4);
        ended.expect_words(&["refused", &receiver.authority(), &status.to_string(), "go away"]);
        assert_eq!(receiver.received().len(), 2, "{status}");
    }
}

#[test]
fn a_refused_request_among_others_is_counted_and_the_others_arrive() {
    let receiver =
        Receiver::answering(|_, path| Answer::status(if path.ends_with("traces") { 400 } else { 200 }));
    let ended = run(&mut send_to(&receiver.url(), &tools())).expect_code(5);
    let summary = ended.summary();
    assert_eq!((&summary["requests_delivered"], &summary["requests_refused"]), (&1.into(), &1.into()));
    assert!(summary["reasons"][0].as_str().unwrap().contains("400"));
    assert_eq!(receiver.metrics().len(), 1);
}

#[test]
fn a_partial_success_is_counted_and_never_sent_again() {
    let receiver = Receiver::answering(|_, path| {
        let error_message = "too old".to_owned();
        let body = if path.ends_with("traces") {
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans: 3, error_message });
            ExportTraceServiceResponse { partial_success }.encode_to_vec()
        } else {
            let partial_success =
                Some(ExportMetricsPartialSuccess { rejected_data_points: 2, error_message });
            ExportMetricsServiceResponse { partial_success }.encode_to_vec()
        };
        Answer::taken().body(body)
    });
    let summary = run(&mut send_to(&receiver.url(), &tools())).expect_code(5).summary();
    assert_eq!(summary["items_rejected"], 5);
    assert_eq!(summary["reasons"], serde_json::json!(["too old"]));
    assert_eq!(receiver.received().len(), 2);
    let text =
        run(&mut agno_otel(["send", "--endpoint", &receiver.url(), &tools()[0].display().to_string()]));
    assert!(text.expect_code(5).stdout.contains("too old"));
}

#[test]
fn a_warning_without_a_rejection_is_a_success() {
    let receiver = Receiver::answering(|_, _| {
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans: 0, error_message: "please upgrade".to_owned() });
        Answer::taken().body(ExportTraceServiceResponse { partial_success }.encode_to_vec())
    });
    let summary = run(&mut send_to(&receiver.url(), &tools())).expect_code(0).summary();
    assert_eq!(summary["items_rejected"], 0);
    assert_eq!(summary["warnings"], serde_json::json!(["please upgrade"]));
}

#[test]
fn nobody_listening_is_given_up_on_by_name() {
    let port = dead_port();
    let mut command = send_to(&format!("http://127.0.0.1:{port}"), &tools());
    let ended = run(command.args(["--give-up-after", "1"])).expect_code(4);
    ended.expect_words(&["gave up", &format!("127.0.0.1:{port}"), "efused"]);
}

#[test]
fn a_source_that_cannot_be_read_keeps_all_the_others_from_being_sent() {
    // Half of the metrics could not be completed later without counting the rest twice.
    let receiver = Receiver::start();
    let sources = [tools()[0].clone(), PathBuf::from("/nowhere/agno.db")];
    run(&mut send_to(&receiver.url(), &sources)).expect_code(3).expect_words(&["/nowhere/agno.db"]);
    assert!(receiver.received().is_empty());
}

#[test]
fn sources_without_runs_send_no_spans() {
    let receiver = Receiver::start();
    let mut command = agno_otel(["send", "--json", "--endpoint", &receiver.url(), "-"]);
    let summary = run_with_input(&mut command, b"[]").expect_code(0).summary();
    assert_eq!(summary["spans"], 0);
    assert!(receiver.received_at("traces").is_empty());
}

#[test]
fn the_summary_is_the_same_whether_it_is_sent_or_written() {
    let receiver = Receiver::start();
    let mut sent = run(&mut send_to(&receiver.url(), &tools())).expect_code(0).summary();
    let mut written = summary_of(&tools());
    for summary in [&mut sent, &mut written] {
        let summary = summary.as_object_mut().unwrap();
        summary.remove("destinations");
        summary.remove("attempts");
        // The bridge counts its attempts.
        summary.remove("series");
    }
    assert_eq!(sent, written);
}

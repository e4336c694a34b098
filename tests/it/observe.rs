//! What the bridge says of itself: on request alone, never of itself, never content, and never in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use agno_otel::observe::SERVICE_NAME;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::program::{Ended, agno_otel, ended_of, run, send_to};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{canaries, fixtures};

const RUN: &str = "agno/3.1.10/simple.db";

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == name)?.value.clone()?.value?;
    Some(match value {
        AnyValue::StringValue(text) => text,
        AnyValue::IntValue(number) => number.to_string(),
        other => panic!("{name}: {other:?}"),
    })
}

fn is_own(resource: Option<&Resource>) -> bool {
    text(&resource.unwrap().attributes, "service.name").as_deref() == Some(SERVICE_NAME)
}

/// The spans of the bridge, and of the runs.
fn spans(receiver: &Receiver) -> (Vec<Span>, Vec<Span>) {
    let resources = receiver.traces().into_iter().flat_map(|request| request.resource_spans);
    let (own, runs): (Vec<_>, Vec<_>) = resources.partition(|spans| is_own(spans.resource.as_ref()));
    let [own, runs] = [own, runs].map(|resources| {
        let scopes = resources.into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    });
    (own, runs)
}

/// The log records of the bridge, with their scopes.
fn logs(receiver: &Receiver) -> Vec<(InstrumentationScope, LogRecord)> {
    let resources = receiver.logs().into_iter().flat_map(|request| request.resource_logs);
    let scopes = resources.inspect(|logs| assert!(is_own(logs.resource.as_ref()))).flat_map(|l| l.scope_logs);
    scopes
        .flat_map(|scope| {
            let name = scope.scope.unwrap();
            scope.log_records.into_iter().map(move |record| (name.clone(), record))
        })
        .collect()
}

/// The newest value of each counter of the bridge, by its name and attributes' values.
fn counters(receiver: &Receiver) -> BTreeMap<(String, Vec<String>), i64> {
    let mut counters = BTreeMap::new();
    let resources = receiver.metrics().into_iter().flat_map(|request| request.resource_metrics);
    let own = resources.filter(|metrics| is_own(metrics.resource.as_ref()));
    for metric in own.flat_map(|own| own.scope_metrics).flat_map(|scope| scope.metrics) {
        let Some(Data::Sum(sum)) = metric.data else { panic!("{} is no counter", metric.name) };
        assert!(sum.is_monotonic);
        for point in sum.data_points {
            let mut values: Vec<String> =
                point.attributes.iter().filter_map(|one| text(&point.attributes, &one.key)).collect();
            values.sort();
            let Some(Number::AsInt(value)) = point.value else { panic!("{:?}", point.value) };
            counters.insert((metric.name.clone(), values), value);
        }
    }
    counters
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn only<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name}: {found:#?}");
    found[0]
}

/// `send` whose logs go elsewhere. A flag would win over the variable.
fn send_with_logs_to(url: &str, logs: &str, source: &Path) -> Command {
    let mut command = agno_otel(["send", "--json", "--observe"]);
    command.arg(source).env("OTEL_EXPORTER_OTLP_ENDPOINT", url);
    command.env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", format!("{logs}/v1/logs"));
    command
}

fn observed(url: &str, sources: &[PathBuf]) -> Ended {
    run(send_to(url, sources).arg("--observe"))
}

fn source() -> PathBuf {
    fixtures().join(RUN)
}

/// Every byte of a run's telemetry that an invocation sends, in order, without the stamps of metrics.
fn of_runs(observe: bool) -> Vec<Vec<u8>> {
    let receiver = Receiver::start();
    let mut command = send_to(&receiver.url(), &[fixtures().join("generated/3.1.10/team_three_levels.db")]);
    command.env("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=fixed,service.namespace=shop");
    if observe {
        command.arg("--observe");
    }
    run(&mut command).expect_code(0);
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for (received, request) in receiver.received_at("traces").iter().zip(receiver.traces()) {
        if !is_own(request.resource_spans[0].resource.as_ref()) {
            messages.push(received.body.to_vec());
        }
    }
    for mut request in receiver.metrics() {
        if is_own(request.resource_metrics[0].resource.as_ref()) {
            continue;
        }
        for metric in request.resource_metrics.iter_mut().flat_map(|r| &mut r.scope_metrics[0].metrics) {
            let unstamp = |start: &mut u64, stamp: &mut u64| (*start, *stamp) = (0, 0);
            match metric.data.as_mut().unwrap() {
                Data::Sum(sum) => sum.data_points.iter_mut().for_each(|point| {
                    unstamp(&mut point.start_time_unix_nano, &mut point.time_unix_nano);
                    point.exemplars.iter_mut().for_each(|exemplar| exemplar.time_unix_nano = 0);
                }),
                Data::Gauge(gauge) => gauge
                    .data_points
                    .iter_mut()
                    .for_each(|point| unstamp(&mut point.start_time_unix_nano, &mut point.time_unix_nano)),
                Data::Histogram(histogram) => histogram.data_points.iter_mut().for_each(|point| {
                    unstamp(&mut point.start_time_unix_nano, &mut point.time_unix_nano);
                    point.exemplars.iter_mut().for_each(|exemplar| exemplar.time_unix_nano = 0);
                }),
                other => panic!("{other:?}"),
            }
        }
        messages.push(request.encode_to_vec());
    }
    messages
}

#[test]
fn nothing_is_said_unless_asked() {
    let receiver = Receiver::start();
    for value in ["", "false", "0"] {
        let ended = run(send_to(&receiver.url(), &[source()]).env("AGNO_OTEL_OBSERVE", value)).expect_code(0);
        assert_eq!(ended.stderr, "");
    }
    assert_eq!(spans(&receiver).0, []);
    assert_eq!((logs(&receiver).len(), counters(&receiver).len()), (0, 0));
}

#[test]
fn a_run_is_followed_from_its_source_to_its_delivery() {
    let receiver = Receiver::start();
    assert_eq!(observed(&receiver.url(), &[source()]).expect_code(0).stderr, "");
    let (own, runs) = spans(&receiver);
    let send = only(&own, "send");
    assert_eq!(send.parent_span_id, [0; 0]);
    assert_eq!(text(&send.attributes, "agno_otel.exit_code").as_deref(), Some("0"));
    let read = only(&own, "read");
    assert!(text(&read.attributes, "agno_otel.source").unwrap().ends_with("simple.db"));
    let root = runs.iter().find(|span| span.parent_span_id.is_empty()).unwrap();
    let trace = only(&own, "trace");
    assert_eq!(text(&trace.attributes, "agno.run.id"), text(&root.attributes, "agno.run.id"));
    assert_eq!(trace.links.len(), 1);
    assert_eq!((&trace.links[0].trace_id, &trace.links[0].span_id), (&root.trace_id, &root.span_id));
    let request = own.iter().find(|span| span.span_id == trace.parent_span_id).unwrap();
    assert_eq!(
        (request.name.as_str(), text(&request.attributes, "agno_otel.signal").as_deref()),
        ("request", Some("traces"))
    );
    let attempt =
        own.iter().find(|span| span.name == "attempt" && span.parent_span_id == request.span_id).unwrap();
    assert_eq!(text(&attempt.attributes, "agno_otel.outcome").as_deref(), Some("delivered"));
    assert!(trace.end_time_unix_nano >= attempt.end_time_unix_nano, "it ends when it is delivered");
    for span in [read, request] {
        assert_eq!(span.parent_span_id, send.span_id, "{}", span.name);
    }
    assert!(own.iter().all(|span| span.trace_id == send.trace_id));
    assert!(own.iter().all(|span| span.status.clone().unwrap_or_default().code == 0));
    let (_, ended) = logs(&receiver).pop().unwrap();
    assert_eq!(ended.trace_id, send.trace_id);
    let count = counters(&receiver);
    let of = |name: &str, values: &[&str]| {
        count.get(&(name.to_owned(), values.iter().map(|&value| value.to_owned()).collect())).copied()
    };
    assert_eq!(of("agno_otel.attempts", &["delivered", "traces"]), Some(1), "{count:?}");
    assert_eq!(of("agno_otel.attempts", &["delivered", "metrics"]), Some(1), "{count:?}");
    assert!(of("agno_otel.sent_bytes", &["traces"]) > Some(1_000), "{count:?}");
}

#[test]
fn a_runs_telemetry_is_the_same_whether_observed_or_not() {
    let (plain, seen) = (of_runs(false), of_runs(true));
    assert!(plain.len() >= 2);
    assert_eq!(plain, seen);
}

#[test]
fn failures_and_waits_are_seen_too() {
    let receiver = Receiver::answering(|number, _| {
        if number == 0 { Answer::status(503).header("retry-after", "0") } else { Answer::taken() }
    });
    observed(&receiver.url(), &[source()]).expect_code(0);
    let (own, _) = spans(&receiver);
    let outcomes: Vec<_> = named(&own, "attempt")
        .into_iter()
        .map(|span| {
            (
                text(&span.attributes, "agno_otel.outcome").unwrap(),
                span.status.clone().unwrap_or_default().code,
            )
        })
        .collect();
    assert!(outcomes.contains(&("later".to_owned(), 2)), "{outcomes:?}");
}

#[test]
fn a_servers_words_are_for_people_alone() {
    let receiver = Receiver::answering(|number, _| {
        let busy = Answer::status(503).header("retry-after", "0").header("content-type", "text/plain");
        if number == 0 { busy.body(b"busy with: a canary sings".to_vec()) } else { Answer::taken() }
    });
    let ended = run(send_to(&receiver.url(), &[source()]).args(["--observe", "-v"])).expect_code(0);
    ended.expect_words(&["will try again", "canary"]);
    assert!(!format!("{:?}{:?}", spans(&receiver), receiver.logs()).contains(canaries::MARK));
}

#[test]
fn a_signal_ends_it_soon() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut command = send_to(&url, &[source()]);
    let child = command.arg("--observe").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It is sending once it has come.
    let _connection = silent.accept().unwrap();
    let started = Instant::now();
    assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
    ended_of(child).expect_code(143);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn it_is_never_about_itself() {
    let receiver = Receiver::start();
    // As loud as it gets, over a transport that says much.
    let mut command = send_to(&receiver.url(), &[source()]);
    run(command.args(["--observe", "--protocol", "grpc", "-vv"]).env("RUST_LOG", "trace")).expect_code(0);
    let (own, _) = spans(&receiver);
    let names: BTreeSet<&str> = own.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["attempt", "read", "request", "send", "trace"]));
    // One for the spans, one for the metrics of the runs.
    assert_eq!(named(&own, "attempt").len(), 2);
    let logs = logs(&receiver);
    assert!(!logs.is_empty());
    for (scope, record) in logs {
        assert!(scope.name.is_empty() || scope.name.starts_with("agno_otel"), "{scope:?} {record:?}");
    }
    let services: BTreeSet<String> = receiver.received().into_iter().map(|received| received.path).collect();
    assert_eq!(services.len(), 3, "{services:?}");
}

#[test]
fn it_is_never_content() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("runs.jsonl");
    let records = canaries::every_run().map(|record| format!("{record}\n")).concat();
    std::fs::write(&path, format!("{records}canary in plain words\n{{\"canary\": canary}}\n")).unwrap();
    for (answer, code) in [(Answer::taken(), 5), (Answer::status(400), 4)] {
        // What is said of failures goes to a receiver that takes it.
        let (runs, own) = (Receiver::answering(move |_, _| answer.clone()), Receiver::start());
        for arguments in [&["-vv"][..], &["--user-id", "--content", "full"]] {
            let mut command = send_with_logs_to(&runs.url(), &own.url(), &path);
            run(command.args(arguments).env("RUST_LOG", "trace")).expect_code(code);
        }
        let (spans, _) = spans(&runs);
        assert!(code == 4 || !spans.is_empty());
        let said = format!("{spans:?}{:?}{:?}", counters(&runs), own.logs()).to_lowercase();
        assert!(said.contains("ended"));
        assert!(!said.contains(canaries::MARK), "{said}");
        assert!(!said.contains(canaries::USER), "{said}");
    }
}

#[test]
fn its_loss_is_a_warning_and_decides_nothing() {
    let receiver =
        Receiver::answering(
            |_, path| {
                if path.ends_with("logs") { Answer::status(404) } else { Answer::taken() }
            },
        );
    let ended = observed(&receiver.url(), &[source()]).expect_code(0);
    ended.expect_words(&["own telemetry was lost", "log records did not reach", "/v1/logs", "HTTP 404"]);
    assert!(!spans(&receiver).0.is_empty());
}

#[test]
fn an_endpoint_that_never_answers_holds_nothing_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = Receiver::start();
    let logs = format!("http://{}", silent.local_addr().unwrap());
    let started = Instant::now();
    let ended = run(&mut send_with_logs_to(&receiver.url(), &logs, &source())).expect_code(0);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    ended.expect_words(&["log records did not reach", "there was no time"]);
    assert!(!spans(&receiver).0.is_empty() && !counters(&receiver).is_empty());
}

#[test]
fn a_dead_endpoint_ends_as_it_does_unobserved() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let started = Instant::now();
    let mut command = send_to(&url, &[source()]);
    let ended = run(command.args(["--observe", "--give-up-after", "0"])).expect_code(4);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    ended.expect_words(&["gave up on", "spans did not reach", "metrics did not reach"]);
}

/// A file of so many small runs.
fn many(folder: &Path, count: usize) -> PathBuf {
    let path = folder.join("many.jsonl");
    let lines: String = (0..count)
        .map(|number| {
            let run = json!({"run_id": format!("r-{number}"), "agent_id": "a", "session_id": "s", "status": "COMPLETED",
                "created_at": 1_795_396_244, "messages": []});
            format!("{run}\n")
        })
        .collect();
    std::fs::write(&path, lines).unwrap();
    path
}

#[test]
fn of_very_many_traces_some_have_a_span_and_the_rest_is_counted() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let ended = observed(&receiver.url(), &[many(folder.path(), 6_000)]).expect_code(0);
    assert_eq!(ended.stderr, "", "nothing of what there is a span of is lost");
    let (own, runs) = spans(&receiver);
    assert_eq!(runs.len(), 6_000);
    assert_eq!(named(&own, "trace").len(), 5_000);
    let unseen =
        named(&own, "request").into_iter().filter_map(|span| text(&span.attributes, "agno_otel.unseen"));
    assert_eq!(unseen.map(|count| count.parse::<u64>().unwrap()).sum::<u64>(), 1_000);
}

#[test]
fn it_is_asked_for_by_variable_too_and_goes_where_the_runs_go() {
    let receiver = Receiver::start();
    let demo = |value: &str| {
        let mut command = agno_otel(["demo"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url()).env("AGNO_OTEL_OBSERVE", value);
        run(&mut command)
    };
    demo("maybe").expect_code(2).expect_words(&["AGNO_OTEL_OBSERVE", "maybe", "true"]);
    assert!(receiver.received().is_empty());
    demo("true").expect_code(0);
    let (own, runs) = spans(&receiver);
    assert_eq!((named(&own, "demo").len(), named(&own, "trace").len()), (1, 34));
    assert!(!runs.is_empty());
    // Where nothing is sent, nothing is said: the default endpoint was not asked for.
    let mut alone = agno_otel(["demo", "--observe", "--json"]);
    let ended = run(alone.env("OTEL_EXPORTER_OTLP_ENDPOINT", "")).expect_code(0);
    assert_eq!(ended.stderr, "");
}

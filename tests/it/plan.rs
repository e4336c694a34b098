//! `plan` says what `send` then does, and sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::fixtures;
use crate::support::program::{agno_otel, every_fixture, run, run_with_input, send_to};
use crate::support::receiver::Receiver;
use crate::support::runs::{lines, run_of};

/// What is said by both, under the same names.
const SAME: [&str; 12] = [
    "records",
    "runs",
    "sessions",
    "traces",
    "spans",
    "series",
    "tokens",
    "total_tokens",
    "cost_usd",
    "cost_is_estimate",
    "unpriced_tokens",
    "oddities",
];

fn plan(sources: &[PathBuf], flags: &[&str]) -> Value {
    let mut command = agno_otel(["plan", "--json"]);
    run(command.args(flags).args(sources)).expect_code(0).summary()
}

/// What is sent, with the summary.
fn send(sources: &[PathBuf], flags: &[&str]) -> (Receiver, Value) {
    let receiver = Receiver::start();
    let summary = run(send_to(&receiver.url(), sources).args(flags)).expect_code(0).summary();
    (receiver, summary)
}

fn bytes(receiver: &Receiver, signal: &str) -> (usize, usize, usize) {
    let sizes: Vec<usize> = receiver.received_at(signal).iter().map(|request| request.body.len()).collect();
    (sizes.len(), sizes.iter().sum(), sizes.iter().copied().max().unwrap_or(0))
}

fn weight(weight: &Value) -> (usize, usize, usize) {
    let of = |name: &str| usize::try_from(weight[name].as_u64().unwrap()).unwrap();
    (of("requests"), of("bytes"), of("largest_bytes"))
}

fn fixture(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| fixtures().join(name)).collect()
}

fn recording() -> Vec<PathBuf> {
    vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agno/3.1.10/tracing.db")]
}

/// Sources of several kinds, alone and together.
fn sources() -> Vec<Vec<PathBuf>> {
    vec![
        recording(),
        fixture(&["agno/2.0.2/team_run.db"]),
        fixture(&["generated/3.1.10/fork_continue_regenerate.db", "generated/2.5.17/provider_gemini.db"]),
        fixture(&[
            "agno/3.1.10/error_500.db",
            "agno/3.1.10/rich_input.db",
            "agno/3.1.10/tools_multi.run.json",
        ]),
    ]
}

#[test]
fn what_is_planned_is_what_is_sent() {
    for sources in sources().into_iter().chain([every_fixture()]) {
        let (planned, (receiver, sent)) = (plan(&sources, &[]), send(&sources, &[]));
        for name in SAME {
            assert_eq!(planned[name], sent[name], "{name} of {sources:?}");
        }
        assert!(planned["spans"].as_u64().unwrap() > 0);
        assert_eq!(weight(&planned["span_requests"]), bytes(&receiver, "traces"), "{sources:?}");
        assert_eq!(weight(&planned["metric_requests"]), bytes(&receiver, "metrics"), "{sources:?}");
    }
}

#[test]
fn the_content_that_stays_is_what_full_sends_more() {
    for sources in sources() {
        let (none, full) = (send(&sources, &[]).0, send(&sources, &["--content", "full"]).0);
        for mode in ["none", "masked", "full"] {
            let planned = plan(&sources, &["--content", mode]);
            let (sent, _) = send(&sources, &["--content", mode]);
            assert_eq!(weight(&planned["span_requests"]), bytes(&sent, "traces"), "{mode} of {sources:?}");
            assert_eq!(planned["content"]["mode"], mode);
            assert_eq!(planned["content"]["full_span_bytes"], bytes(&full, "traces").1);
            assert_eq!(planned["content"]["full"], words(&full.spans()), "{sources:?}");
            assert_eq!(planned["content"]["sent"], words(&sent.spans()), "{mode} of {sources:?}");
        }
        assert_eq!(words(&none.spans()), json!({"attributes": 0, "events": 0, "error_texts": 0}));
    }
}

/// What of spans is content, found by its names.
fn words(spans: &[Span]) -> Value {
    let is_content = |name: &str| agno_otel::otel::names::CONTENT.contains(&name);
    let attributes = spans.iter().flat_map(|span| &span.attributes).filter(|it| is_content(&it.key)).count();
    let events = spans.iter().flat_map(|span| &span.events);
    let events = events.filter(|event| event.attributes.iter().any(|it| is_content(&it.key))).count();
    let texts = spans.iter().filter_map(|span| span.status.as_ref());
    let texts = texts.filter(|status| !status.message.is_empty()).count();
    json!({"attributes": attributes, "events": events, "error_texts": texts})
}

#[test]
fn spans_and_events_are_told_by_kind_and_the_largest_trace_by_its_run() {
    let sources = every_fixture();
    let (planned, (receiver, _)) = (plan(&sources, &[]), send(&sources, &[]));
    let spans = receiver.spans();
    let mut kinds = BTreeMap::<&str, u64>::new();
    for kind in ["agent", "team", "workflow", "step", "model_call", "tool"] {
        kinds.insert(kind, 0);
    }
    let mut events = BTreeMap::<&str, u64>::new();
    let mut traces = BTreeMap::<&[u8], u64>::new();
    for span in &spans {
        let kind = match span.name.split(' ').next().unwrap() {
            "chat" => "model_call",
            "execute_tool" => "tool",
            "invoke_workflow" => "workflow",
            "agno.step" => "step",
            _ if text(span, "agno.run.kind") == "team" => "team",
            _ => "agent",
        };
        *kinds.get_mut(kind).unwrap() += 1;
        for event in &span.events {
            *events.entry(&event.name).or_default() += 1;
        }
        *traces.entry(&span.trace_id).or_default() += 1;
    }
    assert!(kinds.values().all(|count| *count > 0), "{kinds:?}");
    assert_eq!(planned["spans_by_kind"], json!(kinds));
    assert_eq!(planned["events"], json!(events));
    let largest = &planned["largest_trace"];
    let root = spans.iter().find(|span| text(span, "agno.run.id") == largest["run_id"].as_str().unwrap());
    assert_eq!(traces[root.unwrap().trace_id.as_slice()], largest["spans"].as_u64().unwrap());
    assert!(largest["bytes"].as_u64().unwrap() <= planned["span_requests"]["bytes"].as_u64().unwrap());
}

fn text<'s>(span: &'s Span, name: &str) -> &'s str {
    use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
    let found = span.attributes.iter().find(|it| it.key == name);
    match found.and_then(|it| it.value.as_ref()?.value.as_ref()) {
        Some(StringValue(text)) => text,
        _ => "",
    }
}

/// Series of each metric, and the values of each of their labels.
fn series(requests: &[ExportMetricsServiceRequest]) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut series, mut values) = (BTreeMap::new(), BTreeMap::<String, BTreeSet<Vec<u8>>>::new());
    let resources = requests.iter().flat_map(|request| &request.resource_metrics);
    for metric in resources.flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics) {
        let keys: Vec<_> = match metric.data.as_ref().unwrap() {
            metric::Data::Sum(sum) => sum.data_points.iter().map(|point| &point.attributes).collect(),
            metric::Data::Gauge(gauge) => gauge.data_points.iter().map(|point| &point.attributes).collect(),
            metric::Data::Histogram(of) => of.data_points.iter().map(|point| &point.attributes).collect(),
            other => panic!("{other:?}"),
        };
        let mut distinct = BTreeSet::new();
        for attributes in keys {
            distinct.insert(
                attributes
                    .iter()
                    .flat_map(prost::Message::encode_length_delimited_to_vec)
                    .collect::<Vec<u8>>(),
            );
            for attribute in attributes {
                values.entry(attribute.key.clone()).or_default().insert(attribute.encode_to_vec());
            }
        }
        *series.entry(metric.name.clone()).or_default() += distinct.len() as u64;
    }
    (series, values.into_iter().map(|(name, values)| (name, values.len() as u64)).collect())
}

fn named(list: &Value, figure: &str) -> BTreeMap<String, u64> {
    let entry = |it: &Value| (it["name"].as_str().unwrap().to_owned(), it[figure].as_u64().unwrap());
    list.as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn series_and_values_of_labels_are_those_that_arrive() {
    for sources in sources() {
        let (planned, (receiver, _)) = (plan(&sources, &[]), send(&sources, &[]));
        let (series, values) = series(&receiver.metrics());
        assert_eq!(named(&planned["metrics"], "series"), series);
        assert_eq!(named(&planned["labels"], "values"), values);
        assert_eq!(planned["series"], series.values().sum::<u64>());
    }
}

#[test]
fn what_would_be_folded_is_said_and_what_is_near_the_cap() {
    for (tools, folded, about) in [
        (799, 0, "gen_ai.tool.name\n"),
        (800, 0, "gen_ai.tool.name: near the most\n"),
        (1_012, 12, "gen_ai.tool.name: 12 more would be counted as \"other\"\n"),
    ] {
        let tool =
            |at: u64| json!({"tool_call_id": format!("c{at}"), "tool_name": format!("t{at}"), "result": "x"});
        let run = json!({
            "run_id": "50cf60f9-f6d0-47a6-b373-57a95a88129d", "agent_id": "a", "session_id": "s", "status": "COMPLETED",
            "messages": [], "tools": (0..tools).map(tool).collect::<Vec<_>>(),
        });
        let planned =
            |flags: &[&str]| run_with_input(&mut agno_otel(flags), run.to_string().as_bytes()).expect_code(0);
        let json = planned(&["plan", "--json", "-"]).summary();
        let labels = json["labels"].as_array().unwrap();
        let label = labels.iter().find(|label| label["name"] == "gen_ai.tool.name").unwrap();
        assert_eq!(label["values"], tools.min(1_000), "{label}");
        assert_eq!(label["folded"], folded, "{label}");
        assert_eq!(label["is_near_most"], tools >= 800, "{label}");
        let shown = planned(&["plan", "-"]).stdout;
        assert!(shown.contains(about), "{shown}");
    }
}

#[test]
fn many_requests_are_planned_as_they_are_sent() {
    let input = lines(&run_of("agno/3.1.10/tools_multi.run.json"), 1_500, 400);
    let planned =
        run_with_input(&mut agno_otel(["plan", "--json", "-"]), input.as_bytes()).expect_code(0).summary();
    let receiver = Receiver::start();
    let mut command = agno_otel(["send", "--json", "--endpoint", &receiver.url(), "-"]);
    let sent = run_with_input(&mut command, input.as_bytes()).expect_code(0).summary();
    for name in SAME {
        assert_eq!(planned[name], sent[name], "{name}");
    }
    assert!(planned["span_requests"]["requests"].as_u64().unwrap() > 1);
    for (requests, signal) in [("span_requests", "traces"), ("metric_requests", "metrics")] {
        assert_eq!(weight(&planned[requests]), bytes(&receiver, signal), "{signal}");
    }
}

#[test]
fn nothing_is_sent_and_no_endpoint_is_asked_for() {
    let receiver = Receiver::start();
    let mut command = agno_otel(["plan", "--content", "full", "--user-id"]);
    command.args(recording()).env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url());
    let ended = run(&mut command).expect_code(0);
    assert!(ended.stdout.contains("user.id     sent; 4 runs have it"), "{}", ended.stdout);
    assert_eq!(receiver.received().len(), 0);
    let broken = run(agno_otel(["plan"]).args(recording()).env("OTEL_EXPORTER_OTLP_PROTOCOL", "pigeon"));
    assert_eq!(broken.expect_code(0).stderr, "");
}

#[test]
fn what_is_said_of_content_is_none_of_it() {
    let run = json!({
        "run_id": "50cf60f9-f6d0-47a6-b373-57a95a88129d", "agent_id": "a", "session_id": "s", "user_id": "canary-user",
        "status": "COMPLETED", "model": "gpt-5", "model_provider": "OpenAI",
        "input": {"input_content": "canary-input"},
        "messages": [
            {"role": "user", "id": "u", "content": "canary-asked", "images": [{"content": "Y2FuYXJ5"}]},
            {"role": "assistant", "id": "m", "content": "canary-answered", "metrics": {"input_tokens": 12, "output_tokens": 3}}],
    });
    for flags in [
        &["plan", "-"] as &[&str],
        &["plan", "--json", "-"],
        &["plan", "--content", "full", "--user-id", "-"],
    ] {
        let ended = run_with_input(&mut agno_otel(flags), run.to_string().as_bytes()).expect_code(0);
        assert!(!ended.stdout.contains("canary") && !ended.stderr.contains("canary"), "{}", ended.stdout);
    }
    let planned =
        run_with_input(&mut agno_otel(["plan", "--json", "-"]), run.to_string().as_bytes()).summary();
    assert_eq!(planned["media"], json!({"pieces": 1, "bytes": 6}));
    assert_eq!(planned["user_id"], json!({"is_sent": false, "runs": 1}));
}

#[test]
fn the_first_contact_of_run_is_told_as_it_is_configured() {
    let folder = tempfile::TempDir::new().unwrap();
    for (history, words) in
        [("skip", "would skip 11 runs"), ("traces", "would send 6 traces"), ("count", "and count 11 runs")]
    {
        let config = folder.path().join(history);
        std::fs::write(&config, format!("[run]\nhistory = \"{history}\"\n")).unwrap();
        let config = config.to_str().unwrap();
        let shown = run(agno_otel(["plan", "--config", config]).args(recording())).expect_code(0).stdout;
        assert!(shown.contains(words), "{shown}");
        let planned = plan(&recording(), &["--config", config]);
        assert_eq!(planned["run_at_first_contact"], history);
    }
}

#[test]
fn every_field_is_in_the_document() {
    fn names(value: &Value, all: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    all.insert(name.clone());
                    // These are keyed by names of others.
                    if !["events", "oddities"].contains(&name.as_str()) {
                        names(value, all);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| names(item, all)),
            _ => {}
        }
    }
    let mut all = BTreeSet::new();
    names(&plan(&recording(), &[]), &mut all);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plan.md");
    let text = std::fs::read_to_string(path).unwrap();
    let quoted: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    let missing: Vec<_> = all.iter().filter(|name| !quoted.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/plan.md does not tell of {missing:?}");
}

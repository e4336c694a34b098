//! What holds for any records whatever. The fuzz targets check it of what they make up, and tests of mutated fixtures.

use std::collections::{BTreeMap, BTreeSet};

use agno_otel::framework::{Keep, Oddity};
use agno_otel::model::Tokens;
use agno_otel::model::tokens::CLASSES;
use agno_otel::otel::names::{self, Metric};
use agno_otel::otel::request::{self, Halves as _, MAX_REQUEST_BYTES, Signal};
use agno_otel::otel::{Mode, Policy, Resource, TraceSpans};
use agno_otel::{Gathered, Intake, Ledger, Record, Settings};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{self as metrics, metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// When the records are received.
const RECEIVED_NS: u64 = 1_800_000_000_000_000_000;
/// Where every time lies: 2001 to 2103.
const TIMES_NS: std::ops::Range<u64> = 999_990_000_000_000_000..4_200_000_000_000_000_000;
/// Bytes of an attribute without content: a name or an id, and what normalising may add to it.
const NAME_BYTES: usize = 2_048;

/// How much is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    /// Everything.
    Whole,
    /// What is cheap, and one of the rest by lot: a fuzzer gets further with ten times the inputs.
    Part(u8),
}

impl Extent {
    /// A part drawn by the bytes themselves, so that an input that fails fails again.
    pub(crate) fn part_for(bytes: &[u8]) -> Self {
        Self::Part(bytes.iter().fold(0, |lot: u8, byte| lot.wrapping_mul(31).wrapping_add(*byte)) >> 2)
    }

    fn has(self, lot: u8) -> bool {
        match self {
            Self::Whole => true,
            Self::Part(own) => own % 8 == lot,
        }
    }
}

/// Checks what is said of these records. Panics with what does not hold.
pub(crate) fn hold(records: &[Record], extent: Extent) {
    let gathered = gather(records, Keep::Figures);
    tokens(&gathered);
    if extent.has(0) {
        order(records, &gathered);
    }
    if gathered.forest.runs.is_empty() {
        return;
    }
    if extent.has(1) {
        counted(&gathered);
    }
    if extent.has(2) || extent.has(3) {
        traces(&gathered.spans(settings(Policy::default())), Policy::default());
    }
    if extent.has(4) {
        silent(records, &gathered);
    }
    let policies = [(5, Policy::new(Mode::Masked, 4_096)), (6, Policy::new(Mode::Full, 1_024))];
    for (_, policy) in policies.into_iter().filter(|(lot, _)| extent.has(*lot)) {
        let gathered = gather(records, Keep::Content);
        let spans = gathered.spans(settings(policy));
        traces(&spans, policy);
        chunks(&spans);
        for (view, spans) in gathered.traces(settings(policy)).zip(spans) {
            let typed = request::trace_chunks(spans.spans, &resource());
            assert_eq!(
                request::view_chunks(&view, &resource()),
                typed,
                "bytes are not opentelemetry-proto's"
            );
        }
    }
}

/// What was said decides nothing, and leaves only when asked for.
fn silent(records: &[Record], gathered: &Gathered) {
    let content = gather(records, Keep::Content);
    assert_eq!(content.tokens(), gathered.tokens(), "content changes what is counted");
    assert_eq!(content.oddities, gathered.oddities, "content changes what is odd");
    let none = settings(Policy::default());
    assert_eq!(content.spans(none), gathered.spans(none), "content changes spans without it");
}

fn settings(content: Policy) -> Settings {
    Settings { user_id: true, older_names: true, content, ..Settings::default() }
}

fn gather(records: &[Record], keep: Keep) -> Gathered {
    let mut intake = Intake::keeping(keep);
    for record in records {
        intake.accept(record);
    }
    intake.finish(RECEIVED_NS)
}

/// The classes of every call and every run add up, and what a trace shows is what is counted.
fn tokens(gathered: &Gathered) {
    for run in &gathered.forest.runs {
        let calls = run.calls.iter().map(|call| call.tokens);
        for tokens in calls.chain(run.usage.iter().map(|usage| usage.tokens)) {
            let classes: u64 = CLASSES.iter().map(|&class| tokens.of(class)).sum();
            assert_eq!(classes, tokens.input() + tokens.output(), "{tokens:?}");
            assert!(tokens.audio_input <= tokens.input(), "more audio than input: {tokens:?}");
            assert!(tokens.audio_output <= tokens.output(), "more audio than output: {tokens:?}");
        }
        let shown: Tokens = run.calls.iter().map(|call| call.tokens).sum();
        let exceeds = gathered.oddities.count(Oddity::MessagesExceedSum) > 0;
        if !exceeds {
            assert_eq!(
                shown.total(),
                run.own_tokens().total(),
                "{} shows what is not counted",
                run.key.run_id
            );
        }
        assert!(run.tools.iter().all(|tool| tool.asked_by.is_none_or(|call| call < run.calls.len())));
    }
}

/// Neither the order of records nor a second sight of one changes anything.
fn order(records: &[Record], gathered: &Gathered) {
    let Some((last, _)) = records.split_last() else {
        return;
    };
    let again: Vec<Record> = std::iter::once(last).chain(records).rev().cloned().collect();
    let other = gather(&again, Keep::Figures);
    assert_eq!(other.forest.runs, gathered.forest.runs, "runs depend on the order of records");
    assert_eq!(other.forest.traces, gathered.forest.traces, "trees depend on the order of records");
    let none = settings(Policy::default());
    assert_eq!(other.spans(none), gathered.spans(none), "spans depend on the order of records");
}

/// Counters say what was spent, again and again the same, with stamps that ascend.
fn counted(gathered: &Gathered) {
    let mut ledger = Ledger::default();
    gathered.count(&mut ledger, settings(Policy::default()));
    let spent: Tokens = gathered.tokens();
    let sum = |metric: &'static Metric| ledger.counters(metric).map(|(_, value)| value).sum::<u64>();
    assert_eq!(sum(&names::TOKEN_USAGE), spent.total());
    assert_eq!(sum(&names::USAGE_INPUT_TOKENS), spent.input());
    assert_eq!(sum(&names::USAGE_OUTPUT_TOKENS), spent.output());
    assert_eq!(sum(&names::TOKEN_CORRECTIONS), 0);
    let mut twice = ledger.clone();
    gathered.count(&mut twice, settings(Policy::default()));
    let released = ledger.release(RECEIVED_NS);
    assert_eq!(twice.release(RECEIVED_NS), released, "counting again moves something");
    for (series, later) in released.iter().zip(ledger.release(RECEIVED_NS / 2)) {
        let before = series.before.as_ref().map_or(series.start_ns + 1, |before| before.at_ns);
        assert!(series.start_ns < before && before <= series.now.at_ns, "{series:?}");
        assert!(series.now.at_ns < later.now.at_ns && later.before.is_none(), "{later:?}");
    }
    let metrics = agno_otel::otel::metrics::metrics(&released);
    let points = released.len() + released.iter().filter(|series| series.before.is_some()).count();
    let chunks = request::metric_chunks(metrics, &resource());
    let mut seen = 0;
    for chunk in &chunks {
        assert!(chunk.bytes.len() <= MAX_REQUEST_BYTES);
        let message = ExportMetricsServiceRequest::decode(chunk.bytes.as_slice()).unwrap();
        assert_eq!(message.items(), chunk.items);
        seen += chunk.items;
        series(&message);
    }
    assert_eq!(seen, points as u64, "points were lost in encoding");
}

fn series(message: &ExportMetricsServiceRequest) {
    let scopes = message.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    for family in scopes.flat_map(|scope| &scope.metrics) {
        match family.data.as_ref().unwrap() {
            metric::Data::Sum(metrics::Sum { data_points, .. })
            | metric::Data::Gauge(metrics::Gauge { data_points }) => {
                for point in data_points {
                    attributes(&point.attributes);
                }
            }
            metric::Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    attributes(&point.attributes);
                    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count, "{}", family.name);
                    assert!(point.sum.is_some_and(f64::is_finite));
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Every trace is a tree, its children inside their parents, its ids unique, its attributes what OTLP allows.
fn traces(traces: &[TraceSpans], policy: Policy) {
    let mut ids = BTreeSet::new();
    for trace in traces {
        let mut parents = BTreeMap::<&[u8], &Span>::new();
        for (at, span) in trace.spans.iter().enumerate() {
            assert!(ids.insert((&span.trace_id, &span.span_id)), "{} has an id of another span", span.name);
            assert_eq!(span.trace_id, trace.spans[0].trace_id);
            for (id, length) in [(&span.trace_id, 16), (&span.span_id, 8)] {
                assert!(id.len() == length && id.iter().any(|byte| *byte != 0), "{span:?}");
            }
            within(span, (TIMES_NS.start, TIMES_NS.end));
            if at > 0 {
                let parent = parents.get(span.parent_span_id.as_slice());
                let parent = parent.unwrap_or_else(|| panic!("{} has no parent before it", span.name));
                within(span, (parent.start_time_unix_nano, parent.end_time_unix_nano));
            }
            parents.insert(&span.span_id, span);
            said(span, policy);
        }
    }
}

fn within(span: &Span, (start, end): (u64, u64)) {
    let (own_start, own_end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    assert!(
        start <= own_start && own_start <= own_end && own_end <= end,
        "{} not in {start}..{end}: {span:?}",
        span.name
    );
    for event in &span.events {
        assert!(
            (own_start..=own_end).contains(&event.time_unix_nano),
            "{} outside of {}",
            event.name,
            span.name
        );
    }
}

/// What a span says is valid, and as much of what was said as the policy allows.
fn said(span: &Span, policy: Policy) {
    attributes(&span.attributes);
    let message = span.status.as_ref().map_or("", |status| &status.message);
    assert!(span.name.len() <= NAME_BYTES && message.len() <= 2 * 4_096, "{} bytes", message.len());
    let of_events = span.events.iter().flat_map(|event| {
        attributes(&event.attributes);
        &event.attributes
    });
    for attribute in span.attributes.iter().chain(of_events) {
        let Some(any_value::Value::StringValue(text)) = value(attribute) else { continue };
        if !names::CONTENT.contains(&attribute.key.as_str()) {
            assert!(text.len() <= NAME_BYTES, "{} has {} bytes", attribute.key, text.len());
            continue;
        }
        assert_ne!(policy.mode(), Mode::None, "{} leaves unasked", attribute.key);
        assert!(text.len() <= policy.limit_bytes(), "{} has {} bytes", attribute.key, text.len());
        let is_json =
            ![names::TOOL_CALL_ARGUMENTS, names::TOOL_CALL_RESULT].contains(&attribute.key.as_str());
        assert!(
            !is_json || serde_json::from_str::<serde_json::Value>(text).is_ok(),
            "{}: {text}",
            attribute.key
        );
    }
    assert!(policy.mode() != Mode::None || message.is_empty(), "an error text leaves unasked");
}

fn value(attribute: &KeyValue) -> Option<&any_value::Value> {
    attribute.value.as_ref()?.value.as_ref()
}

fn attributes(attributes: &[KeyValue]) {
    let mut keys = BTreeSet::new();
    for attribute in attributes {
        assert!(!attribute.key.is_empty() && keys.insert(&attribute.key), "{} twice", attribute.key);
        let valid = match value(attribute) {
            Some(any_value::Value::StringValue(text)) => !text.is_empty(),
            Some(any_value::Value::DoubleValue(real)) => real.is_finite(),
            Some(any_value::Value::IntValue(_) | any_value::Value::BoolValue(_)) => true,
            _ => false,
        };
        assert!(valid, "{attribute:?}");
    }
}

fn resource() -> Resource {
    Resource { attributes: vec![("service.name".to_owned(), "agno".to_owned())] }
}

/// Requests hold every span once, however they are cut; people can be shown the same.
fn chunks(traces: &[TraceSpans]) {
    for trace in traces {
        let own = request::trace_chunks(trace.spans.clone(), &resource());
        assert_eq!(own.iter().map(|chunk| chunk.items).sum::<u64>(), trace.spans.len() as u64);
        for chunk in &own {
            assert!(chunk.bytes.len() <= MAX_REQUEST_BYTES || chunk.items == 1);
            let message = ExportTraceServiceRequest::decode(chunk.bytes.as_slice()).unwrap();
            assert_eq!(message.items(), chunk.items);
            if let Some((first, second)) = request::halve(Signal::Traces, chunk) {
                assert_eq!(first.items + second.items, chunk.items);
                assert!(first.items > 0 && second.items > 0);
            } else {
                assert_eq!(chunk.items, 1);
            }
            if let Some(bare) = request::without_content(chunk) {
                assert_eq!(bare.items, chunk.items);
                assert!(request::without_content(&bare).is_none(), "content is left out in two steps");
            }
        }
        assert_eq!(agno_otel::otel::lines(trace).len(), trace.spans.len());
    }
}

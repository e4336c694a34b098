//! The durable way against kills, and the direct way beside what a program has already.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agno_otel::live::{self, Saying, Usage};
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics, SumDataPoint};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tempfile::TempDir;
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::following::Numbers;
use crate::live::TOKENS;
use crate::support::points::{points, total};
use crate::support::receiver::{Answer, Receiver};

/// Spans of one run of the example: itself, two calls, a tool, and the agent below it with its call.
const SPANS: usize = 6;
/// Tokens of one.
const OF_A_RUN: i64 = 412 + 23 + 517 + 41 + 98 + 12;

/// `examples/live.rs`, which `cargo test` builds.
fn example(url: &str, state: &Path, runs: u64) -> Child {
    let folder = Path::new(env!("CARGO_BIN_EXE_agno-otel")).parent().unwrap();
    let program = folder.join("examples/live");
    assert!(program.exists(), "build it first: cargo build --example live");
    let runs = runs.to_string();
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", url).arg("--state").arg(state);
    command.args(["--runs", &runs, "--metrics-every", "20"]).stdout(Stdio::piped()).spawn().unwrap()
}

fn tokens_of(span: &Span) -> i64 {
    let figures = span.attributes.iter().filter(|attribute| {
        ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"].contains(&attribute.key.as_str())
    });
    let number = |value: Option<&any_value::Value>| match value {
        Some(any_value::Value::IntValue(number)) => *number,
        other => panic!("{other:?}"),
    };
    figures.map(|attribute| number(attribute.value.as_ref().and_then(|value| value.value.as_ref()))).sum()
}

#[test]
fn kills_and_outages_cost_nothing_that_was_taken_and_count_nothing_twice() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("live.db");
    // An endpoint that is not there a third of the time, and takes without saying so now and then; until it is well.
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let receiver = Receiver::answering(move |at, _| match at % 6 {
        _ if well.load(Ordering::SeqCst) => Answer::taken(),
        0 | 1 => Answer::status(503).header("retry-after", "0"),
        5 => Answer::none(),
        _ => Answer::taken(),
    });
    let mut numbers = Numbers::of(7);
    let mut promised = BTreeSet::new();
    for _ in 0..8 {
        let mut child = example(&receiver.url(), &state, u64::MAX);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 1 + usize::try_from(numbers.below(12)).unwrap();
        for line in lines.take(wanted) {
            promised.insert(line.unwrap().replace('-', ""));
        }
        // SIGKILL, somewhere in the run after that.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // What is left is sent by the next process.
    is_well.store(true, Ordering::SeqCst);
    let last = example(&receiver.url(), &state, 1).wait_with_output().unwrap();
    let said = String::from_utf8(last.stdout).unwrap();
    assert!(last.status.success() && said.ends_with("all sent\n"), "{said}");
    let taken: BTreeMap<Vec<u8>, Span> =
        receiver.spans().into_iter().map(|span| (span.span_id.clone(), span)).collect();
    let mut traces = BTreeMap::<String, usize>::new();
    for span in taken.values() {
        let id: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        *traces.entry(id).or_default() += 1;
    }
    for id in &promised {
        assert_eq!(traces.get(id), Some(&SPANS), "of run {id}");
    }
    // To the token: what a killed run had spent is counted with the spans that say so.
    let of_spans: i64 = taken.values().filter(|span| span.name.starts_with("chat")).map(tokens_of).sum();
    assert!(of_spans >= OF_A_RUN * i64::try_from(promised.len() + 1).unwrap());
    assert_eq!(total(&points(&receiver.metrics()), TOKENS), of_spans);
}

/// A program's own SDK.
struct Own {
    spans: InMemorySpanExporter,
    points: InMemoryMetricExporter,
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
}

impl Own {
    fn sampling(sampler: Sampler) -> Self {
        let (spans, points) = (InMemorySpanExporter::default(), InMemoryMetricExporter::default());
        Self {
            tracers: SdkTracerProvider::builder()
                .with_simple_exporter(spans.clone())
                .with_sampler(sampler)
                .build(),
            meters: SdkMeterProvider::builder().with_periodic_exporter(points.clone()).build(),
            spans,
            points,
        }
    }

    fn spans(&self) -> BTreeMap<String, SpanData> {
        let all = self.spans.get_finished_spans().unwrap();
        let count = all.len();
        let by_name: BTreeMap<String, SpanData> =
            all.into_iter().map(|span| (span.name.to_string(), span)).collect();
        assert_eq!(by_name.len(), count, "a span twice");
        by_name
    }

    /// The sum of a counter.
    fn total(&self, metric: &str) -> u64 {
        self.meters.force_flush().unwrap();
        let all = self.points.get_finished_metrics().unwrap();
        let scopes = all.last().unwrap().scope_metrics().flat_map(ScopeMetrics::metrics);
        let of_metric = scopes.filter(|own| own.name() == metric);
        let sum = |own: &AggregatedMetrics| match own {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                sum.data_points().map(SumDataPoint::value).sum::<u64>()
            }
            other => panic!("{other:?}"),
        };
        of_metric.map(|own| sum(own.data())).sum()
    }
}

fn work() {
    let run = live::agent("Direct").model("openai", "gpt-5-mini").start();
    let mut call = run.model_call();
    call.first_chunk();
    call.usage(Usage { input: 100, cache_read: 60, output: 7, reasoning: 2, ..Usage::default() });
    call.finish_reason("stop");
    call.finish();
    run.finish();
}

#[test]
fn the_direct_way_uses_the_programs_own_providers_and_replaces_nothing() {
    let own = Own::sampling(Sampler::AlwaysOn);
    let layer = live::direct(&own.tracers, &own.meters, Saying::default());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        work();
        // What the program says itself stays out of it.
        info_span!("theirs").in_scope(|| tracing::info!("theirs"));
    });
    let spans = own.spans();
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["chat gpt-5-mini", "invoke_agent Direct"]);
    assert_eq!(spans["chat gpt-5-mini"].parent_span_id, spans["invoke_agent Direct"].span_context.span_id());
    assert_eq!((own.total(TOKENS), own.total("agno.runs")), (107, 1));
    let scope = spans["chat gpt-5-mini"].instrumentation_scope.clone();
    assert_eq!((scope.name(), scope.version()), ("agno-otel", Some(env!("CARGO_PKG_VERSION"))));
    // The global providers are still those that do nothing.
    let global = opentelemetry::global::tracer_provider().tracer("test");
    assert!(!global.start("nothing").span_context().is_valid());
}

#[test]
fn beside_a_layer_of_the_programs_own_a_run_is_a_part_of_its_trace_and_no_span_is_there_twice() {
    let own = Own::sampling(Sampler::AlwaysOn);
    let theirs = tracing_opentelemetry::layer().with_tracer(own.tracers.tracer("program"));
    let subscriber =
        tracing_subscriber::registry().with(theirs).with(live::metrics(&own.meters, Saying::default()));
    tracing::subscriber::with_default(subscriber, || info_span!("request").in_scope(work));
    let spans = own.spans();
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["chat gpt-5-mini", "invoke_agent Direct", "request"]);
    let (run, request) = (&spans["invoke_agent Direct"], &spans["request"]);
    assert_eq!(run.parent_span_id, request.span_context.span_id());
    assert_eq!(run.span_context.trace_id(), request.span_context.trace_id());
    assert_eq!(own.total(TOKENS), 107);
}

#[test]
fn what_is_not_sampled_is_counted_all_the_same() {
    let own = Own::sampling(Sampler::AlwaysOff);
    let layer = live::direct(&own.tracers, &own.meters, Saying::default());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    assert!(own.spans().is_empty());
    assert_eq!((own.total(TOKENS), own.total("agno.runs")), (107, 1));
}

#[test]
fn of_a_callers_trace_flags_the_bit_of_sampling_decides() {
    let of_caller = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    // Random trace ids (03), bits nobody knows yet, and a later version that says more.
    let sampled = ["00-?-01", "00-?-03", "00-?-ff", "01-?-05-more"].map(|shape| (shape, true));
    let not_sampled = ["00-?-00", "00-?-02", "00-?-fe", "01-?-04-01"].map(|shape| (shape, false));
    for (shape, is_sampled) in sampled.into_iter().chain(not_sampled) {
        let own = Own::sampling(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)));
        let layer = live::direct(&own.tracers, &own.meters, Saying::default());
        let handed_on = tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let run = live::agent("Called").traceparent(shape.replace('?', of_caller)).start();
            let handed_on = run.traceparent().unwrap();
            run.finish();
            handed_on
        });
        assert_eq!(own.spans().len(), usize::from(is_sampled), "{shape}");
        assert!(handed_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{shape}: {handed_on}");
        assert!(handed_on.ends_with(if is_sampled { "-01" } else { "-00" }), "{shape}: {handed_on}");
    }
}

#[test]
fn of_two_that_would_count_one_does() {
    let own = [Own::sampling(Sampler::AlwaysOn), Own::sampling(Sampler::AlwaysOn)];
    let [first, second] = own.each_ref().map(|own| live::metrics(&own.meters, Saying::default()));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(first).with(second), work);
    // An SDK that was told nothing has no metrics to export.
    let second = own[1].total(TOKENS);
    own[0].meters.force_flush().unwrap();
    assert!(own[0].points.get_finished_metrics().unwrap().iter().all(|all| all.scope_metrics().count() == 0));
    assert_eq!(second, 107);
}

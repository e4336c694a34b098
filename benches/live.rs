//! What a run with one model call and one tool costs the agent's thread, beside three bare `tracing` spans.
//!
//! *Off*: no subscriber. *On*: spans through `tracing-opentelemetry` into an SDK without exporter, bare ones with as many
//! fields as fit a call; ours counted too, directly or into a state file whose thread works beside it.
#![expect(clippy::unwrap_used, reason = "a bench reports to whoever runs it")]

use std::hint::black_box;
use std::time::Duration;

use agno_otel::live::{self, Durable, Saying, Usage};
use criterion::measurement::{Measurement as _, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt as _;

fn bare() {
    let run = info_span!("invoke_agent", agent = "Bench", session = "s", run = 1, status = "COMPLETED");
    info_span!(parent: &run, "chat", provider = "openai", model = "gpt-5-mini", input = 812, output = 96)
        .in_scope(|| {});
    info_span!(parent: &run, "execute_tool", tool = "search", call = "1", kind = "function").in_scope(|| {});
    black_box(&run);
}

fn ours() {
    let run = live::agent("Bench").model("openai", "gpt-5-mini").session("s").start();
    let mut call = run.model_call();
    call.usage(Usage { input: 812, output: 96, ..Usage::default() });
    call.finish();
    let mut tool = run.tool_call("search");
    tool.call_id("1");
    tool.finish();
    black_box(&run);
    run.finish();
}

fn measure(criterion: &mut Criterion) {
    criterion.bench_function("off/bare", |bencher| bencher.iter(bare));
    criterion.bench_function("off/live", |bencher| bencher.iter(ours));

    let tracers = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    let subscriber = tracing_subscriber::registry().with(layer.with_tracer(tracers.tracer("bench")));
    tracing::subscriber::with_default(subscriber, || {
        criterion.bench_function("on/bare", |bencher| bencher.iter(bare));
    });

    let meters = SdkMeterProvider::builder().with_reader(ManualReader::builder().build()).build();
    let subscriber = tracing_subscriber::registry().with(live::direct(&tracers, &meters, Saying::default()));
    tracing::subscriber::with_default(subscriber, || {
        criterion.bench_function("on/direct", |bencher| bencher.iter(ours));
    });

    let folder = tempfile::tempdir().unwrap();
    let durable = Durable::at(folder.path().join("live.db")).endpoint("http://127.0.0.1:1").start().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(durable.layer()), || {
        // So many at a time that the queue never fills: what is measured is the hand-over, not the disk.
        criterion.bench_function("on/durable", |bencher| {
            bencher.iter_custom(|times| {
                let (mut spent, mut left) = (Duration::ZERO, times);
                while left > 0 {
                    let now = left.min(1_000);
                    let started = WallTime.start();
                    (0..now).for_each(|_| ours());
                    spent += WallTime.end(started);
                    left -= now;
                    assert_eq!(durable.flush(Duration::from_mins(1)).lost, 0);
                }
                spent
            });
        });
    });
    durable.stop(Duration::ZERO);
}

criterion_group!(benches, measure);
criterion_main!(benches);

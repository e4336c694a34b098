//! How fast records become telemetry: decoding alone, decoding to spans, and everything up to encoded requests.
#![expect(clippy::unwrap_used, reason = "a bench has nobody to report to")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use agno_otel::framework::Keep;
use agno_otel::otel::Resource;
use agno_otel::otel::metrics::metrics;
use agno_otel::otel::request::{metric_chunks, view_chunks};
use agno_otel::{Intake, Ledger, Record, Settings};

/// A run with a team leader, two members and four tools, as `to_dict()` writes it.
const RUN: &[u8] = include_bytes!("../tests/fixtures/agno/3.1.10/team_run.run.json");
const NOW_NS: u64 = 1_800_000_000_000_000_000;

fn pipeline(criterion: &mut Criterion) {
    let record = Record { json: RUN.to_vec(), columns: agno_otel::framework::agno::Columns::default() };
    let mut group = criterion.benchmark_group("team_run");
    group.throughput(Throughput::Bytes(RUN.len() as u64));
    group.bench_function("parse with serde_json, ignoring everything", |bench| {
        bench.iter(|| serde_json::from_slice::<serde::de::IgnoredAny>(RUN).unwrap());
    });
    group.bench_function("decode", |bench| {
        bench.iter(|| agno_otel::framework::agno::decode(&record.json, &record.columns, Keep::Figures));
    });
    group.bench_function("decode to spans", |bench| {
        bench.iter(|| {
            gathered(&record).traces(Settings::default()).map(|trace| trace.spans.len()).sum::<usize>()
        });
    });
    group.bench_function("decode to encoded requests", |bench| {
        bench.iter(|| {
            let gathered = gathered(&record);
            let resource = Resource::default();
            let traces = gathered.traces(Settings::default());
            let chunks: Vec<_> = traces.flat_map(|trace| view_chunks(&trace, &resource)).collect();
            let mut ledger = Ledger::default();
            gathered.count(&mut ledger, Settings::default());
            (chunks, metric_chunks(metrics(&ledger.release(NOW_NS)), &resource))
        });
    });
    group.finish();
}

fn gathered(record: &Record) -> agno_otel::Gathered {
    let mut intake = Intake::default();
    intake.accept(record);
    intake.finish(NOW_NS)
}

criterion_group!(benches, pipeline);
criterion_main!(benches);

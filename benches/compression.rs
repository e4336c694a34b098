//! What compressing a request costs, and how much smaller it gets: why the levels are the lowest.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench reports to whoever runs it")]

use std::io::Write as _;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use agno_otel::framework::agno::Columns;
use agno_otel::otel::Resource;
use agno_otel::otel::request::view_chunks;
use agno_otel::{Intake, Record, Settings};

const RUN: &str = include_str!("../tests/fixtures/agno/3.1.10/team_run.run.json");
const NOW_NS: u64 = 1_800_000_000_000_000_000;
const RUNS: usize = 200;

/// An encoded trace request of many runs, whose ids differ.
fn request() -> Vec<u8> {
    let mut intake = Intake::default();
    for run in 0..RUNS {
        // The first group of every UUID, so that each run is another.
        let json = RUN.replace("-4", &format!("{run:02x}-4"));
        intake.accept(&Record { json: json.into_bytes(), columns: Columns::default() });
    }
    let gathered = intake.finish(NOW_NS);
    gathered
        .traces(Settings::default())
        .flat_map(|trace| view_chunks(&trace, &Resource::default()))
        .flat_map(|chunk| chunk.bytes)
        .collect()
}

fn gzip(request: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(request).unwrap();
    encoder.finish().unwrap()
}

fn compression(criterion: &mut Criterion) {
    let request = request();
    let mut group = criterion.benchmark_group("compress");
    group.throughput(Throughput::Bytes(request.len() as u64));
    for level in [1, 6] {
        let smaller = gzip(&request, level).len();
        println!("gzip {level}: {} -> {smaller} bytes", request.len());
        group.bench_function(format!("gzip {level}"), |bench| bench.iter(|| gzip(&request, level)));
    }
    for level in [1, 3] {
        let smaller = zstd::encode_all(request.as_slice(), level).unwrap().len();
        println!("zstd {level}: {} -> {smaller} bytes", request.len());
        group.bench_function(format!("zstd {level}"), |bench| {
            bench.iter(|| zstd::encode_all(request.as_slice(), level).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, compression);
criterion_main!(benches);

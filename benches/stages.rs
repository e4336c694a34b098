//! Runs one stage of the pipeline so many times, for instruction counts: `benches/instructions.sh`.
//!
//! `stages STAGE SIZE TIMES`, with a size in bytes to which the run's texts are lengthened.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a bench reports to whoever runs it")]

use std::borrow::Cow;
use std::hint::black_box;

use serde::Deserialize;
use serde::de::IgnoredAny;

use agno_otel::framework::Keep;
use agno_otel::framework::agno::{Columns, decode};
use agno_otel::otel::Resource;
use agno_otel::otel::request::view_chunks;
use agno_otel::{Gathered, Intake, Ledger, Record, Settings};

/// Three model calls and three tools, as `to_dict()` writes them.
const RUN: &str = include_str!("../tests/fixtures/agno/3.1.10/tools_multi.run.json");
/// A model with a price.
const MODEL: &str = "gpt-4o";
const NOW_NS: u64 = 1_800_000_000_000_000_000;

/// What a reader of Agno's runs would at least parse: the yardstick. Content is passed over.
#[derive(Deserialize)]
struct BareRun<'r> {
    #[serde(borrow)]
    run_id: Cow<'r, str>,
    messages: Vec<BareMessage<'r>>,
    tools: Vec<BareTool<'r>>,
    metrics: BareMetrics,
}

#[derive(Deserialize)]
struct BareMessage<'r> {
    #[serde(borrow)]
    id: Cow<'r, str>,
    role: Cow<'r, str>,
    content: Option<IgnoredAny>,
    created_at: i64,
    metrics: Option<BareMetrics>,
}

#[derive(Deserialize)]
struct BareTool<'r> {
    #[serde(borrow)]
    tool_call_id: Cow<'r, str>,
    tool_name: Cow<'r, str>,
    metrics: Option<BareTimes>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct BareMetrics {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    cache_read_tokens: u64,
    reasoning_tokens: u64,
    duration: f64,
    time_to_first_token: f64,
}

#[derive(Deserialize)]
struct BareTimes {
    start_time: f64,
    end_time: f64,
}

fn parse(json: &[u8]) -> u64 {
    let run: BareRun<'_> = serde_json::from_slice(json).unwrap();
    let of_messages: u64 = run
        .messages
        .iter()
        .map(|message| {
            black_box((&message.id, &message.role, &message.content, message.created_at));
            message.metrics.as_ref().map_or(0, |metrics| metrics.input_tokens + metrics.output_tokens)
        })
        .sum();
    for tool in &run.tools {
        let times = tool.metrics.as_ref().map(|times| times.end_time - times.start_time);
        black_box((&tool.tool_call_id, &tool.tool_name, times));
    }
    let BareMetrics {
        total_tokens, cache_read_tokens, reasoning_tokens, duration, time_to_first_token, ..
    } = run.metrics;
    black_box((&run.run_id, cache_read_tokens, reasoning_tokens, duration, time_to_first_token));
    of_messages + total_tokens
}

fn gathered(record: &Record) -> Gathered {
    let mut intake = Intake::default();
    intake.accept(record);
    intake.finish(NOW_NS)
}

/// The bytes of a trace's request.
fn encode(gathered: &Gathered) -> usize {
    let traces = gathered.traces(Settings::default());
    traces.flat_map(|trace| view_chunks(&trace, &Resource::default())).map(|chunk| chunk.bytes.len()).sum()
}

/// The run with texts so long that the record has this many bytes.
fn lengthened(bytes: usize) -> Vec<u8> {
    let mut run: serde_json::Value = serde_json::from_str(&RUN.replace("gpt-mock", MODEL)).unwrap();
    let short = run.to_string().len();
    let messages = run.get_mut("messages").unwrap().as_array_mut().unwrap();
    let each = bytes.saturating_sub(short) / messages.len();
    for content in messages.iter_mut().filter_map(|message| message.get_mut("content")) {
        *content =
            format!("{}{}", content.as_str().unwrap_or_default(), "All work and no play. ".repeat(each / 22))
                .into();
    }
    run.to_string().into_bytes()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [stage, size, times] = arguments.as_slice() else {
        return eprintln!("stages parse|decode|gather|encode|count SIZE TIMES; see benches/instructions.sh");
    };
    let record = Record { json: lengthened(size.parse().unwrap()), columns: Columns::default() };
    let mut ledger = Ledger::default();
    for _ in 0..times.parse().unwrap() {
        let record = black_box(&record);
        match stage.as_str() {
            "parse" => drop(black_box(parse(&record.json))),
            "decode" => drop(black_box(decode(&record.json, &record.columns, Keep::Figures))),
            "gather" => drop(black_box(gathered(record))),
            "encode" => drop(black_box(encode(&gathered(record)))),
            // In a ledger that knows the run already, as it does most of those it sees.
            _ => {
                let gathered = gathered(record);
                gathered.count(&mut ledger, Settings::default());
                black_box(encode(&gathered));
            }
        }
    }
}

//! An agent in Rust, with a tool, a streamed answer and an agent below the tool. The provider is a mock.
//!
//! ```text
//! cargo run --example live                                # durable: by way of live.db
//! cargo run --example live -- --direct                    # by the OpenTelemetry SDK and opentelemetry-otlp
//! ```
//!
//! Telemetry goes where `OTEL_EXPORTER_OTLP_ENDPOINT` says, or to a Collector on this machine. More: `--state FILE`,
//! `--runs COUNT`, `--current-thread`, `--metrics-every MILLISECONDS`, `--traceparent W3C` for the trace it is a part of.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use agno_otel::live::{self, Durable, Flushed, Role, Saying, ToolCall, Usage};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

type Failed = Box<dyn std::error::Error>;

/// What the mock answers, piece by piece, and what it says it used.
const PIECES: [&str; 3] = ["Yes: ", "rain until four, ", "then it clears up."];
const ASKED: Usage = Usage { input: 412, cache_read: 256, output: 23, ..USED_NOTHING };
const ANSWERED: Usage = Usage { input: 517, cache_read: 412, output: 41, reasoning: 16, ..USED_NOTHING };
const BELOW: Usage = Usage { input: 98, output: 12, ..USED_NOTHING };
const USED_NOTHING: Usage = Usage {
    input: 0,
    cache_read: 0,
    cache_write: 0,
    audio_input: 0,
    output: 0,
    reasoning: 0,
    audio_output: 0,
};
/// How long the mock takes for a piece.
const PIECE_AFTER: Duration = Duration::from_millis(2);

/// The agent: asks the model, uses a tool, and streams the answer.
async fn umbrella(session: &str, traceparent: Option<&str>) -> Option<String> {
    let start = live::agent("Weather").model("openai", "gpt-5-mini").session(session);
    let run = match traceparent {
        Some(caller) => start.traceparent(caller).start(),
        None => start.start(),
    };
    run.message(Role::System, "You tell people about the weather.");
    run.message(Role::User, "Do I need an umbrella in Oslo today?");

    let mut call = run.model_call();
    tokio::time::sleep(PIECE_AFTER).instrument(call.span().clone()).await;
    call.asks_for("forecast", "call_1", r#"{"city": "Oslo"}"#);
    call.usage(ASKED);
    call.finish_reason("tool_call");
    call.finish();

    let mut tool = run.tool_call("forecast");
    tool.call_id("call_1");
    tool.arguments(r#"{"city": "Oslo"}"#);
    tool.result(forecast(&tool).await);
    tool.finish();

    let mut call = run.model_call();
    for piece in PIECES {
        tokio::time::sleep(PIECE_AFTER).await;
        call.first_chunk();
        call.answer(piece);
    }
    call.usage(ANSWERED);
    call.finish_reason("stop");
    call.finish();

    run.answer(&PIECES.concat());
    let id = run.run_id();
    run.finish();
    id
}

/// The tool has an agent of its own.
async fn forecast(tool: &ToolCall) -> &'static str {
    let run = tool.agent("Meteorologist").model("anthropic", "claude-haiku-4-5").start();
    let mut call = run.model_call();
    tokio::time::sleep(PIECE_AFTER).await;
    call.usage(BELOW);
    call.finish();
    run.finish();
    "rain until 16:00"
}

#[derive(Clone)]
struct Wanted {
    state: String,
    is_direct: bool,
    runs: u64,
    is_current_thread: bool,
    metrics_every: Duration,
    traceparent: Option<String>,
}

fn wanted() -> Result<Wanted, Failed> {
    let mut wanted = Wanted {
        state: "live.db".to_owned(),
        is_direct: false,
        runs: 1,
        is_current_thread: false,
        metrics_every: Duration::from_secs(15),
        traceparent: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--direct" => wanted.is_direct = true,
            "--current-thread" => wanted.is_current_thread = true,
            "--state" => wanted.state = value()?,
            "--runs" => wanted.runs = value()?.parse()?,
            "--metrics-every" => wanted.metrics_every = Duration::from_millis(value()?.parse()?),
            "--traceparent" => wanted.traceparent = Some(value()?),
            _ => return Err(format!("unknown argument {argument}").into()),
        }
    }
    Ok(wanted)
}

fn main() -> Result<(), Failed> {
    let wanted = wanted()?;
    let mut builder = if wanted.is_current_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = builder.enable_all().build()?;
    if wanted.is_direct { direct(&runtime, &wanted) } else { durable(&runtime, &wanted) }
}

/// By way of a state file: what ended is kept, whatever becomes of the process or the Collector.
fn durable(runtime: &tokio::runtime::Runtime, wanted: &Wanted) -> Result<(), Failed> {
    let durable = Durable::at(&wanted.state).metrics_every(wanted.metrics_every).start()?;
    tracing_subscriber::registry().with(durable.layer()).init();
    runtime.block_on(async {
        for _ in 0..wanted.runs {
            let id = umbrella("conversation-7", wanted.traceparent.as_deref()).await;
            // Whoever reads the id may rely on it.
            match durable.flush(Duration::from_secs(10)) {
                Flushed { waiting: 0, lost: 0 } => println!("{}", id.unwrap_or_default()),
                Flushed { waiting, lost } => println!("not all is on disk: {waiting} wait, {lost} are lost"),
            }
        }
    });
    let ended = durable.stop(Duration::from_secs(5));
    match (ended.lost, ended.waiting_requests) {
        (0, Some(0)) => println!("all sent"),
        (0, Some(waiting)) => {
            println!(
                "{waiting} requests wait in {} for the next start: is the endpoint there?",
                wanted.state
            );
        }
        (lost, _) => println!("{lost} spans lost: {} could not be written", wanted.state),
    }
    Ok(())
}

/// By the SDK's own pipeline, which stays the program's.
fn direct(runtime: &tokio::runtime::Runtime, wanted: &Wanted) -> Result<(), Failed> {
    // opentelemetry-otlp's channel wants a runtime to be there when it is made.
    let _within = runtime.enter();
    let spans = SpanExporter::builder().with_tonic().build()?;
    let points = MetricExporter::builder().with_tonic().build()?;
    let tracers = SdkTracerProvider::builder().with_batch_exporter(spans).build();
    // Without it two processes are one series in Prometheus, and overwrite each other.
    let instance = KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string());
    let resource = Resource::builder().with_attribute(instance).build();
    let meters = SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(points).build();
    tracing_subscriber::registry().with(live::direct(&tracers, &meters, Saying::default())).init();
    runtime.block_on(async {
        for _ in 0..wanted.runs {
            let id = umbrella("conversation-7", wanted.traceparent.as_deref()).await;
            println!("{}", id.unwrap_or_default());
        }
        // Its requests need the runtime, so it is not to be waited for on the runtime's only thread.
        let flushed = tokio::task::spawn_blocking(move || (tracers.shutdown(), meters.shutdown())).await;
        println!("flushed {flushed:?}");
    });
    Ok(())
}

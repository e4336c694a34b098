//! What the bridge says of itself: its logs, spans and counters, by OTLP, as a service of its own.
//!
//! The code says it with `tracing`, and only here is it known what becomes of that. Three rules hold:
//!
//! * **Nothing of it is about itself.** Only what this crate says is taken, and the way out (`export`) says nothing.
//! * **Nothing of it is content**: counts, ids, names and lengths.
//! * **It never holds the work up.** Queues are bounded, what does not fit is dropped and counted, and
//!   [`Observing::stop`] takes no longer than it is told.
//!
//! The SDK's processors and readers work on threads of their own. They wait there for the requests of
//! `way`, which are made on one more thread with a reactor: so it does not matter where providers are flushed from.

mod underway;
mod way;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};
use tokio::time::Instant;
use tracing::{Level, Metadata, Subscriber};
use tracing_opentelemetry::MetricsLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::config::Observed;
use crate::delivery::{COUNTERS, SERVERS_WORDS};
use crate::export::{Endpoint, Exporter, Service, TlsError};
pub use underway::{About, Underway};
pub use way::Lost;
use way::{Counted, Fate, Runtime, Way};

/// Whose telemetry this is.
pub const SERVICE_NAME: &str = "agno-otel";

/// Spans that wait to be sent; more than `underway::MAX_TRACES`, for those of a request end all at once.
const MAX_SPANS: usize = 8_192;
/// Log records that wait to be sent.
const MAX_LOGS: usize = 2_048;
/// Spans or log records of one request.
const MAX_BATCH: usize = 512;
/// How often counters are sent.
const INTERVAL: Duration = Duration::from_secs(15);

/// Why the bridge cannot be observed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The exporter does not want what it was given.
    #[error("cannot send agno-otel's own telemetry")]
    Exporter(#[from] ExporterBuildError),
    /// No thread can be started.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// The bridge, being observed.
#[derive(Debug)]
pub struct Observing {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    logs: SdkLoggerProvider,
    fates: [Arc<Fate>; 3],
    /// Dropped last: what is sent while stopping goes through it.
    _runtime: Runtime,
}

/// Starts to observe. Nothing is seen before [`Observing::layer`] is where `tracing` goes, and nothing is sent
/// before there is something to be seen.
pub fn start(to: Observed) -> Result<Observing, Error> {
    let runtime = Runtime::start()?;
    let [spans, points, records] = ["spans", "metrics", "log records"];
    let traces = Way::to(to.traces, Service::Traces, spans, &runtime)?;
    let metrics = Way::to(to.metrics, Service::Metrics, points, &runtime)?;
    let logs = Way::to(to.logs, Service::Logs, records, &runtime)?;
    let fates = [&traces, &metrics, &logs].map(Way::fate);
    let resource = resource(to.attributes);
    Ok(Observing {
        traces: tracer_provider(traces, resource.clone())?,
        metrics: meter_provider(metrics, resource.clone())?,
        logs: logger_provider(logs, resource)?,
        fates,
        _runtime: runtime,
    })
}

fn tracer_provider(way: Way, resource: Resource) -> Result<SdkTracerProvider, ExporterBuildError> {
    let fate = way.fate();
    let exporter = configured(SpanExporter::builder().with_http(), way).build()?;
    let config = trace::BatchConfigBuilder::default()
        .with_max_queue_size(MAX_SPANS)
        .with_max_export_batch_size(MAX_BATCH)
        .build();
    let exporter = Counted { inner: exporter, fate: Arc::clone(&fate) };
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    Ok(SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource)
        .with_span_processor(Counted { inner: processor, fate })
        .build())
}

fn meter_provider(way: Way, resource: Resource) -> Result<SdkMeterProvider, ExporterBuildError> {
    let exporter = configured(MetricExporter::builder().with_http(), way).build()?;
    let reader = PeriodicReader::builder(exporter).with_interval(INTERVAL).build();
    Ok(SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build())
}

fn logger_provider(way: Way, resource: Resource) -> Result<SdkLoggerProvider, ExporterBuildError> {
    let fate = way.fate();
    let exporter = configured(LogExporter::builder().with_http(), way).build()?;
    let config = logs::BatchConfigBuilder::default()
        .with_max_queue_size(MAX_LOGS)
        .with_max_export_batch_size(MAX_BATCH)
        .build();
    let exporter = Counted { inner: exporter, fate: Arc::clone(&fate) };
    let processor = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
    Ok(SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_log_processor(Counted { inner: processor, fate })
        .build())
}

/// Everything the exporter would else take from the environment in its own way is said: `config` has read it, and
/// endpoint, headers, certificates and compression are the way's.
fn configured<B: WithExportConfig + WithHttpConfig>(builder: B, way: Way) -> B {
    let (url, timeout) = (way.url(), way.timeout());
    builder.with_protocol(Protocol::HttpBinary).with_endpoint(url).with_timeout(timeout).with_http_client(way)
}

/// Whose telemetry it is. `OTEL_RESOURCE_ATTRIBUTES` counts too, but for what names a service: that is the agents'.
fn resource(attributes: Vec<(String, String)>) -> Resource {
    let said = attributes.into_iter().map(|(name, value)| KeyValue::new(name, value));
    let own = [
        KeyValue::new("service.name", SERVICE_NAME),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ];
    Resource::builder().with_attributes(said).with_attributes(own).build()
}

/// True for what this crate says in its own words. What it is built of says more, and some of that while telemetry
/// is sent.
fn is_ours(said: &Metadata<'_>) -> bool {
    let target = said.target();
    let is_from_here = target == "agno_otel" || target.starts_with("agno_otel::");
    is_from_here && target != SERVERS_WORDS && *said.level() <= Level::INFO
}

/// True for what is for people to read: neither spans nor counters.
pub fn is_for_people(said: &Metadata<'_>) -> bool {
    said.is_event() && said.target() != COUNTERS
}

impl Observing {
    /// Takes what `tracing` is told.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s>,
    {
        let tracer: SdkTracer = self.traces.tracer(SERVICE_NAME);
        let spans = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            // Where the code is, and on which thread it ran, is of no use to who runs it.
            .with_location(false)
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_target(false);
        let logs = OpenTelemetryTracingBridge::new(&self.logs);
        spans
            .with_filter(filter_fn(|said| said.is_span() && is_ours(said)))
            .and_then(logs.with_filter(filter_fn(|said| is_for_people(said) && is_ours(said))))
            .and_then(MetricsLayer::new(self.metrics.clone()))
    }

    /// Sends what waits, for at most this long, and ends. Returns what did not arrive.
    pub fn stop(self, limit: Duration) -> Vec<Lost> {
        let until = Instant::now() + limit;
        let (tell, told) = mpsc::channel();
        let Self { traces, metrics, logs, fates, _runtime } = self;
        let each: [Box<dyn FnOnce() + Send>; 3] = [
            Box::new(move || drop(traces.shutdown_with_timeout(limit))),
            // It waits for five seconds, whatever it is told.
            Box::new(move || drop(metrics.shutdown())),
            Box::new(move || drop(logs.shutdown_with_timeout(limit))),
        ];
        for stop in each {
            let tell = tell.clone();
            std::thread::spawn(move || {
                stop();
                // Nobody listens any more once the time is over.
                tell.send(()).ok();
            });
        }
        for _ in 0..3 {
            if told.recv_timeout(until.saturating_duration_since(Instant::now())).is_err() {
                break;
            }
        }
        fates.iter().filter_map(|fate| fate.lost()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, File, Flags};
    use tracing::{error, info_span};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn only_what_is_said_here_for_everyone_is_taken() {
        // Nobody listens there, so that all that was taken is lost, and counted.
        let endpoint = Some("http://127.0.0.1:1".to_owned());
        let flags = Flags { endpoint, observe: Some(true), ..Flags::default() };
        let config = Config { flags: &flags, environment: &|_| None, file: &File::default() };
        let observing = start(config.observed().unwrap().unwrap()).unwrap();
        let subscriber = tracing_subscriber::registry().with(observing.layer());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..2 {
                info_span!(target: "agno_otel::cli", "ours").in_scope(|| error!(target: "agno_otel", "ours"));
            }
            info_span!(target: "hyper", "theirs").in_scope(|| error!(target: "opentelemetry_sdk", "theirs"));
            error!(target: "agno_otelier", "theirs");
            error!(target: SERVERS_WORDS, "a server's");
            error!(target: COUNTERS, "no counter");
        });
        let lost = observing.stop(Duration::from_secs(5));
        let counts: Vec<_> = lost.iter().map(|lost| (lost.what, lost.count)).collect();
        assert_eq!(counts, [("spans", Some(2)), ("log records", Some(2))]);
    }
}

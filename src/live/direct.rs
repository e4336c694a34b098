//! The direct way: the program's own OpenTelemetry takes spans and measurements.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider};
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::layer::Runs;
use super::way::{To, Way};
use super::{Saying, traces};
use crate::ledger::{Count, Measurement, unscaled};
use crate::money::Prices;
use crate::otel::names::{self, METRICS, Metric};

/// Runs go to these providers. Nothing global is set, read or replaced; flushing and shutting down stays with whoever owns
/// them.
///
/// The layer takes this module's spans alone. A program that has `tracing-opentelemetry`'s layer already takes [`metrics`]
/// beside it: two such layers that see the same span make that crate panic.
///
/// Sessions are not counted this way (`agno.session.*`): what they stand at is known to whoever keeps it, which is the
/// [durable](super::Durable) way.
///
/// ```
/// use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
/// use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let spans = InMemorySpanExporter::default();
/// let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
/// let meters = SdkMeterProvider::builder().with_periodic_exporter(InMemoryMetricExporter::default()).build();
///
/// let live = agno_otel::live::direct(&tracers, &meters, Default::default());
/// tracing::subscriber::with_default(tracing_subscriber::registry().with(live), || {
///     agno_otel::live::agent("Greeter").start().finish();
/// });
/// assert_eq!(spans.get_finished_spans().unwrap()[0].name, "invoke_agent Greeter");
/// ```
pub fn direct<S, T, M>(tracers: &T, meters: &M, saying: Saying) -> impl Layer<S> + use<S, T, M>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    T: TracerProvider,
    T::Tracer: Send + Sync + 'static,
    <T::Tracer as Tracer>::Span: Send + Sync,
    M: MeterProvider + ?Sized,
{
    traces(tracers.tracer_with_scope(scope())).and_then(metrics(meters, saying))
}

/// Only the measurements of runs, beside a `tracing-opentelemetry` layer of the program's own, which takes their spans as it
/// takes all others.
pub fn metrics<M: MeterProvider + ?Sized>(meters: &M, saying: Saying) -> Runs {
    let to = To::Direct(Instruments::of(&meters.meter_with_scope(metrics_scope())));
    Runs::of(Arc::new(Way { settings: saying.settings(), prices: Prices::default(), to }))
}

pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(names::SCOPE).with_version(env!("CARGO_PKG_VERSION")).build()
}

/// A version would be a part of each series' identity.
fn metrics_scope() -> InstrumentationScope {
    InstrumentationScope::builder(names::SCOPE).build()
}

/// The SDK's instruments for our metrics, by name.
#[derive(Debug)]
pub(super) struct Instruments(BTreeMap<&'static str, Instrument>);

#[derive(Debug)]
enum Instrument {
    Counter(Counter<u64>),
    Amount(Counter<f64>),
    Histogram(Histogram<f64>),
}

impl Instruments {
    fn of(meter: &Meter) -> Self {
        let all = METRICS.iter().filter_map(|metric| Some((metric.name, instrument(meter, metric)?)));
        Self(all.collect())
    }

    pub(super) fn record(&self, measurements: Vec<Measurement>) {
        for Measurement { metric, attributes, count, .. } in measurements {
            let value = match count {
                Count::Birth => 0,
                Count::Share(value)
                | Count::Priced { value: Some(value), .. }
                | Count::Once { value, .. } => value,
                // Of what has no price there is no series.
                Count::Priced { value: None, .. } => continue,
            };
            let said = attributes.into_iter().filter(|(_, value)| !value.is_empty());
            let attributes: Vec<KeyValue> = said.map(|(name, value)| KeyValue::new(name, value)).collect();
            match self.0.get(metric.name) {
                Some(Instrument::Counter(counter)) => counter.add(value, &attributes),
                Some(Instrument::Amount(counter)) => counter.add(unscaled(value, scale(metric)), &attributes),
                // Nothing is no value, as in the ledger.
                Some(Instrument::Histogram(histogram)) if value > 0 => {
                    histogram.record(unscaled(value, scale(metric)), &attributes);
                }
                Some(Instrument::Histogram(_)) | None => {}
            }
        }
    }
}

fn scale(metric: &Metric) -> u64 {
    match metric.instrument {
        names::Instrument::Amount { scale } | names::Instrument::Histogram { scale, .. } => scale,
        names::Instrument::Counter | names::Instrument::Gauge => 1,
    }
}

/// `None`: no run is measured by it.
fn instrument(meter: &Meter, metric: &'static Metric) -> Option<Instrument> {
    let Metric { name, unit, description, .. } = *metric;
    Some(match metric.instrument {
        names::Instrument::Counter => {
            Instrument::Counter(meter.u64_counter(name).with_unit(unit).with_description(description).build())
        }
        names::Instrument::Amount { .. } => {
            Instrument::Amount(meter.f64_counter(name).with_unit(unit).with_description(description).build())
        }
        names::Instrument::Histogram { bounds, .. } => Instrument::Histogram(
            meter
                .f64_histogram(name)
                .with_unit(unit)
                .with_description(description)
                .with_boundaries(bounds.to_vec())
                .build(),
        ),
        names::Instrument::Gauge => return None,
    })
}

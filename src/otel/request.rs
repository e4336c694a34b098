//! Spans and metrics into OTLP requests of bounded size.
//!
//! Each trace is encoded once, as one `ResourceSpans` field of an `ExportTraceServiceRequest`. Protobuf messages
//! concatenate, so a request is the concatenation of such chunks: nothing is encoded twice, and a request can be
//! split at their bounds.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, Metric, ResourceMetrics, ScopeMetrics, Sum, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::attributes::text;
use super::content::strip_content;
use super::spans::{TraceSpans, TraceView, strip_messages};
use super::view::{Attribute, SpanView};
use super::{encode, names};

/// Requests stay below this: Collectors and tonic servers take 4 MiB, and the rest is room for their framing.
pub const MAX_REQUEST_BYTES: usize = 3_670_016;

/// Who sends: the application the agents belong to.
///
/// Attributes are the identity of every metric series, so there are only those that never change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// Attributes in the order they are sent.
    pub attributes: Vec<(String, String)>,
}

/// The resource attributes a metric series keeps its identity by.
const METRIC_IDENTITY: [&str; 4] =
    ["service.name", "service.namespace", "service.instance.id", "deployment.environment.name"];

impl Resource {
    fn otlp<'r>(attributes: impl Iterator<Item = &'r (String, String)>) -> OtlpResource {
        let mut otlp = Vec::new();
        for (name, value) in attributes.filter(|(_, value)| !value.is_empty()) {
            text(&mut otlp, name, value);
        }
        OtlpResource { attributes: otlp, ..OtlpResource::default() }
    }

    /// An instance is fresh per invocation, which would make a resent span another one.
    fn of_spans(&self) -> impl Iterator<Item = &(String, String)> {
        self.attributes.iter().filter(|(name, value)| name != "service.instance.id" && !value.is_empty())
    }

    fn for_metrics(&self) -> OtlpResource {
        Self::otlp(self.of_metrics())
    }

    /// The attributes that every metric series has.
    pub(super) fn of_metrics(&self) -> impl Iterator<Item = &(String, String)> {
        self.attributes.iter().filter(|(name, _)| METRIC_IDENTITY.contains(&name.as_str()))
    }
}

/// Which of OTLP's services a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// Its name, as OpenTelemetry writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// An encoded request, or part of one: a trace, a piece of one too large for a request, or metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// An encoded `ExportTraceServiceRequest` or `ExportMetricsServiceRequest`.
    pub bytes: Vec<u8>,
    /// How many spans or points it holds.
    pub items: u64,
}

/// Encodes one trace. A trace larger than a request becomes several chunks, cut between spans.
pub fn view_chunks(trace: &TraceView<'_>, resource: &Resource) -> Vec<Chunk> {
    let bytes = encoded(&trace.spans, resource);
    if bytes.len() > MAX_REQUEST_BYTES
        && let Ok(message) = ExportTraceServiceRequest::decode(bytes.as_slice())
    {
        return bounded(message);
    }
    vec![Chunk { bytes, items: trace.spans.len() as u64 }]
}

fn encoded(spans: &[SpanView<'_>], resource: &Resource) -> Vec<u8> {
    encode::trace_request(spans, resource.of_spans().map(|(name, value)| Attribute::text(name, value)))
}

impl From<TraceView<'_>> for TraceSpans {
    /// What a receiver makes of the bytes.
    fn from(trace: TraceView<'_>) -> Self {
        let bytes = encoded(&trace.spans, &Resource::default());
        let request = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap_or_default();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        Self { run_id: trace.run_id.to_owned(), spans: scopes.flat_map(|scope| scope.spans).collect() }
    }
}

/// Encodes the spans of one trace, as [`view_chunks`] does.
pub fn trace_chunks(spans: Vec<Span>, resource: &Resource) -> Vec<Chunk> {
    bounded(trace_request(spans, resource))
}

/// A message in as few chunks as stay below [`MAX_REQUEST_BYTES`].
fn bounded<M: Halves>(message: M) -> Vec<Chunk> {
    let chunk = message.chunk();
    if chunk.bytes.len() <= MAX_REQUEST_BYTES {
        return vec![chunk];
    }
    match message.halves() {
        Ok((first, second)) => [first, second].into_iter().flat_map(bounded).collect(),
        Err(_) => vec![chunk],
    }
}

/// Two chunks that say together what this one says. `None`: it holds one span, or one series.
pub fn halve(signal: Signal, chunk: &Chunk) -> Option<(Chunk, Chunk)> {
    fn of<M: Halves>(bytes: &[u8]) -> Option<(Chunk, Chunk)> {
        let (first, second) = M::decode(bytes).ok()?.halves().ok()?;
        Some((first.chunk(), second.chunk()))
    }
    match signal {
        Signal::Traces => of::<ExportTraceServiceRequest>(&chunk.bytes),
        Signal::Metrics => of::<ExportMetricsServiceRequest>(&chunk.bytes),
    }
}

/// A series as it is sent: its metric's name, and its attributes in order.
pub type Identity = (String, Vec<(String, String)>);

/// The series that a request of metrics, or several one after the other, speak of.
pub fn series_of(request: &[u8]) -> BTreeSet<Identity> {
    let message = ExportMetricsServiceRequest::decode(request).unwrap_or_default();
    let scopes = message.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    let of_metric = |metric: Metric| {
        let attributes: Vec<Vec<KeyValue>> = match metric.data {
            Some(metric::Data::Sum(sum)) => sum.data_points.into_iter().map(|it| it.attributes).collect(),
            Some(metric::Data::Gauge(gauge)) => {
                gauge.data_points.into_iter().map(|it| it.attributes).collect()
            }
            Some(metric::Data::Histogram(histogram)) => {
                histogram.data_points.into_iter().map(|it| it.attributes).collect()
            }
            _ => Vec::new(),
        };
        attributes.into_iter().map(move |attributes| (metric.name.clone(), texts(attributes)))
    };
    scopes.flat_map(|scope| scope.metrics).flat_map(of_metric).collect()
}

fn texts(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |attribute: KeyValue| match attribute.value?.value? {
        any_value::Value::StringValue(text) => Some((attribute.key, text)),
        _ => None,
    };
    attributes.into_iter().filter_map(text).collect()
}

/// Spans without what may be large of them. `None`: there was nothing to take.
pub fn without_content(spans: &Chunk) -> Option<Chunk> {
    let mut message = ExportTraceServiceRequest::decode(spans.bytes.as_slice()).ok()?;
    let scopes = message.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        strip_content(span);
        strip_messages(span);
    }
    let bare = message.chunk();
    (bare.bytes.len() < spans.bytes.len()).then_some(bare)
}

/// A request that can be cut in two.
pub trait Halves: Message + Default + Sized {
    /// How many spans or points it holds.
    fn items(&self) -> u64;

    /// Two requests that say together what this one says: cut between traces, then between spans; or between
    /// metrics, then between series. The whole, where there is nothing to cut.
    fn halves(self) -> Result<(Self, Self), Self>;

    /// Encodes it.
    fn chunk(&self) -> Chunk {
        Chunk { bytes: self.encode_to_vec(), items: self.items() }
    }
}

impl Halves for ExportTraceServiceRequest {
    fn items(&self) -> u64 {
        let scopes = self.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.map(|scope| scope.spans.len() as u64).sum()
    }

    fn halves(mut self) -> Result<(Self, Self), Self> {
        if self.resource_spans.len() > 1 {
            let second = self.resource_spans.split_off(self.resource_spans.len() / 2);
            return Ok((self, Self { resource_spans: second }));
        }
        let scope = self.resource_spans.first_mut().and_then(|resource| resource.scope_spans.first_mut());
        let Some(scope) = scope.filter(|scope| scope.spans.len() > 1) else {
            return Err(self);
        };
        let spans = scope.spans.split_off(scope.spans.len() / 2);
        let mut second = Self { resource_spans: self.resource_spans.iter().map(without_spans).collect() };
        let scope = second.resource_spans.first_mut().and_then(|resource| resource.scope_spans.first_mut());
        if let Some(scope) = scope {
            scope.spans = spans;
        }
        Ok((self, second))
    }
}

/// Resource and scope of spans, without the spans.
fn without_spans(spans: &ResourceSpans) -> ResourceSpans {
    let scope = |scope: &ScopeSpans| ScopeSpans {
        scope: scope.scope.clone(),
        spans: Vec::new(),
        schema_url: scope.schema_url.clone(),
    };
    ResourceSpans {
        resource: spans.resource.clone(),
        scope_spans: spans.scope_spans.iter().map(scope).collect(),
        schema_url: spans.schema_url.clone(),
    }
}

impl Halves for ExportMetricsServiceRequest {
    fn items(&self) -> u64 {
        let scopes = self.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        scopes.flat_map(|scope| &scope.metrics).map(points).sum()
    }

    fn halves(mut self) -> Result<(Self, Self), Self> {
        if self.resource_metrics.len() > 1 {
            let second = self.resource_metrics.split_off(self.resource_metrics.len() / 2);
            return Ok((self, Self { resource_metrics: second }));
        }
        let scope = self.resource_metrics.first_mut().and_then(|resource| resource.scope_metrics.first_mut());
        let second = scope.and_then(|scope| match scope.metrics.len() {
            0 => None,
            1 => scope.metrics.first_mut().and_then(split_family).map(|second| vec![second]),
            count => Some(scope.metrics.split_off(count / 2)),
        });
        let Some(metrics) = second else {
            return Err(self);
        };
        let resource = self.resource_metrics.first().and_then(|resource| resource.resource.clone());
        Ok((self, metric_request(metrics, resource.unwrap_or_default())))
    }
}

fn points(metric: &Metric) -> u64 {
    let count = match &metric.data {
        Some(metric::Data::Sum(sum)) => sum.data_points.len(),
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(metric::Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    };
    count as u64
}

fn trace_request(spans: Vec<Span>, resource: &Resource) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: names::SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let resource_spans = ResourceSpans {
        resource: Some(Resource::otlp(resource.of_spans())),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
        schema_url: String::new(),
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// Requests of all metrics, one a chunk; split by family where they are too large for one, and within a family
/// by series.
///
/// No scope version and no schema URL: both would become part of a series' identity.
pub fn metric_chunks(metrics: Vec<Metric>, resource: &Resource) -> Vec<Chunk> {
    if metrics.is_empty() {
        return Vec::new();
    }
    bounded(metric_request(metrics, resource.for_metrics()))
}

fn metric_request(metrics: Vec<Metric>, resource: OtlpResource) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope { name: names::SCOPE.to_owned(), ..InstrumentationScope::default() };
    let resource_metrics = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }],
        schema_url: String::new(),
    };
    ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }
}

/// Takes half of the series out of a family, if there is more than one.
fn split_family(family: &mut Metric) -> Option<Metric> {
    /// The two points of a series have equal attributes and stay together.
    fn split<P>(points: &mut Vec<P>, same: impl Fn(&P, &P) -> bool) -> Option<Vec<P>> {
        let middle = points.len() / 2;
        let together = middle > 0 && same(points.get(middle - 1)?, points.get(middle)?);
        let at = if together { middle + 1 } else { middle };
        (0 < at && at < points.len()).then(|| points.split_off(at))
    }
    let data = match family.data.as_mut()? {
        metric::Data::Sum(sum) => metric::Data::Sum(Sum {
            data_points: split(&mut sum.data_points, |a, b| a.attributes == b.attributes)?,
            aggregation_temporality: sum.aggregation_temporality,
            is_monotonic: sum.is_monotonic,
        }),
        metric::Data::Gauge(gauge) => metric::Data::Gauge(Gauge {
            data_points: split(&mut gauge.data_points, |a, b| a.attributes == b.attributes)?,
        }),
        metric::Data::Histogram(histogram) => metric::Data::Histogram(Histogram {
            data_points: split(&mut histogram.data_points, |a, b| a.attributes == b.attributes)?,
            aggregation_temporality: histogram.aggregation_temporality,
        }),
        metric::Data::ExponentialHistogram(_) | metric::Data::Summary(_) => return None,
    };
    Some(Metric {
        name: family.name.clone(),
        description: family.description.clone(),
        unit: family.unit.clone(),
        metadata: Vec::new(),
        data: Some(data),
    })
}

#[cfg(test)]
mod tests;

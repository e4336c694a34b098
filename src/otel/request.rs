//! Spans and metrics into OTLP requests of bounded size.
//!
//! Each trace is encoded once, as one `ResourceSpans` field of an `ExportTraceServiceRequest`. Protobuf messages
//! concatenate, so a request is the concatenation of such chunks: nothing is encoded twice, and a request can be
//! split at their bounds.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics, metric};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::attributes::text;
use super::names;

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

    fn for_spans(&self) -> OtlpResource {
        // An instance is fresh per invocation, which would make a resent span another one.
        Self::otlp(self.attributes.iter().filter(|(name, _)| name != "service.instance.id"))
    }

    fn for_metrics(&self) -> OtlpResource {
        Self::otlp(self.attributes.iter().filter(|(name, _)| METRIC_IDENTITY.contains(&name.as_str())))
    }
}

/// Part of a trace request: one trace, or a piece of one too large for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceChunk {
    /// An encoded `ExportTraceServiceRequest`.
    pub bytes: Vec<u8>,
    /// How many spans it holds.
    pub spans: u64,
}

/// Encodes one trace. A trace larger than a request becomes several chunks, cut between spans.
pub fn trace_chunks(spans: Vec<Span>, resource: &Resource) -> Vec<TraceChunk> {
    let count = spans.len();
    let message = trace_request(spans, resource);
    let bytes = message.encode_to_vec();
    if bytes.len() <= MAX_REQUEST_BYTES || count <= 1 {
        return vec![TraceChunk { bytes, spans: count as u64 }];
    }
    let scopes = message.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
    let mut first: Vec<Span> = scopes.flat_map(|scope| scope.spans).collect();
    let second = first.split_off(count / 2);
    [first, second].into_iter().flat_map(|half| trace_chunks(half, resource)).collect()
}

fn trace_request(spans: Vec<Span>, resource: &Resource) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: names::SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource.for_spans()),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
        schema_url: String::new(),
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// Joins chunks into requests, in order, each below [`MAX_REQUEST_BYTES`]. The ranges are of `chunks`.
pub fn join(chunks: &[TraceChunk]) -> Vec<std::ops::Range<usize>> {
    let mut requests = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, chunk) in chunks.iter().enumerate() {
        if at > start && size + chunk.bytes.len() > MAX_REQUEST_BYTES {
            requests.push(start..at);
            (start, size) = (at, 0);
        }
        size += chunk.bytes.len();
    }
    if start < chunks.len() {
        requests.push(start..chunks.len());
    }
    requests
}

/// Requests of all metrics, split by family, and within a family by series where one is too large.
///
/// No scope version and no schema URL: both would become part of a series' identity.
pub fn metric_requests(metrics: Vec<Metric>, resource: &Resource) -> Vec<ExportMetricsServiceRequest> {
    let mut requests = Vec::new();
    let mut pending: Vec<Metric> = Vec::new();
    let mut size = 0;
    for family in metrics.into_iter().flat_map(split_family) {
        let bytes = family.encoded_len() + FRAMING_BYTES;
        if !pending.is_empty() && size + bytes > MAX_REQUEST_BYTES - RESOURCE_BYTES {
            requests.push(metric_request(std::mem::take(&mut pending), resource));
            size = 0;
        }
        size += bytes;
        pending.push(family);
    }
    if !pending.is_empty() {
        requests.push(metric_request(pending, resource));
    }
    requests
}

/// Tag and length of a nested message.
const FRAMING_BYTES: usize = 8;
/// Room for the resource and the scope of a metrics request.
const RESOURCE_BYTES: usize = 64 * 1024;

fn metric_request(metrics: Vec<Metric>, resource: &Resource) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope { name: names::SCOPE.to_owned(), ..InstrumentationScope::default() };
    let resource_metrics = ResourceMetrics {
        resource: Some(resource.for_metrics()),
        scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }],
        schema_url: String::new(),
    };
    ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }
}

fn split_family(family: Metric) -> Vec<Metric> {
    if family.encoded_len() <= MAX_REQUEST_BYTES - RESOURCE_BYTES {
        return vec![family];
    }
    let Some((first, second)) = halves(&family) else {
        return vec![family];
    };
    split_family(first).into_iter().chain(split_family(second)).collect()
}

/// Two halves of a family. The two points of a series have equal attributes and stay together.
fn halves(family: &Metric) -> Option<(Metric, Metric)> {
    fn cut<P: Clone>(points: &[P], same: impl Fn(&P, &P) -> bool) -> Option<(Vec<P>, Vec<P>)> {
        let middle = points.len() / 2;
        let together = middle > 0 && same(points.get(middle - 1)?, points.get(middle)?);
        let (first, second) = points.split_at(if together { middle + 1 } else { middle });
        (!first.is_empty() && !second.is_empty()).then(|| (first.to_vec(), second.to_vec()))
    }
    let with = |data: metric::Data| Metric { data: Some(data), ..family.clone() };
    match family.data.as_ref()? {
        metric::Data::Sum(sum) => {
            let (first, second) = cut(&sum.data_points, |a, b| a.attributes == b.attributes)?;
            let half = |data_points| {
                with(metric::Data::Sum(opentelemetry_proto::tonic::metrics::v1::Sum {
                    data_points,
                    ..sum.clone()
                }))
            };
            Some((half(first), half(second)))
        }
        metric::Data::Histogram(histogram) => {
            let (first, second) = cut(&histogram.data_points, |a, b| a.attributes == b.attributes)?;
            let half = |data_points| {
                with(metric::Data::Histogram(opentelemetry_proto::tonic::metrics::v1::Histogram {
                    data_points,
                    ..histogram.clone()
                }))
            };
            Some((half(first), half(second)))
        }
        _ => None,
    }
}

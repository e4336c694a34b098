//! Requests and the traces in them, as spans of the bridge.

use std::future::Future;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use tracing::{Instrument as _, Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::export::Signal;
use crate::otel::TraceView;

/// Traces of one invocation that get a span of their own. Those of a request are open until it is delivered, and
/// a trace of many more is for no one to look at.
pub(super) const MAX_TRACES: u64 = 5_000;

/// Which trace is sent: what leads from the bridge's span to the run.
#[derive(Debug, Clone)]
pub struct About {
    run_id: String,
    root: SpanContext,
}

impl About {
    /// About these spans.
    pub fn of(trace: &TraceView<'_>) -> Self {
        let (trace_id, span_id) = trace.root().unwrap_or_default();
        let (trace_id, span_id) = (TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id));
        let root = SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, TraceState::NONE);
        Self { run_id: trace.run_id.to_owned(), root }
    }
}

/// The request being filled, and the traces in it, as spans that end when it is delivered.
#[derive(Debug, Default)]
pub struct Underway {
    request: Option<Span>,
    traces: Vec<Span>,
    /// The last one the request holds a part of.
    last: Option<TraceId>,
    seen: u64,
    unseen: u64,
}

impl Underway {
    /// The request now holds this trace, or a part of it.
    pub fn holds(&mut self, about: &About) {
        let request = self.request.get_or_insert_with(request);
        if request.is_disabled() || self.last.replace(about.root.trace_id()) == Some(about.root.trace_id()) {
            return;
        }
        if self.seen == MAX_TRACES {
            self.unseen += 1;
            return;
        }
        self.seen += 1;
        let span = info_span!(parent: &*request, "trace", agno.run.id = about.run_id);
        span.add_link(about.root.clone());
        self.traces.push(span);
    }

    /// Delivers the request; then the next one can be filled.
    pub async fn deliver<T>(&mut self, signal: Signal, delivery: impl Future<Output = T>) -> T {
        let span = self.request.take().unwrap_or_else(request);
        span.record("agno_otel.signal", signal.name());
        if self.unseen > 0 {
            span.record("agno_otel.unseen", self.unseen);
        }
        let ended = delivery.instrument(span).await;
        self.traces.clear();
        (self.last, self.unseen) = (None, 0);
        ended
    }
}

fn request() -> Span {
    info_span!("request", agno_otel.signal = field::Empty, agno_otel.unseen = field::Empty)
}

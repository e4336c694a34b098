//! The `tracing` span of a guard, and what OpenTelemetry makes of it.

use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use tokio::time::Instant;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::clock::Clock;
use crate::model::timeline::Interval;
use crate::otel::ids::{hex, parse_traceparent};
use crate::otel::spans::single::measured;
use crate::otel::{self, SpanView, names};

/// What a span says from its start on, so that samplers and other layers see it.
const SAID_AT_START: [&str; 4] =
    [names::OPERATION_NAME, names::AGENT_NAME, names::CONVERSATION_ID, names::RUN_ID];
/// W3C's mark of a trace that is recorded.
const SAMPLED: &str = "01";

/// A span under way.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) span: Span,
    context: Context,
    start_ns: u64,
    since: Instant,
}

/// A span as it is to end: nothing in it is borrowed from what is locked.
#[derive(Debug)]
pub(super) struct Ending {
    name: String,
    attributes: Vec<KeyValue>,
    events: Vec<(String, u64, Vec<KeyValue>)>,
    failure: Option<String>,
    end_ns: u64,
}

impl Started {
    /// From now on it is under way. Its ids are known, so OpenTelemetry's span is made here.
    pub(super) fn of(span: Span) -> Self {
        let (start_ns, since) = (Clock::System.now_ns(), Instant::now());
        let context = span.context();
        Self { span, context, start_ns, since }
    }

    /// Nanoseconds since its start, by a clock that is not set.
    pub(super) fn elapsed_ns(&self) -> i64 {
        i64::try_from(self.since.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    /// From its start until now.
    pub(super) fn interval(&self) -> Interval {
        let start_ns = i64::try_from(self.start_ns).unwrap_or(i64::MAX);
        measured(start_ns, start_ns.saturating_add(self.elapsed_ns()))
    }

    /// The second of its start.
    pub(super) fn start_s(&self) -> i64 {
        i64::try_from(self.start_ns / 1_000_000_000).unwrap_or(i64::MAX)
    }

    /// Its trace and its own id; zeros where nobody traces.
    pub(super) fn ids(&self) -> ([u8; 16], [u8; 8]) {
        let of = self.context.span().span_context().clone();
        (of.trace_id().to_bytes(), of.span_id().to_bytes())
    }

    /// True where somebody traces.
    pub(super) fn is_traced(&self) -> bool {
        self.context.span().span_context().is_valid()
    }

    /// W3C trace context, to be handed on.
    pub(super) fn traceparent(&self) -> Option<String> {
        let span = self.context.span();
        let of = span.span_context();
        let flags = if of.is_sampled() { SAMPLED } else { "00" };
        of.is_valid().then(|| {
            format!("00-{}-{}-{flags}", hex(&of.trace_id().to_bytes()), hex(&of.span_id().to_bytes()))
        })
    }

    /// Says what is to be said and ends it. What the span has a field for is said to `tracing`, which hands it on; the
    /// rest is for OpenTelemetry alone.
    pub(super) fn end(&self, ending: Ending) {
        let otel = self.context.span();
        otel.update_name(ending.name);
        for KeyValue { key, value, .. } in ending.attributes {
            let has_field = self.span.has_field(key.as_str());
            if has_field && SAID_AT_START.contains(&key.as_str()) {
                continue;
            }
            if has_field {
                record(&self.span, key.as_str(), &value);
            } else {
                otel.set_attribute(KeyValue::new(key, value));
            }
        }
        for (name, at_ns, attributes) in ending.events {
            otel.add_event_with_timestamp(name, UNIX_EPOCH + Duration::from_nanos(at_ns), attributes);
        }
        if let Some(reason) = ending.failure {
            otel.set_status(Status::error(reason));
        }
        otel.end_with_timestamp(UNIX_EPOCH + Duration::from_nanos(ending.end_ns));
    }
}

fn record(span: &Span, name: &str, value: &Value) {
    match value {
        Value::Bool(flag) => span.record(name, flag),
        Value::I64(number) => span.record(name, number),
        Value::F64(number) => span.record(name, number),
        other => span.record(name, other.as_str().as_ref()),
    };
}

impl Ending {
    /// What a view says, and an end.
    pub(super) fn of(view: SpanView<'_>, interval: Interval) -> Self {
        let otel::Parts { name, attributes, events, failure } = view.into_parts();
        let said = |all: Vec<(std::borrow::Cow<'_, str>, otel::Value<'_>)>| {
            all.into_iter().map(|(name, said)| KeyValue::new(name.into_owned(), value(said))).collect()
        };
        Self {
            name,
            attributes: said(attributes),
            events: events.into_iter().map(|(name, at, all)| (name.to_owned(), at, said(all))).collect(),
            failure,
            end_ns: u64::try_from(interval.end_ns).unwrap_or(0),
        }
    }
}

fn value(value: otel::Value<'_>) -> Value {
    match value {
        otel::Value::Text(text) => text.into_owned().into(),
        otel::Value::Integer(number) => number.into(),
        otel::Value::Real(number) => number.into(),
        otel::Value::Flag(flag) => flag.into(),
        otel::Value::Texts(texts) => {
            Value::Array(Array::String(texts.iter().cloned().map(StringValue::from).collect()))
        }
    }
}

/// True where OpenTelemetry has a current span.
pub(super) fn is_in_trace() -> bool {
    Context::map_current(|context| context.span().span_context().is_valid())
}

/// Makes a span a part of the trace that W3C trace context names. False: it names none, or the span is under way.
pub(super) fn continue_from(span: &Span, traceparent: &str) -> bool {
    let Some((trace, parent)) = parse_traceparent(traceparent) else { return false };
    // Other bits may be set beside that of sampling, and later versions may say more behind.
    let flags = traceparent.trim().split('-').nth(3).and_then(|flags| u8::from_str_radix(flags, 16).ok());
    let flags = TraceFlags::new(flags.unwrap_or(0)) & TraceFlags::SAMPLED;
    let (trace, parent) = (TraceId::from_bytes(trace), SpanId::from_bytes(parent));
    let caller = SpanContext::new(trace, parent, flags, true, TraceState::NONE);
    span.set_parent(Context::new().with_remote_span_context(caller)).is_ok()
}

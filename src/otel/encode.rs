//! Spans into protobuf, byte for byte as `opentelemetry-proto` would write them: fields by ascending number, and none
//! that has its default. Its own types hold every name and every value as a string of their own.

use super::names;
use super::view::{Attribute, EventView, Kind, LinkView, SpanView, Value};

/// W3C trace flags of a sampled span, as the SDKs set them.
const FLAGS_SAMPLED: u32 = 1;
/// Room made for a span; most have less.
const SPAN_BYTES: usize = 1_024;

// Protobuf's wire types.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const DELIMITED: u32 = 2;
const FIXED32: u32 = 5;

/// An `ExportTraceServiceRequest` of one `ResourceSpans` with one `ScopeSpans`.
pub(super) fn trace_request<'a>(
    spans: &[SpanView<'_>],
    resource: impl Iterator<Item = Attribute<'a>>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(SPAN_BYTES * (spans.len() + 1));
    message(&mut out, 1, |out| {
        message(out, 1, |out| resource.for_each(|it| attribute(out, 1, &it)));
        message(out, 2, |out| {
            message(out, 1, |out| {
                bytes(out, 1, names::SCOPE.as_bytes());
                bytes(out, 2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            for it in spans {
                message(out, 2, |out| span(out, it));
            }
        });
    });
    out
}

/// A `Span`.
fn span(out: &mut Vec<u8>, span: &SpanView<'_>) {
    bytes(out, 1, &span.trace_id);
    bytes(out, 2, &span.span_id);
    bytes(out, 4, span.parent_span_id.as_ref().map_or(&[], |id| id.as_slice()));
    bytes(out, 5, span.name.as_bytes());
    tag(out, 6, VARINT);
    out.push(match span.kind {
        Kind::Internal => 1,
        Kind::Client => 3,
    });
    time(out, 7, span.start_ns);
    time(out, 8, span.end_ns);
    for it in &span.attributes {
        attribute(out, 9, it);
    }
    for it in &span.events {
        message(out, 11, |out| event(out, it));
    }
    for it in &span.links {
        message(out, 13, |out| link(out, it));
    }
    message(out, 15, |out| status(out, span.failure.as_deref()));
    flags(out, 16);
}

/// A `Span.Event`.
fn event(out: &mut Vec<u8>, event: &EventView<'_>) {
    time(out, 1, event.at_ns);
    bytes(out, 2, event.name.as_bytes());
    for it in &event.attributes {
        attribute(out, 3, it);
    }
}

/// A `Span.Link`.
fn link(out: &mut Vec<u8>, link: &LinkView) {
    bytes(out, 1, &link.trace_id);
    bytes(out, 2, &link.span_id);
    attribute(out, 4, &Attribute::text(names::LINK_KIND, link.kind));
    flags(out, 6);
}

/// A `Status`: unset, or an error.
fn status(out: &mut Vec<u8>, failure: Option<&str>) {
    if let Some(reason) = failure {
        bytes(out, 2, reason.as_bytes());
        tag(out, 3, VARINT);
        out.push(2);
    }
}

/// A `KeyValue` with its `AnyValue`, which is said even if it is a default.
fn attribute(out: &mut Vec<u8>, field: u32, attribute: &Attribute<'_>) {
    let Attribute { prefix, name, value } = attribute;
    message(out, field, |out| {
        tag(out, 1, DELIMITED);
        varint(out, length(prefix.len() + name.len()));
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(name.as_bytes());
        message(out, 2, |out| match value {
            Value::Text(text) => {
                tag(out, 1, DELIMITED);
                varint(out, length(text.len()));
                out.extend_from_slice(text.as_bytes());
            }
            Value::Flag(flag) => {
                tag(out, 2, VARINT);
                out.push(u8::from(*flag));
            }
            Value::Integer(number) => {
                tag(out, 3, VARINT);
                varint(out, number.cast_unsigned());
            }
            Value::Real(number) => {
                tag(out, 4, FIXED64);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Value::Texts(texts) => message(out, 5, |out| {
                for text in *texts {
                    message(out, 1, |out| {
                        tag(out, 1, DELIMITED);
                        varint(out, length(text.len()));
                        out.extend_from_slice(text.as_bytes());
                    });
                }
            }),
        });
    });
}

fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        tag(out, field, DELIMITED);
        varint(out, length(bytes.len()));
        out.extend_from_slice(bytes);
    }
}

/// Unix nanoseconds.
fn time(out: &mut Vec<u8>, field: u32, at_ns: u64) {
    if at_ns != 0 {
        tag(out, field, FIXED64);
        out.extend_from_slice(&at_ns.to_le_bytes());
    }
}

fn flags(out: &mut Vec<u8>, field: u32) {
    tag(out, field, FIXED32);
    out.extend_from_slice(&FLAGS_SAMPLED.to_le_bytes());
}

/// A message within another. Its length stands before it and is known after it; most fit the one byte kept for it.
fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, DELIMITED);
    let mut at = out.len();
    out.push(0);
    write(out);
    let mut size = length(out.len() - at - 1);
    while let Some(place) = out.get_mut(at) {
        *place = low_bits(size);
        size >>= 7;
        at += 1;
        if size == 0 {
            break;
        }
        out.insert(at, 0);
    }
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_bits(number));
        number >>= 7;
    }
    out.push(low_bits(number));
}

/// The next byte of a number: seven bits, the lowest first, and a mark if there are more.
fn low_bits(number: u64) -> u8 {
    let [low, ..] = number.to_le_bytes();
    if number >= 0x80 { low | 0x80 } else { low }
}

fn length(bytes: usize) -> u64 {
    bytes as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{
        AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value,
    };
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
    use proptest::prelude::*;
    use prost::Message as _;

    /// What the views say, in `opentelemetry-proto`'s types.
    fn otlp_attribute(attribute: &Attribute<'_>) -> KeyValue {
        let value = match &attribute.value {
            Value::Text(text) => any_value::Value::StringValue(text.to_string()),
            Value::Integer(number) => any_value::Value::IntValue(*number),
            Value::Real(number) => any_value::Value::DoubleValue(*number),
            Value::Flag(flag) => any_value::Value::BoolValue(*flag),
            Value::Texts(texts) => {
                let text =
                    |text: &String| AnyValue { value: Some(any_value::Value::StringValue(text.clone())) };
                any_value::Value::ArrayValue(ArrayValue { values: texts.iter().map(text).collect() })
            }
        };
        KeyValue {
            key: format!("{}{}", attribute.prefix, attribute.name),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    fn otlp_attributes(attributes: &[Attribute<'_>]) -> Vec<KeyValue> {
        attributes.iter().map(otlp_attribute).collect()
    }

    fn otlp_span(view: &SpanView<'_>) -> Span {
        let event = |event: &EventView<'_>| span::Event {
            time_unix_nano: event.at_ns,
            name: event.name.to_owned(),
            attributes: otlp_attributes(&event.attributes),
            ..span::Event::default()
        };
        let link = |link: &LinkView| span::Link {
            trace_id: link.trace_id.to_vec(),
            span_id: link.span_id.to_vec(),
            attributes: vec![otlp_attribute(&Attribute::text(names::LINK_KIND, link.kind))],
            flags: FLAGS_SAMPLED,
            ..span::Link::default()
        };
        let kind = match view.kind {
            Kind::Internal => span::SpanKind::Internal,
            Kind::Client => span::SpanKind::Client,
        };
        Span {
            trace_id: view.trace_id.to_vec(),
            span_id: view.span_id.to_vec(),
            parent_span_id: view.parent_span_id.map(|id| id.to_vec()).unwrap_or_default(),
            flags: FLAGS_SAMPLED,
            name: view.name.clone(),
            kind: kind as i32,
            start_time_unix_nano: view.start_ns,
            end_time_unix_nano: view.end_ns,
            attributes: otlp_attributes(&view.attributes),
            events: view.events.iter().map(event).collect(),
            links: view.links.iter().map(link).collect(),
            status: Some(match &view.failure {
                Some(reason) => Status { message: reason.clone(), code: 2 },
                None => Status::default(),
            }),
            ..Span::default()
        }
    }

    fn otlp_request(spans: &[SpanView<'_>], resource: &[Attribute<'_>]) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope {
            name: names::SCOPE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let spans = spans.iter().map(otlp_span).collect();
        let resource_spans = ResourceSpans {
            resource: Some(Resource { attributes: otlp_attributes(resource), ..Resource::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
            schema_url: String::new(),
        };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
    }

    /// Sizes around the lengths that take another byte.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,20}",
            (100_usize..160).prop_map(|size| "x".repeat(size)),
            (16_300_usize..16_500).prop_map(|size| "y".repeat(size)),
        ]
    }

    static WORDS: std::sync::LazyLock<[String; 2]> =
        std::sync::LazyLock::new(|| ["stop".to_owned(), String::new()]);

    fn any_attribute() -> impl Strategy<Value = Attribute<'static>> {
        let value = prop_oneof![
            any_text().prop_map(|text| Value::Text(text.into())),
            any::<i64>().prop_map(Value::Integer),
            proptest::num::f64::NORMAL.prop_map(Value::Real),
            Just(Value::Real(0.0)),
            any::<bool>().prop_map(Value::Flag),
            (0_usize..3).prop_map(|count| Value::Texts(WORDS.get(..count).unwrap_or_default())),
        ];
        let name = prop_oneof![Just("a"), Just(names::TOKEN_RULE), Just(names::USAGE_CACHE_CREATION)];
        let prefix = prop_oneof![Just(&""), Just(&names::STATED_PREFIX)];
        (prefix, name, value).prop_map(|(prefix, name, value)| Attribute { prefix, name, value })
    }

    fn any_span() -> impl Strategy<Value = SpanView<'static>> {
        let attributes = || proptest::collection::vec(any_attribute(), 0..6);
        let event = (any::<u64>(), attributes()).prop_map(|(at_ns, attributes)| EventView {
            name: names::EVENT_MESSAGE,
            at_ns,
            attributes,
        });
        let link = (any::<[u8; 16]>(), any::<[u8; 8]>()).prop_map(|(trace_id, span_id)| LinkView {
            trace_id,
            span_id,
            kind: "previous",
        });
        let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<Option<[u8; 8]>>());
        let kind = prop_oneof![Just(Kind::Internal), Just(Kind::Client)];
        let times = prop_oneof![Just((0, 0)), any::<(u64, u64)>()];
        let lists = (
            attributes(),
            proptest::collection::vec(event, 0..3),
            proptest::collection::vec(link, 0..3),
            proptest::option::of(any_text()),
        );
        (ids, any_text(), kind, times, lists).prop_map(|(ids, name, kind, times, lists)| SpanView {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            name,
            kind,
            start_ns: times.0,
            end_ns: times.1,
            attributes: lists.0,
            events: lists.1,
            links: lists.2,
            failure: lists.3,
        })
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_opentelemetry_proto(
            spans in proptest::collection::vec(any_span(), 0..5),
            resource in proptest::collection::vec(any_attribute(), 0..4),
        ) {
            let bytes = trace_request(&spans, resource.iter().cloned());
            let expected = otlp_request(&spans, &resource);
            prop_assert_eq!(ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap(), expected.clone());
            prop_assert_eq!(bytes, expected.encode_to_vec());
        }
    }
}

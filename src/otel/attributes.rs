//! Attributes and times as OTLP has them.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

pub(super) fn unix(at_ns: i64) -> u64 {
    u64::try_from(at_ns).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are 104 days")]
pub(super) fn seconds(duration_ns: i64) -> f64 {
    duration_ns as f64 / 1e9
}

fn key_value(name: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn text(attributes: &mut Vec<KeyValue>, name: &str, value: &str) {
    attributes.push(key_value(name, any_value::Value::StringValue(value.to_owned())));
}

pub(super) fn flag(attributes: &mut Vec<KeyValue>, name: &str) {
    attributes.push(key_value(name, any_value::Value::BoolValue(true)));
}

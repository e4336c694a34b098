//! Attributes and times as OTLP has them.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

pub(super) fn unix(at_ns: i64) -> u64 {
    u64::try_from(at_ns).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are 104 days")]
pub(super) fn seconds(duration_ns: i64) -> f64 {
    duration_ns as f64 / 1e9
}

pub(super) fn key_value(name: impl Into<String>, value: any_value::Value) -> KeyValue {
    KeyValue { key: name.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn text(attributes: &mut Vec<KeyValue>, name: &str, value: &str) {
    attributes.push(key_value(name, any_value::Value::StringValue(value.to_owned())));
}

pub(super) fn optional(attributes: &mut Vec<KeyValue>, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        text(attributes, name, value);
    }
}

pub(super) fn number(attributes: &mut Vec<KeyValue>, name: impl Into<String>, value: u64) {
    attributes.push(key_value(name, any_value::Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX))));
}

pub(super) fn real(attributes: &mut Vec<KeyValue>, name: impl Into<String>, value: f64) {
    attributes.push(key_value(name, any_value::Value::DoubleValue(value)));
}

pub(super) fn flag(attributes: &mut Vec<KeyValue>, name: &str) {
    attributes.push(key_value(name, any_value::Value::BoolValue(true)));
}

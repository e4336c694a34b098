//! The ledger's series into points.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1 as otlp;
use opentelemetry_proto::tonic::metrics::v1::{exemplar, metric, number_data_point};

use super::super::attributes::text;
use super::super::names::{self, Instrument};
use crate::ledger::{Exemplar, Point, Released, Value, unscaled};

/// The released series as OTLP metrics, one per metric name, in the order of names.
pub fn metrics(released: &[Released]) -> Vec<otlp::Metric> {
    let mut families = BTreeMap::<&str, Vec<&Released>>::new();
    for series in released {
        families.entry(series.key.metric.name).or_default().push(series);
    }
    families.into_values().filter_map(|series| family(&series)).collect()
}

fn family(series: &[&Released]) -> Option<otlp::Metric> {
    let metric = series.first()?.key.metric;
    let data = match metric.instrument {
        Instrument::Counter | Instrument::Amount { .. } => metric::Data::Sum(otlp::Sum {
            data_points: points(series, number_point),
            aggregation_temporality: otlp::AggregationTemporality::Cumulative as i32,
            is_monotonic: true,
        }),
        Instrument::Gauge => metric::Data::Gauge(otlp::Gauge { data_points: points(series, number_point) }),
        Instrument::Histogram { bounds, scale } => metric::Data::Histogram(otlp::Histogram {
            data_points: points(series, |series, point| histogram_point(series, point, bounds, scale)),
            aggregation_temporality: otlp::AggregationTemporality::Cumulative as i32,
        }),
    };
    Some(otlp::Metric {
        name: metric.name.to_owned(),
        description: metric.description.to_owned(),
        unit: metric.unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    })
}

/// The points of a family: where a series moved, the older first.
fn points<P>(series: &[&Released], point: impl Fn(&Released, &Point) -> Option<P>) -> Vec<P> {
    series
        .iter()
        .flat_map(|series| series.before.iter().chain([&series.now]).filter_map(|at| point(series, at)))
        .collect()
}

fn number_point(series: &Released, point: &Point) -> Option<otlp::NumberDataPoint> {
    let is_gauge = series.key.metric.instrument == Instrument::Gauge;
    let double = |number, of| number_data_point::Value::AsDouble(unscaled(number, of));
    let (scale, value) = match (&point.value, series.key.metric.instrument) {
        (Value::Number(value), Instrument::Amount { scale }) => (scale, double(*value, scale)),
        (Value::Number(value), _) => {
            (1, number_data_point::Value::AsInt(i64::try_from(*value).unwrap_or(i64::MAX)))
        }
        (Value::Quotient { number, of }, _) => (1, double(*number, *of)),
        (Value::Histogram(_), _) => return None,
    };
    Some(otlp::NumberDataPoint {
        attributes: attributes(series),
        start_time_unix_nano: if is_gauge { 0 } else { series.start_ns },
        time_unix_nano: point.at_ns,
        exemplars: exemplars(point, scale),
        flags: 0,
        value: Some(value),
    })
}

fn histogram_point(
    series: &Released,
    point: &Point,
    bounds: &[f64],
    scale: u64,
) -> Option<otlp::HistogramDataPoint> {
    let Value::Histogram(histogram) = &point.value else {
        return None;
    };
    Some(otlp::HistogramDataPoint {
        attributes: attributes(series),
        start_time_unix_nano: series.start_ns,
        time_unix_nano: point.at_ns,
        count: histogram.count,
        sum: Some(unscaled(histogram.sum, scale)),
        bucket_counts: histogram.buckets.clone(),
        explicit_bounds: bounds.to_vec(),
        exemplars: exemplars(point, scale),
        flags: 0,
        min: histogram.range.map(|(least, _)| unscaled(least, scale)),
        max: histogram.range.map(|(_, most)| unscaled(most, scale)),
    })
}

fn attributes(series: &Released) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
    let mut attributes = Vec::with_capacity(series.key.attributes.len());
    for (name, value) in &series.key.attributes {
        text(&mut attributes, name, value);
    }
    attributes
}

fn exemplars(point: &Point, scale: u64) -> Vec<otlp::Exemplar> {
    let of = |(at_ns, exemplar): &(u64, Exemplar)| {
        let mut filtered_attributes = Vec::new();
        if let Some(conversation) = &exemplar.conversation {
            text(&mut filtered_attributes, names::CONVERSATION_ID, conversation);
        }
        otlp::Exemplar {
            filtered_attributes,
            time_unix_nano: *at_ns,
            span_id: exemplar.span_id.to_vec(),
            trace_id: exemplar.trace_id.to_vec(),
            value: Some(exemplar::Value::AsDouble(unscaled(exemplar.value, scale))),
        }
    };
    point.exemplars.iter().map(of).collect()
}

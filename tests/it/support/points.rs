//! OTLP metrics as rows, so that tests can say what they want of them.

use std::collections::BTreeMap;

use agno_otel::model::cost::nano_usd;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, metric, number_data_point};

/// A value of a point, comparable. Amounts and budgets are doubles, here in whole billionths.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(i64),
    Histogram { count: u64, sum: f64, buckets: Vec<u64> },
}

impl Value {
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Number(value) => *value == 0,
            Self::Histogram { count, sum, buckets } => {
                *count == 0 && *sum == 0.0 && buckets.iter().all(|bucket| *bucket == 0)
            }
        }
    }
}

/// Which series: the metric's name, and its attributes in order.
pub(crate) type Identity = (String, BTreeMap<String, String>);

/// One point of one series.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    /// Which request it came in, from 0.
    pub(crate) request: usize,
    pub(crate) series: Identity,
    pub(crate) unit: String,
    pub(crate) is_gauge: bool,
    pub(crate) start_ns: u64,
    pub(crate) at_ns: u64,
    pub(crate) value: Value,
    pub(crate) exemplars: Vec<Exemplar>,
}

/// Every point of these requests, in the order they were sent.
pub(crate) fn points(requests: &[ExportMetricsServiceRequest]) -> Vec<Point> {
    let mut points = Vec::new();
    for (request, message) in requests.iter().enumerate() {
        let scopes = message.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            points.extend(of_metric(request, metric));
        }
    }
    points
}

fn of_metric(request: usize, metric: &Metric) -> Vec<Point> {
    let point = |is_gauge, attributes: &[KeyValue], start_ns, at_ns, value, exemplars: &[Exemplar]| Point {
        request,
        series: (metric.name.clone(), texts(attributes)),
        unit: metric.unit.clone(),
        is_gauge,
        start_ns,
        at_ns,
        value,
        exemplars: exemplars.to_vec(),
    };
    let numbers = |is_gauge, points: &[opentelemetry_proto::tonic::metrics::v1::NumberDataPoint]| {
        points
            .iter()
            .map(|number| {
                let value = match number.value {
                    Some(number_data_point::Value::AsInt(value)) => value,
                    Some(number_data_point::Value::AsDouble(usd)) => {
                        let is_of_budget = metric.name.starts_with("agno.budget.");
                        assert!(metric.unit == "{USD}" || is_of_budget, "{number:?}");
                        nano_usd(usd).cast_signed()
                    }
                    None => panic!("{number:?}"),
                };
                let (start, at) = (number.start_time_unix_nano, number.time_unix_nano);
                point(is_gauge, &number.attributes, start, at, Value::Number(value), &number.exemplars)
            })
            .collect()
    };
    match metric.data.as_ref().unwrap() {
        metric::Data::Sum(sum) => {
            assert!(sum.is_monotonic, "{}", metric.name);
            assert_eq!(sum.aggregation_temporality, 2, "{} is not cumulative", metric.name);
            numbers(false, &sum.data_points)
        }
        metric::Data::Gauge(gauge) => numbers(true, &gauge.data_points),
        metric::Data::Histogram(histogram) => {
            assert_eq!(histogram.aggregation_temporality, 2, "{} is not cumulative", metric.name);
            let of = |data: &opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint| {
                let (count, sum) = (data.count, data.sum.unwrap());
                let value = Value::Histogram { count, sum, buckets: data.bucket_counts.clone() };
                let (start, at) = (data.start_time_unix_nano, data.time_unix_nano);
                point(false, &data.attributes, start, at, value, &data.exemplars)
            };
            histogram.data_points.iter().map(of).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Attributes by name. Fails the test on any that is no text, is empty, or is there twice.
pub(crate) fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for attribute in attributes {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        let Some(any_value::Value::StringValue(text)) = value else { panic!("no text: {attribute:?}") };
        assert!(!text.is_empty(), "empty: {}", attribute.key);
        assert!(texts.insert(attribute.key.clone(), text.clone()).is_none(), "twice: {}", attribute.key);
    }
    texts
}

/// The points of every series, in the order they were sent.
pub(crate) fn by_series(points: &[Point]) -> BTreeMap<Identity, Vec<&Point>> {
    let mut series = BTreeMap::<Identity, Vec<&Point>>::new();
    for point in points {
        series.entry(point.series.clone()).or_default().push(point);
    }
    series
}

/// The sum of a counter's last values over all its series.
pub(crate) fn total(points: &[Point], metric: &str) -> i64 {
    let series = by_series(points);
    let last =
        series.iter().filter(|((name, _), _)| name == metric).map(|(_, points)| points.last().unwrap());
    last.map(|point| match point.value {
        Value::Number(value) => value,
        Value::Histogram { .. } => panic!("{metric} is no counter"),
    })
    .sum()
}

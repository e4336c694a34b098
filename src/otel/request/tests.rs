use super::*;
use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;

/// Cuts a message down to what cannot be cut.
fn crumbs<M: Halves>(message: M) -> Vec<M> {
    match message.halves() {
        Ok((first, second)) => [first, second].into_iter().flat_map(crumbs).collect(),
        Err(whole) => vec![whole],
    }
}

fn span(id: u8) -> Span {
    Span { span_id: vec![id; 8], ..Span::default() }
}

proptest::proptest! {
    #[test]
    fn cutting_keeps_every_span_once_with_its_resource(traces in proptest::collection::vec(1usize..9, 1..6)) {
        let resource = Resource { attributes: vec![("service.name".to_owned(), "agno".to_owned())] };
        let mut message = ExportTraceServiceRequest::default();
        let mut id = 0;
        for spans in traces {
            let spans = (0..spans).map(|_| { id += 1; span(id) }).collect();
            message.resource_spans.extend(trace_request(spans, &resource).resource_spans);
        }
        proptest::prop_assert_eq!(message.items(), u64::from(id));
        let crumbs = crumbs(message);
        proptest::prop_assert_eq!(crumbs.len(), usize::from(id));
        for (crumb, id) in crumbs.into_iter().zip(1..) {
            proptest::prop_assert_eq!(crumb, trace_request(vec![span(id)], &resource));
        }
    }
}

#[test]
fn cutting_keeps_every_series_whole() {
    let points = |series: u8| {
        let attributes = vec![KeyValue { key: format!("series {series}"), ..KeyValue::default() }];
        // A series that moved has two points, one at rest has one.
        let point = NumberDataPoint { attributes, ..NumberDataPoint::default() };
        vec![point; 1 + usize::from(series % 2)]
    };
    let family = |name: &str, series: u8| Metric {
        name: name.to_owned(),
        data: Some(metric::Data::Sum(Sum {
            data_points: (0..series).flat_map(points).collect(),
            aggregation_temporality: 2,
            is_monotonic: true,
        })),
        ..Metric::default()
    };
    let message = metric_request(vec![family("a", 7), family("b", 1)], OtlpResource::default());
    let crumbs = crumbs(message);
    let seen: Vec<(String, metric::Data)> = crumbs
        .into_iter()
        .flat_map(|crumb| crumb.resource_metrics)
        .flat_map(|resource| resource.scope_metrics)
        .flat_map(|scope| scope.metrics)
        .map(|metric| (metric.name, metric.data.unwrap()))
        .collect();
    assert_eq!(seen.len(), 8);
    for ((name, data), series) in seen.into_iter().zip([0, 1, 2, 3, 4, 5, 6, 0]) {
        assert_eq!(name, if series == 0 && name == "b" { "b" } else { "a" });
        let metric::Data::Sum(sum) = data else { panic!("{data:?}") };
        assert_eq!((sum.data_points, sum.is_monotonic), (points(series), true));
    }
}

use super::*;
use crate::otel::names;

const SECOND_NS: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn born(metric: &'static Metric) -> Series {
    Series::born(SeriesKey { metric, attributes: Vec::new() })
}

fn shown(span: u8) -> Exemplar {
    Exemplar { trace_id: [1; 16], span_id: [span; 8], conversation: None, value: 0 }
}

fn exemplars(point: &Point) -> Vec<(u64, u8, u64)> {
    let of = |(at_ns, exemplar): &(u64, Exemplar)| (*at_ns, exemplar.span_id[0], exemplar.value);
    point.exemplars.iter().map(of).collect()
}

#[test]
fn the_largest_since_the_last_release_is_shown_and_the_first_of_equals() {
    let mut series = born(&names::TOKEN_USAGE);
    for (span, value) in [(1, 3), (2, 5), (3, 5), (4, 4), (5, 0)] {
        series.record(&names::TOKEN_USAGE, value, Some(shown(span)));
    }
    assert_eq!(exemplars(&series.release(10 * SECOND_NS).now), [(10 * SECOND_NS, 2, 5)]);
    series.record(&names::TOKEN_USAGE, 1, Some(shown(6)));
    assert_eq!(exemplars(&series.release(20 * SECOND_NS).now), [(20 * SECOND_NS, 6, 1)]);
}

#[test]
fn one_span_a_bucket_is_shown_and_their_stamps_ascend_to_the_points() {
    let metric = &names::OPERATION_INPUT_TOKENS;
    let mut series = born(metric);
    for (span, value) in [(1, 100), (2, 1), (3, 2), (4, 3)] {
        series.record(metric, value, Some(shown(span)));
    }
    let Released { now, .. } = series.release(10 * SECOND_NS);
    let stamp = |before| 10 * SECOND_NS - before * MS;
    assert_eq!(exemplars(&now), [(stamp(2), 1, 100), (stamp(1), 2, 1), (stamp(0), 4, 3)]);
    let Value::Histogram(histogram) = now.value else { panic!("a histogram") };
    // Bounds are 1, 4, 16, 64, 256; a bucket holds its upper one.
    assert_eq!(histogram.buckets[..6], [1, 2, 0, 0, 1, 0]);
    assert_eq!((histogram.count, histogram.sum, histogram.range), (4, 106, Some((1, 100))));
}

#[test]
fn a_scraper_sees_every_series_at_zero_before_it_sees_more() {
    let hold_ns = 30 * SECOND_NS;
    for metric in [&names::TOKEN_USAGE, &names::OPERATION_INPUT_TOKENS] {
        let mut series = born(metric);
        series.record(metric, 3, Some(shown(1)));
        let mut seen = |at_s: u64| {
            let now = series.show(at_s * SECOND_NS, hold_ns).now;
            let number = match &now.value {
                Value::Number(number) | Value::Quotient { number, .. } => *number,
                Value::Histogram(histogram) => histogram.sum,
            };
            (number, now.exemplars.len())
        };
        assert_eq!([seen(100), seen(110), seen(129)], [(0, 0); 3]);
        assert_eq!([seen(130), seen(131)], [(3, 1), (3, 0)]);
    }
    // One scrape later the value is there, however far apart scrapes are; a gauge waits for nobody.
    let mut series = born(&names::RUNS);
    series.record(&names::RUNS, 1, None);
    assert_eq!(series.show(100, 0).now.value, Value::Number(0));
    assert_eq!(series.show(100, 0).now.value, Value::Number(1));
    let mut gauge = born(&names::SESSION_LARGEST);
    gauge.set(3);
    assert_eq!(gauge.show(100, hold_ns).now.value, Value::Number(3));
}

#[test]
fn nothing_is_no_value_of_a_histogram() {
    let mut series = born(&names::INVOKE_AGENT_DURATION);
    series.record(&names::INVOKE_AGENT_DURATION, 0, Some(shown(1)));
    let released = series.release(10 * SECOND_NS);
    assert_eq!((released.before, exemplars(&released.now)), (None, Vec::new()));
}

#[test]
fn the_older_point_of_a_pair_never_stands_on_a_stamp_that_was_sent() {
    let first_ns = 10 * SECOND_NS;
    for (later_ns, older_ns, newer_ns) in [
        (2 * SECOND_NS, SECOND_NS, 2 * SECOND_NS),
        (SECOND_NS + 1, MS, SECOND_NS + 1),
        (SECOND_NS, MS, SECOND_NS),
        (MS, MS, 2 * MS),
    ] {
        let mut series = born(&names::TOKEN_USAGE);
        series.record(&names::TOKEN_USAGE, 3, None);
        let first = series.release(first_ns);
        series.record(&names::TOKEN_USAGE, 4, None);
        let second = series.release(first_ns + later_ns);
        let older = second.before.unwrap();
        assert_eq!((older.value, older.at_ns), (Value::Number(3), first_ns + older_ns), "{later_ns} later");
        assert_eq!((second.now.value, second.now.at_ns), (Value::Number(7), first_ns + newer_ns));
        assert_eq!((second.start_ns, first.start_ns), (8 * SECOND_NS, 8 * SECOND_NS));
    }
}

#[test]
fn what_did_not_arrive_is_released_again_with_the_value_before_it() {
    let mut series = born(&names::TOKEN_USAGE);
    for (number, at_ns) in [(3, 10 * SECOND_NS), (4, 10 * SECOND_NS + MS)] {
        series.record(&names::TOKEN_USAGE, number, None);
        let older = series.release(at_ns).before.unwrap();
        assert_eq!(older.value, Value::Number(0), "a birth that never arrived is a birth");
        series.withdraw();
    }
    let last = series.release(20 * SECOND_NS);
    assert_eq!((last.before.unwrap().value, last.now.value), (Value::Number(0), Value::Number(7)));
}

#[test]
fn points_come_after_the_start_even_where_the_clock_begins() {
    let mut series = born(&names::TOKEN_USAGE);
    series.record(&names::TOKEN_USAGE, 3, None);
    let Released { start_ns, before, now, .. } = series.release(0);
    assert_eq!((start_ns, before.map(|point| point.at_ns), now.at_ns), (0, Some(MS), 2 * MS));
}

#[test]
fn a_gauge_that_moved_is_one_point() {
    let mut series = born(&names::SESSION_LARGEST);
    series.set(3);
    let Released { before, now, .. } = series.release(10 * SECOND_NS);
    assert_eq!((before, now.value), (None, Value::Number(3)));
}

#[test]
fn series_differ_by_their_metric_and_by_their_attributes() {
    let key = |metric: &'static Metric, value: &str| SeriesKey {
        metric,
        attributes: vec![("agent", value.to_owned())],
    };
    let one = key(&names::RUNS, "a");
    assert_eq!(one, key(&names::RUNS, "a"));
    assert_ne!(one, key(&names::RUNS, "b"));
    assert_ne!(one, key(&names::TOOL_CALLS, "a"));
    assert!(one < key(&names::RUNS, "b") && one < key(&names::TOOL_CALLS, "a"));
}

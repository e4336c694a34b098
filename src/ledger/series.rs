//! One series: its value, when it began, and what was last released of it.

use std::cmp::Ordering;

use crate::otel::ids::{SpanId, TraceId};
use crate::otel::names::{Instrument, Metric};

/// The older point of a pair is stamped this much before the newer.
const PAIR_DISTANCE_NS: u64 = 1_000_000_000;
/// Stamps of one series are at least this far apart.
const STAMP_STEP_NS: u64 = 1_000_000;

/// Which series: a metric with one set of attribute values.
#[derive(Debug, Clone)]
pub struct SeriesKey {
    /// The metric.
    pub metric: &'static Metric,
    /// Its attributes, sorted, none empty.
    pub attributes: Vec<(&'static str, String)>,
}

impl PartialEq for SeriesKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SeriesKey {}

impl PartialOrd for SeriesKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SeriesKey {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.metric.name, &self.attributes).cmp(&(other.metric.name, &other.attributes))
    }
}

/// A span that shows what a number is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The conversation it belongs to.
    pub conversation: Option<String>,
    /// How much of the number it is, in the metric's kept units; set when it is counted.
    pub value: u64,
}

/// Counts per bucket with their sum, in whole units so that sums do not depend on their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many values.
    pub count: u64,
    /// Their sum, in the metric's kept units.
    pub sum: u64,
    /// Values per bucket; one more than there are bounds.
    pub buckets: Vec<u64>,
    /// Smallest and largest value.
    pub range: Option<(u64, u64)>,
}

/// What a series stands at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A counter or a gauge.
    Number(u64),
    /// A gauge that is a number of parts.
    Quotient {
        /// How many.
        number: u64,
        /// So many make one.
        of: u64,
    },
    /// A histogram.
    Histogram(Histogram),
}

/// A value at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Unix nanoseconds.
    pub at_ns: u64,
    /// The value.
    pub value: Value,
    /// Spans behind it, with their stamps in ascending order.
    pub exemplars: Vec<(u64, Exemplar)>,
}

/// A series as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Released {
    /// Which series.
    pub key: SeriesKey,
    /// When it began, in Unix nanoseconds: before its first point.
    pub start_ns: u64,
    /// Where it moved: its last value, stamped before the new one.
    pub before: Option<Point>,
    /// Its value.
    pub now: Point,
}

/// A series in the ledger.
#[derive(Debug, Clone)]
pub struct Series {
    pub(super) key: SeriesKey,
    pub(super) value: Value,
    exemplars: Vec<(usize, Exemplar)>,
    pub(super) start_ns: Option<u64>,
    pub(super) last_stamp_ns: u64,
    /// The newest value the far side may hold.
    pub(super) last: Value,
    /// The one before, should it turn out not to.
    pub(super) previous: Value,
    /// The release that moved it last.
    pub(super) moved_ns: u64,
}

impl Series {
    /// A series is born at zero.
    pub(super) fn born(key: SeriesKey) -> Self {
        let zero = Self::zero(key.metric);
        let (last, previous) = (zero.clone(), zero.clone());
        let (exemplars, start_ns) = (Vec::new(), None);
        Self { key, value: zero, exemplars, start_ns, last_stamp_ns: 0, last, previous, moved_ns: 0 }
    }

    fn zero(metric: &Metric) -> Value {
        match metric.instrument {
            Instrument::Counter | Instrument::Amount { .. } | Instrument::Gauge => Value::Number(0),
            Instrument::Histogram { bounds, .. } => {
                Value::Histogram(Histogram { buckets: vec![0; bounds.len() + 1], ..Histogram::default() })
            }
        }
    }

    /// Which series it is.
    pub fn key(&self) -> &SeriesKey {
        &self.key
    }

    /// What the series stands at.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Sets a gauge, or a counter that is kept elsewhere.
    pub(super) fn set(&mut self, value: u64) {
        self.value = Value::Number(value);
    }

    /// Moves a counter, or gives a histogram one more value. Zero is no value of a histogram: it would distort
    /// percentiles.
    pub(super) fn record(&mut self, metric: &Metric, value: u64, exemplar: Option<Exemplar>) {
        if value == 0 {
            return;
        }
        let bucket = match (&mut self.value, metric.instrument) {
            (Value::Number(number), _) => {
                *number = number.saturating_add(value);
                0
            }
            (Value::Histogram(histogram), Instrument::Histogram { bounds, scale }) => {
                let bucket = bounds.partition_point(|bound| *bound < unscaled(value, scale));
                histogram.add(bucket, value);
                bucket
            }
            (Value::Quotient { .. } | Value::Histogram(_), _) => return,
        };
        self.remember(bucket, value, exemplar);
    }

    /// Keeps one exemplar a bucket: the largest since the last release.
    fn remember(&mut self, bucket: usize, value: u64, exemplar: Option<Exemplar>) {
        let Some(exemplar) = exemplar.map(|exemplar| Exemplar { value, ..exemplar }) else {
            return;
        };
        match self.exemplars.iter_mut().find(|(place, _)| *place == bucket) {
            Some((_, kept)) if kept.value >= value => {}
            Some((_, kept)) => *kept = exemplar,
            None => self.exemplars.push((bucket, exemplar)),
        }
    }

    /// What was released last did not arrive: the next pair begins where the one before did.
    pub(super) fn withdraw(&mut self) {
        self.last = self.previous.clone();
    }

    /// The series as a scraper is to see it, who counts from the first value seen. So it is shown at zero when it is
    /// shown for the first time, and for so long after: not everybody who looks is that scraper.
    pub(super) fn show(&mut self, now_ns: u64, hold_ns: u64) -> Released {
        let is_new = self.start_ns.is_none();
        let start_ns = *self.start_ns.get_or_insert(now_ns);
        let is_counted = self.key.metric.instrument != Instrument::Gauge;
        let is_held = is_counted
            && self.last == Self::zero(self.key.metric)
            && (is_new || now_ns < start_ns.saturating_add(hold_ns));
        if !is_held {
            self.previous = std::mem::replace(&mut self.last, self.value.clone());
        }
        let exemplars = if is_held { Vec::new() } else { std::mem::take(&mut self.exemplars) };
        let exemplars = exemplars.into_iter().map(|(_, exemplar)| (now_ns, exemplar)).collect();
        let now = Point { at_ns: now_ns, value: self.last.clone(), exemplars };
        Released { key: self.key.clone(), start_ns, before: None, now }
    }

    pub(super) fn release(&mut self, now_ns: u64) -> Released {
        let moved = self.value != self.last && self.key.metric.instrument != Instrument::Gauge;
        // Room for the pair behind the last stamp, for what was stamped there may never have arrived.
        let steps = if moved { 2 } else { 1 };
        let at_ns = now_ns.max(self.last_stamp_ns.saturating_add(steps * STAMP_STEP_NS));
        let start_ns = *self.start_ns.get_or_insert(at_ns.saturating_sub(2 * PAIR_DISTANCE_NS));
        let earliest = self.last_stamp_ns.saturating_add(STAMP_STEP_NS).max(start_ns + 1);
        let before = moved.then(|| Point {
            at_ns: at_ns.saturating_sub(PAIR_DISTANCE_NS).max(earliest),
            value: self.last.clone(),
            exemplars: Vec::new(),
        });
        let exemplars = std::mem::take(&mut self.exemplars);
        let first_stamp = at_ns.saturating_sub(STAMP_STEP_NS * exemplars.len() as u64);
        let stamps = (1..).map(|place| first_stamp + place * STAMP_STEP_NS);
        let exemplars = stamps.zip(exemplars.into_iter().map(|(_, exemplar)| exemplar)).collect();
        self.previous = std::mem::replace(&mut self.last, self.value.clone());
        self.last_stamp_ns = at_ns;
        if moved {
            self.moved_ns = now_ns;
        }
        Released {
            key: self.key.clone(),
            start_ns,
            before,
            now: Point { at_ns, value: self.value.clone(), exemplars },
        }
    }
}

impl Histogram {
    fn add(&mut self, bucket: usize, value: u64) {
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        let (least, most) = self.range.unwrap_or((value, value));
        self.range = Some((least.min(value), most.max(value)));
    }
}

/// A kept value in the metric's own unit.
#[expect(
    clippy::cast_precision_loss,
    reason = "53 bits of nanoseconds are 104 days, of nano-dollars nine million dollars"
)]
pub fn unscaled(value: u64, scale: u64) -> f64 {
    value as f64 / scale as f64
}

#[cfg(test)]
mod tests {
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
            assert_eq!(
                (older.value, older.at_ns),
                (Value::Number(3), first_ns + older_ns),
                "{later_ns} later"
            );
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
}

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
mod tests;

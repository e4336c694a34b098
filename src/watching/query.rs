//! Expressions of our metrics, as Prometheus evaluates them.

use crate::otel::names::Metric;
pub(super) use crate::otel::open_metrics::{
    family_name as family, label_name as label, series_name as series,
};

/// What was added to each series within a window, exactly: a series moves by two points a second apart, and lives for
/// ever. `increase()` would guess at what lies beyond the points.
pub(super) fn moved(series: &str, selector: &str, window: &str) -> String {
    let series = selected(series, selector) + &format!("[{window}]");
    format!("last_over_time({series}) - min_over_time({series})")
}

/// What was added to a counter within a window, in sums by labels; of everything where there are none.
pub(super) fn moved_by(by: &[&str], metric: &Metric, selector: &str, window: &str) -> String {
    sum(by, &moved(&series(metric), selector, window))
}

/// A counter without what turned out later not to be spent.
pub(super) fn bill_by(
    by: &[&str],
    (counter, corrections): (&Metric, &Metric),
    selector: &str,
    window: &str,
) -> String {
    let [counted, corrected] = [counter, corrections].map(|metric| moved_by(by, metric, selector, window));
    format!("({counted} - {corrected})")
}

/// How many values a histogram got within a window.
pub(super) fn count_by(by: &[&str], metric: &Metric, selector: &str, window: &str) -> String {
    sum(by, &moved(&format!("{}_count", family(metric)), selector, window))
}

/// How many values each bucket of a histogram got within a window.
pub(super) fn buckets_by(by: &[&str], metric: &Metric, selector: &str, window: &str) -> String {
    let by: Vec<&str> = by.iter().copied().chain(["le"]).collect();
    sum(&by, &moved(&format!("{}_bucket", family(metric)), selector, window))
}

/// A quantile of a histogram's values within a window.
pub(super) fn quantile_by(
    quantile: f64,
    by: &[&str],
    metric: &Metric,
    selector: &str,
    window: &str,
) -> String {
    format!("histogram_quantile({quantile}, {})", buckets_by(by, metric, selector, window))
}

/// A sum by labels; of everything where there are none.
pub(super) fn sum(by: &[&str], of: &str) -> String {
    if by.is_empty() { format!("sum({of})") } else { format!("sum by ({}) ({of})", by.join(", ")) }
}

/// Series that match; all where nothing is to be matched.
pub(super) fn selected(series: &str, selector: &str) -> String {
    if selector.is_empty() { series.to_owned() } else { format!("{series}{{{selector}}}") }
}

/// Matchers, with commas between them.
pub(super) fn selector(matchers: &[String]) -> String {
    let some: Vec<&str> = matchers.iter().map(String::as_str).filter(|matcher| !matcher.is_empty()).collect();
    some.join(",")
}

/// `label="value"`.
pub(super) fn is(name: &str, value: &str) -> String {
    format!("{}={}", label(name), quoted(value))
}

/// `label=~"one|another"`, with `*` in them for any text.
pub(super) fn pattern(values: &[impl AsRef<str>]) -> String {
    let one = |value: &str| {
        let escape = |letter: char| match letter {
            '*' => ".*".to_owned(),
            letter if letter.is_alphanumeric() || "-_ /:".contains(letter) => letter.to_string(),
            letter => format!("\\{letter}"),
        };
        value.chars().map(escape).collect::<String>()
    };
    let all: Vec<String> = values.iter().map(|value| one(value.as_ref())).collect();
    quoted(&all.join("|"))
}

/// A string in an expression.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

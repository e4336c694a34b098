//! Series as OpenMetrics text, for whoever scrapes.
//!
//! Names and labels are those that Prometheus makes of our OTLP metrics, so that a query does not care which way they
//! came: dots become underscores, units become words, counters end in `_total`, and `job` and `instance` are the
//! resource's. No `_created`: Prometheus takes it for a series of its own unless it is told otherwise. That a series is
//! seen at zero first is the ledger's doing.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::names::{Instrument, Metric};
use super::request::Resource;
use crate::ledger::{Exemplar, Histogram, Point, Released, Value, unscaled};
use crate::otel::names;

/// What the text is, as HTTP says it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Letters that the labels of an exemplar may have together, by OpenMetrics.
const MAX_EXEMPLAR_LETTERS: usize = 128;

/// What Prometheus calls a metric, without `_total`.
pub fn family_name(metric: &Metric) -> String {
    let mut name = label_name(metric.name);
    if let Some(unit) = unit(metric).filter(|unit| !name.split('_').any(|word| word == *unit)) {
        name.push('_');
        name.push_str(unit);
    }
    name
}

/// What Prometheus calls the series of a counter or gauge; those of a histogram are its [`family_name`] with `_bucket`,
/// `_sum` and `_count`.
pub fn series_name(metric: &Metric) -> String {
    let is_counter = matches!(metric.instrument, Instrument::Counter | Instrument::Amount { .. });
    family_name(metric) + if is_counter { "_total" } else { "" }
}

/// What Prometheus calls an attribute.
pub fn label_name(name: &str) -> String {
    name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
}

/// Every series, as it stands.
pub fn text(released: &[Released], resource: &Resource) -> String {
    let mut families = BTreeMap::<&str, Vec<&Released>>::new();
    for series in released {
        families.entry(series.key.metric.name).or_default().push(series);
    }
    let identity = identity(resource);
    let mut text = String::new();
    for series in families.values() {
        // Writing to a string cannot fail.
        family(&mut text, series, &identity).ok();
    }
    text.push_str("# EOF\n");
    text
}

fn family(text: &mut String, series: &[&Released], identity: &str) -> fmt::Result {
    let Some(metric) = series.first().map(|series| series.key.metric) else { return Ok(()) };
    let name = family_name(metric);
    let kind = match metric.instrument {
        Instrument::Counter | Instrument::Amount { .. } => "counter",
        Instrument::Gauge => "gauge",
        Instrument::Histogram { .. } => "histogram",
    };
    writeln!(text, "# TYPE {name} {kind}")?;
    if let Some(unit) = unit(metric) {
        writeln!(text, "# UNIT {name} {unit}")?;
    }
    writeln!(text, "# HELP {name} {}", escaped(metric.description))?;
    for series in series {
        let mut labels = identity.to_owned();
        for (name, value) in &series.key.attributes {
            label(&mut labels, &label_name(name), value);
        }
        match (&series.now.value, metric.instrument) {
            (Value::Number(value), Instrument::Counter) => {
                write!(text, "{name}_total{{{labels}}} {value}")?;
                exemplar(text, series.now.exemplars.first(), 1)?;
                text.push('\n');
            }
            (Value::Number(value), Instrument::Amount { scale }) => {
                write!(text, "{name}_total{{{labels}}} {}", unscaled(*value, scale))?;
                exemplar(text, series.now.exemplars.first(), scale)?;
                text.push('\n');
            }
            (Value::Number(value), _) => writeln!(text, "{name}{{{labels}}} {value}")?,
            (Value::Quotient { number, of }, _) => {
                writeln!(text, "{name}{{{labels}}} {}", unscaled(*number, *of))?;
            }
            (Value::Histogram(histogram), Instrument::Histogram { bounds, scale }) => {
                buckets(text, (&name, &labels), &series.now, histogram, (bounds, scale))?;
            }
            (Value::Histogram(_), _) => {}
        }
    }
    Ok(())
}

fn buckets(
    text: &mut String,
    (name, labels): (&str, &str),
    point: &Point,
    histogram: &Histogram,
    (bounds, scale): (&[f64], u64),
) -> fmt::Result {
    let bounds = bounds.iter().map(|bound| Some(*bound)).chain([None]);
    let (mut count, mut below) = (0, f64::NEG_INFINITY);
    for (bound, values) in bounds.zip(&histogram.buckets) {
        count += values;
        let le = bound.map_or_else(|| "+Inf".to_owned(), bound_text);
        let comma = if labels.is_empty() { "" } else { "," };
        write!(text, "{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}")?;
        let most = bound.unwrap_or(f64::INFINITY);
        let falls_here = |(_, exemplar): &&(u64, Exemplar)| {
            let value = unscaled(exemplar.value, scale);
            below < value && value <= most
        };
        exemplar(text, point.exemplars.iter().find(falls_here), scale)?;
        text.push('\n');
        below = most;
    }
    writeln!(text, "{name}_count{{{labels}}} {}", histogram.count)?;
    writeln!(text, "{name}_sum{{{labels}}} {}", unscaled(histogram.sum, scale))
}

fn exemplar(text: &mut String, exemplar: Option<&(u64, Exemplar)>, scale: u64) -> fmt::Result {
    let Some((at_ns, exemplar)) = exemplar else { return Ok(()) };
    let mut labels = String::new();
    label(&mut labels, "trace_id", &hex(&exemplar.trace_id));
    label(&mut labels, "span_id", &hex(&exemplar.span_id));
    let ids = "trace_id".len() + "span_id".len() + 2 * (exemplar.trace_id.len() + exemplar.span_id.len());
    let name = label_name(names::CONVERSATION_ID);
    let fits = |id: &&String| ids + name.len() + id.chars().count() <= MAX_EXEMPLAR_LETTERS;
    if let Some(conversation) = exemplar.conversation.as_ref().filter(fits) {
        label(&mut labels, &name, conversation);
    }
    let (seconds, nanoseconds) = (at_ns / 1_000_000_000, at_ns % 1_000_000_000);
    write!(text, " # {{{labels}}} {} {seconds}.{nanoseconds:09}", unscaled(exemplar.value, scale))
}

/// The labels that every series has.
fn identity(resource: &Resource) -> String {
    let of = |wanted: &str| {
        let mut found = resource.of_metrics().filter(|(name, value)| name == wanted && !value.is_empty());
        found.next().map(|(_, value)| value.as_str())
    };
    let mut labels = String::new();
    let service = of("service.name").unwrap_or_default();
    let job = of("service.namespace").map_or(service.to_owned(), |space| format!("{space}/{service}"));
    label(&mut labels, "job", &job);
    label(&mut labels, "instance", of("service.instance.id").unwrap_or_default());
    for (name, value) in resource.of_metrics() {
        label(&mut labels, &label_name(name), value);
    }
    labels
}

fn label(labels: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let comma = if labels.is_empty() { "" } else { "," };
        write!(labels, "{comma}{name}=\"{}\"", escaped(value)).ok();
    }
}

fn unit(metric: &Metric) -> Option<&'static str> {
    match metric.unit {
        "s" => Some("seconds"),
        "1" if metric.instrument == Instrument::Gauge => Some("ratio"),
        // Units in braces are words for people.
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(hex, "{byte:02x}").ok();
    }
    hex
}

/// A bound as OpenMetrics has it: always with a point or an exponent, the latter from a million on.
fn bound_text(bound: f64) -> String {
    let plain = format!("{bound:?}");
    if bound < 1e6 {
        return plain;
    }
    let text = format!("{bound:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => format!("{mantissa}e+{exponent:0>2}"),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Ledger, Measurement};
    use crate::model::RunKey;

    #[test]
    fn names_are_those_that_prometheus_makes() {
        let name = |metric: &Metric| family_name(metric);
        assert_eq!(name(&names::TOKEN_USAGE), "agno_token_usage");
        assert_eq!(name(&names::INFERENCE_DURATION), "gen_ai_client_inference_duration_seconds");
        assert_eq!(name(&names::COST), "agno_cost_usd");
        assert_eq!(name(&names::BRIDGE_UP), "agno_bridge_up_ratio");
        let mut all: Vec<String> = names::METRICS.iter().map(|metric| family_name(metric)).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), names::METRICS.len(), "two metrics of one name");
    }

    #[test]
    fn bounds_are_written_as_scrapers_know_them() {
        let texts = [0.01, 1.0, 262_144.0, 1_048_576.0, 67_108_864.0].map(bound_text);
        assert_eq!(texts, ["0.01", "1.0", "262144.0", "1.048576e+06", "6.7108864e+07"]);
    }

    #[test]
    fn every_kind_of_series_is_said() {
        use crate::ledger::Count;
        let exemplar = Exemplar {
            trace_id: [0xab; 16],
            span_id: [0xcd; 8],
            conversation: Some("s \"1\"".to_owned()),
            value: 0,
        };
        let once = |metric, value| Measurement {
            metric,
            attributes: vec![(names::AGENT_NAME, "a\\b\n\"c\"".to_owned())],
            count: Count::Once { key: "k".to_owned(), value },
            exemplar: Some(exemplar.clone()),
        };
        let mut ledger = Ledger::default();
        let key = RunKey { run_id: "r".to_owned(), reuse: String::new() };
        ledger.observe(&key, vec![once(&names::RUNS, 2), once(&names::INVOKE_AGENT_TOOL_CALLS, 3)]);
        ledger.set(&names::BRIDGE_UP, Vec::new(), 1);
        ledger.show(0, 0);
        let attributes = [("service.name", "shop"), ("service.instance.id", "1-2"), ("host.name", "a")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let text = text(&ledger.show(1_500_000_000, 0), &Resource { attributes });
        let who = r#"job="shop",instance="1-2",service_name="shop",service_instance_id="1-2""#;
        let labels = format!(r#"{who},gen_ai_agent_name="a\\b\n\"c\"""#);
        let ids = r#"trace_id="abababababababababababababababab",span_id="cdcdcdcdcdcdcdcd",gen_ai_conversation_id="s \"1\"""#;
        let tools = "gen_ai_invoke_agent_tool_calls";
        for line in [
            "# TYPE agno_bridge_up_ratio gauge".to_owned(),
            "# UNIT agno_bridge_up_ratio ratio".to_owned(),
            format!("agno_bridge_up_ratio{{{who}}} 1"),
            "# TYPE agno_runs counter".to_owned(),
            format!("agno_runs_total{{{labels}}} 2 # {{{ids}}} 2 1.500000000"),
            format!("{tools}_bucket{{{labels},le=\"2.0\"}} 0"),
            format!("{tools}_bucket{{{labels},le=\"4.0\"}} 1 # {{{ids}}} 3 1.500000000"),
            format!("{tools}_bucket{{{labels},le=\"+Inf\"}} 1"),
            format!("{tools}_count{{{labels}}} 1"),
            format!("{tools}_sum{{{labels}}} 3"),
        ] {
            assert!(text.lines().any(|own| own == line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }
}

//! Exporters: whether points stay in order, and what becomes of what waits.

use std::time::Duration;

use super::{COLLECTOR, Pipeline, Settings, Value, kind};
use crate::cli::Ended;
use crate::cli::check::yaml::Node;
use crate::cli::check::{Findings, Level, fixes};

/// Requests that the Collector sends at a time, where nothing is said.
const DEFAULT_CONSUMERS: &str = "10";
/// After so long the exporter for scrapers forgets a series, where nothing is said.
const DEFAULT_EXPIRATION: Duration = Duration::from_mins(5);
/// Alerts look back as far.
const LEAST_EXPIRATION: Duration = Duration::from_hours(192);

/// Those that send nothing on, or all that comes in one after the other.
const KEEPS_ORDER: [&str; 5] = ["debug", "file", "logging", "nop", "prometheusremotewrite"];
const OTLP: [&str; 3] = ["otlp", "otlpgrpc", "otlphttp"];

pub(super) fn check(
    findings: &mut Findings,
    settings: &Settings<'_>,
    signal: &str,
    pipelines: &[Pipeline<'_>],
) {
    let mut seen = Vec::new();
    for (id, named) in pipelines.iter().flat_map(|pipeline| pipeline.components("exporters")) {
        if seen.contains(&id) || settings.component("connectors", id).is_some() {
            continue;
        }
        seen.push(id);
        let (kind, exporter) = (kind(id), Exporter::of(settings, id, named));
        match signal {
            "metrics" if kind == "prometheus" => exporter.for_scrapers(findings),
            "metrics" if KEEPS_ORDER.contains(&kind.as_str()) => {
                findings.fine(COLLECTOR, format!("exporters.{id} keeps the order of points"));
            }
            "metrics" => exporter.order(findings, OTLP.contains(&kind.as_str())),
            _ if OTLP.contains(&kind.as_str()) => exporter.waiting(findings),
            _ => {}
        }
    }
}

pub(super) struct Exporter<'s> {
    settings: &'s Settings<'s>,
    id: &'s str,
    node: &'s Node,
}

impl<'s> Exporter<'s> {
    /// By its name, and where a pipeline has it: an exporter without settings stands nowhere else.
    pub(super) fn of(settings: &'s Settings<'s>, id: &'s str, named: &'s Node) -> Self {
        Self { settings, id, node: settings.component("exporters", id).unwrap_or(named) }
    }

    /// True if what waits for its backend is in the Collector's memory.
    pub(super) fn keeps_in_memory(&self) -> bool {
        let kind = kind(self.id);
        let sends = !["debug", "file", "logging", "nop", "prometheus"].contains(&kind.as_str());
        let is_connector = self.settings.component("connectors", self.id).is_some();
        let is_on_disk = !matches!(self.said(&["sending_queue", "storage"]).0, Value::Default);
        sends && !is_connector && self.has_queue() && !is_on_disk
    }

    /// What is said of a key, and what names it with its place, or that of the exporter.
    fn said(&self, keys: &[&str]) -> (Value, String) {
        let deepest = (0..=keys.len()).rev().find_map(|length| self.node.at(keys.get(..length)?));
        let place = deepest.unwrap_or(self.node).place();
        let name = format!("{place}: exporters.{}.{}", self.id, keys.join("."));
        (self.settings.value_at(Some(self.node), keys), name)
    }

    /// Without a queue an answer is that of the backend.
    fn has_queue(&self) -> bool {
        !matches!(self.said(&["sending_queue", "enabled"]).0, Value::Text(text) if text == "false")
    }

    fn order(&self, findings: &mut Findings, is_otlp: bool) {
        if !self.has_queue() {
            let what = format!("exporters.{} has no queue: one request after the other", self.id);
            findings.fine(COLLECTOR, what);
            return;
        }
        let (said, name) = self.said(&["sending_queue", "num_consumers"]);
        let (count, default) = match said {
            Value::Text(count) => (count, ""),
            Value::Default => (DEFAULT_CONSUMERS.to_owned(), ", the default"),
            Value::Unknown => {
                let what = format!("{name} is a variable that is not set here");
                findings.note(COLLECTOR, what, fixes::ONE_CONSUMER);
                return;
            }
        };
        if count == "1" {
            findings.fine(COLLECTOR, format!("exporters.{} sends one request after the other", self.id));
        } else if is_otlp {
            let what = format!(
                "{name} is {count}{default}: requests overtake each other, and a series' points arrive in the wrong order"
            );
            findings.add(Level::Problem(Ended::DestinationAmiss), COLLECTOR, what, fixes::ONE_CONSUMER);
        } else {
            let what = format!(
                "{}: whether exporters.{} keeps the order of points is not known here",
                self.node.place(),
                self.id
            );
            findings.note(COLLECTOR, what, fixes::ORDER_UNKNOWN);
        }
    }

    fn for_scrapers(&self, findings: &mut Findings) {
        let (said, name) = self.said(&["metric_expiration"]);
        let (shown, expiration) = match said {
            Value::Default => ("5m, the default".to_owned(), Some(DEFAULT_EXPIRATION)),
            Value::Text(text) => (text.clone(), humantime::parse_duration(&text).ok()),
            Value::Unknown => ("a variable that is not set here".to_owned(), None),
        };
        match expiration {
            Some(expiration) if expiration < LEAST_EXPIRATION => {
                let what = format!(
                    "{name} is {shown}: a series that rests for longer is forgotten, and comes back as if it had spent nothing before"
                );
                findings.add(Level::Problem(Ended::DestinationAmiss), COLLECTOR, what, fixes::EXPIRATION);
            }
            Some(_) => findings.fine(COLLECTOR, format!("exporters.{} keeps series for {shown}", self.id)),
            None => findings.note(COLLECTOR, format!("{name} is {shown}"), fixes::EXPIRATION),
        }
        let what = format!(
            "{}: exporters.{} shows the last point of a series alone: what it had when it was first seen is not counted in a window",
            self.node.place(),
            self.id
        );
        findings.note(COLLECTOR, what, fixes::LAST_POINT);
    }

    /// What becomes of spans that wait. Metrics need no queue: the newest say all that older ones did.
    fn waiting(&self, findings: &mut Findings) {
        if !self.has_queue() {
            findings.fine(COLLECTOR, format!("exporters.{} has no queue: we keep what waits", self.id));
            return;
        }
        let (retries, retry) = self.said(&["retry_on_failure", "enabled"]);
        if matches!(retries, Value::Text(text) if text == "false") {
            let what = format!("{retry} is false: what the backend does not take at once is lost");
            findings.add(Level::Problem(Ended::DestinationAmiss), COLLECTOR, what, fixes::NO_RETRY);
            return;
        }
        let (storage, name) = self.said(&["sending_queue", "storage"]);
        if matches!(storage, Value::Default) {
            let what = format!("{name} is not set: what waits for the backend is lost with the Collector");
            findings.note(COLLECTOR, what, fixes::ON_DISK);
            return;
        }
        let (longest, name) = self.said(&["retry_on_failure", "max_elapsed_time"]);
        let given_up = match longest {
            Value::Default => Some("5m, the default".to_owned()),
            Value::Text(text) if ["0", "0s"].contains(&text.as_str()) => None,
            Value::Text(text) => Some(text),
            Value::Unknown => return,
        };
        match given_up {
            Some(after) => {
                let what =
                    format!("{name} is {after}: what a backend does not take for longer is thrown away");
                findings.note(COLLECTOR, what, fixes::NO_RETRY);
            }
            None => findings.fine(COLLECTOR, format!("exporters.{} keeps what waits on disk", self.id)),
        }
    }
}

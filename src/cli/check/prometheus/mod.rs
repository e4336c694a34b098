//! Prometheus: its flags and settings, and whether what we count is there, once.

mod data;
mod scrape;

use std::time::Duration;

use serde_json::Value;

use super::yaml::Node;
use super::{Findings, Level, asked, fixes, text};
use crate::cli::Ended;
use crate::config::MetricsWay;
use crate::export::ask::{AskError, Asker};

const PROMETHEUS: &str = "prometheus";

const LEAST_VERSION: u64 = 3;
/// A request that is sent again may be as late.
const LEAST_WINDOW: Duration = Duration::from_mins(30);
/// Alerts look back as far.
const LEAST_RETENTION: Duration = Duration::from_hours(192);
/// Where nothing is said.
const DEFAULT_RETENTION: &str = "15d";

/// Attributes of the resource that make labels. None of them ever changes for a series.
const PROMOTED: [&str; 4] =
    ["service.name", "service.namespace", "service.instance.id", "deployment.environment.name"];
/// How names are made of ours, where all that we document is right.
const TRANSLATION: &str = "UnderscoreEscapingWithSuffixes";

/// What is to be found there.
pub(super) struct Expected {
    /// The job of our service.
    pub(super) job: String,
    /// Which way metrics go.
    pub(super) way: MetricsWay,
    /// True if they are sent straight there.
    pub(super) is_direct: bool,
    /// The port they are shown at.
    pub(super) scraped_port: Option<u16>,
    /// Whose they are, if something was counted.
    pub(super) instance: Option<Instance>,
}

/// A state file's instance.
pub(super) struct Instance {
    pub(super) id: String,
    /// How long ago its metrics were released, if that is not long ago.
    pub(super) released: Option<String>,
}

pub(super) async fn check(findings: &mut Findings, asker: &Asker, expected: &Expected, now_ns: u64) {
    let (build, date_ns) = match asked(asker, "api/v1/status/buildinfo", &[]).await {
        Ok((answer, date_ns)) => (answer, date_ns),
        // What speaks its language need not tell all.
        Err(AskError::Status { status, .. }) if status.as_u16() == 404 => (Value::Null, None),
        Err(error) => {
            let what = format!("{}: {error}", asker.target());
            findings.add(Level::Problem(Ended::DestinationAmiss), PROMETHEUS, what, fixes::PROMETHEUS);
            return;
        }
    };
    if let Some(date_ns) = date_ns {
        findings.clock(PROMETHEUS, "its clock", date_ns, now_ns);
    }
    version(findings, asker, &build);
    if expected.way != MetricsWay::Off {
        settings(findings, asker, expected).await;
    }
    data::check(findings, asker, expected).await;
}

fn version(findings: &mut Findings, asker: &Asker, build: &Value) {
    let of = |name: &str| build.get(name).and_then(Value::as_str);
    let (version, application) = (of("version"), of("application"));
    let major = version.and_then(|version| version.split('.').next()?.parse::<u64>().ok());
    match (version, application, major) {
        (Some(version), Some(application), _) => {
            findings.fine(PROMETHEUS, format!("{}: {application} {version}", asker.target()));
        }
        (Some(version), None, Some(major)) if major < LEAST_VERSION => findings.add(
            Level::Problem(Ended::DestinationAmiss),
            PROMETHEUS,
            format!("{}: version {version}", asker.target()),
            fixes::VERSION,
        ),
        (Some(version), ..) => findings.fine(PROMETHEUS, format!("{}: version {version}", asker.target())),
        (None, ..) => {
            findings.fine(PROMETHEUS, format!("{}: answers, and does not tell its version", asker.target()));
        }
    }
}

async fn settings(findings: &mut Findings, asker: &Asker, expected: &Expected) {
    let flags = asked(asker, "api/v1/status/flags", &[]).await;
    let told = asked(asker, "api/v1/status/config", &[]).await;
    let (flags, told) = match (flags, told) {
        (Ok((flags, _)), Ok((told, _))) => (flags, told),
        (Err(error), _) | (_, Err(error)) => {
            findings.note(PROMETHEUS, format!("its settings are not shown: {error}"), fixes::NOT_SHOWN);
            return;
        }
    };
    let config = match Node::parse("its configuration", text(&told, "/yaml")) {
        Ok(config) => config,
        Err(error) => {
            findings.note(PROMETHEUS, format!("its settings are not shown: {error}"), fixes::NOT_SHOWN);
            return;
        }
    };
    let flag = |name: &str| flags.get(name).and_then(Value::as_str).unwrap_or_default();
    if expected.way == MetricsWay::Otlp {
        receiver(findings, flag("web.enable-otlp-receiver") == "true", expected.is_direct);
        window(findings, &config);
        promoted(findings, &config);
        translation(findings, &config);
    } else {
        scrape::check(findings, asker, &config, expected.scraped_port).await;
    }
    if flag("enable-feature").split(',').any(|feature| feature == "exemplar-storage") {
        findings.fine(PROMETHEUS, "exemplars are kept");
    } else {
        findings.note(PROMETHEUS, "exemplars are not kept", fixes::EXEMPLARS);
    }
    retention(findings, &config, flag("storage.tsdb.retention.time"));
}

fn receiver(findings: &mut Findings, is_on: bool, is_direct: bool) {
    let off = "its receiver of OTLP is off";
    match (is_on, is_direct) {
        (true, _) => findings.fine(PROMETHEUS, "its receiver of OTLP is on"),
        (false, true) => {
            findings.add(Level::Problem(Ended::DestinationAmiss), PROMETHEUS, off, fixes::RECEIVER);
        }
        // A Collector may bring them by another way.
        (false, false) => findings.note(PROMETHEUS, off, fixes::RECEIVER),
    }
}

fn window(findings: &mut Findings, config: &Node) {
    let said = config.at(&["storage", "tsdb", "out_of_order_time_window"]).and_then(Node::text);
    let window = said.and_then(|text| humantime::parse_duration(text).ok()).unwrap_or_default();
    let shown = said.unwrap_or("not set");
    if window < LEAST_WINDOW {
        let what = format!(
            "out_of_order_time_window is {shown}: a request that is sent again after a newer one is refused"
        );
        findings.note(PROMETHEUS, what, fixes::WINDOW);
    } else {
        findings.fine(PROMETHEUS, format!("out_of_order_time_window is {shown}"));
    }
}

fn promoted(findings: &mut Findings, config: &Node) {
    let otlp = config.get("otlp");
    let is_true = |key| otlp.and_then(|otlp| otlp.get(key)?.text()) == Some("true");
    if is_true("promote_all_resource_attributes") {
        findings.note(PROMETHEUS, "it makes labels of all resource attributes", fixes::PROMOTE_FEWER);
        return;
    }
    let list = otlp.and_then(|otlp| otlp.get("promote_resource_attributes"));
    let said: Vec<&str> = list.into_iter().flat_map(Node::items).filter_map(Node::text).collect();
    let missing: Vec<&str> = PROMOTED.into_iter().filter(|name| !said.contains(name)).collect();
    let more: Vec<&str> = said.iter().copied().filter(|name| !PROMOTED.contains(name)).collect();
    if !missing.is_empty() {
        let what = format!("promote_resource_attributes lacks {}", missing.join(", "));
        findings.note(PROMETHEUS, what, fixes::PROMOTE);
    }
    if !more.is_empty() {
        let what = format!("promote_resource_attributes has {} too", more.join(", "));
        findings.note(PROMETHEUS, what, fixes::PROMOTE_FEWER);
    }
    if missing.is_empty() && more.is_empty() {
        findings.fine(PROMETHEUS, "promote_resource_attributes has our four names, and no more");
    }
}

fn translation(findings: &mut Findings, config: &Node) {
    let said = config.at(&["otlp", "translation_strategy"]).and_then(Node::text).unwrap_or(TRANSLATION);
    if said == TRANSLATION {
        findings.fine(PROMETHEUS, format!("names are ours: {}", data::series()));
        return;
    }
    let what = format!(
        "translation_strategy is {said}: {} has another name there, and dashboards and alerts find nothing",
        data::series()
    );
    findings.add(Level::Problem(Ended::DestinationAmiss), PROMETHEUS, what, fixes::TRANSLATION);
}

fn retention(findings: &mut Findings, config: &Node, flag: &str) {
    let said = config.at(&["storage", "tsdb", "retention", "time"]).and_then(Node::text);
    let said = said.unwrap_or(if matches!(flag, "" | "0s") { DEFAULT_RETENTION } else { flag });
    match humantime::parse_duration(said) {
        Ok(kept) if kept < LEAST_RETENTION && !kept.is_zero() => {
            let what = format!("it keeps {said}, and alerts of spikes look back 8 days");
            findings.note(PROMETHEUS, what, fixes::RETENTION);
        }
        _ => findings.fine(PROMETHEUS, format!("it keeps {said}")),
    }
}

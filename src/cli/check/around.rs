//! What stands around: Prometheus, a Collector's settings, Jaeger. Each is asked or read only where it is named.

use std::path::PathBuf;

use super::setup::LATE_NS;
use super::{Findings, LONGEST, LONGEST_ANSWER, Level, collector, fixes, jaeger, prometheus};
use crate::cli::Ended;
use crate::cli::status::age;
use crate::clock::Clock;
use crate::config::{Config, Destination, MetricsWay};
use crate::error::Chain;
use crate::export::ask::Asker;
use crate::export::{Endpoint, Service};
use crate::state::glance::Glance;

/// What stands in the path of Prometheus' receiver of OTLP.
const RECEIVER_PATH: &str = "/api/v1/otlp/";

#[derive(Debug, clap::Args)]
pub(super) struct Around {
    /// Ask this Prometheus for its flags and settings, and for our series: the URL of its API, such as
    /// http://localhost:9090
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// Read this Collector's settings; several files are merged, as the Collector does
    #[arg(long = "collector-config", value_name = "FILE")]
    collector: Vec<PathBuf>,
    /// Ask this Jaeger for our traces, and for those of applications that are instrumented themselves: the URL of its
    /// UI, such as http://localhost:16686
    #[arg(long, value_name = "URL")]
    jaeger: Option<String>,
}

pub(super) async fn check(
    findings: &mut Findings,
    around: &Around,
    config: Config<'_>,
    (way, counted): (MetricsWay, Option<Glance>),
) {
    // What is wrong with it was said before.
    let Ok(destination) = config.destination() else { return };
    if !around.collector.is_empty() {
        collector::check(findings, &around.collector, &sent(&destination, way, config), config);
    }
    let now_ns = Clock::System.now_ns();
    let resource = config.resource("").attributes;
    let service = resource.into_iter().find_map(|(name, value)| (name == "service.name").then_some(value));
    let service = service.unwrap_or_default();
    if let Some(url) = &around.prometheus {
        let named = ("--prometheus", url.as_str(), Service::Metrics, "http://localhost:9090");
        let is_direct = |asked: &Endpoint| asked.url.authority() == destination.metrics.url.authority();
        if let Some((asker, endpoint)) = asker(findings, config, "prometheus", named) {
            let expected = prometheus::Expected {
                way,
                is_direct: is_direct(&endpoint),
                scraped_port: config.listen().ok().flatten().map(|listen| listen.address.port()),
                instance: counted.as_ref().map(|glance| instance(glance, now_ns)),
                job: config.job().unwrap_or_else(|| service.clone()),
            };
            let asking = prometheus::check(findings, &asker, &expected, now_ns);
            if tokio::time::timeout(LONGEST, asking).await.is_err() {
                too_slow(findings, "prometheus", &asker);
            }
        }
    }
    if let Some(url) = &around.jaeger {
        let named = ("--jaeger", url.as_str(), Service::Traces, "http://localhost:16686");
        if let Some((asker, _)) = asker(findings, config, "jaeger", named) {
            let asking = jaeger::check(findings, &asker, &service, now_ns);
            if tokio::time::timeout(LONGEST, asking).await.is_err() {
                too_slow(findings, "jaeger", &asker);
            }
        }
    }
}

fn asker(
    findings: &mut Findings,
    config: Config<'_>,
    about: &str,
    (flag, url, like, expected): (&str, &str, Service, &'static str),
) -> Option<(Asker, Endpoint)> {
    let misconfigured = |findings: &mut Findings, what| {
        findings.add(Level::Problem(Ended::Misconfigured), about, what, "");
    };
    let endpoint = match config.server((flag, url), like, expected) {
        Ok(endpoint) => Endpoint { timeout: endpoint.timeout.min(LONGEST_ANSWER), ..endpoint },
        Err(error) => {
            misconfigured(findings, Chain(&error).to_string());
            return None;
        }
    };
    match Asker::of(endpoint.clone()) {
        Ok(asker) => Some((asker, endpoint)),
        Err(error) => {
            misconfigured(findings, Chain(&error).to_string());
            None
        }
    }
}

fn too_slow(findings: &mut Findings, about: &str, asker: &Asker) {
    let what = format!("{}: not all was answered within {LONGEST:?}", asker.target());
    findings.note(about, what, fixes::SLOW);
}

fn sent(destination: &Destination, way: MetricsWay, config: Config<'_>) -> collector::Sent {
    let Destination { traces, metrics } = destination;
    let goes_there = way == MetricsWay::Otlp && !metrics.url.path().contains(RECEIVER_PATH);
    collector::Sent {
        traces: traces.clone(),
        metrics: goes_there.then(|| metrics.clone()),
        observes: config.observed().is_ok_and(|observed| observed.is_some()),
    }
}

fn instance(glance: &Glance, now_ns: u64) -> prometheus::Instance {
    let lately = glance.released_ns.filter(|at_ns| now_ns.saturating_sub(*at_ns) < LATE_NS / 3);
    prometheus::Instance { id: glance.instance_id.clone(), released: lately.map(|at_ns| age(at_ns, now_ns)) }
}

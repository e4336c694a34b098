//! The endpoint: whether it would take what is sent, and what time it is there.

use tokio::time::Instant;

use super::{Findings, LONGEST_ANSWER, Level};
use crate::cli::Ended;
use crate::clock::Clock;
use crate::config::{Config, Destination};
use crate::error::Chain;
use crate::export::{Attempt, Endpoint, Exporter, Protocol, Service, Signal};

pub(super) async fn check(findings: &mut Findings, config: Config<'_>, clock: Clock) {
    let Destination { traces, metrics } = match config.destination() {
        Ok(destination) => destination,
        Err(error) => {
            findings.add(Level::Problem(Ended::Misconfigured), "endpoint", Chain(&error).to_string(), "");
            return;
        }
    };
    for (signal, endpoint) in [(Signal::Traces, traces), (Signal::Metrics, metrics)] {
        let about = format!("endpoint of {}", signal.name());
        let named_by = config.endpoint_named_by(Service::from(signal));
        probe(findings, &about, signal, (endpoint, named_by), clock).await;
    }
}

/// Sends a request that holds nothing: it goes the way of all others, and leaves nothing at its end.
async fn probe(
    findings: &mut Findings,
    about: &str,
    signal: Signal,
    (endpoint, named_by): (Endpoint, Option<String>),
    clock: Clock,
) {
    let endpoint = Endpoint { timeout: endpoint.timeout.min(LONGEST_ANSWER), ..endpoint };
    let (protocol, authority) = (endpoint.protocol, endpoint.url.authority().cloned());
    let exporter = match Exporter::to(endpoint, clock) {
        Ok(exporter) => exporter,
        Err(error) => {
            findings.add(Level::Problem(Ended::Misconfigured), about, Chain(&error).to_string(), "");
            return;
        }
    };
    let named_by = named_by.map_or("nothing names it: the default".to_owned(), |name| format!("from {name}"));
    let to = format!("{}, {named_by}", exporter.target());
    let started = Instant::now();
    let (attempt, date_ns) = exporter.probe(signal).await;
    let took_ms = started.elapsed().as_millis();
    match attempt {
        Attempt::Delivered { .. } => {
            findings.fine(about, format!("{to}: took an empty request in {took_ms} ms"));
        }
        Attempt::TryLater { reason, .. } | Attempt::TooLarge { reason } | Attempt::Refused { reason } => {
            let port = authority.and_then(|authority| authority.port_u16());
            let fix = fix(&reason, protocol, port, signal);
            findings.add(Level::Problem(Ended::DestinationAmiss), about, format!("{to}: {reason}"), fix);
        }
    }
    if let Some(date_ns) = date_ns {
        findings.clock(about, "its clock", date_ns, clock.now_ns());
    }
}

fn fix(reason: &str, protocol: Protocol, port: Option<u16>, signal: Signal) -> String {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    match (protocol, port) {
        (Protocol::HttpProtobuf, Some(4317)) => {
            return "4317 is usually the port of gRPC: use 4318, or --protocol grpc".to_owned();
        }
        (Protocol::Grpc, Some(4318)) => {
            return "4318 is usually the port of HTTP: use 4317, or --protocol http/protobuf".to_owned();
        }
        _ => {}
    }
    if says(&["HTTP 404", "HTTP 405", "Unimplemented"]) {
        let variable = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.name().to_uppercase());
        return format!(
            "does it take {}? --endpoint is the URL before v1/{}, {variable} the whole of it",
            signal.name(),
            signal.name()
        );
    }
    if says(&["HTTP 429", "HTTP 503", "Unavailable"]) {
        return "it is there and takes nothing now; run waits".to_owned();
    }
    if says(&["no answer within", "timed out"]) {
        return "is a firewall between, or another program at this port?".to_owned();
    }
    String::new()
}

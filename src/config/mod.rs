//! What was asked for: flags over environment over defaults.
//!
//! The `OTEL_*` variables are OpenTelemetry's (`specification/protocol/exporter.md`,
//! `configuration/sdk-environment-variables.md`): an empty one is unset, a signal's own wins over the general
//! one, and the general endpoint gets `v1/traces` or `v1/metrics` appended.

mod endpoint;
mod error;

use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::export::{Endpoint, Service};
use crate::otel::{Mode, Resource};
pub use error::Error;

/// `service.name` where the application gives none.
const DEFAULT_SERVICE_NAME: &str = "agno";

/// Turns the bridge's own telemetry on, as `--observe` does.
const OBSERVE: &str = "AGNO_OTEL_OBSERVE";

/// OpenTelemetry's own switch for content, as its Python instrumentations read it.
const CAPTURE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";

/// What can be said on the command line of where telemetry goes and whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// Base URL of an OTLP endpoint.
    pub endpoint: Option<String>,
    /// Headers, `name=value`.
    pub headers: Vec<String>,
    /// Timeout of one attempt.
    pub timeout: Option<Duration>,
    /// `http/protobuf` or `grpc`.
    pub protocol: Option<String>,
    /// `none`, `gzip` or `zstd`.
    pub compression: Option<String>,
    /// File of the certificates to trust.
    pub certificate: Option<String>,
    /// File of our own certificate.
    pub client_certificate: Option<String>,
    /// File of its key.
    pub client_key: Option<String>,
    /// `service.name`.
    pub service_name: Option<String>,
    /// Whether the bridge's own telemetry is sent.
    pub observe: bool,
}

/// What was asked for, not yet checked: flags, and the environment behind them.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "headers may be secret, and a closure has no text")]
pub struct Config<'c> {
    /// What was said on the command line.
    pub flags: &'c Flags,
    /// What the environment says.
    pub environment: Environment<'c>,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Where spans go.
    pub traces: Endpoint,
    /// Where metrics go.
    pub metrics: Endpoint,
}

/// Where the bridge's own telemetry goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Where its spans go.
    pub traces: Endpoint,
    /// Where its metrics go.
    pub metrics: Endpoint,
    /// Where its log records go.
    pub logs: Endpoint,
}

/// Reads environment variables, so that tests need not touch the process.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

impl Config<'_> {
    /// Where to send, checked.
    pub fn destination(&self) -> Result<Destination, Error> {
        let traces = self.endpoint(Service::Traces)?;
        Ok(Destination { traces, metrics: self.endpoint(Service::Metrics)? })
    }

    /// Where to send what the bridge says of itself: spans and metrics as those of runs. None: it was not asked
    /// for.
    pub fn observed(&self) -> Result<Option<Observed>, Error> {
        if !self.observes()? {
            return Ok(None);
        }
        let Destination { traces, metrics } = self.destination()?;
        Ok(Some(Observed { traces, metrics, logs: self.endpoint(Service::Logs)? }))
    }

    fn observes(&self) -> Result<bool, Error> {
        let value = self.get(OBSERVE).filter(|_| !self.flags.observe);
        match value.as_deref().map(str::trim) {
            None => Ok(self.flags.observe),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(value) => Err(Error::Observe { value: value.to_owned() }),
        }
    }

    /// True when an endpoint was named by flag or environment.
    pub fn names_endpoint(&self) -> bool {
        let variables = ["ENDPOINT", "TRACES_ENDPOINT", "METRICS_ENDPOINT"];
        let is_set = |name| self.get(&format!("OTEL_EXPORTER_OTLP_{name}")).is_some();
        self.flags.endpoint.is_some() || variables.into_iter().any(is_set)
    }

    /// A variable; an empty one is unset.
    fn get(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.trim().is_empty())
    }

    /// What of content the environment asks for. Ours are spans alone, so that content on events and spans is
    /// content on spans, and content on events alone cannot be had.
    pub fn content(&self) -> Result<Mode, Error> {
        let Some(value) = self.get(CAPTURE) else {
            return Ok(Mode::None);
        };
        match value.trim().to_ascii_uppercase().as_str() {
            "NO_CONTENT" => Ok(Mode::None),
            "SPAN_ONLY" | "SPAN_AND_EVENT" => Ok(Mode::Full),
            "EVENT_ONLY" => Err(Error::Capture { value, why: "asks for log events, which are not sent" }),
            _ => Err(Error::Capture { value, why: "is not understood" }),
        }
    }

    /// Whose telemetry it is. `OTEL_SERVICE_NAME` wins over `OTEL_RESOURCE_ATTRIBUTES`; `instance_id` tells this
    /// sender from others of its service.
    pub fn resource(&self, instance_id: &str) -> Resource {
        let mut attributes: Vec<(String, String)> = Vec::new();
        let listed = self.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        for (place, entry) in listed.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty()) {
            let Some((key, value)) = entry.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
                let place = place + 1;
                tracing::warn!(place, "left out an entry of OTEL_RESOURCE_ATTRIBUTES that is not name=value");
                continue;
            };
            let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
            set(&mut attributes, key.trim(), value);
        }
        let service = self.flags.service_name.clone().or_else(|| self.get("OTEL_SERVICE_NAME"));
        if let Some(service) = service {
            set(&mut attributes, "service.name", service);
        }
        attributes.retain(|(_, value)| !value.is_empty());
        let default = |name: &str, value: &str, attributes: &mut Vec<(String, String)>| {
            if !attributes.iter().any(|(key, _)| key == name) {
                attributes.push((name.to_owned(), value.to_owned()));
            }
        };
        default("service.name", DEFAULT_SERVICE_NAME, &mut attributes);
        default("service.instance.id", instance_id, &mut attributes);
        attributes.sort();
        Resource { attributes }
    }
}

fn set(attributes: &mut Vec<(String, String)>, name: &str, value: String) {
    attributes.retain(|(key, _)| key != name);
    attributes.push((name.to_owned(), value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Compression, Protocol};

    fn with<T>(flags: &Flags, variables: &[(&str, &str)], ask: impl Fn(Config<'_>) -> T) -> T {
        let get =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        ask(Config { flags, environment: &get })
    }

    fn config(flags: &Flags, variables: &[(&str, &str)]) -> Result<Destination, Error> {
        with(flags, variables, |config| config.destination())
    }

    fn attributes(variables: &[(&str, &str)]) -> Vec<(String, String)> {
        with(&Flags::default(), variables, |config| config.resource("instance")).attributes
    }

    #[test]
    fn the_default_is_a_local_collector() {
        let config = config(&Flags::default(), &[]).unwrap();
        assert_eq!(config.traces.url, "http://localhost:4318/v1/traces");
        assert_eq!(config.metrics.url, "http://localhost:4318/v1/metrics");
        assert!(!with(&Flags::default(), &[], |config| config.names_endpoint()));
        let agno = ("service.name".to_owned(), "agno".to_owned());
        assert!(attributes(&[]).contains(&agno));
        assert!(attributes(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=,=x,y")]).contains(&agno));
    }

    #[test]
    fn a_flag_wins_over_a_signals_variable_and_that_over_the_general_one() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:1/base/"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://own:2/as/is"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", ""),
        ];
        let of_variables = config(&Flags::default(), &variables).unwrap();
        assert_eq!(of_variables.traces.url, "https://own:2/as/is");
        assert_eq!(of_variables.metrics.url, "http://general:1/base/v1/metrics");
        let flags = Flags { endpoint: Some("http://flag:3".to_owned()), ..Flags::default() };
        assert_eq!(config(&flags, &variables).unwrap().traces.url, "http://flag:3/v1/traces");
    }

    #[test]
    fn headers_are_percent_decoded_and_never_shown() {
        let variables = [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc, x-team=a%2Cb")];
        let headers = config(&Flags::default(), &variables).unwrap().traces.headers;
        assert_eq!(headers["authorization"], "Bearer abc");
        assert_eq!(headers["x-team"], "a,b");
        assert!(!format!("{headers:?}").contains("abc"));
        let broken = config(&Flags::default(), &[("OTEL_EXPORTER_OTLP_HEADERS", "a=1,secret")]).unwrap_err();
        assert_eq!(
            broken.to_string(),
            "OTEL_EXPORTER_OTLP_HEADERS: entry 2 is no header; expected name=value"
        );
    }

    #[test]
    fn a_user_in_a_url_becomes_a_header_and_leaves_the_url() {
        let of = |url: &str, headers: &[&str]| {
            let headers = headers.iter().map(|&header| header.to_owned()).collect();
            let flags = Flags { endpoint: Some(url.to_owned()), headers, ..Flags::default() };
            config(&flags, &[]).unwrap().traces
        };
        let endpoint = of("https://Aladdin:open%20sesame@host:4318/otlp", &[]);
        assert_eq!(endpoint.url, "https://host:4318/otlp/v1/traces");
        assert_eq!(endpoint.headers["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{endpoint:?}").contains("QWxh"));
        let named = of("http://user@host", &["Authorization=Bearer own"]);
        assert_eq!(named.headers["authorization"], "Bearer own");
        assert!(of("http://host/path@home", &[]).headers.is_empty());
    }

    #[test]
    fn what_cannot_be_sent_to_is_said_by_name() {
        let wrong = [("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")];
        assert!(
            config(&Flags::default(), &wrong)
                .unwrap_err()
                .to_string()
                .starts_with("OTEL_EXPORTER_OTLP_ENDPOINT")
        );
        let json = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
        assert!(config(&Flags::default(), &json).unwrap_err().to_string().contains("http/protobuf"));
        let key = [("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "key.pem")];
        let error = config(&Flags::default(), &key).unwrap_err().to_string();
        assert!(error.contains("METRICS_CLIENT_KEY") && error.contains("certificate"), "{error}");
    }

    #[test]
    fn grpc_has_a_port_of_its_own_and_no_path() {
        let of = |variables: &[(&str, &str)]| config(&Flags::default(), variables).unwrap();
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(of(&[grpc]).traces.url, "http://localhost:4317");
        let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
        assert_eq!(of(&[grpc, bare]).metrics.url, "https://collector:4317");
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
        assert_eq!(of(&[grpc, bare, insecure]).metrics.url, "http://collector:4317");
        let mixed = of(&[("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")]);
        assert_eq!((mixed.traces.protocol, mixed.metrics.protocol), (Protocol::HttpProtobuf, Protocol::Grpc));
    }

    #[test]
    fn bodies_are_compressed_unless_they_stay_on_this_machine() {
        let of = |url: &str, variables: &[(&str, &str)]| {
            let flags = Flags { endpoint: Some(url.to_owned()), ..Flags::default() };
            config(&flags, variables).unwrap().traces.compression
        };
        for near in ["http://localhost:4318", "http://127.0.0.1:4318", "http://[::1]:4318"] {
            assert_eq!(of(near, &[]), Compression::None, "{near}");
        }
        assert_eq!(of("https://collector", &[]), Compression::Gzip);
        assert_eq!(of("https://collector", &[("OTEL_EXPORTER_OTLP_COMPRESSION", "none")]), Compression::None);
        assert_eq!(
            of("http://localhost", &[("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd")]),
            Compression::Zstd
        );
    }

    #[test]
    fn opentelemetrys_switch_for_content_is_understood_or_refused_by_name() {
        let of = |value: &str| with(&Flags::default(), &[(CAPTURE, value)], |config| config.content());
        for (value, mode) in [
            ("", Mode::None),
            ("NO_CONTENT", Mode::None),
            ("no_content", Mode::None),
            ("SPAN_ONLY", Mode::Full),
            (" Span_And_Event ", Mode::Full),
        ] {
            assert_eq!(of(value).unwrap(), mode, "{value}");
        }
        for value in ["EVENT_ONLY", "true", "masked"] {
            let said = of(value).unwrap_err().to_string();
            for word in [CAPTURE, value, "SPAN_ONLY", "--content"] {
                assert!(said.contains(word), "{said}");
            }
        }
    }

    #[test]
    fn the_service_name_variable_wins_over_the_attributes() {
        let variables = [
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=listed,deployment.environment.name=pre%20prod"),
            ("OTEL_SERVICE_NAME", "own"),
        ];
        let attributes = attributes(&variables);
        let get =
            |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(
            (get("service.name"), get("deployment.environment.name")),
            (Some("own"), Some("pre prod"))
        );
    }
}

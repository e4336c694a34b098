//! What was asked for: flags over environment over defaults.
//!
//! The `OTEL_*` variables are OpenTelemetry's (`specification/protocol/exporter.md`,
//! `configuration/sdk-environment-variables.md`): an empty one is unset, a signal's own wins over the general
//! one, and the general endpoint gets `v1/traces` or `v1/metrics` appended.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::export::otlp_http::{Endpoint, header};
use crate::otel::Resource;

/// Where a Collector listens by default.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// How long one attempt may take by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// `service.name` where the application gives none.
const DEFAULT_SERVICE_NAME: &str = "agno";

/// What can be said on the command line of where telemetry goes and whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// Base URL of an OTLP endpoint.
    pub endpoint: Option<String>,
    /// Headers, `name=value`.
    pub headers: Vec<String>,
    /// Timeout of one attempt.
    pub timeout: Option<Duration>,
    /// `service.name`.
    pub service_name: Option<String>,
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

/// What is wrong with what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a URL we can send to.
    #[error("{name}: \"{value}\" is not an HTTP URL; expected something like {DEFAULT_ENDPOINT}")]
    Endpoint {
        /// The flag or variable.
        name: String,
        /// What it says.
        value: String,
    },
    /// Not a header.
    #[error("{name}: entry {place} is no header; expected name=value")]
    Header {
        /// The flag or variable.
        name: String,
        /// Which entry; its text may be secret.
        place: usize,
    },
    /// Not a number of milliseconds.
    #[error("{name}: \"{value}\" is no number of milliseconds")]
    Timeout {
        /// The variable.
        name: String,
        /// What it says.
        value: String,
    },
    /// A protocol this version does not speak.
    #[error("{name}: \"{value}\" is not supported by this version; use http/protobuf (usually port 4318)")]
    Protocol {
        /// The variable.
        name: String,
        /// What it says.
        value: String,
    },
}

/// Reads environment variables, so that tests need not touch the process.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

impl Config<'_> {
    /// Where to send, checked.
    pub fn destination(&self) -> Result<Destination, Error> {
        let traces = self.endpoint("TRACES", "v1/traces")?;
        Ok(Destination { traces, metrics: self.endpoint("METRICS", "v1/metrics")? })
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

    /// A setting of one signal: its own variable, else the general one, with the variable's name.
    fn setting(&self, signal: &str, name: &str) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_{signal}_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")]
            .into_iter()
            .find_map(|variable| self.get(&variable).map(|value| (variable, value)))
    }

    fn endpoint(&self, signal: &str, path: &str) -> Result<Endpoint, Error> {
        let spoken = |(_, value): &(String, String)| value.trim() == "http/protobuf";
        if let Some((name, value)) = self.setting(signal, "PROTOCOL").filter(|setting| !spoken(setting)) {
            return Err(Error::Protocol { name, value });
        }
        let (url, credentials) = self.url(signal, path)?;
        let mut headers = self.headers(signal)?;
        if let Some((name, value)) = credentials.filter(|(name, _)| !headers.contains_key(name)) {
            headers.insert(name, value);
        }
        Ok(Endpoint { url, headers, timeout: self.timeout(signal)? })
    }

    /// The URL, and the header that its user and password mean.
    fn url(&self, signal: &str, path: &str) -> Result<(Uri, Option<(HeaderName, HeaderValue)>), Error> {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
        let (name, value, base) = if let Some(flag) = &self.flags.endpoint {
            ("--endpoint".to_owned(), flag.clone(), true)
        } else if let Some(value) = self.get(&own) {
            (own, value, false)
        } else {
            let general = "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned();
            let value = self.get(&general).unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
            (general, value, true)
        };
        let value = value.trim();
        let (address, query) =
            value.split_once('?').map_or((value, None), |(address, query)| (address, Some(query)));
        let (address, user) = split_user(address);
        let mut whole =
            if base { format!("{}/{path}", address.trim_end_matches('/')) } else { address.clone() };
        whole.extend(query.into_iter().flat_map(|query| ["?", query]));
        let url: Option<Uri> = whole.parse().ok();
        let is_http =
            |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some();
        let url = url.filter(is_http).ok_or(Error::Endpoint { name, value: address })?;
        Ok((url, user.and_then(basic)))
    }

    /// Headers in the form of W3C baggage: `name=value,name=value`, percent-encoded. Flags come on top.
    fn headers(&self, signal: &str) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = self.setting(signal, "HEADERS") {
            for (place, entry) in
                value.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty())
            {
                let decoded = entry.split_once('=').and_then(|(key, value)| {
                    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
                    header(key, &value)
                });
                let (key, value) =
                    decoded.ok_or_else(|| Error::Header { name: name.clone(), place: place + 1 })?;
                headers.insert(key, value);
            }
        }
        for (place, entry) in self.flags.headers.iter().enumerate() {
            let split = entry.split_once('=').and_then(|(key, value)| header(key, value));
            let (key, value) =
                split.ok_or_else(|| Error::Header { name: "--header".to_owned(), place: place + 1 })?;
            headers.insert(key, value);
        }
        Ok(headers)
    }

    fn timeout(&self, signal: &str) -> Result<Duration, Error> {
        if let Some(timeout) = self.flags.timeout {
            return Ok(timeout);
        }
        let Some((name, value)) = self.setting(signal, "TIMEOUT") else {
            return Ok(DEFAULT_TIMEOUT);
        };
        let milliseconds: Option<u64> = value.trim().parse().ok();
        milliseconds.map(Duration::from_millis).ok_or(Error::Timeout { name, value })
    }

    /// Whose telemetry it is. `OTEL_SERVICE_NAME` wins over `OTEL_RESOURCE_ATTRIBUTES`; `instance_id` tells this
    /// sender from others of its service.
    pub fn resource(&self, instance_id: &str) -> Resource {
        let mut attributes: Vec<(String, String)> = Vec::new();
        let listed = self.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        for (key, value) in listed.split(',').filter_map(|entry| entry.split_once('=')) {
            let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
            set(&mut attributes, key.trim(), value);
        }
        let service = self.flags.service_name.clone().or_else(|| self.get("OTEL_SERVICE_NAME"));
        if let Some(service) = service {
            set(&mut attributes, "service.name", service);
        }
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

/// An address without the user and password it may hold, and those: `http://user:password@host/path`. What is
/// sent, logged and shown is the address alone.
fn split_user(address: &str) -> (String, Option<&str>) {
    let (scheme, rest) = address.split_once("://").map_or(("", address), |(scheme, rest)| (scheme, rest));
    let authority = rest.split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let rest = user.and_then(|user| rest.get(user.len() + 1..)).unwrap_or(rest);
    (if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{rest}") }, user)
}

/// HTTP's basic authentication (RFC 7617).
fn basic(user: &str) -> Option<(HeaderName, HeaderValue)> {
    let user: Vec<u8> = percent_decode_str(user).collect();
    header("authorization", &format!("Basic {}", BASE64_STANDARD.encode(user)))
}

fn set(attributes: &mut Vec<(String, String)>, name: &str, value: String) {
    attributes.retain(|(key, _)| key != name);
    if !name.is_empty() {
        attributes.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(attributes(&[]).contains(&("service.name".to_owned(), "agno".to_owned())));
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
        let grpc = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        assert!(config(&Flags::default(), &grpc).unwrap_err().to_string().contains("http/protobuf"));
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

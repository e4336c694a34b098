//! What was asked for: flags over environment over the config file over defaults.
//!
//! The `OTEL_*` variables are OpenTelemetry's (`specification/protocol/exporter.md`,
//! `configuration/sdk-environment-variables.md`): an empty one is unset, a signal's own wins over the general
//! one, and the general endpoint gets `v1/traces` or `v1/metrics` appended.

mod endpoint;
mod error;
pub mod file;
mod listen;
mod resource;
mod secret;
pub mod when;

use std::path::PathBuf;
use std::time::Duration;

use crate::export::{Endpoint, Service};
use crate::otel::Mode;
pub use error::Error;
pub use file::{File, History, MetricsWay};
pub use listen::{Listen, Token};

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
    pub observe: Option<bool>,
    /// Where runs are taken by HTTP.
    pub listen: Option<String>,
    /// File of the token that those who hand them over must show.
    pub listen_token_file: Option<PathBuf>,
    /// File of the certificate they are shown.
    pub listen_certificate: Option<PathBuf>,
    /// File of its key.
    pub listen_key: Option<PathBuf>,
}

/// What was asked for, not yet checked: flags, the environment behind them, and the config file behind that.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "headers may be secret, and a closure has no text")]
pub struct Config<'c> {
    /// What was said on the command line.
    pub flags: &'c Flags,
    /// What the environment says.
    pub environment: Environment<'c>,
    /// What the config file says.
    pub file: &'c File,
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
    /// Attributes of its resource that the file says.
    pub attributes: Vec<(String, String)>,
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
        let logs = self.endpoint(Service::Logs)?;
        Ok(Some(Observed { traces, metrics, logs, attributes: self.surroundings() }))
    }

    fn observes(&self) -> Result<bool, Error> {
        if let Some(flag) = self.flags.observe {
            return Ok(flag);
        }
        let value = self.get(OBSERVE);
        match value.as_deref().map(str::trim) {
            None => Ok(self.file.sections.observe.enabled),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(value) => Err(Error::Observe { value: value.to_owned() }),
        }
    }

    /// True when an endpoint was named by flag, environment or file.
    pub fn names_endpoint(&self) -> bool {
        let variables = ["ENDPOINT", "TRACES_ENDPOINT", "METRICS_ENDPOINT"];
        let is_set = |name| self.get(&format!("OTEL_EXPORTER_OTLP_{name}")).is_some();
        let in_file =
            [Service::Traces, Service::Metrics].iter().any(|signal| self.file.endpoint(*signal).is_some());
        self.flags.endpoint.is_some() || variables.into_iter().any(is_set) || in_file
    }

    /// A variable; an empty one is unset.
    fn get(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.trim().is_empty())
    }

    /// What of content the environment asks for, or the file. Ours are spans alone, so that content on events and spans is
    /// content on spans, and content on events alone cannot be had.
    pub fn content(&self) -> Result<Mode, Error> {
        let Some(value) = self.get(CAPTURE) else {
            return Ok(self.file.sections.content.mode);
        };
        match value.trim().to_ascii_uppercase().as_str() {
            "NO_CONTENT" => Ok(Mode::None),
            "SPAN_ONLY" | "SPAN_AND_EVENT" => Ok(Mode::Full),
            "EVENT_ONLY" => Err(Error::Capture { value, why: "asks for log events, which are not sent" }),
            _ => Err(Error::Capture { value, why: "is not understood" }),
        }
    }
}

#[cfg(test)]
mod tests;

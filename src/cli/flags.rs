//! Flags that several commands have.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ended::NoSource;
use crate::config::{self, Config, File, Flags};
use crate::otel::policy::{MAX_LIMIT_BYTES, MIN_LIMIT_BYTES};
use crate::otel::{Mode, Policy, Settings};
use crate::source;

/// Where runs are read from.
#[derive(Debug, Clone, Args)]
pub(super) struct Sources {
    /// SQLite databases, URLs of Postgres databases (postgres://USER@HOST/DATABASE), folders (JsonDb, or files with
    /// runs), files with runs (one, a list, or one per line), - for standard input. Default: the sources of the config
    /// file.
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Of all sessions tables (or JsonDb files) read only this one; default: every table that looks like Agno's.
    /// A database that lacks it is read by default too, if another has it. Files of runs have no tables. For Postgres
    /// SCHEMA.NAME too.
    #[arg(long, value_name = "NAME", requires = "paths")]
    pub(super) sessions_table: Option<String>,
    /// Of all runs tables (or JsonDb files) read only this one, likewise.
    #[arg(long, value_name = "NAME", requires = "paths")]
    pub(super) runs_table: Option<String>,
}

impl Sources {
    /// Those of them that are files or folders.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let locations = self.paths.iter().map(|path| source::Location::of(path));
        locations
            .filter_map(|location| match location {
                source::Location::Path(path) => Some(path),
                _ => None,
            })
            .collect()
    }
}

/// Where telemetry goes, and whose it is.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Destination {
    /// OTLP endpoint; by HTTP, v1/traces and v1/metrics are appended [env: OTEL_EXPORTER_OTLP_ENDPOINT and those
    /// of each signal; default: http://localhost:4318, or :4317 for grpc]
    #[arg(long, value_name = "URL")]
    pub(super) endpoint: Option<String>,
    /// http/protobuf or grpc [env: OTEL_EXPORTER_OTLP_PROTOCOL; default: http/protobuf]
    #[arg(long, value_name = "PROTOCOL")]
    pub(super) protocol: Option<String>,
    /// Header of every request, repeatable [env: OTEL_EXPORTER_OTLP_HEADERS]
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub(super) headers: Vec<String>,
    /// none, gzip or zstd [env: OTEL_EXPORTER_OTLP_COMPRESSION; default: none to this machine, gzip elsewhere]
    #[arg(long, value_name = "NAME")]
    pub(super) compression: Option<String>,
    /// PEM file of the certificates to trust, instead of the system's [env: OTEL_EXPORTER_OTLP_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    pub(super) certificate: Option<String>,
    /// PEM file of our own certificate, for servers that ask [env: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    pub(super) client_certificate: Option<String>,
    /// PEM file of its key [env: OTEL_EXPORTER_OTLP_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    pub(super) client_key: Option<String>,
    /// Seconds one attempt may take [env: OTEL_EXPORTER_OTLP_TIMEOUT, in milliseconds; default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) timeout: Option<u64>,
    /// Seconds to go on trying when the endpoint cannot be reached or says "later"; run never gives up [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub(super) give_up_after: Option<u64>,
    /// service.name of everything sent [env: OTEL_SERVICE_NAME; default: agno]
    #[arg(long, value_name = "NAME")]
    pub(super) service_name: Option<String>,
    #[command(flatten)]
    pub(super) own: Own,
}

pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let above_zero = text.parse().ok().filter(|seconds| *seconds > 0);
    above_zero.ok_or_else(|| "expected a number of whole seconds, 1 or more".to_owned())
}

/// What the bridge says of itself.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct Own {
    /// Send logs, spans and counters of agno-otel itself too, to the same endpoint, as service agno-otel
    /// [env: AGNO_OTEL_OBSERVE=true; default: off]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) observe: Option<bool>,
}

/// What is said.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Said {
    /// What of prompts, answers, tool arguments, results and error texts is sent: masked says their lengths and a
    /// short hash of long ones [env: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT; default: none]
    #[arg(long, value_name = "HOW", value_enum)]
    pub(super) content: Option<ContentMode>,
    /// Bytes of an attribute with content; what is beyond is cut, and said to be [default: 65536]
    #[arg(long, value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(MIN_LIMIT_BYTES as u64..=MAX_LIMIT_BYTES as u64))]
    pub(super) content_limit: Option<u64>,
    /// Send user.id too. It is personal data.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) user_id: Option<bool>,
    /// Also send the names older dashboards and Jaeger read: gen_ai.client.token.usage,
    /// gen_ai.usage.cache_creation.input_tokens, …
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) older_names: Option<bool>,
}

/// What of content is sent.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum ContentMode {
    None,
    Masked,
    Full,
}

impl Said {
    pub(super) fn settings(self, config: Config<'_>) -> Result<Settings, config::Error> {
        let mode = match self.content {
            Some(ContentMode::None) => Mode::None,
            Some(ContentMode::Masked) => Mode::Masked,
            Some(ContentMode::Full) => Mode::Full,
            None => config.content()?,
        };
        let said = &config.file.sections;
        let limit_bytes = self.content_limit.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let content = Policy::new(mode, limit_bytes.unwrap_or(said.content.limit_bytes));
        Ok(Settings {
            user_id: self.user_id.unwrap_or(said.content.user_id),
            older_names: self.older_names.unwrap_or(said.names.older),
            content,
            // There is one configuration, for as long as we run.
            thresholds: said.session.thresholds.clone().leak(),
        })
    }
}
impl Destination {
    pub(super) fn flags(&self) -> Flags {
        Flags {
            endpoint: self.endpoint.clone(),
            headers: self.headers.clone(),
            timeout: self.timeout.map(Duration::from_secs),
            service_name: self.service_name.clone(),
            protocol: self.protocol.clone(),
            compression: self.compression.clone(),
            certificate: self.certificate.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
            observe: self.own.observe,
            ..Flags::default()
        }
    }
}
impl Sources {
    /// What is to be read: what was said on the command line, else what the file says.
    pub(super) fn or_those_of(self, file: &File) -> Result<Vec<Self>, NoSource> {
        if !self.paths.is_empty() {
            return Ok(vec![self]);
        }
        let of_file = file.sections.source.iter().map(|source| Self {
            paths: vec![file.source_path(source)],
            sessions_table: source.sessions_table.clone(),
            runs_table: source.runs_table.clone(),
        });
        let sources: Vec<Self> = of_file.collect();
        if sources.is_empty() { Err(NoSource) } else { Ok(sources) }
    }
}

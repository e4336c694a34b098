//! The sections of a config file, and what holds where it says nothing.
//!
//! Every key stands in `examples/agno-otel.toml` with its default; a test compares the two.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::budgets;
use super::price::{Price, Prices};
use super::values::{self, FilePath, HeaderKey, Secret};
use crate::export::{Compression, Protocol};
use crate::model::budget::{Budget, DEFAULT_THRESHOLDS, Limit};
use crate::otel::Mode;
use crate::otel::policy::DEFAULT_LIMIT_BYTES;

/// How long a request is tried, where nothing else is said.
const DEFAULT_GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// How often metrics are released, where nothing else is said.
const DEFAULT_METRICS_EVERY: Duration = Duration::from_secs(15);
/// How many bytes of spans may wait, where nothing else is said.
const DEFAULT_OUTBOX_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;

/// Bytes of a request with runs, where nothing else is said: hundreds of long sessions.
const DEFAULT_BODY_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// The same, once it is decompressed: each is in memory, with some others.
const DEFAULT_DECOMPRESSED_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// All of a config file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Sections {
    /// Where telemetry goes.
    pub otlp: Otlp,
    /// Whose it is.
    pub service: Owner,
    /// What of content is sent.
    pub content: Content,
    /// Under which names.
    pub names: Names,
    /// How `send` sends.
    pub send: Send,
    /// How `run` follows.
    pub run: Run,
    /// Where `run` takes runs by HTTP.
    pub listen: Listen,
    /// Where what was counted is kept.
    pub state: State,
    /// What is left of published prices.
    pub prices: Prices,
    /// What models cost, instead of what is published.
    pub price: Vec<Price>,
    /// What the bridge says of itself.
    pub observe: Observe,
    /// What is told of sessions.
    pub session: Session,
    /// What may be spent.
    #[serde(deserialize_with = "budgets::budgets")]
    pub budget: Vec<Budget>,
    /// What is read where no path is given.
    pub source: Vec<Source>,
}

/// `[otlp]`: where telemetry goes, and where that of one signal goes instead.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "WrittenOtlp")]
pub struct Otlp {
    /// What holds for every signal.
    pub all: Keys,
    /// `[otlp.traces]`.
    pub traces: Keys,
    /// `[otlp.metrics]`.
    pub metrics: Keys,
    /// `[otlp.logs]`, which the bridge alone has.
    pub logs: Keys,
}

/// Where requests go: what is said of all signals, or of one. What is absent is not said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Keys {
    /// A URL; of one signal, taken as it is. It may hold a user and a password.
    pub endpoint: Option<Spanned<Secret>>,
    /// `http/protobuf` or `grpc`.
    #[serde(deserialize_with = "values::protocol")]
    pub protocol: Option<Protocol>,
    /// Headers of every request. A signal's own are instead of the general ones, as with `OTEL_*`.
    pub headers: Option<BTreeMap<HeaderKey, Spanned<Secret>>>,
    /// `none`, `gzip` or `zstd`.
    #[serde(deserialize_with = "values::compression")]
    pub compression: Option<Compression>,
    /// File of the certificates to trust.
    pub certificate: Option<Spanned<FilePath>>,
    /// File of our own certificate.
    pub client_certificate: Option<Spanned<FilePath>>,
    /// File of its key.
    pub client_key: Option<Spanned<FilePath>>,
    /// Timeout of one attempt.
    #[serde(deserialize_with = "values::timeout")]
    pub timeout: Option<Duration>,
}

/// `[otlp]` as it is written. The keys stand here once more, for serde's `flatten` would let unknown ones pass.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
struct WrittenOtlp {
    endpoint: Option<Spanned<Secret>>,
    #[serde(deserialize_with = "values::protocol")]
    protocol: Option<Protocol>,
    headers: Option<BTreeMap<HeaderKey, Spanned<Secret>>>,
    #[serde(deserialize_with = "values::compression")]
    compression: Option<Compression>,
    certificate: Option<Spanned<FilePath>>,
    client_certificate: Option<Spanned<FilePath>>,
    client_key: Option<Spanned<FilePath>>,
    #[serde(deserialize_with = "values::timeout")]
    timeout: Option<Duration>,
    traces: Keys,
    metrics: Keys,
    logs: Keys,
}

impl From<WrittenOtlp> for Otlp {
    fn from(written: WrittenOtlp) -> Self {
        let all = Keys {
            endpoint: written.endpoint,
            protocol: written.protocol,
            headers: written.headers,
            compression: written.compression,
            certificate: written.certificate,
            client_certificate: written.client_certificate,
            client_key: written.client_key,
            timeout: written.timeout,
        };
        Self { all, traces: written.traces, metrics: written.metrics, logs: written.logs }
    }
}

/// `[service]`: whose telemetry it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Owner {
    /// `service.name`.
    pub name: Option<String>,
    /// `service.namespace`.
    pub namespace: Option<String>,
    /// `deployment.environment.name`.
    pub environment: Option<String>,
    /// Further attributes of the resource.
    pub attributes: BTreeMap<String, String>,
}

/// `[content]`: what of it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Content {
    /// Whole, masked, or not at all.
    #[serde(deserialize_with = "values::mode")]
    pub mode: Mode,
    /// Bytes of an attribute with content.
    #[serde(rename = "limit", deserialize_with = "values::content_limit")]
    pub limit_bytes: usize,
    /// Whether `user.id` is sent.
    pub user_id: bool,
}

impl Default for Content {
    fn default() -> Self {
        Self { mode: Mode::None, limit_bytes: DEFAULT_LIMIT_BYTES, user_id: false }
    }
}

/// `[names]`: which are sent beside the conventions' newest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Names {
    /// Those that older dashboards and Jaeger read.
    pub older: bool,
}

/// `[send]`: how `send` sends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Send {
    /// How long a request is tried.
    #[serde(deserialize_with = "values::duration")]
    pub give_up_after: Duration,
    /// File that keeps what the destination refuses.
    pub dead_letters: Option<FilePath>,
}

impl Default for Send {
    fn default() -> Self {
        Self { give_up_after: DEFAULT_GIVE_UP_AFTER, dead_letters: None }
    }
}

/// `[run]`: how `run` follows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Run {
    /// What is wanted of runs that are there at first contact: `count`, `traces` or `skip`.
    #[serde(deserialize_with = "values::history")]
    pub history: History,
    /// Which way metrics go: `otlp`, `scrape` or `off`.
    #[serde(deserialize_with = "values::metrics_way")]
    pub metrics: MetricsWay,
    /// The time between two releases of metrics.
    #[serde(deserialize_with = "values::interval")]
    pub metrics_every: Duration,
    /// Bytes of spans that may wait.
    #[serde(rename = "outbox_limit", deserialize_with = "values::size")]
    pub outbox_limit_bytes: u64,
}

impl Default for Run {
    fn default() -> Self {
        let (metrics_every, outbox_limit_bytes) = (DEFAULT_METRICS_EVERY, DEFAULT_OUTBOX_LIMIT_BYTES);
        Self { history: History::Skip, metrics: MetricsWay::Otlp, metrics_every, outbox_limit_bytes }
    }
}

/// Which way the metrics of `run` go. One alone: the same series by two ways into one Prometheus are counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsWay {
    /// They are sent, as spans are.
    Otlp,
    /// They are shown to whoever asks for `/metrics`.
    Scrape,
    /// Nowhere; they are counted all the same.
    Off,
}

/// `[listen]`: where `run` takes runs by HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Listen {
    /// Address and port; nobody listens where it is absent.
    pub address: Option<Spanned<String>>,
    /// What those who hand runs over must show.
    pub token: Option<Spanned<Secret>>,
    /// File of the certificate they are shown.
    pub certificate: Option<FilePath>,
    /// File of its key.
    pub key: Option<FilePath>,
    /// Bytes of a request's body.
    #[serde(rename = "body_limit", deserialize_with = "values::size")]
    pub body_limit_bytes: u64,
    /// The same, once it is decompressed.
    #[serde(rename = "decompressed_limit", deserialize_with = "values::size")]
    pub decompressed_limit_bytes: u64,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: None,
            token: None,
            certificate: None,
            key: None,
            body_limit_bytes: DEFAULT_BODY_LIMIT_BYTES,
            decompressed_limit_bytes: DEFAULT_DECOMPRESSED_LIMIT_BYTES,
        }
    }
}

/// What is wanted of runs that were there before we came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum History {
    /// They are counted, and their traces sent.
    Count,
    /// Their traces are sent, with their own times; counters are left alone.
    Traces,
    /// Nothing; what they spend from now on is counted.
    Skip,
}

/// `[state]`: where what was counted is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct State {
    /// The state file. `send` uses one only where it is named.
    pub file: Option<FilePath>,
}

/// `[session]`: what is told of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Session {
    /// What one may pass before somebody wants to know.
    #[serde(deserialize_with = "budgets::thresholds")]
    pub thresholds: Vec<Limit>,
}

impl Default for Session {
    fn default() -> Self {
        Self { thresholds: DEFAULT_THRESHOLDS.to_vec() }
    }
}

/// `[observe]`: what the bridge says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Observe {
    /// Whether it is sent.
    pub enabled: bool,
}

/// `[[source]]`: where records come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Source {
    /// A database, folder or file; `-` is standard input.
    pub path: FilePath,
    /// Of all its sessions tables only this one.
    pub sessions_table: Option<String>,
    /// Of all its runs tables only this one.
    pub runs_table: Option<String>,
}

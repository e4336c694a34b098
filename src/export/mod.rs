//! How telemetry leaves: one attempt, four outcomes.

pub mod ask;
mod client;
pub mod compression;
pub mod otlp_grpc;
pub mod otlp_http;
pub mod otlp_json;
pub mod print;

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::header::HeaderMap;

use crate::clock::Clock;
use crate::otel::request::Chunk;
pub use crate::otel::request::Signal;
pub use client::TlsError;
#[cfg(feature = "http")]
pub(crate) use client::certificates;
pub use compression::Compression;
use otlp_grpc::OtlpGrpc;
use otlp_http::OtlpHttp;

/// What to do where a server does not know us.
const CREDENTIALS: &str = "it wants a header that lets us in: --header \"authorization=Bearer …\"";

/// A request as it is sent: chunks, one after the other as one message. Its bytes never change, so a resend is
/// the same request, over either transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'r> {
    /// Which service takes it.
    pub signal: Signal,
    /// What it is made of.
    pub chunks: &'r [Chunk],
}

impl Request<'_> {
    /// Bytes of the message.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    /// True when there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which of OTLP's services is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Takes spans.
    Traces,
    /// Takes metrics.
    Metrics,
    /// Takes log records; those of the bridge itself.
    Logs,
}

impl From<Signal> for Service {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Traces => Self::Traces,
            Signal::Metrics => Self::Metrics,
        }
    }
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/HTTP, protobuf.
    HttpProtobuf,
    /// OTLP/gRPC.
    Grpc,
}

/// Where requests of one signal go, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The whole URL, path included; gRPC takes its scheme and authority alone.
    pub url: Uri,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Headers sent with every request; never logged.
    pub headers: HeaderMap,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How bodies are compressed.
    pub compression: Compression,
    /// Certificates; without them the system's roots are trusted.
    pub tls: Tls,
}

/// Certificates as files of PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whom to trust instead of the system's roots.
    pub roots: Option<PathBuf>,
    /// Our own certificate and its key, for servers that ask who we are.
    pub identity: Option<Identity>,
}

/// A certificate, with what proves it is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by those that lead to a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How an attempt to deliver a request ended.
///
/// Closed on purpose: a new outcome must break every `match` that decides what happens to data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The far side took it, except for what it rejected for good (OTLP's partial success).
    Delivered {
        /// Spans or points it rejected.
        rejected: u64,
        /// Its reason.
        message: String,
    },
    /// Not now, or nobody knows: the same request may be sent again.
    TryLater {
        /// How long it asked us to wait.
        wait: Option<Duration>,
        /// False where the far side surely took nothing: it said so, or there was no connection.
        may_have_arrived: bool,
        /// Why.
        reason: String,
    },
    /// Too large for the far side: in parts it may be taken.
    TooLarge {
        /// Why.
        reason: String,
    },
    /// Never: sending it again would end the same way.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Makes attempts at one endpoint. It never retries, buffers or logs: `delivery` does.
#[derive(Debug)]
pub enum Exporter {
    /// OTLP/HTTP.
    Http(OtlpHttp),
    /// OTLP/gRPC.
    Grpc(OtlpGrpc),
}

impl Exporter {
    /// Connects lazily: nothing is sent before the first request. Fails where certificates cannot be read.
    pub fn to(endpoint: Endpoint, clock: Clock) -> Result<Self, TlsError> {
        Ok(match endpoint.protocol {
            Protocol::HttpProtobuf => Self::Http(OtlpHttp::new(endpoint, clock)?),
            Protocol::Grpc => Self::Grpc(OtlpGrpc::new(endpoint)?),
        })
    }

    /// Where requests go, as shown to people.
    pub fn target(&self) -> String {
        match self {
            Self::Http(http) => http.target(),
            Self::Grpc(grpc) => grpc.target(),
        }
    }

    /// Host and port.
    pub fn server(&self) -> Option<&http::uri::Authority> {
        match self {
            Self::Http(http) => http.url().authority(),
            Self::Grpc(grpc) => grpc.url().authority(),
        }
    }

    /// Makes one attempt and waits for its end. Dropping the future abandons the attempt.
    pub async fn export(&self, request: &Request<'_>) -> Attempt {
        self.attempt(request.signal.into(), request.chunks).await
    }

    /// Asks with a request that holds nothing whether one would be taken, and what time it is there.
    ///
    /// It goes the way of any other, with the same TLS, headers and path, and leaves nothing behind.
    pub async fn probe(&self, signal: Signal) -> (Attempt, Option<u64>) {
        match self {
            Self::Http(http) => http.probe().await,
            Self::Grpc(grpc) => grpc.probe(signal.into()).await,
        }
    }

    /// As [`export`](Self::export), for any service: `chunks` make one message of it.
    pub async fn attempt(&self, service: Service, chunks: &[Chunk]) -> Attempt {
        match self {
            Self::Http(http) => http.attempt(chunks).await,
            Self::Grpc(grpc) => grpc.attempt(service, chunks).await,
        }
    }
}

/// What a server took and yet rejected, from the message it answered with. An empty or unreadable answer rejects
/// nothing.
fn partial_success(answer: &[u8]) -> Attempt {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    use prost::Message as _;
    // The services' answers differ in the names of their fields alone, and names are not sent.
    let (rejected, message) = ExportTraceServiceResponse::decode(answer)
        .ok()
        .and_then(|response| response.partial_success)
        .map(|partial| (partial.rejected_spans, partial.error_message))
        .unwrap_or_default();
    Attempt::Delivered { rejected: u64::try_from(rejected).unwrap_or(0), message: first_chars(&message) }
}

/// More of an answer to a request is not read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Characters kept of what a server says.
const MAX_REASON_CHARS: usize = 200;

fn first_chars(text: &str) -> String {
    text.trim().chars().filter(|letter| !letter.is_control()).take(MAX_REASON_CHARS).collect()
}

/// True for the words servers have for a message beyond their limit (grpc-go, tonic, the Collector's HTTP
/// receiver): the codes they come with mean other things too.
fn says_too_large(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["larger than max", "too large", "message length", "exceeds the limit"]
        .iter()
        .any(|word| message.contains(word))
}

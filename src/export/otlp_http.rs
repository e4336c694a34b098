//! OTLP over HTTP, protobuf: status, `Retry-After` and partial success into an [`Attempt`].
//!
//! Which status may be retried is OTLP's rule (`opentelemetry-proto`, `docs/specification.md`, "OTLP/HTTP
//! Response"): 429, 502, 503 and 504; every other failure is final. A connection that broke says nothing of
//! what happened to the request, so it is "later", never "delivered".

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use super::{Attempt, Request, Signal};

/// More of an answer is not read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// A longer `Retry-After` is not believed.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
/// Characters kept of what a server says about a refusal.
const MAX_REASON_CHARS: usize = 200;

/// Where requests of one signal go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The whole URL, path included.
    pub url: Uri,
    /// Headers sent with every request; never logged.
    pub headers: HeaderMap,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// Sends requests by HTTP.
#[derive(Debug, Clone)]
pub struct OtlpHttp {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    traces: Endpoint,
    metrics: Endpoint,
}

impl OtlpHttp {
    /// Connects lazily: nothing is sent before the first request. Fails where the system's certificates cannot
    /// be read.
    pub fn new(traces: Endpoint, metrics: Endpoint) -> std::io::Result<Self> {
        let builder = HttpsConnectorBuilder::new();
        let is_https = [&traces, &metrics].iter().any(|endpoint| endpoint.url.scheme_str() == Some("https"));
        // Certificates are read only where they are needed: it takes a while.
        let builder =
            if is_https { builder.with_native_roots()? } else { builder.with_tls_config(no_roots()) };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), traces, metrics })
    }

    fn endpoint(&self, signal: Signal) -> &Endpoint {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }

    /// Where requests of a signal go, as shown to people.
    pub fn target(&self, signal: Signal) -> String {
        shown(&self.endpoint(signal).url)
    }

    /// Makes one attempt and waits for its end. Dropping the future abandons the attempt.
    pub async fn export(&self, request: &Request<'_>) -> Attempt {
        let signal = request.signal;
        let endpoint = self.endpoint(signal);
        let mut message = http::Request::new(Full::new(body(request)));
        *message.method_mut() = Method::POST;
        message.uri_mut().clone_from(&endpoint.url);
        message.headers_mut().clone_from(&endpoint.headers);
        let agent = concat!("agno-otel/", env!("CARGO_PKG_VERSION"), " OTel-OTLP-Exporter-Rust");
        let fixed = [(CONTENT_TYPE, "application/x-protobuf"), (USER_AGENT, agent)];
        for (name, value) in fixed {
            message.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        match tokio::time::timeout(endpoint.timeout, self.exchange(message)).await {
            Ok(Ok((status, headers, body))) => outcome(signal, status, &headers, &body),
            Ok(Err(reason)) => Attempt::TryLater { wait: None, reason },
            Err(_) => {
                Attempt::TryLater { wait: None, reason: format!("no answer within {:?}", endpoint.timeout) }
            }
        }
    }

    async fn exchange(
        &self,
        message: http::Request<Full<Bytes>>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let failed = |error: &(dyn std::error::Error + 'static)| crate::error::Chain(error).to_string();
        let response = self.client.request(message).await.map_err(|error| failed(&error))?;
        let (head, body) = response.into_parts();
        // An answer too long to be one still has a status.
        let body =
            Limited::new(body, MAX_ANSWER_BYTES).collect().await.map(http_body_util::Collected::to_bytes);
        match body {
            Ok(body) => Ok((head.status, head.headers, body)),
            Err(_) if !head.status.is_success() => Ok((head.status, head.headers, Bytes::new())),
            Err(error) => Err(format!("the answer broke off: {error}")),
        }
    }
}

/// Plain HTTP needs no certificates.
fn no_roots() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]))
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// A URL without what may be secret in it: the query, and a user, which `config` has taken out already.
fn shown(url: &Uri) -> String {
    let host =
        url.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    format!("{}://{host}{}", url.scheme_str().unwrap_or("http"), url.path())
}

fn body(request: &Request<'_>) -> Bytes {
    let mut bytes = BytesMut::with_capacity(request.chunks.iter().map(|chunk| chunk.bytes.len()).sum());
    for chunk in request.chunks {
        bytes.extend_from_slice(&chunk.bytes);
    }
    bytes.freeze()
}

fn outcome(signal: Signal, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Attempt {
    if status.is_success() {
        let (rejected, message) = partial_success(signal, body);
        return Attempt::Delivered { rejected, message };
    }
    let is_text = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let said =
        if is_text { format!(": {}", first_chars(&String::from_utf8_lossy(body))) } else { String::new() };
    let reason = format!("HTTP {status}{said}");
    match status.as_u16() {
        429 | 502 | 503 | 504 => Attempt::TryLater { wait: retry_after(headers), reason },
        _ => Attempt::Refused { reason },
    }
}

/// What a server took and yet rejected; an empty or unreadable body rejects nothing.
fn partial_success(signal: Signal, body: &[u8]) -> (u64, String) {
    let (rejected, message) = match signal {
        Signal::Traces => ExportTraceServiceResponse::decode(body)
            .ok()
            .and_then(|response| response.partial_success)
            .map(|partial| (partial.rejected_spans, partial.error_message)),
        Signal::Metrics => ExportMetricsServiceResponse::decode(body)
            .ok()
            .and_then(|response| response.partial_success)
            .map(|partial| (partial.rejected_data_points, partial.error_message)),
    }
    .unwrap_or_default();
    (u64::try_from(rejected).unwrap_or(0), first_chars(&message))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

fn first_chars(text: &str) -> String {
    text.trim().chars().filter(|letter| !letter.is_control()).take(MAX_REASON_CHARS).collect()
}

/// A header as users give it: `name: value` or `name=value`.
pub fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, retry: Option<&str>) -> Attempt {
        let mut headers = HeaderMap::new();
        if let Some(retry) = retry {
            headers.insert(RETRY_AFTER, HeaderValue::from_str(retry).unwrap());
        }
        outcome(Signal::Traces, StatusCode::from_u16(status).unwrap(), &headers, b"")
    }

    #[test]
    fn only_the_four_statuses_of_otlp_are_tried_again() {
        for status in [429, 502, 503, 504] {
            assert!(matches!(of(status, None), Attempt::TryLater { wait: None, .. }), "{status}");
        }
        for status in [400, 401, 403, 404, 408, 413, 500, 501, 505] {
            assert!(matches!(of(status, None), Attempt::Refused { .. }), "{status}");
        }
        let wait = Some(Duration::from_secs(7));
        assert!(matches!(of(503, Some("7")), Attempt::TryLater { wait: asked, .. } if asked == wait));
    }

    #[test]
    fn a_partial_success_is_counted() {
        let response = ExportTraceServiceResponse {
            partial_success: Some(
                opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess {
                    rejected_spans: 3,
                    error_message: "too old".to_owned(),
                },
            ),
        };
        let attempt = outcome(Signal::Traces, StatusCode::OK, &HeaderMap::new(), &response.encode_to_vec());
        assert_eq!(attempt, Attempt::Delivered { rejected: 3, message: "too old".to_owned() });
    }

    #[test]
    fn a_target_is_shown_without_its_secrets() {
        let url: Uri = "https://user:secret@collector.example:4318/v1/traces?token=secret".parse().unwrap();
        assert_eq!(shown(&url), "https://collector.example:4318/v1/traces");
    }
}

//! OTLP over HTTP, protobuf: status, `Retry-After` and partial success into an [`Attempt`].
//!
//! Which status may be retried is OTLP's rule (`opentelemetry-proto`, `docs/specification.md`, "OTLP/HTTP
//! Response"): 429, 502, 503 and 504; every other failure is final. A connection that broke says nothing of
//! what happened to the request, so it is "later", never "delivered".

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Uri};
use http_body_util::Full;
use prost::Message as _;

use super::client::{self, Answer, Client, TlsError};
use super::{Attempt, CREDENTIALS, Endpoint, MAX_ANSWER_BYTES, first_chars, partial_success, says_too_large};
use crate::clock::Clock;
use crate::otel::request::Chunk;

/// A longer `Retry-After` is not believed.
const LONGEST_WAIT: Duration = Duration::from_hours(1);
const PROTOBUF: &str = "application/x-protobuf";

/// Sends requests of one service by HTTP.
#[derive(Debug)]
pub struct OtlpHttp {
    client: Client,
    endpoint: Endpoint,
    clock: Clock,
}

impl OtlpHttp {
    pub(super) fn new(endpoint: Endpoint, clock: Clock) -> Result<Self, TlsError> {
        Ok(Self { client: Client::new(&endpoint)?, endpoint, clock })
    }

    pub(super) fn url(&self) -> &Uri {
        &self.endpoint.url
    }

    /// Where requests go, as shown to people: without the query, which may be secret.
    pub(super) fn target(&self) -> String {
        let url = &self.endpoint.url;
        let host = url.authority().map_or("", |authority| authority.as_str());
        format!("{}://{host}{}", url.scheme_str().unwrap_or("http"), url.path())
    }

    /// Makes one attempt and waits for its end.
    pub(super) async fn attempt(&self, chunks: &[Chunk]) -> Attempt {
        match self.answer(chunks).await {
            Ok(answer) => outcome(&answer, self.clock),
            Err(attempt) => attempt,
        }
    }

    /// Makes one attempt with an empty request; with it comes the time of the server's clock, where it says it.
    pub(super) async fn probe(&self) -> (Attempt, Option<u64>) {
        match self.answer(&[]).await {
            Ok(answer) => (outcome(&answer, self.clock), answer.date_ns()),
            Err(attempt) => (attempt, None),
        }
    }

    /// The answer to a request, or what follows from there being none.
    async fn answer(&self, chunks: &[Chunk]) -> Result<Answer, Attempt> {
        let message = self.message(chunks).map_err(|reason| Attempt::Refused { reason })?;
        let exchange = self.client.exchange(message, MAX_ANSWER_BYTES);
        if let Ok(answer) = tokio::time::timeout(self.endpoint.timeout, exchange).await {
            return answer.map_err(Attempt::from);
        }
        let reason = format!("no answer within {:?}", self.endpoint.timeout);
        Err(Attempt::TryLater { wait: None, may_have_arrived: true, reason })
    }

    fn message(&self, chunks: &[Chunk]) -> Result<http::Request<Full<Bytes>>, String> {
        let Endpoint { url, headers, compression, .. } = &self.endpoint;
        let body = compression.body(chunks).map_err(|error| format!("cannot compress: {error}"))?;
        let mut message = http::Request::new(Full::new(body));
        *message.method_mut() = Method::POST;
        message.uri_mut().clone_from(url);
        message.headers_mut().clone_from(headers);
        for (name, value) in [(CONTENT_TYPE, PROTOBUF), (USER_AGENT, client::USER_AGENT)] {
            message.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Some(encoding) = compression.name() {
            message.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        Ok(message)
    }
}

fn outcome(answer: &Answer, clock: Clock) -> Attempt {
    if answer.status.is_success() {
        // Whoever answers with a page for people took nothing.
        if kind(answer).starts_with(b"text/html") {
            let reason = format!(
                "HTTP {} with a web page; is it an OTLP endpoint (usually port 4318)?",
                answer.status
            );
            return Attempt::Refused { reason };
        }
        return partial_success(&answer.body);
    }
    let said = said(answer);
    let is_too_large = answer.status.as_u16() == 413 || says_too_large(&said);
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let reason = format!("HTTP {}{said}", answer.status);
    match answer.status.as_u16() {
        status @ (429 | 502 | 503 | 504) => {
            // A gateway without an answer cannot say what became of the request.
            let may_have_arrived = matches!(status, 502 | 504);
            Attempt::TryLater { wait: retry_after(&answer.headers, clock), may_have_arrived, reason }
        }
        // The Collector answers 400 where a body is beyond its limit.
        400 | 413 if is_too_large => Attempt::TooLarge { reason },
        401 | 403 => Attempt::Refused { reason: format!("{reason}; {CREDENTIALS}") },
        404 | 405 => Attempt::Refused { reason: format!("{reason}; OTLP is not served at this path") },
        _ => Attempt::Refused { reason },
    }
}

fn kind(answer: &Answer) -> &[u8] {
    answer.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes)
}

/// What a server says of a failure: a `google.rpc.Status`, or plain text. A page for people is left out.
fn said(answer: &Answer) -> String {
    let kind = kind(answer);
    if kind.starts_with(PROTOBUF.as_bytes()) {
        let status = tonic_types::pb::Status::decode(answer.body.as_ref()).unwrap_or_default();
        return first_chars(&status.message);
    }
    if kind.starts_with(b"text/plain") {
        first_chars(&String::from_utf8_lossy(&answer.body))
    } else {
        String::new()
    }
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, clock: Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until = || {
        let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(date.saturating_sub(Duration::from_nanos(clock.now_ns())))
    };
    let wait = text.parse().ok().map(Duration::from_secs).or_else(until)?;
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Clock = Clock::Fixed(784_111_777_000_000_000);

    fn of(status: u16, headers: &[(http::HeaderName, &str)], body: &[u8]) -> Attempt {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers, body: Bytes::copy_from_slice(body), ..Answer::default() };
        outcome(&answer, NOW)
    }

    #[test]
    fn only_the_four_statuses_of_otlp_are_tried_again() {
        for status in [429, 502, 503, 504] {
            assert!(matches!(of(status, &[], b""), Attempt::TryLater { wait: None, .. }), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 408, 500, 501, 505] {
            assert!(matches!(of(status, &[], b""), Attempt::Refused { .. }), "{status}");
        }
    }

    #[test]
    fn a_server_may_ask_to_wait_by_seconds_or_until_a_date() {
        for (value, seconds) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:50:00 GMT", Some(23)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("86400", Some(3600)),
            ("soon", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            let attempt = of(503, &[(RETRY_AFTER, value)], b"");
            assert!(
                matches!(attempt, Attempt::TryLater { wait, .. } if wait == expected),
                "{value}: {attempt:?}"
            );
        }
    }

    #[test]
    fn a_body_beyond_the_servers_limit_is_told_by_status_or_words() {
        let status = tonic_types::pb::Status {
            code: 3,
            message: "http: request body too large".to_owned(),
            ..tonic_types::pb::Status::default()
        };
        let collector = of(400, &[(CONTENT_TYPE, PROTOBUF)], &status.encode_to_vec());
        for attempt in [of(413, &[], b""), collector] {
            assert!(matches!(attempt, Attempt::TooLarge { .. }), "{attempt:?}");
        }
    }

    #[test]
    fn a_servers_words_are_kept_and_its_pages_are_not() {
        let reason = |attempt| match attempt {
            Attempt::Refused { reason } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            reason(of(401, &[(CONTENT_TYPE, "text/plain; charset=utf-8")], b"no\ttoken")),
            "HTTP 401 Unauthorized: notoken; it wants a header that lets us in: --header \"authorization=Bearer …\""
        );
        assert_eq!(
            reason(of(404, &[(CONTENT_TYPE, "text/html")], b"<html>")),
            "HTTP 404 Not Found; OTLP is not served at this path"
        );
    }

    #[test]
    fn a_web_page_is_no_delivery() {
        let page = of(200, &[(CONTENT_TYPE, "text/html; charset=utf-8")], b"<!doctype html>");
        assert!(matches!(page, Attempt::Refused { .. }), "{page:?}");
        for kind in [PROTOBUF, "application/json", "text/plain"] {
            assert!(matches!(of(200, &[(CONTENT_TYPE, kind)], b""), Attempt::Delivered { .. }), "{kind}");
        }
    }

    #[test]
    fn a_partial_success_is_counted() {
        use opentelemetry_proto::tonic::collector::trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceResponse,
        };
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
        let response = ExportTraceServiceResponse { partial_success: Some(partial) };
        let attempt = of(200, &[], &response.encode_to_vec());
        assert_eq!(attempt, Attempt::Delivered { rejected: 3, message: "too old".to_owned() });
    }
}

//! OTLP over gRPC: status codes, `RetryInfo` and partial success into an [`Attempt`].
//!
//! Which code may be retried is OTLP's rule (`opentelemetry-proto`, `docs/specification.md`, "Failures"). tonic
//! reads the status and its details; the call itself is one HTTP/2 request with a frame around the message.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TE, USER_AGENT};
use http::{Method, Uri};
use http_body_util::Full;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::client::{self, Answer, Client, TlsError};
use super::{
    Attempt, CREDENTIALS, Endpoint, MAX_ANSWER_BYTES, Service, first_chars, partial_success, says_too_large,
};
use crate::otel::request::Chunk;

/// A flag and a length stand before each message.
const FRAME_BYTES: usize = 5;
const STATUS: &str = "grpc-status";
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// Sends requests of one service by gRPC.
#[derive(Debug)]
pub struct OtlpGrpc {
    client: Client,
    endpoint: Endpoint,
}

impl OtlpGrpc {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, TlsError> {
        Ok(Self { client: Client::new(&endpoint)?, endpoint })
    }

    pub(super) fn url(&self) -> &Uri {
        &self.endpoint.url
    }

    /// Where requests go, as shown to people.
    pub(super) fn target(&self) -> String {
        let url = &self.endpoint.url;
        let host = url.authority().map_or("", |authority| authority.as_str());
        format!("{}://{host} (gRPC)", url.scheme_str().unwrap_or("http"))
    }

    /// Makes one attempt and waits for its end.
    pub(super) async fn attempt(&self, service: Service, chunks: &[Chunk]) -> Attempt {
        match self.answer(service, chunks).await {
            Ok(answer) => outcome(&answer),
            Err(attempt) => attempt,
        }
    }

    /// Makes one attempt with an empty request; with it comes the time of the server's clock, where it says it.
    pub(super) async fn probe(&self, service: Service) -> (Attempt, Option<u64>) {
        match self.answer(service, &[]).await {
            Ok(answer) => (outcome(&answer), answer.date_ns()),
            Err(attempt) => (attempt, None),
        }
    }

    /// The answer to a request, or what follows from there being none.
    async fn answer(&self, service: Service, chunks: &[Chunk]) -> Result<Answer, Attempt> {
        let message = self.message(service, chunks).map_err(|reason| Attempt::Refused { reason })?;
        let exchange = self.client.exchange(message, MAX_ANSWER_BYTES);
        if let Ok(answer) = tokio::time::timeout(self.endpoint.timeout, exchange).await {
            return answer.map_err(Attempt::from);
        }
        let reason = format!("no answer within {:?}", self.endpoint.timeout);
        Err(Attempt::TryLater { wait: None, may_have_arrived: true, reason })
    }

    fn message(&self, service: Service, chunks: &[Chunk]) -> Result<http::Request<Full<Bytes>>, String> {
        let Endpoint { url, headers, timeout, compression, .. } = &self.endpoint;
        let body = compression.body(chunks).map_err(|error| format!("cannot compress: {error}"))?;
        let length = u32::try_from(body.len()).map_err(|error| format!("a message too long: {error}"))?;
        let mut framed = BytesMut::with_capacity(FRAME_BYTES + body.len());
        framed.put_u8(u8::from(compression.name().is_some()));
        framed.put_u32(length);
        framed.put(body);
        let mut message = http::Request::new(Full::new(framed.freeze()));
        *message.method_mut() = Method::POST;
        *message.uri_mut() = method(url, service)?;
        message.headers_mut().clone_from(headers);
        let fixed = [(CONTENT_TYPE, "application/grpc"), (TE, "trailers"), (USER_AGENT, client::USER_AGENT)];
        for (name, value) in fixed {
            message.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Some(encoding) = compression.name() {
            message.headers_mut().insert(ENCODING, HeaderValue::from_static(encoding));
        }
        // At most eight digits are allowed.
        let timeout_ms = timeout.as_millis().min(99_999_999);
        if let Ok(value) = HeaderValue::from_str(&format!("{timeout_ms}m")) {
            message.headers_mut().insert(TIMEOUT, value);
        }
        Ok(message)
    }
}

/// The method of a service. A path before it is kept: some servers stand behind one.
fn method(url: &Uri, service: Service) -> Result<Uri, String> {
    let service = match service {
        Service::Traces => "opentelemetry.proto.collector.trace.v1.TraceService",
        Service::Metrics => "opentelemetry.proto.collector.metrics.v1.MetricsService",
        Service::Logs => "opentelemetry.proto.collector.logs.v1.LogsService",
    };
    let builder = Uri::builder()
        .scheme(url.scheme_str().unwrap_or("http"))
        .authority(url.authority().map_or("", |authority| authority.as_str()))
        .path_and_query(format!("{}/{service}/Export", url.path().trim_end_matches('/')));
    builder.build().map_err(|error| format!("no method of {url}: {error}"))
}

fn outcome(answer: &Answer) -> Attempt {
    // An answer without a body has its status among the headers.
    let said = [&answer.trailers, &answer.headers].into_iter().find(|headers| headers.contains_key(STATUS));
    let Some(status) = said.and_then(Status::from_header_map) else {
        return no_status(answer);
    };
    if status.code() == Code::Ok {
        return partial_success(answer.body.get(FRAME_BYTES..).unwrap_or_default());
    }
    failure(&status)
}

/// A proxy answered, or the connection broke before the status: the one can be read by HTTP's rules, of the other
/// nobody knows what happened.
fn no_status(answer: &Answer) -> Attempt {
    let reason = format!("HTTP {} and no gRPC status", answer.status);
    match answer.status.as_u16() {
        status @ (200..=299 | 429 | 502 | 503 | 504) => {
            let may_have_arrived = !matches!(status, 429 | 503);
            Attempt::TryLater { wait: None, may_have_arrived, reason }
        }
        413 => Attempt::TooLarge { reason },
        _ => Attempt::Refused { reason },
    }
}

fn failure(status: &Status) -> Attempt {
    let said = first_chars(status.message());
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let reason = format!("gRPC {:?}{said}", status.code());
    let info = status.get_details_retry_info();
    let wait = info.as_ref().and_then(|info| info.retry_delay);
    match status.code() {
        // tonic's servers say so of a message beyond their limit; else it may be retried.
        Code::OutOfRange if says_too_large(status.message()) => Attempt::TooLarge { reason },
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Attempt::TryLater { wait, may_have_arrived: true, reason },
        Code::ResourceExhausted if info.is_some() => {
            Attempt::TryLater { wait, may_have_arrived: false, reason }
        }
        // Without a delay it will not pass by itself; grpc-go's servers say so of a message beyond their limit.
        Code::ResourceExhausted => Attempt::TooLarge { reason },
        Code::Unauthenticated | Code::PermissionDenied => {
            Attempt::Refused { reason: format!("{reason}; {CREDENTIALS}") }
        }
        _ => Attempt::Refused { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tonic_types::ErrorDetails;

    fn of(code: Code, message: &str, delay: Option<Duration>) -> Attempt {
        let mut details = ErrorDetails::new();
        if delay.is_some() {
            details.set_retry_info(delay);
        }
        let status = Status::with_error_details(code, message, details);
        let mut answer = Answer::default();
        status.add_header(&mut answer.trailers).unwrap();
        outcome(&answer)
    }

    #[test]
    fn the_codes_of_otlp_are_tried_again_and_no_others() {
        use Code::{
            Aborted, AlreadyExists, Cancelled, DataLoss, DeadlineExceeded, FailedPrecondition, Internal,
            InvalidArgument, NotFound, OutOfRange, PermissionDenied, Unauthenticated, Unavailable,
            Unimplemented, Unknown,
        };
        for code in [Cancelled, DeadlineExceeded, Aborted, OutOfRange, Unavailable, DataLoss] {
            assert!(matches!(of(code, "x", None), Attempt::TryLater { wait: None, .. }), "{code:?}");
        }
        let final_codes = [
            Unknown,
            InvalidArgument,
            NotFound,
            AlreadyExists,
            PermissionDenied,
            FailedPrecondition,
            Unimplemented,
            Internal,
            Unauthenticated,
        ];
        for code in final_codes {
            assert!(matches!(of(code, "x", None), Attempt::Refused { .. }), "{code:?}");
        }
    }

    #[test]
    fn a_delay_in_the_details_is_read() {
        let wait = Some(Duration::from_millis(1_500));
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            assert!(matches!(of(code, "busy", wait), Attempt::TryLater { wait: asked, .. } if asked == wait));
        }
    }

    #[test]
    fn a_message_beyond_a_servers_limit_is_told_from_a_busy_server() {
        let go = of(Code::ResourceExhausted, "grpc: received message larger than max (5 vs. 4)", None);
        let tonic = of(Code::OutOfRange, "Error, decoded message length too large: found 5 bytes", None);
        for attempt in [go, tonic] {
            assert!(matches!(attempt, Attempt::TooLarge { .. }), "{attempt:?}");
        }
    }

    #[test]
    fn without_a_status_nobody_knows() {
        let answer = Answer::default();
        assert!(matches!(outcome(&answer), Attempt::TryLater { .. }));
        let proxy = Answer { status: http::StatusCode::FORBIDDEN, ..Answer::default() };
        assert!(matches!(outcome(&proxy), Attempt::Refused { .. }));
    }
}

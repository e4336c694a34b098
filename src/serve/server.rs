//! The server: connections, and what each path answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue,
    ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::body::{Encoding, Unreadable};
use super::ingest::Batch;
use super::token::Guard;
use super::{Answer, Ask, Error, tls};
use crate::config::Listen;
use crate::framework::Keep;
use crate::otel::open_metrics;

/// Connections at a time. Others wait until one ends.
const MAX_CONNECTIONS: usize = 256;
/// Bodies in memory at a time. Others wait a little, and are told to come again.
const MAX_BODIES: usize = 32;
/// Bodies taken apart at a time: it takes several times their memory.
const MAX_TAKEN_APART: usize = 2;
/// How long a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(2);
/// How long a client may take for TLS, and for the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may take for a body.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// How long the listener rests when it cannot accept: too many files are open.
const REST: Duration = Duration::from_millis(100);
/// Seconds after which those who found no turn may come again.
const AGAIN_SOON: &str = "1";
/// The same, of those who found the outbox full: the endpoint must take some first.
const AGAIN_LATER: &str = "5";

/// Where runs are handed over.
const RUNS: &str = "/v1/runs";

type Reply = Response<Full<Bytes>>;

/// A server that listens, and does not serve yet.
#[expect(missing_debug_implementations, reason = "what accepts TLS has no text")]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    listen: Listen,
    keep: Keep,
}

/// What all requests have in common.
struct Shared {
    guard: Option<Guard>,
    listen: Listen,
    keep: Keep,
    asks: mpsc::Sender<Ask>,
    bodies: Semaphore,
    apart: Semaphore,
}

impl Server {
    /// Listens. `keep` is how much of runs is kept.
    pub async fn bind(listen: Listen, keep: Keep) -> Result<Self, Error> {
        let tls =
            listen.tls.as_ref().map(|(certificate, key)| tls::acceptor(certificate, key)).transpose()?;
        let failed = |source| Error::Bind { address: listen.address, source };
        let listener = TcpListener::bind(listen.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, tls, listen, keep })
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until `stopping`; then ends what is under way.
    pub async fn serve(self, asks: mpsc::Sender<Ask>, mut stopping: watch::Receiver<bool>) {
        let Self { listener, tls, listen, keep, .. } = self;
        let guard = listen.token.as_ref().map(Guard::of);
        let (bodies, apart) = (Semaphore::new(MAX_BODIES), Semaphore::new(MAX_TAKEN_APART));
        let shared = Arc::new(Shared { guard, listen, keep, asks, bodies, apart });
        let (mut connections, ending) = (JoinSet::new(), stopping.clone());
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let (shared, tls) = (Arc::clone(&shared), tls.clone());
                        connections.spawn(connection(stream, tls, shared, ending.clone()));
                    }
                    Err(error) => {
                        debug!(%error, "cannot accept a connection");
                        tokio::time::sleep(REST).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) {
    let ended = match tls {
        None => exchange(TokioIo::new(stream), shared, stopping).await,
        Some(tls) => match tokio::time::timeout(HEAD_WITHIN, tls.accept(stream)).await {
            Ok(Ok(stream)) => exchange(TokioIo::new(stream), shared, stopping).await,
            Ok(Err(error)) => return debug!(%error, "no TLS with a client"),
            Err(_) => return debug!("a client took too long for TLS"),
        },
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke off");
    }
}

async fn exchange<I>(io: I, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) -> hyper::Result<()>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<Reply, Infallible>(shared.answer(request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    let mut connection = std::pin::pin!(http.serve_connection(io, service));
    tokio::select! {
        ended = &mut connection => return ended,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz" if is_read => text(StatusCode::OK, "text/plain", "ok\n".to_owned()),
            "/readyz" if is_read => self.ready(&request).await,
            "/metrics" if is_read => match self.refuses(&request) {
                Some(refusal) => refusal,
                None => self.metrics().await,
            },
            RUNS if *request.method() == Method::POST => match self.refuses(&request) {
                Some(refusal) => refusal,
                None => self.take(request).await.unwrap_or_else(|refusal| refusal),
            },
            "/healthz" | "/readyz" | "/metrics" => wrong_method("GET"),
            RUNS => wrong_method("POST"),
            _ => refused(StatusCode::NOT_FOUND, &format!("nothing is here; runs are handed over to {RUNS}")),
        }
    }

    /// Why a request may not be answered.
    fn refuses(&self, request: &Request<Incoming>) -> Option<Reply> {
        let headers = request.headers();
        let Some(guard) = &self.guard else {
            // Pages of other sites can make a browser ask programs on its machine.
            let is_page = headers.contains_key(ORIGIN);
            let why = "pages may not ask without a token";
            return is_page.then(|| refused(StatusCode::FORBIDDEN, why));
        };
        if guard.admits(headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)) {
            return None;
        }
        let mut refusal =
            refused(StatusCode::UNAUTHORIZED, "the header authorization: Bearer TOKEN is missing or wrong");
        refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Some(refusal)
    }

    async fn ready(&self, request: &Request<Incoming>) -> Reply {
        let (answer, answered) = oneshot::channel();
        let failing =
            if self.asks.send(Ask::Ready { answer }).await.is_ok() { answered.await.ok() } else { None };
        let Some(failing) = failing else { return stopping() };
        // Names of files are for those who may ask; probes need none.
        let is_told = self.refuses(request).is_none();
        let said = |one: &super::Failing| {
            if is_told { json!({"part": one.part, "why": one.why}) } else { json!({"part": one.part}) }
        };
        let code = if failing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let failing: Vec<Value> = failing.iter().map(said).collect();
        json_reply(code, &json!({"ready": failing.is_empty(), "failing": failing}))
    }

    async fn metrics(&self) -> Reply {
        let (answer, answered) = oneshot::channel();
        if self.asks.send(Ask::Metrics { answer }).await.is_err() {
            return stopping();
        }
        match answered.await {
            Ok(Some(metrics)) => text(StatusCode::OK, open_metrics::CONTENT_TYPE, metrics),
            Ok(None) => refused(
                StatusCode::NOT_FOUND,
                "metrics are not shown here, for they are sent by OTLP; --metrics scrape shows them instead",
            ),
            Err(_) => stopping(),
        }
    }

    async fn take(&self, request: Request<Incoming>) -> Result<Reply, Reply> {
        let encoding = request.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        let encoding = Encoding::of(encoding).ok_or_else(unknown_encoding)?;
        let length =
            request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > self.listen.body_limit_bytes) {
            return Err(self.too_large());
        }
        let turn = tokio::time::timeout(TURN_WITHIN, self.bodies.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            let busy = "too many requests are under way";
            return Err(again(refused(StatusCode::TOO_MANY_REQUESTS, busy), AGAIN_SOON));
        };
        let body = self.read(request).await?;
        let mut batch = self.batch(body, encoding).await?;
        let posts = std::mem::take(&mut batch.posts);
        if !batch.is_json() {
            let mut answer = batch.answer(&[]);
            if let Some(fields) = answer.as_object_mut() {
                fields.insert("error".to_owned(), "nothing in the body is JSON".into());
            }
            return Err(json_reply(StatusCode::BAD_REQUEST, &answer));
        }
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Take { posts, answer }).await.map_err(|_gone| stopping())?;
        match answered.await {
            Ok(Answer::Taken(takings)) => Ok(json_reply(StatusCode::OK, &batch.answer(&takings))),
            Ok(Answer::Full) => {
                let full = "the outbox is full; nothing was taken";
                Err(again(refused(StatusCode::SERVICE_UNAVAILABLE, full), AGAIN_LATER))
            }
            Err(_) => Err(stopping()),
        }
    }

    async fn read(&self, request: Request<Incoming>) -> Result<Vec<u8>, Reply> {
        let limit = usize::try_from(self.listen.body_limit_bytes).unwrap_or(usize::MAX);
        let body = Limited::new(request.into_body(), limit).collect();
        match tokio::time::timeout(BODY_WITHIN, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes().into()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(self.too_large()),
            Ok(Err(_)) => Err(refused(StatusCode::BAD_REQUEST, "the body broke off")),
            Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
        }
    }

    /// A body taken apart, on a thread of its own: it takes a while.
    async fn batch(&self, body: Vec<u8>, encoding: Encoding) -> Result<Batch, Reply> {
        let Ok(_turn) = self.apart.acquire().await else { return Err(stopping()) };
        let (limit_bytes, keep) = (self.listen.decompressed_limit_bytes, self.keep);
        let work = move || Ok(Batch::of(&encoding.decompress(body, limit_bytes)?, keep));
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(batch)) => Ok(batch),
            Ok(Err(Unreadable::TooLarge)) => Err(self.too_large()),
            Ok(Err(Unreadable::Broken)) => {
                Err(refused(StatusCode::BAD_REQUEST, "the body is not what its content-encoding says"))
            }
            Err(_) => {
                Err(refused(StatusCode::INTERNAL_SERVER_ERROR, "the body could not be read; this is a bug"))
            }
        }
    }

    fn too_large(&self) -> Reply {
        let Listen { body_limit_bytes: body, decompressed_limit_bytes: whole, .. } = self.listen;
        let why = format!(
            "the body is larger than {body} bytes, or than {whole} once decompressed; send less at a time"
        );
        refused(StatusCode::PAYLOAD_TOO_LARGE, &why)
    }
}

fn unknown_encoding() -> Reply {
    let mut refusal =
        refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding may be gzip, zstd or none");
    refusal.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
    refusal
}

fn wrong_method(allowed: &'static str) -> Reply {
    let mut refusal = refused(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allowed} is answered here"));
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    refusal
}

fn stopping() -> Reply {
    again(refused(StatusCode::SERVICE_UNAVAILABLE, "agno-otel is stopping"), AGAIN_LATER)
}

fn again(mut reply: Reply, seconds: &'static str) -> Reply {
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    reply
}

fn refused(code: StatusCode, why: &str) -> Reply {
    json_reply(code, &json!({"error": why}))
}

fn json_reply(code: StatusCode, value: &Value) -> Reply {
    text(code, "application/json", format!("{value}\n"))
}

fn text(code: StatusCode, kind: &'static str, text: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = code;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

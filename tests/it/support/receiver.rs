//! An OTLP receiver inside the test, over HTTP and gRPC: it answers by script and remembers every request.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// What the receiver says to one request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// What it says over gRPC at the end; `None`: nothing.
    pub(crate) grpc: Option<tonic::Status>,
    pub(crate) delay: Duration,
}

impl Answer {
    /// Everything was taken.
    pub(crate) fn taken() -> Self {
        Self::status(200)
    }

    pub(crate) fn status(status: u16) -> Self {
        let (headers, body) = Default::default();
        Self { status, headers, body, grpc: Some(tonic::Status::ok("")), delay: Duration::ZERO }
    }

    /// None: the connection breaks once the request is in.
    pub(crate) fn none() -> Self {
        Self::status(0)
    }

    /// A gRPC status.
    pub(crate) fn grpc(status: tonic::Status) -> Self {
        Self { grpc: Some(status), ..Self::status(200) }
    }

    /// 200 from something that speaks no gRPC.
    pub(crate) fn without_grpc_status() -> Self {
        Self { grpc: None, ..Self::status(200) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    /// Only after a while.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    fn is_taken(&self) -> bool {
        self.status == 200 && self.grpc.as_ref().is_some_and(|status| status.code() == tonic::Code::Ok)
    }
}

/// One request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The message, without gRPC's frame and decompressed.
    pub(crate) body: Bytes,
    /// Bytes of the body on the wire.
    pub(crate) wire_bytes: usize,
    pub(crate) at: Instant,
    /// Whether it was answered that everything was taken.
    pub(crate) taken: bool,
}

impl Received {
    /// True for requests to a path that ends so, or to the gRPC service of `traces`, `metrics` or `logs`.
    fn is_at(&self, path: &str) -> bool {
        let service = match path {
            "traces" => "TraceService/Export",
            "metrics" => "MetricsService/Export",
            "logs" => "LogsService/Export",
            _ => path,
        };
        self.path.ends_with(path) || self.path.ends_with(service)
    }
}

type Script = dyn Fn(usize, &str, &[u8]) -> Answer + Send + Sync;

struct Shared {
    script: Box<Script>,
    received: Mutex<Vec<Received>>,
}

/// The receiver; it is gone when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) fn start() -> Self {
        Self::answering(|_, _| Answer::taken())
    }

    /// One that answers by script: of the number of the request (from 0) and its path.
    pub(crate) fn answering(script: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(None, move |number, path, _| script(number, path))
    }

    /// One that answers by the message too.
    pub(crate) fn judging(script: impl Fn(usize, &str, &[u8]) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(None, script)
    }

    /// One that takes everything, over TLS.
    pub(crate) fn over_tls(config: rustls::ServerConfig) -> Self {
        Self::with(Some(TlsAcceptor::from(Arc::new(config))), |_, _, _| Answer::taken())
    }

    fn with(
        tls: Option<TlsAcceptor>,
        script: impl Fn(usize, &str, &[u8]) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared { script: Box::new(script), received: Mutex::default() });
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, tls, serving, stopped));
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// The base URL to send to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The base URL to send to over TLS; certificates have a name.
    pub(crate) fn https_url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Every request so far, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Every request to a path that ends so, in order.
    pub(crate) fn received_at(&self, path: &str) -> Vec<Received> {
        self.received().into_iter().filter(|received| received.is_at(path)).collect()
    }

    /// The trace requests that were taken.
    pub(crate) fn traces(&self) -> Vec<ExportTraceServiceRequest> {
        let taken = self.received_at("traces").into_iter().filter(|received| received.taken);
        taken.map(|received| ExportTraceServiceRequest::decode(received.body).unwrap()).collect()
    }

    /// The metrics requests that were taken.
    pub(crate) fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        let taken = self.received_at("metrics").into_iter().filter(|received| received.taken);
        taken.map(|received| ExportMetricsServiceRequest::decode(received.body).unwrap()).collect()
    }

    /// The logs requests that were taken.
    pub(crate) fn logs(&self) -> Vec<ExportLogsServiceRequest> {
        let taken = self.received_at("logs").into_iter().filter(|received| received.taken);
        taken.map(|received| ExportLogsServiceRequest::decode(received.body).unwrap()).collect()
    }

    /// Every span that was taken.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let resources = self.traces().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { answer(request, &shared).await }
            });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A client that goes away in the middle, or whose certificate is not wanted, is part of some tests.
            match tls {
                None => server.serve_connection(TokioIo::new(stream), service).await.ok(),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await.ok(),
                    Err(_) => None,
                },
            }
        });
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

async fn answer(
    request: hyper::Request<Incoming>,
    shared: &Shared,
) -> Result<hyper::Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let wire = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    // What asks says in its query what for.
    let path = if head.method == hyper::Method::GET {
        head.uri.path_and_query().map_or("", |whole| whole.as_str()).to_owned()
    } else {
        head.uri.path().to_owned()
    };
    let is_grpc = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
    let body = message(&head.headers, is_grpc, &wire);
    let answer = {
        let mut received = shared.received.lock().unwrap();
        let answer = (shared.script)(received.len(), &path, &body);
        let (taken, at) = (answer.is_taken(), Instant::now());
        received.push(Received { path, headers: head.headers, body, wire_bytes: wire.len(), at, taken });
        answer
    };
    tokio::time::sleep(answer.delay).await;
    if answer.status == 0 {
        return Err(std::io::ErrorKind::ConnectionAborted.into());
    }
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    // What is no 200 comes from something between us and the service, which speaks no gRPC.
    if !is_grpc || answer.status != 200 {
        return Ok(response.body(Full::from(answer.body).boxed()).unwrap());
    }
    let mut framed = vec![0];
    framed.put_u32(u32::try_from(answer.body.len()).unwrap());
    framed.put_slice(&answer.body);
    let mut trailers = HeaderMap::new();
    if let Some(status) = answer.grpc {
        status.add_header(&mut trailers).unwrap();
    }
    let body = Full::from(framed).with_trailers(async { Some(Ok(trailers)) }).boxed();
    Ok(response.header("content-type", "application/grpc").body(body).unwrap())
}

/// The message of a request, whatever is around it.
fn message(headers: &HeaderMap, is_grpc: bool, wire: &Bytes) -> Bytes {
    let (encoding, body) =
        if is_grpc { ("grpc-encoding", wire.slice(5..)) } else { ("content-encoding", wire.clone()) };
    if is_grpc {
        assert_eq!(wire[0] == 1, headers.contains_key(encoding), "the frame and the header disagree");
        assert_eq!(wire[1..5], u32::try_from(body.len()).unwrap().to_be_bytes());
        assert_eq!(headers["te"], "trailers");
    }
    let mut message = Vec::new();
    match headers.get(encoding).map(HeaderValue::as_bytes) {
        None => return body,
        Some(b"gzip") => flate2::read::GzDecoder::new(body.as_ref()).read_to_end(&mut message).unwrap(),
        Some(b"zstd") => {
            zstd::stream::read::Decoder::new(body.as_ref()).unwrap().read_to_end(&mut message).unwrap()
        }
        Some(other) => panic!("{other:?}"),
    };
    message.into()
}

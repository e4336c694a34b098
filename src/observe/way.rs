//! The way of own telemetry: encoded by `opentelemetry-otlp`, sent as a run's telemetry is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use async_trait::async_trait;
use http::header::RETRY_AFTER;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::oneshot;

use super::{Clock, Endpoint, Exporter, Service, TlsError};
use crate::export::Attempt;
use crate::otel::request::Chunk;

/// Where requests are made: a thread with a reactor, until this is dropped.
#[derive(Debug)]
pub(super) struct Runtime {
    handle: tokio::runtime::Handle,
    _stop: oneshot::Sender<()>,
}

impl Runtime {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("observe".to_owned());
        // It ends when the sender is gone.
        thread.spawn(move || runtime.block_on(stopped).ok())?;
        Ok(Self { handle, _stop: stop })
    }
}

/// What became of one signal's telemetry.
#[derive(Debug)]
pub(super) struct Fate {
    what: &'static str,
    target: String,
    made: AtomicU64,
    taken: AtomicU64,
    rejected: AtomicU64,
    /// Why the last request did not arrive, if it did not.
    reason: Mutex<Option<String>>,
}

/// Own telemetry of one signal that did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Spans, log records or metrics.
    pub what: &'static str,
    /// How many; of metrics it is not known, for each request of them has all.
    pub count: Option<u64>,
    /// Where they were to go.
    pub target: String,
    /// Why not; `None`: there was no time, or no room.
    pub reason: Option<String>,
}

impl Fate {
    fn made(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, count: usize, result: &OTelSdkResult) {
        if result.is_ok() {
            self.taken.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    fn answered(&self, attempt: &Attempt) {
        let reason = match attempt {
            Attempt::Delivered { rejected: 0, .. } => None,
            Attempt::Delivered { rejected, message } => {
                self.rejected.fetch_add(*rejected, Ordering::Relaxed);
                Some(message.clone())
            }
            Attempt::TryLater { reason, .. } | Attempt::TooLarge { reason } | Attempt::Refused { reason } => {
                Some(reason.clone())
            }
        };
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(super) fn lost(&self) -> Option<Lost> {
        let made = self.made.load(Ordering::Relaxed);
        let arrived =
            self.taken.load(Ordering::Relaxed).saturating_sub(self.rejected.load(Ordering::Relaxed));
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let count = (made > 0).then(|| made.saturating_sub(arrived));
        let is_lost = count.map_or(reason.is_some(), |count| count > 0);
        is_lost.then(|| Lost { what: self.what, count, target: self.target.clone(), reason })
    }
}

/// Where requests of one signal go. To the exporter it is an HTTP client, whatever is spoken beyond.
#[derive(Debug)]
pub(super) struct Way {
    exporter: Arc<Exporter>,
    service: Service,
    url: String,
    timeout: Duration,
    runtime: tokio::runtime::Handle,
    fate: Arc<Fate>,
}

impl Way {
    pub(super) fn to(
        endpoint: Endpoint,
        service: Service,
        what: &'static str,
        runtime: &Runtime,
    ) -> Result<Self, TlsError> {
        let (url, timeout) = (endpoint.url.to_string(), endpoint.timeout);
        let exporter = Exporter::to(endpoint, Clock::System)?;
        let (made, taken, rejected, reason) = Default::default();
        let fate = Arc::new(Fate { what, target: exporter.target(), made, taken, rejected, reason });
        let runtime = runtime.handle.clone();
        Ok(Self { exporter: Arc::new(exporter), service, url, timeout, runtime, fate })
    }

    pub(super) fn fate(&self) -> Arc<Fate> {
        Arc::clone(&self.fate)
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

#[async_trait]
impl HttpClient for Way {
    /// Of the request only its message counts: where it goes and how is known here.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (exporter, service) = (Arc::clone(&self.exporter), self.service);
        let chunk = Chunk { bytes: request.into_body().into(), items: 0 };
        let attempt = async move { exporter.attempt(service, std::slice::from_ref(&chunk)).await };
        // Whoever asks has no reactor, and needs none to wait for one that has.
        let attempt = self.runtime.spawn(attempt).await?;
        self.fate.answered(&attempt);
        answer(&attempt)
    }
}

/// An attempt's end as a status, which is what the exporter knows to read: when it is worth another attempt.
fn answer(attempt: &Attempt) -> Result<Response<Bytes>, HttpError> {
    let (status, wait) = match attempt {
        Attempt::Delivered { .. } => (200, None),
        Attempt::TryLater { wait, .. } => (503, *wait),
        Attempt::TooLarge { .. } => (413, None),
        Attempt::Refused { .. } => (400, None),
    };
    let mut response = Response::builder().status(status);
    if let Some(wait) = wait {
        response = response.header(RETRY_AFTER, wait.as_secs());
    }
    Ok(response.body(Bytes::new())?)
}

/// Counts what goes in (a processor) or what arrived (an exporter).
#[derive(Debug)]
pub(super) struct Counted<T> {
    pub(super) inner: T,
    pub(super) fate: Arc<Fate>,
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.fate.made();
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.inner.export(batch).await;
        self.fate.ended(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Counted<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.fate.made();
        self.inner.emit(record, scope);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        let result = self.inner.export(batch).await;
        self.fate.ended(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, count, target, reason } = self;
        write!(text, "own telemetry was lost: ")?;
        if let Some(count) = count {
            write!(text, "{count} of the ")?;
        }
        write!(text, "{what} did not reach {target}")?;
        write!(text, ": {}", reason.as_deref().unwrap_or("there was no time, or no room"))
    }
}

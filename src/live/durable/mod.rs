//! The durable way: spans and counts go to a state file, and from there to the endpoint.
//!
//! Guards hand over what ended, each with its count, to a queue; a thread of ours commits the queue to the state file, and
//! sends what is in it. No executor of the program's is used, so it does not matter which it has, or where it is flushed
//! from.

mod queue;
#[cfg(test)]
mod tests;
mod trouble;
mod work;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanLimits};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

pub(super) use self::queue::Queue;
use self::work::Work;
use super::direct::scope;
use super::layer::Runs;
use super::way::{To, Way};
use super::{Saying, traces};
use crate::clock::Clock;
use crate::config::{self, Config, File, Flags};
use crate::delivery::{DeadLetters, Delivery};
use crate::export::{Exporter, TlsError};
use crate::money::Prices;
use crate::state::{self, State};

/// How long [`Durable`] works on when it is dropped.
const DROP_WITHIN: Duration = Duration::from_secs(5);
/// For ever, and no more than clocks can tell.
const LONGEST_WAIT: Duration = Duration::from_hours(24 * 365);
/// A thread that is asked to end within a time may need this much longer to say that it did.
const GRACE: Duration = Duration::from_millis(500);
/// How often metrics are sent at most: each time is a commit, a request and another commit.
const SHORTEST_METRICS_EVERY: Duration = Duration::from_millis(10);
/// How often metrics are sent.
const METRICS_EVERY: Duration = Duration::from_secs(15);
/// Bytes of spans that may wait, as `run --outbox-limit` has it by default.
const OUTBOX_BYTES: u64 = 1024 * 1024 * 1024;

/// Why the durable way cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Endpoint, headers or the like are wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No thread can be started.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// How the durable way is to be taken. Made by [`Durable::at`].
#[derive(Debug)]
#[must_use = "it begins with `start`"]
pub struct Setup {
    path: PathBuf,
    flags: Flags,
    saying: Saying,
    metrics_every: Duration,
    outbox_bytes: u64,
}

/// The durable way, taken.
///
/// ```
/// use agno_otel::live::{self, Durable};
/// use std::time::Duration;
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("live.db");
/// // Where nobody listens: what was taken waits in the file.
/// let durable = Durable::at(path).endpoint("http://127.0.0.1:1").start().unwrap();
/// tracing::subscriber::with_default(tracing_subscriber::registry().with(durable.layer()), || {
///     live::agent("Greeter").start().finish();
/// });
/// let ended = durable.stop(Duration::from_secs(1));
/// assert_eq!((ended.lost, ended.waiting_requests), (0, Some(1)));
/// ```
///
/// **What is taken.** A guard that ends hands its span and its count over, together. They are on disk with the next commit,
/// some milliseconds later; [`flush`](Self::flush) waits for it. A kill before that loses both, never one of them. What is
/// under way at a kill has not ended, and is not told of.
///
/// **What is not.** If the disk holds commits up for so long that 16,384 guards ended meanwhile, or 64 MiB of their spans wait,
/// one that ends waits for a second. Then one beyond the number is lost: [`Ended::lost`]; of one beyond the bytes the span is
/// passed over. So are further spans if the outbox is full. These are counted in `agno.bridge.dropped`; counts go on.
///
/// Dropped, it [stops](Self::stop) within 5 s.
#[derive(Debug)]
pub struct Durable {
    tracers: SdkTracerProvider,
    way: Arc<Way>,
    queue: Arc<Queue>,
    stop: watch::Sender<Option<Instant>>,
    /// For one thread alone, though others flush.
    ended: Mutex<Receiver<Option<u64>>>,
    is_stopped: bool,
}

/// What became of all that had ended when [`Durable::flush`] was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it says whether all is on disk"]
pub struct Flushed {
    /// Guards that ended, and are not on disk yet.
    pub waiting: u64,
    /// Guards that ended and could not be kept, ever since the start.
    pub lost: u64,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Guards that ended and could not be kept.
    pub lost: u64,
    /// Requests of spans that wait in the state file, for the next start. `None`: there was no time to find out, or the
    /// file cannot be used.
    pub waiting_requests: Option<u64>,
}

impl Durable {
    /// With this state file: it is made where there is none, and belongs to one process at a time. Endpoint, headers,
    /// compression, certificates and resource are those of the `OTEL_*` variables, as for `agno-otel run`, unless they are
    /// said here.
    pub fn at(path: impl AsRef<Path>) -> Setup {
        let path = path.as_ref().to_owned();
        let (flags, saying) = Default::default();
        Setup { path, flags, saying, metrics_every: METRICS_EVERY, outbox_bytes: OUTBOX_BYTES }
    }

    /// What the program's subscriber needs. It takes the spans of this module alone. A `tracing-opentelemetry` layer of the
    /// program's own must not see these (a filter on the target `agno_otel::live`): two that see the same span make that
    /// crate panic.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s>,
    {
        traces(self.tracers.tracer_with_scope(scope())).and_then(Runs::of(Arc::clone(&self.way)))
    }

    /// Waits until everything that ended before is on disk, for at most this long.
    ///
    /// All of it is where both figures of the answer are 0. What was lost stays lost, so it does not wait for that.
    pub fn flush(&self, limit: Duration) -> Flushed {
        self.queue.wait_until_kept(limit.min(LONGEST_WAIT))
    }

    /// Keeps what ended, sends what it can within this time, and ends. What could not be sent is sent by the next process
    /// that uses the file. What ends later is lost.
    ///
    /// It waits on the thread it is called from, not for an executor.
    pub fn stop(mut self, limit: Duration) -> Ended {
        self.stop_within(limit)
    }

    fn stop_within(&mut self, limit: Duration) -> Ended {
        self.is_stopped = true;
        let limit = limit.min(LONGEST_WAIT);
        let until = Instant::now() + limit;
        self.stop.send_replace(Some(until));
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let waiting_requests = ended.recv_timeout(limit + GRACE).ok().flatten();
        self.queue.close();
        Ended { lost: self.queue.lost(), waiting_requests }
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if !self.is_stopped {
            self.stop_within(DROP_WITHIN);
        }
    }
}

impl Setup {
    /// Where to send: the URL of an OTLP endpoint.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.flags.endpoint = Some(url.into());
        self
    }

    /// `service.name`; else that of the `OTEL_*` variables, else `agno`.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.flags.service_name = Some(name.into());
        self
    }

    /// Everything else of where to send.
    pub fn flags(self, flags: Flags) -> Self {
        Self { flags, ..self }
    }

    /// What of runs is said.
    pub fn saying(self, saying: Saying) -> Self {
        Self { saying, ..self }
    }

    /// How often metrics are sent; every 15 s, unless another time is said. Less than 10 ms is 10 ms.
    pub fn metrics_every(self, metrics_every: Duration) -> Self {
        Self { metrics_every: metrics_every.max(SHORTEST_METRICS_EVERY), ..self }
    }

    /// Bytes of spans that may wait in the file; a gigabyte, unless something else is said.
    pub fn outbox_bytes(self, outbox_bytes: u64) -> Self {
        Self { outbox_bytes, ..self }
    }

    /// Opens the state file and begins. What waits in the file is sent first.
    pub fn start(self) -> Result<Durable, Error> {
        let file = File::default();
        let environment = |name: &str| std::env::var(name).ok();
        let config = Config { flags: &self.flags, environment: &environment, file: &file };
        let destination = config.destination()?;
        let delivery = |patience| -> Result<Delivery, TlsError> {
            let to = destination.clone();
            let (traces, metrics) =
                (Exporter::to(to.traces, Clock::System)?, Exporter::to(to.metrics, Clock::System)?);
            Ok(Delivery::new(traces, metrics, patience, DeadLetters::Memory(Vec::new())))
        };
        let (spans, metrics) = (delivery(Duration::MAX)?, delivery(Duration::ZERO)?);
        let state = State::open(&self.path)?;
        let resource = config.resource(state.instance_id());
        let queue = Arc::new(Queue::default());
        let settings = self.saying.settings();
        let (stop, stopping) = watch::channel(None);
        let (tell, ended) = channel();
        let work = Work {
            path: self.path,
            queue: Arc::clone(&queue),
            resource,
            settings,
            metrics_every: self.metrics_every,
            outbox_bytes: self.outbox_bytes,
            stopping,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("agno-otel".to_owned()).spawn(move || {
            let waiting = runtime.block_on(work.until_stopped(state, spans, metrics));
            // Nobody listens any more where the time was over.
            tell.send(waiting).ok();
        })?;
        // Limits of attributes and events would cut what a span says of its content and messages.
        let (max_attributes_per_span, max_events_per_span) = (u32::MAX, u32::MAX);
        let limits = SpanLimits { max_attributes_per_span, max_events_per_span, ..SpanLimits::default() };
        let tracers = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOn)
            .with_span_limits(limits)
            .with_span_processor(queue::Processor::of(Arc::clone(&queue)))
            .build();
        let (to, ended) = (To::Durable(Arc::clone(&queue)), Mutex::new(ended));
        let way = Arc::new(Way { settings, prices: Prices::default(), to });
        Ok(Durable { tracers, way, queue, stop, ended, is_stopped: false })
    }
}

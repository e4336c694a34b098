//! The way out: requests in order, each attempted until it is delivered, refused, or patience ends.

mod report;

use std::time::Duration;

pub use report::{Report, Sent};
use tokio::time::Instant;
use tracing::{Instrument as _, Level, debug, event, field, info, info_span};

use crate::export::otlp_json::{self, OtlpJson};
use crate::export::{Attempt, Exporter, Request, Signal};
use crate::otel::request::{Chunk, halve, without_content};

/// The wait after a first failed attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait of our own choosing.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Reasons kept for the report; a server that gives each request another would fill the memory.
const MAX_REASONS: usize = 16;

/// The target of events that count: for `observe` alone, not for people.
pub const COUNTERS: &str = "agno_otel::counters";

/// The target of events with words of a server: for people alone. It was sent content, if that was asked for, and
/// may quote it.
pub const SERVERS_WORDS: &str = "agno_otel::servers_words";

/// Why a request could not be brought to an end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Patience ended before the far side took a request.
    #[error("gave up on {target} after {:.1} s: {reason}", waited.as_secs_f64())]
    GaveUp {
        /// Where it was to go.
        target: String,
        /// How long it was tried.
        waited: Duration,
        /// Why the last attempt failed.
        reason: String,
        /// False where the far side surely took nothing in any attempt.
        may_have_arrived: bool,
    },
    /// A refused request could not be kept.
    #[error(transparent)]
    DeadLetters(#[from] otlp_json::Error),
}

/// Where refused requests are kept.
#[derive(Debug, Default)]
pub enum DeadLetters {
    /// Nowhere: they are counted.
    #[default]
    Nowhere,
    /// In a file of OTLP/JSON.
    File(OtlpJson),
    /// In memory, for whoever delivers to take.
    Memory(Vec<Refusal>),
}

/// A request that was refused, or of which something was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Spans or metrics.
    pub signal: Signal,
    /// The request's message.
    pub bytes: Vec<u8>,
    /// Spans or points in it.
    pub items: u64,
    /// Why.
    pub reason: String,
    /// False where the far side surely took nothing of it, in any attempt.
    pub may_have_arrived: bool,
}

/// Delivers requests.
#[derive(Debug)]
pub struct Delivery {
    traces: Exporter,
    metrics: Exporter,
    patience: Duration,
    dead_letters: DeadLetters,
    /// Bytes a request may have, as far as the far side has let us know.
    limits: [usize; 2],
    /// What became of the requests so far.
    pub report: Report,
}

impl Delivery {
    /// `patience` is how long one request is tried before giving up; `dead_letters` keeps what is refused.
    pub fn new(traces: Exporter, metrics: Exporter, patience: Duration, dead_letters: DeadLetters) -> Self {
        let (limits, report) = ([usize::MAX; 2], Report::default());
        Self { traces, metrics, patience, dead_letters, limits, report }
    }

    /// Where requests of a signal go, as shown to people.
    pub fn target(&self, signal: Signal) -> String {
        self.exporter(signal).target()
    }

    fn exporter(&self, signal: Signal) -> &Exporter {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }

    fn limit(&mut self, signal: Signal) -> &mut usize {
        let [traces, metrics] = &mut self.limits;
        match signal {
            Signal::Traces => traces,
            Signal::Metrics => metrics,
        }
    }

    /// True when both signals go to the same server.
    pub fn has_one_server(&self) -> bool {
        self.traces.server() == self.metrics.server()
    }

    /// How long one request is tried from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Notes a request that is not tried, because one before it was given up on.
    pub fn pass_over(&mut self, signal: Signal) {
        self.report.of_mut(signal).undelivered += 1;
    }

    /// Delivers one request: attempts it, waiting longer each time, until it ends. What is too large goes in
    /// parts. What is refused is counted, kept where dead letters are, and passed over; the next may be taken.
    pub async fn deliver(&mut self, request: &Request<'_>) -> Result<(), Error> {
        let signal = request.signal;
        let mut left = vec![Part::Given(request.chunks)];
        // Of the request, whatever its parts: that some of it was taken, and that some attempt may have been.
        let (mut is_delivered, mut is_in_doubt) = (false, false);
        while let Some(part) = left.pop() {
            let request = Request { signal, chunks: part.chunks() };
            if request.len() > *self.limit(signal)
                && let Some((first, second)) = part.halves(signal)
            {
                left.extend([second, first]);
                continue;
            }
            match self.attempt_until_it_ends(&request, &mut is_in_doubt).await {
                Ok(End::Delivered) => is_delivered = true,
                Ok(End::TooLarge(reason)) => {
                    left.extend(self.smaller(&part, &request, &reason, is_in_doubt)?);
                }
                Ok(End::Refused(reason)) => self.refuse(&request, &reason, is_in_doubt)?,
                Err(mut error) => {
                    self.report.of_mut(signal).undelivered += 1 + left.len() as u64;
                    if let Error::GaveUp { may_have_arrived, .. } = &mut error {
                        *may_have_arrived = is_in_doubt || is_delivered;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn attempt(&self, request: &Request<'_>) -> Attempt {
        let exporter = self.exporter(request.signal);
        let span = info_span!(
            "attempt",
            otel.kind = "client",
            otel.status_code = field::Empty,
            agno_otel.target = exporter.target(),
            agno_otel.bytes = request.len(),
            agno_otel.outcome = field::Empty,
        );
        let attempt = exporter.export(request).instrument(span.clone()).await;
        span.record("agno_otel.outcome", name(&attempt));
        if !matches!(attempt, Attempt::Delivered { rejected: 0, .. }) {
            span.record("otel.status_code", "error");
        }
        let (signal, outcome) = (request.signal.name(), name(&attempt));
        let sent = if outcome == "delivered" { request.len() as u64 } else { 0 };
        event!(
            target: COUNTERS,
            Level::TRACE,
            monotonic_counter.agno_otel.attempts = 1_u64,
            agno_otel.signal = signal,
            agno_otel.outcome = outcome,
        );
        event!(target: COUNTERS, Level::TRACE, monotonic_counter.agno_otel.sent_bytes = sent, agno_otel.signal = signal);
        attempt
    }

    async fn attempt_until_it_ends(
        &mut self,
        request: &Request<'_>,
        is_in_doubt: &mut bool,
    ) -> Result<End, Error> {
        let (started, mut wait) = (Instant::now(), FIRST_WAIT);
        loop {
            let attempt = self.attempt(request).await;
            let sent = self.report.of_mut(request.signal);
            *sent.attempts.entry(name(&attempt)).or_default() += 1;
            match attempt {
                Attempt::Delivered { rejected, message } => {
                    sent.delivered += 1;
                    sent.rejected += rejected;
                    debug!(bytes = request.len(), elapsed = ?started.elapsed(), "delivered a request");
                    if rejected > 0 {
                        note(&mut self.report.reasons, &message);
                        self.keep(request, &message, true)?;
                    } else {
                        note(&mut self.report.warnings, &message);
                    }
                    return Ok(End::Delivered);
                }
                Attempt::TooLarge { reason } => return Ok(End::TooLarge(reason)),
                Attempt::Refused { reason } => return Ok(End::Refused(reason)),
                Attempt::TryLater { wait: asked, may_have_arrived, reason } => {
                    *is_in_doubt |= may_have_arrived;
                    let pause = asked.unwrap_or_else(|| jittered(wait));
                    let waited = started.elapsed();
                    if waited.saturating_add(pause) > self.patience {
                        let asks = asked.map(|wait| format!("; it asks to wait {:.0} s", wait.as_secs_f64()));
                        let reason = reason + asks.as_deref().unwrap_or_default();
                        let target = self.target(request.signal);
                        return Err(Error::GaveUp { target, waited, reason, may_have_arrived });
                    }
                    info!(target: SERVERS_WORDS, to = self.target(request.signal), %reason, ?pause, "will try again");
                    tokio::time::sleep(pause).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// What to try instead of a part that is too large, the last first: its halves, or its one span without
    /// content. Nothing: it was refused.
    fn smaller<'r>(
        &mut self,
        part: &Part<'r>,
        request: &Request<'_>,
        reason: &str,
        may_have_arrived: bool,
    ) -> Result<Vec<Part<'r>>, Error> {
        let signal = request.signal;
        let to = self.target(signal);
        info!(target: SERVERS_WORDS, to, bytes = request.len(), reason, "too large; sending it in parts");
        if let Some((first, second)) = part.halves(signal) {
            *self.limit(signal) = request.len() / 2;
            return Ok(vec![second, first]);
        }
        let bare = request.chunks.first().filter(|_| signal == Signal::Traces).and_then(without_content);
        if let Some(bare) = bare {
            self.report.of_mut(signal).stripped += bare.items;
            return Ok(vec![Part::Cut(bare)]);
        }
        self.refuse(request, reason, may_have_arrived)?;
        Ok(Vec::new())
    }

    fn refuse(&mut self, request: &Request<'_>, reason: &str, may_have_arrived: bool) -> Result<(), Error> {
        let sent = self.report.of_mut(request.signal);
        sent.refused += 1;
        sent.refused_items += request.chunks.iter().map(|chunk| chunk.items).sum::<u64>();
        note(&mut self.report.reasons, reason);
        self.keep(request, reason, may_have_arrived)
    }

    fn keep(&mut self, request: &Request<'_>, reason: &str, may_have_arrived: bool) -> Result<(), Error> {
        match &mut self.dead_letters {
            DeadLetters::Nowhere => {}
            DeadLetters::File(file) => {
                file.write(request)?;
                file.flush()?;
            }
            DeadLetters::Memory(refusals) => refusals.push(Refusal {
                signal: request.signal,
                bytes: request.chunks.iter().flat_map(|chunk| &chunk.bytes).copied().collect(),
                items: request.chunks.iter().map(|chunk| chunk.items).sum(),
                reason: reason.to_owned(),
                may_have_arrived,
            }),
        }
        Ok(())
    }

    /// Takes what was refused since this was last asked, where it is kept in memory.
    pub fn take_refusals(&mut self) -> Vec<Refusal> {
        match &mut self.dead_letters {
            DeadLetters::Memory(refusals) => std::mem::take(refusals),
            DeadLetters::Nowhere | DeadLetters::File(_) => Vec::new(),
        }
    }
}

/// Keeps what a server said, once.
fn note(said: &mut Vec<String>, words: &str) {
    if !words.is_empty() && said.len() < MAX_REASONS && !said.iter().any(|known| known == words) {
        said.push(words.to_owned());
    }
}

/// How a part of a request ended.
enum End {
    Delivered,
    TooLarge(String),
    Refused(String),
}

/// The name of an outcome, in `agno.bridge.attempts`.
fn name(attempt: &Attempt) -> &'static str {
    match attempt {
        Attempt::Delivered { .. } => "delivered",
        Attempt::TryLater { .. } => "later",
        Attempt::TooLarge { .. } => "too_large",
        Attempt::Refused { .. } => "refused",
    }
}

/// A part of a request: some of its chunks as they are, or one that was cut.
#[derive(Debug)]
enum Part<'r> {
    Given(&'r [Chunk]),
    Cut(Chunk),
}

impl Part<'_> {
    fn chunks(&self) -> &[Chunk] {
        match self {
            Self::Given(chunks) => chunks,
            Self::Cut(chunk) => std::slice::from_ref(chunk),
        }
    }

    /// Between chunks while there are several, then within the one.
    fn halves(&self, signal: Signal) -> Option<(Self, Self)> {
        if let Self::Given(chunks) = self
            && chunks.len() > 1
        {
            let (first, second) = chunks.split_at(chunks.len() / 2);
            return Some((Self::Given(first), Self::Given(second)));
        }
        let (first, second) = halve(signal, self.chunks().first()?)?;
        Some((Self::Cut(first), Self::Cut(second)))
    }
}

/// Between half of a wait and all of it, so that many senders do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let [byte, ..] = uuid::Uuid::new_v4().into_bytes();
    wait / 2 + wait * u32::from(byte) / 512
}

//! The thread of the durable way: it keeps what ended, and sends what is kept.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::queue::{Item, Queue};
use crate::clock::Clock;
use crate::delivery::{self, Delivery};
use crate::error::Chain;
use crate::export::{Request, Signal};
use crate::ledger::Told;
use crate::otel::request::{Chunk, trace_chunks};
use crate::otel::{Resource, Settings};
use crate::release::{self, Books};
use crate::state::{self, State};

/// What one commit takes: each waits for the disk.
const BATCH: usize = 512;
/// Bytes of spans that make one request.
const REQUEST_BYTES: usize = 1024 * 1024;
/// How often an empty outbox is looked into.
const OUTBOX_EVERY: Duration = Duration::from_millis(100);
/// How often sessions are looked at, and how full the outbox is.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);
/// How long a state file is left alone that cannot be used.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the thread needs to know.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) path: PathBuf,
    pub(super) queue: Arc<Queue>,
    pub(super) resource: Resource,
    pub(super) settings: Settings,
    pub(super) metrics_every: Duration,
    pub(super) outbox_bytes: u64,
    /// When it has to be over, once it has to.
    pub(super) stopping: watch::Receiver<Option<Instant>>,
}

/// What was taken from the queue and is to be committed.
#[derive(Debug, Default)]
struct Batch {
    /// What it is known by in the state file, should it be committed again.
    number: Uuid,
    told: Vec<Told>,
    spans: Vec<Chunk>,
    count: usize,
}

/// What outlives a state file that has to be opened again.
struct Ways {
    spans: Delivery,
    metrics: Delivery,
    batch: RefCell<Batch>,
    is_full: Cell<bool>,
}

impl Work {
    /// Works until it is to stop. Returns how many requests wait, if that is known.
    pub(super) async fn until_stopped(self, state: State, spans: Delivery, metrics: Delivery) -> Option<u64> {
        let (batch, is_full) = Default::default();
        let mut ways = Ways { spans, metrics, batch, is_full };
        let mut opened = Some(state);
        let mut is_told = false;
        loop {
            let worked = match opened.take().map_or_else(|| State::open(&self.path), Ok) {
                Ok(state) => self.work(state, &mut ways).await,
                Err(error) => Err(error.into()),
            };
            let error = match worked {
                Ok(waiting) => return Some(waiting),
                Err(error) => error,
            };
            // What was taken from the queue is still there to be committed.
            if !is_told {
                warn!(error = %Chain(&error), "what ended cannot be kept now; it waits in memory");
                is_told = true;
            }
            if self.must_end() {
                return None;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    fn must_end(&self) -> bool {
        self.stopping.borrow().is_some_and(|until| Instant::now() >= until)
    }

    async fn work(&self, state: State, ways: &mut Ways) -> Result<u64, release::Error> {
        let state = RefCell::new(state);
        let books = Books { state: &state, resource: &self.resource, budgets: &[], clock: Clock::System };
        let Ways { spans, metrics, batch, is_full } = ways;
        let kept = Kept { work: self, books, batch, is_full };
        kept.look_for_room();
        let mut stopping = self.stopping.clone();
        let works = async {
            tokio::try_join!(
                kept.commit_forever(),
                deliver_forever(&books, spans),
                release_forever(&books, metrics, self.metrics_every),
                kept.keep_house(),
            )
        };
        let until = tokio::select! {
            ended = works => { ended?; Instant::now() }
            // The sender lives as long as we are wanted; gone, it is over.
            until = stopping.wait_for(Option::is_some) => until.ok().and_then(|until| *until).unwrap_or_else(Instant::now),
        };
        // What ends from now on is lost, so this comes to an end.
        self.queue.close();
        while kept.commit()? > 0 {}
        // Whatever was under way is sent again: the same spans, the same points.
        let last = async {
            spans.set_patience(Duration::ZERO);
            if release::settle(&books, metrics).await?.is_none() {
                release::newest(&books, metrics).await?;
            }
            let mut reported = spans.report.traces.clone();
            while deliver(&books, spans, &mut reported).await? == Delivered::Some {}
            Ok::<_, release::Error>(())
        };
        match tokio::time::timeout_at(until, last).await {
            Ok(sent) => sent?,
            Err(_elapsed) => info!("not everything could be sent in time; it is kept"),
        }
        Ok(state.borrow().waiting()?.requests)
    }
}

/// Keeps what ended in a state file.
struct Kept<'w> {
    work: &'w Work,
    books: Books<'w>,
    batch: &'w RefCell<Batch>,
    is_full: &'w Cell<bool>,
}

impl Kept<'_> {
    async fn commit_forever(&self) -> Result<(), release::Error> {
        loop {
            if self.commit()? == 0 {
                self.work.queue.filled().await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Commits what ended, some of it at a time. Returns how much it was.
    fn commit(&self) -> Result<usize, state::Error> {
        let mut batch = self.batch.borrow_mut();
        if batch.count == 0 {
            *batch = Batch::of(self.work.queue.take(BATCH), &self.work.resource);
        }
        if batch.count == 0 {
            return Ok(0);
        }
        let mut state = self.books.state.borrow_mut();
        let thresholds = self.work.settings.thresholds;
        let now_ns = self.books.clock.now_ns();
        if self.is_full.get() {
            state.note_no_room(batch.spans.iter().map(|chunk| chunk.items).sum());
            batch.spans.clear();
        }
        state.tell(batch.number, &batch.told, &batch.spans, thresholds, now_ns)?;
        for (session, threshold) in state.ledger().take_crossed() {
            warn!(session, threshold = threshold.text(), "a session passed a threshold");
        }
        let count = std::mem::take(&mut *batch).count;
        self.work.queue.kept(count);
        Ok(count)
    }

    async fn keep_house(&self) -> Result<(), release::Error> {
        loop {
            tokio::time::sleep(HOUSEKEEPING_EVERY).await;
            self.look_for_room();
            let quiet_since_ns = self.books.clock.now_ns().saturating_sub(release::QUIET_NS);
            self.books.state.borrow_mut().close_sessions(quiet_since_ns)?;
        }
    }

    fn look_for_room(&self) {
        let limit = self.work.outbox_bytes;
        let is_full = self.books.state.borrow().kept_bytes() >= limit;
        if is_full && !self.is_full.get() {
            warn!(limit, "the outbox is full: further spans are passed over, and counted");
        }
        self.is_full.set(is_full);
    }
}

impl Batch {
    fn of(items: Vec<Item>, resource: &Resource) -> Self {
        let count = items.len();
        let (mut told, mut spans) = (Vec::new(), Vec::new());
        for item in items {
            told.extend(item.told);
            spans.extend(item.span.map(|mut span| {
                // A clock that was set back while it was under way.
                span.end_time = span.end_time.max(span.start_time);
                Span::from(span)
            }));
        }
        let spans = if spans.is_empty() { Vec::new() } else { trace_chunks(spans, resource) };
        Self { number: Uuid::new_v4(), told, spans, count }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Delivered {
    /// And there may be more.
    Some,
    /// There was nothing, or not now.
    Nothing,
}

async fn deliver_forever(books: &Books<'_>, spans: &mut Delivery) -> Result<(), release::Error> {
    spans.set_patience(Duration::MAX);
    let mut reported = spans.report.traces.clone();
    loop {
        if deliver(books, spans, &mut reported).await? == Delivered::Nothing {
            tokio::time::sleep(OUTBOX_EVERY).await;
        }
    }
}

/// Delivers the oldest spans.
async fn deliver(
    books: &Books<'_>,
    spans: &mut Delivery,
    reported: &mut delivery::Sent,
) -> Result<Delivered, release::Error> {
    let waiting = books.state.borrow().oldest(REQUEST_BYTES)?;
    if waiting.chunks.is_empty() {
        return Ok(Delivered::Nothing);
    }
    match spans.deliver(&Request { signal: Signal::Traces, chunks: &waiting.chunks }).await {
        Ok(()) => {}
        Err(delivery::Error::GaveUp { .. }) => return Ok(Delivered::Nothing),
        Err(error) => return Err(error.into()),
    }
    for refusal in release::note_delivered(books, spans, reported, waiting.up_to)? {
        warn!(spans = refusal.items, "refused; kept as a dead letter: agno-otel dead-letters list says why");
    }
    Ok(Delivered::Some)
}

/// Releases every series at an interval.
async fn release_forever(
    books: &Books<'_>,
    metrics: &mut Delivery,
    every: Duration,
) -> Result<(), release::Error> {
    loop {
        if release::settle(books, metrics).await?.is_none() {
            release::newest(books, metrics).await?;
        }
        tokio::time::sleep(every).await;
    }
}

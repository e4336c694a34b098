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
use super::trouble::Trouble;
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
pub(super) struct Batch {
    /// What it is known by in the state file, should it be committed again.
    number: Uuid,
    told: Vec<Told>,
    spans: Vec<Chunk>,
    /// Spans for which the queue had no room.
    passed_over: u64,
    count: usize,
    bytes: usize,
}

/// What outlives a state file that has to be opened again.
struct Ways {
    spans: Delivery,
    metrics: Delivery,
    batch: RefCell<Batch>,
    is_full: Cell<bool>,
    trouble: RefCell<Trouble>,
}

impl Work {
    /// Works until it is to stop. Returns how many requests wait, if that is known.
    pub(super) async fn until_stopped(self, state: State, spans: Delivery, metrics: Delivery) -> Option<u64> {
        let (batch, is_full, trouble) = Default::default();
        let mut ways = Ways { spans, metrics, batch, is_full, trouble };
        let mut opened = Some(state);
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
            if let Some(failures) = ways.trouble.get_mut().failed(Instant::now()) {
                warn!(failures, error = %Chain(&error), "what ended cannot be kept now; it waits in memory");
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
        let Ways { spans, metrics, batch, is_full, trouble } = ways;
        let kept = Kept { work: self, books, batch, is_full, trouble };
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
                release::last(&books, metrics).await?;
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
pub(super) struct Kept<'w> {
    pub(super) work: &'w Work,
    pub(super) books: Books<'w>,
    pub(super) batch: &'w RefCell<Batch>,
    pub(super) is_full: &'w Cell<bool>,
    pub(super) trouble: &'w RefCell<Trouble>,
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
    pub(super) fn commit(&self) -> Result<usize, state::Error> {
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
        // Until it is committed the batch is as it was, to be committed again.
        let (mut spans, mut no_room) = (batch.spans.as_slice(), batch.passed_over);
        if self.is_full.get() {
            no_room += spans.iter().map(|chunk| chunk.items).sum::<u64>();
            spans = &[];
        }
        state.tell(batch.number, &batch.told, spans, no_room, thresholds, now_ns)?;
        for (session, threshold) in state.ledger().take_crossed() {
            warn!(session, threshold = threshold.text(), "a session passed a threshold");
        }
        let Batch { count, bytes, .. } = std::mem::take(&mut *batch);
        self.work.queue.kept(count, bytes);
        self.note_well();
        Ok(count)
    }

    fn note_well(&self) {
        if self.trouble.borrow_mut().is_over() {
            info!("what ended is kept again");
        }
    }

    async fn keep_house(&self) -> Result<(), release::Error> {
        loop {
            tokio::time::sleep(HOUSEKEEPING_EVERY).await;
            self.look_for_room();
            let quiet_since_ns = self.books.clock.now_ns().saturating_sub(release::QUIET_NS);
            self.books.state.borrow_mut().close_sessions(quiet_since_ns)?;
            // Nothing may have ended meanwhile.
            self.note_well();
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
    pub(super) fn of(items: Vec<Item>, resource: &Resource) -> Self {
        let count = items.len();
        let (mut told, mut spans, mut passed_over, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
        for item in items {
            passed_over += u64::from(item.is_passed_over);
            bytes += item.bytes;
            told.extend(item.told);
            spans.extend(item.span.map(|mut span| {
                // A clock that was set back while it was under way.
                span.end_time = span.end_time.max(span.start_time);
                Span::from(span)
            }));
        }
        let spans = if spans.is_empty() { Vec::new() } else { trace_chunks(spans, resource) };
        Self { number: Uuid::new_v4(), told, spans, passed_over, count, bytes }
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

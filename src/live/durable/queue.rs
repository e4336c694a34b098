//! What ended, on its way to the state file.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ledger::Told;

/// Guards that may wait to be kept: tens of megabytes, and seconds of commits.
const MAX_WAITING: usize = 16_384;
/// How long one that ends waits for room.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// What ended: a span, what it counts, or both.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) span: Option<SpanData>,
    pub(super) told: Option<Told>,
}

/// What ended and is not kept yet.
#[derive(Debug, Default)]
pub(in crate::live) struct Queue {
    state: Mutex<Waiting>,
    /// There is room, or everything is kept.
    moved: Condvar,
    /// There is something to be kept.
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// How many were ever put here, and how many of them are kept or lost.
    put: u64,
    done: u64,
    lost: u64,
    is_closed: bool,
}

thread_local! {
    /// What the span counts that is ended on this thread just now.
    static TOLD: RefCell<Option<Told>> = const { RefCell::new(None) };
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a span and puts what it counts here with it, so that one commit takes both.
    pub(in crate::live) fn tell(&self, told: Told, end: impl FnOnce()) {
        TOLD.with(|place| place.replace(Some(told)));
        end();
        // Nobody traces, or the span is not recorded.
        if let Some(told) = TOLD.with(RefCell::take) {
            self.put(Item { span: None, told: Some(told) });
        }
    }

    fn put(&self, item: Item) {
        let mut waiting = self.lock();
        if waiting.items.len() >= MAX_WAITING && !waiting.is_closed {
            let is_full = |waiting: &mut Waiting| waiting.items.len() >= MAX_WAITING && !waiting.is_closed;
            let waited = self.moved.wait_timeout_while(waiting, ROOM_WITHIN, is_full);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if waiting.is_closed || waiting.items.len() >= MAX_WAITING {
            waiting.lost += 1;
            return;
        }
        waiting.items.push_back(item);
        waiting.put += 1;
        drop(waiting);
        self.filled.notify_one();
    }

    /// Takes the oldest, at most so many. They count as kept when that is [said](Self::kept).
    pub(super) fn take(&self, most: usize) -> Vec<Item> {
        let mut waiting = self.lock();
        let count = most.min(waiting.items.len());
        let taken = waiting.items.drain(..count).collect();
        drop(waiting);
        self.moved.notify_all();
        taken
    }

    /// Waits until something is to be taken.
    pub(super) async fn filled(&self) {
        while self.lock().items.is_empty() {
            self.filled.notified().await;
        }
    }

    /// So many that were taken are kept.
    pub(super) fn kept(&self, count: usize) {
        self.lock().done += count as u64;
        self.moved.notify_all();
    }

    pub(super) fn wait_until_kept(&self, limit: Duration) -> bool {
        let waiting = self.lock();
        let put = waiting.put;
        let until = Instant::now() + limit;
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.moved.wait_timeout_while(waiting, left, |waiting| waiting.done < put);
        waited.unwrap_or_else(PoisonError::into_inner).0.done >= put
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.moved.notify_all();
    }

    /// How many ended and were not kept; once closed, all that were not.
    pub(super) fn lost(&self) -> u64 {
        let waiting = self.lock();
        waiting.lost + if waiting.is_closed { waiting.put - waiting.done } else { 0 }
    }
}

/// Hands finished spans over.
#[derive(Debug)]
pub(super) struct Processor {
    queue: Arc<Queue>,
}

impl Processor {
    pub(super) fn of(queue: Arc<Queue>) -> Self {
        Self { queue }
    }
}

impl SpanProcessor for Processor {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.queue.put(Item { span: Some(span), told: TOLD.with(RefCell::take) });
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

//! What ended, on its way to the state file.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::trace::Status;
use opentelemetry::{Array, Context, KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::Notify;

use super::Flushed;
use crate::ledger::Told;

/// Guards that may wait to be kept: tens of megabytes without content, and seconds of commits.
pub(super) const MAX_WAITING: usize = 16_384;
/// Bytes of spans that may wait to be kept: with content, one may be a megabyte. One that is larger than this may wait alone.
pub(super) const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// How long one that ends waits for room.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// What ended: a span, what it counts, or both.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) span: Option<SpanData>,
    pub(super) told: Option<Told>,
    /// It had a span, for which there was no room.
    pub(super) is_passed_over: bool,
    pub(super) bytes: usize,
}

impl Item {
    fn of(span: SpanData, told: Option<Told>) -> Self {
        Self { bytes: bytes(&span), span: Some(span), told, is_passed_over: false }
    }

    /// What it counts is small.
    fn pass_over(&mut self) {
        (self.span, self.is_passed_over, self.bytes) = (None, true, 0);
    }
}

/// What a span takes in memory, near enough: of texts, all.
fn bytes(span: &SpanData) -> usize {
    let of_value = |value: &Value| match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::String(texts)) => {
            texts.iter().map(|text| size_of_val(text) + text.as_str().len()).sum()
        }
        _ => 0,
    };
    let of_attributes = |all: &[KeyValue]| {
        let texts = all.iter().map(|own| own.key.as_str().len() + of_value(&own.value));
        size_of_val(all) + texts.sum::<usize>()
    };
    let events = span.events.iter().map(|event| size_of_val(event) + of_attributes(&event.attributes));
    let status = if let Status::Error { description } = &span.status { description.len() } else { 0 };
    size_of_val(span) + of_attributes(&span.attributes) + events.sum::<usize>() + status
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
    /// Of all that are neither kept nor lost, those that were taken too.
    bytes: usize,
    is_closed: bool,
}

impl Waiting {
    fn has_room_for(&self, bytes: usize) -> bool {
        bytes == 0 || self.bytes == 0 || self.bytes.saturating_add(bytes) <= MAX_WAITING_BYTES
    }
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
            self.put(Item { told: Some(told), ..Item::default() });
        }
    }

    fn put(&self, mut item: Item) {
        let is_full = |waiting: &mut Waiting| {
            let has_room = waiting.items.len() < MAX_WAITING && waiting.has_room_for(item.bytes);
            !has_room && !waiting.is_closed
        };
        let waited = self.moved.wait_timeout_while(self.lock(), ROOM_WITHIN, is_full);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        if waiting.is_closed || waiting.items.len() >= MAX_WAITING {
            waiting.lost += 1;
            return;
        }
        if !waiting.has_room_for(item.bytes) {
            item.pass_over();
        }
        waiting.bytes += item.bytes;
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

    /// So many that were taken are kept, and of so many bytes.
    pub(super) fn kept(&self, count: usize, bytes: usize) {
        let mut waiting = self.lock();
        waiting.done += count as u64;
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        drop(waiting);
        self.moved.notify_all();
    }

    pub(super) fn wait_until_kept(&self, limit: Duration) -> Flushed {
        let waiting = self.lock();
        let put = waiting.put;
        let waited = self.moved.wait_timeout_while(waiting, limit, |waiting| waiting.done < put);
        let waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        Flushed { waiting: put.saturating_sub(waiting.done), lost: waiting.lost }
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
        self.queue.put(Item::of(span, TOLD.with(RefCell::take)));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

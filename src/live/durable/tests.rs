use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;

use super::queue::{Processor, Queue};
use super::work::{Batch, Kept, Work};
use crate::clock::Clock;
use crate::otel::{Resource, Settings, names};
use crate::release::Books;
use crate::state::State;

/// A queue, and who works on it beside a state file that can be made to fail.
struct Place {
    folder: TempDir,
    queue: Arc<Queue>,
    tracers: SdkTracerProvider,
    stop: watch::Sender<Option<Instant>>,
}

impl Place {
    fn new() -> Self {
        let queue = Arc::new(Queue::default());
        let tracers =
            SdkTracerProvider::builder().with_span_processor(Processor::of(Arc::clone(&queue))).build();
        Self { folder: TempDir::new().unwrap(), queue, tracers, stop: watch::Sender::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("live.db")
    }

    fn work(&self) -> Work {
        Work {
            path: self.path(),
            queue: Arc::clone(&self.queue),
            resource: Resource::default(),
            settings: Settings::default(),
            metrics_every: Duration::from_hours(1),
            outbox_bytes: u64::MAX,
            stopping: self.stop.subscribe(),
        }
    }

    /// Ends a span with a text in it.
    fn end(&self, text: &str) {
        let mut span = self.tracers.tracer("test").start("a span");
        span.set_attribute(KeyValue::new("text", text.to_owned()));
        span.end();
    }

    /// From now on no commit of what ended succeeds.
    fn break_disk(&self) {
        let refuse = "CREATE TRIGGER broken BEFORE INSERT ON meta WHEN new.name = 'told' \
                      BEGIN SELECT RAISE(ABORT, 'as is expected'); END";
        Connection::open(self.path()).unwrap().execute_batch(refuse).unwrap();
    }

    fn mend_disk(&self) {
        Connection::open(self.path()).unwrap().execute_batch("DROP TRIGGER broken").unwrap();
    }
}

#[test]
fn spans_that_found_no_room_are_counted_though_the_commit_that_says_so_fails_at_first() {
    let place = Place::new();
    let work = place.work();
    let (batch, is_full) = (RefCell::new(Batch::default()), Cell::new(true));
    let commit = |state: &RefCell<State>| {
        let books = Books { state, resource: &work.resource, budgets: &[], clock: Clock::System };
        Kept { work: &work, books, batch: &batch, is_full: &is_full }.commit()
    };
    let open = || RefCell::new(State::open(&place.path()).unwrap());
    place.end("");
    place.end("");
    let state = open();
    place.break_disk();
    commit(&state).unwrap_err();
    drop(state);
    place.mend_disk();
    let state = open();
    assert_eq!(commit(&state).unwrap(), 2);
    let dropped: u64 =
        state.borrow_mut().ledger().counters(&names::BRIDGE_DROPPED).map(|(_, count)| count).sum();
    assert_eq!(dropped, 2);
}

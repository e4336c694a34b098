use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;

use super::queue::{MAX_WAITING, MAX_WAITING_BYTES, Processor, Queue};
use super::work::{Batch, Kept, Work};
use super::{Durable, Flushed, SHORTEST_METRICS_EVERY};
use crate::clock::Clock;
use crate::config::{Config, File, Flags};
use crate::delivery::{DeadLetters, Delivery};
use crate::export::Exporter;
use crate::otel::{Resource, Settings, names};
use crate::release::Books;
use crate::state::{Error, State};

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

/// Commits what is in the queue, and returns how much it was.
fn commit(
    place: &Place,
    state: &RefCell<State>,
    batch: &RefCell<Batch>,
    is_full: bool,
) -> Result<usize, Error> {
    let (work, is_full, trouble) = (place.work(), Cell::new(is_full), RefCell::default());
    let books = Books { state, resource: &work.resource, budgets: &[], clock: Clock::System };
    Kept { work: &work, books, batch, is_full: &is_full, trouble: &trouble }.commit()
}

fn dropped(state: &RefCell<State>) -> u64 {
    state.borrow_mut().ledger().counters(&names::BRIDGE_DROPPED).map(|(_, count)| count).sum()
}

#[test]
fn spans_that_found_no_room_are_counted_though_the_commit_that_says_so_fails_at_first() {
    let (place, batch) = (Place::new(), RefCell::default());
    let open = || RefCell::new(State::open(&place.path()).unwrap());
    place.end("");
    place.end("");
    let state = open();
    place.break_disk();
    commit(&place, &state, &batch, true).unwrap_err();
    drop(state);
    place.mend_disk();
    let state = open();
    assert_eq!(commit(&place, &state, &batch, true).unwrap(), 2);
    assert_eq!(dropped(&state), 2);
}

#[test]
fn what_waits_is_bounded_in_bytes_and_what_has_no_room_is_counted_without_its_span() {
    let (place, batch) = (Place::new(), RefCell::default());
    let state = RefCell::new(State::open(&place.path()).unwrap());
    let large = "x".repeat(MAX_WAITING_BYTES / 2);
    place.end(&large);
    // The second has no room, for what else is in the spans; nor has it once the first is taken and not kept yet.
    place.end(&large);
    *batch.borrow_mut() = Batch::of(place.queue.take(1), &Resource::default());
    place.end(&large);
    // Small ones have.
    place.end("");
    while commit(&place, &state, &batch, false).unwrap() > 0 {}
    assert_eq!((dropped(&state), place.queue.lost()), (2, 0));
    // What was kept makes room, and one that is too large for any may wait alone.
    place.end(&"x".repeat(MAX_WAITING_BYTES));
    assert_eq!(commit(&place, &state, &batch, false).unwrap(), 1);
    assert_eq!((dropped(&state), place.queue.lost()), (2, 0));
}

#[test]
fn what_was_lost_before_is_no_flush_that_kept_everything() {
    let (place, batch) = (Place::new(), RefCell::default());
    let state = RefCell::new(State::open(&place.path()).unwrap());
    (0..=MAX_WAITING).for_each(|_| place.end(""));
    let waiting = MAX_WAITING as u64;
    assert_eq!(place.queue.wait_until_kept(Duration::ZERO), Flushed { waiting, lost: 1 });
    while commit(&place, &state, &batch, false).unwrap() > 0 {}
    assert_eq!(place.queue.wait_until_kept(Duration::ZERO), Flushed { waiting: 0, lost: 1 });
}

#[test]
fn metrics_are_never_sent_without_a_pause() {
    assert_eq!(Durable::at("live.db").metrics_every(Duration::ZERO).metrics_every, SHORTEST_METRICS_EVERY);
}

/// What is logged on this thread, line by line.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_disk_that_fails_and_works_again_is_said_to_do_so() {
    let place = Place::new();
    let logged = Logged::default();
    let lines = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone()).finish();
    let _kept = tracing::subscriber::set_default(subscriber);
    let flags = Flags { endpoint: Some("http://127.0.0.1:1".to_owned()), ..Flags::default() };
    let [spans, metrics] = [Duration::MAX, Duration::ZERO].map(|patience| {
        let (environment, file) = (|_: &str| None, File::default());
        let to = Config { flags: &flags, environment: &environment, file: &file }.destination().unwrap();
        let [traces, metrics] = [to.traces, to.metrics].map(|to| Exporter::to(to, Clock::System).unwrap());
        Delivery::new(traces, metrics, patience, DeadLetters::Memory(Vec::new()))
    });
    let has_said = async |said: &str| {
        while !logged.lines().iter().any(|line| line.contains(said)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let state = State::open(&place.path()).unwrap();
    place.break_disk();
    place.end("");
    let meanwhile = async {
        has_said("what ended cannot be kept now").await;
        assert_eq!(place.queue.wait_until_kept(Duration::ZERO).waiting, 1);
        place.mend_disk();
        has_said("what ended is kept again").await;
        assert_eq!(place.queue.wait_until_kept(Duration::ZERO), Flushed { waiting: 0, lost: 0 });
        place.stop.send_replace(Some(Instant::now()));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (waiting, ()) = runtime
        .block_on(async { tokio::join!(place.work().until_stopped(state, spans, metrics), meanwhile) });
    assert_eq!(waiting, Some(1));
    let troubles: Vec<String> =
        logged.lines().into_iter().filter(|line| line.contains("what ended")).collect();
    assert_eq!(troubles.len(), 2, "{troubles:#?}");
    assert!(troubles[0].contains("WARN") && troubles[0].contains("as is expected"), "{troubles:#?}");
}

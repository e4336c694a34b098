//! `run`: follows sources until it is stopped.
//!
//! Three things take turns, none waiting for another: looking and counting, delivering spans, releasing metrics. What they
//! share is the state file, and nobody holds it while waiting.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::send::delivery;
use super::{Ended, Said, Sources, Stopped, stopped};
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::{self, DeadLetters, Delivery};
use crate::export::{Request, Signal};
use crate::follow::{Follower, Following};
use crate::framework::Oddity;
use crate::otel::request::{Chunk, metric_chunks};
use crate::otel::{metrics, names};
use crate::source::Tables;
use crate::state::counted::Patience;
use crate::state::records::History;
use crate::state::{self, State};

/// How often sources are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often an empty outbox is looked into.
const OUTBOX_EVERY: Duration = Duration::from_millis(200);
/// Bytes of spans that make one request.
const REQUEST_BYTES: usize = 1024 * 1024;
/// A session without a new run for this long is recorded in histograms.
const QUIET_NS: u64 = 30 * 60 * 1_000_000_000;
/// How long a trace waits for a parent that its run names and nobody knows.
const PARENT_NS: u64 = 10 * 60 * 1_000_000_000;
/// How long a trace waits for its run to end: people take their time to answer.
const END_NS: u64 = 24 * 3600 * 1_000_000_000;
/// Metrics of which nobody knows whether they arrived are sent again while they are younger than this: Prometheus takes
/// older ones no more.
const UNSETTLED_NS: u64 = 20 * 60 * 1_000_000_000;
/// How long the end may take after a first signal.
const STOP_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    destination: super::Destination,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    state: StateFile,
    /// What of the runs that are there already at first contact: count them, send only their traces, or skip them.
    #[arg(long, value_name = "HOW", value_enum, default_value = "skip")]
    history: HistoryMode,
    /// Seconds between two releases of metrics.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    metrics_every: u64,
    /// Bytes of spans that may wait for the endpoint; beyond, sources are read no further until it takes some.
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024 * 1024)]
    outbox_limit: u64,
}

/// Where the state is kept.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StateFile {
    /// File that keeps what was counted and what waits to be delivered [env: AGNO_OTEL_STATE; default:
    /// $XDG_STATE_HOME/agno-otel/state.db, or ~/.local/state/agno-otel/state.db]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

/// No place for the state.
#[derive(Debug, thiserror::Error)]
#[error("no place for the state file: neither --state, AGNO_OTEL_STATE, XDG_STATE_HOME nor HOME is set")]
pub(super) struct NoStateFile;

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum HistoryMode {
    Count,
    Traces,
    Skip,
}

impl From<HistoryMode> for History {
    fn from(mode: HistoryMode) -> Self {
        match mode {
            HistoryMode::Count => Self::Count,
            HistoryMode::Traces => Self::Traces,
            HistoryMode::Skip => Self::Skip,
        }
    }
}

impl StateFile {
    /// The file, wherever it was named.
    pub(super) fn path(&self) -> Result<PathBuf, NoStateFile> {
        let named = self.state.clone().or_else(|| super::variable("AGNO_OTEL_STATE").map(PathBuf::from));
        let folder = || {
            let own = super::variable("XDG_STATE_HOME").map(PathBuf::from);
            own.or_else(|| Some(Path::new(&super::variable("HOME")?).join(".local/state")))
        };
        named.or_else(|| Some(folder()?.join("agno-otel/state.db"))).ok_or(NoStateFile)
    }
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let flags = arguments.destination.flags();
    let config = Config { flags: &flags, environment: &super::variable };
    let settings = arguments.said.settings(config)?;
    let clock = Clock::System;
    let to = || -> anyhow::Result<Delivery> {
        let dead_letters = DeadLetters::Memory(Vec::new());
        Ok(delivery(config.destination()?, Duration::MAX, dead_letters, clock)?)
    };
    let (spans, mut metrics) = (to()?, to()?);
    metrics.set_patience(Duration::ZERO);
    let state = State::open(&arguments.state.path()?)?;
    let resource = config.resource(state.instance_id());
    let tables = Tables {
        sessions: arguments.sources.sessions_table.clone(),
        runs: arguments.sources.runs_table.clone(),
    };
    let history = History::from(arguments.history);
    let paths = arguments.sources.paths.into_iter();
    let followers: Vec<Follower> = paths.map(|path| Follower::new(path, tables.clone(), history)).collect();
    info!(
        state = %state.path().display(), target = spans.target(Signal::Traces), sources = followers.len(),
        "following; stop with Ctrl-C"
    );
    let following = Following {
        state: RefCell::new(state),
        resource,
        settings,
        patience: Patience { parent_ns: PARENT_NS, end_ns: END_NS },
        outbox_limit: arguments.outbox_limit,
        clock,
    };
    let every = Duration::from_secs(arguments.metrics_every);
    let stopped = follow(&following, followers, spans, metrics, every).await?;
    info!("stopped; what was counted is kept, and what waits is sent with the next start");
    Ok(if stopped.code == super::INTERRUPTED { Ended::Interrupted } else { Ended::Terminated })
}

/// Works until a signal comes, then ends what can be ended in time. A second signal ends it at once.
async fn follow(
    following: &Following,
    mut followers: Vec<Follower>,
    mut spans: Delivery,
    mut metrics: Delivery,
    every: Duration,
) -> anyhow::Result<Stopped> {
    let (stop, stopping) = watch::channel(false);
    let work = async {
        tokio::try_join!(
            count(following, &mut followers, stopping.clone()),
            deliver(following, &mut spans, stopping.clone()),
            release(following, &mut metrics, every, stopping.clone()),
        )
    };
    tokio::pin!(work);
    let first: Stopped = tokio::select! {
        ended = &mut work => return Err(ended.err().unwrap_or_else(|| anyhow::anyhow!("the work ended; this is a bug"))),
        signal = stopped() => signal?,
    };
    info!("stopping");
    stop.send_replace(true);
    tokio::select! {
        ended = &mut work => { ended?; }
        () = tokio::time::sleep(STOP_WITHIN) => warn!("not everything could be ended in {STOP_WITHIN:?}"),
        second = stopped() => { second?; }
    }
    Ok(first)
}

/// Waits, unless the end has come. True: it has.
async fn pause(stopping: &mut watch::Receiver<bool>, wait: Duration) -> bool {
    // The sender lives as long as the work.
    tokio::time::timeout(wait, stopping.wait_for(|stop| *stop)).await.is_ok()
}

/// Looks at the sources and counts what is due.
async fn count(
    following: &Following,
    followers: &mut [Follower],
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut is_full = false;
    loop {
        for follower in &mut *followers {
            follower.look(following).await?;
        }
        while !*stopping.borrow() && following.count_due(followers).await?.runs > 0 {}
        let waiting = following.state.borrow().waiting()?;
        if is_full != (waiting.bytes >= following.outbox_limit) {
            is_full = !is_full;
            let (bytes, limit) = (waiting.bytes, following.outbox_limit);
            if is_full {
                warn!(
                    bytes,
                    limit, "the outbox is full; nothing was lost, sources wait until the endpoint takes some"
                );
            } else {
                info!("the outbox has room again");
            }
        }
        let quiet_since_ns = following.clock.now_ns().saturating_sub(QUIET_NS);
        following.state.borrow_mut().close_sessions(quiet_since_ns)?;
        if pause(&mut stopping, LOOK_EVERY).await {
            return Ok(());
        }
    }
}

/// Delivers spans, the oldest first, one request at a time.
async fn deliver(
    following: &Following,
    delivery: &mut Delivery,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut reported = delivery::Sent::default();
    loop {
        let waiting = following.state.borrow().oldest(REQUEST_BYTES)?;
        if waiting.chunks.is_empty() {
            if pause(&mut stopping, OUTBOX_EVERY).await {
                return Ok(());
            }
            continue;
        }
        let request = Request { signal: Signal::Traces, chunks: &waiting.chunks };
        tokio::select! {
            delivered = delivery.deliver(&request) => delivered?,
            // What is under way is sent again with the next start: the same spans.
            _ = stopping.wait_for(|stop| *stop) => {
                delivery.set_patience(Duration::ZERO);
                match delivery.deliver(&request).await {
                    Ok(()) => {}
                    Err(delivery::Error::GaveUp { .. }) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let refusals = delivery.take_refusals();
        for refusal in &refusals {
            warn!(spans = refusal.items, reason = refusal.reason, "refused; kept as a dead letter");
        }
        let now_ns = following.clock.now_ns();
        let mut state = following.state.borrow_mut();
        count_sent(&mut state, &reported, &delivery.report.traces);
        reported = delivery.report.traces.clone();
        state.delivered(waiting.up_to, &refusals, now_ns)?;
    }
}

/// Counts what became of requests since the last time.
fn count_sent(state: &mut State, before: &delivery::Sent, after: &delivery::Sent) {
    let ledger = state.ledger();
    for (outcome, count) in &after.attempts {
        let more = count - before.attempts.get(outcome).copied().unwrap_or(0);
        ledger.add(&names::BRIDGE_ATTEMPTS, vec![(names::BRIDGE_OUTCOME, (*outcome).to_owned())], more);
    }
    let reasons = [
        ("refused", after.refused_items - before.refused_items),
        ("rejected", after.rejected - before.rejected),
    ];
    for (reason, more) in reasons {
        ledger.add(&names::BRIDGE_DROPPED, vec![(names::BRIDGE_REASON, reason.to_owned())], more);
    }
}

/// Releases every series at an interval, and once more at the end.
async fn release(
    following: &Following,
    delivery: &mut Delivery,
    every: Duration,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut next = Instant::now();
    loop {
        let is_last = pause(&mut stopping, next.saturating_duration_since(Instant::now())).await;
        next = Instant::now() + every;
        if settle(following, delivery).await? {
            let chunks = prepare(following)?;
            match attempt(delivery, &chunks).await? {
                Outcome::Arrived => end(following, delivery, true)?,
                Outcome::Nowhere | Outcome::Refused => end(following, delivery, false)?,
                // Its like is settled before the next release.
                Outcome::Unknown => {}
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Sends again what may have arrived: it was under way when we were killed, or nobody answered. False: nobody knows yet.
///
/// A birth that did not arrive is lost if it is taken for one that did; one that did counts twice if it is not.
async fn settle(following: &Following, delivery: &mut Delivery) -> anyhow::Result<bool> {
    let unsettled = following.state.borrow().unsettled(following.clock.now_ns())?;
    let Some((chunk, age_ns)) = unsettled else { return Ok(true) };
    if chunk.bytes.is_empty() || age_ns > UNSETTLED_NS {
        following.state.borrow_mut().released(true, &[], following.clock.now_ns())?;
        return Ok(true);
    }
    match attempt(delivery, &[chunk]).await? {
        Outcome::Arrived => end(following, delivery, true)?,
        Outcome::Refused => end(following, delivery, false)?,
        // It arrived nowhere now; of the times before nobody knows.
        Outcome::Nowhere | Outcome::Unknown => return Ok(false),
    }
    Ok(true)
}

fn prepare(following: &Following) -> Result<Vec<Chunk>, state::Error> {
    let now_ns = following.clock.now_ns();
    let mut state = following.state.borrow_mut();
    state.set_largest(now_ns.saturating_sub(QUIET_NS))?;
    let ledger = state.ledger();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    ledger.set(&names::BRIDGE_UP, Vec::new(), 1);
    ledger.set(&names::BRIDGE_INFO, vec![(names::BRIDGE_VERSION, version)], 1);
    let folded = ledger.oddities().count(Oddity::FoldedValue);
    ledger.set(&names::BRIDGE_OVERFLOW, Vec::new(), folded);
    let series = ledger.series_count() as u64 + 1;
    ledger.set(&names::BRIDGE_SERIES, Vec::new(), series);
    state.release(now_ns, |released| metric_chunks(metrics::metrics(released), &following.resource))
}

/// How the requests of a release ended.
enum Outcome {
    /// All were taken or refused, and some were taken.
    Arrived,
    /// All were refused.
    Refused,
    /// Surely none was taken.
    Nowhere,
    /// Some may have been taken, and some may not.
    Unknown,
}

/// Attempts each request once.
async fn attempt(delivery: &mut Delivery, chunks: &[Chunk]) -> anyhow::Result<Outcome> {
    let (mut all_ended, mut may_have_arrived) = (true, false);
    delivery.report = delivery::Report::default();
    for chunk in chunks {
        let request = Request { signal: Signal::Metrics, chunks: std::slice::from_ref(chunk) };
        match delivery.deliver(&request).await {
            Ok(()) => {}
            Err(delivery::Error::GaveUp { may_have_arrived: may, reason, .. }) => {
                info!(reason, "metrics are sent again with the next release");
                all_ended = false;
                may_have_arrived |= may;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(match (all_ended, delivery.has_delivered()) {
        (true, true) => Outcome::Arrived,
        (true, false) => Outcome::Refused,
        (false, false) if !may_have_arrived => Outcome::Nowhere,
        (false, _) => Outcome::Unknown,
    })
}

/// Notes how a release ended.
fn end(following: &Following, delivery: &mut Delivery, may_have_arrived: bool) -> Result<(), state::Error> {
    let refusals = delivery.take_refusals();
    for refusal in &refusals {
        warn!(points = refusal.items, reason = refusal.reason, "metrics were refused");
    }
    // Metrics need no dead letters: the next release holds them all.
    following.state.borrow_mut().released(may_have_arrived, &[], following.clock.now_ns())
}

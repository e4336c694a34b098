//! `run`: follows sources until it is stopped.
//!
//! Four things take turns, none waiting for another: looking and counting, delivering spans, releasing metrics, and, if
//! asked for, taking runs by HTTP. What they share is the state file, and nobody holds it while waiting.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::listen::{self, Listening};
use super::send::delivery;
use super::{Ended, Said, Sources, Stopped, once, stopped};
use crate::clock::Clock;
use crate::config::{self, Config, File, MetricsWay, Observed, when};
use crate::delivery::{self, DeadLetters, Delivery};
use crate::export::{Request, Signal};
use crate::follow::{Follower, Following};
use crate::intake;
use crate::release;
use crate::serve::Health;
use crate::state::State;
use crate::state::counted::Patience;
use crate::state::past::{Contact, Past};
use crate::state::records::History;

/// How often sources are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often an empty outbox is looked into.
const OUTBOX_EVERY: Duration = Duration::from_millis(200);
/// Bytes of spans that make one request.
pub(super) const REQUEST_BYTES: usize = 1024 * 1024;
/// How long a trace waits for a parent that its run names and nobody knows, and for its run to end: people take their
/// time to answer.
pub(super) const END_NS: u64 = 24 * 3600 * 1_000_000_000;
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
    /// [default: skip]
    #[arg(long, value_name = "HOW", value_enum)]
    history: Option<HistoryMode>,
    /// Of the runs that are there already at first contact, take only those that began then or later: send their traces,
    /// or do what --history says; older ones are skipped. A time (2026-11-24T09:30:00Z), a date, or a length of time
    /// before now (2h, 3d)
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| when::parse(text, Clock::System))]
    since: Option<u64>,
    #[command(flatten)]
    listening: listen::ListenFlags,
    /// Which way metrics go: sent by OTLP, shown at /metrics to whoever scrapes, or neither way. One alone, for the same
    /// series by both into one Prometheus would be counted twice [default: otlp]
    #[arg(long, value_name = "WAY", value_enum)]
    metrics: Option<MetricsMode>,
    /// Seconds between two releases of metrics; shown to a scraper, a new series stays at zero for two of them
    /// [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    metrics_every: Option<u64>,
    /// Bytes of spans that may wait for the endpoint; beyond, sources are read no further until it takes some
    /// [default: 1073741824]
    #[arg(long, value_name = "BYTES")]
    outbox_limit: Option<u64>,
}

impl Arguments {
    /// Where the bridge's own telemetry goes, if it is asked for: with the run's.
    pub(super) fn observed(&self, file: &File) -> Result<Option<Observed>, config::Error> {
        let flags = self.destination.flags();
        Config { flags: &flags, environment: &super::variable, file }.observed()
    }
}

/// Where the state is kept.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StateFile {
    /// File that keeps what was counted and what waits to be delivered [env: AGNO_OTEL_STATE; default:
    /// $XDG_STATE_HOME/agno-otel/state.db, or ~/.local/state/agno-otel/state.db]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) state: Option<PathBuf>,
}

/// No place for the state.
#[derive(Debug, thiserror::Error)]
#[error(
    "no place for the state file: neither --state, AGNO_OTEL_STATE, XDG_STATE_HOME nor HOME is set; name one with --state"
)]
pub(super) struct NoStateFile;

/// Runs since a time are asked for, and no runs.
#[derive(Debug, thiserror::Error)]
#[error(
    "--since asks for runs that --history skip leaves out; say --history traces or count, or leave it out"
)]
pub(super) struct SinceSkipped;

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum HistoryMode {
    Count,
    Traces,
    Skip,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum MetricsMode {
    Otlp,
    Scrape,
    Off,
}

impl From<MetricsMode> for MetricsWay {
    fn from(mode: MetricsMode) -> Self {
        match mode {
            MetricsMode::Otlp => Self::Otlp,
            MetricsMode::Scrape => Self::Scrape,
            MetricsMode::Off => Self::Off,
        }
    }
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
    /// The file, where it was named.
    pub(super) fn named(&self, file: &File) -> Option<PathBuf> {
        let of_file = || Some(file.beside(&file.sections.state.file.as_ref()?.0));
        let of_variable = || super::variable("AGNO_OTEL_STATE").map(PathBuf::from);
        self.state.clone().or_else(of_variable).or_else(of_file)
    }

    /// The file, where it was named or where it is by default.
    pub(super) fn path(&self, file: &File) -> Result<PathBuf, NoStateFile> {
        let folder = || {
            let own = super::variable("XDG_STATE_HOME").map(PathBuf::from);
            own.or_else(|| Some(Path::new(&super::variable("HOME")?).join(".local/state")))
        };
        self.named(file).or_else(|| Some(folder()?.join("agno-otel/state.db"))).ok_or(NoStateFile)
    }
}

pub(super) async fn run(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    let flags = arguments.listening.beside(arguments.destination.flags());
    let config = Config { flags: &flags, environment: &super::variable, file };
    let past = past(arguments.history, file.sections.run.history, arguments.since)?;
    let listen = config.listen()?;
    let way = arguments.metrics.map_or(file.sections.run.metrics, MetricsWay::from);
    if way == MetricsWay::Scrape && listen.is_none() {
        return Err(config::Error::Unscraped.into());
    }
    let sources = match arguments.sources.or_those_of(file) {
        // Runs come by themselves.
        Err(_) if listen.is_some() => Vec::new(),
        sources => sources?,
    };
    let settings = arguments.said.settings(config)?;
    let clock = Clock::System;
    let to = || -> anyhow::Result<Delivery> {
        let dead_letters = DeadLetters::Memory(Vec::new());
        Ok(delivery(config.destination()?, Duration::MAX, dead_letters, clock)?)
    };
    let (spans, mut metrics) = (to()?, to()?);
    metrics.set_patience(Duration::ZERO);
    let followers = once::followers(&sources, past)?;
    let state = State::open(&arguments.state.path(file)?)?;
    if state.is_new() {
        let instance = state.instance_id();
        info!(instance, "the state file is new; counters start anew under this service.instance.id");
    }
    let for_first = [("--since", arguments.since.is_some()), ("--history", arguments.history.is_some())];
    for (flag, _) in for_first.into_iter().filter(|(_, is_given)| *is_given) {
        for follower in &followers {
            if state.contact(&follower.key())? != Contact::None {
                let path = follower.name();
                warn!(path = %path.display(), "{flag} changes nothing: the state file knows this source; it is for the first contact, so for a new --state FILE");
            }
        }
    }
    let every = arguments.metrics_every.map(Duration::from_secs);
    let every = every.unwrap_or(file.sections.run.metrics_every);
    let listening = match listen {
        Some(listen) => Some(Listening::start(listen, intake::keep(settings), (way, every)).await?),
        None => None,
    };
    let resource = config.resource(state.instance_id());
    info!(
        state = %state.path().display(), target = spans.target(Signal::Traces), sources = followers.len(),
        "following; stop with Ctrl-C"
    );
    let following = Following {
        state: RefCell::new(state),
        resource,
        settings,
        patience: Patience { parent_ns: END_NS, end_ns: END_NS },
        outbox_limit: arguments.outbox_limit.unwrap_or(file.sections.run.outbox_limit_bytes),
        prices: super::prices(file),
        budgets: file.sections.budget.clone(),
        clock,
    };
    let metrics = (way == MetricsWay::Otlp).then_some((metrics, every));
    let stopped = Box::pin(follow(&following, followers, spans, metrics, listening)).await?;
    info!("stopped; what was counted is kept, and what waits is sent with the next start");
    Ok(if stopped.code == super::INTERRUPTED { Ended::Interrupted } else { Ended::Terminated })
}

/// What is wanted of what is there at first contact.
fn past(flag: Option<HistoryMode>, of_file: History, since_ns: Option<u64>) -> Result<Past, SinceSkipped> {
    let asked = flag.map(History::from);
    let Some(since_ns) = since_ns else { return Ok(asked.unwrap_or(of_file).into()) };
    match asked {
        Some(History::Skip) => Err(SinceSkipped),
        // To name a time is to ask for more than nothing.
        None => Ok(Past::from(of_file.min(History::Traces)).since(since_ns)),
        Some(asked) => Ok(Past::from(asked).since(since_ns)),
    }
}

/// Works until a signal comes, then ends what can be ended in time. A second signal ends it at once.
async fn follow(
    following: &Following,
    mut followers: Vec<Follower>,
    mut spans: Delivery,
    metrics: Option<(Delivery, Duration)>,
    listening: Option<Listening>,
) -> anyhow::Result<Stopped> {
    let (stop, stopping) = watch::channel(false);
    let health = &RefCell::new(Health::default());
    let work = async {
        tokio::try_join!(
            count(following, &mut followers, health, stopping.clone()),
            deliver(following, &mut spans, health, stopping.clone()),
            release_at_intervals(following, metrics, health, stopping.clone()),
            listen::serve(following, listening, health, stopping.clone()),
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
    health: &RefCell<Health>,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut is_full = false;
    loop {
        for follower in &mut *followers {
            follower.look(following).await?;
        }
        let problem = |own: &Follower| Some((own.name().display().to_string(), own.problem()?.to_owned()));
        health.borrow_mut().sources = followers.iter().filter_map(problem).collect();
        while !*stopping.borrow() && following.count_due(followers).await?.families > 0 {}
        if health.borrow().sources.is_empty() && !following.is_full() {
            following.note_read();
        }
        if is_full != following.is_full() {
            is_full = !is_full;
            health.borrow_mut().is_full = is_full;
            if is_full {
                let limit = following.outbox_limit;
                warn!(
                    limit,
                    "the outbox is full; nothing was lost, sources wait until the endpoint takes some"
                );
            } else {
                info!("the outbox has room again");
            }
        }
        let quiet_since_ns = following.clock.now_ns().saturating_sub(release::QUIET_NS);
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
    health: &RefCell<Health>,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut reported = delivery::Sent::default();
    loop {
        let waiting = following.state.borrow().oldest(REQUEST_BYTES)?;
        health.borrow_mut().spans_since = (!waiting.chunks.is_empty()).then(Instant::now);
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
        for refusal in release::note_delivered(&following.books(), delivery, &mut reported, waiting.up_to)? {
            warn!(
                spans = refusal.items,
                "refused; kept as a dead letter: agno-otel dead-letters list says why"
            );
            info!(target: delivery::SERVERS_WORDS, reason = refusal.reason, "refused");
        }
    }
}

/// Releases every series at an interval, and once more at the end.
async fn release_at_intervals(
    following: &Following,
    metrics: Option<(Delivery, Duration)>,
    health: &RefCell<Health>,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let Some((mut delivery, every)) = metrics else { return Ok(()) };
    let mut next = Instant::now();
    loop {
        let is_last = pause(&mut stopping, next.saturating_duration_since(Instant::now())).await;
        next = Instant::now() + every;
        let gave_up = match release::settle(&following.books(), &mut delivery).await? {
            None if is_last => release::last(&following.books(), &mut delivery).await?,
            None => release::newest(&following.books(), &mut delivery).await?,
            unsettled => unsettled,
        };
        let since = health.borrow().metrics_since.unwrap_or_else(Instant::now);
        health.borrow_mut().metrics_since = gave_up.map(|_| since);
        if is_last {
            return Ok(());
        }
    }
}

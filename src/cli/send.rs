//! `send`: delivers the runs of sources once, then exits.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::run::StateFile;
use super::summary::Summary;
use super::{AllRefused, Ended, Said, Sources, once};
use crate::clock::Clock;
use crate::config::{self, Config, Destination, File, Observed};
use crate::delivery::{self, DeadLetters, Delivery, Report};
use crate::export::otlp_json::{self, OtlpJson};
use crate::export::{Exporter, Request, Signal, TlsError};
use crate::framework::Oddities;
use crate::intake::{self, Gathered, Surveyed, Unpriced, count_reading};
use crate::ledger::Ledger;
use crate::model::{Cost, RunKind, Tokens};
use crate::observe::{About, Underway};
use crate::otel::names;
use crate::otel::request::{Chunk, metric_chunks, view_chunks};
use crate::otel::{Resource, Settings, metrics};

/// A request of several traces is sent when the next would make it larger than this: large enough that its overhead is
/// nothing, small enough to be copied a few times.
const FULL_REQUEST_BYTES: usize = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    destination: super::Destination,
    #[command(flatten)]
    said: Said,
    /// Write OTLP/JSON lines to a file instead of sending, as the Collector's file exporter does; - for
    /// standard output.
    #[arg(long, value_name = "otlp-json:FILE", value_parser = parse_to, conflicts_with_all = ["endpoint", "observe"])]
    to: Option<PathBuf>,
    /// Keep what the destination refuses: requests are appended to this file, as lines of OTLP/JSON.
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    dead_letters: Option<PathBuf>,
    /// Count in this state file: what was counted there before is not counted again [env: AGNO_OTEL_STATE]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "dead_letters"])]
    state: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Where the bridge's own telemetry goes, if it is asked for: with the run's, so not beside a file.
    pub(super) fn observed(&self, file: &File) -> Result<Option<Observed>, config::Error> {
        let flags = self.destination.flags();
        let config = Config { flags: &flags, environment: &super::variable, file };
        if self.to.is_some() { Ok(None) } else { config.observed() }
    }
}

/// The way to a destination.
pub(super) fn delivery(
    destination: Destination,
    patience: Duration,
    dead_letters: DeadLetters,
    clock: Clock,
) -> Result<Delivery, TlsError> {
    let (traces, metrics) =
        (Exporter::to(destination.traces, clock)?, Exporter::to(destination.metrics, clock)?);
    Ok(Delivery::new(traces, metrics, patience, dead_letters))
}

fn parse_to(text: &str) -> Result<PathBuf, String> {
    match text.split_once(':') {
        Some(("otlp-json", path)) if !path.is_empty() => Ok(path.into()),
        _ => Err("expected otlp-json:FILE, or otlp-json:- for standard output".to_owned()),
    }
}

/// The file to write is one of those to read.
#[derive(Debug, thiserror::Error)]
#[error("{path} is one of the files to read; it would be written over")]
pub(super) struct OwnSource {
    path: String,
}

pub(super) async fn run(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    let flags = arguments.destination.flags();
    let config = Config { flags: &flags, environment: &super::variable, file };
    let sources = arguments.sources.or_those_of(file)?;
    let of_file = || Some(file.beside(&file.sections.send.dead_letters.as_ref()?.0));
    // In a file, everything is taken.
    let dead_letters = arguments.dead_letters.or_else(of_file).filter(|_| arguments.to.is_none());
    for path in arguments.to.iter().chain(&dead_letters) {
        for sources in &sources {
            refuse_own_source(path, &sources.files())?;
        }
    }
    let settings = arguments.said.settings(config)?;
    let clock = Clock::System;
    let patience = arguments.destination.give_up_after.map(Duration::from_secs);
    let patience = patience.unwrap_or(file.sections.send.give_up_after);
    let named = StateFile { state: arguments.state.clone() }.named(file);
    if let Some(state) = named.filter(|_| arguments.to.is_none()) {
        let sent = Box::pin(once::send(&sources, &state, (config, settings), patience)).await?;
        super::write_out(&text_of(&sent, arguments.json)?)?;
        return sent.ended();
    }
    // What cannot work is said before anything is read.
    let mut way = if let Some(path) = &arguments.to {
        Way::File(OtlpJson::create(path), Box::default())
    } else {
        let dead_letters = dead_letters.as_deref().map(OtlpJson::append);
        let dead_letters = dead_letters.map_or(DeadLetters::Nowhere, DeadLetters::File);
        Way::Endpoint(Box::new(delivery(config.destination()?, patience, dead_letters, clock)?))
    };
    let surveyed = super::survey(&sources).await?.priced(&super::prices(file));
    let resource = super::resource(config);
    let mut outgoing = Outgoing::new(&mut way, &resource, settings, clock);
    let progress = bar(surveyed.len());
    let now_ns = clock.now_ns();
    for family in surveyed.families() {
        let gathered = surveyed.gather(&[family], intake::keep(settings), now_ns).await?;
        outgoing.send(&gathered).await?;
        progress.inc(family.spots().len() as u64);
    }
    progress.finish_and_clear();
    let sent = outgoing.finish(&surveyed).await?;
    let text = text_of(&sent, arguments.json)?;
    if arguments.to.as_deref().is_some_and(|path| path.as_os_str() == "-") {
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes())?;
    } else {
        super::write_out(&text)?;
    }
    sent.ended()
}

fn text_of(sent: &Sent, json: bool) -> serde_json::Result<String> {
    let summary = Summary { sent };
    if json { summary.json() } else { Ok(summary.text()) }
}

/// The same file under another name is the same file, and what SQLite keeps beside a database belongs to it.
fn refuse_own_source(path: &Path, sources: &[PathBuf]) -> Result<(), OwnSource> {
    let target = path.metadata().ok().filter(Metadata::is_file);
    let is_same = |source: &Path| {
        let read = source.metadata().ok();
        read.zip(target.as_ref())
            .is_some_and(|(read, target)| (read.dev(), read.ino()) == (target.dev(), target.ino()))
    };
    let is_inside = |source: &Path| {
        source.is_dir()
            && path
                .canonicalize()
                .ok()
                .zip(source.canonicalize().ok())
                .is_some_and(|(target, folder)| target.starts_with(folder))
    };
    let is_beside = |source: &Path| {
        ["-wal", "-shm", "-journal"].iter().any(|end| {
            let mut name = source.as_os_str().to_owned();
            name.push(end);
            path.as_os_str() == name || is_same(Path::new(&name))
        })
    };
    // A device can be read and written at once.
    if sources
        .iter()
        .any(|source| is_same(source) || is_beside(source) || (target.is_some() && is_inside(source)))
    {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        return Err(OwnSource { path: path.display().to_string() });
    }
    Ok(())
}

/// Where telemetry goes.
#[derive(Debug)]
pub(super) enum Way {
    /// To an endpoint.
    Endpoint(Box<Delivery>),
    /// Into a file, which takes everything.
    File(OtlpJson, Box<Report>),
    /// Nowhere: it was only shown.
    Nowhere,
}

/// What was sent, and what became of it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) records: u64,
    /// Records that were counted before, where there is a state file.
    pub(super) known: Option<u64>,
    /// Runs of agents, teams and workflows.
    pub(super) runs: [usize; 3],
    pub(super) tokens: Tokens,
    pub(super) cost: Option<Cost>,
    pub(super) unpriced: Unpriced,
    pub(super) traces: u64,
    pub(super) spans: u64,
    pub(super) series: usize,
    pub(super) sessions: usize,
    pub(super) oddities: Oddities,
    /// Where spans and metrics went.
    pub(super) targets: Vec<String>,
    pub(super) report: Report,
    pub(super) gave_up: Option<delivery::Error>,
}

/// Telemetry on its way: spans family by family, metrics at the end, so that an exemplar never points at a trace that is
/// not there yet.
pub(super) struct Outgoing<'o> {
    way: &'o mut Way,
    resource: &'o Resource,
    settings: Settings,
    clock: Clock,
    ledger: Ledger,
    /// What of the next request is there already.
    request: Vec<Chunk>,
    bytes: usize,
    underway: Underway,
    sent: Sent,
}

impl<'o> Outgoing<'o> {
    pub(super) fn new(way: &'o mut Way, resource: &'o Resource, settings: Settings, clock: Clock) -> Self {
        let sent = Sent { targets: way.targets(), ..Sent::default() };
        let (ledger, request, underway) = (Ledger::default(), Vec::new(), Underway::default());
        Self { way, resource, settings, clock, ledger, request, bytes: 0, underway, sent }
    }

    /// Counts the runs of a family and sends their traces, each made when it is its turn.
    pub(super) async fn send(&mut self, gathered: &Gathered) -> anyhow::Result<()> {
        for trace in gathered.traces(self.settings) {
            self.sent.traces += 1;
            let about = About::of(&trace);
            for chunk in view_chunks(&trace, self.resource) {
                self.sent.spans += chunk.items;
                if self.bytes > 0 && self.bytes + chunk.bytes.len() > FULL_REQUEST_BYTES {
                    self.flush().await?;
                }
                self.bytes += chunk.bytes.len();
                self.request.push(chunk);
                self.underway.holds(&about);
            }
        }
        gathered.count(&mut self.ledger, self.settings);
        // Nothing of another family is theirs.
        self.ledger.forget_runs();
        self.sent.oddities.merge(&gathered.oddities);
        self.sent.tokens += gathered.tokens();
        self.sent.cost = Cost::sum(self.sent.cost.into_iter().chain(gathered.cost()));
        intake::add_unpriced(&mut self.sent.unpriced, &gathered.unpriced());
        let kinds = [RunKind::Agent, RunKind::Team, RunKind::Workflow];
        for (count, kind) in self.sent.runs.iter_mut().zip(kinds) {
            *count += gathered.runs(kind);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), delivery::Error> {
        let request = std::mem::take(&mut self.request);
        self.bytes = 0;
        let taken = self.way.take(Signal::Traces, &request, &mut self.sent.gave_up);
        self.underway.deliver(Signal::Traces, taken).await
    }

    /// Sends what is left, and the metrics.
    pub(super) async fn finish(mut self, surveyed: &Surveyed) -> anyhow::Result<Sent> {
        self.flush().await?;
        let Self { way, resource, clock, mut ledger, mut underway, mut sent, .. } = self;
        sent.records = surveyed.records;
        sent.oddities.merge(&surveyed.oddities);
        count_reading(&mut ledger, sent.records, &sent.oddities);
        way.count(&mut ledger);
        intake::take_leave(&mut ledger);
        let released = ledger.release(clock.now_ns());
        sent.series = released.len();
        for chunk in metric_chunks(metrics::metrics(&released), resource) {
            let taken = way.take(Signal::Metrics, std::slice::from_ref(&chunk), &mut sent.gave_up);
            underway.deliver(Signal::Metrics, taken).await?;
        }
        sent.sessions = ledger.session_count();
        sent.oddities.merge(&ledger.oddities());
        sent.report = way.end()?;
        Ok(sent)
    }
}

impl Way {
    fn targets(&self) -> Vec<String> {
        match self {
            Self::Endpoint(delivery) => {
                [Signal::Traces, Signal::Metrics].map(|signal| delivery.target(signal)).into()
            }
            Self::File(file, _) => vec![file.name()],
            Self::Nowhere => Vec::new(),
        }
    }

    /// Takes one request. Once a server was given up on, what would go to it is passed over.
    async fn take(
        &mut self,
        signal: Signal,
        chunks: &[Chunk],
        gave_up: &mut Option<delivery::Error>,
    ) -> Result<(), delivery::Error> {
        let request = Request { signal, chunks };
        match self {
            _ if request.is_empty() => Ok(()),
            Self::Nowhere => Ok(()),
            Self::File(file, report) => {
                report.of_mut(signal).delivered += 1;
                Ok(file.write(&request)?)
            }
            Self::Endpoint(delivery) => {
                let is_tried = delivery.report.of(signal).undelivered == 0
                    && (gave_up.is_none() || !delivery.has_one_server());
                if !is_tried {
                    delivery.pass_over(signal);
                    return Ok(());
                }
                match delivery.deliver(&request).await {
                    Err(error @ delivery::Error::GaveUp { .. }) => {
                        gave_up.get_or_insert(error);
                        Ok(())
                    }
                    ended => ended,
                }
            }
        }
    }

    /// Counts what became of the requests so far; spans were all sent by now.
    fn count(&self, ledger: &mut Ledger) {
        if let Self::Endpoint(delivery) = self {
            let sent = &delivery.report.traces;
            for (outcome, count) in &sent.attempts {
                ledger.set(
                    &names::BRIDGE_ATTEMPTS,
                    vec![(names::BRIDGE_OUTCOME, (*outcome).to_owned())],
                    *count,
                );
            }
            for (reason, count) in [("refused", sent.refused_items), ("rejected", sent.rejected)] {
                ledger.set(&names::BRIDGE_DROPPED, vec![(names::BRIDGE_REASON, reason.to_owned())], count);
            }
        }
        let folded = ledger.oddities().count(crate::framework::Oddity::FoldedValue);
        ledger.set(&names::BRIDGE_OVERFLOW, Vec::new(), folded);
        // Itself is one of them.
        let series = ledger.series_count() as u64 + 1;
        ledger.set(&names::BRIDGE_SERIES, Vec::new(), series);
    }

    fn end(&mut self) -> Result<Report, otlp_json::Error> {
        match self {
            Self::Endpoint(delivery) => Ok(std::mem::take(&mut delivery.report)),
            Self::File(file, report) => file.flush().map(|()| std::mem::take(report.as_mut())),
            Self::Nowhere => Ok(Report::default()),
        }
    }
}

impl Sent {
    /// How the command ends after the summary: refusals are never silently a success.
    pub(super) fn ended(self) -> anyhow::Result<Ended> {
        if let Some(error) = self.gave_up {
            return Err(error.into());
        }
        let report = &self.report;
        let refused = report.sum(|sent| sent.refused);
        if report.sum(|sent| sent.delivered) == 0 && refused > 0 {
            let which = usize::from(report.traces.refused == 0);
            let target = self.targets.into_iter().nth(which).unwrap_or_default();
            return Err(AllRefused { target, reasons: report.reasons.join("; ") }.into());
        }
        let left_out = self.oddities.iter().any(|(oddity, _)| oddity.leaves_out_record());
        let some = refused + report.sum(|sent| sent.rejected) > 0 || left_out;
        Ok(if some { Ended::SomeRefused } else { Ended::Done })
    }
}

pub(super) fn bar(records: usize) -> ProgressBar {
    let progress = ProgressBar::with_draw_target(Some(records as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} records ({elapsed})");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress
}

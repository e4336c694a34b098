//! `send`: delivers the runs of sources once, then exits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::summary::{Delivered, Summary};
use super::{AllRefused, Ended, Said, Sources};
use crate::clock::Clock;
use crate::config::{Config, Destination};
use crate::delivery::Delivery;
use crate::export::otlp_json::OtlpJson;
use crate::export::{Exporter, Request, Signal, TlsError};
use crate::intake::Gathered;
use crate::ledger::Ledger;
use crate::otel::request::{Chunk, join, metric_chunks, trace_chunks};
use crate::otel::{Resource, Settings, metrics};

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
    #[arg(long, value_name = "otlp-json:FILE", value_parser = parse_to, conflicts_with = "endpoint")]
    to: Option<PathBuf>,
    /// Keep what the destination refuses: requests are appended to this file, as lines of OTLP/JSON.
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    dead_letters: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// The way to a destination.
pub(super) fn delivery(
    destination: Destination,
    patience: Duration,
    dead_letters: Option<OtlpJson>,
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

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let flags = arguments.destination.flags();
    let config = Config { flags: &flags, environment: &super::variable };
    for path in arguments.to.iter().chain(&arguments.dead_letters) {
        refuse_own_source(path, &arguments.sources.paths)?;
    }
    let settings = arguments.said.settings(config)?;
    let clock = Clock::System;
    // What cannot work is said before anything is read.
    let delivery = if arguments.to.is_none() {
        let patience = Duration::from_secs(arguments.destination.give_up_after);
        let dead_letters = arguments.dead_letters.as_deref().map(OtlpJson::append).transpose()?;
        Some(delivery(config.destination()?, patience, dead_letters, clock)?)
    } else {
        None
    };
    let gathered = super::gather(&arguments.sources, super::keep(settings), clock).await?;
    let outgoing = Outgoing::of(&gathered, &super::resource(config), settings, clock);
    let delivered = match (&arguments.to, delivery) {
        (Some(path), _) => outgoing.write(path)?,
        (None, Some(delivery)) => outgoing.send(delivery).await?,
        (None, None) => Delivered::nowhere(),
    };
    let summary = Summary::of(&gathered, &outgoing, delivered);
    let text = if arguments.json { summary.json()? } else { summary.text() };
    if arguments.to.as_deref().is_some_and(|path| path.as_os_str() == "-") {
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes())?;
    } else {
        super::write_out(&text)?;
    }
    Ok(summary.ended())
}

/// The same file under another name is the same file.
fn refuse_own_source(path: &Path, sources: &[PathBuf]) -> Result<(), OwnSource> {
    let Ok(target) = path.canonicalize() else { return Ok(()) };
    let is_read = |source: &PathBuf| source.canonicalize().is_ok_and(|source| target.starts_with(source));
    // A device can be read and written at once.
    if target.is_file() && sources.iter().any(is_read) {
        return Err(OwnSource { path: target.display().to_string() });
    }
    Ok(())
}

/// Everything there is to send, encoded.
pub(super) struct Outgoing {
    pub(super) chunks: Vec<Chunk>,
    pub(super) traces: usize,
    pub(super) metrics: Vec<Chunk>,
    pub(super) series: usize,
    pub(super) sessions: usize,
    pub(super) oddities: crate::framework::Oddities,
}

impl Outgoing {
    pub(super) fn of(gathered: &Gathered, resource: &Resource, settings: Settings, clock: Clock) -> Self {
        let traces = gathered.spans(settings);
        let count = traces.len();
        let chunks = traces.into_iter().flat_map(|trace| trace_chunks(trace.spans, resource)).collect();
        let mut ledger = Ledger::default();
        gathered.count(&mut ledger, settings);
        let released = ledger.release(clock.now_ns());
        let metrics = metric_chunks(metrics::metrics(&released), resource);
        let mut oddities = gathered.oddities.clone();
        oddities.merge(&ledger.oddities);
        Self {
            chunks,
            traces: count,
            metrics,
            series: released.len(),
            sessions: ledger.session_count(),
            oddities,
        }
    }

    pub(super) fn spans(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.items).sum()
    }

    fn requests(&self) -> impl Iterator<Item = Request<'_>> {
        let joined = join(&self.chunks).into_iter().filter_map(|range| self.chunks.get(range));
        let traces = joined.map(|chunks| Request { signal: Signal::Traces, chunks });
        traces.chain(self.metrics.chunks(1).map(|chunks| Request { signal: Signal::Metrics, chunks }))
    }

    /// Spans first and metrics last, so that an exemplar never points at a trace that is not there yet.
    pub(super) async fn send(&self, mut delivery: Delivery) -> anyhow::Result<Delivered> {
        let progress = bar(self.requests().count());
        for request in self.requests() {
            progress.set_message(delivery.target(request.signal));
            delivery.deliver(&request).await?;
            progress.inc(1);
        }
        progress.finish_and_clear();
        let report = delivery.report.clone();
        if report.delivered == 0 && report.refused > 0 {
            let target = delivery.target(Signal::Traces);
            return Err(AllRefused { target, reasons: report.reasons.join("; ") }.into());
        }
        Ok(Delivered { to: vec![delivery.target(Signal::Traces), delivery.target(Signal::Metrics)], report })
    }

    fn write(&self, path: &Path) -> anyhow::Result<Delivered> {
        let mut file = OtlpJson::create(path)?;
        let mut report = crate::delivery::Report::default();
        for request in self.requests() {
            file.write(&request)?;
            report.delivered += 1;
        }
        file.flush()?;
        Ok(Delivered { to: vec![path.display().to_string()], report })
    }
}

fn bar(requests: usize) -> ProgressBar {
    let progress = ProgressBar::with_draw_target(Some(requests as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} requests to {msg} ({elapsed})");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress
}

//! `send`: delivers the runs of sources once, then exits.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::outgoing::{Outgoing, Sent, Way};
use super::run::StateFile;
use super::summary::Summary;
use super::{Ended, Said, Sources, guide, once};
use crate::clock::Clock;
use crate::config::{self, Config, Destination, File, Observed};
use crate::delivery::{DeadLetters, Delivery};
use crate::export::otlp_json::OtlpJson;
use crate::export::{Exporter, TlsError};
use crate::intake;

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
#[error("{path} is one of the files to read, and would be written over; name another")]
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
        super::write_either(&text_of(&sent, arguments.json)?, arguments.json)?;
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
    let (sent, _) = outgoing.finish(&surveyed).await?;
    let text = text_of(&sent, arguments.json)?;
    if arguments.to.as_deref().is_some_and(|path| path.as_os_str() == "-") {
        std::io::Write::write_all(&mut std::io::stderr(), super::fit(&text, arguments.json).as_bytes())?;
    } else {
        super::write_either(&text, arguments.json)?;
    }
    if sent.gave_up.is_none() && arguments.to.is_none() && !arguments.json {
        guide::next(
            "agno-otel run follows a source, and counts each run once for ever; a second send counts again",
        );
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

pub(super) fn bar(records: usize) -> ProgressBar {
    let progress = ProgressBar::with_draw_target(Some(records as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} records ({elapsed})");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress
}

//! `demo`: a made-up day of agents, shown, sent where an endpoint is set, or written to a file.

mod day;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::outgoing::{Outgoing, Way};
use super::send::delivery;
use super::summary::Summary;
use super::{Destination, Ended, Said, Sources};
use crate::clock::Clock;
use crate::config::{self, Config, File, Observed};
use crate::delivery::DeadLetters;
use crate::intake::{self, Gathered};
use crate::otel::Resource;

/// Written by Agno 3.1 against a mock provider: `examples/README.md`.
const DATABASE: &[u8] = include_bytes!("../../../examples/demo.db");
/// Marks everything the demo sends: its environment, and its service where no other was asked for by flag. A variable's is
/// that of real agents, whose spend this is not.
const DEMO: &str = "demo";
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a session's name tells the days of two invocations apart.
const DAY_DIGITS: usize = 4;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    destination: Destination,
    #[command(flatten)]
    said: Said,
    /// Only write the day's database, as Agno wrote it, to this new file: for show, bill and the like.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["endpoint", "json", "observe"])]
    write: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Where the bridge's own telemetry goes, if it is asked for: with the run's, so nowhere without an endpoint.
    pub(super) fn observed(&self, file: &File) -> Result<Option<Observed>, config::Error> {
        let flags = self.destination.flags();
        let config = Config { flags: &flags, environment: &super::variable, file };
        if config.names_endpoint() && self.write.is_none() { config.observed() } else { Ok(None) }
    }
}

/// The file to write is there already, or cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path} (a file that exists is not written over)")]
struct NotWritten {
    path: String,
    source: std::io::Error,
}

pub(super) async fn run(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    if let Some(path) = &arguments.write {
        write(path)?;
        super::write_painted(&day::written(path))?;
        return Ok(Ended::Done);
    }
    let flags = arguments.destination.flags();
    let config = Config { flags: &flags, environment: &super::variable, file };
    let destination = if config.names_endpoint() { Some(config.destination()?) } else { None };
    let resource = marked(super::resource(config), flags.service_name.is_some());
    let folder = Folder::create().context("cannot unpack the demo's database")?;
    let sources = Sources { paths: vec![folder.database()], sessions_table: None, runs_table: None };
    let clock = Clock::System;
    let settings = arguments.said.settings(config)?;
    let surveyed = super::survey(&[sources]).await?;
    let families: Vec<_> = surveyed.families().collect();
    let mut gathered = surveyed.gather(&families, intake::keep(settings), clock.now_ns()).await?;
    drop(folder);
    gathered.restamp(clock.now_ns());
    let is_sent = destination.is_some();
    let mut way = match destination {
        Some(destination) => {
            another_day(&mut gathered);
            let patience = arguments.destination.give_up_after.map_or(PATIENCE, Duration::from_secs);
            Way::Endpoint(Box::new(delivery(destination, patience, DeadLetters::Nowhere, clock)?))
        }
        None => Way::Nowhere,
    };
    let mut outgoing = Outgoing::new(&mut way, &resource, settings, clock);
    outgoing.send(&gathered).await?;
    let (sent, _) = outgoing.finish(&surveyed).await?;
    let summary = Summary { sent: &sent };
    if arguments.json {
        super::write_either(&summary.json()?, true)?;
    } else if is_sent {
        super::write_out(&day::sent(&gathered, &summary.text()))?;
        if sent.gave_up.is_none() {
            super::write_out(&day::where_to_look(&gathered, &resource))?;
        }
    } else {
        super::write_painted(&day::shown(&gathered, settings))?;
    }
    sent.ended()
}

/// The same ids again would be two versions of each trace, beside counters that count twice: each invocation is an instance
/// of its own.
fn another_day(gathered: &mut Gathered) {
    let day = uuid::Uuid::new_v4().simple().to_string();
    let day: String = day.chars().take(DAY_DIGITS).collect();
    gathered.rename(|| uuid::Uuid::new_v4().to_string(), |session| format!("{session}-{day}"));
}

/// Whose telemetry it is: the demo's.
fn marked(mut resource: Resource, has_name: bool) -> Resource {
    let marks = [("service.name", has_name), ("deployment.environment.name", false)];
    for (name, _) in marks.into_iter().filter(|(_, is_said)| !is_said) {
        resource.attributes.retain(|(known, _)| known != name);
        resource.attributes.push((name.to_owned(), DEMO.to_owned()));
    }
    resource
}

fn write(path: &Path) -> Result<(), NotWritten> {
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    written
        .and_then(|mut file| file.write_all(DATABASE))
        .map_err(|source| NotWritten { path: path.display().to_string(), source })
}

/// A folder of our own for the database, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("agno-otel-demo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder)?;
        let folder = Self(folder);
        std::fs::write(folder.database(), DATABASE)?;
        Ok(folder)
    }

    fn database(&self) -> PathBuf {
        self.0.join("demo.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing depends on it; the system's temporary folder is cleaned anyway.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

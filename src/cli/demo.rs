//! `demo`: a recorded example, shown, and sent where an endpoint is set.

use std::time::Duration;

use anyhow::Context as _;

use super::outgoing::{Outgoing, Way};
use super::send::delivery;
use super::summary::Summary;
use super::{Ended, Own, Said, Sources, show};
use crate::clock::Clock;
use crate::config::{self, Config, File, Flags, Observed};
use crate::delivery::DeadLetters;
use crate::intake;

/// Written by Agno 3.1 against a mock provider: `examples/README.md`.
const DATABASE: &[u8] = include_bytes!("../../examples/demo.db");
/// Marks everything the demo sends.
const ENVIRONMENT: &str = "demo";
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    said: Said,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    own: Own,
}

impl Arguments {
    /// Where the bridge's own telemetry goes, if it is asked for: with the run's, so nowhere without an endpoint.
    pub(super) fn observed(&self, file: &File) -> Result<Option<Observed>, config::Error> {
        let flags = self.flags();
        let config = Config { flags: &flags, environment: &super::variable, file };
        if config.names_endpoint() { config.observed() } else { Ok(None) }
    }

    fn flags(&self) -> Flags {
        Flags { observe: self.own.observe, ..Flags::default() }
    }
}

pub(super) async fn run(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    let flags = arguments.flags();
    let config = Config { flags: &flags, environment: &super::variable, file };
    let destination = if config.names_endpoint() { Some(config.destination()?) } else { None };
    let mut resource = super::resource(config);
    resource.attributes.retain(|(name, _)| name != "deployment.environment.name");
    resource.attributes.push(("deployment.environment.name".to_owned(), ENVIRONMENT.to_owned()));
    let folder = Folder::create().context("cannot unpack the demo's database")?;
    let sources = Sources { paths: vec![folder.database()], sessions_table: None, runs_table: None };
    let clock = Clock::System;
    let settings = arguments.said.settings(config)?;
    let surveyed = super::survey(&[sources]).await?;
    let families: Vec<_> = surveyed.families().collect();
    let mut gathered = surveyed.gather(&families, intake::keep(settings), clock.now_ns()).await?;
    drop(folder);
    gathered.restamp(clock.now_ns());
    let largest = gathered.traces(settings).max_by_key(|trace| trace.spans.len());
    if let Some(trace) = largest.filter(|_| !arguments.json) {
        super::write_painted(&show::one(&trace.into()))?;
    }
    let mut way = match destination {
        Some(destination) => {
            Way::Endpoint(Box::new(delivery(destination, PATIENCE, DeadLetters::Nowhere, clock)?))
        }
        None => Way::Nowhere,
    };
    let mut outgoing = Outgoing::new(&mut way, &resource, settings, clock);
    outgoing.send(&gathered).await?;
    let (sent, _) = outgoing.finish(&surveyed).await?;
    let summary = Summary { sent: &sent };
    super::write_out(&if arguments.json { summary.json()? } else { summary.text() })?;
    if matches!(way, Way::Nowhere) && !arguments.json {
        let hint = "\nSet OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 to send it to a Collector.\n\
                    Your own runs: agno-otel show agno.db, agno-otel send agno.db\n";
        super::write_out(hint)?;
    }
    sent.ended()
}

/// A folder of our own for the database, gone when it is dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn create() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("agno-otel-demo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder)?;
        let folder = Self(folder);
        std::fs::write(folder.database(), DATABASE)?;
        Ok(folder)
    }

    fn database(&self) -> std::path::PathBuf {
        self.0.join("demo.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing depends on it; the system's temporary folder is cleaned anyway.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

//! `plan`: what would be sent. Sends nothing.
//!
//! It is `send` with a scale in place of an endpoint, so that what it says is what `send` does.

mod scale;
mod text;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use scale::Scale;
use scale::{Weight, bytes};

use super::outgoing::{Outgoing, Sent, Way};
use super::send::bar;
use super::{Ended, Said, Sources, guide};
use crate::clock::Clock;
use crate::config::{Config, File, Flags, History};
use crate::framework::Keep;
use crate::ledger::{Ledger, Released};
use crate::otel::census::{Kept, Words};
use crate::otel::request::{metric_chunks, view_chunks};
use crate::otel::{Mode, Policy, Resource, Settings, metrics};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    said: Said,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// What would be sent.
struct Plan {
    sent: Sent,
    scale: Scale,
    content: ContentLeft,
    kept: Kept,
    series: BTreeMap<&'static str, Family>,
    labels: Vec<Label>,
    /// What `run` sends each time while nothing moves.
    at_rest: Weight,
    settings: Settings,
    /// What `run` does with runs that were there before it.
    history: History,
}

/// What of content leaves with all of it allowed.
#[derive(Default)]
struct ContentLeft {
    words: Words,
    /// Bytes of spans.
    bytes: u64,
}

/// The series of one metric.
#[derive(Default)]
struct Family {
    series: u64,
    labels: BTreeSet<&'static str>,
}

/// An attribute of series.
struct Label {
    name: &'static str,
    values: usize,
    /// How many more are counted as `other`.
    folded: usize,
}

pub(super) async fn run(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    super::environment::expect_utf8()?;
    let flags = Flags::default();
    let config = Config { flags: &flags, environment: &super::variable, file };
    let settings = arguments.said.settings(config)?;
    let sources = arguments.sources.or_those_of(file)?;
    let resource = super::resource(config);
    let surveyed = super::survey(&sources).await?.priced(&super::prices(file));
    let clock = Clock::System;
    let mut way = Way::Scale(Box::default());
    let mut outgoing = Outgoing::new(&mut way, &resource, settings, clock);
    let (mut content, mut kept) = (ContentLeft::default(), Kept::default());
    let progress = bar(surveyed.len());
    let now_ns = clock.now_ns();
    for family in surveyed.families() {
        // With content, which decides nothing, to say what of it stays.
        let gathered = surveyed.gather(&[family], Keep::Content, now_ns).await?;
        outgoing.send(&gathered).await?;
        gathered.forest.runs.iter().for_each(|run| kept.add(run));
        let limit_bytes = settings.content.limit_bytes();
        let full = Settings { content: Policy::new(Mode::Full, limit_bytes), ..settings };
        for trace in gathered.traces(full) {
            content.bytes += bytes(&view_chunks(&trace, &resource));
            content.words.add(&trace);
        }
        progress.inc(family.spots().len() as u64);
    }
    progress.finish_and_clear();
    let (sent, mut ledger) = outgoing.finish(&surveyed).await?;
    let labels = ledger.labels().map(|(name, values, folded)| Label { name, values, folded }).collect();
    let (series, at_rest) = again(&mut ledger, &resource, clock.now_ns());
    let scale = match way {
        Way::Scale(scale) => *scale,
        Way::Endpoint(_) | Way::File(..) | Way::Nowhere => Scale::default(),
    };
    let history = file.sections.run.history;
    let plan = Plan { sent, scale, content, kept, series, labels, at_rest, settings, history };
    let text = if arguments.json { plan.json()? } else { plan.text(super::columns()) };
    super::write_either(&text, arguments.json)?;
    if !arguments.json {
        guide::next("agno-otel send sends this; agno-otel run follows what comes");
    }
    plan.sent.ended()
}

/// Series released once more, by their metrics, and what they weigh when none of them has moved.
fn again(ledger: &mut Ledger, resource: &Resource, now_ns: u64) -> (BTreeMap<&'static str, Family>, Weight) {
    let released = ledger.release(now_ns);
    let mut families = BTreeMap::<&'static str, Family>::new();
    for Released { key, .. } in &released {
        let family = families.entry(key.metric.name).or_default();
        family.series += 1;
        family.labels.extend(key.attributes.iter().map(|(name, _)| *name));
    }
    let mut weight = Weight::default();
    for chunk in metric_chunks(metrics::metrics(&released), resource) {
        weight.add(std::slice::from_ref(&chunk));
    }
    (families, weight)
}

//! `bill`: what runs cost, taken apart into tokens × price = amount. Sends nothing.

mod text;

use super::{Ended, Sources};
use crate::clock::Clock;
use crate::config::{File, when};
use crate::framework::Keep;
use crate::intake::Gathered;
use crate::model::{Run, Trace};
use crate::money::Prices;
use crate::money::bill::Bill;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Only the run with this id, with what it started; also by the beginning of its id.
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    run: Option<String>,
    /// Only the runs of this session.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only the own runs of this agent, team or workflow, by its name or id.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only runs that began then or later: a time (2026-11-24T09:30:00Z), a date, or a length of time before now (12h, 7d)
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| when::parse(text, Clock::System))]
    since: Option<u64>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// No run is what was asked for.
#[derive(Debug, thiserror::Error)]
#[error(
    "no run is what was asked for (of {runs} runs); --run takes an id or its beginning, --session an id, --agent a name or an id"
)]
struct NoSuchRun {
    runs: usize,
}

pub(super) async fn run(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    let prices = file.sections.prices();
    let now_ns = Clock::System.now_ns();
    let now_s = i64::try_from(now_ns / 1_000_000_000).unwrap_or(i64::MAX);
    let surveyed = super::survey(&arguments.sources.clone().or_those_of(file)?).await?;
    let wanted = Wanted::of(&arguments, now_s);
    let (mut runs, mut oddities) = (0, surveyed.oddities.clone());
    // An id that fits wins over those that begin so.
    let (mut fits, mut begins) = (Bill::default(), Bill::default());
    for family in surveyed.families() {
        let gathered = surveyed.gather(&[family], Keep::Figures, now_ns).await?;
        runs += gathered.forest.runs.len();
        oddities.merge(&gathered.oddities);
        for trace in &gathered.forest.traces {
            wanted.add(&mut fits, &gathered, trace, &prices, true);
            wanted.add(&mut begins, &gathered, trace, &prices, false);
        }
    }
    let bill = if fits.runs > 0 { fits } else { begins };
    if bill.runs == 0 && runs > 0 {
        return Err(NoSuchRun { runs }.into());
    }
    let text = if arguments.json { text::json(&bill)? } else { text::table(&bill) };
    super::write_either(&text, arguments.json)?;
    for (oddity, count) in oddities.iter() {
        tracing::warn!(count, "{}", oddity.meaning());
    }
    Ok(Ended::Done)
}

/// Which runs are on the bill.
#[derive(Debug)]
struct Wanted<'a> {
    arguments: &'a Arguments,
    /// The run's id, as ids are compared.
    run: Option<String>,
    since_s: Option<i64>,
    now_s: i64,
}

/// An id without what differs between its forms: a trace id is a run id without dashes.
fn plain_id(id: &str) -> String {
    id.replace('-', "").to_lowercase()
}

impl<'a> Wanted<'a> {
    fn of(arguments: &'a Arguments, now_s: i64) -> Self {
        let since_s =
            arguments.since.map(|since_ns| i64::try_from(since_ns / 1_000_000_000).unwrap_or(i64::MAX));
        Self { arguments, run: arguments.run.as_deref().map(plain_id), since_s, now_s }
    }

    /// Adds the runs of a trace that are wanted: those whose id fits or begins so, with what they started.
    fn add(&self, bill: &mut Bill, gathered: &Gathered, trace: &Trace, prices: &Prices, fits: bool) {
        let mut is_named = Vec::with_capacity(trace.nodes.len());
        for node in &trace.nodes {
            let Some(run) = gathered.forest.runs.get(node.run) else {
                is_named.push(false);
                continue;
            };
            let is_under =
                node.holder.node().and_then(|parent| is_named.get(parent).copied()).unwrap_or(false);
            let is_it = self.run.as_deref().is_none_or(|wanted| {
                let id = plain_id(&run.key.run_id);
                if fits { id == wanted } else { id.starts_with(wanted) }
            });
            is_named.push(is_under || is_it);
            if (is_under || is_it) && self.is_wanted(run) {
                bill.add(run, prices, self.now_s);
            }
        }
    }

    fn is_wanted(&self, run: &Run) -> bool {
        let Arguments { session, agent, .. } = self.arguments;
        let at_s = run.created_at_s.or(run.stored_at_s);
        let is_then = self.since_s.is_none_or(|since_s| at_s.is_some_and(|at_s| at_s >= since_s));
        let is_theirs = agent.as_deref().is_none_or(|name| {
            run.entity_name.as_deref() == Some(name) || run.entity_id.as_deref() == Some(name)
        });
        let is_there = session.as_deref().is_none_or(|id| run.session_id.as_deref() == Some(id));
        is_then && is_theirs && is_there
    }
}

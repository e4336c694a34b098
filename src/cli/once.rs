//! `send` with a state file: what was counted before is not counted again, and what cannot be delivered waits there.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use super::outgoing::Sent;
use super::run::{END_NS, REQUEST_BYTES};
use super::send::{bar, delivery};
use super::{NotFollowed, Sources, no_runs};
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::{self, DeadLetters, Delivery};
use crate::export::{Request, Signal};
use crate::follow::{Follower, Following, Look, Tally};
use crate::framework::Oddities;
use crate::otel::Settings;
use crate::release;
use crate::source::{Location, Tables};
use crate::state::State;
use crate::state::counted::Patience;
use crate::state::past::Past;
use crate::state::records::History;

/// How often sessions are looked at again that are being written to, and how long after.
const AGAIN: usize = 5;
const PUT_OFF: Duration = Duration::from_millis(1_100);

/// Sends the runs of sources that were not sent before, and the metrics of all that was ever counted.
pub(super) async fn send(
    sources: &[Sources],
    state: &Path,
    (config, settings): (Config<'_>, Settings),
    patience: Duration,
) -> anyhow::Result<Sent> {
    let clock = Clock::System;
    let to = || -> anyhow::Result<Delivery> {
        Ok(delivery(config.destination()?, patience, DeadLetters::Memory(Vec::new()), clock)?)
    };
    let (mut spans, mut metrics) = (to()?, to()?);
    let mut followers = followers(sources, History::Count)?;
    let state = State::open(state)?;
    let following = Following {
        resource: config.resource(state.instance_id()),
        state: RefCell::new(state),
        settings,
        // A parent that is in none of the sources will not come. An end may be seen by another `send`, or a `run`.
        patience: Patience { parent_ns: 0, end_ns: END_NS },
        outbox_limit: u64::MAX,
        prices: super::prices(config.file),
        budgets: config.file.sections.budget.clone(),
        clock,
    };
    let mut look = look(&following, &mut followers).await?;
    let (mut tally, mut gave_up) = count(&following, &mut followers, &mut spans, clock.now_ns()).await?;
    // What was written to while it was read is read again.
    for _ in 0..AGAIN {
        if tally.put_off == 0 {
            break;
        }
        tokio::time::sleep(PUT_OFF).await;
        tally.put_off = 0;
        look.merge(&self::look(&following, &mut followers).await?);
        let (later, failed) = count(&following, &mut followers, &mut spans, clock.now_ns()).await?;
        tally.merge(&later);
        gave_up = gave_up.or(failed);
    }
    if tally.put_off > 0 {
        tracing::warn!(
            families = tally.put_off,
            "sessions that are being written to were left out; send again, or use run"
        );
    }
    let now_ns = clock.now_ns();
    while following.state.borrow_mut().close_sessions(now_ns)? > 0 {}
    let without_metrics = match release::settle(&following.books(), &mut metrics).await? {
        None => release::last(&following.books(), &mut metrics).await?,
        unsettled => unsettled,
    };
    gave_up = gave_up.or(without_metrics);
    let mut oddities = look.oddities.clone();
    oddities.merge(&tally.oddities);
    let mut report = std::mem::take(&mut spans.report);
    report.metrics = metrics.report.metrics.clone();
    report.reasons.append(&mut metrics.report.reasons);
    report.warnings.append(&mut metrics.report.warnings);
    let series = following.state.borrow_mut().ledger().series_count();
    Ok(Sent {
        records: look.records,
        known: Some(look.known),
        runs: tally.runs,
        tokens: tally.tokens,
        cost: tally.cost,
        unpriced: tally.unpriced,
        traces: tally.traces,
        spans: tally.spans,
        series,
        sessions: tally.sessions,
        oddities,
        targets: [Signal::Traces, Signal::Metrics].map(|signal| spans.target(signal)).into(),
        report,
        gave_up,
    })
}

/// Sources that can be read again.
pub(super) fn followers(sources: &[Sources], past: impl Into<Past>) -> anyhow::Result<Vec<Follower>> {
    let (mut followers, past) = (Vec::new(), past.into());
    for sources in sources {
        let tables = Tables { sessions: sources.sessions_table.clone(), runs: sources.runs_table.clone() };
        for path in &sources.paths {
            match Location::of(path) {
                Location::Stdin => return Err(NotFollowed.into()),
                location => followers.push(Follower::new(location, tables.clone(), past)?),
            }
        }
    }
    Ok(followers)
}

async fn look(following: &Following, followers: &mut [Follower]) -> anyhow::Result<Look> {
    let mut all = Look::default();
    for follower in followers {
        let look = follower.look_once(following).await?;
        if look.records > 0 && look.runs == 0 && look.known == 0 {
            no_runs(&follower.name(), &Oddities::default(), &look.oddities)?;
        }
        all.merge(&look);
    }
    Ok(all)
}

/// Counts what is due and delivers what waits, in turns, so that little waits. Once the endpoint was given up on, the rest
/// is counted and waits.
async fn count(
    following: &Following,
    followers: &mut [Follower],
    spans: &mut Delivery,
    now_ns: u64,
) -> anyhow::Result<(Tally, Option<delivery::Error>)> {
    let (mut all, mut gave_up) = (Tally::default(), None);
    let mut reported = spans.report.traces.clone();
    let due = following.state.borrow().due_count(now_ns)?;
    let progress = bar(usize::try_from(due).unwrap_or(usize::MAX));
    loop {
        let tally = following.count_due(followers).await?;
        all.merge(&tally);
        progress.inc(tally.families);
        while gave_up.is_none() {
            let waiting = following.state.borrow().oldest(REQUEST_BYTES)?;
            if waiting.chunks.is_empty() {
                break;
            }
            let request = Request { signal: Signal::Traces, chunks: &waiting.chunks };
            match spans.deliver(&request).await {
                Ok(()) => {
                    release::note_delivered(&following.books(), spans, &mut reported, waiting.up_to)?;
                }
                Err(error @ delivery::Error::GaveUp { .. }) => gave_up = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        if tally.families == 0 {
            progress.finish_and_clear();
            return Ok((all, gave_up));
        }
    }
}

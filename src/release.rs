//! Metrics on their way from the state file to the endpoint.
//!
//! A release is written down before it is attempted, and settled when it is known how the attempt ended. Until then the
//! same request is sent again, whatever happens in between: points that arrived already are the same points.

use std::cell::RefCell;
use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::clock::Clock;
use crate::delivery::{self, Delivery, Refusal};
use crate::export::{Request, Signal};
use crate::intake;
use crate::ledger::{Ledger, Released};
use crate::model::budget::{Budget, LONGEST_WINDOW_S};
use crate::otel::Resource;
use crate::otel::budgets::gauges;
use crate::otel::request::{Chunk, Identity, metric_chunks, series_of};
use crate::otel::{metrics, names};
use crate::state::{self, State};

/// A session without a new run for this long is recorded in histograms.
pub const QUIET_NS: u64 = 30 * 60 * 1_000_000_000;
/// Metrics that were under way when we were killed are sent again while they are younger than this: Prometheus takes older
/// ones no more.
const UNSETTLED_NS: u64 = 20 * 60 * 1_000_000_000;

/// A state file, and what else is to be known to release what is in it.
#[derive(Debug, Clone, Copy)]
pub struct Books<'b> {
    /// What was counted, and what waits. Nobody holds it while waiting.
    pub state: &'b RefCell<State>,
    /// Who sends.
    pub resource: &'b Resource,
    /// What may be spent.
    pub budgets: &'b [Budget],
    /// Tells the time.
    pub clock: Clock,
}

/// Why nothing more can be released. What was counted is in the state file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] state::Error),
    /// What was refused cannot be kept.
    #[error(transparent)]
    Delivery(#[from] delivery::Error),
}

/// Sends again what may have arrived, or was under way when we were killed. Returns why nobody knows yet, if so; then
/// nothing newer is to be released.
pub async fn settle(books: &Books<'_>, delivery: &mut Delivery) -> Result<Option<delivery::Error>, Error> {
    let unsettled = books.state.borrow().unsettled(books.clock.now_ns())?;
    let Some((chunk, age_ns)) = unsettled else { return Ok(None) };
    if chunk.bytes.is_empty() || age_ns > UNSETTLED_NS {
        books.state.borrow_mut().released(&[], &BTreeSet::new())?;
        return Ok(None);
    }
    // Whatever becomes of this attempt, the one before it may have arrived.
    let outcome = attempt(delivery, &[chunk]).await?;
    if outcome.gave_up.is_none() {
        books.state.borrow_mut().released(&[], &BTreeSet::new())?;
    }
    Ok(outcome.gave_up)
}

/// Releases every series as it stands, and attempts to send that. Returns why it could not be, if so.
pub async fn newest(books: &Books<'_>, delivery: &mut Delivery) -> Result<Option<delivery::Error>, Error> {
    release(books, delivery, |_| {}).await
}

/// The [`newest`] release for now: it says that we end as we were asked to.
pub async fn last(books: &Books<'_>, delivery: &mut Delivery) -> Result<Option<delivery::Error>, Error> {
    release(books, delivery, intake::take_leave).await
}

async fn release(
    books: &Books<'_>,
    delivery: &mut Delivery,
    add: impl FnOnce(&mut Ledger),
) -> Result<Option<delivery::Error>, Error> {
    let chunks = prepare(books, add)?;
    let Outcome { in_doubt, not_taken, gave_up } = attempt(delivery, &chunks).await?;
    books.state.borrow_mut().released(&in_doubt, &not_taken)?;
    Ok(gave_up)
}

fn prepare(books: &Books<'_>, add: impl FnOnce(&mut Ledger)) -> Result<Vec<Chunk>, state::Error> {
    let now_ns = books.clock.now_ns();
    let mut state = books.state.borrow_mut();
    update(&mut state, now_ns)?;
    add(state.ledger());
    let budgets = budgets(&mut state, books, now_ns)?;
    state.release(now_ns, |released| {
        let mut said = metrics::metrics(released);
        said.extend(metrics::metrics(&budgets));
        metric_chunks(said, books.resource)
    })
}

/// How budgets stand. What no budget could ask for any more is forgotten.
pub fn budgets(state: &mut State, books: &Books<'_>, now_ns: u64) -> Result<Vec<Released>, state::Error> {
    let now_s = now_ns / 1_000_000_000;
    state.forget_spent(now_s.saturating_sub(LONGEST_WINDOW_S))?;
    Ok(gauges(&state.standings(books.budgets, now_s)?, now_ns))
}

/// Brings series up to now that no run moves.
pub fn update(state: &mut State, now_ns: u64) -> Result<(), state::Error> {
    state.set_largest(now_ns.saturating_sub(QUIET_NS))?;
    let waits_ns = state.waiting()?.since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns));
    let ledger = state.ledger();
    intake::introduce(ledger);
    ledger.set(&names::BRIDGE_OUTBOX_AGE, Vec::new(), waits_ns / 1_000_000_000);
    let folded = ledger.take_folded();
    ledger.add(&names::BRIDGE_OVERFLOW, Vec::new(), folded);
    let series = ledger.series_count() as u64 + 1;
    ledger.set(&names::BRIDGE_SERIES, Vec::new(), series);
    Ok(())
}

/// What became of the requests of a release; each has its own fate.
#[derive(Default)]
struct Outcome {
    /// What may have arrived. It is sent again as it is before anything newer: else nobody would know where to go on.
    in_doubt: Vec<Chunk>,
    /// Series of which surely nothing was taken: they are released again with what they were released with.
    not_taken: BTreeSet<Identity>,
    gave_up: Option<delivery::Error>,
}

/// Attempts each request.
async fn attempt(delivery: &mut Delivery, chunks: &[Chunk]) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    for chunk in chunks {
        let request = Request { signal: Signal::Metrics, chunks: std::slice::from_ref(chunk) };
        let ended = delivery.deliver(&request).await;
        let refusals = delivery.take_refusals();
        for refusal in &refusals {
            warn!(points = refusal.items, "metrics were refused");
            warn!(target: delivery::SERVERS_WORDS, reason = refusal.reason, "because");
        }
        match ended {
            Ok(()) => {
                let refused = refusals.iter().filter(|refusal| !refusal.may_have_arrived);
                outcome.not_taken.extend(refused.flat_map(|refusal| series_of(&refusal.bytes)));
            }
            Err(error @ delivery::Error::GaveUp { may_have_arrived, .. }) => {
                info!(target: delivery::SERVERS_WORDS, reason = %error, "metrics are sent again with the next release");
                if may_have_arrived {
                    outcome.in_doubt.push(chunk.clone());
                } else {
                    outcome.not_taken.extend(series_of(&chunk.bytes));
                }
                outcome.gave_up.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(outcome)
}

/// Takes spans out of the outbox that were delivered or refused, and counts what became of them since the last time.
/// Returns what was refused; it is kept.
pub fn note_delivered(
    books: &Books<'_>,
    delivery: &mut Delivery,
    reported: &mut delivery::Sent,
    up_to: i64,
) -> Result<Vec<Refusal>, state::Error> {
    let refusals = delivery.take_refusals();
    let mut state = books.state.borrow_mut();
    count_sent(&mut state, reported, &delivery.report.traces);
    *reported = delivery.report.traces.clone();
    state.delivered(up_to, &refusals, books.clock.now_ns())?;
    Ok(refusals)
}

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

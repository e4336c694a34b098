//! Metrics on their way from the state file to the endpoint.
//!
//! A release is written down before it is attempted, and settled when it is known how the attempt ended. So a kill in
//! between is no hole: the same request is sent again first.

use tracing::{info, warn};

use crate::delivery::{self, Delivery};
use crate::export::{Request, Signal};
use crate::follow::Following;
use crate::framework::Oddity;
use crate::otel::request::{Chunk, metric_chunks};
use crate::otel::{metrics, names};
use crate::state::{self, State};

/// A session without a new run for this long is recorded in histograms.
pub(super) const QUIET_NS: u64 = 30 * 60 * 1_000_000_000;
/// Metrics of which nobody knows whether they arrived are sent again while they are younger than this: Prometheus takes
/// older ones no more.
const UNSETTLED_NS: u64 = 20 * 60 * 1_000_000_000;

/// How the requests of a release ended.
enum Outcome {
    /// All were taken or refused, and some were taken.
    Arrived,
    /// All were refused.
    Refused,
    /// Surely none was taken.
    Nowhere(delivery::Error),
    /// Some may have been taken, and some may not.
    Unknown(delivery::Error),
}

/// Sends again what may have arrived: it was under way when we were killed, or was not answered. Returns why nobody knows
/// yet, if so; then nothing newer is to be released. For a birth that did not arrive is lost if it is taken for one that
/// did, and one that did counts twice if it is not.
pub(super) async fn settle(
    following: &Following,
    delivery: &mut Delivery,
) -> anyhow::Result<Option<delivery::Error>> {
    let unsettled = following.state.borrow().unsettled(following.clock.now_ns())?;
    let Some((chunk, age_ns)) = unsettled else { return Ok(None) };
    if chunk.bytes.is_empty() || age_ns > UNSETTLED_NS {
        following.state.borrow_mut().released(true, &[], following.clock.now_ns())?;
        return Ok(None);
    }
    match attempt(delivery, &[chunk]).await? {
        Outcome::Arrived => end(following, delivery, true)?,
        Outcome::Refused => end(following, delivery, false)?,
        // It did not arrive now; of the times before nobody knows.
        Outcome::Nowhere(error) | Outcome::Unknown(error) => return Ok(Some(error)),
    }
    Ok(None)
}

/// Releases every series as it stands, and attempts to send that. Returns why it could not be, if so.
pub(super) async fn newest(
    following: &Following,
    delivery: &mut Delivery,
) -> anyhow::Result<Option<delivery::Error>> {
    let chunks = prepare(following)?;
    let gave_up = match attempt(delivery, &chunks).await? {
        Outcome::Arrived => {
            end(following, delivery, true)?;
            None
        }
        Outcome::Refused => {
            end(following, delivery, false)?;
            None
        }
        Outcome::Nowhere(error) => {
            end(following, delivery, false)?;
            Some(error)
        }
        // To be settled before anything newer is released.
        Outcome::Unknown(error) => Some(error),
    };
    Ok(gave_up)
}

fn prepare(following: &Following) -> Result<Vec<Chunk>, state::Error> {
    let now_ns = following.clock.now_ns();
    let mut state = following.state.borrow_mut();
    state.set_largest(now_ns.saturating_sub(QUIET_NS))?;
    let ledger = state.ledger();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    ledger.set(&names::BRIDGE_UP, Vec::new(), 1);
    ledger.set(&names::BRIDGE_INFO, vec![(names::BRIDGE_VERSION, version)], 1);
    let folded = ledger.oddities().count(Oddity::FoldedValue);
    ledger.set(&names::BRIDGE_OVERFLOW, Vec::new(), folded);
    let series = ledger.series_count() as u64 + 1;
    ledger.set(&names::BRIDGE_SERIES, Vec::new(), series);
    state.release(now_ns, |released| metric_chunks(metrics::metrics(released), &following.resource))
}

/// Attempts each request.
async fn attempt(delivery: &mut Delivery, chunks: &[Chunk]) -> anyhow::Result<Outcome> {
    let (mut may_have_arrived, mut gave_up) = (false, None);
    delivery.report = delivery::Report::default();
    for chunk in chunks {
        let request = Request { signal: Signal::Metrics, chunks: std::slice::from_ref(chunk) };
        match delivery.deliver(&request).await {
            Ok(()) => {}
            Err(error @ delivery::Error::GaveUp { may_have_arrived: may, .. }) => {
                info!(reason = %error, "metrics are sent again with the next release");
                may_have_arrived |= may;
                gave_up.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let has_delivered = delivery.has_delivered();
    Ok(match gave_up {
        None if has_delivered => Outcome::Arrived,
        None => Outcome::Refused,
        Some(error) if has_delivered || may_have_arrived => Outcome::Unknown(error),
        Some(error) => Outcome::Nowhere(error),
    })
}

/// Notes how a release ended.
fn end(following: &Following, delivery: &mut Delivery, may_have_arrived: bool) -> Result<(), state::Error> {
    let refusals = delivery.take_refusals();
    for refusal in &refusals {
        warn!(points = refusal.items, reason = refusal.reason, "metrics were refused");
    }
    // Metrics need no dead letters: the next release holds them all.
    following.state.borrow_mut().released(may_have_arrived, &[], following.clock.now_ns())
}

/// Counts what became of requests since the last time.
pub(super) fn count_sent(state: &mut State, before: &delivery::Sent, after: &delivery::Sent) {
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

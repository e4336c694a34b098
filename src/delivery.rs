//! The way out: requests in order, each attempted until it is delivered, refused, or patience ends.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::export::otlp_http::OtlpHttp;
use crate::export::{Attempt, Request, Signal};

/// The wait after a first failed attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait of our own choosing.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// What became of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests the far side took.
    pub delivered: u64,
    /// Spans and points rejected within requests it took.
    pub rejected: u64,
    /// Requests refused for good, with the reason of the first.
    pub refused: u64,
    /// Why, once per kind of reason.
    pub reasons: Vec<String>,
}

/// Patience ended before the far side took a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gave up on {target} after {waited:?}: {reason}")]
pub struct GaveUp {
    /// Where it was to go.
    pub target: String,
    /// How long it was tried.
    pub waited: Duration,
    /// Why the last attempt failed.
    pub reason: String,
}

/// Delivers requests over HTTP.
#[derive(Debug)]
pub struct Delivery {
    exporter: OtlpHttp,
    patience: Duration,
    /// What became of the requests so far.
    pub report: Report,
}

impl Delivery {
    /// `patience` is how long one request is tried before giving up.
    pub fn new(exporter: OtlpHttp, patience: Duration) -> Self {
        Self { exporter, patience, report: Report::default() }
    }

    /// Where requests of a signal go, as shown to people.
    pub fn target(&self, signal: Signal) -> String {
        self.exporter.target(signal)
    }

    /// Delivers one request: attempts it, waiting longer each time, until it ends. A refused request is
    /// counted and passed over; the next may be taken.
    pub async fn deliver(&mut self, request: &Request<'_>) -> Result<(), GaveUp> {
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            match self.exporter.export(request).await {
                Attempt::Delivered { rejected, message } => {
                    self.report.delivered += 1;
                    self.report.rejected += rejected;
                    if rejected > 0 || !message.is_empty() {
                        self.note(&message);
                    }
                    debug!(?started, "delivered a request");
                    return Ok(());
                }
                Attempt::Refused { reason } => {
                    self.report.refused += 1;
                    warn!(target = self.target(request.signal), %reason, "the far side refused a request");
                    self.note(&reason);
                    return Ok(());
                }
                Attempt::TryLater { wait: asked, reason } => {
                    let pause = asked.unwrap_or_else(|| jittered(wait));
                    let waited = started.elapsed();
                    if waited + pause > self.patience {
                        return Err(GaveUp { target: self.target(request.signal), waited, reason });
                    }
                    info!(target = self.target(request.signal), %reason, ?pause, "will try again");
                    tokio::time::sleep(pause).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    fn note(&mut self, reason: &str) {
        if !self.report.reasons.iter().any(|known| known == reason) {
            self.report.reasons.push(reason.to_owned());
        }
    }
}

/// Between half of a wait and all of it, so that many senders do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let [byte, ..] = uuid::Uuid::new_v4().into_bytes();
    wait / 2 + wait * u32::from(byte) / 512
}

//! How telemetry leaves: one attempt, three outcomes.

pub mod otlp_http;
pub mod otlp_json;
pub mod print;

use std::time::Duration;

use crate::otel::request::Chunk;
pub use crate::otel::request::Signal;

/// A request as it is sent: chunks, one after the other as one message. Its bytes never change, so a resend is
/// the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'r> {
    /// Which service takes it.
    pub signal: Signal,
    /// What it is made of.
    pub chunks: &'r [Chunk],
}

/// How an attempt to deliver a request ended.
///
/// Closed on purpose: a new outcome must break every `match` that decides what happens to data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The far side took it, except for what it rejected for good (OTLP's partial success).
    Delivered {
        /// Spans or points it rejected.
        rejected: u64,
        /// Its reason.
        message: String,
    },
    /// Not now, or nobody knows: the same request may be sent again.
    TryLater {
        /// How long it asked us to wait.
        wait: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// Never: sending it again would end the same way.
    Refused {
        /// Why.
        reason: String,
    },
}

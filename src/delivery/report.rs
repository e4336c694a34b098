//! What became of requests.

use std::collections::BTreeMap;

use crate::export::Signal;

/// What became of the requests of one signal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests the far side took.
    pub delivered: u64,
    /// Spans or points rejected within requests it took.
    pub rejected: u64,
    /// Requests refused for good.
    pub refused: u64,
    /// Spans or points in them.
    pub refused_items: u64,
    /// Requests given up on, or not tried after that.
    pub undelivered: u64,
    /// Spans that went without their content because they were too large with it.
    pub stripped: u64,
    /// Attempts by how they ended.
    pub attempts: BTreeMap<&'static str, u64>,
}

/// What became of all requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests of spans.
    pub traces: Sent,
    /// Requests of metrics.
    pub metrics: Sent,
    /// Why something was refused or rejected, once per reason.
    pub reasons: Vec<String>,
    /// What the far side said of requests it took whole, once each.
    pub warnings: Vec<String>,
}

impl Report {
    /// What became of requests of a signal.
    pub fn of(&self, signal: Signal) -> &Sent {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }

    /// What became of requests of a signal.
    pub fn of_mut(&mut self, signal: Signal) -> &mut Sent {
        match signal {
            Signal::Traces => &mut self.traces,
            Signal::Metrics => &mut self.metrics,
        }
    }

    /// A figure of both signals.
    pub fn sum(&self, figure: impl Fn(&Sent) -> u64) -> u64 {
        figure(&self.traces) + figure(&self.metrics)
    }
}

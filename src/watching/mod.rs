//! What people look at: dashboards and alerts, in the words of Grafana and Prometheus.
//!
//! Made of the names the exporter sends ([`crate::otel::names`]) and of one configuration, so that they ask for what is
//! there. Pure: text in, text out.

mod alerts;
mod grafana;
mod query;
mod runs;
mod search;
mod spend;

pub use alerts::alerts;

use std::time::Duration;

use crate::model::budget::{Budget, Limit};

/// Where Jaeger's pages are, where nothing else is said.
pub const DEFAULT_JAEGER: &str = "http://localhost:16686";

/// What dashboards and alerts are made for.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The `job` label: `service.name`, with `service.namespace/` before it. None: every job's.
    pub job: Option<String>,
    /// What a session may pass before somebody wants to know.
    pub thresholds: Vec<Limit>,
    /// What may be spent.
    pub budgets: Vec<Budget>,
    /// Models that may be asked, `*` for any text. Empty: those that were asked a day ago.
    pub models: Vec<String>,
    /// Where Jaeger's pages are, without a slash at the end.
    pub jaeger: String,
    /// The time between two releases of metrics.
    pub metrics_every: Duration,
}

/// Dashboards as Grafana's JSON, each with the name of its file.
pub fn dashboards(setup: &Setup) -> [(&'static str, String); 2] {
    [spend::dashboard(setup), runs::dashboard()].map(|board| (board.file, board.json(setup)))
}

#[cfg(test)]
mod tests;

//! What does not work, as far as the process knows.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// A request of spans that is tried for longer than this does not go well: one attempt has ten seconds.
const SPANS_WITHIN: Duration = Duration::from_secs(15);

/// What is known of each part. Whoever does its work says how that goes.
#[derive(Debug, Default)]
pub struct Health {
    /// Problems of sources that cannot be read, by name.
    pub sources: BTreeMap<String, String>,
    /// The outbox takes no more.
    pub is_full: bool,
    /// Since when the oldest request of spans has been tried.
    pub spans_since: Option<Instant>,
    /// Since when metrics could not be sent.
    pub metrics_since: Option<Instant>,
}

/// A part that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Which: `source`, `outbox`, `traces` or `metrics`.
    pub part: &'static str,
    /// What is wrong with it. It may name files and addresses.
    pub why: String,
}

impl Health {
    /// What does not work now.
    pub fn failing(&self, now: Instant) -> Vec<Failing> {
        let mut failing: Vec<Failing> = Vec::new();
        let mut add = |part, why| failing.push(Failing { part, why });
        for problem in self.sources.values() {
            add("source", problem.clone());
        }
        if self.is_full {
            add("outbox", "it is full; sources and requests wait until the endpoint takes some".to_owned());
        }
        let age = |since: Option<Instant>| since.map(|since| now.saturating_duration_since(since));
        if let Some(age) = age(self.spans_since).filter(|age| *age > SPANS_WITHIN) {
            add("traces", format!("the endpoint has taken none for {} s; they wait", age.as_secs()));
        }
        if let Some(age) = age(self.metrics_since) {
            add("metrics", format!("the endpoint has taken none for {} s; they wait", age.as_secs()));
        }
        failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_that_fails_is_named() {
        let now = Instant::now() + Duration::from_mins(1);
        let ago = |seconds| Some(now - Duration::from_secs(seconds));
        let parts = |health: &Health| health.failing(now).iter().map(|one| one.part).collect::<Vec<_>>();
        assert!(parts(&Health { spans_since: ago(15), ..Health::default() }).is_empty());
        let all = Health {
            sources: [("a.db".to_owned(), "cannot read a.db".to_owned())].into(),
            is_full: true,
            spans_since: ago(16),
            metrics_since: ago(0),
        };
        assert_eq!(parts(&all), ["source", "outbox", "traces", "metrics"]);
    }
}

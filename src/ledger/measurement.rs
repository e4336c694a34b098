//! What is to be counted.

use super::Exemplar;
use crate::otel::names::Metric;

/// One thing to count, said by `otel::metrics` of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What is counted.
    pub metric: &'static Metric,
    /// By what. Empty values are left out; order does not matter.
    pub attributes: Vec<(&'static str, String)>,
    /// How it is counted.
    pub count: Count,
    /// Where to look when this is the one that stands out.
    pub exemplar: Option<Exemplar>,
}

/// How a measurement is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// The series exists from now on, at zero if nothing else is said.
    Birth,
    /// This run's whole share of a counter. Said again, it replaces what was said before.
    Share(u64),
    /// This run's whole share of a counter, which depends on prices too.
    Priced {
        /// The share. `None`: no price is known; then there is no series for it.
        value: Option<u64>,
        /// A hash of what else decides it. Where the run said the same before, its share stays what it was: prices may
        /// have changed since, but not what was paid.
        basis: u64,
    },
    /// Something that happened once in this run, told apart by its key: one more of a counter, or one value of
    /// a histogram (in the metric's kept units).
    Once {
        /// What makes it this one among the run's.
        key: String,
        /// How much.
        value: u64,
    },
}

/// What a run adds to its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionShare {
    /// Tokens of the run itself.
    pub input_tokens: u64,
    /// Tokens of the run itself.
    pub output_tokens: u64,
    /// What the run itself cost, in nano-dollars: what was counted of it, which the ledger sets.
    pub cost_nano_usd: u64,
    /// 1 for a top-level run.
    pub runs: u64,
    /// Duration of a top-level run.
    pub duration_ns: u64,
}

impl SessionShare {
    pub(super) fn combine(self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            input_tokens: with(self.input_tokens, other.input_tokens),
            output_tokens: with(self.output_tokens, other.output_tokens),
            cost_nano_usd: with(self.cost_nano_usd, other.cost_nano_usd),
            runs: with(self.runs, other.runs),
            duration_ns: with(self.duration_ns, other.duration_ns),
        }
    }
}

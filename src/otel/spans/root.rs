//! What a root's span says of its whole tree, and of its session so far.

use super::SessionSoFar;
use crate::model::budget::Limit;
use crate::model::cost::usd;
use crate::model::{Cost, Tokens};
use crate::otel::names;
use crate::otel::view::{Attributes, number, real, text};

/// What a root's tree spent, and its session so far, if it is in one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    pub(super) tokens: Tokens,
    pub(super) cost: Option<Cost>,
    pub(super) so_far: Option<SessionSoFar>,
    pub(super) thresholds: &'static [Limit],
}

impl Root {
    pub(super) fn attributes(&self, attributes: &mut Attributes<'_>) {
        number(attributes, names::RUN_TOTAL_TOKENS, self.tokens.total());
        text(attributes, names::TOKENS_BUCKET, bucket(self.tokens.total()));
        if let Some(cost) = self.cost {
            real(attributes, names::RUN_TOTAL_COST, usd(cost.nano_usd));
            text(attributes, names::COST_BUCKET, cost_bucket(cost.nano_usd));
        }
        if let Some(so_far) = self.so_far {
            number(attributes, names::SESSION_INPUT_TOKENS, so_far.tokens.input());
            number(attributes, names::SESSION_OUTPUT_TOKENS, so_far.tokens.output());
            number(attributes, names::SESSION_TOTAL_TOKENS, so_far.tokens.total());
            number(attributes, names::SESSION_RUNS, so_far.runs);
            if let Some(cost) = so_far.cost {
                real(attributes, names::SESSION_COST_SO_FAR, usd(cost.nano_usd));
            }
            self.crossed(so_far, attributes);
        }
    }

    /// The highest thresholds that the session passed by this trace, of tokens and of dollars.
    fn crossed(&self, so_far: SessionSoFar, attributes: &mut Attributes<'_>) {
        let nano_usd = |cost: Option<Cost>| cost.map_or(0, |cost| cost.nano_usd);
        let now = (so_far.tokens.total(), nano_usd(so_far.cost));
        let before = (now.0.saturating_sub(self.tokens.total()), now.1.saturating_sub(nano_usd(self.cost)));
        let crossed = self.thresholds.iter().filter(|threshold| threshold.is_crossed(before, now));
        let highest = |is_tokens: bool| {
            let of_kind = |threshold: &&Limit| matches!(threshold, Limit::Tokens(_)) == is_tokens;
            crossed.clone().filter(of_kind).max_by_key(|threshold| threshold.amount())
        };
        for (name, is_tokens) in [(names::CROSSED_TOKENS, true), (names::CROSSED_USD, false)] {
            if let Some(threshold) = highest(is_tokens) {
                text(attributes, name, threshold.number());
            }
        }
    }
}

/// A word for a number of tokens, for backends that search by equal strings only.
pub(super) fn bucket(tokens: u64) -> &'static str {
    match tokens {
        0 => "0",
        1..1_000 => "1-1k",
        1_000..10_000 => "1k-10k",
        10_000..100_000 => "10k-100k",
        100_000..1_000_000 => "100k-1m",
        _ => "1m+",
    }
}

/// The same for what it cost.
pub(super) fn cost_bucket(nano_usd: u64) -> &'static str {
    const CENT: u64 = 10_000_000;
    match nano_usd {
        0 => "0",
        _ if nano_usd < CENT => "<0.01",
        _ if nano_usd < 10 * CENT => "0.01-0.1",
        _ if nano_usd < 100 * CENT => "0.1-1",
        _ if nano_usd < 1_000 * CENT => "1-10",
        _ => "10+",
    }
}

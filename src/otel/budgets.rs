//! How budgets stand, as gauges. They are no series of the ledger's: each is said as it is now, or not at all.

use super::names::{self, Metric};
use crate::ledger::{Point, Released, SeriesKey, Value};
use crate::model::budget::Standing;

/// The gauges of budgets at a time, in Unix nanoseconds.
pub fn gauges(standings: &[Standing], at_ns: u64) -> Vec<Released> {
    standings.iter().flat_map(|standing| of_one(standing, at_ns)).collect()
}

fn of_one(standing: &Standing, at_ns: u64) -> impl Iterator<Item = Released> {
    let Standing { name, limit, usage, span } = standing;
    let (amount, scale) = (limit.amount(), limit.scale());
    let values: [(&'static Metric, u64, u64); 5] = [
        (&names::BUDGET_LIMIT, amount, scale),
        (&names::BUDGET_USAGE, *usage, scale),
        (&names::BUDGET_UTILIZATION, *usage, amount),
        (&names::BUDGET_WINDOW_START, span.start_s, 1),
        (&names::BUDGET_WINDOW_END, span.end_s, 1),
    ];
    let attributes = vec![(names::BUDGET_NAME, name.clone())];
    values.into_iter().map(move |(metric, number, of)| Released {
        key: SeriesKey { metric, attributes: attributes.clone() },
        start_ns: 0,
        before: None,
        now: Point { at_ns, value: Value::Quotient { number, of }, exemplars: Vec::new() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::unscaled;
    use crate::model::budget::{Limit, Span};

    #[test]
    fn a_budget_is_said_in_the_unit_of_its_limit() {
        let span = Span { start_s: 60, end_s: 120 };
        let said = |limit, usage| {
            let standing = Standing { name: "b".to_owned(), limit, usage, span };
            let value = |released: Released| match released.now.value {
                Value::Quotient { number, of } => unscaled(number, of),
                other => panic!("{other:?}"),
            };
            gauges(&[standing], 7).into_iter().map(value).collect::<Vec<_>>()
        };
        assert_eq!(said(Limit::Tokens(200), 50), [200.0, 50.0, 0.25, 60.0, 120.0]);
        assert_eq!(said(Limit::NanoUsd(2_500_000_000), 5_000_000_000), [2.5, 5.0, 2.0, 60.0, 120.0]);
    }
}

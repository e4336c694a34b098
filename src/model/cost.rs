//! What things cost, in whole nano-dollars, so that sums do not depend on their order.

/// The provider's own figure, as the framework recorded it.
pub const PROVIDER: &str = "provider";
/// A price the user set.
pub const CONFIG: &str = "config";
/// A model that runs on one's own machine: nobody is paid.
pub const LOCAL: &str = "local";
/// A sum of costs from several sources.
pub const MIXED: &str = "mixed";

/// What costs are in.
pub const CURRENCY: &str = "USD";

/// How many nano-dollars are a dollar.
pub const NANO_PER_USD: u64 = 1_000_000_000;

/// A provider's figure beyond this is not believed, in dollars: no call costs a million.
const LARGEST_STATED_USD: f64 = 1e6;

/// What something cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Nano-dollars.
    pub nano_usd: u64,
    /// Of these, what the provider stated itself.
    pub stated_nano_usd: u64,
    /// Who says so: [`PROVIDER`], [`CONFIG`], [`LOCAL`], [`MIXED`], or a price table with its version.
    pub source: &'static str,
    /// True where it had to be assumed how the tokens were spread over calls, or what kind they were.
    pub is_estimate: bool,
}

impl Cost {
    /// What the provider stated.
    pub fn stated(nano_usd: u64) -> Self {
        Self { nano_usd, stated_nano_usd: nano_usd, source: PROVIDER, is_estimate: false }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            nano_usd: self.nano_usd.saturating_add(other.nano_usd),
            stated_nano_usd: self.stated_nano_usd.saturating_add(other.stated_nano_usd),
            source: if self.source == other.source { self.source } else { MIXED },
            is_estimate: self.is_estimate || other.is_estimate,
        }
    }

    /// All of these together; none of them is nothing that is known.
    pub fn sum(costs: impl IntoIterator<Item = Self>) -> Option<Self> {
        costs.into_iter().reduce(Self::plus)
    }
}

/// A figure in dollars that someone states. Nothing at all is no statement: what is free is not paid for, and what is
/// not known is often written as 0.
pub fn stated_nano_usd(usd: f64) -> Option<u64> {
    (usd > 0.0 && usd <= LARGEST_STATED_USD).then(|| nano_usd(usd)).filter(|nano| *nano > 0)
}

/// Dollars in whole nano-dollars, to the nearest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "saturates: more than all the money there is, and never less than nothing"
)]
pub fn nano_usd(usd: f64) -> u64 {
    (usd * NANO_PER_USD as f64).round() as u64
}

/// Nano-dollars in dollars.
#[expect(clippy::cast_precision_loss, reason = "53 bits of nano-dollars are nine million dollars")]
pub fn usd(nano_usd: u64) -> f64 {
    nano_usd as f64 / NANO_PER_USD as f64
}

/// Divides an amount in proportion to weights, to the last unit: what is left over by rounding goes to the largest
/// fractions, the first of equals. Without any weight the first part takes all.
pub fn divide(amount: u64, weights: &[u128]) -> Vec<u64> {
    // No weight above 2^63, so that products fit.
    let scale = (weights.iter().fold(0, |all: u128, weight| all.saturating_add(*weight)) >> 63) + 1;
    let scaled: Vec<u128> = weights.iter().map(|weight| weight / scale).collect();
    let all: u128 = scaled.iter().sum();
    if all == 0 {
        return (0..weights.len()).map(|at| if at == 0 { amount } else { 0 }).collect();
    }
    let products = scaled.iter().map(|weight| u128::from(amount) * weight);
    let mut parts: Vec<(u64, u128)> =
        products.map(|product| (u64::try_from(product / all).unwrap_or(u64::MAX), product % all)).collect();
    let given: u64 = parts.iter().map(|(whole, _)| *whole).sum();
    // Fewer than there are parts.
    let left = usize::try_from(amount.saturating_sub(given)).unwrap_or(usize::MAX);
    let mut by_fraction: Vec<&mut (u64, u128)> = parts.iter_mut().collect();
    by_fraction.sort_by_key(|(_, fraction)| std::cmp::Reverse(*fraction));
    by_fraction.into_iter().take(left).for_each(|(whole, _)| *whole += 1);
    parts.into_iter().map(|(whole, _)| whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_nothing_was_not_stated() {
        assert_eq!(stated_nano_usd(0.000_109_5), Some(109_500));
        for usd in [0.0, -1.0, 1e-12, f64::NAN, f64::INFINITY, 1_000_000.1] {
            assert_eq!(stated_nano_usd(usd), None, "{usd}");
        }
    }

    #[test]
    fn sums_say_whose_figures_they_are_made_of() {
        let table = Cost { nano_usd: 5, stated_nano_usd: 0, source: "table", is_estimate: true };
        let sum = Cost::sum([Cost::stated(7), table, Cost::stated(1)]);
        assert_eq!(sum, Some(Cost { nano_usd: 13, stated_nano_usd: 8, source: MIXED, is_estimate: true }));
        assert_eq!(Cost::sum([]), None);
        assert_eq!(Cost::sum([table, table]).map(|cost| cost.source), Some("table"));
    }

    #[test]
    fn what_is_left_over_goes_to_the_largest_fractions() {
        assert_eq!(divide(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(divide(10, &[3, 3, 6]), [3, 2, 5]);
        assert_eq!(divide(7, &[0, 0]), [7, 0]);
        assert_eq!(divide(7, &[]), [0; 0]);
        assert_eq!(divide(0, &[5, 5]), [0, 0]);
    }

    proptest::proptest! {
        #[test]
        fn parts_add_up_to_the_whole(
            amount: u64, weights in proptest::collection::vec(proptest::num::u64::ANY, 1..9),
        ) {
            let weights: Vec<u128> = weights.into_iter().map(u128::from).collect();
            let parts = divide(amount, &weights);
            proptest::prop_assert_eq!(parts.iter().map(|part| u128::from(*part)).sum::<u128>(), u128::from(amount));
        }
    }
}

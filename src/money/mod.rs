//! What model calls cost: Agno's record of what the provider said, else the user's prices, else a price table.
//!
//! Each call is priced for itself, at its time and with its size, in whole nano-dollars ([`settle`]); sums are sums of
//! that. What has no known price has no cost. [`bill`] takes the same apart.
//!
//! Pure: prices are embedded, and nothing is fetched.

pub mod bill;
mod own;
mod parts;
mod pricing;
mod providers;
mod table;

pub use own::{Factor, Own, OwnRates};
pub use parts::{Kind, Rates};
pub use pricing::settle;
pub use table::TABLE;

use crate::model::Tokens;
use crate::model::cost::{CONFIG, Cost, LOCAL};
use parts::Parts;
use table::Found;

/// What is known of prices. The default is the embedded table.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// What the user says; the first that is of a call decides.
    pub own: Vec<Own>,
    /// What is left of the table's prices, where nothing else is said.
    pub discount: Factor,
}

impl Default for Prices {
    fn default() -> Self {
        Self { own: Vec::new(), discount: Factor::NONE }
    }
}

/// What decides a call's price.
#[derive(Debug, Clone, Copy)]
struct Call<'c> {
    provider: Option<&'c str>,
    model: Option<&'c str>,
    service_tier: Option<&'c str>,
    /// When it was made, in Unix seconds.
    at_s: i64,
    tokens: Tokens,
    /// It may stand for several.
    is_sum: bool,
}

/// The prices that hold for a call.
#[derive(Debug, Clone, Copy)]
enum Tariff<'c> {
    Own(Rates, Factor),
    Local,
    Table(table::Entry<'c>, Factor),
    Unknown,
}

impl Prices {
    /// The prices that hold for a call.
    fn tariff<'c>(&self, call: &Call<'c>) -> Tariff<'c> {
        let own = self.own.iter().find(|own| own.is_of(call));
        if let Some(rates) = own.and_then(|own| own.rates) {
            let factor = own.and_then(|own| own.discount).unwrap_or(Factor::NONE);
            return Tariff::Own(rates.into(), factor);
        }
        let factor = own.and_then(|own| own.discount).unwrap_or(self.discount);
        match table::find(call, own.is_some_and(|own| own.is_batch)) {
            Found::Local => Tariff::Local,
            Found::Entry(entry) => Tariff::Table(entry, factor),
            Found::Unknown => Tariff::Unknown,
        }
    }

    /// What a call costs by the prices that hold for it.
    fn cost(&self, call: &Call<'_>) -> Option<Cost> {
        let parts = Parts::of(&call.tokens);
        let (nano_usd, source, lacks_tier) = match self.tariff(call) {
            Tariff::Unknown => return None,
            Tariff::Local => (0, LOCAL, false),
            Tariff::Own(rates, factor) => (factor.left_of(rates.cost(&parts)), CONFIG, false),
            Tariff::Table(entry, factor) => {
                let cost = if call.is_sum { entry.cost_of_sum(&parts) } else { entry.cost(&parts) }?;
                (factor.left_of(cost), source_of(factor), entry.lacks_tier(&parts))
            }
        };
        let Tokens { cache_read, cache_write, reasoning, audio_input, audio_output, .. } = call.tokens;
        // How much of the audio was cached is not recorded.
        let is_guessed = audio_input > 0 && cache_read + cache_write > 0 || audio_output > 0 && reasoning > 0;
        let is_estimate = source != LOCAL && (call.is_sum || is_guessed || lacks_tier);
        Some(Cost { nano_usd, stated_nano_usd: 0, source, is_estimate })
    }
}

fn source_of(factor: Factor) -> &'static str {
    if factor == Factor::NONE { TABLE } else { table::DISCOUNTED }
}

#[cfg(test)]
mod tests;

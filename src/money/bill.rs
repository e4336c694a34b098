//! A bill: what was spent, taken apart into tokens × price = amount.

use std::collections::BTreeMap;

use super::parts::{Item, Kind, Parts, Rates};
use super::pricing::{Charge, charges, groups};
use super::{Factor, Prices, Tariff};
use crate::model::Run;
use crate::model::cost::Cost;

/// What a line of a bill is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Tokens of a kind.
    Tokens(Kind),
    /// Requests, whatever their size.
    Requests,
    /// Tokens of which the provider stated what they cost together.
    Stated,
}

impl What {
    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokens(kind) => kind.as_str(),
            Self::Requests => "requests",
            Self::Stated => "as stated",
        }
    }
}

/// Whose tokens they are, by their provider and model as the framework has them; empty where it has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Model {
    /// In OpenTelemetry's words.
    pub provider: String,
    /// Its name.
    pub model: String,
}

/// What makes a line of a bill this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// What it is for.
    pub what: What,
    /// Pico-dollars of one, which are millionths of a dollar for a million; `None` where there is no price of one.
    pub rate: Option<u64>,
    /// Who says so.
    pub source: &'static str,
    /// True where something had to be assumed.
    pub is_estimate: bool,
}

/// How much of it, and what it costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Tokens, or requests.
    pub count: u64,
    /// Nano-dollars.
    pub nano_usd: u64,
}

impl Amount {
    fn add(&mut self, count: u64, nano_usd: u64) {
        self.count = self.count.saturating_add(count);
        self.nano_usd = self.nano_usd.saturating_add(nano_usd);
    }
}

/// A bill for some runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bill {
    /// Runs on it.
    pub runs: u64,
    /// Its lines, by model.
    pub models: BTreeMap<Model, BTreeMap<Line, Amount>>,
    /// Tokens without a known price, by model.
    pub unpriced: BTreeMap<Model, u64>,
    /// All of it. `None`: no price is known.
    pub total: Option<Cost>,
}

impl Bill {
    /// Adds a run. `received_s` stands in where it carries no time at all.
    pub fn add(&mut self, run: &Run, prices: &Prices, received_s: i64) {
        self.runs += 1;
        for charge in groups(run).iter().flat_map(|group| charges(run, group, received_s)) {
            self.charge(&charge, prices);
        }
    }

    fn charge(&mut self, charge: &Charge<'_>, prices: &Prices) {
        let call = &charge.call;
        let (provider, model) = (call.provider.unwrap_or_default(), call.model.unwrap_or_default());
        let model = Model { provider: provider.to_owned(), model: model.to_owned() };
        let tokens = call.tokens.total();
        let Some(cost) = charge.cost(prices) else {
            if tokens > 0 {
                let unpriced = self.unpriced.entry(model).or_default();
                *unpriced = unpriced.saturating_add(tokens);
            }
            return;
        };
        self.total = Some(self.total.map_or(cost, |total| total.plus(cost)));
        let lines = self.models.entry(model).or_default();
        let mut line = |what, rate, count, nano_usd| {
            let key = Line { what, rate, source: cost.source, is_estimate: cost.is_estimate };
            lines.entry(key).or_default().add(count, nano_usd);
        };
        let items = if charge.stated_nano_usd.is_none() { items(charge, prices, cost) } else { Vec::new() };
        if items.is_empty() {
            line(What::Stated, None, tokens, cost.nano_usd);
        }
        for Item { kind, count, rate, nano_usd } in items {
            line(kind.map_or(What::Requests, What::Tokens), Some(rate), count, nano_usd);
        }
    }

    /// Everything on it but what the amounts are made of: tokens, requests not among them.
    pub fn tokens(&self) -> u64 {
        let lines = self.models.values().flatten().filter(|(line, _)| line.what != What::Requests);
        let priced = lines.map(|(_, amount)| amount.count).fold(0, u64::saturating_add);
        self.unpriced.values().fold(priced, |sum, tokens| sum.saturating_add(*tokens))
    }
}

/// What each kind of a call's tokens costs, by the prices that hold for it.
fn items(charge: &Charge<'_>, prices: &Prices, cost: Cost) -> Vec<Item> {
    let call = &charge.call;
    let parts = Parts::of(&call.tokens);
    let (rates, factor) = match prices.tariff(call) {
        Tariff::Unknown => return Vec::new(),
        Tariff::Local => return Rates::default().items(&parts, 0, Factor::NONE),
        Tariff::Own(rates, factor) => (Some(rates), factor),
        // Prices depend on how large the prompt is; of sums the lowest tier holds.
        Tariff::Table(entry, factor) => (entry.rates(if call.is_sum { 1 } else { parts.input() }), factor),
    };
    rates.map_or_else(Vec::new, |rates| rates.items(&parts, cost.nano_usd, factor))
}

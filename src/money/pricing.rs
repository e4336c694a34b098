//! Prices runs, once it is settled what each spent.
//!
//! What a run spent is counted by role, provider and model ([`Usage`]), and shown as model calls. Calls are priced, and a
//! usage costs what its calls cost. Where calls do not add up to what is counted, what is counted is priced as a whole, and
//! its calls have shares of it.

use std::collections::BTreeMap;

use super::{Call, Prices};
use crate::model::cost::{Cost, divide, stated_nano_usd};
use crate::model::step::Scalar;
use crate::model::tokens::CLASSES;
use crate::model::{ModelCall, Run, Stated, Tokens, Usage};

/// Gives every call and usage of these runs its cost. `received_s` stands in where a run carries no time at all.
pub fn settle(runs: &mut [Run], prices: &Prices, received_s: i64) {
    for run in runs {
        for group in groups(run) {
            let costs = costs(run, &group, prices, received_s);
            write(run, &group, &costs);
        }
    }
}

/// What is counted of one role, provider and model, with the calls of it: places in the run.
#[derive(Debug)]
pub(super) struct Group {
    usages: Vec<usize>,
    calls: Vec<usize>,
}

/// What the calls of a group cost, in their order.
#[derive(Debug, Default)]
struct Costs {
    of_calls: Vec<Option<Cost>>,
    /// What all of it costs, where that is not simply the sum of these.
    whole: Option<Cost>,
    unpriced: u64,
}

/// A piece of what was spent that has one price: a call, or what is counted where calls do not add up to it.
#[derive(Debug)]
pub(super) struct Charge<'r> {
    pub(super) call: Call<'r>,
    /// What the provider stated.
    pub(super) stated_nano_usd: Option<u64>,
}

/// What usages and their calls have in common: role, provider, model, and the step of a workflow.
type Key<'r> = (&'r str, Option<&'r str>, Option<&'r str>, Option<usize>);

/// A run's usages, those of the same key together, in the order of the first of each.
pub(super) fn groups(run: &Run) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places = BTreeMap::<Key<'_>, usize>::new();
    for (at, Usage { role, provider, model, spender, .. }) in run.usage.iter().enumerate() {
        let step = spender.as_ref().map(|spender| spender.step);
        let place =
            *places.entry((role, provider.as_deref(), model.as_deref(), step)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.usages.push(at),
            None => groups.push(Group { usages: vec![at], calls: Vec::new() }),
        }
    }
    for (at, ModelCall { role, provider, model, step, .. }) in run.calls.iter().enumerate() {
        let place = places.get(&(role, provider.as_deref(), model.as_deref(), *step));
        if let Some(group) = place.and_then(|place| groups.get_mut(*place)) {
            group.calls.push(at);
        }
    }
    groups
}

impl Group {
    fn usages<'r>(&self, run: &'r Run) -> impl Iterator<Item = &'r Usage> {
        self.usages.iter().filter_map(|at| run.usage.get(*at))
    }

    fn calls<'r>(&self, run: &'r Run) -> impl Iterator<Item = &'r ModelCall> {
        self.calls.iter().filter_map(|at| run.calls.get(*at))
    }

    /// What the provider states that all of it cost.
    fn stated_nano_usd(&self, run: &Run) -> Option<u64> {
        let stated = self.usages(run).map(|usage| usage.stated_nano_usd);
        stated.reduce(|sum, one| Some(sum?.saturating_add(one?))).flatten()
    }

    /// True where the calls add up to what is counted.
    fn adds_up(&self, run: &Run) -> bool {
        let counted: Tokens = self.usages(run).map(|usage| usage.tokens).sum();
        let shown: Tokens = self.calls(run).map(|call| call.tokens).sum();
        CLASSES.iter().all(|class| counted.of(*class) == shown.of(*class))
    }
}

/// What a group is made of, each with one price.
pub(super) fn charges<'r>(run: &'r Run, group: &Group, received_s: i64) -> Vec<Charge<'r>> {
    let run_s = run.created_at_s.or(run.stored_at_s).unwrap_or(received_s);
    if !group.adds_up(run) {
        let Some(usage) = group.usages(run).next() else { return Vec::new() };
        let tokens = group.usages(run).map(|usage| usage.tokens).sum();
        let at_s = group.calls(run).find_map(|call| call.created_at_s).unwrap_or(run_s);
        let call = Call { tokens, is_sum: true, ..call_of(usage, at_s) };
        return vec![Charge { call, stated_nano_usd: group.stated_nano_usd(run) }];
    }
    let stated: Vec<Option<u64>> = group.calls(run).map(|call| of_stated(&call.stated)).collect();
    let stated = with_shares(&stated, run, group);
    let charge = |(call, stated_nano_usd): (&'r ModelCall, Option<u64>)| Charge {
        call: Call {
            provider: call.provider.as_deref(),
            model: call.model.as_deref(),
            service_tier: service_tier(&call.stated),
            at_s: call.created_at_s.unwrap_or(run_s),
            tokens: call.tokens,
            is_sum: !call.has_message,
        },
        stated_nano_usd,
    };
    group.calls(run).zip(stated).map(charge).collect()
}

fn call_of(usage: &Usage, at_s: i64) -> Call<'_> {
    let (provider, model) = (usage.provider.as_deref(), usage.model.as_deref());
    Call { provider, model, service_tier: None, at_s, tokens: usage.tokens, is_sum: true }
}

/// What of a sum that the provider stated its messages do not account for belongs to the calls that state nothing.
fn with_shares(stated: &[Option<u64>], run: &Run, group: &Group) -> Vec<Option<u64>> {
    let mut all = stated.to_vec();
    let said: u64 = stated.iter().flatten().fold(0, |sum, one| sum.saturating_add(*one));
    let weight = |(call, stated): (&ModelCall, &Option<u64>)| {
        if stated.is_none() { u128::from(call.tokens.total()) } else { 0 }
    };
    let weights: Vec<u128> = group.calls(run).zip(stated).map(weight).collect();
    let rest = group.stated_nano_usd(run).map_or(0, |whole| whole.saturating_sub(said));
    // Each figure may have been rounded by half a nano-dollar.
    let is_rounding = rest <= stated.iter().flatten().count() as u64;
    if weights.iter().all(|weight| *weight == 0) || is_rounding {
        return all;
    }
    for ((cost, share), weight) in all.iter_mut().zip(divide(rest, &weights)).zip(&weights) {
        if *weight > 0 {
            *cost = Some(share);
        }
    }
    all
}

fn of_stated(stated: &Stated) -> Option<u64> {
    let cost = stated.floats.iter().find(|(field, _)| *field == "cost");
    cost.and_then(|(_, usd)| stated_nano_usd(*usd))
}

fn service_tier(stated: &Stated) -> Option<&str> {
    let tier = stated.provider.iter().find(|(key, _)| key == "service_tier");
    tier.and_then(|(_, tier)| match tier {
        Scalar::Text(tier) => Some(tier.as_str()),
        Scalar::Integer(_) | Scalar::Float(_) | Scalar::Bool(_) => None,
    })
}

impl Charge<'_> {
    /// What it costs: what the provider stated, else by prices. Nothing costs nothing, and is not said.
    pub(super) fn cost(&self, prices: &Prices) -> Option<Cost> {
        let stated = self.stated_nano_usd.map(Cost::stated);
        stated.or_else(|| if self.call.tokens.is_zero() { None } else { prices.cost(&self.call) })
    }
}

fn costs(run: &Run, group: &Group, prices: &Prices, received_s: i64) -> Costs {
    let charges = charges(run, group, received_s);
    let of_charges: Vec<Option<Cost>> = charges.iter().map(|charge| charge.cost(prices)).collect();
    let is_unpriced = |(charge, cost): (&Charge<'_>, &Option<Cost>)| {
        if cost.is_none() { charge.call.tokens.total() } else { 0 }
    };
    let unpriced = charges.iter().zip(&of_charges).map(is_unpriced).fold(0, u64::saturating_add);
    if group.adds_up(run) {
        return Costs { whole: None, of_calls: of_charges, unpriced };
    }
    // One price for all of it, shared by its calls.
    let whole = of_charges.into_iter().next().flatten();
    let weights: Vec<u128> = group.calls(run).map(|call| u128::from(call.tokens.total())).collect();
    let Some(cost) = whole.filter(|_| !weights.is_empty()) else {
        return Costs { whole, of_calls: Vec::new(), unpriced };
    };
    let stated = if cost.stated_nano_usd > 0 { cost.nano_usd } else { 0 };
    let shares = divide(cost.nano_usd, &weights).into_iter().zip(divide(stated, &weights));
    let of_calls = shares.map(|(nano_usd, stated_nano_usd)| {
        Some(Cost { nano_usd, stated_nano_usd, source: cost.source, is_estimate: true })
    });
    Costs { whole, of_calls: of_calls.collect(), unpriced }
}

/// Writes costs where they belong. What usages of one key cost is said of the first.
fn write(run: &mut Run, group: &Group, costs: &Costs) {
    for (at, cost) in group.calls.iter().zip(&costs.of_calls) {
        if let Some(call) = run.calls.get_mut(*at) {
            call.cost = *cost;
        }
    }
    let sum = costs.whole.or_else(|| Cost::sum(costs.of_calls.iter().flatten().copied()));
    let mut rest = (sum, costs.unpriced);
    for at in &group.usages {
        if let Some(usage) = run.usage.get_mut(*at) {
            (usage.cost, usage.unpriced) = std::mem::take(&mut rest);
        }
    }
}

//! The price table of `genai-prices`: what providers published, embedded when we were built. The only door of that crate.
//!
//! It is decoded when it is first asked; nothing is ever fetched.

use std::time::{Duration, UNIX_EPOCH};

use genai_prices::{Calculator, PriceRequest, Usage, UsageKey};

use super::Call;
use super::parts::{Kind, Parts, Rates};
use super::providers::{Listed, listed};
use crate::model::cost::nano_usd;

/// Who says what a price is. A test holds the version against `Cargo.lock`.
pub const TABLE: &str = "genai-prices 0.2.1";
/// The same where the user has a discount.
pub(super) const DISCOUNTED: &str = "genai-prices 0.2.1, discounted";

/// How a model that costs nothing is marked. Of any other, a price of nothing is none: the table knows its price of an
/// hour, a letter or a page.
const FREE: &str = ":free";
/// Names of tiers that mean the ordinary price.
const ORDINARY: [&str; 4] = ["standard", "default", "auto", BATCH];
/// What Anthropic calls the tier of an answer that came by a batch.
const BATCH: &str = "batch";

/// Tokens whose price is asked for to know that of one.
const MILLION: u64 = 1_000_000;

/// A model's place in the table, with what decides which of its prices apply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'c> {
    provider: Option<&'static str>,
    model: &'c str,
    at_s: u64,
    service_tier: Option<&'c str>,
    is_batch: bool,
}

/// What the table knows of a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'c> {
    /// It is paid by nobody.
    Local,
    /// It may be priced.
    Entry(Entry<'c>),
    /// Nobody knows.
    Unknown,
}

/// Looks a call's model up. What looks like an entry may still have no price.
pub(super) fn find<'c>(call: &Call<'c>, is_batch: bool) -> Found<'c> {
    let Some(model) = call.model else { return Found::Unknown };
    let (provider, model) = match listed(call.provider, model) {
        Listed::Nowhere => return Found::Local,
        Listed::Unknown => return Found::Unknown,
        Listed::Under(id, model) => (Some(id), model),
        Listed::ByName(model) => (None, model),
    };
    let is_batch = is_batch || call.service_tier == Some(BATCH);
    let at_s = u64::try_from(call.at_s).unwrap_or(0);
    Found::Entry(Entry { provider, model, at_s, service_tier: call.service_tier, is_batch })
}

impl Entry<'_> {
    /// What a call with these tokens costs, in nano-dollars.
    pub(super) fn cost(&self, parts: &Parts) -> Option<u64> {
        self.known(self.usd(&usage_of(parts, 1.0))?)
    }

    /// What so many tokens cost that may have been spread over many calls, each within the lowest tier: as many times as
    /// much as what a prompt of one token would cost.
    pub(super) fn cost_of_sum(&self, parts: &Parts) -> Option<u64> {
        let times = f64_of(parts.input().max(1));
        let request = self.usd(&Usage::new())?;
        self.known((self.usd(&usage_of(parts, times))? - request) * times + request)
    }

    fn known(&self, usd: f64) -> Option<u64> {
        (usd > 0.0 || self.model.ends_with(FREE)).then(|| nano_usd(usd))
    }

    /// True where the call was of a tier that the table has no price of.
    pub(super) fn lacks_tier(&self, parts: &Parts) -> bool {
        let ordinary = Self { service_tier: None, ..*self };
        self.service_tier.is_some_and(|tier| !ORDINARY.contains(&tier))
            && ordinary.cost(parts) == self.cost(parts)
    }

    /// The prices of each kind of token in a call with so much input: prices depend on that.
    pub(super) fn rates(&self, input: u64) -> Option<Rates> {
        let input = input.max(1);
        let of = |parts: &Parts| self.usd(&usage_of(parts, 1.0));
        let request = self.usd(&Usage::new())?;
        let mut rates = Rates::of_request(nano_usd(request));
        for kind in Kind::ALL {
            let usd_per_token = if kind.is_output() {
                let mut parts = Parts::only(Kind::Input, input);
                let without = of(&parts)?;
                parts.set(kind, MILLION);
                (of(&parts)? - without) / f64_of(MILLION)
            } else {
                (of(&Parts::only(kind, input))? - request) / f64_of(input)
            };
            rates.set(kind, usd_per_token * f64_of(MILLION));
        }
        Some(rates)
    }

    fn usd(&self, usage: &Usage) -> Option<f64> {
        let mut request = PriceRequest::new(self.model, usage)
            .with_timestamp(UNIX_EPOCH.checked_add(Duration::from_secs(self.at_s)).unwrap_or(UNIX_EPOCH));
        if let Some(provider) = self.provider {
            request = request.with_provider_id(provider);
        }
        if let Some(tier) = self.service_tier {
            request = request.with_price_context("service_tier", tier);
        }
        if self.is_batch {
            request = request.with_price_context("processing", "batch");
        }
        Calculator::bundled().calculate(&request).ok().map(|price| price.total_price)
    }
}

/// Everything a call used, as the table wants it: wholes, and the parts in them. Divided by `by`.
fn usage_of(parts: &Parts, by: f64) -> Usage {
    use Kind::{
        AudioCacheRead, AudioCacheWrite, AudioInput, AudioOutput, AudioReasoning, CacheRead, CacheWrite,
        Output, Reasoning,
    };
    let audio_input = parts.sum(&[AudioInput, AudioCacheRead, AudioCacheWrite]);
    let audio_output = parts.sum(&[AudioOutput, AudioReasoning]);
    let counts = [
        (UsageKey::INPUT_TOKENS, parts.input()),
        (UsageKey::CACHE_READ_TOKENS, parts.sum(&[CacheRead, AudioCacheRead])),
        (UsageKey::CACHE_WRITE_TOKENS, parts.sum(&[CacheWrite, AudioCacheWrite])),
        (UsageKey::OUTPUT_TOKENS, parts.sum(&[Output, AudioOutput, Reasoning, AudioReasoning])),
        (UsageKey::OUTPUT_REASONING_TOKENS, parts.sum(&[Reasoning, AudioReasoning])),
        (UsageKey::INPUT_AUDIO_TOKENS, audio_input),
        (UsageKey::OUTPUT_AUDIO_TOKENS, audio_output),
    ];
    // Where parts overlap it must be said by how much, even if that is nothing.
    let overlaps = [
        (UsageKey::CACHE_AUDIO_READ_TOKENS, parts.get(AudioCacheRead)),
        (UsageKey::CACHE_AUDIO_WRITE_TOKENS, parts.get(AudioCacheWrite)),
        (UsageKey::OUTPUT_AUDIO_REASONING_TOKENS, parts.get(AudioReasoning)),
    ];
    let has_audio = audio_input > 0 || audio_output > 0;
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let counts = counts.chain(overlaps.into_iter().filter(|_| has_audio));
    counts.map(|(key, count)| (key, f64_of(count) / by)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts up to 2^53 are exact, and more are not believed")]
fn f64_of(count: u64) -> f64 {
    count as f64
}

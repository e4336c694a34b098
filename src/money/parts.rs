//! A call's tokens by what they are paid as, and prices of each.

use super::own::Factor;
use crate::model::Tokens;
use crate::model::cost::{divide, nano_usd};

/// What a token is paid as. Audio is told from text, because it costs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Prompt, neither read from nor written to a cache.
    Input,
    /// The same, spoken.
    AudioInput,
    /// Prompt read from a cache.
    CacheRead,
    /// The same, spoken.
    AudioCacheRead,
    /// Prompt written to a cache.
    CacheWrite,
    /// The same, spoken.
    AudioCacheWrite,
    /// Generated, without reasoning.
    Output,
    /// The same, spoken.
    AudioOutput,
    /// Reasoning.
    Reasoning,
    /// The same, spoken; nobody does, but figures may say so.
    AudioReasoning,
}

/// How many kinds there are.
const KINDS: usize = 10;

impl Kind {
    /// Every kind, in the order of a bill.
    pub const ALL: [Self; KINDS] = [
        Self::Input,
        Self::AudioInput,
        Self::CacheRead,
        Self::AudioCacheRead,
        Self::CacheWrite,
        Self::AudioCacheWrite,
        Self::Output,
        Self::AudioOutput,
        Self::Reasoning,
        Self::AudioReasoning,
    ];

    /// What a bill calls it: the token class, and that it is audio.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::AudioInput => "audio_input",
            Self::CacheRead => "cache_read",
            Self::AudioCacheRead => "audio_cache_read",
            Self::CacheWrite => "cache_write",
            Self::AudioCacheWrite => "audio_cache_write",
            Self::Output => "output",
            Self::AudioOutput => "audio_output",
            Self::Reasoning => "reasoning",
            Self::AudioReasoning => "audio_reasoning",
        }
    }

    /// True for what is generated.
    pub(super) fn is_output(self) -> bool {
        self >= Self::Output
    }

    fn place(self) -> usize {
        self as usize
    }
}

/// Tokens by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts([u64; KINDS]);

impl Parts {
    /// Takes tokens apart. How much of the audio was cached is recorded nowhere: it is taken to be as little as can be.
    pub(super) fn of(tokens: &Tokens) -> Self {
        let (mut heard, mut said) = (tokens.audio_input, tokens.audio_output);
        let mut parts = Self::default();
        for (audio, text, count) in [
            (Kind::AudioInput, Kind::Input, tokens.uncached),
            (Kind::AudioCacheRead, Kind::CacheRead, tokens.cache_read),
            (Kind::AudioCacheWrite, Kind::CacheWrite, tokens.cache_write),
            (Kind::AudioOutput, Kind::Output, tokens.answer),
            (Kind::AudioReasoning, Kind::Reasoning, tokens.reasoning),
        ] {
            let left = if text.is_output() { &mut said } else { &mut heard };
            let spoken = count.min(*left);
            *left -= spoken;
            parts.set(audio, spoken);
            parts.set(text, count - spoken);
        }
        parts
    }

    /// Only this.
    pub(super) fn only(kind: Kind, count: u64) -> Self {
        let mut parts = Self::default();
        parts.set(kind, count);
        parts
    }

    pub(super) fn set(&mut self, kind: Kind, count: u64) {
        if let Some(part) = self.0.get_mut(kind.place()) {
            *part = count;
        }
    }

    pub(super) fn get(&self, kind: Kind) -> u64 {
        self.0.get(kind.place()).copied().unwrap_or(0)
    }

    pub(super) fn sum(&self, kinds: &[Kind]) -> u64 {
        kinds.iter().map(|kind| self.get(*kind)).fold(0, u64::saturating_add)
    }

    /// Everything of the prompt.
    pub(super) fn input(&self) -> u64 {
        Kind::ALL
            .into_iter()
            .filter(|kind| !kind.is_output())
            .map(|kind| self.get(kind))
            .fold(0, u64::saturating_add)
    }
}

/// Prices of one token of each kind, in whole pico-dollars (millionths of a dollar per million tokens), and of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    of_token: [u64; KINDS],
    /// Nano-dollars of each request, whatever its size.
    pub(super) request: u64,
}

/// One kind's part of what a call costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// `None`: the request itself.
    pub(super) kind: Option<Kind>,
    pub(super) count: u64,
    /// Pico-dollars of one.
    pub(super) rate: u64,
    pub(super) nano_usd: u64,
}

/// Pico-dollars that are a nano-dollar.
const PICO_PER_NANO: u128 = 1_000;

impl Rates {
    /// Only this for each request, in nano-dollars.
    pub(super) fn of_request(request: u64) -> Self {
        Self { request, ..Self::default() }
    }

    /// The price of a kind, in pico-dollars a token.
    pub(super) fn get(&self, kind: Kind) -> u64 {
        self.of_token.get(kind.place()).copied().unwrap_or(0)
    }

    /// Sets the price of a kind, in dollars for a million tokens.
    pub(super) fn set(&mut self, kind: Kind, usd_per_million: f64) {
        if let Some(rate) = self.of_token.get_mut(kind.place()) {
            // A thousandth of a nano-dollar for one token is that of a thousand dollars for a million.
            *rate = nano_usd(usd_per_million / 1e3);
        }
    }

    /// What a call with these parts costs.
    pub(super) fn cost(&self, parts: &Parts) -> u64 {
        let pico: u128 = Kind::ALL.into_iter().map(|kind| self.weight(kind, parts)).sum();
        u64::try_from((pico + PICO_PER_NANO / 2) / PICO_PER_NANO)
            .unwrap_or(u64::MAX)
            .saturating_add(self.request)
    }

    fn weight(&self, kind: Kind, parts: &Parts) -> u128 {
        u128::from(self.get(kind)) * u128::from(parts.get(kind))
    }

    /// What each part of a cost is for, by what is left of these prices; together they are all of it.
    pub(super) fn items(&self, parts: &Parts, cost_nano_usd: u64, factor: Factor) -> Vec<Item> {
        let request = factor.left_of(self.request).min(cost_nano_usd);
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| parts.get(*kind) > 0).collect();
        let weights: Vec<u128> = kinds.iter().map(|kind| self.weight(*kind, parts)).collect();
        let of_kinds = kinds.iter().zip(divide(cost_nano_usd - request, &weights)).map(|(kind, nano_usd)| {
            let rate = factor.left_of(self.get(*kind));
            Item { kind: Some(*kind), count: parts.get(*kind), rate, nano_usd }
        });
        let of_request = (request > 0).then_some(Item {
            kind: None,
            count: 1,
            rate: request.saturating_mul(1_000),
            nano_usd: request,
        });
        of_kinds.chain(of_request).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_little_of_the_audio_as_can_be_was_cached() {
        let tokens = Tokens {
            uncached: 10,
            cache_read: 20,
            cache_write: 5,
            answer: 8,
            reasoning: 4,
            audio_input: 25,
            audio_output: 9,
        };
        let parts = Parts::of(&tokens);
        assert_eq!(Kind::ALL.map(|kind| parts.get(kind)), [0, 10, 5, 15, 5, 0, 0, 8, 3, 1]);
        assert_eq!(parts.input(), tokens.input());
    }

    #[test]
    fn prices_are_whole_pico_dollars_a_token() {
        let mut rates = Rates::default();
        rates.set(Kind::Input, 0.075);
        rates.set(Kind::Output, 15.0);
        assert_eq!((rates.get(Kind::Input), rates.get(Kind::Output)), (75_000, 15_000_000));
        let mut parts = Parts::only(Kind::Input, 1_001);
        parts.set(Kind::Output, 7);
        // 1,001 × 75 nano-dollars, and 7 × 15,000.
        assert_eq!(rates.cost(&parts), 75_075 + 105_000);
    }

    proptest::proptest! {
        #[test]
        fn items_add_up_to_the_cost(
            counts in proptest::collection::vec(0u64..10_000_000, KINDS),
            prices in proptest::collection::vec(0.0f64..500.0, KINDS),
            request in 0u64..20_000_000,
        ) {
            let (mut parts, mut rates) = (Parts::default(), Rates { request, ..Rates::default() });
            for (kind, (count, price)) in Kind::ALL.into_iter().zip(counts.into_iter().zip(prices)) {
                parts.set(kind, count);
                rates.set(kind, price);
            }
            let cost = rates.cost(&parts);
            let items = rates.items(&parts, cost, Factor::NONE);
            proptest::prop_assert_eq!(items.iter().map(|item| item.nano_usd).sum::<u64>(), cost);
            for item in items {
                let exact = u128::from(item.count) * u128::from(item.rate) / 1_000;
                proptest::prop_assert!(u128::from(item.nano_usd).abs_diff(exact) <= 1, "{:?}", item);
            }
        }
    }
}

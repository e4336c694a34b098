//! Prices and discounts the user set.

use super::Call;
use super::parts::{Kind, Rates};

/// What is left of a price, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor(u32);

/// All of a price.
const WHOLE: u32 = 1_000_000;

impl Factor {
    /// Nothing is left off.
    pub const NONE: Self = Self(WHOLE);

    /// A multiplier from 0 to 1,000: 0.85 leaves 85 %. `None`: it is none.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    pub fn of(multiplier: f64) -> Option<Self> {
        (0.0..=1_000.0).contains(&multiplier).then(|| Self((multiplier * f64::from(WHOLE)).round() as u32))
    }

    /// What is left of an amount, to the nearest unit.
    pub(super) fn left_of(self, amount: u64) -> u64 {
        let product = u128::from(amount) * u128::from(self.0) + u128::from(WHOLE / 2);
        u64::try_from(product / u128::from(WHOLE)).unwrap_or(u64::MAX)
    }
}

/// Prices in dollars for a million tokens. What is not said costs what it is a part of.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OwnRates {
    /// Prompt tokens.
    pub input: f64,
    /// Prompt tokens read from a cache.
    pub cache_read: Option<f64>,
    /// Prompt tokens written to a cache.
    pub cache_write: Option<f64>,
    /// Generated tokens.
    pub output: f64,
    /// Reasoning.
    pub reasoning: Option<f64>,
    /// Prompt tokens of audio, cached or not.
    pub audio_input: Option<f64>,
    /// Generated tokens of audio.
    pub audio_output: Option<f64>,
}

impl From<OwnRates> for Rates {
    fn from(own: OwnRates) -> Self {
        let mut rates = Self::default();
        let read = own.cache_read.unwrap_or(own.input);
        let write = own.cache_write.unwrap_or(own.input);
        let thought = own.reasoning.unwrap_or(own.output);
        for (kind, usd_per_million) in [
            (Kind::Input, own.input),
            (Kind::AudioInput, own.audio_input.unwrap_or(own.input)),
            (Kind::CacheRead, read),
            (Kind::AudioCacheRead, own.audio_input.unwrap_or(read)),
            (Kind::CacheWrite, write),
            (Kind::AudioCacheWrite, own.audio_input.unwrap_or(write)),
            (Kind::Output, own.output),
            (Kind::AudioOutput, own.audio_output.unwrap_or(own.output)),
            (Kind::Reasoning, thought),
            (Kind::AudioReasoning, own.audio_output.unwrap_or(thought)),
        ] {
            rates.set(kind, usd_per_million);
        }
        rates
    }
}

/// What the user says of some models.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Own {
    /// Which models: a name, or a pattern with `*` for any text.
    pub model: String,
    /// Of which provider, in OpenTelemetry's words; likewise.
    pub provider: Option<String>,
    /// From this Unix second on.
    pub from_s: Option<i64>,
    /// Up to this Unix second, exclusive.
    pub until_s: Option<i64>,
    /// What they cost. `None`: what the table says.
    pub rates: Option<OwnRates>,
    /// What is left of that.
    pub discount: Option<Factor>,
    /// They are asked by the provider's batch interface.
    pub is_batch: bool,
}

impl Own {
    pub(super) fn is_of(&self, call: &Call<'_>) -> bool {
        let is_then = self.from_s.is_none_or(|from| from <= call.at_s)
            && self.until_s.is_none_or(|until| call.at_s < until);
        let is_its = self
            .provider
            .as_deref()
            .is_none_or(|pattern| matches(pattern, call.provider.unwrap_or_default()));
        is_then && is_its && matches(&self.model, call.model.unwrap_or_default())
    }
}

/// True if a text is as a pattern says: `*` stands for any text, and case is nothing.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "GPT-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o", true),
            ("*", "", true),
            ("*4o*mini*", "gpt-4o-mini", true),
            ("*4o*4o", "gpt-4o", false),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
            ("", "x", false),
            ("é*", "é1", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_discount_is_exact_to_the_nano_dollar() {
        assert_eq!(Factor::of(0.85).map(|factor| factor.left_of(1_000_000_001)), Some(850_000_001));
        assert_eq!(Factor::NONE.left_of(u64::MAX), u64::MAX);
        assert_eq!(Factor::of(-0.1), None);
        assert_eq!(Factor::of(f64::NAN), None);
    }
}

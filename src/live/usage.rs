//! What a model call used, as its caller states it.

use crate::model::Tokens;

/// Tokens of one model call, in OpenTelemetry's meaning: the parts of the prompt are in [`input`](Self::input), those of the
/// answer in [`output`](Self::output).
///
/// These are Agno's nine token fields but for its two sums: `total_tokens` is input and output, `audio_total_tokens` is
/// both kinds of audio.
///
/// OpenAI and most others state their figures like this. Anthropic and Bedrock leave what was cached out of the input:
/// [`cache_outside_input`](Self::cache_outside_input). Gemini leaves thoughts out of the output:
/// [`reasoning_outside_output`](Self::reasoning_outside_output).
///
/// ```
/// use agno_otel::live::Usage;
///
/// let openai = Usage { input: 1_200, cache_read: 1_000, output: 80, ..Usage::default() };
/// let anthropic = Usage { input: 200, cache_read: 1_000, output: 80, ..Usage::default() };
/// assert_eq!(anthropic.cache_outside_input(), openai);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, those read from a cache or written to one included.
    pub input: u64,
    /// Of `input`: read from the provider's cache.
    pub cache_read: u64,
    /// Of `input`: written to the provider's cache.
    pub cache_write: u64,
    /// Of `input`: audio.
    pub audio_input: u64,
    /// Tokens that were generated, reasoning included.
    pub output: u64,
    /// Of `output`: reasoning.
    pub reasoning: u64,
    /// Of `output`: audio.
    pub audio_output: u64,
}

/// The figures add up as they were stated.
const INCLUSIVE: &str = "inclusive";
/// More was cached than there was input, so the input is without it.
const CACHE_OUTSIDE_INPUT: &str = "cache_outside_input";

impl Usage {
    /// The same, from figures whose input is without what was cached: it is added.
    #[must_use]
    pub fn cache_outside_input(self) -> Self {
        let input = self.input.saturating_add(self.cache_read).saturating_add(self.cache_write);
        Self { input, ..self }
    }

    /// The same, from figures whose output is without reasoning: it is added.
    #[must_use]
    pub fn reasoning_outside_output(self) -> Self {
        Self { output: self.output.saturating_add(self.reasoning), ..self }
    }

    /// The disjoint classes, and the rule that made them. Figures that contradict each other are clamped, so that the
    /// classes add up to input and output.
    pub(super) fn normalised(self) -> (Tokens, &'static str) {
        let cached = self.cache_read.saturating_add(self.cache_write);
        let is_outside = cached > self.input;
        let whole = if is_outside { self.cache_outside_input() } else { self };
        let reasoning = whole.reasoning.min(whole.output);
        let tokens = Tokens {
            uncached: whole.input.saturating_sub(cached),
            cache_read: whole.cache_read,
            cache_write: whole.cache_write,
            answer: whole.output - reasoning,
            reasoning,
            audio_input: whole.audio_input.min(whole.input),
            audio_output: whole.audio_output.min(whole.output),
        };
        (tokens, if is_outside { CACHE_OUTSIDE_INPUT } else { INCLUSIVE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_classes_add_up_to_input_and_output(
            numbers in proptest::array::uniform7(0_u64..10_000),
        ) {
            let [input, cache_read, cache_write, audio_input, output, reasoning, audio_output] = numbers;
            let usage = Usage { input, cache_read, cache_write, audio_input, output, reasoning, audio_output };
            let (tokens, rule) = usage.normalised();
            let whole = if rule == INCLUSIVE { usage } else { usage.cache_outside_input() };
            proptest::prop_assert_eq!((tokens.input(), tokens.output()), (whole.input, output));
            proptest::prop_assert!(tokens.audio_input <= whole.input && tokens.audio_output <= output);
        }
    }

    #[test]
    fn more_cached_than_there_was_input_is_beside_it() {
        let usage = Usage { input: 200, cache_read: 1_000, ..Usage::default() };
        let (tokens, rule) = usage.normalised();
        assert_eq!((tokens.uncached, tokens.cache_read, rule), (200, 1_000, CACHE_OUTSIDE_INPUT));
    }
}

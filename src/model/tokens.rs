//! Tokens in the five disjoint classes we count, and the one place they are added up.

use std::ops::{Add, AddAssign};

/// The disjoint classes of a token count, in the order they are shown. Their sum is the bill.
pub const CLASSES: [Class; 5] =
    [Class::Input, Class::CacheRead, Class::CacheWrite, Class::Output, Class::Reasoning];

/// One disjoint class of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Prompt tokens that were neither read from nor written to a cache.
    Input,
    /// Prompt tokens read from the provider's cache.
    CacheRead,
    /// Prompt tokens written to the provider's cache.
    CacheWrite,
    /// Generated tokens without reasoning.
    Output,
    /// Generated reasoning ("thinking") tokens.
    Reasoning,
}

impl Class {
    /// The value of `agno.token.class`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
        }
    }
}

/// Token counts, normalised: the five classes are disjoint and add up to the bill.
///
/// Audio counts are subsets ("of which audio"), never added to the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens {
    /// Uncached prompt tokens.
    pub uncached: u64,
    /// Prompt tokens read from cache.
    pub cache_read: u64,
    /// Prompt tokens written to cache.
    pub cache_write: u64,
    /// Generated tokens without reasoning.
    pub answer: u64,
    /// Reasoning tokens.
    pub reasoning: u64,
    /// Of the prompt tokens, those that were audio.
    pub audio_input: u64,
    /// Of the generated tokens, those that were audio.
    pub audio_output: u64,
}

impl Tokens {
    /// Prompt tokens of every class, OpenTelemetry's `gen_ai.usage.input_tokens`.
    pub fn input(&self) -> u64 {
        self.uncached.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }

    /// Generated tokens of every class, OpenTelemetry's `gen_ai.usage.output_tokens`.
    pub fn output(&self) -> u64 {
        self.answer.saturating_add(self.reasoning)
    }

    /// Every token that is billed.
    pub fn total(&self) -> u64 {
        self.input().saturating_add(self.output())
    }

    /// The count of one class.
    pub fn of(&self, class: Class) -> u64 {
        match class {
            Class::Input => self.uncached,
            Class::CacheRead => self.cache_read,
            Class::CacheWrite => self.cache_write,
            Class::Output => self.answer,
            Class::Reasoning => self.reasoning,
        }
    }

    /// True when no class has a token.
    pub fn is_zero(&self) -> bool {
        self.total() == 0
    }

    /// True when every class of `other` fits into this count.
    pub fn covers(&self, other: &Self) -> bool {
        CLASSES.iter().all(|&class| self.of(class) >= other.of(class))
    }

    /// This count without `other`, class by class, never below zero.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let classes = Self {
            uncached: self.uncached.saturating_sub(other.uncached),
            cache_read: self.cache_read.saturating_sub(other.cache_read),
            cache_write: self.cache_write.saturating_sub(other.cache_write),
            answer: self.answer.saturating_sub(other.answer),
            reasoning: self.reasoning.saturating_sub(other.reasoning),
            ..Self::default()
        };
        // What is left of the audio is at most what is left of all.
        let audio_input = self.audio_input.saturating_sub(other.audio_input).min(classes.input());
        let audio_output = self.audio_output.saturating_sub(other.audio_output).min(classes.output());
        Self { audio_input, audio_output, ..classes }
    }
}

impl Add for Tokens {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            uncached: self.uncached.saturating_add(other.uncached),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            answer: self.answer.saturating_add(other.answer),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            audio_input: self.audio_input.saturating_add(other.audio_input),
            audio_output: self.audio_output.saturating_add(other.audio_output),
        }
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Tokens {
    fn sum<I: Iterator<Item = Self>>(tokens: I) -> Self {
        tokens.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_add_up_to_the_total() {
        let tokens = Tokens {
            uncached: 1,
            cache_read: 2,
            cache_write: 4,
            answer: 8,
            reasoning: 16,
            ..Tokens::default()
        };
        assert_eq!(CLASSES.iter().map(|&class| tokens.of(class)).sum::<u64>(), tokens.total());
        assert_eq!((tokens.input(), tokens.output(), tokens.total()), (7, 24, 31));
    }

    #[test]
    fn a_difference_never_goes_below_zero() {
        let small = Tokens { uncached: 1, ..Tokens::default() };
        let large = Tokens { uncached: 5, answer: 2, ..Tokens::default() };
        assert_eq!(small.minus(&large), Tokens::default());
        assert!(large.covers(&small) && !small.covers(&large));
    }

    #[test]
    fn of_what_is_left_at_most_all_is_audio() {
        let all = Tokens { uncached: 5, answer: 5, audio_input: 4, audio_output: 4, ..Tokens::default() };
        let left = all.minus(&Tokens { uncached: 3, answer: 2, ..Tokens::default() });
        assert_eq!((left.audio_input, left.audio_output), (2, 3));
    }
}

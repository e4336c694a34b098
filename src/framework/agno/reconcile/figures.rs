//! Agno's nine token fields as one value, that can be added and taken away again.

use std::ops::{Add, AddAssign, Neg, Sub};

use super::super::tokens::TOKEN_FIELDS;
use crate::model::{Stated, Tokens};

/// Token counts or differences of them, as Agno states them: the fields of its metrics, in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Figures([i64; TOKEN_FIELDS.len()]);

impl Figures {
    /// What was stated; a field that was not is 0, as Agno means it.
    pub(super) fn of(stated: &Stated) -> Self {
        let count = |name: &str| {
            let found = stated.integers.iter().find(|(field, _)| *field == name);
            found.map_or(0, |(_, count)| i64::try_from(*count).unwrap_or(i64::MAX))
        };
        Self(TOKEN_FIELDS.map(count))
    }

    /// Of these, what can be compared with ours.
    pub fn amount(&self) -> Amount {
        let [input, output, total, ..] = self.0;
        Amount { input, output, total }
    }

    /// True where no field is below zero.
    pub(super) fn is_count(&self) -> bool {
        self.0.iter().all(|count| *count >= 0)
    }

    /// True where no field is above that of `other`.
    pub(super) fn fits(&self, other: &Self) -> bool {
        (*other - *self).is_count()
    }

    /// True for what may be one of several parts of `other`.
    pub(super) fn is_some_part_of(&self, other: &Self) -> bool {
        self.is_count() && !self.is_zero() && self.fits(other)
    }

    pub(super) fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for Figures {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own = own.saturating_add(other);
        }
        self
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Neg for Figures {
    type Output = Self;

    fn neg(self) -> Self {
        Self::default() - self
    }
}

impl Sub for Figures {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own = own.saturating_sub(other);
        }
        self
    }
}

impl std::iter::Sum for Figures {
    fn sum<I: Iterator<Item = Self>>(figures: I) -> Self {
        figures.fold(Self::default(), Add::add)
    }
}

/// Tokens, or a difference of them, in the three sums that both we and Agno have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Prompt tokens.
    pub input: i64,
    /// Generated tokens.
    pub output: i64,
    /// All of them. Ours is always the sum of both; what Agno states need not be.
    pub total: i64,
}

impl Amount {
    /// Of our own count.
    pub fn of(tokens: &Tokens) -> Self {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self { input: count(tokens.input()), output: count(tokens.output()), total: count(tokens.total()) }
    }

    /// True where nothing differs.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            total: self.total.saturating_add(other.total),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_sub(other.input),
            output: self.output.saturating_sub(other.output),
            total: self.total.saturating_sub(other.total),
        }
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

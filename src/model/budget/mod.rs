//! Budgets: what somebody may spend in a time, and what of it is spent.
//!
//! Pure: it is given the time, and what was spent. A run counts when it began, to the minute, whenever it came to be
//! known; so late runs, replays and restarts change nothing.

mod window;

pub use window::{LONGEST_WINDOW_S, Span, Window};

use crate::model::cost::NANO_PER_USD;
use crate::model::{RunKind, Usage};

/// What may be spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// `agno.budget.name`.
    pub name: String,
    /// By whom.
    pub scope: Scope,
    /// How much.
    pub limit: Limit,
    /// In which time.
    pub window: Window,
}

/// Whose spending counts: what all of this holds for. By default everybody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Agents, teams and workflows that all spent it themselves or had others work for them.
    pub spenders: Vec<(RunKind, String)>,
    /// The model it was spent on, by its name.
    pub model: Option<String>,
}

/// How much may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Tokens of all classes.
    Tokens(u64),
    /// Billionths of a US dollar.
    NanoUsd(u64),
}

/// Something that was spent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expense {
    /// Who spent it and for whom, the first of them first: agents, teams and workflows.
    pub by: Vec<(RunKind, String)>,
    /// On which model.
    pub model: String,
    /// Tokens of all classes.
    pub tokens: u64,
    /// Billionths of a US dollar; nothing where no price is known.
    pub nano_usd: u64,
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// What may be spent.
    pub limit: Limit,
    /// What is spent, in the limit's unit.
    pub usage: u64,
    /// The window it is about.
    pub span: Span,
}

impl Budget {
    /// How the budget stands, given all that was spent in its window.
    pub fn standing<'s>(&self, spent: impl IntoIterator<Item = &'s Expense>, span: Span) -> Standing {
        let mine = spent.into_iter().filter(|spent| self.scope.holds(spent));
        let amount = |spent: &Expense| match self.limit {
            Limit::Tokens(_) => spent.tokens,
            Limit::NanoUsd(_) => spent.nano_usd,
        };
        let usage = mine.map(amount).fold(0, u64::saturating_add);
        Standing { name: self.name.clone(), limit: self.limit, usage, span }
    }
}

impl Expense {
    /// What a run spent on one model, given who it is and for whom it works.
    pub fn of(usage: &Usage, by: &[(RunKind, String)]) -> Self {
        let executor = usage.spender.as_ref().map(|spender| (spender.kind, spender.name.clone()));
        Self {
            by: by.iter().cloned().chain(executor).collect(),
            model: usage.model.clone().unwrap_or_default(),
            tokens: usage.tokens.total(),
            nano_usd: usage.cost.map_or(0, |cost| cost.nano_usd),
        }
    }
}

impl Scope {
    fn holds(&self, expense: &Expense) -> bool {
        self.spenders.iter().all(|spender| expense.by.contains(spender))
            && self.model.as_ref().is_none_or(|model| *model == expense.model)
    }
}

/// What a session may pass before somebody wants to know, where nothing else is said.
pub static DEFAULT_THRESHOLDS: [Limit; 6] = [
    Limit::Tokens(100_000),
    Limit::Tokens(1_000_000),
    Limit::Tokens(10_000_000),
    Limit::NanoUsd(NANO_PER_USD),
    Limit::NanoUsd(10 * NANO_PER_USD),
    Limit::NanoUsd(100 * NANO_PER_USD),
];

impl Limit {
    /// As people write it: `1000000 tokens`, `10 USD`, `0.5 USD`.
    pub fn text(self) -> String {
        match self {
            Self::Tokens(tokens) => format!("{tokens} tokens"),
            Self::NanoUsd(_) => format!("{} USD", self.number()),
        }
    }

    /// The same without its unit.
    pub fn number(self) -> String {
        match self {
            Self::Tokens(tokens) => tokens.to_string(),
            Self::NanoUsd(nano) => {
                let text = format!("{}.{:09}", nano / NANO_PER_USD, nano % NANO_PER_USD);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        }
    }

    /// True if it lies above what was spent before, and not above what is spent now, in tokens and nano-dollars.
    pub fn is_crossed(self, before: (u64, u64), now: (u64, u64)) -> bool {
        let of = |(tokens, nano_usd)| if matches!(self, Self::Tokens(_)) { tokens } else { nano_usd };
        of(before) < self.amount() && self.amount() <= of(now)
    }

    /// How much, in tokens or nano-dollars.
    pub fn amount(self) -> u64 {
        match self {
            Self::Tokens(amount) | Self::NanoUsd(amount) => amount,
        }
    }

    /// How many of its unit make one of what people say: tokens, or dollars.
    pub fn scale(self) -> u64 {
        match self {
            Self::Tokens(_) => 1,
            Self::NanoUsd(_) => NANO_PER_USD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(by: &[(RunKind, &str)], model: &str, tokens: u64, nano_usd: u64) -> Expense {
        let by = by.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect();
        Expense { by, model: model.to_owned(), tokens, nano_usd }
    }

    #[test]
    fn a_budget_counts_what_its_scope_spent_with_all_who_work_for_it() {
        use RunKind::{Agent, Team, Workflow};
        let all = [
            spent(&[(Workflow, "Daily"), (Team, "Desk"), (Agent, "Writer")], "gpt-4o", 100, 2_000_000_000),
            spent(&[(Agent, "Writer")], "gpt-4o-mini", 10, 500_000_000),
            spent(&[(Team, "Writer")], "gpt-4o", 1, 0),
        ];
        let spender = |kind, name: &str| Scope { spenders: vec![(kind, name.to_owned())], model: None };
        let model = |model: &str| Scope { model: Some(model.to_owned()), ..Scope::default() };
        let both = Scope { model: Some("gpt-4o".to_owned()), ..spender(Agent, "Writer") };
        for (scope, tokens, usd) in [
            (Scope::default(), 111, 2_500_000_000),
            (spender(Agent, "Writer"), 110, 2_500_000_000),
            (spender(Team, "Writer"), 1, 000_000_000),
            (spender(Team, "Desk"), 100, 2_000_000_000),
            (spender(Workflow, "Daily"), 100, 2_000_000_000),
            (model("gpt-4o"), 101, 2_000_000_000),
            (both, 100, 2_000_000_000),
            (model("gpt"), 0, 000_000_000),
        ] {
            let of = |limit| {
                let budget =
                    Budget { name: "b".to_owned(), scope: scope.clone(), limit, window: Window::Day };
                budget.standing(&all, Window::Day.span(0))
            };
            let (in_tokens, in_usd) = (of(Limit::Tokens(200)), of(Limit::NanoUsd(5_000_000_000)));
            assert_eq!((in_tokens.usage, in_usd.usage), (tokens, usd), "{scope:?}");
        }
    }
}

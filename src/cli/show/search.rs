//! Which runs are searched for.

use std::cmp::Ordering;

use super::rows::RunRow;
use crate::clock::Clock;
use crate::config::when;
use crate::model::cost::nano_usd;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Search: runs that match all of these")]
pub(super) struct Search {
    /// Of this agent, team or workflow: its name or id, or a part of it; with * or ? all of it. Case does not matter
    #[arg(long, value_name = "NAME", value_parser = Pattern::parse)]
    agent: Option<Pattern>,
    /// Which asked this model, likewise
    #[arg(long, value_name = "NAME", value_parser = Pattern::parse)]
    model: Option<Pattern>,
    /// Which executed this tool, likewise
    #[arg(long, value_name = "NAME", value_parser = Pattern::parse)]
    tool: Option<Pattern>,
    /// Which failed, or in which something failed
    #[arg(long)]
    error: bool,
    /// Which cost so many dollars: '>1', '>=0.5', '<0.01', '<=2'; a number alone is the least
    #[arg(long, value_name = "USD", value_parser = Threshold::parse)]
    cost: Option<Threshold>,
    /// Which began then or later: a time (2026-11-24T09:30:00Z), a date, or a length of time before now (12h, 7d)
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| when::parse(text, Clock::System))]
    since: Option<u64>,
}

impl Search {
    /// True if anything is searched for.
    pub(super) fn is_wanted(&self) -> bool {
        let Self { agent, model, tool, error, cost, since } = self;
        agent.is_some() || model.is_some() || tool.is_some() || *error || cost.is_some() || since.is_some()
    }

    /// True if a run matches. What it started is its own, but for its name.
    pub(super) fn finds(&self, run: &RunRow) -> bool {
        let Self { agent, model, tool, error, cost, since } = self;
        any(agent.as_ref(), run.entity_name.iter().chain(&run.entity_id))
            && any(model.as_ref(), &run.models)
            && any(tool.as_ref(), &run.tool_names)
            && (!error || run.figures.errors > 0)
            && cost.is_none_or(|cost| cost.is_met(run))
            && since.is_none_or(|since_ns| run.start_ns >= since_ns)
    }
}

/// True if a name matches, or nothing has to.
fn any<'n>(pattern: Option<&Pattern>, names: impl IntoIterator<Item = &'n String>) -> bool {
    pattern.is_none_or(|pattern| names.into_iter().any(|name| pattern.matches(name)))
}

/// A part of a name, or with `*` and `?` all of it; in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<char>);

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.to_lowercase();
        match text.as_str() {
            "" => Err("expected a name, or a part of it".to_owned()),
            _ if text.contains(['*', '?']) => Ok(Self(text.chars().collect())),
            _ => Ok(Self(format!("*{text}*").chars().collect())),
        }
    }

    fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.to_lowercase().chars().collect();
        let pattern = &self.0;
        // Where the last star stood, and how much of the name it has taken.
        let (mut at, mut from, mut star) = (0, 0, None);
        while let Some(letter) = name.get(from) {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, from));
                    at += 1;
                }
                Some(own) if *own == '?' || own == letter => (at, from) = (at + 1, from + 1),
                _ => {
                    let Some((place, taken)) = star else { return false };
                    star = Some((place, taken + 1));
                    (at, from) = (place + 1, taken + 1);
                }
            }
        }
        pattern.get(at..).is_some_and(|rest| rest.iter().all(|letter| *letter == '*'))
    }
}

/// A bound of cost.
#[derive(Debug, Clone, Copy)]
struct Threshold {
    is_met: fn(Ordering) -> bool,
    is_upper: bool,
    nano_usd: u64,
}

impl Threshold {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let found =
            [">=", "<=", ">", "<", ""].iter().find_map(|sign| Some((*sign, text.strip_prefix(sign)?)));
        let amount = found.and_then(|(sign, rest)| {
            let usd = rest.trim().trim_start_matches('$').parse::<f64>().ok();
            let usd = usd.filter(|usd| usd.is_finite() && *usd >= 0.0)?;
            let is_met = match sign {
                "<=" => Ordering::is_le,
                ">" => Ordering::is_gt,
                "<" => Ordering::is_lt,
                _ => Ordering::is_ge,
            };
            Some(Self { is_met, is_upper: sign.starts_with('<'), nano_usd: nano_usd(usd) })
        });
        amount.ok_or_else(|| "expected dollars, such as '>1', '>=0.5', '<0.01' or 2".to_owned())
    }

    /// What is not known to be below is not below.
    fn is_met(self, run: &RunRow) -> bool {
        let is_known = !self.is_upper || run.figures.unpriced.is_empty();
        run.figures.cost.is_some_and(|cost| is_known && (self.is_met)(cost.nano_usd.cmp(&self.nano_usd)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_part_of_a_name_or_with_stars_all_of_it() {
        for (pattern, name, is_found) in [
            ("search", "Web Search Agent", true),
            ("SEARCH", "web search", true),
            ("gpt-?", "gpt-5", true),
            ("gpt-?", "gpt-5-mini", false),
            ("gpt*mini", "gpt-5-mini", true),
            ("gpt*mini", "gpt-mini-5", false),
            ("*a*b*", "xxaxxbxx", true),
            ("研究*", "研究者", true),
            ("x", "", false),
            ("*", "", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), is_found, "{pattern} {name}");
        }
        assert!(Pattern::parse("").is_err());
    }

    #[test]
    fn a_bound_of_cost_is_in_dollars() {
        let bound = |text| Threshold::parse(text).map(|bound| (bound.is_upper, bound.nano_usd));
        assert_eq!(bound(">1"), Ok((false, 1_000_000_000)));
        assert_eq!(bound("<= $0.000000001"), Ok((true, 1)));
        assert_eq!(bound("2.5"), Ok((false, 2_500_000_000)));
        let at_least = Threshold::parse("1").unwrap();
        assert!((at_least.is_met)(Ordering::Equal));
        for wrong in ["", ">", "=1", "1 euro", "-1", "NaN", "inf", ">>1"] {
            assert!(bound(wrong).is_err(), "{wrong}");
        }
    }
}

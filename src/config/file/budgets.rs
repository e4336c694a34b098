//! `[[budget]]`: what may be spent.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::model::RunKind;
use crate::model::budget::{Budget, LONGEST_WINDOW_S, Limit, Scope, Window};

const LIMITS: &str = "an amount such as \"100 USD\", \"0.50 USD\" or \"5000000 tokens\"";
const WINDOWS: &str = "\"day\", \"week\", \"month\", or a length of time in whole minutes such as \"24h\"";
/// Digits behind the point of an amount in USD: what is kept are billionths.
const USD_DIGITS: usize = 9;

/// A budget as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Written {
    name: String,
    #[serde(deserialize_with = "limit")]
    limit: Limit,
    #[serde(deserialize_with = "window")]
    window: Window,
    agent: Option<String>,
    team: Option<String>,
    workflow: Option<String>,
    model: Option<String>,
}

/// All budgets, each of another name.
pub(super) fn budgets<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Budget>, D::Error> {
    let mut budgets = Vec::<Budget>::new();
    for written in Vec::<Written>::deserialize(from)? {
        let Written { name, limit, window, agent, team, workflow, model } = written;
        if name.is_empty() {
            return Err(D::Error::custom("a budget needs a name"));
        }
        if budgets.iter().any(|known| known.name == name) {
            return Err(D::Error::custom(format!("two budgets are called \"{name}\"")));
        }
        let spenders = [(RunKind::Agent, agent), (RunKind::Team, team), (RunKind::Workflow, workflow)];
        let spenders = spenders.into_iter().filter_map(|(kind, name)| Some((kind, name?))).collect();
        budgets.push(Budget { name, scope: Scope { spenders, model }, limit, window });
    }
    Ok(budgets)
}

fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Limit, D::Error> {
    let text = String::deserialize(from)?;
    amount(&text).ok_or_else(|| D::Error::custom(format!("expected {LIMITS}, above 0, found \"{text}\"")))
}

/// Limits of sessions; none is none.
pub(super) fn thresholds<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Limit>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let of_text = |text: &String| {
        amount(text).ok_or_else(|| D::Error::custom(format!("expected {LIMITS}, above 0, found \"{text}\"")))
    };
    texts.iter().map(of_text).collect()
}

fn amount(text: &str) -> Option<Limit> {
    let (number, unit) = text.trim().split_once(' ')?;
    match unit.trim() {
        "tokens" => number.replace('_', "").parse().ok().filter(|tokens| *tokens > 0).map(Limit::Tokens),
        "USD" => nano(&number.replace('_', "")).filter(|nano| *nano > 0).map(Limit::NanoUsd),
        _ => None,
    }
}

/// Billionths of an amount, exactly.
fn nano(number: &str) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > USD_DIGITS || whole.len() + part.len() == 0 {
        return None;
    }
    format!("{whole}{part:0<USD_DIGITS$}").parse().ok()
}

fn window<'de, D: Deserializer<'de>>(from: D) -> Result<Window, D::Error> {
    let text = String::deserialize(from)?;
    let rolling = || {
        let length = humantime::parse_duration(&text).ok()?;
        let is_whole =
            length.as_secs() > 0 && length.as_secs().is_multiple_of(60) && length.subsec_nanos() == 0;
        (is_whole && length.as_secs() <= LONGEST_WINDOW_S)
            .then_some(Window::Rolling { seconds: length.as_secs() })
    };
    match text.as_str() {
        "day" => Ok(Window::Day),
        "week" => Ok(Window::Week),
        "month" => Ok(Window::Month),
        _ => rolling().ok_or_else(|| D::Error::custom(format!("expected {WINDOWS}, found \"{text}\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, limit) in [
            ("100 USD", Some(Limit::NanoUsd(100_000_000_000))),
            ("0.5 USD", Some(Limit::NanoUsd(500_000_000))),
            ("1_000.000000001 USD", Some(Limit::NanoUsd(1_000_000_000_001))),
            ("5_000_000 tokens", Some(Limit::Tokens(5_000_000))),
            ("0 USD", None),
            ("1.0000000001 USD", None),
            ("1e3 USD", None),
            ("-1 USD", None),
            (". USD", None),
            ("1.5 tokens", None),
            ("100 EUR", None),
            ("100", None),
        ] {
            assert_eq!(amount(text), limit, "{text}");
        }
    }
}

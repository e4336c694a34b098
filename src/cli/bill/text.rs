//! A bill for people, in 80 columns, and for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::summary::counted;
use crate::export::print::{grouped, plain};
use crate::model::cost::{CONFIG, LOCAL, NANO_PER_USD, PROVIDER, usd};
use crate::money::TABLE;
use crate::money::bill::{Amount, Bill, Line, Model};

/// Digits of a dollar that are always shown, and those of a nano-dollar.
const DIGITS: std::ops::RangeInclusive<usize> = 2..=9;

/// A bill as a table. Amounts have as many digits as they need to add up to the last.
pub(super) fn table(bill: &Bill) -> String {
    let amounts = bill.models.values().flatten().map(|(_, amount)| amount.nano_usd);
    let digits = amounts.map(digits_of).max().unwrap_or(0).clamp(*DIGITS.start(), *DIGITS.end());
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (model, lines) in &bill.models {
        writeln!(text, "{}", name(model)).ok();
        for (line, amount) in lines {
            writeln!(text, "{}", row(line, amount, digits).trim_end()).ok();
        }
        let sum = lines.values().map(|amount| amount.nano_usd).fold(0, u64::saturating_add);
        if lines.len() > 1 {
            writeln!(text, "{:>67}", money(sum, digits)).ok();
        }
        text.push('\n');
    }
    let about = format!("{}, {}", counted(bill.runs, "run"), counted(bill.tokens(), "token"));
    let total =
        bill.total.map_or_else(|| "no price is known".to_owned(), |total| money(total.nano_usd, digits));
    writeln!(text, "total  {about:<40}{total:>20}").ok();
    for (model, tokens) in &bill.unpriced {
        writeln!(text, "unpriced  {} of {}: no price is known", counted(*tokens, "token"), name(model)).ok();
    }
    let all = || bill.models.values().flatten().map(|(line, _)| line);
    if all().any(|line| ![PROVIDER, CONFIG, LOCAL].contains(&line.source)) {
        writeln!(text, "prices: {TABLE}, each of its call's time").ok();
    }
    if all().any(|line| line.is_estimate) {
        writeln!(text, "~ estimate: only a sum of calls is recorded, or not what kind of tokens").ok();
    }
    text
}

fn row(line: &Line, amount: &Amount, digits: usize) -> String {
    let what = line.what.as_str().replace('_', " ");
    let price =
        line.rate.map(|rate| format!("× {:>9}/M", format!("${}", of_million(rate)))).unwrap_or_default();
    let count = grouped(amount.count);
    let source = match line.source {
        TABLE => "",
        PROVIDER | CONFIG | LOCAL => line.source,
        _ => "discount",
    };
    let mark = if line.is_estimate { "~" } else { " " };
    let amount = money(amount.nano_usd, digits);
    format!("  {what:<18}{count:>15} {price:<13} ={amount:>16} {mark} {source}")
}

/// What a model is called, for a terminal.
fn name(model: &Model) -> String {
    let names = [&model.provider, &model.model].map(|name| plain(name).into_owned());
    let named: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    if named.is_empty() { "unknown model".to_owned() } else { named.join(" ") }
}

/// Dollars with so many digits of a dollar.
fn money(nano_usd: u64, digits: usize) -> String {
    let nano = format!("{:09}", nano_usd % NANO_PER_USD);
    let shown: String = nano.chars().take(digits).collect();
    format!("${}.{shown}", grouped(nano_usd / NANO_PER_USD))
}

/// How many digits of a dollar an amount has.
fn digits_of(nano_usd: u64) -> usize {
    let nano = format!("{:09}", nano_usd % NANO_PER_USD);
    nano.trim_end_matches('0').len()
}

/// Pico-dollars of one as dollars for a million: at least two digits, and as many as there are.
fn of_million(rate: u64) -> String {
    let (whole, rest) = (rate / 1_000_000, format!("{:06}", rate % 1_000_000));
    let rest = rest.trim_end_matches('0');
    format!("{whole}.{rest:0<2}")
}

/// A bill for machines.
pub(super) fn json(bill: &Bill) -> serde_json::Result<String> {
    let of_line = |(model, line, amount): (&Model, &Line, &Amount)| {
        json!({
            "provider": model.provider,
            "model": model.model,
            "what": line.what.as_str(),
            "count": amount.count,
            "usd_per_million": line.rate.and_then(|rate| of_million(rate).parse::<f64>().ok()),
            "usd": usd(amount.nano_usd),
            "nano_usd": amount.nano_usd,
            "source": line.source,
            "is_estimate": line.is_estimate,
        })
    };
    let lines = bill.models.iter();
    let lines =
        lines.flat_map(|(model, lines)| lines.iter().map(move |(line, amount)| (model, line, amount)));
    let unpriced = bill
        .unpriced
        .iter()
        .map(|(model, tokens)| json!({"provider": model.provider, "model": model.model, "tokens": tokens}));
    let text = json!({
        "runs": bill.runs,
        "tokens": bill.tokens(),
        "currency": "USD",
        "price_table": TABLE,
        "total_usd": bill.total.map(|total| usd(total.nano_usd)),
        "total_nano_usd": bill.total.map(|total| total.nano_usd),
        "is_estimate": bill.total.map(|total| total.is_estimate),
        "lines": lines.map(of_line).collect::<Vec<Value>>(),
        "unpriced": unpriced.collect::<Vec<Value>>(),
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_digits_they_need_and_prices_too() {
        assert_eq!([0, 1_000, 10_000_000, 1].map(digits_of), [0, 6, 2, 9]);
        assert_eq!(money(1_234_567_890_123, 6), "$1,234.567890");
        let prices = [2_500_000, 75_000, 15_000_000, 0, 18_750, 1].map(of_million);
        assert_eq!(prices, ["2.50", "0.075", "15.00", "0.00", "0.01875", "0.000001"]);
    }
}

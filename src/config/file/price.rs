//! `[prices]` and `[[price]]`: what models cost, where the embedded table does not know or one pays another price.

use std::time::UNIX_EPOCH;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::sections::Sections;
use crate::money::{self, Factor, Own, OwnRates};

/// A price beyond this is a mistake: in dollars for a million tokens.
const LARGEST_PRICE: f64 = 1e6;

const PRICES: &str = "dollars for a million tokens, from 0 to 1000000";
const DISCOUNTS: &str = "what is left of a price, from 0 to 1000: 0.85 takes 15 % off";
const DATES: &str = "a date such as \"2026-11-24\", from its midnight UTC on";

/// `[prices]`: what holds for all prices of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Prices {
    /// What is left of them.
    #[serde(deserialize_with = "factor")]
    pub discount: Factor,
}

impl Default for Prices {
    fn default() -> Self {
        Self { discount: Factor::NONE }
    }
}

/// `[[price]]`: what some models cost.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Price(pub Own);

/// A price as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Written {
    model: String,
    provider: Option<String>,
    #[serde(default, deserialize_with = "date")]
    from: Option<i64>,
    #[serde(default, deserialize_with = "date")]
    until: Option<i64>,
    #[serde(default, deserialize_with = "price")]
    input: Option<f64>,
    #[serde(default, deserialize_with = "price")]
    cache_read: Option<f64>,
    #[serde(default, deserialize_with = "price")]
    cache_write: Option<f64>,
    #[serde(default, deserialize_with = "price")]
    output: Option<f64>,
    #[serde(default, deserialize_with = "price")]
    reasoning: Option<f64>,
    #[serde(default, deserialize_with = "price")]
    audio_input: Option<f64>,
    #[serde(default, deserialize_with = "price")]
    audio_output: Option<f64>,
    #[serde(default, deserialize_with = "some_factor")]
    discount: Option<Factor>,
    #[serde(default)]
    batch: bool,
}

impl TryFrom<Written> for Price {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { cache_read, cache_write, reasoning, audio_input, audio_output, .. } = written;
        let parts = [cache_read, cache_write, reasoning, audio_input, audio_output];
        let about = format!("the price of \"{}\"", written.model);
        let rates = match (written.input, written.output) {
            (Some(input), Some(output)) => Some(OwnRates {
                input,
                cache_read,
                cache_write,
                output,
                reasoning,
                audio_input,
                audio_output,
            }),
            (None, None) if parts.iter().all(Option::is_none) => None,
            (None, _) => return Err(format!("{about} has no input; give input and output, or neither")),
            (_, None) => return Err(format!("{about} has no output; give input and output, or neither")),
        };
        if rates.is_none() && written.discount.is_none() && !written.batch {
            return Err(format!("{about} says nothing; give input and output, discount, or batch"));
        }
        if rates.is_some() && written.batch {
            return Err(format!("{about} has batch beside prices of its own; give one of the two"));
        }
        if written.from.zip(written.until).is_some_and(|(from, until)| from >= until) {
            return Err(format!("{about} ends before it begins; until must be later than from"));
        }
        Ok(Self(Own {
            model: written.model,
            provider: written.provider,
            from_s: written.from,
            until_s: written.until,
            rates,
            discount: written.discount,
            is_batch: written.batch,
        }))
    }
}

impl Sections {
    /// The prices it says.
    pub fn prices(&self) -> money::Prices {
        let own = self.price.iter().map(|price| price.0.clone()).collect();
        money::Prices { own, discount: self.prices.discount }
    }
}

fn price<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let price = f64::deserialize(from)?;
    let is_one = (0.0..=LARGEST_PRICE).contains(&price);
    is_one.then_some(Some(price)).ok_or_else(|| D::Error::custom(format!("expected {PRICES}")))
}

fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<Factor, D::Error> {
    Factor::of(f64::deserialize(from)?).ok_or_else(|| D::Error::custom(format!("expected {DISCOUNTS}")))
}

fn some_factor<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Factor>, D::Error> {
    factor(from).map(Some)
}

/// A date, as text or as TOML has it: the Unix second it begins at.
fn date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Date {
        Text(String),
        Date(toml::value::Datetime),
    }
    let wrong = || D::Error::custom(format!("expected {DATES}"));
    let text = match Date::deserialize(from).map_err(|_untold| wrong())? {
        Date::Text(text) => text,
        Date::Date(date) => date.to_string(),
    };
    date_s(&text).map(Some).ok_or_else(wrong)
}

/// The Unix second at which a date such as `2026-11-24` begins, in UTC.
fn date_s(text: &str) -> Option<i64> {
    let midnight = humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok()?;
    i64::try_from(midnight.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

//! Runs without what was said: what is left decodes to the same figures.
//!
//! Runs that were handed to us are kept, for nobody else keeps them, and kept without content unless sending that was
//! asked for. So this is a list of what `decode` reads when it reads figures, and of how much of it. Of what it only
//! compares a hash is left, of what it only finds there an empty value. What is not listed is left out.

mod fields;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use fields::{METRICS, RUN, STEP};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::lenient::{self, bounded};
use super::message::{member_hash_of, text_hash};
use super::{MAX_PROVIDER_SCALARS, is_word, steps};

/// Digits of a number that is kept. No number has more that says anything.
const MAX_NUMBER_BYTES: usize = 64;

/// How much of a field is left.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// A name or an id: all of it, as far as `decode` keeps it.
    Text,
    /// A word of a few; this one where it is another kind of text.
    Word(&'static str),
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// Whether it is there, and of which type.
    Hollow,
    /// What was said: its hash, where such texts are compared.
    Said,
    /// The same; that it is there in any case.
    Result,
    /// Of arguments the member they name, where they name one.
    Arguments,
    /// Short scalars by name.
    Scalars,
    /// Metrics by role.
    Roles,
    /// Steps, and lists of them.
    Steps,
    /// An object with these fields.
    Object(&'static Fields),
    /// A list of such objects.
    List(&'static Fields),
    /// A list of runs within this one.
    Runs,
    /// A run within this one.
    Run,
}

/// The fields of an object that are read.
#[derive(Debug)]
struct Fields {
    rules: &'static [(&'static str, Rule)],
    /// True where what was said in this object is compared with what others say.
    is_compared: fn(&Entries<'_>, Within) -> bool,
}

/// Where an object stands.
#[derive(Debug, Clone, Copy)]
struct Within {
    /// How many runs are around it.
    runs: usize,
    /// How many lists of steps are around it.
    steps: usize,
    /// What was said in it is compared.
    is_compared: bool,
}

/// A run's text without what was said in it. `text` is JSON that [`decode`](super::decode) reads as a run.
pub(super) fn run(text: &str) -> String {
    let mut stripped = Stripped { text: String::with_capacity(text.len() / 4) };
    stripped.object(text, &RUN, Within { runs: 0, steps: 0, is_compared: false });
    stripped.text
}

struct Stripped {
    text: String,
}

impl Stripped {
    fn object(&mut self, text: &str, fields: &Fields, within: Within) {
        let Ok(entries) = serde_json::from_str::<Entries<'_>>(text) else {
            return self.text.push_str(hollow(text));
        };
        let is_compared = (fields.is_compared)(&entries, within);
        let within = Within { is_compared, ..within };
        let start = self.text.len();
        for (name, raw) in &entries.0 {
            let rule = fields.rules.iter().find(|(known, _)| known == name).map(|(_, rule)| *rule);
            // What is null is as if it were not there.
            let Some(rule) = rule.filter(|_| raw.get() != "null") else { continue };
            let before = self.text.len();
            self.text.push(if before == start { '{' } else { ',' });
            // Names of fields need no escapes.
            write!(self.text, "\"{name}\":").ok();
            let empty = self.text.len();
            self.field(raw, rule, within);
            if self.text.len() == empty {
                self.text.truncate(before);
            }
        }
        self.text.push_str(if self.text.len() == start { "{}" } else { "}" });
    }

    /// Writes what is left of a field, if anything is.
    fn field(&mut self, raw: &RawValue, rule: Rule, within: Within) {
        let text = raw.get();
        match rule {
            Rule::Text => self.scalar(raw, |text| bounded(Cow::Owned(text)).into_owned()),
            Rule::Word(other) => self
                .scalar(raw, |text| if text.is_empty() || is_word(&text) { text } else { other.to_owned() }),
            Rule::Number if is_number(text) => self.text.push_str(number(text)),
            Rule::Flag if text == "true" || text == "false" => self.text.push_str(text),
            Rule::Number | Rule::Flag | Rule::Hollow => self.text.push_str(hollow(text)),
            Rule::Said => self.hash(text_hash(Some(raw)).filter(|_| within.is_compared)),
            Rule::Result => match text_hash(Some(raw)).filter(|_| within.is_compared) {
                None => self.text.push_str(hollow(text)),
                hash => self.hash(hash),
            },
            Rule::Arguments => self.arguments(text, within),
            Rule::Scalars => self.scalars(text),
            Rule::Roles => self.roles(text, within),
            Rule::Object(fields) => self.object(text, fields, within),
            Rule::List(fields) => {
                self.list(text, &mut |own, item| own.object(item.get(), fields, within));
            }
            Rule::Steps if within.steps == steps::MAX_DEPTH => self.text.push_str(hollow(text)),
            Rule::Steps => {
                let inner = Within { steps: within.steps + 1, ..within };
                self.list(text, &mut |own, item| own.step(item, inner));
            }
            Rule::Runs | Rule::Run if within.runs == lenient::MAX_DEPTH => self.text.push_str(hollow(text)),
            Rule::Runs => {
                let inner = Within { runs: within.runs + 1, steps: 0, ..within };
                self.list(text, &mut |own, item| own.object(item.get(), &RUN, inner));
            }
            Rule::Run => self.object(text, &RUN, Within { runs: within.runs + 1, steps: 0, ..within }),
        }
    }

    fn scalar(&mut self, raw: &RawValue, keep: impl FnOnce(String) -> String) {
        let text = raw.get();
        if text.starts_with('"') {
            let read = serde_json::from_str::<String>(text).unwrap_or_default();
            self.text.push_str(&serde_json::Value::from(keep(read)).to_string());
        } else {
            self.text.push_str(if is_number(text) { number(text) } else { hollow(text) });
        }
    }

    fn list(&mut self, text: &str, item: &mut dyn FnMut(&mut Self, &RawValue)) {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text) else {
            return self.text.push_str(hollow(text));
        };
        self.text.push('[');
        for (place, raw) in items.into_iter().enumerate() {
            self.text.push_str(if place == 0 { "" } else { "," });
            item(self, raw);
        }
        self.text.push(']');
    }

    fn step(&mut self, raw: &RawValue, within: Within) {
        if raw.get().starts_with('[') {
            self.field(raw, Rule::Steps, within);
        } else {
            self.object(raw.get(), &STEP, within);
        }
    }

    fn hash(&mut self, hash: Option<u64>) {
        if let Some(hash) = hash {
            write!(self.text, "{{\"agno_otel_hash\":{hash}}}").ok();
        }
    }

    fn arguments(&mut self, text: &str, within: Within) {
        let entries = serde_json::from_str::<Entries<'_>>(text).ok().filter(|_| within.is_compared);
        let member = entries.and_then(|entries| member_hash_of(entries.raw("member_id")?));
        if let Some(hash) = member {
            self.text.push_str("{\"member_id\":");
            self.hash(Some(hash));
            self.text.push('}');
        }
    }

    fn scalars(&mut self, text: &str) {
        let Ok(entries) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else { return };
        let is_kept = |(name, raw): &(String, &RawValue)| {
            let is_scalar = is_number(raw.get()) || matches!(raw.get(), "true" | "false");
            let word = || serde_json::from_str::<String>(raw.get()).is_ok_and(|text| is_word(&text));
            is_word(name) && (is_scalar || word())
        };
        self.text.push('{');
        for (place, (name, raw)) in entries.into_iter().filter(is_kept).take(MAX_PROVIDER_SCALARS).enumerate()
        {
            let comma = if place == 0 { "" } else { "," };
            write!(self.text, "{comma}\"{name}\":{}", raw.get()).ok();
        }
        self.text.push('}');
    }

    fn roles(&mut self, text: &str, within: Within) {
        let Ok(entries) = serde_json::from_str::<Entries<'_>>(text) else {
            return self.text.push_str(hollow(text));
        };
        self.text.push('{');
        for (place, (role, raw)) in entries.0.iter().enumerate() {
            let (comma, role) =
                (if place == 0 { "" } else { "," }, if is_word(role) { role } else { "unknown" });
            write!(self.text, "{comma}\"{role}\":").ok();
            self.list(raw.get(), &mut |own, item| own.object(item.get(), &METRICS, within));
        }
        self.text.push('}');
    }
}

/// An empty value of the same type.
fn hollow(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "\"\"",
        Some(b'[') => "[]",
        Some(b'{') => "{}",
        Some(b't' | b'f') => "false",
        Some(b'n') | None => "null",
        Some(_) => "0",
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn number(text: &str) -> &str {
    if text.len() <= MAX_NUMBER_BYTES { text } else { "0" }
}

/// An object's fields in the order they were written.
#[derive(Debug)]
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Entries<'a> {
    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(own, _)| own == name).map(|(_, raw)| *raw)
    }

    /// A name or an id, unless absent or empty.
    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str::<lenient::Text<'_>>(self.raw(name)?.get()).ok()?.owned()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Entries<'de>;
            fn expecting(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                text.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

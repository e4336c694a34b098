//! Spans as views of the runs they tell of: names and values are borrowed until [`encode`](super::encode) writes them.

use std::borrow::Cow;

use super::ids::{SpanId, TraceId};

/// A span before it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanView<'r> {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// None: it is a root.
    pub(super) parent_span_id: Option<SpanId>,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) attributes: Vec<Attribute<'r>>,
    pub(super) events: Vec<EventView<'r>>,
    pub(super) links: Vec<LinkView>,
    /// That it failed, and why, where that may be said.
    pub(super) failure: Option<String>,
}

/// An attribute's name and value.
pub type Said<'r> = (Cow<'r, str>, Value<'r>);

/// What a span says, taken apart for whoever writes it in another way than we do.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts<'r> {
    /// Its name.
    pub name: String,
    /// In order.
    pub attributes: Vec<Said<'r>>,
    /// Names of events, their times in Unix nanoseconds, and what they say.
    pub events: Vec<(&'r str, u64, Vec<Said<'r>>)>,
    /// That it failed, and why, where that may be said.
    pub failure: Option<String>,
}

impl<'r> SpanView<'r> {
    /// Takes it apart.
    pub fn into_parts(self) -> Parts<'r> {
        let said = |all: Vec<Attribute<'r>>| all.into_iter().map(Attribute::into_said).collect();
        Parts {
            name: self.name,
            attributes: said(self.attributes),
            events: self.events.into_iter().map(|it| (it.name, it.at_ns, said(it.attributes))).collect(),
            failure: self.failure,
        }
    }
}

/// OTLP's kinds of spans, as far as we have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Internal,
    Client,
}

/// An event of a span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EventView<'r> {
    pub(super) name: &'r str,
    pub(super) at_ns: u64,
    pub(super) attributes: Vec<Attribute<'r>>,
}

/// A link to another span, by what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkView {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) kind: &'static str,
}

/// An attribute. Its name is the prefix and the rest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attribute<'r> {
    /// Nearly always empty, so it takes no more than an address.
    pub(super) prefix: &'static &'static str,
    pub(super) name: &'r str,
    pub(super) value: Value<'r>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'r> {
    /// A text.
    Text(Cow<'r, str>),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// Yes or no.
    Flag(bool),
    /// Several texts.
    Texts(&'r [String]),
}

impl<'r> Attribute<'r> {
    fn into_said(self) -> Said<'r> {
        let Self { prefix, name, value } = self;
        let name = if prefix.is_empty() { Cow::Borrowed(name) } else { [prefix, name].concat().into() };
        (name, value)
    }

    pub(super) fn new(name: &'r str, value: Value<'r>) -> Self {
        Self { prefix: &"", name, value }
    }

    pub(super) fn text(name: &'r str, value: impl Into<Cow<'r, str>>) -> Self {
        Self::new(name, Value::Text(value.into()))
    }
}

/// Attributes as they are put together.
pub(super) type Attributes<'r> = Vec<Attribute<'r>>;

pub(super) fn text<'r>(attributes: &mut Attributes<'r>, name: &'r str, value: impl Into<Cow<'r, str>>) {
    attributes.push(Attribute::text(name, value));
}

/// A text that may be missing; an empty one is.
pub(super) fn optional<'r>(
    attributes: &mut Attributes<'r>,
    name: &'r str,
    value: Option<impl Into<Cow<'r, str>>>,
) {
    if let Some(value) = value.map(Into::into).filter(|value| !value.is_empty()) {
        text(attributes, name, value);
    }
}

pub(super) fn number<'r>(attributes: &mut Attributes<'r>, name: &'r str, value: u64) {
    attributes.push(Attribute::new(name, count(value)));
}

pub(super) fn count<'r>(value: u64) -> Value<'r> {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(super) fn real<'r>(attributes: &mut Attributes<'r>, name: &'r str, value: f64) {
    attributes.push(Attribute::new(name, Value::Real(value)));
}

pub(super) fn flag<'r>(attributes: &mut Attributes<'r>, name: &'r str) {
    attributes.push(Attribute::new(name, Value::Flag(true)));
}

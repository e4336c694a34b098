//! Spans as lines of a tree, for people.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, status};

use super::ids::{SpanId, hex};
use super::names;
use super::spans::TraceSpans;
use crate::model::Tokens;
use crate::model::cost::nano_usd;

/// Levels drawn as branches; below them the level stands before the name, as a number.
const MAX_BRANCHES: usize = 12;

/// One span as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Branches of the tree, then the span's name.
    pub label: String,
    /// Unix nanoseconds.
    pub start_ns: u64,
    /// Unix nanoseconds.
    pub end_ns: u64,
    /// Tokens, role, status: what is worth saying of it.
    pub figures: String,
    /// True when it failed.
    pub failed: bool,
    /// True when its times are known to the second only.
    pub coarse: bool,
    /// The span's id, as backends show it.
    pub span_id: String,
    /// What it hangs under, among the lines.
    pub parent: Option<usize>,
    /// Its name alone.
    pub name: String,
    /// The run it is of.
    pub run_id: String,
    /// True when it is a model call.
    pub is_call: bool,
    /// Of a model call what it spent; of anything else what all below it spent.
    pub spent: Spent,
    /// Start to the first token or chunk, nanoseconds.
    pub first_ns: Option<u64>,
    /// What is worth a word, but for figures: status, role, error type.
    pub notes: String,
    /// Why it failed, in one word that is no content.
    pub error_type: Option<String>,
    /// Why it failed, where that may be said.
    pub error: String,
    /// Branches for a line below this one and above the next.
    pub below: String,
}

/// What was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tokens.
    pub tokens: Tokens,
    /// Nano-dollars, as far as prices are known.
    pub nano_usd: Option<u64>,
    /// True where there are tokens without a known price.
    pub unpriced: bool,
}

impl Spent {
    fn of(span: &Span) -> Self {
        let count = |name| number(span, name).and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        let (cache_read, cache_write) = (count(names::USAGE_CACHE_READ), count(names::USAGE_CACHE_WRITE));
        let reasoning = count(names::USAGE_REASONING);
        let tokens = Tokens {
            uncached: count(names::USAGE_INPUT).saturating_sub(cache_read.saturating_add(cache_write)),
            cache_read,
            cache_write,
            answer: count(names::USAGE_OUTPUT).saturating_sub(reasoning),
            reasoning,
            audio_input: count(names::USAGE_AUDIO_INPUT),
            audio_output: count(names::USAGE_AUDIO_OUTPUT),
        };
        let nano_usd = real(span, names::COST_AMOUNT).map(nano_usd);
        Self { tokens, nano_usd, unpriced: nano_usd.is_none() && !tokens.is_zero() }
    }

    fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        let costs = [self.nano_usd, other.nano_usd].into_iter().flatten();
        self.nano_usd = costs.reduce(u64::saturating_add);
        self.unpriced |= other.unpriced;
    }
}

/// The part of a trace that a span is the root of; nothing where it has no such span.
pub fn part_of(trace: &TraceSpans, root: &SpanId) -> TraceSpans {
    let mut ids = BTreeSet::new();
    let mut spans: Vec<Span> = Vec::new();
    // Parents come before children.
    for span in &trace.spans {
        if span.span_id == root || ids.contains(span.parent_span_id.as_slice()) {
            ids.insert(span.span_id.as_slice());
            spans.push(span.clone());
        }
    }
    let run_id = spans.first().and_then(|span| text(span, names::RUN_ID)).unwrap_or_default();
    TraceSpans { run_id, spans }
}

/// A trace as lines, parents before children, children in the order of their starts.
pub fn lines(trace: &TraceSpans) -> Vec<Line> {
    let ids: BTreeSet<&[u8]> = trace.spans.iter().map(|span| span.span_id.as_slice()).collect();
    let mut children = BTreeMap::<&[u8], Vec<&Span>>::new();
    let mut roots = Vec::new();
    for span in &trace.spans {
        if ids.contains(&span.parent_span_id.as_slice()) {
            children.entry(&span.parent_span_id).or_default().push(span);
        } else {
            roots.push(span);
        }
    }
    let mut lines: Vec<Line> = Vec::new();
    // No recursion: how deep a trace is, its application decides.
    let mut left: Vec<Place<'_>> = roots.into_iter().rev().map(Place::root).collect();
    while let Some(place) = left.pop() {
        let mut inner: Vec<&Span> = children.get(place.span.span_id.as_slice()).cloned().unwrap_or_default();
        let at = lines.len();
        lines.push(place.line(!inner.is_empty()));
        // A stable sort: spans that start together keep the order they were made in.
        inner.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
        let last = inner.len().saturating_sub(1);
        let inner = inner.into_iter().enumerate();
        left.extend(inner.map(|(place_of, child)| place.child(child, at, place_of == last)).rev());
    }
    add_up(&mut lines);
    lines
}

/// Adds what was spent to everything it was spent below.
fn add_up(lines: &mut [Line]) {
    for at in (0..lines.len()).rev() {
        let Some((parent, spent)) = lines.get(at).and_then(|line| Some((line.parent?, line.spent))) else {
            continue;
        };
        if let Some(parent) = lines.get_mut(parent) {
            parent.spent.add(&spent);
        }
    }
}

/// A span in the tree, with what is drawn before its name and before those of its children.
struct Place<'s> {
    span: &'s Span,
    parent: Option<usize>,
    depth: usize,
    branch: String,
    below: String,
}

impl<'s> Place<'s> {
    fn root(span: &'s Span) -> Self {
        Self { span, parent: None, depth: 0, branch: String::new(), below: String::new() }
    }

    fn child(&self, span: &'s Span, parent: usize, is_last: bool) -> Self {
        let (parent, depth) = (Some(parent), self.depth + 1);
        let below = &self.below;
        if depth > MAX_BRANCHES {
            return Self { span, parent, depth, branch: format!("{below}{depth}: "), below: below.clone() };
        }
        let (branch, under) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        Self { span, parent, depth, branch: format!("{below}{branch}"), below: format!("{below}{under}") }
    }

    fn line(&self, has_children: bool) -> Line {
        let span = self.span;
        let is_call = is_call(span);
        let seconds = real(
            span,
            if is_call { names::RESPONSE_TIME_TO_FIRST_CHUNK } else { names::RUN_TIME_TO_FIRST_TOKEN },
        );
        Line {
            label: format!("{}{}", self.branch, span.name),
            start_ns: span.start_time_unix_nano,
            end_ns: span.end_time_unix_nano,
            figures: figures(span),
            failed: failed(span),
            coarse: text(span, names::TIMING).as_deref() == Some("coarse"),
            span_id: hex(&span.span_id),
            parent: self.parent,
            name: span.name.clone(),
            run_id: text(span, names::RUN_ID).unwrap_or_default(),
            is_call,
            spent: if is_call { Spent::of(span) } else { Spent::default() },
            first_ns: seconds.map(nanoseconds),
            notes: notes(span),
            error_type: text(span, names::ERROR_TYPE),
            error: span.status.as_ref().map(|status| status.message.clone()).unwrap_or_default(),
            below: format!(
                "{}{}",
                self.below,
                if has_children && self.depth < MAX_BRANCHES { "│  " } else { "   " }
            ),
        }
    }
}

fn is_call(span: &Span) -> bool {
    text(span, names::OPERATION_NAME).as_deref() == Some("chat")
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and nothing is negative"
)]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == status::StatusCode::Error as i32)
}

fn figures(span: &Span) -> String {
    let mut words = Vec::new();
    if is_call(span) {
        let counts = [
            ("in", names::USAGE_INPUT),
            ("cached", names::USAGE_CACHE_READ),
            ("written", names::USAGE_CACHE_WRITE),
            ("out", names::USAGE_OUTPUT),
            ("reasoning", names::USAGE_REASONING),
        ];
        words.extend(
            counts.into_iter().filter_map(|(word, name)| Some(format!("{word}={}", number(span, name)?))),
        );
        words.extend(facts(span));
        words.extend(has(span, names::REQUEST_STREAM).then(|| "streamed".to_owned()));
    } else {
        words.extend(number(span, names::RUN_TOTAL_TOKENS).map(|total| format!("tokens={total}")));
        words.extend(facts(span));
    }
    words
        .extend(failed(span).then(|| "error".to_owned()).filter(|_| text(span, names::RUN_STATUS).is_none()));
    words.join(" ")
}

/// What is worth a word of a span in a table that has its figures already.
fn notes(span: &Span) -> String {
    let mut words = facts(span);
    if failed(span) {
        words.retain(|word| word != "error");
        let error_type = text(span, names::ERROR_TYPE).filter(|error_type| error_type != "_OTHER");
        words
            .push(error_type.map_or_else(|| "error".to_owned(), |error_type| format!("error: {error_type}")));
    }
    words.join(", ")
}

/// What a span says of itself beside figures and errors.
fn facts(span: &Span) -> Vec<String> {
    let mut words = Vec::new();
    if is_call(span) {
        words.extend(text(span, names::MODEL_ROLE).filter(|role| role != "model"));
        words.extend(has(span, names::MODEL_CALL_SUMMED).then(|| "summed".to_owned()));
    } else {
        let status = text(span, names::RUN_STATUS).filter(|status| status != "COMPLETED");
        words.extend(status.map(|status| status.to_lowercase()));
        let kind = text(span, names::STEP_TYPE).filter(|kind| kind != "Step");
        words.extend(kind.map(|kind| kind.to_lowercase()));
        words.extend(has(span, names::TOOL_ASKED_HUMAN).then(|| "asked human".to_owned()));
        words.extend(has(span, names::STEP_PAUSED).then(|| "paused".to_owned()));
    }
    words
}

fn attribute<'s>(span: &'s Span, name: &str) -> Option<&'s Value> {
    span.attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()
}

fn has(span: &Span, name: &str) -> bool {
    attribute(span, name).is_some()
}

fn text(span: &Span, name: &str) -> Option<String> {
    match attribute(span, name)? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn real(span: &Span, name: &str) -> Option<f64> {
    match attribute(span, name)? {
        Value::DoubleValue(number) => Some(*number),
        _ => None,
    }
}

fn number(span: &Span, name: &str) -> Option<i64> {
    match attribute(span, name)? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_of_any_depth_is_drawn() {
        let id = |at: u64| if at == 0 { Vec::new() } else { at.to_be_bytes().to_vec() };
        let span = |at| Span {
            span_id: id(at),
            parent_span_id: id(at - 1),
            name: "deep".to_owned(),
            ..Span::default()
        };
        let lines = lines(&TraceSpans { run_id: "r".to_owned(), spans: (1..=50_000).map(span).collect() });
        assert_eq!(lines.len(), 50_000);
        assert_eq!(lines[2].label, "   └─ deep");
        assert_eq!(lines[49_999].label, format!("{}49999: deep", " ".repeat(3 * MAX_BRANCHES)));
    }
}

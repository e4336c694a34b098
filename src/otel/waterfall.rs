//! Spans as lines of a tree, for people.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, status};

use super::names;
use super::spans::TraceSpans;

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
    let mut lines = Vec::new();
    // No recursion: how deep a trace is, its application decides.
    let mut left: Vec<Place<'_>> = roots.into_iter().rev().map(Place::root).collect();
    while let Some(place) = left.pop() {
        lines.push(place.line());
        let mut inner: Vec<&Span> = children.get(place.span.span_id.as_slice()).cloned().unwrap_or_default();
        // A stable sort: spans that start together keep the order they were made in.
        inner.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
        let last = inner.len().saturating_sub(1);
        left.extend(inner.into_iter().enumerate().map(|(at, child)| place.child(child, at == last)).rev());
    }
    lines
}

/// A span in the tree, with what is drawn before its name and before those of its children.
struct Place<'s> {
    span: &'s Span,
    depth: usize,
    branch: String,
    below: String,
}

impl<'s> Place<'s> {
    fn root(span: &'s Span) -> Self {
        Self { span, depth: 0, branch: String::new(), below: String::new() }
    }

    fn child(&self, span: &'s Span, is_last: bool) -> Self {
        let depth = self.depth + 1;
        let below = &self.below;
        if depth > MAX_BRANCHES {
            return Self { span, depth, branch: format!("{below}{depth}: "), below: below.clone() };
        }
        let (branch, under) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        Self { span, depth, branch: format!("{below}{branch}"), below: format!("{below}{under}") }
    }

    fn line(&self) -> Line {
        let span = self.span;
        Line {
            label: format!("{}{}", self.branch, span.name),
            start_ns: span.start_time_unix_nano,
            end_ns: span.end_time_unix_nano,
            figures: figures(span),
            failed: failed(span),
            coarse: text(span, names::TIMING).as_deref() == Some("coarse"),
        }
    }
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == status::StatusCode::Error as i32)
}

fn figures(span: &Span) -> String {
    let mut words = Vec::new();
    if text(span, names::OPERATION_NAME).as_deref() == Some("chat") {
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
        words.extend(text(span, names::MODEL_ROLE).filter(|role| role != "model"));
        words.extend(has(span, names::MODEL_CALL_SUMMED).then(|| "summed".to_owned()));
        words.extend(has(span, names::REQUEST_STREAM).then(|| "streamed".to_owned()));
    } else {
        words.extend(number(span, names::RUN_TOTAL_TOKENS).map(|total| format!("tokens={total}")));
        words.extend(
            text(span, names::RUN_STATUS)
                .filter(|status| status != "COMPLETED")
                .map(|status| status.to_lowercase()),
        );
        words.extend(
            text(span, names::STEP_TYPE).filter(|kind| kind != "Step").map(|kind| kind.to_lowercase()),
        );
        words.extend(has(span, names::TOOL_ASKED_HUMAN).then(|| "asked human".to_owned()));
        words.extend(has(span, names::STEP_PAUSED).then(|| "paused".to_owned()));
    }
    words
        .extend(failed(span).then(|| "error".to_owned()).filter(|_| text(span, names::RUN_STATUS).is_none()));
    words.join(" ")
}

fn attribute<'s>(span: &'s Span, name: &str) -> Option<&'s Value> {
    span.attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()
}

fn has(span: &Span, name: &str) -> bool {
    attribute(span, name).is_some()
}

pub(super) fn text(span: &Span, name: &str) -> Option<String> {
    match attribute(span, name)? {
        Value::StringValue(text) => Some(text.clone()),
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

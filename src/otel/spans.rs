//! Traces into spans.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span, status};

use super::attributes::{flag, key_value, number, optional, real, seconds, text, unix};
use super::content;
use super::ids::SpanId;
use super::names::{self, operation};
use super::places::{Place, Places, caller};
use super::policy::Policy;
use crate::model::step::Scalar;
use crate::model::timeline::{Interval, Times, Timing};
use crate::model::tree::{Holder, Node, Trace};
use crate::model::{Forest, Message, ModelCall, Run, RunKind, RunStatus, Stated, Step, Tokens, ToolCall};

/// Bit that says the recorded trace flags are those of a sampled span (W3C), as the SDKs set it.
const FLAGS_SAMPLED: u32 = 1;

/// What of a trace is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// Send `user.id`. It is personal data, so only when asked.
    pub user_id: bool,
    /// Also send attributes and metrics under the names older backends read.
    pub older_names: bool,
    /// What of prompts, answers, arguments, results and error texts is sent; by default nothing.
    pub content: Policy,
}

/// The spans of one trace, parents before children; the first is the root.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSpans {
    /// The root run's id.
    pub run_id: String,
    /// The spans.
    pub spans: Vec<Span>,
}

/// What a session has spent up to and including a root run.
#[derive(Debug, Clone, Copy, Default)]
struct SessionSoFar {
    tokens: Tokens,
    runs: u64,
}

/// Makes spans of every trace of a forest, one trace after the other. `times` are the traces' times, in order.
pub fn spans<'f>(
    forest: &'f Forest,
    places: &'f Places,
    times: &'f [Vec<Times>],
    settings: Settings,
) -> impl Iterator<Item = TraceSpans> + 'f {
    let by_id: BTreeMap<&str, usize> =
        forest.runs.iter().enumerate().map(|(at, run)| (run.key.run_id.as_str(), at)).collect();
    let mut sessions = BTreeMap::<&str, SessionSoFar>::new();
    let mut previous = BTreeMap::<&str, usize>::new();
    forest.traces.iter().zip(times).filter_map(move |(trace, times)| {
        let root_node = trace.nodes.first()?;
        let (root, _) = forest.runs.get(root_node.run).zip(places.of_run(root_node.run))?;
        let tokens = tree_tokens(forest, trace);
        let session = root.session_id.as_deref();
        let so_far = session.map(|session| {
            let so_far = sessions.entry(session).or_default();
            so_far.tokens += tokens;
            so_far.runs += 1;
            *so_far
        });
        let before = session.and_then(|session| previous.insert(session, root_node.run));
        let writer =
            Writer { forest, places, by_id: &by_id, trace, settings, previous: before, tokens, so_far };
        let nodes = trace.nodes.iter().zip(times).enumerate();
        let spans = nodes.flat_map(|(at, (node, times))| writer.run(at, *node, times)).collect();
        Some(TraceSpans { run_id: root.key.run_id.clone(), spans })
    })
}

fn tree_tokens(forest: &Forest, trace: &Trace) -> Tokens {
    trace.nodes.iter().filter_map(|node| forest.runs.get(node.run)).map(Run::own_tokens).sum()
}

struct Writer<'f> {
    forest: &'f Forest,
    places: &'f Places,
    by_id: &'f BTreeMap<&'f str, usize>,
    trace: &'f Trace,
    settings: Settings,
    previous: Option<usize>,
    tokens: Tokens,
    so_far: Option<SessionSoFar>,
}

impl Writer<'_> {
    fn run(&self, at: usize, node: Node, times: &Times) -> Vec<Span> {
        let Some((run, place)) = self.forest.runs.get(node.run).zip(self.places.of_run(node.run)) else {
            return Vec::new();
        };
        let mut spans = vec![self.run_span(at, node, run, place, times)];
        for ((step, id), interval) in run.steps.iter().zip(&place.steps).zip(&times.steps) {
            let parent = step.parent.and_then(|parent| place.steps.get(parent)).unwrap_or(&place.run);
            spans.push(step_span(run, step, Frame { place, parent, id, interval }, self.settings.content));
        }
        for ((call, id), interval) in run.calls.iter().zip(&place.calls).zip(&times.calls) {
            let parent = call.step.and_then(|step| place.steps.get(step)).unwrap_or(&place.run);
            spans.push(call_span(run, call, Frame { place, parent, id, interval }, self.settings));
        }
        for ((tool, id), interval) in run.tools.iter().zip(&place.tools).zip(&times.tools) {
            if tool.executed {
                let frame = Frame { place, parent: &place.run, id, interval };
                spans.push(tool_span(run, tool, frame, self.settings.content));
            }
        }
        spans
    }

    /// The span a run hangs under: its parent's run, tool or step; the caller's for a root.
    fn parent(&self, holder: Holder) -> Option<SpanId> {
        let of_node = |node: usize| {
            let run = self.trace.nodes.get(node)?.run;
            Some((self.places.of_run(run)?, self.forest.runs.get(run)?))
        };
        match holder {
            Holder::Root => caller(self.forest, self.trace).map(|(_, span)| span),
            Holder::Run { node } => of_node(node).map(|(place, _)| place.run),
            Holder::Step { node, step } => {
                of_node(node).and_then(|(place, _)| place.steps.get(step).copied())
            }
            Holder::Tool { node, tool } => of_node(node).and_then(|(place, parent)| {
                let executed = parent.tools.get(tool).is_some_and(|tool| tool.executed);
                if executed { place.tools.get(tool).copied() } else { Some(place.run) }
            }),
        }
    }

    fn run_span(&self, at: usize, node: Node, run: &Run, place: &Place, times: &Times) -> Span {
        let operation = operation_of(run);
        let parent = self.parent(node.holder).unwrap_or_default();
        let mut span = open(
            operation,
            run.label(),
            Frame { place, parent: &parent, id: &place.run, interval: &times.run },
        );
        span.kind = span::SpanKind::Internal as i32;
        let attributes = &mut span.attributes;
        every_span(attributes, run, Some(operation), times.run.timing);
        text(attributes, names::RUN_KIND, run.kind.as_str());
        text(attributes, names::RUN_STATUS, run.status.as_str());
        let id_name = match run.kind {
            RunKind::Agent => names::AGENT_ID,
            RunKind::Team => names::TEAM_ID,
            RunKind::Workflow => names::WORKFLOW_ID,
        };
        optional(attributes, id_name, run.entity_id.as_deref());
        optional(attributes, names::PARENT_RUN_ID, run.parent_run_id.as_deref());
        if self.settings.user_id {
            optional(attributes, names::USER_ID, run.user_id.as_deref());
        }
        if run.kind != RunKind::Workflow {
            optional(attributes, names::REQUEST_MODEL, run.model.as_deref());
            let own = run.own_tokens();
            if !own.is_zero() {
                number(attributes, names::USAGE_INPUT, own.input());
                number(attributes, names::USAGE_OUTPUT, own.output());
            }
        }
        if let Some(first) = run.time_to_first_token_ns {
            real(attributes, names::RUN_TIME_TO_FIRST_TOKEN, seconds(first));
        }
        if at == 0 {
            self.root_attributes(attributes);
        }
        stated(attributes, &run.stated);
        content::run(attributes, run, self.settings.content);
        if let Some(error) = &run.error_type {
            text(&mut span.attributes, names::ERROR_TYPE, error);
            span.status = Some(failed(content::run_error(run, self.settings.content)));
        }
        span.events = events(run, times, self.settings.content);
        span.links = self.links(at, node.run, run);
        span
    }

    fn root_attributes(&self, attributes: &mut Vec<KeyValue>) {
        number(attributes, names::RUN_TOTAL_TOKENS, self.tokens.total());
        text(attributes, names::TOKENS_BUCKET, bucket(self.tokens.total()));
        if let Some(so_far) = self.so_far {
            number(attributes, names::SESSION_INPUT_TOKENS, so_far.tokens.input());
            number(attributes, names::SESSION_OUTPUT_TOKENS, so_far.tokens.output());
            number(attributes, names::SESSION_TOTAL_TOKENS, so_far.tokens.total());
            number(attributes, names::SESSION_RUNS, so_far.runs);
        }
    }

    /// The run before it in the session, the run it regenerates, the run it was forked from.
    fn links(&self, at: usize, index: usize, run: &Run) -> Vec<span::Link> {
        let find = |run_id: &Option<String>| self.by_id.get(run_id.as_deref()?).copied();
        let previous = self.previous.filter(|_| at == 0);
        let kinds = [
            ("previous", previous),
            ("regenerates", find(&run.regenerated_from)),
            ("forked_from", find(&run.forked_from_run_id).filter(|_| run.regenerated_from.is_none())),
        ];
        let linked =
            kinds.into_iter().filter_map(|(kind, other)| Some((kind, self.places.of_run(other?)?, other?)));
        linked
            .filter(|(_, _, other)| *other != index)
            .map(|(kind, place, _)| {
                let mut attributes = Vec::new();
                text(&mut attributes, names::LINK_KIND, kind);
                span::Link {
                    trace_id: place.trace_id.to_vec(),
                    span_id: place.run.to_vec(),
                    attributes,
                    flags: FLAGS_SAMPLED,
                    ..span::Link::default()
                }
            })
            .collect()
    }
}

/// Where a span stands.
#[derive(Clone, Copy)]
struct Frame<'p> {
    place: &'p Place,
    parent: &'p SpanId,
    id: &'p SpanId,
    interval: &'p Interval,
}

fn open(operation: &str, label: Option<&str>, frame: Frame<'_>) -> Span {
    let name = label.map_or_else(|| operation.to_owned(), |label| format!("{operation} {label}"));
    let is_root = *frame.parent == SpanId::default();
    Span {
        trace_id: frame.place.trace_id.to_vec(),
        span_id: frame.id.to_vec(),
        parent_span_id: if is_root { Vec::new() } else { frame.parent.to_vec() },
        flags: FLAGS_SAMPLED,
        name,
        start_time_unix_nano: unix(frame.interval.start_ns),
        end_time_unix_nano: unix(frame.interval.end_ns),
        status: Some(Status::default()),
        ..Span::default()
    }
}

fn operation_of(run: &Run) -> &'static str {
    match run.kind {
        RunKind::Agent | RunKind::Team => operation::INVOKE_AGENT,
        RunKind::Workflow => operation::INVOKE_WORKFLOW,
    }
}

/// What every span carries, so that any of them can be found by conversation, agent and run.
fn every_span(attributes: &mut Vec<KeyValue>, run: &Run, operation: Option<&str>, timing: Timing) {
    optional(attributes, names::OPERATION_NAME, operation);
    optional(attributes, names::CONVERSATION_ID, run.session_id.as_deref());
    optional(attributes, names::SESSION_ID, run.session_id.as_deref());
    let name = if run.kind == RunKind::Workflow { names::WORKFLOW_NAME } else { names::AGENT_NAME };
    optional(attributes, name, run.label());
    text(attributes, names::RUN_ID, &run.key.run_id);
    text(attributes, names::TIMING, timing.as_str());
}

fn call_span(run: &Run, call: &ModelCall, frame: Frame<'_>, settings: Settings) -> Span {
    let mut span = open(operation::CHAT, call.model.as_deref(), frame);
    span.kind = span::SpanKind::Client as i32;
    let attributes = &mut span.attributes;
    every_span(attributes, run, Some(operation::CHAT), frame.interval.timing);
    optional(attributes, names::PROVIDER_NAME, call.provider.as_deref());
    optional(attributes, names::REQUEST_MODEL, call.model.as_deref());
    optional(attributes, names::RESPONSE_ID, call.response_id.as_deref());
    text(attributes, names::MODEL_ROLE, &call.role);
    if call.has_message {
        optional(attributes, names::MESSAGE_ID, call.message_id.as_deref());
        text(attributes, names::MESSAGE_ROLE, "assistant");
    } else {
        flag(attributes, names::MODEL_CALL_SUMMED);
    }
    if call.streamed {
        flag(attributes, names::REQUEST_STREAM);
        if let Some(first) = call.time_to_first_token_ns {
            real(attributes, names::RESPONSE_TIME_TO_FIRST_CHUNK, seconds(first));
        }
    }
    if !call.tokens.is_zero() {
        usage(attributes, &call.tokens, settings);
        text(attributes, names::TOKEN_RULE, call.rule);
    }
    stated(attributes, &call.stated);
    content::call(attributes, run, call, settings.content);
    span
}

fn usage(attributes: &mut Vec<KeyValue>, tokens: &Tokens, settings: Settings) {
    number(attributes, names::USAGE_INPUT, tokens.input());
    number(attributes, names::USAGE_OUTPUT, tokens.output());
    let parts = [
        (names::USAGE_CACHE_READ, tokens.cache_read),
        (names::USAGE_CACHE_WRITE, tokens.cache_write),
        (names::USAGE_REASONING, tokens.reasoning),
        (names::USAGE_AUDIO_INPUT, tokens.audio_input),
        (names::USAGE_AUDIO_OUTPUT, tokens.audio_output),
        (names::USAGE_CACHE_CREATION, if settings.older_names { tokens.cache_write } else { 0 }),
    ];
    for (name, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
        number(attributes, name, count);
    }
}

fn tool_span(run: &Run, tool: &ToolCall, frame: Frame<'_>, policy: Policy) -> Span {
    let mut span = open(operation::EXECUTE_TOOL, Some(&tool.name), frame);
    span.kind = span::SpanKind::Internal as i32;
    let attributes = &mut span.attributes;
    every_span(attributes, run, Some(operation::EXECUTE_TOOL), frame.interval.timing);
    text(attributes, names::TOOL_NAME, &tool.name);
    text(attributes, names::TOOL_TYPE, "function");
    optional(attributes, names::TOOL_CALL_ID, tool.call_id.as_deref());
    if tool.message_id.is_some() {
        optional(attributes, names::MESSAGE_ID, tool.message_id.as_deref());
        text(attributes, names::MESSAGE_ROLE, "tool");
    }
    if tool.asked_human {
        flag(attributes, names::TOOL_ASKED_HUMAN);
    }
    content::tool(attributes, run, tool, policy);
    if tool.failed {
        text(attributes, names::ERROR_TYPE, "_OTHER");
        span.status = Some(failed(content::tool_error(run, tool, policy)));
    }
    span
}

fn step_span(run: &Run, step: &Step, frame: Frame<'_>, policy: Policy) -> Span {
    let mut span = open("agno.step", Some(&step.name), frame);
    span.kind = span::SpanKind::Internal as i32;
    let attributes = &mut span.attributes;
    every_span(attributes, run, None, frame.interval.timing);
    text(attributes, names::STEP_NAME, &step.name);
    optional(attributes, names::STEP_ID, step.id.as_deref());
    optional(attributes, names::STEP_TYPE, step.kind.as_deref());
    optional(attributes, names::STEP_EXECUTOR_TYPE, step.executor_kind.as_deref());
    optional(attributes, names::STEP_EXECUTOR_NAME, step.executor_name.as_deref());
    if step.paused {
        flag(attributes, names::STEP_PAUSED);
    }
    if step.failed {
        text(attributes, names::ERROR_TYPE, "_OTHER");
        span.status = Some(failed(content::step_error(run, step, policy)));
    }
    span
}

/// Messages that are no calls, and moments worth knowing.
fn events(run: &Run, times: &Times, policy: Policy) -> Vec<span::Event> {
    let inside = |second: Option<i64>, otherwise: i64| {
        let wanted = second.and_then(|second| second.checked_mul(1_000_000_000)).unwrap_or(otherwise);
        unix(wanted.clamp(times.run.start_ns, times.run.end_ns.max(times.run.start_ns)))
    };
    let message = |message: &Message| {
        let mut attributes = Vec::new();
        optional(&mut attributes, names::MESSAGE_ID, message.id.as_deref());
        text(&mut attributes, names::MESSAGE_ROLE, &message.role);
        content::message(&mut attributes, run, message, policy);
        span::Event {
            name: names::EVENT_MESSAGE.to_owned(),
            time_unix_nano: inside(message.created_at_s, times.run.start_ns),
            attributes,
            ..span::Event::default()
        }
    };
    let asked = run.tools.iter().find(|tool| tool.asked_human).and_then(|tool| tool.asked_by);
    let paused_ns = asked.and_then(|call| times.calls.get(call)).map_or(times.run.end_ns, |call| call.end_ns);
    let mut events: Vec<span::Event> = run.messages.iter().map(message).collect();
    for moment in &run.moments {
        let mut attributes = Vec::new();
        for (name, figure) in &moment.figures {
            attributes.push(key_value(*name, any_value::Value::IntValue(*figure)));
        }
        events.push(span::Event {
            name: moment.name.to_owned(),
            time_unix_nano: inside(moment.at_s, paused_ns),
            attributes,
            ..span::Event::default()
        });
    }
    if run.status == RunStatus::Cancelled {
        events.push(span::Event {
            name: names::EVENT_CANCELLED.to_owned(),
            time_unix_nano: unix(times.run.end_ns),
            ..span::Event::default()
        });
    }
    events.sort_by_key(|event| event.time_unix_nano);
    events
}

/// Agno's own figures, beside ours, under the names of Agno's documentation.
fn stated(attributes: &mut Vec<KeyValue>, stated: &Stated) {
    for (field, count) in &stated.integers {
        number(attributes, format!("{}{field}", names::STATED_PREFIX), *count);
    }
    for (field, value) in &stated.floats {
        real(attributes, format!("{}{field}", names::STATED_PREFIX), *value);
    }
    for (field, scalar) in &stated.provider {
        let value = match scalar {
            Scalar::Integer(value) => any_value::Value::IntValue(*value),
            Scalar::Float(value) => any_value::Value::DoubleValue(*value),
            Scalar::Bool(value) => any_value::Value::BoolValue(*value),
            Scalar::Text(value) => any_value::Value::StringValue(value.clone()),
        };
        attributes.push(key_value(format!("{}{field}", names::STATED_PROVIDER_PREFIX), value));
    }
}

/// Takes from a span the events of its messages: many, and not needed to count or to time it.
pub(super) fn strip_messages(span: &mut Span) {
    span.events.retain(|event| event.name != names::EVENT_MESSAGE);
}

/// A word for a number of tokens, for backends that search by equal strings only.
fn bucket(tokens: u64) -> &'static str {
    match tokens {
        0 => "0",
        1..1_000 => "1-1k",
        1_000..10_000 => "1k-10k",
        10_000..100_000 => "10k-100k",
        100_000..1_000_000 => "100k-1m",
        _ => "1m+",
    }
}

fn failed(message: String) -> Status {
    Status { code: status::StatusCode::Error as i32, message }
}

#[cfg(test)]
mod tests;

//! Traces into spans.

mod root;
pub mod single;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::Span;
use root::Root;

use super::attributes::{seconds, unix};
use super::content;
use super::ids::{SpanId, TraceId};
use super::names::{self, operation};
use super::places::{Place, Places, caller};
use super::policy::Policy;
use super::view::{
    Attribute, Attributes, EventView, Kind, LinkView, SpanView, Value, count, flag, number, optional, real,
    text,
};
use crate::model::budget::{DEFAULT_THRESHOLDS, Limit};
use crate::model::cost::{CURRENCY, usd};
use crate::model::step::Scalar;
use crate::model::timeline::{Interval, Times, Timing};
use crate::model::tree::{Holder, Node, Trace};
use crate::model::{
    Cost, Forest, Message, ModelCall, Run, RunKind, RunStatus, Stated, Step, Tokens, ToolCall,
};

/// What of a trace is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Send `user.id`. It is personal data, so only when asked.
    pub user_id: bool,
    /// Also send attributes and metrics under the names older backends read.
    pub older_names: bool,
    /// What of prompts, answers, arguments, results and error texts is sent; by default nothing.
    pub content: Policy,
    /// What a session may pass before somebody wants to know.
    pub thresholds: &'static [Limit],
}

impl Default for Settings {
    fn default() -> Self {
        let (user_id, older_names, content) = Default::default();
        Self { user_id, older_names, content, thresholds: &DEFAULT_THRESHOLDS }
    }
}

/// One trace, parents before children; the first span is the root.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceView<'r> {
    /// The root run's id.
    pub run_id: &'r str,
    /// The spans.
    pub spans: Vec<SpanView<'r>>,
}

impl TraceView<'_> {
    /// The ids of its trace and of its root span.
    pub fn root(&self) -> Option<(TraceId, SpanId)> {
        self.spans.first().map(|root| (root.trace_id, root.span_id))
    }
}

/// One trace as those see it who receive it.
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
    cost: Option<Cost>,
    runs: u64,
}

/// Room made for the attributes of a span.
const ATTRIBUTES: usize = 20;

/// Makes spans of every trace of a forest whose root is wanted, one trace after the other. `times` are the traces' times, in order.
pub fn spans<'f>(
    forest: &'f Forest,
    places: &'f Places,
    times: &'f [Vec<Times>],
    settings: Settings,
    wanted: &'f dyn Fn(usize) -> bool,
) -> impl Iterator<Item = TraceView<'f>> + 'f {
    let by_id: BTreeMap<&str, usize> =
        forest.runs.iter().enumerate().map(|(at, run)| (run.key.run_id.as_str(), at)).collect();
    let mut sessions = BTreeMap::<&str, SessionSoFar>::new();
    let mut previous = BTreeMap::<&str, usize>::new();
    forest.traces.iter().zip(times).filter_map(move |(trace, times)| {
        let root_node = trace.nodes.first()?;
        let (root, _) = forest.runs.get(root_node.run).zip(places.of_run(root_node.run))?;
        let (tokens, cost) = (tree_tokens(forest, trace), tree_cost(forest, trace));
        let session = root.session_id.as_deref();
        let so_far = session.map(|session| {
            let so_far = sessions.entry(session).or_default();
            so_far.tokens += tokens;
            so_far.cost = Cost::sum([so_far.cost, cost].into_iter().flatten());
            so_far.runs += 1;
            *so_far
        });
        let before = session.and_then(|session| previous.insert(session, root_node.run));
        if !wanted(root_node.run) {
            return None;
        }
        let of_tree = Root { tokens, cost, so_far, thresholds: settings.thresholds };
        let writer =
            Writer { forest, places, by_id: &by_id, trace, settings, previous: before, root: of_tree };
        let mut spans = Vec::with_capacity(times.iter().map(Times::count).sum());
        for (at, (node, times)) in trace.nodes.iter().zip(times).enumerate() {
            writer.run(&mut spans, at, *node, times);
        }
        Some(TraceView { run_id: &root.key.run_id, spans })
    })
}

fn tree_tokens(forest: &Forest, trace: &Trace) -> Tokens {
    trace.nodes.iter().filter_map(|node| forest.runs.get(node.run)).map(Run::own_tokens).sum()
}

fn tree_cost(forest: &Forest, trace: &Trace) -> Option<Cost> {
    Cost::sum(trace.nodes.iter().filter_map(|node| forest.runs.get(node.run)?.own_cost()))
}

struct Writer<'f, 'i> {
    forest: &'f Forest,
    places: &'f Places,
    by_id: &'i BTreeMap<&'f str, usize>,
    trace: &'f Trace,
    settings: Settings,
    previous: Option<usize>,
    root: Root,
}

impl<'f> Writer<'f, '_> {
    /// Adds the spans of a run and its parts.
    fn run(&self, spans: &mut Vec<SpanView<'f>>, at: usize, node: Node, times: &Times) {
        let Some((run, place)) = self.forest.runs.get(node.run).zip(self.places.of_run(node.run)) else {
            return;
        };
        spans.push(self.run_span(at, node, run, place, times));
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

    fn run_span(&self, at: usize, node: Node, run: &'f Run, place: &Place, times: &Times) -> SpanView<'f> {
        let parent = self.parent(node.holder).unwrap_or_default();
        let frame = Frame { place, parent: &parent, id: &place.run, interval: &times.run };
        let root = Some(&self.root).filter(|_| at == 0);
        let mut span = run_span(run, frame, times, root, self.settings);
        span.links = self.links(at, node.run, run);
        span
    }

    /// The run before it in the session, the run it regenerates, the run it was forked from.
    fn links(&self, at: usize, index: usize, run: &Run) -> Vec<LinkView> {
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
            .map(|(kind, place, _)| LinkView { trace_id: place.trace_id, span_id: place.run, kind })
            .collect()
    }
}

/// A run's span, without its links.
fn run_span<'r>(
    run: &'r Run,
    frame: Frame<'_>,
    times: &Times,
    root: Option<&Root>,
    settings: Settings,
) -> SpanView<'r> {
    let operation = operation_of(run);
    let mut span = open(operation, run.label(), frame, Kind::Internal);
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
    if settings.user_id {
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
    if let Some(cost) = run.own_cost() {
        real(attributes, names::RUN_COST, usd(cost.nano_usd));
    }
    match run.own_unpriced() {
        0 => {}
        unpriced => number(attributes, names::RUN_UNPRICED_TOKENS, unpriced),
    }
    if let Some(first) = run.time_to_first_token_ns {
        real(attributes, names::RUN_TIME_TO_FIRST_TOKEN, seconds(first));
    }
    if let Some(root) = root {
        root.attributes(attributes);
    }
    stated(attributes, &run.stated);
    content::run(attributes, run, settings.content);
    if let Some(error) = &run.error_type {
        text(&mut span.attributes, names::ERROR_TYPE, error);
        span.failure = Some(content::run_error(run, settings.content));
    }
    span.events = events(run, times, settings.content);
    span
}

/// Where a span stands.
#[derive(Clone, Copy)]
struct Frame<'p> {
    place: &'p Place,
    parent: &'p SpanId,
    id: &'p SpanId,
    interval: &'p Interval,
}

fn open<'r>(operation: &str, label: Option<&str>, frame: Frame<'_>, kind: Kind) -> SpanView<'r> {
    let name = label.map_or_else(|| operation.to_owned(), |label| [operation, " ", label].concat());
    SpanView {
        trace_id: frame.place.trace_id,
        span_id: *frame.id,
        parent_span_id: Some(*frame.parent).filter(|parent| *parent != SpanId::default()),
        name,
        kind,
        start_ns: unix(frame.interval.start_ns),
        end_ns: unix(frame.interval.end_ns),
        attributes: Vec::with_capacity(ATTRIBUTES),
        events: Vec::new(),
        links: Vec::new(),
        failure: None,
    }
}

fn operation_of(run: &Run) -> &'static str {
    match run.kind {
        RunKind::Agent | RunKind::Team => operation::INVOKE_AGENT,
        RunKind::Workflow => operation::INVOKE_WORKFLOW,
    }
}

/// What every span carries, so that any of them can be found by conversation, agent and run.
fn every_span<'r>(
    attributes: &mut Attributes<'r>,
    run: &'r Run,
    operation: Option<&'static str>,
    timing: Timing,
) {
    optional(attributes, names::OPERATION_NAME, operation);
    optional(attributes, names::CONVERSATION_ID, run.session_id.as_deref());
    optional(attributes, names::SESSION_ID, run.session_id.as_deref());
    let name = if run.kind == RunKind::Workflow { names::WORKFLOW_NAME } else { names::AGENT_NAME };
    optional(attributes, name, run.label());
    text(attributes, names::RUN_ID, &run.key.run_id);
    text(attributes, names::TIMING, timing.as_str());
}

fn call_span<'r>(run: &'r Run, call: &'r ModelCall, frame: Frame<'_>, settings: Settings) -> SpanView<'r> {
    let mut span = open(operation::CHAT, call.model.as_deref(), frame, Kind::Client);
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
    if !call.finish_reasons.is_empty() {
        attributes.push(Attribute::new(names::RESPONSE_FINISH_REASONS, Value::Texts(&call.finish_reasons)));
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
    if let Some(cost) = &call.cost {
        real(attributes, names::COST_AMOUNT, usd(cost.nano_usd));
        text(attributes, names::COST_CURRENCY, CURRENCY);
        text(attributes, names::COST_SOURCE, cost.source);
        if cost.is_estimate {
            flag(attributes, names::COST_ESTIMATE);
        }
    }
    stated(attributes, &call.stated);
    content::call(attributes, run, call, settings.content);
    if call.unfinished {
        flag(attributes, names::UNFINISHED);
    }
    if let Some(error) = &call.error_type {
        text(attributes, names::ERROR_TYPE, error);
        span.failure = Some(String::new());
    }
    span
}

fn usage(attributes: &mut Attributes<'_>, tokens: &Tokens, settings: Settings) {
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

fn tool_span<'r>(run: &'r Run, tool: &'r ToolCall, frame: Frame<'_>, policy: Policy) -> SpanView<'r> {
    let mut span = open(operation::EXECUTE_TOOL, Some(&tool.name), frame, Kind::Internal);
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
    if tool.unfinished {
        flag(attributes, names::UNFINISHED);
    }
    if let Some(error) = tool.error_type() {
        text(attributes, names::ERROR_TYPE, error);
        span.failure = Some(content::tool_error(run, tool, policy));
    }
    span
}

fn step_span<'r>(run: &'r Run, step: &'r Step, frame: Frame<'_>, policy: Policy) -> SpanView<'r> {
    let mut span = open("agno.step", Some(&step.name), frame, Kind::Internal);
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
        span.failure = Some(content::step_error(run, step, policy));
    }
    span
}

/// Messages that are no calls, and moments worth knowing.
fn events<'r>(run: &'r Run, times: &Times, policy: Policy) -> Vec<EventView<'r>> {
    let inside = |second: Option<i64>, otherwise: i64| {
        let wanted = second.and_then(|second| second.checked_mul(1_000_000_000)).unwrap_or(otherwise);
        unix(wanted.clamp(times.run.start_ns, times.run.end_ns.max(times.run.start_ns)))
    };
    let message = |message: &'r Message| {
        let mut attributes = Vec::new();
        optional(&mut attributes, names::MESSAGE_ID, message.id.as_deref());
        text(&mut attributes, names::MESSAGE_ROLE, &message.role);
        content::message(&mut attributes, run, message, policy);
        let at_ns = inside(message.created_at_s, times.run.start_ns);
        EventView { name: names::EVENT_MESSAGE, at_ns, attributes }
    };
    let asked = run.tools.iter().find(|tool| tool.asked_human).and_then(|tool| tool.asked_by);
    let paused_ns = asked.and_then(|call| times.calls.get(call)).map_or(times.run.end_ns, |call| call.end_ns);
    let mut events: Vec<EventView<'r>> = run.messages.iter().map(message).collect();
    for moment in &run.moments {
        let figures = moment.figures.iter();
        let attributes =
            figures.map(|(name, figure)| Attribute::new(name, Value::Integer(*figure))).collect();
        events.push(EventView { name: moment.name, at_ns: inside(moment.at_s, paused_ns), attributes });
    }
    if run.status == RunStatus::Cancelled {
        let at_ns = unix(times.run.end_ns);
        events.push(EventView { name: names::EVENT_CANCELLED, at_ns, attributes: Vec::new() });
    }
    events.sort_by_key(|event| event.at_ns);
    events
}

/// Agno's own figures, beside ours, under the names of Agno's documentation.
fn stated<'r>(attributes: &mut Attributes<'r>, stated: &'r Stated) {
    let prefix = &names::STATED_PREFIX;
    for (name, figure) in &stated.integers {
        attributes.push(Attribute { prefix, name, value: count(*figure) });
    }
    for (name, value) in &stated.floats {
        attributes.push(Attribute { prefix, name, value: Value::Real(*value) });
    }
    for (name, scalar) in &stated.provider {
        let value = match scalar {
            Scalar::Integer(value) => Value::Integer(*value),
            Scalar::Float(value) => Value::Real(*value),
            Scalar::Bool(value) => Value::Flag(*value),
            Scalar::Text(value) => Value::Text(value.into()),
        };
        attributes.push(Attribute { prefix: &names::STATED_PROVIDER_PREFIX, name, value });
    }
}

/// Takes from a span the events of its messages: many, and not needed to count or to time it.
pub(super) fn strip_messages(span: &mut Span) {
    span.events.retain(|event| event.name != names::EVENT_MESSAGE);
}

#[cfg(test)]
mod tests;

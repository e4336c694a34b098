//! A span of each kind: of a run, a model call, a tool call, a step.

use super::super::attributes::{seconds, unix};
use super::super::content;
use super::super::ids::SpanId;
use super::super::names::{self, operation};
use super::super::places::Place;
use super::super::policy::Policy;
use super::super::view::{
    Attribute, Attributes, EventView, Kind, SpanView, Value, count, flag, number, optional, real, text,
};
use super::Settings;
use super::root::Root;
use crate::model::cost::{CURRENCY, usd};
use crate::model::step::Scalar;
use crate::model::timeline::{Interval, Times, Timing};
use crate::model::{Message, ModelCall, Run, RunKind, RunStatus, Stated, Step, Tokens, ToolCall};

/// Room made for the attributes of a span.
const ATTRIBUTES: usize = 20;

/// A run's span, without its links.
pub(super) fn run_span<'r>(
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
pub(super) struct Frame<'p> {
    pub(super) place: &'p Place,
    pub(super) parent: &'p SpanId,
    pub(super) id: &'p SpanId,
    pub(super) interval: &'p Interval,
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

pub(super) fn call_span<'r>(
    run: &'r Run,
    call: &'r ModelCall,
    frame: Frame<'_>,
    settings: Settings,
) -> SpanView<'r> {
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

pub(super) fn tool_span<'r>(
    run: &'r Run,
    tool: &'r ToolCall,
    frame: Frame<'_>,
    policy: Policy,
) -> SpanView<'r> {
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

pub(super) fn step_span<'r>(run: &'r Run, step: &'r Step, frame: Frame<'_>, policy: Policy) -> SpanView<'r> {
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

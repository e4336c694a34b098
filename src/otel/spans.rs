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
mod tests {
    use super::*;
    use crate::model::Usage;
    use crate::model::run::Moment;
    use crate::model::timeline;

    const SECOND_S: i64 = 1_795_396_000;
    const SECOND_NS: u64 = 1_000_000_000;

    const TOKENS: Tokens = Tokens {
        uncached: 1,
        cache_read: 2,
        cache_write: 4,
        answer: 8,
        reasoning: 16,
        audio_input: 3,
        audio_output: 5,
    };

    fn usage(tokens: Tokens) -> Vec<Usage> {
        vec![Usage { role: "model".to_owned(), provider: None, model: None, spender: None, tokens }]
    }

    /// A run of the session `s`, the so-manieth in it, that spent so much.
    fn run(run_id: &str, index: i64, tokens: Tokens) -> Run {
        Run {
            session_id: Some("s".to_owned()),
            index: Some(index),
            created_at_s: Some(SECOND_S + 100 * index),
            duration_ns: Some(10_000_000_000),
            usage: usage(tokens),
            ..Run::bare(run_id, RunKind::Agent)
        }
    }

    fn uncached(tokens: u64) -> Tokens {
        Tokens { uncached: tokens, ..Tokens::default() }
    }

    fn spans_of(runs: Vec<Run>, settings: Settings) -> Vec<Span> {
        let forest = Forest::of(runs);
        let of_trace = |trace| timeline::reconstruct(trace, &forest.runs, SECOND_S * 1_000_000_000);
        let times: Vec<Vec<Times>> = forest.traces.iter().map(of_trace).collect();
        let places = Places::of(&forest);
        spans(&forest, &places, &times, settings).flat_map(|trace| trace.spans).collect()
    }

    fn value(attribute: &KeyValue) -> String {
        match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            Some(any_value::Value::DoubleValue(number)) => format!("{number}"),
            Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
            Some(any_value::Value::StringValue(text)) => text.clone(),
            other => format!("{other:?}"),
        }
    }

    /// The attributes whose names begin so, in the order they were said.
    fn said(attributes: &[KeyValue], beginnings: &[&str]) -> Vec<String> {
        let wanted = |attribute: &&KeyValue| beginnings.iter().any(|start| attribute.key.starts_with(start));
        attributes.iter().filter(wanted).map(|one| format!("{}={}", one.key, value(one))).collect()
    }

    #[test]
    fn a_root_says_what_its_tree_spent_and_its_session_so_far() {
        let child =
            Run { parent_run_id: Some("a".to_owned()), index: None, ..run("child", 0, uncached(969)) };
        let spans = spans_of(vec![run("a", 0, TOKENS), child, run("b", 1, uncached(5))], Settings::default());
        let numbers = ["gen_ai.usage.", "agno.run.total_tokens", "agno.tokens.bucket", "agno.session."];
        let said: Vec<Vec<String>> = spans.iter().map(|span| said(&span.attributes, &numbers)).collect();
        assert_eq!(
            said,
            [
                vec![
                    "gen_ai.usage.input_tokens=7",
                    "gen_ai.usage.output_tokens=24",
                    "agno.run.total_tokens=1000",
                    "agno.tokens.bucket=1k-10k",
                    "agno.session.input_tokens=976",
                    "agno.session.output_tokens=24",
                    "agno.session.total_tokens=1000",
                    "agno.session.runs=1",
                ],
                vec!["gen_ai.usage.input_tokens=969", "gen_ai.usage.output_tokens=0"],
                vec![
                    "gen_ai.usage.input_tokens=5",
                    "gen_ai.usage.output_tokens=0",
                    "agno.run.total_tokens=5",
                    "agno.tokens.bucket=1-1k",
                    "agno.session.input_tokens=981",
                    "agno.session.output_tokens=24",
                    "agno.session.total_tokens=1005",
                    "agno.session.runs=2",
                ],
            ]
        );
    }

    #[test]
    fn every_span_names_the_agent_or_the_workflow_it_is_of() {
        for (kind, name) in [
            (RunKind::Agent, "gen_ai.agent.name"),
            (RunKind::Team, "gen_ai.agent.name"),
            (RunKind::Workflow, "gen_ai.workflow.name"),
        ] {
            let run = Run { kind, entity_name: Some("Ann".to_owned()), ..run("a", 0, TOKENS) };
            let calls = vec![ModelCall { key: "m".to_owned(), ..ModelCall::default() }];
            for span in spans_of(vec![Run { calls, ..run }], Settings::default()) {
                let names = ["gen_ai.agent.name", "gen_ai.workflow.name"];
                assert_eq!(said(&span.attributes, &names), [format!("{name}=Ann")]);
            }
        }
    }

    #[test]
    fn a_workflow_and_a_run_that_spent_nothing_say_no_spend_of_their_own() {
        let workflow = Run { kind: RunKind::Workflow, ..run("w", 0, TOKENS) };
        for run in [workflow, run("a", 0, Tokens::default())] {
            let spans = spans_of(vec![run], Settings::default());
            assert!(said(&spans[0].attributes, &["gen_ai.usage."]).is_empty());
        }
    }

    #[test]
    fn a_call_says_every_class_that_has_tokens_its_times_and_agnos_own_figures() {
        let stated = Stated {
            integers: vec![("input_tokens", 7)],
            floats: vec![("cost", 0.25)],
            provider: vec![
                ("cached".to_owned(), Scalar::Bool(true)),
                ("tries".to_owned(), Scalar::Integer(2)),
            ],
        };
        let call = ModelCall {
            key: "m".to_owned(),
            role: "model".to_owned(),
            has_message: true,
            tokens: TOKENS,
            rule: "inclusive",
            stated,
            time_to_first_token_ns: Some(500_000_000),
            streamed: true,
            ..ModelCall::default()
        };
        let sum =
            ModelCall { key: "n".to_owned(), tokens: uncached(3), rule: "inclusive", ..ModelCall::default() };
        let nothing = ModelCall { key: "o".to_owned(), ..ModelCall::default() };
        let run = Run { calls: vec![call, sum, nothing], ..run("a", 0, TOKENS) };
        let names =
            ["gen_ai.usage.", "gen_ai.response.time", "agno.metrics.", "agno.token.rule", "agno.model_call."];
        let of = |settings| -> Vec<Vec<String>> {
            let spans = spans_of(vec![run.clone()], settings);
            spans[1..].iter().map(|span| said(&span.attributes, &names)).collect()
        };
        let usual = of(Settings::default());
        assert_eq!(
            usual[0],
            [
                "gen_ai.response.time_to_first_chunk=0.5",
                "gen_ai.usage.input_tokens=7",
                "gen_ai.usage.output_tokens=24",
                "gen_ai.usage.cache_read.input_tokens=2",
                "gen_ai.usage.cache_write.input_tokens=4",
                "gen_ai.usage.reasoning.output_tokens=16",
                "gen_ai.usage.audio.input_tokens=3",
                "gen_ai.usage.audio.output_tokens=5",
                "agno.token.rule=inclusive",
                "agno.metrics.input_tokens=7",
                "agno.metrics.cost=0.25",
                "agno.metrics.provider_metrics.cached=true",
                "agno.metrics.provider_metrics.tries=2",
            ]
        );
        assert_eq!(
            usual[1],
            [
                "agno.model_call.summed=true",
                "gen_ai.usage.input_tokens=3",
                "gen_ai.usage.output_tokens=0",
                "agno.token.rule=inclusive",
            ]
        );
        assert_eq!(usual[2], ["agno.model_call.summed=true"]);
        let older = of(Settings { older_names: true, ..Settings::default() });
        assert!(older[0].contains(&"gen_ai.usage.cache_creation.input_tokens=4".to_owned()));
    }

    #[test]
    fn a_runs_times_and_figures_stand_on_its_span() {
        let stated = Stated { floats: vec![("duration", 10.0)], ..Stated::default() };
        let run =
            Run { time_to_first_token_ns: Some(1_500_000_000), stated, ..run("a", 0, Tokens::default()) };
        let spans = spans_of(vec![run], Settings::default());
        assert_eq!(
            said(&spans[0].attributes, &["agno.run.time", "agno.metrics."]),
            ["agno.run.time_to_first_token=1.5", "agno.metrics.duration=10"]
        );
        let length_ns = spans[0].end_time_unix_nano - spans[0].start_time_unix_nano;
        assert_eq!(length_ns, 10 * SECOND_NS);
        assert_eq!((spans[0].flags, spans[0].status.clone()), (FLAGS_SAMPLED, Some(Status::default())));
    }

    #[test]
    fn a_root_is_linked_to_the_run_before_it_and_any_run_to_what_it_came_from() {
        let again = Run { regenerated_from: Some("a".to_owned()), ..run("b", 1, TOKENS) };
        let forked = Run {
            forked_from_run_id: Some("a".to_owned()),
            parent_run_id: Some("b".to_owned()),
            ..run("c", 2, TOKENS)
        };
        let itself = Run { forked_from_run_id: Some("d".to_owned()), ..run("d", 3, TOKENS) };
        let spans = spans_of(vec![run("a", 0, TOKENS), again, forked, itself], Settings::default());
        let name = |id: &[u8]| {
            let at = spans.iter().position(|span| span.span_id == id).unwrap();
            said(&spans[at].attributes, &["agno.run.id"])[0].trim_start_matches("agno.run.id=").to_owned()
        };
        let links: Vec<Vec<String>> = spans
            .iter()
            .map(|span| {
                let of = |link: &span::Link| {
                    let linked = spans.iter().find(|span| span.span_id == link.span_id).unwrap();
                    assert_eq!((&link.trace_id, link.flags), (&linked.trace_id, FLAGS_SAMPLED));
                    format!("{} {}", value(&link.attributes[0]), name(&link.span_id))
                };
                span.links.iter().map(of).collect()
            })
            .collect();
        assert_eq!(
            links,
            [vec![], vec!["previous a", "regenerates a"], vec!["forked_from a"], vec!["previous b"]]
        );
    }

    #[test]
    fn messages_and_moments_are_events_at_their_times_inside_the_run() {
        let message = |position, created_at_s| Message {
            id: Some(format!("m{position}")),
            role: "user".to_owned(),
            created_at_s,
            position,
        };
        let moment = Moment {
            name: names::EVENT_COMPACTION,
            at_s: Some(SECOND_S + 2),
            figures: vec![("agno.compaction.messages", 4)],
        };
        let run = Run {
            status: RunStatus::Cancelled,
            messages: vec![
                message(0, Some(SECOND_S + 1)),
                message(1, None),
                message(2, Some(SECOND_S + 1_000)),
            ],
            moments: vec![moment],
            ..run("a", 0, Tokens::default())
        };
        let mut spans = spans_of(vec![run], Settings::default());
        let at = |event: &span::Event| {
            let figures = said(&event.attributes, &["agno.message.id", "agno.compaction."]).join(",");
            format!("{} {} {figures}", event.name, event.time_unix_nano / SECOND_NS - SECOND_S.unsigned_abs())
        };
        let events = |span: &Span| span.events.iter().map(at).collect::<Vec<_>>();
        assert_eq!(
            events(&spans[0]),
            [
                "agno.message 1 agno.message.id=m0",
                "agno.message 1 agno.message.id=m1",
                "agno.compaction 2 agno.compaction.messages=4",
                "agno.message 11 agno.message.id=m2",
                "agno.cancelled 11 ",
            ]
        );
        strip_messages(&mut spans[0]);
        assert_eq!(events(&spans[0]), ["agno.compaction 2 agno.compaction.messages=4", "agno.cancelled 11 "]);
    }

    #[test]
    fn a_bucket_ends_before_the_next_begins() {
        for (tokens, word) in [
            (0, "0"),
            (1, "1-1k"),
            (999, "1-1k"),
            (1_000, "1k-10k"),
            (9_999, "1k-10k"),
            (10_000, "10k-100k"),
            (99_999, "10k-100k"),
            (100_000, "100k-1m"),
            (999_999, "100k-1m"),
            (1_000_000, "1m+"),
        ] {
            assert_eq!(bucket(tokens), word, "{tokens}");
        }
    }
}

//! Agents in Rust say what bridged runs say, and the durable way loses nothing that was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use agno_otel::framework::Oddities;
use agno_otel::framework::agno::Columns;
use agno_otel::live::{self, Durable, Ended, Flushed, Role, Saying, Usage};
use agno_otel::model::tree::{Holder, Trace};
use agno_otel::model::{ModelCall, Run, RunKind, RunStatus, Tokens};
use agno_otel::otel::{Mode, Policy, TraceSpans, lines};
use agno_otel::{Gathered, Ledger, Settings};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tempfile::TempDir;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::points::{points, total};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{Case, cases, gather};

pub(crate) const TOKENS: &str = "agno.token.usage";
/// Longer than anything here takes.
const ENOUGH: Duration = Duration::from_mins(1);
const ALL_KEPT: Flushed = Flushed { waiting: 0, lost: 0 };

/// What came of some work in the durable way.
struct Came {
    spans: Vec<Span>,
    receiver: Receiver,
}

fn durably(saying: Saying, work: impl FnOnce(&Durable)) -> Came {
    let (folder, receiver) = (TempDir::new().unwrap(), Receiver::start());
    let at = folder.path().join("live.db");
    let durable = Durable::at(at).endpoint(receiver.url()).saying(saying).start().unwrap();
    let subscriber = tracing_subscriber::registry().with(durable.layer());
    tracing::subscriber::with_default(subscriber, || work(&durable));
    let ended = durable.stop(ENOUGH);
    assert_eq!(ended, Ended { lost: 0, waiting_requests: Some(0) });
    assert_eq!(
        crate::watching::gauge(&receiver, "agno.bridge.up").last(),
        Some(&0),
        "it ends as it was asked to"
    );
    // What was under way when it was to end is sent again: the same spans.
    let mut ids = BTreeSet::new();
    let spans = receiver.spans().into_iter().filter(|span| ids.insert(span.span_id.clone())).collect();
    Came { spans, receiver }
}

impl Came {
    fn total(&self, metric: &str) -> i64 {
        total(&points(&self.receiver.metrics()), metric)
    }

    fn span(&self, name: &str) -> &Span {
        self.spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}"))
    }
}

/// What a span says, by name; fails the test on what is said twice.
fn said(span: &Span) -> BTreeMap<&str, String> {
    let mut said = BTreeMap::new();
    for attribute in &span.attributes {
        let value = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => text.clone(),
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
            other => format!("{other:?}"),
        };
        assert!(said.insert(attribute.key.as_str(), value).is_none(), "{} twice", attribute.key);
    }
    said
}

/// Does again what a bridged trace tells of, step by step.
fn act(forest: &[Run], trace: &Trace, node: usize, start: live::Start<'_>) {
    let run = &forest[trace.nodes[node].run];
    let mut start = start;
    if let Some(id) = &run.entity_id {
        start = start.id(id);
    }
    if let Some(session) = &run.session_id {
        start = start.session(session);
    }
    if let Some(model) = &run.model {
        start = start.model(run.provider.clone().unwrap_or_default(), model);
    }
    let begun = start.start();
    for message in &run.messages {
        begun.message(if message.role == "system" { Role::System } else { Role::User }, "said");
    }
    let below = |holder: Holder| (0..trace.nodes.len()).filter(move |at| trace.nodes[*at].holder == holder);
    let tool = |at: usize| {
        let tool = &run.tools[at];
        if !tool.executed {
            return;
        }
        let mut call = begun.tool_call(&tool.name);
        tool.call_id.iter().for_each(|id| call.call_id(id));
        if tool.asked_human {
            call.asked_human();
        }
        for child in below(Holder::Tool { node, tool: at }) {
            let of = &forest[trace.nodes[child].run];
            let name = of.label().unwrap_or_default();
            act(
                forest,
                trace,
                child,
                if of.kind == RunKind::Team { call.team(name) } else { call.agent(name) },
            );
        }
        if tool.failed { call.fail("_OTHER") } else { call.finish() }
    };
    let mut calls: Vec<usize> = (0..run.calls.len()).collect();
    calls.sort_by_key(|at| (run.calls[*at].position.is_none(), run.calls[*at].position));
    for at in calls {
        ask(&begun, &run.calls[at]);
        (0..run.tools.len()).filter(|tool| run.tools[*tool].asked_by == Some(at)).for_each(tool);
    }
    (0..run.tools.len()).filter(|tool| run.tools[*tool].asked_by.is_none()).for_each(tool);
    for child in below(Holder::Run { node }) {
        let of = &forest[trace.nodes[child].run];
        let name = of.label().unwrap_or_default();
        act(
            forest,
            trace,
            child,
            if of.kind == RunKind::Team { begun.team(name) } else { begun.agent(name) },
        );
    }
    match run.status {
        RunStatus::Error => begun.fail(run.error_type.as_deref().unwrap_or("_OTHER")),
        RunStatus::Cancelled => begun.cancel(),
        RunStatus::Paused => begun.pause(),
        _ => begun.finish(),
    }
}

fn ask(run: &live::Run, call: &ModelCall) {
    let mut asked = run.model_call();
    asked.role(&call.role);
    if let Some(model) = &call.model {
        asked.model(call.provider.clone().unwrap_or_default(), model);
    }
    if call.streamed {
        asked.first_chunk();
    }
    call.response_id.iter().for_each(|id| asked.response_id(id));
    let Tokens { cache_read, cache_write, reasoning, audio_input, audio_output, .. } = call.tokens;
    let (input, output) = (call.tokens.input(), call.tokens.output());
    asked.usage(Usage { input, cache_read, cache_write, audio_input, output, reasoning, audio_output });
    asked.finish();
}

fn act_all(gathered: &Gathered) {
    for trace in &gathered.forest.traces {
        let root = &gathered.forest.runs[trace.nodes[0].run];
        let name = root.label().unwrap_or_default();
        let start = if root.kind == RunKind::Team { live::team(name) } else { live::agent(name) };
        act(&gathered.forest.runs, trace, 0, start);
    }
}

/// True where everything a case tells of can be done live: no workflows, no events but messages, runs that ended as live ones do, and
/// every token in a call of its own.
fn is_of_agents(gathered: &Gathered) -> bool {
    gathered.forest.runs.iter().all(|run| {
        let of_calls: Tokens = run.calls.iter().map(|call| call.tokens).sum();
        let is_whole = run.calls.iter().all(|call| call.has_message) && of_calls == run.own_tokens();
        let is_told = run.moments.is_empty() && run.status.is_final() && run.status != RunStatus::Regenerated;
        run.kind != RunKind::Workflow
            && is_whole
            && is_told
            && run.usage.iter().all(|usage| usage.spender.is_none())
    })
}

/// What only one of both can know, or what is different each time.
fn is_comparable(name: &str) -> bool {
    // Ids, times, the figures of Agno, prices of their day, and what the bridge knows of a session.
    let of_one = [
        "agno.run.id",
        "agno.parent_run.id",
        "agno.message.id",
        "agno.timing",
        "agno.token.rule",
        "agno.run.time_to_first_token",
        "gen_ai.response.time_to_first_chunk",
    ];
    let beginnings = [
        "agno.metrics.",
        "agno.cost.",
        "agno.run.cost",
        "agno.run.total_cost",
        "agno.run.unpriced",
        "agno.session.",
    ];
    !of_one.contains(&name) && !beginnings.iter().any(|beginning| name.starts_with(beginning))
}

/// Every span as its path from its root with what it says, in order.
fn tree(spans: &[Span]) -> Vec<String> {
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    let mut all: Vec<String> = spans
        .iter()
        .map(|span| {
            let mut path = vec![span.name.as_str()];
            let mut at = span;
            while let Some(parent) = by_id.get(at.parent_span_id.as_slice()) {
                path.push(&parent.name);
                at = parent;
            }
            path.reverse();
            let said: Vec<String> = said(span)
                .into_iter()
                // The id of a tool's message is Agno's, and its role comes with it.
                .filter(|(name, value)| is_comparable(name) && (*name, value.as_str()) != ("agno.message.role", "tool"))
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let events: Vec<&str> = span.events.iter().map(|event| event.name.as_str()).collect();
            let code = span.status.as_ref().map_or(0, |status| status.code);
            format!("{} kind {} status {code} {events:?} {}", path.join(" > "), span.kind, said.join(" "))
        })
        .collect();
    all.sort();
    all
}

fn bridged(gathered: &Gathered) -> Vec<Span> {
    gathered.spans(Settings::default()).into_iter().flat_map(|trace| trace.spans).collect()
}

/// The counters that do not depend on time or price.
const COUNTERS: [&str; 8] = [
    "agno.token.usage",
    "agno.runs",
    "agno.tool.calls",
    "agno.session.started",
    "gen_ai.client.inference.usage.input_tokens",
    "gen_ai.client.inference.usage.output_tokens",
    "gen_ai.client.inference.usage.cache_read.input_tokens",
    "gen_ai.client.inference.usage.reasoning.output_tokens",
];

/// Each series of these counters that moved, at its last value. Live, families are born with a call, bridged with tokens.
fn totals(came: &Came) -> BTreeMap<String, i64> {
    use crate::support::points::{Value, by_series};
    let all = points(&came.receiver.metrics());
    let of_counters = by_series(&all).into_iter().filter(|((name, _), _)| COUNTERS.contains(&name.as_str()));
    let last = |points: Vec<&crate::support::points::Point>| match points.last().unwrap().value {
        Value::Number(number) => number,
        Value::Histogram { .. } => panic!("no counter"),
    };
    let all = of_counters.map(|((name, by), points)| (format!("{name} {by:?}"), last(points)));
    all.filter(|(_, value)| *value != 0).collect()
}

fn bridged_totals(gathered: &Gathered) -> BTreeMap<String, i64> {
    let mut ledger = Ledger::default();
    gathered.count(&mut ledger, Settings::default());
    let of = |name: &str| agno_otel::otel::names::METRICS.iter().find(|metric| metric.name == name).unwrap();
    let mut all = BTreeMap::new();
    for name in COUNTERS {
        for (key, value) in ledger.counters(of(name)).filter(|(_, value)| *value != 0) {
            let by: BTreeMap<String, String> =
                key.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            all.insert(format!("{name} {by:?}"), i64::try_from(value).unwrap());
        }
    }
    all
}

fn side_by_side(left: &[String], right: &[String]) -> String {
    let width = left.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let empty = String::new();
    (0..left.len().max(right.len()))
        .map(|at| {
            let [left, right] = [left, right].map(|side| side.get(at).unwrap_or(&empty));
            format!("{left:width$} | {right}\n")
        })
        .collect()
}

fn drawn(title: &str, spans: Vec<Span>, totals: &BTreeMap<String, i64>) -> Vec<String> {
    let mut traces = BTreeMap::<Vec<u8>, Vec<Span>>::new();
    let mut order = Vec::new();
    for span in spans {
        if !order.contains(&span.trace_id) {
            order.push(span.trace_id.clone());
        }
        traces.entry(span.trace_id.clone()).or_default().push(span);
    }
    let mut drawn = vec![title.to_owned()];
    for id in order {
        let spans = traces.remove(&id).unwrap();
        let drawn_lines = lines(&TraceSpans { run_id: String::new(), spans });
        drawn.extend(drawn_lines.iter().map(|line| line.label.clone()));
    }
    let token = |class: &str| -> i64 {
        let of_class = |name: &&String| name.starts_with(TOKENS) && name.contains(&format!("{class:?}"));
        totals.iter().filter(|(name, _)| of_class(name)).map(|(_, value)| value).sum()
    };
    for class in ["input", "cache_read", "cache_write", "output", "reasoning"] {
        drawn.push(format!("{class} {}", token(class)));
    }
    drawn
}

#[test]
fn a_team_bridged_and_live_is_the_same_tree_with_the_same_totals() {
    for (name, case) in [("team", "agno/3.1.10/team_run.db"), ("tools", "agno/3.1.10/tools_multi.db")] {
        let gathered = gather(&[&crate::support::fixtures().join(case)]);
        let came = durably(Saying::default(), |_| act_all(&gathered));
        let left = drawn("bridged", bridged(&gathered), &bridged_totals(&gathered));
        let right = drawn("live", came.spans.clone(), &totals(&came));
        insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(format!("live__{name}"), side_by_side(&left, &right));
        });
    }
}

#[test]
fn whatever_agents_and_teams_did_is_the_same_live_as_bridged_span_by_span_and_series_by_series() {
    let (mut compared, mut different) = (0, Vec::new());
    for Case { name, source, .. } in cases() {
        let gathered = gather(&[&source]);
        if !is_of_agents(&gathered) {
            continue;
        }
        compared += 1;
        let came = durably(Saying::default(), |_| act_all(&gathered));
        let in_lines = |of: &(Vec<String>, BTreeMap<String, i64>)| -> Vec<String> {
            of.0.iter().cloned().chain(of.1.iter().map(|(name, value)| format!("{name} {value}"))).collect()
        };
        let live = in_lines(&(tree(&came.spans), totals(&came)));
        let bridged = in_lines(&(tree(&bridged(&gathered)), bridged_totals(&gathered)));
        let only = |here: &[String], there: &[String]| -> Vec<String> {
            here.iter().filter(|line| !there.contains(line)).cloned().collect()
        };
        if live != bridged {
            different.push((name, only(&live, &bridged), only(&bridged, &live)));
        }
    }
    assert!(different.is_empty(), "live, bridged: {different:#?}");
    assert!(compared > 100, "only {compared} cases were compared");
}

#[test]
fn what_is_dropped_or_panics_ends_its_span_and_says_so() {
    let came = durably(Saying::default(), |_| {
        let run = live::agent("Dropped").start();
        let mut call = run.model_call();
        call.usage(Usage { input: 7, output: 2, ..Usage::default() });
        drop(call);
        drop(run.tool_call("given_up"));
        drop(run);
        let panicked = std::panic::catch_unwind(|| {
            let run = live::agent("Panicked").start();
            let _call = run.model_call();
            panic!("as is expected");
        });
        assert!(panicked.is_err());
    });
    let (call, tool) = (said(came.span("chat")), said(came.span("execute_tool given_up")));
    for cut in [&call, &tool] {
        assert_eq!((cut["error.type"].as_str(), cut["agno.unfinished"].as_str()), ("cancelled", "true"));
    }
    assert_eq!(call["gen_ai.usage.input_tokens"], "7");
    let dropped = came.span("invoke_agent Dropped");
    assert_eq!(said(dropped)["agno.run.status"], "CANCELLED");
    assert_eq!(dropped.status.as_ref().unwrap().code, 0, "to be stopped is no error");
    assert_eq!(dropped.events[0].name, "agno.cancelled");
    let panicked = said(came.span("invoke_agent Panicked"));
    assert_eq!((panicked["agno.run.status"].as_str(), panicked["error.type"].as_str()), ("ERROR", "panic"));
    // The panic's call too, and what was used before it was given up counts.
    assert_eq!((came.spans.len(), came.total(TOKENS), came.total("agno.runs")), (5, 9, 2));
}

#[test]
fn an_agent_that_begins_within_a_span_of_a_run_is_a_part_of_it() {
    let came = durably(Saying::default(), |_| {
        let run = live::agent("Outer").session("s").start();
        let tool = run.tool_call("ask");
        tool.span().in_scope(|| live::agent("Inner").start().finish());
        tool.finish();
        run.finish();
        live::agent("Other").start().finish();
    });
    let (outer, inner) = (came.span("invoke_agent Outer"), came.span("invoke_agent Inner"));
    assert_eq!(inner.parent_span_id, came.span("execute_tool ask").span_id);
    assert_eq!(said(inner)["session.id"], "s");
    assert_eq!(said(inner)["agno.parent_run.id"], said(outer)["agno.run.id"]);
    assert!(!said(inner).contains_key("agno.run.total_tokens"), "it is no root");
    let other = came.span("invoke_agent Other");
    assert_ne!(other.trace_id, outer.trace_id);
    // A run that begins a trace finds it by its id.
    let id = said(other)["agno.run.id"].replace('-', "");
    assert_eq!(id, other.trace_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}

#[test]
fn every_message_is_there_however_many_there_are() {
    let came = durably(Saying::default(), |_| {
        let run = live::agent("Historian").start();
        (0..200).for_each(|_| run.message(Role::User, "and then?"));
        run.finish();
    });
    assert_eq!(came.span("invoke_agent Historian").events.len(), 200);
}

#[test]
fn a_service_that_calls_an_agno_agent_sees_one_trace() {
    let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut handed_on = None;
    let came = durably(Saying::default(), |_| {
        let run = live::agent("Service").traceparent(caller).start();
        let tool = run.tool_call("call_agno");
        handed_on = tool.traceparent();
        tool.finish();
        run.finish();
    });
    let service = came.span("invoke_agent Service");
    assert_eq!(service.parent_span_id, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
    let json = serde_json::json!({"run_id": "50cf60f9-f6d0-47a6-b373-57a95a88129d", "agent_id": "a",
        "status": "COMPLETED", "metadata": {"traceparent": handed_on.unwrap()}});
    let record = agno_otel::Record { json: json.to_string().into_bytes(), columns: Columns::default() };
    let agno = bridged(&crate::support::gather_records(&[record], Oddities::default()));
    assert_eq!(agno[0].trace_id, service.trace_id);
    assert_eq!(agno[0].parent_span_id, came.span("execute_tool call_agno").span_id);
}

#[test]
fn trace_context_that_is_none_leaves_a_run_that_begins_its_trace() {
    let mut id = None;
    let came = durably(Saying::default(), |_| {
        let run = live::agent("Alone").traceparent("00-nonsense").start();
        id = run.run_id();
        run.finish();
    });
    let alone = came.span("invoke_agent Alone");
    assert!(alone.parent_span_id.is_empty());
    let trace_id: String = alone.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(id.unwrap().replace('-', ""), trace_id);
}

const SECRET: &str = "the code is 4711 and nobody else's business";

fn talk() {
    let run = live::agent("Talker").user(SECRET).start();
    run.message(Role::System, SECRET);
    run.message(Role::User, SECRET);
    let mut call = run.model_call();
    call.answer(SECRET);
    call.asks_for("look", "1", &serde_json::json!({ "what": SECRET }).to_string());
    call.finish();
    let mut tool = run.tool_call("look");
    tool.arguments(SECRET);
    tool.result(SECRET);
    tool.fail("not_found");
    run.answer(SECRET);
    run.finish();
}

fn leaks(receiver: &Receiver) -> usize {
    let holds = |body: &[u8]| body.windows(SECRET.len()).filter(|found| *found == SECRET.as_bytes()).count();
    receiver.received().iter().map(|received| holds(&received.body)).sum()
}

#[test]
fn what_was_said_leaves_only_on_request_and_never_reaches_another_layer() {
    let came = durably(Saying::default(), |_| talk());
    assert_eq!(leaks(&came.receiver), 0);
    let masked = Policy::new(Mode::Masked, 65_536);
    let came = durably(Saying { content: masked, ..Saying::default() }, |_| talk());
    assert_eq!(leaks(&came.receiver), 0);
    assert!(said(came.span("chat"))["gen_ai.output.messages"].contains("tool_call"));
    let full = Policy::new(Mode::Full, 65_536);
    let came = durably(Saying { content: full, ..Saying::default() }, |_| talk());
    let (call, tool, run) = (
        said(came.span("chat")),
        said(came.span("execute_tool look")),
        said(came.span("invoke_agent Talker")),
    );
    let places = [
        &call["gen_ai.system_instructions"],
        &call["gen_ai.input.messages"],
        &call["gen_ai.output.messages"],
        &tool["gen_ai.tool.call.arguments"],
        &tool["gen_ai.tool.call.result"],
        &run["gen_ai.input.messages"],
        &run["gen_ai.output.messages"],
    ];
    assert!(places.iter().all(|place| place.contains(SECRET)), "{places:#?}");
    assert!(!run.contains_key("user.id"), "it was not asked for");

    // What another layer sees, with all content asked for.
    let (folder, seen) = (TempDir::new().unwrap(), Seen::default());
    let durable = Durable::at(folder.path().join("live.db")).endpoint("http://127.0.0.1:1");
    let durable = durable.saying(Saying { content: full, ..Saying::default() }).start().unwrap();
    let lines = seen.clone();
    let fmt = tracing_subscriber::fmt::layer()
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || lines.clone());
    let subscriber = tracing_subscriber::registry().with(fmt).with(durable.layer());
    tracing::subscriber::with_default(subscriber, talk);
    let seen = String::from_utf8(seen.0.lock().unwrap().clone()).unwrap();
    assert!(
        seen.contains("gen_ai.agent.name=\"Talker\"") && seen.contains("agno.run.status=\"COMPLETED\""),
        "{seen}"
    );
    assert!(!seen.contains(SECRET), "{seen}");
    durable.stop(Duration::ZERO);
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Seen(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn without_a_subscriber_or_without_our_layer_guards_do_nothing() {
    for subscriber in [None, Some(tracing_subscriber::registry())] {
        let work = || {
            let run = live::agent("Nobody").start();
            let mut call = run.model_call();
            call.usage(Usage { input: 1, ..Usage::default() });
            assert_eq!((run.run_id(), run.traceparent(), call.traceparent()), (None, None, None));
            call.finish();
            run.agent("Nobody").start().finish();
            run.tool_call("nothing").finish();
            run.finish();
        };
        match subscriber {
            None => work(),
            Some(subscriber) => tracing::subscriber::with_default(subscriber, work),
        }
    }
}

#[test]
fn on_either_runtime_everything_is_counted_and_the_end_can_be_waited_for_within_it() {
    let runtimes = [
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap(),
    ];
    for runtime in runtimes {
        let (folder, receiver) = (TempDir::new().unwrap(), Receiver::start());
        let durable = Durable::at(folder.path().join("live.db")).endpoint(receiver.url()).start().unwrap();
        let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(durable.layer()));
        let ended = runtime.block_on(async move {
            let mut set = tokio::task::JoinSet::new();
            for _ in 0..8 {
                set.spawn(crowd_of(dispatch.clone(), 50));
            }
            while let Some(joined) = set.join_next().await {
                joined.unwrap();
            }
            assert_eq!(durable.flush(ENOUGH), ALL_KEPT);
            durable.stop(ENOUGH)
        });
        assert_eq!(ended, Ended { lost: 0, waiting_requests: Some(0) });
        let all = points(&receiver.metrics());
        assert_eq!((total(&all, TOKENS), total(&all, "agno.runs")), (8 * 50 * 11, 8 * 50));
        let ids: BTreeSet<Vec<u8>> = receiver.spans().into_iter().map(|span| span.span_id).collect();
        assert_eq!(ids.len(), 8 * 50 * 3);
    }
}

async fn crowd_of(dispatch: tracing::Dispatch, agents: usize) {
    use tracing::instrument::WithSubscriber as _;
    // Each agent is a task of its own, so each needs to know where it is told.
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..agents {
        let one = async {
            let run = live::agent("Crowd").session("s").start();
            let mut call = run.model_call();
            tokio::task::yield_now().await;
            call.usage(Usage { input: 10, output: 1, ..Usage::default() });
            call.finish();
            let tool = run.tool_call("wait");
            tokio::task::yield_now().await;
            tool.finish();
            run.finish();
        };
        set.spawn(one.with_subscriber(dispatch.clone()));
    }
    while let Some(joined) = set.join_next().await {
        joined.unwrap();
    }
}

#[test]
fn the_end_is_bounded_though_the_endpoint_never_answers_and_what_waits_arrives_later() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("live.db");
    let silent = Receiver::answering(|_, _| Answer::taken().after(Duration::from_hours(1)));
    let durable = Durable::at(&state).endpoint(silent.url()).start().unwrap();
    let layer = durable.layer();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || one_run(5));
    let ended = durable.stop(Duration::from_millis(200));
    assert!(ended.lost == 0 && ended.waiting_requests.is_some_and(|waiting| waiting > 0), "{ended:?}");
    assert_arrives(&state, 1, 5);
}

fn one_run(tokens: u64) {
    let run = live::agent("One").session("s").start();
    let mut call = run.model_call();
    call.usage(Usage { input: tokens, ..Usage::default() });
    call.finish();
    run.finish();
}

/// The next process that uses the file sends what waits.
fn assert_arrives(state: &Path, runs: usize, tokens: i64) {
    let receiver = Receiver::start();
    let ended = Durable::at(state).endpoint(receiver.url()).start().unwrap().stop(Duration::MAX);
    assert_eq!(ended, Ended { lost: 0, waiting_requests: Some(0) });
    let ids: BTreeSet<Vec<u8>> = receiver.spans().into_iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), 2 * runs);
    assert_eq!(total(&points(&receiver.metrics()), TOKENS), tokens);
}

#[test]
fn an_outage_over_several_processes_costs_neither_a_span_nor_a_token() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("live.db");
    for process in 1..=3 {
        let durable = Durable::at(&state).endpoint("http://127.0.0.1:1").start().unwrap();
        let subscriber = tracing_subscriber::registry().with(durable.layer());
        tracing::subscriber::with_default(subscriber, || one_run(process));
        assert!(durable.stop(Duration::from_secs(1)).waiting_requests.unwrap() > 0);
    }
    assert_arrives(&state, 3, 1 + 2 + 3);
}

#[test]
fn a_full_outbox_passes_over_spans_counts_them_and_goes_on_counting_tokens() {
    let (folder, receiver) = (TempDir::new().unwrap(), Receiver::start());
    let state = folder.path().join("live.db");
    let durable = Durable::at(&state).endpoint("http://127.0.0.1:1").outbox_bytes(0).start().unwrap();
    let subscriber = tracing_subscriber::registry().with(durable.layer());
    tracing::subscriber::with_default(subscriber, || one_run(5));
    assert_eq!(durable.flush(Duration::MAX), ALL_KEPT, "as long as it takes");
    assert_eq!(durable.stop(Duration::ZERO).waiting_requests, Some(0));
    Durable::at(&state).endpoint(receiver.url()).start().unwrap().stop(ENOUGH);
    let all = points(&receiver.metrics());
    assert_eq!((total(&all, TOKENS), total(&all, "agno.bridge.dropped")), (5, 2));
}

#[test]
fn what_ends_after_the_end_is_lost_and_holds_nobody_up() {
    let folder = TempDir::new().unwrap();
    let durable = Durable::at(folder.path().join("live.db")).endpoint("http://127.0.0.1:1").start().unwrap();
    let subscriber = tracing_subscriber::registry().with(durable.layer());
    tracing::subscriber::with_default(subscriber, || {
        let run = live::agent("Late").start();
        assert_eq!(durable.stop(Duration::ZERO).lost, 0);
        run.finish();
    });
}

#[test]
fn it_can_be_flushed_from_any_thread() {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<Durable>();
}

#[test]
fn one_process_at_a_time_has_a_state_file() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("live.db");
    let durable = Durable::at(&state).endpoint("http://127.0.0.1:1").start().unwrap();
    let second = Durable::at(&state).start().unwrap_err();
    assert!(second.to_string().contains("in use by another"), "{second}");
    durable.stop(ENOUGH);
}

#[test]
fn tokens_are_counted_in_disjoint_classes() {
    let came = durably(Saying::default(), |_| {
        let run = live::agent("Classes").start();
        let mut call = run.model_call();
        call.usage(Usage {
            input: 10,
            cache_read: 4,
            cache_write: 1,
            output: 8,
            reasoning: 3,
            ..Usage::default()
        });
        call.finish();
        run.finish();
    });
    let all = points(&came.receiver.metrics());
    let of_class = |class: &str| -> i64 {
        let is = |point: &&crate::support::points::Point| {
            point.series.0 == TOKENS && point.series.1.get("agno.token.class").is_some_and(|own| own == class)
        };
        match all.iter().rfind(is).unwrap().value {
            crate::support::points::Value::Number(number) => number,
            crate::support::points::Value::Histogram { .. } => panic!("no counter"),
        }
    };
    assert_eq!(["input", "cache_read", "cache_write", "output", "reasoning"].map(of_class), [5, 4, 1, 5, 3]);
}

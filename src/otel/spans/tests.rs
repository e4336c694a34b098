use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};

use super::root::{bucket, cost_bucket};
use super::*;
use crate::model::run::Moment;
use crate::model::step::Scalar;
use crate::model::timeline;
use crate::model::{Message, ModelCall, RunKind, RunStatus, Stated, Usage};

/// What OTLP calls a span that was sampled.
const FLAGS_SAMPLED: u32 = 1;
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
    vec![Usage { role: "model".to_owned(), tokens, ..Usage::default() }]
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
    let traces = spans(&forest, &places, &times, settings, &|_| true).map(TraceSpans::from);
    traces.flat_map(|trace| trace.spans).collect()
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
    let child = Run { parent_run_id: Some("a".to_owned()), index: None, ..run("child", 0, uncached(969)) };
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
        provider: vec![("cached".to_owned(), Scalar::Bool(true)), ("tries".to_owned(), Scalar::Integer(2))],
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
    let run = Run { time_to_first_token_ns: Some(1_500_000_000), stated, ..run("a", 0, Tokens::default()) };
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
        messages: vec![message(0, Some(SECOND_S + 1)), message(1, None), message(2, Some(SECOND_S + 1_000))],
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

#[test]
fn a_call_says_its_cost_a_run_its_own_and_a_root_that_of_its_tree_and_session() {
    let cost =
        |nano_usd, is_estimate| Some(Cost { nano_usd, stated_nano_usd: 0, source: "table", is_estimate });
    let spent = |run_id: &str, index, nano_usd, is_estimate| {
        let mut run = run(run_id, index, TOKENS);
        run.usage[0].cost = cost(nano_usd, is_estimate);
        run.calls = vec![ModelCall {
            key: run_id.to_owned(),
            tokens: TOKENS,
            cost: run.usage[0].cost,
            ..ModelCall::default()
        }];
        run
    };
    let mut unknown = run("u", 2, TOKENS);
    unknown.usage[0].unpriced = 31;
    unknown.parent_run_id = Some("b".to_owned());
    let spans = spans_of(
        vec![spent("a", 0, 20_000_000, false), spent("b", 1, 500_000_000, true), unknown],
        Settings::default(),
    );
    let said: Vec<String> = spans
        .iter()
        .map(|span| {
            let is_cost =
                |attribute: &&KeyValue| attribute.key.contains("cost") || attribute.key.contains("unpriced");
            let of = |attribute: &KeyValue| {
                format!("{}={}", attribute.key.trim_start_matches("agno."), value(attribute))
            };
            span.attributes.iter().filter(is_cost).map(of).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(
        said,
        [
            "run.cost.usd=0.02 run.total_cost.usd=0.02 cost.bucket=0.01-0.1 session.cost.usd=0.02",
            "cost.amount=0.02 cost.currency=USD cost.source=table",
            "run.cost.usd=0.5 run.total_cost.usd=0.5 cost.bucket=0.1-1 session.cost.usd=0.52",
            "cost.amount=0.5 cost.currency=USD cost.source=table cost.estimate=true",
            "run.unpriced_tokens=31",
        ]
    );
}

#[test]
fn a_word_for_a_cost_begins_where_the_one_before_ends() {
    let cent = 10_000_000;
    for (nano_usd, word) in [
        (0, "0"),
        (1, "<0.01"),
        (cent - 1, "<0.01"),
        (cent, "0.01-0.1"),
        (10 * cent, "0.1-1"),
        (100 * cent, "1-10"),
        (1_000 * cent, "10+"),
    ] {
        assert_eq!(cost_bucket(nano_usd), word, "{nano_usd}");
    }
}

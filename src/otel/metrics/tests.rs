use opentelemetry_proto::tonic::metrics::v1::{exemplar, metric, number_data_point};

use super::*;
use crate::ledger::Ledger;
use crate::model::Cost;
use crate::model::RunKey;
use crate::model::step::Spender;

/// Figures of which no two sums are equal.
const TOKENS: Tokens = Tokens {
    uncached: 1,
    cache_read: 2,
    cache_write: 4,
    answer: 8,
    reasoning: 16,
    audio_input: 3,
    audio_output: 5,
};

fn usage(role: &str, tokens: Tokens) -> Usage {
    Usage { role: role.to_owned(), tokens, ..Usage::default() }
}

fn call(key: &str, role: &str, tokens: Tokens) -> ModelCall {
    ModelCall {
        key: key.to_owned(),
        role: role.to_owned(),
        tokens,
        has_message: true,
        ..ModelCall::default()
    }
}

fn tool(name: &str) -> ToolCall {
    ToolCall {
        key: name.to_owned(),
        name: name.to_owned(),
        executed: true,
        duration_ns: Some(70),
        ..ToolCall::default()
    }
}

fn run(kind: RunKind) -> Run {
    Run {
        entity_name: Some("Ann".to_owned()),
        session_id: Some("s".to_owned()),
        duration_ns: Some(900),
        time_to_first_token_ns: Some(50),
        ..Run::bare("r", kind)
    }
}

/// What is counted under a metric's name: the value of one attribute, what makes it this one, how much.
fn counted(run: &Run, settings: Settings, metric: &Metric, attribute: &str) -> Vec<String> {
    let measurements = measurements(run, None, settings);
    let of_metric = measurements.iter().filter(|measurement| measurement.metric.name == metric.name);
    of_metric
        .map(|Measurement { attributes, count, .. }| {
            let value =
                attributes.iter().find(|(name, _)| *name == attribute).map(|(_, value)| value.as_str());
            let value = value.unwrap_or("-");
            match count {
                Count::Birth => format!("{value} born"),
                Count::Share(share) | Count::Priced { value: Some(share), .. } => format!("{value} {share}"),
                Count::Priced { value: None, .. } => format!("{value} unknown"),
                Count::Once { key, value: much } => format!("{value} {key} {much}"),
            }
        })
        .collect()
}

#[test]
fn every_class_is_a_share_of_its_own_and_its_corrections_are_born_beside_it() {
    let run = Run { usage: vec![usage("model", TOKENS)], ..run(RunKind::Agent) };
    let of = |metric| counted(&run, Settings::default(), metric, names::TOKEN_CLASS);
    assert_eq!(
        of(&names::TOKEN_USAGE),
        ["input 1", "cache_read 2", "cache_write 4", "output 8", "reasoning 16"]
    );
    assert_eq!(
        of(&names::TOKEN_CORRECTIONS),
        ["input born", "cache_read born", "cache_write born", "output born", "reasoning born"]
    );
}

#[test]
fn the_conventions_counters_hold_their_subsets_and_split_off_what_was_audio() {
    let run = Run { usage: vec![usage("model", TOKENS)], ..run(RunKind::Agent) };
    let of = |metric| counted(&run, Settings::default(), metric, names::TOKEN_MODALITY);
    assert_eq!(of(&names::USAGE_INPUT_TOKENS), ["unknown 4", "audio 3"]);
    assert_eq!(of(&names::USAGE_OUTPUT_TOKENS), ["unknown 19", "audio 5"]);
    assert_eq!(of(&names::USAGE_CACHE_READ_TOKENS), ["unknown 2"]);
    assert_eq!(of(&names::USAGE_CACHE_WRITE_TOKENS), ["unknown 4"]);
    assert_eq!(of(&names::USAGE_REASONING_TOKENS), ["unknown 16"]);
}

#[test]
fn without_audio_no_series_of_audio_is_born() {
    let silent = Tokens { audio_input: 0, audio_output: 0, ..TOKENS };
    let run = Run { usage: vec![usage("model", silent)], ..run(RunKind::Agent) };
    let of = |metric| counted(&run, Settings::default(), metric, names::TOKEN_MODALITY);
    assert_eq!(of(&names::USAGE_INPUT_TOKENS), ["unknown 7"]);
    assert_eq!(of(&names::USAGE_OUTPUT_TOKENS), ["unknown 24"]);
}

#[test]
fn what_a_steps_executor_spent_is_counted_under_its_own_name() {
    let spender = Spender { kind: RunKind::Team, name: "Crew".to_owned(), step: 0 };
    let spent = Usage { spender: Some(spender), ..usage("model", TOKENS) };
    let run = Run { usage: vec![spent], ..run(RunKind::Workflow) };
    let of = |attribute| counted(&run, Settings::default(), &names::USAGE_INPUT_TOKENS, attribute);
    assert_eq!(of(names::AGENT_NAME), ["Crew 4", "Crew 3"]);
    assert_eq!(of(names::RUN_KIND), ["team 4", "team 3"]);
}

#[test]
fn a_call_is_measured_once_and_one_known_as_a_sum_not_at_all() {
    let whole = ModelCall { duration_ns: Some(40), ..call("a", "model", TOKENS) };
    let streamed =
        ModelCall { time_to_first_token_ns: Some(20), streamed: true, ..call("b", "model", TOKENS) };
    let sum = ModelCall { has_message: false, duration_ns: Some(60), ..call("c", "model", TOKENS) };
    let run = Run { calls: vec![whole, streamed, sum], ..run(RunKind::Agent) };
    let of = |settings, metric| counted(&run, settings, metric, names::TOKEN_TYPE);
    let usual = Settings::default();
    assert_eq!(of(usual, &names::OPERATION_INPUT_TOKENS), ["- a 7", "- b 7"]);
    assert_eq!(of(usual, &names::OPERATION_OUTPUT_TOKENS), ["- a 24", "- b 24"]);
    assert_eq!(of(usual, &names::INFERENCE_DURATION), ["- a 40"]);
    assert_eq!(of(usual, &names::INFERENCE_FIRST_CHUNK), ["- b 20"]);
    assert!(of(usual, &names::LEGACY_TOKEN_USAGE).is_empty());
    let older = Settings { older_names: true, ..usual };
    assert_eq!(of(older, &names::LEGACY_OPERATION_DURATION), ["- a 40"]);
    assert_eq!(
        of(older, &names::LEGACY_TOKEN_USAGE),
        ["input a/input 7", "output a/output 24", "input b/input 7", "output b/output 24"]
    );
}

#[test]
fn a_tool_is_counted_by_its_outcome_and_timed_unless_it_hands_work_on() {
    let failed = ToolCall { failed: true, ..tool("bad") };
    let delegating = ToolCall { delegates: true, ..tool("delegate") };
    let waiting = ToolCall { executed: false, ..tool("waits") };
    let run = Run { tools: vec![tool("good"), failed, delegating, waiting], ..run(RunKind::Agent) };
    let of = |metric, attribute| counted(&run, Settings::default(), metric, attribute);
    let calls = of(&names::TOOL_CALLS, names::TOOL_STATUS);
    assert_eq!(calls[..3], ["ok born", "error born", "ok good 1"]);
    assert_eq!(calls[3..6], ["ok born", "error born", "error bad 1"]);
    assert_eq!(calls[6..], ["ok born", "error born", "ok delegate 1"]);
    assert_eq!(of(&names::EXECUTE_TOOL_DURATION, names::ERROR_TYPE), [" good 70", "_OTHER bad 70"]);
}

#[test]
fn a_run_is_counted_once_by_its_status_and_what_it_did_by_its_kind() {
    let sum = ModelCall { has_message: false, ..call("sum", "model", TOKENS) };
    let waiting = ToolCall { executed: false, ..tool("waits") };
    let did = Run {
        calls: vec![call("a", "model", TOKENS), call("b", "model", TOKENS), sum],
        tools: vec![tool("t"), tool("u"), tool("v"), waiting],
        ..run(RunKind::Agent)
    };
    let of = |run, metric| counted(run, Settings::default(), metric, names::RUN_STATUS);
    let statuses = of(&did, &names::RUNS);
    assert!(statuses[..7].iter().all(|status| status.ends_with(" born")), "{statuses:?}");
    assert_eq!(statuses[7..], ["COMPLETED run 1"]);
    assert_eq!(of(&did, &names::INVOKE_AGENT_DURATION), ["- run 900"]);
    assert!(of(&did, &names::INVOKE_WORKFLOW_DURATION).is_empty());
    assert_eq!(of(&did, &names::RUN_FIRST_TOKEN), ["- run 50"]);
    assert_eq!(of(&did, &names::INVOKE_AGENT_INFERENCE_CALLS), ["- run 2"]);
    assert_eq!(of(&did, &names::INVOKE_AGENT_TOOL_CALLS), ["- run 3"]);
    let workflow = Run { kind: RunKind::Workflow, ..did.clone() };
    assert_eq!(of(&workflow, &names::INVOKE_WORKFLOW_DURATION), ["- run 900"]);
    assert!(of(&workflow, &names::INVOKE_AGENT_DURATION).is_empty());
    assert!(of(&workflow, &names::INVOKE_AGENT_INFERENCE_CALLS).is_empty());
}

#[test]
fn of_a_session_only_top_level_runs_are_runs_and_take_time() {
    let run = Run { usage: vec![usage("model", TOKENS)], ..run(RunKind::Agent) };
    let share = |runs, duration_ns| SessionShare {
        input_tokens: 7,
        output_tokens: 24,
        runs,
        duration_ns,
        ..SessionShare::default()
    };
    let named = vec![(names::AGENT_NAME, "Ann".to_owned()), (names::RUN_KIND, "agent".to_owned())];
    assert_eq!(session_share(&run, true), (share(1, 900), named.clone()));
    assert_eq!(session_share(&run, false), (share(0, 0), named));
}

#[test]
fn the_span_shown_for_what_was_spent_is_the_largest_call_of_its_role_and_model() {
    let small = Tokens { uncached: 1, ..Tokens::default() };
    let large = Tokens { uncached: 1_000, ..Tokens::default() };
    let other_model = ModelCall { model: Some("other".to_owned()), ..call("d", "model", large) };
    let run = Run {
        usage: vec![usage("model", TOKENS)],
        calls: vec![
            call("a", "model", small),
            call("b", "model", TOKENS),
            call("c", "parser_model", large),
            other_model,
        ],
        ..run(RunKind::Agent)
    };
    let place = Place {
        trace_id: [1; 16],
        run: [9; 8],
        calls: (1..=4).map(|call| [call; 8]).collect(),
        tools: Vec::new(),
        steps: Vec::new(),
    };
    let measurements = measurements(&run, Some(&place), Settings::default());
    let of = |wanted: fn(&Measurement) -> bool| -> Vec<SpanId> {
        let measurements = measurements.iter().filter(|measurement| wanted(measurement));
        measurements.map(|measurement| measurement.exemplar.as_ref().unwrap().span_id).collect()
    };
    let spent = of(|measurement| matches!(measurement.count, Count::Share(_)));
    assert_eq!(spent, vec![[2; 8]; spent.len()]);
    assert!(spent.len() > 5);
    // What is said of a call shows that call, and what is said of the run its own span.
    let called = of(|measurement| measurement.metric.name == names::OPERATION_INPUT_TOKENS.name);
    assert_eq!(called, [[1; 8], [2; 8], [3; 8], [4; 8]]);
    assert_eq!(of(|measurement| measurement.metric.name == names::INVOKE_AGENT_DURATION.name), [[9; 8]]);
    assert_eq!(exemplar_of(&run, Some(&place)).map(|exemplar| exemplar.span_id), Some([9; 8]));
}

/// The points of the only series of a metric after these values.
fn released(metric: &'static Metric, values: &[u64]) -> metric::Data {
    let mut ledger = Ledger::default();
    let key = RunKey { run_id: "r".to_owned(), reuse: String::new() };
    let exemplar = exemplar_of(&run(RunKind::Agent), None);
    assert_eq!(exemplar, None, "a run that is not seen shows no span");
    let shown = shown(&run(RunKind::Agent), [1; 16], [2; 8]);
    let once = values.iter().enumerate().map(|(at, &value)| Measurement {
        metric,
        attributes: vec![("who", "Ann".to_owned())],
        count: Count::Once { key: at.to_string(), value },
        exemplar: Some(shown.clone()),
    });
    ledger.observe(&key, once.collect());
    let [family] = &metrics(&ledger.release(10_000_000_000))[..] else { panic!("one family") };
    assert_eq!((family.name.as_str(), family.unit.as_str()), (metric.name, metric.unit));
    family.data.clone().unwrap()
}

#[test]
fn a_counter_is_a_monotonic_sum_that_begins_at_zero() {
    let metric::Data::Sum(sum) = released(&names::RUNS, &[2, 3]) else { panic!("a sum") };
    assert!(sum.is_monotonic);
    let points: Vec<_> = sum.data_points.iter().map(|point| (point.time_unix_nano, point.value)).collect();
    let int = |value| Some(number_data_point::Value::AsInt(value));
    assert_eq!(points, [(9_000_000_000, int(0)), (10_000_000_000, int(5))]);
    assert!(sum.data_points.iter().all(|point| point.start_time_unix_nano == 8_000_000_000));
    let [exemplar] = &sum.data_points[1].exemplars[..] else { panic!("one exemplar") };
    assert_eq!(exemplar.value, Some(exemplar::Value::AsDouble(3.0)));
    assert_eq!((exemplar.span_id.as_slice(), exemplar.trace_id.as_slice()), (&[2; 8][..], &[1; 16][..]));
    assert_eq!(exemplar.filtered_attributes.len(), 1);
}

#[test]
fn a_gauge_has_no_start_and_no_second_point() {
    let metric::Data::Gauge(gauge) = released(&names::SESSION_LARGEST, &[7]) else { panic!("a gauge") };
    let [point] = &gauge.data_points[..] else { panic!("one point") };
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (0, 10_000_000_000));
    assert_eq!(point.value, Some(number_data_point::Value::AsInt(7)));
    let [who] = &point.attributes[..] else { panic!("one attribute") };
    assert_eq!(who.key, "who");
}

#[test]
fn a_histogram_is_in_seconds_with_every_value_in_its_bucket() {
    let kept = [100_000_000, 300_000_000, 100_000_001];
    let metric::Data::Histogram(histogram) = released(&names::INVOKE_AGENT_DURATION, &kept) else {
        panic!("a histogram")
    };
    let [older, newer] = &histogram.data_points[..] else { panic!("a pair") };
    assert_eq!((older.count, older.sum, older.min), (0, Some(0.0), None));
    assert_eq!((newer.count, newer.sum), (3, Some(0.500_000_001)));
    assert_eq!((newer.min, newer.max), (Some(0.1), Some(0.3)));
    // A bucket holds its upper bound.
    assert_eq!(newer.bucket_counts[..4], [1, 1, 1, 0]);
    assert_eq!(newer.explicit_bounds[..2], [0.1, 0.2]);
    assert_eq!(newer.bucket_counts.len(), newer.explicit_bounds.len() + 1);
    let shown: Vec<_> = newer.exemplars.iter().filter_map(|exemplar| exemplar.value).collect();
    let seconds = [0.1, 0.3, 0.100_000_001].map(exemplar::Value::AsDouble);
    assert_eq!(shown, seconds);
}

#[test]
fn a_cost_has_a_series_where_its_price_is_known_and_what_is_unpriced_always() {
    let known = Cost { nano_usd: 70, stated_nano_usd: 0, source: "table", is_estimate: false };
    let of = |cost, unpriced, metric| {
        let usage = Usage { cost, unpriced, ..usage("memory_model", TOKENS) };
        let run = Run { usage: vec![usage], ..run(RunKind::Agent) };
        counted(&run, Settings::default(), metric, names::MODEL_ROLE)
    };
    assert_eq!(of(Some(known), 0, &names::COST), ["memory_model 70"]);
    assert_eq!(of(Some(known), 0, &names::COST_CORRECTIONS), ["memory_model born"]);
    assert_eq!(of(Some(known), 0, &names::TOKEN_UNPRICED), ["memory_model 0"]);
    assert_eq!(of(None, 31, &names::COST), ["memory_model unknown"]);
    assert!(of(None, 31, &names::COST_CORRECTIONS).is_empty());
    assert_eq!(of(None, 31, &names::TOKEN_UNPRICED), ["memory_model 31"]);
}

#[test]
fn what_a_cost_is_made_of_is_who_spent_what_and_what_the_provider_stated() {
    let cost = |nano_usd, stated_nano_usd, source| {
        Some(Cost { nano_usd, stated_nano_usd, source, is_estimate: false })
    };
    let plain = Usage { cost: cost(70, 0, "table"), ..usage("model", TOKENS) };
    // Prices are no part of it.
    for same in [None, cost(90, 0, "config"), cost(0, 0, "local")] {
        assert_eq!(basis(&Usage { cost: same, unpriced: 3, ..plain.clone() }), basis(&plain));
    }
    let spender = Spender { kind: RunKind::Agent, name: "Ann".to_owned(), step: 0 };
    for other in [
        Usage { role: "memory_model".to_owned(), ..plain.clone() },
        Usage { model: Some("m".to_owned()), ..plain.clone() },
        Usage { provider: Some("m".to_owned()), ..plain.clone() },
        Usage { spender: Some(spender), ..plain.clone() },
        Usage { tokens: Tokens { audio_input: 0, ..TOKENS }, ..plain.clone() },
        Usage { tokens: Tokens { uncached: 2, cache_read: 1, ..TOKENS }, ..plain.clone() },
        Usage { cost: cost(70, 70, "provider"), ..plain.clone() },
    ] {
        assert_ne!(basis(&other), basis(&plain), "{other:?}");
    }
}

#[test]
fn amounts_are_said_in_dollars() {
    let shown = Exemplar { trace_id: [1; 16], span_id: [2; 8], conversation: None, value: 0 };
    let said = Measurement {
        metric: &names::COST,
        attributes: Vec::new(),
        count: Count::Share(109_500),
        exemplar: Some(shown),
    };
    let mut ledger = Ledger::default();
    ledger.observe(&run(RunKind::Agent).key, vec![said]);
    let metrics = metrics(&ledger.release(10_000_000_000));
    let [metric] = &metrics[..] else { panic!("{metrics:?}") };
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("agno.cost.usd", "{USD}"));
    let Some(metric::Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
    assert!(sum.is_monotonic);
    let values: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
    let usd = |usd| Some(number_data_point::Value::AsDouble(usd));
    assert_eq!(values, [usd(0.0), usd(0.000_109_5)]);
    assert_eq!(sum.data_points[1].exemplars[0].value, Some(exemplar::Value::AsDouble(0.000_109_5)));
}

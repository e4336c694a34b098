//! Runs into measurements, and the ledger's series into points.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1 as otlp;
use opentelemetry_proto::tonic::metrics::v1::{exemplar, metric, number_data_point};

use super::attributes::text;
use super::ids::{SpanId, TraceId};
use super::names::{self, Instrument, Metric, operation};
use super::places::Place;
use super::spans::Settings;
use crate::ledger::{Count, Exemplar, Measurement, Point, Released, SessionShare, Value, unscaled};
use crate::model::run::STATUSES;
use crate::model::tokens::CLASSES;
use crate::model::{ModelCall, Run, RunKind, Tokens, ToolCall, Usage};

type Attributes = Vec<(&'static str, String)>;

/// Everything one run counts. `place` is where it is seen; runs without a trace count all the same.
pub fn measurements(run: &Run, place: Option<&Place>, settings: Settings) -> Vec<Measurement> {
    let mut counter = Counter { run, place, measurements: Vec::new() };
    for usage in &run.usage {
        counter.spend(usage);
        counter.standard_spend(usage);
    }
    for (at, call) in run.calls.iter().enumerate().filter(|(_, call)| call.has_message) {
        counter.call(at, call, settings);
    }
    for (at, tool) in run.tools.iter().enumerate().filter(|(_, tool)| tool.executed) {
        counter.tool(at, tool);
    }
    counter.work();
    counter.measurements
}

/// What a run adds to its session, and what names the session if the run is its first.
pub fn session_share(run: &Run, is_root: bool) -> (SessionShare, Attributes) {
    let tokens = run.own_tokens();
    let duration = run.duration_ns.filter(|_| is_root).and_then(|duration| u64::try_from(duration).ok());
    let share = SessionShare {
        input_tokens: tokens.input(),
        output_tokens: tokens.output(),
        runs: u64::from(is_root),
        duration_ns: duration.unwrap_or(0),
    };
    (share, who(run))
}

/// The span to look at for a run as a whole.
pub fn exemplar_of(run: &Run, place: Option<&Place>) -> Option<Exemplar> {
    place.map(|place| shown(run, place.trace_id, place.run))
}

/// The agent's, team's or workflow's name and kind.
fn who(run: &Run) -> Attributes {
    named(run.kind, run.label().unwrap_or_default())
}

fn named(kind: RunKind, label: &str) -> Attributes {
    let name = if kind == RunKind::Workflow { names::WORKFLOW_NAME } else { names::AGENT_NAME };
    vec![(name, label.to_owned()), (names::RUN_KIND, kind.as_str().to_owned())]
}

fn shown(run: &Run, trace_id: TraceId, span_id: SpanId) -> Exemplar {
    Exemplar { trace_id, span_id, conversation: run.session_id.clone(), value: 0 }
}

struct Counter<'r> {
    run: &'r Run,
    place: Option<&'r Place>,
    measurements: Vec<Measurement>,
}

impl Counter<'_> {
    fn add(
        &mut self,
        metric: &'static Metric,
        attributes: Attributes,
        count: Count,
        exemplar: Option<Exemplar>,
    ) {
        self.measurements.push(Measurement { metric, attributes, count, exemplar });
    }

    fn once(
        &mut self,
        metric: &'static Metric,
        attributes: Attributes,
        key: &str,
        value: i64,
        exemplar: Option<Exemplar>,
    ) {
        if let Ok(value) = u64::try_from(value) {
            self.add(metric, attributes, Count::Once { key: key.to_owned(), value }, exemplar);
        }
    }

    fn run_exemplar(&self) -> Option<Exemplar> {
        exemplar_of(self.run, self.place)
    }

    /// The first call of a role is what shows how its tokens were spent.
    fn usage_exemplar(&self, usage: &Usage) -> Option<Exemplar> {
        let place = self.place?;
        let same = |call: &ModelCall| call.role == usage.role && call.model == usage.model;
        let largest = self
            .run
            .calls
            .iter()
            .enumerate()
            .filter(|(_, call)| same(call))
            .max_by_key(|(_, call)| call.tokens.total());
        let span = largest.and_then(|(at, _)| place.calls.get(at)).unwrap_or(&place.run);
        Some(shown(self.run, place.trace_id, *span))
    }

    /// Disjoint classes, all of them at once: a family is born together, so that ratios work from the start.
    fn spend(&mut self, usage: &Usage) {
        let exemplar = self.usage_exemplar(usage);
        for class in CLASSES {
            let mut attributes = self.model_attributes(usage);
            attributes.push((names::MODEL_ROLE, usage.role.clone()));
            attributes.push((names::TOKEN_CLASS, class.as_str().to_owned()));
            self.add(&names::TOKEN_CORRECTIONS, attributes.clone(), Count::Birth, None);
            self.add(&names::TOKEN_USAGE, attributes, Count::Share(usage.tokens.of(class)), exemplar.clone());
        }
    }

    /// The conventions' counters: subsets, not classes, split by modality where that is known.
    fn standard_spend(&mut self, usage: &Usage) {
        let Tokens { cache_read, cache_write, reasoning, audio_input, audio_output, .. } = usage.tokens;
        let counts: [(&'static Metric, &str, u64); 7] = [
            (
                &names::USAGE_INPUT_TOKENS,
                "unknown",
                usage.tokens.input() - audio_input.min(usage.tokens.input()),
            ),
            (&names::USAGE_INPUT_TOKENS, "audio", audio_input),
            (
                &names::USAGE_OUTPUT_TOKENS,
                "unknown",
                usage.tokens.output() - audio_output.min(usage.tokens.output()),
            ),
            (&names::USAGE_OUTPUT_TOKENS, "audio", audio_output),
            (&names::USAGE_CACHE_READ_TOKENS, "unknown", cache_read),
            (&names::USAGE_CACHE_WRITE_TOKENS, "unknown", cache_write),
            (&names::USAGE_REASONING_TOKENS, "unknown", reasoning),
        ];
        for (metric, modality, count) in
            counts.into_iter().filter(|(_, modality, count)| *modality != "audio" || *count > 0)
        {
            let mut attributes = self.model_attributes(usage);
            attributes.push((names::OPERATION_NAME, operation::CHAT.to_owned()));
            attributes.push((names::TOKEN_MODALITY, modality.to_owned()));
            let exemplar = self.usage_exemplar(usage);
            self.add(metric, attributes, Count::Share(count), exemplar);
        }
    }

    fn model_attributes(&self, usage: &Usage) -> Attributes {
        let mut attributes = match &usage.spender {
            Some(spender) => named(spender.kind, &spender.name),
            None => who(self.run),
        };
        attributes.push((names::PROVIDER_NAME, usage.provider.clone().unwrap_or_default()));
        attributes.push((names::REQUEST_MODEL, usage.model.clone().unwrap_or_default()));
        attributes
    }

    fn call(&mut self, at: usize, call: &ModelCall, settings: Settings) {
        let mut attributes = who(self.run);
        attributes.push((names::OPERATION_NAME, operation::CHAT.to_owned()));
        attributes.push((names::PROVIDER_NAME, call.provider.clone().unwrap_or_default()));
        attributes.push((names::REQUEST_MODEL, call.model.clone().unwrap_or_default()));
        let exemplar =
            self.place.and_then(|place| Some(shown(self.run, place.trace_id, *place.calls.get(at)?)));
        let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut values = vec![
            (&names::OPERATION_INPUT_TOKENS, tokens(call.tokens.input())),
            (&names::OPERATION_OUTPUT_TOKENS, tokens(call.tokens.output())),
        ];
        values.extend(call.duration_ns.map(|duration| (&names::INFERENCE_DURATION, duration)));
        values.extend(
            call.time_to_first_token_ns
                .filter(|_| call.streamed)
                .map(|first| (&names::INFERENCE_FIRST_CHUNK, first)),
        );
        if settings.older_names {
            values.extend(call.duration_ns.map(|duration| (&names::LEGACY_OPERATION_DURATION, duration)));
            for (kind, count) in [("input", call.tokens.input()), ("output", call.tokens.output())] {
                let mut attributes = attributes.clone();
                attributes.push((names::TOKEN_TYPE, kind.to_owned()));
                let key = format!("{}/{kind}", call.key);
                self.once(&names::LEGACY_TOKEN_USAGE, attributes, &key, tokens(count), exemplar.clone());
            }
        }
        for (metric, value) in values {
            self.once(metric, attributes.clone(), &call.key, value, exemplar.clone());
        }
    }

    fn tool(&mut self, at: usize, tool: &ToolCall) {
        let mut attributes = who(self.run);
        attributes.push((names::TOOL_NAME, tool.name.clone()));
        let exemplar =
            self.place.and_then(|place| Some(shown(self.run, place.trace_id, *place.tools.get(at)?)));
        let with = |status: &str| {
            let mut attributes = attributes.clone();
            attributes.push((names::TOOL_STATUS, status.to_owned()));
            attributes
        };
        for status in ["ok", "error"] {
            self.add(&names::TOOL_CALLS, with(status), Count::Birth, None);
        }
        let status = if tool.failed { "error" } else { "ok" };
        self.once(&names::TOOL_CALLS, with(status), &tool.key, 1, exemplar.clone());
        // The stamp of a tool that hands work on is wrong: a millisecond after the member has finished.
        if let Some(duration) = tool.duration_ns.filter(|_| !tool.delegates) {
            attributes.push((names::TOOL_TYPE, "function".to_owned()));
            attributes.push((names::ERROR_TYPE, if tool.failed { "_OTHER" } else { "" }.to_owned()));
            self.once(&names::EXECUTE_TOOL_DURATION, attributes, &tool.key, duration, exemplar);
        }
    }

    /// What is counted of a run as a whole. Once per run, as it stands.
    fn work(&mut self) {
        let run = self.run;
        let exemplar = self.run_exemplar();
        for status in STATUSES {
            let mut attributes = who(run);
            attributes.push((names::RUN_STATUS, status.to_owned()));
            self.add(&names::RUNS, attributes, Count::Birth, None);
        }
        let mut attributes = who(run);
        attributes.push((names::RUN_STATUS, run.status.as_str().to_owned()));
        self.once(&names::RUNS, attributes, "run", 1, exemplar.clone());
        let mut timed = who(run);
        timed.push((names::ERROR_TYPE, run.error_type.clone().unwrap_or_default()));
        let duration = if run.kind == RunKind::Workflow {
            &names::INVOKE_WORKFLOW_DURATION
        } else {
            &names::INVOKE_AGENT_DURATION
        };
        if let Some(value) = run.duration_ns {
            self.once(duration, timed, "run", value, exemplar.clone());
        }
        if let Some(value) = run.time_to_first_token_ns {
            self.once(&names::RUN_FIRST_TOKEN, who(run), "run", value, exemplar.clone());
        }
        if run.kind != RunKind::Workflow {
            let calls = run.calls.iter().filter(|call| call.has_message).count();
            let tools = run.tools.iter().filter(|tool| tool.executed).count();
            let counts =
                [(&names::INVOKE_AGENT_INFERENCE_CALLS, calls), (&names::INVOKE_AGENT_TOOL_CALLS, tools)];
            for (metric, count) in counts {
                self.once(metric, who(run), "run", i64::try_from(count).unwrap_or(0), exemplar.clone());
            }
        }
    }
}

/// The released series as OTLP metrics, one per metric name, in the order of names.
pub fn metrics(released: &[Released]) -> Vec<otlp::Metric> {
    let mut families = BTreeMap::<&str, Vec<&Released>>::new();
    for series in released {
        families.entry(series.key.metric.name).or_default().push(series);
    }
    families.into_values().filter_map(|series| family(&series)).collect()
}

fn family(series: &[&Released]) -> Option<otlp::Metric> {
    let metric = series.first()?.key.metric;
    let data = match metric.instrument {
        Instrument::Counter => metric::Data::Sum(otlp::Sum {
            data_points: points(series, number_point),
            aggregation_temporality: otlp::AggregationTemporality::Cumulative as i32,
            is_monotonic: true,
        }),
        Instrument::Gauge => metric::Data::Gauge(otlp::Gauge { data_points: points(series, number_point) }),
        Instrument::Histogram { bounds, scale } => metric::Data::Histogram(otlp::Histogram {
            data_points: points(series, |series, point| histogram_point(series, point, bounds, scale)),
            aggregation_temporality: otlp::AggregationTemporality::Cumulative as i32,
        }),
    };
    Some(otlp::Metric {
        name: metric.name.to_owned(),
        description: metric.description.to_owned(),
        unit: metric.unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    })
}

/// The points of a family: where a series moved, the older first.
fn points<P>(series: &[&Released], point: impl Fn(&Released, &Point) -> Option<P>) -> Vec<P> {
    series
        .iter()
        .flat_map(|series| series.before.iter().chain([&series.now]).filter_map(|at| point(series, at)))
        .collect()
}

fn number_point(series: &Released, point: &Point) -> Option<otlp::NumberDataPoint> {
    let Value::Number(value) = point.value else {
        return None;
    };
    let is_gauge = series.key.metric.instrument == Instrument::Gauge;
    Some(otlp::NumberDataPoint {
        attributes: attributes(series),
        start_time_unix_nano: if is_gauge { 0 } else { series.start_ns },
        time_unix_nano: point.at_ns,
        exemplars: exemplars(point, 1),
        flags: 0,
        value: Some(number_data_point::Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
    })
}

fn histogram_point(
    series: &Released,
    point: &Point,
    bounds: &[f64],
    scale: u64,
) -> Option<otlp::HistogramDataPoint> {
    let Value::Histogram(histogram) = &point.value else {
        return None;
    };
    Some(otlp::HistogramDataPoint {
        attributes: attributes(series),
        start_time_unix_nano: series.start_ns,
        time_unix_nano: point.at_ns,
        count: histogram.count,
        sum: Some(unscaled(histogram.sum, scale)),
        bucket_counts: histogram.buckets.clone(),
        explicit_bounds: bounds.to_vec(),
        exemplars: exemplars(point, scale),
        flags: 0,
        min: histogram.range.map(|(least, _)| unscaled(least, scale)),
        max: histogram.range.map(|(_, most)| unscaled(most, scale)),
    })
}

fn attributes(series: &Released) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
    let mut attributes = Vec::with_capacity(series.key.attributes.len());
    for (name, value) in &series.key.attributes {
        text(&mut attributes, name, value);
    }
    attributes
}

fn exemplars(point: &Point, scale: u64) -> Vec<otlp::Exemplar> {
    let of = |(at_ns, exemplar): &(u64, Exemplar)| {
        let mut filtered_attributes = Vec::new();
        if let Some(conversation) = &exemplar.conversation {
            text(&mut filtered_attributes, names::CONVERSATION_ID, conversation);
        }
        otlp::Exemplar {
            filtered_attributes,
            time_unix_nano: *at_ns,
            span_id: exemplar.span_id.to_vec(),
            trace_id: exemplar.trace_id.to_vec(),
            value: Some(exemplar::Value::AsDouble(unscaled(exemplar.value, scale))),
        }
    };
    point.exemplars.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
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
        Usage { role: role.to_owned(), provider: None, model: None, spender: None, tokens }
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
                    Count::Share(share) => format!("{value} {share}"),
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
        let share =
            |runs, duration_ns| SessionShare { input_tokens: 7, output_tokens: 24, runs, duration_ns };
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
        let points: Vec<_> =
            sum.data_points.iter().map(|point| (point.time_unix_nano, point.value)).collect();
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
}

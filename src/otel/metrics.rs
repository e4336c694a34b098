//! Runs into measurements, and (`points.rs`) the ledger's series into points.

mod points;

pub use points::metrics;

use super::ids::{SpanId, TraceId};
use super::names::{self, Metric, operation};
use super::places::Place;
use super::spans::Settings;
use crate::ledger::{Count, Exemplar, Measurement, SessionShare};
use crate::model::run::STATUSES;
use crate::model::tokens::CLASSES;
use crate::model::{ModelCall, Run, RunKind, Tokens, ToolCall, Usage};
use crate::stable_hash::{stable_hash, stable_hash_of};

type Attributes = Vec<(&'static str, String)>;

/// What a run counts once as a whole, beside what its calls and tools do; their keys are ids.
const AS_A_WHOLE: &str = "run";

/// Everything one run counts. `place` is where it is seen; runs without a trace count all the same.
pub fn measurements(run: &Run, place: Option<&Place>, settings: Settings) -> Vec<Measurement> {
    let mut all = parts(run, place, settings);
    all.extend(as_a_whole(run, place));
    all
}

/// What a run counts of its usage, its calls and its tools.
pub fn parts(run: &Run, place: Option<&Place>, settings: Settings) -> Vec<Measurement> {
    let mut counter = Counter { run, place, measurements: Vec::new() };
    for usage in &run.usage {
        counter.spend(usage);
        counter.cost(usage);
        counter.standard_spend(usage);
    }
    for (at, call) in run.calls.iter().enumerate().filter(|(_, call)| call.has_message) {
        counter.call(at, call, settings);
    }
    for (at, tool) in run.tools.iter().enumerate().filter(|(_, tool)| tool.executed) {
        counter.tool(at, tool);
    }
    counter.measurements
}

/// What a run counts once, when it is over.
pub fn as_a_whole(run: &Run, place: Option<&Place>) -> Vec<Measurement> {
    let mut counter = Counter { run, place, measurements: Vec::new() };
    counter.work();
    counter.measurements
}

/// Without what is counted of a run as a whole: it is not over.
pub fn so_far(measurements: &mut Vec<Measurement>) {
    measurements
        .retain(|measurement| !matches!(&measurement.count, Count::Once { key, .. } if key == AS_A_WHOLE));
}

/// What a run adds to its session, and what names the session if the run is its first.
pub fn session_share(run: &Run, is_root: bool) -> (SessionShare, Attributes) {
    let tokens = run.own_tokens();
    let duration = run.duration_ns.filter(|_| is_root).and_then(|duration| u64::try_from(duration).ok());
    let share = SessionShare {
        input_tokens: tokens.input(),
        output_tokens: tokens.output(),
        // The ledger knows what of it was counted.
        cost_nano_usd: 0,
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

/// What decides a cost beside prices: what was spent on what, and what of its cost the provider stated.
fn basis(usage: &Usage) -> u64 {
    let [provider, model] = [&usage.provider, &usage.model].map(|name| name.as_deref().unwrap_or_default());
    let spender = usage.spender.as_ref().map_or("", |spender| spender.name.as_str());
    let stated = usage.cost.map_or(0, |cost| cost.stated_nano_usd);
    let Tokens { uncached, cache_read, cache_write, answer, reasoning, audio_input, audio_output } =
        usage.tokens;
    let who = stable_hash(&[&usage.role, provider, model, spender]);
    let figures =
        [who, uncached, cache_read, cache_write, answer, reasoning, audio_input, audio_output, stated];
    stable_hash_of(&figures.map(u64::to_be_bytes).concat())
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

    /// What it cost, and how much of it has no price. What says that a run spent the same as before keeps both as they
    /// were, whatever prices are by now.
    fn cost(&mut self, usage: &Usage) {
        let exemplar = self.usage_exemplar(usage);
        let mut attributes = self.model_attributes(usage);
        attributes.push((names::MODEL_ROLE, usage.role.clone()));
        let basis = basis(usage);
        if usage.cost.is_some() {
            self.add(&names::COST_CORRECTIONS, attributes.clone(), Count::Birth, None);
        }
        let cost = Count::Priced { value: usage.cost.map(|cost| cost.nano_usd), basis };
        self.add(&names::COST, attributes.clone(), cost, exemplar.clone());
        let unpriced = Count::Priced { value: Some(usage.unpriced), basis };
        self.add(&names::TOKEN_UNPRICED, attributes, unpriced, exemplar);
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
        if let Some(duration) = call.duration_ns {
            attributes.push((names::ERROR_TYPE, call.error_type.clone().unwrap_or_default()));
            self.once(&names::INFERENCE_DURATION, attributes, &call.key, duration, exemplar);
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
            attributes.push((names::ERROR_TYPE, tool.error_type().unwrap_or_default().to_owned()));
            self.once(&names::EXECUTE_TOOL_DURATION, attributes, &tool.key, duration, exemplar);
        }
    }

    /// What is counted of a run as a whole. Once per run, as it stands: see [`so_far`] for one that is not over.
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
        self.once(&names::RUNS, attributes, AS_A_WHOLE, 1, exemplar.clone());
        let mut timed = who(run);
        timed.push((names::ERROR_TYPE, run.error_type.clone().unwrap_or_default()));
        let duration = if run.kind == RunKind::Workflow {
            &names::INVOKE_WORKFLOW_DURATION
        } else {
            &names::INVOKE_AGENT_DURATION
        };
        if let Some(value) = run.duration_ns {
            self.once(duration, timed, AS_A_WHOLE, value, exemplar.clone());
        }
        if let Some(value) = run.time_to_first_token_ns {
            self.once(&names::RUN_FIRST_TOKEN, who(run), AS_A_WHOLE, value, exemplar.clone());
        }
        if run.kind != RunKind::Workflow {
            let calls = run.calls.iter().filter(|call| call.has_message).count();
            let tools = run.tools.iter().filter(|tool| tool.executed).count();
            let counts =
                [(&names::INVOKE_AGENT_INFERENCE_CALLS, calls), (&names::INVOKE_AGENT_TOOL_CALLS, tools)];
            for (metric, count) in counts {
                self.once(metric, who(run), AS_A_WHOLE, i64::try_from(count).unwrap_or(0), exemplar.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;

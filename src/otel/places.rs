//! Where runs are seen: traces and span ids.

use super::ids::{IdsOfRun, SpanId, TraceId, parse_traceparent, trace_id};
use crate::model::tree::Trace;
use crate::model::{Forest, Run, RunKind};

/// Where a run is seen: its trace and the spans of its parts, in the order of its lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The trace.
    pub trace_id: TraceId,
    /// The run's span.
    pub run: SpanId,
    /// Its model calls.
    pub calls: Vec<SpanId>,
    /// Its tool calls.
    pub tools: Vec<SpanId>,
    /// Its steps.
    pub steps: Vec<SpanId>,
}

/// Where every run of a forest is seen.
#[derive(Debug, Default)]
pub struct Places(Vec<Option<Place>>);

impl Places {
    /// Computes ids for every run.
    pub fn of(forest: &Forest) -> Self {
        let mut places = vec![None; forest.runs.len()];
        for trace in &forest.traces {
            let Some(root) = trace.nodes.first().and_then(|node| forest.runs.get(node.run)) else {
                continue;
            };
            let trace_id = caller(forest, trace).map_or_else(|| trace_id(&root.key), |(trace, _)| trace);
            for node in &trace.nodes {
                let place = forest.runs.get(node.run).map(|run| Place::of(run, trace_id));
                if let Some(slot) = places.get_mut(node.run) {
                    *slot = place;
                }
            }
        }
        Self(places)
    }

    /// Where a run is seen.
    pub fn of_run(&self, run: usize) -> Option<&Place> {
        self.0.get(run).and_then(Option::as_ref)
    }
}

impl Place {
    fn of(run: &Run, trace_id: TraceId) -> Self {
        let mut ids = IdsOfRun::of(&run.key);
        Self {
            trace_id,
            run: ids.span_id("run", ""),
            calls: run.calls.iter().map(|call| ids.span_id("call", &call.key)).collect(),
            tools: run.tools.iter().map(|tool| ids.span_id("tool", &tool.key)).collect(),
            steps: run.steps.iter().map(|step| ids.span_id("step", &step.path)).collect(),
        }
    }
}

/// The caller's trace and span, where the application put W3C trace context into the root run's metadata.
///
/// Members inherit the metadata, so theirs says nothing; only Agno 2 keeps a workflow's with its executors alone.
pub(super) fn caller(forest: &Forest, trace: &Trace) -> Option<(TraceId, SpanId)> {
    let mut runs = trace.nodes.iter().filter_map(|node| forest.runs.get(node.run));
    let root = runs.next()?;
    let inherited =
        || runs.find_map(|run| run.traceparent.as_deref()).filter(|_| root.kind == RunKind::Workflow);
    root.traceparent.as_deref().or_else(inherited).and_then(parse_traceparent)
}

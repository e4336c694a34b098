//! Traces into spans.

mod kinds;
mod root;
pub mod single;

use std::collections::BTreeMap;

use kinds::{Frame, call_span, run_span, step_span, tool_span};
use opentelemetry_proto::tonic::trace::v1::Span;
use root::Root;

use super::ids::{SpanId, TraceId};
use super::names;
use super::places::{Place, Places, caller};
use super::policy::Policy;
use super::view::{LinkView, SpanView};
use crate::model::budget::{DEFAULT_THRESHOLDS, Limit};
use crate::model::timeline::Times;
use crate::model::tree::{Holder, Node, Trace};
use crate::model::{Cost, Forest, Run, Tokens};

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

/// Takes from a span the events of its messages: many, and not needed to count or to time it.
pub(super) fn strip_messages(span: &mut Span) {
    span.events.retain(|event| event.name != names::EVENT_MESSAGE);
}

#[cfg(test)]
mod tests;

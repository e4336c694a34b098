//! Starts and ends for everything in a trace, from what was recorded of them.
//!
//! Most recorded times are whole seconds; tools and some durations are exact. Everything known is stated as
//! bounds and differences in the order of its trust, and what contradicts what is known already is dropped. So
//! always: children inside parents, calls in order, nothing negative; and recorded durations are kept unless
//! something better known says otherwise (a run frozen at its pause, a delegating tool).

mod assign;
mod facts;

use std::collections::BTreeMap;

use super::time_bounds::{Point, TimeBounds, has_earliest, has_latest};
use super::tree::{Holder, Trace};
use super::{ModelCall, Run, ToolCall};

const SECOND_NS: i64 = 1_000_000_000;
/// A start known better than this is derived, not coarse.
const DERIVED_WIDTH_NS: i64 = 10_000_000;

/// How a time was found: the value of `agno.timing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timing {
    /// Start and end were recorded.
    Measured,
    /// Follows from recorded times and durations, within 10 ms.
    Derived,
    /// Known to the second, or placed where it fits.
    Coarse,
}

impl Timing {
    /// The value of `agno.timing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Derived => "derived",
            Self::Coarse => "coarse",
        }
    }
}

/// A start, an end, and how they were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Unix nanoseconds.
    pub start_ns: i64,
    /// Unix nanoseconds, never before the start.
    pub end_ns: i64,
    /// How they were found.
    pub timing: Timing,
}

/// The times of one run and its parts, in the order of the run's lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// The run.
    pub run: Interval,
    /// Its model calls.
    pub calls: Vec<Interval>,
    /// Its tool calls.
    pub tools: Vec<Interval>,
    /// Its steps.
    pub steps: Vec<Interval>,
}

impl Times {
    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.calls.len() + self.tools.len() + self.steps.len()
    }
}

/// Finds times for every node of a trace, in the order of its nodes.
///
/// `received_ns` stands in for the end of a run of which no time is known at all.
pub fn reconstruct(trace: &Trace, runs: &[Run], received_ns: i64) -> Vec<Times> {
    let mut solver = Solver::of(trace, runs);
    solver.solve(received_ns);
    solver.times
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: Point,
    end: Point,
}

#[derive(Debug)]
struct Parts<'r> {
    run: &'r Run,
    holder: Holder,
    span: Span,
    calls: Vec<Span>,
    tools: Vec<Span>,
    steps: Vec<Span>,
    /// Calls with a place among the messages, in that order.
    chain: Vec<usize>,
    /// The tools each call asked for.
    asked: Vec<Vec<usize>>,
    /// The steps inside each step, and last those of the run itself.
    inner: Vec<Vec<usize>>,
    children: Children,
    measured: Vec<bool>,
}

/// The nodes that hang under a run, by what of it they hang under.
#[derive(Debug, Default)]
struct Children {
    run: Vec<usize>,
    tools: BTreeMap<usize, Vec<usize>>,
    steps: BTreeMap<usize, Vec<usize>>,
}

impl Children {
    fn add(&mut self, child: usize, holder: Holder) {
        match holder {
            Holder::Tool { tool, .. } => self.tools.entry(tool).or_default().push(child),
            Holder::Step { step, .. } => self.steps.entry(step).or_default().push(child),
            Holder::Run { .. } | Holder::Root => self.run.push(child),
        }
    }
}

struct Solver<'r> {
    bounds: TimeBounds,
    nodes: Vec<Parts<'r>>,
    times: Vec<Times>,
}

impl<'r> Solver<'r> {
    fn of(trace: &Trace, runs: &'r [Run]) -> Self {
        let own = trace.nodes.iter().filter_map(|node| runs.get(node.run));
        let spans = own.map(|run| 1 + run.calls.len() + run.tools.len() + run.steps.len()).sum::<usize>();
        let mut bounds = TimeBounds::with_room(2 * spans);
        let mut span = || Span { start: bounds.point(), end: bounds.point() };
        let mut nodes: Vec<Parts<'r>> = Vec::new();
        for node in &trace.nodes {
            let Some(run) = runs.get(node.run) else { continue };
            let mut chain: Vec<usize> =
                (0..run.calls.len()).filter(|&call| position(run, call).is_some()).collect();
            chain.sort_by_key(|&call| position(run, call));
            let asked = asked(run);
            let own = span();
            let steps = run.steps.iter().map(|_| span()).collect();
            // Calls and tools get their points in the order in which they happened.
            let mut calls: Vec<Option<Span>> = vec![None; run.calls.len()];
            let mut tools: Vec<Option<Span>> = vec![None; run.tools.len()];
            for &call in &chain {
                if let Some(own) = calls.get_mut(call) {
                    *own = Some(span());
                }
                for &tool in asked.get(call).into_iter().flatten() {
                    if let Some(own) = tools.get_mut(tool) {
                        *own = Some(span());
                    }
                }
            }
            nodes.push(Parts {
                run,
                holder: node.holder,
                span: own,
                calls: calls.into_iter().map(|own| own.unwrap_or_else(&mut span)).collect(),
                tools: tools.into_iter().map(|own| own.unwrap_or_else(&mut span)).collect(),
                steps,
                chain,
                asked,
                inner: inner_steps(run),
                children: Children::default(),
                measured: vec![false; run.tools.len()],
            });
        }
        for child in 0..nodes.len() {
            let Some(holder) = nodes.get(child).map(|parts| parts.holder) else { continue };
            if let Some(parent) = holder.node().and_then(|parent| nodes.get_mut(parent)) {
                parent.children.add(child, holder);
            }
        }
        Self { bounds, nodes, times: Vec::new() }
    }

    fn solve(&mut self, received_ns: i64) {
        self.state_facts(received_ns);
        self.note_timing();
        self.assign(0);
    }
}

/// The steps directly inside each step, and last those of the workflow itself.
fn inner_steps(run: &Run) -> Vec<Vec<usize>> {
    let mut inner = vec![Vec::new(); run.steps.len() + 1];
    for (at, step) in run.steps.iter().enumerate() {
        if let Some(list) = inner.get_mut(step.parent.unwrap_or(run.steps.len())) {
            list.push(at);
        }
    }
    inner
}

fn position(run: &Run, call: usize) -> Option<usize> {
    run.calls.get(call).and_then(|call| call.position)
}

/// Memories, summaries, parsers and the like work on the answer; compression happens along the way.
fn comes_last(call: &ModelCall) -> bool {
    !matches!(call.role.as_str(), "model" | "reasoning_model" | "compression_model" | "compaction_model")
}

impl Parts<'_> {
    /// The steps that are in no other.
    fn first_steps(&self) -> &[usize] {
        self.inner.last().map_or(&[], Vec::as_slice)
    }
}

fn has_no_duration(call: &ModelCall) -> bool {
    call.duration_ns.is_none()
}

fn tools_of<'p>(parts: &'p Parts<'_>, call: usize) -> impl Iterator<Item = (usize, &'p ToolCall, Span)> {
    let asked = parts.asked.get(call).into_iter().flatten();
    asked.filter_map(|&at| Some((at, parts.run.tools.get(at)?, *parts.tools.get(at)?)))
}

fn asked(run: &Run) -> Vec<Vec<usize>> {
    let mut asked = vec![Vec::new(); run.calls.len()];
    for (at, tool) in run.tools.iter().enumerate() {
        if let Some(list) = tool.asked_by.and_then(|call| asked.get_mut(call)) {
            list.push(at);
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunKind;
    use crate::model::tree::Node;

    /// A run of so many turns: a call that asks for a tool, and the tool.
    fn long_run(turns: usize, stamped: bool) -> Run {
        let mut run = Run::bare("run", RunKind::Agent);
        for turn in 0..turns {
            let made = i64::try_from(turn).ok().filter(|_| stamped).map(|turn| 1_795_396_000 + turn);
            run.calls.push(ModelCall {
                position: Some(2 * turn),
                created_at_s: made,
                ..ModelCall::default()
            });
            run.tools.push(ToolCall { asked_by: Some(turn), created_at_s: made, ..ToolCall::default() });
        }
        run
    }

    #[test]
    fn a_long_run_costs_by_its_length_and_not_by_its_square() {
        let work = |turns, stamped| {
            let runs = [long_run(turns, stamped)];
            let trace = Trace { nodes: vec![Node { run: 0, holder: Holder::Root }] };
            let mut solver = Solver::of(&trace, &runs);
            solver.solve(1_795_400_000 * SECOND_NS);
            solver.bounds.work
        };
        for stamped in [true, false] {
            let (once, tenfold) = (work(100, stamped), work(1_000, stamped));
            assert!(tenfold < 12 * once, "stamped {stamped}: {once} for 100 turns, {tenfold} for 1,000");
        }
    }
}

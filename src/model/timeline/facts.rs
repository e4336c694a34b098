//! What is known of a trace's times, stated in the order of its trust.

use std::collections::BTreeMap;

use super::{Parts, SECOND_NS, Solver, Span, comes_last, tools_of};
use crate::model::time_bounds::{Fact, Point, UNBOUNDED, has_earliest, has_latest};
use crate::model::tree::Holder;
use crate::model::{RunKind, RunStatus, ToolCall};

/// Messages are stamped just before what they stand for begins; this is how much later it may be.
const STAMP_SLACK_NS: i64 = 20_000_000;
/// A row is written this much after its run has ended, at most.
const STORE_DELAY_NS: i64 = 100_000_000;
/// Backends show and some repair spans without a length; everything lasts at least this long.
const SHORTEST_NS: i64 = 1_000;
/// Room made for facts that are stated together; a run of three turns has 30.
const FACTS: usize = 64;

impl Solver<'_> {
    /// States everything that is known. `received_ns` stands in where no time is.
    pub(super) fn state_facts(&mut self, received_ns: i64) {
        let mut facts = Vec::with_capacity(FACTS);
        self.structure(&mut facts);
        self.steps_inside_tools();
        self.measured_tools();
        self.call_durations(&mut facts);
        self.calls_beside_tools(&mut facts);
        self.whole_seconds(&mut facts);
        self.run_durations(&mut facts);
        self.delegations(&mut facts);
        self.stored_rows();
        self.last_resorts(received_ns);
    }

    /// States a list of facts, and empties it for the next.
    fn state(&mut self, facts: &mut Vec<Fact>) {
        self.bounds.state(facts);
        facts.clear();
    }

    /// What always holds. None of it can contradict the rest.
    fn structure(&mut self, facts: &mut Vec<Fact>) {
        for parts in &self.nodes {
            let (span, run) = (parts.span, parts.run);
            let step = |at: Option<usize>| at.and_then(|at| parts.steps.get(at)).copied().unwrap_or(span);
            facts.push(lasts(span));
            facts.extend(self.outer(parts).into_iter().flat_map(|outer| inside(span, outer)));
            for (&inner, own) in parts.steps.iter().zip(&run.steps) {
                facts.push(lasts(inner));
                facts.extend(inside(inner, step(own.parent)));
            }
            for (&inner, call) in parts.calls.iter().zip(&run.calls) {
                facts.push(lasts(inner));
                // What follows each other lies inside if its ends do: a run is not tied to each of a thousand.
                if call.position.is_none() {
                    facts.extend(inside(inner, step(call.step)));
                }
            }
            let last = parts.chain.last().copied();
            for (&inner, tool) in parts.tools.iter().zip(&run.tools) {
                facts.push(lasts(inner));
                if tool.asked_by.is_none() || tool.asked_by == last {
                    facts.extend(inside(inner, span));
                }
            }
            chain_order(parts, facts);
        }
        self.state(facts);
    }

    /// The tool call, step or run that a run lies inside of.
    fn outer(&self, parts: &Parts<'_>) -> Option<Span> {
        let parent = self.nodes.get(parts.holder.node()?)?;
        match parts.holder {
            Holder::Tool { tool, .. } => parent.tools.get(tool).copied(),
            Holder::Step { step, .. } => parent.steps.get(step).copied(),
            Holder::Run { .. } | Holder::Root => Some(parent.span),
        }
    }

    /// Measured times of tools. A tool that handed work to a member is stamped when the member had finished.
    fn measured_tools(&mut self) {
        for node in 0..self.nodes.len() {
            let Some(parts) = self.nodes.get(node) else {
                continue;
            };
            let holders = &parts.children.tools;
            let (mut facts, mut lengths) = (Vec::new(), Vec::new());
            for (at, (&span, tool)) in parts.tools.iter().zip(&parts.run.tools).enumerate() {
                let delegates = tool.delegates || holders.contains_key(&at);
                facts.extend(tool.end_ns.map(|end| Fact::Within {
                    point: span.end,
                    lowest: end,
                    highest: end,
                }));
                let start = tool.start_ns.filter(|_| !delegates);
                facts.extend(start.map(|at| Fact::Within { point: span.start, lowest: at, highest: at }));
                let length = tool.duration_ns.filter(|_| !delegates);
                lengths.push((span, length));
            }
            self.bounds.state(&facts);
            // Exact at both ends: they were measured, and nothing contradicted it.
            let is_exact = |point| matches!(self.bounds.of(point), (lowest, highest) if lowest == highest);
            let measured: Vec<bool> =
                lengths.iter().map(|(span, _)| is_exact(span.start) && is_exact(span.end)).collect();
            let unmeasured = lengths.into_iter().zip(&measured).filter(|(_, measured)| !**measured);
            let lengths: Vec<Fact> = unmeasured
                .filter_map(|((span, length), _)| {
                    length.map(|length| Fact::apart(span.start, span.end, length))
                })
                .collect();
            self.bounds.state(&lengths);
            if let Some(parts) = self.nodes.get_mut(node) {
                parts.measured = measured;
            }
        }
    }

    fn call_durations(&mut self, facts: &mut Vec<Fact>) {
        for parts in &self.nodes {
            for (call, span) in parts.run.calls.iter().zip(&parts.calls) {
                if let Some(duration) = call.duration_ns {
                    facts.push(Fact::apart(span.start, span.end, duration));
                } else if let Some(first) = call.time_to_first_token_ns {
                    facts.push(at_least(*span, first));
                }
            }
        }
        self.state(facts);
    }

    /// A call ends where its first tool starts, and begins where the last tool of the call before it ended.
    fn calls_beside_tools(&mut self, facts: &mut Vec<Fact>) {
        for parts in &self.nodes {
            let mut begins = Vec::new();
            for (place, &at) in parts.chain.iter().enumerate() {
                let Some(call) = parts.calls.get(at) else { continue };
                let tools = || tools_of(parts, at);
                let first = tools().filter(|(at, ..)| parts.measured.get(*at) == Some(&true));
                let first = first.min_by_key(|(_, tool, _)| tool.start_ns).or_else(|| tools().next());
                facts.extend(first.map(|(.., tool)| Fact::apart(call.end, tool.start, 0)));
                // A tool that waited for a human has no times, and the next call waited with it.
                let all_known = tools().all(|(_, tool, _)| tool.end_ns.is_some());
                let last = tools().max_by_key(|(_, tool, _)| tool.end_ns).filter(|_| all_known);
                let next = parts.chain.get(place + 1).and_then(|&next| parts.calls.get(next));
                begins.extend(last.zip(next).map(|((.., tool), next)| Fact::apart(tool.end, next.start, 0)));
            }
            facts.append(&mut begins);
        }
        self.state(facts);
    }

    /// Messages carry the second they were made: the first at the run's start, an answer's just before its
    /// request, a tool's when it had finished.
    fn whole_seconds(&mut self, facts: &mut Vec<Fact>) {
        let second = |second: i64| second.checked_mul(SECOND_NS).unwrap_or(UNBOUNDED);
        let mut within = |point, lowest, highest| facts.push(Fact::Within { point, lowest, highest });
        for parts in &self.nodes {
            let run = parts.run;
            for (call, span) in run.calls.iter().zip(&parts.calls) {
                if let Some(made) = call.created_at_s.filter(|_| call.position.is_some()).map(second) {
                    within(span.start, made - STAMP_SLACK_NS, made + SECOND_NS + STAMP_SLACK_NS);
                }
            }
            for (tool, span) in run.tools.iter().zip(&parts.tools) {
                if let Some(made) = tool.created_at_s.map(second) {
                    within(span.end, -UNBOUNDED, made + SECOND_NS + STAMP_SLACK_NS);
                }
            }
            if let Some(made) =
                run.messages.iter().filter_map(|message| message.created_at_s).min().map(second)
            {
                within(parts.span.start, -UNBOUNDED, made + SECOND_NS);
                within(parts.span.start, made - SECOND_NS, UNBOUNDED);
            }
        }
        self.state(facts);
    }

    fn run_durations(&mut self, facts: &mut Vec<Fact>) {
        for parts in &self.nodes {
            facts.extend(parts.run.duration_ns.map(|ns| Fact::apart(parts.span.start, parts.span.end, ns)));
            for (step, span) in parts.run.steps.iter().zip(&parts.steps) {
                facts.extend(step.duration_ns.map(|duration| at_least(*span, duration)));
            }
            let first = first_response(parts);
            facts.extend(first.map(|(call, from_start)| Fact::apart(parts.span.start, call, from_start)));
        }
        for parts in &self.nodes {
            facts.extend(step_order(parts));
        }
        self.state(facts);
    }

    /// A tool that hands work to one member is stamped when the member has finished, and does nothing else.
    fn delegations(&mut self, facts: &mut Vec<Fact>) {
        for member in &self.nodes {
            let Holder::Tool { node, tool } = member.holder else {
                continue;
            };
            let Some(parent) = self.nodes.get(node) else {
                continue;
            };
            let is_only = parent.children.tools.get(&tool).is_some_and(|held| held.len() == 1);
            if let Some(tool) = parent.tools.get(tool).filter(|_| is_only) {
                facts.push(Fact::apart(member.span.end, tool.end, 0));
                facts.push(Fact::apart(tool.start, member.span.start, 0));
            }
        }
        self.state(facts);
    }

    /// A workflow that an agent of its own was asked to run: its steps ran inside that agent's tool call.
    fn steps_inside_tools(&mut self) {
        for node in 0..self.nodes.len() {
            let Some(parts) = self.nodes.get(node).filter(|parts| !parts.steps.is_empty()) else {
                continue;
            };
            let inner = |child: &usize| {
                let agent = self.nodes.get(*child)?;
                let runs = |(_, (tool, _)): &(usize, (&ToolCall, &Span))| tool.delegates && tool.executed;
                let tools = agent.run.tools.iter().zip(&agent.tools).enumerate();
                let found = tools.filter(runs).find(|(at, _)| !agent.children.tools.contains_key(at));
                found.map(|(_, (_, span))| *span)
            };
            let Some(tool) = parts.children.run.iter().find_map(inner) else {
                continue;
            };
            let steps: Vec<Span> =
                parts.first_steps().iter().filter_map(|&step| parts.steps.get(step)).copied().collect();
            let facts: Vec<Fact> = steps.into_iter().flat_map(|step| inside(step, tool)).collect();
            self.bounds.state(&facts);
        }
    }

    /// A row is written when its run has ended. Rows that are touched again later say nothing of it.
    fn stored_rows(&mut self) {
        for parts in &self.nodes {
            let run = parts.run;
            let touched = run.status == RunStatus::Regenerated || run.forked_from_session_id.is_some();
            if let Some(stored) =
                run.stored_at_s.filter(|_| !touched).and_then(|at| at.checked_mul(SECOND_NS))
            {
                self.bounds.within(parts.span.end, stored - STORE_DELAY_NS, stored + SECOND_NS);
            }
        }
    }

    fn last_resorts(&mut self, received_ns: i64) {
        for parts in &self.nodes {
            let (lowest, highest) = self.bounds.of(parts.span.start);
            let made = parts.run.created_at_s.and_then(|at| at.checked_mul(SECOND_NS));
            let unknown = !has_earliest(lowest) || !has_latest(highest);
            if let Some(made) = made.filter(|_| unknown || parts.run.kind == RunKind::Workflow) {
                self.bounds.within(parts.span.start, made - STAMP_SLACK_NS, made + SECOND_NS);
            }
        }
        if let Some(root) = self.nodes.first() {
            let (_, highest) = self.bounds.of(root.span.start);
            if !has_latest(highest) {
                self.bounds.within(root.span.end, received_ns, received_ns);
            }
        }
    }
}

fn inside(inner: Span, outer: Span) -> [Fact; 2] {
    [Fact::order(outer.start, inner.start), Fact::order(inner.end, outer.end)]
}

fn lasts(span: Span) -> Fact {
    at_least(span, SHORTEST_NS)
}

fn at_least(span: Span, duration_ns: i64) -> Fact {
    Fact::Differ { from: span.start, to: span.end, least: duration_ns, most: UNBOUNDED }
}

/// Each call after the tools of the call before it; reasoning first; what was not a message, last.
fn chain_order(parts: &Parts<'_>, facts: &mut Vec<Fact>) {
    let span = |at: &usize| parts.calls.get(*at).copied();
    for (place, at) in parts.chain.iter().enumerate() {
        let Some(call) = span(at) else { continue };
        let next = parts.chain.get(place + 1).and_then(span);
        facts.extend(next.map(|next| Fact::order(call.end, next.start)));
        for (.., tool) in tools_of(parts, *at) {
            facts.push(Fact::order(call.end, tool.start));
            facts.extend(next.map(|next| Fact::order(tool.end, next.start)));
        }
    }
    let (first, last) = (parts.chain.first().and_then(span), parts.chain.last().and_then(span));
    if let Some((first, last)) = first.zip(last) {
        facts.push(Fact::order(parts.span.start, first.start));
        facts.push(Fact::order(last.end, parts.span.end));
        let calls = parts.run.calls.iter().zip(&parts.calls);
        for (call, span) in calls.filter(|(call, _)| call.position.is_none()) {
            if call.role == "reasoning_model" {
                facts.push(Fact::order(span.end, first.start));
            } else if comes_last(call) {
                facts.push(Fact::order(last.end, span.start));
            }
        }
    }
}

/// Steps of the same parent follow each other, unless it ran them side by side.
fn step_order(parts: &Parts<'_>) -> Vec<Fact> {
    let steps = &parts.run.steps;
    let mut before = BTreeMap::<Option<usize>, Span>::new();
    let mut facts = Vec::new();
    for (step, span) in steps.iter().zip(&parts.steps) {
        let is_parallel = step.parent.and_then(|parent| steps.get(parent)).is_some_and(|it| it.parallel);
        if let Some(before) = before.insert(step.parent, *span).filter(|_| !is_parallel) {
            facts.push(Fact::order(before.end, span.start));
        }
    }
    facts
}

/// The run's time to first token ends with the first response of its first call: a non-streamed call's end, or
/// a streamed call's first chunk.
fn first_response(parts: &Parts<'_>) -> Option<(Point, i64)> {
    let run = parts.run;
    let until_first = run.time_to_first_token_ns?;
    let &first = parts.chain.first()?;
    let (call, span) = run.calls.get(first).zip(parts.calls.get(first))?;
    match (call.duration_ns, call.time_to_first_token_ns) {
        (Some(duration), _) => Some((span.start, (until_first - duration).max(0))),
        (None, Some(chunk)) => Some((span.start, (until_first - chunk).max(0))),
        (None, None) => None,
    }
}

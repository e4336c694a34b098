//! Runs put together: which run started which, through which tool or step.

use std::collections::{BTreeMap, BTreeSet};

use super::{Run, RunKind, Step, ToolCall};
use crate::stable_hash::stable_hash;

/// Runs with their order and their trees.
#[derive(Debug, Default)]
pub struct Forest {
    /// Every run once, in the order of their sessions.
    pub runs: Vec<Run>,
    /// One trace per run that nobody started.
    pub traces: Vec<Trace>,
    /// How many circles of runs that point at each other were cut.
    pub cycles: u64,
    /// How many runs lay so deep that they became traces of their own.
    pub deep: u64,
}

/// A run that nobody started, with everything it started.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Parents before children; the first is the root.
    pub nodes: Vec<Node>,
}

/// One run in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Index into [`Forest::runs`].
    pub run: usize,
    /// What it hangs under.
    pub holder: Holder,
}

/// What a run hangs under. Nodes are indexes into [`Trace::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nothing: it is the root.
    Root,
    /// The run that started it, at no known place.
    Run {
        /// The parent.
        node: usize,
    },
    /// The tool call that delegated to it.
    Tool {
        /// The parent.
        node: usize,
        /// Index into its tools.
        tool: usize,
    },
    /// The workflow step that executed it.
    Step {
        /// The parent.
        node: usize,
        /// Index into its steps.
        step: usize,
    },
}

impl Holder {
    /// The parent's node.
    pub fn node(self) -> Option<usize> {
        match self {
            Self::Root => None,
            Self::Run { node } | Self::Tool { node, .. } | Self::Step { node, .. } => Some(node),
        }
    }
}

impl Forest {
    /// Puts runs together. The result does not depend on the order of `runs`.
    pub fn of(mut runs: Vec<Run>) -> Self {
        runs.sort_by(|a, b| order_key(a).cmp(&order_key(b)));
        let mut parents = parents(&runs);
        let cycles = cut_circles(&mut parents);
        let deep = cut_depth(&mut parents);
        let mut children = vec![Vec::new(); runs.len()];
        for (child, parent) in parents.iter().enumerate() {
            if let Some(list) = parent.and_then(|parent| children.get_mut(parent)) {
                list.push(child);
            }
        }
        let roots = parents.iter().enumerate().filter(|(_, parent)| parent.is_none()).map(|(run, _)| run);
        let traces = roots.map(|root| grow(root, &runs, &children)).collect();
        Self { runs, traces, cycles, deep }
    }
}

fn order_key(run: &Run) -> impl Ord + '_ {
    (&run.session_id, run.index, run.first_message_s(), run.created_at_s, &run.key)
}

/// The parent of each run; of several with the id, the one in the same session.
fn parents(runs: &[Run]) -> Vec<Option<usize>> {
    let mut by_id = BTreeMap::<&str, Vec<usize>>::new();
    for (place, run) in runs.iter().enumerate() {
        by_id.entry(&run.key.run_id).or_default().push(place);
    }
    let find = |run: &Run| {
        let named = by_id.get(run.parent_run_id.as_deref()?)?;
        let same =
            |&&place: &&usize| runs.get(place).is_some_and(|parent| parent.session_id == run.session_id);
        named.iter().find(same).or(named.first()).copied()
    };
    runs.iter().map(find).collect()
}

/// Makes one run of each circle a root. Returns how many circles there were.
fn cut_circles(parents: &mut [Option<usize>]) -> u64 {
    // By which walk each run was met, from 1.
    let mut met = vec![0; parents.len()];
    let mut circles = 0;
    for start in 0..parents.len() {
        let mut at = start;
        while let Some(walk) = met.get_mut(at).filter(|walk| **walk == 0) {
            *walk = start + 1;
            let Some(parent) = parents.get(at).copied().flatten() else { break };
            if met.get(parent) == Some(&(start + 1)) {
                if let Some(link) = parents.get_mut(at) {
                    *link = None;
                }
                circles += 1;
                break;
            }
            at = parent;
        }
    }
    circles
}

/// Runs below this depth become traces of their own: nobody reads a deeper tree, and times are found by walking
/// down it.
const MAX_DEPTH: usize = 64;

/// Cuts trees that are too deep. Returns how many runs were cut off.
fn cut_depth(parents: &mut [Option<usize>]) -> u64 {
    let mut depths: Vec<Option<usize>> = vec![None; parents.len()];
    let mut cut = 0;
    for start in 0..parents.len() {
        let mut path = Vec::new();
        let mut next = Some(start);
        while let Some(at) = next.filter(|&at| depths.get(at) == Some(&None)) {
            path.push(at);
            next = parents.get(at).copied().flatten();
        }
        let mut depth = next.and_then(|at| depths.get(at).copied().flatten());
        for at in path.into_iter().rev() {
            let mut own = depth.map_or(0, |parent| parent + 1);
            if own >= MAX_DEPTH {
                own = 0;
                cut += 1;
                if let Some(link) = parents.get_mut(at) {
                    *link = None;
                }
            }
            if let Some(slot) = depths.get_mut(at) {
                *slot = Some(own);
            }
            depth = Some(own);
        }
    }
    cut
}

fn grow(root: usize, runs: &[Run], children: &[Vec<usize>]) -> Trace {
    let mut trace = Trace { nodes: vec![Node { run: root, holder: Holder::Root }] };
    let mut node = 0;
    while let Some(&Node { run, .. }) = trace.nodes.get(node) {
        let own: &[usize] = children.get(run).map_or(&[], Vec::as_slice);
        if let Some(parent) = runs.get(run) {
            let started: Vec<(usize, &Run)> =
                own.iter().filter_map(|&child| runs.get(child).map(|run| (child, run))).collect();
            trace.nodes.extend(held(node, parent, &started));
        }
        node += 1;
    }
    trace
}

/// Says whether a step or a tool call started a run.
type Evidence<'t, T> = &'t dyn Fn(&T, &Run) -> bool;

/// Finds for each child what started it, best evidence first.
fn held(node: usize, parent: &Run, children: &[(usize, &Run)]) -> Vec<Node> {
    let mut holders: Vec<Option<Holder>> = vec![None; children.len()];
    hold_by_steps(node, parent, children, &mut holders);
    hold_by_tools(node, parent, children, &mut holders);
    children
        .iter()
        .zip(holders)
        .map(|(&(run, _), holder)| Node { run, holder: holder.unwrap_or(Holder::Run { node }) })
        .collect()
}

fn hold_by_steps(node: usize, parent: &Run, children: &[(usize, &Run)], holders: &mut [Option<Holder>]) {
    let mut taken = BTreeSet::new();
    let is_run = |step: &Step, child: &Run| step.run_id.as_deref() == Some(child.key.run_id.as_str());
    let is_step = |step: &Step, child: &Run| step.id.is_some() && step.id == child.workflow_step_id;
    let tests: [Evidence<'_, Step>; 2] = [&is_run, &is_step];
    for test in tests {
        for ((_, child), holder) in children.iter().zip(&mut *holders).filter(|(_, holder)| holder.is_none())
        {
            let mut steps = parent.steps.iter().enumerate();
            if let Some((step, _)) = steps.find(|(step, own)| !taken.contains(step) && test(own, child)) {
                taken.insert(step);
                *holder = Some(Holder::Step { node, step });
            }
        }
    }
}

fn hold_by_tools(node: usize, parent: &Run, children: &[(usize, &Run)], holders: &mut [Option<Holder>]) {
    let to_all = |tool: &ToolCall| tool.name.ends_with("members");
    let noted =
        |tool: &ToolCall, child: &Run| tool.child_run_id.as_deref() == Some(child.key.run_id.as_str());
    let member = |tool: &ToolCall, child: &Run| tool.member_hash.is_some_and(|hash| is_member(child, hash));
    let answer =
        |tool: &ToolCall, child: &Run| tool.result_hash.is_some() && tool.result_hash == child.answer_hash;
    let both = |tool: &ToolCall, child: &Run| member(tool, child) && answer(tool, child);
    // Agno notes another member's run where one of several paused.
    let noted_member = |tool: &ToolCall, child: &Run| {
        noted(tool, child) && (tool.member_hash.is_none() || member(tool, child))
    };
    let any = |tool: &ToolCall, _: &Run| tool.delegates && tool.executed;
    let tests: [Evidence<'_, ToolCall>; 6] = [&noted_member, &both, &member, &answer, &noted, &any];
    let mut taken = BTreeSet::new();
    for test in tests {
        for ((_, child), holder) in children.iter().zip(&mut *holders).filter(|(_, holder)| holder.is_none())
        {
            let mut tools = parent.tools.iter().enumerate();
            let found = tools.find(|(tool, own)| !taken.contains(tool) && !to_all(own) && test(own, child));
            if let Some((tool, _)) = found {
                taken.insert(tool);
                *holder = Some(Holder::Tool { node, tool });
            }
        }
    }
    // A tool that delegates to all members holds its share of those left, in order.
    let all: Vec<usize> = parent
        .tools
        .iter()
        .enumerate()
        .filter(|(_, tool)| to_all(tool) && tool.executed)
        .map(|(tool, _)| tool)
        .collect();
    let left: Vec<usize> =
        holders.iter().enumerate().filter(|(_, holder)| holder.is_none()).map(|(child, _)| child).collect();
    if all.is_empty() || left.is_empty() {
        return;
    }
    let share = left.len().div_ceil(all.len());
    for (&tool, group) in all.iter().zip(left.chunks(share)) {
        for &child in group {
            if let Some(holder) = holders.get_mut(child) {
                *holder = Some(Holder::Tool { node, tool });
            }
        }
    }
}

/// True when a delegation names this run's agent or team: by id, by name, or by the name made into an id.
fn is_member(child: &Run, member: u64) -> bool {
    child.kind != RunKind::Workflow
        && [&child.entity_id, &child.entity_name].into_iter().flatten().any(|name| name_hash(name) == member)
}

/// A hash of a name that is the same for the name made into an id.
pub(crate) fn name_hash(name: &str) -> u64 {
    stable_hash(&[&name.to_lowercase().replace([' ', '_'], "-")])
}

#[cfg(test)]
mod tests;

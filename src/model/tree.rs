//! Runs put together: which run started which, through which tool or step.

use std::collections::{BTreeMap, BTreeSet};

use super::{Run, RunKind, Step, ToolCall};

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
    let member =
        |tool: &ToolCall, child: &Run| tool.member_id.as_deref().is_some_and(|id| is_member(child, id));
    let answer =
        |tool: &ToolCall, child: &Run| tool.result_hash.is_some() && tool.result_hash == child.answer_hash;
    let both = |tool: &ToolCall, child: &Run| member(tool, child) && answer(tool, child);
    // Agno notes another member's run where one of several paused.
    let noted_member = |tool: &ToolCall, child: &Run| {
        noted(tool, child) && (tool.member_id.is_none() || member(tool, child))
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
fn is_member(child: &Run, member_id: &str) -> bool {
    if child.kind == RunKind::Workflow {
        return false;
    }
    let slug = |name: &str| name.to_lowercase().replace([' ', '_'], "-");
    let matches = |name: &str| name == member_id || slug(name) == slug(member_id);
    [&child.entity_id, &child.entity_name].into_iter().flatten().any(|name| matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(run_id: &str, parent: Option<&str>) -> Run {
        Run { parent_run_id: parent.map(str::to_owned), ..Run::bare(run_id, RunKind::Agent) }
    }

    /// The runs of each trace, each with what it hangs under.
    fn traces(forest: &Forest) -> Vec<Vec<String>> {
        let of_node = |trace: &Trace, node: &Node| {
            let id = |node: usize| forest.runs[trace.nodes[node].run].key.run_id.clone();
            let holder = match node.holder {
                Holder::Root => "root".to_owned(),
                Holder::Run { node } => format!("in {}", id(node)),
                Holder::Tool { node, tool } => format!("in {} tool {tool}", id(node)),
                Holder::Step { node, step } => format!("in {} step {step}", id(node)),
            };
            format!("{} {holder}", forest.runs[node.run].key.run_id)
        };
        let of_trace = |trace: &Trace| trace.nodes.iter().map(|node| of_node(trace, node)).collect();
        forest.traces.iter().map(of_trace).collect()
    }

    #[test]
    fn of_several_parents_with_one_id_the_one_of_the_same_session_is_meant() {
        let of_session = |mut run: Run, session: &str, reuse: &str| {
            run.session_id = Some(session.to_owned());
            reuse.clone_into(&mut run.key.reuse);
            run
        };
        let forest = Forest::of(vec![
            of_session(run("parent", None), "s", "1"),
            of_session(run("parent", None), "t", "2"),
            of_session(run("child", Some("parent")), "t", ""),
            of_session(run("stray", Some("parent")), "u", ""),
        ]);
        assert_eq!(
            traces(&forest),
            [vec!["parent root", "stray in parent"], vec!["parent root", "child in parent"]]
        );
    }

    #[test]
    fn of_a_circle_one_run_becomes_the_root_and_every_circle_is_counted() {
        let forest = Forest::of(vec![
            run("a", Some("c")),
            run("b", Some("a")),
            run("c", Some("b")),
            run("d", Some("a")),
            run("e", Some("e")),
            run("f", Some("missing")),
        ]);
        assert_eq!(forest.cycles, 2);
        assert_eq!(
            traces(&forest),
            [vec!["b root", "c in b", "a in c", "d in a"], vec!["e root"], vec!["f root"]]
        );
    }

    #[test]
    fn a_run_too_deep_begins_a_trace_of_its_own() {
        let chain = |length: usize| {
            let id = |at: usize| format!("{at:03}");
            let runs = (0..length).map(|at| run(&id(at), at.checked_sub(1).map(id).as_deref()));
            // The deepest first, so that depths are found on the way back.
            let mut runs: Vec<Run> = runs.collect();
            for (at, run) in runs.iter_mut().rev().enumerate() {
                run.index = i64::try_from(at).ok();
            }
            let forest = Forest::of(runs);
            (forest.deep, forest.traces.iter().map(|trace| trace.nodes.len()).collect::<Vec<_>>())
        };
        assert_eq!(chain(MAX_DEPTH), (0, vec![MAX_DEPTH]));
        assert_eq!(chain(MAX_DEPTH + 1), (1, vec![1, MAX_DEPTH]));
        assert_eq!(chain(2 * MAX_DEPTH + 3), (2, vec![3, MAX_DEPTH, MAX_DEPTH]));
    }

    fn step(id: Option<&str>, run_id: Option<&str>) -> Step {
        Step {
            path: String::new(),
            parent: None,
            name: String::new(),
            id: id.map(str::to_owned),
            kind: None,
            executor_kind: None,
            executor_name: None,
            run_id: run_id.map(str::to_owned),
            failed: false,
            paused: false,
            duration_ns: None,
            parallel: false,
        }
    }

    #[test]
    fn a_step_holds_the_run_it_names_or_one_that_names_it_and_only_one() {
        let named = |run_id: &str, step_id: &str| Run {
            workflow_step_id: Some(step_id.to_owned()),
            ..run(run_id, Some("w"))
        };
        let workflow = Run {
            steps: vec![step(Some("x"), Some("a")), step(Some("y"), None), step(None, None)],
            ..run("w", None)
        };
        let children =
            [named("a", "y"), named("b", "y"), named("c", "y"), named("d", "x"), run("e", Some("w"))];
        let forest = Forest::of([vec![workflow], children.to_vec()].concat());
        let [held] = &traces(&forest)[..] else { panic!("one trace") };
        assert_eq!(held[1..], ["a in w step 0", "b in w step 1", "c in w", "d in w", "e in w"]);
    }

    /// Where a team that called these tools holds these members' runs.
    fn held_by_tools(tools: Vec<ToolCall>, members: Vec<Run>) -> Vec<String> {
        let team = Run { tools, ..Run::bare("0", RunKind::Team) };
        let forest = Forest::of([vec![team], members].concat());
        let [held] = &traces(&forest)[..] else { panic!("one trace") };
        held[1..].to_vec()
    }

    fn delegation(member: Option<&str>) -> ToolCall {
        ToolCall {
            name: "delegate_task_to_member".to_owned(),
            executed: true,
            delegates: true,
            member_id: member.map(str::to_owned),
            ..ToolCall::default()
        }
    }

    fn member(run_id: &str, name: &str) -> Run {
        Run { entity_name: Some(name.to_owned()), ..run(run_id, Some("0")) }
    }

    #[test]
    fn a_delegation_holds_the_run_of_the_member_it_names() {
        let tools = ["Zoe", "web-searcher", "ID"].map(|name| delegation(Some(name))).to_vec();
        let by_id = Run { entity_id: Some("ID".to_owned()), ..member("c", "Carl") };
        assert_eq!(
            held_by_tools(tools.clone(), vec![member("a", "Web_Searcher"), member("b", "Zoe"), by_id]),
            ["a in 0 tool 1", "b in 0 tool 0", "c in 0 tool 2"]
        );
        // A workflow is nobody's member: it takes what is left.
        let workflow = Run { kind: RunKind::Workflow, ..member("b", "ID") };
        assert_eq!(
            held_by_tools(tools, vec![member("a", "web searcher"), workflow]),
            ["a in 0 tool 1", "b in 0 tool 0"]
        );
    }

    #[test]
    fn of_a_members_delegations_the_one_with_its_answer_holds_its_run() {
        let answered = |hash: Option<u64>| ToolCall { result_hash: hash, ..delegation(Some("Ann")) };
        let run = |id: &str, hash: Option<u64>| Run { answer_hash: hash, ..member(id, "Ann") };
        assert_eq!(
            held_by_tools(
                vec![answered(Some(1)), answered(Some(2)), answered(None)],
                vec![run("a", Some(2)), run("b", None), run("c", Some(3))]
            ),
            ["a in 0 tool 1", "b in 0 tool 0", "c in 0 tool 2"]
        );
        // An answer tells whose run it is where no member is named; none is no answer.
        let unnamed =
            |hash: Option<u64>| ToolCall { result_hash: hash, delegates: false, ..delegation(None) };
        assert_eq!(
            held_by_tools(vec![unnamed(None), unnamed(Some(7))], vec![run("a", Some(7)), run("b", None)]),
            ["a in 0 tool 1", "b in 0"]
        );
    }

    #[test]
    fn a_noted_run_is_believed_first_unless_another_member_was_named() {
        let noted = |child: &str, member: Option<&str>| ToolCall {
            child_run_id: Some(child.to_owned()),
            ..delegation(member)
        };
        assert_eq!(
            held_by_tools(vec![delegation(Some("Ann")), noted("a", None)], vec![member("a", "Ann")]),
            ["a in 0 tool 1"]
        );
        assert_eq!(
            held_by_tools(
                vec![noted("b", Some("Ann")), noted("b", Some("Bob"))],
                vec![member("a", "Ann"), member("b", "Bob")]
            ),
            ["a in 0 tool 0", "b in 0 tool 1"]
        );
        // Where nothing else tells, even so.
        assert_eq!(
            held_by_tools(vec![delegation(None), noted("a", Some("Zoe"))], vec![member("a", "Ann")]),
            ["a in 0 tool 1"]
        );
    }

    #[test]
    fn a_delegation_that_names_nobody_takes_what_is_left_if_it_was_executed() {
        let waiting = ToolCall { executed: false, ..delegation(None) };
        let search = ToolCall { delegates: false, ..delegation(None) };
        assert_eq!(
            held_by_tools(
                vec![waiting, search, delegation(None)],
                vec![member("a", "Ann"), member("b", "Bob")]
            ),
            ["a in 0 tool 2", "b in 0"]
        );
    }

    #[test]
    fn tools_that_delegate_to_all_members_hold_equal_shares_in_order() {
        let to_all =
            |executed| ToolCall { name: "delegate_task_to_members".to_owned(), executed, ..delegation(None) };
        let members = || ["a", "b", "c"].map(|id| member(id, id)).to_vec();
        assert_eq!(
            held_by_tools(vec![to_all(true), to_all(false), to_all(true)], members()),
            ["a in 0 tool 0", "b in 0 tool 0", "c in 0 tool 2"]
        );
        assert_eq!(held_by_tools(vec![to_all(false)], members()), ["a in 0", "b in 0", "c in 0"]);
        // One that names a member holds its run; the rest is shared.
        assert_eq!(
            held_by_tools(vec![to_all(true), delegation(Some("b"))], members()),
            ["a in 0 tool 0", "b in 0 tool 1", "c in 0 tool 0"]
        );
    }

    #[test]
    fn a_holder_says_the_node_it_is_in() {
        let nodes = [
            Holder::Root,
            Holder::Run { node: 2 },
            Holder::Tool { node: 3, tool: 0 },
            Holder::Step { node: 4, step: 1 },
        ];
        assert_eq!(nodes.map(Holder::node), [None, Some(2), Some(3), Some(4)]);
    }
}

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
    let children = [named("a", "y"), named("b", "y"), named("c", "y"), named("d", "x"), run("e", Some("w"))];
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
        member_hash: member.map(name_hash),
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
    let unnamed = |hash: Option<u64>| ToolCall { result_hash: hash, delegates: false, ..delegation(None) };
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
        held_by_tools(vec![waiting, search, delegation(None)], vec![member("a", "Ann"), member("b", "Bob")]),
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

"""Runs become traces that can be found and read in Jaeger."""

import uuid
from collections import Counter

import pytest
from support import CASES, Case

# Kinds of span that make up the shape of a run. Others (a pause, a retry) may be among them.
SHAPE = ("invoke_workflow ", "invoke_agent ", "agno.step ", "chat ", "execute_tool ")

TREES = {
    "tools_multi": """
        invoke_agent Basic Agent
          chat gpt-mock
          chat gpt-mock
          chat gpt-mock
          execute_tool get_weather
          execute_tool get_weather
          execute_tool slow_lookup
    """,
    "team_run": """
        invoke_agent My Team
          chat gpt-mock-lead
          chat gpt-mock-lead
          execute_tool delegate_task_to_member
            invoke_agent Researcher-m
              chat gpt-mock-res
              chat gpt-mock-res
              execute_tool get_weather
          execute_tool delegate_task_to_member
            invoke_agent Writer-m
              chat gpt-mock-wri
    """,
    "workflow_run": """
        invoke_workflow My Workflow
          agno.step func
          agno.step gather
            invoke_agent WfA1
              chat gpt-mock-a1
              chat gpt-mock-a1
              execute_tool get_weather
          agno.step par
            agno.step p1
              invoke_agent WfA2
                chat gpt-mock-a2
            agno.step p2
              invoke_agent WfA3
                chat gpt-mock-a3
    """,
    "paused_continued": """
        invoke_agent Basic Agent
          chat gpt-mock
          chat gpt-mock
          execute_tool dangerous
          execute_tool get_weather
    """,
}


def named(case):
    return case.service


def trace_id(run):
    """The trace of a root run has the run's id."""
    return uuid.UUID(run["run_id"]).hex


def roots(case):
    """Root runs of a case; the copies a forked session holds are no runs."""
    return [r for r in case.runs().values() if not r.get("parent_run_id") and not r.get("forked_from_session_id")]


def only_root(case):
    (root,) = roots(case)
    return root


def outline(spans, parent="", depth=0):
    """A trace as indented names, siblings in alphabetical order."""
    children = [s for s in spans if s.parent == parent and s.name.startswith(SHAPE)]
    blocks = sorted("  " * depth + s.name + "\n" + outline(spans, s.id, depth + 1) for s in children)
    return "".join(blocks)


def dedent(text):
    rows = [row[8:].rstrip() for row in text.splitlines() if row.strip()]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_real_database_is_sent_without_complaint(case, sent):
    done = sent.sends[case]
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", CASES, ids=named)
def test_every_root_run_is_one_well_formed_trace(case, sent):
    expected = roots(case)
    traces = {trace: sent.jaeger.trace(trace, case.service) for trace in sent.jaeger.search(case.service)}

    uuids = {run["run_id"].replace("-", "") for run in expected if len(run["run_id"]) == 36}
    assert uuids <= traces.keys()
    assert len(traces) == len(expected)

    for spans in traces.values():
        by_id = {span.id: span for span in spans}
        assert len(by_id) == len(spans), "two spans share an id"
        assert len([span for span in spans if not span.parent]) == 1, "one root per trace"
        for span in spans:
            assert span.start <= span.end, span
            assert span.attributes["agno.run.id"], span
            assert span.attributes["gen_ai.conversation.id"], span
            if not span.parent:
                continue
            parent = by_id[span.parent]
            assert parent.start <= span.start and span.end <= parent.end, f"{span} outlives its parent {parent}"


def test_jaeger_has_every_span_that_was_sent(sent):
    passed, stored = {}, {}
    for span in sent.spans():
        passed.setdefault(span.service, set()).add((span.trace, span.id))
    for service in passed:
        stored[service] = {
            (span.trace, span.id)
            for trace in sent.jaeger.search(service)
            for span in sent.jaeger.trace(trace, service)
        }
    assert passed == stored
    assert {case.service for case in CASES if roots(case)} <= passed.keys()


@pytest.mark.parametrize("name", TREES)
def test_the_tree_has_the_shape_of_the_run(name, sent):
    case = Case("3.1.10", name)
    spans = sent.jaeger.trace(trace_id(only_root(case)), case.service)
    assert outline(spans) == dedent(TREES[name])


@pytest.mark.parametrize("name", TREES)
def test_chat_spans_carry_what_the_provider_billed(name, sent):
    case = Case("3.1.10", name)
    root = only_root(case)
    spans = sent.jaeger.trace(trace_id(root), case.service)

    chats = sorted((s for s in spans if s.name.startswith("chat ")), key=lambda s: s.start)
    assert Counter(chat.usage() for chat in chats) == Counter(call.usage for call in case.calls())

    runs = case.runs()
    for span in spans:
        operation, _, subject = span.name.partition(" ")
        assert span.attributes["agno.run.id"] in runs, span
        assert span.attributes["gen_ai.conversation.id"] == root["session_id"], span
        assert not span.failed, span
        if operation in ("invoke_workflow", "invoke_agent", "chat", "execute_tool"):
            assert span.attributes["gen_ai.operation.name"] == operation
        if operation in ("invoke_agent", "chat", "execute_tool"):
            assert span.attributes["gen_ai.agent.name"], span
        if operation == "invoke_agent":
            assert span.attributes["gen_ai.agent.name"] == subject
    (top,) = (span for span in spans if not span.parent)
    assert top.attributes["agno.run.id"] == root["run_id"]


@pytest.mark.parametrize("name", ["tools_multi", "paused_continued"])
def test_the_calls_of_an_agent_are_in_order_and_add_up_to_its_run(name, sent):
    case = Case("3.1.10", name)
    spans = sent.jaeger.trace(trace_id(only_root(case)), case.service)
    chats = sorted((s for s in spans if s.name.startswith("chat ")), key=lambda s: s.start)
    usages = [chat.usage() for chat in chats]
    assert usages == [call.usage for call in case.calls()]

    (top,) = (span for span in spans if not span.parent)
    assert top.attributes["gen_ai.usage.input_tokens"] == sum(usage[1] for usage in usages)
    assert top.attributes["gen_ai.usage.output_tokens"] == sum(usage[2] for usage in usages)


@pytest.mark.parametrize("version", ["2.0.2", "2.5.17", "3.1.10"])
def test_a_session_and_an_agent_are_found_by_search(version, sent):
    case = Case(version, "history")
    expected = {trace_id(run) for run in roots(case)}
    (session,) = {run["session_id"] for run in roots(case)}
    (agent,) = {run["agent_name"] for run in roots(case)}

    assert len(expected) == 3
    assert sent.jaeger.search(case.service, gen_ai__conversation__id=session) == expected
    assert sent.jaeger.search(case.service, gen_ai__agent__name=agent) == expected
    assert sent.jaeger.search(case.service, gen_ai__conversation__id="no such session") == set()

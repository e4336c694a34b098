"""Runs are found in Jaeger as docs/watching.md says, and the links from a span lead to where they say."""

import json
import re
import urllib.parse
import uuid

import pytest
import support

SERVICE = "searched"
CASES = [support.Case("3.1.10", name) for name in ("history", "tools_multi", "tool_error", "error_500", "team_run", "workflow_run")]
DOCS = (support.REPO / "docs/watching.md").read_text()
LINKS = json.loads((support.REPO / "collector-config/jaeger-ui.json").read_text())["linkPatterns"]


@pytest.fixture(scope="module")
def searched(stack, send, tmp_path_factory):
    """All cases and a run that cost a dollar and a half, as one service; with the spans of each trace."""
    dear = tmp_path_factory.mktemp("dear") / "runs.jsonl"
    dear.write_text(support.run_line("dear", 600_000, user_id="ann"))
    done = send(*(case.db for case in CASES), dear, "--endpoint", stack.otlp, "--user-id", OTEL_SERVICE_NAME=SERVICE)
    assert done.returncode == 0, done.stderr
    stack.wait_until_delivered()
    return {trace: stack.jaeger.trace(trace, SERVICE) for trace in stack.jaeger.search(SERVICE)}


def documented():
    """Each search of the document: its tags, as one types them into Jaeger's form."""
    (table,) = re.findall(r"(?ms)^\| wanted \|.*?\n\n", DOCS)
    rows = [row.split("|") for row in table.splitlines()[2:] if row]
    return {row[1].strip(): typed(row[2].strip().strip("`")) for row in rows}


def typed(text):
    """`a=b c="d e"` as Jaeger reads it."""
    return {name: value.strip('"') for name, value in re.findall(r'([\w.]+)=("[^"]*"|\S+)', text)}


def matching(traces, tags):
    """The traces with a span that has all of these."""
    has = lambda span: all(
        str(span.attributes.get(name)) == value for name, value in tags.items()
    )
    return {trace for trace, spans in traces.items() if any(map(has, spans))}


def ask(jaeger, tags):
    return jaeger.search(SERVICE, **{name.replace(".", "__"): value for name, value in tags.items()})


@pytest.mark.parametrize("wanted", documented())
def test_a_search_of_the_document_finds_what_it_says(wanted, searched, stack):
    """The document's placeholders are filled with what a span has; Jaeger finds those traces, and no other."""
    tags = documented()[wanted]
    for name, value in tags.items():
        if "…" in value:
            found = [span.attributes[name] for spans in searched.values() for span in spans if name in span.attributes]
            assert found, f"no span has {name}"
            tags[name] = str(found[-1])
    expected = matching(searched, tags)
    assert expected, f"no run is found by {tags}"
    assert expected < searched.keys() or wanted == "session", f"{tags} tells nothing apart"
    assert ask(stack.jaeger, tags) == expected


def test_what_is_searched_for_in_the_document_is_all_that_people_ask():
    assert {"a session", "a user", "an agent or a team", "a model", "a tool", "an error", "what it cost"} <= documented().keys()


def test_a_run_is_opened_by_its_id(searched, stack):
    for case in CASES:
        for run in case.runs().values():
            if not run.get("parent_run_id") and len(run["run_id"]) == 36:
                assert uuid.UUID(run["run_id"]).hex in searched


def test_every_span_has_what_jaeger_draws_it_by(searched):
    """The icon by the operation, the pill by the model, the tokens by usage."""
    operations = set()
    for span in (span for spans in searched.values() for span in spans):
        if span.name.startswith("agno.step "):
            continue
        operation = span.attributes["gen_ai.operation.name"]
        operations.add(operation)
        assert span.name.split(" ")[0] == operation
        if operation == "chat":
            assert {"gen_ai.request.model", "gen_ai.provider.name"} <= span.attributes.keys(), span
        if operation == "execute_tool":
            assert {"gen_ai.tool.name", "gen_ai.tool.call.id"} <= span.attributes.keys(), span
        assert span.attributes["gen_ai.conversation.id"] and span.attributes["agno.run.id"]
    assert operations == {"chat", "execute_tool", "invoke_agent", "invoke_workflow"}
    told = [span for spans in searched.values() for span in spans if "gen_ai.usage.input_tokens" in span.attributes]
    assert {"gen_ai.usage.output_tokens"} <= set.intersection(*(set(span.attributes) for span in told))


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link["key"])
def test_a_link_from_a_span_finds_its_run(link, searched, stack):
    for trace, spans in searched.items():
        for span in spans:
            if link["key"] not in span.attributes:
                continue
            values = {"service.name": span.service, link["key"]: str(span.attributes[link["key"]])}
            fill = lambda found: urllib.parse.quote(values[found[1]], safe="")
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(re.sub(r"#\{([\w.]+)\}", fill, link["url"])).query))
            assert query["service"] == SERVICE
            assert trace in ask(stack.jaeger, json.loads(query["tags"]))
            return
    raise AssertionError(f"no span has {link['key']}")

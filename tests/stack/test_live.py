"""Agents written in Rust: `examples/live.rs`, by either way, into the real Collector, Jaeger and Prometheus."""

import subprocess

import pytest
import support

EXAMPLE = support.REPO / "target" / "debug" / "examples" / "live"
TREE = {
    "invoke_agent Weather": None,
    "chat gpt-5-mini": "invoke_agent Weather",
    "execute_tool forecast": "invoke_agent Weather",
    "invoke_agent Meteorologist": "execute_tool forecast",
    "chat claude-haiku-4-5": "invoke_agent Meteorologist",
}
# What the example's provider says it used, in disjoint classes.
SPENT = {"input": 359, "cache_read": 668, "cache_write": 0, "output": 60, "reasoning": 16}


@pytest.fixture
def live(stack, tmp_path):
    def run(service, *args, endpoint):
        env = {"PATH": "/usr/bin:/bin", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": service}
        command = [EXAMPLE, "--state", tmp_path / "live.db", *args]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, ""), done
        *ids, ended = done.stdout.splitlines()
        stack.wait_until_delivered()
        return ids, ended

    return run


def spent(stack, service):
    query = f'sum by (agno_token_class) (agno_token_usage_total{{job="{service}"}})'
    return {labels["agno_token_class"]: int(float(value)) for labels, value in stack.prometheus.query(query)}


def check(stack, service, run_id):
    # A run that begins a trace finds it by its id.
    received = stack.jaeger.trace(run_id.replace("-", ""), service)
    # A request under way when the program ends is sent again: the same spans, to the byte. Jaeger keeps both.
    known = {}
    for span in received:
        assert known.setdefault(span.id, span).json == span.json
    spans = list(known.values())
    names = {span.id: span.name for span in spans}
    assert {span.name: names.get(span.parent) for span in spans} == TREE
    calls = [span for span in spans if span.name == "chat gpt-5-mini"]
    assert len(spans) == len(TREE) + 1 and len(calls) == 2
    streamed = [span.attributes for span in calls if span.attributes.get("gen_ai.request.stream")]
    assert len(streamed) == 1 and streamed[0]["gen_ai.response.time_to_first_chunk"] > 0
    assert {span.attributes["session.id"] for span in spans} == {"conversation-7"}
    said = " ".join(str(span.attributes) for span in spans)
    assert "Oslo" not in said and "umbrella" not in said
    # Found by an attribute, as people look for it.
    assert stack.jaeger.search(service, agno__run__id=run_id) == {run_id.replace("-", "")}


@pytest.mark.parametrize("runtime", [[], ["--current-thread"]], ids=["multi-thread", "current-thread"])
def test_the_direct_way_arrives_as_the_programs_own_sdk_sends_it(runtime, live, stack):
    service = f"live-direct-{len(runtime)}"
    (run_id,), ended = live(service, "--direct", *runtime, endpoint=stack.grpc)
    assert ended == "flushed Ok((Ok(()), Ok(())))"
    check(stack, service, run_id)
    assert spent(stack, service) == SPENT


@pytest.mark.parametrize("runtime", [[], ["--current-thread"]], ids=["multi-thread", "current-thread"])
def test_the_durable_way_arrives_once_after_an_outage(runtime, live, stack):
    service = f"live-durable-{len(runtime)}"
    (lost_touch,), ended = live(service, *runtime, endpoint="http://127.0.0.1:9")
    assert "requests wait in" in ended
    (in_touch,), ended = live(service, *runtime, endpoint=stack.otlp)
    assert ended == "all sent"
    for run_id in (lost_touch, in_touch):
        check(stack, service, run_id)
    assert spent(stack, service) == {name: 2 * tokens for name, tokens in SPENT.items()}

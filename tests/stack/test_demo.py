"""`agno-otel demo` into the real Collector, Jaeger and Prometheus: what it says of where to look is true, each time."""

import json
import os
import re
import subprocess

import pytest
import support

CALLS = support.REPO / "tests/fixtures/demo.calls.json"
TRACES = 34


@pytest.fixture(scope="module")
def said(stack, tmp_path_factory):
    """What two invocations say, one after the other."""
    home = tmp_path_factory.mktemp("demo")
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp, "OTEL_SERVICE_NAME": "shop"}
    texts = []
    for _ in range(2):
        done = subprocess.run([support.BINARY, "demo"], env=env, cwd=home, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), done
        texts.append(done.stdout)
    stack.wait_until_delivered()
    return texts


def billed():
    usages = [call["usage"] for call in json.loads(CALLS.read_text()) if "usage" in call]
    return sum(map(total, usages))


def total(usage):
    """All tokens, in the words of each provider: OpenAI's, Google's, Anthropic's (of which cache is beside the input)."""
    if whole := usage.get("total_tokens", usage.get("totalTokenCount")):
        return whole
    return sum(usage[name] for name in usage if name.endswith("_tokens"))


def test_its_query_says_what_was_billed_for_each_invocation_by_itself(said, stack):
    for text in said:
        tokens = int(re.search(r"these are the ([\d,]+) tokens", text)[1].replace(",", ""))
        query = re.search(r"^  (sum\(.+\))$", text, re.MULTILINE)[1]
        ((_, spent),) = stack.prometheus.query(query)
        assert spent == tokens == billed()
    assert stack.prometheus.spend("agno_token_usage_total", "demo") == {"demo": 2 * billed()}
    environments = {series["deployment_environment_name"] for series in stack.prometheus.series('{job="demo"}')}
    assert environments == {"demo"}
    assert not stack.prometheus.series('{job="shop"}')


def test_its_days_stand_side_by_side_in_jaeger(said, stack):
    found = stack.jaeger.search("demo")
    assert len(found) == 2 * TRACES
    for trace in found:
        spans = stack.jaeger.trace(trace, "demo")
        assert len(spans) == len({span.id for span in spans}), "two versions of one trace"
    for text in said:
        trace, session = re.search(r"runaway is trace (\w+),\nsession\.id=(\S+)\.", text).groups()
        assert trace in found and stack.jaeger.search("demo", session__id=session) == {trace}

"""Real Agno without a database hands its runs over, and they are counted to the token."""

import json
import os
import subprocess
from collections import Counter

import pytest
import support
from bridge import Bridge

APPLICATION = support.REPO / "tests/stack/application.py"
RELEASES = ("2.9.0", "3.1.10")
# Of a run's metrics what is no figure of its own.
NESTED = {"details", "additional_metrics", "timer"}


def application(release, url, out):
    python = support.REPO / "target/agno-venvs" / release / "bin/python"
    if not python.exists():
        pytest.exit(f"{python} is missing: run tests/agno/install.sh {release}", returncode=2)
    env = {"PATH": os.environ["PATH"], "HOME": str(out.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run([python, APPLICATION, url, out], env=env, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return json.loads(out.read_text()), ended


@pytest.fixture(scope="module", params=RELEASES)
def handed(request, stack, tmp_path_factory):
    """What an application saw whose runs were handed over, and its spans."""
    folder, service = tmp_path_factory.mktemp("handed"), f"handed-{request.param}"
    with Bridge(folder, service, stack.otlp) as bridge:
        seen, ended = application(request.param, bridge.url, folder / "seen.json")
        assert seen["left"] == 0, ended.stderr
        bill = Counter(dict.fromkeys(support.CLASSES, 0))
        for call in seen["calls"]:
            if call.get("usage"):
                bill.update(support.Call(call).tokens)
        spend = lambda: stack.prometheus.spend("agno_token_usage_total", service, by="agno_token_class")
        try:
            support.wait_until(lambda: spend() == dict(bill), service)
        except TimeoutError:
            pass  # The comparison says more.
        spans = lambda: [span for span in stack.spans() if span.service == service]
        ids = lambda: {span.attributes.get("agno.run.id") for span in spans()}
        support.wait_until(lambda: ids() >= set(seen["runs"]), f"all runs of {service}")
        assert spend() == dict(bill)
        bridge.stop()
    return seen, spans(), ended.stdout


def test_what_the_provider_billed_is_counted(handed):
    seen, spans, _ = handed
    assert len(seen["runs"]) > 15
    names = {span.attributes.get("gen_ai.agent.name") for span in spans}
    assert names >= {"Stored Agent", "Lone Agent", "Streaming Agent", "Waiting Agent", "Async Streaming Agent", "Lone Team"}


def test_each_span_is_there_once(handed):
    _, spans, _ = handed
    counted = Counter((span.trace, span.id) for span in spans)
    assert not [key for key, count in counted.items() if count > 1]


def test_what_agnos_example_prints_is_what_the_spans_say(handed):
    seen, spans, printed = handed
    assert "Collected Metrics" in printed and len(seen["printed"]) >= 3
    for one in seen["printed"]:
        (key, value), metrics = next(item for item in one.items() if item[0] != "metrics"), one["metrics"]
        span = next(s for s in spans if s.attributes.get(key) == value and (key != "agno.run.id" or "invoke_agent" in s.name))
        said = {k.removeprefix("agno.metrics."): v for k, v in span.attributes.items() if k.startswith("agno.metrics.")}
        expected = {k: v for k, v in metrics.items() if k not in NESTED and not isinstance(v, (dict, list))}
        assert expected and {k: said.get(k) for k in expected} == pytest.approx(expected)
        for name, figure in (metrics.get("provider_metrics") or {}).items():
            if isinstance(figure, (int, float)):
                assert said[f"provider_metrics.{name}"] == figure


def test_a_forked_worker_hands_over_too(stack, tmp_path):
    code = (
        "import sys, os; sys.path.insert(0, sys.argv[1]); from hand_off import HandOff\n"
        "one = HandOff(sys.argv[2], token='t-1'); run = lambda id: {'run_id': id, 'agent_id': 'a', 'status': 'COMPLETED'}\n"
        "one.put(run('parent')); child = os.fork()\n"
        "one.put(run('child' if child == 0 else 'again')); left = one.close(10)\n"
        "sys.exit(left or (child and os.waitpid(child, 0)[1]))\n"
    )
    with Bridge(tmp_path, "forked", stack.otlp) as bridge:
        command = ["python3", "-c", code, support.REPO / "examples", bridge.url]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")
        runs = lambda: stack.prometheus.spend("agno_runs_total", "forked").get("forked")
        support.wait_until(lambda: runs() == 3, "three runs")
        bridge.stop()


def test_nobody_to_hand_over_to_costs_the_agents_nothing(tmp_path):
    """Nobody listens; the application notices by its log alone."""
    code = (
        "import sys, time, logging; logging.basicConfig(); sys.path.insert(0, sys.argv[1]); import hand_off\n"
        "one = hand_off.HandOff('http://127.0.0.1:9'); hand_off.END_WITHIN_SECONDS = 0.2; began = time.monotonic()\n"
        "for number in range(1500): one.put({'run_id': str(number), 'status': 'COMPLETED'})\n"
        "took = time.monotonic() - began; left = one.close(0.2); print(left, took < 1)\n"
    )
    examples = support.REPO / "examples"
    ended = subprocess.run(["python3", "-c", code, examples], capture_output=True, text=True, timeout=30, cwd=tmp_path)
    left, is_quick = ended.stdout.split()
    assert ended.returncode == 0 and is_quick == "True", ended.stderr
    assert 1_000 <= int(left) <= 1_050
    assert "takes no runs" in ended.stderr and "a run is left out" in ended.stderr
    assert "Traceback" not in ended.stderr

"""Budgets and runaway sessions in a real Prometheus: exact, and alerted on once."""

import os
import signal
import subprocess
import time

import pytest
import support
from conftest import free_ports

PATIENCE_SECONDS = 60
WINDOW_SECONDS = 20
RULES = """
groups:
  - name: money
    interval: 1s
    rules:
      - alert: RunawaySession
        expr: >-
          sum by (agno_session_threshold_value) (
            last_over_time(agno_session_threshold_crossed_total{agno_session_threshold_value="1000 tokens"}[WINDOWs])
            - min_over_time(agno_session_threshold_crossed_total{agno_session_threshold_value="1000 tokens"}[WINDOWs])
          ) > 0
      - alert: BudgetSpent
        expr: agno_budget_utilization_ratio{agno_budget_name="usd"} >= 1
""".replace("WINDOW", str(WINDOW_SECONDS))
# 3,000 tokens of gpt-4o are 0.0075 USD.
CONFIG = """
# Nobody takes spans here; they wait.
[otlp]
endpoint = "http://127.0.0.1:9"
[otlp.metrics]
endpoint = "{metrics}"
[run]
history = "count"
metrics_every = "1s"
metrics = "otlp"
[session]
thresholds = ["1000 tokens", "1 USD"]
[[budget]]
name = "usd"
limit = "0.0075 USD"
window = "24h"
agent = "Writer"
[[budget]]
name = "tokens"
limit = "10000 tokens"
window = "24h"
"""


@pytest.fixture
def prometheus(programs, tmp_path):
    rules, config, address = tmp_path / "rules.yaml", tmp_path / "prometheus.yaml", "127.0.0.1:{}".format(*free_ports(1))
    rules.write_text(RULES)
    config.write_text(support.shipped_prometheus(rules))
    process = programs.start(
        "money-prometheus",
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'prometheus'}",
        f"--web.listen-address={address}",
        "--web.enable-otlp-receiver",
        ready=f"http://{address}/-/ready",
    )
    yield support.Prometheus(f"http://{address}")
    programs.end(process)


def test_a_budget_is_exact_and_a_runaway_session_is_alerted_on_once(prometheus, tmp_path):
    config, runs, log = tmp_path / "agno-otel.toml", tmp_path / "runs.jsonl", tmp_path / "run.log"
    config.write_text(CONFIG.format(metrics=f"{prometheus.url}/api/v1/otlp/v1/metrics"))
    runs.write_text(support.run_line("quiet", 400) + support.run_line("runaway", 600))
    command = [support.BINARY, "run", "--config", config, "--state", tmp_path / "state.db", runs]

    def start():
        with log.open("ab") as out:
            env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
            return subprocess.Popen(command, env=env, stdout=out, stderr=out)

    def value(expression):
        found = prometheus.query(expression)
        return found[0][1] if found else None

    def wait_for(expression, wanted):
        support.wait_until(lambda: value(expression) == wanted, f"{wanted} from {expression}", PATIENCE_SECONDS)

    def firing():
        """The times at which each alert began to fire."""
        end = time.time()
        query = {"query": 'ALERTS{alertstate="firing"}', "start": end - 300, "end": end, "step": 1}
        begun = {}
        for series in prometheus.api("query_range", **query)["result"]:
            times = [at for at, _ in series["values"]]
            own = [at for before, at in zip([0, *times], times) if at - before > 2]
            begun.setdefault(series["metric"]["alertname"], []).extend(own)
        return begun

    usd, tokens = (f'agno_budget_utilization_ratio{{agno_budget_name="{name}"}}' for name in ("usd", "tokens"))
    crossed = 'sum(agno_session_threshold_crossed_total{agno_session_threshold_value="1000 tokens"})'
    process = start()
    try:
        wait_for(tokens, 0.1)
        wait_for(usd, 1000 / 3000)
        wait_for(crossed, 0)
        assert firing() == {}
        # The run that passes the threshold, and spends the budget.
        with runs.open("a") as file:
            file.write(support.run_line("runaway", 2000))
        wait_for(usd, 1)
        wait_for(tokens, 0.3)
        support.wait_until(lambda: set(firing()) == {"RunawaySession", "BudgetSpent"}, "both alerts", PATIENCE_SECONDS)
        assert "passed a threshold" in log.read_text() and "runaway" in log.read_text()
        # Killed, started again, everything sent again: nothing passes anything again.
        process.kill()
        process.wait()
        (tmp_path / "again.jsonl").write_text(runs.read_text())
        command.append(tmp_path / "again.jsonl")
        process = start()
        with runs.open("a") as file:
            file.write(support.run_line("runaway", 500))
        wait_for(usd, 3500 / 3000)
        time.sleep(WINDOW_SECONDS + 5)
        assert value(crossed) == 1
        begun = firing()
        assert {name: len(times) for name, times in begun.items()} == {"RunawaySession": 1, "BudgetSpent": 1}, begun
        assert value('ALERTS{alertname="RunawaySession",alertstate="firing"}') is None, "it ends"
        assert value('agno_budget_usage{agno_budget_name="usd"}') == 3500 * 2.5 / 1e6
        assert value("sum(agno_cost_usd_total)") == 3500 * 2.5 / 1e6
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)

"""An agno-otel that has followed runs of every kind, as dashboards and alerts are made for, into the real backends."""

import os
import subprocess

import support

SERVICE = "watched"
NAMESPACE = "shop"
JOB = f"{NAMESPACE}/{SERVICE}"
# What each is there for: tools, teams, workflows and their steps, caches and reasoning, roles, streams with a time to first
# token, errors of runs and tools, costs that the provider states, what is odd.
CASES = [
    support.Case("3.1.10", name)
    for name in (
        "tools_multi", "team_run", "workflow_run", "anthropic", "gemini", "memory_summary", "reasoning_model",
        "stream_tools", "error_500", "tool_error", "cost", "nan_values",
    )
]
CONFIG = f"""
[service]
name = "{SERVICE}"
namespace = "{NAMESPACE}"
environment = "test"
[run]
history = "count"
metrics_every = "1s"
[session]
thresholds = ["1000 tokens", "100000 tokens", "1 USD", "10 USD"]
[[budget]]
name = "writing"
limit = "10 USD"
window = "day"
agent = "Writer"
[[budget]]
name = "all"
limit = "100000000 tokens"
window = "month"
"""


class Watched:
    """Follows the cases and a file of runs; with them, dashboards and alerts for its configuration."""

    def __init__(self, folder, endpoint, config=CONFIG):
        self.folder, self.config, self.runs = folder, folder / "agno-otel.toml", folder / "runs.jsonl"
        self.config.write_text(config + f'\n[otlp]\nendpoint = "{endpoint}"\n')
        self.runs.touch()
        self.log = folder / "run.log"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder)}

    def start(self, *sources):
        command = [support.BINARY, "run", "--config", self.config, "--state", self.folder / "state.db", self.runs, *sources]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)

    def end(self, kill=False):
        self.process.kill() if kill else self.process.terminate()
        self.process.wait(timeout=30)

    def add(self, *lines):
        with self.runs.open("a") as file:
            file.write("".join(lines))

    def export(self, *what):
        return self.once("export", *what)

    def once(self, *command):
        command = [support.BINARY, "--config", self.config, *map(str, command)]
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout


NOT_AN_AGENT = {"agent_id": None, "agent_name": None}
# Sent once instead of followed: there sessions are over, and in the histograms of sessions, without half an hour of quiet.
OVER = [support.Case("3.1.10", name) for name in ("cost", "history")]


def feed(watched):
    """Runs of every kind, now."""
    watched.add(
        support.run_line("quiet", 5_000),
        support.run_line("runaway", 400_000),
        # A loop, and half a million tokens: more than a dollar.
        support.run_line("runaway", 500_000, calls=70),
        support.run_line("failing", 900, status="ERROR"),
        support.run_line("team", 1_000, status="ERROR", **NOT_AN_AGENT, team_id="desk", team_name="Desk"),
        support.run_line(
            "workflow", 0, status="ERROR", **NOT_AN_AGENT, workflow_id="daily", workflow_name="Daily", model=None, messages=[],
            metrics={"duration": 1.5},
        ),
    )

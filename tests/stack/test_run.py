"""`run` follows real Agno while it writes, and counts to the token, whatever is killed meanwhile."""

import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.error
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import support
from conftest import SHIPPED, free_ports

WRITER = Path(__file__).with_name("writer.py")
# Agno 3 writes in the journal mode WAL, Agno 2 in SQLite's default, DELETE.
RELEASES = {"3.1.10": "wal", "2.9.0": "delete"}
# Through the Collector as we ship its configuration, and straight into Prometheus and Jaeger.
WAYS = ("collector", "straight")

CALM_SECONDS = 20
ROUGH_SECONDS = 75
KILLS_PER_FOLLOWER = 12
OUTAGE_SECONDS = 20
SEED = int(os.environ.get("AGNO_OTEL_SEED", "1"))
# Prometheus' default backoff at the Collector is half a minute at most.
PATIENCE_SECONDS = 60
LAG_SECONDS = 10


class Backends:
    """The Collector, Prometheus 3 and Jaeger as `collector-config/` says, each to be stopped and started again."""

    def __init__(self, programs, folder):
        self.programs, self.folder, self.up = programs, folder, {}
        ports = free_ports(9)
        (self.metrics, query, query_grpc, self.spans, health, grpc, http, telemetry, spans_http) = map("127.0.0.1:{}".format, ports)
        self.collector = f"http://{http}"
        self.prometheus = support.Prometheus(f"http://{self.metrics}")
        self.jaeger = support.Jaeger(f"http://{query}")
        self.how = {
            "prometheus": (
                ("prometheus", f"--config.file={SHIPPED / 'prometheus.yaml'}"),
                (f"--storage.tsdb.path={folder / 'prometheus'}", f"--web.listen-address={self.metrics}"),
                ("--web.enable-otlp-receiver", "--enable-feature=exemplar-storage"),
                {"ready": f"http://{self.metrics}/-/ready"},
            ),
            "jaeger": (
                ("jaeger", f"--config=file:{SHIPPED / 'jaeger.yaml'}"),
                {
                    "ready": f"http://{health}/status",
                    "JAEGER_HEALTH": health,
                    "JAEGER_QUERY_HTTP": query,
                    "JAEGER_QUERY_GRPC": query_grpc,
                    "JAEGER_OTLP_GRPC": self.spans,
                    "JAEGER_OTLP_HTTP": spans_http,
                    "OTEL_TRACES_SAMPLER": "always_off",
                },
            ),
            "otelcol": (
                ("otelcol", f"--config=file:{SHIPPED / 'jaeger-prometheus.yaml'}"),
                {
                    "ready": f"http://{telemetry}/metrics",
                    "OTELCOL_OTLP_GRPC": grpc,
                    "OTELCOL_OTLP_HTTP": http,
                    "OTELCOL_TELEMETRY_PORT": telemetry.rpartition(":")[2],
                    "JAEGER_OTLP_GRPC": self.spans,
                    "PROMETHEUS_URL": f"http://{self.metrics}",
                },
            ),
        }

    def start(self, name):
        *arguments, settings = self.how[name]
        arguments = [argument for group in arguments for argument in group]
        self.up[name] = self.programs.start(f"run-{name}", *arguments, **settings)

    def end(self, name, how=signal.SIGTERM):
        self.programs.end(self.up.pop(name), how)

    def endpoint(self, way):
        if way == "collector":
            return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector}
        return {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://{self.metrics}/api/v1/otlp/v1/metrics",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://{self.spans}",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
        }


@pytest.fixture(scope="module")
def backends(programs, tmp_path_factory):
    made = Backends(programs, tmp_path_factory.mktemp("backends"))
    for name in ("prometheus", "jaeger", "otelcol"):
        made.start(name)
    yield made
    for name in list(made.up):
        made.end(name)


@dataclass
class Writer:
    """An application that uses real Agno."""

    release: str
    folder: Path
    seconds: float
    process: subprocess.Popen = None
    runs: dict = field(default_factory=dict)

    @property
    def database(self):
        return self.folder / f"agno-{self.release}.db"

    def start(self):
        python = support.REPO / "target/agno-venvs" / self.release / "bin/python"
        if not python.exists():
            pytest.exit(f"{python} is missing: run tests/agno/install.sh {self.release}", returncode=2)
        self.errors = (self.folder / f"agno-{self.release}.log").open("wb")
        command = [python, WRITER, self.database, str(self.seconds)]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            run = json.loads(line)
            self.runs[run["run_id"]] = run

    def wait(self):
        self.reader.join()
        assert self.process.wait() == 0, self.said()
        self.errors.close()

    def said(self):
        return (self.folder / f"agno-{self.release}.log").read_text()

    def bill(self):
        """Tokens by class, as the provider has them."""
        total = Counter(dict.fromkeys(support.CLASSES, 0))
        for call in json.loads(self.database.with_suffix(".calls.json").read_text()):
            total.update(support.Call(call).tokens)
        return dict(total)


@dataclass
class Follower:
    """`agno-otel run`."""

    writer: Writer
    way: str
    backends: Backends
    process: subprocess.Popen = None
    kills: int = 0

    @property
    def service(self):
        return f"{self.writer.folder.name}-{self.writer.release}-{self.way}"

    @property
    def log(self):
        return self.writer.folder / f"{self.service}.log"

    def start(self):
        command = [support.BINARY, "run", "--metrics-every", "1", "--history", "count"]
        command += ["--state", self.writer.folder / f"{self.service}.state", self.writer.database]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.writer.folder), "OTEL_SERVICE_NAME": self.service}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=env | self.backends.endpoint(self.way), stdout=log, stderr=log)

    def kill(self):
        assert self.process.poll() is None, self.log.read_text()
        self.process.kill()
        self.process.wait()
        self.kills += 1

    def stop(self):
        assert self.process.poll() is None, self.log.read_text()
        self.process.terminate()
        assert self.process.wait(timeout=30) == 143, self.log.read_text()

    def abort(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def spend(self):
        return self.backends.prometheus.spend("agno_token_usage_total", self.service, by="agno_token_class")

    def has(self, run_id):
        """Whether the run is in Jaeger, by its id."""
        try:
            found = self.backends.jaeger.trace(run_id.replace("-", ""), self.service)
        except urllib.error.HTTPError as error:
            assert error.code == 404
            return False
        return any(span.attributes.get("agno.run.id") == run_id for span in found)


class Lags(threading.Thread):
    """Asks Jaeger for each run from when Agno has stored it until it is there."""

    def __init__(self, followers):
        super().__init__()
        self.followers, self.measured, self.over = followers, {}, False

    def run(self):
        while True:
            is_last = self.over
            for follower in self.followers:
                for run_id, run in list(follower.writer.runs.items()):
                    key = follower.service, run_id
                    if key not in self.measured and follower.has(run_id):
                        self.measured[key] = time.time() - run["at"]
            if is_last:
                return
            time.sleep(0.05)


def follow(backends, folder, seconds, meanwhile):
    """Agno writes while each way is followed and something happens; then waits for the end of it."""
    writers = [Writer(release, folder, seconds) for release in RELEASES]
    followers = [Follower(writer, way, backends) for writer in writers for way in WAYS]
    with ExitStack() as stack:
        for writer in writers:
            writer.start()
            stack.callback(writer.process.kill)
        for writer in writers:
            # Agno makes the file; a path that is not there yet is tried again.
            support.wait_until(writer.database.exists, f"{writer.database}")
        for follower in followers:
            follower.start()
            stack.callback(follower.abort)
        meanwhile(followers)
        for writer in writers:
            writer.wait()
        for follower in followers:
            bill = follower.writer.bill()
            try:
                support.wait_until(lambda: follower.spend() == bill, follower.service, PATIENCE_SECONDS)
            except TimeoutError:
                pass  # The comparison says more.
            print(f"{follower.service}: {follower.kills} kills, {len(follower.writer.runs)} runs, {follower.spend()}")
            assert follower.spend() == bill, follower.log
            runs = follower.writer.runs
            support.wait_until(lambda: all(map(follower.has, runs)), f"all runs of {follower.service}", PATIENCE_SECONDS)
        for follower in followers:
            follower.stop()
    return writers, followers


def judge(backends, writers, followers):
    """What holds in the end, however rough it was."""
    for writer in writers:
        assert writer.runs and {run["status"] for run in writer.runs.values()} == {"COMPLETED"}
        assert "locked" not in writer.said() and "ERROR" not in writer.said(), writer.said()
        with open(writer.database, "rb") as file:
            assert file.read(20)[18:] == (b"\2\2" if RELEASES[writer.release] == "wal" else b"\1\1")
    for follower in followers:
        bill = follower.writer.bill()
        assert follower.spend() == bill
        series = backends.prometheus.series(f'{{job="{follower.service}", __name__=~".+_(total|count|sum|bucket)"}}')
        for name in {labels["__name__"] for labels in series}:
            ((_, fell),) = backends.prometheus.query(f'sum(resets({name}{{job="{follower.service}"}}[1h]))')
            assert fell == 0, name
        usage = f'agno_token_usage_total{{job="{follower.service}"}}'
        born = backends.prometheus.query(f"min_over_time({usage}[1h])")
        assert {value for _, value in born} == {0}, "a series was not born at zero"
        assert backends.prometheus.query(f"count(count by (instance) (last_over_time({usage}[1h])))")[0][1] == 1
        runs = backends.prometheus.spend("agno_runs_total", follower.service)[follower.service]
        assert runs >= len(follower.writer.runs)
        corrections = f'last_over_time(agno_token_corrections_total{{job="{follower.service}"}}[1h])'
        assert not [labels for labels, value in backends.prometheus.query(corrections) if value]
        said = follower.log.read_text()
        assert "panicked" not in said and "dead letter" not in said, said


def test_what_agno_stores_is_in_jaeger_soon_and_in_prometheus_to_the_token(backends, tmp_path_factory):
    lags = []

    def measure(followers):
        lags.append(Lags(followers))
        lags[0].start()
        for follower in followers:
            follower.writer.reader.join()
        time.sleep(LAG_SECONDS)
        lags[0].over = True
        lags[0].join()

    writers, followers = follow(backends, tmp_path_factory.mktemp("calm"), CALM_SECONDS, measure)
    judge(backends, writers, followers)
    for follower in followers:
        measured = sorted(lag for (service, _), lag in lags[0].measured.items() if service == follower.service)
        assert len(measured) == len(follower.writer.runs)
        middle, longest = measured[len(measured) // 2], measured[-1]
        print(f"{follower.service}: {len(measured)} runs in Jaeger after {middle:.2f} s (median), {longest:.2f} s (longest)")
        assert longest < LAG_SECONDS


def test_kills_restarts_and_an_outage_cost_no_token(backends, tmp_path_factory):
    print(f"seed {SEED}")

    def kill(follower, numbers):
        for _ in range(KILLS_PER_FOLLOWER):
            time.sleep(numbers.uniform(0.1, 2 * (ROUGH_SECONDS - 10) / KILLS_PER_FOLLOWER))
            follower.kill()
            time.sleep(numbers.choice((0, 0, 0.5, 2)))
            follower.start()

    def rough(followers):
        started = time.monotonic()
        killers = [
            threading.Thread(target=kill, args=(follower, random.Random(SEED * 100 + number)))
            for number, follower in enumerate(followers)
        ]
        for killer in killers:
            killer.start()

        def at(seconds):
            time.sleep(max(0, started + seconds - time.monotonic()))

        at(10)
        backends.end("otelcol")
        backends.start("otelcol")
        at(20)
        backends.end("prometheus", signal.SIGKILL)
        backends.start("prometheus")
        # The Collector keeps what Prometheus has not taken in memory, and tries again after some seconds.
        at(40)
        backends.end("otelcol")
        backends.end("prometheus", signal.SIGKILL)
        time.sleep(OUTAGE_SECONDS)
        backends.start("prometheus")
        backends.start("otelcol")
        for killer in killers:
            killer.join()

    writers, followers = follow(backends, tmp_path_factory.mktemp("rough"), ROUGH_SECONDS, rough)
    judge(backends, writers, followers)
    assert [follower.kills for follower in followers] == [KILLS_PER_FOLLOWER] * len(followers)

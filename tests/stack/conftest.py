"""Fixtures: the real Collector, Jaeger and Prometheus on free loopback ports, and every Agno database sent through them."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import following  # noqa: E402
import receiver as receivers  # noqa: E402
import support  # noqa: E402

HERE = Path(__file__).parent
CONFIGS = HERE / "configs"
SHIPPED = support.REPO / "collector-config"
BIN = Path(os.environ.get("AGNO_OTEL_STACK_BIN", support.REPO / "target/stack/bin"))


def pytest_configure():
    # A terminated pytest must still stop what it started.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))


def free_ports(count):
    """Distinct free loopback ports: all are held before any is released."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Programs:
    """Child processes, each in its own process group, stopped together."""

    def __init__(self, logs):
        self.logs = logs
        self.running = []

    def start(self, name, program, *args, ready, **env):
        """Starts a program and waits until it is ready; its log goes on where one of this name ended."""
        log = self.logs / f"{name}.log"
        if not (BIN / program).exists():
            pytest.exit(f"{BIN / program} is missing: run tests/stack/build.sh", returncode=2)
        with log.open("ab") as out:
            process = subprocess.Popen(
                [BIN / program, *map(str, args)],
                env={"PATH": os.environ["PATH"], "HOME": str(self.logs), **{k: str(v) for k, v in env.items()}},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)

        def is_ready():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{log.read_text()[-4000:]}")
            return support.status(ready) == 200

        support.wait_until(is_ready, f"{name} to be ready (log: {log})", seconds=60)
        return process

    def end(self, process, how=signal.SIGTERM):
        if process.poll() is None:
            os.killpg(process.pid, how)
        process.wait(timeout=30)
        self.running.remove(process)

    def stop(self):
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    children = Programs(tmp_path_factory.mktemp("logs"))
    yield children
    children.stop()


@pytest.fixture(scope="session")
def stack(programs, tmp_path_factory):
    """Collector -> Jaeger (OTLP gRPC) and Prometheus (OTLP HTTP), with copies of everything in files."""
    prometheus, query, query_grpc, jaeger_otlp, jaeger_http, jaeger_health, grpc, http, health, telemetry = free_ports(10)
    loopback = "127.0.0.1:{}".format
    out = tmp_path_factory.mktemp("collector")

    programs.start(
        "prometheus",
        "prometheus",
        f"--config.file={CONFIGS / 'prometheus.yaml'}",
        f"--storage.tsdb.path={tmp_path_factory.mktemp('prometheus')}",
        f"--web.listen-address={loopback(prometheus)}",
        "--web.enable-otlp-receiver",
        "--enable-feature=exemplar-storage",
        ready=f"http://{loopback(prometheus)}/-/ready",
    )
    programs.start(
        "jaeger",
        "jaeger",
        f"--config=file:{SHIPPED / 'jaeger.yaml'}",
        ready=f"http://{loopback(jaeger_health)}/status",
        JAEGER_HEALTH=loopback(jaeger_health),
        JAEGER_QUERY_HTTP=loopback(query),
        JAEGER_QUERY_GRPC=loopback(query_grpc),
        JAEGER_OTLP_GRPC=loopback(jaeger_otlp),
        JAEGER_OTLP_HTTP=loopback(jaeger_http),
        OTEL_TRACES_SAMPLER="always_off",  # it would trace itself, to the default port
    )
    programs.start(
        "otelcol",
        "otelcol",
        f"--config=file:{CONFIGS / 'otelcol.yaml'}",
        ready=f"http://{loopback(health)}/",
        OTELCOL_OTLP_GRPC=loopback(grpc),
        OTELCOL_OTLP_HTTP=loopback(http),
        OTELCOL_HEALTH=loopback(health),
        OTELCOL_TELEMETRY_PORT=telemetry,
        OTELCOL_OUT=out,
        JAEGER_OTLP_GRPC=loopback(jaeger_otlp),
        PROMETHEUS_URL=f"http://{loopback(prometheus)}",
    )
    return support.Stack(
        otlp=f"http://{loopback(http)}",
        grpc=f"http://{loopback(grpc)}",
        telemetry=f"http://{loopback(telemetry)}/metrics",
        jaeger=support.Jaeger(f"http://{loopback(query)}"),
        prometheus=support.Prometheus(f"http://{loopback(prometheus)}"),
        out=out,
    )


@pytest.fixture(scope="session")
def reader(programs, tmp_path_factory):
    """A second Collector, that reads files of OTLP/JSON lines and writes down what it read."""
    (health,) = free_ports(1)
    into, out = tmp_path_factory.mktemp("reader_in"), tmp_path_factory.mktemp("reader_out")
    programs.start(
        "reader",
        "otelcol",
        f"--config=file:{CONFIGS / 'reader.yaml'}",
        ready=f"http://127.0.0.1:{health}/",
        OTELCOL_HEALTH=f"127.0.0.1:{health}",
        OTELCOL_IN=into,
        OTELCOL_OUT=out,
    )
    return support.Reader(into=into, out=out)


@pytest.fixture(scope="session")
def send(tmp_path_factory):
    """Runs `agno-otel send` away from the user's own configuration and state."""
    home = tmp_path_factory.mktemp("home")
    if not support.BINARY.exists():
        pytest.exit(f"{support.BINARY} is missing: run cargo build --release", returncode=2)

    def run(*args, **env):
        return subprocess.run(
            [support.BINARY, "send", *map(str, args)],
            env={"PATH": os.environ["PATH"], "HOME": str(home), **env},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture(scope="session")
def sent(stack, send):
    """Every fixture database, each under a service name of its own, delivered to Jaeger and Prometheus."""
    stack.sends = {
        case: send(case.db, "--endpoint", stack.otlp, OTEL_SERVICE_NAME=case.service) for case in support.CASES
    }
    stack.wait_until_delivered()
    return stack


@pytest.fixture(scope="session")
def postgres():
    """A Postgres server. Who stops it starts it again."""
    import servers

    server = servers.Postgres(*free_ports(1))
    yield server
    server.stop()


@pytest.fixture
def receiver():
    made = receivers.Receiver()
    yield made
    made.close()


@pytest.fixture
def follow(tmp_path, receiver):
    """Starts `agno-otel run`s that end with the test."""
    made = []

    def run(*sources, **settings):
        made.append(following.Follower(tmp_path, receiver, *sources, **settings))
        return made[-1]

    yield run
    for follower in made:
        follower.abort()

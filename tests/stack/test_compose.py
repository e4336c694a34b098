"""`docker compose -f collector-config/compose.yaml up`, without Docker: what it says is checked by the Compose
Specification's own parser, and its services are started as it says, from the files it mounts. Only addresses and paths
are others, for they share this machine. Grafana is not among them; its files are checked against the others."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.error
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import support
from conftest import BIN, SHIPPED, free_ports
from support import REPO
from tools import checked, read_yaml

FILE = SHIPPED / "compose.yaml"
# The Collector's image has nothing that could ask it; the queue's folder is made, and that is all.
WITHOUT_HEALTH = {"otelcol", "queue"}
# Of these images, the program that is built here.
PROGRAMS = {"otelcol": "otelcol", "jaeger": "jaeger", "prometheus": "prometheus", "alertmanager": "alertmanager"}
DEMO = "demo"
ADDRESS = re.compile(r"\b(0\.0\.0\.0|127\.0\.0\.1|[a-z][a-z-]*):(\d{4,5})\b")


@pytest.fixture(scope="module")
def compose():
    return json.loads(checked(BIN / "compose", FILE, cwd=SHIPPED))


# What it says


def test_every_image_is_of_one_version(compose):
    for name, service in compose["services"].items():
        assert re.search(r":v?\d+\.\d+\.\d+[\w.-]*$", service["image"]), f"{name}: {service['image']}"


def test_no_service_has_rights(compose):
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True and not service.get("privileged") and not service.get("cap_add"), name
        user = service.get("user") or re.search(r"^USER (.+)$", (REPO / "Dockerfile").read_text(), re.MULTILINE)[1]
        assert re.fullmatch(r"[1-9]\d*:\d+", user), f"{name} runs as {user}"
        assert service["image"].startswith("agno-otel:") or "user" in service, name


def test_nobody_else_reaches_it_and_it_holds_no_secret(compose):
    assert compose.get("secrets") is None
    for name, service in compose["services"].items():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name
        assert service.get("network_mode") is None, name
        told = " ".join(service.get("environment", {}))
        assert not re.search(r"PASSWORD|SECRET|TOKEN|_KEY", told), f"{name}: {told}"


def test_every_service_that_can_tells_its_health(compose):
    without = {name for name, service in compose["services"].items() if not service.get("healthcheck", {}).get("test")}
    assert without == WITHOUT_HEALTH
    for name, service in compose["services"].items():
        for other, how in service.get("depends_on", {}).items():
            assert other not in WITHOUT_HEALTH or how["condition"] != "service_healthy", f"{name} waits for ever"


def test_whatever_it_mounts_is_there_and_nothing_of_ours_can_be_written(compose):
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            if mount["type"] == "bind":
                assert mount["read_only"], f"{name} could write {mount['source']}"
                assert Path(mount["source"]).exists(), f"{name}: {mount['source']} is not there"
            else:
                assert mount["source"] in compose["volumes"], name


def test_grafana_finds_its_data_sources_and_dashboards(compose):
    """Grafana is not run. Its files name services, ports, folders and uids that are there."""
    services = compose["services"]
    (sources,) = read_yaml(SHIPPED / "grafana/provisioning/datasources/agno-otel.yaml")
    for source in sources["datasources"]:
        url = urlsplit(source["url"])
        assert url.port in {port["target"] for port in services[url.hostname]["ports"]}, source["url"]
    # The dashboards take the default one.
    (metrics,) = (source for source in sources["datasources"] if source.get("isDefault"))
    (traces,) = (source for source in sources["datasources"] if source["type"] == "jaeger")
    (link,) = metrics["jsonData"]["exemplarTraceIdDestinations"]
    assert metrics["type"] == "prometheus" and (link["name"], link["datasourceUid"]) == ("trace_id", traces["uid"])
    mounts = {mount["target"]: mount["source"] for mount in services["grafana"]["volumes"]}
    (provider,) = read_yaml(SHIPPED / "grafana/provisioning/dashboards/agno-otel.yaml")[0]["providers"]
    assert mounts[provider["options"]["path"]] == str(SHIPPED / "grafana/dashboards")
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.startswith(provider["options"]["path"] + "/")
    assert (SHIPPED / "grafana/dashboards" / home.rpartition("/")[2]).exists()


# What it does


class Up:
    """The services of the compose file on this machine, each in a folder of its own with what it mounts."""

    def __init__(self, compose, programs, folder):
        self.services, self.programs, self.folder = compose["services"], programs, folder
        self.running, self.ports = {}, {}
        for name, service in self.services.items():
            for mount in service.get("volumes", []):
                self.mount(name, mount)

    def mount(self, name, mount):
        at = self.inside(name, mount["target"])
        at.parent.mkdir(parents=True, exist_ok=True)
        if mount["type"] == "volume":
            volume = self.folder / "volumes" / mount["source"]
            volume.mkdir(parents=True, exist_ok=True)
            at.symlink_to(volume)
        elif mount["source"].endswith((".yaml", ".yml", ".json")):
            with open(mount["source"]) as file:
                at.write_text(self.addresses(name, file.read()))
        elif not Path(mount["source"]).is_dir():
            shutil.copy(mount["source"], at)

    def inside(self, name, path):
        return self.folder / "containers" / name / path.lstrip("/")

    def port(self, name, port):
        """Where a port of a service is on this machine."""
        if (name, port) not in self.ports:
            (self.ports[name, port],) = free_ports(1)
        return f"127.0.0.1:{self.ports[name, port]}"

    def addresses(self, name, text):
        """A text of one service with the addresses of this machine."""

        def address(found):
            host, port = found[1], int(found[2])
            if host in ("0.0.0.0", "127.0.0.1"):
                return self.port(name, port)
            return self.port(host, port) if host in self.services else found[0]

        return ADDRESS.sub(address, text)

    def here(self, name, text):
        """The same for a command or variable, with the paths of this machine too."""
        targets = [re.escape(mount["target"]) for mount in self.services[name].get("volumes", [])]
        targets = "|".join(sorted(targets, key=len, reverse=True)) or r"(?!)"
        inside = lambda found: str(self.inside(name, found[0]))
        return re.sub(rf"(?<![\w/])(?:{targets})(?=['/\s]|$)", inside, self.addresses(name, text))

    def start(self, name, *more):
        service = self.services[name]
        command = [self.here(name, word) for word in service.get("command") or []]
        env = {key: self.here(name, value) for key, value in service.get("environment", {}).items()}
        health = service.get("healthcheck", {}).get("test")
        if name in PROGRAMS:
            program = BIN / PROGRAMS[name]
        elif name == "application":
            program, command = sys.executable, command[1:]
        else:
            program = support.BINARY
        log = (self.folder / f"{name}.log").open("ab")
        env = {"PATH": str(BIN), "HOME": str(self.folder), **env}
        process = subprocess.Popen([program, *command, *more], env=env, stdout=log, stderr=log, start_new_session=True)
        self.programs.running.append(process)
        self.running[name] = process
        if health:
            support.wait_until(lambda: self.is_healthy(name, health), f"{name} to be healthy ({log.name})", seconds=60)

    def is_healthy(self, name, health):
        assert self.running[name].poll() is None, (self.folder / f"{name}.log").read_text()[-3000:]
        if health[1] == "wget":
            return support.status(self.here(name, health[-1])) == 200
        words = [self.here(name, word) for word in health[1:]]
        if words[0] == "python":
            words[0] = sys.executable
        return subprocess.run(words, env={"PATH": str(BIN)}, capture_output=True).returncode == 0

    def end(self, name, how=signal.SIGTERM):
        self.programs.end(self.running.pop(name), how)


@pytest.fixture(scope="module")
def up(compose, programs, tmp_path_factory):
    made = Up(compose, programs, tmp_path_factory.mktemp("compose"))
    # What the images bring along: default ports, and where agno-otel keeps its state.
    services = made.services
    services["prometheus"]["command"].append("--web.listen-address=0.0.0.0:9090")
    services["jaeger"]["environment"] |= {"JAEGER_HEALTH": "127.0.0.1:13134", "JAEGER_QUERY_GRPC": "127.0.0.1:16685"}
    services["otelcol"]["environment"] |= {"OTELCOL_HEALTH": "127.0.0.1:13133", "OTELCOL_QUEUE": "/var/lib/otelcol"}
    services["otelcol"]["environment"]["OTELCOL_TELEMETRY_PORT"] = made.port("otelcol", 8889).rpartition(":")[2]
    services["agno-otel"]["environment"] |= {"AGNO_OTEL_STATE": "/var/lib/agno-otel/state.db", "AGNO_OTEL_LISTEN": "127.0.0.1:4320"}
    services["agno-otel"]["command"] += ["--metrics-every", "1"]
    services["application"]["command"][-1] = "0.3"
    if (BIN / PROGRAMS["alertmanager"]).exists():
        services["alertmanager"]["command"].append("--web.listen-address=0.0.0.0:9093")
        made.start("alertmanager")
    for name in ("jaeger", "prometheus", "otelcol", "application", "agno-otel"):
        made.start(name)
    yield made
    for name in list(made.running):
        made.end(name)


@pytest.fixture(scope="module")
def prometheus(up):
    return support.Prometheus(f"http://{up.port('prometheus', 9090)}")


@pytest.fixture(scope="module")
def jaeger(up):
    return support.Jaeger(f"http://{up.port('jaeger', 16686)}")


def spent(prometheus):
    """Tokens by class as a dashboard asks for them; None while Prometheus is away."""
    try:
        found = prometheus.spend("agno_token_usage_total", DEMO, by="agno_token_class")
    except (urllib.error.URLError, ConnectionError):
        return None
    return {name: int(count) for name, count in found.items()}


def written(up):
    """Tokens by class in the application's database, as `send` counts them."""
    database = up.inside("application", "/tmp/agno.db")
    said = json.loads(checked(support.BINARY, "send", database, "--to", f"otlp-json:{up.folder / 'check.jsonl'}", "--json"))
    return {name: said["tokens"][name] for name in support.CLASSES}


def test_runs_of_the_made_up_application_are_in_jaeger_and_prometheus_as_they_are_in_its_database(up, prometheus, jaeger):
    support.wait_until(lambda: len(jaeger.search(DEMO)) > 20, "twenty traces in Jaeger", seconds=60)
    # The whole day was there once, its dearest conversation too.
    support.wait_until(lambda: jaeger.search(DEMO, gen_ai__agent__name="Price watch", agno__run__status="CANCELLED"), "the day")
    up.end("application")
    support.wait_until(lambda: spent(prometheus) == written(up), "Prometheus to have what was spent", seconds=60)
    assert sum(written(up).values()) > 3_000_000
    assert {labels["agno_budget_name"] for labels, _ in prometheus.query("agno_budget_utilization_ratio")} == {
        "everything, daily",
        "newsletter, hourly",
    }
    assert sum(value for _, value in prometheus.query("agno_cost_usd_total")) > 0
    assert sum(value for _, value in prometheus.query("agno_token_unpriced_total")) > 0


def test_an_exemplar_leads_from_prometheus_to_the_run_in_jaeger(prometheus, jaeger):
    exemplars = prometheus.exemplars(f'agno_token_usage_total{{job="{DEMO}"}}')
    assert exemplars
    found = jaeger.trace(exemplars[-1]["labels"]["trace_id"], DEMO)
    assert exemplars[-1]["labels"]["span_id"] in {span.id for span in found}


def test_prometheus_has_the_rules_and_tells_alertmanager(up, prometheus):
    if (SHIPPED / "alerts.yml").exists():
        groups = prometheus.api("rules")["groups"]
        assert groups and all(rule["health"] != "err" for group in groups for rule in group["rules"]), groups
    (told,) = prometheus.api("alertmanagers")["activeAlertmanagers"]
    assert told["url"] == f"http://{up.port('alertmanager', 9093)}/api/v2/alerts"


def test_what_waits_for_prometheus_survives_the_collector_and_agno_otel(up, prometheus):
    """The Collector has answered, agno-otel is gone, and the Collector is killed with what Prometheus has not got."""
    up.end("prometheus", signal.SIGKILL)
    up.start("application")
    before = sum(written(up).values())
    support.wait_until(lambda: sum(written(up).values()) > 1.2 * before, "the application to spend a fifth more", seconds=60)
    up.end("application")
    at_the_end = written(up)
    support.wait_until(lambda: is_counted(up), "every run to be counted")
    up.end("agno-otel")
    up.end("otelcol", signal.SIGKILL)
    up.start("prometheus")
    assert spent(prometheus) != at_the_end
    up.start("otelcol")
    support.wait_until(lambda: spent(prometheus) == at_the_end, "Prometheus to have what waited", seconds=60)
    up.start("agno-otel")
    assert spent(prometheus) == at_the_end


def is_counted(up):
    """Every row of the database is known, and nothing is due but the ends of what waits for a human."""
    state = up.inside("agno-otel", "/var/lib/agno-otel/state.db")
    said = json.loads(checked(support.BINARY, "status", "--json", "--state", state))
    with sqlite3.connect(f"file:{up.inside('application', '/tmp/agno.db')}?mode=ro", uri=True) as database:
        ((rows, waiting),) = database.execute(
            "SELECT count(*), count(DISTINCT session_id) FILTER (WHERE status = 'PAUSED') FROM agno_runs"
        )
    return said["due"] == waiting and [source["records"] for source in said["sources"]] == [rows]

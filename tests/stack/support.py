"""What the tests share: the fixture databases with the providers' bills, and small clients for the backends."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("AGNO_OTEL_BIN", REPO / "target/release/agno-otel"))
FIXTURES = Path(os.environ.get("AGNO_OTEL_FIXTURES", REPO / "tests/fixtures/agno"))

CLASSES = ("input", "cache_read", "cache_write", "output", "reasoning")


def agno_with_postgres(release):
    """The Python of a virtual environment with this release of Agno and what it needs for Postgres, made if it is not there."""
    venv = REPO / f"target/agno-venvs/postgres-{release}"
    needed = REPO / "tests/agno/requirements-postgres.txt"
    if not (venv / needed.name).exists() or (venv / needed.name).read_bytes() != needed.read_bytes():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = [venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", needed, f"agno=={release}"], check=True)
        (venv / needed.name).write_bytes(needed.read_bytes())
    return venv / "bin/python"


# The fixture databases


@dataclass(frozen=True)
class Case:
    """One database written by a real Agno release."""

    version: str
    name: str

    @property
    def db(self):
        return FIXTURES / self.version / f"{self.name}.db"

    @property
    def service(self):
        """A service name of its own, so that each case is looked at by itself in every backend."""
        return f"{self.version}-{self.name.replace('/', '-')}"

    def calls(self):
        """The provider's own record of the calls it answered and billed."""
        calls = json.loads((FIXTURES / self.version / f"{self.name}.calls.json").read_text())
        return [Call(call) for call in calls if call.get("usage")]

    def bill(self):
        """Tokens by class, summed over the provider's record."""
        total = Counter(dict.fromkeys(CLASSES, 0))
        for call in self.calls():
            total.update(call.tokens)
        return dict(total)

    def runs(self):
        """The runs in the database by id, nested ones too: 3.x keeps a row for each, 2.x a list in the session's row."""
        found = {}
        with sqlite3.connect(f"file:{self.db}?mode=ro", uri=True) as db:
            db.text_factory = lambda raw: raw.decode("utf-8", "surrogatepass")
            for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
                for column in columns & {"run_data", "runs"}:
                    for (value,) in db.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                        value = decode(value)
                        for run in value if isinstance(value, list) else [value]:
                            collect(run, found)
        db.close()
        return found


class Call:
    """One model call, in the words of its provider."""

    def __init__(self, call):
        self.model, usage = call["model"], call["usage"]
        if "promptTokenCount" in usage:  # Gemini: thoughts are not part of the candidates
            read, write = usage["cachedContentTokenCount"], 0
            fresh = usage["promptTokenCount"] - read
            reasoning, output = usage["thoughtsTokenCount"], usage["candidatesTokenCount"]
        elif "cache_creation_input_tokens" in usage:  # Anthropic: the cache is not part of the input
            read, write = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
            fresh = usage["input_tokens"]
            reasoning, output = 0, usage["output_tokens"]
        else:  # OpenAI chat, then OpenAI responses: the details are parts of the totals
            chat = "prompt_tokens" in usage
            into, out = ("prompt_tokens", "completion_tokens") if chat else ("input_tokens", "output_tokens")
            read, write = usage[f"{into}_details"]["cached_tokens"], 0
            fresh = usage[into] - read
            reasoning = usage[f"{out}_details"]["reasoning_tokens"]
            output = usage[out] - reasoning
        self.tokens = dict(zip(CLASSES, (fresh, read, write, output, reasoning)))

    @property
    def usage(self):
        """What its `chat` span must say: model, input with cache, output with reasoning, cache read."""
        t = self.tokens
        return (
            self.model,
            t["input"] + t["cache_read"] + t["cache_write"],
            t["output"] + t["reasoning"],
            t["cache_read"],
        )


def collect(run, found):
    """Adds a run and the runs inside it; a nested run knows its parent, stated or not."""
    found[run["run_id"]] = run
    for inner in [*run.get("member_responses", []), *run.get("step_executor_runs", [])]:
        inner.setdefault("parent_run_id", run["run_id"])
        collect(inner, found)


def decode(value):
    """2.x encodes its JSON columns twice."""
    while isinstance(value, str):
        value = json.loads(value)
    return value


CASES = [
    Case(db.relative_to(FIXTURES).parts[0], "/".join(db.relative_to(FIXTURES).with_suffix("").parts[1:]))
    for db in sorted(FIXTURES.rglob("*.db"))
    if db.relative_to(FIXTURES).parts[0] != "1.8.4"
]
if not CASES:
    raise RuntimeError(f"no Agno databases in {FIXTURES}")


def run_line(session, tokens, calls=1, **more):
    """A run of gpt-4o by the agent Writer, as a line, of which only the input is counted."""
    run, now = str(uuid.uuid4()), int(time.time())
    metrics = {"input_tokens": tokens // calls, "output_tokens": 0}
    call = {"role": "assistant", "created_at": now, "metrics": metrics}
    messages = [{**call, "id": f"{run}-{at}"} for at in range(calls)]
    said = {"run_id": run, "session_id": session, "agent_id": "writer", "agent_name": "Writer", "status": "COMPLETED"}
    asked = {"model": "gpt-4o", "model_provider": "OpenAI", "created_at": now, "messages": messages}
    return json.dumps({**said, **asked, **more}) + "\n"


# The backends


def shipped_prometheus(rules, alertmanager=None):
    """The settings for Prometheus that are shipped, with rules, an Alertmanager and an interval of a test's own."""
    shipped = (REPO / "collector-config/prometheus.yaml").read_text()
    shipped = re.sub(r"(?m)^(global|rule_files|alerting):.*\n(?:[ #].*\n)*", "", shipped)
    targets = [alertmanager] if alertmanager else []
    return (
        f"{shipped}\nglobal: {{evaluation_interval: 1s}}\nrule_files: [{rules}]\n"
        f"alerting: {{alertmanagers: [{{static_configs: [{{targets: {targets}}}]}}]}}\n"
    )


def request(url, body=None):
    """The body of a 2xx answer."""
    headers = {"Content-Type": "application/json"} if body else {}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
        return answer.read()


def status(url):
    """The HTTP status, or None while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait_until(ready, what, seconds=30):
    """Polls until `ready()` is true."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


class Span:
    """A span of an OTLP JSON message."""

    def __init__(self, service, span):
        self.service, self.json = service, span
        self.trace, self.id, self.parent = span["traceId"], span["spanId"], span.get("parentSpanId", "")
        self.name = span["name"]
        self.start, self.end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        self.attributes = attributes(span)
        self.failed = span.get("status", {}).get("code") == 2

    def __repr__(self):
        return f"<{self.name} {self.id} {self.attributes}>"

    def usage(self):
        """As `Call.usage`."""
        tokens = ("input_tokens", "output_tokens", "cache_read.input_tokens")
        return (
            self.attributes["gen_ai.request.model"],
            *(self.attributes.get(f"gen_ai.usage.{name}", 0) for name in tokens),
        )


def attributes(holder):
    return {a["key"]: plain(a["value"]) for a in holder.get("attributes", [])}


def plain(value):
    """A Python value for an OTLP AnyValue."""
    ((kind, inner),) = value.items()
    match kind:
        case "intValue":
            return int(inner)
        case "arrayValue":
            return [plain(item) for item in inner.get("values", [])]
        case _:
            return inner


def spans(message):
    return [
        Span(attributes(resource["resource"])["service.name"], span)
        for resource in message.get("resourceSpans", [])
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


@dataclass
class Point:
    """A metric point of an OTLP JSON message; `series` says which series it belongs to."""

    service: str
    kind: str
    name: str
    resource: frozenset
    attributes: frozenset
    json: dict

    @property
    def series(self):
        return self.kind, self.name, self.resource, self.attributes

    @property
    def value(self):
        """What was measured, without when: a number, or a histogram's sum and buckets."""
        point = self.json
        if self.kind == "histogram":
            return point.get("sum", 0), tuple(map(int, point["bucketCounts"]))
        return float(point.get("asInt", point.get("asDouble", 0)))


def points(message):
    found = []
    for resource in message.get("resourceMetrics", []):
        about = attributes(resource["resource"])
        for scope in resource["scopeMetrics"]:
            for metric in scope["metrics"]:
                (kind,) = {"sum", "gauge", "histogram"} & metric.keys()
                for point in metric[kind]["dataPoints"]:
                    labels = frozenset(attributes(point).items())
                    found.append(
                        Point(about["service.name"], kind, metric["name"], frozenset(about.items()), labels, point)
                    )
    return found


def lines(path):
    """The complete lines of a file; its writer may be in the middle of the next."""
    return path.read_text("utf-8").split("\n")[:-1] if path.exists() else []


def messages(path):
    return [json.loads(line) for line in lines(path)]


class Jaeger:
    def __init__(self, url):
        self.url = url

    def trace(self, trace_id, service):
        """The spans of one service in a trace. (Two databases may hold the same run.)"""
        answer = json.loads(request(f"{self.url}/api/v3/traces/{trace_id}?raw_traces=true"))
        return [span for span in spans(answer["result"]) if span.service == service]

    def search(self, service, **tags):
        """Ids of the traces with a span that has these tags, `__` standing for a dot."""
        query = {"service": service, "start": 1, "end": (time.time_ns() // 1000) + 86_400_000_000, "limit": 5000}
        if tags:
            query["tags"] = json.dumps({key.replace("__", "."): value for key, value in tags.items()})
        answer = json.loads(request(f"{self.url}/api/traces?{urllib.parse.urlencode(query)}"))
        return {trace["traceID"] for trace in answer["data"]}


def parts_of(part):
    """A part of an expression, and all that it is made of."""
    found = [part]
    for own in found:
        inner = [own.get(name) for name in ("expr", "lhs", "rhs")] + (own.get("args") or [])
        found += [part for part in inner if part]
    return found


class Prometheus:
    def __init__(self, url):
        self.url = url

    def api(self, path, **query):
        answer = json.loads(request(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """Pairs of labels and value."""
        result = self.api("query", query=expression)["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in result]

    def query_range(self, expression, seconds, step):
        """Pairs of labels and values, of the last so many seconds."""
        end = time.time()
        result = self.api("query_range", query=expression, start=end - seconds, end=end, step=step)["result"]
        return [(series["metric"], [float(value) for _, value in series["values"]]) for series in result]

    def parts(self, expression):
        """Every part of an expression, as Prometheus takes it apart, whole first."""
        return parts_of(self.api("parse_query", query=expression))

    def spend(self, metric, job, by="job"):
        """What was spent within the hour, as a dashboard asks for it."""
        series = f'{metric}{{job="{job}"}}'
        moved = self.query(f"sum by ({by}) (last_over_time({series}[1h]) - min_over_time({series}[1h]))")
        return {labels[by]: value for labels, value in moved}

    def series(self, match):
        return self.api("series", **{"match[]": match, **self.hour()})

    def exemplars(self, expression):
        return [e for series in self.api("query_exemplars", query=expression, **self.hour()) for e in series["exemplars"]]

    @staticmethod
    def hour():
        return {"start": time.time() - 3600, "end": time.time() + 60}


@dataclass
class Stack:
    """The running backends."""

    otlp: str
    grpc: str
    telemetry: str
    jaeger: Jaeger
    prometheus: Prometheus
    out: Path
    sends: dict = field(default_factory=dict)

    def spans(self):
        """Every span that passed the Collector."""
        return [span for message in messages(self.out / "traces.jsonl") for span in spans(message)]

    def points(self):
        """Every metric point that passed the Collector."""
        return [point for message in messages(self.out / "metrics.jsonl") for point in points(message)]

    def wait_until_delivered(self):
        """Waits until each backend and file has all that the Collector accepted. Anything refused is a failure."""
        wanted = {
            "spans": ("otlp_grpc/jaeger", "file/traces"),
            "metric_points": ("otlp_http/prometheus", "file/metrics"),
        }

        def delivered():
            count = self.collector_counters()
            refused = {key: n for key, n in count.items() if n and ("send_failed" in key[0] or "refused" in key[0])}
            assert not refused, f"the Collector could not deliver: {refused}"
            return all(
                count[f"exporter_sent_{signal}", exporter] == count[f"receiver_accepted_{signal}", "otlp"]
                for signal, exporters in wanted.items()
                for exporter in exporters
            ) and (len(self.spans()), len(self.points())) == (
                count["receiver_accepted_spans", "otlp"],
                count["receiver_accepted_metric_points", "otlp"],
            )

        wait_until(delivered, "the Collector to deliver what it accepted", seconds=60)

    def collector_counters(self):
        """The Collector's own counters by name and component."""
        count = Counter()
        for line in request(self.telemetry).decode().splitlines():
            if line.startswith("otelcol_"):
                name, _, rest = line.partition("{")
                labels, _, value = rest.rpartition("} ")
                for label in labels.split(","):
                    key, _, component = label.partition("=")
                    if key in ("exporter", "receiver"):
                        count[name.removeprefix("otelcol_"), component.strip('"')] += int(float(value))
        return count


@dataclass
class Reader:
    """A Collector that follows the files of a folder and writes down what it read in them."""

    into: Path
    out: Path

    def read(self, path):
        """Hands it a file of OTLP/JSON lines; returns the messages it wrote: those of traces, then those of metrics."""
        before = self.written()
        count = sum("resourceMetrics" in line for line in lines(path))
        expected = {"traces": len(lines(path)) - count, "metrics": count}
        # Moved, so that it never sees a part of it.
        part = self.into / f"{path.parent.name}.part"
        part.write_bytes(path.read_bytes())
        part.rename(part.with_suffix(".jsonl"))
        missing = lambda: {s: expected[s] - len(found) + len(before[s]) for s, found in self.written().items()}
        wait_until(lambda: not any(missing().values()), f"{expected} lines of {path} in {self.out}", seconds=20)
        after = self.written()
        return [json.loads(line) for signal in before for line in after[signal][len(before[signal]) :]]

    def written(self):
        return {signal: lines(self.out / f"{signal}.jsonl") for signal in ("traces", "metrics")}


def canonical(message):
    """An OTLP JSON message as sorted text, without the fields that say nothing: writers differ on spelling out defaults."""

    def keep(key, value):
        return value not in ("", "0", 0, [], {}, None) or key.endswith("Value") or key.startswith("as")

    def tidy(value):
        match value:
            case list():
                return [tidy(item) for item in value]
            case dict():
                return {key: inner for key, inner in ((k, tidy(v)) for k, v in value.items()) if keep(key, inner)}
            case float() if value.is_integer():
                return int(value)
            case _:
                return value

    return json.dumps(tidy(message), sort_keys=True, indent=1)

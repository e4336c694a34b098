"""`check` against the real programs: a Collector, Prometheus, Postgres and its roles."""

import json
import os
import subprocess
import time

import pytest
import servers
import support
from conftest import CONFIGS, free_ports

CASE = support.Case("3.1.10", "tools_multi")


@pytest.fixture
def check(tmp_path):
    """Runs `agno-otel check`; returns its exit code, and its findings as `level about: what; fix`."""

    def run(*args, **env):
        done = subprocess.run(
            [support.BINARY, "check", "--json", "--state", str(tmp_path / "state.db"), *map(str, args)],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        findings = json.loads(done.stdout)["findings"]
        return done.returncode, [f"{f['level']} {f['about']}: {f['what']}; {f['fix'] or ''}" for f in findings]

    return run


def has(findings, *words):
    return any(all(word in finding for word in words) for finding in findings)


def test_an_empty_request_is_taken_and_leaves_nothing(check, stack):
    # What a test before this one sent may still be under way.
    stack.wait_until_delivered()
    before = sorted((path.name, path.stat().st_size) for path in stack.out.iterdir())
    for args in [("--endpoint", stack.otlp), ("--endpoint", stack.grpc, "--protocol", "grpc")]:
        code, findings = check(CASE.db, *args)
        assert code == 0, findings
        for signal in ("traces", "metrics"):
            assert has(findings, f"ok endpoint of {signal}", "took an empty request"), findings
    metrics = f"{stack.prometheus.url}/api/v1/otlp/v1/metrics"
    code, findings = check(CASE.db, OTEL_EXPORTER_OTLP_ENDPOINT=stack.otlp, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=metrics)
    assert code == 0 and has(findings, "ok endpoint of metrics", "from OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"), findings
    assert sorted((path.name, path.stat().st_size) for path in stack.out.iterdir()) == before


def test_ports_and_protocols_that_do_not_fit_are_told(check, stack):
    for args, words in [
        (("--endpoint", stack.grpc), "--protocol grpc"),
        (("--endpoint", stack.otlp, "--protocol", "grpc"), "--protocol http/protobuf"),
        (("--endpoint", stack.otlp.replace("http://", "https://")), "http instead of https"),
        (("--endpoint", stack.prometheus.url), "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
    ]:
        code, findings = check(CASE.db, *args)
        assert code == 4 and has(findings, "problem endpoint of metrics", words), findings


def test_a_postgres_role_its_rights_and_missing_indexes_are_told(check, stack):
    server = servers.Postgres(*free_ports(1))
    try:
        server.create("agno")
        with server.connect("agno") as connection:
            connection.execute(
                """CREATE SCHEMA ai;
                CREATE TABLE ai.agno_runs (run_id text PRIMARY KEY, session_id text, status text, run_index bigint,
                    run_data jsonb NOT NULL, created_at bigint, updated_at bigint);
                CREATE INDEX ON ai.agno_runs (session_id, run_index);
                INSERT INTO ai.agno_runs VALUES ('r', 's', 'COMPLETED', 1, '{"run_id": "r"}', 1764000000, 1764000001)"""
            )
        reader = server.reader("agno", "ai", "agno_runs")
        code, findings = check(reader, "--endpoint", stack.otlp)
        assert code == 0, findings
        assert has(findings, "ok source", "1 runs in ai.agno_runs"), findings
        assert has(findings, "ok source", "server version"), findings
        assert has(findings, "ok source", "clock agrees"), findings
        assert has(findings, "ok source", "no superuser"), findings
        assert has(findings, "note source", "no index on created_at", "CREATE INDEX"), findings
        assert not has(findings, "no index on session_id") and not has(findings, "may write"), findings
        with server.connect("agno") as connection:
            connection.execute("GRANT INSERT ON ai.agno_runs TO reader")
        assert has(check(reader, "--endpoint", stack.otlp)[1], "note source", "may write in ai.agno_runs")
        assert has(check(server.url("agno"), "--endpoint", stack.otlp)[1], "note source", "is a superuser")
        nobody = server.reader("agno", "public", role="nobody")
        code, findings = check(nobody, "--endpoint", stack.otlp)
        assert code == 3 and has(findings, "problem source", "GRANT SELECT"), findings
        wrong = server.url("agno", "reader", "wr0ng-s3cret")
        code, findings = check(wrong, "--endpoint", stack.otlp)
        assert code == 3 and has(findings, "problem source", "password") and not has(findings, "wr0ng-s3cret"), findings
    finally:
        server.stop()


@pytest.fixture
def own(programs, tmp_path):
    """Starts a Prometheus of a test's own; its URL."""

    def start(settings, *flags):
        (port,) = free_ports(1)
        (tmp_path / "prometheus.yaml").write_text(settings)
        programs.start(
            f"prometheus-{port}",
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yaml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            *flags,
            ready=f"http://127.0.0.1:{port}/-/ready",
        )
        return f"http://127.0.0.1:{port}"

    return start


def test_what_stands_around_is_well_until_the_same_is_sent_twice(check, stack, send):
    service = {"OTEL_SERVICE_NAME": "checked"}
    around = ("--prometheus", stack.prometheus.url, "--jaeger", stack.jaeger.url)

    def sent():
        assert send(CASE.db, "--endpoint", stack.otlp, **service).returncode == 0

    def findings(code):
        found, findings = check(CASE.db, "--endpoint", stack.otlp, *around, **service)
        assert found == code, findings
        return findings

    before = findings(0)
    assert has(before, "note prometheus", "is not there for job checked"), before
    assert has(before, "note jaeger", "service checked has no traces"), before
    sent()
    support.wait_until(lambda: has(findings(0), "ok prometheus", "of instance"), "the first sending")
    support.wait_until(lambda: has(findings(0), "ok jaeger", "service checked has traces"), "its traces")
    once = findings(0)
    for words in (
        "version 3.",
        "receiver of OTLP is on",
        "out_of_order_time_window is 30m",
        "no more",
        "names are ours",
        "exemplars are kept",
        "no spend is there twice",
    ):
        assert has(once, "ok prometheus", words), once
    sent()
    support.wait_until(
        lambda: stack.prometheus.query('count(count by (instance) (agno_token_usage_total{job="checked"}))')[0][1] == 2,
        "the second sending",
    )
    twice = findings(4)
    assert has(twice, "note prometheus", "2 instances"), twice
    assert has(twice, "problem prometheus", "there more than once"), twice


def test_an_application_that_is_instrumented_itself_is_told(check, stack):
    now = 1_000_000_000 * int(time.time())
    attribute = lambda key, value: {"key": key, "value": {"stringValue": value}}
    span = {"traceId": "0a" * 16, "spanId": "0b" * 8, "name": "Alice.run", "startTimeUnixNano": str(now), "endTimeUnixNano": str(now)}
    scope = {"scope": {"name": "openinference.instrumentation.agno"}, "spans": [span]}
    resource = {"attributes": [attribute("service.name", "instrumented")]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}
    support.request(f"{stack.otlp}/v1/traces", json.dumps(body).encode())
    look = lambda: check(CASE.db, "--endpoint", stack.otlp, "--jaeger", stack.jaeger.url, OTEL_SERVICE_NAME="instrumented")
    told = lambda: has(look()[1], "note jaeger", "openinference.instrumentation.agno", "turn one off")
    support.wait_until(told, "its span to be found")
    assert look()[0] == 0


def test_settings_of_prometheus_that_do_not_fit_are_told(check, stack, own):
    (port,) = free_ports(1)
    url = own(
        "otlp: {translation_strategy: NoTranslation, promote_resource_attributes: [service.name, service.version]}\n"
        f"scrape_configs: [{{job_name: bridge, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n",
        "--storage.tsdb.retention.time=2d",
    )
    code, findings = check(CASE.db, "--endpoint", stack.otlp, "--prometheus", url)
    assert code == 4, findings
    assert has(findings, "problem prometheus", "translation_strategy is NoTranslation"), findings
    for words in ("receiver of OTLP is off", "exemplars are not kept", "out_of_order_time_window is not set", "lacks service.namespace", "has service.version too", "keeps 2d"):
        assert has(findings, "note prometheus", words), findings
    scraped = lambda: check(CASE.db, "--endpoint", stack.otlp, "--prometheus", url, "--metrics", "scrape", "--listen", port)
    support.wait_until(lambda: has(scraped()[1], "problem prometheus", f"cannot scrape http://127.0.0.1:{port}/metrics"), "a scrape")
    assert has(scraped()[1], "problem prometheus", "no honor_labels"), scraped()
    # Metrics that are sent straight to a receiver that is off.
    metrics = f"{url}/api/v1/otlp/v1/metrics"
    code, findings = check(
        CASE.db, "--prometheus", url, OTEL_EXPORTER_OTLP_ENDPOINT=stack.otlp, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=metrics
    )
    assert code == 4 and has(findings, "problem prometheus", "receiver of OTLP is off"), findings


def test_the_settings_of_a_collector_that_runs_are_well(check, stack):
    port = stack.otlp.rsplit(":", 1)[1]
    args = ("--endpoint", stack.otlp, "--collector-config", CONFIGS / "otelcol.yaml")
    code, findings = check(CASE.db, *args, OTELCOL_OTLP_HTTP=f"127.0.0.1:{port}")
    assert code == 0 and has(findings, "ok collector", "where we send to"), findings
    assert has(findings, "ok collector", "otlp_http/prometheus", "one request after the other"), findings
    assert not has(findings, "problem"), findings


def test_traces_that_agno_keeps_in_postgres_are_told(check, stack, postgres):
    postgres.create("traced")
    with postgres.connect("traced") as connection:
        connection.execute(
            """CREATE TABLE agno_runs (run_id text, session_id text, status text, run_index bigint, run_data jsonb,
                created_at bigint, updated_at bigint);
            CREATE TABLE agno_traces (trace_id text, name text, status text, start_time text, end_time text, run_id text,
                session_id text);
            INSERT INTO agno_traces (trace_id) VALUES ('t')"""
        )
    code, findings = check(postgres.url("traced"), "--endpoint", stack.otlp)
    assert code == 0 and has(findings, "note source", "1 traces in public.agno_traces", "turn one off"), findings
    assert has(findings, "note source", "no index on run_id, by which we ask", "CREATE UNIQUE INDEX"), findings
    # Nor is the right to read them needed.
    code, findings = check(postgres.reader("traced", "public", "agno_runs"), "--endpoint", stack.otlp)
    assert code == 0 and not has(findings, "traces itself"), findings

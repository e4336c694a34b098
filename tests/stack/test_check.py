"""`check` against the real programs: a Collector, Prometheus, Postgres and its roles."""

import json
import os
import subprocess

import pytest
import servers
import support
from conftest import free_ports

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

"""Where telemetry goes, and what is said when it cannot."""

import pytest
from conftest import free_ports
from support import Case

CASE = Case("3.1.10", "tools_multi")


def test_the_endpoint_and_the_service_name_default_to_the_standard_variables(send, stack):
    done = send(CASE.db, OTEL_EXPORTER_OTLP_ENDPOINT=stack.otlp)
    assert done.returncode == 0, done.stderr
    stack.wait_until_delivered()
    (run_id,) = CASE.runs()
    assert stack.jaeger.trace(run_id.replace("-", ""), "agno")


@pytest.mark.parametrize("form", ["flag", "variable"])
def test_a_dead_endpoint_is_named(form, send):
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    if form == "flag":
        done = send(CASE.db, "--endpoint", endpoint)
    else:
        done = send(CASE.db, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert done.returncode == 4, done.stderr
    assert f"127.0.0.1:{port}" in done.stderr


def test_an_endpoint_that_speaks_no_otlp_is_named(send, stack):
    endpoint = stack.prometheus.url
    done = send(CASE.db, "--endpoint", endpoint)
    assert done.returncode == 4, done.stderr
    assert endpoint.removeprefix("http://") in done.stderr


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_collector_takes_grpc_and_every_compression(compression, send, stack):
    case, service = Case("3.1.10", "team_run"), f"grpc-{compression}"
    done = send(
        case.db, "--endpoint", stack.grpc, "--protocol", "grpc", "--compression", compression, OTEL_SERVICE_NAME=service
    )
    assert done.returncode == 0, done.stderr
    stack.wait_until_delivered()
    assert len(stack.jaeger.search(service)) == 1
    assert stack.prometheus.spend("agno_token_usage_total", service, by="agno_token_class") == case.bill()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_collector_takes_http_compressed(compression, send, stack):
    case, service = Case("3.1.10", "team_run"), f"http-{compression}"
    done = send(case.db, "--endpoint", stack.otlp, "--compression", compression, OTEL_SERVICE_NAME=service)
    assert done.returncode == 0, done.stderr
    stack.wait_until_delivered()
    assert len(stack.jaeger.search(service)) == 1


def test_a_web_page_is_no_delivery(send, stack):
    """Jaeger's query server answers every path with its page."""
    done = send(CASE.db, "--endpoint", stack.jaeger.url)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "web page" in done.stderr

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

"""What the bridge says of itself, beside what it says of runs."""

import pytest
from support import Case, attributes, messages, wait_until

OWN = "agno-otel"
CASES = {"http/protobuf": Case("3.1.10", "team_run"), "grpc": Case("3.1.10", "workflow_run")}


@pytest.mark.parametrize("protocol", CASES)
def test_the_bridges_trace_is_found_by_the_runs_id_beside_the_runs(protocol, send, stack):
    case, service = CASES[protocol], f"observed-{protocol.replace('/', '-')}"
    endpoint = stack.grpc if protocol == "grpc" else stack.otlp
    done = send(case.db, "--observe", "--endpoint", endpoint, "--protocol", protocol, OTEL_SERVICE_NAME=service)
    assert (done.returncode, done.stderr) == (0, "")
    stack.wait_until_delivered()
    (run_id,) = {id for id, run in case.runs().items() if not run.get("parent_run_id")}

    (run_trace,) = stack.jaeger.search(service, agno__run__id=run_id)
    (own_trace,) = stack.jaeger.search(OWN, agno__run__id=run_id)
    assert own_trace != run_trace

    spans = {span.id: span for span in stack.jaeger.trace(own_trace, OWN)}
    (seen,) = (span for span in spans.values() if span.name == "trace")
    assert [link["traceId"] for link in seen.json["links"]] == [run_trace]
    path = [seen.name]
    while spans[seen.id].parent:
        seen = spans[seen.parent]
        path.append(seen.name)
    assert path == ["trace", "request", "send"]
    assert {span.name for span in spans.values()} == {"send", "read", "request", "trace", "attempt"}
    attempts = [span.attributes for span in spans.values() if span.name == "attempt"]
    assert {attempt["agno_otel.outcome"] for attempt in attempts} == {"delivered"}


def test_the_bridges_counters_and_logs_arrive_as_its_own(send, stack):
    case = CASES["http/protobuf"]
    done = send(case.db, "--observe", "--endpoint", stack.otlp, OTEL_SERVICE_NAME="observed-counted")
    assert (done.returncode, done.stderr) == (0, "")
    stack.wait_until_delivered()
    series = stack.prometheus.query(f'agno_otel_attempts_total{{job="{OWN}"}}')
    assert {labels["agno_otel_signal"] for labels, _ in series} == {"traces", "metrics"}
    assert not stack.prometheus.query(f'{{__name__=~"agno_token.*|agno_bridge.*", job="{OWN}"}}')

    def logs():
        return [log for message in messages(stack.out / "logs.jsonl") for log in message["resourceLogs"]]

    wait_until(logs, "logs to pass the Collector")
    assert {attributes(log["resource"])["service.name"] for log in logs()} == {OWN}

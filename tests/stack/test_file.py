"""What `send --to otlp-json:FILE` writes is what a Collector writes, and a Collector can read it."""

from collections import Counter

import pytest
from support import CASES, Case, canonical, lines, messages, points, spans

# Plain, nested, with cache classes, with a 200 kB answer, and with values that are no JSON.
NAMES = ["tools_multi", "team_run", "workflow_run", "anthropic", "unicode_large", "nan_values", "surrogate"]


def write(send, case, tmp_path, **env):
    path = tmp_path / "out.jsonl"
    done = send(case.db, "--to", f"otlp-json:{path}", **env)
    assert done.returncode == 0, done.stderr
    return path


def by_kind(written):
    """The messages as text, the traces' first: the Collector reads each signal in its own pipeline."""
    return [canonical(message) for message in sorted(written, key=lambda message: "resourceMetrics" in message)]


@pytest.mark.parametrize("name", NAMES)
def test_a_collector_reads_every_line_and_writes_the_same(name, send, reader, tmp_path):
    path = write(send, Case("3.1.10", name), tmp_path)
    ours = messages(path)
    assert {kind for message in ours for kind in message} == {"resourceSpans", "resourceMetrics"}
    assert by_kind(reader.read(path)) == by_kind(ours)


def test_a_collector_reads_the_lines_of_all_databases_in_one_file(send, reader, tmp_path):
    """So much that it takes lines of the largest size the receiver reads."""
    path = tmp_path / "out.jsonl"
    done = send(*(case.db for case in CASES), "--to", f"otlp-json:{path}")
    assert done.returncode == 0, done.stderr
    sizes = [len(line) for line in lines(path)]
    assert sum(sizes) > 2_000_000 and max(sizes) > 500_000, sizes
    assert by_kind(reader.read(path)) == by_kind(messages(path))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_holds_what_is_sent_to_an_endpoint(name, send, sent, tmp_path):
    """The same spans, and the same values in the same series. The bridge's own metrics tell the two apart."""
    case = Case("3.1.10", name)
    written = messages(write(send, case, tmp_path, OTEL_SERVICE_NAME=case.service))

    def texts(found):
        return Counter(canonical(span.json) for span in found)

    def values(found):
        return Counter(
            (point.kind, point.name, point.attributes, point.value)
            for point in found
            if not point.name.startswith("agno.bridge.")
        )

    file_spans = [span for message in written for span in spans(message)]
    assert file_spans
    assert texts(file_spans) == texts(span for span in sent.spans() if span.service == case.service)
    file_points = [point for message in written for point in points(message)]
    assert file_points
    assert values(file_points) == values(point for point in sent.points() if point.service == case.service)

"""What `send --to otlp-json:FILE` writes is what a Collector writes, and a Collector can read it."""

import json
from collections import Counter

import pytest
from support import Case, canonical, lines, messages, points, spans

# Plain, nested, with cache classes, with a 200 kB answer, and with values that are no JSON.
NAMES = ["tools_multi", "team_run", "workflow_run", "anthropic", "unicode_large", "nan_values", "surrogate"]


def write(send, case, tmp_path, **env):
    path = tmp_path / "out.jsonl"
    done = send(case.db, "--to", f"otlp-json:{path}", **env)
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_collector_reads_every_line_and_writes_the_same(name, send, reader, tmp_path):
    path = write(send, Case("3.1.10", name), tmp_path)
    kinds = Counter()
    for line in lines(path):
        ours = json.loads(line)
        theirs = reader.read(line)
        assert canonical(ours) == canonical(theirs)
        kinds.update(ours.keys())
    assert kinds.keys() == {"resourceSpans", "resourceMetrics"}


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

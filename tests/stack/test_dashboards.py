"""The dashboards as they are exported, on real backends fed by agno-otel: each picture shows something, each variable works."""

import json
import math
import re

import pytest
import support
import watched
from support import parts_of
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.models import dashboard as schema

NAMES = ("spend", "runs")
# How Grafana fills in what is shown; the whole of a test fits into it.
BUILT_IN = {"__range": "10m", "__interval": "1m", "__rate_interval": "4m"}
SECONDS, STEP = 600, 5
# Numbers of which nothing is right too, if they are there.
MAY_BE_NONE = {"Tokens taken back", "Spans not taken", "Spans not taken, by reason", "Values folded into other", "Spans wait"}


@pytest.fixture(scope="module")
def fed(stack, tmp_path_factory):
    """A bridge that has counted and sent runs of every kind, and goes on."""
    own = watched.Watched(tmp_path_factory.mktemp("watched"), stack.otlp)
    watched.feed(own)
    own.start(*(case.db for case in watched.CASES))
    own.once("send", *(case.db for case in watched.OVER))
    jobs = f'{{job="{watched.JOB}"}}'

    def wait(expression, label, wanted):
        has = lambda: {labels.get(label) for labels, _ in stack.prometheus.query(expression)}
        support.wait_until(lambda: wanted <= has(), f"{wanted} of {expression}", 60)

    wait(f"agno_runs_total{jobs} > 0", "gen_ai_agent_name", {"Writer", "My Team", "Basic Agent"})
    wait(f"agno_session_tokens_count{jobs} > 0", "job", {watched.JOB})
    wait(f"agno_bridge_dropped_total{jobs}", "agno_bridge_reason", {"refused", "rejected"})
    wait(f"agno_budget_usage{jobs} > 0", "agno_budget_name", {"writing", "all"})
    yield own
    own.end()


@pytest.fixture(scope="module")
def boards(fed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboards")
    fed.export("dashboards", folder)
    assert {path.stem for path in folder.iterdir()} == set(NAMES)
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in NAMES}


def panels(board):
    """All but the rows, those of closed rows too."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def filled(expression, **variables):
    """As Grafana sends it; what is chosen by default is everything."""
    values = {**BUILT_IN, "job": ".*", "environment": ".*", "agent": ".*", "model": ".*", **variables}
    text = re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)
    assert "$" not in re.sub(r'"\$1"', "", text), text
    return text


def label_replaced(expression, **variables):
    # $1 is label_replace's own.
    return filled(expression.replace('"$1"', "<own>"), **variables).replace("<own>", '"$1"')


def found(prometheus, panel, target, **variables):
    """Pairs of labels and values that are numbers."""
    expression = label_replaced(target["expr"], **variables)
    if target["range"]:
        result = prometheus.query_range(expression, SECONDS, STEP)
    else:
        result = [(labels, [value]) for labels, value in prometheus.query(expression)]
    finite = [(labels, [value for value in values if math.isfinite(value)]) for labels, values in result]
    return [(labels, values) for labels, values in finite if values]


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_what_the_schema_says(name, boards):
    plugins.register_default_plugins()
    board = boards[name]
    parsed = schema.Dashboard.from_json(board)
    assert parsed.title == board["title"] and len(parsed.panels) == len(board["panels"])
    ids = [panel["id"] for panel in board["panels"]] + [panel["id"] for row in board["panels"] for panel in row.get("panels", [])]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in panels(board):
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        assert x + w <= 24, panel["title"]
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert not cells & taken, f"{panel['title']} lies on another"
        taken |= cells
        # The way back from what Python knows of a panel to JSON loses nothing that was said.
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_shows_something(name, boards, fed, stack):
    empty, zero = [], []
    for panel in panels(boards[name]):
        for target in panel["targets"]:
            values = found(stack.prometheus, panel, target)
            where = f"{panel['title']} {target['refId']}: {label_replaced(target['expr'])}"
            if not values:
                empty.append(where)
            elif not any(any(own) for _, own in values) and panel["title"] not in MAY_BE_NONE:
                zero.append(where)
    assert not empty, "\n".join(empty)
    assert not zero, "\n".join(zero)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_grouped_by_is_there(name, boards, fed, stack):
    for panel in panels(boards[name]):
        for target in panel["targets"]:
            expression = label_replaced(target["expr"])
            for part in stack.prometheus.parts(expression):
                if part["type"] == "aggregation":
                    assert_labels(stack.prometheus, part, f"{panel['title']}: {expression}")
            # A legend names labels that the result has.
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            for labels, _ in found(stack.prometheus, panel, target):
                wanted -= labels.keys()
            assert not wanted, f"{panel['title']} has no {wanted}"


def assert_labels(prometheus, aggregation, where):
    """Each series that is summed up is of a metric that has the labels it is summed up by."""
    for part in parts_of(aggregation):
        if part["type"] in ("vectorSelector", "matrixSelector"):
            known = set().union(*prometheus.series(f'{part["name"]}{{job="{watched.JOB}"}}'))
            missing = set(aggregation["grouping"]) - known
            assert not missing, f"{part['name']} has no {missing} ({where})"


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_offers_what_is_there_and_chooses_by_it(name, boards, fed, stack):
    expected = {
        "job": ("agno_runs_total", {watched.JOB}),
        "environment": ("agno_runs_total", {"test"}),
        "agent": ("agno_runs_total", {"Writer", "My Team", "Basic Agent"}),
        "model": ("agno_token_usage_total", {"gpt-4o", "gpt-mock"}),
    }
    variables = {variable["name"]: variable for variable in boards[name]["templating"]["list"]}
    assert variables["job"]["current"]["value"] == [watched.JOB], "it is made for one service"
    for variable, (metric, wanted) in expected.items():
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variables[variable]["query"]["query"])
        offered = {labels.get(asked[2]) for labels in stack.prometheus.series(filled(asked[1]))}
        assert wanted <= offered, variable
        assert asked[1].startswith(metric)
    total = next(panel for panel in panels(boards[name]) if panel["title"] in ("Tokens", "Runs"))
    of = lambda **chosen: found(stack.prometheus, total, total["targets"][0], job=watched.JOB, **chosen)[0][1][0]
    assert 0 < of(agent="Writer") < of()
    assert of(environment="test") == of()
    assert not found(stack.prometheus, total, total["targets"][0], job="nobody")


def test_spent_is_what_was_spent(boards, fed, stack):
    """To the token, and to the nano-dollar: gpt-4o costs 2.5 dollars a million."""
    of = lambda title, **chosen: next(
        found(stack.prometheus, panel, panel["targets"][0], job=watched.JOB, **chosen)[0][1][0]
        for panel in panels(boards["spend"])
        if panel["title"] == title
    )
    # 70 calls of 7142 tokens.
    writer = 5_000 + 400_000 + 499_940 + 900
    assert of("Tokens", agent="Writer") == writer
    assert of("Spent", agent="Writer", model="gpt-4o") == pytest.approx(writer * 2.5e-6, abs=1e-9)


def test_marks_lead_to_runs_in_jaeger(boards, fed, stack):
    (panel,) = (panel for panel in panels(boards["runs"]) if panel["title"] == "Time of runs")
    assert panel["targets"][0]["exemplar"]
    traces = {mark["labels"]["trace_id"] for mark in stack.prometheus.exemplars(filled(panel["targets"][0]["expr"], job=watched.JOB))}
    assert traces & stack.jaeger.search(watched.SERVICE)


@pytest.mark.parametrize("name", NAMES)
def test_links_search_jaeger_by_attributes_that_find_runs(name, boards, fed, stack):
    """A link in a table, filled in with each of its rows, finds traces."""
    seen = set()
    for panel in panels(boards[name]):
        for override in panel["fieldConfig"]["overrides"]:
            links = [own["value"][0]["url"] for own in override["properties"] if own["id"] == "links"]
            for url in links:
                (attribute,) = re.findall(r"%7B%22([\w.]+)%22%3A%22", url)
                label = attribute.replace(".", "_")
                for labels, values in found(stack.prometheus, panel, panel["targets"][0], job=watched.JOB):
                    # What a member or a role did not do itself has no span.
                    if labels.get(label) and any(values):
                        traces = stack.jaeger.search(labels["service"], **{attribute.replace(".", "__"): labels[label]})
                        assert traces, f"{panel['title']}: {attribute}={labels[label]}"
                        seen.add(attribute)
    assert seen >= {"gen_ai.agent.name"}

"""The metrics in Prometheus say exactly what the providers billed."""

import json
from collections import Counter

import pytest
from support import CASES, CLASSES, FIXTURES, Case

# These are exact, whatever TOTALS.json says of them: Agno's own sums are wrong after a fork and for Gemini.
NAMED = {
    *(Case("3.1.10", name) for name in ("regenerate", "fork_session")),
    *(
        Case(version, name)
        for version in ("2.5.17", "3.1.10")
        for name in (
            *("tools_multi", "history", "anthropic", "gemini", "openai_responses", "team_run", "workflow_run"),
            *("paused_continued", "reasoning_native", "audio", "cost"),
        )
    ),
}


def recorded_in_full(case):
    """Whether Agno recorded all the provider billed, and more than nothing."""
    totals = json.loads((FIXTURES / case.version / "TOTALS.json").read_text()).get(case.name, {})
    truth = totals.get("provider_truth")
    return bool(truth and truth["total_tokens"] and truth == totals["unique_runs_sum"])


EXACT = sorted(NAMED | {case for case in CASES if recorded_in_full(case)}, key=lambda case: case.service)


def named(case):
    return case.service


@pytest.mark.parametrize("case", EXACT, ids=named)
def test_tokens_by_class_are_the_bill(case, sent):
    assert sent.prometheus.spend("agno_token_usage_total", case.service, by="agno_token_class") == case.bill()


@pytest.mark.parametrize("name", ["legacy_2.0.2_opened_unmigrated", "legacy_2.0.2_migrated"])
def test_a_2x_database_in_use_by_3x_is_billed_once(name, sent):
    """The runs that 2.0.2 wrote, and one more by 3.1.10."""
    case = Case("3.1.10", name)
    before, after = Case("2.0.2", "history").bill(), case.bill()
    expected = {token_class: before[token_class] + after[token_class] for token_class in CLASSES}
    assert sent.prometheus.spend("agno_token_usage_total", case.service, by="agno_token_class") == expected


@pytest.mark.parametrize("case", EXACT, ids=named)
def test_standard_counters_agree_with_the_classes(case, sent):
    bill = case.bill()
    prefix = "gen_ai_client_inference_usage_"
    expected = {
        "input_tokens": bill["input"] + bill["cache_read"] + bill["cache_write"],
        "output_tokens": bill["output"] + bill["reasoning"],
        "cache_read_input_tokens": bill["cache_read"],
        "cache_write_input_tokens": bill["cache_write"],
        "reasoning_output_tokens": bill["reasoning"],
    }
    actual = {
        name: sent.prometheus.spend(f"{prefix}{name}_total", case.service).get(case.service, 0) for name in expected
    }
    assert actual == expected


@pytest.mark.parametrize("version", ["2.0.2", "2.5.17", "3.1.10"])
def test_sessions_and_runs_are_counted(version, sent):
    case = Case(version, "history")
    assert sent.prometheus.spend("agno_runs_total", case.service) == {case.service: 3}
    assert sent.prometheus.spend("agno_session_started_total", case.service) == {case.service: 1}
    assert sent.prometheus.spend("agno_session_tokens_count", case.service) == {case.service: 1}
    assert sent.prometheus.spend("agno_session_tokens_sum", case.service) == {case.service: sum(case.bill().values())}


def test_latency_histograms_answer_quantiles(sent):
    case = Case("3.1.10", "tools_multi")
    buckets = f'last_over_time(gen_ai_client_inference_duration_seconds_bucket{{job="{case.service}"}}[1h])'
    ((_, quantile),) = sent.prometheus.query(f"histogram_quantile(0.9, sum by (le) ({buckets}))")
    assert 0 < quantile < 1
    calls = sent.prometheus.spend("gen_ai_client_inference_duration_seconds_count", case.service)
    assert calls == {case.service: len(case.calls())}


@pytest.mark.parametrize("name", ["tools_multi", "team_run", "workflow_run"])
def test_an_exemplar_leads_to_a_span_in_jaeger(name, sent):
    case = Case("3.1.10", name)
    exemplars = sent.prometheus.exemplars(f'agno_token_usage_total{{job="{case.service}"}}')
    assert exemplars
    for exemplar in exemplars:
        trace, span = exemplar["labels"]["trace_id"], exemplar["labels"]["span_id"]
        assert span in {s.id for s in sent.jaeger.trace(trace, case.service)}


def test_no_two_series_collide_in_prometheus(sent):
    """As many series as were sent, of each kind and for each service."""
    counted = {"_total": "sum", "_count": "histogram"}
    sent_series = {point.series: point.service for point in sent.points()}
    expected = Counter((service, kind) for (kind, *_), service in sent_series.items())

    stored = Counter()
    for series in sent.prometheus.series('{__name__=~"(agno|gen_ai)_.+", __name__!~".+_(bucket|sum)"}'):
        name = series["__name__"]
        stored[series["service_name"], counted.get(name[name.rfind("_") :], "gauge")] += 1
    assert stored == expected
    assert {kind for _, kind in stored} >= {"sum", "histogram"}


def test_each_invocation_is_an_instance_of_its_own(sent):
    instances = {}
    for point in sent.points():
        instances.setdefault(dict(point.resource)["service.instance.id"], set()).add(point.service)
    shared = {instance: services for instance, services in instances.items() if len(services) > 1}
    assert not shared
    assert len(instances) >= len(EXACT)


def test_all_classes_of_an_agent_and_model_are_born_together(sent):
    families = {}
    for point in sent.points():
        if point.name == "agno.token.usage":
            labels = dict(point.attributes)
            token_class = labels.pop("agno.token.class")
            families.setdefault((point.resource, frozenset(labels.items())), set()).add(token_class)
    assert families
    assert {frozenset(classes) for classes in families.values()} == {frozenset(CLASSES)}

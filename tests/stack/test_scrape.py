"""`/metrics`, scraped by a real Prometheus: the same series as by OTLP, and the same spend."""

import json

import pytest
import support
from bridge import TOKEN, Bridge
from conftest import free_ports
from prometheus_client.openmetrics.parser import text_string_to_metric_families

CASES = [support.Case("3.1.10", name) for name in ("tools_multi", "history", "team_run", "workflow_run", "reasoning_native")]
# What Prometheus adds, and what tells one process from another.
OWN = {"instance", "service_instance_id", "job", "service_name"}


@pytest.fixture(scope="module")
def scraper(programs, tmp_path_factory):
    """A Prometheus that scrapes, and the address it scrapes at."""
    folder = tmp_path_factory.mktemp("scraper")
    web, target = free_ports(2)
    (folder / "prometheus.yaml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: agno-otel\n"
        "    honor_labels: true\n"
        f"    authorization: {{credentials: {TOKEN}}}\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    )
    programs.start(
        "scraper",
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{web}",
        "--enable-feature=exemplar-storage",
        ready=f"http://127.0.0.1:{web}/-/ready",
    )
    return support.Prometheus(f"http://127.0.0.1:{web}"), f"127.0.0.1:{target}"


def runs(case):
    """The runs of a case as Agno wrote them, one a line."""
    return "\n".join(json.dumps(run) for run in case.runs().values()).encode()


def series(prometheus, job):
    """Every series of ours, without what differs from process to process."""
    found = set()
    for labels in prometheus.series(f'{{__name__=~"(agno|gen_ai)_.+", job="{job}"}}'):
        if "le" in labels and labels["le"] != "+Inf":
            labels["le"] = float(labels["le"])
        found.add(frozenset((name, value) for name, value in labels.items() if name not in OWN))
    return found


def test_a_scrape_is_the_spend_and_the_series_are_those_of_otlp(scraper, stack, tmp_path):
    prometheus, target = scraper
    bill = {token_class: sum(case.bill()[token_class] for case in CASES) for token_class in support.CLASSES}
    with (
        Bridge(tmp_path, "sent", stack.otlp) as sent,
        Bridge(tmp_path, "scraped", stack.otlp, "--metrics", "scrape", listen=target) as scraped,
    ):
        for case in CASES:
            for bridge in (sent, scraped):
                answered = json.loads(bridge.ask("/v1/runs", runs(case))[1])
                assert answered["accepted"] and not answered["rejected"], answered
            # What was taken and shown outlives a kill.
            scraped.kill()
            scraped.start()
        by_class = dict(metric="agno_token_usage_total", by="agno_token_class")
        for ours, job in ((stack.prometheus, "sent"), (prometheus, "scraped")):
            try:
                support.wait_until(lambda: ours.spend(job=job, **by_class) == bill, job)
            except TimeoutError:
                pass  # The comparison says more.
            assert ours.spend(job=job, **by_class) == bill
        for metric in ("agno_runs_total", "agno_session_started_total", "gen_ai_invoke_agent_duration_seconds_count"):
            expected = stack.prometheus.spend(metric, "sent")["sent"]
            assert prometheus.spend(metric, "scraped") == {"scraped": expected}, metric
        by_otlp, by_scrape = series(stack.prometheus, "sent"), series(prometheus, "scraped")
        # How requests went is another matter for each.
        of_bridge = lambda all: {one for one in all if not dict(one)["__name__"].startswith("agno_bridge_")}
        assert of_bridge(by_otlp) == of_bridge(by_scrape)
        assert prometheus.exemplars('agno_token_usage_total{job="scraped"}')
        assert not [point for point in stack.points() if point.service == "scraped"], "metrics were sent too"
        assert prometheus.query('min(up{job="agno-otel"})') and "WARN" not in scraped.said()


def test_the_text_is_openmetrics_by_its_own_parser(stack, tmp_path):
    with Bridge(tmp_path, "parsed", stack.otlp, "--metrics", "scrape") as bridge:
        for case in CASES:
            bridge.ask("/v1/runs", runs(case))
        spent = lambda families: sum(s.value for s in families["agno_token_usage"].samples) if "agno_token_usage" in families else 0

        def families():
            headers, text = bridge.ask("/metrics")
            assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
            return {family.name: family for family in text_string_to_metric_families(text.decode())}

        support.wait_until(lambda: spent(families()) == sum(sum(case.bill().values()) for case in CASES), "the spend")
        found = families()
        assert found["agno_token_usage"].type == "counter"
        assert found["gen_ai_invoke_agent_duration_seconds"].type == "histogram"
        assert found["gen_ai_invoke_agent_duration_seconds"].unit == "seconds"

"""The alerts as they are exported: each fires and is silent where it should (alerts_test.yml), asks for what is sent, and two of
them all the way: real tokens, agno-otel, Prometheus, rule, Alertmanager, webhook, and the search in Jaeger that they name."""

import http.server
import json
import re
import subprocess
import threading
import urllib.parse
from collections import Counter

import pytest
import support
import watched
from conftest import BIN, free_ports

SHIPPED = support.REPO / "collector-config"
PATIENCE_SECONDS = 60


class Webhook(http.server.ThreadingHTTPServer):
    """Keeps the alerts that it is told of."""

    def __init__(self):
        self.told = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def firing(self):
        return [alert for group in list(self.told) for alert in group["alerts"] if alert["status"] == "firing"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def webhook():
    made = Webhook()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def watching(programs, webhook, tmp_path):
    """Starts a Prometheus with these rules and an Alertmanager behind it; the latter first, for what is said to nobody is lost."""
    started = []

    def start(rules):
        web, alertmanager = map("127.0.0.1:{}".format, free_ports(2))
        (tmp_path / "alertmanager.yaml").write_text(
            "route: {receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 4h}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{webhook.url}', send_resolved: true}}]}}]\n"
        )
        (tmp_path / "rules.yml").write_text(rules)
        subprocess.run([BIN / "amtool", "check-config", tmp_path / "alertmanager.yaml"], check=True, capture_output=True)
        (tmp_path / "prometheus.yaml").write_text(support.shipped_prometheus(tmp_path / "rules.yml", alertmanager))
        started.append(
            programs.start(
                "alertmanager",
                "alertmanager",
                f"--config.file={tmp_path / 'alertmanager.yaml'}",
                f"--storage.path={tmp_path / 'alertmanager'}",
                f"--web.listen-address={alertmanager}",
                "--cluster.listen-address=",
                ready=f"http://{alertmanager}/-/ready",
            )
        )
        started.append(
            programs.start(
                "alerting-prometheus",
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yaml'}",
                f"--storage.tsdb.path={tmp_path / 'prometheus'}",
                f"--web.listen-address={web}",
                "--web.enable-otlp-receiver",
                "--rules.alert.resend-delay=2s",
                ready=f"http://{web}/-/ready",
            )
        )
        prometheus = support.Prometheus(f"http://{web}")
        support.wait_until(lambda: prometheus.api("alertmanagers")["activeAlertmanagers"], "Alertmanager to be found")
        return prometheus

    yield start
    for program in reversed(started):
        programs.end(program)


def promtool(*arguments):
    done = subprocess.run([BIN / "promtool", *map(str, arguments)], capture_output=True, text=True, cwd=SHIPPED)
    assert done.returncode == 0, done.stdout + done.stderr


def alerts(rules):
    return re.findall(r"(?m)^      - alert: (\w+)$", rules)


def test_the_rules_are_sound_and_each_alert_fires_and_is_silent():
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")
    tests = (SHIPPED / "alerts_test.yml").read_text()
    for alert in alerts((SHIPPED / "alerts.yml").read_text()):
        fires = re.search(rf"alertname: {alert}\n +exp_alerts:\n", tests)
        assert fires, f"no test in which {alert} fires"
        assert re.search(rf"eval_time: \w+, alertname: {alert}\}}", tests), f"no test in which {alert} is silent"


def test_rules_that_never_fire_fail_their_tests(tmp_path):
    """So the tests see what the rules say."""
    rules = (SHIPPED / "alerts.yml").read_text()
    broken, count = re.subn(r"(- alert: \w+\n        expr: \|-\n)(?:          .*\n)+", r"\1          vector(0) > 1\n", rules)
    assert count == len(alerts(rules))
    (tmp_path / "alerts.yml").write_text(broken)
    (tmp_path / "alerts_test.yml").write_text((SHIPPED / "alerts_test.yml").read_text())
    done = subprocess.run([BIN / "promtool", "test", "rules", tmp_path / "alerts_test.yml"], capture_output=True, text=True)
    failed = set(re.findall(r"alertname: (\w+), time", done.stdout + done.stderr))
    assert failed == set(alerts(rules)) and done.returncode != 0


def test_every_rule_asks_for_what_is_sent(watching, tmp_path):
    """Each series that a rule names is in a real Prometheus, with the labels that it selects and sums up by."""
    prometheus = watching("groups: []\n")
    own = watched.Watched(tmp_path, "http://127.0.0.1:9")
    own.config.write_text(own.config.read_text() + f'[otlp.metrics]\nendpoint = "{prometheus.url}/api/v1/otlp/v1/metrics"\n')
    watched.feed(own)
    own.start(*(case.db for case in watched.CASES))
    try:
        jobs = f'job="{watched.JOB}"'
        support.wait_until(lambda: prometheus.query(f'agno_runs_total{{{jobs},gen_ai_workflow_name="My Workflow"}} > 0'), own.log)
        support.wait_until(lambda: prometheus.query(f"agno_budget_usage{{{jobs}}} > 0"), own.log)
        rules = own.export("alerts", "--model", "gpt-5*")
        expressions = re.findall(r"expr: \|-\n((?:          .*\n)+)", rules)
        assert len(expressions) == len(alerts(rules)) + 1
        # Nobody takes spans, so that none was delivered; what is recorded is not recorded here.
        absent = {"agno_bridge_dropped_total", "agno:token_usage:moved1h"}
        names = set()
        for expression in expressions:
            for part in prometheus.parts(expression):
                if part["type"] not in ("vectorSelector", "matrixSelector"):
                    continue
                assert any((own["name"], own["value"]) == ("job", watched.JOB) for own in part["matchers"]), expression
                names.add(part["name"])
                matchers = [f"{own['name']}{own['type']}{json.dumps(own['value'])}" for own in part["matchers"]]
                selector = "{" + ",".join(matchers) + "}"
                assert part["name"] in absent or prometheus.series(selector), f"{selector} of {expression}"
        assert absent < names and len(names) >= 15, names
    finally:
        own.end()


def test_a_budget_and_a_runaway_session_reach_a_webhook_once_and_name_the_runs(watching, webhook, stack, tmp_path):
    """From tokens to a person, through a kill of agno-otel in between."""
    own = watched.Watched(
        tmp_path,
        stack.otlp,
        # A run of 3,000 tokens of gpt-4o costs 0.0075 dollars.
        watched.CONFIG.replace('name = "watched"', 'name = "alerted"')
        .replace("10 USD", "0.0075 USD", 1)
        .replace('limit = "10 USD"', 'limit = "0.0075 USD"')
        .replace('"1000 tokens", "100000 tokens", "1 USD", "0.0075 USD"', '"2500 tokens"'),
    )
    assert 'thresholds = ["2500 tokens"]' in own.config.read_text() and 'limit = "0.0075 USD"' in own.config.read_text()
    prometheus = watching(own.export("alerts"))
    own.config.write_text(own.config.read_text() + f'[otlp.metrics]\nendpoint = "{prometheus.url}/api/v1/otlp/v1/metrics"\n')
    job = 'job="shop/alerted"'
    value = lambda metric: dict((labels.get("agno_budget_name"), own) for labels, own in prometheus.query(f"{metric}{{{job}}}"))
    expected = {"AgnoBudgetSpent", "AgnoRunawaySession"}
    ours = lambda: [alert for alert in webhook.firing() if alert["labels"]["alertname"] in expected]

    own.add(support.run_line("quiet", 400), support.run_line("runaway", 600))
    own.start()
    try:
        support.wait_until(lambda: value("agno_budget_utilization_ratio").get("writing") == 1000 / 3000, own.log, PATIENCE_SECONDS)
        assert not webhook.firing()
        # The run that passes the threshold, and spends the budget.
        own.add(support.run_line("runaway", 2000))
        support.wait_until(
            lambda: {alert["labels"]["alertname"] for alert in ours()} == expected, "both alerts at the webhook", PATIENCE_SECONDS
        )
        own.end(kill=True)
        own.add(support.run_line("runaway", 500))
        own.start()
        support.wait_until(lambda: value("agno_budget_utilization_ratio").get("writing") == 3500 / 3000, own.log, PATIENCE_SECONDS)
        told = Counter((alert["labels"]["alertname"], alert["fingerprint"], alert["startsAt"]) for alert in ours())
        assert len(told) == 2, f"each began once: {told}"
    finally:
        own.end()
    by_name = {alert["labels"]["alertname"]: alert for alert in ours()}
    budget, session = by_name["AgnoBudgetSpent"], by_name["AgnoRunawaySession"]
    assert budget["labels"] == {"alertname": "AgnoBudgetSpent", "severity": "critical", "job": "shop/alerted", "agno_budget_name": "writing"}
    assert budget["annotations"]["summary"] == "Budget writing of shop/alerted is spent: 100%"
    assert session["annotations"]["summary"] == "A session of Writer of shop/alerted passed 2500 tokens"
    assert budget["annotations"]["search"] == 'Jaeger: service alerted gen_ai.agent.name="Writer"'
    assert session["annotations"]["search"] == 'Jaeger: service alerted agno.session.threshold.tokens="2500"'
    # The search that the alert names finds the run: the one of three that passed it, and all that spent the budget.
    stack.wait_until_delivered()
    of_session = [stack.jaeger.trace(trace, "alerted") for trace in searched(stack, session)]
    assert [span.attributes["gen_ai.conversation.id"] for trace in of_session for span in trace if not span.parent] == ["runaway"]
    assert len(searched(stack, budget)) == 4


def searched(stack, alert):
    """The traces behind the address that an alert gives."""
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(alert["annotations"]["jaeger"]).query))
    tags = {name.replace(".", "__"): value for name, value in json.loads(query.get("tags", "{}")).items()}
    return stack.jaeger.search(query["service"], **tags)

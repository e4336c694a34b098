//! `check` looks at what stands around: a Collector's settings, Prometheus, Jaeger, and files that are not everybody's.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::check::{about, check, has, listing};
use crate::following::{Place, TEAM, add_copy, follow, stop, wait_until};
use crate::support::program::{Ended, run};
use crate::support::receiver::{Answer, Receiver};

/// A place with a receiver, a database and no state yet.
struct Around {
    place: Place,
    receiver: Receiver,
}

impl Around {
    fn new() -> Self {
        Self { place: Place::of(TEAM), receiver: Receiver::start() }
    }

    fn check(&self, args: &[&str]) -> Command {
        let mut command = check(&self.receiver.url(), &self.place.state(), &[&self.place.database]);
        command.args(args);
        command
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.place.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The findings about a Collector with these settings.
    fn collector(&self, code: u8, settings: &str, args: &[&str]) -> Vec<String> {
        let path = self.file("collector.yaml", settings);
        let args = [&["--collector-config", path.to_str().unwrap()], args].concat();
        about(&run(&mut self.check(&args)).expect_code(i32::from(code)), "collector")
    }
}

/// Settings of a Collector, with an exporter and processors of metrics.
fn collector(exporter: &str, processors: &str) -> String {
    format!(
        "receivers:\n  otlp: {{protocols: {{http: , grpc: {{endpoint: 0.0.0.0:4317}}}}}}\nexporters:\n  {exporter}\n  \
         otlp_grpc/jaeger: {{sending_queue: {{storage: file_storage}}, retry_on_failure: {{max_elapsed_time: 0s}}}}\n\
         service:\n  pipelines:\n    traces: {{receivers: [otlp], exporters: [otlp_grpc/jaeger]}}\n    \
         metrics: {{receivers: [otlp], processors: [{processors}], exporters: [{}]}}\n",
        exporter.split(": ").next().unwrap()
    )
}

#[test]
fn the_collectors_settings_that_are_shipped_have_no_problem() {
    let around = Around::new();
    let shipped = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("collector-config").join(name);
    for names in
        [&["minimal.yaml"][..], &["jaeger-prometheus.yaml"], &["jaeger-prometheus.yaml", "queue.yaml"]]
    {
        let mut command = around.check(&["--observe"]);
        for name in names {
            command.arg("--collector-config").arg(shipped(name));
        }
        let findings = about(&run(&mut command).expect_code(0), "collector");
        has(&findings, "ok", &["was read"]);
        // The test's port is another; the files say 4318.
        let amiss: Vec<_> = findings
            .iter()
            .filter(|finding| !finding.starts_with("ok") && !finding.contains("4318"))
            .collect();
        if names.contains(&"queue.yaml") {
            assert!(amiss.is_empty(), "{amiss:#?}");
        }
        assert!(amiss.iter().all(|finding| finding.starts_with("note")), "{amiss:#?}");
    }
}

#[test]
fn a_collector_that_reorders_points_is_told_by_its_line() {
    let around = Around::new();
    let exporter = |queue: &str| collector(&format!("otlp_http/prometheus: {{{queue}}}"), "");
    let of = |code, queue: &str| around.collector(code, &exporter(queue), &[]);
    let path = around.place.folder.path().join("collector.yaml");
    let place = format!("{}:4", path.display());
    for (queue, words) in [
        ("endpoint: 'http://a'", "num_consumers is 10, the default"),
        ("sending_queue: {num_consumers: 4}", "num_consumers is 4"),
        ("sending_queue: {enabled: true}", "num_consumers is 10"),
    ] {
        has(&of(4, queue), "problem", &[&place, words, "sending_queue: {num_consumers: 1}"]);
    }
    has(
        &of(0, "sending_queue: {num_consumers: 1}"),
        "ok",
        &["otlp_http/prometheus", "one request after the other"],
    );
    has(
        &of(0, "sending_queue: {num_consumers: '${env:AGNO_OTEL_NO:-1}'}"),
        "ok",
        &["one request after the other"],
    );
    has(&of(0, "sending_queue: {num_consumers: '${env:AGNO_OTEL_NO}'}"), "note", &["is not set here"]);
    has(&of(0, "sending_queue: {enabled: false}"), "ok", &["has no queue"]);
    // A later file of the same Collector wins.
    let path = around.file("collector.yaml", &exporter("endpoint: 'http://a'"));
    let more =
        around.file("more.yaml", "exporters: {otlp_http/prometheus: {sending_queue: {num_consumers: 1}}}");
    let paths = [path, more].map(|path| path.to_str().unwrap().to_owned());
    run(&mut around.check(&["--collector-config", &paths[0], "--collector-config", &paths[1]]))
        .expect_code(0);
    let remote = collector("prometheusremotewrite: {endpoint: 'http://a'}", "");
    has(&around.collector(0, &remote, &[]), "ok", &["keeps the order"]);
    has(&around.collector(0, &collector("kafka: {}", ""), &[]), "note", &["is not known here"]);
}

#[test]
fn an_exporter_for_scrapers_that_forgets_series_is_told() {
    let around = Around::new();
    let of = |code, exporter: &str| around.collector(code, &collector(exporter, ""), &[]);
    has(
        &of(4, "prometheus: {endpoint: ':9464'}"),
        "problem",
        &["metric_expiration is 5m, the default", "192h"],
    );
    has(&of(4, "prometheus: {metric_expiration: 24h}"), "problem", &["metric_expiration is 24h"]);
    let findings = of(0, "prometheus: {metric_expiration: 192h}");
    has(&findings, "ok", &["keeps series for 192h"]);
    has(&findings, "note", &["shows the last point", "otlp_http exporter"]);
}

#[test]
fn processors_that_change_what_is_counted_or_shown_are_told() {
    let around = Around::new();
    let one = "otlp_http: {sending_queue: {num_consumers: 1}}";
    let of = |code, processors: &str| around.collector(code, &collector(one, processors), &[]);
    for processor in ["cumulativetodelta", "cumulative_to_delta/mine", "interval"] {
        has(&of(4, processor), "problem", &[processor, "takes the pairs of points apart"]);
    }
    has(&of(0, "transform"), "note", &["may change series", "docs/mapping.md"]);
    has(&of(0, "memory_limiter, batch"), "ok", &["memory_limiter first"]);
    has(&of(0, "batch, memory_limiter"), "note", &["memory_limiter behind others"]);
    has(&of(0, ""), "note", &["pipelines.metrics has no memory_limiter"]);
    let sampled = collector(one, "").replace(
        "traces: {receivers: [otlp], ",
        "traces: {receivers: [otlp], processors: [tail_sampling, batch], ",
    );
    let findings = around.collector(0, &sampled, &[]);
    has(&findings, "note", &["tail_sampling", "only some runs are shown", "stay exact"]);
    has(&findings, "note", &["batch", "lost with the Collector"]);
}

#[test]
fn what_a_collector_has_no_way_for_is_told() {
    let around = Around::new();
    let one = collector("otlp_http: {sending_queue: {num_consumers: 1}}", "");
    let without = |line: &str| {
        one.lines().filter(|own| !own.contains(line)).map(|own| format!("{own}\n")).collect::<String>()
    };
    has(&around.collector(4, &without("    metrics:"), &[]), "problem", &["no pipeline of metrics"]);
    has(&around.collector(4, &without("    traces:"), &[]), "problem", &["no pipeline of traces"]);
    // Metrics that do not go there need none.
    around.collector(0, &without("    metrics:"), &["--metrics", "off"]);
    has(&around.collector(0, &one, &["--observe"]), "note", &["no pipeline of logs", "--observe"]);
    let grpc = one.replace("http: , ", "");
    has(&around.collector(4, &grpc, &[]), "problem", &["does not speak http", "--protocol"]);
    has(&around.collector(0, &one, &[]), "note", &["listens at localhost:4318, and we send to port"]);
    let port = around.receiver.authority().rsplit(':').next().unwrap().to_owned();
    let ours = one.replace("http: ,", &format!("http: {{endpoint: '127.0.0.1:{port}'}},"));
    has(&around.collector(0, &ours, &[]), "ok", &["where we send to"]);
    // A connector leads on.
    let connected = "receivers: {otlp: {protocols: {http: }}}\nexporters: {otlp_http: {endpoint: 'http://a'}}\nconnectors: {forward: }\n\
        service:\n  pipelines:\n    traces: {receivers: [otlp], exporters: [debug]}\n    \
        metrics/in: {receivers: [otlp], exporters: [forward]}\n    metrics/out: {receivers: [forward], exporters: [otlp_http]}\n";
    has(&around.collector(4, connected, &[]), "problem", &["exporters.otlp_http", "num_consumers is 10"]);
    let waiting = one.replace(
        "sending_queue: {storage: file_storage}, retry_on_failure: {max_elapsed_time: 0s}",
        "sending_queue: {storage: file_storage}",
    );
    has(&around.collector(0, &waiting, &[]), "note", &["max_elapsed_time is 5m", "thrown away"]);
    let impatient =
        one.replace("retry_on_failure: {max_elapsed_time: 0s}", "retry_on_failure: {enabled: false}");
    has(&around.collector(4, &impatient, &[]), "problem", &["retry_on_failure.enabled is false", "lost"]);
    has(&around.collector(4, "receivers: [", &[]), "problem", &["collector.yaml:2"]);
    let ended = run(&mut around.check(&["--collector-config", "/no/such.yaml"])).expect_code(2);
    has(&about(&ended, "collector"), "problem", &["/no/such.yaml", "No such file"]);
}

const FLAGS: &str = r#"{"web.enable-otlp-receiver": "true", "enable-feature": "exemplar-storage", "storage.tsdb.retention.time": "15d"}"#;
const CONFIG: &str = "storage:\n  tsdb:\n    out_of_order_time_window: 30m\notlp:\n  promote_resource_attributes:\n  - service.name\n  \
    - service.namespace\n  - service.instance.id\n  - deployment.environment.name\n  translation_strategy: UnderscoreEscapingWithSuffixes\n";

fn data(data: &Value) -> Answer {
    Answer::taken().body(json!({"status": "success", "data": data}).to_string().into_bytes())
}

fn sample(labels: &Value, value: f64) -> Value {
    json!({"metric": labels, "value": [1, value.to_string()]})
}

/// A Prometheus of these flags and settings, which answers queries that hold a word with samples.
fn prometheus(
    version: &str,
    flags: &str,
    config: &str,
    samples: Vec<(&'static str, Vec<Value>)>,
) -> Receiver {
    let (version, flags, config) =
        (version.to_owned(), serde_json::from_str::<Value>(flags).unwrap(), config.to_owned());
    Receiver::answering(move |_, path| match path {
        "/api/v1/status/buildinfo" => data(&json!({"version": version})),
        "/api/v1/status/flags" => data(&flags),
        "/api/v1/status/config" => data(&json!({"yaml": config})),
        "/api/v1/targets?state=active" => {
            let target = |port: u16, health: &str| json!({"scrapeUrl": format!("http://127.0.0.1:{port}/metrics"), "health": health, "scrapePool": "bridge", "lastError": "refused"});
            data(&json!({"activeTargets": [target(4320, "up"), target(4321, "down")]}))
        }
        _ => {
            let Some(query) = path.strip_prefix("/api/v1/query?query=") else { return Answer::status(404) };
            let found = samples.iter().find(|(word, _)| query.starts_with(word));
            data(&json!({"result": found.map(|(_, samples)| samples.clone()).unwrap_or_default()}))
        }
    })
}

fn asked(around: &Around, prometheus: &Receiver, args: &[&str]) -> Ended {
    let url = prometheus.url();
    run(&mut around.check(&[&["--prometheus", &url], args].concat()))
}

#[test]
fn a_prometheus_as_it_should_be_is_well_and_is_only_asked() {
    let around = Around::new();
    let counted = vec![
        ("count%20by", vec![sample(&json!({"job": "agno", "instance": "one"}), 35.0)]),
        ("topk", vec![sample(&json!({"__name__": "gen_ai_b_bucket"}), 112.0)]),
    ];
    let server = prometheus("3.16.0", FLAGS, CONFIG, counted);
    let before = listing(around.place.folder.path());
    let findings = about(&asked(&around, &server, &[]).expect_code(0), "prometheus");
    for words in [
        "version 3.16.0",
        "receiver of OTLP is on",
        "out_of_order_time_window is 30m",
        "our four names, and no more",
        "names are ours",
        "exemplars are kept",
        "it keeps 15d",
        "35 series of agno_token_usage_total for job agno, of instance one",
        "no spend is there twice",
        "gen_ai_b_bucket has most series: 112",
    ] {
        has(&findings, "ok", &[words]);
    }
    assert!(findings.iter().all(|finding| finding.starts_with("ok")), "{findings:#?}");
    assert_eq!(listing(around.place.folder.path()), before);
    assert!(server.received().iter().all(|received| received.body.is_empty()));
}

#[test]
fn a_header_for_the_endpoint_is_not_shown_to_a_prometheus_and_its_own_password_is() {
    let around = Around::new();
    let server = prometheus("3.16.0", FLAGS, CONFIG, Vec::new());
    let url = server.url().replace("http://", "http://me:s3cret@");
    let ended = run(&mut around.check(&["--header", "x-token=s3cret", "--prometheus", &url])).expect_code(0);
    assert!(!ended.stdout.contains("s3cret"), "{}", ended.stdout);
    let received = server.received();
    assert!(received.len() > 3 && received.iter().all(|received| !received.headers.contains_key("x-token")));
    assert!(received.iter().all(|received| received.headers["authorization"] == "Basic bWU6czNjcmV0"));
}

#[test]
fn flags_and_settings_of_prometheus_that_do_not_fit_come_with_their_fix() {
    let around = Around::new();
    let of = |code, flags: &str, config: &str, version: &str| {
        let server = prometheus(version, flags, config, Vec::new());
        about(&asked(&around, &server, &[]).expect_code(code), "prometheus")
    };
    let findings = of(0, r#"{"storage.tsdb.retention.time": "2d"}"#, "global: {}\n", "3.16.0");
    has(&findings, "note", &["receiver of OTLP is off", "--web.enable-otlp-receiver"]);
    has(&findings, "note", &["exemplars", "--enable-feature=exemplar-storage"]);
    has(&findings, "note", &["out_of_order_time_window is not set", "30m"]);
    has(
        &findings,
        "note",
        &["lacks service.name, service.namespace, service.instance.id, deployment.environment.name"],
    );
    has(&findings, "note", &["keeps 2d"]);
    let more = CONFIG.replace("  - service.name\n", "  - service.name\n  - service.version\n");
    has(&of(0, FLAGS, &more, "3.16.0"), "note", &["has service.version too", "no more"]);
    has(
        &of(0, FLAGS, "otlp: {promote_all_resource_attributes: true}\n", "3.1.0"),
        "note",
        &["all resource attributes"],
    );
    let renamed = CONFIG.replace("UnderscoreEscapingWithSuffixes", "NoTranslation");
    has(&of(4, FLAGS, &renamed, "3.16.0"), "problem", &["NoTranslation", "UnderscoreEscapingWithSuffixes"]);
    has(&of(4, FLAGS, CONFIG, "2.53.1"), "problem", &["version 2.53.1", "Prometheus 3"]);
    let ended = run(&mut around.check(&["--prometheus", "http://127.0.0.1:9"])).expect_code(4);
    has(&about(&ended, "prometheus"), "problem", &["refused", "http://localhost:9090"]);
    let ended = run(&mut around.check(&["--prometheus", "localhost:9090"])).expect_code(2);
    has(&about(&ended, "prometheus"), "problem", &["--prometheus", "is not an HTTP URL"]);
    // What is no Prometheus says nothing of itself.
    let page = Receiver::answering(|_, _| Answer::taken().body(b"<html>".to_vec()));
    has(
        &about(&asked(&around, &page, &[]).expect_code(4), "prometheus"),
        "problem",
        &["does not answer with JSON"],
    );
    let nothing = Receiver::answering(|_, _| Answer::status(404));
    has(&about(&asked(&around, &nothing, &[]).expect_code(0), "prometheus"), "note", &["not shown", "404"]);
}

#[test]
fn metrics_sent_straight_to_a_prometheus_need_its_receiver() {
    let around = Around::new();
    let server = prometheus("3.16.0", "{}", CONFIG, Vec::new());
    let mut command = crate::support::program::agno_otel(["check", "--json", "--prometheus", &server.url()]);
    let traces = format!("{}/v1/traces", around.receiver.url());
    command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", traces).arg("--state").arg(around.place.state());
    let metrics = format!("{}/api/v1/otlp/v1/metrics", server.url());
    command.env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", metrics).arg(&around.place.database);
    let server_answers_posts = run(&mut command);
    has(&about(&server_answers_posts, "prometheus"), "problem", &["receiver of OTLP is off"]);
}

#[test]
fn a_scraper_must_have_the_target_and_honour_its_labels() {
    let around = Around::new();
    let config = "scrape_configs:\n- job_name: bridge\n  honor_labels: true\n";
    let server = prometheus("3.16.0", FLAGS, config, Vec::new());
    let of = |code, listen: &str| {
        let args = ["--metrics", "scrape", "--listen", listen];
        about(&asked(&around, &server, &args).expect_code(code), "prometheus")
    };
    has(&of(0, "4320"), "ok", &["scrapes http://127.0.0.1:4320/metrics"]);
    has(&of(4, "4321"), "problem", &["cannot scrape", "refused"]);
    has(&of(4, "4322"), "problem", &["none of its 2 targets", "port 4322", "scrape_configs"]);
    let server = prometheus("3.16.0", FLAGS, "scrape_configs:\n- job_name: bridge\n", Vec::new());
    let findings = about(
        &asked(&around, &server, &["--metrics", "scrape", "--listen", "4320"]).expect_code(4),
        "prometheus",
    );
    has(&findings, "problem", &["honor_labels", "exported_job"]);
    let ended = run(&mut around.check(&["--metrics", "scrape"])).expect_code(2);
    assert!(!about(&ended, "listen").is_empty());
}

#[test]
fn spend_that_is_not_there_or_there_twice_is_told() {
    let around = Around::new();
    let one = |instance: &str| sample(&json!({"job": "agno", "instance": instance}), 35.0);
    let of = |code, samples| {
        let server = prometheus("3.16.0", FLAGS, CONFIG, samples);
        about(&asked(&around, &server, &[]).expect_code(code), "prometheus")
    };
    let other = vec![("count%20by", vec![sample(&json!({"job": "shop", "instance": "x"}), 1.0)])];
    has(&of(0, other), "note", &["is not there for job agno; there is of shop"]);
    let two = vec![("count%20by", vec![one("one"), one("two")])];
    has(&of(0, two), "note", &["2 instances", "one, two"]);
    let twice = vec![
        ("count%20by", vec![one("one"), one("two")]),
        ("sum", vec![sample(&json!({}), 20.0)]),
        ("count%28", vec![sample(&json!({}), 35.0)]),
    ];
    has(&of(4, twice), "problem", &["20 of 35 series", "more than once"]);
    let chance = vec![
        ("count%20by", vec![one("one")]),
        ("sum", vec![sample(&json!({}), 2.0)]),
        ("count%28", vec![sample(&json!({}), 35.0)]),
    ];
    has(&of(0, chance), "ok", &["no spend is there twice"]);
}

#[test]
fn metrics_that_were_released_and_did_not_arrive_are_told() {
    let around = Around::new();
    let child = follow(&around.receiver.url(), &around.place.state(), &[&around.place.database], &[])
        .spawn()
        .map(crate::following::Running)
        .unwrap();
    wait_until("a release", || !around.receiver.metrics().is_empty());
    add_copy(&around.place.database, 1);
    wait_until("its spans", || !around.receiver.traces().is_empty());
    stop(child, 143);
    let server = prometheus("3.16.0", FLAGS, CONFIG, Vec::new());
    let ended = asked(&around, &server, &[]).expect_code(4);
    has(
        &about(&ended, "prometheus"),
        "problem",
        &["metrics were released", "agno_bridge_info_ratio of instance", "status"],
    );
    let there = vec![("agno%5Fbridge%5Finfo", vec![sample(&json!({"agno_bridge_version": "0.1.0"}), 1.0)])];
    let ended = asked(&around, &prometheus("3.16.0", FLAGS, CONFIG, there), &[]).expect_code(0);
    has(&about(&ended, "prometheus"), "ok", &["agno_bridge_info_ratio is there"]);
    // Series of the state file: how near their labels are to the cap.
    has(&about(&ended, "labels"), "ok", &["of at most 1000 values"]);
    let state = Connection::open(around.place.state()).unwrap();
    let series = |at: usize| json!({"attributes": [["gen_ai.tool.name", format!("tool {at}")]]}).to_string();
    for at in 0..800 {
        state.execute("INSERT INTO series (stored) VALUES (?1)", [series(at)]).unwrap();
    }
    let ended = run(&mut around.check(&[])).expect_code(0);
    has(&about(&ended, "labels"), "note", &["gen_ai.tool.name has 8", "of at most 1000", "other"]);
}

/// A Jaeger with these services, whose traces hold one span of a scope each.
fn jaeger(services: Value, spans: Value) -> Receiver {
    Receiver::answering(move |_, path| match path.split('?').next().unwrap() {
        "/api/services" => data(&services),
        "/api/traces" => data(&json!([{"spans": spans, "processes": {"p1": {"serviceName": "shop"}}}])),
        _ => Answer::status(404),
    })
}

fn span(tags: &[(&str, &str)]) -> Value {
    let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    json!({"processID": "p1", "tags": tags})
}

#[test]
fn a_jaeger_tells_whether_our_traces_are_there_and_who_else_sends_some() {
    let around = Around::new();
    let of = |code, services: Value, spans: Value| {
        let server = jaeger(services, spans);
        about(&run(&mut around.check(&["--jaeger", &server.url()])).expect_code(code), "jaeger")
    };
    let ours =
        span(&[("otel.scope.name", "agno-otel"), ("gen_ai.usage.input_tokens", "1"), ("agno.run.id", "r")]);
    let other = span(&[("otel.scope.name", "http"), ("http.route", "/")]);
    let findings = of(0, json!(["agno", "shop"]), json!([ours, other]));
    has(&findings, "ok", &["service agno has traces"]);
    has(&findings, "ok", &["no spans of another instrumentation"]);
    for theirs in [
        span(&[("otel.scope.name", "openinference.instrumentation.agno")]),
        span(&[("otel.scope.name", "openlit.otel.tracing"), ("gen_ai.usage.input_tokens", "1")]),
        span(&[("otel.library.name", "mine"), ("llm.token_count.prompt", "1")]),
    ] {
        has(
            &of(0, json!(["agno"]), json!([ours, theirs])),
            "note",
            &["service shop sends 1 spans of scope", "turn one off"],
        );
    }
    has(&of(0, json!(null), json!([])), "note", &["service agno has no traces"]);
    has(&of(4, json!({"no": "list"}), json!([])), "problem", &["not as Jaeger does"]);
    let ended = run(&mut around.check(&["--jaeger", "http://127.0.0.1:9"])).expect_code(4);
    has(&about(&ended, "jaeger"), "problem", &["refused", "http://localhost:16686"]);
}

#[test]
fn an_application_that_traces_itself_is_told_by_its_tables() {
    let around = Around::new();
    let sql = "CREATE TABLE agno_traces (trace_id, name, status, start_time, end_time, run_id, session_id)";
    let database = Connection::open(&around.place.database).unwrap();
    database.execute_batch(sql).unwrap();
    let sources = |around: &Around| about(&run(&mut around.check(&[])).expect_code(0), "source");
    assert!(!sources(&around).iter().any(|finding| finding.contains("traces itself")));
    database.execute_batch("INSERT INTO agno_traces (trace_id) VALUES ('t')").unwrap();
    has(&sources(&around), "note", &["traces itself", "1 traces in agno_traces", "turn one off"]);
}

#[test]
fn files_that_are_not_everybodys_are_told_where_others_may_read_them() {
    let around = Around::new();
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let inline = around.file("agno-otel.toml", "[otlp]\nheaders = { authorization = \"s3cret\" }\n");
    let token = around.file("token", "0123456789abcdef\n");
    let args = [
        "--config",
        inline.to_str().unwrap(),
        "--listen",
        "4320",
        "--listen-token-file",
        token.to_str().unwrap(),
    ];
    let of = |around: &Around| about(&run(&mut around.check(&args)).expect_code(0), "permissions");
    for path in [&inline, &token] {
        mode(path, 0o600);
    }
    has(&of(&around), "ok", &["others can read neither"]);
    for path in [&inline, &token] {
        mode(path, 0o644);
        let findings = of(&around);
        has(&findings, "note", &[path.to_str().unwrap(), "mode 644", "chmod o-rwx"]);
        assert!(findings.len() == 1 && !findings[0].contains("s3cret"), "{findings:?}");
        mode(path, 0o640);
    }
    // What refers to its secrets holds none.
    std::fs::write(&inline, "[otlp]\nheaders = { authorization = { file = \"secret\" } }\n").unwrap();
    mode(&inline, 0o644);
    mode(&around.file("secret", "s3cret\n"), 0o604);
    has(&of(&around), "note", &["/secret: others may read", "headers.authorization"]);
}

#[test]
fn certificates_that_end_soon_are_told() {
    let around = Around::new();
    let now = agno_otel::clock::Clock::System.now_ns() / 1_000_000_000;
    let certificate = |name: &str, days: i64| {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let end_s = now.cast_signed() + days * 86_400;
        params.not_after =
            rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(end_s.cast_unsigned());
        let key = rcgen::KeyPair::generate().unwrap();
        let path = around.file(name, &params.self_signed(&key).unwrap().pem());
        (path, around.file(&format!("{name}.key"), &key.serialize_pem()))
    };
    for (days, level, words, code) in
        [(400, "ok", "holds until", 0), (10, "note", "ends at", 0), (-1, "problem", "ended at", 2)]
    {
        let (path, key) = certificate("own.pem", days);
        let (path, key) = (path.to_str().unwrap(), key.to_str().unwrap());
        let args = ["--listen", "4320", "--listen-certificate", path, "--listen-key", key];
        let ended = run(&mut around.check(&args)).expect_code(code);
        has(&about(&ended, "certificate"), level, &[words]);
    }
}

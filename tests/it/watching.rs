//! Dashboards and alerts ask for what is sent, and the bridge tells whether it is well.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agno_otel::otel::names::{ATTRIBUTES, Instrument, METRICS};
use agno_otel::otel::open_metrics::{family_name, label_name, series_name};
use tempfile::TempDir;

use crate::following::{Place, Running, TEAM, follow, stop, usage, wait_until};
use crate::support::points::{Value, points};
use crate::support::program::{agno_otel, run};
use crate::support::receiver::{Answer, Receiver};

const BOARDS: &str = "collector-config/grafana/dashboards";
const ALERTS: &str = "collector-config/alerts.yml";

fn committed(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The dashboards and alerts that these arguments make, each by its name.
fn exported(before: &[&str], of_alerts: &[&str]) -> [(String, String); 3] {
    let folder = TempDir::new().unwrap();
    let mut dashboards = agno_otel(before);
    run(dashboards.args(["export", "dashboards"]).arg(folder.path())).expect_code(0);
    let mut alerts = agno_otel(before);
    let alerts = run(alerts.args(["export", "alerts"]).args(of_alerts)).expect_code(0).stdout;
    let board =
        |name: &str| (format!("{BOARDS}/{name}"), std::fs::read_to_string(folder.path().join(name)).unwrap());
    [board("spend.json"), board("runs.json"), (ALERTS.to_owned(), alerts)]
}

#[test]
fn the_files_that_are_shipped_are_what_export_writes() {
    for (name, text) in exported(&[], &[]) {
        assert!(
            text == committed(&name),
            "{name} is another; write it again:\n\
             cargo run -- export dashboards {BOARDS} && cargo run -- export alerts > {ALERTS}"
        );
    }
}

/// Words that are names of series or labels of ours.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("agno_") || word.starts_with("gen_ai_")).collect()
}

#[test]
fn they_name_nothing_that_is_not_sent() {
    let mut sent: BTreeSet<String> = ATTRIBUTES.iter().map(|name| label_name(name)).collect();
    for metric in METRICS {
        sent.insert(series_name(metric));
        if matches!(metric.instrument, Instrument::Histogram { .. }) {
            sent.extend(["_bucket", "_count", "_sum"].map(|end| family_name(metric) + end));
        }
    }
    for (name, text) in exported(&[], &[]) {
        let names = names_in(&text);
        assert!(names.len() > 10, "{name}: {names:?}");
        let unknown: Vec<&str> = names.into_iter().filter(|own| !sent.contains(*own)).collect();
        assert!(unknown.is_empty(), "{name} names {unknown:?}");
        // What is summed up is exact.
        for guess in ["increase(", "rate(", "delta("] {
            assert!(!text.contains(guess), "{name} has {guess}");
        }
    }
}

#[test]
fn they_are_for_the_configuration_they_are_made_with() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("agno-otel.toml");
    std::fs::write(
        &config,
        r#"
[service]
name = "desk"
namespace = "shop"
[run]
metrics_every = "1m"
[session]
thresholds = ["5000 tokens", "7 USD", "0.5 USD"]
[[budget]]
name = "re\"search"
limit = "100 USD"
window = "month"
agent = "Researcher"
model = "gpt-5"
[[budget]]
name = "daily"
limit = "5 USD"
window = "day"
workflow = "Daily"
"#,
    )
    .unwrap();
    let before = ["--config", config.to_str().unwrap()];
    let [(_, spend), (_, runs), (_, alerts)] = exported(&before, &["--model", "gpt-5*", "--model", "o3.1"]);
    // Only this service's series; the dashboard begins with it.
    for line in alerts.lines().filter(|line| names_in(line).iter().any(|name| name.ends_with("_total"))) {
        assert!(line.contains(r#"{job="shop/desk""#), "{line}");
    }
    for board in [&spend, &runs] {
        assert!(board.contains("\"shop/desk\"") && board.contains("\"interval\": \"240s\""));
    }
    // One threshold of its unit wakes somebody, and of two the higher.
    assert!(alerts.contains(r#"agno_session_threshold_value=~"5000 tokens|7 USD"}"#));
    assert!(alerts.contains(r#"gen_ai_request_model!~"gpt-5.*|o3\\.1""#));
    assert!(!alerts.contains("asked a day ago"));
    // A budget is searched for by whose it is.
    let search = r#"{{ if eq $labels.agno_budget_name "re\"search" }} gen_ai.agent.name={{ "Researcher" | printf "%q" }} gen_ai.request.model={{ "gpt-5" | printf "%q" }}{{ else }}{{ if eq $labels.agno_budget_name "daily" }} gen_ai.workflow.name={{ "Daily" | printf "%q" }}{{ else }}{{ end }}{{ end }}"#;
    assert!(alerts.contains(search), "{alerts}");
    // No threshold, no alert of one; another service by a flag.
    std::fs::write(&config, "[session]\nthresholds = []\n").unwrap();
    let alerts =
        run(agno_otel(before).args(["export", "alerts", "--service-name", "other"])).expect_code(0).stdout;
    assert!(!alerts.contains("AgnoRunawaySession") && alerts.contains(r#"{job="other"}"#));
}

#[test]
fn budgets_of_one_name_in_two_services_are_told_apart() {
    let [(_, spend), _, (_, alerts)] = exported(&[], &[]);
    let mut asked = 0;
    for line in [&spend, &alerts].into_iter().flat_map(|text| text.lines()) {
        for (at, _) in line.match_indices(" by (").filter(|(at, _)| line[*at..].contains("agno_budget_")) {
            let by = &line[at..at + line[at..].find(')').unwrap()];
            let of = &line[at + by.len()..];
            if of.starts_with(") (agno_budget_") {
                assert!(by.contains("job"), "{line}");
                asked += 1;
            }
        }
    }
    assert!(asked > 10, "{asked}");
    // And are called by both.
    assert_eq!(
        spend.matches("\"{{agno_budget_name}} of {{job}}").count(),
        4,
        "the gauge and three burn rates"
    );
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing");
    let ended = run(agno_otel(["export", "dashboards"]).arg(&missing)).expect_code(1);
    ended.expect_words(&["there is no folder", "missing", "make it first"]);
}

/// The values of a gauge, as they came.
pub(crate) fn gauge(receiver: &Receiver, name: &str) -> Vec<i64> {
    let of = |value: &Value| match value {
        Value::Number(number) => *number,
        other @ Value::Histogram { .. } => panic!("{other:?}"),
    };
    let all = points(&receiver.metrics());
    all.iter().filter(|point| point.series.0 == name).map(|point| of(&point.value)).collect()
}

#[test]
fn a_source_that_cannot_be_read_is_seen_in_what_is_sent() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let missing = place.folder.path().join("missing.db");
    let sources = [place.database.as_path(), &missing];
    let more = ["--history", "count"];
    let child = follow(&receiver.url(), &place.state(), &sources, &more).spawn().map(Running).unwrap();
    wait_until("the spend of the other", || usage(&receiver) > 0);
    assert!(gauge(&receiver, "agno.bridge.source.read_timestamp").is_empty(), "one was never read");
    std::fs::copy(&place.database, &missing).unwrap();
    wait_until("both are read", || !gauge(&receiver, "agno.bridge.source.read_timestamp").is_empty());
    let first = gauge(&receiver, "agno.bridge.source.read_timestamp")[0];
    wait_until("again and again", || {
        gauge(&receiver, "agno.bridge.source.read_timestamp").last() > Some(&first)
    });
    stop(child, 143);
}

#[test]
fn who_ends_as_it_was_asked_to_says_so_and_who_dies_does_not() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let up = || gauge(&receiver, "agno.bridge.up").last().copied();
    let start =
        || follow(&receiver.url(), &place.state(), &[&place.database], &[]).spawn().map(Running).unwrap();
    let child = start();
    wait_until("it is up", || up() == Some(1));
    stop(child, 143);
    assert_eq!(up(), Some(0));
    let mut child = start();
    wait_until("it is up again", || up() == Some(1));
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert_eq!(up(), Some(1));
    // What is over at once is not waited for.
    let state = place.folder.path().join("another.db");
    for more in [vec![], vec!["--state", state.to_str().unwrap()]] {
        let mut send = agno_otel(["send", "--endpoint", &receiver.url()]);
        run(send.arg(&place.database).args(more)).expect_code(0);
        assert_eq!(up(), Some(0));
        receiver.metrics();
    }
}

#[test]
fn how_long_spans_wait_is_seen_in_what_is_sent() {
    let place = Place::of(TEAM);
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    let receiver = Receiver::answering(move |_, path| {
        if path == "/v1/traces" && down.load(Ordering::Relaxed) {
            Answer::status(503)
        } else {
            Answer::taken()
        }
    });
    let more = ["--history", "count"];
    let child =
        follow(&receiver.url(), &place.state(), &[&place.database], &more).spawn().map(Running).unwrap();
    let ages = || gauge(&receiver, "agno.bridge.outbox.age");
    wait_until("two seconds of waiting", || ages().last() >= Some(&2));
    is_down.store(false, Ordering::Relaxed);
    wait_until("nothing waits", || ages().last() == Some(&0));
    stop(child, 143);
}

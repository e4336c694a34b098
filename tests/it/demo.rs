//! The demo: a made-up day that can be trusted in its figures, and is never taken for a real one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use agno_otel::intake::Gathered;
use agno_otel::model::{Run, RunKind, RunStatus, tokens::Class};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::points::{points, texts, total};
use crate::support::program::{agno_otel, run};
use crate::support::receiver::Receiver;
use crate::support::{calls, counted, fixtures, gather};

const MINUTE_NS: u64 = 60_000_000_000;
const DAY_NS: u64 = 24 * 60 * MINUTE_NS;

fn database() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo.db")
}

fn day() -> Gathered {
    gather(&[&database()])
}

fn text(span: &Span, name: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn sent_to(receiver: &Receiver) -> Vec<Span> {
    run(&mut agno_otel(["demo", "--endpoint", &receiver.url()])).expect_code(0);
    receiver.spans()
}

#[test]
fn its_tokens_are_the_providers_bill() {
    let billed = calls::classes(&calls::read(&fixtures().join("demo.calls.json")));
    assert_eq!(counted(&day()), billed);
    let summary = run(&mut agno_otel(["demo", "--json"])).expect_code(0).summary();
    assert_eq!(summary["tokens"], serde_json::json!(billed));
}

#[test]
fn its_day_has_of_everything_that_is_worth_seeing() {
    let gathered = day();
    let runs = &gathered.forest.runs;
    for kind in [RunKind::Agent, RunKind::Team, RunKind::Workflow] {
        assert!(runs.iter().any(|run| run.kind == kind), "{kind:?}");
    }
    for status in [RunStatus::Completed, RunStatus::Error, RunStatus::Paused, RunStatus::Cancelled] {
        assert!(runs.iter().any(|run| run.status == status), "{status:?}");
    }
    assert!(runs.iter().flat_map(|run| &run.tools).any(|tool| tool.failed), "a tool that fails");
    let tokens = gathered.tokens();
    for class in [Class::CacheRead, Class::CacheWrite, Class::Reasoning] {
        assert!(tokens.of(class) > 0, "{class:?}");
    }
    let roles: BTreeSet<&str> =
        runs.iter().flat_map(|run| &run.usage).map(|usage| usage.role.as_str()).collect();
    assert!(roles.is_superset(&["model", "memory_model", "session_summary_model"].into()), "{roles:?}");
    assert_eq!(gathered.unpriced().len(), 1, "one model that nobody has a price for");
    let nano_usd = |run: &Run| run.own_cost().map_or(0, |cost| cost.nano_usd);
    let dearest = runs.iter().max_by_key(|run| nano_usd(run)).unwrap();
    let is_half = 2 * nano_usd(dearest) > runs.iter().map(nano_usd).sum();
    assert!(dearest.tools.len() > 40 && is_half, "a runaway");
    assert_eq!(gathered.oddities.iter().count(), 0);
}

#[test]
fn it_works_with_nothing_running_and_says_what_to_do_next() {
    let ended = run(&mut agno_otel(["demo"])).expect_code(0);
    let said = ended.stdout;
    for word in ["made-up", "Nothing is sent", "invoke_agent", "chat", "execute_tool", "tokens", "cost"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    for next in ["agno-otel demo --endpoint http", "agno-otel demo --write", "agno-otel show agno.db"] {
        assert!(said.contains(next), "no {next} in {said}");
    }
    assert_eq!(ended.stderr, "");
    assert!(!said.contains('\u{1b}'), "colour is for terminals");
    assert!(said.lines().count() <= 50, "more than a screen: {said}");
    let summary = run(&mut agno_otel(["demo", "--json"])).expect_code(0).summary();
    assert_eq!(summary["destinations"], serde_json::json!([]));
}

#[test]
fn all_that_is_sent_is_marked_whatever_the_environment_says_of_real_agents() {
    let resources = |receiver: &Receiver| {
        let traces = receiver.traces().into_iter().flat_map(|request| request.resource_spans);
        let metrics = receiver.metrics().into_iter().flat_map(|request| request.resource_metrics);
        let all = traces.map(|spans| spans.resource).chain(metrics.map(|metrics| metrics.resource));
        all.map(|resource| texts(&resource.unwrap().attributes)).collect::<Vec<_>>()
    };
    for (arguments, service) in [(&[] as &[&str], "demo"), (&["--service-name", "try"], "try")] {
        let receiver = Receiver::start();
        let mut command = agno_otel(["demo"]);
        command.args(arguments).env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url());
        command.env("OTEL_SERVICE_NAME", "shop");
        command.env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=production,team=a");
        run(&mut command).expect_code(0);
        let resources = resources(&receiver);
        assert!(resources.len() >= 2);
        for resource in resources {
            assert_eq!(resource["deployment.environment.name"], "demo");
            assert_eq!(resource["service.name"], service);
        }
    }
}

#[test]
fn it_fills_the_day_that_ends_now() {
    let receiver = Receiver::start();
    let spans = sent_to(&receiver);
    let now_ns = agno_otel::clock::Clock::System.now_ns();
    let first = spans.iter().map(|span| span.start_time_unix_nano).min().unwrap();
    let last = spans.iter().map(|span| span.end_time_unix_nano).max().unwrap();
    assert!(last <= now_ns && now_ns - last < MINUTE_NS, "the last span ended at {last}, now is {now_ns}");
    assert!(last - first > DAY_NS / 2 && last - first < DAY_NS, "from {first} to {last}");
    let events = spans.iter().flat_map(|span| span.events.iter().map(move |event| (span, event)));
    for (span, event) in events {
        let lasts = span.start_time_unix_nano..=span.end_time_unix_nano;
        assert!(lasts.contains(&event.time_unix_nano), "{}", span.name);
    }
}

#[test]
fn sent_again_it_is_another_day_in_traces_sessions_and_counters() {
    let receivers = [Receiver::start(), Receiver::start()];
    let [one, two] = receivers.each_ref().map(sent_to);
    assert_eq!(one.len(), two.len());
    let ids = |spans: &[Span]| -> BTreeSet<Vec<u8>> {
        spans.iter().flat_map(|span| [span.trace_id.clone(), span.span_id.clone()]).collect()
    };
    assert!(ids(&one).is_disjoint(&ids(&two)));
    let said = |spans: &[Span], name: &str| -> BTreeSet<String> {
        spans.iter().filter_map(|span| text(span, name)).collect()
    };
    for name in ["agno.run.id", "session.id"] {
        assert!(said(&one, name).len() > 10 && said(&one, name).is_disjoint(&said(&two, name)), "{name}");
    }
    // Parents are named by their new ids.
    assert!(said(&one, "agno.run.id").is_superset(&said(&one, "agno.parent_run.id")));
    let links = || one.iter().flat_map(|span| &span.links);
    assert!(links().count() > 0 && links().all(|link| ids(&one).contains(&link.span_id)));
    let billed: u64 = counted(&day()).values().sum();
    let mut instances = BTreeSet::new();
    for receiver in &receivers {
        let counters = receiver.metrics();
        assert_eq!(u64::try_from(total(&points(&counters), "agno.token.usage")).unwrap(), billed);
        let resources = counters.into_iter().flat_map(|request| request.resource_metrics);
        let of =
            |resource: Option<Resource>| texts(&resource.unwrap().attributes)["service.instance.id"].clone();
        instances.extend(resources.map(|metrics| of(metrics.resource)));
    }
    assert_eq!(instances.len(), 2);
}

#[test]
fn it_says_where_to_look_for_what_it_sent() {
    let receiver = Receiver::start();
    let said = run(&mut agno_otel(["demo", "--endpoint", &receiver.url()])).expect_code(0).stdout;
    let billed: u64 = counted(&day()).values().sum();
    assert!(said.contains("service demo") && said.contains(&grouped(billed)), "{said}");
    let words: BTreeSet<&str> =
        said.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').collect();
    let spans = receiver.spans();
    let trace = |span: &Span| span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let named: Vec<&Span> = spans.iter().filter(|span| words.contains(trace(span).as_str())).collect();
    assert!(named.len() > 90, "the runaway: {said}");
    assert!(words.contains(text(named[0], "session.id").unwrap().as_str()), "{said}");
    let unreachable =
        run(&mut agno_otel(["demo", "--endpoint", "http://127.0.0.1:9", "--give-up-after", "1"]));
    assert!(!unreachable.expect_code(4).stdout.contains("Jaeger"), "nothing is there");
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap());
    groups.collect::<Vec<_>>().join(",")
}

#[test]
fn its_database_can_be_had_and_overwrites_nothing() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("demo.db");
    let name = path.display().to_string();
    let said = run(&mut agno_otel(["demo", "--write", &name])).expect_code(0);
    assert!(said.stdout.contains(&format!("agno-otel show {name}")), "{}", said.stdout);
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(database()).unwrap());
    std::fs::write(&path, "mine").unwrap();
    run(&mut agno_otel(["demo", "--write", &name])).expect_code(1).expect_words(&[&name, "exists"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    run(&mut agno_otel(["demo", "--write", &name, "--endpoint", "http://h"])).expect_code(2);
}

#[test]
fn it_leaves_nothing_in_the_temporary_folder() {
    let folder = tempfile::TempDir::new().unwrap();
    run(agno_otel(["demo"]).env("TMPDIR", folder.path())).expect_code(0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn its_models_are_called_as_the_script_has_them() {
    // Where the recording and its bill come from two makings, this tells.
    let calls = calls::read(&fixtures().join("demo.calls.json"));
    let gathered = day();
    let of_messages = |run: &Run| run.calls.iter().filter(|call| call.message_id.is_some()).count();
    let seen: usize = gathered.forest.runs.iter().map(of_messages).sum();
    let answered = calls.iter().filter(|call| call.status == 200 && call.model != "gpt-5-nano").count();
    assert_eq!(seen, answered);
}

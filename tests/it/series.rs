//! What metric requests must be for their sums to be the spend: pairs, whole families, stable identities.

use std::collections::{BTreeMap, BTreeSet};

use agno_otel::model::run::STATUSES;
use agno_otel::model::tokens::CLASSES;

use crate::support::points::{Identity, Point, Value, by_series, points, texts, total};
use crate::support::program::{agno_otel, every_fixture, run, run_with_input, send_to};
use crate::support::receiver::Receiver;
use crate::support::runs::{lines, run_of};

const SECOND_NS: u64 = 1_000_000_000;

/// A receiver that was sent every fixture at once.
fn everything() -> Receiver {
    let receiver = Receiver::start();
    let mut command = send_to(&receiver.url(), &every_fixture());
    run(command.arg("--older-names")).expect_code(0);
    receiver
}

/// A receiver that was sent so much that its metrics took several requests.
fn much() -> Receiver {
    let receiver = Receiver::start();
    let input = lines(&run_of("agno/3.1.10/tools_multi.run.json"), 400, 400);
    run_with_input(&mut agno_otel(["send", "--endpoint", &receiver.url(), "-"]), input.as_bytes())
        .expect_code(0);
    assert!(receiver.metrics().len() > 1, "one request proves nothing");
    receiver
}

#[test]
fn a_series_that_moved_is_a_pair_in_one_request_that_begins_at_zero() {
    for receiver in [everything(), much()] {
        let points = points(&receiver.metrics());
        let mut pairs = 0;
        for (series, points) in by_series(&points) {
            let requests: BTreeSet<usize> = points.iter().map(|point| point.request).collect();
            assert_eq!(requests.len(), 1, "{series:?} is spread over requests");
            match points.as_slice() {
                [only] => assert!(only.is_gauge || only.value.is_zero(), "{series:?} moved without a pair"),
                [older, newer] => {
                    pairs += 1;
                    assert!(older.value.is_zero(), "{series:?} began at {:?}", older.value);
                    assert!(!newer.value.is_zero(), "{series:?} is a pair and did not move");
                    assert_eq!(newer.at_ns - older.at_ns, SECOND_NS, "{series:?}");
                    assert_eq!(older.start_ns, newer.start_ns, "{series:?}");
                    assert!(0 < older.start_ns && older.start_ns < older.at_ns, "{series:?}");
                }
                more => panic!("{series:?} has {} points", more.len()),
            }
        }
        assert!(pairs > 100, "{pairs}");
    }
}

#[test]
fn points_are_stamped_when_they_are_released_and_never_with_a_runs_time() {
    let before = agno_otel::clock::Clock::System.now_ns();
    let receiver = everything();
    let after = agno_otel::clock::Clock::System.now_ns();
    for point in points(&receiver.metrics()) {
        assert!((before - SECOND_NS..=after).contains(&point.at_ns), "{:?} at {}", point.series, point.at_ns);
    }
}

/// The values of one attribute, by all the others.
fn members(points: &[Point], metric: &str, of: &str) -> BTreeMap<BTreeMap<String, String>, BTreeSet<String>> {
    let mut families = BTreeMap::<_, BTreeSet<String>>::new();
    for (name, attributes) in by_series(points).into_keys().filter(|(name, _)| name == metric) {
        let mut others = attributes;
        let value = others.remove(of).unwrap_or_else(|| panic!("{name} without {of}"));
        families.entry(others).or_default().insert(value);
    }
    families
}

#[test]
fn whole_families_are_born_together() {
    let points = points(&everything().metrics());
    let classes: Vec<&str> = CLASSES.iter().map(|class| class.as_str()).collect();
    let families: [(&str, &str, &[&str]); 4] = [
        ("agno.token.usage", "agno.token.class", &classes),
        ("agno.token.corrections", "agno.token.class", &classes),
        ("agno.runs", "agno.run.status", &STATUSES),
        ("agno.tool.calls", "agno.tool.status", &["ok", "error"]),
    ];
    for (metric, attribute, expected) in families {
        let expected: BTreeSet<String> = expected.iter().map(|&value| value.to_owned()).collect();
        let members = members(&points, metric, attribute);
        assert!(!members.is_empty(), "{metric}");
        for (others, values) in members {
            assert!(values.is_superset(&expected), "{metric} of {others:?} has only {values:?}");
        }
    }
    // What a priced model costs, and what of it is corrected; how much has no price, of every model.
    let series = |name: &str| -> BTreeSet<BTreeMap<String, String>> {
        by_series(&points).into_keys().filter(|(metric, _)| metric == name).map(|(_, rest)| rest).collect()
    };
    let priced = series("agno.cost.usd");
    assert!(!priced.is_empty() && priced.is_subset(&series("agno.token.unpriced")));
    assert_eq!(series("agno.cost.corrections.usd"), priced);
    let of_usage: BTreeSet<_> =
        members(&points, "agno.token.usage", "agno.token.class").into_keys().collect();
    assert_eq!(series("agno.token.unpriced"), of_usage);
    // The standard counters of a model stand beside each other, too.
    let of = |name: &str| -> BTreeSet<BTreeMap<String, String>> {
        let named = by_series(&points).into_keys().filter(|(metric, _)| metric == name);
        named
            .filter(|(_, attributes)| attributes["gen_ai.token.modality"] == "unknown")
            .map(|(_, rest)| rest)
            .collect()
    };
    let input = of("gen_ai.client.inference.usage.input_tokens");
    for other in
        ["output_tokens", "cache_read.input_tokens", "cache_write.input_tokens", "reasoning.output_tokens"]
    {
        assert_eq!(of(&format!("gen_ai.client.inference.usage.{other}")), input, "{other}");
    }
}

#[test]
fn a_series_identity_holds_only_what_never_changes() {
    let receiver = Receiver::start();
    let mut command = send_to(&receiver.url(), &every_fixture());
    command.env("OTEL_SERVICE_NAME", "shop");
    let listed =
        "service.namespace=web,service.version=1.2,host.name=h,deployment.environment.name=prod,empty=";
    run(command.env("OTEL_RESOURCE_ATTRIBUTES", listed)).expect_code(0);
    for resource in receiver.metrics().iter().flat_map(|request| &request.resource_metrics) {
        let mut attributes = texts(&resource.resource.as_ref().unwrap().attributes);
        assert!(attributes.remove("service.instance.id").is_some());
        let expected =
            [("deployment.environment.name", "prod"), ("service.name", "shop"), ("service.namespace", "web")];
        assert_eq!(attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(resource.schema_url, "");
        for scope in &resource.scope_metrics {
            assert_eq!(scope.schema_url, "");
            let named = scope.scope.as_ref().unwrap();
            assert_eq!((named.version.as_str(), named.attributes.len()), ("", 0));
        }
    }
    // Spans may say more, and say what a resend says again.
    for resource in receiver.traces().iter().flat_map(|request| &request.resource_spans) {
        let attributes = texts(&resource.resource.as_ref().unwrap().attributes);
        let names: Vec<&str> = attributes.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "deployment.environment.name",
                "host.name",
                "service.name",
                "service.namespace",
                "service.version"
            ]
        );
    }
}

#[test]
fn two_invocations_are_two_instances() {
    let instance = |receiver: &Receiver| {
        let request = &receiver.metrics()[0].resource_metrics[0];
        texts(&request.resource.as_ref().unwrap().attributes)["service.instance.id"].clone()
    };
    let [one, other] = [(); 2].map(|()| {
        let receiver = Receiver::start();
        run_with_input(&mut agno_otel(["send", "--endpoint", &receiver.url(), "-"]), b"[]").expect_code(0);
        instance(&receiver)
    });
    assert_ne!(one, other);
}

/// How Prometheus' OTLP endpoint names what it stores of a series (`prometheus/otlptranslator`): letters of
/// names and labels it does not know become underscores, the unit is appended, `_total` for counters.
fn prometheus_series(point: &Point) -> Vec<(String, BTreeMap<String, String>)> {
    let clean = |text: &str| -> String {
        let letters = text.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
        let words: Vec<String> = letters.collect::<String>().split('_').map(str::to_owned).collect();
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
    };
    let (name, attributes) = &point.series;
    let mut name = clean(name);
    let unit = match point.unit.as_str() {
        "s" => "seconds",
        "1" if point.is_gauge => "ratio",
        _ => "",
    };
    if !unit.is_empty() && !name.split('_').any(|word| word == unit) {
        name = format!("{name}_{unit}");
    }
    let labels: BTreeMap<String, String> = attributes
        .iter()
        .map(|(name, value)| {
            (name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_"), value.clone())
        })
        .collect();
    assert_eq!(labels.len(), attributes.len(), "labels of {:?} become one", point.series);
    let ends: &[&str] = match point.value {
        Value::Number(_) if point.is_gauge => &[""],
        Value::Number(_) => &["_total"],
        Value::Histogram { .. } => &["_bucket", "_sum", "_count"],
    };
    ends.iter().map(|end| (format!("{}{end}", name.trim_end_matches("_total")), labels.clone())).collect()
}

#[test]
fn no_two_series_become_one_in_prometheus() {
    let points = points(&everything().metrics());
    let mut stored = BTreeMap::<(String, BTreeMap<String, String>), Identity>::new();
    let mut families = BTreeMap::<String, String>::new();
    for point in &points {
        for translated in prometheus_series(point) {
            let family = families.entry(translated.0.clone()).or_insert_with(|| point.series.0.clone());
            assert_eq!(*family, point.series.0, "two metrics become {}", translated.0);
            let series = stored.entry(translated.clone()).or_insert_with(|| point.series.clone());
            assert_eq!(*series, point.series, "two series become {translated:?}");
        }
    }
    assert!(families.contains_key("agno_token_usage_total"));
    assert!(
        families.contains_key("agno_cost_usd_total")
            && families.contains_key("agno_cost_corrections_usd_total")
    );
    assert!(families.contains_key("agno_session_cost_usd_bucket"));
    assert!(families.contains_key("gen_ai_invoke_agent_duration_seconds_bucket"));
    assert!(families.contains_key("agno_bridge_info_ratio"));
}

#[test]
fn exemplars_point_at_spans_that_were_sent() {
    let receiver = everything();
    let spans: BTreeSet<(Vec<u8>, Vec<u8>)> =
        receiver.spans().into_iter().map(|span| (span.trace_id, span.span_id)).collect();
    let mut shown = BTreeMap::<String, usize>::new();
    for point in points(&receiver.metrics()) {
        let stamps: Vec<u64> = point.exemplars.iter().map(|exemplar| exemplar.time_unix_nano).collect();
        assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{:?}: {stamps:?}", point.series);
        let released = point.at_ns - SECOND_NS + 1..=point.at_ns;
        assert!(stamps.iter().all(|stamp| released.contains(stamp)), "{:?}: {stamps:?}", point.series);
        for exemplar in &point.exemplars {
            assert_eq!((exemplar.trace_id.len(), exemplar.span_id.len()), (16, 8), "{:?}", point.series);
            let span = (exemplar.trace_id.clone(), exemplar.span_id.clone());
            assert!(spans.contains(&span), "{:?} shows a span that was not sent", point.series);
            texts(&exemplar.filtered_attributes);
            *shown.entry(point.series.0.clone()).or_default() += 1;
        }
    }
    let spend_and_histograms = [
        "agno.token.usage",
        "agno.cost.usd",
        "agno.token.unpriced",
        "gen_ai.client.inference.usage.input_tokens",
        "gen_ai.client.inference.operation.output_tokens",
        "gen_ai.client.inference.duration",
        "gen_ai.invoke_agent.duration",
        "gen_ai.execute_tool.duration",
        "agno.session.tokens",
        "agno.session.cost.usd",
    ];
    for metric in spend_and_histograms {
        assert!(shown.contains_key(metric), "{metric} shows no span");
    }
}

#[test]
fn the_bill_equals_standard_input_and_output() {
    let points = points(&everything().metrics());
    let bill = total(&points, "agno.token.usage") - total(&points, "agno.token.corrections");
    let standard = total(&points, "gen_ai.client.inference.usage.input_tokens")
        + total(&points, "gen_ai.client.inference.usage.output_tokens");
    assert!(bill > 100_000, "{bill}");
    assert_eq!(bill, standard);
}

#[test]
fn ids_never_become_labels() {
    let receiver = everything();
    let spans = receiver.spans();
    let ids: BTreeSet<String> = spans
        .iter()
        .flat_map(|span| &span.attributes)
        .filter(|attribute| {
            ["agno.run.id", "session.id", "agno.message.id", "gen_ai.tool.call.id"]
                .contains(&attribute.key.as_str())
        })
        .flat_map(|attribute| texts(std::slice::from_ref(attribute)).into_values())
        .collect();
    assert!(ids.len() > 1_000, "{}", ids.len());
    for point in points(&receiver.metrics()) {
        for (name, value) in &point.series.1 {
            assert!(!ids.contains(value), "{name}={value} of {}", point.series.0);
            assert!(uuid::Uuid::try_parse(value).is_err(), "{name}={value} of {}", point.series.0);
        }
    }
}

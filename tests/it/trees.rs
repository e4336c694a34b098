//! Every case's tree, as text a reviewer can read, and what holds for all of them.

use std::collections::{BTreeMap, BTreeSet};

use agno_otel::otel::TraceSpans;
use agno_otel::{Gathered, Settings};

use crate::support::{Case, cases, gather, gather_records, records};

fn traces(gathered: &Gathered) -> Vec<TraceSpans> {
    gathered.spans(Settings::default())
}

fn outline(traces: &[TraceSpans]) -> String {
    let one = |trace| agno_otel::export::print::outline(&agno_otel::otel::lines(trace));
    traces.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_case_has_the_tree_a_reviewer_agreed_with() {
    for case in cases() {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let tree = outline(&traces(&gather(&[&case.source])));
        settings.bind(|| insta::assert_snapshot!(case.name.replace('/', "__"), tree));
    }
}

#[test]
fn a_trace_has_one_root_and_every_child_lies_inside_its_parent() {
    let mut spans_seen = 0;
    for case in cases() {
        for trace in traces(&gather(&[&case.source])) {
            let by_id: BTreeMap<&[u8], _> =
                trace.spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
            assert_eq!(by_id.len(), trace.spans.len(), "{}: a span id stands twice", case.name);
            let mut roots = 0;
            for span in &trace.spans {
                spans_seen += 1;
                let name = format!("{}: {} in run {}", case.name, span.name, trace.run_id);
                assert!(span.start_time_unix_nano > 1_700_000_000_000_000_000, "{name} has no time");
                assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{name} ends before it starts");
                assert_eq!(span.trace_id, trace.spans[0].trace_id, "{name} is in another trace");
                if let Some(parent) = by_id.get(span.parent_span_id.as_slice()) {
                    let (start, end) = (parent.start_time_unix_nano, parent.end_time_unix_nano);
                    assert!(start <= span.start_time_unix_nano, "{name} starts too early");
                    assert!(span.end_time_unix_nano <= end, "{name} ends too late");
                } else {
                    roots += 1;
                    let is_the_callers = case.name.contains("traceparent");
                    assert!(span.parent_span_id.is_empty() || is_the_callers, "{name} lacks its parent");
                }
            }
            assert_eq!(roots, 1, "{}: run {}", case.name, trace.run_id);
        }
    }
    assert!(spans_seen > 3_000, "{spans_seen} spans: cases are missing");
}

#[test]
fn spans_are_the_same_on_every_run_and_in_any_order_of_records() {
    for case in cases() {
        let (mut records, oddities) = records(&[&case.source]);
        let spans = traces(&gather_records(&records, oddities.clone()));
        records.reverse();
        assert_eq!(traces(&gather_records(&records, oddities)), spans, "{}", case.name);
    }
}

#[test]
fn a_run_id_finds_its_trace() {
    for trace in case("3.1.10/team_run") {
        let id: String = trace.run_id.split('-').collect();
        assert_eq!(agno_otel::otel::ids::hex(&trace.spans[0].trace_id), id);
    }
}

#[test]
fn a_run_the_application_traces_joins_the_callers_trace() {
    let traces = case("generated/3.1.10/traceparent");
    let caller = "4bf92f3577b34da6a3ce929d0e0e4736";
    let joined: Vec<_> = traces
        .iter()
        .filter(|trace| agno_otel::otel::ids::hex(&trace.spans[0].trace_id) == caller)
        .map(|trace| agno_otel::otel::ids::hex(&trace.spans[0].parent_span_id))
        .collect();
    assert!(!joined.is_empty());
    assert!(joined.iter().all(|parent| parent == "00f067aa0ba902b7"), "{joined:?}");
}

#[test]
fn every_stored_message_is_visible() {
    let case = cases().into_iter().find(|case| case.name == "3.1.10/team_run").unwrap();
    let stored: BTreeSet<String> = message_ids(&case);
    let spans = traces(&gather(&[&case.source])).into_iter().flat_map(|trace| trace.spans);
    let seen: BTreeSet<String> = spans
        .flat_map(|span| {
            let of_events = span.events.into_iter().flat_map(|event| event.attributes);
            span.attributes.into_iter().chain(of_events).collect::<Vec<_>>()
        })
        .filter(|attribute| attribute.key == "agno.message.id")
        .map(|attribute| format!("{:?}", attribute.value))
        .collect();
    let shown = |id: &String| seen.iter().any(|text| text.contains(id.as_str()));
    let missing: Vec<_> = stored.iter().filter(|id| !shown(id)).collect();
    assert!(stored.len() > 10 && missing.is_empty(), "{missing:?} of {}", stored.len());
}

/// Ids of all messages in a case's run rows, by a plain reading of the JSON.
fn message_ids(case: &Case) -> BTreeSet<String> {
    let (records, _) = records(&[&case.source]);
    let runs =
        records.iter().map(|record| serde_json::from_slice::<serde_json::Value>(&record.json).unwrap());
    let messages = runs.flat_map(|run| run["messages"].as_array().cloned().unwrap_or_default());
    messages.filter_map(|message| message["id"].as_str().map(str::to_owned)).collect()
}

fn case(name: &str) -> Vec<TraceSpans> {
    let case = cases().into_iter().find(|case| case.name == name).unwrap();
    traces(&gather(&[&case.source]))
}

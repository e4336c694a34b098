//! Whatever a record holds, everything else is read, and what was left out is counted and said.

use serde_json::{Value, json};

use agno_otel::framework::{Oddities, Oddity};
use agno_otel::otel::TraceSpans;
use agno_otel::source::Record;
use agno_otel::{Gathered, Settings};

use crate::support::{RECEIVED_NS, gather_records};

fn record(json: &Value) -> Record {
    text(&json.to_string())
}

fn text(json: &str) -> Record {
    Record { json: json.into(), columns: agno_otel::framework::agno::Columns::default() }
}

fn read(records: &[Record]) -> Gathered {
    gather_records(records, Oddities::default())
}

fn traces(gathered: &Gathered) -> Vec<TraceSpans> {
    gathered.spans(Settings::default())
}

/// A run of 12 tokens.
fn fine() -> Value {
    json!({"run_id": "fine", "agent_id": "a", "session_id": "s", "status": "COMPLETED", "messages": [
        {"id": "m", "role": "assistant", "created_at": 1_795_396_000, "metrics": {"input_tokens": 10, "output_tokens": 2}}
    ]})
}

/// Reads a record beside a fine one: the fine one is whole whatever the other is.
#[track_caller]
fn beside_a_fine_one(json: &str) -> Gathered {
    let gathered = read(&[text(json), record(&fine())]);
    assert!(gathered.tokens().total() >= 12, "the other run was lost");
    assert!(!traces(&gathered).is_empty());
    gathered
}

#[test]
fn what_is_nested_without_end_is_left_out_and_said() {
    let deep =
        |open: &str, close: &str, count: usize| format!("{}{}", open.repeat(count), close.repeat(count));
    let nested_steps = format!("{{\"step_results\": {}}}", deep("{\"steps\": [", "]}", 5_000)).replace(
        "{\"step_results\": {\"steps\"",
        "{\"run_id\": \"w\", \"workflow_id\": \"w\", \"step_results\": [{\"steps\"",
    );
    let nested_steps = format!("{}]}}", nested_steps.trim_end_matches('}'));
    let cases = [
        deep("[", "]", 1_000_000),
        deep("{\"runs\":", "}", 100_000).replace(":}", ":1}"),
        deep("{\"run_data\":", "}", 100_000).replace(":}", ":1}"),
        format!(
            "{{\"run_id\": \"w\", \"workflow_id\": \"w\", \"step_results\": {}}}",
            deep("[", "]", 100_000)
        ),
        format!("{{\"run_id\": \"w\", \"agent_id\": \"w\", \"metadata\": {}}}", deep("[", "]", 1_000_000)),
        deep("{\"run_id\": \"x\", \"agent_id\": \"a\", \"member_responses\": [", "]}", 10_000),
        nested_steps,
    ];
    for json in cases {
        let gathered = beside_a_fine_one(&json);
        let odd = [Oddity::TooDeep, Oddity::NotJson]
            .iter()
            .map(|&oddity| gathered.oddities.count(oddity))
            .sum::<u64>();
        // Metadata is passed over, however deep it is.
        assert!(odd > 0 || json.contains("metadata"), "{}: {:?}", &json[..60], gathered.oddities);
    }
}

#[test]
fn runs_that_started_each_other_a_hundred_thousand_times_are_all_there() {
    let runs: Vec<Record> = (0..100_000)
        .map(|at| {
            record(
                &json!({"run_id": format!("r{at}"), "parent_run_id": format!("r{}", at - 1), "agent_id": "a",
                "session_id": "s", "created_at": 1_795_396_000}),
            )
        })
        .collect();
    let gathered = read(&runs);
    let spans: usize = traces(&gathered).iter().map(|trace| trace.spans.len()).sum();
    assert_eq!(spans, 100_000);
    assert!(gathered.oddities.count(Oddity::DeepTree) > 0);
}

#[test]
fn parents_in_a_circle_are_one_trace_with_one_root() {
    let run = |id: &str, parent: &str| {
        record(&json!({"run_id": id, "parent_run_id": parent, "agent_id": "a", "session_id": "s"}))
    };
    let gathered = read(&[run("a", "c"), run("b", "a"), run("c", "b"), run("d", "b"), run("own", "own")]);
    let sizes: Vec<usize> = traces(&gathered).iter().map(|trace| trace.spans.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 5);
    assert_eq!((sizes.len(), gathered.oddities.count(Oddity::ParentCycle)), (2, 1));
}

#[test]
fn copies_of_a_run_give_the_same_in_any_order() {
    let copy = |status: &str, tokens: u64, stored: Option<i64>, parent: Option<&str>| {
        let data = json!({"run_id": "50cf60f9-f6d0-47a6-b373-57a95a88129d", "agent_id": "a", "status": status, "parent_run_id": parent,
            "metrics": {"input_tokens": tokens}});
        match stored {
            None => record(&data),
            Some(stored) => record(
                &json!({"session_id": "s", "updated_at": stored, "run_index": stored, "run_data": data}),
            ),
        }
    };
    let copies = [
        copy("COMPLETED", 11, None, Some("p")),
        copy("PAUSED", 21, Some(1_795_396_100), None),
        copy("COMPLETED", 31, Some(1_795_396_050), Some("q")),
        copy("COMPLETED", 41, None, None),
    ];
    let of = |order: [usize; 4]| {
        let gathered = read(&order.map(|at| copies[at].clone()));
        (gathered.tokens(), traces(&gathered), gathered.forest.runs)
    };
    let first = of([0, 1, 2, 3]);
    for a in 0..4 {
        for b in 0..4 {
            for c in 0..4 {
                let d = 6_usize.wrapping_sub(a + b + c);
                let mut order = [a, b, c, d];
                order.sort_unstable();
                if order == [0, 1, 2, 3] {
                    assert_eq!(of([a, b, c, d]), first, "{a} {b} {c} {d}");
                }
            }
        }
    }
    assert_eq!(first.0.total(), 31);
}

#[test]
fn of_two_copies_the_one_with_more_in_it_is_better_whatever_it_is() {
    let copy = |roles: &[&str]| {
        let message = |(at, role): (usize, &&str)| json!({"id": at.to_string(), "role": role, "metrics": {"input_tokens": 10}});
        let messages: Vec<Value> = roles.iter().enumerate().map(message).collect();
        record(
            &json!({"run_id": "50cf60f9-f6d0-47a6-b373-57a95a88129d", "agent_id": "a", "messages": messages}),
        )
    };
    let pairs: [(&[&str], &[&str], u64); 2] = [
        (&["user", "user", "assistant"], &["assistant", "assistant"], 10),
        (&["assistant", "assistant"], &["user"], 20),
    ];
    for (more, less, tokens) in pairs {
        for copies in [[copy(more), copy(less)], [copy(less), copy(more)]] {
            assert_eq!(read(&copies).tokens().total(), tokens, "{more:?}");
        }
    }
}

#[test]
fn times_that_cannot_be_are_left_out_and_everything_lies_inside_its_parent() {
    for made in [
        json!(1_795_000_000_000_i64),
        json!(0),
        json!(9_223_372_036_i64),
        json!(-9_223_372_036_i64),
        json!(i64::MAX),
        json!(1e300),
    ] {
        let mut run = fine();
        run["created_at"] = made.clone();
        run["messages"][0]["created_at"] = made.clone();
        run["tools"] =
            json!([{"tool_name": "t", "metrics": {"start_time": made, "end_time": made, "duration": made}}]);
        let gathered = read(&[record(&run)]);
        assert!(gathered.oddities.count(Oddity::UnbelievableTime) >= 4, "{made}: {:?}", gathered.oddities);
        for span in &traces(&gathered)[0].spans {
            let year_2001_to_2100 = 1_000_000_000_000_000_000..4_110_000_000_000_000_000;
            assert!(year_2001_to_2100.contains(&span.start_time_unix_nano), "{made}: {span:?}");
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{made}");
        }
    }
}

#[test]
fn a_number_no_float_can_hold_costs_no_run() {
    let mut run = fine().to_string();
    run.insert_str(
        1,
        &format!(
            "\"metadata\": {{\"n\": {}}}, \"created_at\": 1e999, \"big\": {},",
            "9".repeat(400),
            2_f64.powi(70)
        ),
    );
    let gathered = read(&[text(&run)]);
    assert_eq!(gathered.tokens().total(), 12);
    assert_eq!(gathered.oddities.count(Oddity::PythonJson), 1);
}

#[test]
fn details_that_say_nothing_leave_the_messages_to_say_it() {
    for details in
        [json!({"model": []}), json!({"model": "oops"}), json!({"model": [5]}), json!({"memory_model": null})]
    {
        let mut run = fine();
        run["metrics"] = json!({"input_tokens": 10, "output_tokens": 2, "details": details});
        assert_eq!(read(&[record(&run)]).tokens().total(), 12, "{details}");
    }
}

#[test]
fn ids_of_messages_may_come_again_in_another_session() {
    let mut other = fine();
    other["run_id"] = json!("other");
    other["session_id"] = json!("another");
    assert_eq!(read(&[record(&fine()), record(&other)]).tokens().total(), 24);
    // Within a session the second is a copy of the first.
    other["session_id"] = json!("s");
    assert_eq!(read(&[record(&fine()), record(&other)]).tokens().total(), 12);
}

#[test]
fn two_messages_with_one_id_are_two_spans() {
    let mut run = fine();
    let again = run["messages"][0].clone();
    run["messages"].as_array_mut().unwrap().push(again);
    let traces = traces(&read(&[record(&run)]));
    let ids: std::collections::BTreeSet<_> = traces[0].spans.iter().map(|span| &span.span_id).collect();
    assert_eq!((ids.len(), traces[0].spans.len()), (3, 3));
}

#[test]
fn a_failed_run_is_not_taken_for_the_beginning_of_the_next_with_its_id() {
    let failed = json!({"run_id": "job", "session_id": "s", "agent_id": "a", "status": "ERROR", "metrics": {"input_tokens": 5}});
    let mut next = fine();
    next["run_id"] = json!("job");
    let gathered = read(&[record(&failed), record(&next)]);
    assert_eq!((gathered.tokens().total(), gathered.forest.runs.len()), (17, 2));
    // One that had only begun is.
    let begun = json!({"run_id": "job", "session_id": "s", "agent_id": "a", "status": "PENDING"});
    assert_eq!(read(&[record(&begun), record(&next)]).forest.runs.len(), 1);
    // Where nothing came after it, it is a run like any other.
    assert_eq!(read(&[record(&begun)]).forest.runs.len(), 1);
}

#[test]
fn runs_of_other_programs_are_no_runs() {
    let other = json!({"run_id": 1234, "name": "CI", "head_branch": "main", "status": "COMPLETED"});
    let gathered = read(&[record(&other)]);
    assert_eq!((gathered.forest.runs.len(), gathered.oddities.count(Oddity::NotARun)), (0, 1));
}

#[test]
fn a_role_that_is_no_word_is_content_and_stays_here() {
    let mut run = fine();
    run["messages"][0]["role"] = json!("my secret prompt");
    let spans = format!("{:?}", traces(&read(&[record(&run)])));
    assert!(!spans.contains("secret") && spans.contains("unknown"), "{spans}");
}

#[test]
fn names_of_megabytes_are_cut_and_stay_different() {
    let long = "x".repeat(4_000_000);
    let run = |end: &str| {
        let mut run = fine();
        run["agent_name"] = json!(format!("{long}{end}"));
        run["run_id"] = json!(format!("{long}{end}"));
        run["messages"][0]["id"] = json!(format!("{long}{end}"));
        record(&run)
    };
    let gathered = read(&[run("1"), run("2")]);
    assert_eq!((gathered.tokens().total(), gathered.forest.runs.len()), (24, 2));
    assert_eq!(gathered.oddities.count(Oddity::LongText), 6);
    assert!(traces(&gathered).iter().all(|trace| trace.run_id.len() <= 1_024));
}

#[test]
fn what_a_trace_shows_is_what_is_counted_whatever_messages_and_sums_say_of_each_other() {
    let message = |tokens: Value| json!({"id": "m", "role": "assistant", "metrics": tokens});
    let thought = json!({"role": "assistant", "metrics": {"input_tokens": 9}});
    let cases = [
        // One entry has less than the message, another has the rest.
        (
            json!({"model": [{"id": "a", "input_tokens": 10}, {"id": "b", "input_tokens": 5}]}),
            json!({"input_tokens": 12}),
            15,
        ),
        // The main model's entry is missing: its messages were billed.
        (json!({"memory_model": [{"input_tokens": 5}]}), json!({"input_tokens": 12}), 17),
        // A reasoning model's answer says more than its entry.
        (
            json!({"model": [{"input_tokens": 12}], "reasoning_model": [{"input_tokens": 3}]}),
            json!({"input_tokens": 12}),
            21,
        ),
        // Nothing as the run's provider means it, something as the entry's does.
        (
            json!({"model": [{"provider": "Google", "reasoning_tokens": 4}]}),
            json!({"reasoning_tokens": 4}),
            4,
        ),
    ];
    for (details, said, total) in cases {
        let mut run = fine();
        run["messages"] = json!([message(said)]);
        run["model_provider"] = json!("OpenAI");
        run["metrics"] = json!({"details": details});
        if details.get("reasoning_model").is_some() {
            run["reasoning_messages"] = json!([thought]);
        }
        let gathered = read(&[record(&run)]);
        let shown: u64 = gathered.forest.runs[0].calls.iter().map(|call| call.tokens.total()).sum();
        assert_eq!((shown, gathered.tokens().total()), (total, total), "{details}");
    }
}

#[test]
fn a_role_of_a_model_that_is_no_word_is_content_and_stays_here() {
    let mut run = fine();
    run["metrics"] =
        json!({"details": {"": [{"input_tokens": 10}], "my secret prompt": [{"output_tokens": 2}]}});
    let gathered = read(&[record(&run)]);
    let spans = format!("{:?}", traces(&gathered));
    assert!(!spans.contains("secret") && spans.contains("unknown"), "{spans}");
    assert_eq!(gathered.tokens().total(), 24);
}

#[test]
fn a_run_without_any_time_ends_when_it_was_received_however_many_steps_it_has() {
    for kind in ["team_id", "workflow_id"] {
        for steps in [1, 20, 200, 2_000] {
            let step = |at: u32| json!({"metrics": {"duration": 0.1 + f64::from(at % 3) / 10.0}});
            let mut list: Vec<Value> = (0..steps).map(step).collect();
            list.push(json!({"steps": [step(1), step(2)]}));
            let gathered = read(&[record(&json!({"run_id": "r", kind: "t", "step_results": list}))]);
            let root = &traces(&gathered)[0].spans[0];
            assert_eq!(root.end_time_unix_nano, RECEIVED_NS, "{kind}, {steps} steps");
        }
    }
}

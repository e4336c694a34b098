use serde_json::{Value, json};

use super::*;
use crate::framework::agno::made_up::{run, runs};

#[test]
fn a_runs_time_to_first_token_is_believed_from_releases_that_measured_it() {
    let of = |details: Value, message: Value| {
        let metrics = json!({"duration": 2.0, "time_to_first_token": 0.5, "details": details});
        let messages = json!([{"id": "m", "role": "assistant", "metrics": message}]);
        let run = run(&json!({"metrics": metrics, "messages": messages}));
        let stated: Vec<&str> = run.stated.floats.iter().map(|(field, _)| *field).collect();
        (run.time_to_first_token_ns, stated)
    };
    let believed = (Some(500_000_000), vec!["duration", "time_to_first_token"]);
    let tokens = json!({"input_tokens": 3});
    assert_eq!(of(json!({"model": [tokens]}), tokens.clone()), believed);
    assert_eq!(of(json!({}), json!({"duration": 1.0})), believed);
    assert_eq!(of(json!({}), json!({"time_to_first_token": 0.2})), believed);
    assert_eq!(of(json!({}), tokens.clone()), (None, vec!["duration"]));
    assert_eq!(of(json!({"model": []}), tokens), (None, vec!["duration"]));
}

#[test]
fn a_run_within_another_is_of_its_session_and_hangs_under_it() {
    let inmost = json!({"run_id": "i", "agent_id": "a"});
    let member = json!({"run_id": "m", "agent_id": "a", "session_id": "own", "member_responses": [inmost]});
    let other = json!({"run_id": "o", "agent_id": "a"});
    let team = json!({"run_id": "t", "team_id": "t", "session_id": "s", "member_responses": [member, other]});
    let runs = runs(&team);
    let said = |run: &Run| {
        let parent = run.parent_run_id.as_deref().unwrap_or("-");
        format!("{} in {} under {parent}", run.key.run_id, run.session_id.as_deref().unwrap_or("-"))
    };
    assert_eq!(
        runs.iter().map(said).collect::<Vec<_>>(),
        ["t in s under -", "m in own under t", "i in own under m", "o in s under t"]
    );
}

#[test]
fn what_was_run_is_told_by_its_ids_as_agno_tells_it() {
    let kind = |fields: Value| {
        let mut record = json!({"run_id": "r", "session_id": "s"});
        record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let [run] = <[Run; 1]>::try_from(runs(&record)).unwrap();
        (run.kind, run.entity_id.or(run.entity_name))
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(kind(json!({"agent_name": "x", "team_id": "t"})), (RunKind::Agent, named("x")));
    assert_eq!(kind(json!({"team_id": "t", "workflow_id": "w"})), (RunKind::Team, named("t")));
    assert_eq!(kind(json!({"workflow_name": "w"})), (RunKind::Workflow, named("w")));
    // A workflow asks no model itself.
    assert_eq!(kind(json!({"workflow_id": "w", "model": "gpt"})), (RunKind::Agent, None));
    assert_eq!(kind(json!({"messages": []})), (RunKind::Agent, None));
}

#[test]
fn only_a_run_that_failed_has_an_error() {
    for (status, error) in [("ERROR", Some("_OTHER")), ("COMPLETED", None), ("CANCELLED", None), ("x", None)]
    {
        assert_eq!(run(&json!({"status": status})).error_type.as_deref(), error, "{status}");
    }
}

#[test]
fn an_id_used_again_is_told_apart_by_the_first_message_of_its_own() {
    let history = json!({"id": "old", "role": "user", "from_history": true});
    let key = |run_id: &str, messages: Value| {
        let record = json!({"run_id": run_id, "session_id": "s", "messages": messages});
        runs(&record).remove(0).key.reuse
    };
    let of = |own: Value| key("mine", json!([history, own]));
    assert_eq!(of(json!({"id": "a"})), "s\na");
    assert_eq!(of(json!({"created_at": 1_795_396_000})), "s\n1795396000");
    assert_eq!(key("mine", json!([history])), "s\n");
    assert_eq!(key("0a1b2c3d-0000-4000-8000-000000000001", json!([history])), "");
}

#[test]
fn the_callers_trace_is_taken_from_the_metadata() {
    let of = |metadata: Value| run(&json!({"metadata": metadata})).traceparent;
    assert_eq!(of(json!({"traceparent": "00-a-b-01"})).as_deref(), Some("00-a-b-01"));
    assert_eq!(of(json!({"other": "traceparent"})), None);
    assert_eq!(of(json!("traceparent")), None);
}

#[test]
fn a_pause_says_how_many_tools_asked_and_how_many_still_wait() {
    let pause = |fields: Value| {
        let run = run(&fields);
        let figures = run.moments.into_iter().map(|moment| {
            assert_eq!(moment.name, "agno.pause");
            moment.figures.into_iter().map(|(_, figure)| figure).collect::<Vec<_>>()
        });
        figures.collect::<Vec<_>>()
    };
    let waits = json!({"tool_call_id": "a", "requires_confirmation": true});
    let done = json!({"tool_call_id": "b", "confirmed": true, "result": "42"});
    let plain = json!({"tool_call_id": "c", "result": "42"});
    let tools = json!([waits, done, plain]);
    assert_eq!(pause(json!({"status": "PAUSED", "tools": tools})), [[2, 1]]);
    assert_eq!(pause(json!({"status": "COMPLETED", "tools": [done]})), [[1, 0]]);
    assert_eq!(pause(json!({"status": "PAUSED"})), [[0, 0]]);
    assert_eq!(pause(json!({"requirements": [{}]})), [[0, 0]]);
    assert!(pause(json!({"status": "COMPLETED", "tools": [plain]})).is_empty());
}

#[test]
fn a_compaction_says_what_it_saved_and_when() {
    let compaction = json!({"messages_compacted": 4, "tokens_before": 900, "tokens_after": 70,
        "created_at": 1_795_396_000});
    let [moment] = &run(&json!({"compaction": compaction})).moments[..] else { panic!("one moment") };
    assert_eq!(moment.at_s, Some(1_795_396_000));
    let figures: Vec<i64> = moment.figures.iter().map(|(_, figure)| *figure).collect();
    assert_eq!(figures, [4, 900, 70]);
}

use serde_json::{Value, json};

use super::*;
use crate::framework::agno::made_up::run;
use crate::model::Run;

const SECOND_NS: i64 = 1_000_000_000;

fn calls(run: &Run) -> Vec<String> {
    let said = |call: &ModelCall| format!("{} {} {}", call.key, call.role, call.tokens.total());
    run.calls.iter().map(said).collect()
}

#[test]
fn a_reasoning_agents_answers_count_once_and_only_where_they_have_figures() {
    let metrics = json!({"input_tokens": 3});
    let answer = json!({"id": "kept", "role": "assistant", "metrics": metrics});
    let run = run(&json!({
        "messages": [{"id": "m", "role": "assistant", "metrics": metrics}],
        "reasoning_messages": [
            {"id": "m", "role": "assistant", "metrics": metrics},
            {"id": "asked", "role": "user", "metrics": metrics},
            {"id": "silent", "role": "assistant"},
            answer,
            {"role": "assistant", "metrics": metrics},
        ],
    }));
    assert_eq!(calls(&run), ["kept reasoning_model 3", "reasoning/4 reasoning_model 3", "m model 3"]);
}

#[test]
fn an_example_the_application_gave_is_a_message_and_no_call() {
    let run = run(&json!({"messages": [
        {"id": "example", "role": "assistant"},
        {"id": "asks", "role": "assistant", "tool_calls": [{"id": "t"}]},
        {"id": "question", "role": "user"},
        {"id": "answer", "role": "assistant"},
    ]}));
    assert_eq!(calls(&run), ["asks model 0", "answer model 0"]);
    let messages: Vec<_> =
        run.messages.iter().map(|message| (message.role.as_str(), message.position)).collect();
    assert_eq!(messages, [("assistant", 0), ("user", 2)]);
}

#[test]
fn a_tools_message_is_the_tools_and_one_without_an_id_stands_for_itself() {
    let run = run(&json!({"messages": [
        {"id": "m1", "role": "tool", "tool_call_id": "t", "tool_name": "search", "content": "42"},
        {"id": "m2", "role": "tool", "content": "42"},
    ]}));
    let messages: Vec<_> = run.messages.iter().map(|message| message.id.as_deref()).collect();
    assert_eq!(messages, [Some("m2")]);
    let tools: Vec<_> =
        run.tools.iter().map(|tool| (tool.key.as_str(), tool.message_id.as_deref())).collect();
    assert_eq!(tools, [("t", Some("m1"))]);
}

#[test]
fn a_call_that_came_in_pieces_is_known_by_its_first_one_and_a_whole_one_by_its_duration() {
    let of = |metrics: Value| {
        let run = run(&json!({"messages": [{"role": "assistant", "metrics": metrics}]}));
        let call = &run.calls[0];
        (call.streamed, call.duration_ns, call.time_to_first_token_ns)
    };
    let half = Some(SECOND_NS / 2);
    assert_eq!(of(json!({"duration": 0.5})), (false, half, None));
    assert_eq!(of(json!({"time_to_first_token": 0.5})), (true, None, half));
    assert_eq!(of(json!({"duration": 0.5, "time_to_first_token": 0.5})), (false, half, half));
    assert_eq!(of(json!({})), (false, None, None));
}

#[test]
fn a_reasoning_models_answer_among_the_messages_has_a_text_and_no_figures() {
    let role = |message: Value| run(&json!({"messages": [message]})).calls[0].role.clone();
    let metrics = json!({"input_tokens": 3});
    assert_eq!(role(json!({"role": "assistant", "reasoning_content": "hm"})), "reasoning_model");
    assert_eq!(role(json!({"role": "assistant", "reasoning_content": "hm", "metrics": metrics})), "model");
    assert_eq!(role(json!({"role": "assistant"})), "model");
}

/// A tool as a run with it, and perhaps a message with its result, has it.
fn tool(tool: &Value, result: Option<Value>) -> ToolCall {
    let messages: Vec<Value> = result.into_iter().collect();
    let mut run = run(&json!({"tools": [tool], "messages": messages}));
    run.tools.remove(0)
}

#[test]
fn a_tool_was_executed_where_anything_came_of_it() {
    let executed = |fields: Value| {
        let mut said = json!({"tool_call_id": "t"});
        said.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        tool(&said, None).executed
    };
    assert!(!executed(json!({})));
    assert!(executed(json!({"result": "42"})));
    assert!(executed(json!({"metrics": {"duration": 0.5}})));
    assert!(executed(json!({"metrics": {"start_time": 1_795_396_000.5}})));
    let result = json!({"role": "tool", "tool_call_id": "t"});
    assert!(tool(&json!({"tool_call_id": "t"}), Some(result)).executed);
}

#[test]
fn a_tool_failed_where_it_or_its_message_says_so() {
    let result = |failed: bool| Some(json!({"role": "tool", "tool_call_id": "t", "tool_call_error": failed}));
    let said = |failed: bool| json!({"tool_call_id": "t", "tool_call_error": failed});
    assert!(!tool(&said(false), result(false)).failed);
    assert!(tool(&said(true), result(false)).failed);
    assert!(tool(&said(false), result(true)).failed);
    assert!(tool(&said(true), None).failed);
}

#[test]
fn a_human_was_asked_where_the_tool_waits_or_was_answered() {
    assert!(!tool(&json!({"tool_call_id": "t"}), None).asked_human);
    for mark in ["requires_confirmation", "requires_user_input", "external_execution_required", "confirmed"] {
        assert!(tool(&json!({"tool_call_id": "t", mark: true}), None).asked_human, "{mark}");
    }
    assert!(tool(&json!({"tool_call_id": "t", "confirmed": false}), None).asked_human, "refused");
    assert!(!tool(&json!({"tool_call_id": "t", "requires_confirmation": false}), None).asked_human);
}

#[test]
fn a_tools_times_are_taken_to_the_nanosecond_where_they_are_times() {
    let of = |start: f64, duration: f64| {
        let metrics = json!({"start_time": start, "end_time": 1_795_396_001, "duration": duration});
        let tool = tool(&json!({"tool_call_id": "t", "metrics": metrics}), None);
        (tool.start_ns, tool.end_ns, tool.duration_ns)
    };
    let end = Some(1_795_396_001 * SECOND_NS);
    let start = Some(1_795_396_000 * SECOND_NS + SECOND_NS / 2);
    assert_eq!(of(1_795_396_000.5, 0.000_000_002), (start, end, Some(2)));
    assert_eq!(of(12.5, 0.5), (None, end, Some(SECOND_NS / 2)));
    assert_eq!(of(1_795_396_000.5, -0.5), (start, end, None));
}

#[test]
fn times_are_believed_from_2001_to_2099_and_durations_to_a_year() {
    let mut oddities = Oddities::default();
    for (said, believed) in [
        (Number::Natural(999_999_999), None),
        (Number::Natural(1_000_000_000), Some(1_000_000_000)),
        (Number::Float(4_099_999_999.9), Some(4_099_999_999)),
        (Number::Natural(4_100_000_000), None),
        (Number::Absent, None),
    ] {
        assert_eq!(second(said, &mut oddities), believed, "{said:?}");
    }
    assert_eq!(oddities.count(Oddity::UnbelievableTime), 2);
    for (said, believed) in [
        (Some(-0.1), None),
        (Some(0.0), Some(0)),
        (Some(0.000_000_001_6), Some(2)),
        (Some(3.2e7), None),
        (Some(f64::NAN), None),
        (None, None),
    ] {
        assert_eq!(duration(said, &mut oddities), believed, "{said:?}");
    }
    assert_eq!(oddities.count(Oddity::UnbelievableTime), 5);
}

#[test]
fn tools_that_hand_work_on_say_to_whom_and_what_came_back() {
    let arguments = json!({"member_id": "Ann", "task": "x"});
    let of = |name: &str, child: Value| {
        let said = json!({"tool_call_id": "t", "tool_name": name, "tool_args": arguments,
            "result": " found ", "child_run_id": child});
        let ToolCall { delegates, member_hash, result_hash, .. } = tool(&said, None);
        (delegates, member_hash, result_hash.is_some())
    };
    let ann = crate::model::tree::name_hash("Ann");
    let to_ann = || (true, Some(ann), true);
    for name in [
        "delegate_task_to_member",
        "transfer_task_to_member",
        "forward_task_to_member",
        "execute_task",
        "run_workflow",
    ] {
        assert_eq!(of(name, Value::Null), to_ann(), "{name}");
    }
    assert_eq!(of("search", json!("child")), to_ann());
    assert_eq!(of("search", Value::Null), (false, None, false));
    // As a message alone has it.
    let run = run(&json!({"messages": [{"role": "tool", "tool_call_id": "t", "content": "found",
        "tool_name": "execute_task", "tool_args": arguments}]}));
    let alone = &run.tools[0];
    assert_eq!((alone.delegates, alone.member_hash), (true, Some(ann)));
    let same = json!({"tool_call_id": "t", "tool_name": "execute_task", "result": " found "});
    assert_eq!(alone.result_hash, tool(&same, None).result_hash, "but for the space around it");
    let empty = json!({"tool_call_id": "t", "tool_name": "execute_task", "result": " "});
    assert_eq!(tool(&empty, None).result_hash, None, "nothing is no answer");
}

#[test]
fn tool_calls_numbered_anew_by_each_message_stay_different_and_with_their_messages() {
    let asks = |id: &str| json!({"id": id, "role": "assistant", "tool_calls": [{"id": "call_0"}]});
    let result = |id: &str| json!({"id": id, "role": "tool", "tool_call_id": "call_0"});
    let tool = json!({"tool_call_id": "call_0"});
    let run = run(&json!({
        "messages": [asks("a"), result("ra"), asks("b"), result("rb")], "tools": [tool, tool],
    }));
    let said: Vec<_> =
        run.tools.iter().map(|tool| (tool.key.as_str(), tool.asked_by, tool.message_id.as_deref())).collect();
    assert_eq!(said, [("call_0", Some(0), Some("ra")), ("call_0#2", Some(1), Some("rb"))]);
}

#[test]
fn a_result_is_found_by_either_of_the_responses_apis_two_ids() {
    let requested = json!([{"id": "fc_1", "call_id": "call_1"}]);
    for (of_tool, of_result) in [("fc_1", "call_1"), ("call_1", "fc_1"), ("call_1", "call_1")] {
        let run = run(&json!({
            "messages": [
                {"role": "assistant", "tool_calls": requested},
                {"id": "result", "role": "tool", "tool_call_id": of_result},
            ],
            "tools": [{"tool_call_id": of_tool}],
        }));
        let said: Vec<_> = run.tools.iter().map(|tool| (tool.asked_by, tool.message_id.as_deref())).collect();
        assert_eq!(said, [(Some(0), Some("result"))], "{of_tool} {of_result}");
    }
}

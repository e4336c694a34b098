//! Runs whose every field of content holds a canary: a text that must be seen nowhere.

use serde_json::{Value, json};

/// What every canary holds.
pub(crate) const MARK: &str = "canary";
/// The user of these runs: personal data, and not content.
pub(crate) const USER: &str = "personal-user-7";

/// Top-level fields of a run, other than ids and names, that an application or a model can put words into.
pub(crate) const FIELDS: &[&str] = &[
    "content",
    "messages",
    "reasoning_content",
    "reasoning_steps",
    "reasoning_messages",
    "tools",
    "metadata",
    "session_state",
    "input",
    "images",
    "videos",
    "audio",
    "files",
    "response_audio",
    "references",
    "citations",
    "requirements",
    "compaction",
    "followups",
    "events",
    "additional_input",
    "model_provider_data",
    "member_responses",
    "step_results",
    "step_executor_runs",
    "metrics",
    "user_feedback",
];

/// The canaries of what was said: all that may leave, and only on request.
pub(crate) const SAID: &[&str] = &[
    // Questions and answers of runs, their media by address, and why they failed.
    "input",
    "input.images",
    "input.files",
    "content",
    "images",
    "videos",
    "audio",
    "files",
    "paused content",
    "error text of the provider",
    "step.error",
    // Messages.
    "system",
    "list content",
    "image_url",
    "message.images",
    "message.audio",
    "message.files",
    "assistant",
    "message.reasoning",
    "arguments",
    "delegation",
    "tool message",
    "structured answer",
    "reasoning_messages",
    "reasoning_messages.reasoning",
    // Tools.
    "tool_args",
    "tool_args.key",
    "tool.result",
    "member_id",
    "task",
    "delegation.result",
    "paused.tool_args",
];

/// A canary of its own for each place.
pub(crate) fn of(place: &str) -> Value {
    Value::from(format!("{MARK} of {place}"))
}

fn media(place: &str) -> Value {
    // Media travels as base64, which is no less content; a canary needs no encoding to be one.
    json!([{"id": "m-1", "content": of(place), "url": format!("https://{MARK}.example/{place}"), "filepath": of(place),
        "transcript": of(place), "original_prompt": of(place), "revised_prompt": of(place), "filename": of(place),
        "name": of(place), "mime_type": "image/png", "format": "png"}])
}

/// Fields of content that any run may carry.
fn content_fields() -> Value {
    json!({
        "content": of("content"), "content_type": "str",
        "reasoning_content": of("reasoning_content"),
        "reasoning_steps": [{"title": of("title"), "action": of("action"), "result": of("result"), "reasoning": of("reasoning"), "confidence": 0.9}],
        "reasoning_messages": [{"role": "assistant", "id": "rm-1", "content": of("reasoning_messages"), "reasoning_content": of("reasoning_messages.reasoning"),
            "metrics": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}}],
        "metadata": {"note": of("metadata"), MARK: 1, "traceparent": of("metadata.traceparent"), "nested": {"deep": [of("metadata.nested")]}},
        "session_state": {"plan": of("session_state"), MARK: [of("session_state.list")]},
        "input": {"input_content": of("input"), "images": media("input.images"), "files": media("input.files")},
        "images": media("images"), "videos": media("videos"), "audio": media("audio"), "files": media("files"),
        "response_audio": {"id": "audio_1", "content": of("response_audio"), "transcript": of("response_audio.transcript")},
        "references": [{"query": of("references.query"), "references": [{"content": of("references"), "name": of("references.name")}], "time": 0.1}],
        "citations": {"raw": [of("citations.raw")], "urls": [{"url": format!("https://{MARK}.example"), "title": of("citations.title")}], "search_queries": [of("search_queries")]},
        "followups": [of("followups")],
        "additional_input": [{"role": "user", "content": of("additional_input")}],
        "model_provider_data": {"id": "resp_1", "output_text": of("model_provider_data"), "content_blocks": [{"thinking": of("thinking"), "signature": of("signature")}]},
        "user_feedback": of("user_feedback"),
        "compaction": {"id": "c-1", "summary": of("compaction.summary"), "messages_compacted": 3, "tokens_before": 100, "tokens_after": 10,
            "first_kept_message_id": of("first_kept_message_id"), "created_at": 1_795_396_245},
        "events": [{"event": "RunContent", "content": of("events"), "reasoning_content": of("events.reasoning"), "run_input": of("events.input"),
            "tool": {"tool_args": {"q": of("events.tool")}, "result": of("events.result")}}],
        "error": of("error"), "error_message": of("error_message"), "cancellation_reason": of("cancellation_reason"),
    })
}

fn messages(place: &str) -> Value {
    let id = |number: u32| format!("{place}-m{number}");
    json!([
        {"id": id(1), "role": "system", "content": of("system"), "created_at": 1_795_396_244},
        {"id": id(2), "role": "user", "content": [{"type": "text", "text": of("list content")}, {"type": "image_url", "image_url": {"url": of("image_url")}}],
            "images": media("message.images"), "audio": media("message.audio"), "files": media("message.files"), "created_at": 1_795_396_244},
        {"id": id(3), "role": "assistant", "content": of("assistant"), "reasoning_content": of("message.reasoning"), "redacted_reasoning_content": of("redacted"),
            "compressed_content": of("compressed_content"), "thinking": of("thinking"), "name": of("message.name"),
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": format!("{{\"q\": \"{MARK} of arguments\"}}")}},
                {"id": "call_2", "type": "function", "function": {"name": "delegate_task_to_member", "arguments": of("delegation")}}],
            "provider_data": {"id": "chatcmpl-1", "system_fingerprint": of("fingerprint"), "content_blocks": [{"text": of("content_blocks"), "input": {"q": of("block.input")}}]},
            "citations": {"raw": of("message.citations")}, "references": {"query": of("message.references")},
            "audio_output": {"id": "a-1", "content": of("audio_output"), "transcript": of("audio_output.transcript")},
            "metrics": {"input_tokens": 40, "output_tokens": 9, "total_tokens": 49, "duration": 0.4, "provider_metrics": {"note": of("provider_metrics"), "list": [of("provider_metrics.list")]}},
            "created_at": 1_795_396_244},
        {"id": id(4), "role": "tool", "content": of("tool message"), "compressed_content": of("tool.compressed"), "tool_call_id": "call_1", "tool_name": "look_up",
            "tool_args": {"q": of("message.tool_args"), MARK: 1}, "tool_call_error": true, "created_at": 1_795_396_245},
        {"id": id(5), "role": "assistant", "content": {"answer": of("structured answer")}, "metrics": {"input_tokens": 60, "output_tokens": 12, "total_tokens": 72, "duration": 0.5}, "created_at": 1_795_396_245},
    ])
}

fn tools() -> Value {
    json!([
        {"tool_call_id": "call_1", "tool_name": "look_up", "tool_args": {"q": of("tool_args"), MARK: of("tool_args.key")}, "tool_call_error": true,
            "result": of("tool.result"), "metrics": {"duration": 0.2, "start_time": 1_795_396_244.5, "end_time": 1_795_396_244.7},
            "confirmation_note": of("confirmation_note"), "images": media("tool.images"), "created_at": 1_795_396_245},
        {"tool_call_id": "call_2", "tool_name": "delegate_task_to_member", "tool_args": {"member_id": of("member_id"), "task": of("task")},
            "result": of("delegation.result"), "metrics": {"duration": 0.3}, "created_at": 1_795_396_245},
    ])
}

/// An object with the fields of another on top.
fn with(mut base: Value, more: Value) -> Value {
    let (Value::Object(base_fields), Value::Object(more)) = (&mut base, more) else { panic!("two objects") };
    base_fields.extend(more);
    base
}

fn metrics() -> Value {
    json!({"input_tokens": 100, "output_tokens": 21, "total_tokens": 121, "duration": 1.5, "time_to_first_token": 0.2,
        "provider_metrics": {"note": of("run.provider_metrics"), "deep": {"text": of("deep")}},
        "additional_metrics": {"note": of("additional_metrics")}})
}

/// A completed run of an agent.
pub(crate) fn agent() -> Value {
    let own = json!({
        "run_id": "11111111-1111-4111-8111-111111111111", "agent_id": "helper", "agent_name": "Helper", "session_id": "s-1", "user_id": USER,
        "model": "gpt-mock", "model_provider": "OpenAI", "status": "COMPLETED", "created_at": 1_795_396_244,
        "metrics": metrics(), "messages": messages("a"), "tools": tools(),
    });
    with(content_fields(), own)
}

/// A run that failed: its content is the provider's error text.
pub(crate) fn failed_agent() -> Value {
    let own = json!({
        "run_id": "22222222-2222-4222-8222-222222222222", "agent_id": "helper", "agent_name": "Helper", "session_id": "s-1", "user_id": USER,
        "model": "gpt-mock", "model_provider": "OpenAI", "status": "ERROR", "created_at": 1_795_396_250,
        "content": of("error text of the provider"), "messages": messages("f"), "tools": tools(), "metrics": metrics(),
    });
    with(content_fields(), own)
}

/// A team's run with a member's.
pub(crate) fn team() -> Value {
    let member = with(
        agent(),
        json!({"run_id": "33333333-3333-4333-8333-333333333334", "parent_run_id": "33333333-3333-4333-8333-333333333333",
        "agent_id": "member", "agent_name": "Member", "messages": messages("tm"), "content": of("delegation.result")}),
    );
    let own = json!({
        "run_id": "33333333-3333-4333-8333-333333333333", "agent_id": null, "agent_name": null, "team_id": "crew", "team_name": "Crew",
        "messages": messages("t"), "member_responses": [member],
    });
    with(agent(), own)
}

/// A workflow's run with steps, nested steps and the runs they executed.
pub(crate) fn workflow() -> Value {
    let run_id = "44444444-4444-4444-8444-444444444444";
    let executed = with(
        agent(),
        json!({"run_id": "44444444-4444-4444-8444-444444444445", "parent_run_id": run_id, "workflow_step_id": "st-1",
        "agent_id": "stepper", "agent_name": "Stepper", "messages": messages("w")}),
    );
    let step = |name: &str| {
        json!({"step_name": name, "step_id": format!("st-{name}"), "step_type": "Step", "executor_type": "agent", "executor_name": "Stepper",
            "content": of("step.content"), "error": of("step.error"), "stop": false, "success": false, "images": media("step.images"),
            "step_input": {"input": of("step.input"), "previous_step_content": of("previous_step_content"), "additional_data": {MARK: of("additional_data")}},
            "metrics": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "duration": 0.1}})
    };
    let mut outer = step("outer");
    outer["steps"] = json!([step("inner"), [step("left"), step("right")]]);
    let mut first = step("1");
    first["step_run_id"] = json!("44444444-4444-4444-8444-444444444445");
    let own = json!({
        "run_id": run_id, "workflow_id": "flow", "workflow_name": "Flow", "session_id": "s-2", "user_id": USER, "status": "COMPLETED",
        "created_at": 1_795_396_260, "step_results": [first, outer], "step_executor_runs": [executed],
        "metrics": {"duration": 2.5, "steps": {"1": {"step_name": "1", "executor_type": "agent", "executor_name": "Stepper", "note": of("workflow.metrics")}}},
        "step_requirements": [{"step_id": "st-1", "step_name": "1", "confirmation_message": of("confirmation_message"), "step_input": {"input": of("requirement.input")}}],
        "error_requirements": [{"error_message": of("error_requirements")}],
    });
    let mut run = with(content_fields(), own);
    run["messages"] = Value::Null;
    run
}

/// A run that waits for a human.
pub(crate) fn paused() -> Value {
    let asking = json!({"tool_call_id": "call_1", "tool_name": "look_up", "tool_args": {"q": of("paused.tool_args")}, "requires_confirmation": true,
        "requires_user_input": true, "user_input_schema": [{"name": of("schema.name"), "description": of("schema.description"), "value": of("schema.value")}],
        "confirmation_note": of("paused.note")});
    let own = json!({
        "run_id": "r-9", "session_id": "s-9", "status": "PAUSED", "content": of("paused content"), "messages": messages("p"), "tools": [asking],
        "requirements": [{"id": "q-1", "created_at": of("requirement.created_at"), "tool_execution": asking, "confirmation_note": of("requirement.note"),
            "user_feedback_schema": [{"question": of("question"), "options": [of("option")]}]}],
    });
    with(agent(), own)
}

/// A run of every kind.
pub(crate) fn every_run() -> [Value; 5] {
    [agent(), failed_agent(), team(), workflow(), paused()]
}

/// The row of a session with its runs.
pub(crate) fn session(runs: &Value) -> Value {
    json!({"session_id": "s-1", "session_type": "agent", "agent_id": "helper", "user_id": USER, "runs": runs,
        "session_data": {"session_name": of("session_name"), "session_state": {MARK: of("row.session_state")}, "session_metrics": {"note": of("session_metrics")}},
        "agent_data": {"instructions": of("instructions"), "name": "Helper"}, "metadata": {"note": of("row.metadata")},
        "summary": {"summary": of("summary"), "topics": [of("topics")]}, "created_at": 1_795_396_244, "updated_at": 1_795_396_300})
}

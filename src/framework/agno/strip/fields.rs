//! The fields that are left of each kind of object, and how much of each.

use super::super::message::delegates;
use super::{Fields, Rule};

pub(super) static RUN: Fields = Fields {
    rules: &[
        ("run_id", Rule::Text),
        ("parent_run_id", Rule::Text),
        ("session_id", Rule::Text),
        ("user_id", Rule::Text),
        ("agent_id", Rule::Text),
        ("agent_name", Rule::Text),
        ("team_id", Rule::Text),
        ("team_name", Rule::Text),
        ("workflow_id", Rule::Text),
        ("workflow_name", Rule::Text),
        ("workflow_step_id", Rule::Text),
        ("model", Rule::Text),
        ("model_provider", Rule::Text),
        ("status", Rule::Word("UNKNOWN")),
        ("created_at", Rule::Number),
        ("content", Rule::Said),
        ("metadata", Rule::Object(&METADATA)),
        ("messages", Rule::List(&MESSAGE)),
        ("reasoning_messages", Rule::List(&MESSAGE)),
        ("tools", Rule::List(&TOOL)),
        ("metrics", Rule::Object(&METRICS)),
        ("requirements", Rule::List(&NOTHING)),
        ("compaction", Rule::Object(&COMPACTION)),
        ("regenerated_from", Rule::Text),
        ("forked_from_run_id", Rule::Text),
        ("forked_from_session_id", Rule::Text),
        ("forked_from_message_index", Rule::Number),
        ("last_checkpoint_at_message_index", Rule::Number),
        ("member_responses", Rule::Runs),
        ("step_executor_runs", Rule::Runs),
        ("workflow_agent_run", Rule::Run),
        ("step_results", Rule::Steps),
    ],
    // A member's answer is what its team's delegation came back with.
    is_compared: |run, within| within.runs > 0 || run.text("parent_run_id").is_some(),
};

static MESSAGE: Fields = Fields {
    rules: &[
        ("id", Rule::Text),
        ("role", Rule::Word("unknown")),
        ("from_history", Rule::Flag),
        ("created_at", Rule::Number),
        ("reasoning_content", Rule::Hollow),
        ("tool_calls", Rule::List(&REQUESTED)),
        ("tool_call_id", Rule::Text),
        ("tool_name", Rule::Text),
        ("tool_args", Rule::Arguments),
        ("tool_call_error", Rule::Flag),
        ("content", Rule::Said),
        ("provider_data", Rule::Object(&PROVIDER_DATA)),
        ("metrics", Rule::Object(&METRICS)),
    ],
    is_compared: |message, _| message.text("tool_name").is_some_and(|name| delegates(&name)),
};

static TOOL: Fields = Fields {
    rules: &[
        ("tool_call_id", Rule::Text),
        ("tool_name", Rule::Text),
        ("tool_args", Rule::Arguments),
        ("tool_call_error", Rule::Flag),
        ("result", Rule::Result),
        ("metrics", Rule::Object(&TOOL_METRICS)),
        ("child_run_id", Rule::Text),
        ("created_at", Rule::Number),
        ("requires_confirmation", Rule::Flag),
        ("confirmed", Rule::Flag),
        ("requires_user_input", Rule::Flag),
        ("external_execution_required", Rule::Flag),
    ],
    is_compared: |tool, _| {
        tool.text("tool_name").is_some_and(|name| delegates(&name)) || tool.text("child_run_id").is_some()
    },
};

static REQUESTED: Fields = plain(&[("id", Rule::Text), ("call_id", Rule::Text)]);
static PROVIDER_DATA: Fields = plain(&[("id", Rule::Text), ("response_id", Rule::Text)]);
static TOOL_METRICS: Fields =
    plain(&[("start_time", Rule::Number), ("end_time", Rule::Number), ("duration", Rule::Number)]);
static METADATA: Fields = plain(&[("traceparent", Rule::Word(""))]);
static NOTHING: Fields = plain(&[]);
static COMPACTION: Fields = plain(&[
    ("messages_compacted", Rule::Number),
    ("tokens_before", Rule::Number),
    ("tokens_after", Rule::Number),
    ("created_at", Rule::Number),
]);

pub(super) static STEP: Fields = plain(&[
    ("step_name", Rule::Text),
    ("step_id", Rule::Text),
    ("step_type", Rule::Text),
    ("executor_type", Rule::Text),
    ("executor_name", Rule::Text),
    ("step_run_id", Rule::Text),
    ("metrics", Rule::Object(&METRICS)),
    ("success", Rule::Flag),
    ("is_paused", Rule::Flag),
    ("steps", Rule::Steps),
]);

/// Figures of metrics, with those of each role.
pub(super) static METRICS: Fields = plain(&[
    ("input_tokens", Rule::Number),
    ("output_tokens", Rule::Number),
    ("total_tokens", Rule::Number),
    ("audio_input_tokens", Rule::Number),
    ("audio_output_tokens", Rule::Number),
    ("audio_total_tokens", Rule::Number),
    ("cache_read_tokens", Rule::Number),
    ("cache_write_tokens", Rule::Number),
    ("reasoning_tokens", Rule::Number),
    ("cost", Rule::Number),
    ("duration", Rule::Number),
    ("time_to_first_token", Rule::Number),
    ("provider_metrics", Rule::Scalars),
    ("details", Rule::Roles),
    ("id", Rule::Text),
    ("provider", Rule::Text),
]);

const fn plain(rules: &'static [(&'static str, Rule)]) -> Fields {
    Fields { rules, is_compared: |_, _| false }
}

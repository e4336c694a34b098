//! Agno's JSON exactly as Agno writes it, for 2.0 to 3.1; serde and nothing else.
//!
//! Agno drops `None` and 0 in most objects and keeps `null` in others, so every field is optional and absent
//! means 0 or unknown. Content is passed over as raw text, and opened only where it was asked for (`content.rs`).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::{Bounded, Flag, List, Map, Number, Object, Text};

/// A run of an agent, team or workflow; also the row of a session or a run that holds them (`JsonDb`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunRecord<'a> {
    #[serde(borrow)]
    pub(super) run_id: Text<'a>,
    pub(super) parent_run_id: Text<'a>,
    pub(super) session_id: Text<'a>,
    pub(super) user_id: Text<'a>,
    pub(super) agent_id: Text<'a>,
    pub(super) agent_name: Text<'a>,
    pub(super) team_id: Text<'a>,
    pub(super) team_name: Text<'a>,
    pub(super) workflow_id: Text<'a>,
    pub(super) workflow_name: Text<'a>,
    pub(super) workflow_step_id: Text<'a>,
    pub(super) model: Text<'a>,
    pub(super) model_provider: Text<'a>,
    pub(super) status: Text<'a>,
    pub(super) created_at: Number,
    pub(super) content: Option<&'a RawValue>,
    pub(super) input: Option<&'a RawValue>,
    pub(super) images: Option<&'a RawValue>,
    pub(super) videos: Option<&'a RawValue>,
    pub(super) audio: Option<&'a RawValue>,
    pub(super) files: Option<&'a RawValue>,
    pub(super) response_audio: Option<&'a RawValue>,
    pub(super) metadata: Option<&'a RawValue>,
    pub(super) messages: List<MessageRecord<'a>>,
    pub(super) reasoning_messages: List<MessageRecord<'a>>,
    pub(super) tools: List<ToolRecord<'a>>,
    pub(super) metrics: Object<MetricsRecord<'a>>,
    pub(super) requirements: List<serde::de::IgnoredAny>,
    pub(super) compaction: Object<CompactionRecord>,
    pub(super) regenerated_from: Text<'a>,
    pub(super) forked_from_run_id: Text<'a>,
    pub(super) forked_from_session_id: Text<'a>,
    pub(super) forked_from_message_index: Number,
    pub(super) last_checkpoint_at_message_index: Number,
    pub(super) member_responses: Bounded<List<Self>>,
    pub(super) step_executor_runs: Bounded<List<Self>>,
    pub(super) workflow_agent_run: Bounded<Object<Box<Self>>>,
    /// Steps, and lists of steps where they ran together; read by `steps`, which bounds its depth.
    pub(super) step_results: Option<&'a RawValue>,
    // What tells a row, an event or a 1.x record from a run.
    pub(super) runs: Option<&'a RawValue>,
    pub(super) run_data: Option<&'a RawValue>,
    pub(super) run_index: Number,
    pub(super) updated_at: Option<&'a RawValue>,
    pub(super) session_type: Text<'a>,
    pub(super) event: Text<'a>,
    pub(super) memory: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessageRecord<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    pub(super) role: Text<'a>,
    pub(super) from_history: Flag,
    pub(super) created_at: Number,
    pub(super) reasoning_content: Option<&'a RawValue>,
    pub(super) tool_calls: List<RequestedToolRecord<'a>>,
    pub(super) tool_call_id: Text<'a>,
    pub(super) tool_name: Text<'a>,
    pub(super) tool_args: Option<&'a RawValue>,
    pub(super) tool_call_error: Flag,
    pub(super) content: Option<&'a RawValue>,
    pub(super) images: Option<&'a RawValue>,
    pub(super) videos: Option<&'a RawValue>,
    pub(super) audio: Option<&'a RawValue>,
    pub(super) files: Option<&'a RawValue>,
    pub(super) image_output: Option<&'a RawValue>,
    pub(super) video_output: Option<&'a RawValue>,
    pub(super) audio_output: Option<&'a RawValue>,
    pub(super) file_output: Option<&'a RawValue>,
    pub(super) provider_data: Object<ProviderDataRecord<'a>>,
    pub(super) metrics: Object<MetricsRecord<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProviderDataRecord<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    pub(super) response_id: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RequestedToolRecord<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    /// The Responses API has an id of the item and one of the call.
    pub(super) call_id: Text<'a>,
    /// Its name, and its arguments as JSON in a string.
    pub(super) function: Option<&'a RawValue>,
    /// Gemini's results up to 2.0 stand in the list of calls of one message.
    pub(super) content: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolRecord<'a> {
    #[serde(borrow)]
    pub(super) tool_call_id: Text<'a>,
    pub(super) tool_name: Text<'a>,
    pub(super) tool_args: Option<&'a RawValue>,
    pub(super) tool_call_error: Flag,
    pub(super) result: Option<&'a RawValue>,
    pub(super) metrics: Object<ToolMetricsRecord>,
    pub(super) child_run_id: Text<'a>,
    pub(super) created_at: Number,
    pub(super) requires_confirmation: Flag,
    pub(super) confirmed: Flag,
    pub(super) requires_user_input: Flag,
    pub(super) external_execution_required: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolMetricsRecord {
    pub(super) start_time: Number,
    pub(super) end_time: Number,
    pub(super) duration: Number,
}

/// The one field of a delegating tool's arguments that names the member.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DelegationRecord<'a> {
    #[serde(borrow)]
    pub(super) member_id: Option<&'a RawValue>,
}

/// What [`strip`](super::strip) puts in the place of a text that is only ever compared.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct HashRecord {
    #[serde(rename = "agno_otel_hash")]
    pub(super) hash: Option<u64>,
}

/// `Metrics`, `MessageMetrics`, `RunMetrics` and `ModelMetrics` in one: which fields are there tells which it is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MetricsRecord<'a> {
    pub(super) input_tokens: Number,
    pub(super) output_tokens: Number,
    pub(super) total_tokens: Number,
    pub(super) audio_input_tokens: Number,
    pub(super) audio_output_tokens: Number,
    pub(super) audio_total_tokens: Number,
    pub(super) cache_read_tokens: Number,
    pub(super) cache_write_tokens: Number,
    pub(super) reasoning_tokens: Number,
    pub(super) cost: Number,
    pub(super) duration: Number,
    pub(super) time_to_first_token: Number,
    #[serde(borrow)]
    pub(super) provider_metrics: Option<&'a RawValue>,
    pub(super) details: Bounded<Map<List<Self>>>,
    // ModelMetrics only.
    pub(super) id: Text<'a>,
    pub(super) provider: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CompactionRecord {
    pub(super) messages_compacted: Number,
    pub(super) tokens_before: Number,
    pub(super) tokens_after: Number,
    pub(super) created_at: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StepRecord<'a> {
    #[serde(borrow)]
    pub(super) step_name: Text<'a>,
    pub(super) step_id: Text<'a>,
    pub(super) step_type: Text<'a>,
    pub(super) executor_type: Text<'a>,
    pub(super) executor_name: Text<'a>,
    pub(super) step_run_id: Text<'a>,
    pub(super) metrics: Object<MetricsRecord<'a>>,
    pub(super) success: Flag,
    pub(super) error: Option<&'a RawValue>,
    pub(super) is_paused: Flag,
    pub(super) steps: Option<&'a RawValue>,
}

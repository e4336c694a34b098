//! What a run is made of: model calls, tool calls, messages, workflow steps.

use super::cost::Cost;
use super::tokens::Tokens;

/// The framework's own figures, under its own names, as it states them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stated {
    /// Whole numbers: the nine token fields.
    pub integers: Vec<(&'static str, u64)>,
    /// Seconds and currency: duration, time to first token, cost.
    pub floats: Vec<(&'static str, f64)>,
    /// Scalars a provider added, by its own key.
    pub provider: Vec<(String, Scalar)>,
}

/// A scalar of a provider's own metrics.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A short word.
    Text(String),
}

/// What was spent on one model in one role.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Which of the agent's models: `model`, `memory_model`, …
    pub role: String,
    /// Provider, in OpenTelemetry's words.
    pub provider: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// Who spent it, where that is not the run itself: the executor of a workflow step whose run was not kept.
    pub spender: Option<Spender>,
    /// The tokens.
    pub tokens: Tokens,
    /// What the provider states that all of it cost, in nano-dollars; its messages may state more of it.
    pub stated_nano_usd: Option<u64>,
    /// What it cost; `None`: no price is known. Of the calls of it that cost is the sum.
    pub cost: Option<Cost>,
    /// Of its tokens, those without a known price.
    pub unpriced: u64,
}

/// The executor of a workflow step whose run was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spender {
    /// Agent or team.
    pub kind: super::RunKind,
    /// Its name.
    pub name: String,
    /// Index of the step in its run's [`steps`](super::Run::steps).
    pub step: usize,
}

/// One request to a model, or, where only sums were recorded, all requests of one role.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelCall {
    /// What makes it this call among the run's: message id, or role and number.
    pub key: String,
    /// Which of the agent's models.
    pub role: String,
    /// Provider, in OpenTelemetry's words.
    pub provider: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// The provider's id of the response.
    pub response_id: Option<String>,
    /// Id of the assistant message that is its answer. `None`: only a sum was recorded.
    pub message_id: Option<String>,
    /// True when a message stands for it. False: it may stand for several calls.
    pub has_message: bool,
    /// Tokens, normalised.
    pub tokens: Tokens,
    /// What it cost; `None`: no price is known.
    pub cost: Option<Cost>,
    /// The rule by which the framework's figures were normalised.
    pub rule: &'static str,
    /// The framework's own figures.
    pub stated: Stated,
    /// Request to response, nanoseconds.
    pub duration_ns: Option<i64>,
    /// Request to first chunk, nanoseconds.
    pub time_to_first_token_ns: Option<i64>,
    /// True when the answer came in pieces.
    pub streamed: bool,
    /// Unix second just before the request was sent.
    pub created_at_s: Option<i64>,
    /// Place among the run's messages; `None` without a message.
    pub position: Option<usize>,
    /// The workflow step it belongs to, where the step's own run was not kept.
    pub step: Option<usize>,
    /// Why the model stopped, one word for each answer, where it is known.
    pub finish_reasons: Vec<String>,
    /// Low-cardinality reason, where it failed and that was noted.
    pub error_type: Option<String>,
    /// True where it was given up before it was over.
    pub unfinished: bool,
}

/// One execution of a tool.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, each recorded as such")]
pub struct ToolCall {
    /// What makes it this call among the run's: the tool call id.
    pub key: String,
    /// The tool's name.
    pub name: String,
    /// The provider's id of the call.
    pub call_id: Option<String>,
    /// Id of the tool message that carries its result.
    pub message_id: Option<String>,
    /// True when it failed.
    pub failed: bool,
    /// False when it was asked for and never executed (a run that waits, or was stopped).
    pub executed: bool,
    /// True when a human was asked before it ran.
    pub asked_human: bool,
    /// Measured start, Unix nanoseconds.
    pub start_ns: Option<i64>,
    /// Measured end, Unix nanoseconds.
    pub end_ns: Option<i64>,
    /// Measured duration, nanoseconds.
    pub duration_ns: Option<i64>,
    /// Unix second at which its message was made, at its end or later.
    pub created_at_s: Option<i64>,
    /// Index into the run's calls: the call that asked for it.
    pub asked_by: Option<usize>,
    /// True when it hands work to a member of a team.
    pub delegates: bool,
    /// The member run, where the framework noted it.
    pub child_run_id: Option<String>,
    /// A hash of the name or id of the member it was meant for.
    pub member_hash: Option<u64>,
    /// Hash of its result, to match it to a member's answer. Never exported.
    pub result_hash: Option<u64>,
    /// Low-cardinality reason, where it failed and that was noted.
    pub error_type: Option<String>,
    /// True where it was given up before it was over.
    pub unfinished: bool,
}

impl ToolCall {
    /// The value of `error.type`, if it failed.
    pub fn error_type(&self) -> Option<&str> {
        self.failed.then(|| self.error_type.as_deref().unwrap_or("_OTHER"))
    }
}

/// A user or system message: an event, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: Option<String>,
    /// `user`, `system`, or whatever else was said.
    pub role: String,
    /// Unix second it was made.
    pub created_at_s: Option<i64>,
    /// Place among the run's messages.
    pub position: usize,
}

/// One step of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Place in the tree of steps: `0`, `0/2`, …; unique in its run.
    pub path: String,
    /// Index of the step that contains it.
    pub parent: Option<usize>,
    /// Its name.
    pub name: String,
    /// The framework's id of the step; the same in every round of a loop.
    pub id: Option<String>,
    /// `Step`, `Loop`, `Parallel`, `Condition`, `Router`, …
    pub kind: Option<String>,
    /// `agent`, `team`, `function`, `workflow`, …
    pub executor_kind: Option<String>,
    /// Name of what it executed.
    pub executor_name: Option<String>,
    /// The run it executed.
    pub run_id: Option<String>,
    /// True when it did not succeed.
    pub failed: bool,
    /// True when it waits for a human.
    pub paused: bool,
    /// Recorded duration, nanoseconds; absent where it is no wall time.
    pub duration_ns: Option<i64>,
    /// True when its children ran side by side.
    pub parallel: bool,
}

//! Every attribute and metric name we send, in one place.
//!
//! The `gen_ai.*` names follow `open-telemetry/semantic-conventions-genai`, main of 2026-10-07 (06ec68e). Its
//! Rust crate marks all of them deprecated ("moved"), so they are our own constants. The `agno.*` names are ours:
//! no convention covers them. `docs/mapping.md` lists every one; a test holds it against this file.

use crate::model::cost::NANO_PER_USD;

/// The edition of the conventions that names follow.
pub const CONVENTIONS: &str = "semantic-conventions-genai, main of 2026-10-07 (06ec68e)";

/// Name of the instrumentation scope of spans.
pub const SCOPE: &str = "agno-otel";

/// Declares names as constants and as the list the mapping document is held against.
macro_rules! names {
    ($(#[$doc:meta])* $list:ident: $($name:ident = $text:literal),+ $(,)?) => {
        $(#[doc = concat!("`", $text, "`")] pub const $name: &str = $text;)+
        $(#[$doc])*
        pub const $list: &[&str] = &[$($text),+];
    };
}

names! {
    /// Every fixed attribute and event name.
    ATTRIBUTES:
    OPERATION_NAME = "gen_ai.operation.name",
    CONVERSATION_ID = "gen_ai.conversation.id",
    AGENT_NAME = "gen_ai.agent.name",
    WORKFLOW_NAME = "gen_ai.workflow.name",
    PROVIDER_NAME = "gen_ai.provider.name",
    REQUEST_MODEL = "gen_ai.request.model",
    REQUEST_STREAM = "gen_ai.request.stream",
    RESPONSE_ID = "gen_ai.response.id",
    RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons",
    RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk",
    TOOL_NAME = "gen_ai.tool.name",
    TOOL_TYPE = "gen_ai.tool.type",
    TOOL_CALL_ID = "gen_ai.tool.call.id",
    TOOL_CALL_ARGUMENTS = "gen_ai.tool.call.arguments",
    TOOL_CALL_RESULT = "gen_ai.tool.call.result",
    INPUT_MESSAGES = "gen_ai.input.messages",
    OUTPUT_MESSAGES = "gen_ai.output.messages",
    SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions",
    TOKEN_MODALITY = "gen_ai.token.modality",
    TOKEN_TYPE = "gen_ai.token.type",
    USAGE_INPUT = "gen_ai.usage.input_tokens",
    USAGE_OUTPUT = "gen_ai.usage.output_tokens",
    USAGE_CACHE_READ = "gen_ai.usage.cache_read.input_tokens",
    USAGE_CACHE_WRITE = "gen_ai.usage.cache_write.input_tokens",
    USAGE_CACHE_CREATION = "gen_ai.usage.cache_creation.input_tokens",
    USAGE_REASONING = "gen_ai.usage.reasoning.output_tokens",
    USAGE_AUDIO_INPUT = "gen_ai.usage.audio.input_tokens",
    USAGE_AUDIO_OUTPUT = "gen_ai.usage.audio.output_tokens",
    SESSION_ID = "session.id",
    USER_ID = "user.id",
    ERROR_TYPE = "error.type",
    RUN_ID = "agno.run.id",
    PARENT_RUN_ID = "agno.parent_run.id",
    RUN_KIND = "agno.run.kind",
    RUN_STATUS = "agno.run.status",
    RUN_TOTAL_TOKENS = "agno.run.total_tokens",
    RUN_TIME_TO_FIRST_TOKEN = "agno.run.time_to_first_token",
    AGENT_ID = "agno.agent.id",
    TEAM_ID = "agno.team.id",
    WORKFLOW_ID = "agno.workflow.id",
    MESSAGE_ID = "agno.message.id",
    MESSAGE_ROLE = "agno.message.role",
    MESSAGE_CONTENT = "agno.message.content",
    CONTENT_LEFT_OUT = "agno.content.left_out",
    MODEL_ROLE = "agno.model.role",
    MODEL_CALL_SUMMED = "agno.model_call.summed",
    TOOL_ASKED_HUMAN = "agno.tool.asked_human",
    TOOL_STATUS = "agno.tool.status",
    TOKEN_CLASS = "agno.token.class",
    TOKEN_RULE = "agno.token.rule",
    TOKENS_BUCKET = "agno.tokens.bucket",
    COST_AMOUNT = "agno.cost.amount",
    COST_CURRENCY = "agno.cost.currency",
    COST_SOURCE = "agno.cost.source",
    COST_ESTIMATE = "agno.cost.estimate",
    COST_BUCKET = "agno.cost.bucket",
    RUN_COST = "agno.run.cost.usd",
    RUN_TOTAL_COST = "agno.run.total_cost.usd",
    RUN_UNPRICED_TOKENS = "agno.run.unpriced_tokens",
    SESSION_COST_SO_FAR = "agno.session.cost.usd",
    TIMING = "agno.timing",
    STEP_NAME = "agno.step.name",
    STEP_ID = "agno.step.id",
    STEP_TYPE = "agno.step.type",
    STEP_EXECUTOR_TYPE = "agno.step.executor.type",
    STEP_EXECUTOR_NAME = "agno.step.executor.name",
    STEP_PAUSED = "agno.step.paused",
    SESSION_INPUT_TOKENS = "agno.session.input_tokens",
    SESSION_OUTPUT_TOKENS = "agno.session.output_tokens",
    SESSION_TOTAL_TOKENS = "agno.session.total_tokens",
    SESSION_RUNS = "agno.session.runs",
    BUDGET_NAME = "agno.budget.name",
    SESSION_THRESHOLD = "agno.session.threshold.value",
    CROSSED_TOKENS = "agno.session.threshold.tokens",
    CROSSED_USD = "agno.session.threshold.usd",
    LINK_KIND = "agno.link.kind",
    UNFINISHED = "agno.unfinished",
    ODDITY = "agno.oddity",
    BRIDGE_VERSION = "agno.bridge.version",
    BRIDGE_PRICES = "agno.bridge.price_table.version",
    BRIDGE_OUTCOME = "agno.bridge.outcome",
    BRIDGE_REASON = "agno.bridge.reason",
    EVENT_MESSAGE = "agno.message",
    EVENT_PAUSE = "agno.pause",
    PAUSE_TOOLS = "agno.pause.tools",
    PAUSE_WAITING = "agno.pause.waiting",
    EVENT_CANCELLED = "agno.cancelled",
    EVENT_COMPACTION = "agno.compaction",
    COMPACTION_MESSAGES = "agno.compaction.messages",
    COMPACTION_TOKENS_BEFORE = "agno.compaction.tokens_before",
    COMPACTION_TOKENS_AFTER = "agno.compaction.tokens_after",
}

/// Attributes that hold what a person or a model wrote.
pub const CONTENT: &[&str] = &[
    INPUT_MESSAGES,
    OUTPUT_MESSAGES,
    SYSTEM_INSTRUCTIONS,
    TOOL_CALL_ARGUMENTS,
    TOOL_CALL_RESULT,
    MESSAGE_CONTENT,
];

/// Prefix of Agno's own figures, under the names of Agno's documentation: `agno.metrics.input_tokens`, ….
pub const STATED_PREFIX: &str = "agno.metrics.";
/// Prefix of scalars a provider added to its metrics.
pub const STATED_PROVIDER_PREFIX: &str = "agno.metrics.provider_metrics.";

/// Values of `gen_ai.operation.name`.
pub mod operation {
    /// A model call.
    pub const CHAT: &str = "chat";
    /// A run of an agent or a team.
    pub const INVOKE_AGENT: &str = "invoke_agent";
    /// A run of a workflow.
    pub const INVOKE_WORKFLOW: &str = "invoke_workflow";
    /// A tool call.
    pub const EXECUTE_TOOL: &str = "execute_tool";
}

/// What kind of series a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Instrument {
    /// Monotonic cumulative sum of whole numbers.
    Counter,
    /// Monotonic cumulative sum of an amount, kept in whole `1/scale` units and said in the metric's: dollars are kept
    /// as nano-dollars.
    Amount {
        /// How many kept units make one of the metric's.
        scale: u64,
    },
    /// A value as it stands.
    Gauge,
    /// Cumulative histogram with these upper bounds. Values are kept in whole `1/scale` units: tokens as they
    /// are, seconds as nanoseconds.
    Histogram {
        /// Upper bounds of the buckets, in the metric's unit.
        bounds: &'static [f64],
        /// How many kept units make one of the metric's.
        scale: u64,
    },
}

/// A metric we send.
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// OpenTelemetry's name.
    pub name: &'static str,
    /// UCUM unit.
    pub unit: &'static str,
    /// One sentence for whoever looks it up in a backend.
    pub description: &'static str,
    /// What kind of series.
    pub instrument: Instrument,
    /// Where it is said that less was spent than was counted: a counter never goes backwards.
    pub corrections: Option<&'static Self>,
    /// The set of metrics it came with. What runs did that were counted by an older set is history to it.
    pub since: u32,
}

/// The set of metrics of this version; grows when a metric is added of which a run, counted before, has a share.
///
/// 1: all up to 0.1. 2: cost.
pub const METRICS_SET: u32 = 2;
/// The first set.
pub const FIRST_SET: u32 = 1;

// Bucket bounds as the conventions give them (`semantic-conventions-genai`, metric requirement tables).
const OPERATION_S: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const AGENT_S: &[f64] = &[0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6];
const WORKFLOW_S: &[f64] = &[1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const CALLS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

const USD: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];

const DOLLARS: Instrument = Instrument::Amount { scale: NANO_PER_USD };
const NANOSECONDS: u64 = 1_000_000_000;
const fn seconds(bounds: &'static [f64]) -> Instrument {
    Instrument::Histogram { bounds, scale: NANOSECONDS }
}
const fn counts(bounds: &'static [f64]) -> Instrument {
    Instrument::Histogram { bounds, scale: 1 }
}

/// Declares metrics as statics and as the list of all.
macro_rules! metrics {
    ($($id:ident: $name:literal, $unit:literal, $instrument:expr, $description:literal
        $(, corrections $corrections:ident)? $(, since $since:literal)?;)+) => {
        $(#[doc = concat!("`", $name, "`: ", $description)]
        pub static $id: Metric = Metric {
            name: $name,
            unit: $unit,
            description: $description,
            instrument: $instrument,
            corrections: metrics!(@corrections $($corrections)?),
            since: metrics!(@since $($since)?),
        };)+
        /// Every metric.
        pub static METRICS: &[&Metric] = &[$(&$id),+];
    };
    (@corrections) => { None };
    (@corrections $corrections:ident) => { Some(&$corrections) };
    (@since) => { FIRST_SET };
    (@since $since:literal) => { $since };
}

metrics! {
    TOKEN_USAGE: "agno.token.usage", "{token}", Instrument::Counter,
        "Tokens spent, in disjoint classes: their sum is the bill.", corrections TOKEN_CORRECTIONS;
    TOKEN_CORRECTIONS: "agno.token.corrections", "{token}", Instrument::Counter,
        "Tokens counted that later turned out not to be spent: bill = usage - corrections.";
    COST: "agno.cost.usd", "{USD}", DOLLARS,
        "What was spent, as far as prices are known.", corrections COST_CORRECTIONS, since 2;
    COST_CORRECTIONS: "agno.cost.corrections.usd", "{USD}", DOLLARS,
        "What was counted and later turned out not to be spent: bill = cost - corrections.", since 2;
    TOKEN_UNPRICED: "agno.token.unpriced", "{token}", Instrument::Counter,
        "Tokens spent of which no price is known.", since 2;
    USAGE_INPUT_TOKENS: "gen_ai.client.inference.usage.input_tokens", "{token}", Instrument::Counter,
        "Input tokens of inference calls, cached ones included.";
    USAGE_OUTPUT_TOKENS: "gen_ai.client.inference.usage.output_tokens", "{token}", Instrument::Counter,
        "Output tokens of inference calls, reasoning included.";
    USAGE_CACHE_READ_TOKENS: "gen_ai.client.inference.usage.cache_read.input_tokens", "{token}", Instrument::Counter,
        "Input tokens read from the provider's cache.";
    USAGE_CACHE_WRITE_TOKENS: "gen_ai.client.inference.usage.cache_write.input_tokens", "{token}", Instrument::Counter,
        "Input tokens written to the provider's cache.";
    USAGE_REASONING_TOKENS: "gen_ai.client.inference.usage.reasoning.output_tokens", "{token}", Instrument::Counter,
        "Output tokens spent on reasoning.";
    OPERATION_INPUT_TOKENS: "gen_ai.client.inference.operation.input_tokens", "{token}", counts(TOKENS),
        "Input tokens per inference call.";
    OPERATION_OUTPUT_TOKENS: "gen_ai.client.inference.operation.output_tokens", "{token}", counts(TOKENS),
        "Output tokens per inference call.";
    INFERENCE_DURATION: "gen_ai.client.inference.duration", "s", seconds(OPERATION_S),
        "Duration of inference calls that were not streamed.";
    INFERENCE_FIRST_CHUNK: "gen_ai.client.inference.time_to_first_chunk", "s", seconds(OPERATION_S),
        "Time from request to first chunk of streamed inference calls.";
    INVOKE_AGENT_DURATION: "gen_ai.invoke_agent.duration", "s", seconds(AGENT_S),
        "Duration of agent and team runs.";
    INVOKE_AGENT_INFERENCE_CALLS: "gen_ai.invoke_agent.inference_calls", "{inference_call}", counts(CALLS),
        "Inference calls an agent's run made itself.";
    INVOKE_AGENT_TOOL_CALLS: "gen_ai.invoke_agent.tool_calls", "{tool_call}", counts(CALLS),
        "Tool calls an agent's run made itself.";
    INVOKE_WORKFLOW_DURATION: "gen_ai.invoke_workflow.duration", "s", seconds(WORKFLOW_S),
        "Duration of workflow runs.";
    EXECUTE_TOOL_DURATION: "gen_ai.execute_tool.duration", "s", seconds(OPERATION_S),
        "Duration of tool calls.";
    RUN_FIRST_TOKEN: "agno.run.time_to_first_token", "s", seconds(OPERATION_S),
        "Time from a run's start to the first response of any of its model calls.";
    RUNS: "agno.runs", "{run}", Instrument::Counter,
        "Runs of agents, teams and workflows by status.";
    TOOL_CALLS: "agno.tool.calls", "{call}", Instrument::Counter,
        "Executed tool calls by outcome.";
    SESSION_STARTED: "agno.session.started", "{session}", Instrument::Counter,
        "Sessions whose first run was seen.";
    SESSION_TOKENS: "agno.session.tokens", "{token}", counts(TOKENS),
        "Tokens per session, recorded when the session goes quiet.";
    SESSION_INPUT: "agno.session.input_tokens", "{token}", counts(TOKENS),
        "Input tokens per session, recorded when the session goes quiet.";
    SESSION_OUTPUT: "agno.session.output_tokens", "{token}", counts(TOKENS),
        "Output tokens per session, recorded when the session goes quiet.";
    SESSION_COST: "agno.session.cost.usd", "{USD}", Instrument::Histogram { bounds: USD, scale: NANO_PER_USD },
        "Cost per session as far as prices are known, recorded when the session goes quiet.", since 2;
    SESSION_RUN_COUNT: "agno.session.runs", "{run}", counts(CALLS),
        "Top-level runs per session, recorded when the session goes quiet.";
    SESSION_DURATION: "agno.session.duration", "s", seconds(WORKFLOW_S),
        "Sum of the durations of a session's top-level runs, recorded when the session goes quiet.";
    SESSION_CROSSED: "agno.session.threshold.crossed", "{session}", Instrument::Counter,
        "Sessions that passed a threshold for the first time.";
    SESSION_LARGEST: "agno.session.largest_active_tokens", "{token}", Instrument::Gauge,
        "Tokens of the largest session that was active lately; in a `send`, of all sent.";
    BUDGET_LIMIT: "agno.budget.limit", "", Instrument::Gauge,
        "What may be spent in the budget's window, in tokens or US dollars.";
    BUDGET_USAGE: "agno.budget.usage", "", Instrument::Gauge,
        "What is spent of it by runs that began in the window, in the same unit.";
    BUDGET_UTILIZATION: "agno.budget.utilization", "1", Instrument::Gauge,
        "The part of it that is spent.";
    BUDGET_WINDOW_START: "agno.budget.window.start_timestamp", "s", Instrument::Gauge,
        "When the budget's window began, in Unix time.";
    BUDGET_WINDOW_END: "agno.budget.window.end_timestamp", "s", Instrument::Gauge,
        "When the budget's window ends, in Unix time.";
    BRIDGE_UP: "agno.bridge.up", "1", Instrument::Gauge,
        "1 while agno-otel sends, 0 with the last that it sends.";
    BRIDGE_INFO: "agno.bridge.info", "1", Instrument::Gauge,
        "Always 1; carries the version of agno-otel.";
    BRIDGE_READ: "agno.bridge.source.read_timestamp", "s", Instrument::Gauge,
        "When all sources were last looked at and none was amiss, in Unix time.";
    BRIDGE_RECORDS: "agno.bridge.records", "{record}", Instrument::Counter,
        "Records read from sources.";
    BRIDGE_ODDITIES: "agno.bridge.oddities", "{oddity}", Instrument::Counter,
        "Things in records that were not understood or not believed.";
    BRIDGE_ATTEMPTS: "agno.bridge.attempts", "{attempt}", Instrument::Counter,
        "Attempts to deliver a request of spans, by how they ended.";
    BRIDGE_OUTBOX_AGE: "agno.bridge.outbox.age", "s", Instrument::Gauge,
        "How long the oldest spans have waited to be delivered.";
    BRIDGE_DROPPED: "agno.bridge.dropped", "{span}", Instrument::Counter,
        "Spans the far side did not take, by reason.";
    BRIDGE_SERIES: "agno.bridge.series", "{series}", Instrument::Gauge,
        "Series of metrics kept.";
    BRIDGE_OVERFLOW: "agno.bridge.overflow", "{value}", Instrument::Counter,
        "Values of metric attributes folded into `other` because there were too many.";
    LEGACY_TOKEN_USAGE: "gen_ai.client.token.usage", "{token}", counts(TOKENS),
        "Tokens per inference call under the name older dashboards know.";
    LEGACY_OPERATION_DURATION: "gen_ai.client.operation.duration", "s", seconds(OPERATION_S),
        "Duration of inference calls under the name older dashboards know.";
}

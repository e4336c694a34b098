//! One execution of an agent, team or workflow.

use super::content::Content;
use super::cost::Cost;
use super::step::{Message, ModelCall, Stated, Step, ToolCall, Usage};
use super::tokens::Tokens;
use crate::stable_hash::stable_hash;

/// What kind of thing was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunKind {
    /// A single agent.
    Agent,
    /// A team; its members are runs of their own.
    Team,
    /// A workflow; its steps run agents, teams, functions or other workflows.
    Workflow,
}

impl RunKind {
    /// The value of `agno.run.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Team => "team",
            Self::Workflow => "workflow",
        }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunStatus {
    /// Accepted, not begun.
    Pending,
    /// Under way; what is recorded may still grow.
    Running,
    /// Waits for a human.
    Paused,
    /// Done.
    Completed,
    /// Stopped on request.
    Cancelled,
    /// Failed.
    Error,
    /// Done, then replaced by a regenerated run. Its tokens were spent.
    Regenerated,
    /// A status this version does not know.
    Other(String),
}

/// The statuses every counter of runs is born with.
pub const STATUSES: [&str; 7] =
    ["PENDING", "RUNNING", "PAUSED", "COMPLETED", "CANCELLED", "ERROR", "REGENERATED"];

impl RunStatus {
    /// Agno's own word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
            Self::Error => "ERROR",
            Self::Regenerated => "REGENERATED",
            Self::Other(word) => word,
        }
    }

    /// True when the run is over.
    pub fn is_final(&self) -> bool {
        self.finality() >= Self::Completed.finality()
    }

    /// How final this status is; of two copies of a run the more final one is the newer.
    pub fn finality(&self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 1,
            Self::Other(_) => 2,
            Self::Paused => 3,
            Self::Completed | Self::Cancelled | Self::Error => 4,
            Self::Regenerated => 5,
        }
    }
}

/// Which run this is: stable over every copy and state of it, different for every other run.
///
/// Ids that are UUIDs identify by themselves. Any other id is the application's and may be used again,
/// so its session and its first own message belong to the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// The run id as the framework wrote it.
    pub run_id: String,
    /// Session and first own message, for ids that are not UUIDs; empty otherwise.
    pub reuse: String,
}

impl RunKey {
    /// The sixteen bytes of a UUID run id.
    pub fn uuid(&self) -> Option<[u8; 16]> {
        if self.reuse.is_empty() { uuid_bytes(&self.run_id) } else { None }
    }

    /// A hash that is the same in every invocation.
    pub fn stable_hash(&self) -> u64 {
        stable_hash(&[&self.run_id, &self.reuse])
    }
}

/// The bytes of a UUID in its usual form, or without dashes; never the nil UUID.
pub fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    (!id.is_nil() && matches!(text.len(), 32 | 36)).then(|| id.into_bytes())
}

/// One run, without its children's work.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Which run this is.
    pub key: RunKey,
    /// The run that started this one, as far as the record says.
    pub parent_run_id: Option<String>,
    /// Agent, team or workflow.
    pub kind: RunKind,
    /// Id of the agent, team or workflow.
    pub entity_id: Option<String>,
    /// Name of the agent, team or workflow.
    pub entity_name: Option<String>,
    /// The conversation it belongs to.
    pub session_id: Option<String>,
    /// The application's user.
    pub user_id: Option<String>,
    /// The workflow step this run executed.
    pub workflow_step_id: Option<String>,
    /// Where it stands.
    pub status: RunStatus,
    /// Provider of the run's own model, in OpenTelemetry's words.
    pub provider: Option<String>,
    /// The run's own model.
    pub model: Option<String>,
    /// Position in its session as the framework stored it.
    pub index: Option<i64>,
    /// Unix second at which the framework says it was created; often wrong (see `framework::agno`).
    pub created_at_s: Option<i64>,
    /// Unix second at which this state was stored.
    pub stored_at_s: Option<i64>,
    /// Recorded duration in nanoseconds.
    pub duration_ns: Option<i64>,
    /// Run start to first response, in nanoseconds; absent where the framework's figure is garbage.
    pub time_to_first_token_ns: Option<i64>,
    /// Model calls in order: those of messages first, then those known only as sums.
    pub calls: Vec<ModelCall>,
    /// Tool calls in order.
    pub tools: Vec<ToolCall>,
    /// Messages that are neither model nor tool calls: user, system.
    pub messages: Vec<Message>,
    /// Workflow steps.
    pub steps: Vec<Step>,
    /// What this run spent, by role, provider and model. The only source of token counters.
    pub usage: Vec<Usage>,
    /// The framework's own figures for this run, as it states them.
    pub stated: Stated,
    /// Moments worth an event: pauses, compaction, guardrails.
    pub moments: Vec<Moment>,
    /// Low-cardinality reason, for runs that failed.
    pub error_type: Option<String>,
    /// W3C trace context the application put into the run's metadata.
    pub traceparent: Option<String>,
    /// The run this one replaces.
    pub regenerated_from: Option<String>,
    /// The run this one continues from, in the same session.
    pub forked_from_run_id: Option<String>,
    /// The session this run was copied from.
    pub forked_from_session_id: Option<String>,
    /// Hash of this run's text answer, to match a tool's result to a member's answer. Never exported.
    pub answer_hash: Option<u64>,
    /// What was said, where that was asked for.
    pub content: Option<Box<Content>>,
}

/// Something that happened at one moment of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Event name.
    pub name: &'static str,
    /// When, in Unix seconds, if known.
    pub at_s: Option<i64>,
    /// Numbers that describe it.
    pub figures: Vec<(&'static str, i64)>,
}

impl Run {
    /// Everything this run alone spent.
    pub fn own_tokens(&self) -> Tokens {
        self.usage.iter().map(|usage| usage.tokens).sum()
    }

    /// Everything this run alone cost, as far as prices are known.
    pub fn own_cost(&self) -> Option<Cost> {
        Cost::sum(self.usage.iter().filter_map(|usage| usage.cost))
    }

    /// Of the tokens of this run alone, those without a known price.
    pub fn own_unpriced(&self) -> u64 {
        self.usage.iter().map(|usage| usage.unpriced).fold(0, u64::saturating_add)
    }

    /// What people call it: the agent's, team's or workflow's name, else its id.
    pub fn label(&self) -> Option<&str> {
        self.entity_name.as_deref().filter(|name| !name.is_empty()).or(self.entity_id.as_deref())
    }

    /// The second at which the first of its own messages was made: the best order among runs.
    pub fn first_message_s(&self) -> Option<i64> {
        self.messages
            .iter()
            .filter_map(|message| message.created_at_s)
            .chain(self.calls.iter().filter_map(|call| call.created_at_s))
            .min()
    }

    /// True for a copy made by forking a session, with nothing of its own added.
    pub fn is_pure_copy(&self) -> bool {
        self.forked_from_session_id.is_some() && self.calls.is_empty() && self.own_tokens().is_zero()
    }

    /// A completed run of which nothing else is known.
    pub fn bare(run_id: &str, kind: RunKind) -> Self {
        Self {
            key: RunKey { run_id: run_id.to_owned(), reuse: String::new() },
            parent_run_id: None,
            kind,
            entity_id: None,
            entity_name: None,
            session_id: None,
            user_id: None,
            workflow_step_id: None,
            status: RunStatus::Completed,
            provider: None,
            model: None,
            index: None,
            created_at_s: None,
            stored_at_s: None,
            duration_ns: None,
            time_to_first_token_ns: None,
            calls: Vec::new(),
            tools: Vec::new(),
            messages: Vec::new(),
            steps: Vec::new(),
            usage: Vec::new(),
            stated: Stated::default(),
            moments: Vec::new(),
            error_type: None,
            traceparent: None,
            regenerated_from: None,
            forked_from_run_id: None,
            forked_from_session_id: None,
            answer_hash: None,
            content: None,
        }
    }
}

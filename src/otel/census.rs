//! What traces hold, counted: spans by what they tell of, events, and what of it a person or a model wrote.

use std::collections::BTreeMap;

use super::names::{self, operation};
use super::spans::TraceView;
use super::view::{Attribute, SpanView, Value};
use crate::model::content::{Media, MediaPlace, Part};
use crate::model::{Run, RunKind};

/// What spans tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// Runs of agents.
    Agent,
    /// Runs of teams.
    Team,
    /// Runs of workflows.
    Workflow,
    /// Steps of workflows.
    Step,
    /// Model calls.
    ModelCall,
    /// Tool calls.
    Tool,
}

/// Everything spans tell of, from the outermost to the innermost.
pub const ALL: [Of; 6] = [Of::Agent, Of::Team, Of::Workflow, Of::Step, Of::ModelCall, Of::Tool];

impl Of {
    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Team => "team",
            Self::Workflow => "workflow",
            Self::Step => "step",
            Self::ModelCall => "model call",
            Self::Tool => "tool",
        }
    }

    fn span(span: &SpanView<'_>) -> Self {
        let text = |name: &str| span.attributes.iter().find(|it| it.name == name).and_then(text_of);
        match text(names::OPERATION_NAME) {
            Some(operation::CHAT) => Self::ModelCall,
            Some(operation::EXECUTE_TOOL) => Self::Tool,
            Some(operation::INVOKE_WORKFLOW) => Self::Workflow,
            Some(_) if text(names::RUN_KIND) == Some(RunKind::Team.as_str()) => Self::Team,
            Some(_) => Self::Agent,
            None => Self::Step,
        }
    }
}

fn text_of<'a>(attribute: &'a Attribute<'_>) -> Option<&'a str> {
    match &attribute.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// What spans say that a person or a model wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Words {
    /// Attributes of spans.
    pub attributes: u64,
    /// Events that carry a message's content.
    pub events: u64,
    /// Statuses that say why something failed.
    pub error_texts: u64,
}

/// What traces hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Spans.
    pub spans: BTreeMap<Of, u64>,
    /// Events of spans, by their names.
    pub events: BTreeMap<String, u64>,
    /// What a person or a model wrote.
    pub words: Words,
}

impl Words {
    /// Counts those of a trace.
    pub fn add(&mut self, trace: &TraceView<'_>) {
        let is_content = |attribute: &&Attribute<'_>| names::CONTENT.contains(&attribute.name);
        for span in &trace.spans {
            self.attributes += span.attributes.iter().filter(is_content).count() as u64;
            self.error_texts += u64::from(span.failure.as_ref().is_some_and(|text| !text.is_empty()));
            let events = span.events.iter().filter(|event| event.attributes.iter().any(|it| is_content(&it)));
            self.events += events.count() as u64;
        }
    }
}

impl Census {
    /// Counts a trace.
    pub fn add(&mut self, trace: &TraceView<'_>) {
        self.words.add(trace);
        for span in &trace.spans {
            *self.spans.entry(Of::span(span)).or_default() += 1;
            for event in &span.events {
                *self.events.entry(event.name.to_owned()).or_default() += 1;
            }
        }
    }
}

/// What never leaves, or only where it is asked for by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Runs that have a user's id.
    pub user_ids: u64,
    /// Images, sounds, films and documents in records, as often as records hold them.
    pub media: u64,
    /// Their bytes.
    pub media_bytes: u64,
}

impl Kept {
    /// Counts a run, whose content must have been kept.
    pub fn add(&mut self, run: &Run) {
        self.user_ids += u64::from(run.user_id.as_ref().is_some_and(|id| !id.is_empty()));
        let Some(content) = run.content.as_deref() else { return };
        let lists = [&content.messages, &content.input, &content.output];
        let said = lists.into_iter().flatten().chain(content.answers.values());
        for part in said.flat_map(|message| &message.parts) {
            if let Part::Media(Media { place: MediaPlace::Inline { size_bytes }, .. }) = part {
                self.media += 1;
                self.media_bytes = self.media_bytes.saturating_add(*size_bytes);
            }
        }
    }
}

//! What was said as attributes, as far as the policy allows. The shapes are those of the conventions' JSON schemas
//! (`gen-ai-input-messages.json` and its relatives); a span carries them as JSON in a string.
//!
//! Every value fits the policy's limit and is valid JSON then too: older messages go first, then texts are cut, then
//! earlier parts go, and what is missing is said.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde::Serialize;
use serde_json::Value;

use super::attributes::flag;
use super::names;
use super::policy::{MIN_TEXT_BYTES, Mode, Policy};
use super::view::{Attributes, optional, text};
use crate::model::content::{ChatMessage, Content, Json, Media, MediaPlace, Part};
use crate::model::{Message, ModelCall, Run, Step, ToolCall};

/// The role of a message of ours that says what was left out.
const OUR_ROLE: &str = "agno-otel";
/// Bytes of that message.
const MESSAGE_NOTE_BYTES: usize = 128;
/// Bytes around a list.
const BRACKETS_BYTES: usize = 2;
/// Bytes of a part that says the same of parts.
const PART_NOTE_BYTES: usize = 80;
/// Bytes of a span's status: a sentence for people. Whole tracebacks stand in the result.
const MAX_STATUS_BYTES: usize = 4_096;
/// Bytes of a text of which one line is shown.
const GIST_BYTES: usize = 1_024;
/// The one of an agent's models whose requests are the stored conversation. Others are asked in words of Agno's that
/// it does not keep.
const MAIN_ROLE: &str = "model";

/// A part as the schemas have it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Shape {
    Text {
        content: String,
    },
    Reasoning {
        content: String,
    },
    ToolCall {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        name: String,
        arguments: Value,
    },
    ToolCallResponse {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        response: Value,
    },
    Uri {
        #[serde(flatten)]
        kind: Kind,
        uri: String,
    },
    File {
        #[serde(flatten)]
        kind: Kind,
        file_id: String,
    },
    /// Media without an address. The schemas' `blob` must hold the bytes, which we never send.
    Generic {
        generic_type: &'static str,
        #[serde(flatten)]
        kind: Kind,
        #[serde(skip_serializing_if = "Option::is_none")]
        size_bytes: Option<u64>,
    },
}

#[derive(Serialize)]
struct Kind {
    modality: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
}

/// What was said in a run, and the policy, if there is anything that may leave.
#[derive(Clone, Copy)]
struct Sayable<'r> {
    content: &'r Content,
    policy: Policy,
}

impl<'r> Sayable<'r> {
    fn of(run: &'r Run, policy: Policy) -> Option<Self> {
        let content = run.content.as_deref().filter(|_| policy.mode() != Mode::None)?;
        Some(Self { content, policy })
    }
}

/// What a run was asked and what it answered.
pub(super) fn run(attributes: &mut Attributes<'_>, run: &Run, policy: Policy) {
    let Some(Sayable { content, policy }) = Sayable::of(run, policy) else {
        return;
    };
    for (name, said) in [(names::INPUT_MESSAGES, &content.input), (names::OUTPUT_MESSAGES, &content.output)] {
        optional(attributes, name, messages(&said.iter().collect::<Vec<_>>(), policy));
    }
}

/// What a model was asked and what it answered. What other models than the main one were asked is not recorded.
pub(super) fn call(attributes: &mut Attributes<'_>, run: &Run, call: &ModelCall, policy: Policy) {
    let Some(Sayable { content, policy }) = Sayable::of(run, policy) else {
        return;
    };
    let before = call.position.filter(|_| call.role == MAIN_ROLE);
    let before = before.and_then(|position| content.messages.get(..position)).unwrap_or_default();
    let is_system = |message: &&ChatMessage| matches!(message.role.as_str(), "system" | "developer");
    let (system, rest): (Vec<&ChatMessage>, Vec<_>) = before.iter().partition(is_system);
    let instructions: Vec<&Part> = system
        .into_iter()
        .flat_map(|message| &message.parts)
        .filter(|part| matches!(part, Part::Text(_)))
        .collect();
    if !instructions.is_empty() {
        text(attributes, names::SYSTEM_INSTRUCTIONS, parts(&instructions, policy.limit_bytes(), policy));
    }
    optional(attributes, names::INPUT_MESSAGES, messages(&rest, policy));
    let answer = match call.position {
        Some(position) => content.messages.get(position),
        None => content.answers.get(&call.key).filter(|_| call.has_message),
    };
    let answer: Vec<&ChatMessage> = answer.into_iter().filter(|answer| !answer.parts.is_empty()).collect();
    optional(attributes, names::OUTPUT_MESSAGES, messages(&answer, policy));
}

/// What went into a tool and what came out.
pub(super) fn tool(attributes: &mut Attributes<'_>, run: &Run, tool: &ToolCall, policy: Policy) {
    let Some(Sayable { content, policy }) = Sayable::of(run, policy) else {
        return;
    };
    let Some(tool) = content.tools.get(&tool.key) else {
        return;
    };
    let limit = policy.limit_bytes();
    for (name, said) in
        [(names::TOOL_CALL_ARGUMENTS, &tool.arguments), (names::TOOL_CALL_RESULT, &tool.result)]
    {
        optional(attributes, name, said.as_ref().and_then(|json| plain(json, limit, policy)));
    }
}

/// What a message says that is no call.
pub(super) fn message(attributes: &mut Attributes<'_>, run: &Run, message: &Message, policy: Policy) {
    let Some(Sayable { content, policy }) = Sayable::of(run, policy) else {
        return;
    };
    let said = content.messages.get(message.position).filter(|said| !said.parts.is_empty());
    if let Some(said) = said {
        let all: Vec<&Part> = said.parts.iter().collect();
        text(attributes, names::MESSAGE_CONTENT, parts(&all, policy.limit_bytes(), policy));
    }
}

/// Why a run failed, for its span's status; empty where that may not be said.
pub(super) fn run_error(run: &Run, policy: Policy) -> String {
    let said = Sayable::of(run, policy).and_then(|said| said.content.error.as_deref());
    said.map(|error| policy.text(error, MAX_STATUS_BYTES)).unwrap_or_default()
}

/// A run in three lines: the beginnings of what it was asked last, of what it answered, and of why it failed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Gist {
    /// Of the last message it was given.
    pub input: String,
    /// Of its first answer.
    pub output: String,
    /// Of its error's text.
    pub error: String,
}

impl std::fmt::Debug for Gist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gist").finish_non_exhaustive()
    }
}

impl Gist {
    /// As far as the policy allows.
    pub fn of(run: &Run, policy: Policy) -> Self {
        let Some(Sayable { content, policy }) = Sayable::of(run, policy) else {
            return Self::default();
        };
        let line = |text: &str| {
            let text = policy.text(text, GIST_BYTES);
            text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
        };
        let words = |message: Option<&ChatMessage>| {
            let text = message.into_iter().flat_map(|message| &message.parts).find_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                _ => None,
            });
            text.map(line).unwrap_or_default()
        };
        let error = content.error.as_deref().map(line).unwrap_or_default();
        Self { input: words(content.input.last()), output: words(content.output.first()), error }
    }
}

/// Why a tool failed: it is what the tool answered.
pub(super) fn tool_error(run: &Run, tool: &ToolCall, policy: Policy) -> String {
    let said = Sayable::of(run, policy).and_then(|said| said.content.tools.get(&tool.key)?.result.as_ref());
    said.and_then(|result| plain(result, MAX_STATUS_BYTES, policy)).unwrap_or_default()
}

/// Why a step failed.
pub(super) fn step_error(run: &Run, step: &Step, policy: Policy) -> String {
    let said = Sayable::of(run, policy).and_then(|said| said.content.step_errors.get(&step.path));
    said.map(|error| policy.text(error, MAX_STATUS_BYTES)).unwrap_or_default()
}

/// Takes out of a span everything a person or a model wrote, for a receiver that finds it too large. Says on the span
/// that it did. False, and the span as it was, where there was nothing to take out.
pub fn strip_content(span: &mut Span) -> bool {
    let before = size_of_lists(span);
    let stays = |attribute: &KeyValue| !names::CONTENT.contains(&attribute.key.as_str());
    span.attributes.retain(stays);
    for event in &mut span.events {
        event.attributes.retain(stays);
    }
    let status = span.status.as_mut().map(|status| std::mem::take(&mut status.message));
    let removed = size_of_lists(span) < before || status.is_some_and(|message| !message.is_empty());
    if removed {
        flag(&mut span.attributes, names::CONTENT_LEFT_OUT);
    }
    removed
}

fn size_of_lists(span: &Span) -> usize {
    span.attributes.len() + span.events.iter().map(|event| event.attributes.len()).sum::<usize>()
}

/// A text as it is, anything else as JSON.
fn plain(json: &Json, bytes: usize, policy: Policy) -> Option<String> {
    match json.value() {
        Value::Null => None,
        Value::String(said) => (!said.is_empty()).then(|| policy.text(&said, bytes)),
        other => Some(policy.json(&other, bytes).to_string()),
    }
}

/// Messages within the limit: the newest, and how many came before them. The newest is cut rather than left out.
fn messages(all: &[&ChatMessage], policy: Policy) -> Option<String> {
    let limit = policy.limit_bytes();
    let (newest, older) = all.split_last()?;
    let json = |said: &ChatMessage, bytes: usize| {
        one_message(&policy.name(&said.role), &said.parts.iter().collect::<Vec<_>>(), bytes, policy)
    };
    let mut kept = vec![json(newest, limit - BRACKETS_BYTES)];
    let mut size = BRACKETS_BYTES + kept.iter().map(String::len).sum::<usize>();
    for said in older.iter().rev() {
        let json = json(said, limit);
        if size + 1 + json.len() > limit {
            break;
        }
        size += 1 + json.len();
        kept.push(json);
    }
    if kept.len() < all.len() {
        while size + 1 + MESSAGE_NOTE_BYTES > limit && kept.len() > 1 {
            size -= kept.pop().map_or(0, |json| 1 + json.len());
        }
        if size + 1 + MESSAGE_NOTE_BYTES > limit {
            kept = vec![json(newest, limit - BRACKETS_BYTES - 1 - MESSAGE_NOTE_BYTES)];
        }
        let note = Part::Text(format!("… ({} earlier messages left out)", all.len() - kept.len()));
        kept.push(one_message(OUR_ROLE, &[&note], limit, Policy::new(Mode::Full, limit)));
    }
    kept.reverse();
    Some(format!("[{}]", kept.join(",")))
}

fn one_message(role: &str, said: &[&Part], bytes: usize, policy: Policy) -> String {
    let head = format!("{{\"role\":{},\"parts\":", Value::from(role));
    let said = parts(said, bytes.saturating_sub(head.len() + 1), policy);
    format!("{head}{said}}}")
}

/// Parts as a JSON list of at most so many bytes: texts are cut to equal lengths, and where that is not enough the
/// last parts stay.
fn parts(all: &[&Part], bytes: usize, policy: Policy) -> String {
    let mut text_bytes = policy.text_bytes().min(bytes);
    while text_bytes >= MIN_TEXT_BYTES {
        let json = listed(all.iter().map(|part| shape(part, text_bytes, policy)));
        if json.len() <= bytes {
            return json;
        }
        text_bytes /= 2;
    }
    let mut size = BRACKETS_BYTES + PART_NOTE_BYTES;
    let mut kept = Vec::new();
    for part in all.iter().rev() {
        let shape = shape(part, MIN_TEXT_BYTES, policy);
        size += json(&shape).len() + 1;
        if size > bytes {
            break;
        }
        kept.push(shape);
    }
    let left_out = all.len() - kept.len();
    if left_out > 0 {
        kept.push(Shape::Text { content: format!("… ({left_out} earlier parts left out)") });
    }
    listed(kept.into_iter().rev())
}

fn listed(shapes: impl Iterator<Item = Shape>) -> String {
    let shapes: Vec<String> = shapes.map(|shape| json(&shape)).collect();
    format!("[{}]", shapes.join(","))
}

fn json(shape: &Shape) -> String {
    // Strings and values always serialise.
    serde_json::to_string(shape).unwrap_or_default()
}

fn shape(part: &Part, text_bytes: usize, policy: Policy) -> Shape {
    match part {
        Part::Text(said) => Shape::Text { content: policy.text(said, text_bytes) },
        Part::Reasoning(said) => Shape::Reasoning { content: policy.text(said, text_bytes) },
        Part::ToolCall { id, name, arguments } => Shape::ToolCall {
            id: id.as_deref().map(|id| policy.name(id)),
            name: policy.name(name),
            arguments: policy.json(&arguments.value(), text_bytes),
        },
        Part::ToolResponse { id, response } => Shape::ToolCallResponse {
            id: id.as_deref().map(|id| policy.name(id)),
            response: policy.json(&response.value(), text_bytes),
        },
        Part::Media(media) => media_shape(media, text_bytes, policy),
    }
}

fn media_shape(media: &Media, text_bytes: usize, policy: Policy) -> Shape {
    let kind = Kind { modality: media.modality.as_str(), mime_type: media.mime_type.clone() };
    let generic = |kind, size_bytes| Shape::Generic { generic_type: "media", kind, size_bytes };
    match &media.place {
        MediaPlace::Uri(uri) => Shape::Uri { kind, uri: policy.text(uri, text_bytes) },
        MediaPlace::File(id) => Shape::File { kind, file_id: policy.text(id, text_bytes) },
        MediaPlace::Inline { size_bytes } => generic(kind, Some(*size_bytes)),
        MediaPlace::Unknown => generic(kind, None),
    }
}

#[cfg(test)]
mod tests;

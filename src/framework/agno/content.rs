//! What was said in a run into the model, where it was asked for.
//!
//! Fields of content may hold anything: a text, a list of a provider's parts, an object of the application's.
//! What has a known shape becomes a part of its own; everything else is said as the JSON it is.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::json::repair;
use super::media;
use super::message::reasoning_key;
use super::record::{MessageRecord, RequestedToolRecord, RunRecord};
use crate::model::RunKind;
use crate::model::content::{ChatMessage, Content, Json, Modality, Part, ToolContent};

/// Stands for a value nested more deeply than `serde_json` reads (128 levels).
const TOO_DEEP: &str = "… (nested too deeply to be read)";

/// The roles a list of input may give its messages. A list of other objects is the application's own.
const INPUT_ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

/// Reads what was said in a run. Messages keep their places; tools and steps were read already.
pub(super) fn read(
    record: &RunRecord<'_>,
    kind: RunKind,
    failed: bool,
    tools: BTreeMap<String, ToolContent>,
    step_errors: BTreeMap<String, String>,
) -> Content {
    let mut content = Content {
        messages: record.messages.0.iter().map(chat_message).collect(),
        tools,
        step_errors,
        input: input(record, kind),
        ..Content::default()
    };
    for (place, message) in record.reasoning_messages.0.iter().enumerate() {
        let key = message.id.owned().unwrap_or_else(|| reasoning_key(place));
        content.answers.insert(key, chat_message(message));
    }
    // The content of a run that failed is the error's text, and no answer.
    if failed {
        content.error = record.content.and_then(error_text);
    } else {
        content.output = output(record);
    }
    content
}

/// Reads what went into a tool and what came out.
pub(super) fn of_tool(arguments: Option<&RawValue>, result: Option<&RawValue>) -> ToolContent {
    let json = |raw: Option<&RawValue>| raw.map(|raw| Json::of(&opened(open(raw))));
    ToolContent { arguments: json(arguments), result: json(result) }
}

/// A field's value. Escapes in raw text were passed over unread, so lone surrogates come to light here.
fn open(raw: &RawValue) -> Value {
    let read = |text: &str| serde_json::from_str::<Value>(text);
    read(raw.get()).or_else(|_| read(&repair(raw.get().as_bytes()))).unwrap_or_else(|_| Value::from(TOO_DEEP))
}

/// An object or a list that stands in a string: how Agno keeps arguments, and how tools return what they found.
fn opened(value: Value) -> Value {
    let Value::String(text) = &value else {
        return value;
    };
    if !text.trim_start().starts_with(['{', '[']) {
        return value;
    }
    let read = serde_json::from_str(text).or_else(|_| serde_json::from_str(&repair(text.as_bytes())));
    read.unwrap_or(value)
}

/// A value as words: a text as it is, anything else as JSON.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        other => Some(other.to_string()),
    }
}

pub(super) fn error_text(raw: &RawValue) -> Option<String> {
    words(&open(raw))
}

fn chat_message(message: &MessageRecord<'_>) -> ChatMessage {
    let role = match message.role.as_str().unwrap_or("unknown") {
        "model" => "assistant",
        other => other,
    };
    let mut parts = Vec::new();
    let reasoning = message.reasoning_content.and_then(|raw| words(&open(raw)));
    parts.extend(reasoning.map(Part::Reasoning));
    let results: Vec<Part> = message.tool_calls.0.iter().filter_map(combined_result).collect();
    match (message.tool_call_id.owned(), message.content) {
        (Some(id), Some(raw)) if role == "tool" => {
            parts.push(Part::ToolResponse { id: Some(id), response: Json::of(&opened(open(raw))) });
        }
        // The same results stand in the content once more.
        (_, Some(_)) if !results.is_empty() => parts.extend(results),
        (_, Some(raw)) => parts.extend(parts_of(&open(raw))),
        (_, None) => {}
    }
    parts.extend(message.tool_calls.0.iter().filter_map(requested));
    let fields = [
        (Modality::Image, message.images),
        (Modality::Audio, message.audio),
        (Modality::Video, message.videos),
        (Modality::Document, message.files),
        (Modality::Image, message.image_output),
        (Modality::Audio, message.audio_output),
        (Modality::Video, message.video_output),
        (Modality::Document, message.file_output),
    ];
    add_media(&fields, &mut parts);
    ChatMessage { role: role.to_owned(), parts }
}

/// A tool the model asked for. Agno keeps the arguments as JSON in a string.
fn requested(call: &RequestedToolRecord<'_>) -> Option<Part> {
    let function = open(call.function?);
    let name = function.get("name").and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let arguments = opened(function.get("arguments").cloned().unwrap_or_default());
    Some(Part::ToolCall { id: call.id.owned(), name, arguments: Json::of(&arguments) })
}

/// Agno 2.0 puts all of Gemini's results into one message.
fn combined_result(call: &RequestedToolRecord<'_>) -> Option<Part> {
    let raw = call.content.filter(|_| call.function.is_none())?;
    Some(Part::ToolResponse { id: call.id.owned(), response: Json::of(&opened(open(raw))) })
}

/// Media of fields that hold one object or a list of them. A sound's transcript is the answer where there is no
/// other.
fn add_media(fields: &[(Modality, Option<&RawValue>)], parts: &mut Vec<Part>) {
    let mut has_text = parts.iter().any(|part| matches!(part, Part::Text(_)));
    for (modality, raw) in fields {
        let value = raw.map(open).unwrap_or_default();
        let items = match &value {
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        for item in items.iter().filter(|item| item.is_object()) {
            let transcript = item.get("transcript").and_then(Value::as_str).filter(|text| !text.is_empty());
            if let (Some(text), false) = (transcript, has_text) {
                parts.push(Part::Text(text.to_owned()));
                has_text = true;
            }
            parts.push(Part::Media(media::of(*modality, item)));
        }
    }
}

/// The parts of a message's content.
fn parts_of(content: &Value) -> Vec<Part> {
    match content {
        Value::Array(items) => items.iter().filter_map(part).collect(),
        other => words(other).map(Part::Text).into_iter().collect(),
    }
}

/// One part as OpenAI, Anthropic or Google write it.
fn part(item: &Value) -> Option<Part> {
    let text = |name: &str| item.get(name).and_then(words);
    let json = |name: &str| Json::of(&opened(item.get(name).cloned().unwrap_or_default()));
    let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
    let known = match kind {
        "text" | "input_text" | "output_text" => text("text").map(Part::Text),
        "thinking" | "reasoning" => text(kind).or_else(|| text("text")).map(Part::Reasoning),
        "tool_use" => Some(Part::ToolCall {
            id: text("id"),
            name: text("name").unwrap_or_else(|| "unknown".to_owned()),
            arguments: json("input"),
        }),
        "tool_result" => Some(Part::ToolResponse { id: text("tool_use_id"), response: json("content") }),
        _ => media::of_part(kind, item).map(Part::Media),
    };
    known.or_else(|| words(item).map(Part::Text))
}

/// What a run was asked: a text, an object or a list, beside media in agents and teams.
fn input(record: &RunRecord<'_>, kind: RunKind) -> Vec<ChatMessage> {
    let Some(value) = record.input.map(open) else {
        return Vec::new();
    };
    let wrapped = value.get("input_content").filter(|_| kind != RunKind::Workflow);
    let content = if kind != RunKind::Workflow && value.is_object() && wrapped.is_none() {
        // Media alone.
        &Value::Null
    } else {
        wrapped.unwrap_or(&value)
    };
    let mut messages = listed_messages(content)
        .unwrap_or_else(|| vec![ChatMessage { role: "user".to_owned(), parts: parts_of(content) }]);
    if let (Some(last), true) = (messages.last_mut(), kind != RunKind::Workflow) {
        let lists = [
            (Modality::Image, "images"),
            (Modality::Audio, "audios"),
            (Modality::Video, "videos"),
            (Modality::Document, "files"),
        ];
        for (modality, list) in lists {
            let items = value.get(list).and_then(Value::as_array).into_iter().flatten();
            last.parts.extend(items.map(|item| Part::Media(media::of(modality, item))));
        }
    }
    messages.retain(|message| !message.parts.is_empty());
    messages
}

/// A message, or a list of messages, handed to a run as its input.
fn listed_messages(content: &Value) -> Option<Vec<ChatMessage>> {
    let message = |item: &Value| {
        let role = item.get("role")?.as_str().filter(|role| INPUT_ROLES.contains(role))?;
        Some(ChatMessage { role: role.to_owned(), parts: parts_of(item.get("content")?) })
    };
    match content {
        Value::Array(items) if !items.is_empty() => items.iter().map(message).collect(),
        single => message(single).map(|message| vec![message]),
    }
}

/// What a run answered.
fn output(record: &RunRecord<'_>) -> Vec<ChatMessage> {
    let mut parts = match record.content.map(open) {
        // A list is an answer of the application's own type, not a list of parts.
        Some(value) => words(&value).map(Part::Text).into_iter().collect(),
        None => Vec::new(),
    };
    let fields = [
        (Modality::Image, record.images),
        (Modality::Audio, record.audio),
        (Modality::Video, record.videos),
        (Modality::Document, record.files),
        (Modality::Audio, record.response_audio),
    ];
    add_media(&fields, &mut parts);
    let message = ChatMessage { role: "assistant".to_owned(), parts };
    if message.parts.is_empty() { Vec::new() } else { vec![message] }
}

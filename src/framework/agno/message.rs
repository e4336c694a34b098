//! Messages, tool calls and reasoning of one run into the model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::value::RawValue;

use super::content;
use super::lenient::{Number, Text};
use super::record::{DelegationRecord, HashRecord, MessageRecord, RunRecord, ToolRecord};
use super::tokens::{Rule, stated};
use crate::framework::{Keep, Oddities, Oddity};
use crate::model::content::ToolContent;
use crate::model::{Message, ModelCall, ToolCall};
use crate::stable_hash::stable_hash_of;

/// Seconds since the epoch outside of which a time is not believed: 2001 to 2099.
const BELIEVABLE_S: std::ops::Range<i64> = 1_000_000_000..4_100_000_000;
/// Durations beyond this are not believed: a year.
const LONGEST_S: f64 = 3.2e7;

/// How ids of OpenAI's chat completions begin, and of those who speak its language.
const OPENAI_CHAT_ID: &str = "chatcmpl-";

/// What the messages and tools of a run say.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) calls: Vec<ModelCall>,
    pub(super) tools: Vec<ToolCall>,
    pub(super) messages: Vec<Message>,
    /// What went into the tools and came out, by their keys, where that was asked for.
    pub(super) tool_contents: BTreeMap<String, ToolContent>,
    /// True when every executed tool was asked for by a message that is stored.
    pub(super) complete: bool,
}

/// Reads the run's own messages: not its history, not what it inherited from the run it was forked from.
pub(super) fn read(
    record: &RunRecord<'_>,
    provider: Option<&str>,
    inherited: usize,
    keep: Keep,
    oddities: &mut Oddities,
) -> Conversation {
    let is_foreign =
        |place: usize, message: &MessageRecord<'_>| place < inherited || message.from_history.is_true();
    let mut own = Vec::new();
    let mut foreign_tools = BTreeSet::new();
    for (place, message) in record.messages.0.iter().enumerate() {
        if is_foreign(place, message) {
            foreign_tools.extend(requested_ids(message));
        } else {
            own.push((place, message));
        }
    }
    let mut conversation = Conversation { complete: true, ..Conversation::default() };
    let mut reader = Reader { record, provider, keep, oddities, conversation: &mut conversation };
    reader.reasoning_messages();
    reader.messages(&own);
    reader.tools(&own, &foreign_tools);
    conversation
}

struct Reader<'r, 'a> {
    record: &'r RunRecord<'a>,
    provider: Option<&'r str>,
    keep: Keep,
    oddities: &'r mut Oddities,
    conversation: &'r mut Conversation,
}

impl Reader<'_, '_> {
    /// Answers of a reasoning agent that are kept beside the messages (up to 2.5.3, with their usage).
    fn reasoning_messages(&mut self) {
        let known: BTreeSet<&str> =
            self.record.messages.0.iter().filter_map(|message| message.id.as_str()).collect();
        for (place, message) in self.record.reasoning_messages.0.iter().enumerate() {
            let repeated = message.id.as_str().is_some_and(|id| known.contains(id));
            if !repeated && message.role.as_str() == Some("assistant") && message.metrics.0.is_some() {
                let mut call = self.call(message, reasoning_key(place));
                "reasoning_model".clone_into(&mut call.role);
                self.conversation.calls.push(call);
            }
        }
    }

    fn messages(&mut self, own: &[(usize, &MessageRecord<'_>)]) {
        let mut keys = BTreeMap::new();
        let last_user = own.iter().rposition(|(_, message)| message.role.as_str() == Some("user"));
        for (order, (place, message)) in own.iter().enumerate() {
            let role = message.role.as_str().unwrap_or("unknown");
            // An assistant message without figures ahead of the question is an example the application gave.
            let is_example = message.metrics.0.is_none()
                && message.tool_calls.0.is_empty()
                && last_user.is_some_and(|last| order < last);
            match role {
                "assistant" | "model" if !is_example => {
                    let mut call = self.call(message, format!("message/{place}"));
                    call.key = unique(call.key, &mut keys);
                    call.position = Some(*place);
                    self.conversation.calls.push(call);
                }
                "tool" if message.tool_call_id.as_str().is_some() => {}
                _ => self.conversation.messages.push(Message {
                    id: message.id.owned(),
                    // Anything but a word could be content.
                    role: if super::is_word(role) { role } else { "unknown" }.to_owned(),
                    created_at_s: second(message.created_at, self.oddities),
                    position: *place,
                }),
            }
        }
    }

    fn call(&mut self, message: &MessageRecord<'_>, key: String) -> ModelCall {
        let stated =
            message.metrics.0.as_ref().map(|metrics| stated(metrics, self.oddities)).unwrap_or_default();
        let provider_data = message.provider_data.0.as_ref();
        let response_id =
            provider_data.and_then(|data| data.id.as_str().or_else(|| data.response_id.as_str()));
        // A run that another provider's model continued is stored under one of them alone.
        let is_openais = response_id.is_some_and(|id| id.starts_with(OPENAI_CHAT_ID));
        let rule = Rule::of(self.provider.filter(|_| !is_openais), &stated);
        let tokens = rule.normalise(&stated, self.oddities);
        let metrics = message.metrics.0.as_ref();
        let seconds = |number: Option<Number>| number.and_then(Number::float);
        let duration_ns = duration(seconds(metrics.map(|metrics| metrics.duration)), self.oddities);
        let first_ns = duration(seconds(metrics.map(|metrics| metrics.time_to_first_token)), self.oddities);
        // A reasoning model's answer that Agno put among the messages, without figures of its own.
        let role = if message.reasoning_content.is_some() && message.metrics.0.is_none() {
            "reasoning_model"
        } else {
            "model"
        };
        ModelCall {
            key: message.id.owned().unwrap_or(key),
            role: role.to_owned(),
            provider: self.provider.map(str::to_owned),
            model: self.record.model.owned(),
            response_id: response_id.map(str::to_owned),
            message_id: message.id.owned(),
            has_message: true,
            tokens,
            cost: None,
            rule: rule.as_str(),
            stated,
            duration_ns,
            time_to_first_token_ns: first_ns,
            streamed: duration_ns.is_none() && first_ns.is_some(),
            created_at_s: second(message.created_at, self.oddities),
            position: None,
            step: None,
            finish_reasons: Vec::new(),
            error_type: None,
            unfinished: false,
        }
    }

    fn tools(&mut self, own: &[(usize, &MessageRecord<'_>)], foreign: &BTreeSet<&str>) {
        let calls = self.conversation.calls.iter().enumerate();
        let calls: BTreeMap<usize, usize> =
            calls.filter_map(|(at, call)| call.position.map(|place| (place, at))).collect();
        let mut asked = BTreeMap::<&str, VecDeque<usize>>::new();
        for (place, message) in own {
            for id in requested_ids(message) {
                asked.entry(id).or_default().extend(calls.get(place));
            }
        }
        let mut results = BTreeMap::<&str, VecDeque<&MessageRecord<'_>>>::new();
        for (_, message) in own.iter().filter(|(_, message)| message.role.as_str() == Some("tool")) {
            if let Some(id) = message.tool_call_id.as_str() {
                results.entry(id).or_default().push_back(message);
            }
        }
        let other_ids = other_ids(own);
        let mut names = BTreeMap::<String, usize>::new();
        for (place, tool) in self.record.tools.0.iter().enumerate() {
            let id = tool.tool_call_id.as_str();
            let other_id = id.and_then(|id| other_ids.get(id).copied());
            let asked_by = id.and_then(|id| take_first(&mut asked, id));
            if asked_by.is_none() && id.is_some_and(|id| foreign.contains(id)) {
                continue;
            }
            self.conversation.complete &= asked_by.is_some() || id.is_none();
            let result = [id, other_id].into_iter().flatten().find_map(|id| take_first(&mut results, id));
            let mut call = self.tool(tool, result, place);
            call.asked_by = asked_by;
            call.key = unique(call.key, &mut names);
            self.keep(&call.key, tool.tool_args, tool.result.or(result.and_then(|message| message.content)));
            self.conversation.tools.push(call);
        }
        for message in results.into_values().flatten() {
            let id = message.tool_call_id.as_str();
            let mut call = tool_of_message(message, self.oddities);
            call.asked_by = id.and_then(|id| take_first(&mut asked, id));
            call.key = unique(call.key, &mut names);
            self.keep(&call.key, message.tool_args, message.content);
            self.conversation.tools.push(call);
        }
        self.conversation.tools.sort_by_key(|tool| tool.asked_by);
    }

    fn keep(&mut self, key: &str, arguments: Option<&RawValue>, result: Option<&RawValue>) {
        if self.keep == Keep::Content {
            self.conversation.tool_contents.insert(key.to_owned(), content::of_tool(arguments, result));
        }
    }

    fn tool(&mut self, tool: &ToolRecord<'_>, result: Option<&MessageRecord<'_>>, place: usize) -> ToolCall {
        let metrics = tool.metrics.0.as_ref();
        let time = |number: Number, oddities: &mut Oddities| {
            let seconds = number.float()?;
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and is then not believed")]
            if !is_second(seconds as i64) {
                oddities.add(Oddity::UnbelievableTime);
                return None;
            }
            Some(nanoseconds(seconds))
        };
        let start_ns = metrics.and_then(|metrics| time(metrics.start_time, self.oddities));
        let end_ns = metrics.and_then(|metrics| time(metrics.end_time, self.oddities));
        let duration_ns = duration(metrics.and_then(|metrics| metrics.duration.float()), self.oddities);
        let name = tool.tool_name.as_str().unwrap_or("unknown");
        let delegates = delegates(name) || tool.child_run_id.as_str().is_some();
        let waits = [tool.requires_confirmation, tool.requires_user_input, tool.external_execution_required];
        ToolCall {
            key: tool.tool_call_id.owned().unwrap_or_else(|| format!("tool/{place}")),
            name: name.to_owned(),
            call_id: tool.tool_call_id.owned(),
            message_id: result.and_then(|message| message.id.owned()),
            failed: tool.tool_call_error.is_true()
                || result.is_some_and(|message| message.tool_call_error.is_true()),
            executed: tool.result.is_some()
                || duration_ns.is_some()
                || start_ns.is_some()
                || result.is_some(),
            asked_human: waits.into_iter().any(super::lenient::Flag::is_true) || tool.confirmed.0.is_some(),
            start_ns,
            end_ns,
            duration_ns,
            created_at_s: result.and_then(|message| second(message.created_at, self.oddities)),
            asked_by: None,
            delegates,
            child_run_id: tool.child_run_id.owned(),
            member_hash: if delegates { member_hash(tool.tool_args) } else { None },
            result_hash: if delegates { text_hash(tool.result) } else { None },
            error_type: None,
            unfinished: false,
        }
    }
}

/// The key of a call whose message has no id and stands in `reasoning_messages`.
pub(super) fn reasoning_key(place: usize) -> String {
    format!("reasoning/{place}")
}

/// A tool call known only by the message with its result: runs that failed or were stopped keep no `tools`.
fn tool_of_message(message: &MessageRecord<'_>, oddities: &mut Oddities) -> ToolCall {
    let name = message.tool_name.as_str().unwrap_or("unknown");
    ToolCall {
        key: message.tool_call_id.owned().unwrap_or_default(),
        name: name.to_owned(),
        call_id: message.tool_call_id.owned(),
        message_id: message.id.owned(),
        failed: message.tool_call_error.is_true(),
        executed: true,
        asked_human: false,
        start_ns: None,
        end_ns: None,
        duration_ns: None,
        created_at_s: second(message.created_at, oddities),
        asked_by: None,
        delegates: delegates(name),
        child_run_id: None,
        member_hash: if delegates(name) { member_hash(message.tool_args) } else { None },
        result_hash: if delegates(name) { text_hash(message.content) } else { None },
        error_type: None,
        unfinished: false,
    }
}

/// Agno's tools that hand work to a member of a team, by their names since 2.0.
pub(super) fn delegates(tool: &str) -> bool {
    [
        "delegate_task_to_member",
        "transfer_task_to_member",
        "forward_task_to_member",
        "execute_task",
        "run_workflow",
    ]
    .iter()
    .any(|prefix| tool.starts_with(prefix))
}

fn member_hash(arguments: Option<&RawValue>) -> Option<u64> {
    let raw = arguments.filter(|raw| raw.get().starts_with('{'))?;
    member_hash_of(serde_json::from_str::<DelegationRecord<'_>>(raw.get()).ok()?.member_id?)
}

/// A hash of the name or id by which a delegation calls a member.
pub(super) fn member_hash_of(raw: &RawValue) -> Option<u64> {
    kept_hash(raw).or_else(|| {
        let name = serde_json::from_str::<Text<'_>>(raw.get()).ok()?;
        name.as_str().map(crate::model::tree::name_hash)
    })
}

/// A hash of a JSON string's text, so that two texts can be compared without being kept.
pub(super) fn text_hash(raw: Option<&RawValue>) -> Option<u64> {
    let raw = raw?;
    if !raw.get().starts_with('"') {
        return kept_hash(raw);
    }
    let text: String = serde_json::from_str(raw.get()).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| stable_hash_of(text.as_bytes()))
}

/// The hash that stands in the place of a text, where the text was not kept.
fn kept_hash(raw: &RawValue) -> Option<u64> {
    let kept = raw.get().starts_with('{').then(|| serde_json::from_str::<HashRecord>(raw.get()).ok());
    kept.flatten()?.hash
}

fn requested_ids<'m>(message: &'m MessageRecord<'_>) -> impl Iterator<Item = &'m str> {
    message.tool_calls.0.iter().flat_map(|tool| {
        let [id, call_id] = [tool.id.as_str(), tool.call_id.as_str()];
        [id, call_id.filter(|_| call_id != id)].into_iter().flatten()
    })
}

/// The Responses API has an id of the item and one of the call, and Agno 2.0 keeps the one on the tool and the
/// other on the message with its result.
fn other_ids<'m>(own: &[(usize, &'m MessageRecord<'_>)]) -> BTreeMap<&'m str, &'m str> {
    let requested = own.iter().flat_map(|(_, message)| &message.tool_calls.0);
    let pairs = requested.filter_map(|tool| tool.id.as_str().zip(tool.call_id.as_str()));
    pairs
        .filter(|(id, call_id)| id != call_id)
        .flat_map(|(id, call_id)| [(id, call_id), (call_id, id)])
        .collect()
}

fn take_first<T>(lists: &mut BTreeMap<&str, VecDeque<T>>, id: &str) -> Option<T> {
    lists.get_mut(id)?.pop_front()
}

/// A key no other call of the run has: providers that number their tool calls begin again at each message.
fn unique(key: String, seen: &mut BTreeMap<String, usize>) -> String {
    let count = seen.entry(key.clone()).or_default();
    *count += 1;
    if *count == 1 { key } else { format!("{key}#{count}") }
}

/// A Unix second, if it can be one.
pub(super) fn second(number: Number, oddities: &mut Oddities) -> Option<i64> {
    let said = number.integer();
    let second = said.filter(|second| is_second(*second));
    if second.is_none() && number != Number::Absent {
        oddities.add(Oddity::UnbelievableTime);
    }
    second
}

/// True for Unix seconds that a record can have been made at.
pub(super) fn is_second(second: i64) -> bool {
    BELIEVABLE_S.contains(&second)
}

/// Seconds to nanoseconds, if they can be a duration.
pub(super) fn duration(seconds: Option<f64>, oddities: &mut Oddities) -> Option<i64> {
    let seconds = seconds?;
    if !(0.0..LONGEST_S).contains(&seconds) {
        oddities.add(Oddity::UnbelievableTime);
        return None;
    }
    Some(nanoseconds(seconds))
}

#[expect(clippy::cast_possible_truncation, reason = "callers check the range; a saturated cast would do too")]
fn nanoseconds(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64
}

#[cfg(test)]
mod tests;

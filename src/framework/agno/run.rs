//! Agent, team and workflow runs into the model.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::{Number, Text};
use super::message::{self, Conversation, duration, text_hash};
use super::record::{MetricsRecord, RunRecord};
use super::steps::Results;
use super::tokens::{Rule, provider_name, stated};
use super::usage::{Detail, Recorded};
use super::{Columns, Decoded, DecodedRun, content, steps};
use crate::framework::{Keep, Oddities, Oddity};
use crate::model::cost::stated_nano_usd;
use crate::model::run::{Moment, uuid_bytes};
use crate::model::{ModelCall, Run, RunKey, RunKind, RunStatus, Stated, Usage};

/// Decodes a run and every run inside it. Nesting says who the parent is only where the run itself does not.
pub(super) fn flatten(
    record: &RunRecord<'_>,
    columns: &Columns,
    parent: Option<&str>,
    decoded: &mut Decoded,
) {
    let Some(run_id) = record.run_id.as_str() else {
        return decoded.oddities.add(Oddity::NoRunId);
    };
    if record.metrics.0.as_ref().is_some_and(is_legacy) {
        return decoded.oddities.add(Oddity::AgnoV1);
    }
    let run = read(record, columns, parent, decoded.keep, &mut decoded.oddities);
    let inner =
        Columns { stored_at_s: None, index: None, session_id: run.run.session_id.clone(), ..columns.clone() };
    decoded.runs.push(run);
    for nested in record.member_responses.0.0.iter().chain(&record.step_executor_runs.0.0) {
        flatten(nested, &inner, Some(run_id), decoded);
    }
    if let Some(nested) = &record.workflow_agent_run.0.0 {
        let place = decoded.runs.len();
        flatten(nested, &inner, Some(run_id), decoded);
        // A workflow's agent has no name, and an id that is another one in every process.
        if let Some(DecodedRun { run, .. }) = decoded.runs.get_mut(place) {
            run.entity_name = run
                .entity_name
                .take()
                .or_else(|| record.workflow_name.owned())
                .or_else(|| record.workflow_id.owned());
        }
    }
}

/// 1.x: one item per message where later releases keep one number.
pub(super) fn is_legacy(metrics: &MetricsRecord<'_>) -> bool {
    [metrics.input_tokens, metrics.output_tokens, metrics.total_tokens, metrics.time_to_first_token]
        .contains(&Number::List)
}

fn read(
    record: &RunRecord<'_>,
    columns: &Columns,
    parent: Option<&str>,
    keep: Keep,
    oddities: &mut Oddities,
) -> DecodedRun {
    let (kind, entity_id, entity_name) = entity(record);
    let provider = record.model_provider.as_str().map(provider_name);
    let conversation = message::read(record, provider.as_deref(), inherited_messages(record), keep, oddities);
    let Results { steps, details, errors } = steps::read(record.step_results, keep, oddities);
    let recorded = recorded(record, kind, &conversation, provider.as_deref(), details, oddities);
    let Conversation { calls, tools, messages, tool_contents, .. } = conversation;
    let status = status(record, oddities);
    let content = (keep == Keep::Content)
        .then(|| Box::new(content::read(record, kind, status == RunStatus::Error, tool_contents, errors)));
    let session_id = record.session_id.owned().or_else(|| columns.session_id.clone());
    let run_id = record.run_id.as_str().unwrap_or_default();
    let parent = record.parent_run_id.as_str().or(parent).filter(|id| *id != run_id);
    let mut run = Run {
        key: key(run_id, session_id.as_deref(), record),
        parent_run_id: parent.map(str::to_owned),
        kind,
        entity_id,
        entity_name,
        session_id,
        user_id: record.user_id.owned().or_else(|| columns.user_id.clone()),
        workflow_step_id: record.workflow_step_id.owned(),
        error_type: (status == RunStatus::Error).then(|| "_OTHER".to_owned()),
        status,
        provider,
        model: record.model.owned(),
        index: columns.index,
        created_at_s: message::second(record.created_at, oddities),
        stored_at_s: columns.stored_at_s,
        duration_ns: None,
        time_to_first_token_ns: None,
        calls,
        tools,
        messages,
        steps,
        usage: Vec::new(),
        stated: Stated::default(),
        moments: Vec::new(),
        traceparent: traceparent(record.metadata),
        regenerated_from: record.regenerated_from.owned(),
        forked_from_run_id: record.forked_from_run_id.owned(),
        forked_from_session_id: record.forked_from_session_id.owned(),
        answer_hash: parent.and_then(|_| text_hash(record.content)),
        content,
    };
    if let Some(metrics) = &record.metrics.0 {
        figures(metrics, &mut run, oddities);
    }
    run.moments = moments(record, &run, oddities);
    let checkpoint = record.last_checkpoint_at_message_index.integer();
    DecodedRun { run, recorded, checkpoint: checkpoint.and_then(|index| usize::try_from(index).ok()) }
}

/// How many messages at its head were taken over from the run it continues.
fn inherited_messages(record: &RunRecord<'_>) -> usize {
    let continues =
        record.forked_from_run_id.as_str().is_some() || record.regenerated_from.as_str().is_some();
    let index = record.forked_from_message_index.integer().filter(|_| continues);
    index.and_then(|index| usize::try_from(index).ok()).unwrap_or(0)
}

/// The run's own figures: durations, and what Agno states.
///
/// Until 2.5.3 the time to first token was overwritten by every model call; those releases keep neither
/// `details` nor times of messages, by which they are known.
fn figures(metrics: &MetricsRecord<'_>, run: &mut Run, oddities: &mut Oddities) {
    let has_times = |call: &ModelCall| call.duration_ns.is_some() || call.time_to_first_token_ns.is_some();
    let believes_first_token = has_details(metrics) || run.calls.iter().any(has_times);
    run.duration_ns = duration(metrics.duration.float(), oddities);
    run.stated = stated(metrics, &mut Oddities::default());
    if believes_first_token {
        run.time_to_first_token_ns = duration(metrics.time_to_first_token.float(), oddities);
    } else {
        run.stated.floats.retain(|(field, _)| *field != "time_to_first_token");
    }
}

/// Agno's own way to tell: a team has `team_id`, an agent `agent_id`, all else is a workflow.
fn entity(record: &RunRecord<'_>) -> (RunKind, Option<String>, Option<String>) {
    let has = |texts: [&Text<'_>; 2]| texts.iter().any(|text| text.as_str().is_some());
    if has([&record.agent_id, &record.agent_name]) {
        (RunKind::Agent, record.agent_id.owned(), record.agent_name.owned())
    } else if has([&record.team_id, &record.team_name]) {
        (RunKind::Team, record.team_id.owned(), record.team_name.owned())
    } else if has([&record.workflow_id, &record.workflow_name]) && record.model.as_str().is_none() {
        (RunKind::Workflow, record.workflow_id.owned(), record.workflow_name.owned())
    } else {
        (RunKind::Agent, None, None)
    }
}

/// Ids that are no UUIDs may be used again by the application.
fn key(run_id: &str, session_id: Option<&str>, record: &RunRecord<'_>) -> RunKey {
    if uuid_bytes(run_id).is_some() {
        return RunKey { run_id: run_id.to_owned(), reuse: String::new() };
    }
    let first = record.messages.0.iter().find(|message| !message.from_history.is_true());
    let mark =
        first.map_or_else(String::new, |message| match (message.id.owned(), message.created_at.integer()) {
            (Some(id), _) => id,
            (None, Some(second)) => second.to_string(),
            (None, None) => String::new(),
        });
    RunKey { run_id: run_id.to_owned(), reuse: format!("{}\n{mark}", session_id.unwrap_or_default()) }
}

fn status(record: &RunRecord<'_>, oddities: &mut Oddities) -> RunStatus {
    match record.status.as_str().unwrap_or("COMPLETED").to_ascii_uppercase().as_str() {
        "PENDING" => RunStatus::Pending,
        "RUNNING" => RunStatus::Running,
        "PAUSED" => RunStatus::Paused,
        "COMPLETED" => RunStatus::Completed,
        "CANCELLED" | "CANCELED" => RunStatus::Cancelled,
        "ERROR" | "FAILED" => RunStatus::Error,
        "REGENERATED" => RunStatus::Regenerated,
        other => {
            oddities.add(Oddity::UnknownStatus);
            // A status is a word; anything longer could be content.
            RunStatus::Other(if super::is_word(other) { other.to_owned() } else { "UNKNOWN".to_owned() })
        }
    }
}

fn recorded(
    record: &RunRecord<'_>,
    kind: RunKind,
    conversation: &Conversation,
    provider: Option<&str>,
    steps: Vec<Detail>,
    oddities: &mut Oddities,
) -> Recorded {
    if kind == RunKind::Workflow {
        return Recorded::Steps(steps);
    }
    let Some(metrics) = record.metrics.0.as_ref() else {
        return Recorded::Messages;
    };
    let has_details = has_details(metrics);
    let from_messages = conversation.calls.iter().any(|call| !call.tokens.is_zero()) && conversation.complete;
    if !has_details && from_messages {
        return Recorded::Messages;
    }
    let mut details = details(metrics, provider, record.model.as_str(), oddities);
    if has_details {
        return Recorded::Details(details);
    }
    match details.pop() {
        Some(detail) if !detail.usage.tokens.is_zero() => Recorded::Sum(Box::new(detail)),
        _ => Recorded::Messages,
    }
}

/// True where `metrics.details` says anything: an empty list of entries is no sum.
fn has_details(metrics: &MetricsRecord<'_>) -> bool {
    metrics.details.0.0.iter().any(|(_, entries)| !entries.0.is_empty())
}

/// The entries of `metrics.details`; without them the metrics themselves, as the main model's.
pub(super) fn details(
    metrics: &MetricsRecord<'_>,
    provider: Option<&str>,
    model: Option<&str>,
    oddities: &mut Oddities,
) -> Vec<Detail> {
    let detail = |role: &str, metrics: &MetricsRecord<'_>, oddities: &mut Oddities| {
        let provider = metrics.provider.as_str().map(provider_name).or_else(|| provider.map(str::to_owned));
        let stated = stated(metrics, oddities);
        let rule = Rule::of(provider.as_deref(), &stated);
        let tokens = rule.normalise(&stated, oddities);
        let model = metrics.id.owned().or_else(|| model.map(str::to_owned));
        // Anything but a word could be content.
        let role = if super::is_word(role) { role } else { "unknown" };
        let cost = stated.floats.iter().find(|(field, _)| *field == "cost").map(|(_, usd)| *usd);
        let stated_nano_usd = cost.and_then(stated_nano_usd);
        let role = role.to_owned();
        let usage = Usage { role, provider, model, tokens, stated_nano_usd, ..Usage::default() };
        Detail { usage, stated, rule: rule.as_str(), step_run_id: None }
    };
    if !has_details(metrics) {
        return vec![detail("model", metrics, oddities)];
    }
    let entries =
        metrics.details.0.0.iter().flat_map(|(role, list)| list.0.iter().map(move |entry| (role, entry)));
    entries.map(|(role, entry)| detail(role, entry, oddities)).collect()
}

/// `metadata.traceparent`, if the application put W3C trace context there.
fn traceparent(metadata: Option<&RawValue>) -> Option<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metadata<'a> {
        #[serde(borrow)]
        traceparent: Text<'a>,
    }
    let raw = metadata.filter(|raw| raw.get().contains("traceparent"))?;
    let found = serde_json::from_str::<Metadata<'_>>(raw.get()).ok()?.traceparent.owned();
    // Anything but a word could be content.
    found.filter(|text| super::is_word(text))
}

fn moments(record: &RunRecord<'_>, run: &Run, oddities: &mut Oddities) -> Vec<Moment> {
    let mut moments = Vec::new();
    if let Some(compaction) = &record.compaction.0 {
        let figures = [
            ("agno.compaction.messages", compaction.messages_compacted),
            ("agno.compaction.tokens_before", compaction.tokens_before),
            ("agno.compaction.tokens_after", compaction.tokens_after),
        ];
        let figures =
            figures.into_iter().filter_map(|(name, number)| number.integer().map(|value| (name, value)));
        moments.push(Moment {
            name: "agno.compaction",
            at_s: message::second(compaction.created_at, oddities),
            figures: figures.collect(),
        });
    }
    let asked = run.tools.iter().filter(|tool| tool.asked_human).count();
    if run.status == RunStatus::Paused || asked > 0 || !record.requirements.0.is_empty() {
        let waiting = run.tools.iter().filter(|tool| tool.asked_human && !tool.executed).count();
        let count = |name, count| i64::try_from(count).ok().map(|count| (name, count));
        let figures = [count("agno.pause.tools", asked), count("agno.pause.waiting", waiting)];
        moments.push(Moment {
            name: "agno.pause",
            at_s: None,
            figures: figures.into_iter().flatten().collect(),
        });
    }
    moments
}

#[cfg(test)]
mod tests;

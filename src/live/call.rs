//! Requests to models.

use tracing::{Span, field, info_span};

use super::guard::{self, Guard};
use super::layer::Node;
use super::run::Core;
use super::span::{Ending, Started};
use super::usage::Usage;
use crate::ledger::SessionShare;
use crate::model::content::{ChatMessage, Json, Part};
use crate::model::{self, Usage as Spent};
use crate::money;
use crate::otel::names::operation;
use crate::otel::{metrics, spans::single};

/// The role of an agent's own model.
const MODEL: &str = "model";

/// A request to a model, under way.
///
/// What becomes known of it is set as it becomes known. It ends with [`finish`](Self::finish) or [`fail`](Self::fail).
/// Dropped, it was given up: what is known of it counts, and its span says `agno.unfinished` and the error type
/// `cancelled`, or `panic`.
#[derive(Debug)]
#[must_use = "dropped, a call is cancelled"]
pub struct ModelCall {
    guard: Guard<Asked>,
}

#[derive(Debug)]
struct Asked {
    call: model::ModelCall,
    answer: Vec<Part>,
}

impl ModelCall {
    pub(super) fn start(parent: &Span, node: Option<&Node>) -> Self {
        let core = node.and_then(|node| node.get());
        let (provider, model) = core.map_or_else(Default::default, |core| {
            let run = &core.open().run;
            (run.provider.clone(), run.model.clone())
        });
        let span = info_span!(
            target: "agno_otel::live",
            parent: parent,
            "chat",
            otel.name = operation::CHAT,
            otel.kind = "client",
            gen_ai.operation.name = operation::CHAT,
            gen_ai.provider.name = field::Empty,
            gen_ai.request.model = field::Empty,
            gen_ai.usage.input_tokens = field::Empty,
            gen_ai.usage.output_tokens = field::Empty,
            error.type = field::Empty,
        );
        let known = |started: &Started| Asked {
            call: model::ModelCall {
                role: MODEL.to_owned(),
                provider,
                model,
                created_at_s: Some(started.start_s()),
                has_message: true,
                ..Default::default()
            },
            answer: Vec::new(),
        };
        Self { guard: Guard::of(span, node, known) }
    }

    fn set(&mut self, set: impl FnOnce(&mut model::ModelCall)) {
        self.guard.set(|part| set(&mut part.known.call));
    }

    /// The call's `tracing` span, to make the request in.
    pub fn span(&self) -> &Span {
        self.guard.span()
    }

    /// W3C trace context of the call, for its request; `None` where nobody traces.
    pub fn traceparent(&self) -> Option<String> {
        self.guard.traceparent()
    }

    /// Another model than the run's: its provider in OpenTelemetry's words, and its name.
    pub fn model(&mut self, provider: impl Into<String>, model: impl Into<String>) {
        self.set(|call| (call.provider, call.model) = (Some(provider.into()), Some(model.into())));
    }

    /// Which of the agent's models is asked, if not its own: `memory_model`, `reasoning_model`, `parser_model`. One of few
    /// words, for it is an attribute of metrics.
    pub fn role(&mut self, role: impl Into<String>) {
        self.set(|call| call.role = role.into());
    }

    /// The first piece of a streamed answer is here. Said again, nothing changes.
    pub fn first_chunk(&mut self) {
        self.guard.set(|part| {
            let first = part.started.elapsed_ns();
            let call = &mut part.known.call;
            call.streamed = true;
            call.time_to_first_token_ns.get_or_insert(first);
            if let Some(core) = part.node.get() {
                core.note_response();
            }
        });
    }

    /// What it used so far. Said again, it replaces what was said before.
    pub fn usage(&mut self, usage: Usage) {
        self.set(|call| (call.tokens, call.rule) = usage.normalised());
    }

    /// The provider's id of the answer.
    pub fn response_id(&mut self, id: impl Into<String>) {
        self.set(|call| call.response_id = Some(id.into()));
    }

    /// Why the model stopped, in OpenTelemetry's words: `stop`, `length`, `tool_call`, `content_filter`.
    pub fn finish_reason(&mut self, reason: impl Into<String>) {
        self.set(|call| call.finish_reasons.push(reason.into()));
    }

    /// A piece of what it answered, in order. Kept only where content was asked for.
    pub fn answer(&mut self, text: &str) {
        self.guard.keep(|asked| match asked.answer.last_mut() {
            Some(Part::Text(said)) => said.push_str(text),
            _ => asked.answer.push(Part::Text(text.to_owned())),
        });
    }

    /// A tool it asked for, with its arguments as JSON. Kept only where content was asked for.
    pub fn asks_for(&mut self, tool: &str, call_id: &str, arguments: &str) {
        self.guard.keep(|asked| {
            let (id, arguments) = (Some(call_id.to_owned()), json(arguments));
            asked.answer.push(Part::ToolCall { id, name: tool.to_owned(), arguments });
        });
    }

    /// The answer is there.
    pub fn finish(mut self) {
        self.guard.set(|part| part.node.get().into_iter().for_each(Core::note_response));
        self.end();
    }

    /// It failed. `error_type` is one of few words (`timeout`, `rate_limit`, `500`), for it becomes an attribute of metrics.
    /// Usage that was stated counts.
    pub fn fail(mut self, error_type: &str) {
        self.set(|call| call.error_type = Some(error_type.to_owned()));
        self.end();
    }

    fn end(&mut self) {
        if let Some(part) = self.guard.end() {
            tell(*part);
        }
    }
}

/// Ends the span of a call and counts it.
fn tell(part: guard::Part<Asked>) {
    let guard::Part { started, node, known: Asked { mut call, answer } } = part;
    let Some(core) = node.get() else { return };
    let (settings, interval) = (core.way.settings, started.interval());
    // Those that are not streamed have a duration, those that are have a first chunk: as Agno records them.
    call.duration_ns = (!call.streamed).then_some(interval.end_ns - interval.start_ns);
    let mut open = core.open();
    call.key = open.calls.to_string();
    open.calls += 1;
    call.position = Some(open.say(|| Some(ChatMessage { role: "assistant".to_owned(), parts: answer })));
    let run = &mut open.run;
    let spent = Spent {
        role: call.role.clone(),
        provider: call.provider.clone(),
        model: call.model.clone(),
        tokens: call.tokens,
        ..Spent::default()
    };
    // For a moment the run is one that made this call alone.
    let before = std::mem::take(&mut run.usage);
    (run.calls, run.usage) = (vec![call], vec![spent]);
    money::settle(std::slice::from_mut(run), &core.way.prices, started.start_s());
    let (_, span_id) = started.ids();
    let place = core.place(vec![span_id], Vec::new());
    let measurements = metrics::parts(run, place.as_ref(), settings);
    let (tokens, cost) = (run.own_tokens(), run.own_cost());
    let more = SessionShare {
        input_tokens: tokens.input(),
        output_tokens: tokens.output(),
        cost_nano_usd: cost.map_or(0, |cost| cost.nano_usd),
        ..SessionShare::default()
    };
    let told = core.told(run, measurements, more, metrics::exemplar_of(run, place.as_ref()));
    let call = run.calls.pop().unwrap_or_default();
    let ending = Ending::of(single::call(run, &call, interval, settings), interval);
    let spent = std::mem::replace(&mut run.usage, before);
    for usage in spent {
        add(&mut run.usage, usage);
    }
    drop(open);
    core.spend(tokens, cost);
    core.way.tell(told, || started.end(ending));
}

/// Adds what a call spent to what its run spent on the same model.
fn add(all: &mut Vec<Spent>, more: Spent) {
    let is_same = |own: &&mut Spent| {
        (&own.role, &own.provider, &own.model) == (&more.role, &more.provider, &more.model)
    };
    match all.iter_mut().find(is_same) {
        Some(own) => {
            own.tokens += more.tokens;
            own.cost = model::Cost::sum(own.cost.into_iter().chain(more.cost));
            own.unpriced = own.unpriced.saturating_add(more.unpriced);
        }
        None => all.push(more),
    }
}

/// Text that is JSON as what it is, any other as a text.
pub(super) fn json(text: &str) -> Json {
    Json::of(&serde_json::from_str(text).unwrap_or_else(|_not_json| text.into()))
}

impl Drop for ModelCall {
    fn drop(&mut self) {
        self.set(|call| (call.unfinished, call.error_type) = (true, Some(guard::given_up().to_owned())));
        self.end();
    }
}

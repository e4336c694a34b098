//! Runs about to begin.

use std::sync::Mutex;

use tokio::time::Instant;
use tracing::{Span, field, info_span};
use uuid::Uuid;

use super::layer::{Found, Node, introduce};
use super::run::{Core, Inner, Open, Run};
use super::span::{self, Started};
use crate::model::{Run as Model, RunKey, RunKind};
use crate::otel::names::{self, operation};
use crate::otel::{Mode, metrics};

/// A run about to begin.
#[derive(Debug)]
#[must_use = "a run begins with `start`"]
pub struct Start<'p> {
    kind: RunKind,
    name: String,
    id: Option<String>,
    run_id: Option<String>,
    session: Option<String>,
    user: Option<String>,
    model: Option<(String, String)>,
    traceparent: Option<String>,
    /// The span it hangs under. `None`: the current one.
    parent: Option<&'p Span>,
}

impl<'p> Start<'p> {
    pub(super) fn of(kind: RunKind, name: &str, parent: Option<&'p Span>) -> Self {
        let name = name.to_owned();
        let (id, run_id, session, user, model, traceparent) = Default::default();
        Self { kind, name, id, run_id, session, user, model, traceparent, parent }
    }

    /// The agent's or team's id, if it has one beside its name.
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The run's id. By default it is its trace's, if it begins one, so that it finds its trace; else a new UUID.
    pub fn run_id(self, id: impl Into<String>) -> Self {
        Self { run_id: Some(id.into()), ..self }
    }

    /// The conversation it belongs to. By default that of the run it is a part of.
    pub fn session(self, id: impl Into<String>) -> Self {
        Self { session: Some(id.into()), ..self }
    }

    /// The application's user. It is said only where `user.id` was asked for.
    pub fn user(self, id: impl Into<String>) -> Self {
        Self { user: Some(id.into()), ..self }
    }

    /// Its own model: the provider in OpenTelemetry's words (`openai`, `anthropic`, `aws.bedrock`), and the model's name.
    /// Calls have these if they say nothing else.
    pub fn model(self, provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self { model: Some((provider.into(), model.into())), ..self }
    }

    /// W3C trace context of whoever asks for the run: it becomes a part of their trace. What is none is passed over.
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        Self { traceparent: Some(traceparent.into()), ..self }
    }

    /// Begins.
    pub fn start(self) -> Run {
        let node = Node::default();
        let is_in_trace = self.parent.is_some() || span::is_in_trace();
        let (span, found) = introduce(&node, || self.span());
        let Some(found) = found else { return Run { span, inner: None } };
        let caller = self.traceparent.as_deref();
        let continues = caller.is_some_and(|traceparent| span::continue_from(&span, traceparent));
        // Else something came before it in its trace.
        let begins = !is_in_trace && !continues;
        let started = Started::of(span.clone());
        let core = self.core(found, &started, begins);
        let open = core.open();
        span.record(names::RUN_ID, open.run.key.run_id.as_str());
        if let Some(session) = &open.run.session_id {
            span.record(names::CONVERSATION_ID, session.as_str());
        }
        drop(open);
        // It was made here, and is set once.
        node.set(core).ok();
        Run { span, inner: Some(Inner { started, node, is_over: false }) }
    }

    fn span(&self) -> Span {
        /// With or without a parent that is named: one that is not is OpenTelemetry's own current span too.
        macro_rules! span {
            ($($parent:tt)*) => {
                info_span!(
                    target: "agno_otel::live",
                    $($parent)*
                    "invoke_agent",
                    otel.name = [operation::INVOKE_AGENT, " ", self.name.as_str()].concat(),
                    otel.kind = "internal",
                    gen_ai.operation.name = operation::INVOKE_AGENT,
                    gen_ai.agent.name = self.name,
                    gen_ai.conversation.id = field::Empty,
                    agno.run.id = field::Empty,
                    agno.run.status = field::Empty,
                    gen_ai.usage.input_tokens = field::Empty,
                    gen_ai.usage.output_tokens = field::Empty,
                    error.type = field::Empty,
                )
            };
        }
        if let Some(parent) = self.parent { span!(parent: parent,) } else { span!() }
    }

    fn core(self, Found { way, parent }: Found, started: &Started, begins: bool) -> Core {
        let above = parent.as_ref().and_then(|node| node.get());
        let (above_id, above_session, above_named) = above.map_or((None, None, None), |core| {
            let run = &core.open().run;
            (Some(run.key.run_id.clone()), run.session_id.clone(), Some(core.named.clone()))
        });
        let ids = started.ids();
        let own = || {
            let is_traces = begins && started.is_traced();
            let id = if is_traces { Uuid::from_bytes(ids.0) } else { Uuid::new_v4() };
            id.to_string()
        };
        let run_id = self.run_id.unwrap_or_else(own);
        let (provider, model) = self.model.unzip();
        let session_id = self.session.or_else(|| above_session.clone());
        let is_same = above_session.is_some() && session_id == above_session;
        let content = way.settings.content.mode() != Mode::None;
        let run = Model {
            key: RunKey { run_id, reuse: String::new() },
            parent_run_id: above_id,
            entity_id: self.id,
            entity_name: Some(self.name),
            session_id,
            user_id: self.user,
            provider,
            model,
            created_at_s: Some(started.start_s()),
            content: content.then(Box::default),
            ..Model::running(self.kind)
        };
        let (_, named) = metrics::session_share(&run, false);
        let named = above_named.filter(|_| is_same).unwrap_or(named);
        let open = Open { run, calls: 0, tools: 0, messages: 0, tree: Default::default() };
        Core { way, parent, named, ids, since: Instant::now(), open: Mutex::new(open) }
    }
}

//! What tools do.

use tracing::{Span, field, info_span};

use super::call::json;
use super::guard::{self, Guard};
use super::layer::Node;
use super::span::Ending;
use super::start::Start;
use crate::ledger::SessionShare;
use crate::model::content::{ChatMessage, Json, Part, ToolContent};
use crate::model::{self, RunKind};
use crate::otel::names::operation;
use crate::otel::{metrics, spans::single};

/// A tool at work.
///
/// It ends with [`finish`](Self::finish) or [`fail`](Self::fail). Dropped, it was given up: its span says
/// `agno.unfinished` and the error type `cancelled`, or `panic`, and it counts among the failed.
#[derive(Debug)]
#[must_use = "dropped, a tool call is cancelled"]
pub struct ToolCall {
    guard: Guard<Used>,
}

#[derive(Debug)]
struct Used {
    tool: model::ToolCall,
    content: ToolContent,
}

impl ToolCall {
    pub(super) fn start(parent: &Span, node: Option<&Node>, name: &str) -> Self {
        let span = info_span!(
            target: "agno_otel::live",
            parent: parent,
            "execute_tool",
            otel.name = [operation::EXECUTE_TOOL, " ", name].concat(),
            otel.kind = "internal",
            gen_ai.operation.name = operation::EXECUTE_TOOL,
            gen_ai.tool.name = field::Empty,
            error.type = field::Empty,
        );
        let known = |_: &_| Used {
            tool: model::ToolCall { name: name.to_owned(), executed: true, ..Default::default() },
            content: ToolContent::default(),
        };
        Self { guard: Guard::of(span, node, known) }
    }

    fn set(&mut self, set: impl FnOnce(&mut model::ToolCall)) {
        self.guard.set(|part| set(&mut part.known.tool));
    }

    /// The tool's `tracing` span, to do its work in. An agent that begins in it is a part of the run.
    pub fn span(&self) -> &Span {
        self.guard.span()
    }

    /// W3C trace context of the tool call, for whoever it asks; `None` where nobody traces. In the metadata of an Agno
    /// run, as `traceparent`, it makes that run a part of this trace.
    pub fn traceparent(&self) -> Option<String> {
        self.guard.traceparent()
    }

    /// The provider's id of the call.
    pub fn call_id(&mut self, id: impl Into<String>) {
        self.set(|tool| tool.call_id = Some(id.into()));
    }

    /// A human was asked before it began.
    pub fn asked_human(&mut self) {
        self.set(|tool| tool.asked_human = true);
    }

    /// What it was given, as JSON. Kept only where content was asked for.
    pub fn arguments(&mut self, arguments: &str) {
        self.guard.keep(|used| used.content.arguments = Some(json(arguments)));
    }

    /// What came out, or why it failed. Kept only where content was asked for.
    pub fn result(&mut self, result: &str) {
        self.guard.keep(|used| used.content.result = Some(json(result)));
    }

    /// An agent this tool hands work to: a part of the run, under this tool.
    pub fn agent(&self, name: &str) -> Start<'_> {
        Start::of(RunKind::Agent, name, Some(self.span()))
    }

    /// A team this tool hands work to.
    pub fn team(&self, name: &str) -> Start<'_> {
        Start::of(RunKind::Team, name, Some(self.span()))
    }

    /// It did what it was to do.
    pub fn finish(mut self) {
        self.end();
    }

    /// It failed. `error_type` is one of few words, for it becomes an attribute of metrics.
    pub fn fail(mut self, error_type: &str) {
        self.set(|tool| (tool.failed, tool.error_type) = (true, Some(error_type.to_owned())));
        self.end();
    }

    fn end(&mut self) {
        if let Some(part) = self.guard.end() {
            tell(*part);
        }
    }
}

/// Ends the span of a tool call and counts it.
fn tell(part: guard::Part<Used>) {
    let guard::Part { started, node, known: Used { mut tool, content } } = part;
    let Some(core) = node.get() else { return };
    let (settings, interval) = (core.way.settings, started.interval());
    tool.duration_ns = Some(interval.end_ns - interval.start_ns);
    let mut open = core.open();
    tool.key = open.tools.to_string();
    open.tools += 1;
    let response = content.result.clone().unwrap_or_else(|| Json::of(&"".into()));
    let parts = vec![Part::ToolResponse { id: tool.call_id.clone(), response }];
    open.say(|| Some(ChatMessage { role: "tool".to_owned(), parts }));
    let run = &mut open.run;
    if let Some(all) = &mut run.content {
        all.tools = [(tool.key.clone(), content)].into();
    }
    // For a moment the run is one that used this tool alone.
    let usage = std::mem::take(&mut run.usage);
    run.tools = vec![tool];
    let (_, span_id) = started.ids();
    let place = core.place(Vec::new(), vec![span_id]);
    let measurements = metrics::parts(run, place.as_ref(), settings);
    run.usage = usage;
    let exemplar = metrics::exemplar_of(run, place.as_ref());
    let told = core.told(run, measurements, SessionShare::default(), exemplar);
    let tool = run.tools.pop().unwrap_or_default();
    let ending = Ending::of(single::tool(run, &tool, interval, settings), interval);
    drop(open);
    core.way.tell(told, || started.end(ending));
}

impl Drop for ToolCall {
    fn drop(&mut self) {
        self.set(|tool| {
            (tool.unfinished, tool.failed) = (true, true);
            tool.error_type = Some(guard::given_up().to_owned());
        });
        self.end();
    }
}

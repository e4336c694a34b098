//! Runs of agents and teams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tracing::Span;

use super::call::ModelCall;
use super::layer::Node;
use super::span::{Ending, Started};
use super::start::Start;
use super::tool::ToolCall;
use super::way::Way;
use crate::ledger::{Exemplar, SessionShare, Told, ToldOfSession};
use crate::model::content::{ChatMessage, Part};
use crate::model::run::Moment;
use crate::model::{Cost, Message, Run as Model, RunKind, RunStatus, Tokens};
use crate::otel::names;
use crate::otel::places::Place;
use crate::otel::{Mode, metrics, spans::single};

/// A run under way.
///
/// It ends with [`finish`](Self::finish), [`fail`](Self::fail), [`pause`](Self::pause) or [`cancel`](Self::cancel).
/// Dropped, it was given up: its status is `CANCELLED`, or in a panic `ERROR`.
#[derive(Debug)]
#[must_use = "dropped, a run is cancelled"]
pub struct Run {
    pub(super) span: Span,
    pub(super) inner: Option<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) started: Started,
    pub(super) node: Node,
    pub(super) is_over: bool,
}

/// Who says something to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The instructions.
    System,
    /// The person, or whoever asks.
    User,
}

/// What the guards of a run share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) way: Arc<Way>,
    pub(super) parent: Option<Node>,
    /// What names the session, if this run is its first.
    pub(super) named: Vec<(&'static str, String)>,
    pub(super) ids: ([u8; 16], [u8; 8]),
    pub(super) since: Instant,
    pub(super) open: Mutex<Open>,
}

/// What is known of a run so far.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) run: Model,
    /// How many model calls and tools there were; of what each was, nothing is kept.
    pub(super) calls: usize,
    pub(super) tools: usize,
    /// Messages so far: places in the conversation.
    pub(super) messages: usize,
    /// What it and everything it started spent.
    pub(super) tree: (Tokens, Option<Cost>),
}

impl Core {
    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the run is seen, with spans of one of its calls or tools; `None` where nobody traces.
    pub(super) fn place(&self, calls: Vec<[u8; 8]>, tools: Vec<[u8; 8]>) -> Option<Place> {
        let (trace_id, run) = self.ids;
        (trace_id != [0; 16]).then_some(Place { trace_id, run, calls, tools, steps: Vec::new() })
    }

    /// A model has begun to answer, or has answered.
    pub(super) fn note_response(&self) {
        let since_ns = i64::try_from(self.since.elapsed().as_nanos()).unwrap_or(i64::MAX);
        self.open().run.time_to_first_token_ns.get_or_insert(since_ns);
    }

    pub(super) fn keeps_content(&self) -> bool {
        self.way.settings.content.mode() != Mode::None
    }

    /// What a run, or a part of one, counts.
    pub(super) fn told(
        &self,
        run: &Model,
        measurements: Vec<crate::ledger::Measurement>,
        more: SessionShare,
        exemplar: Option<Exemplar>,
    ) -> Told {
        let session = run.session_id.clone().map(|id| {
            let attributes = self.named.clone();
            ToldOfSession { id, more, attributes, exemplar }
        });
        Told { measurements, session }
    }

    /// Adds what was spent to this run's tree, and to those it is a part of.
    pub(super) fn spend(&self, tokens: Tokens, cost: Option<Cost>) {
        self.add(tokens, cost);
        let mut parent = self.parent.as_ref();
        while let Some(core) = parent.and_then(|node| node.get()) {
            core.add(tokens, cost);
            parent = core.parent.as_ref();
        }
    }

    fn add(&self, tokens: Tokens, cost: Option<Cost>) {
        let mut open = self.open();
        open.tree.0 += tokens;
        open.tree.1 = Cost::sum(open.tree.1.into_iter().chain(cost));
    }
}

impl Open {
    /// Adds to what was said, and returns its place.
    pub(super) fn say(&mut self, said: impl FnOnce() -> Option<ChatMessage>) -> usize {
        let position = self.messages;
        self.messages += 1;
        if let Some(content) = &mut self.run.content {
            let nothing = ChatMessage { role: String::new(), parts: Vec::new() };
            content.messages.push(said().unwrap_or(nothing));
        }
        position
    }
}

impl Run {
    fn core(&self) -> Option<&Core> {
        self.inner.as_ref()?.node.get()
    }

    /// The run's `tracing` span, to run something in it: with [`tracing::Instrument`], or [`Span::in_scope`]. What begins
    /// in it is a part of the run.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The run's id; `None` where nobody counts.
    pub fn run_id(&self) -> Option<String> {
        Some(self.core()?.open().run.key.run_id.clone())
    }

    /// W3C trace context of the run, for whoever it asks; `None` where nobody traces.
    pub fn traceparent(&self) -> Option<String> {
        self.inner.as_ref()?.started.traceparent()
    }

    /// Notes a message that is no answer of a model: an event with its role and time, and its text only where content
    /// was asked for.
    pub fn message(&self, role: Role, text: &str) {
        let Some(core) = self.core() else { return };
        let now_s = self.inner.as_ref().map(|inner| inner.started.interval().end_ns / 1_000_000_000);
        let role = match role {
            Role::System => "system",
            Role::User => "user",
        };
        let said = || ChatMessage { role: role.to_owned(), parts: vec![Part::Text(text.to_owned())] };
        let mut open = core.open();
        let position = open.say(|| Some(said()));
        let message = Message { id: None, role: role.to_owned(), created_at_s: now_s, position };
        open.run.messages.push(message);
        if let Some(content) = open.run.content.as_mut().filter(|_| role == "user") {
            content.input.push(said());
        }
    }

    /// What the run answers in the end. Kept only where content was asked for.
    pub fn answer(&self, text: &str) {
        let Some(core) = self.core().filter(|core| core.keeps_content()) else { return };
        if let Some(content) = &mut core.open().run.content {
            let parts = vec![Part::Text(text.to_owned())];
            content.output = vec![ChatMessage { role: "assistant".to_owned(), parts }];
        }
    }

    /// A request to the run's model begins.
    pub fn model_call(&self) -> ModelCall {
        ModelCall::start(&self.span, self.inner.as_ref().map(|inner| &inner.node))
    }

    /// A tool begins its work.
    pub fn tool_call(&self, name: &str) -> ToolCall {
        ToolCall::start(&self.span, self.inner.as_ref().map(|inner| &inner.node), name)
    }

    /// An agent that is a part of this run, with its session unless it has its own.
    pub fn agent(&self, name: &str) -> Start<'_> {
        Start::of(RunKind::Agent, name, Some(&self.span))
    }

    /// A team that is a part of this run.
    pub fn team(&self, name: &str) -> Start<'_> {
        Start::of(RunKind::Team, name, Some(&self.span))
    }

    /// It did what it was to do.
    pub fn finish(mut self) {
        self.end(RunStatus::Completed, None);
    }

    /// It failed. `error_type` is one of few words (`timeout`, `rate_limit`), for it becomes an attribute of metrics.
    pub fn fail(mut self, error_type: &str) {
        self.end(RunStatus::Error, Some(error_type));
    }

    /// It was stopped on request.
    pub fn cancel(mut self) {
        self.end(RunStatus::Cancelled, None);
    }

    /// It waits for a human; what follows is another run.
    pub fn pause(mut self) {
        if let Some(core) = self.core() {
            let moment = Moment { name: names::EVENT_PAUSE, at_s: None, figures: Vec::new() };
            core.open().run.moments.push(moment);
        }
        self.end(RunStatus::Paused, None);
    }

    fn end(&mut self, status: RunStatus, error_type: Option<&str>) {
        let Some(Inner { started, node, is_over }) = &mut self.inner else { return };
        let Some(core) = node.get().filter(|_| !*is_over) else { return };
        *is_over = true;
        let (settings, is_root) = (core.way.settings, core.parent.is_none());
        let interval = started.interval();
        let mut open = core.open();
        let (calls, tools, tree) = (open.calls, open.tools, open.tree);
        let run = &mut open.run;
        run.status = status;
        run.error_type = error_type.map(str::to_owned);
        run.duration_ns = Some(interval.end_ns - interval.start_ns);
        // Of calls and tools that were told, a run as a whole says how many they were.
        let call = crate::model::ModelCall { has_message: true, ..Default::default() };
        let tool = crate::model::ToolCall { executed: true, ..Default::default() };
        run.calls = vec![call; calls];
        run.tools = vec![tool; tools];
        let place = core.place(Vec::new(), Vec::new());
        let measurements = metrics::as_a_whole(run, place.as_ref());
        let (all, _) = metrics::session_share(run, is_root);
        // Its tokens were told call by call.
        let more = SessionShare { runs: all.runs, duration_ns: all.duration_ns, ..SessionShare::default() };
        let told = core.told(run, measurements, more, metrics::exemplar_of(run, place.as_ref()));
        let ending = Ending::of(single::run(run, interval, is_root.then_some(tree), settings), interval);
        (run.calls, run.tools) = Default::default();
        drop(open);
        core.way.tell(told, || started.end(ending));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end(RunStatus::Error, Some(super::PANIC));
        } else {
            self.end(RunStatus::Cancelled, None);
        }
    }
}

impl Model {
    /// A run of which nothing is known but that it has begun.
    pub(super) fn running(kind: RunKind) -> Self {
        Self { status: RunStatus::Running, ..Self::bare("", kind) }
    }
}

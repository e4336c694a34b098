//! Agents written in Rust: the same spans and metrics as those of Agno, through [`tracing`].
//!
//! A run, its model calls and its tools are guards. What becomes known of them is set as it becomes known; when they end, or
//! are dropped, their spans end and they are counted. Names, attributes, units and token classes are made by the code that
//! makes those of bridged runs: `docs/mapping.md`.
//!
//! ```
//! use agno_otel::live::{self, Role, Usage};
//!
//! let run = live::agent("Weather").model("openai", "gpt-5-mini").session("conversation-7").start();
//! run.message(Role::User, "Do I need an umbrella in Oslo?");
//!
//! let mut call = run.model_call();
//! call.first_chunk(); // at the first piece of a streamed answer
//! call.usage(Usage { input: 412, output: 23, ..Usage::default() });
//! call.finish_reason("tool_call");
//! call.finish();
//!
//! let tool = run.tool_call("forecast");
//! tool.agent("Meteorologist").start().finish(); // an agent below the tool
//! tool.finish();
//!
//! run.finish();
//! ```
//!
//! Without a subscriber that wants them, guards do next to nothing. Two ways make telemetry of them, each a layer of the
//! program's subscriber:
//!
//! * [`Durable`], with the feature `sqlite`: a state file takes spans and counts, and they are sent from there as `agno-otel
//!   run` does it. A kill or a day without a Collector loses nothing that was taken.
//! * [`direct()`]: the OpenTelemetry SDK the program has already. What that loses is lost.
//!
//! # Async
//!
//! Guards belong to no thread and no executor. To run something within one, so that what begins in it hangs below it, use
//! its `tracing` span:
//!
//! ```
//! use tracing::Instrument as _;
//! # async fn ask() {}
//! # async fn example(run: agno_otel::live::Run) {
//! let call = run.model_call();
//! ask().instrument(call.span().clone()).await;
//! call.finish();
//! # }
//! ```
//!
//! A future that is dropped drops its guards: their spans end and say so.
//!
//! # Filters
//!
//! Spans are of level `INFO` and of the target `agno_otel::live`. A filter before all layers that does not let them pass
//! turns everything off, counting included: give filters to layers.
//!
//! # Content
//!
//! Texts, arguments and results are kept only where [`Saying::content`] asks for them; else they are not even copied. They
//! are said to OpenTelemetry alone, never to other layers.

mod call;
mod direct;
#[cfg(feature = "sqlite")]
mod durable;
mod guard;
mod layer;
mod run;
mod span;
mod start;
mod tool;
mod usage;
mod way;

use opentelemetry::trace::Tracer;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

pub use call::ModelCall;
pub use direct::{direct, metrics};
#[cfg(feature = "sqlite")]
pub use durable::{Durable, Ended, Error, Flushed, Setup};
pub use layer::Runs;
pub use run::{Role, Run};
pub use start::Start;
pub use tool::ToolCall;
pub use usage::Usage;

use crate::model::RunKind;
use crate::otel::{Policy, Settings};

/// The target of our spans.
const TARGET: &str = "agno_otel::live";
/// Error types of what was dropped before it was over.
const CANCELLED: &str = "cancelled";
const PANIC: &str = "panic";

/// An agent that is about to run. Begun within the span of another run, it is a part of that.
pub fn agent(name: &str) -> Start<'static> {
    Start::of(RunKind::Agent, name, None)
}

/// A team that is about to run; its members are runs of their own.
pub fn team(name: &str) -> Start<'static> {
    Start::of(RunKind::Team, name, None)
}

/// What of runs is said. The default is the bridge's: no content, no user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saying {
    /// What of prompts, answers, arguments and results may leave.
    pub content: Policy,
    /// Say `user.id`. It is personal data.
    pub user_id: bool,
    /// Say things under the names older backends read, too.
    pub older_names: bool,
}

impl Saying {
    fn settings(self) -> Settings {
        let Self { content, user_id, older_names } = self;
        Settings { user_id, older_names, content, ..Settings::default() }
    }
}

/// Spans of ours, and no others: what a program logs within them may be content.
fn traces<S, T>(tracer: T) -> impl Layer<S> + use<S, T>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_tracked_inactivity(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(filter_fn(|said| said.is_span() && said.target() == TARGET))
}

//! Spans of what is told one by one, as it ends, by whoever knows its ids: what they say is what they say in a trace that
//! is put together.

use super::kinds::{Frame, call_span, run_span, tool_span};
use super::root::Root;
use crate::model::timeline::{Interval, Times, Timing};
use crate::model::{Cost, ModelCall, Run, Tokens, ToolCall};
use crate::otel::Settings;
use crate::otel::ids::SpanId;
use crate::otel::places::Place;
use crate::otel::view::SpanView;

/// Ids that nobody asks for.
static NOWHERE: Place =
    Place { trace_id: [0; 16], run: [0; 8], calls: Vec::new(), tools: Vec::new(), steps: Vec::new() };
static NO_PARENT: SpanId = [0; 8];

/// A start and an end that were measured, in Unix nanoseconds.
pub fn measured(start_ns: i64, end_ns: i64) -> Interval {
    Interval { start_ns, end_ns, timing: Timing::Measured }
}

/// A run. `tree` is what it and everything it started spent, if nobody started it.
pub fn run(
    run: &Run,
    interval: Interval,
    tree: Option<(Tokens, Option<Cost>)>,
    settings: Settings,
) -> SpanView<'_> {
    let times = Times { run: interval, calls: Vec::new(), tools: Vec::new(), steps: Vec::new() };
    let root = tree.map(|(tokens, cost)| Root { tokens, cost, so_far: None, thresholds: &[] });
    run_span(run, frame(&interval), &times, root.as_ref(), settings)
}

/// A model call of a run.
pub fn call<'r>(run: &'r Run, call: &'r ModelCall, interval: Interval, settings: Settings) -> SpanView<'r> {
    call_span(run, call, frame(&interval), settings)
}

/// A tool call of a run.
pub fn tool<'r>(run: &'r Run, tool: &'r ToolCall, interval: Interval, settings: Settings) -> SpanView<'r> {
    tool_span(run, tool, frame(&interval), settings.content)
}

fn frame(interval: &Interval) -> Frame<'_> {
    Frame { place: &NOWHERE, parent: &NO_PARENT, id: &NOWHERE.run, interval }
}

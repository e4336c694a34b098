//! What is shown of runs and sessions: one row each, of what they and everything they started spent.

use std::collections::{BTreeMap, BTreeSet};

use crate::intake::{Gathered, Unpriced, add_unpriced};
use crate::model::timeline::{Times, Timing};
use crate::model::{Cost, Run, RunKey, RunKind, RunStatus, Tokens, Trace};
use crate::otel::ids::{SpanId, TraceId};

/// So many names of a session's agents, teams and workflows are kept.
const MAX_NAMES: usize = 32;

/// What some runs spent and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// All runs, those that others started too.
    pub(super) runs: u64,
    /// Model calls; a sum of several is one.
    pub(super) calls: u64,
    /// Tools that were executed.
    pub(super) tools: u64,
    /// Runs, steps, model and tool calls that failed.
    pub(super) errors: u64,
    pub(super) tokens: Tokens,
    pub(super) cost: Option<Cost>,
    pub(super) unpriced: Unpriced,
}

impl Figures {
    fn of(run: &Run) -> Self {
        let mut unpriced = Unpriced::new();
        for usage in run.usage.iter().filter(|usage| usage.unpriced > 0) {
            let of = |name: &Option<String>| name.clone().unwrap_or_default();
            let tokens = unpriced.entry((of(&usage.provider), of(&usage.model))).or_default();
            *tokens = tokens.saturating_add(usage.unpriced);
        }
        let executed = || run.tools.iter().filter(|tool| tool.executed);
        let errors = executed().filter(|tool| tool.failed).count()
            + run.steps.iter().filter(|step| step.failed).count()
            + run.calls.iter().filter(|call| call.error_type.is_some()).count()
            + usize::from(run.error_type.is_some());
        Self {
            runs: 1,
            calls: run.calls.len() as u64,
            tools: executed().count() as u64,
            errors: errors as u64,
            tokens: run.own_tokens(),
            cost: run.own_cost(),
            unpriced,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.calls += other.calls;
        self.tools += other.tools;
        self.errors += other.errors;
        self.tokens += other.tokens;
        self.cost = Cost::sum([self.cost, other.cost].into_iter().flatten());
        add_unpriced(&mut self.unpriced, &other.unpriced);
    }
}

/// Where a run was read: its family, by its place among them, and what makes it this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Where {
    pub(super) family: usize,
    pub(super) key: RunKey,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunRow {
    pub(super) at: Where,
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) session_id: Option<String>,
    /// The run that started it.
    pub(super) parent_run_id: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) kind: RunKind,
    pub(super) entity_id: Option<String>,
    pub(super) entity_name: Option<String>,
    pub(super) status: RunStatus,
    pub(super) error_type: Option<String>,
    /// Unix nanoseconds.
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) timing: Timing,
    /// Start to first token, nanoseconds.
    pub(super) first_ns: Option<u64>,
    /// Models that were asked, and tools that were executed, by it or what it started.
    pub(super) models: BTreeSet<String>,
    pub(super) tool_names: BTreeSet<String>,
    /// Its own, and of what it started.
    pub(super) figures: Figures,
}

fn unix(ns: i64) -> u64 {
    u64::try_from(ns).unwrap_or(0)
}

impl RunRow {
    fn of(gathered: &Gathered, family: usize, index: usize, times: &Times) -> Option<Self> {
        let run = gathered.forest.runs.get(index)?;
        let place = gathered.places.of_run(index)?;
        let models = run.calls.iter().filter_map(|call| call.model.clone());
        let models = models.chain(run.usage.iter().filter_map(|usage| usage.model.clone()));
        let tools = run.tools.iter().filter(|tool| tool.executed).map(|tool| tool.name.clone());
        Some(Self {
            at: Where { family, key: run.key.clone() },
            trace_id: place.trace_id,
            span_id: place.run,
            session_id: run.session_id.clone(),
            parent_run_id: run.parent_run_id.clone(),
            user_id: run.user_id.clone(),
            kind: run.kind,
            entity_id: run.entity_id.clone(),
            entity_name: run.entity_name.clone(),
            status: run.status.clone(),
            error_type: run.error_type.clone(),
            start_ns: unix(times.run.start_ns),
            end_ns: unix(times.run.end_ns),
            timing: times.run.timing,
            first_ns: run.time_to_first_token_ns.map(unix),
            models: models.filter(|model| !model.is_empty()).collect(),
            tool_names: tools.collect(),
            figures: Figures::of(run),
        })
    }

    pub(super) fn run_id(&self) -> &str {
        &self.at.key.run_id
    }

    /// What people call it.
    pub(super) fn label(&self) -> &str {
        let name = self.entity_name.as_deref().filter(|name| !name.is_empty());
        name.or(self.entity_id.as_deref()).unwrap_or_default()
    }

    pub(super) fn length_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// Takes on what a run did that it started.
    fn take(&mut self, started: &Self) {
        self.figures.add(&started.figures);
        self.models.extend(started.models.iter().cloned());
        self.tool_names.extend(started.tool_names.iter().cloned());
    }
}

/// The runs of a trace in the order of its nodes, each with what it started.
pub(super) fn tree(gathered: &Gathered, family: usize, trace: &Trace, times: &[Times]) -> Vec<RunRow> {
    rows(gathered, family, trace, times, |_, _| true)
}

/// Rows of every node, in which each has what it started, as far as that belongs to it.
fn rows(
    gathered: &Gathered,
    family: usize,
    trace: &Trace,
    times: &[Times],
    belongs: impl Fn(&RunRow, &RunRow) -> bool,
) -> Vec<RunRow> {
    let nodes = trace.nodes.iter().zip(times);
    let mut rows: Vec<RunRow> =
        nodes.filter_map(|(node, times)| RunRow::of(gathered, family, node.run, times)).collect();
    // Parents come before children.
    for at in (1..rows.len()).rev() {
        let (before, from) = rows.split_at_mut(at);
        let parent = trace.nodes.get(at).and_then(|node| before.get_mut(node.holder.node()?));
        if let Some((parent, child)) =
            parent.zip(from.first()).filter(|(parent, child)| belongs(parent, child))
        {
            parent.take(child);
        }
    }
    rows
}

/// The runs of sessions: each that nothing in its session started, with what it started there. So every run is in one row,
/// and rows add up to their session.
pub(super) fn of_sessions(gathered: &Gathered, family: usize) -> Vec<RunRow> {
    let mut all = Vec::new();
    for (trace, times) in gathered.forest.traces.iter().zip(&gathered.times) {
        let rows =
            rows(gathered, family, trace, times, |parent, child| parent.session_id == child.session_id);
        let sessions: Vec<Option<String>> = rows.iter().map(|row| row.session_id.clone()).collect();
        let is_first = |at: &usize| {
            let parent = trace.nodes.get(*at).and_then(|node| sessions.get(node.holder.node()?));
            parent.is_none_or(|parent| Some(parent) != sessions.get(*at))
        };
        all.extend(rows.into_iter().enumerate().filter(|(at, _)| is_first(at)).map(|(_, row)| row));
    }
    all
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionRow {
    /// `None`: the runs without a session.
    pub(super) id: Option<String>,
    /// One of its runs.
    pub(super) first: Where,
    /// Whose runs nobody started.
    pub(super) names: BTreeSet<String>,
    /// Runs that nobody started.
    pub(super) runs: u64,
    /// Of these, how many wait for a human.
    pub(super) paused: u64,
    /// Of these, how many are under way.
    pub(super) running: u64,
    /// Unix nanoseconds.
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) figures: Figures,
}

impl SessionRow {
    pub(super) fn of(row: &RunRow) -> Self {
        let mut session = Self {
            id: row.session_id.clone(),
            first: row.at.clone(),
            names: BTreeSet::new(),
            runs: 0,
            paused: 0,
            running: 0,
            start_ns: row.start_ns,
            end_ns: row.end_ns,
            figures: Figures::default(),
        };
        session.add(row);
        session
    }

    pub(super) fn add(&mut self, row: &RunRow) {
        if self.names.len() < MAX_NAMES && !row.label().is_empty() {
            self.names.insert(row.label().to_owned());
        }
        self.runs += 1;
        self.paused += u64::from(row.status == RunStatus::Paused);
        self.running += u64::from(matches!(row.status, RunStatus::Pending | RunStatus::Running));
        self.start_ns = self.start_ns.min(row.start_ns);
        self.end_ns = self.end_ns.max(row.end_ns);
        self.figures.add(&row.figures);
    }

    /// Takes on more runs of the same session.
    pub(super) fn merge(&mut self, more: &Self) {
        let room = MAX_NAMES.saturating_sub(self.names.len());
        self.names.extend(more.names.iter().take(room).cloned());
        self.runs += more.runs;
        self.paused += more.paused;
        self.running += more.running;
        self.start_ns = self.start_ns.min(more.start_ns);
        self.end_ns = self.end_ns.max(more.end_ns);
        self.figures.add(&more.figures);
    }
}

/// Sums over all that could be shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) sessions: u64,
    /// Runs that nobody started; or of a search, those that answer.
    pub(super) runs: u64,
    pub(super) figures: Figures,
}

/// Things by when they were, the newest of them.
#[derive(Debug)]
pub(super) struct Newest<T> {
    limit: usize,
    all: BTreeMap<(u64, usize), T>,
    seen: usize,
}

impl<T> Newest<T> {
    pub(super) fn of(limit: usize) -> Self {
        Self { limit, all: BTreeMap::new(), seen: 0 }
    }

    pub(super) fn add(&mut self, at_ns: u64, one: T) {
        self.all.insert((at_ns, self.seen), one);
        self.seen += 1;
        if self.all.len() > self.limit {
            self.all.pop_first();
        }
    }

    /// How many older ones there were.
    pub(super) fn left_out(&self) -> u64 {
        (self.seen - self.all.len()) as u64
    }

    pub(super) fn len(&self) -> usize {
        self.seen
    }

    pub(super) fn oldest_first(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.all.values()
    }
}

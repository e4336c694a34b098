//! The way in: records become runs, runs become traces and counts.
//!
//! Everything is gathered before anything is counted, because what a run spent depends on others: a copy of a
//! forked session on its original, a step on the run it executed. The result does not depend on the order in
//! which records arrive, nor on how often.

use std::collections::BTreeMap;

use crate::framework::agno::{self, DecodedRun};
use crate::framework::{Keep, Oddities, Oddity};
use crate::ledger::Ledger;
use crate::model::timeline::{self, Times};
use crate::model::{Forest, RunKey, RunKind, Tokens};
use crate::otel::metrics;
use crate::otel::names;
use crate::otel::places::Places;
use crate::otel::spans::{self, Settings, TraceSpans};
use crate::source::Record;

/// Gathers records.
#[derive(Debug, Default)]
pub struct Intake {
    runs: BTreeMap<RunKey, DecodedRun>,
    keep: Keep,
    records: u64,
    decoded: u64,
    /// What was odd so far.
    pub oddities: Oddities,
}

/// Everything gathered, understood and put together.
#[derive(Debug)]
pub struct Gathered {
    /// The runs and their trees.
    pub forest: Forest,
    /// Where each run is seen.
    pub places: Places,
    /// The times of each trace.
    pub times: Vec<Vec<Times>>,
    /// Records read.
    pub records: u64,
    /// What was odd.
    pub oddities: Oddities,
}

impl Intake {
    /// Gathers records, and as much of them as is asked for; `Intake::default()` keeps no content.
    pub fn keeping(keep: Keep) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Takes one record.
    pub fn accept(&mut self, record: &Record) {
        self.records += 1;
        let decoded = agno::decode(&record.json, &record.columns, self.keep);
        self.oddities.merge(&decoded.oddities);
        for run in decoded.runs {
            self.decoded += 1;
            match self.runs.remove(&run.run.key) {
                Some(known) => {
                    let better = better_of(known, run);
                    self.runs.insert(better.run.key.clone(), better);
                }
                None => {
                    self.runs.insert(run.run.key.clone(), run);
                }
            }
        }
    }

    /// How many runs were decoded so far, copies included.
    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Puts together what was gathered. `received_ns` stands in where a run carries no time at all.
    pub fn finish(mut self, received_ns: u64) -> Gathered {
        self.merge_unstarted();
        let runs = agno::settle(self.runs.into_values().collect(), &mut self.oddities);
        let forest = Forest::of(runs);
        self.oddities.add_many(Oddity::ParentCycle, forest.cycles);
        let received_ns = i64::try_from(received_ns).unwrap_or(i64::MAX);
        let of_trace = |trace| timeline::reconstruct(trace, &forest.runs, received_ns);
        let times = forest.traces.iter().map(of_trace).collect();
        let places = Places::of(&forest);
        Gathered { places, times, forest, records: self.records, oddities: self.oddities }
    }

    /// A run seen before its first message has no message to be told apart by; it is the run of that id that
    /// was seen later.
    fn merge_unstarted(&mut self) {
        let is_unstarted = |run: &DecodedRun| run.run.key.reuse.ends_with('\n') && run.run.calls.is_empty();
        let started: std::collections::BTreeSet<(String, Option<String>)> = self
            .runs
            .values()
            .filter(|run| !run.run.key.reuse.is_empty() && !is_unstarted(run))
            .map(|run| (run.run.key.run_id.clone(), run.run.session_id.clone()))
            .collect();
        self.runs.retain(|key, run| {
            !(is_unstarted(run) && started.contains(&(key.run_id.clone(), run.run.session_id.clone())))
        });
    }
}

/// Of two copies of a run the more final one, then the one with more messages, then the one stored later. What
/// the better one does not say of its place is taken from the other.
fn better_of(a: DecodedRun, b: DecodedRun) -> DecodedRun {
    let rank = |copy: &DecodedRun| {
        let run = &copy.run;
        let parts = run.calls.len() + run.tools.len() + run.messages.len();
        (run.status.finality(), parts, run.stored_at_s, run.index.is_some())
    };
    let (mut better, other) = match rank(&a).cmp(&rank(&b)) {
        std::cmp::Ordering::Greater => (a, b),
        // Copies that differ in nothing that ranks: any rule will do that does not depend on their order.
        std::cmp::Ordering::Equal if tie(&a, &b).is_ge() => (a, b),
        std::cmp::Ordering::Equal | std::cmp::Ordering::Less => (b, a),
    };
    let run = &mut better.run;
    run.parent_run_id = run.parent_run_id.take().or(other.run.parent_run_id);
    run.session_id = run.session_id.take().or(other.run.session_id);
    run.user_id = run.user_id.take().or(other.run.user_id);
    run.stored_at_s = run.stored_at_s.or(other.run.stored_at_s);
    run.index = run.index.or(other.run.index);
    run.answer_hash = run.answer_hash.or(other.run.answer_hash);
    better
}

/// Content comes last and is silent in `Debug`, so that keeping it changes no choice but that between copies
/// which differ in nothing else.
fn tie(a: &DecodedRun, b: &DecodedRun) -> std::cmp::Ordering {
    format!("{a:?}").cmp(&format!("{b:?}")).then_with(|| a.run.content.cmp(&b.run.content))
}

impl Gathered {
    /// The spans of every trace.
    pub fn spans(&self, settings: Settings) -> Vec<TraceSpans> {
        spans::spans(&self.forest, &self.places, &self.times, settings)
    }

    /// Counts everything in a ledger, and closes its sessions: nothing more will come.
    pub fn count(&self, ledger: &mut Ledger, settings: Settings) {
        for trace in &self.forest.traces {
            for (at, node) in trace.nodes.iter().enumerate() {
                let Some(run) = self.forest.runs.get(node.run) else {
                    continue;
                };
                let place = self.places.of_run(node.run);
                ledger.observe(&run.key, metrics::measurements(run, place, settings));
                let (share, attributes) = metrics::session_share(run, at == 0);
                if let Some(session) = run.session_id.as_deref() {
                    let exemplar = metrics::exemplar_of(run, place);
                    ledger.observe_session(session, &run.key, &share, &attributes, exemplar.as_ref());
                }
            }
        }
        ledger.close_sessions();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        ledger.set(&names::BRIDGE_INFO, vec![(names::BRIDGE_VERSION, version)], 1);
        ledger.set(&names::BRIDGE_RECORDS, Vec::new(), self.records);
        for (oddity, count) in self.oddities.iter() {
            ledger.set(&names::BRIDGE_ODDITIES, vec![(names::ODDITY, oddity.as_str().to_owned())], count);
        }
    }

    /// Everything spent.
    pub fn tokens(&self) -> Tokens {
        self.forest.runs.iter().map(crate::model::Run::own_tokens).sum()
    }

    /// Runs by kind.
    pub fn runs(&self, kind: RunKind) -> usize {
        self.forest.runs.iter().filter(|run| run.kind == kind).count()
    }

    /// Moves all times by the same amount, so that what happened last ends at `end_ns`.
    pub fn restamp(&mut self, end_ns: u64) {
        let end_ns = i64::try_from(end_ns).unwrap_or(i64::MAX);
        let Some(last) = self.times.iter().flatten().map(|times| times.run.end_ns).max() else {
            return;
        };
        let by = end_ns.saturating_sub(last);
        for times in self.times.iter_mut().flatten() {
            let parts = times.calls.iter_mut().chain(&mut times.tools).chain(&mut times.steps);
            for interval in parts.chain([&mut times.run]) {
                interval.start_ns = interval.start_ns.saturating_add(by);
                interval.end_ns = interval.end_ns.saturating_add(by);
            }
        }
    }
}

//! The way in: records become runs, runs become traces and counts.
//!
//! Everything is gathered before anything is counted, because what a run spent depends on others: a copy of a
//! forked session on its original, a step on the run it executed. The result does not depend on the order in
//! which records arrive, nor on how often.

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::framework::agno::{self, DecodedRun};
use crate::framework::{Keep, Oddities, Oddity};
use crate::ledger::Ledger;
use crate::model::timeline::{self, Times};
use crate::model::{Forest, Run, RunKey, RunKind, Tokens};
use crate::otel::metrics;
use crate::otel::names;
use crate::otel::places::Places;
use crate::otel::spans::{self, Settings, TraceSpans, TraceView};
use crate::source::Record;

/// Gathers records.
#[derive(Debug, Default)]
pub struct Intake {
    runs: BTreeMap<RunKey, Copies>,
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
            match self.runs.entry(run.run.key.clone()) {
                Entry::Vacant(place) => {
                    place.insert(Copies::of(run));
                }
                Entry::Occupied(mut known) => known.get_mut().add(run),
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
        let runs = agno::settle(self.runs.into_values().map(Copies::merged).collect(), &mut self.oddities);
        let forest = Forest::of(runs);
        self.oddities.add_many(Oddity::ParentCycle, forest.cycles);
        self.oddities.add_many(Oddity::DeepTree, forest.deep);
        let received_ns = i64::try_from(received_ns).unwrap_or(i64::MAX);
        let of_trace = |trace| timeline::reconstruct(trace, &forest.runs, received_ns);
        let times = forest.traces.iter().map(of_trace).collect();
        let places = Places::of(&forest);
        Gathered { places, times, forest, records: self.records, oddities: self.oddities }
    }

    /// A run seen before its first message has no message to be told apart by; it is the run of that id that
    /// was seen later.
    fn merge_unstarted(&mut self) {
        let name = |run: &Run| (run.key.run_id.clone(), run.session_id.clone());
        let is_unstarted =
            |run: &Run| run.key.reuse.ends_with('\n') && run.calls.is_empty() && !run.status.is_final();
        let runs = self.runs.values().map(|copies| &copies.best.run);
        let started: BTreeSet<_> =
            runs.filter(|run| !run.key.reuse.is_empty() && !is_unstarted(run)).map(name).collect();
        self.runs.retain(|_, copies| {
            let run = &copies.best.run;
            !(is_unstarted(run) && started.contains(&name(run)))
        });
    }
}

/// The copies of one run: the best of them, and what of its place any of them says.
#[derive(Debug)]
struct Copies {
    best: DecodedRun,
    rank: Rank,
    parent_run_id: Known<String>,
    session_id: Known<String>,
    user_id: Known<String>,
    stored_at_s: Known<i64>,
    index: Known<i64>,
    answer_hash: Known<u64>,
}

/// What makes one copy better than another: the more final, then the one with more messages, then the one stored
/// later.
type Rank = (u8, usize, Option<i64>, bool);

/// A value, and the rank of the best copy that has one.
type Known<T> = Option<(Rank, T)>;

impl Copies {
    fn of(copy: DecodedRun) -> Self {
        let run = &copy.run;
        let parts = run.calls.len() + run.tools.len() + run.messages.len();
        let rank = (run.status.finality(), parts, run.stored_at_s, run.index.is_some());
        Self {
            rank,
            parent_run_id: run.parent_run_id.clone().map(|id| (rank, id)),
            session_id: run.session_id.clone().map(|id| (rank, id)),
            user_id: run.user_id.clone().map(|id| (rank, id)),
            stored_at_s: run.stored_at_s.map(|at| (rank, at)),
            index: run.index.map(|index| (rank, index)),
            answer_hash: run.answer_hash.map(|hash| (rank, hash)),
            best: copy,
        }
    }

    /// Adds a copy. The result does not depend on the order: everything is the greatest of what was added.
    fn add(&mut self, copy: DecodedRun) {
        let other = Self::of(copy);
        let is_better = match other.rank.cmp(&self.rank) {
            Ordering::Greater => true,
            // Copies that differ in nothing that ranks: any rule will do that does not depend on their order.
            Ordering::Equal => tie(&other.best, &self.best).is_gt(),
            Ordering::Less => false,
        };
        if is_better {
            (self.best, self.rank) = (other.best, other.rank);
        }
        keep_greatest(&mut self.parent_run_id, other.parent_run_id);
        keep_greatest(&mut self.session_id, other.session_id);
        keep_greatest(&mut self.user_id, other.user_id);
        keep_greatest(&mut self.stored_at_s, other.stored_at_s);
        keep_greatest(&mut self.index, other.index);
        keep_greatest(&mut self.answer_hash, other.answer_hash);
    }

    /// The best copy; what it does not say of its place is taken from the others.
    fn merged(self) -> DecodedRun {
        fn value<T>(known: Known<T>) -> Option<T> {
            known.map(|(_, value)| value)
        }
        let mut best = self.best;
        best.run.parent_run_id = value(self.parent_run_id);
        best.run.session_id = value(self.session_id);
        best.run.user_id = value(self.user_id);
        best.run.stored_at_s = value(self.stored_at_s);
        best.run.index = value(self.index);
        best.run.answer_hash = value(self.answer_hash);
        best
    }
}

fn keep_greatest<T: Ord>(known: &mut T, other: T) {
    if other > *known {
        *known = other;
    }
}

/// Content comes last and is silent in `Debug`, so that keeping it changes no choice but that between copies
/// which differ in nothing else.
fn tie(a: &DecodedRun, b: &DecodedRun) -> Ordering {
    format!("{a:?}").cmp(&format!("{b:?}")).then_with(|| a.run.content.cmp(&b.run.content))
}

impl Gathered {
    /// The spans of every trace, as those see them who receive them.
    pub fn spans(&self, settings: Settings) -> Vec<TraceSpans> {
        self.traces(settings).map(TraceSpans::from).collect()
    }

    /// The spans of one trace after the other, each made when it is asked for.
    pub fn traces(&self, settings: Settings) -> impl Iterator<Item = TraceView<'_>> {
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
        ledger.set(&names::BRIDGE_UP, Vec::new(), 1);
        ledger.set(&names::BRIDGE_INFO, vec![(names::BRIDGE_VERSION, version)], 1);
        ledger.set(&names::BRIDGE_RECORDS, Vec::new(), self.records);
        for (oddity, count) in self.oddities.iter() {
            ledger.set(&names::BRIDGE_ODDITIES, vec![(names::ODDITY, oddity.as_str().to_owned())], count);
        }
    }

    /// Everything spent.
    pub fn tokens(&self) -> Tokens {
        self.forest.runs.iter().map(Run::own_tokens).sum()
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

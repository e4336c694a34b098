//! The way in: records become runs, runs become traces and counts.
//!
//! All of a family ([`Family`]) is gathered before any of it is counted, because what a run spent depends on
//! others: a copy of a forked session on its original, a step on the run it executed. The result does not depend
//! on the order in which records arrive, nor on how often.

mod accounts;
mod again;
mod copies;
mod families;
mod survey;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use copies::Copies;
pub use copies::{Rank, rank};
pub use families::Family;
pub use survey::{Survey, Surveyed};

use crate::framework::agno::{self, DecodedRun};
use crate::framework::{Keep, Oddities, Oddity};
use crate::ledger::Ledger;
use crate::model::budget::Expense;
use crate::model::timeline::{self, Times};
use crate::model::{Cost, Forest, Run, RunKey, RunKind, Tokens};
use crate::money::{self, Prices};
use crate::otel::Mode;
use crate::otel::metrics;
use crate::otel::names;
use crate::otel::places::Places;
use crate::otel::spans::{self, Settings, TraceSpans, TraceView};
use crate::source::Record;

const NS_PER_S: u64 = 1_000_000_000;

/// Gathers records.
#[derive(Debug, Default)]
pub struct Intake {
    runs: BTreeMap<RunKey, Copies>,
    keep: Keep,
    prices: Arc<Prices>,
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
    /// Copies of runs in forked sessions, which are nothing of their own, with the sessions they stand in.
    pub copies: Vec<(RunKey, Option<String>)>,
    /// What was odd.
    pub oddities: Oddities,
}

/// Tokens without a known price, by provider and model.
pub type Unpriced = BTreeMap<(String, String), u64>;

/// Adds tokens without a known price to others.
pub fn add_unpriced(all: &mut Unpriced, more: &Unpriced) {
    for (model, tokens) in more {
        let sum = all.entry(model.clone()).or_default();
        *sum = sum.saturating_add(*tokens);
    }
}

/// How what a run spent is to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// As far as it came: nothing more will be heard of it.
    AsItStands,
    /// As it grows: what it is as a whole is counted when it is over.
    SoFar,
    /// Before we came: it is remembered, and nothing moves.
    Before,
}

impl Intake {
    /// Gathers records, and as much of them as is asked for; `Intake::default()` keeps no content.
    pub fn keeping(keep: Keep) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Prices what was spent by these; by default, by the embedded table alone.
    #[must_use]
    pub fn priced(self, prices: &Arc<Prices>) -> Self {
        Self { prices: Arc::clone(prices), ..self }
    }

    /// Takes one record.
    pub fn accept(&mut self, record: &Record) {
        let decoded = agno::decode(&record.json, &record.columns, self.keep);
        self.oddities.merge(&decoded.oddities);
        for run in decoded.runs {
            self.add(run);
        }
    }

    pub(crate) fn add(&mut self, run: DecodedRun) {
        match self.runs.entry(run.run.key.clone()) {
            Entry::Vacant(place) => {
                place.insert(Copies::of(run));
            }
            Entry::Occupied(mut known) => known.get_mut().add(run),
        }
    }

    /// Puts together what was gathered. `received_ns` stands in where a run carries no time at all.
    pub fn finish(mut self, received_ns: u64) -> Gathered {
        self.merge_unstarted();
        let (mut runs, copies) =
            agno::settle(self.runs.into_values().map(Copies::merged).collect(), &mut self.oddities);
        let received_s = i64::try_from(received_ns / NS_PER_S).unwrap_or(i64::MAX);
        money::settle(&mut runs, &self.prices, received_s);
        let copies = copies.into_iter().map(|copy| (copy.key, copy.session_id)).collect();
        let forest = Forest::of(runs);
        self.oddities.add_many(Oddity::ParentCycle, forest.cycles);
        self.oddities.add_many(Oddity::DeepTree, forest.deep);
        let received_ns = i64::try_from(received_ns).unwrap_or(i64::MAX);
        let of_trace = |trace| timeline::reconstruct(trace, &forest.runs, received_ns);
        let times = forest.traces.iter().map(of_trace).collect();
        let places = Places::of(&forest);
        Gathered { places, times, forest, copies, oddities: self.oddities }
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

impl Gathered {
    /// The spans of every trace, as those see them who receive them.
    pub fn spans(&self, settings: Settings) -> Vec<TraceSpans> {
        self.traces(settings).map(TraceSpans::from).collect()
    }

    /// The spans of one trace after the other, each made when it is asked for.
    pub fn traces(&self, settings: Settings) -> impl Iterator<Item = TraceView<'_>> {
        self.traces_of(settings, &|_| true)
    }

    /// The spans of the traces whose roots are wanted, by their places in the forest.
    pub fn traces_of<'g>(
        &'g self,
        settings: Settings,
        wanted: &'g dyn Fn(usize) -> bool,
    ) -> impl Iterator<Item = TraceView<'g>> {
        spans::spans(&self.forest, &self.places, &self.times, settings, wanted)
    }

    /// Counts everything in a ledger, and closes its sessions: nothing more will come of them.
    pub fn count(&self, ledger: &mut Ledger, settings: Settings) {
        self.observe(ledger, settings, &|_| Spent::AsItStands);
        ledger.close_sessions();
    }

    /// Counts everything in a ledger; more may come of its sessions.
    pub fn observe(&self, ledger: &mut Ledger, settings: Settings, spent: &dyn Fn(&Run) -> Spent) {
        ledger.watch(settings.thresholds);
        for trace in &self.forest.traces {
            for (at, node) in trace.nodes.iter().enumerate() {
                let Some(run) = self.forest.runs.get(node.run) else {
                    continue;
                };
                let place = self.places.of_run(node.run);
                let spent = spent(run);
                ledger.set_history(spent == Spent::Before);
                let mut measurements = metrics::measurements(run, place, settings);
                if spent != Spent::AsItStands && !run.status.is_final() {
                    metrics::so_far(&mut measurements);
                }
                ledger.observe(&run.key, measurements);
                let (share, attributes) = metrics::session_share(run, at == 0);
                if let Some(session) = run.session_id.as_deref() {
                    let exemplar = metrics::exemplar_of(run, place);
                    ledger.observe_session(session, &run.key, &share, &attributes, exemplar.as_ref());
                }
            }
        }
        ledger.set_history(false);
    }

    /// What each run spent itself, with the second in which it began.
    pub fn expenses(&self) -> Vec<(&RunKey, u64, Vec<Expense>)> {
        let mut all = Vec::new();
        for (trace, times) in self.forest.traces.iter().zip(&self.times) {
            let mut callers = Vec::<Vec<(RunKind, String)>>::new();
            for (node, times) in trace.nodes.iter().zip(times) {
                let Some(run) = self.forest.runs.get(node.run) else { continue };
                let before = node.holder.node().and_then(|node| callers.get(node));
                let mut by = before.cloned().unwrap_or_default();
                by.push((run.kind, run.label().unwrap_or_default().to_owned()));
                let spent = run.usage.iter().map(|usage| Expense::of(usage, &by)).collect();
                let began_s = u64::try_from(times.run.start_ns / 1_000_000_000).unwrap_or(0);
                all.push((&run.key, began_s, spent));
                callers.push(by);
            }
        }
        all
    }

    /// Everything spent.
    pub fn tokens(&self) -> Tokens {
        self.forest.runs.iter().map(Run::own_tokens).sum()
    }

    /// Everything it cost, as far as prices are known.
    pub fn cost(&self) -> Option<Cost> {
        Cost::sum(self.forest.runs.iter().filter_map(Run::own_cost))
    }

    /// Tokens without a known price, by provider and model.
    pub fn unpriced(&self) -> Unpriced {
        let mut unpriced = Unpriced::new();
        let usages = self.forest.runs.iter().flat_map(|run| &run.usage);
        for usage in usages.filter(|usage| usage.unpriced > 0) {
            let of = |name: &Option<String>| name.clone().unwrap_or_default();
            let tokens = unpriced.entry((of(&usage.provider), of(&usage.model))).or_default();
            *tokens = tokens.saturating_add(usage.unpriced);
        }
        unpriced
    }

    /// Runs by kind.
    pub fn runs(&self, kind: RunKind) -> usize {
        self.forest.runs.iter().filter(|run| run.kind == kind).count()
    }
}

/// As much of records as these settings let out.
pub fn keep(settings: Settings) -> Keep {
    if settings.content.mode() == Mode::None { Keep::Figures } else { Keep::Content }
}

/// Says in the bridge's own series that we are up, and who we are: nobody else any more, as before an upgrade.
pub fn introduce(ledger: &mut Ledger) {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let versions = vec![(names::BRIDGE_VERSION, version), (names::BRIDGE_PRICES, money::TABLE.to_owned())];
    ledger.set(&names::BRIDGE_UP, Vec::new(), 1);
    ledger.set_alone(&names::BRIDGE_INFO, versions, 1);
}

/// Says that we end as we were asked to. Who dies says nothing.
pub fn take_leave(ledger: &mut Ledger) {
    ledger.set(&names::BRIDGE_UP, Vec::new(), 0);
}

/// Counts what was read, in the bridge's own series.
pub fn count_reading(ledger: &mut Ledger, records: u64, oddities: &Oddities) {
    introduce(ledger);
    ledger.set(&names::BRIDGE_RECORDS, Vec::new(), records);
    for (oddity, count) in oddities.iter() {
        ledger.set(&names::BRIDGE_ODDITIES, vec![(names::ODDITY, oddity.as_str().to_owned())], count);
    }
}

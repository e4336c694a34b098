//! What has been counted: the source of every metric value.
//!
//! A run is seen many times and in many copies, so nothing is ever *added* for a sighting. A run's share of a
//! series is *set*, and the series moves by the difference; what happens once (a call, a finished run) is
//! remembered by its key. Feeding the same runs again, in any order, moves nothing.
//!
//! Pure and in memory: it reads no clock and writes no file. [`stored`] is what a state file holds of it.

mod measurement;
mod series;
mod sessions;
pub mod stored;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

pub use measurement::{Count, Measurement, SessionShare};
pub use series::{Exemplar, Histogram, Point, Released, Series, SeriesKey, Value, unscaled};
pub use told::{Told, ToldOfSession};

use crate::framework::{Oddities, Oddity};
use crate::model::RunKey;
use crate::model::budget::Limit;
use crate::otel::names::{self, Metric};
use crate::stable_hash::stable_hash;

/// Different values one attribute may have before new ones are folded into [`OTHER`]: a tool name made from
/// user input must not become a million series.
pub const MAX_VALUES_PER_ATTRIBUTE: usize = 1_000;
/// Where values beyond the cap are counted.
pub const OTHER: &str = "other";

#[derive(Debug, Clone, Default)]
struct Session {
    attributes: Vec<(&'static str, String)>,
    exemplar: Option<Exemplar>,
    totals: SessionShare,
    recorded: SessionShare,
    /// The most it ever stood at, in tokens and nano-dollars: what passed a threshold does not pass it again.
    peak: (u64, u64),
}

/// A series by number: runs remember what they moved, and there are many runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SeriesId(usize);

/// What one run has moved so far.
#[derive(Debug, Clone)]
struct Counted {
    shares: BTreeMap<SeriesId, u64>,
    /// How much of them moved nothing: it was history.
    unmoved: BTreeMap<SeriesId, u64>,
    /// What shares that depend on prices were made of.
    bases: BTreeSet<u64>,
    /// The set of metrics it was counted by before.
    set: u32,
    /// Hashes of what happened once, by metric and key.
    once: BTreeSet<u64>,
    session: SessionShare,
}

impl Default for Counted {
    fn default() -> Self {
        let (shares, unmoved) = (BTreeMap::new(), BTreeMap::new());
        let (bases, once) = (BTreeSet::new(), BTreeSet::new());
        Self { shares, unmoved, bases, set: names::METRICS_SET, once, session: SessionShare::default() }
    }
}

/// What is said of a run's share of one series, all measurements together.
#[derive(Debug)]
struct Said {
    metric: &'static Metric,
    share: u64,
    exemplar: Option<Exemplar>,
    /// It stays what it was.
    is_kept: bool,
}

/// What has been counted, per run, per session and per series.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    runs: BTreeMap<RunKey, Counted>,
    sessions: BTreeMap<String, Session>,
    ids: BTreeMap<SeriesKey, SeriesId>,
    series: Vec<Series>,
    values: BTreeMap<&'static str, BTreeSet<String>>,
    /// Hashes of the values folded into `other` because of the cap.
    folded: BTreeSet<(&'static str, u64)>,
    /// The largest session so far, by what sessions are told apart by in metrics.
    largest: BTreeMap<Vec<(&'static str, String)>, u64>,
    /// How many of them were told of.
    folded_before: u64,
    /// Sessions forgotten.
    forgotten: usize,
    /// Series that moved, or were released, since they were last stored.
    unstored: BTreeSet<SeriesId>,
    /// Nothing moves: what is said now was spent before we counted.
    is_history: bool,
    /// What sessions may pass before somebody wants to know.
    thresholds: &'static [Limit],
    /// Sessions that passed one since this was last asked.
    crossed: Vec<(String, Limit)>,
}

/// What happened once, as runs remember it.
fn once_hash(metric: &Metric, key: &str) -> u64 {
    stable_hash(&[metric.name, key])
}

fn key_of(metric: &'static Metric, mut attributes: Vec<(&'static str, String)>) -> SeriesKey {
    attributes.retain(|(_, value)| !value.is_empty());
    attributes.sort_unstable();
    attributes.dedup_by(|next, kept| next.0 == kept.0);
    SeriesKey { metric, attributes }
}

impl Ledger {
    /// Counts what is said of one run. Saying the same again changes nothing.
    pub fn observe(&mut self, run: &RunKey, measurements: Vec<Measurement>) {
        let mut counted = self.runs.remove(run).unwrap_or_default();
        let mut said = BTreeMap::<SeriesId, Said>::new();
        let mut bases = BTreeSet::new();
        for Measurement { metric, attributes, count, exemplar } in measurements {
            let (value, is_kept) = match &count {
                Count::Priced { value, basis } => {
                    bases.insert(*basis);
                    (*value, counted.bases.contains(basis))
                }
                Count::Share(value) => (Some(*value), false),
                Count::Birth | Count::Once { .. } => (Some(0), false),
            };
            // Of what has no price there is no series, but there may have been one when it had.
            let id = match value {
                Some(_) => self.id(metric, attributes),
                None => match self.known(metric, attributes) {
                    Some(id) if counted.shares.contains_key(&id) => id,
                    _ => continue,
                },
            };
            match count {
                Count::Birth => {}
                Count::Share(_) | Count::Priced { .. } => {
                    let nothing = Said { metric, share: 0, exemplar: None, is_kept: true };
                    let said = said.entry(id).or_insert(nothing);
                    said.share = said.share.saturating_add(value.unwrap_or(0));
                    said.exemplar = exemplar.or(said.exemplar.take());
                    said.is_kept &= is_kept;
                }
                Count::Once { key: once, value } => {
                    // Nothing is no value, and may become one.
                    if value > 0 && counted.once.insert(once_hash(metric, &once)) {
                        self.record(id, metric, value, exemplar);
                    }
                }
            }
        }
        // A share not said any more is a share of nothing.
        let unsaid: Vec<SeriesId> =
            counted.shares.keys().filter(|id| !said.contains_key(id)).copied().collect();
        for id in unsaid {
            let metric = self.series.get(id.0).map_or(&names::TOKEN_USAGE, |series| series.key().metric);
            said.insert(id, Said { metric, share: 0, exemplar: None, is_kept: false });
        }
        for (id, said) in said.into_iter().filter(|(_, said)| !said.is_kept) {
            self.set_share(&mut counted, id, said);
        }
        counted.bases = bases;
        self.runs.insert(run.clone(), counted);
    }

    /// Counts what is said once and never again: shares are added. What may be said again is for
    /// [`observe`](Self::observe).
    pub fn count(&mut self, measurements: Vec<Measurement>) {
        for Measurement { metric, attributes, count, exemplar } in measurements {
            let value = match count {
                Count::Birth | Count::Priced { value: None, .. } => None,
                Count::Share(value)
                | Count::Priced { value: Some(value), .. }
                | Count::Once { value, .. } => Some(value),
            };
            // Of what has no price there is no series.
            if value.is_none() && !matches!(count, Count::Birth) {
                continue;
            }
            let id = self.id(metric, attributes);
            self.record(id, metric, value.unwrap_or(0), exemplar);
        }
    }

    /// Sets a run's share of a counter: growth moves the counter; a shrink of what was spent moves its
    /// corrections, for a counter never goes backwards. Nothing moves that is history to its metric, nor is it taken back.
    fn set_share(&mut self, counted: &mut Counted, id: SeriesId, said: Said) {
        let Said { metric, share, exemplar, .. } = said;
        let before = counted.shares.get(&id).copied().unwrap_or(0);
        if share >= before {
            if self.is_history || metric.since > counted.set {
                if share > before {
                    *counted.unmoved.entry(id).or_default() += share - before;
                }
            } else {
                self.record(id, metric, share - before, exemplar);
            }
            counted.shares.insert(id, share);
        } else if let Some(corrections) = metric.corrections {
            let attributes = self.series.get(id.0).map(|series| series.key().attributes.clone());
            let of = self.id(corrections, attributes.unwrap_or_default());
            let unmoved = counted.unmoved.get(&id).copied().unwrap_or(0);
            self.record(of, corrections, before.saturating_sub(share.max(unmoved)), None);
            counted.unmoved.entry(id).and_modify(|unmoved| *unmoved = share.min(*unmoved));
            counted.shares.insert(id, share);
        }
    }

    /// What was counted of a run's cost.
    fn counted_cost(&self, counted: &Counted) -> u64 {
        let is_cost = |id: &SeriesId| {
            self.series.get(id.0).is_some_and(|series| series.key().metric.name == names::COST.name)
        };
        let costs = counted.shares.iter().filter(|(id, _)| is_cost(id));
        costs.map(|(_, share)| *share).fold(0, u64::saturating_add)
    }

    /// Forgets the runs and sessions counted so far. Their totals stay; said again, they would be counted again.
    pub fn forget_runs(&mut self) {
        self.forgotten += self.sessions.len();
        self.runs.clear();
        self.sessions.clear();
    }

    /// Sets a series of the bridge's own.
    pub fn set(&mut self, metric: &'static Metric, attributes: Vec<(&'static str, String)>, value: u64) {
        let SeriesId(id) = self.id(metric, attributes);
        if let Some(series) = self.series.get_mut(id) {
            series.set(value);
            self.unstored.insert(SeriesId(id));
        }
    }

    /// Sets a series of the bridge's own, the only one of its metric: others are not released any more.
    pub fn set_alone(
        &mut self,
        metric: &'static Metric,
        attributes: Vec<(&'static str, String)>,
        value: u64,
    ) {
        let key = key_of(metric, attributes);
        self.ids.retain(|other, _| other.metric.name != metric.name || *other == key);
        self.set(metric, key.attributes, value);
    }

    /// Moves a series of the bridge's own.
    pub fn add(&mut self, metric: &'static Metric, attributes: Vec<(&'static str, String)>, more: u64) {
        let id = self.id(metric, attributes);
        self.record(id, metric, more, None);
    }

    /// From now on runs and sessions are remembered and nothing moves: they are history. Or no longer.
    pub fn set_history(&mut self, is_history: bool) {
        self.is_history = is_history;
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Values folded into `other` because of the cap.
    pub fn oddities(&self) -> Oddities {
        let mut oddities = Oddities::default();
        oddities.add_many(Oddity::FoldedValue, self.folded.len() as u64);
        oddities
    }

    /// How many values were folded since this was last asked.
    pub fn take_folded(&mut self) -> u64 {
        let folded = self.folded.len() as u64;
        let more = folded.saturating_sub(self.folded_before);
        self.folded_before = folded;
        more
    }

    /// How many different values each attribute has, and how many more were folded into [`OTHER`].
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, usize, usize)> + '_ {
        let folded = |name: &str| self.folded.iter().filter(|(of, _)| *of == name).count();
        self.values.iter().map(move |(name, values)| (*name, values.len(), folded(name)))
    }

    /// How many sessions have been seen.
    pub fn session_count(&self) -> usize {
        self.forgotten + self.sessions.len()
    }

    /// The value of every counter series of a metric.
    pub fn counters<'l>(
        &'l self,
        metric: &'static Metric,
    ) -> impl Iterator<Item = (&'l SeriesKey, u64)> + 'l {
        let of_metric = self.series.iter().filter(move |series| series.key().metric.name == metric.name);
        of_metric.filter_map(|series| match series.value() {
            Value::Number(value) => Some((series.key(), *value)),
            Value::Quotient { .. } | Value::Histogram(_) => None,
        })
    }

    /// Releases every series with the points to send: where it moved, its last value a second earlier and then
    /// its new one.
    ///
    /// Points are stamped now, never with the time of a run, and never before an earlier stamp of their series.
    pub fn release(&mut self, now_ns: u64) -> Vec<Released> {
        let Self { ids, series, unstored, .. } = self;
        let mut release = |id: &SeriesId| {
            let series = series.get_mut(id.0)?;
            let is_first = series.start_ns.is_none();
            let released = series.release(now_ns);
            if released.before.is_some() || is_first {
                unstored.insert(*id);
            }
            Some(released)
        };
        ids.values().filter_map(&mut release).collect()
    }

    /// Every series as a scraper is to see it: one it may not know yet at zero, for so long.
    pub fn show(&mut self, now_ns: u64, hold_ns: u64) -> Vec<Released> {
        let Self { ids, series, unstored, .. } = self;
        let mut show = |id: &SeriesId| {
            let series = series.get_mut(id.0)?;
            let before = (series.start_ns, series.last.clone());
            let shown = series.show(now_ns, hold_ns);
            if before != (series.start_ns, series.last.clone()) {
                unstored.insert(*id);
            }
            Some(shown)
        };
        ids.values().filter_map(&mut show).collect()
    }

    fn record(&mut self, SeriesId(id): SeriesId, metric: &Metric, value: u64, exemplar: Option<Exemplar>) {
        if self.is_history || value == 0 {
            return;
        }
        if let Some(series) = self.series.get_mut(id) {
            series.record(metric, value, exemplar);
            self.unstored.insert(SeriesId(id));
        }
    }

    /// The series of this identity, born if it is new: attributes in order, empty ones left out, rare values
    /// beyond the cap folded.
    fn id(&mut self, metric: &'static Metric, attributes: Vec<(&'static str, String)>) -> SeriesId {
        let mut key = key_of(metric, attributes);
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        for (name, value) in &mut key.attributes {
            self.fold(name, value);
        }
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let id = SeriesId(self.series.len());
        self.series.push(Series::born(key.clone()));
        self.unstored.insert(id);
        self.ids.insert(key, id);
        id
    }

    /// The series of this identity, if there is one.
    fn known(&self, metric: &'static Metric, attributes: Vec<(&'static str, String)>) -> Option<SeriesId> {
        let mut key = key_of(metric, attributes);
        let exact = self.ids.get(&key).copied();
        exact.or_else(|| {
            for (name, value) in &mut key.attributes {
                if self.values.get(name).is_none_or(|known| !known.contains(value)) {
                    OTHER.clone_into(value);
                }
            }
            self.ids.get(&key).copied()
        })
    }

    /// Folds a value that is one too many of its attribute's.
    fn fold(&mut self, name: &'static str, value: &mut String) {
        let known = self.values.entry(name).or_default();
        if known.contains(value) {
            return;
        }
        if known.len() < MAX_VALUES_PER_ATTRIBUTE {
            known.insert(value.clone());
        } else {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            self.folded.insert((name, hasher.finish()));
            OTHER.clone_into(value);
        }
    }
}

#[cfg(test)]
mod tests;

//! What a state file holds of a ledger, as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::series::Histogram;
use super::{Counted, Ledger, Series, SeriesId, SeriesKey, Session, SessionShare, Value};
use crate::model::RunKey;
use crate::otel::names::{self, Instrument, Metric};
use crate::otel::request::Identity;

/// What one run has moved so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRun {
    /// Its share of each series, by the series' number.
    shares: Vec<(usize, u64)>,
    /// Hashes of what happened once.
    once: Vec<u64>,
    session: StoredShare,
    /// How much of its shares moved nothing, by the series' number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unmoved: Vec<(usize, u64)>,
    /// What shares that depend on prices were made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bases: Vec<u64>,
    /// The set of metrics it was counted by.
    #[serde(default = "first_set")]
    set: u32,
}

/// Runs stored before there was a second set do not say theirs.
fn first_set() -> u32 {
    names::FIRST_SET
}

/// Figures of a session, in the order in which they came to be kept: an older version knew fewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct StoredShare(Vec<u64>);

/// One session: what it stands at, what of that is in histograms, and what it is called in metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSession {
    attributes: Vec<(String, String)>,
    totals: StoredShare,
    recorded: StoredShare,
    /// The most it ever stood at. Where an older version stored it, that is where it stands.
    #[serde(default)]
    peak: Option<(u64, u64)>,
}

impl StoredSession {
    /// True if something was added since it was last recorded.
    pub fn is_open(&self) -> bool {
        to_share(&self.totals) != to_share(&self.recorded)
    }

    /// What it is called in metrics.
    pub fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }

    /// Its tokens so far.
    pub fn tokens(&self) -> u64 {
        let totals = to_share(&self.totals);
        totals.input_tokens.saturating_add(totals.output_tokens)
    }
}

/// One series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredSeries {
    metric: String,
    attributes: Vec<(String, String)>,
    value: StoredValue,
    last: StoredValue,
    previous: StoredValue,
    start_ns: Option<u64>,
    moved_ns: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum StoredValue {
    #[serde(rename = "n")]
    Number(u64),
    #[serde(rename = "h")]
    Histogram { count: u64, sum: u64, buckets: Vec<u64>, range: Option<(u64, u64)> },
}

impl From<&Value> for StoredValue {
    fn from(value: &Value) -> Self {
        match value {
            // Of what is divided nothing is stored: it is no series of the ledger's.
            Value::Number(number) | Value::Quotient { number, .. } => Self::Number(*number),
            Value::Histogram(Histogram { count, sum, buckets, range }) => {
                Self::Histogram { count: *count, sum: *sum, buckets: buckets.clone(), range: *range }
            }
        }
    }
}

impl From<StoredValue> for Value {
    fn from(stored: StoredValue) -> Self {
        match stored {
            StoredValue::Number(number) => Self::Number(number),
            StoredValue::Histogram { count, sum, buckets, range } => {
                Self::Histogram(Histogram { count, sum, buckets, range })
            }
        }
    }
}

fn of_share(share: &SessionShare) -> StoredShare {
    let SessionShare { input_tokens, output_tokens, cost_nano_usd, runs, duration_ns } = *share;
    StoredShare(vec![input_tokens, output_tokens, runs, duration_ns, cost_nano_usd])
}

fn to_share(StoredShare(figures): &StoredShare) -> SessionShare {
    let figure = |place: usize| figures.get(place).copied().unwrap_or(0);
    SessionShare {
        input_tokens: figure(0),
        output_tokens: figure(1),
        runs: figure(2),
        duration_ns: figure(3),
        cost_nano_usd: figure(4),
    }
}

fn of_attributes(attributes: &[(&'static str, String)]) -> Vec<(String, String)> {
    attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn to_attributes(attributes: Vec<(String, String)>) -> Vec<(&'static str, String)> {
    attributes.into_iter().map(|(name, value)| (interned(name), value)).collect()
}

/// Names of attributes are few and ours; one that an older version knew stays in memory once.
fn interned(name: String) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let name: &'static str = Box::leak(name.into_boxed_str());
    names.insert(name);
    name
}

impl Ledger {
    /// What a run moved.
    pub fn run(&self, key: &RunKey) -> Option<StoredRun> {
        let Counted { shares, unmoved, bases, once, session, .. } = self.runs.get(key)?;
        let numbers =
            |shares: &BTreeMap<SeriesId, u64>| shares.iter().map(|(id, share)| (id.0, *share)).collect();
        Some(StoredRun {
            shares: numbers(shares),
            unmoved: numbers(unmoved),
            once: once.iter().copied().collect(),
            session: of_share(session),
            bases: bases.iter().copied().collect(),
            // What newer metrics have of it is history to them from now on.
            set: names::METRICS_SET,
        })
    }

    /// Remembers what a run moved before.
    pub fn remember_run(&mut self, key: RunKey, stored: StoredRun) {
        let of_numbers =
            |shares: Vec<_>| shares.into_iter().map(|(id, share)| (SeriesId(id), share)).collect();
        let counted = Counted {
            shares: of_numbers(stored.shares),
            unmoved: of_numbers(stored.unmoved),
            bases: stored.bases.into_iter().collect(),
            set: stored.set,
            once: stored.once.into_iter().collect(),
            session: to_share(&stored.session),
        };
        self.runs.insert(key, counted);
    }

    /// The sessions in memory.
    pub fn sessions(&self) -> impl Iterator<Item = (&str, StoredSession)> {
        self.sessions.iter().map(|(id, session)| {
            let stored = StoredSession {
                attributes: of_attributes(&session.attributes),
                totals: of_share(&session.totals),
                recorded: of_share(&session.recorded),
                peak: Some(session.peak),
            };
            (id.as_str(), stored)
        })
    }

    /// Remembers what a session stood at.
    pub fn remember_session(&mut self, id: String, stored: StoredSession) {
        let totals = to_share(&stored.totals);
        let spent = (totals.input_tokens.saturating_add(totals.output_tokens), totals.cost_nano_usd);
        let session = Session {
            attributes: to_attributes(stored.attributes),
            exemplar: None,
            peak: stored.peak.unwrap_or(spent),
            totals,
            recorded: to_share(&stored.recorded),
        };
        self.sessions.insert(id, session);
    }

    /// The series that moved since this was last asked, by their numbers.
    pub fn take_unstored(&mut self) -> Vec<(usize, StoredSeries)> {
        let ids = std::mem::take(&mut self.unstored);
        let stored = |SeriesId(id): SeriesId| {
            let series = self.series.get(id)?;
            let stored = StoredSeries {
                metric: series.key.metric.name.to_owned(),
                attributes: of_attributes(&series.key.attributes),
                value: (&series.value).into(),
                last: (&series.last).into(),
                previous: (&series.previous).into(),
                start_ns: series.start_ns,
                moved_ns: series.moved_ns,
            };
            Some((id, stored))
        };
        ids.into_iter().filter_map(stored).collect()
    }

    /// Remembers a series, the one with the next number. False: its metric is none of ours any more; its number stays
    /// taken, and nothing is sent of it. `unsettled_ns` is the release of which nobody knows whether it arrived.
    pub fn remember_series(
        &mut self,
        stored: StoredSeries,
        last_stamp_ns: u64,
        unsettled_ns: Option<u64>,
    ) -> bool {
        let metric = names::METRICS.iter().copied().find(|metric| metric.name == stored.metric);
        let key = SeriesKey {
            metric: metric.unwrap_or(&names::BRIDGE_UP),
            attributes: to_attributes(stored.attributes),
        };
        for (name, value) in &key.attributes {
            self.values.entry(*name).or_default().insert(value.clone());
        }
        let mut series = Series::born(key.clone());
        let fits =
            |value: &Value| matches!(value, Value::Histogram(_)) == is_histogram(key.metric.instrument);
        let (value, last) = (Value::from(stored.value), Value::from(stored.last));
        let is_unsettled = unsettled_ns == Some(stored.moved_ns);
        let previous = if is_unsettled { Value::from(stored.previous) } else { last.clone() };
        let is_ours = metric.is_some() && fits(&value);
        if is_ours {
            (series.value, series.previous, series.last) = (value, previous, last);
            (series.start_ns, series.last_stamp_ns) = (stored.start_ns, last_stamp_ns);
            series.moved_ns = stored.moved_ns;
        }
        let id = SeriesId(self.series.len());
        self.series.push(series);
        if is_ours {
            self.ids.insert(key, id);
        }
        is_ours
    }

    /// Every series is born anew, at zero: under another name, for what it stood at is not known to be the newest. What
    /// runs and sessions have added stays added.
    pub fn restart(&mut self) {
        for id in self.ids.values() {
            if let Some(series) = self.series.get_mut(id.0) {
                *series = Series::born(series.key().clone());
                self.unstored.insert(*id);
            }
        }
    }

    /// Sets a gauge by attributes that were stored.
    pub fn set_named(&mut self, metric: &'static Metric, attributes: Vec<(String, String)>, value: u64) {
        self.set(metric, to_attributes(attributes), value);
    }

    /// Of these series what was released last did not arrive: it is released again, with the newest values.
    pub fn withdraw(&mut self, not_taken: &BTreeSet<Identity>) {
        for (id, series) in self.series.iter_mut().enumerate() {
            let is_among = || {
                let SeriesKey { metric, attributes } = &series.key;
                not_taken.contains(&(metric.name.to_owned(), of_attributes(attributes)))
            };
            if series.last != series.previous && is_among() {
                series.withdraw();
                self.unstored.insert(SeriesId(id));
            }
        }
    }
}

fn is_histogram(instrument: Instrument) -> bool {
    matches!(instrument, Instrument::Histogram { .. })
}

//! What has been counted: the source of every metric value.
//!
//! A run is seen many times and in many copies, so nothing is ever *added* for a sighting. A run's share of a
//! series is *set*, and the series moves by the difference; what happens once (a call, a finished run) is
//! remembered by its key. Feeding the same runs again, in any order, moves nothing.
//!
//! Pure and in memory: it reads no clock and writes no file. A state file can hold it, for all of it is maps.

mod series;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

pub use series::{Exemplar, Histogram, Point, Released, Series, SeriesKey, Value, unscaled};

use crate::framework::{Oddities, Oddity};
use crate::model::RunKey;
use crate::otel::names::{self, Metric};

/// Different values one attribute may have before new ones are folded into [`OTHER`]: a tool name made from
/// user input must not become a million series.
pub const MAX_VALUES_PER_ATTRIBUTE: usize = 1_000;
/// Where values beyond the cap are counted.
pub const OTHER: &str = "other";

/// One thing to count, said by `otel::metrics` of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What is counted.
    pub metric: &'static Metric,
    /// By what. Empty values are left out; order does not matter.
    pub attributes: Vec<(&'static str, String)>,
    /// How it is counted.
    pub count: Count,
    /// Where to look when this is the one that stands out.
    pub exemplar: Option<Exemplar>,
}

/// How a measurement is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// The series exists from now on, at zero if nothing else is said.
    Birth,
    /// This run's whole share of a counter. Said again, it replaces what was said before.
    Share(u64),
    /// Something that happened once in this run, told apart by its key: one more of a counter, or one value of
    /// a histogram (in the metric's kept units).
    Once {
        /// What makes it this one among the run's.
        key: String,
        /// How much.
        value: u64,
    },
}

/// What a run adds to its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionShare {
    /// Tokens of the run itself.
    pub input_tokens: u64,
    /// Tokens of the run itself.
    pub output_tokens: u64,
    /// 1 for a top-level run.
    pub runs: u64,
    /// Duration of a top-level run.
    pub duration_ns: u64,
}

impl SessionShare {
    fn combine(self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            input_tokens: with(self.input_tokens, other.input_tokens),
            output_tokens: with(self.output_tokens, other.output_tokens),
            runs: with(self.runs, other.runs),
            duration_ns: with(self.duration_ns, other.duration_ns),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Session {
    attributes: Vec<(&'static str, String)>,
    exemplar: Option<Exemplar>,
    totals: SessionShare,
    recorded: SessionShare,
}

/// A series by number: runs remember what they moved, and there are many runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SeriesId(usize);

/// What one run has moved so far.
#[derive(Debug, Clone, Default)]
struct Counted {
    shares: BTreeMap<SeriesId, u64>,
    once: BTreeSet<(&'static str, String)>,
    session: SessionShare,
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
}

impl Ledger {
    /// Counts what is said of one run. Saying the same again changes nothing.
    pub fn observe(&mut self, run: &RunKey, measurements: Vec<Measurement>) {
        let mut counted = self.runs.remove(run).unwrap_or_default();
        let mut shares = BTreeMap::<SeriesId, (&'static Metric, u64, Option<Exemplar>)>::new();
        for Measurement { metric, attributes, count, exemplar } in measurements {
            let id = self.id(metric, attributes);
            match count {
                Count::Birth => {}
                Count::Share(value) => {
                    let share = shares.entry(id).or_insert((metric, 0, None));
                    share.1 = share.1.saturating_add(value);
                    share.2 = exemplar.or(share.2.take());
                }
                Count::Once { key: once, value } => {
                    if counted.once.insert((metric.name, once)) {
                        self.record(id, metric, value, exemplar);
                    }
                }
            }
        }
        // A share not said any more is a share of nothing.
        let unsaid: Vec<SeriesId> =
            counted.shares.keys().filter(|id| !shares.contains_key(id)).copied().collect();
        for id in unsaid {
            let metric = self.series.get(id.0).map_or(&names::TOKEN_USAGE, |series| series.key().metric);
            shares.insert(id, (metric, 0, None));
        }
        for (id, (metric, share, exemplar)) in shares {
            self.set_share(&mut counted, id, metric, share, exemplar);
        }
        self.runs.insert(run.clone(), counted);
    }

    /// Sets a run's share of a counter: growth moves the counter; a shrink of spent tokens moves their
    /// corrections, for a counter never goes backwards.
    fn set_share(
        &mut self,
        counted: &mut Counted,
        id: SeriesId,
        metric: &'static Metric,
        share: u64,
        exemplar: Option<Exemplar>,
    ) {
        let before = counted.shares.get(&id).copied().unwrap_or(0);
        if share >= before {
            self.record(id, metric, share - before, exemplar);
            counted.shares.insert(id, share);
        } else if metric.name == names::TOKEN_USAGE.name {
            let attributes = self.series.get(id.0).map(|series| series.key().attributes.clone());
            let corrections = self.id(&names::TOKEN_CORRECTIONS, attributes.unwrap_or_default());
            self.record(corrections, &names::TOKEN_CORRECTIONS, before - share, None);
            counted.shares.insert(id, share);
        }
    }

    /// Sets what a run adds to its session. The first run to be seen names the session.
    pub fn observe_session(
        &mut self,
        session: &str,
        run: &RunKey,
        share: &SessionShare,
        attributes: &[(&'static str, String)],
        exemplar: Option<&Exemplar>,
    ) {
        if !self.sessions.contains_key(session) {
            let named = Session {
                attributes: attributes.to_vec(),
                exemplar: exemplar.cloned(),
                ..Session::default()
            };
            self.sessions.insert(session.to_owned(), named);
            let id = self.id(&names::SESSION_STARTED, attributes.to_vec());
            self.record(id, &names::SESSION_STARTED, 1, exemplar.cloned());
        }
        let counted = self.runs.entry(run.clone()).or_default();
        let before = std::mem::replace(&mut counted.session, share.clone());
        if let Some(state) = self.sessions.get_mut(session) {
            let totals = std::mem::take(&mut state.totals);
            state.totals = totals.combine(share, u64::saturating_add).combine(&before, u64::saturating_sub);
        }
    }

    /// Records sessions as quiet: histograms get what was added since they were last recorded.
    pub fn close_sessions(&mut self) {
        let mut sessions = std::mem::take(&mut self.sessions);
        let mut largest = BTreeMap::<Vec<(&'static str, String)>, u64>::new();
        for session in sessions.values_mut() {
            let tokens = session.totals.input_tokens.saturating_add(session.totals.output_tokens);
            let known = largest.entry(session.attributes.clone()).or_default();
            *known = tokens.max(*known);
            let added = session.totals.clone().combine(&session.recorded, u64::saturating_sub);
            session.recorded = session.totals.clone();
            let values = [
                (&names::SESSION_TOKENS, added.input_tokens.saturating_add(added.output_tokens)),
                (&names::SESSION_INPUT, added.input_tokens),
                (&names::SESSION_OUTPUT, added.output_tokens),
                (&names::SESSION_RUN_COUNT, added.runs),
                (&names::SESSION_DURATION, added.duration_ns),
            ];
            for (metric, value) in values {
                let id = self.id(metric, session.attributes.clone());
                self.record(id, metric, value, session.exemplar.clone());
            }
        }
        for (attributes, tokens) in largest {
            self.set(&names::SESSION_LARGEST, attributes, tokens);
        }
        self.sessions = sessions;
    }

    /// Sets a series of the bridge's own.
    pub fn set(&mut self, metric: &'static Metric, attributes: Vec<(&'static str, String)>, value: u64) {
        let SeriesId(id) = self.id(metric, attributes);
        if let Some(series) = self.series.get_mut(id) {
            series.set(value);
        }
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

    /// How many sessions have been seen.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The value of every counter series of a metric.
    pub fn counters<'l>(
        &'l self,
        metric: &'static Metric,
    ) -> impl Iterator<Item = (&'l SeriesKey, u64)> + 'l {
        let of_metric = self.series.iter().filter(move |series| series.key().metric.name == metric.name);
        of_metric.filter_map(|series| match series.value() {
            Value::Number(value) => Some((series.key(), *value)),
            Value::Histogram(_) => None,
        })
    }

    /// Releases every series with the points to send: where it moved, its last value a second earlier and then
    /// its new one.
    ///
    /// Points are stamped now, never with the time of a run, and never before an earlier stamp of their series.
    pub fn release(&mut self, now_ns: u64) -> Vec<Released> {
        let Self { ids, series, .. } = self;
        let in_order = ids.values().filter_map(|SeriesId(id)| Some(series.get_mut(*id)?.release(now_ns)));
        in_order.collect()
    }

    fn record(&mut self, SeriesId(id): SeriesId, metric: &Metric, value: u64, exemplar: Option<Exemplar>) {
        if let Some(series) = self.series.get_mut(id) {
            series.record(metric, value, exemplar);
        }
    }

    /// The series of this identity, born if it is new: attributes in order, empty ones left out, rare values
    /// beyond the cap folded.
    fn id(&mut self, metric: &'static Metric, mut attributes: Vec<(&'static str, String)>) -> SeriesId {
        attributes.retain(|(_, value)| !value.is_empty());
        attributes.sort_unstable();
        attributes.dedup_by(|next, kept| next.0 == kept.0);
        let mut key = SeriesKey { metric, attributes };
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
        self.ids.insert(key, id);
        id
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
mod tests {
    use super::*;

    fn run(id: &str) -> RunKey {
        RunKey { run_id: id.to_owned(), reuse: String::new() }
    }

    fn usage(tokens: u64) -> Vec<Measurement> {
        let attributes = vec![("agent", "a".to_owned()), ("empty", String::new())];
        vec![Measurement {
            metric: &names::TOKEN_USAGE,
            attributes,
            count: Count::Share(tokens),
            exemplar: None,
        }]
    }

    fn total(ledger: &Ledger, metric: &'static Metric) -> u64 {
        ledger.counters(metric).map(|(_, value)| value).sum()
    }

    #[test]
    fn a_run_seen_again_moves_a_counter_by_the_difference_only() {
        let mut ledger = Ledger::default();
        for tokens in [10, 10, 25, 25] {
            ledger.observe(&run("a"), usage(tokens));
        }
        ledger.observe(&run("b"), usage(5));
        assert_eq!(total(&ledger, &names::TOKEN_USAGE), 30);
    }

    #[test]
    fn a_shrink_goes_to_the_corrections_and_the_bill_stays_right() {
        let mut ledger = Ledger::default();
        for tokens in [30, 12, 20] {
            ledger.observe(&run("a"), usage(tokens));
        }
        let bill = total(&ledger, &names::TOKEN_USAGE) - total(&ledger, &names::TOKEN_CORRECTIONS);
        assert_eq!((total(&ledger, &names::TOKEN_USAGE), bill), (38, 20));
        ledger.observe(&run("a"), Vec::new());
        assert_eq!(total(&ledger, &names::TOKEN_USAGE) - total(&ledger, &names::TOKEN_CORRECTIONS), 0);
    }

    #[test]
    fn a_series_that_moved_is_released_as_a_pair_and_one_at_rest_as_one_point() {
        let mut ledger = Ledger::default();
        ledger.observe(&run("a"), usage(7));
        let first = ledger.release(10_000_000_000);
        let older = first[0].before.as_ref().unwrap();
        assert_eq!((older.value.clone(), older.at_ns), (Value::Number(0), 9_000_000_000));
        assert_eq!((first[0].now.value.clone(), first[0].now.at_ns), (Value::Number(7), 10_000_000_000));
        assert!(first[0].start_ns < older.at_ns);
        // The clock stepped back: stamps still ascend, and the series has not moved.
        let second = ledger.release(3_000_000_000);
        assert!(second[0].before.is_none());
        assert_eq!(second[0].now.at_ns, 10_001_000_000);
        assert_eq!(second[0].start_ns, first[0].start_ns);
    }

    #[test]
    fn values_beyond_the_cap_are_folded_and_nothing_is_lost() {
        let mut ledger = Ledger::default();
        for number in 0..MAX_VALUES_PER_ATTRIBUTE + 5 {
            let mut measurements = usage(1);
            measurements[0].attributes[0].1 = format!("agent {number}");
            // Said twice, it is one value.
            ledger.observe(&run(&number.to_string()), measurements.clone());
            ledger.observe(&run(&number.to_string()), measurements);
        }
        assert_eq!(total(&ledger, &names::TOKEN_USAGE), MAX_VALUES_PER_ATTRIBUTE as u64 + 5);
        let folded = ledger.counters(&names::TOKEN_USAGE).find(|(key, _)| key.attributes[0].1 == OTHER);
        assert_eq!(folded.map(|(_, value)| value), Some(5));
        assert_eq!(ledger.oddities().count(Oddity::FoldedValue), 5);
    }

    #[test]
    fn a_quiet_session_is_recorded_with_what_was_added_since() {
        let mut ledger = Ledger::default();
        let share = |tokens| SessionShare { input_tokens: tokens, runs: 1, ..SessionShare::default() };
        ledger.observe_session("s", &run("a"), &share(10), &[], None);
        ledger.close_sessions();
        ledger.observe_session("s", &run("a"), &share(10), &[], None);
        ledger.observe_session("s", &run("b"), &share(4), &[], None);
        ledger.close_sessions();
        ledger.close_sessions();
        let key = SeriesKey { metric: &names::SESSION_TOKENS, attributes: Vec::new() };
        let Value::Histogram(histogram) = ledger.series[ledger.ids[&key].0].value() else {
            panic!("a histogram")
        };
        assert_eq!((histogram.count, histogram.sum), (2, 14));
        assert_eq!(total(&ledger, &names::SESSION_STARTED), 1);
    }

    #[test]
    fn shares_said_of_one_series_are_one_share() {
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            ledger.observe(&run("a"), [usage(7), usage(5)].concat());
        }
        assert_eq!(total(&ledger, &names::TOKEN_USAGE), 12);
    }

    #[test]
    fn what_shrinks_and_is_not_spend_stays_as_it_is() {
        let mut ledger = Ledger::default();
        for tokens in [30, 12] {
            let mut measurements = usage(tokens);
            measurements[0].metric = &names::USAGE_INPUT_TOKENS;
            ledger.observe(&run("a"), measurements);
        }
        assert_eq!(total(&ledger, &names::USAGE_INPUT_TOKENS), 30);
        assert_eq!(total(&ledger, &names::TOKEN_CORRECTIONS), 0);
        assert_eq!(ledger.series_count(), 1);
    }

    #[test]
    fn what_happens_once_is_counted_once_by_metric_run_and_key() {
        let once = |metric, key: &str| Measurement {
            metric,
            attributes: Vec::new(),
            count: Count::Once { key: key.to_owned(), value: 1 },
            exemplar: None,
        };
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            ledger.observe(&run("a"), vec![once(&names::TOOL_CALLS, "t"), once(&names::TOOL_CALLS, "u")]);
            ledger.observe(&run("b"), vec![once(&names::TOOL_CALLS, "t"), once(&names::RUNS, "t")]);
        }
        assert_eq!((total(&ledger, &names::TOOL_CALLS), total(&ledger, &names::RUNS)), (3, 1));
    }

    #[test]
    fn an_attribute_said_twice_or_empty_makes_no_other_series() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.series_count(), 0);
        let said = |attributes: &[(&'static str, &str)]| Measurement {
            metric: &names::RUNS,
            attributes: attributes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            count: Count::Birth,
            exemplar: None,
        };
        ledger.observe(&run("a"), vec![said(&[("x", "1"), ("y", "2"), ("z", "")])]);
        ledger.observe(&run("a"), vec![said(&[("y", "2"), ("x", "1"), ("x", "1")])]);
        assert_eq!(ledger.series_count(), 1);
        let (key, _) = ledger.counters(&names::RUNS).next().unwrap();
        assert_eq!(key.attributes, [("x", "1".to_owned()), ("y", "2".to_owned())]);
    }

    #[test]
    fn a_session_is_named_and_shown_by_its_first_run_and_holds_what_all_of_them_spent() {
        let share = |tokens: u64, runs| SessionShare {
            input_tokens: tokens,
            output_tokens: tokens + 1,
            runs,
            duration_ns: 3_000_000_000 * runs,
        };
        let named = |name: &str| vec![("agent", name.to_owned())];
        let shown = Exemplar { trace_id: [1; 16], span_id: [2; 8], conversation: None, value: 0 };
        let mut ledger = Ledger::default();
        ledger.observe_session("s", &run("a"), &share(10, 1), &named("first"), Some(&shown));
        ledger.observe_session("s", &run("b"), &share(4, 0), &named("second"), None);
        // A run that turns out smaller takes from its session what it had given.
        ledger.observe_session("s", &run("b"), &share(2, 0), &named("second"), None);
        ledger.observe_session("t", &run("c"), &share(6, 1), &named("first"), None);
        ledger.close_sessions();
        assert_eq!((ledger.session_count(), total(&ledger, &names::SESSION_STARTED)), (2, 2));
        let histogram = |metric| {
            let key = SeriesKey { metric, attributes: named("first") };
            let Value::Histogram(histogram) = ledger.series[ledger.ids[&key].0].value() else {
                panic!("a histogram")
            };
            (histogram.count, histogram.sum)
        };
        assert_eq!(histogram(&names::SESSION_TOKENS), (2, 26 + 13));
        assert_eq!(histogram(&names::SESSION_INPUT), (2, 10 + 2 + 6));
        assert_eq!(histogram(&names::SESSION_OUTPUT), (2, 11 + 3 + 7));
        assert_eq!(histogram(&names::SESSION_RUN_COUNT), (2, 2));
        assert_eq!(histogram(&names::SESSION_DURATION), (2, 6_000_000_000));
        assert_eq!(total(&ledger, &names::SESSION_LARGEST), 26);
        let released = ledger.release(10_000_000_000);
        for metric in [&names::SESSION_STARTED, &names::SESSION_TOKENS] {
            let one = released.iter().find(|one| one.key.metric.name == metric.name).unwrap();
            assert_eq!(one.now.exemplars[0].1.span_id, [2; 8], "{}", metric.name);
        }
    }

    proptest::proptest! {
        #[test]
        fn sums_do_not_depend_on_order_or_repetition(
            shares in proptest::collection::vec((0usize..5, 0u64..100), 1..30), turn in 0usize..30,
        ) {
            // The last word said of each run counts, so both orders end with the same words.
            let mut last = BTreeMap::new();
            for &(id, tokens) in &shares {
                last.insert(id, tokens);
            }
            let mut there = Ledger::default();
            let mut back = Ledger::default();
            let mut turned = shares.clone();
            turned.rotate_left(turn % shares.len());
            for (id, tokens) in shares {
                there.observe(&run(&id.to_string()), usage(tokens));
            }
            for (id, tokens) in turned.into_iter().chain(last.clone()) {
                back.observe(&run(&id.to_string()), usage(tokens));
            }
            let bill = |ledger: &Ledger| total(ledger, &names::TOKEN_USAGE) - total(ledger, &names::TOKEN_CORRECTIONS);
            proptest::prop_assert_eq!(bill(&there), last.values().sum::<u64>());
            proptest::prop_assert_eq!(bill(&back), last.values().sum::<u64>());
        }
    }
}

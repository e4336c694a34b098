//! Sessions: what they stand at, what of it was recorded, and the thresholds they pass.

use super::{Exemplar, Ledger, Session, SessionShare};
use crate::model::RunKey;
use crate::model::budget::Limit;
use crate::otel::names;

impl Ledger {
    /// Sets what a run adds to its session. The first run to be seen names the session.
    pub fn observe_session(
        &mut self,
        session: &str,
        run: &RunKey,
        share: &SessionShare,
        attributes: &[(&'static str, String)],
        exemplar: Option<&Exemplar>,
    ) {
        self.begin_session(session, attributes, exemplar);
        let mut counted = self.runs.remove(run).unwrap_or_default();
        let share = SessionShare { cost_nano_usd: self.counted_cost(&counted), ..share.clone() };
        let before = std::mem::replace(&mut counted.session, share.clone());
        if let Some(state) = self.sessions.get_mut(session) {
            let totals = std::mem::take(&mut state.totals);
            state.totals = totals.combine(&share, u64::saturating_add).combine(&before, u64::saturating_sub);
            if self.is_history {
                // What others added and is not recorded yet stays so.
                let recorded = std::mem::take(&mut state.recorded);
                state.recorded =
                    recorded.combine(&share, u64::saturating_add).combine(&before, u64::saturating_sub);
            } else if names::SESSION_COST.since > counted.set {
                let more = share.cost_nano_usd.saturating_sub(before.cost_nano_usd);
                state.recorded.cost_nano_usd = state.recorded.cost_nano_usd.saturating_add(more);
            }
        }
        let is_news = !self.is_history && names::SESSION_COST.since <= counted.set;
        self.runs.insert(run.clone(), counted);
        self.cross(session, is_news, exemplar);
    }

    /// Takes a run back that turned out to be none of its session's own: what it moved moves corrections, and its session
    /// stands where it would without it. What histograms got of it, and thresholds that were passed, stay.
    pub fn take_back(&mut self, run: &RunKey, session: Option<&str>) {
        self.observe(run, Vec::new());
        let Some((id, state)) = session.and_then(|id| Some((id, self.sessions.get(id)?))) else { return };
        let attributes = state.attributes.clone();
        let is_history = self.runs.get(run).is_some_and(|counted| !counted.unmoved.is_empty());
        let before = std::mem::replace(&mut self.is_history, is_history);
        self.observe_session(id, run, &SessionShare::default(), &attributes, None);
        self.is_history = before;
    }

    /// Adds to a session what is said once and never again, its cost included.
    pub fn add_to_session(
        &mut self,
        session: &str,
        more: &SessionShare,
        attributes: &[(&'static str, String)],
        exemplar: Option<&Exemplar>,
    ) {
        self.begin_session(session, attributes, exemplar);
        if let Some(state) = self.sessions.get_mut(session) {
            state.totals = std::mem::take(&mut state.totals).combine(more, u64::saturating_add);
        }
        self.cross(session, !self.is_history, exemplar);
    }

    /// The first run to be seen names a session.
    fn begin_session(
        &mut self,
        session: &str,
        attributes: &[(&'static str, String)],
        exemplar: Option<&Exemplar>,
    ) {
        if self.sessions.contains_key(session) {
            return;
        }
        let named =
            Session { attributes: attributes.to_vec(), exemplar: exemplar.cloned(), ..Session::default() };
        self.sessions.insert(session.to_owned(), named);
        let id = self.id(&names::SESSION_STARTED, attributes.to_vec());
        self.record(id, &names::SESSION_STARTED, 1, exemplar.cloned());
        for threshold in self.thresholds {
            self.id(&names::SESSION_CROSSED, with_threshold(attributes, *threshold));
        }
    }

    /// Counts the thresholds that a session stands above for the first time.
    fn cross(&mut self, session: &str, is_news: bool, exemplar: Option<&Exemplar>) {
        let Some(state) = self.sessions.get_mut(session) else { return };
        let SessionShare { input_tokens, output_tokens, cost_nano_usd, .. } = state.totals;
        let before = state.peak;
        state.peak = (before.0.max(input_tokens.saturating_add(output_tokens)), before.1.max(cost_nano_usd));
        let (now, attributes) = (state.peak, state.attributes.clone());
        if !is_news {
            return;
        }
        for threshold in self.thresholds.iter().filter(|threshold| threshold.is_crossed(before, now)) {
            let id = self.id(&names::SESSION_CROSSED, with_threshold(&attributes, *threshold));
            self.record(id, &names::SESSION_CROSSED, 1, exemplar.cloned());
            self.crossed.push((session.to_owned(), *threshold));
        }
    }

    /// From now on these thresholds are watched.
    pub fn watch(&mut self, thresholds: &'static [Limit]) {
        self.thresholds = thresholds;
    }

    /// The sessions that passed a threshold since this was last asked, and which.
    pub fn take_crossed(&mut self) -> Vec<(String, Limit)> {
        std::mem::take(&mut self.crossed)
    }

    /// Records sessions as quiet: histograms get what was added since they were last recorded.
    pub fn close_sessions(&mut self) {
        let mut sessions = std::mem::take(&mut self.sessions);
        for session in sessions.values_mut() {
            let tokens = session.totals.input_tokens.saturating_add(session.totals.output_tokens);
            let largest = self.largest.entry(session.attributes.clone()).or_default();
            *largest = tokens.max(*largest);
            let largest = *largest;
            self.set(&names::SESSION_LARGEST, session.attributes.clone(), largest);
            let added = session.totals.clone().combine(&session.recorded, u64::saturating_sub);
            session.recorded = session.totals.clone();
            let values = [
                (&names::SESSION_TOKENS, added.input_tokens.saturating_add(added.output_tokens)),
                (&names::SESSION_INPUT, added.input_tokens),
                (&names::SESSION_OUTPUT, added.output_tokens),
                (&names::SESSION_COST, added.cost_nano_usd),
                (&names::SESSION_RUN_COUNT, added.runs),
                (&names::SESSION_DURATION, added.duration_ns),
            ];
            for (metric, value) in values {
                let id = self.id(metric, session.attributes.clone());
                self.record(id, metric, value, session.exemplar.clone());
            }
        }
        self.sessions = sessions;
    }
}

fn with_threshold(attributes: &[(&'static str, String)], threshold: Limit) -> Vec<(&'static str, String)> {
    let named = attributes.iter().cloned();
    named.chain([(names::SESSION_THRESHOLD, threshold.text())]).collect()
}

//! The first look at everything there is, family by family: sessions, what answers to an id, what a search finds.

use std::collections::BTreeMap;

use super::ids::{Ids, Match, matched};
use super::rows::{Newest, RunRow, SessionRow, Totals, of_sessions, tree};
use super::search::Search;
use super::tables::session_id;
use crate::intake::Gathered;
use crate::model::Trace;
use crate::otel::ids::hex;

/// What answers to an id: all that answers best.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) best: Option<Match>,
    pub(super) sessions: Newest<SessionRow>,
    pub(super) runs: Newest<RunRow>,
}

impl Answers {
    /// True if what answers has the whole id, not its beginning.
    pub(super) fn is_whole(&self) -> bool {
        self.best > Some(Match::Beginning)
    }
}

/// What a search finds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rows: Newest<RunRow>,
    pub(super) totals: Totals,
}

impl Found {
    fn none(limit: usize) -> Self {
        Self { rows: Newest::of(limit), totals: Totals::default() }
    }
}

/// What is known after the first look. Of rows it keeps as many as can be shown, of all others some bytes an id.
#[derive(Debug)]
pub(super) struct Look<'l> {
    asked: Option<&'l str>,
    search: &'l Search,
    limit: usize,
    pub(super) ids: Ids,
    pub(super) sessions: Newest<SessionRow>,
    /// The runs without a session, of which any family may have some.
    loose: Option<SessionRow>,
    pub(super) totals: Totals,
    pub(super) answers: Answers,
    pub(super) found: Found,
}

impl<'l> Look<'l> {
    pub(super) fn of(asked: Option<&'l str>, search: &'l Search, limit: usize) -> Self {
        let answers = Answers { best: None, sessions: Newest::of(limit), runs: Newest::of(limit) };
        let (sessions, found) = (Newest::of(limit), Found::none(limit));
        let (ids, totals) = Default::default();
        Self { asked, search, limit, ids, sessions, loose: None, totals, answers, found }
    }

    /// Looks at a family, by its place among them.
    pub(super) fn at(&mut self, family: usize, gathered: &Gathered) {
        let mut sessions = BTreeMap::<Option<String>, SessionRow>::new();
        for row in of_sessions(gathered, family) {
            match sessions.get_mut(&row.session_id) {
                Some(session) => session.add(&row),
                None => drop(sessions.insert(row.session_id.clone(), SessionRow::of(&row))),
            }
        }
        if let Some(loose) = sessions.remove(&None) {
            match &mut self.loose {
                Some(known) => known.merge(&loose),
                None => self.loose = Some(loose),
            }
        }
        for session in sessions.into_values() {
            self.session(session);
        }
        for (trace, times) in gathered.forest.traces.iter().zip(&gathered.times) {
            let root = trace.nodes.first().and_then(|root| gathered.places.of_run(root.run));
            let trace_id = root.map(|root| hex(&root.trace_id)).unwrap_or_default();
            self.ids.add(&trace_id);
            if self.asked.is_some() || self.search.is_wanted() {
                self.trace(trace, &trace_id, tree(gathered, family, trace, times));
            }
        }
        for run in &gathered.forest.runs {
            self.ids.add(&run.key.run_id);
        }
    }

    /// To be called once all was looked at.
    pub(super) fn end(&mut self) {
        if let Some(loose) = self.loose.take() {
            self.session(loose);
        }
        self.ids.sort();
    }

    fn session(&mut self, session: SessionRow) {
        self.totals.sessions += 1;
        self.totals.runs += session.runs;
        self.totals.figures.add(&session.figures);
        let id = session_id(session.id.as_deref());
        self.ids.add(id);
        if let Some(matched) = self.asked.and_then(|asked| matched(id, asked)) {
            self.raise(Some(matched));
            if self.answers.best == Some(matched) {
                self.answers.sessions.add(session.end_ns, session.clone());
            }
        }
        self.sessions.add(session.end_ns, session);
    }

    /// Forgets what answers less well.
    fn raise(&mut self, matched: Option<Match>) {
        if self.answers.best < matched {
            let limit = self.limit;
            self.answers = Answers { best: matched, sessions: Newest::of(limit), runs: Newest::of(limit) };
            self.found = Found::none(limit);
        }
    }

    /// Looks at the runs of a trace, in the order of its nodes.
    fn trace(&mut self, trace: &Trace, trace_id: &str, runs: Vec<RunRow>) {
        let parents: Vec<Option<usize>> = trace.nodes.iter().map(|node| node.holder.node()).collect();
        if let Some(asked) = self.asked {
            // How well each run answers itself, and how well one of those above it does.
            let own = |(at, run): (usize, &RunRow)| {
                let by_trace = if at == 0 { matched(trace_id, asked) } else { None };
                matched(run.run_id(), asked).max(by_trace)
            };
            let own: Vec<Option<Match>> = runs.iter().enumerate().map(own).collect();
            let above = downwards(&parents, &own);
            let in_session = |run: &RunRow| matched(session_id(run.session_id.as_deref()), asked);
            if self.search.is_wanted() {
                let all = runs.iter().zip(&above).zip(&own);
                let ranks: Vec<Option<Match>> =
                    all.map(|((run, above), own)| in_session(run).max(*above).max(*own)).collect();
                self.raise(ranks.iter().copied().max().flatten());
                let best = self.answers.best;
                let may: Vec<bool> = ranks.iter().map(|rank| rank.is_some() && *rank == best).collect();
                self.find(&parents, runs, &may);
            } else {
                for ((run, own), above) in runs.into_iter().zip(own).zip(above) {
                    // What is within one that answers as well is shown with it.
                    if own.is_some() && own > above {
                        self.raise(own);
                        if self.answers.best == own {
                            self.answers.runs.add(run.start_ns, run);
                        }
                    }
                }
            }
        } else if self.search.is_wanted() {
            let may = vec![true; runs.len()];
            self.find(&parents, runs, &may);
        }
    }

    /// Takes the runs that are searched for, of those that may be: not what another of them started.
    fn find(&mut self, parents: &[Option<usize>], runs: Vec<RunRow>, may: &[bool]) {
        let found: Vec<bool> =
            runs.iter().zip(may).map(|(run, may)| *may && self.search.finds(run)).collect();
        let within = downwards(parents, &found);
        for ((run, found), within) in runs.into_iter().zip(found).zip(within) {
            if found && !within {
                self.found.totals.runs += 1;
                self.found.totals.figures.add(&run.figures);
                self.found.rows.add(run.start_ns, run);
            }
        }
    }
}

/// The greatest of what stands above each node. Parents come before children.
fn downwards<T: Copy + Ord + Default>(parents: &[Option<usize>], own: &[T]) -> Vec<T> {
    let mut above: Vec<T> = Vec::with_capacity(own.len());
    for parent in parents {
        let of_parent = parent.and_then(|parent| Some((*above.get(parent)?).max(*own.get(parent)?)));
        above.push(of_parent.unwrap_or_default());
    }
    above
}

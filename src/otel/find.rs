//! Finds runs by their ids, as people have them.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::Span;

use super::ids::hex;
use super::names;
use super::spans::TraceSpans;
use super::waterfall::text;

/// How well an id answers; the better one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    Beginning,
    /// But for case and dashes.
    Same,
    Exact,
}

/// Finds the runs with an id, or else those whose id begins so: of a run id or a trace id, in any case, with dashes or
/// without. A run that another started comes with what it started itself.
#[derive(Debug)]
pub struct Finder<'i> {
    id: &'i str,
    best: Option<Match>,
    found: Vec<TraceSpans>,
}

impl<'i> Finder<'i> {
    /// Looks for this id.
    pub fn of(id: &'i str) -> Self {
        Self { id, best: None, found: Vec::new() }
    }

    /// Looks at one trace more.
    pub fn look_at(&mut self, trace: &TraceSpans) {
        for (matched, subtree) in candidates(trace, self.id) {
            if self.best < Some(matched) {
                self.best = Some(matched);
                self.found.clear();
            }
            if self.best == Some(matched) {
                self.found.push(subtree);
            }
        }
    }

    /// What answers best of all that was looked at.
    pub fn found(self) -> Vec<TraceSpans> {
        self.found
    }
}

/// Every run of a trace that answers, save those within one that answers as well or better.
fn candidates(trace: &TraceSpans, id: &str) -> Vec<(Match, TraceSpans)> {
    let trace_id = trace.spans.first().map(|root| hex(&root.trace_id)).unwrap_or_default();
    let of_root = matched(&trace.run_id, id).max(matched(&trace_id, id));
    let mut found: Vec<(Match, TraceSpans)> =
        of_root.map(|matched| (matched, trace.clone())).into_iter().collect();
    let mut seen = BTreeSet::new();
    for span in &trace.spans {
        // A run's first span is the run itself.
        let Some(run_id) = text(span, names::RUN_ID).filter(|run_id| seen.insert(run_id.clone())) else {
            continue;
        };
        let is_within = |matched: Match| {
            found.iter().any(|(own, subtree)| {
                *own >= matched && subtree.spans.iter().any(|other| other.span_id == span.span_id)
            })
        };
        if let Some(matched) = matched(&run_id, id).filter(|matched| !is_within(*matched)) {
            found.push((matched, TraceSpans { run_id, spans: below(trace, span) }));
        }
    }
    found
}

/// A span and everything below it; parents come before children.
fn below(trace: &TraceSpans, root: &Span) -> Vec<Span> {
    let mut ids = BTreeSet::from([root.span_id.as_slice()]);
    let mut spans = vec![root.clone()];
    for span in &trace.spans {
        if ids.contains(span.parent_span_id.as_slice()) && ids.insert(&span.span_id) {
            spans.push(span.clone());
        }
    }
    spans
}

fn matched(own: &str, wanted: &str) -> Option<Match> {
    let bare = |id: &str| id.to_lowercase().replace('-', "");
    let (bare_own, bare_wanted) = (bare(own), bare(wanted));
    if own == wanted {
        Some(Match::Exact)
    } else if bare_own == bare_wanted {
        Some(Match::Same)
    } else {
        bare_own.starts_with(&bare_wanted).then_some(Match::Beginning)
    }
}

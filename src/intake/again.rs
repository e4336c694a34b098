//! What was recorded once, told again as if it happened now: other times, other ids.

use std::collections::BTreeMap;

use super::Gathered;
use crate::otel::places::Places;

impl Gathered {
    /// Moves the times of all spans by the same amount, so that what happened last ends at `end_ns`.
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

    /// Gives every run the id that `run_id` makes, each session the one that `session_id` makes of its own, and so every
    /// trace and span another: beside what was told before, this is something else.
    pub fn rename(&mut self, mut run_id: impl FnMut() -> String, session_id: impl Fn(&str) -> String) {
        let runs = &mut self.forest.runs;
        let ids: BTreeMap<String, String> =
            runs.iter().map(|run| (run.key.run_id.clone(), run_id())).collect();
        let named = |id: &mut String| {
            if let Some(new) = ids.get(id) {
                id.clone_from(new);
            }
        };
        for run in runs {
            named(&mut run.key.run_id);
            let others = [&mut run.parent_run_id, &mut run.regenerated_from, &mut run.forked_from_run_id];
            let of_tools = run.tools.iter_mut().map(|tool| &mut tool.child_run_id);
            let of_steps = run.steps.iter_mut().map(|step| &mut step.run_id);
            others.into_iter().chain(of_tools).chain(of_steps).flatten().for_each(named);
            for session in [&mut run.session_id, &mut run.forked_from_session_id].into_iter().flatten() {
                *session = session_id(session);
            }
        }
        self.places = Places::of(&self.forest);
    }
}

//! Chooses values within the bounds that are left, in the order in which things happened.

use super::{
    Children, DERIVED_WIDTH_NS, Interval, Parts, Point, Solver, Span, Times, Timing, comes_last,
    has_earliest, has_latest, has_no_duration,
};

impl Solver<'_> {
    /// Notes how well each start is known, before values are chosen.
    pub(super) fn note_timing(&mut self) {
        let timing = |span: &Span, measured: bool| {
            let (lowest, highest) = self.bounds.of(span.start);
            let timing = match (measured, highest - lowest <= DERIVED_WIDTH_NS) {
                (true, _) => Timing::Measured,
                (false, true) => Timing::Derived,
                (false, false) => Timing::Coarse,
            };
            Interval { start_ns: 0, end_ns: 0, timing }
        };
        let of = |parts: &Parts<'_>| Times {
            run: timing(&parts.span, false),
            calls: parts.calls.iter().map(|span| timing(span, false)).collect(),
            tools: parts
                .tools
                .iter()
                .zip(&parts.measured)
                .map(|(span, &measured)| timing(span, measured))
                .collect(),
            steps: parts.steps.iter().map(|span| timing(span, false)).collect(),
        };
        self.times = self.nodes.iter().map(of).collect();
    }

    /// Chooses values, in the order in which things happened.
    pub(super) fn assign(&mut self, node: usize) {
        let Some(parts) = self.nodes.get(node) else { return };
        let (run, span) = (parts.run, parts.span);
        let (chain, steps) = (parts.chain.clone(), parts.first_steps().to_vec());
        let start_ns = self.choose_middle(span.start);
        for step in steps {
            self.assign_step(node, step);
        }
        let followed = run.calls.iter().any(|call| call.position.is_none() && comes_last(call));
        let is_open = |&&at: &&usize| run.calls.get(at).is_some_and(has_no_duration);
        let mut unknown = chain.iter().filter(is_open).count() + usize::from(followed);
        for call in &chain {
            self.assign_call(node, *call, unknown);
            unknown -= usize::from(is_open(&call));
            let asked = |parts: &Parts<'_>, nth| parts.asked.get(*call)?.get(nth).copied();
            let mut nth = 0;
            while let Some(tool) = self.nodes.get(node).and_then(|parts| asked(parts, nth)) {
                self.assign_tool(node, tool);
                nth += 1;
            }
        }
        for tool in
            (0..run.tools.len()).filter(|&at| run.tools.get(at).is_some_and(|tool| tool.asked_by.is_none()))
        {
            self.assign_tool(node, tool);
        }
        for (call, _) in run.calls.iter().enumerate().filter(|(_, call)| call.position.is_none()) {
            self.assign_call(node, call, 1);
        }
        self.assign_children(node, |children| Some(&children.run));
        let end_ns = self.choose_lowest(span.end);
        if let Some(times) = self.times.get_mut(node) {
            times.run = Interval { start_ns, end_ns, ..times.run };
        }
    }

    fn assign_children(&mut self, node: usize, held: impl Fn(&Children) -> Option<&Vec<usize>>) {
        let held = self.nodes.get(node).and_then(|parts| held(&parts.children)).cloned();
        for child in held.into_iter().flatten() {
            self.assign(child);
        }
    }

    fn assign_step(&mut self, node: usize, step: usize) {
        let Some(span) = self.nodes.get(node).and_then(|parts| parts.steps.get(step)).copied() else {
            return;
        };
        let start_ns = self.choose_lowest(span.start);
        self.assign_children(node, |children| children.steps.get(&step));
        let inner = self.nodes.get(node).and_then(|parts| parts.inner.get(step)).cloned();
        for inner in inner.into_iter().flatten() {
            self.assign_step(node, inner);
        }
        let end_ns = self.choose_lowest(span.end);
        if let Some(interval) = self.times.get_mut(node).and_then(|times| times.steps.get_mut(step)) {
            *interval = Interval { start_ns, end_ns, ..*interval };
        }
    }

    /// Calls whose length is unknown share what is left of their run.
    fn assign_call(&mut self, node: usize, call: usize, sharing: usize) {
        let Some(span) = self.nodes.get(node).and_then(|parts| parts.calls.get(call)).copied() else {
            return;
        };
        let start_ns = self.choose_lowest(span.start);
        let (lowest, highest) = self.bounds.of(span.end);
        let shares = i64::try_from(sharing.max(1)).unwrap_or(1);
        let wanted = if has_latest(highest) { lowest + (highest - lowest) / shares } else { lowest };
        let end_ns = self.bounds.choose(span.end, wanted);
        if let Some(interval) = self.times.get_mut(node).and_then(|times| times.calls.get_mut(call)) {
            *interval = Interval { start_ns, end_ns, ..*interval };
        }
    }

    fn assign_tool(&mut self, node: usize, tool: usize) {
        let Some(parts) = self.nodes.get(node) else { return };
        let Some((span, call)) = parts.tools.get(tool).copied().zip(parts.run.tools.get(tool)) else {
            return;
        };
        // One that waited for a human ran when the run went on, and how long is not recorded.
        let waited = call.asked_human && call.executed && call.end_ns.is_none() && call.duration_ns.is_none();
        let later = parts.chain.iter().skip_while(|&&at| Some(at) != call.asked_by).skip(1);
        let leaves_room = later.into_iter().any(|&at| parts.run.calls.get(at).is_some_and(has_no_duration));
        let (earliest, latest) = self.bounds.of(span.start);
        let start_ns = match (waited && has_latest(latest), leaves_room) {
            (true, true) => self.bounds.choose(span.start, earliest + (latest - earliest) / 2),
            (true, false) => self.bounds.choose(span.start, latest),
            (false, _) => self.choose_lowest(span.start),
        };
        self.assign_children(node, |children| children.tools.get(&tool));
        let end_ns = self.choose_lowest(span.end);
        if let Some(interval) = self.times.get_mut(node).and_then(|times| times.tools.get_mut(tool)) {
            *interval = Interval { start_ns, end_ns, ..*interval };
        }
    }

    fn choose_lowest(&mut self, point: Point) -> i64 {
        let (lowest, _) = self.bounds.of(point);
        self.bounds.choose(point, lowest)
    }

    fn choose_middle(&mut self, point: Point) -> i64 {
        let (lowest, highest) = self.bounds.of(point);
        let middle = match (has_earliest(lowest), has_latest(highest)) {
            (true, true) => lowest + (highest - lowest) / 2,
            (false, true) => highest,
            (true, false) => lowest,
            (false, false) => 0,
        };
        self.bounds.choose(point, middle)
    }
}

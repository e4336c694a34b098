//! Points in time of which only bounds and differences are known.
//!
//! A *simple temporal network*: each point has a lowest and a highest value, pairs of points have a lowest and
//! a highest difference. Every bound is kept as tight as all others make it (shortest paths, by Bellman and
//! Ford), so any value within a point's bounds belongs to a solution. A fact that contradicts what is already
//! known is refused and leaves no trace; callers state facts in the order of their trust.

use std::collections::{BTreeSet, VecDeque};

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point(usize);

/// No bound: a year no record can have. The sum or difference of two does not overflow.
pub(super) const UNBOUNDED: i64 = i64::MAX / 2;
/// Everything lies between these, 1970 and 2103. Without any bound two facts that contradict each other would not
/// be noticed, and nothing said later could hold.
pub(super) const EVER: (i64, i64) = (0, 4_200_000_000_000_000_000);
/// What is said of a time lies between these, 2001 and 2099; a bound beyond is none of a record's.
const SAID: (i64, i64) = (1_000_000_000_000_000_000 - 3_600_000_000_000, 4_100_000_000_000_000_000);

/// True when a lowest value comes from something a record says.
pub(super) fn has_earliest(lowest: i64) -> bool {
    lowest >= SAID.0
}

/// True when a highest value comes from something a record says.
pub(super) fn has_latest(highest: i64) -> bool {
    highest <= SAID.1
}

/// A bound moved by a difference. Where either is none, so is the result: marks of "no bound" never move, or
/// they would move everything after them.
fn moved(bound: i64, by: i64) -> i64 {
    let is_none = |value: i64| value.abs() >= UNBOUNDED;
    match (is_none(bound), is_none(by)) {
        (true, _) => bound,
        (false, true) => by,
        (false, false) => (bound + by).clamp(-UNBOUNDED, UNBOUNDED),
    }
}

/// Bounds that still move after this many rounds over all facts contradict each other.
const MAX_ROUNDS: u64 = 40;
/// Rounds after which it is worth to look at points in an order of their own: nearly everything is settled by then.
const SHORT_ROUNDS: u64 = 4;

/// Something known of points.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fact {
    /// `least <= to - from <= most`.
    Differ { from: Point, to: Point, least: i64, most: i64 },
    /// `lowest <= point <= highest`.
    Within { point: Point, lowest: i64, highest: i64 },
}

impl Fact {
    /// `first <= then`.
    pub(super) fn order(first: Point, then: Point) -> Self {
        Self::Differ { from: first, to: then, least: 0, most: UNBOUNDED }
    }

    /// The one comes as long after the other as this.
    pub(super) fn apart(from: Point, to: Point, exactly: i64) -> Self {
        Self::Differ { from, to, least: exactly, most: exactly }
    }
}

#[derive(Debug, Clone, Copy)]
struct Difference {
    from: usize,
    to: usize,
    least: i64,
    most: i64,
}

/// Points with what is known of them, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct TimeBounds {
    bounds: Vec<(i64, i64)>,
    differences: Vec<Difference>,
    of_point: Vec<Vec<usize>>,
    undo: Vec<(usize, (i64, i64))>,
    waiting: VecDeque<usize>,
    waits: Vec<bool>,
    /// Differences looked at so far: what all of this costs.
    pub(super) work: u64,
}

impl TimeBounds {
    /// A new point of which nothing is known.
    pub(super) fn point(&mut self) -> Point {
        self.bounds.push((-UNBOUNDED, UNBOUNDED));
        self.of_point.push(Vec::new());
        self.waits.push(false);
        Point(self.bounds.len() - 1)
    }

    /// The lowest and the highest value a point can have.
    pub(super) fn of(&self, point: Point) -> (i64, i64) {
        self.bounds.get(point.0).copied().unwrap_or((-UNBOUNDED, UNBOUNDED))
    }

    /// States `lowest <= point <= highest`. False: it contradicts what is known, and is forgotten.
    pub(super) fn within(&mut self, point: Point, lowest: i64, highest: i64) -> bool {
        self.holds(&[Fact::Within { point, lowest, highest }])
    }

    /// States facts one after the other; those that contradict what is known by then are forgotten.
    ///
    /// The result is that of stating each alone, at the cost of one: only where the whole contradicts something
    /// are its halves tried.
    pub(super) fn state(&mut self, facts: &[Fact]) {
        if self.holds(facts) || facts.len() < 2 {
            return;
        }
        let (first, then) = facts.split_at(facts.len() / 2);
        self.state(first);
        self.state(then);
    }

    /// Chooses a value within the point's bounds, as near to `wanted` as they allow.
    pub(super) fn choose(&mut self, point: Point, wanted: i64) -> i64 {
        let (lowest, highest) = self.of(point);
        let value = wanted.clamp(lowest, highest.max(lowest));
        self.within(point, value, value);
        value
    }

    /// Narrows a point. `None`: nothing would be left. `Some(true)`: its bounds moved.
    fn narrow(&mut self, point: usize, lowest: i64, highest: i64) -> Option<bool> {
        let bounds = self.bounds.get_mut(point)?;
        let narrowed = (bounds.0.max(lowest), bounds.1.min(highest));
        if narrowed.0 > narrowed.1 {
            return None;
        }
        let moved = narrowed != *bounds;
        if moved {
            self.undo.push((point, *bounds));
            *bounds = narrowed;
        }
        Some(moved)
    }

    /// Takes in all of these facts, or, where they contradict something, none.
    fn holds(&mut self, facts: &[Fact]) -> bool {
        self.undo.clear();
        let known = self.differences.len();
        let mut touched = Vec::with_capacity(2 * facts.len());
        let mut holds = true;
        for fact in facts {
            match *fact {
                Fact::Differ { from, to, least, most } => {
                    self.link(Difference { from: from.0, to: to.0, least, most });
                    touched.extend([from.0, to.0]);
                }
                Fact::Within { point, lowest, highest } => {
                    holds &= self.narrow(point.0, lowest, highest).is_some();
                    touched.push(point.0);
                }
            }
        }
        holds = holds && self.spread(touched.into_iter());
        if !holds {
            while self.next_waiting().is_some() {}
            self.roll_back();
            self.unlink(known);
        }
        holds
    }

    fn link(&mut self, difference: Difference) {
        let place = self.differences.len();
        for point in [difference.from, difference.to] {
            if let Some(list) = self.of_point.get_mut(point) {
                list.push(place);
            }
        }
        self.differences.push(difference);
    }

    /// Forgets the differences after the first `known`.
    fn unlink(&mut self, known: usize) {
        for Difference { from, to, .. } in self.differences.drain(known..).rev() {
            for point in [to, from] {
                self.of_point.get_mut(point).and_then(Vec::pop);
            }
        }
    }

    /// Tightens the bounds of everything that depends on these points. False: nothing is left of some bound.
    fn spread(&mut self, touched: impl Iterator<Item = usize>) -> bool {
        touched.for_each(|point| self.wait(point));
        let (began, round) = (self.work, self.differences.len() as u64 + 1);
        while let Some(point) = self.next_waiting() {
            if !self.tighten(point) {
                return false;
            }
            if self.work > began + SHORT_ROUNDS * round {
                return self.sweep(began + MAX_ROUNDS * round);
            }
        }
        true
    }

    /// Goes on as [`spread`](Self::spread) does, up and down the points in turn. Things that follow each other have
    /// points that do, so what is known of one end of a long chain reaches the other in one sweep, and not by one link
    /// in each round. False also when the work reaches its limit.
    fn sweep(&mut self, limit: u64) -> bool {
        let mut waiting = BTreeSet::new();
        let (mut at, mut is_upward) = (0, true);
        loop {
            while let Some(point) = self.next_waiting() {
                waiting.insert(point);
            }
            let ahead = if is_upward { waiting.range(at..).next() } else { waiting.range(..=at).next_back() };
            let Some(&point) = ahead else {
                let Some(last) = waiting.last() else { return true };
                (at, is_upward) = if is_upward { (*last, false) } else { (0, true) };
                continue;
            };
            waiting.remove(&point);
            at = point;
            if !self.tighten(point) || self.work > limit {
                return false;
            }
        }
    }

    /// Tightens what is tied to a point. False: nothing is left of some bound.
    fn tighten(&mut self, point: usize) -> bool {
        for index in 0..self.of_point.get(point).map_or(0, Vec::len) {
            let Some(difference) = self
                .of_point
                .get(point)
                .and_then(|list| list.get(index))
                .and_then(|&at| self.differences.get(at))
            else {
                continue;
            };
            self.work += 1;
            let Difference { from, to, least, most } = *difference;
            let ((low_from, high_from), (low_to, high_to)) = (self.of(Point(from)), self.of(Point(to)));
            let to_bounds = (moved(low_from, least), moved(high_from, most));
            let from_bounds = (moved(low_to, -most), moved(high_to, -least));
            for (other, (lowest, highest)) in [(to, to_bounds), (from, from_bounds)] {
                match self.narrow(other, lowest, highest) {
                    Some(true) => self.wait(other),
                    Some(false) => {}
                    None => return false,
                }
            }
        }
        true
    }

    /// Has a point looked at: once, however often it moves until then.
    fn wait(&mut self, point: usize) {
        if let Some(waits) = self.waits.get_mut(point).filter(|waits| !**waits) {
            *waits = true;
            self.waiting.push_back(point);
        }
    }

    fn next_waiting(&mut self) -> Option<usize> {
        let point = self.waiting.pop_front()?;
        if let Some(waits) = self.waits.get_mut(point) {
            *waits = false;
        }
        Some(point)
    }

    fn roll_back(&mut self) {
        while let Some((point, bounds)) = self.undo.pop() {
            if let Some(place) = self.bounds.get_mut(point) {
                *place = bounds;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl TimeBounds {
        fn differ(&mut self, from: Point, to: Point, least: i64, most: i64) -> bool {
            self.holds(&[Fact::Differ { from, to, least, most }])
        }
    }

    #[test]
    fn a_difference_carries_bounds_both_ways() {
        let mut times = TimeBounds::default();
        let (start, end) = (times.point(), times.point());
        assert!(times.differ(start, end, 10, 10));
        assert!(times.within(end, 100, 120));
        assert_eq!(times.of(start), (90, 110));
        assert_eq!(times.choose(start, 95), 95);
        assert_eq!(times.of(end), (105, 105));
    }

    #[test]
    fn a_contradiction_is_refused_and_leaves_no_trace() {
        let mut times = TimeBounds::default();
        let (a, b) = (times.point(), times.point());
        assert!(times.holds(&[Fact::order(a, b)]) && times.within(a, 50, 60) && times.within(b, 55, 70));
        assert!(!times.differ(a, b, 30, 30));
        assert!(!times.within(b, 0, 10));
        assert_eq!((times.of(a), times.of(b)), ((50, 60), (55, 70)));
        assert!(times.differ(a, b, 5, 5));
    }

    #[test]
    fn a_loop_that_cannot_hold_ends() {
        let mut times = TimeBounds::default();
        let (a, b) = (times.point(), times.point());
        assert!(times.differ(a, b, 2, UNBOUNDED));
        assert!(times.within(a, 0, 1_000_000_000_000));
        assert!(!times.differ(b, a, -1, UNBOUNDED));
    }

    proptest::proptest! {
        #[test]
        fn facts_stated_together_are_as_stated_one_by_one(
            facts in proptest::collection::vec((0usize..6, 0usize..6, -50i64..50, 0i64..40), 0..24),
        ) {
            let (mut together, mut alone) = (TimeBounds::default(), TimeBounds::default());
            let points: Vec<Point> = (0..6).map(|_| (together.point(), alone.point()).0).collect();
            let bounded = points.iter().map(|&point| Fact::Within { point, lowest: -200, highest: 200 });
            let facts: Vec<Fact> = bounded.chain(facts.into_iter().map(|(from, to, least, span)| {
                let (from, to) = (points[from], points[to]);
                Fact::Differ { from, to, least, most: least + span }
            })).collect();
            together.state(&facts);
            for fact in facts {
                alone.holds(&[fact]);
            }
            proptest::prop_assert_eq!(together.bounds, alone.bounds);
        }

        #[test]
        fn choosing_any_allowed_value_keeps_every_accepted_fact(
            facts in proptest::collection::vec((0usize..6, 0usize..6, -50i64..50, 0i64..40), 0..20),
            picks in proptest::collection::vec(-200i64..200, 6),
        ) {
            let mut times = TimeBounds::default();
            let points: Vec<Point> = (0..6).map(|_| times.point()).collect();
            for &point in &points {
                times.within(point, -200, 200);
            }
            let kept: Vec<_> = facts.into_iter()
                .filter(|&(from, to, least, span)| times.differ(points[from], points[to], least, least + span))
                .collect();
            let values: Vec<i64> = points.iter().zip(picks).map(|(&point, pick)| times.choose(point, pick)).collect();
            for (from, to, least, span) in kept {
                let difference = values[to] - values[from];
                proptest::prop_assert!((least..=least + span).contains(&difference));
            }
        }
    }
}

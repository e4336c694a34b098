//! Points in time of which only bounds and differences are known.
//!
//! A *simple temporal network*: each point has a lowest and a highest value, pairs of points have a lowest and
//! a highest difference. Every bound is kept as tight as all others make it (shortest paths, by Bellman and
//! Ford), so any value within a point's bounds belongs to a solution. A fact that contradicts what is already
//! known is refused and leaves no trace; callers state facts in the order of their trust.

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point(usize);

/// No bound: a year no record can have. The sum or difference of two does not overflow.
pub(super) const UNBOUNDED: i64 = i64::MAX / 2;
/// Everything lies between these, 1970 and 2103. Without any bound two facts that contradict each other would not
/// be noticed, and nothing said later could hold.
const EVER: (i64, i64) = (0, 4_200_000_000_000_000_000);
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

/// Bounds that still move after this many rounds over all facts contradict each other.
const MAX_ROUNDS: u64 = 40;
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
    /// The difference stated before it of the same point, for either end: each point's are a list through these.
    before: [usize; 2],
}

/// No difference: the end of a point's list.
const NONE: usize = usize::MAX;

/// Points with what is known of them, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct TimeBounds {
    bounds: Vec<(i64, i64)>,
    differences: Vec<Difference>,
    /// The last difference stated of each point.
    latest: Vec<usize>,
    undo: Vec<(usize, (i64, i64))>,
    waiting: Waiting,
    /// Differences looked at so far: what all of this costs.
    pub(super) work: u64,
}

impl TimeBounds {
    /// With room for so many points.
    pub(super) fn with_room(points: usize) -> Self {
        Self {
            bounds: Vec::with_capacity(points),
            latest: Vec::with_capacity(points),
            differences: Vec::with_capacity(2 * points),
            undo: Vec::with_capacity(2 * points),
            ..Self::default()
        }
    }

    /// A new point of which nothing is known. Points of what happens later are best made later.
    pub(super) fn point(&mut self) -> Point {
        self.bounds.push(EVER);
        self.latest.push(NONE);
        self.waiting.make_room(self.bounds.len());
        Point(self.bounds.len() - 1)
    }

    /// The lowest and the highest value a point can have.
    pub(super) fn of(&self, point: Point) -> (i64, i64) {
        self.bounds.get(point.0).copied().unwrap_or(EVER)
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

    /// Narrows a point, and has it looked at if its bounds moved. False: nothing would be left of them.
    fn narrow(&mut self, point: usize, lowest: i64, highest: i64) -> bool {
        let Some(bounds) = self.bounds.get_mut(point) else { return false };
        let narrowed = (bounds.0.max(lowest), bounds.1.min(highest));
        if narrowed.0 > narrowed.1 {
            return false;
        }
        if narrowed != *bounds {
            self.undo.push((point, *bounds));
            *bounds = narrowed;
            self.waiting.insert(point);
        }
        true
    }

    /// Takes in all of these facts, or, where they contradict something, none.
    fn holds(&mut self, facts: &[Fact]) -> bool {
        self.undo.clear();
        let known = self.differences.len();
        self.differences.reserve(facts.len());
        let holds = facts.iter().all(|fact| self.take_in(*fact)) && self.spread();
        if !holds {
            self.waiting.clear();
            self.roll_back();
            self.unlink(known);
        }
        holds
    }

    /// Takes in one fact, as far as the points it names. False: it contradicts what is known of them.
    fn take_in(&mut self, fact: Fact) -> bool {
        match fact {
            Fact::Differ { from, to, least, most } => {
                let difference =
                    self.link(Difference { from: from.0, to: to.0, least, most, before: [NONE; 2] });
                self.carry(difference, from.0) && self.carry(difference, to.0)
            }
            Fact::Within { point, lowest, highest } => self.narrow(point.0, lowest, highest),
        }
    }

    fn link(&mut self, mut difference: Difference) -> Difference {
        let place = self.differences.len();
        for (point, before) in [difference.from, difference.to].into_iter().zip(&mut difference.before) {
            if let Some(latest) = self.latest.get_mut(point) {
                *before = std::mem::replace(latest, place);
            }
        }
        self.differences.push(difference);
        difference
    }

    /// Forgets the differences after the first `known`.
    fn unlink(&mut self, known: usize) {
        for Difference { from, to, before, .. } in self.differences.drain(known..).rev() {
            for (point, before) in [from, to].into_iter().zip(before).rev() {
                if let Some(latest) = self.latest.get_mut(point) {
                    *latest = before;
                }
            }
        }
    }

    /// Tightens the bounds of everything that depends on points whose bounds moved, up and down the points in turn:
    /// things that follow each other have points that do, so what is known of one end of a long chain reaches the other
    /// in one sweep, and not by one link in each round. False: nothing is left of some bound, or the work has no end.
    fn spread(&mut self) -> bool {
        let limit = self.work + MAX_ROUNDS * (self.differences.len() as u64 + 1);
        while !self.waiting.is_empty() {
            let mut at = 0;
            while let Some(point) = self.waiting.take_from(at) {
                if !self.tighten(point) || self.work > limit {
                    return false;
                }
                at = point;
            }
            while let Some(point) = self.waiting.take_to(at) {
                if !self.tighten(point) || self.work > limit {
                    return false;
                }
                at = point;
            }
        }
        true
    }

    /// Tightens what is tied to a point. False: nothing is left of some bound.
    fn tighten(&mut self, point: usize) -> bool {
        let mut at = self.latest.get(point).copied().unwrap_or(NONE);
        while let Some(&difference) = self.differences.get(at) {
            self.work += 1;
            if !self.carry(difference, point) {
                return false;
            }
            let [of_from, of_to] = difference.before;
            at = if difference.from == point { of_from } else { of_to };
        }
        true
    }

    /// Narrows one end of a difference by what is known of the other. False: nothing would be left of its bounds.
    fn carry(&mut self, difference: Difference, point: usize) -> bool {
        let Difference { from, to, least, most, .. } = difference;
        let (lowest, highest) = self.of(Point(point));
        if point == from {
            self.narrow(to, lowest.saturating_add(least), highest.saturating_add(most))
        } else {
            self.narrow(from, lowest.saturating_sub(most), highest.saturating_sub(least))
        }
    }

    fn roll_back(&mut self) {
        while let Some((point, bounds)) = self.undo.pop() {
            if let Some(place) = self.bounds.get_mut(point) {
                *place = bounds;
            }
        }
    }
}

/// Points to be looked at, each once, however often it moves until then: a bit for each.
#[derive(Debug, Default)]
struct Waiting {
    words: Vec<u64>,
    count: usize,
}

impl Waiting {
    fn make_room(&mut self, points: usize) {
        self.words.resize(points.div_ceil(64), 0);
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn insert(&mut self, point: usize) {
        if let Some(word) = self.words.get_mut(point / 64) {
            let bit = 1 << (point % 64);
            self.count += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    fn clear(&mut self) {
        if !self.is_empty() {
            self.words.fill(0);
            self.count = 0;
        }
    }

    /// Takes out the first from this point on.
    fn take_from(&mut self, point: usize) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let mut place = point / 64;
        let mut word = self.words.get(place)? & (u64::MAX << (point % 64));
        while word == 0 {
            place += 1;
            word = *self.words.get(place)?;
        }
        self.take(64 * place + word.trailing_zeros() as usize)
    }

    /// Takes out the last up to this point.
    fn take_to(&mut self, point: usize) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let mut place = point / 64;
        let mut word = self.words.get(place)? & (u64::MAX >> (63 - point % 64));
        while word == 0 {
            place = place.checked_sub(1)?;
            word = *self.words.get(place)?;
        }
        self.take(64 * place + 63 - word.leading_zeros() as usize)
    }

    fn take(&mut self, point: usize) -> Option<usize> {
        *self.words.get_mut(point / 64)? &= !(1 << (point % 64));
        self.count -= 1;
        Some(point)
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

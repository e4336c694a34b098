//! Which runs two writers lost: the sums of some of them, found by trying.

use super::figures::Figures;

/// Steps of the search after which it is given up: some milliseconds.
const MAX_STEPS: usize = 200_000;
/// More runs than this at the same time are not searched: each is a step deeper.
const MAX_CANDIDATES: usize = 256;

/// Some of these, but not all, that add up to just `missing`; by their places.
///
/// Every field must agree, so that a sum found by chance is next to impossible.
pub(super) fn lost(runs: &[Figures], missing: Figures) -> Option<Vec<usize>> {
    if !missing.is_count() || missing.is_zero() {
        return None;
    }
    let mut order: Vec<(Figures, usize)> =
        runs.iter().copied().zip(0..).filter(|(run, _)| run.is_some_part_of(&missing)).collect();
    if order.len() > MAX_CANDIDATES {
        return None;
    }
    // Of equal ones the earlier: the last writer's figures stay.
    order.sort_by(|(a, a_at), (b, b_at)| b.cmp(a).then(a_at.cmp(b_at)));
    // What all runs from a place on add up to.
    let mut rest = vec![Figures::default()];
    for (run, _) in order.iter().rev() {
        let sum = rest.last().copied().unwrap_or_default() + *run;
        rest.push(sum);
    }
    rest.reverse();
    let mut search = Search { order, rest, taken: Vec::new(), steps: 0 };
    let found = search.try_from(0, missing);
    found.then_some(search.taken).filter(|taken| taken.len() < runs.len())
}

struct Search {
    order: Vec<(Figures, usize)>,
    rest: Vec<Figures>,
    taken: Vec<usize>,
    steps: usize,
}

impl Search {
    /// As deep as there are candidates: `MAX_CANDIDATES`.
    fn try_from(&mut self, place: usize, missing: Figures) -> bool {
        if missing.is_zero() {
            return true;
        }
        self.steps += 1;
        let can_be = self.rest.get(place).is_some_and(|rest| missing.fits(rest));
        let Some((run, at)) = self.order.get(place).copied().filter(|_| can_be) else { return false };
        if self.steps > MAX_STEPS {
            return false;
        }
        if run.fits(&missing) {
            self.taken.push(at);
            if self.try_from(place + 1, missing - run) {
                return true;
            }
            self.taken.pop();
        }
        // Leaving out one of several that are equal is leaving out all of them.
        let same = self.order.iter().skip(place).take_while(|(other, _)| *other == run).count();
        self.try_from(place + same, missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stated;

    fn run(input: u64, output: u64) -> Figures {
        let integers = vec![("input_tokens", input), ("output_tokens", output)];
        Figures::of(&Stated { integers, ..Stated::default() })
    }

    #[test]
    fn runs_that_add_up_to_what_is_missing_are_found() {
        let runs = [run(5, 1), run(7, 2), run(7, 2), run(11, 3)];
        let found = lost(&runs, run(18, 5)).unwrap();
        assert_eq!(found.iter().map(|at| runs[*at]).sum::<Figures>(), run(18, 5));
        assert_eq!(lost(&runs, run(14, 4)), Some(vec![1, 2]));
        // All of them cannot be lost: the last writer stays.
        assert_eq!(lost(&runs, run(30, 8)), None);
        // One field alone does not tell.
        assert_eq!(lost(&runs, run(18, 4)), None);
        assert_eq!(lost(&runs, run(0, 0)), None);
        assert_eq!(lost(&runs, -run(5, 1)), None);
    }

    #[test]
    fn the_search_ends() {
        let runs: Vec<Figures> = (0..60).map(|at| run(1000 + at, 1)).collect();
        assert_eq!(lost(&runs, run(30_000, 29)), None);
    }
}

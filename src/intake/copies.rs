//! Copies of one run: a row and a file, a table of 2.x and one of 3.x, a member within its team and by itself.

use std::cmp::Ordering;

use crate::framework::agno::DecodedRun;

/// The copies of one run: the best of them, and what of its place any of them says.
#[derive(Debug, Clone)]
pub(super) struct Copies {
    pub(super) best: DecodedRun,
    rank: Rank,
    parent_run_id: Known<String>,
    session_id: Known<String>,
    user_id: Known<String>,
    stored_at_s: Known<i64>,
    index: Known<i64>,
    answer_hash: Known<u64>,
}

/// What makes one copy better than another: the more final, then the one with more messages, then the one stored
/// later.
pub type Rank = (u8, usize, Option<i64>, bool);

/// How good a copy of its run this is.
pub fn rank(DecodedRun { run, .. }: &DecodedRun) -> Rank {
    let parts = run.calls.len() + run.tools.len() + run.messages.len();
    (run.status.finality(), parts, run.stored_at_s, run.index.is_some())
}

/// A value, and the rank of the best copy that has one.
type Known<T> = Option<(Rank, T)>;

impl Copies {
    pub(super) fn of(copy: DecodedRun) -> Self {
        let (run, rank) = (&copy.run, rank(&copy));
        Self {
            rank,
            parent_run_id: run.parent_run_id.clone().map(|id| (rank, id)),
            session_id: run.session_id.clone().map(|id| (rank, id)),
            user_id: run.user_id.clone().map(|id| (rank, id)),
            stored_at_s: run.stored_at_s.map(|at| (rank, at)),
            index: run.index.map(|index| (rank, index)),
            answer_hash: run.answer_hash.map(|hash| (rank, hash)),
            best: copy,
        }
    }

    /// Adds a copy. The result does not depend on the order: everything is the greatest of what was added.
    pub(super) fn add(&mut self, copy: DecodedRun) {
        let other = Self::of(copy);
        let is_better = match other.rank.cmp(&self.rank) {
            Ordering::Greater => true,
            // Copies that differ in nothing that ranks: any rule will do that does not depend on their order.
            Ordering::Equal => tie(&other.best, &self.best).is_gt(),
            Ordering::Less => false,
        };
        if is_better {
            (self.best, self.rank) = (other.best, other.rank);
        }
        keep_greatest(&mut self.parent_run_id, other.parent_run_id);
        keep_greatest(&mut self.session_id, other.session_id);
        keep_greatest(&mut self.user_id, other.user_id);
        keep_greatest(&mut self.stored_at_s, other.stored_at_s);
        keep_greatest(&mut self.index, other.index);
        keep_greatest(&mut self.answer_hash, other.answer_hash);
    }

    /// The best copy; what it does not say of its place is taken from the others.
    pub(super) fn merged(self) -> DecodedRun {
        fn value<T>(known: Known<T>) -> Option<T> {
            known.map(|(_, value)| value)
        }
        let mut best = self.best;
        best.run.parent_run_id = value(self.parent_run_id);
        best.run.session_id = value(self.session_id);
        best.run.user_id = value(self.user_id);
        best.run.stored_at_s = value(self.stored_at_s);
        best.run.index = value(self.index);
        best.run.answer_hash = value(self.answer_hash);
        best
    }
}

fn keep_greatest<T: Ord>(known: &mut T, other: T) {
    if other > *known {
        *known = other;
    }
}

/// Content comes last and is silent in `Debug`, so that keeping it changes no choice but that between copies
/// which differ in nothing else.
fn tie(a: &DecodedRun, b: &DecodedRun) -> Ordering {
    format!("{a:?}").cmp(&format!("{b:?}")).then_with(|| a.run.content.cmp(&b.run.content))
}

//! Runs that are handed over instead of being looked for.

use super::{Following, Look};
use crate::framework::agno::{self, Columns, DecodedRun, Taken};
use crate::framework::{Keep, Oddities, Oddity};
use crate::intake;
use crate::source::{Record, Spot};
use crate::stable_hash::stable_hash_of;
use crate::state::posted::{KeptRun, POSTED};
use crate::state::records::History;
use crate::state::{self, State};

/// A record that was handed over, taken apart into its runs.
#[derive(Debug, Default)]
pub struct Post {
    runs: Vec<PostedRun>,
    /// Why some or all of it is no run.
    pub left_out: Vec<(Oddity, u64)>,
    oddities: Oddities,
}

#[derive(Debug)]
struct PostedRun {
    at: u64,
    kept: KeptRun,
    decoded: Vec<DecodedRun>,
}

/// What became of the runs of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taking {
    /// Runs that are new, or say more than was known of them.
    pub accepted: u64,
    /// Runs that were there already, as they are or further on.
    pub duplicates: u64,
}

impl Post {
    /// Takes a record apart. What of it is not to be kept is gone then.
    pub fn of(json: &[u8], keep: Keep) -> Self {
        let taken = agno::take_apart(json, keep);
        let left_out: Vec<(Oddity, u64)> = taken.left_out().collect();
        let Taken { runs, mut oddities, .. } = taken;
        let mut posted = Vec::new();
        for json in runs {
            let decoded = agno::decode(&json, &Columns::default(), Keep::Figures);
            oddities.merge(&decoded.oddities);
            if let Some(first) = decoded.runs.first() {
                let at = first.run.key.stable_hash();
                posted.push(PostedRun { at, kept: KeptRun { json, keep }, decoded: decoded.runs });
            }
        }
        Self { runs: posted, left_out, oddities }
    }

    /// How many runs there are in it that stand in no other.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// True if there is no run in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

impl Following {
    /// Keeps runs that were handed over and notes that their families are due, all of them in one commit. Returns what
    /// became of each record; none while the outbox is full.
    pub fn take(&self, posts: Vec<Post>) -> Result<Option<Vec<Taking>>, state::Error> {
        if self.is_full() {
            return Ok(None);
        }
        let part = self.state.borrow_mut().part(POSTED, "")?;
        let mut look = Look::default();
        // What was posted before an older copy of the state file was put back is not counted again.
        let past = self.state.borrow().past(POSTED, History::Count.into())?;
        let takings = self.state.borrow_mut().commit(|state| {
            let mut takings = Vec::new();
            for post in posts {
                let mut taking = Taking::default();
                look.oddities.merge(&post.oddities);
                for run in post.runs {
                    look.records += 1;
                    if is_known(state, &run)? {
                        taking.duplicates += 1;
                        continue;
                    }
                    state.keep_posted(run.at, &run.kept)?;
                    let spot = Spot::new(run.at, length(&run.kept), 0);
                    let hash = stable_hash_of(&run.kept.json).cast_signed();
                    state.see(part, spot, (&run.decoded, hash), past)?;
                    taking.accepted += 1;
                }
                takings.push(taking);
            }
            Ok(takings)
        })?;
        self.note(&look);
        Ok(Some(takings))
    }
}

fn length(run: &KeptRun) -> u32 {
    u32::try_from(run.json.len()).unwrap_or(u32::MAX)
}

/// True where a run is there already, or one that is further on.
fn is_known(state: &State, run: &PostedRun) -> Result<bool, state::Error> {
    let Some(before) = state.posted(run.at)? else { return Ok(false) };
    if before == run.kept {
        return Ok(true);
    }
    let before = agno::decode(&before.json, &Columns::default(), Keep::Figures);
    let rank = |runs: &[DecodedRun]| runs.first().map(intake::rank);
    Ok(rank(&before.runs) > rank(&run.decoded))
}

/// What was handed over, to be put together with the rest of its family.
pub(super) fn record(state: &State, at: u64, keep: Keep) -> Result<Option<(Record, Keep)>, state::Error> {
    let Some(kept) = state.posted(at)? else { return Ok(None) };
    // What was kept without content has none to be sent.
    let keep = if kept.keep == Keep::Figures { Keep::Figures } else { keep };
    Ok(Some((Record { json: kept.json, columns: Columns::default() }, keep)))
}

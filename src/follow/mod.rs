//! Following: sources are looked at again and again, and what is new in them is counted and put into the outbox.
//!
//! A look notes the records that are new or have changed, and with them which families are due. Then each family that is
//! due is read as a whole and counted. Both are commits of their own, so a kill in between costs nothing.

mod follower;
mod posted;
mod texts;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

pub use follower::{Error, Follower, Look};
pub use posted::{Post, Taking};

use crate::clock::Clock;
use crate::error::Chain;
use crate::framework::agno;
use crate::framework::{Keep, Oddities};
use crate::intake::{self, Gathered, Intake, Unpriced};
use crate::model::budget::Budget;
use crate::model::{Cost, RunKind, Tokens};
use crate::money::Prices;
use crate::otel::{Resource, Settings, names};
use crate::release::Books;
use crate::source::{Record, Spot};
use crate::stable_hash::stable_hash_of;
use crate::state::counted::{Counted, Patience};
use crate::state::past::Past;
use crate::state::records::{FamilyId, PartId, Seen};
use crate::state::{self, State};
use follower::{is_same, known};

/// Families counted before the outbox and the sources are looked at again.
const FAMILIES: u32 = 256;
/// Runs counted in one commit, if families are no larger: each commit waits for the disk.
const BATCH_RUNS: usize = 256;
/// How long a family waits whose records could not be read.
const PUT_OFF_NS: u64 = 1_000_000_000;

/// What was counted of families.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Families that were counted.
    pub families: u64,
    /// Families that could not be read as they were seen; they are due again soon.
    pub put_off: u64,
    /// Runs of what was counted, of agents, teams and workflows; those known before are among them.
    pub runs: [usize; 3],
    /// Everything these runs spent.
    pub tokens: Tokens,
    /// What that cost, as far as prices are known.
    pub cost: Option<Cost>,
    /// Tokens without a known price.
    pub unpriced: Unpriced,
    /// Their sessions.
    pub sessions: usize,
    /// Traces put into the outbox.
    pub traces: u64,
    /// Spans put into the outbox.
    pub spans: u64,
    /// What was odd.
    pub oddities: Oddities,
}

/// Sources and the state they are counted in.
#[derive(Debug)]
pub struct Following {
    /// What was counted, and what waits.
    pub state: RefCell<State>,
    /// Who sends.
    pub resource: Resource,
    /// What is said.
    pub settings: Settings,
    /// How long things are waited for.
    pub patience: Patience,
    /// The outbox takes no more while it holds this many bytes.
    pub outbox_limit: u64,
    /// What spent tokens cost.
    pub prices: Arc<Prices>,
    /// What may be spent.
    pub budgets: Vec<Budget>,
    /// Tells the time.
    pub clock: Clock,
}

impl Tally {
    fn add(&mut self, gathered: &Gathered, counted: Counted) {
        let kinds = [RunKind::Agent, RunKind::Team, RunKind::Workflow];
        for (count, kind) in self.runs.iter_mut().zip(kinds) {
            *count += gathered.runs(kind);
        }
        let sessions: BTreeSet<&str> =
            gathered.forest.runs.iter().filter_map(|run| run.session_id.as_deref()).collect();
        self.sessions += sessions.len();
        self.tokens += gathered.tokens();
        self.cost = Cost::sum(self.cost.into_iter().chain(gathered.cost()));
        intake::add_unpriced(&mut self.unpriced, &gathered.unpriced());
        self.traces += counted.traces;
        self.spans += counted.spans;
        self.oddities.merge(&gathered.oddities);
    }

    /// Adds what was counted later.
    pub fn merge(&mut self, later: &Self) {
        self.families += later.families;
        self.put_off += later.put_off;
        for (count, more) in self.runs.iter_mut().zip(later.runs) {
            *count += more;
        }
        self.tokens += later.tokens;
        self.cost = Cost::sum(self.cost.into_iter().chain(later.cost));
        intake::add_unpriced(&mut self.unpriced, &later.unpriced);
        self.sessions += later.sessions;
        self.traces += later.traces;
        self.spans += later.spans;
        self.oddities.merge(&later.oddities);
    }
}

impl Following {
    /// What releases work on.
    pub fn books(&self) -> Books<'_> {
        let Self { state, resource, budgets, clock, .. } = self;
        Books { state, resource, budgets, clock: *clock }
    }

    /// Notes records, but for those that are open and just as they were.
    fn see(
        &self,
        part: PartId,
        records: Vec<(Spot, Record)>,
        seen: &[Seen],
        (past, tells_versions): (Past, bool),
        look: &mut Look,
    ) -> Result<(), state::Error> {
        self.state.borrow_mut().commit(|state| {
            for (spot, record) in records {
                let hash = stable_hash_of(&record.json).cast_signed();
                let before = known(seen, spot.at).filter(|seen| is_same(seen, &spot));
                if before.is_some_and(|seen| seen.open_hash == Some(hash)) {
                    look.known += 1;
                    continue;
                }
                let decoded = agno::decode_owned(record.json, &record.columns, Keep::Figures);
                look.records += 1;
                look.runs += decoded.runs.len() as u64;
                look.oddities.merge(&decoded.oddities);
                look.note_history(&state.see(part, spot, (&decoded.runs, hash), past)?);
                // No mark: a row without an id.
                if tells_versions && spot.mark() != 0 {
                    state.supersede(part, spot)?;
                }
            }
            Ok(())
        })
    }

    fn forget(&self, gone: &[(PartId, Seen)]) -> Result<(), state::Error> {
        if gone.is_empty() {
            return Ok(());
        }
        self.state
            .borrow_mut()
            .commit(|state| gone.iter().try_for_each(|(part, seen)| state.forget(*part, seen)))
    }

    /// Counts what was read, in the bridge's own series.
    fn note(&self, look: &Look) {
        let mut state = self.state.borrow_mut();
        let ledger = state.ledger();
        ledger.add(&names::BRIDGE_RECORDS, Vec::new(), look.records);
        for (oddity, count) in look.oddities.iter() {
            ledger.add(&names::BRIDGE_ODDITIES, vec![(names::ODDITY, oddity.as_str().to_owned())], count);
        }
    }

    /// Notes that all sources were looked at, and none was amiss: whoever watches the series sees one that is not read.
    pub fn note_read(&self) {
        let now_s = self.clock.now_ns() / 1_000_000_000;
        self.state.borrow_mut().ledger().set(&names::BRIDGE_READ, Vec::new(), now_s);
    }

    /// Counts families that are due, some at a time. Returns what was counted; nothing while the outbox is full.
    pub async fn count_due(&self, followers: &mut [Follower]) -> Result<Tally, state::Error> {
        let mut tally = Tally::default();
        if self.is_full() {
            return Ok(tally);
        }
        let due = self.state.borrow().due(self.clock.now_ns(), FAMILIES)?;
        let mut batch = Vec::new();
        for due in due {
            if let Some(gathered) = self.gather(due, followers, self.clock.now_ns()).await? {
                batch.push((due, gathered));
            } else {
                tally.put_off += 1;
                self.state.borrow_mut().put_off(due, self.clock.now_ns() + PUT_OFF_NS)?;
            }
            let runs: usize = batch.iter().map(|(_, gathered)| gathered.forest.runs.len()).sum();
            if runs >= BATCH_RUNS {
                self.count(&mut batch, &mut tally)?;
                if self.is_full() {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        self.count(&mut batch, &mut tally)?;
        Ok(tally)
    }

    /// True while the outbox takes no more.
    pub fn is_full(&self) -> bool {
        self.state.borrow().kept_bytes() >= self.outbox_limit
    }

    fn count(&self, batch: &mut Vec<(FamilyId, Gathered)>, tally: &mut Tally) -> Result<(), state::Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (sending, now_ns) = ((&self.resource, self.settings), self.clock.now_ns());
        let counted = self.state.borrow_mut().count(batch, sending, self.patience, now_ns)?;
        for (session, threshold) in self.state.borrow_mut().ledger().take_crossed() {
            tracing::warn!(session, threshold = threshold.text(), "a session passed a threshold");
        }
        tally.families += batch.len() as u64;
        for ((_, gathered), counted) in batch.drain(..).zip(counted) {
            tally.add(&gathered, counted);
        }
        Ok(())
    }

    /// A family's runs as they are now. None: some of it cannot be read now, or has changed since it was looked at.
    async fn gather(
        &self,
        family: FamilyId,
        followers: &mut [Follower],
        now_ns: u64,
    ) -> Result<Option<Gathered>, state::Error> {
        self.state.borrow_mut().begin_gathering(family);
        let spots = self.state.borrow().spots(family)?;
        let mut intake = Intake::keeping(intake::keep(self.settings)).priced(&self.prices);
        let posted = self.state.borrow().posted_part()?;
        for (part, spots) in spots {
            if posted == Some(part) {
                for spot in spots {
                    if let Some((record, keep)) =
                        posted::record(&self.state.borrow(), spot.at, intake::keep(self.settings))?
                    {
                        let runs = agno::decode_owned(record.json, &record.columns, keep).runs;
                        for run in runs {
                            intake.add(run);
                        }
                    }
                }
                continue;
            }
            let holds = |follower: &&mut Follower| follower.parts.contains(&part);
            let Some(follower) = followers.iter_mut().find(holds) else {
                let name = self.state.borrow().part_name(part)?;
                if followers.iter().any(|follower| follower.is_yet_to_read(&name)) {
                    return Ok(None);
                }
                // A source that is not followed any more: what it counted stays counted.
                continue;
            };
            let number = follower.parts.iter().position(|own| *own == part).unwrap_or(0);
            let spots = spots.into_iter().map(|mut spot| {
                spot.part = u32::try_from(number).unwrap_or(u32::MAX);
                spot
            });
            let spots: Vec<Spot> = spots.collect();
            let keep = intake::keep(self.settings);
            let mut accept = |record: Record| {
                let decoded = agno::decode_owned(record.json, &record.columns, keep);
                decoded.runs.into_iter().for_each(|run| intake.add(run));
            };
            let read = match &follower.source {
                Some(source) => source.as_seen(&spots, &mut accept).await,
                None => Ok(spots.first().map(|spot| spot.at)),
            };
            match read {
                Ok(None) => {}
                Ok(Some(at)) => {
                    let distrusted = self.state.borrow_mut().distrust(part, at)?;
                    follower.gone.push((part, distrusted));
                    follower.again = true;
                    return Ok(None);
                }
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "looking again");
                    follower.again = true;
                    return Ok(None);
                }
            }
        }
        Ok(Some(intake.finish(now_ns)))
    }
}

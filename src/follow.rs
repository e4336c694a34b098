//! Following: sources are looked at again and again, and what is new in them is counted and put into the outbox.
//!
//! A look notes the records that are new or have changed, and with them which families are due. Then each family that is
//! due is read as a whole and counted. Both are commits of their own, so a kill in between costs nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::clock::Clock;
use crate::error::Chain;
use crate::framework::agno::{self, DecodedRun};
use crate::framework::{Keep, Oddities};
use crate::intake::{self, Gathered, Intake};
use crate::model::{RunKind, Tokens};
use crate::otel::{Resource, Settings, names};
use crate::source::{self, Location, Record, Source, Spot, Stamp, Tables, Watch};
use crate::stable_hash::stable_hash_of;
use crate::state::counted::{Counted, Patience};
use crate::state::records::{FamilyId, History, PartId, Seen};
use crate::state::{self, State};

/// Records noted in one commit.
const LOOK_RECORDS: usize = 128;
/// Families counted before the outbox and the sources are looked at again.
const FAMILIES: u32 = 256;
/// Runs counted in one commit, if families are no larger: each commit waits for the disk.
const BATCH_RUNS: usize = 256;
/// How long a family waits whose records could not be read.
const PUT_OFF_NS: u64 = 1_000_000_000;

/// One source that is followed.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    tables: Tables,
    history: History,
    watch: Watch,
    source: Option<Source>,
    parts: Vec<PartId>,
    /// Look even if nothing has changed: the last look failed, or a record changed after it.
    again: bool,
    problem: Option<String>,
}

/// What looks found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Look {
    /// Records that were new or had changed.
    pub records: u64,
    /// Runs in them, copies included.
    pub runs: u64,
    /// Records that were as they had been.
    pub known: u64,
    /// What was odd about the new ones.
    pub oddities: Oddities,
}

impl Look {
    /// Adds what another look found.
    pub fn merge(&mut self, other: &Self) {
        self.records += other.records;
        self.runs += other.runs;
        self.known += other.known;
        self.oddities.merge(&other.oddities);
    }
}

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
    /// Tells the time.
    pub clock: Clock,
}

impl Follower {
    /// Follows a database, a folder or a file. `history` says what is wanted of what is there already at first contact.
    pub fn new(path: PathBuf, tables: Tables, history: History) -> Self {
        let (watch, source, parts) = (Watch::default(), None, Vec::new());
        Self { path, tables, history, watch, source, parts, again: true, problem: None }
    }

    /// Where it reads.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes what is new, as [`look_once`](Self::look_once) does. A source that cannot be read is said once, and tried
    /// again with the next look.
    pub async fn look(&mut self, following: &Following) -> Result<(), state::Error> {
        match self.look_once(following).await {
            Ok(_) => {
                if self.problem.take().is_some() {
                    info!(path = %self.path.display(), "can be read again");
                }
                Ok(())
            }
            Err(Error::State(error)) => Err(error),
            Err(Error::Source(error)) => {
                self.again = true;
                let problem = Chain(&error).to_string();
                if self.problem.as_ref() != Some(&problem) {
                    warn!("{problem}; trying again");
                }
                self.problem = Some(problem);
                Ok(())
            }
        }
    }

    /// Notes what is new. What was noted before an error stays noted.
    pub async fn look_once(&mut self, following: &Following) -> Result<Look, Error> {
        let look = self.try_look(following).await?;
        following.note(&look);
        Ok(look)
    }

    async fn try_look(&mut self, following: &Following) -> Result<Look, Error> {
        let mut look = Look::default();
        let whole = self.name();
        match self.watch.has_changed(&self.path) {
            Ok(changed) => {
                if !changed && !self.again {
                    return Ok(look);
                }
            }
            // What is not there yet holds nothing that was there before us.
            Err(source::Error::Read { source, path }) if source.kind() == io::ErrorKind::NotFound => {
                following.state.borrow_mut().had_contact(&whole)?;
                return Err(source::Error::Read { source, path }.into());
            }
            Err(error) => return Err(error.into()),
        }
        self.again = true;
        let is_first = following.state.borrow().is_first_contact(&whole)?;
        let history = if is_first { self.history } else { History::Count };
        let source = match Source::open(&self.path, &self.tables) {
            // An application's database, before Agno has made its tables in it.
            Err(error @ source::Error::NotAgno { .. }) => {
                following.state.borrow_mut().had_contact(&whole)?;
                return Err(error.into());
            }
            opened => opened?,
        };
        match source {
            Some(source) => self.look_at_rows(following, source, &whole, history, &mut look).await?,
            None => self.look_at_texts(following, &whole, history, &mut look).await?,
        }
        if is_first {
            following.state.borrow_mut().had_contact(&whole)?;
            if look.records > 0 && history != History::Count {
                info!(
                    path = %self.path.display(), records = look.records,
                    "what was there before is not counted; --history count does"
                );
            }
        }
        self.again = false;
        Ok(look)
    }

    /// What the source is called in the state file: the same before it is there and after.
    fn name(&self) -> String {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize();
        let beside = |folder: PathBuf| Some(folder.join(self.path.file_name()?));
        let path = self.path.canonicalize().ok().or_else(|| beside(folder.ok()?));
        path.unwrap_or_else(|| self.path.clone()).display().to_string()
    }

    /// A database: rows that are new or other ones than before, have another length, or hold a run that is not over.
    async fn look_at_rows(
        &mut self,
        following: &Following,
        source: Source,
        whole: &str,
        history: History,
        look: &mut Look,
    ) -> Result<(), Error> {
        let identity = self.watch.identity();
        let mut parts = Vec::new();
        for (number, table) in source.part_names().iter().enumerate() {
            let part = following.state.borrow_mut().part(&format!("{whole}\n{table}"), &identity)?;
            parts.push(part);
            let seen = following.state.borrow().seen(part)?;
            let mut gone: BTreeSet<u64> = seen.iter().map(|seen| seen.at).collect();
            let mut after = None;
            loop {
                let stamps = source.stamps(number, after)?;
                let Some(last) = stamps.last() else { break };
                after = Some(last.at);
                let changed: Vec<&Stamp> =
                    stamps.iter().filter(|stamp| is_to_be_read(&seen, stamp)).collect();
                for page in changed.chunks(LOOK_RECORDS) {
                    let rows = page.iter().map(|stamp| source.row(number, stamp.at));
                    let rows: Vec<(Spot, Record)> =
                        rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
                    following.see(part, rows, &seen, history, look)?;
                    tokio::task::yield_now().await;
                }
                look.known += (stamps.len() - changed.len()) as u64;
                for stamp in &stamps {
                    gone.remove(&stamp.at);
                }
                tokio::task::yield_now().await;
            }
            following.forget(part, gone.into_iter().collect())?;
        }
        if look.records > 0 {
            look.oddities.merge(&source.oddities);
        }
        (self.source, self.parts) = (Some(source), parts);
        Ok(())
    }

    /// Files: read whole, for nothing tells what is new in them.
    async fn look_at_texts(
        &mut self,
        following: &Following,
        whole: &str,
        history: History,
        look: &mut Look,
    ) -> Result<(), Error> {
        let mut found = Vec::<(Spot, Record)>::new();
        let mut accept = |spot, record| found.push((spot, record));
        let source = source::read(&Location::Path(self.path.clone()), &self.tables, &mut accept).await?;
        let mut parts = Vec::new();
        for (number, file) in (0..).zip(source.part_names()) {
            // A file is told by its values alone.
            let part = following.state.borrow_mut().part(&format!("{whole}\n{file}"), "")?;
            parts.push(part);
            let seen = following.state.borrow().seen(part)?;
            let mut of_part: Vec<(Spot, Record)> =
                found.extract_if(.., |(spot, _)| spot.part == number).collect();
            let places: BTreeSet<u64> = of_part.iter().map(|(spot, _)| spot.at).collect();
            of_part.retain(|(spot, _)| !known(&seen, spot.at).is_some_and(|seen| is_same(seen, spot)));
            look.known += (places.len() - of_part.len()) as u64;
            while !of_part.is_empty() {
                let page = of_part.drain(..of_part.len().min(LOOK_RECORDS)).collect();
                following.see(part, page, &[], history, look)?;
                tokio::task::yield_now().await;
            }
            let gone = seen.iter().map(|seen| seen.at).filter(|at| !places.contains(at)).collect();
            following.forget(part, gone)?;
        }
        if look.records > 0 {
            look.oddities.merge(&source.oddities);
        }
        (self.source, self.parts) = (Some(source), parts);
        Ok(())
    }
}

fn is_same(seen: &Seen, spot: &Spot) -> bool {
    (seen.length, seen.mark) == (spot.length(), spot.mark())
}

fn known(seen: &[Seen], at: u64) -> Option<&Seen> {
    seen.binary_search_by_key(&at, |seen| seen.at).ok().and_then(|place| seen.get(place))
}

/// True for a row that is new, another one than before, of another length, or with a run that is not over.
fn is_to_be_read(seen: &[Seen], stamp: &Stamp) -> bool {
    known(seen, stamp.at)
        .is_none_or(|seen| seen.open_hash.is_some() || (seen.length, seen.mark) != (stamp.length, stamp.mark))
}

/// Why a look did not end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source could not be read; it may be tried again.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The state could not be written: the end.
    #[error(transparent)]
    State(#[from] state::Error),
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
        self.sessions += later.sessions;
        self.traces += later.traces;
        self.spans += later.spans;
        self.oddities.merge(&later.oddities);
    }
}

impl Following {
    /// Notes records, but for those that are open and just as they were.
    fn see(
        &self,
        part: PartId,
        records: Vec<(Spot, Record)>,
        seen: &[Seen],
        history: History,
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
                state.see(part, spot, (&decoded.runs, hash), history)?;
            }
            Ok(())
        })
    }

    fn forget(&self, part: PartId, gone: Vec<u64>) -> Result<(), state::Error> {
        if gone.is_empty() {
            return Ok(());
        }
        self.state.borrow_mut().commit(|state| gone.into_iter().try_for_each(|at| state.forget(part, at)))
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

    /// Counts families that are due, some at a time. Returns what was counted; nothing while the outbox is full.
    pub async fn count_due(&self, followers: &mut [Follower]) -> Result<Tally, state::Error> {
        let mut tally = Tally::default();
        if self.is_full()? {
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
                if self.is_full()? {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        self.count(&mut batch, &mut tally)?;
        Ok(tally)
    }

    /// True while the outbox takes no more.
    pub fn is_full(&self) -> Result<bool, state::Error> {
        Ok(self.state.borrow().kept_bytes()? >= self.outbox_limit)
    }

    fn count(&self, batch: &mut Vec<(FamilyId, Gathered)>, tally: &mut Tally) -> Result<(), state::Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (sending, now_ns) = ((&self.resource, self.settings), self.clock.now_ns());
        let counted = self.state.borrow_mut().count(batch, sending, self.patience, now_ns)?;
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
        let spots = self.state.borrow().spots(family)?;
        let mut intake = Intake::keeping(intake::keep(self.settings));
        for (part, spots) in spots {
            let holds = |follower: &&mut Follower| follower.parts.contains(&part);
            let Some(follower) = followers.iter_mut().find(holds) else {
                // A source that is not followed any more: what it counted stays counted.
                continue;
            };
            let number = follower.parts.iter().position(|own| *own == part).unwrap_or(0);
            for mut spot in spots {
                spot.part = u32::try_from(number).unwrap_or(u32::MAX);
                match runs_at(follower.source.as_ref(), spot, intake::keep(self.settings)).await {
                    Ok(Some(runs)) => runs.into_iter().for_each(|run| intake.add(run)),
                    Ok(None) | Err(source::Error::Changed { .. }) => {
                        self.state.borrow_mut().distrust(part, spot.at)?;
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
        }
        Ok(Some(intake.finish(now_ns)))
    }
}

/// The runs of a record, if it is still what was seen.
async fn runs_at(
    source: Option<&Source>,
    spot: Spot,
    keep: Keep,
) -> Result<Option<Vec<DecodedRun>>, source::Error> {
    let Some(source) = source else { return Ok(None) };
    let Some(record) = source.fetch(spot).await? else { return Ok(None) };
    if record.json.len() != spot.length() as usize {
        return Ok(None);
    }
    Ok(Some(agno::decode_owned(record.json, &record.columns, keep).runs))
}

//! One source that is followed: what in it is new.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::Following;
use crate::config::when;
use crate::error::Chain;
use crate::framework::Oddities;
use crate::source::{self, Location, Record, Source, Spot, Stamp, Tables, Watch};
use crate::state;
use crate::state::past::Past;
use crate::state::records::{PartId, Seen};

/// Records noted in one commit.
const LOOK_RECORDS: usize = 128;

/// One source that is followed.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    tables: Tables,
    past: Past,
    watch: Watch,
    pub(super) source: Option<Source>,
    pub(super) parts: Vec<PartId>,
    /// Look even if nothing has changed: the last look failed, or a record changed after it.
    pub(super) again: bool,
    problem: Option<String>,
}

/// What looks found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Look {
    /// Records that were new or had changed.
    pub records: u64,
    /// Runs in them, copies included.
    pub runs: u64,
    /// Runs in them that were there before us and are not counted, copies left out.
    pub history: u64,
    /// When the newest of those began, in Unix nanoseconds.
    pub newest_ns: Option<u64>,
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
        self.history += other.history;
        self.newest_ns = self.newest_ns.max(other.newest_ns);
        self.oddities.merge(&other.oddities);
    }

    /// Notes when runs began that are not counted.
    pub(super) fn note_history(&mut self, began_ns: &[Option<u64>]) {
        self.history += began_ns.len() as u64;
        self.newest_ns = self.newest_ns.max(began_ns.iter().copied().flatten().max());
    }
}

impl Follower {
    /// Follows a database, a folder or a file. `past` says what is wanted of what is there already at first contact.
    pub fn new(path: PathBuf, tables: Tables, past: impl Into<Past>) -> Self {
        let past = past.into();
        let (watch, source, parts) = (Watch::default(), None, Vec::new());
        Self { path, tables, past, watch, source, parts, again: true, problem: None }
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
                following.state.borrow_mut().was_absent(&whole)?;
                return Err(source::Error::Read { source, path }.into());
            }
            Err(error) => return Err(error.into()),
        }
        self.again = true;
        let is_first = following.state.borrow().is_first_contact(&whole)?;
        let past = following.state.borrow().past(&whole, self.past)?;
        let source = match Source::open(&self.path, &self.tables) {
            // An application's database, before Agno has made its tables in it.
            Err(error @ source::Error::NotAgno { .. }) => {
                following.state.borrow_mut().was_absent(&whole)?;
                return Err(error.into());
            }
            opened => opened?,
        };
        match source {
            Some(source) => self.look_at_rows(following, source, &whole, past, &mut look).await?,
            None => self.look_at_texts(following, &whole, past, &mut look).await?,
        }
        if is_first {
            following.state.borrow_mut().had_contact(&whole)?;
            if look.history > 0 {
                info!(
                    path = %self.path.display(), runs = look.history,
                    newest = look.newest_ns.map_or_else(String::new, when::text),
                    "what was there before is not counted; with a new state file --history count does, and --since WHEN \
                     sends its traces"
                );
            }
        }
        self.again = false;
        Ok(look)
    }

    /// True for a part of this source while it could not be read: what is due of it stays due.
    pub(super) fn is_yet_to_read(&self, part: &str) -> bool {
        self.source.is_none() && part.split_once('\n').is_some_and(|(source, _)| source == self.name())
    }

    /// What the source is called in the state file: the same before it is there and after.
    pub fn name(&self) -> String {
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
        past: Past,
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
                    following.see(part, rows, &seen, past, look)?;
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
        past: Past,
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
                following.see(part, page, &[], past, look)?;
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

pub(super) fn is_same(seen: &Seen, spot: &Spot) -> bool {
    (seen.length, seen.mark) == (spot.length(), spot.mark())
}

pub(super) fn known(seen: &[Seen], at: u64) -> Option<&Seen> {
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

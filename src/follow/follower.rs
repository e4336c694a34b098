//! One source that is followed: what in it is new.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::Following;
use crate::config::when;
use crate::error::Chain;
use crate::framework::Oddities;
use crate::source::{self, Location, Reach, Source, Spot, Stamp, Tables, Watch};
use crate::state;
use crate::state::past::{Contact, Past};
use crate::state::records::{PartId, Seen};

/// Records noted in one commit.
pub(super) const LOOK_RECORDS: usize = 128;

/// One source that is followed.
#[derive(Debug)]
pub struct Follower {
    pub(super) location: Location,
    pub(super) tables: Tables,
    past: Past,
    pub(super) watch: Watch,
    pub(super) source: Option<Source>,
    pub(super) parts: Vec<PartId>,
    /// Look even if nothing has changed: the last look failed, or a record changed after it.
    pub(super) again: bool,
    /// Records that were not where they had been. A look that begins later forgets them: one that stands elsewhere by now
    /// is noted by then.
    pub(super) gone: Vec<(PartId, Seen)>,
    /// Where files lie that another took the place of.
    pub(super) rotated: Vec<PathBuf>,
    problem: Option<Problem>,
}

/// Why looks end before they have begun.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// Another process has the lead.
    StandsBy,
    Other(String),
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

impl Following {
    /// Reads rows at places of a part and notes those that are new or have changed. Returns where rows stand.
    async fn look_at(
        &self,
        source: &Source,
        (number, part): (usize, PartId),
        places: &[u64],
        seen: &[Seen],
        read: (Past, bool),
        look: &mut Look,
    ) -> Result<BTreeSet<u64>, Error> {
        let mut rows = Vec::new();
        source.rows(number, places, &mut |spot, record| rows.push((spot, record))).await?;
        let stand: BTreeSet<u64> = rows.iter().map(|(spot, _)| spot.at).collect();
        self.see(part, rows, seen, read, look)?;
        tokio::task::yield_now().await;
        Ok(stand)
    }
}

impl Follower {
    /// Follows a database, a folder or a file. `past` says what is wanted of what is there already at first contact.
    pub fn new(location: Location, tables: Tables, past: impl Into<Past>) -> Result<Self, source::Error> {
        let past = past.into();
        let watch = Watch::of(&location)?;
        let (source, parts, gone, rotated) = (None, Vec::new(), Vec::new(), Vec::new());
        Ok(Self { location, tables, past, watch, source, parts, again: true, gone, rotated, problem: None })
    }

    /// Where it reads, in words for people.
    pub fn name(&self) -> PathBuf {
        self.location.name()
    }

    /// Why it could not be read when it was last looked at.
    pub fn problem(&self) -> Option<&str> {
        match self.problem.as_ref()? {
            // The other does the work.
            Problem::StandsBy => None,
            Problem::Other(problem) => Some(problem),
        }
    }

    /// Notes what is new, as [`look_once`](Self::look_once) does. A source that cannot be read is said once, and tried
    /// again with the next look. So is one that another process follows.
    pub async fn look(&mut self, following: &Following) -> Result<(), state::Error> {
        let path = self.name();
        let problem = match self.look_if_due(following).await {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {
                match self.problem.take() {
                    Some(Problem::StandsBy) => info!(path = %path.display(), "leads now"),
                    Some(Problem::Other(_)) => info!(path = %path.display(), "can be read again"),
                    None => {}
                }
                return Ok(());
            }
            Err(Error::State(error)) => return Err(error),
            Err(Error::Source(source::Error::Followed { .. })) => Problem::StandsBy,
            Err(Error::Source(error)) => Problem::Other(Chain(&error).to_string()),
        };
        if self.problem.as_ref() != Some(&problem) {
            match &problem {
                Problem::StandsBy => {
                    // What the other counts is not ours to count.
                    following.state.borrow_mut().set_contact(&self.key(), Contact::Lost)?;
                    info!(path = %path.display(), "another agno-otel follows it; standing by");
                }
                Problem::Other(problem) => warn!("{problem}; trying again"),
            }
        }
        self.problem = Some(problem);
        Ok(())
    }

    /// Notes what is new. What was noted before an error stays noted.
    pub async fn look_once(&mut self, following: &Following) -> Result<Look, Error> {
        Ok(self.look_if_due(following).await?.unwrap_or_default())
    }

    /// None: it is as it was, or it is not yet time to ask.
    async fn look_if_due(&mut self, following: &Following) -> Result<Option<Look>, Error> {
        let key = self.key();
        match self.watch.has_changed(self.again).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                // What is not there yet holds nothing that was there before us.
                if matches!(&error, source::Error::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
                {
                    following.state.borrow_mut().met_nothing(&key)?;
                }
                self.ended(None);
                return Err(error.into());
            }
        }
        let looked = self.try_look(following, &key).await;
        self.ended(looked.as_ref().ok().map(|look| look.known + look.records));
        let look = looked?;
        following.note(&look);
        Ok(Some(look))
    }

    fn ended(&mut self, rows: Option<u64>) {
        self.again = rows.is_none();
        self.watch.ended(rows);
    }

    async fn try_look(&mut self, following: &Following, key: &str) -> Result<Look, Error> {
        let mut look = Look::default();
        // Those found to be gone by this look are left for the next.
        let gone = std::mem::take(&mut self.gone);
        let source = match self.watch.open(&self.tables).await {
            // An application's database, before Agno has made its tables in it.
            Err(error @ source::Error::NotAgno { .. }) => {
                following.state.borrow_mut().met_nothing(key)?;
                return Err(error.into());
            }
            opened => opened?,
        };
        let past = self.past(following, key)?;
        match source {
            Some(source) => self.look_at_rows(following, source, key, past, &mut look).await?,
            None => self.look_at_texts(following, key, past, &mut look).await?,
        }
        following.forget(&gone)?;
        self.had_contact(following, key, &look)?;
        Ok(look)
    }

    /// What is wanted of records that are new to us. Those that another process may have counted are not to be counted.
    fn past(&self, following: &Following, key: &str) -> Result<Past, state::Error> {
        let mut state = following.state.borrow_mut();
        if state.contact(key)? == Contact::Shared && self.watch.is_new_lead() {
            state.set_contact(key, Contact::Lost)?;
        }
        state.past(key, self.past)
    }

    fn had_contact(&self, following: &Following, key: &str, look: &Look) -> Result<(), state::Error> {
        let mut state = following.state.borrow_mut();
        let before = state.contact(key)?;
        let now = if self.watch.is_shared() { Contact::Shared } else { Contact::Had };
        // Whether another stands by is remembered until the lead is taken anew.
        if before != now && before != Contact::Shared {
            state.set_contact(key, now)?;
        }
        let (path, newest) = (self.name(), look.newest_ns.map_or_else(String::new, when::text));
        if look.history > 0 && before == Contact::Lost {
            warn!(
                path = %path.display(), runs = look.history, newest,
                "what came while another agno-otel may have counted it is not counted here"
            );
        } else if look.history > 0 {
            info!(
                path = %path.display(), runs = look.history, newest,
                "what was there before is not counted; with a new state file --history count does, and --since WHEN \
                 sends its traces"
            );
        }
        Ok(())
    }

    /// True for a part of this source while it could not be read: what is due of it stays due.
    pub(super) fn is_yet_to_read(&self, part: &str) -> bool {
        self.source.is_none() && part.split_once('\n').is_some_and(|(source, _)| source == self.key())
    }

    /// What the source is called in the state file: the same before it is there and after.
    pub fn key(&self) -> String {
        let path = match &self.location {
            Location::Postgres(url) => return url.place(),
            Location::Stdin => return String::new(),
            Location::Path(path) => path,
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize();
        let beside = |folder: PathBuf| Some(folder.join(path.file_name()?));
        let full = path.canonicalize().ok().or_else(|| beside(folder.ok()?));
        full.unwrap_or_else(|| path.clone()).display().to_string()
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
        let (mut parts, mut gone) = (Vec::new(), Vec::new());
        let reach = self.watch.reach();
        let read = (past, source.tells_versions());
        for (number, table) in source.part_names().iter().enumerate() {
            let identity = self.watch.identity(&source, number);
            let part = following.state.borrow_mut().part(&format!("{whole}\n{table}"), &identity)?;
            parts.push(part);
            let mut after = None;
            if reach == Reach::Behind {
                let (last, places) = {
                    let state = following.state.borrow();
                    (state.last_seen(part)?, state.unfinished(part)?)
                };
                after = last;
                for page in places.chunks(LOOK_RECORDS) {
                    let seen = following.state.borrow().seen_at(part, page.iter().copied())?;
                    let rows = following.look_at(&source, (number, part), page, &seen, read, look).await?;
                    gone.extend(
                        seen.into_iter().filter(|seen| !rows.contains(&seen.at)).map(|seen| (part, seen)),
                    );
                }
            }
            while let Some((stamps, to)) = source.stamps(number, after).await? {
                let places = stamps.iter().map(|stamp| stamp.at);
                let seen = match reach {
                    Reach::Written => following.state.borrow().seen_at(part, places)?,
                    Reach::Whole | Reach::Behind => {
                        following.state.borrow().seen_between(part, after, Some(to))?
                    }
                };
                let is_new = |stamp: &&Stamp| is_to_be_read(&source, &seen, stamp);
                let changed: Vec<u64> = stamps.iter().filter(is_new).map(|stamp| stamp.at).collect();
                for page in changed.chunks(LOOK_RECORDS) {
                    following.look_at(&source, (number, part), page, &seen, read, look).await?;
                }
                look.known += (stamps.len() - changed.len()) as u64;
                if reach == Reach::Whole {
                    let places: BTreeSet<u64> = stamps.iter().map(|stamp| stamp.at).collect();
                    gone.extend(
                        seen.into_iter().filter(|seen| !places.contains(&seen.at)).map(|seen| (part, seen)),
                    );
                }
                after = Some(to);
                tokio::task::yield_now().await;
            }
            if reach == Reach::Whole {
                let rest = following.state.borrow().seen_between(part, after, None)?;
                gone.extend(rest.into_iter().map(|seen| (part, seen)));
            }
        }
        if source.tells_versions() {
            // It may stand elsewhere by now, behind our back.
            self.gone.extend(gone);
        } else {
            following.forget(&gone)?;
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

/// True for a row that is new, another one than before, of another length, or with a run that is not over, if such a one may
/// change without being another.
fn is_to_be_read(source: &Source, seen: &[Seen], stamp: &Stamp) -> bool {
    let may_change = |seen: &Seen| seen.open_hash.is_some() && !source.tells_versions();
    known(seen, stamp.at)
        .is_none_or(|seen| may_change(seen) || (seen.length, seen.mark) != (stamp.length, stamp.mark))
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

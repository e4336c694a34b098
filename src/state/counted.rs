//! What was counted: families into the ledger, series as they are released.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::records::{FamilyId, History, hash_of, of_number};
use super::{Error, State};
use crate::intake::{Gathered, Spent};
use crate::ledger::Released;
use crate::ledger::stored::{StoredRun, StoredSession};
use crate::model::{Run, RunKey};
use crate::otel::request::{Chunk, Identity, view_chunks};
use crate::otel::{Resource, Settings, names};

/// What `runs.is_sent` says of a run's trace.
const NOT_SENT: i64 = 0;
const SENT: i64 = 1;
/// As it stood, for its end had been waited for long enough. It is sent again when the run is over.
const SENT_OPEN: i64 = 2;

/// How long things are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A run whose parent is unknown: its trace waits this long for it.
    pub parent_ns: u64,
    /// A run that is not over: its trace waits this long for its end.
    pub end_ns: u64,
}

/// What became of a family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Traces put into the outbox.
    pub traces: u64,
    /// Spans put into the outbox.
    pub spans: u64,
}

/// What is known of a run from before.
#[derive(Default)]
struct Known {
    /// None: it was never counted.
    first_seen_ns: Option<u64>,
    /// What became of its trace, as `runs.is_sent` has it.
    sent: i64,
    /// What is wanted of it, if it is history and was not put together yet.
    history: Option<History>,
    /// It is a copy of a run that was counted elsewhere.
    is_copy: bool,
}

impl State {
    /// Counts families and puts the traces of their runs that are over into the outbox: all of it, or nothing.
    ///
    /// A trace is sent once, and again if it was sent before its run was over. What a run spends is counted as it grows.
    pub fn count(
        &mut self,
        families: &[(FamilyId, Gathered)],
        (resource, settings): (&Resource, Settings),
        patience: Patience,
        now_ns: u64,
    ) -> Result<Vec<Counted>, Error> {
        self.commit(|state| {
            let mut all = Vec::new();
            for (family, gathered) in families {
                if state.end_gathering(*family) {
                    all.push(Counted::default());
                    continue;
                }
                let mut sessions = BTreeSet::new();
                let mut known = state.recall(gathered, &mut sessions)?;
                state.take_back_copies(gathered, &mut sessions)?;
                let runs = gathered.forest.runs.iter().zip(&known);
                let before: BTreeSet<&RunKey> =
                    runs.filter(|(_, known)| known.history.is_some()).map(|(run, _)| &run.key).collect();
                let spent = |run: &Run| if before.contains(&run.key) { Spent::Before } else { Spent::SoFar };
                gathered.observe(&mut state.ledger, settings, &spent);
                let (sent, again_ns) =
                    state.send_traces(gathered, &mut known, (resource, settings), patience, now_ns)?;
                state.store_runs(gathered, &known, now_ns)?;
                state.spend_all(gathered, &known)?;
                state.settle(*family, again_ns)?;
                all.push(sent);
            }
            state.store_sessions(now_ns)?;
            state.store_series()?;
            state.ledger.forget_runs();
            Ok(all)
        })
    }

    /// Brings what is known of a family's runs and sessions into the ledger, of each session once.
    fn recall<'g>(
        &mut self,
        gathered: &'g Gathered,
        sessions: &mut BTreeSet<&'g str>,
    ) -> Result<Vec<Known>, Error> {
        let mut all = Vec::new();
        for run in &gathered.forest.runs {
            let mut known = self.recall_run(&run.key)?;
            if known.history.is_some() {
                self.end_history(&run.key)?;
            }
            // What it repeats was counted, or was before we came; what goes on from a copy is not one.
            let repeats = run.forked_from_session_id.is_some() && run.forked_from_run_id.is_none();
            if repeats && self.is_copy(&run.key)? {
                known.history = Some(History::Skip);
                known.is_copy = true;
            }
            if let Some(session) = run.session_id.as_deref().filter(|session| sessions.insert(session)) {
                self.recall_session(session)?;
            }
            all.push(known);
        }
        Ok(all)
    }

    fn recall_run(&mut self, key: &RunKey) -> Result<Known, Error> {
        let sql = "SELECT runs.counted, runs.first_seen_ns, runs.is_sent, history.mode FROM (SELECT 1)
                   LEFT JOIN runs ON runs.run_id = ?1 AND runs.reuse = ?2 LEFT JOIN history ON history.run = ?3";
        let found = self.query(sql, params![key.run_id, key.reuse, hash_of(key)], |row| {
            let first_seen_ns = row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned);
            let sent = row.get::<_, Option<i64>>(2)?.unwrap_or(NOT_SENT);
            let history = row.get::<_, Option<i64>>(3)?.map(of_number);
            let known = Known { first_seen_ns, sent, history, is_copy: false };
            Ok((row.get::<_, Option<String>>(0)?, known))
        })?;
        let (text, known) = found.into_iter().next().unwrap_or_default();
        let Some(text) = text else { return Ok(known) };
        let stored: StoredRun = serde_json::from_str(&text).map_err(|_bad| self.damaged("a run"))?;
        self.ledger.remember_run(key.clone(), stored);
        Ok(known)
    }

    /// Runs that turned out to be copies: what was counted of them before their origin came is taken back.
    fn take_back_copies<'g>(
        &mut self,
        gathered: &'g Gathered,
        sessions: &mut BTreeSet<&'g str>,
    ) -> Result<(), Error> {
        for (key, session) in &gathered.copies {
            self.end_history(key)?;
            if !self.note_copy(key)? {
                continue;
            }
            let known = self.recall_run(key)?;
            if known.first_seen_ns.is_some() {
                if let Some(session) = session.as_deref().filter(|session| sessions.insert(session)) {
                    self.recall_session(session)?;
                }
                self.ledger.take_back(key, session.as_deref());
                self.store_run(key, &known, 0)?;
                self.spend(key, 0, &[])?;
            }
        }
        Ok(())
    }

    pub(super) fn recall_session(&mut self, id: &str) -> Result<(), Error> {
        let sql = "SELECT stored FROM sessions WHERE id = ?1";
        let found = self.query(sql, [id], |row| row.get::<_, String>(0))?;
        let Some(text) = found.into_iter().next() else { return Ok(()) };
        let stored: StoredSession = serde_json::from_str(&text).map_err(|_bad| self.damaged("a session"))?;
        self.ledger.remember_session(id.to_owned(), stored);
        Ok(())
    }

    /// Puts into the outbox what is over and was not sent. Returns how much that was, and when to look again for those that
    /// are waited for.
    fn send_traces(
        &mut self,
        gathered: &Gathered,
        known: &mut [Known],
        (resource, settings): (&Resource, Settings),
        patience: Patience,
        now_ns: u64,
    ) -> Result<(Counted, Option<u64>), Error> {
        let mut again_ns = None;
        let mut wanted = Vec::new();
        for trace in &gathered.forest.traces {
            let Some(root) = trace.nodes.first().map(|node| node.run) else { continue };
            let Some((run, known)) = gathered.forest.runs.get(root).zip(known.get_mut(root)) else {
                continue;
            };
            if known.sent == SENT || (known.sent == SENT_OPEN && !run.status.is_final()) {
                continue;
            }
            if known.history == Some(History::Skip) && run.status.is_final() {
                known.sent = SENT;
                continue;
            }
            let since_ns = known.first_seen_ns.unwrap_or(now_ns);
            if let Some(until) = waits_until(run, since_ns, patience).filter(|until| *until > now_ns) {
                again_ns = Some(again_ns.unwrap_or(until).min(until));
                continue;
            }
            known.sent = if run.status.is_final() { SENT } else { SENT_OPEN };
            if known.history != Some(History::Skip) {
                wanted.push(root);
            }
        }
        let mut sent = Counted::default();
        for trace in gathered.traces_of(settings, &|root| wanted.contains(&root)) {
            sent.traces += 1;
            for chunk in view_chunks(&trace, resource) {
                sent.spans += chunk.items;
                self.put(&chunk, now_ns)?;
            }
        }
        Ok((sent, again_ns))
    }

    fn store_runs(&mut self, gathered: &Gathered, known: &[Known], now_ns: u64) -> Result<(), Error> {
        for (run, known) in gathered.forest.runs.iter().zip(known) {
            self.store_run(&run.key, known, now_ns)?;
        }
        Ok(())
    }

    /// Sets what a family's runs spent, but for copies.
    fn spend_all(&mut self, gathered: &Gathered, known: &[Known]) -> Result<(), Error> {
        let runs = gathered.forest.runs.iter().map(|run| &run.key);
        let known: BTreeMap<&RunKey, &Known> = runs.zip(known).collect();
        for (run, began_s, expenses) in gathered.expenses() {
            match known.get(run) {
                Some(Known { is_copy: true, .. }) => {}
                Some(Known { first_seen_ns: None, .. }) => self.spend_first(run, began_s, &expenses)?,
                _ => self.spend(run, began_s, &expenses)?,
            }
        }
        Ok(())
    }

    /// Writes what a run moved and what became of its trace, in one row.
    fn store_run(&mut self, key: &RunKey, known: &Known, now_ns: u64) -> Result<(), Error> {
        let sql =
            "INSERT INTO runs (run_id, reuse, counted, first_seen_ns, is_sent) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO UPDATE SET counted = excluded.counted, is_sent = excluded.is_sent
                   WHERE counted <> excluded.counted OR is_sent <> excluded.is_sent";
        let Some(stored) = self.ledger.run(key) else { return Ok(()) };
        let text = serde_json::to_string(&stored).map_err(|error| self.damaged(&error.to_string()))?;
        let first_seen_ns = known.first_seen_ns.unwrap_or(now_ns).cast_signed();
        self.execute(sql, params![key.run_id, key.reuse, text, first_seen_ns, known.sent])?;
        Ok(())
    }

    pub(super) fn store_sessions(&mut self, now_ns: u64) -> Result<(), Error> {
        let sessions: Vec<(String, StoredSession)> =
            self.ledger.sessions().map(|(id, session)| (id.to_owned(), session)).collect();
        let sql = "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT DO UPDATE SET stored = excluded.stored, tokens = excluded.tokens,
                   changed_ns = excluded.changed_ns, is_open = excluded.is_open WHERE stored <> excluded.stored";
        for (id, session) in sessions {
            let text =
                |value: serde_json::Result<String>| value.map_err(|error| self.damaged(&error.to_string()));
            let stored = text(serde_json::to_string(&session))?;
            let attributes = text(serde_json::to_string(session.attributes()))?;
            let (tokens, is_open) = (session.tokens().cast_signed(), session.is_open());
            self.execute(sql, params![id, stored, tokens, attributes, now_ns.cast_signed(), is_open])?;
        }
        Ok(())
    }

    /// Writes the series that moved. To be called within [`commit`](Self::commit).
    pub(super) fn store_series(&mut self) -> Result<(), Error> {
        for (id, series) in self.ledger.take_unstored() {
            let text = serde_json::to_string(&series).map_err(|error| self.damaged(&error.to_string()))?;
            let id = i64::try_from(id).unwrap_or(i64::MAX);
            self.execute("INSERT OR REPLACE INTO series VALUES (?1, ?2)", params![id, text])?;
        }
        Ok(())
    }

    /// Records sessions in histograms that have been quiet since a time.
    pub fn close_sessions(&mut self, quiet_since_ns: u64) -> Result<u64, Error> {
        let sql =
            "SELECT id FROM sessions WHERE is_open = 1 AND changed_ns <= ?1 ORDER BY changed_ns LIMIT 1000";
        let quiet = self.query(sql, [quiet_since_ns.cast_signed()], |row| row.get::<_, String>(0))?;
        if quiet.is_empty() {
            return Ok(0);
        }
        self.commit(|state| {
            quiet.iter().try_for_each(|id| state.recall_session(id))?;
            state.ledger.close_sessions();
            state.store_sessions(quiet_since_ns)?;
            state.store_series()?;
            state.ledger.forget_runs();
            Ok(quiet.len() as u64)
        })
    }

    /// Sets the gauges of the largest sessions among those that changed since a time.
    pub fn set_largest(&mut self, active_since_ns: u64) -> Result<(), Error> {
        let sql = "SELECT attributes, max(CASE WHEN changed_ns >= ?1 THEN tokens ELSE 0 END) FROM sessions
                   GROUP BY attributes";
        let largest = self.query(sql, [active_since_ns.cast_signed()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        })?;
        for (attributes, tokens) in largest {
            let attributes = serde_json::from_str(&attributes).map_err(|_bad| self.damaged("a session"))?;
            self.ledger.set_named(&names::SESSION_LARGEST, attributes, tokens);
        }
        Ok(())
    }

    /// Releases every series, and remembers the request that `encode` makes of them until it is [settled](Self::released):
    /// should we be killed in between, the same request is sent again.
    pub fn release(
        &mut self,
        now_ns: u64,
        encode: impl FnOnce(&[Released]) -> Vec<Chunk>,
    ) -> Result<Vec<Chunk>, Error> {
        let chunks = self.commit(|state| {
            let released = state.ledger.release(now_ns);
            let stamp = released.iter().map(|series| series.now.at_ns).max().unwrap_or(now_ns);
            let chunks = encode(&released);
            state.store_series()?;
            state.set_meta("last_stamp_ns", stamp.cast_signed())?;
            state.set_meta("released_ns", now_ns.cast_signed())?;
            state.set_meta("released", request(&chunks))?;
            Ok(chunks)
        })?;
        self.mark()?;
        Ok(chunks)
    }

    /// Every series as a scraper is to see it, and remembers what was shown.
    pub fn scrape(&mut self, now_ns: u64, hold_ns: u64) -> Result<Vec<Released>, Error> {
        let shown = self.commit(|state| {
            let shown = state.ledger.show(now_ns, hold_ns);
            state.store_series()?;
            let stamp = state.number("last_stamp_ns")?.max(now_ns);
            state.set_meta("last_stamp_ns", stamp.cast_signed())?;
            Ok(shown)
        })?;
        self.mark()?;
        Ok(shown)
    }

    /// The request of metrics that was under way when we ended, with its age.
    pub fn unsettled(&self, now_ns: u64) -> Result<Option<(Chunk, u64)>, Error> {
        let age_ns = now_ns.saturating_sub(self.number("released_ns")?);
        let request = self.meta::<Vec<u8>>("released")?;
        Ok(request.map(|bytes| (Chunk { bytes, items: 0 }, age_ns)))
    }

    /// Notes how the last release ended: what of it may have arrived and is to be sent again before there is another, and
    /// of which series surely nothing was taken. What was refused needs no dead letter: the next release holds it all.
    pub fn released(&mut self, in_doubt: &[Chunk], not_taken: &BTreeSet<Identity>) -> Result<(), Error> {
        self.commit(|state| {
            state.ledger.withdraw(not_taken);
            if in_doubt.is_empty() {
                state.execute("DELETE FROM meta WHERE name = 'released'", [])?;
            } else {
                state.set_meta("released", request(in_doubt))?;
            }
            state.store_series()
        })
    }
}

/// One request of all that these say.
fn request(chunks: &[Chunk]) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| &chunk.bytes).copied().collect()
}

/// Until when a root's trace waits: for its end, or for a parent that it names and nobody knows.
fn waits_until(root: &Run, since_ns: u64, patience: Patience) -> Option<u64> {
    let wait_ns = match (root.status.is_final(), &root.parent_run_id) {
        (false, _) => patience.end_ns,
        (true, Some(_)) => patience.parent_ns,
        (true, None) => return None,
    };
    Some(since_ns.saturating_add(wait_ns))
}

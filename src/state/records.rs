//! Which records were read, which hang together, and which families are due.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::past::{Past, began_ns};
use super::{Error, State};
pub use crate::config::History;
use crate::framework::agno::DecodedRun;
use crate::model::RunKey;
use crate::source::Spot;

/// A part of a source, by its number in the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartId(i64);

/// Sessions that hang together, by their number in the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FamilyId(i64);

/// A record as it was when it was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Where it stands.
    pub at: u64,
    /// Its bytes.
    pub length: u32,
    /// Its mark.
    pub mark: u32,
    /// A hash of it, where it holds a run that is not over.
    pub open_hash: Option<i64>,
}

pub(super) fn hash_of(key: &RunKey) -> i64 {
    key.stable_hash().cast_signed()
}

fn number(history: History) -> i64 {
    match history {
        History::Count => 0,
        History::Traces => 1,
        History::Skip => 2,
    }
}

pub(super) fn of_number(number: i64) -> History {
    match number {
        0 => History::Count,
        1 => History::Traces,
        _ => History::Skip,
    }
}

fn seen(row: &rusqlite::Row<'_>) -> rusqlite::Result<Seen> {
    Ok(Seen {
        at: row.get::<_, i64>(0)?.cast_unsigned(),
        length: row.get(1)?,
        mark: row.get(2)?,
        open_hash: row.get(3)?,
    })
}

impl State {
    /// The number of a part of a source. Where its identity is another than before (a file was replaced), nothing of it
    /// counts as read.
    pub fn part(&mut self, name: &str, identity: &str) -> Result<PartId, Error> {
        let sql = "SELECT id, identity FROM sources WHERE name = ?1";
        let known = self.query(sql, [name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        if let Some((id, before)) = known.into_iter().next() {
            if before == identity {
                return Ok(PartId(id));
            }
            self.commit(|state| {
                state.execute("DELETE FROM records WHERE source = ?1", [id])?;
                state.execute("UPDATE sources SET identity = ?2 WHERE id = ?1", params![id, identity])
            })?;
            return Ok(PartId(id));
        }
        self.execute("INSERT INTO sources (name, identity) VALUES (?1, ?2)", params![name, identity])?;
        Ok(PartId(self.connection.last_insert_rowid()))
    }

    /// The number of a part that has one.
    pub(super) fn known_part(&self, name: &str) -> Result<Option<PartId>, Error> {
        let found = self.query("SELECT id FROM sources WHERE name = ?1", [name], |row| row.get(0))?;
        Ok(found.into_iter().next().map(PartId))
    }

    /// What a part is called.
    pub fn part_name(&self, PartId(part): PartId) -> Result<String, Error> {
        let found = self.query("SELECT name FROM sources WHERE id = ?1", [part], |row| row.get(0))?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Puts off a family that could not be read now.
    pub fn put_off(&mut self, FamilyId(family): FamilyId, until_ns: u64) -> Result<(), Error> {
        self.gathering.remove(&family);
        let sql = "UPDATE due SET at_ns = ?2 WHERE family = ?1";
        self.execute(sql, params![family, until_ns.cast_signed()])?;
        Ok(())
    }

    /// Everything read of a part, in order.
    pub fn seen(&self, PartId(part): PartId) -> Result<Vec<Seen>, Error> {
        let sql = "SELECT at, length, mark, open_hash FROM records WHERE source = ?1 ORDER BY at";
        self.query(sql, [part], seen)
    }

    /// What was read of a part behind one place and up to another, in order; without them from its beginning, to its end.
    pub fn seen_between(
        &self,
        PartId(part): PartId,
        after: Option<u64>,
        to: Option<u64>,
    ) -> Result<Vec<Seen>, Error> {
        let sql = "SELECT at, length, mark, open_hash FROM records
                   WHERE source = ?1 AND at BETWEEN ?2 AND ?3 ORDER BY at";
        let from = after.map_or(i64::MIN, |after| after.cast_signed().saturating_add(1));
        self.query(sql, [part, from, to.map_or(i64::MAX, u64::cast_signed)], seen)
    }

    /// The last place of a part that was read.
    pub fn last_seen(&self, PartId(part): PartId) -> Result<Option<u64>, Error> {
        let last = self.query("SELECT max(at) FROM records WHERE source = ?1", [part], |row| row.get(0))?;
        Ok(last.into_iter().next().flatten().map(i64::cast_unsigned))
    }

    /// Where records of a part stand that hold a run that is not over, or are not what they were.
    pub fn unfinished(&self, PartId(part): PartId) -> Result<Vec<u64>, Error> {
        let sql =
            "SELECT at FROM records WHERE source = ?1 AND (open_hash IS NOT NULL OR length = 0) ORDER BY at";
        self.query(sql, [part], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))
    }

    /// What was read at places of a part, in their order.
    pub fn seen_at(
        &self,
        PartId(part): PartId,
        places: impl Iterator<Item = u64>,
    ) -> Result<Vec<Seen>, Error> {
        let sql = "SELECT at, length, mark, open_hash FROM records WHERE source = ?1 AND at = ?2";
        let mut all = Vec::new();
        for at in places {
            all.extend(self.query(sql, [part, at.cast_signed()], seen)?);
        }
        Ok(all)
    }

    /// Notes a record that is new or has changed, and that its family is due. Returns when those of its runs began that are
    /// history, and were not known to be. To be called within [`commit`](Self::commit).
    pub fn see(
        &mut self,
        PartId(part): PartId,
        spot: Spot,
        (runs, content_hash): (&[DecodedRun], i64),
        past: impl Into<Past>,
    ) -> Result<Vec<Option<u64>>, Error> {
        let past = past.into();
        let links = runs.iter().flat_map(DecodedRun::links).map(|link| link.stable_hash().cast_signed());
        let family = self.family_with(links.collect())?;
        let is_open = runs.iter().any(|run| !run.run.status.is_final());
        let open_hash = is_open.then_some(content_hash);
        self.execute(
            "INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![part, spot.at.cast_signed(), spot.length(), spot.mark(), open_hash, family],
        )?;
        let mut history = Vec::new();
        for run in runs {
            let began_ns = began_ns(run);
            let wanted = past.of(began_ns);
            if wanted != History::Count {
                let params = [hash_of(&run.run.key), number(wanted)];
                let is_new = self.execute("INSERT OR IGNORE INTO history VALUES (?1, ?2)", params)? > 0;
                history.extend(is_new.then_some(began_ns));
            }
        }
        if let Some(family) = family {
            self.note_change(family);
            let sql = "INSERT INTO due VALUES (?1, 0) ON CONFLICT DO UPDATE SET at_ns = 0";
            self.execute(sql, [family])?;
        }
        Ok(history)
    }

    /// Notes that a record is gone, unless another was noted in its place. What it counted stays counted.
    pub fn forget(&mut self, PartId(part): PartId, seen: &Seen) -> Result<(), Error> {
        let Seen { at, length, mark, .. } = seen;
        let sql = "DELETE FROM records WHERE source = ?1 AND at = ?2 AND length = ?3 AND mark = ?4";
        self.execute(sql, params![part, at.cast_signed(), length, mark])?;
        Ok(())
    }

    /// Notes that a record, by its mark, stands nowhere but at this place. It was noted there.
    pub fn supersede(&mut self, PartId(part): PartId, spot: Spot) -> Result<(), Error> {
        // All versions of a record are of one family, which is quickly looked through; the plus keeps SQLite at that.
        let sql = "DELETE FROM records WHERE +source = ?1 AND at <> ?2 AND mark = ?3 AND family =
                   (SELECT family FROM records WHERE source = ?1 AND at = ?2)";
        self.execute(sql, params![part, spot.at.cast_signed(), spot.mark()])?;
        Ok(())
    }

    /// Notes that a record is not what it was: the next look reads it anew, if it is still there. Returns how it stands now.
    pub fn distrust(&mut self, PartId(part): PartId, at: u64) -> Result<Seen, Error> {
        let sql = "UPDATE records SET length = 0, mark = 0 WHERE source = ?1 AND at = ?2";
        self.execute(sql, [part, at.cast_signed()])?;
        Ok(Seen { at, length: 0, mark: 0, open_hash: None })
    }

    fn family_of(&self, hash: i64) -> Result<Option<i64>, Error> {
        let found = self.query("SELECT family FROM nodes WHERE hash = ?1", [hash], |row| row.get(0))?;
        Ok(found.into_iter().next())
    }

    /// The family of everything that a record names, joined from those that were known of it, or a new one. None: it names
    /// nothing.
    fn family_with(&mut self, links: BTreeSet<i64>) -> Result<Option<i64>, Error> {
        let (mut family, mut new) = (None, Vec::new());
        for hash in links {
            match (family, self.family_of(hash)?) {
                (_, None) => new.push(hash),
                (None, known) => family = known,
                (Some(own), Some(known)) => family = Some(self.join(own, known)?),
            }
        }
        if family.is_none() && !new.is_empty() {
            family = Some(self.new_family()?);
        }
        for hash in new {
            self.execute("INSERT INTO nodes VALUES (?1, ?2)", params![hash, family])?;
        }
        Ok(family)
    }

    fn new_family(&mut self) -> Result<i64, Error> {
        // Numbers rise, so that a family once joined to another is not taken for a new one.
        let family = self.meta::<i64>("families")?.unwrap_or(0) + 1;
        self.set_meta("families", family)?;
        Ok(family)
    }

    fn join(&mut self, a: i64, b: i64) -> Result<i64, Error> {
        let (kept, gone) = (a.min(b), a.max(b));
        if kept != gone {
            self.note_change(kept);
            self.note_change(gone);
            for table in ["nodes", "records"] {
                let sql = format!("UPDATE {table} SET family = ?1 WHERE family = ?2");
                self.execute(&sql, [kept, gone])?;
            }
            // Whoever joins them has a record of the one that stays.
            self.execute("DELETE FROM due WHERE family = ?1", [gone])?;
        }
        Ok(kept)
    }

    /// Notes that a family is about to be put together.
    pub fn begin_gathering(&mut self, FamilyId(family): FamilyId) {
        self.gathering.insert(family, false);
    }

    /// Something of a family was noted: what is put together of it meanwhile is not all of it.
    fn note_change(&mut self, family: i64) {
        if let Some(is_stale) = self.gathering.get_mut(&family) {
            *is_stale = true;
        }
    }

    /// A family was put together. True: something of it was noted meanwhile, and it is due again.
    pub(super) fn end_gathering(&mut self, FamilyId(family): FamilyId) -> bool {
        self.gathering.remove(&family).unwrap_or(false)
    }

    /// Families that are due by now, those first that were not put off, the first to come first.
    pub fn due(&self, now_ns: u64, limit: u32) -> Result<Vec<FamilyId>, Error> {
        let sql = "SELECT family FROM due WHERE at_ns <= ?1 ORDER BY at_ns, family LIMIT ?2";
        self.query(sql, params![now_ns.cast_signed(), limit], |row| Ok(FamilyId(row.get(0)?)))
    }

    /// How many families are due by now.
    pub fn due_count(&self, now_ns: u64) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM due WHERE at_ns <= ?1";
        let count = self.query(sql, [now_ns.cast_signed()], |row| row.get::<_, i64>(0))?;
        Ok(count.into_iter().next().unwrap_or(0).cast_unsigned())
    }

    /// Notes that a run was put together: from now on what it spends is counted.
    pub(super) fn end_history(&mut self, key: &RunKey) -> Result<(), Error> {
        self.execute("DELETE FROM history WHERE run = ?1", [hash_of(key)])?;
        Ok(())
    }

    /// Notes that a run is a copy. False: that was known.
    pub(super) fn note_copy(&mut self, key: &RunKey) -> Result<bool, Error> {
        Ok(self.execute("INSERT OR IGNORE INTO copies VALUES (?1)", [hash_of(key)])? > 0)
    }

    /// True for a run that was a copy when its origin was there.
    pub(super) fn is_copy(&self, key: &RunKey) -> Result<bool, Error> {
        Ok(!self.query("SELECT 1 FROM copies WHERE run = ?1", [hash_of(key)], |_| Ok(()))?.is_empty())
    }

    /// Notes that a family was counted; it is due again at a time, if one is given.
    pub(super) fn settle(&mut self, FamilyId(family): FamilyId, again_ns: Option<u64>) -> Result<(), Error> {
        match again_ns {
            None => self.execute("DELETE FROM due WHERE family = ?1", [family])?,
            Some(at_ns) => self.execute(
                "INSERT OR REPLACE INTO due VALUES (?1, ?2)",
                params![family, at_ns.cast_signed()],
            )?,
        };
        Ok(())
    }

    /// Where a family's records stand, by part.
    pub fn spots(&self, FamilyId(family): FamilyId) -> Result<BTreeMap<PartId, Vec<Spot>>, Error> {
        let sql = "SELECT source, at, length, mark FROM records WHERE family = ?1 ORDER BY source, at";
        let rows = self.query(sql, [family], |row| {
            let at = row.get::<_, i64>(1)?.cast_unsigned();
            Ok((PartId(row.get(0)?), Spot::new(at, row.get(2)?, row.get(3)?)))
        })?;
        let mut spots = BTreeMap::<PartId, Vec<Spot>>::new();
        for (part, spot) in rows {
            spots.entry(part).or_default().push(spot);
        }
        Ok(spots)
    }
}

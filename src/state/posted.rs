//! Runs that were handed over to us. Nobody else keeps them, so they are kept here, to be read again when a run that
//! hangs together with them comes.

use rusqlite::params;

use super::records::PartId;
use super::{Error, State};
use crate::framework::Keep;

/// What they are called among the sources.
pub const POSTED: &str = "http";

/// First byte of a kept run: how much of it was kept. Others are for later.
const FIGURES: u8 = 1;
const WHOLE: u8 = 2;

/// A run that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRun {
    /// Its JSON.
    pub json: Vec<u8>,
    /// How much of what was handed over that is.
    pub keep: Keep,
}

impl State {
    /// The part of records that were handed over; none as long as there are none.
    pub fn posted_part(&self) -> Result<Option<PartId>, Error> {
        self.known_part(POSTED)
    }

    /// A run that was handed over, by the hash of its key.
    pub fn posted(&self, at: u64) -> Result<Option<KeptRun>, Error> {
        let sql = "SELECT json FROM posted WHERE at = ?1";
        let found = self.query(sql, [at.cast_signed()], |row| row.get::<_, Vec<u8>>(0))?;
        let Some(mut json) = found.into_iter().next() else { return Ok(None) };
        let keep = match json.first() {
            Some(&FIGURES) => Keep::Figures,
            Some(&WHOLE) => Keep::Content,
            _ => return Err(self.damaged("a run that was handed over")),
        };
        json.remove(0);
        Ok(Some(KeptRun { json, keep }))
    }

    /// Keeps a run that was handed over, instead of what was kept of it before. To be called within
    /// [`commit`](Self::commit).
    pub fn keep_posted(&mut self, at: u64, run: &KeptRun) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(run.json.len() + 1);
        bytes.push(if run.keep == Keep::Figures { FIGURES } else { WHOLE });
        bytes.extend_from_slice(&run.json);
        self.execute("INSERT OR REPLACE INTO posted VALUES (?1, ?2)", params![at.cast_signed(), bytes])?;
        Ok(())
    }
}

//! What is told once and never again, by whoever did it: it is counted as it comes, and nothing of it is remembered but
//! its session.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Error, State};
use crate::ledger::{Told, ToldOfSession};
use crate::model::budget::Limit;
use crate::otel::names;
use crate::otel::request::Chunk;

impl State {
    /// Counts what was done and puts its spans into the outbox, or counts those that found no room: all of it, or nothing.
    /// Told again under the same number, as after a commit that failed and yet is in the file, it is nothing.
    pub fn tell<'t>(
        &mut self,
        number: Uuid,
        told: impl IntoIterator<Item = &'t Told>,
        spans: &[Chunk],
        no_room: u64,
        thresholds: &'static [Limit],
        now_ns: u64,
    ) -> Result<(), Error> {
        self.commit(|state| {
            if state.meta::<Vec<u8>>("told")?.is_some_and(|last| last == number.as_bytes()) {
                return Ok(());
            }
            state.set_meta("told", number.as_bytes())?;
            state.ledger.watch(thresholds);
            let mut recalled = BTreeSet::new();
            for told in told {
                state.ledger.count(told.measurements.clone());
                let Some(ToldOfSession { id, more, attributes, exemplar }) = &told.session else { continue };
                if recalled.insert(id) {
                    state.recall_session(id)?;
                }
                state.ledger.add_to_session(id, more, attributes, exemplar.as_ref());
            }
            if no_room > 0 {
                let reason = vec![(names::BRIDGE_REASON, "no_room".to_owned())];
                state.ledger.add(&names::BRIDGE_DROPPED, reason, no_room);
            }
            spans.iter().try_for_each(|chunk| state.put(chunk, now_ns))?;
            state.store_sessions(now_ns)?;
            state.store_series()?;
            state.ledger.forget_runs();
            Ok(())
        })
    }
}

//! Table names the user gave, over several sources.

use std::collections::BTreeSet;

use super::Sources;
use crate::source::{self, Error, Location, Source, Spot, Tables};

/// A name must be right for one source at least. One that lacks it is read as if it had not been given.
pub(super) struct Names {
    tables: Tables,
    met: BTreeSet<String>,
    unmet: Vec<(String, Error)>,
}

impl Names {
    pub(super) fn of(sources: &Sources) -> Self {
        let tables = Tables { sessions: sources.sessions_table.clone(), runs: sources.runs_table.clone() };
        Self { tables, met: BTreeSet::new(), unmet: Vec::new() }
    }

    pub(super) async fn read(
        &mut self,
        location: &Location,
        accept: &mut (dyn FnMut(Spot, crate::Record) + Send),
    ) -> Result<Source, Error> {
        let mut tables = self.tables.clone();
        loop {
            match source::read(location, &tables, accept).await {
                // It says so before it hands over anything.
                Err(Error::NoTable { path, table, found }) => {
                    tables = tables.without(&table);
                    self.unmet.push((table.clone(), Error::NoTable { path, table, found }));
                }
                Ok(source) => {
                    if source::has_tables(location) {
                        self.met.extend([tables.sessions, tables.runs].into_iter().flatten());
                    }
                    return Ok(source);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What Agno states of the sessions of a source that was read.
    pub(super) async fn sessions(
        &self,
        location: &Location,
        accept: &mut (dyn FnMut(crate::Record) + Send),
    ) -> Result<(), Error> {
        let mut tables = self.tables.clone();
        loop {
            match source::sessions(location, &tables, accept).await {
                // It says so before it hands over anything.
                Err(Error::NoTable { table, .. }) => tables = tables.without(&table),
                ended => return ended,
            }
        }
    }

    /// Fails for a name that no source had.
    pub(super) fn expect_met(self) -> Result<(), Error> {
        for (name, error) in self.unmet {
            if !self.met.contains(&name) {
                return Err(error);
            }
            tracing::warn!("{error}; read by what they look like");
        }
        Ok(())
    }
}

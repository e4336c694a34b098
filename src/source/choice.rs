//! Which tables of a database are read.

use std::borrow::Borrow;
use std::path::Path;

use super::Error;
use super::tables::{Kind, Tables};
use crate::framework::agno::tables::{Layout, Table};

/// A database whose tables are described.
pub(super) struct Described<'d, T> {
    /// Which one.
    pub(super) path: &'d Path,
    /// What it is.
    pub(super) what: &'static str,
    /// Its tables.
    pub(super) found: &'d [T],
    /// Whether a table answers to a name.
    pub(super) is_called: fn(&T, &str) -> bool,
}

impl<'d, T: Borrow<Table>> Described<'d, T> {
    /// The tables to read: of each kind the one named, else all whose columns are those of Agno's.
    pub(super) fn choose(&self, tables: &Tables) -> Result<Vec<(&'d T, Layout)>, Error> {
        let path = || self.path.to_owned();
        for (kind, name) in tables.named() {
            let mut called = self.found.iter().filter(|table| (self.is_called)(table, name)).peekable();
            if called.peek().is_none() {
                return Err(Error::NoTable { path: path(), table: name.to_owned(), found: self.list() });
            }
            if !called.any(|table| kind_of(&layout(table)) == Some(kind)) {
                let whose = if kind == Kind::Runs { "runs" } else { "sessions" };
                let found = format!("table \"{name}\", whose columns are not those of Agno's {whose}");
                return Err(Error::NotAgno { path: path(), found });
            }
        }
        let wanted = |table: &&T| {
            let kind = kind_of(&layout(*table));
            kind.is_some_and(|kind| tables.want(kind, |name| (self.is_called)(table, name)))
        };
        let chosen: Vec<(&T, Layout)> =
            self.found.iter().filter(wanted).map(|table| (table, layout(table))).collect();
        // No table at all: Agno made the database and has not stored its first run yet.
        if chosen.is_empty() && !self.found.is_empty() {
            return Err(Error::NotAgno {
                path: path(),
                found: format!("{} with {}", self.what, self.list()),
            });
        }
        if !chosen.is_empty() && chosen.iter().all(|(_, layout)| *layout == Layout::V1) {
            let names: Vec<&str> = chosen.iter().map(|(table, _)| (*table).borrow().name.as_str()).collect();
            return Err(Error::AgnoV1 { path: path(), found: format!("table {}", names.join(", ")) });
        }
        Ok(chosen)
    }

    fn list(&self) -> String {
        const SHOWN: usize = 8;
        let names: Vec<&str> =
            self.found.iter().take(SHOWN).map(|table| table.borrow().name.as_str()).collect();
        match self.found.len() {
            0 => "no tables".to_owned(),
            count if count > SHOWN => format!("tables {} and {} more", names.join(", "), count - SHOWN),
            _ => format!("tables {}", names.join(", ")),
        }
    }
}

fn layout(table: &impl Borrow<Table>) -> Layout {
    table.borrow().layout()
}

fn kind_of(layout: &Layout) -> Option<Kind> {
    match layout {
        Layout::Runs => Some(Kind::Runs),
        Layout::SessionsWithRuns | Layout::Sessions | Layout::V1 => Some(Kind::Sessions),
        Layout::Other => None,
    }
}

/// A name as SQL has it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

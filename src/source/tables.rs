//! The tables a user named.

/// Table names, where the application chose its own. Naming one leaves the other to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// The sessions' table, or file in a `JsonDb` folder.
    pub sessions: Option<String>,
    /// The runs' table, or file in a `JsonDb` folder.
    pub runs: Option<String>,
}

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sessions,
    Runs,
}

impl Tables {
    pub(super) fn named(&self) -> Vec<(Kind, &str)> {
        let both = [(Kind::Sessions, &self.sessions), (Kind::Runs, &self.runs)];
        both.into_iter().filter_map(|(kind, name)| Some((kind, name.as_deref()?))).collect()
    }

    /// True for the table of its kind that was named, and for any where none was.
    pub(super) fn want(&self, kind: Kind, is_called: impl Fn(&str) -> bool) -> bool {
        self.named().iter().all(|(own, name)| *own != kind || is_called(name))
    }

    /// Without this name: its kind is left to be found.
    #[must_use]
    pub fn without(&self, table: &str) -> Self {
        let other = |name: &Option<String>| name.clone().filter(|name| name != table);
        Self { sessions: other(&self.sessions), runs: other(&self.runs) }
    }
}

//! Where to read.

use std::path::{Path, PathBuf};

use super::PostgresUrl;

/// Where to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file or a folder.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// A Postgres database.
    Postgres(PostgresUrl),
}

impl Location {
    /// `-` is standard input; a URL is a database.
    pub fn of(argument: &Path) -> Self {
        match argument.to_str() {
            Some("-") => Self::Stdin,
            Some(text) => {
                PostgresUrl::of(text).map_or_else(|| Self::Path(argument.to_owned()), Self::Postgres)
            }
            None => Self::Path(argument.to_owned()),
        }
    }

    /// What it is called in messages: a URL without its password.
    pub fn name(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::Stdin => "-".into(),
            Self::Postgres(url) => url.to_string().into(),
        }
    }
}

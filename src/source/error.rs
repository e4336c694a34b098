//! Why a source could not be read.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a source could not be read. Names the thing and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such file, no permission, a disk that fails.
    #[error("cannot read {path}")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What comes in only once could not be kept until it is read again.
    #[error(
        "cannot keep {path} in a temporary file (in {}, or where TMPDIR says)",
        std::env::temp_dir().display()
    )]
    Copy {
        /// What was to be kept.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A URL of something we do not read. What stands behind its scheme may be secret.
    #[error(
        "a {scheme}:// URL is not read; give a postgres:// URL, or the path of a database, a folder or a file"
    )]
    OtherUrl {
        /// Its scheme.
        scheme: String,
    },
    /// A pipe, a socket, a device: what it holds cannot be looked at again.
    #[error("{path} is neither a file nor a folder, and cannot be followed")]
    NotFollowed {
        /// What was named.
        path: PathBuf,
    },
    /// It was written anew between a first and a second reading.
    #[error("{path} was rewritten while it was read; nothing was counted, send it again")]
    Changed {
        /// What was read.
        path: PathBuf,
    },
    /// Neither runs nor a database of Agno's.
    #[error(
        "{path} holds no Agno runs: found {found}; expected an SQLite database, a folder, or a file of runs \
         (one, a list, or one per line)"
    )]
    NotAgno {
        /// What was read.
        path: PathBuf,
        /// What was there instead.
        found: String,
    },
    /// An SQLite database where only a stream of JSON can be read.
    #[error("{path} is an SQLite database, which cannot be read from a pipe; give its path instead")]
    SqlitePiped {
        /// What was read.
        path: PathBuf,
    },
    /// The file ends in the middle of a value, and did so for a while.
    #[error(
        "{path} is only half written (it ends in the middle of a value); try again when its writer has finished"
    )]
    HalfWritten {
        /// What was read.
        path: PathBuf,
    },
    /// A table the user named is not there.
    #[error("{path} has no table \"{table}\"; found {found}")]
    NoTable {
        /// The database.
        path: PathBuf,
        /// The name given.
        table: String,
        /// The names there.
        found: String,
    },
    /// The layout of Agno 1.x.
    #[error(
        "{path} was written by Agno 1.x ({found}), whose runs are not read; migrate it with Agno 2 first"
    )]
    AgnoV1 {
        /// The database.
        path: PathBuf,
        /// How it was told.
        found: String,
    },
    /// A table whose rows cannot be read a few at a time.
    #[error(
        "table \"{table}\" of {path} is WITHOUT ROWID, which is not read; give a copy of it made with CREATE TABLE … AS SELECT"
    )]
    WithoutRowid {
        /// The database.
        path: PathBuf,
        /// The table.
        table: String,
    },
    /// Another program holds the database.
    #[error("{path} is locked by another program, and was for {waited:?}; try again later")]
    Locked {
        /// The database.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// SQLite's own error.
    #[cfg(feature = "sqlite")]
    #[error("cannot read the SQLite database {path}{advice}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What may help, if anything is known to.
        advice: &'static str,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// A URL that says something else than how to connect.
    #[error("cannot use {path}: {reason}")]
    Url {
        /// The database.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// No connection, or an error of the server's.
    #[error("cannot read the Postgres database {path}: {reason}")]
    Postgres {
        /// The database.
        path: PathBuf,
        /// Why not, and what may help.
        reason: String,
    },
    /// A server that says nothing, or works too long on a page.
    #[error("{path} did not answer within {waited:?}; is its server reachable and not overloaded?")]
    TimedOut {
        /// The database.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Another process has the lead of it.
    #[error(
        "{path} is followed by another agno-otel, which counts its runs; stop that first, or send without a state file"
    )]
    Followed {
        /// The database.
        path: PathBuf,
    },
    /// Rows that cannot be told from those before them.
    #[error(
        "\"{table}\" of {path} is a view or a foreign table, which cannot be followed nor counted in a state file; name \
         a table with --runs-table or --sessions-table, or send it without a state file"
    )]
    NoPlaces {
        /// The database.
        path: PathBuf,
        /// The view.
        table: String,
    },
    /// This build cannot read Postgres.
    #[error("{path} is a Postgres database; reading it needs a build with the \"postgres\" feature")]
    NoPostgres {
        /// The database.
        path: PathBuf,
    },
    /// This build cannot read SQLite.
    #[error("{path} is an SQLite database; reading it needs a build with the \"sqlite\" feature")]
    NoSqlite {
        /// The database.
        path: PathBuf,
    },
}

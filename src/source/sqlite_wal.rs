//! The log of an SQLite database in WAL mode.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::Error;

/// True for a database in WAL mode whose log is not beside it. Reads the file itself, so not while it is open: to close it
/// would take SQLite's locks away.
pub(super) fn lacks_log(path: &Path) -> io::Result<bool> {
    Ok(is_in_wal_mode(path)? && !log_of(path)?.try_exists()?)
}

pub(super) fn tell_of_lacking_log(path: &Path) -> Result<(), Error> {
    if lacks_log(path).map_err(|source| Error::Read { path: path.to_owned(), source })? {
        tracing::info!(
            path = %path.display(),
            "is in WAL mode without a -wal file: all is there if its application has ended; of a copy runs may be \
             missing: copy with sqlite3 SOURCE \".backup COPY\", or bring the -wal"
        );
    }
    Ok(())
}

/// Where the log of a database in WAL mode is. A link's stands beside what it leads to.
pub(super) fn log_of(path: &Path) -> io::Result<PathBuf> {
    let mut log = path.canonicalize()?.into_os_string();
    log.push("-wal");
    Ok(log.into())
}

/// The versions of the format needed to write and to read: 2 is WAL.
pub(super) fn is_in_wal_mode(path: &Path) -> io::Result<bool> {
    const VERSIONS_AT: u64 = 18;
    let mut header = std::fs::File::open(path)?.take(VERSIONS_AT + 2);
    let mut bytes = Vec::new();
    header.read_to_end(&mut bytes)?;
    Ok(bytes.ends_with(&[2, 2]))
}

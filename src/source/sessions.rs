//! What Agno states of its sessions: read for a comparison, and by no one else.

use super::{Error, Location, Record, Tables};

/// Hands over what a location holds of sessions beside their runs: the `session_data` of each row with the row's columns,
/// or, from folders and files, everything in them, rows of sessions among it.
pub async fn sessions(
    location: &Location,
    tables: &Tables,
    accept: &mut (dyn FnMut(Record) + Send),
) -> Result<(), Error> {
    let mut accept_row = |_, record| accept(record);
    match location {
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => super::postgres::sessions(url, tables, &mut accept_row).await,
        #[cfg(feature = "sqlite")]
        Location::Path(path)
            if path.is_file() && super::is_sqlite(path).map_err(|error| super::unread(path, error))? =>
        {
            super::sqlite::sessions(path, tables, &mut accept_row)
        }
        _ => super::read(location, tables, &mut accept_row).await.map(|_| ()),
    }
}

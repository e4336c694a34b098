//! Who leads: of all that follow a table one reads it, and the others stand by.
//!
//! Held is an advisory lock of the very session that reads. It ends with that connection, however that ends, and nothing is
//! read over another one. To take it needs no right, and writes nothing.

use std::collections::BTreeSet;

use super::super::{Error, LOCK_PATIENCE, PostgresUrl};
use super::connection::Connection;
use super::{Name, number, text};

/// The first half of our locks' keys, "agno" and "agnp"; the other is the table's number. Others may have locks of their own.
const LEADS: i32 = 0x6167_6e6f;
const STANDS_BY: i32 = 0x6167_6e70;

/// What one connection holds.
#[derive(Debug, Default)]
pub(super) struct Lead {
    /// Of which connection that is said.
    opening: u64,
    /// The server's process that it talks to.
    process: Option<u32>,
    /// Tables it leads.
    held: BTreeSet<u32>,
    /// The table that another leads.
    awaited: Option<u32>,
    /// A pooler hands out connections by transaction: what one of them holds is not ours.
    is_pooled: bool,
    /// Another stood by, when last looked at.
    is_shared: bool,
}

impl Lead {
    /// Brings it up to the connection there is now. True: that is another than before, and what was held is lost.
    pub(super) async fn renew(&mut self, url: &PostgresUrl, connection: &Connection) -> Result<bool, Error> {
        if self.opening == connection.opening() {
            return Ok(false);
        }
        let was_pooled = std::mem::take(self).is_pooled;
        let process = process(connection).await?;
        let beside = Connection::to(url, LOCK_PATIENCE)?;
        let other = process_beside(&beside).await;
        let again = self::process(connection).await?;
        self.is_pooled = process != again || other == Some(process);
        (self.process, self.opening) = (Some(process), connection.opening());
        if self.is_pooled && !was_pooled {
            warn_of_pooler(connection);
        }
        Ok(true)
    }

    /// Takes the lead of tables. An error: another has it.
    pub(super) async fn take(
        &mut self,
        connection: &Connection,
        tables: &BTreeSet<u32>,
    ) -> Result<(), Error> {
        if self.is_pooled {
            return Ok(());
        }
        // One after the other, in the same order everywhere: of two that come together one has them all.
        for table in tables.difference(&self.held.clone()) {
            if !holds(connection, &format!("pg_try_advisory_lock({LEADS}, {})", signed(*table))).await? {
                self.stand_by(connection, *table).await?;
                return Err(Error::Followed { path: connection.name.clone() });
            }
            self.held.insert(*table);
        }
        if let Some(table) = self.awaited.take() {
            holds(connection, &format!("pg_advisory_unlock_shared({STANDS_BY}, {})", signed(table))).await?;
        }
        Ok(())
    }

    /// So that who leads knows.
    async fn stand_by(&mut self, connection: &Connection, table: u32) -> Result<(), Error> {
        let lock = format!("pg_try_advisory_lock_shared({STANDS_BY}, {})", signed(table));
        // It fails while the other looks whether anybody stands by.
        if self.awaited.is_none() && holds(connection, &lock).await? {
            self.awaited = Some(table);
        }
        Ok(())
    }

    /// What is to be asked beside each look: whether another stands by, and which process we talk to.
    pub(super) fn question(&self) -> String {
        let tables: Vec<String> = self.held.iter().map(|table| signed(*table).to_string()).collect();
        format!(
            "pg_backend_pid()::text, (SELECT bool_or(CASE WHEN pg_try_advisory_lock({STANDS_BY}, held) THEN NOT \
             pg_advisory_unlock({STANDS_BY}, held) ELSE true END)::text FROM unnest('{{{}}}'::int[]) AS held)",
            tables.join(",")
        )
    }

    /// What the answer was.
    pub(super) async fn answered(
        &mut self,
        connection: &Connection,
        process: Option<u32>,
        is_shared: bool,
    ) -> Result<(), Error> {
        if self.is_pooled || self.opening != connection.opening() {
            return Ok(());
        }
        self.is_shared = is_shared;
        if process != self.process {
            self.is_pooled = true;
            warn_of_pooler(connection);
            for table in std::mem::take(&mut self.held) {
                holds(connection, &format!("pg_advisory_unlock({LEADS}, {})", signed(table))).await?;
            }
        }
        Ok(())
    }

    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }
}

fn warn_of_pooler(connection: &Connection) {
    tracing::warn!(
        path = %connection.name.display(),
        "is behind a pooler that shares connections: whether another agno-otel follows it cannot be told; follow it from \
         one place only, or name the server itself"
    );
}

async fn process(connection: &Connection) -> Result<u32, Error> {
    let rows = connection.rows(&Name::default(), "SELECT pg_backend_pid()::text").await?;
    Ok(rows.first().and_then(|row| number(row, 0)).unwrap_or(0))
}

/// None: there is no second connection to be had.
async fn process_beside(connection: &Connection) -> Option<u32> {
    match process(connection).await {
        Ok(process) => Some(process),
        Err(error) => {
            tracing::debug!("no second connection: {}", crate::error::Chain(&error));
            None
        }
    }
}

async fn holds(connection: &Connection, function: &str) -> Result<bool, Error> {
    let rows = connection.rows(&Name::default(), &format!("SELECT {function}::text")).await?;
    Ok(rows.first().and_then(|row| text(row, 0)).is_some_and(|held| held == "true"))
}

/// Half of a key is signed, and a table's number is not.
fn signed(table: u32) -> i32 {
    table.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_another_stands_by_is_asked_of_every_table_that_is_led() {
        let lead = Lead { held: BTreeSet::from([16_384, u32::MAX]), ..Lead::default() };
        assert!(lead.question().contains("unnest('{16384,-1}'::int[])"), "{}", lead.question());
        assert!(Lead::default().question().contains("unnest('{}'::int[])"));
    }
}

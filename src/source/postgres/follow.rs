//! Following a database: whether anything was committed, and which rows that may be.
//!
//! A snapshot of the server's says which transactions are over. Where it is as before, nothing was committed. Where it is
//! not, what is new was written by a transaction that was not over then, so no older one than the oldest of those: the
//! server is asked for such rows alone. Everything is asked for at first, after an error, on another connection, and now and
//! then, for that tells what is gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::{Error, Part, PostgresUrl, Source, Tables};
use super::connection::Connection;
use super::lead::Lead;
use super::{Columns, Database, Leaf, Name, Relation, number, quoted, text};
use crate::framework::agno::tables::Layout;
use crate::framework::{Oddities, Oddity};

/// How often every row is asked for: what is gone waits for it, and it reads the whole table, though none of its JSON.
const WHOLE_EVERY: Duration = Duration::from_mins(5);
/// After a look of some length none for this many times as long: a tenth of one process at most is taken from the server.
const PACE: u32 = 10;
/// But no longer than this: a server that does not answer is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a table that is locked is waited for: it is looked at again soon.
const FOLLOW_PATIENCE: Duration = Duration::from_millis(100);

/// What tells that something was committed. On a server that only repeats another's log, the snapshot does not say who
/// is over, but everything moves the log.
const COMMITTED: &str = "txid_current_snapshot()::text, coalesce(pg_last_wal_replay_lsn()::text, '')";
/// What tells that tables were made, dropped, altered or written anew.
const TABLES: &str = "
    SELECT md5(coalesce(string_agg(concat_ws(',', c.oid, c.relnamespace, c.relname, c.relfilenode, c.relnatts), ';'
        ORDER BY c.oid), ''))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'";
/// What tells a database from one that took its place: its cluster, how often that was restored or another became the
/// first, its number.
const WHICH: &str = "
    SELECT (SELECT system_identifier FROM pg_control_system())::text,
        (SELECT timeline_id FROM pg_control_checkpoint())::text,
        (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())::text";

/// A database that is followed.
#[derive(Debug)]
pub(in super::super) struct Watch {
    url: PostgresUrl,
    database: Arc<Database>,
    lead: Lead,
    /// What was committed when it was asked last.
    committed: Vec<String>,
    /// The oldest transaction that was not over then.
    oldest: u64,
    /// The same at the last look that ended well; none: every row is asked for.
    since: Option<u64>,
    found: Option<Found>,
    whole_at: Option<Instant>,
    /// The lead was taken since the last look that ended well.
    is_new_lead: bool,
    began: Instant,
    not_before: Instant,
}

/// Its tables.
#[derive(Debug)]
struct Found {
    tables: String,
    leaves: Vec<Leaf>,
    oddities: Oddities,
}

impl Watch {
    pub(in super::super) fn of(url: &PostgresUrl) -> Result<Self, Error> {
        let now = Instant::now();
        Ok(Self {
            url: url.clone(),
            database: Arc::new(Database { connection: Connection::to(url, FOLLOW_PATIENCE)? }),
            lead: Lead::default(),
            committed: Vec::new(),
            oldest: 0,
            since: None,
            found: None,
            whole_at: None,
            is_new_lead: false,
            began: now,
            not_before: now,
        })
    }

    /// True if anything may have been committed since this was last asked, or if it is to be looked at anyway. Never before
    /// its time.
    pub(in super::super) async fn has_changed(&mut self, again: bool) -> Result<bool, Error> {
        if Instant::now() < self.not_before {
            return Ok(false);
        }
        self.began = Instant::now();
        let connection = &self.database.connection;
        // Between looks it may be opened again.
        connection.pin(false);
        let sql = format!("SELECT {COMMITTED}, {}", self.lead.question());
        let rows = connection.rows(&Name::default(), &sql).await?;
        let Some(row) = rows.first() else { return Ok(again) };
        connection.pin(true);
        let is_shared = text(row, 3).is_some_and(|shared| shared == "true");
        self.lead.answered(connection, number(row, 2), is_shared).await?;
        let committed: Vec<String> = [0, 1].iter().filter_map(|column| text(row, *column)).collect();
        self.oldest = committed.first().and_then(|snapshot| oldest(snapshot)).unwrap_or(0);
        // It never becomes older, but in a database that was restored.
        if self.since.is_some_and(|since| self.oldest < since) {
            self.since = None;
        }
        if self.lead.renew(&self.url, connection).await? {
            (self.since, self.found, self.is_new_lead) = (None, None, true);
        }
        let is_due = self.whole_at.is_some_and(|at| at.elapsed() > WHOLE_EVERY);
        if is_due {
            self.since = None;
        }
        let is_look = std::mem::replace(&mut self.committed, committed) != self.committed || again || is_due;
        connection.pin(is_look);
        Ok(is_look)
    }

    /// Its tables, if the lead is ours.
    pub(in super::super) async fn open(&mut self, tables: &Tables) -> Result<Source, Error> {
        self.find(tables).await?;
        let Self { database, found, lead, since, .. } = self;
        let Some(found) = found else { return Ok(Source::default()) };
        let oids: BTreeSet<u32> = found.leaves.iter().map(|leaf| leaf.oid).collect();
        lead.take(&database.connection, &oids).await?;
        database.measure(&mut found.leaves).await?;
        let leaf = |leaf: &Leaf| Part::Leaf(Leaf { since: *since, ..leaf.clone() });
        let mut source = Source { oddities: found.oddities.clone(), ..Source::default() };
        source.parts = found.leaves.iter().map(leaf).collect();
        source.postgres = Some(Arc::clone(database));
        Ok(source)
    }

    /// Finds the tables, if they are others than before.
    async fn find(&mut self, tables: &Tables) -> Result<(), Error> {
        let now = self.database.connection.rows(&Name::default(), TABLES).await?;
        let now = now.first().and_then(|row| text(row, 0)).unwrap_or_default();
        if self.found.as_ref().is_some_and(|found| found.tables == now) {
            return Ok(());
        }
        // Whoever stands where others stood is new.
        self.since = None;
        let (leaves, oddities) = self.database.leaves(tables).await?;
        self.found = Some(Found { tables: now, leaves, oddities });
        Ok(())
    }

    /// True if only rows that may be new are handed over, so that none that is missing is gone.
    pub(in super::super) fn is_partial(&self) -> bool {
        self.since.is_some()
    }

    /// True if it was not ours to read all the time since the last look that ended well.
    pub(in super::super) fn is_new_lead(&self) -> bool {
        self.is_new_lead
    }

    /// True if another stands by.
    pub(in super::super) fn is_shared(&self) -> bool {
        self.lead.is_shared()
    }

    /// A look ended, well or not.
    pub(in super::super) fn ended(&mut self, well: bool) {
        self.database.connection.pin(false);
        let now = Instant::now();
        self.not_before = now + ((now - self.began) * PACE).min(LONGEST_PAUSE);
        if !well {
            (self.since, self.found) = (None, None);
            return;
        }
        if self.since.is_none() {
            self.whole_at = Some(now);
        }
        (self.since, self.is_new_lead) = (Some(self.oldest), false);
    }
}

impl Database {
    /// Tables whose rows have places: those to read, of one in partitions each of them.
    async fn leaves(&self, tables: &Tables) -> Result<(Vec<Leaf>, Oddities), Error> {
        let found = self.relations(tables).await?;
        let (mut leaves, mut oddities, which) = (Vec::new(), Oddities::default(), self.which().await?);
        for (relation, layout) in self.choose(&found, tables)? {
            match layout {
                Layout::SessionsWithRuns | Layout::Runs => {
                    leaves.extend(self.leaves_of(relation, &layout, &which).await?);
                }
                Layout::V1 => oddities.add_many(Oddity::AgnoV1, self.count(relation).await?),
                Layout::Sessions | Layout::Other => {}
            }
        }
        Ok((leaves, oddities))
    }

    async fn leaves_of(&self, relation: &Relation, layout: &Layout, which: &str) -> Result<Vec<Leaf>, Error> {
        let oid = relation.oid;
        let sql = format!(
            "SELECT n.nspname, c.relname, c.relkind, c.oid::text, c.relfilenode::text FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.oid = {oid} AND c.relkind <> 'p'
                 OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree({oid}) WHERE isleaf) ORDER BY c.oid"
        );
        let mut leaves = Vec::new();
        for row in self.connection.rows(&relation.name, &sql).await? {
            let (Some(schema), Some(table), Some(oid)) = (text(&row, 0), text(&row, 1), number(&row, 3))
            else {
                continue;
            };
            let label = format!("{schema}.{table}");
            if text(&row, 2).is_some_and(|kind| kind == "v" || kind == "f") {
                return Err(Error::NoPlaces { path: self.connection.name.clone(), table: label });
            }
            leaves.push(Leaf {
                table: Name { schema: quoted(&schema), table: quoted(&table) },
                label,
                columns: Columns::of(&relation.table, layout),
                oid,
                identity: format!("{which} {oid} {}", text(&row, 4).unwrap_or_default()),
                blocks: 0,
                since: None,
            });
        }
        Ok(leaves)
    }

    /// Which database it is, as far as we may know.
    async fn which(&self) -> Result<String, Error> {
        let rows = self.connection.rows(&Name::default(), WHICH).await?;
        let words = rows.iter().flat_map(|row| (0..3).filter_map(|column| text(row, column)));
        Ok(words.collect::<Vec<_>>().join(" "))
    }

    /// How large tables are now.
    async fn measure(&self, leaves: &mut [Leaf]) -> Result<(), Error> {
        let size = |leaf: &Leaf| {
            format!("(pg_relation_size({}) / current_setting('block_size')::bigint)::text", leaf.oid)
        };
        if leaves.is_empty() {
            return Ok(());
        }
        let sizes: Vec<String> = leaves.iter().map(size).collect();
        let rows = self.connection.rows(&Name::default(), &format!("SELECT {}", sizes.join(", "))).await?;
        for (column, leaf) in leaves.iter_mut().enumerate() {
            leaf.blocks = rows.first().and_then(|row| number(row, column)).unwrap_or(0);
        }
        Ok(())
    }
}

/// Of `oldest:next:those between that are not over`, all by numbers that never come again.
fn oldest(snapshot: &str) -> Option<u64> {
    snapshot.split(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_transaction_that_is_not_over_is_the_first_of_a_snapshot() {
        assert_eq!(oldest("725:725:"), Some(725));
        assert_eq!(oldest("12884901895:12884901903:12884901895,12884901900"), Some(12_884_901_895));
        assert_eq!(oldest(""), None);
    }
}

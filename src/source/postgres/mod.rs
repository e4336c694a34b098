//! Agno's Postgres databases: read a page at a time, with nothing more than the right to `SELECT`.
//!
//! Every page is a transaction of its own that only reads, goes on behind the key the last one ended with, and is over
//! before anything is made of its rows.

mod connection;
mod follow;
mod inspect;
mod lead;
mod passfile;
mod places;
mod reason;
mod settings;
mod tls;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

use tokio_postgres::SimpleQueryRow;

use super::choice::{Described, quoted};
use super::{Error, LOCK_PATIENCE, Part, PostgresUrl, Record, Source, Spot, Tables};
use crate::framework::agno::tables::{Layout, Table};
use crate::framework::{Oddity, agno};
use connection::Connection;
pub(super) use follow::Watch;
pub(super) use inspect::inspect;
pub(super) use places::Leaf;

/// The tables of every schema but the system's, with the columns of those that could be Agno's: all of Agno's have a
/// session. Parts of a table are read with it.
const RELATIONS: &str = "
    SELECT n.nspname, c.relname, c.relkind, a.attname, c.oid::text FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND EXISTS (SELECT FROM pg_catalog.pg_attribute s
            WHERE s.attrelid = c.oid AND s.attname = 'session_id' AND NOT s.attisdropped)
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    ORDER BY n.nspname, c.relname, a.attnum";
/// A page ends with the row that reaches this many bytes, as the server stores them: compressed.
const PAGE_BYTES: usize = 1024 * 1024;
/// A page ends after this many rows.
const PAGE_ROWS: usize = 256;

pub(super) async fn read(
    url: &PostgresUrl,
    tables: &Tables,
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<Source, Error> {
    let database = Database { connection: Connection::to(url, LOCK_PATIENCE)? };
    let found = database.relations(tables).await?;
    let mut source = Source::default();
    for (relation, layout) in database.choose(&found, tables)? {
        match layout {
            Layout::SessionsWithRuns | Layout::Runs => {
                let mut rows = Rows::of(relation, &layout);
                rows.read(&database, source.parts(), accept).await?;
                source.parts.push(Part::Relation(rows));
            }
            Layout::V1 => {
                let count = database.count(relation).await?;
                source.oddities.add_many(Oddity::AgnoV1, count);
            }
            Layout::Sessions | Layout::Other => {}
        }
    }
    source.postgres = Some(database.into());
    Ok(source)
}

/// Hands over the `session_data` of every session.
pub(super) async fn sessions(
    url: &PostgresUrl,
    tables: &Tables,
    accept: &mut (dyn FnMut(Spot, Record) + Send),
) -> Result<(), Error> {
    let database = Database { connection: Connection::to(url, LOCK_PATIENCE)? };
    let found = database.relations(tables).await?;
    for (relation, _) in database.choose(&found, tables)? {
        if relation.table.has_session_data() {
            Rows::of_sessions(relation).read(&database, 0, accept).await?;
        }
    }
    Ok(())
}

/// A table, whose name for people has its schema.
struct Relation {
    table: Table,
    name: Name,
    is_view: bool,
    oid: u32,
}

/// A view shows again what a table has, and may take long for each page: it is read if it was named, or has no table
/// beside it.
fn leave_views(found: &mut Vec<Relation>, tables: &Tables) {
    let holds_runs =
        |relation: &Relation| matches!(relation.table.layout(), Layout::Runs | Layout::SessionsWithRuns);
    if found.iter().any(|relation| !relation.is_view && holds_runs(relation)) {
        let is_named = |relation: &Relation| tables.named().iter().any(|(_, name)| relation.is_called(name));
        found.retain(|relation| !relation.is_view || is_named(relation));
    }
}

/// Names as SQL has them.
#[derive(Debug, Clone, Default)]
struct Name {
    schema: String,
    table: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

impl Borrow<Table> for Relation {
    fn borrow(&self) -> &Table {
        &self.table
    }
}

impl Relation {
    /// With or without its schema.
    fn is_called(&self, name: &str) -> bool {
        let own = self.table.name.as_str();
        own == name || own.split_once('.').is_some_and(|(_, table)| table == name)
    }
}

#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    /// Every table that may be read, called `schema.table`.
    async fn relations(&self, tables: &Tables) -> Result<Vec<Relation>, Error> {
        let (nameless, mut found) = (Name::default(), BTreeMap::<_, (bool, u32, Vec<String>)>::new());
        for row in self.connection.rows(&nameless, RELATIONS).await? {
            let (Some(schema), Some(table)) = (text(&row, 0), text(&row, 1)) else { continue };
            let (is_view, oid, columns) = found.entry((schema, table)).or_default();
            *is_view = text(&row, 2).is_some_and(|kind| kind == "v" || kind == "m");
            *oid = number(&row, 4).unwrap_or(0);
            columns.extend(text(&row, 3));
        }
        let relation = |((schema, table), (is_view, oid, columns)): ((String, String), _)| Relation {
            name: Name { schema: quoted(&schema), table: quoted(&table) },
            table: Table { name: format!("{schema}.{table}"), columns },
            is_view,
            oid,
        };
        let mut found = found.into_iter().map(relation).collect();
        leave_views(&mut found, tables);
        Ok(found)
    }

    /// The tables to read.
    fn choose<'r>(
        &'r self,
        found: &'r [Relation],
        tables: &Tables,
    ) -> Result<Vec<(&'r Relation, Layout)>, Error> {
        let path = self.connection.name.as_path();
        Described { path, what: "a Postgres database", found, is_called: Relation::is_called }.choose(tables)
    }

    async fn count(&self, relation: &Relation) -> Result<u64, Error> {
        let sql = format!("SELECT count(*) FROM {}", relation.name);
        let rows = self.connection.rows(&relation.name, &sql).await?;
        Ok(rows.first().and_then(|row| text(row, 0)?.parse().ok()).unwrap_or(0))
    }
}

/// The columns of a table.
#[derive(Debug, Clone)]
struct Columns {
    /// What is read of a row.
    read: String,
    json: &'static str,
    /// The column rows are known and ordered by.
    id: &'static str,
}

impl Columns {
    fn of(table: &Table, layout: &Layout) -> Self {
        let is_run = *layout == Layout::Runs;
        let (json, id) = if is_run { ("run_data", "run_id") } else { ("runs", "session_id") };
        let stored = if is_run { table.column_or_null("updated_at") } else { "NULL".to_owned() };
        let read = format!(
            "{id}::text, {json}::text, session_id::text, {user}, {stored}, {index}",
            user = table.column_or_null("user_id"),
            index = table.column_or_null("run_index"),
        );
        Self { read, json, id }
    }
}

/// The rows of one table.
#[derive(Debug)]
pub(super) struct Rows {
    table: Name,
    columns: Columns,
    /// The ids of the rows handed over, to find them again.
    ids: Ids,
}

impl Rows {
    fn of(relation: &Relation, layout: &Layout) -> Self {
        let columns = Columns::of(&relation.table, layout);
        Self { table: relation.name.clone(), columns, ids: Ids::default() }
    }

    fn of_sessions(relation: &Relation) -> Self {
        let (json, id) = ("session_data", "session_id");
        let user = relation.table.column_or_null("user_id");
        let read = format!("{id}::text, {json}::text, {id}::text, {user}, NULL, NULL");
        let columns = Columns { read, json, id };
        Self { table: relation.name.clone(), columns, ids: Ids::default() }
    }

    /// Hands over the JSON of every row.
    async fn read(
        &mut self,
        database: &Database,
        part: u32,
        accept: &mut (dyn FnMut(Spot, Record) + Send),
    ) -> Result<(), Error> {
        let mut behind = None;
        loop {
            let page = database.connection.rows(&self.table, &self.page(behind.as_deref())).await?;
            let Some(last) = page.last() else { return Ok(()) };
            behind = text(last, 0);
            for row in page {
                let (Some(id), Some(record)) = (text(&row, 0), record(&row)) else { continue };
                let length = u32::try_from(record.json.len()).unwrap_or(u32::MAX);
                let at = self.ids.add(&id);
                accept(Spot { part, at, length, mark: 0 }, record);
            }
        }
    }

    /// The rows behind a key. Those that begin beyond the limit of bytes are left for the next page, by sizes the server
    /// knows without unpacking anything.
    fn page(&self, behind: Option<&str>) -> String {
        let Self { table, columns: Columns { read, json, id }, .. } = self;
        let behind =
            behind.map_or(format!("{id} IS NOT NULL"), |behind| format!("{id} > {}", literal(behind)));
        format!(
            "SELECT {read} FROM (SELECT *, sum(pg_column_size({json})) OVER (ORDER BY {id} ROWS BETWEEN UNBOUNDED \
             PRECEDING AND 1 PRECEDING) AS agno_otel_bytes_before FROM (SELECT * FROM {table} WHERE {behind} ORDER BY \
             {id} LIMIT {PAGE_ROWS}) AS page) AS page WHERE coalesce(agno_otel_bytes_before, 0) < {PAGE_BYTES} \
             ORDER BY {id}"
        )
    }

    /// Reads rows again, those that are still there.
    pub(super) async fn fetch(
        &self,
        database: &Database,
        spots: &[Spot],
        accept: &mut (dyn FnMut(Record) + Send),
    ) -> Result<(), Error> {
        let mut rest = spots;
        while !rest.is_empty() {
            let (page, behind) = rest.split_at(page_length(rest).min(rest.len()));
            rest = behind;
            let ids: Vec<String> =
                page.iter().filter_map(|spot| self.ids.get(spot.at)).map(literal).collect();
            let Self { table, columns: Columns { read, id, .. }, .. } = self;
            let sql = format!("SELECT {read} FROM {table} WHERE {id} IN ({}) ORDER BY {id}", ids.join(", "));
            let rows = database.connection.rows(&self.table, &sql).await?;
            rows.iter().filter_map(record).for_each(&mut *accept);
        }
        Ok(())
    }
}

/// How many of these rows make one page, by what they were when they were read first.
fn page_length(spots: &[Spot]) -> usize {
    let mut bytes = 0;
    let fitting = spots.iter().take(PAGE_ROWS).take_while(|spot| {
        let is_first_or_fits = bytes < PAGE_BYTES;
        bytes += spot.length as usize;
        is_first_or_fits
    });
    fitting.count().max(1)
}

/// Ids, a few bytes each beside their letters.
#[derive(Debug, Default)]
struct Ids {
    letters: String,
    ends: Vec<usize>,
}

impl Ids {
    fn add(&mut self, id: &str) -> u64 {
        self.letters.push_str(id);
        self.ends.push(self.letters.len());
        self.ends.len() as u64 - 1
    }

    fn get(&self, at: u64) -> Option<&str> {
        let at = usize::try_from(at).ok()?;
        let start = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.letters.get(start..*self.ends.get(at)?)
    }
}

/// A text as SQL has it, whatever `standard_conforming_strings` is. No text of Postgres holds a NUL.
fn literal(text: &str) -> String {
    let text = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
}

fn text(row: &SimpleQueryRow, column: usize) -> Option<String> {
    row.try_get(column).ok().flatten().map(str::to_owned)
}

fn number<N: std::str::FromStr>(row: &SimpleQueryRow, column: usize) -> Option<N> {
    row.try_get(column).ok()??.parse().ok()
}

fn record(row: &SimpleQueryRow) -> Option<Record> {
    let json = row.try_get(1).ok().flatten()?.as_bytes().to_vec();
    let columns = agno::Columns {
        session_id: text(row, 2),
        user_id: text(row, 3),
        stored_at_s: number(row, 4),
        index: number(row, 5),
    };
    Some(Record { json, columns })
}

#[cfg(test)]
mod tests;

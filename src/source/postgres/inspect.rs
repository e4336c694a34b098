//! What `check` asks of a Postgres database.

use tokio::time::Instant;
use tokio_postgres::SimpleQueryRow;

use super::super::inspect::{Found, FoundPart, Remark, SAMPLE, layout, of_seconds, traced};
use super::super::{Error, LOCK_PATIENCE, PostgresUrl, Tables};
use super::connection::Connection;
use super::{Database, Name, Relation, literal, text};
use crate::framework::Oddity;
use crate::framework::agno::tables::Layout;

/// What the server says of itself and of us.
const SERVER: &str = "
    SELECT current_setting('server_version'), pg_catalog.pg_is_in_recovery(), current_user,
        (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
        (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'statement_timeout'),
        floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, inet_server_port()";

const READER: &str = "use a role that may only read (docs/postgres.md)";

/// Indexes Agno makes, by their first columns: of runs, and of sessions.
const RUNS_INDEXES: [&str; 4] = ["run_id", "session_id", "status", "created_at"];
const SESSIONS_INDEXES: [&str; 1] = ["session_id"];

pub(in super::super) async fn inspect(url: &PostgresUrl, tables: &Tables) -> Result<Found, Error> {
    let database = Database { connection: Connection::to(url, LOCK_PATIENCE)? };
    let (mut found, mut is_superuser) = (Found::default(), false);
    let rows = database.connection.rows(&Name::default(), SERVER).await?;
    if let Some(row) = rows.first() {
        found.clock_ns =
            text(row, 5).and_then(|ms| ms.parse::<u64>().ok()).and_then(|ms| ms.checked_mul(1_000_000));
        is_superuser = text(row, 3).is_some_and(|is_it| is_it == "t");
        found.remarks.extend(server(row, database.connection.port()));
    }
    let relations = database.relations(tables).await?;
    let chosen = database.choose(&relations, tables)?;
    let started = Instant::now();
    for (relation, kind) in &chosen {
        let (what, json, indexes) = match kind {
            Layout::SessionsWithRuns => ("sessions", "runs", SESSIONS_INDEXES.as_slice()),
            Layout::Runs => ("runs", "run_data", RUNS_INDEXES.as_slice()),
            Layout::V1 => {
                found.oddities.add_many(Oddity::AgnoV1, database.count(relation).await?);
                continue;
            }
            Layout::Sessions | Layout::Other => continue,
        };
        let updated = relation.table.columns.iter().any(|column| column == "updated_at");
        let newest = relation.table.column_or_null(if updated { "updated_at" } else { "created_at" });
        let sql =
            format!("SELECT count(*), max({newest})::bigint FROM {} WHERE {json} IS NOT NULL", relation.name);
        let rows = database.connection.rows(&relation.name, &sql).await?;
        let number = |column| rows.first().and_then(|row| text(row, column)?.parse::<i64>().ok());
        found.newest_ns = found.newest_ns.max(number(1).and_then(of_seconds));
        let count = number(0).unwrap_or(0).unsigned_abs();
        found.parts.push(FoundPart { name: relation.table.name.clone(), what, count });
        let sql = format!(
            "SELECT pg_catalog.has_table_privilege({}, 'INSERT, UPDATE, DELETE')",
            literal(&relation.name.to_string())
        );
        let rows = database.connection.rows(&relation.name, &sql).await?;
        if rows.first().and_then(|row| text(row, 0)).is_some_and(|may| may == "t") && !is_superuser {
            found.remarks.push(Remark::fixed_by(
                format!("our role may write in {}; reading needs no more than SELECT", relation.table.name),
                READER,
            ));
        }
        if !relation.is_view {
            found.remarks.extend(missing_indexes(&database, relation, indexes).await?);
        }
    }
    found.counting = Some(started.elapsed());
    for relation in relations.iter().filter(|relation| relation.table.holds_traces()) {
        // We may have no right to read it, and need none.
        let count = database.count(relation).await.unwrap_or(0);
        found.remarks.extend(traced(&relation.table.name, count));
    }
    let of = |kind: Layout| chosen.iter().find(|(_, own)| *own == kind).map(|(relation, _)| &relation.name);
    let (sessions, runs) = (of(Layout::SessionsWithRuns), of(Layout::Runs));
    let mut unmigrated = 0;
    if let (Some(sessions), Some(runs)) = (sessions, runs) {
        // A migration takes over a session's first run too.
        let sql = format!(
            "SELECT count(*) FROM (SELECT runs -> 0 ->> 'run_id' AS first FROM {sessions} WHERE runs IS NOT NULL
                 LIMIT {SAMPLE}) AS s
             WHERE first IS NOT NULL AND NOT EXISTS (SELECT FROM {runs} WHERE run_id = first)"
        );
        // Of a column that is no JSON nothing is said.
        let rows = database.connection.rows(sessions, &sql).await.unwrap_or_default();
        unmigrated = rows.first().and_then(|row| text(row, 0)?.parse().ok()).unwrap_or(0);
    }
    found.layout = layout(sessions.is_some(), runs.is_some(), unmigrated);
    Ok(found)
}

fn server(row: &SimpleQueryRow, asked_port: Option<u16>) -> Vec<Remark> {
    let of = |column| text(row, column).unwrap_or_default();
    let mut remarks = vec![Remark::fine(format!("server version {}", of(0)))];
    if of(1) == "t" {
        remarks.push(Remark::fixed_by(
            "the server is a standby: what it holds may be late, and long queries may be cancelled",
            "read from the primary where runs are to be seen at once",
        ));
    }
    let user = of(2);
    remarks.push(if of(3) == "t" {
        Remark::fixed_by(format!("role \"{user}\" is a superuser; reading needs no more than SELECT"), READER)
    } else {
        Remark::fine(format!("role \"{user}\" is no superuser"))
    });
    if of(4) != "0" && !of(4).is_empty() {
        remarks.push(Remark::fine(format!("statement_timeout is {} ms; ours goes before it", of(4))));
    }
    let port: Option<u16> = of(6).parse().ok();
    if port.is_some() && port != asked_port {
        remarks.push(Remark::fine("something like PgBouncer stands between, which is fine"));
    }
    remarks
}

/// Indexes Agno makes, by what they begin with, that a table lacks.
async fn missing_indexes(
    database: &Database,
    relation: &Relation,
    wanted: &[&'static str],
) -> Result<Vec<Remark>, Error> {
    let sql = format!(
        "SELECT DISTINCT a.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
         AND a.attnum = i.indkey[0] WHERE i.indisvalid AND i.indrelid = {}::regclass",
        literal(&relation.name.to_string())
    );
    let rows = database.connection.rows(&relation.name, &sql).await?;
    let there: Vec<String> = rows.iter().filter_map(|row| text(row, 0)).collect();
    let missing: Vec<&str> =
        wanted.iter().copied().filter(|column| !there.iter().any(|own| own == column)).collect();
    let remark = |column: &str| {
        let is_key = wanted.first() == Some(&column);
        let (key, whose) = if is_key { ("UNIQUE ", "by which we ask") } else { ("", "which Agno makes") };
        Remark::fixed_by(
            format!("table {} has no index on {column}, {whose}", relation.table.name),
            format!("CREATE {key}INDEX CONCURRENTLY ON {} ({column})", relation.name),
        )
    };
    Ok(missing.into_iter().map(remark).collect())
}

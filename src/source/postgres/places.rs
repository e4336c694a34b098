//! The rows of a table by where they stand: what following asks for.
//!
//! Every version of a row has a place of its own (its `ctid`) and says which transaction wrote it (its `xmin`). So whatever
//! is written is another place or another writer, however late it is committed, whatever its clock says, and whether or not
//! it is as long as before.

use std::collections::BTreeMap;
use std::ops::Range;

use tokio_postgres::SimpleQueryRow;

use super::super::{Error, Record, Spot, Stamp};
use super::{Columns, Database, Name, PAGE_BYTES, record, text};

/// A statement that reads no JSON ends after this many blocks of a table, 16 MiB: some ten thousand rows, whose JSON stands
/// elsewhere. From Postgres 14 on it reads no others.
pub(super) const STAMP_BLOCKS: u32 = 2_048;

/// A table whose rows have places; of a table in partitions one of those.
#[derive(Debug, Clone)]
pub(in super::super) struct Leaf {
    pub(super) table: Name,
    /// `schema.table`, as people say it.
    pub(super) label: String,
    pub(super) columns: Columns,
    pub(super) oid: u32,
    /// Which table of which database it is, and since when its rows stand where they do.
    pub(super) identity: String,
    /// How many blocks it had when the look began. What was written behind them is for the next.
    pub(super) blocks: u32,
    /// Only rows that this transaction or a later one wrote; none: all.
    pub(super) since: Option<u64>,
}

impl Leaf {
    pub(in super::super) fn label(&self) -> &str {
        &self.label
    }

    pub(in super::super) fn identity(&self) -> &str {
        &self.identity
    }

    /// The rows of the next blocks behind a place, in order, and the last place of those blocks; none at the table's end.
    pub(in super::super) async fn stamps(
        &self,
        database: &Database,
        after: Option<u64>,
    ) -> Result<Option<(Vec<Stamp>, u64)>, Error> {
        let from = after.map_or(0, |at| (at >> u16::BITS) + 1);
        let Some(from) = u32::try_from(from).ok().filter(|from| *from < self.blocks) else { return Ok(None) };
        let to = from.saturating_add(STAMP_BLOCKS);
        let rows = database.connection.rows(&self.table, &self.stamps_of(from..to)).await?;
        let mut stamps: Vec<Stamp> = rows.iter().filter_map(|row| stamp(row, 0)).collect();
        stamps.sort_unstable_by_key(|stamp| stamp.at);
        Ok(Some((stamps, (u64::from(to) << u16::BITS) - 1)))
    }

    fn stamps_of(&self, blocks: Range<u32>) -> String {
        let Self { table, columns: Columns { json, id, .. }, .. } = self;
        // What is frozen is older than anything, and has an age beyond all.
        let since = self.since.map_or(String::new(), |since| {
            format!(" AND age(xmin) BETWEEN 0 AND age('{}'::xid)", short(since))
        });
        format!(
            "SELECT ctid::text, xmin::text, {id}::text FROM ONLY {table} WHERE ctid >= '({},0)'::tid AND ctid < \
             '({},0)'::tid AND {json} IS NOT NULL{since}",
            blocks.start, blocks.end
        )
    }

    /// Reads what stands at places now. Those where nothing does, or nothing with JSON, are left out.
    pub(in super::super) async fn rows(
        &self,
        database: &Database,
        places: &[u64],
        accept: &mut (dyn FnMut(Spot, Record) + Send),
    ) -> Result<(), Error> {
        let mut rest = places.to_vec();
        rest.sort_unstable();
        while !rest.is_empty() {
            let rows = database.connection.rows(&self.table, &self.rows_of(&rest)).await?;
            // The page ends with the limit of bytes, or with the rows.
            let read: BTreeMap<u64, &SimpleQueryRow> =
                rows.iter().filter_map(|row| Some((stamp(row, PLACE_AT)?.at, row))).collect();
            let Some(last) = read.last_key_value().map(|(at, _)| *at) else { return Ok(()) };
            for (at, row) in read {
                let (Some(Stamp { length, mark, .. }), Some(record)) = (stamp(row, PLACE_AT), record(row))
                else {
                    continue;
                };
                accept(Spot { part: 0, at, length, mark }, record);
            }
            rest.retain(|at| *at > last);
        }
        Ok(())
    }

    fn rows_of(&self, places: &[u64]) -> String {
        let Self { table, columns: Columns { read, json, id }, .. } = self;
        let places: Vec<String> = places.iter().map(|at| format!("\"{}\"", tid(*at))).collect();
        format!(
            "SELECT {read}, agno_otel_at::text, agno_otel_by::text, {id}::text FROM (SELECT *, sum(pg_column_size({json})) \
             OVER (ORDER BY agno_otel_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS agno_otel_bytes_before FROM \
             (SELECT *, ctid AS agno_otel_at, xmin AS agno_otel_by FROM ONLY {table} WHERE ctid = ANY ('{{{}}}'::tid[])) \
             AS page) AS page WHERE coalesce(agno_otel_bytes_before, 0) < {PAGE_BYTES} ORDER BY agno_otel_at",
            places.join(",")
        )
    }
}

/// Where a row's place stands behind what is read of it.
const PLACE_AT: usize = 6;

/// Of three columns: where a row stands, who wrote it, what it is called. The writer takes the place of the length.
fn stamp(row: &SimpleQueryRow, column: usize) -> Option<Stamp> {
    let at = packed(row.try_get(column).ok()??)?;
    let length = row.try_get(column + 1).ok()??.parse().ok()?;
    let mark = text(row, column + 2).map_or(0, |id| super::super::mark(id.as_bytes()));
    Some(Stamp { at, length, mark })
}

/// `(block,number)` as one number, which rises with both.
fn packed(tid: &str) -> Option<u64> {
    let (block, number) = tid.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some(u64::from(block.parse::<u32>().ok()?) << u16::BITS | u64::from(number.parse::<u16>().ok()?))
}

fn tid(at: u64) -> String {
    format!("({},{})", at >> u16::BITS, at & u64::from(u16::MAX))
}

/// The number of a transaction as rows have it, without the rounds it has been through.
fn short(transaction: u64) -> u64 {
    transaction & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(since: Option<u64>) -> Leaf {
        Leaf {
            table: Name { schema: "\"ai\"".to_owned(), table: "\"agno_runs\"".to_owned() },
            label: String::new(),
            columns: Columns { read: "run_id::text".to_owned(), json: "run_data", id: "run_id" },
            oid: 1,
            identity: String::new(),
            blocks: 1,
            since,
        }
    }

    #[test]
    fn a_place_is_one_number_in_the_order_of_the_table() {
        let places = ["(0,1)", "(0,2)", "(1,1)", "(65536,291)", "(4294967294,65535)"];
        let numbers: Vec<u64> = places.iter().map(|place| packed(place).unwrap()).collect();
        assert!(numbers.is_sorted());
        assert_eq!(numbers.iter().map(|at| tid(*at)).collect::<Vec<_>>(), places);
        for other in ["", "(1)", "(1,2", "1,2)", "(-1,2)", "(4294967296,1)", "(1,65536)"] {
            assert_eq!(packed(other), None, "{other}");
        }
    }

    #[test]
    fn only_what_was_written_since_is_asked_for_and_all_of_it_now_and_then() {
        let sql = leaf(Some((3 << 32) + 7)).stamps_of(2048..4096);
        assert!(sql.contains("FROM ONLY \"ai\".\"agno_runs\" WHERE ctid >= '(2048,0)'::tid"), "{sql}");
        assert!(sql.contains("ctid < '(4096,0)'::tid"), "{sql}");
        assert!(sql.ends_with("AND age(xmin) BETWEEN 0 AND age('7'::xid)"), "{sql}");
        assert!(!leaf(None).stamps_of(0..1).contains("age"));
    }

    #[test]
    fn rows_are_asked_for_by_their_places() {
        let sql = leaf(None).rows_of(&[1, (3 << 16) + 2]);
        assert!(sql.contains(r#"ctid = ANY ('{"(0,1)","(3,2)"}'::tid[])"#), "{sql}");
    }
}

//! A large table is followed: not every look asks for every row.

use rusqlite::Connection;

use crate::following::{Place, Running, follow, received_spans, stop, tokens, usage, wait_until};
use crate::reading::insert;
use crate::support::receiver::Receiver;
use crate::support::runs::with_own_ids;

/// More than a look asks for each time.
const ROWS: u32 = 40_000;

#[test]
fn whatever_is_done_to_a_row_of_a_large_table_is_counted_once() {
    let (place, receiver) = (Place::of("agno/3.1.10/tools_multi.db"), Receiver::start());
    let one = tokens(&place.database);
    let database = Connection::open(&place.database).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let (run_id, run_data) = database.query_row("SELECT run_id, run_data FROM agno_runs", [], row).unwrap();
    let fill =
        "INSERT INTO agno_runs (run_id, session_id, run_type, status, run_data, created_at, updated_at)
                WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                SELECT 'filler ' || i, (SELECT session_id FROM agno_runs), 'agent', 'COMPLETED', '{}', 0, 0 FROM n";
    database.execute(fill, [ROWS]).unwrap();
    let mut child = follow(&receiver.url(), &place.state(), &[&place.database], &["--history", "count"]);
    let child = child.spawn().map(Running).unwrap();
    wait_until("what was there", || usage(&receiver) == one);
    insert(&database, &run_id, &run_data, 1).unwrap();
    wait_until("a new row", || usage(&receiver) == 2 * one);
    insert(&database, &run_id, &run_data.replace("COMPLETED", "RUNNING"), 2).unwrap();
    wait_until("a run that is not over", || usage(&receiver) == 3 * one);
    let spans = received_spans(&receiver).len();
    let end = "UPDATE agno_runs SET run_data = replace(run_data, 'RUNNING', 'COMPLETED')";
    database.execute(end, []).unwrap();
    wait_until("its end", || received_spans(&receiver).len() == spans / 2 * 3);
    // It stands before all others, is as long as the one before, and its run was over.
    let (other_id, other) = (with_own_ids(&format!("\"{run_id}\""), 3), with_own_ids(&run_data, 3));
    let rewrite = "UPDATE agno_runs SET run_id = ?1, run_data = ?2 WHERE rowid = 1";
    database.execute(rewrite, [other_id.trim_matches('"'), &other]).unwrap();
    wait_until("another row in its place", || usage(&receiver) == 4 * one);
    database.execute("DELETE FROM agno_runs WHERE run_id LIKE 'filler%'", []).unwrap();
    insert(&database, other_id.trim_matches('"'), &run_data, 4).unwrap();
    wait_until("a row after most are gone", || usage(&receiver) == 5 * one);
    stop(child, 143);
    assert_eq!(usage(&receiver), 5 * one);
}

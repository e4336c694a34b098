use super::*;

fn relation(name: &str, columns: &[&str]) -> Relation {
    let columns = columns.iter().map(|&column| column.to_owned()).collect();
    let table = Table { name: name.to_owned(), columns };
    Relation { table, name: Name::default(), is_view: false, oid: 1 }
}

#[test]
fn a_table_answers_to_its_name_with_and_without_its_schema() {
    let relation = relation("ai.agno_runs", &[]);
    assert!(relation.is_called("agno_runs") && relation.is_called("ai.agno_runs"));
    assert!(
        !relation.is_called("public.agno_runs") && !relation.is_called("runs") && !relation.is_called("ai")
    );
}

#[test]
fn no_id_can_end_its_literal() {
    for (id, sql) in [("a", "'a'"), ("a'b", "'a''b'"), ("a\\", "E'a\\\\'"), ("\\'", "E'\\\\'''")] {
        assert_eq!(literal(id), sql);
    }
}

#[test]
fn ids_are_kept_in_order() {
    let mut ids = Ids::default();
    let places: Vec<u64> = ["a", "", "bç"].iter().map(|id| ids.add(id)).collect();
    assert_eq!(places.iter().map(|at| ids.get(*at)).collect::<Vec<_>>(), [Some("a"), Some(""), Some("bç")]);
    assert_eq!(ids.get(3), None);
}

#[test]
fn a_page_of_rows_read_again_is_bounded_by_rows_and_bytes() {
    let spots = |length: u32, count: usize| vec![Spot { part: 0, at: 0, length, mark: 0 }; count];
    assert_eq!(page_length(&spots(1, 1000)), PAGE_ROWS);
    assert_eq!(page_length(&spots(512 * 1024, 10)), 2);
    assert_eq!(page_length(&spots(u32::MAX, 10)), 1);
}

#[test]
fn columns_that_an_older_agno_lacks_are_null() {
    let rows = Rows::of(&relation("ai.mine", &["run_id", "session_id", "run_data"]), &Layout::Runs);
    assert_eq!(rows.columns.read, "run_id::text, run_data::text, session_id::text, NULL, NULL, NULL");
    assert!(rows.page(Some("a'b")).contains("WHERE run_id > 'a''b' ORDER BY run_id LIMIT 256"));
    let rows = Rows::of_sessions(&relation("ai.mine", &["session_id", "session_type", "session_data"]));
    assert_eq!(rows.columns.read, "session_id::text, session_data::text, session_id::text, NULL, NULL, NULL");
}

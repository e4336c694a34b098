//! `run --since`: of what was there before, traces are sent again, and nothing is counted twice.

use crate::following::{
    Place, TEAM, add_changed_copy, add_copy, expected_spans, follow, received_spans, stop, tokens, wait_until,
};
use crate::state_failures::{begun_at, beside, now_s, spends, start};
use crate::support::program::run;
use crate::support::receiver::Receiver;

#[test]
fn a_lost_state_file_is_announced_and_since_sends_the_traces_again() {
    for is_mark_lost in [false, true] {
        let (place, receiver) = (Place::of(TEAM), Receiver::start());
        let one = tokens(&place.database);
        for copy in 1..3 {
            add_changed_copy(&place.database, copy, |run| begun_at(run, now_s() - 1_000));
        }
        let child = start(&place, &receiver, &["--history", "count"]);
        wait_until("the spend", || spends(&receiver) == [3 * one]);
        wait_until("all spans", || received_spans(&receiver) == expected_spans(&place.database));
        let said = stop(child, 143);
        assert!(said.contains("the state file is new"), "{said}");
        let sent = receiver.spans().len();
        let remove = |end| std::fs::remove_file(beside(&place.state(), end));
        remove("").unwrap();
        if is_mark_lost {
            remove(".lock").unwrap();
        }
        let child = start(&place, &receiver, &["--since", "2h"]);
        // Two of three began since then; the fixture is older.
        wait_until("their spans", || receiver.spans().len() >= sent + sent / 3 * 2);
        add_copy(&place.database, 3);
        wait_until("what is new", || spends(&receiver) == [3 * one, one]);
        wait_until("its spans", || received_spans(&receiver) == expected_spans(&place.database));
        let said = stop(child, 143);
        assert!(said.contains("not counted") && said.contains("runs=9"), "{said}");
        assert_eq!(said.contains("the state file was lost"), !is_mark_lost, "{said}");
        assert_eq!(said.contains("the state file is new"), is_mark_lost, "{said}");
        assert_eq!(receiver.spans().len(), 2 * sent, "two copies again, and one more");
        // The state file knows the source by now.
        let child = start(&place, &receiver, &["--since", "2026-01-01", "--history", "traces"]);
        let before = receiver.metrics().len();
        wait_until("a release", || receiver.metrics().len() > before);
        let said = stop(child, 143);
        for flag in ["--since", "--history"] {
            assert!(said.contains(&format!("{flag} changes nothing")), "{said}");
        }
        assert_eq!(receiver.spans().len(), 2 * sent);
    }
}

#[test]
fn history_since_a_time_can_be_counted_and_what_makes_no_sense_is_refused() {
    let (place, receiver) = (Place::of(TEAM), Receiver::start());
    let one = tokens(&place.database);
    add_changed_copy(&place.database, 1, |run| begun_at(run, now_s() - 1_000));
    let child = start(&place, &receiver, &["--history", "count", "--since", "2h"]);
    wait_until("the spend", || spends(&receiver) == [one]);
    wait_until("the spans", || received_spans(&receiver).len() * 2 == expected_spans(&place.database).len());
    stop(child, 143);
    run(&mut follow(
        &receiver.url(),
        &place.state(),
        &[&place.database],
        &["--since", "2h", "--history", "skip"],
    ))
    .expect_code(2)
    .expect_words(&["--since", "--history skip"]);
    run(&mut follow(&receiver.url(), &place.state(), &[&place.database], &["--since", "soon"]))
        .expect_code(2)
        .expect_words(&["--since", "3d"]);
}

//! What the state file promises, where a whole process is more than the proof needs.

use std::sync::Arc;

use agno_otel::delivery::Refusal;
use agno_otel::framework::Keep;
use agno_otel::framework::agno::{Columns, decode};
use agno_otel::ledger::{Count, Measurement, Told, Value};
use agno_otel::money::{Own, OwnRates, Prices};
use agno_otel::otel::names;
use agno_otel::otel::request::Signal;
use agno_otel::otel::{Resource, Settings};
use agno_otel::source::Spot;
use agno_otel::state::State;
use agno_otel::state::counted::Patience;
use agno_otel::state::glance::Window;
use agno_otel::state::past::Contact;
use agno_otel::state::posted::POSTED;
use agno_otel::state::records::{History, PartId};
use agno_otel::{Intake, Record};
use tempfile::TempDir;

use crate::support::{RECEIVED_NS, classes};

const PATIENCE: Patience = Patience { parent_ns: 0, end_ns: 0 };

fn record(run_id: &str, tokens: u64) -> Record {
    let json = format!(
        r#"{{"run_id": "{run_id}", "agent_id": "a", "session_id": "s", "status": "COMPLETED", "model": "m",
            "model_provider": "OpenAI", "messages": [{{"role": "assistant", "id": "{run_id}",
            "metrics": {{"input_tokens": {tokens}, "output_tokens": 0}}}}]}}"#
    );
    Record { json: json.into_bytes(), columns: Columns::default() }
}

fn see(state: &mut State, part: PartId, at: u64, record: &Record, history: History) {
    let runs = decode(&record.json, &record.columns, Keep::Figures).runs;
    let length = u32::try_from(record.json.len()).unwrap();
    state.commit(|state| state.see(part, Spot::new(at, length, 0), (&runs, 0), history)).unwrap();
}

/// Counts everything that is due, of which these are all records. Returns how many families that were.
fn count(state: &mut State, records: &[&Record]) -> usize {
    count_at(state, records, PATIENCE, RECEIVED_NS)
}

fn count_at(state: &mut State, records: &[&Record], patience: Patience, now_ns: u64) -> usize {
    let due = state.due(now_ns, 9).unwrap();
    for family in &due {
        let mut intake = Intake::default();
        for record in records {
            intake.accept(record);
        }
        let gathered = intake.finish(now_ns);
        let said = (&Resource::default(), Settings::default());
        state.count(&[(*family, gathered)], said, patience, now_ns).unwrap();
    }
    due.len()
}

fn tokens(state: &mut State) -> u64 {
    classes(state.ledger(), &names::TOKEN_USAGE).values().sum()
}

/// The one series of what was spent, if there is one, and of what of that was corrected: nano-dollars.
fn cost(state: &mut State) -> (Option<u64>, u64) {
    let spent = state.ledger().counters(&names::COST).map(|(_, nano_usd)| nano_usd).next();
    let corrected = state.ledger().counters(&names::COST_CORRECTIONS).map(|(_, nano_usd)| nano_usd).sum();
    (spent, corrected)
}

/// What the histogram of sessions' costs holds.
fn session_costs(state: &mut State) -> u64 {
    let released = state.ledger().release(RECEIVED_NS);
    let sessions = released.iter().filter(|series| series.key.metric.name == names::SESSION_COST.name);
    sessions
        .map(|series| match &series.now.value {
            Value::Histogram(histogram) => histogram.sum,
            Value::Number(_) | Value::Quotient { .. } => panic!("a histogram"),
        })
        .sum()
}

fn open(folder: &TempDir) -> State {
    State::open(&folder.path().join("state.db")).unwrap()
}

#[test]
fn history_stays_history_when_something_new_comes_before_it_was_counted() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (
        record("11111111-1111-4111-8111-111111111111", 100),
        record("22222222-2222-4222-8222-222222222222", 7),
    );
    {
        let mut state = open(&folder);
        let part = state.part("agno.db\nagno_runs", "").unwrap();
        see(&mut state, part, 1, &old, History::Skip);
        see(&mut state, part, 2, &new, History::Count);
    }
    // A stop in between changes nothing.
    let mut state = open(&folder);
    assert_eq!(count(&mut state, &[&old, &new]), 1, "one session is one family");
    assert_eq!(tokens(&mut state), 7);
    assert_eq!(state.oldest(usize::MAX).unwrap().chunks.len(), 1, "one trace");
    // What it spends from now on is counted by the difference.
    let grown = record("11111111-1111-4111-8111-111111111111", 103);
    let part = state.part("agno.db\nagno_runs", "").unwrap();
    see(&mut state, part, 1, &grown, History::Count);
    count(&mut state, &[&grown, &new]);
    assert_eq!(tokens(&mut state), 10);
}

/// A record with one thing in it said otherwise.
fn with(record: &Record, from: &str, to: &str) -> Record {
    let json = String::from_utf8(record.json.clone()).unwrap();
    assert!(json.contains(from));
    Record { json: json.replace(from, to).into_bytes(), columns: Columns::default() }
}

#[test]
fn history_that_is_skipped_is_never_sent_though_its_parent_is_waited_for() {
    const HOUR_NS: u64 = 3600 * 1_000_000_000;
    let (folder, patience) = (TempDir::new().unwrap(), Patience { parent_ns: HOUR_NS, end_ns: HOUR_NS });
    let orphan = record("77777777-7777-4777-8777-777777777777", 9);
    let orphan = with(&orphan, "\"agent_id\"", "\"parent_run_id\": \"nobody\", \"agent_id\"");
    let mut state = open(&folder);
    let part = state.part("agno.db\nagno_runs", "").unwrap();
    see(&mut state, part, 1, &orphan, History::Skip);
    assert_eq!(count_at(&mut state, &[&orphan], patience, RECEIVED_NS), 1);
    // Seen again, and long after anybody waits for it.
    see(&mut state, part, 1, &orphan, History::Count);
    count_at(&mut state, &[&orphan], patience, RECEIVED_NS + 2 * HOUR_NS);
    assert_eq!((tokens(&mut state), state.oldest(usize::MAX).unwrap().chunks.len()), (0, 0));
}

/// Marks more as sent than the state file knows of, as if a copy from before had been put back.
fn put_back(folder: &TempDir) {
    std::fs::write(folder.path().join("state.db.lock"), format!("another-instance {RECEIVED_NS}\n")).unwrap();
}

#[test]
fn in_an_older_state_file_what_was_due_keeps_its_place_and_is_read_anew() {
    let folder = TempDir::new().unwrap();
    let counted = with(&record("11111111-1111-4111-8111-111111111111", 5), "\"s\"", "\"another\"");
    let due = record("22222222-2222-4222-8222-222222222222", 7);
    let mut state = open(&folder);
    let [table, posted] = ["agno.db\nagno_runs", POSTED].map(|name| state.part(name, "").unwrap());
    see(&mut state, table, 1, &counted, History::Count);
    count(&mut state, &[&counted]);
    see(&mut state, table, 2, &due, History::Count);
    see(&mut state, posted, 3, &due, History::Count);
    drop(state);
    put_back(&folder);
    let state = open(&folder);
    let lengths: Vec<(u64, u32)> =
        state.seen(table).unwrap().iter().map(|seen| (seen.at, seen.length)).collect();
    assert_eq!(lengths, [(1, u32::try_from(counted.json.len()).unwrap()), (2, 0)]);
    assert_eq!(state.unfinished(table).unwrap(), [2], "the next look reads it");
    assert_eq!(state.seen(posted).unwrap(), [], "nobody could read it again");
}

#[test]
fn in_an_older_state_file_what_another_process_reads_stays_with_it() {
    let folder = TempDir::new().unwrap();
    let mut state = open(&folder);
    let all = [("alone", Contact::Had), ("beside", Contact::Shared), ("not ours", Contact::Lost)];
    for (source, contact) in all {
        state.set_contact(source, contact).unwrap();
    }
    drop(state);
    put_back(&folder);
    let state = open(&folder);
    let contacts = all.map(|(source, _)| state.contact(source).unwrap());
    assert_eq!(contacts, [Contact::None, Contact::Shared, Contact::Lost]);
    // What was ours alone is met anew: what may have been counted is only sent.
    let of = |source, began_ns| state.past(source, History::Skip.into()).unwrap().of(Some(began_ns));
    let later_ns = RECEIVED_NS + 3600 * 1_000_000_000;
    assert_eq!([of("alone", 1), of("alone", later_ns)], [History::Traces, History::Count]);
    assert_eq!([of("not ours", 1), of("not ours", later_ns)], [History::Skip, History::Skip]);
}

#[test]
fn an_older_copy_is_told_by_what_was_shown_to_a_scraper_since() {
    let folder = TempDir::new().unwrap();
    let [file, copy] = ["state.db", "copy.db"].map(|name| folder.path().join(name));
    let shown = |at_ns| {
        let mut state = open(&folder);
        state.scrape(at_ns, 0).unwrap();
        state.instance_id().to_owned()
    };
    let instance = shown(RECEIVED_NS);
    std::fs::copy(&file, &copy).unwrap();
    assert_eq!(shown(RECEIVED_NS + 1), instance);
    assert_eq!(open(&folder).instance_id(), instance);
    std::fs::copy(&copy, &file).unwrap();
    assert_ne!(open(&folder).instance_id(), instance);
}

#[test]
fn a_trace_that_was_sent_before_its_end_is_sent_whole_when_that_comes_and_then_no_more() {
    let folder = TempDir::new().unwrap();
    let over = record("66666666-6666-4666-8666-666666666666", 9);
    let paused = Record {
        json: String::from_utf8(over.json.clone()).unwrap().replace("COMPLETED", "PAUSED").into_bytes(),
        columns: Columns::default(),
    };
    let traces = |state: &State| state.oldest(usize::MAX).unwrap().chunks.len();
    for (turn, (run, expected)) in
        [(&paused, 1), (&paused, 1), (&over, 2), (&over, 2)].into_iter().enumerate()
    {
        let mut state = open(&folder);
        let part = state.part("agno.db\nagno_runs", "").unwrap();
        see(&mut state, part, 1, run, History::Count);
        count(&mut state, &[run]);
        assert_eq!(traces(&state), expected, "turn {turn}");
        assert_eq!(tokens(&mut state), 9);
    }
}

#[test]
fn copies_whose_origin_comes_later_are_taken_out_of_their_session_all_of_them() {
    let folder = TempDir::new().unwrap();
    let run = |id: u32, message: u32, session: &str, origin: &str| {
        let fork = format!(r#""forked_from_session_id": {origin}, "session_id": "{session}""#);
        let own = record(&format!("77777777-7777-4777-8777-{id:012}"), 100);
        let text = String::from_utf8(own.json).unwrap().replace(r#""session_id": "s""#, &fork);
        let text = text.replace(
            &format!(r#""id": "77777777-7777-4777-8777-{id:012}""#),
            &format!(r#""id": "m{message}""#),
        );
        Record { json: text.into_bytes(), columns: Columns::default() }
    };
    let forked = |id, message| run(id, message, "fork", r#""origin""#);
    let mut records = vec![forked(1, 1), forked(2, 2), forked(3, 3)];
    let mut state = open(&folder);
    for (at, count_of_records) in [(0, 3), (3, 5)] {
        if at > 0 {
            records.extend([run(4, 1, "origin", "null"), run(5, 2, "origin", "null")]);
        }
        let part = state.part("agno.db\nagno_runs", "").unwrap();
        for (at, record) in (0..).zip(&records).skip(at) {
            see(&mut state, part, at, record, History::Count);
        }
        let all: Vec<&Record> = records.iter().collect();
        assert_eq!((count(&mut state, &all), all.len()), (1, count_of_records));
    }
    let corrected: u64 = classes(state.ledger(), &names::TOKEN_CORRECTIONS).values().sum();
    assert_eq!((tokens(&mut state), corrected), (500, 200));
    let file = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    let of = |session: &str| {
        let sql = "SELECT tokens FROM sessions WHERE id = ?1";
        file.query_row(sql, [session], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((of("fork"), of("origin")), (100, 200));
}

#[test]
fn what_is_told_again_after_a_commit_of_which_nobody_knows_is_counted_once() {
    let folder = TempDir::new().unwrap();
    let told = |tokens| {
        let attributes = vec![(names::TOKEN_CLASS, "input".to_owned())];
        let spent = Measurement {
            metric: &names::TOKEN_USAGE,
            attributes,
            count: Count::Share(tokens),
            exemplar: None,
        };
        [Told { measurements: vec![spent], session: None }]
    };
    let [first, second] = [1, 2].map(uuid::Uuid::from_u128);
    for (number, tokens, total) in [(first, 5, 5), (first, 5, 5), (second, 7, 12), (second, 7, 12)] {
        let mut state = open(&folder);
        state.tell(number, &told(tokens), &[], 0, &[], RECEIVED_NS).unwrap();
        let counted: u64 = state.ledger().counters(&names::TOKEN_USAGE).map(|(_, tokens)| tokens).sum();
        assert_eq!(counted, total);
    }
}

#[test]
fn what_was_counted_and_what_waits_outlive_the_process() {
    let folder = TempDir::new().unwrap();
    let run = record("33333333-3333-4333-8333-333333333333", 5);
    let (instance, waiting) = {
        let mut state = open(&folder);
        let part = state.part("agno.db\nagno_runs", "1:2").unwrap();
        see(&mut state, part, 1, &run, History::Count);
        count(&mut state, &[&run]);
        (state.instance_id().to_owned(), state.oldest(usize::MAX).unwrap())
    };
    let mut state = open(&folder);
    assert_eq!((tokens(&mut state), state.instance_id()), (5, instance.as_str()));
    assert_eq!(state.oldest(usize::MAX).unwrap(), waiting);
    assert_eq!(count(&mut state, &[&run]), 0, "nothing is due");
    // A file that was replaced is read again, and counts nothing twice.
    let part = state.part("agno.db\nagno_runs", "1:3").unwrap();
    assert_eq!(state.seen(part).unwrap(), []);
    see(&mut state, part, 1, &run, History::Count);
    assert_eq!(count(&mut state, &[&run]), 1);
    assert_eq!((tokens(&mut state), state.oldest(usize::MAX).unwrap()), (5, waiting));
}

#[test]
fn what_is_kept_is_known_to_the_byte_whatever_becomes_of_it() {
    let folder = TempDir::new().unwrap();
    let mut state = open(&folder);
    let part = state.part("agno.db\nagno_runs", "").unwrap();
    let path = state.path().to_owned();
    let in_the_file = || {
        let glance = Window::open(&path).unwrap().glance().unwrap();
        (glance.outbox.bytes, glance.dead_letters.bytes)
    };
    for (at, id) in (1..).zip(["11111111", "22222222", "33333333"]) {
        let run = record(&format!("{id}-1111-4111-8111-111111111111"), 5);
        see(&mut state, part, at, &run, History::Count);
        count(&mut state, &[&run]);
    }
    let (all, _) = in_the_file();
    assert!(all > 0 && state.kept_bytes() == all);
    // The first is delivered, the second refused.
    for is_refused in [false, true] {
        let oldest = state.oldest(0).unwrap();
        let bytes = oldest.chunks[0].bytes.clone();
        let refusal = Refusal {
            signal: Signal::Traces,
            bytes,
            items: 1,
            reason: "no".to_owned(),
            may_have_arrived: false,
        };
        let refused: Vec<Refusal> = is_refused.then_some(refusal).into_iter().collect();
        state.delivered(oldest.up_to, &refused, RECEIVED_NS).unwrap();
        let (waiting, dead) = in_the_file();
        assert!(state.kept_bytes() == waiting + dead && (dead > 0) == is_refused);
    }
    drop(state);
    let mut state = open(&folder);
    let (waiting, dead) = in_the_file();
    assert_eq!(state.kept_bytes(), waiting + dead);
    state.retry_dead_letters().unwrap();
    assert_eq!((state.kept_bytes(), 0), in_the_file());
    let oldest = state.oldest(0).unwrap();
    let (bytes, reason) = (oldest.chunks[0].bytes.clone(), "no".to_owned());
    let refusal = Refusal { signal: Signal::Traces, bytes, items: 1, reason, may_have_arrived: false };
    state.delivered(oldest.up_to, &[refusal], RECEIVED_NS).unwrap();
    state.drop_dead_letters().unwrap();
    assert_eq!((state.kept_bytes(), 0), in_the_file());
}

/// Written by the version whose layout was the first, with a run counted and its trace waiting.
const LAYOUT_1: &str = include_str!("../fixtures/state/layout-1.sql");

const RUN_OF_LAYOUT_1: &str = r#"{"run_id": "33333333-3333-4333-8333-333333333333", "agent_id": "a", "agent_name": "Writer", "session_id": "s", "status": "COMPLETED", "model": "gpt-4o", "model_provider": "OpenAI", "created_at": 1764000000, "messages": [{"role": "assistant", "id": "m1", "content": "hi", "metrics": {"input_tokens": 11, "output_tokens": 5}}]}"#;

/// Its 11 tokens at 2.50 dollars a million, and 5 at 10.
const OF_LAYOUT_1_NANO_USD: u64 = 11 * 2_500 + 5 * 10_000;

#[test]
fn an_older_file_is_brought_up_and_keeps_all_it_holds() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let version = || {
        let file = rusqlite::Connection::open(&path).unwrap();
        file.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    rusqlite::Connection::open(&path).unwrap().execute_batch(LAYOUT_1).unwrap();
    assert_eq!(version(), 1);
    let before = Window::open(&path).unwrap().glance().unwrap();
    assert_eq!((before.runs, before.series, before.outbox.requests), (1, 38, 1));
    {
        let mut state = State::open(&path).unwrap();
        assert_eq!(tokens(&mut state), 16);
        assert_eq!(state.instance_id(), "9052f5c8-fa02-43e1-ae11-2877b944215e");
        // What it counted is not counted again.
        let part = state.part("another.jsonl", "").unwrap();
        let run = Record { json: RUN_OF_LAYOUT_1.as_bytes().to_vec(), columns: Columns::default() };
        see(&mut state, part, 0, &run, History::Count);
        assert_eq!(count(&mut state, &[&run]), 1);
        assert_eq!(tokens(&mut state), 16);
        // What came with a later version is history to it: a cost is remembered, and nothing moves.
        assert_eq!(cost(&mut state), (Some(0), 0));
        state.close_sessions(RECEIVED_NS).unwrap();
        assert_eq!(session_costs(&mut state), 0);
        // A new run of its session counts.
        let json = RUN_OF_LAYOUT_1.replace("33333333", "44444444").replace("\"m1\"", "\"m2\"");
        let later = Record { json: json.into_bytes(), columns: Columns::default() };
        see(&mut state, part, 1, &later, History::Count);
        assert_eq!(count(&mut state, &[&run, &later]), 1);
        assert_eq!(tokens(&mut state), 32);
        assert_eq!(cost(&mut state), (Some(OF_LAYOUT_1_NANO_USD), 0));
        state.close_sessions(RECEIVED_NS).unwrap();
        assert_eq!(session_costs(&mut state), OF_LAYOUT_1_NANO_USD);
    }
    let after = Window::open(&path).unwrap().glance().unwrap();
    assert_eq!((after.runs, after.outbox.requests), (before.runs + 1, before.outbox.requests + 1));
    assert!(version() > 1, "its layout is a later one");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = State::open(&path).unwrap_err().to_string();
    assert!(refused.contains("layout 99") && refused.contains("install that version"), "{refused}");
}

#[test]
fn what_was_paid_stays_paid_whatever_prices_are_by_now() {
    let folder = TempDir::new().unwrap();
    let dear = |usd_per_million| {
        let rates = OwnRates { input: usd_per_million, ..OwnRates::default() };
        let own = Own { model: "m".to_owned(), rates: Some(rates), ..Own::default() };
        Arc::new(Prices { own: vec![own], ..Prices::default() })
    };
    let unknown = Arc::<Prices>::default();
    let [one, other] = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"]
        .map(|id| record(id, 100));
    let count = |prices: &Arc<Prices>, at, record: &Record, all: &[&Record]| {
        let mut state = open(&folder);
        let part = state.part("agno.db\nagno_runs", "").unwrap();
        see(&mut state, part, at, record, History::Count);
        let mut intake = Intake::default().priced(prices);
        for record in all {
            intake.accept(record);
        }
        let gathered = intake.finish(RECEIVED_NS);
        let due = state.due(RECEIVED_NS, 9).unwrap();
        let said = (&Resource::default(), Settings::default());
        state.count(&[(due[0], gathered)], said, PATIENCE, RECEIVED_NS).unwrap();
        state.close_sessions(RECEIVED_NS).unwrap();
        let unpriced = state.ledger().counters(&names::TOKEN_UNPRICED).map(|(_, tokens)| tokens).sum::<u64>();
        (cost(&mut state), unpriced, session_costs(&mut state))
    };
    // 100 tokens at 3 dollars a million; then the price is another one, or is not known any more.
    assert_eq!(count(&dear(3.0), 1, &one, &[&one]), ((Some(300_000), 0), 0, 300_000));
    for prices in [dear(1.0), dear(9.0), Arc::clone(&unknown)] {
        assert_eq!(count(&prices, 1, &one, &[&one]), ((Some(300_000), 0), 0, 300_000));
    }
    // What had no price has none later; what is new has today's.
    let _ = count(&unknown, 2, &other, &[&one, &other]);
    assert_eq!(count(&dear(9.0), 2, &other, &[&one, &other]), ((Some(300_000), 0), 100, 300_000));
    // What a run spends now is priced by today's prices, all of it; less of it goes to the corrections.
    let grown = record("11111111-1111-4111-8111-111111111111", 110);
    assert_eq!(count(&dear(1.0), 1, &grown, &[&grown, &other]).0, (Some(300_000), 190_000));
    assert_eq!(count(&dear(4.0), 1, &grown, &[&grown, &other]).0, (Some(300_000), 190_000));
    let grown = record("22222222-2222-4222-8222-222222222222", 200);
    assert_eq!(count(&dear(4.0), 2, &grown, &[&grown]).0, (Some(300_000 + 800_000), 190_000));
}

#[test]
fn what_is_noted_while_its_family_is_put_together_stays_due() {
    let folder = TempDir::new().unwrap();
    let mut state = open(&folder);
    let part = state.part("http", "").unwrap();
    let of = |id: u32, tokens| record(&format!("{id:08}-0000-4000-8000-000000000000"), tokens);
    let (first, second) = (of(1, 10), of(2, 100));
    see(&mut state, part, 1, &first, History::Count);
    let due = state.due(RECEIVED_NS, 9).unwrap();
    state.begin_gathering(due[0]);
    let mut intake = Intake::default();
    intake.accept(&first);
    let gathered = [(due[0], intake.finish(RECEIVED_NS))];
    // Handed over before what was gathered is counted.
    see(&mut state, part, 2, &second, History::Count);
    let said = (&Resource::default(), Settings::default());
    state.count(&gathered, said, PATIENCE, RECEIVED_NS).unwrap();
    assert_eq!(state.due(RECEIVED_NS, 9).unwrap(), due);
    assert_eq!(count(&mut state, &[&first, &second]), 1);
    assert_eq!((tokens(&mut state), state.due(RECEIVED_NS, 9).unwrap()), (110, Vec::new()));
    assert_eq!(state.oldest(usize::MAX).unwrap().chunks.len(), 2, "both traces");
}

#[test]
fn families_that_were_put_off_stand_in_nobodys_way() {
    let folder = TempDir::new().unwrap();
    let mut state = open(&folder);
    let part = state.part("agno.db\nagno_runs", "").unwrap();
    let of_session = |id: u32| {
        let Record { json, columns } = record(&format!("{id:08}-0000-4000-8000-000000000000"), 1);
        let json = String::from_utf8(json)
            .unwrap()
            .replace(r#""session_id": "s""#, &format!(r#""session_id": "s{id}""#));
        Record { json: json.into_bytes(), columns }
    };
    see(&mut state, part, 1, &of_session(1), History::Count);
    see(&mut state, part, 2, &of_session(2), History::Count);
    let [stuck, other] = state.due(RECEIVED_NS, 9).unwrap()[..] else { panic!("two families") };
    state.put_off(stuck, RECEIVED_NS - 1).unwrap();
    assert_eq!(state.due(RECEIVED_NS, 1).unwrap(), [other]);
    assert_eq!(state.due(RECEIVED_NS, 9).unwrap(), [other, stuck]);
}

use super::stored::StoredSession;
use super::*;

fn run(id: &str) -> RunKey {
    RunKey { run_id: id.to_owned(), reuse: String::new() }
}

fn usage(tokens: u64) -> Vec<Measurement> {
    let attributes = vec![("agent", "a".to_owned()), ("empty", String::new())];
    vec![Measurement { metric: &names::TOKEN_USAGE, attributes, count: Count::Share(tokens), exemplar: None }]
}

fn total(ledger: &Ledger, metric: &'static Metric) -> u64 {
    ledger.counters(metric).map(|(_, value)| value).sum()
}

#[test]
fn a_run_seen_again_moves_a_counter_by_the_difference_only() {
    let mut ledger = Ledger::default();
    for tokens in [10, 10, 25, 25] {
        ledger.observe(&run("a"), usage(tokens));
    }
    ledger.observe(&run("b"), usage(5));
    assert_eq!(total(&ledger, &names::TOKEN_USAGE), 30);
}

#[test]
fn a_shrink_goes_to_the_corrections_and_the_bill_stays_right() {
    let mut ledger = Ledger::default();
    for tokens in [30, 12, 20] {
        ledger.observe(&run("a"), usage(tokens));
    }
    let bill = total(&ledger, &names::TOKEN_USAGE) - total(&ledger, &names::TOKEN_CORRECTIONS);
    assert_eq!((total(&ledger, &names::TOKEN_USAGE), bill), (38, 20));
    ledger.observe(&run("a"), Vec::new());
    assert_eq!(total(&ledger, &names::TOKEN_USAGE) - total(&ledger, &names::TOKEN_CORRECTIONS), 0);
}

#[test]
fn a_series_that_moved_is_released_as_a_pair_and_one_at_rest_as_one_point() {
    let mut ledger = Ledger::default();
    ledger.observe(&run("a"), usage(7));
    let first = ledger.release(10_000_000_000);
    let older = first[0].before.as_ref().unwrap();
    assert_eq!((older.value.clone(), older.at_ns), (Value::Number(0), 9_000_000_000));
    assert_eq!((first[0].now.value.clone(), first[0].now.at_ns), (Value::Number(7), 10_000_000_000));
    assert!(first[0].start_ns < older.at_ns);
    // The clock stepped back: stamps still ascend, and the series has not moved.
    let second = ledger.release(3_000_000_000);
    assert!(second[0].before.is_none());
    assert_eq!(second[0].now.at_ns, 10_001_000_000);
    assert_eq!(second[0].start_ns, first[0].start_ns);
}

#[test]
fn values_beyond_the_cap_are_folded_and_nothing_is_lost() {
    let mut ledger = Ledger::default();
    for number in 0..MAX_VALUES_PER_ATTRIBUTE + 5 {
        let mut measurements = usage(1);
        measurements[0].attributes[0].1 = format!("agent {number}");
        // Said twice, it is one value.
        ledger.observe(&run(&number.to_string()), measurements.clone());
        ledger.observe(&run(&number.to_string()), measurements);
    }
    assert_eq!(total(&ledger, &names::TOKEN_USAGE), MAX_VALUES_PER_ATTRIBUTE as u64 + 5);
    let folded = ledger.counters(&names::TOKEN_USAGE).find(|(key, _)| key.attributes[0].1 == OTHER);
    assert_eq!(folded.map(|(_, value)| value), Some(5));
    assert_eq!(ledger.oddities().count(Oddity::FoldedValue), 5);
}

#[test]
fn a_quiet_session_is_recorded_with_what_was_added_since() {
    let mut ledger = Ledger::default();
    let share = |tokens| SessionShare { input_tokens: tokens, runs: 1, ..SessionShare::default() };
    ledger.observe_session("s", &run("a"), &share(10), &[], None);
    ledger.close_sessions();
    ledger.observe_session("s", &run("a"), &share(10), &[], None);
    ledger.observe_session("s", &run("b"), &share(4), &[], None);
    ledger.close_sessions();
    ledger.close_sessions();
    let key = SeriesKey { metric: &names::SESSION_TOKENS, attributes: Vec::new() };
    let Value::Histogram(histogram) = ledger.series[ledger.ids[&key].0].value() else {
        panic!("a histogram")
    };
    assert_eq!((histogram.count, histogram.sum), (2, 14));
    assert_eq!(total(&ledger, &names::SESSION_STARTED), 1);
}

#[test]
fn shares_said_of_one_series_are_one_share() {
    let mut ledger = Ledger::default();
    for _ in 0..2 {
        ledger.observe(&run("a"), [usage(7), usage(5)].concat());
    }
    assert_eq!(total(&ledger, &names::TOKEN_USAGE), 12);
}

#[test]
fn what_shrinks_and_is_not_spend_stays_as_it_is() {
    let mut ledger = Ledger::default();
    for tokens in [30, 12] {
        let mut measurements = usage(tokens);
        measurements[0].metric = &names::USAGE_INPUT_TOKENS;
        ledger.observe(&run("a"), measurements);
    }
    assert_eq!(total(&ledger, &names::USAGE_INPUT_TOKENS), 30);
    assert_eq!(total(&ledger, &names::TOKEN_CORRECTIONS), 0);
    assert_eq!(ledger.series_count(), 1);
}

#[test]
fn what_happens_once_is_counted_once_by_metric_run_and_key() {
    let once = |metric, key: &str| Measurement {
        metric,
        attributes: Vec::new(),
        count: Count::Once { key: key.to_owned(), value: 1 },
        exemplar: None,
    };
    let mut ledger = Ledger::default();
    for _ in 0..2 {
        ledger.observe(&run("a"), vec![once(&names::TOOL_CALLS, "t"), once(&names::TOOL_CALLS, "u")]);
        ledger.observe(&run("b"), vec![once(&names::TOOL_CALLS, "t"), once(&names::RUNS, "t")]);
    }
    assert_eq!((total(&ledger, &names::TOOL_CALLS), total(&ledger, &names::RUNS)), (3, 1));
}

#[test]
fn an_attribute_said_twice_or_empty_makes_no_other_series() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.series_count(), 0);
    let said = |attributes: &[(&'static str, &str)]| Measurement {
        metric: &names::RUNS,
        attributes: attributes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        count: Count::Birth,
        exemplar: None,
    };
    ledger.observe(&run("a"), vec![said(&[("x", "1"), ("y", "2"), ("z", "")])]);
    ledger.observe(&run("a"), vec![said(&[("y", "2"), ("x", "1"), ("x", "1")])]);
    assert_eq!(ledger.series_count(), 1);
    let (key, _) = ledger.counters(&names::RUNS).next().unwrap();
    assert_eq!(key.attributes, [("x", "1".to_owned()), ("y", "2".to_owned())]);
}

#[test]
fn a_session_is_named_and_shown_by_its_first_run_and_holds_what_all_of_them_spent() {
    let share = |tokens: u64, runs| SessionShare {
        input_tokens: tokens,
        output_tokens: tokens + 1,
        runs,
        duration_ns: 3_000_000_000 * runs,
        ..SessionShare::default()
    };
    let named = |name: &str| vec![("agent", name.to_owned())];
    let shown = Exemplar { trace_id: [1; 16], span_id: [2; 8], conversation: None, value: 0 };
    let mut ledger = Ledger::default();
    ledger.observe_session("s", &run("a"), &share(10, 1), &named("first"), Some(&shown));
    ledger.observe_session("s", &run("b"), &share(4, 0), &named("second"), None);
    // A run that turns out smaller takes from its session what it had given.
    ledger.observe_session("s", &run("b"), &share(2, 0), &named("second"), None);
    ledger.observe_session("t", &run("c"), &share(6, 1), &named("first"), None);
    ledger.close_sessions();
    assert_eq!((ledger.session_count(), total(&ledger, &names::SESSION_STARTED)), (2, 2));
    let histogram = |metric| {
        let key = SeriesKey { metric, attributes: named("first") };
        let Value::Histogram(histogram) = ledger.series[ledger.ids[&key].0].value() else {
            panic!("a histogram")
        };
        (histogram.count, histogram.sum)
    };
    assert_eq!(histogram(&names::SESSION_TOKENS), (2, 26 + 13));
    assert_eq!(histogram(&names::SESSION_INPUT), (2, 10 + 2 + 6));
    assert_eq!(histogram(&names::SESSION_OUTPUT), (2, 11 + 3 + 7));
    assert_eq!(histogram(&names::SESSION_RUN_COUNT), (2, 2));
    assert_eq!(histogram(&names::SESSION_DURATION), (2, 6_000_000_000));
    assert_eq!(total(&ledger, &names::SESSION_LARGEST), 26);
    let released = ledger.release(10_000_000_000);
    for metric in [&names::SESSION_STARTED, &names::SESSION_TOKENS] {
        let one = released.iter().find(|one| one.key.metric.name == metric.name).unwrap();
        assert_eq!(one.now.exemplars[0].1.span_id, [2; 8], "{}", metric.name);
    }
}

proptest::proptest! {
    #[test]
    fn sums_do_not_depend_on_order_or_repetition(
        shares in proptest::collection::vec((0usize..5, 0u64..100), 1..30), turn in 0usize..30,
    ) {
        // The last word said of each run counts, so both orders end with the same words.
        let mut last = BTreeMap::new();
        for &(id, tokens) in &shares {
            last.insert(id, tokens);
        }
        let mut there = Ledger::default();
        let mut back = Ledger::default();
        let mut turned = shares.clone();
        turned.rotate_left(turn % shares.len());
        for (id, tokens) in shares {
            there.observe(&run(&id.to_string()), usage(tokens));
        }
        for (id, tokens) in turned.into_iter().chain(last.clone()) {
            back.observe(&run(&id.to_string()), usage(tokens));
        }
        let bill = |ledger: &Ledger| total(ledger, &names::TOKEN_USAGE) - total(ledger, &names::TOKEN_CORRECTIONS);
        proptest::prop_assert_eq!(bill(&there), last.values().sum::<u64>());
        proptest::prop_assert_eq!(bill(&back), last.values().sum::<u64>());
    }
}

/// What a run says of its cost: 10 nano-dollars a token at the price of 10, and so on; none at no price.
fn priced(tokens: u64, price: Option<u64>) -> Vec<Measurement> {
    let said = |metric, value| Measurement {
        metric,
        attributes: vec![("model", "m".to_owned())],
        count: Count::Priced { value, basis: tokens },
        exemplar: None,
    };
    let unpriced = if price.is_none() { tokens } else { 0 };
    let cost = price.map(|price| price * tokens);
    vec![said(&names::COST, cost), said(&names::TOKEN_UNPRICED, Some(unpriced))]
}

#[test]
fn a_run_that_says_the_same_keeps_its_cost_and_one_that_says_another_has_todays() {
    let mut ledger = Ledger::default();
    let of = |ledger: &Ledger| {
        let totals = [&names::COST, &names::COST_CORRECTIONS, &names::TOKEN_UNPRICED];
        totals.map(|metric| total(ledger, metric))
    };
    for (tokens, price, expected) in [
        (5, None, [0, 0, 5]),
        // Whatever is known by now, it had no price.
        (5, Some(10), [0, 0, 5]),
        (6, Some(10), [60, 0, 5]),
        (6, Some(20), [60, 0, 5]),
        (6, None, [60, 0, 5]),
        (7, Some(5), [60, 25, 5]),
        // Its price is not known any more: what it cost is taken back, and none of it has a price.
        (8, None, [60, 60, 8]),
    ] {
        ledger.observe(&run("a"), priced(tokens, price));
        assert_eq!(of(&ledger), expected, "{tokens} {price:?}");
    }
    let mut unknown = Ledger::default();
    unknown.observe(&run("a"), priced(5, None));
    assert_eq!(unknown.counters(&names::COST).count(), 0, "there is no series of what has no price");
}

#[test]
fn a_session_costs_what_was_counted_of_its_runs() {
    let mut ledger = Ledger::default();
    let share = SessionShare { input_tokens: 5, cost_nano_usd: 999, ..SessionShare::default() };
    for price in [10, 20] {
        for id in ["a", "b"] {
            ledger.observe(&run(id), priced(5, Some(price)));
            ledger.observe_session("s", &run(id), &share, &[], None);
        }
        ledger.close_sessions();
        let key = SeriesKey { metric: &names::SESSION_COST, attributes: Vec::new() };
        let Value::Histogram(histogram) = ledger.series[ledger.ids[&key].0].value() else {
            panic!("a histogram")
        };
        assert_eq!((histogram.count, histogram.sum), (1, 100), "at the price of {price}");
    }
}

proptest::proptest! {
    #[test]
    fn costs_are_what_runs_were_counted_with_and_no_counter_falls(
        steps in proptest::collection::vec((0usize..4, 1u64..6, proptest::option::of(1u64..9)), 1..40),
        repeats in 1usize..3,
    ) {
        let mut ledger = Ledger::default();
        // What each run said last, and what it was counted with.
        let mut held = BTreeMap::<usize, (u64, u64)>::new();
        let mut before = [0, 0];
        for (id, tokens, price) in steps {
            for _ in 0..repeats {
                ledger.observe(&run(&id.to_string()), priced(tokens, price));
            }
            let cost = price.map_or(0, |price| price * tokens);
            let said = held.entry(id).or_insert((tokens, cost));
            if said.0 != tokens {
                *said = (tokens, cost);
            }
            let now = [total(&ledger, &names::COST), total(&ledger, &names::COST_CORRECTIONS)];
            proptest::prop_assert!(now[0] >= before[0] && now[1] >= before[1], "{:?} after {:?}", now, before);
            proptest::prop_assert_eq!(now[0] - now[1], held.values().map(|(_, cost)| cost).sum::<u64>());
            before = now;
        }
    }

    #[test]
    fn costs_do_not_depend_on_the_order_of_runs(runs in proptest::collection::btree_map(0usize..9, (1u64..6, 1u64..9), 1..9)) {
        let counted = |order: Vec<(&usize, &(u64, u64))>| {
            let mut ledger = Ledger::default();
            for (id, (tokens, price)) in order {
                ledger.observe(&run(&id.to_string()), priced(*tokens, Some(*price)));
            }
            total(&ledger, &names::COST)
        };
        proptest::prop_assert_eq!(counted(runs.iter().collect()), counted(runs.iter().rev().collect()));
    }
}

#[test]
fn a_session_passes_a_threshold_once_whatever_is_taken_back_restarted_or_history() {
    static THRESHOLDS: [Limit; 3] = [Limit::Tokens(100), Limit::Tokens(200), Limit::NanoUsd(50)];
    let share = |tokens| SessionShare { input_tokens: tokens, ..SessionShare::default() };
    let observe = |ledger: &mut Ledger, id: &str, tokens| {
        ledger.watch(&THRESHOLDS);
        ledger.observe_session("s", &run(id), &share(tokens), &[], None);
    };
    let crossed = |ledger: &Ledger| -> Vec<(String, u64)> {
        let of = |(key, value): (&SeriesKey, u64)| (key.attributes[0].1.clone(), value);
        ledger.counters(&names::SESSION_CROSSED).map(of).collect()
    };
    let are = |counts: [u64; 3]| -> Vec<(String, u64)> {
        THRESHOLDS.iter().map(|threshold| threshold.text()).zip(counts).collect()
    };
    let mut ledger = Ledger::default();
    observe(&mut ledger, "a", 99);
    assert_eq!(crossed(&ledger), are([0, 0, 0]), "born together");
    observe(&mut ledger, "b", 1);
    assert_eq!(crossed(&ledger), are([1, 0, 0]));
    assert_eq!(ledger.take_crossed(), [("s".to_owned(), Limit::Tokens(100))]);
    // Taken back, spent again, seen again.
    for tokens in [0, 1, 1] {
        observe(&mut ledger, "b", tokens);
    }
    // After a restart.
    let stored: Vec<(String, StoredSession)> =
        ledger.sessions().map(|(id, session)| (id.to_owned(), session)).collect();
    ledger.forget_runs();
    for (id, session) in stored {
        ledger.remember_session(id, session);
    }
    observe(&mut ledger, "c", 50);
    assert_eq!(crossed(&ledger), are([1, 0, 0]));
    // Two at once, and history.
    ledger.set_history(true);
    observe(&mut ledger, "d", 45);
    ledger.set_history(false);
    assert_eq!((crossed(&ledger), ledger.take_crossed()), (are([1, 0, 0]), Vec::new()));
    observe(&mut ledger, "e", 10);
    assert_eq!(crossed(&ledger), are([1, 1, 0]), "what history holds counts towards it");
    ledger.observe_session("t", &run("f"), &share(300), &[], None);
    assert_eq!(crossed(&ledger), are([2, 2, 0]));
}

#[test]
fn history_takes_nothing_from_what_its_session_has_not_recorded_yet() {
    let share = |tokens| SessionShare { input_tokens: tokens, ..SessionShare::default() };
    let mut ledger = Ledger::default();
    ledger.observe_session("s", &run("new"), &share(10), &[], None);
    ledger.set_history(true);
    ledger.observe_session("s", &run("old"), &share(500), &[], None);
    ledger.set_history(false);
    ledger.close_sessions();
    let released = ledger.release(1);
    let of_tokens = released.iter().find(|series| series.key.metric.name == names::SESSION_TOKENS.name);
    let Value::Histogram(histogram) = &of_tokens.unwrap().now.value else { panic!("a histogram") };
    assert_eq!((histogram.count, histogram.sum), (1, 10));
}

#[test]
fn what_history_holds_is_never_taken_back_and_what_came_after_it_is() {
    let mut ledger = Ledger::default();
    let bill =
        |ledger: &Ledger| (total(ledger, &names::TOKEN_USAGE), total(ledger, &names::TOKEN_CORRECTIONS));
    ledger.set_history(true);
    ledger.observe(&run("a"), usage(100));
    ledger.set_history(false);
    ledger.observe(&run("a"), usage(130));
    assert_eq!(bill(&ledger), (30, 0));
    let stored = ledger.run(&run("a")).unwrap();
    ledger.forget_runs();
    ledger.remember_run(run("a"), serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap());
    ledger.observe(&run("a"), usage(90));
    assert_eq!(bill(&ledger), (30, 30));
    ledger.observe(&run("a"), usage(95));
    assert_eq!(bill(&ledger), (35, 30));
    ledger.observe(&run("a"), Vec::new());
    assert_eq!(bill(&ledger), (35, 35));
}

#[test]
fn a_copy_that_is_taken_back_is_in_no_session_and_one_of_history_corrects_nothing() {
    for is_history in [false, true] {
        let share = |tokens| SessionShare { input_tokens: tokens, runs: 1, ..SessionShare::default() };
        let mut ledger = Ledger::default();
        ledger.set_history(is_history);
        ledger.observe(&run("copy"), usage(100));
        ledger.observe_session("fork", &run("copy"), &share(100), &[], None);
        ledger.set_history(false);
        ledger.observe(&run("own"), usage(7));
        ledger.observe_session("fork", &run("own"), &share(7), &[], None);
        ledger.take_back(&run("copy"), Some("fork"));
        let bill = total(&ledger, &names::TOKEN_USAGE) - total(&ledger, &names::TOKEN_CORRECTIONS);
        assert_eq!((bill, ledger.sessions["fork"].totals.clone()), (7, share(7)));
        ledger.close_sessions();
        let released = ledger.release(1);
        let of_tokens = released.iter().find(|series| series.key.metric.name == names::SESSION_TOKENS.name);
        let Value::Histogram(histogram) = &of_tokens.unwrap().now.value else { panic!("a histogram") };
        assert_eq!((histogram.count, histogram.sum), (1, 7), "history: {is_history}");
    }
}

#[test]
fn after_an_upgrade_only_the_new_version_is_released() {
    let mut ledger = Ledger::default();
    for version in ["1", "2", "2"] {
        ledger.set_alone(&names::BRIDGE_INFO, vec![(names::BRIDGE_VERSION, version.to_owned())], 1);
    }
    let released = ledger.release(1);
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].key.attributes, [(names::BRIDGE_VERSION, "2".to_owned())]);
}

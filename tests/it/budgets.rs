//! Budgets count what runs spent when they began, whenever it came to be known.

use std::collections::BTreeMap;

use agno_otel::framework::Keep;
use agno_otel::framework::agno::{Columns, decode};
use agno_otel::model::RunKind;
use agno_otel::model::budget::{Budget, Limit, Scope, Window};
use agno_otel::otel::{Resource, Settings};
use agno_otel::source::Spot;
use agno_otel::state::State;
use agno_otel::state::counted::Patience;
use agno_otel::state::records::History;
use agno_otel::{Intake, Record};
use tempfile::TempDir;

use crate::support::points::{Point, Value, points};
use crate::support::program::{agno_otel, run};
use crate::support::receiver::Receiver;

const PATIENCE: Patience = Patience { parent_ns: 0, end_ns: 0 };
/// Midnight of 2026-12-01, UTC.
const DECEMBER_S: u64 = 1_796_083_200;
const NANO: i64 = 1_000_000_000;
const DAY_S: u64 = 24 * 3600;

/// A run of an agent that began at a time, if it says one, and spent so many tokens.
struct Ran<'r> {
    id: u32,
    agent: &'r str,
    team: Option<u32>,
    at_s: u64,
    tokens: u64,
}

impl Ran<'_> {
    fn record(&self) -> Record {
        let id = |number: u32| format!("00000000-0000-4000-8000-{number:012}");
        let parent = self.team.map(|team| format!(r#""parent_run_id": "{}","#, id(team))).unwrap_or_default();
        let kind = if self.agent == "Desk" { "team" } else { "agent" };
        let (run, Self { agent, tokens, .. }) = (id(self.id), self);
        let at_s = if self.at_s == 0 { "null".to_owned() } else { self.at_s.to_string() };
        let json = format!(
            r#"{{"run_id": "{run}", "{kind}_id": "{agent}", "{kind}_name": "{agent}", "session_id": "s", {parent}
                "status": "COMPLETED", "model": "gpt-4o", "model_provider": "OpenAI", "created_at": {at_s},
                "messages": [{{"role": "assistant", "id": "{run}", "created_at": {at_s},
                "metrics": {{"input_tokens": {tokens}, "output_tokens": 0}}}}]}}"#
        );
        Record { json: json.into_bytes(), columns: Columns::default() }
    }
}

/// Notes records and counts what is due of them.
fn count(state: &mut State, history: History, now_s: u64, runs: &[Ran<'_>]) {
    let records: Vec<Record> = runs.iter().map(Ran::record).collect();
    let part = state.part("agno.db", "").unwrap();
    for (at, record) in (0..).zip(&records) {
        let runs = decode(&record.json, &record.columns, Keep::Figures).runs;
        let spot = Spot::new(at, u32::try_from(record.json.len()).unwrap(), 0);
        state.commit(|state| state.see(part, spot, (&runs, 0), history)).unwrap();
    }
    let now_ns = now_s * 1_000_000_000;
    for family in state.due(now_ns, 9).unwrap() {
        let mut intake = Intake::default();
        for record in &records {
            intake.accept(record);
        }
        let gathered = [(family, intake.finish(now_ns))];
        state.count(&gathered, (&Resource::default(), Settings::default()), PATIENCE, now_ns).unwrap();
    }
}

fn tokens(state: &State, scope: Scope, window: Window, now_s: u64) -> u64 {
    let budget = Budget { name: "b".to_owned(), scope, limit: Limit::Tokens(1_000), window };
    state.standings(&[budget], now_s).unwrap()[0].usage
}

fn open(folder: &TempDir) -> State {
    State::open(&folder.path().join("state.db")).unwrap()
}

#[test]
fn a_late_run_counts_in_the_month_in_which_it_began() {
    let folder = TempDir::new().unwrap();
    let ran = |id, at_s, tokens| Ran { id, agent: "a", team: None, at_s, tokens };
    let all = || [ran(1, DECEMBER_S - 1, 100), ran(2, DECEMBER_S, 20), ran(3, DECEMBER_S + 7 * DAY_S, 3)];
    let now_s = DECEMBER_S + 8 * DAY_S;
    let of = |state: &State, window, now_s| tokens(state, Scope::default(), window, now_s);
    for turn in 0..3 {
        // After a restart, and seen again, everything is as it was.
        let mut state = open(&folder);
        count(&mut state, if turn == 0 { History::Skip } else { History::Count }, now_s, &all());
        assert_eq!(of(&state, Window::Month, now_s), 23);
        assert_eq!(of(&state, Window::Month, DECEMBER_S - 1), 100, "November, looked back on");
        assert_eq!(of(&state, Window::Month, DECEMBER_S + 31 * DAY_S), 0, "January");
        assert_eq!(of(&state, Window::Rolling { seconds: DAY_S + 60 }, now_s), 3);
        assert_eq!(of(&state, Window::Day, DECEMBER_S + 5), 20);
        // The first of December 2026 is a Tuesday.
        assert_eq!(of(&state, Window::Week, DECEMBER_S), 120);
    }
    let mut state = open(&folder);
    count(
        &mut state,
        History::Count,
        now_s,
        &[ran(1, DECEMBER_S - 1, 100), ran(2, DECEMBER_S, 5), ran(3, DECEMBER_S + 7 * DAY_S, 4)],
    );
    assert_eq!(of(&state, Window::Month, now_s), 9, "what turned out not to be spent is taken back");
    state.forget_spent(DECEMBER_S).unwrap();
    assert_eq!((of(&state, Window::Month, DECEMBER_S - 1), of(&state, Window::Month, now_s)), (0, 9));
}

#[test]
fn a_run_without_any_time_stays_in_the_window_in_which_it_was_first_seen() {
    let folder = TempDir::new().unwrap();
    let mut state = open(&folder);
    let timeless = |tokens| [Ran { id: 1, agent: "a", team: None, at_s: 0, tokens }];
    for (day, spent) in [(0, 100), (1, 100), (2, 130)] {
        let noon_s = |day| DECEMBER_S + day * DAY_S + DAY_S / 2;
        count(&mut state, History::Count, noon_s(day), &timeless(spent));
        let of = |day| tokens(&state, Scope::default(), Window::Day, noon_s(day));
        assert_eq!((of(0), of(day)), (spent, if day == 0 { spent } else { 0 }), "day {day}");
    }
}

#[test]
fn what_nobody_can_have_spent_leaves_a_sum_that_fits() {
    let folder = TempDir::new().unwrap();
    let mut state = open(&folder);
    // As many tokens as are believed of one call, which cost more than there are nano-dollars in 64 bits.
    let ran = |id| Ran { id, agent: "a", team: None, at_s: DECEMBER_S, tokens: 1 << 53 };
    count(&mut state, History::Count, DECEMBER_S, &[ran(1), ran(2), ran(3)]);
    for limit in [Limit::Tokens(1), Limit::NanoUsd(1)] {
        let budget = Budget { name: "b".to_owned(), scope: Scope::default(), limit, window: Window::Day };
        assert_eq!(state.standings(&[budget], DECEMBER_S).unwrap()[0].usage, 3 << 50);
    }
}

#[test]
fn a_team_spends_what_its_members_do_even_where_it_comes_after_them() {
    let folder = TempDir::new().unwrap();
    let mut state = open(&folder);
    let member = || Ran { id: 1, agent: "Writer", team: Some(2), at_s: DECEMBER_S, tokens: 10 };
    let team = Ran { id: 2, agent: "Desk", team: None, at_s: DECEMBER_S, tokens: 7 };
    let spender = |kind, name: &str| Scope { spenders: vec![(kind, name.to_owned())], model: None };
    count(&mut state, History::Count, DECEMBER_S, &[member()]);
    let of_team = |state: &State| tokens(state, spender(RunKind::Team, "Desk"), Window::Day, DECEMBER_S);
    assert_eq!(of_team(&state), 0);
    count(&mut state, History::Count, DECEMBER_S, &[member(), team]);
    assert_eq!(of_team(&state), 17);
    assert_eq!(tokens(&state, spender(RunKind::Agent, "Writer"), Window::Day, DECEMBER_S), 10);
    assert_eq!(
        tokens(
            &state,
            Scope { model: Some("gpt-4o".to_owned()), ..Scope::default() },
            Window::Day,
            DECEMBER_S
        ),
        17
    );
}

/// The gauges of budgets in a receiver's last request, by budget and metric.
fn gauges(receiver: &Receiver) -> BTreeMap<(String, String), i64> {
    let points = points(&receiver.metrics());
    let of_budgets = points.into_iter().filter(|point| point.series.0.starts_with("agno.budget."));
    let named = |point: Point| {
        let (metric, attributes) = point.series;
        assert!(point.is_gauge, "{metric}");
        let Value::Number(value) = point.value else { panic!("{metric} is a gauge") };
        ((attributes["agno.budget.name"].clone(), metric), value)
    };
    of_budgets.map(named).collect()
}

#[test]
fn budgets_of_the_config_file_are_sent_as_they_stand_and_no_longer_than_they_stand_there() {
    let folder = TempDir::new().unwrap();
    let (config, runs) = (folder.path().join("agno-otel.toml"), folder.path().join("runs.jsonl"));
    let now_s = agno_otel::clock::Clock::System.now_ns() / 1_000_000_000;
    let record = Ran { id: 7, agent: "Writer", team: None, at_s: now_s, tokens: 1_000_000 }.record();
    std::fs::write(&runs, String::from_utf8(record.json).unwrap().replace('\n', " ") + "\n").unwrap();
    let sent = |budgets: &str| {
        let receiver = Receiver::start();
        let text = format!("[otlp]\nendpoint = '{}'\n[state]\nfile = 'state.db'\n{budgets}", receiver.url());
        std::fs::write(&config, text).unwrap();
        run(agno_otel(["send", "--config"]).arg(&config).arg(&runs)).expect_code(0);
        gauges(&receiver)
    };
    let budgets = "[[budget]]\nname = 'tokens'\nlimit = '4_000_000 tokens'\nwindow = '24h'\n\
                   [[budget]]\nname = 'usd'\nlimit = '10 USD'\nwindow = '24h'\nagent = 'Writer'\nmodel = 'gpt-4o'\n\
                   [[budget]]\nname = 'others'\nlimit = '1 USD'\nwindow = 'month'\nteam = 'Desk'\n";
    let first = sent(budgets);
    // gpt-4o costs 2.50 USD per million input tokens. Whole numbers of nano-units: the points are doubles.
    for (name, metric, value) in [
        ("tokens", "limit", 4_000_000 * NANO),
        ("tokens", "usage", 1_000_000 * NANO),
        ("tokens", "utilization", NANO / 4),
        ("usd", "limit", 10 * NANO),
        ("usd", "usage", 5 * NANO / 2),
        ("usd", "utilization", NANO / 4),
        ("others", "usage", 0),
        ("others", "utilization", 0),
    ] {
        let key = (name.to_owned(), format!("agno.budget.{metric}"));
        assert_eq!(first[&key], value, "{key:?}");
    }
    let of_window = |of: &BTreeMap<(String, String), i64>, end: &str| {
        (of[&("tokens".to_owned(), format!("agno.budget.window.{end}_timestamp"))] + NANO / 2) / NANO
    };
    assert_eq!(of_window(&first, "end") - of_window(&first, "start"), 24 * 3600);
    assert_eq!(first.len(), 15);
    // Sent again, after a restart.
    let again = sent(budgets);
    let usage = ("usd".to_owned(), "agno.budget.usage".to_owned());
    assert_eq!(again[&usage], first[&usage]);
    assert_eq!(sent(""), BTreeMap::new(), "what is not asked for any more is not said");
}

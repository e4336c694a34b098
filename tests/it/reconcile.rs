//! Every difference between our totals and Agno's `session_metrics` has its rule, and nothing else has one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use agno_otel::framework::agno::Columns;
use agno_otel::framework::agno::reconcile::{Account, Amount, Rule, StatedSession, account, stated_sessions};
use agno_otel::source::{self, Location, Tables};
use agno_otel::{Intake, Record};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{agno_otel, changed_copy, run};
use crate::support::{RECEIVED_NS, cases, fixtures, records};

/// What differs in the cases of `tests/fixtures/agno`, and why. Everything else there agrees.
const DIFFER: [(&str, &[&str]); 26] = [
    ("2.0.2/agentos", &["pause", "waiting"]),
    ("2.0.2/anthropic", &["tokens"]),
    ("2.0.2/gemini", &["tokens"]),
    ("2.0.2/paused_continued", &["pause"]),
    ("2.0.2/paused_continued_stream", &["pause"]),
    ("2.0.2/paused_only", &["waiting"]),
    ("2.0.2/reasoning_cot", &["reasoning"]),
    ("2.0.2/team_nested", &["team"]),
    ("2.0.2/workflow_stream_events", &["loop"]),
    ("2.0.2/workflow_team", &["team"]),
    ("2.5.17/agentos", &["pause"]),
    ("2.5.17/anthropic", &["tokens"]),
    ("2.5.17/gemini", &["tokens"]),
    ("2.5.17/paused_continued", &["pause"]),
    ("2.5.17/paused_continued_stream", &["pause"]),
    ("2.5.17/workflow_stream_events", &["loop"]),
    ("2.5.17/workflow_team", &["team"]),
    ("3.1.10/agentos", &["pause"]),
    ("3.1.10/anthropic", &["tokens"]),
    ("3.1.10/checkpoint", &["checkpoint"]),
    ("3.1.10/fork_session", &["fork"]),
    ("3.1.10/gemini", &["tokens"]),
    ("3.1.10/paused_continued", &["pause"]),
    ("3.1.10/paused_continued_stream", &["pause"]),
    ("3.1.10/workflow_stream_events", &["loop"]),
    ("3.1.10/workflow_team", &["team"]),
];

/// Sessions whose records do not say enough: a pause at a message that is not stored, and runs whose ids were used again.
const UNEXPLAINED: [&str; 2] = ["store_tool_messages_false", "reused_run_ids"];

/// Names and databases of all cases, those of `AgentOS` among them.
fn databases() -> Vec<(String, PathBuf)> {
    let mut all: Vec<(String, PathBuf)> = cases().into_iter().map(|case| (case.name, case.source)).collect();
    for version in ["2.0.2", "2.5.17", "3.1.10"] {
        let path = fixtures().join(format!("agno/{version}/agentos/agentos.db"));
        all.push((format!("{version}/agentos"), path));
    }
    all.retain(|(_, path)| path.extension().is_none_or(|end| end != "json"));
    all
}

/// What a source holds of its sessions beside their runs.
fn session_records(path: &Path) -> Vec<Record> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut records = Vec::new();
    let mut accept = |record| records.push(record);
    runtime.block_on(source::sessions(&Location::of(path), &Tables::default(), &mut accept)).unwrap();
    records
}

fn stated(records: &[Record]) -> BTreeMap<String, StatedSession> {
    let sessions = records.iter().flat_map(|record| stated_sessions(&record.json, &record.columns));
    sessions.map(|session| (session.session_id.clone(), session)).collect()
}

fn accounts(runs: &[Record], stated: &BTreeMap<String, StatedSession>) -> Vec<Account> {
    let mut intake = Intake::default();
    for record in runs {
        intake.accept(record);
    }
    let (mut accounts, _) = intake.accounts(stated, RECEIVED_NS);
    let without_runs = stated.iter().filter(|(id, _)| accounts.iter().all(|one| one.session_id != **id));
    let without_runs: Vec<Account> =
        without_runs.map(|(id, one)| account(id, Some(one.clone()), &[], &BTreeMap::new())).collect();
    accounts.extend(without_runs);
    accounts
}

fn rules(account: &Account) -> Vec<&'static str> {
    account.causes.iter().map(|cause| cause.rule.as_str()).collect()
}

fn said(amount: Amount) -> String {
    format!("{:+} {:+} {:+}", amount.input, amount.output, amount.total)
}

/// Numbers that are the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The same sessions with some of their figures invented.
fn invented(records: &[Record], noise: &mut Noise) -> Vec<Record> {
    fn change(value: &mut Value, noise: &mut Noise) {
        match value {
            Value::String(text) => {
                if let Ok(mut inner) = serde_json::from_str::<Value>(text) {
                    change(&mut inner, noise);
                    *text = inner.to_string();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| change(item, noise)),
            Value::Object(fields) => {
                for (key, value) in fields.iter_mut().filter(|(key, _)| key.starts_with("session_")) {
                    if key == "session_data" {
                        change(value, noise);
                    } else if key == "session_metrics" && value.is_object() {
                        let field = ["input_tokens", "output_tokens", "total_tokens"]
                            [usize::try_from(noise.below(3)).unwrap()];
                        let by = 1 + noise.below(400);
                        value[field] = (value[field].as_u64().unwrap_or(0) + by).into();
                    }
                }
            }
            _ => {}
        }
    }
    let changed = |record: &Record| {
        let mut value: Value = serde_json::from_slice(&record.json).unwrap();
        change(&mut value, noise);
        Record { json: value.to_string().into_bytes(), columns: record.columns.clone() }
    };
    records.iter().map(changed).collect()
}

#[test]
fn every_difference_has_the_rule_a_reviewer_agreed_with_and_what_is_invented_has_none() {
    let mut lines = String::new();
    let mut differ: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let (mut sessions, mut noise) = (0, Noise(88_172_645_463_325_252));
    for (name, path) in databases() {
        let (runs, beside) = (records(&[&path]).0, session_records(&path));
        for account in accounts(&runs, &stated(&beside)) {
            sessions += 1;
            let at = format!("{name} {}", account.session_id);
            let causes: Amount = account.causes.iter().map(|cause| cause.amount).sum();
            if account.agrees() {
                assert!(account.causes.is_empty() && account.is_explained(), "{at}");
                continue;
            }
            if account.is_explained() {
                assert_eq!(causes, account.difference(), "{at}");
                assert!(account.causes.iter().all(|cause| !cause.amount.is_zero()), "{at}");
            } else {
                assert_eq!((account.unexplained, account.causes.len()), (account.difference(), 0), "{at}");
                assert!(
                    account.hint.is_some() && UNEXPLAINED.iter().any(|case| name.ends_with(case)),
                    "{at}"
                );
            }
            differ.entry(name.clone()).or_default().extend(rules(&account));
            let causes: Vec<String> = account
                .causes
                .iter()
                .map(|one| format!("{} {}", one.rule.as_str(), said(one.amount)))
                .collect();
            let why = if causes.is_empty() { "unexplained".to_owned() } else { causes.join(", ") };
            writeln!(lines, "{at}: {}: {why}", said(account.difference())).unwrap();
        }
        let invented = stated(&invented(&beside, &mut noise));
        for account in accounts(&runs, &invented) {
            let is_stated = account.stated.as_ref().is_some_and(|stated| stated.figures.is_some());
            if is_stated && !account.runs.is_empty() {
                let at = format!("{name} {}: {:?}", account.session_id, account.causes);
                assert!(
                    !account.is_explained() && account.causes.is_empty(),
                    "invented figures explained: {at}"
                );
            }
        }
    }
    assert!(sessions > 600, "cases are missing: {sessions}");
    differ.retain(|name, _| !name.starts_with("generated/"));
    let expected = DIFFER.map(|(name, rules)| (name.to_owned(), rules.to_vec()));
    assert_eq!(differ, BTreeMap::from(expected));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("reconciled", lines));
}

/// A run of one call of so many tokens, from one second on for so many seconds.
fn made_up(id: &str, user: &str, (at, seconds): (u64, u32), tokens: u64) -> Value {
    let metrics = json!({"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1});
    let mut sum = metrics.clone();
    sum["duration"] = json!(seconds);
    sum["details"] = json!({"model": [metrics]});
    let message = json!({"id": format!("m-{id}"), "role": "assistant", "created_at": at, "metrics": metrics});
    json!({"run_id": id, "agent_id": "a", "session_id": "s", "user_id": user, "status": "COMPLETED", "created_at": at,
        "messages": [message], "metrics": sum})
}

/// The account of these runs, in a session of which Agno states so many input and output tokens.
fn account_of(runs: &[Value], (input, output): (u64, u64)) -> Account {
    let columns = |session_id| Columns { session_id, user_id: Some("ann".to_owned()), ..Columns::default() };
    let record = |run: &Value| Record { json: run.to_string().into_bytes(), columns: columns(None) };
    let runs: Vec<Record> = runs.iter().map(record).collect();
    let metrics = json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output});
    let data = json!({"session_metrics": metrics}).to_string();
    let stated = stated(&[Record { json: data.into_bytes(), columns: columns(Some("s".to_owned())) }]);
    accounts(&runs, &stated).pop().unwrap()
}

const DAY: u64 = 1_795_000_000;

#[test]
fn figures_are_lost_in_a_race_only_by_runs_that_ran_at_the_same_time() {
    let raced = [made_up("a", "ann", (DAY, 9), 100), made_up("b", "ann", (DAY + 2, 9), 30)];
    let account = account_of(&raced, (100, 1));
    assert_eq!(rules(&account), ["race"]);
    assert_eq!(
        (account.causes[0].runs.as_slice(), account.causes[0].amount.total),
        (["b".to_owned()].as_slice(), -31)
    );
    let in_turn = [made_up("a", "ann", (DAY, 9), 100), made_up("b", "ann", (DAY + 20, 9), 30)];
    let account = account_of(&in_turn, (100, 1));
    assert_eq!((rules(&account), account.unexplained.total, account.hint), (vec![], -31, None));
    assert!(account_of(&raced, (130, 2)).agrees());
}

#[test]
fn a_run_of_another_user_is_not_in_the_sessions_figures() {
    let runs = [made_up("a", "ann", (DAY, 9), 100), made_up("b", "bob", (DAY + 20, 9), 30)];
    assert_eq!(rules(&account_of(&runs, (100, 1))), ["user"]);
    // The other way round is nothing that Agno does.
    assert_eq!(rules(&account_of(&runs, (30, 1))), Vec::<&str>::new());
}

#[test]
fn a_session_without_figures_or_without_runs_is_said_to_be() {
    let runs = [made_up("a", "ann", (DAY, 9), 100)];
    let record = Record { json: runs[0].to_string().into_bytes(), columns: Columns::default() };
    let account = accounts(&[record], &BTreeMap::new()).pop().unwrap();
    assert_eq!((rules(&account), account.difference().total), (vec!["unstated"], -101));
    let account = account_of(&[], (5, 2));
    assert_eq!((rules(&account), account.difference().total), (vec!["unstored"], 7));
    assert!(account_of(&[], (0, 0)).agrees());
}

fn fixture(name: &str) -> String {
    fixtures().join(name).display().to_string()
}

#[test]
fn what_differs_is_a_table_and_one_session_a_bill() {
    let (checkpoint, history) = (fixture("agno/3.1.10/checkpoint.db"), fixture("agno/3.1.10/history.db"));
    let ended = run(&mut agno_otel(["reconcile", &checkpoint, &history])).expect_code(0);
    let expected = "\
session  ours   Agno  difference  why
s-cp      547  1,083        +536  checkpoint

checkpoint  what a run spent so far is added again at each checkpoint

sessions    2: 1 agree, 1 differ, each explained to the token
tokens      ours 1,075, Agno 1,611 (+536)
note        ours is what providers billed as far as Agno recorded it: streams
            that were cut or abandoned, and retries, are in neither
";
    assert_eq!(ended.stdout, expected);
    assert_eq!(ended.stderr, "");
    let ended = run(&mut agno_otel(["reconcile", &checkpoint, &history, "--session", "S-C"])).expect_code(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(
        lines[..6],
        [
            "session s-cp, 1 run",
            "",
            "            input  output  total",
            "ours          484      63    547",
            "checkpoint   +446     +90   +536  1 run",
            "Agno          930     153  1,083",
        ]
    );
    let all = run(&mut agno_otel(["reconcile", "--all", &checkpoint, &history])).expect_code(0).stdout;
    assert!(all.contains("\ns-hist  ") && all.lines().all(|line| line.len() <= 80), "{all}");
    let ended = run(&mut agno_otel(["reconcile", &history, "--session", "nobody"])).expect_code(1);
    ended.expect_words(&["nobody", "1 session"]);
    run(&mut agno_otel(["reconcile", "-"])).expect_code(2).expect_words(&["standard input"]);
}

#[test]
fn what_nothing_explains_ends_with_5_and_has_its_numbers() {
    let folder = TempDir::new().unwrap();
    let sql = r#"UPDATE agno_sessions SET session_data = replace(session_data, '"FIELD": ', '"FIELD": 1')"#;
    let changed =
        |field: &str| changed_copy("agno/3.1.10/checkpoint.db", folder.path(), &sql.replace("FIELD", field));
    // Every field must be right, of those too that no table shows.
    let odd = changed("cache_read_tokens");
    let all = run(agno_otel(["reconcile", "--json"]).arg(&odd)).expect_code(5).summary();
    assert_eq!(all["sessions"][0]["unexplained"]["total_tokens"], 536);
    let odd = changed("total_tokens");
    let ended = run(agno_otel(["reconcile", "--json"]).arg(&odd)).expect_code(5);
    let all = ended.summary();
    let session = &all["sessions"][0];
    assert_eq!(session["unexplained"]["total_tokens"], 10_536);
    assert_eq!(session["causes"], json!([]));
    assert_eq!(all["summary"]["unexplained"], 1);
    let text = run(agno_otel(["reconcile"]).arg(&odd)).expect_code(5).stdout;
    assert!(
        text.contains("+10,536  unexplained\n") && text.contains("1 differ, 1 of them unexplained"),
        "{text}"
    );
}

#[test]
fn every_rule_is_documented_and_fits_a_line() {
    let text = include_str!("../../docs/reconcile.md");
    let told: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let missing: Vec<&str> =
        Rule::ALL.iter().map(|rule| rule.as_str()).filter(|rule| !told.contains(rule)).collect();
    assert_eq!((missing, told.len()), (vec![], Rule::ALL.len()));
    assert!(Rule::ALL.is_sorted(), "they are shown in this order");
    for rule in Rule::ALL {
        // Behind its name, in 80 columns.
        assert!(rule.meaning().len() <= 80 - 12 && rule.as_str().len() < 12, "{rule:?}");
    }
}

#[test]
fn sessions_are_found_in_folders_as_in_databases() {
    for version in ["2.0.2", "2.5.17", "3.1.10"] {
        let folder = fixture(&format!("agno/{version}/jsondb.jsondb"));
        let ended = run(&mut agno_otel(["reconcile", "--all", "--json", &folder])).expect_code(0);
        let all = ended.summary();
        let sessions = all["sessions"].as_array().unwrap();
        assert!(sessions.len() >= 3, "{version}");
        for session in sessions {
            assert_eq!(session["agno"], session["ours"], "{version}");
            assert!(session["agno"]["total_tokens"].as_u64().unwrap() > 0, "{version}");
        }
    }
    // A file of runs has none.
    assert_eq!(session_records(Path::new(&fixture("agno/3.1.10/history.db"))).len(), 1);
    let runs = session_records(Path::new(&fixture("agno/3.1.10/history.runs.json")));
    assert!(stated(&runs).is_empty());
}

//! Bills: by hand, from the providers' pages of prices; and as `bill` says them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use agno_otel::framework::Oddities;
use agno_otel::framework::agno::Columns;
use agno_otel::ledger::Ledger;
use agno_otel::model::Cost;
use agno_otel::model::cost::nano_usd as nano;
use agno_otel::money::bill::Bill;
use agno_otel::money::{Own, OwnRates, Prices, TABLE};
use agno_otel::otel::names;
use agno_otel::{Intake, Record, Settings};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::program::{agno_otel, run};
use crate::support::{RECEIVED_NS, cases, fixtures, gather_records, records};

/// A bill made by hand.
struct ByHand {
    /// Where its prices stand.
    page: &'static str,
    /// Provider and model as Agno writes them.
    asked: (&'static str, &'static str),
    /// When, in Unix seconds.
    at_s: i64,
    /// What Agno records of the call.
    metrics: Value,
    /// Tokens and dollars for a million of them.
    lines: &'static [(u32, f64)],
}

/// 2025-11-01T12:00:00Z.
const NOON_S: i64 = 1_761_998_400;
/// 2025-06-01 and 2025-07-01, before and after o3 became cheaper.
const JUNE_2025_S: i64 = 1_748_736_000;
const JULY_2025_S: i64 = 1_751_328_000;
/// 2025-03-01T20:00:00Z: night where the model was made.
const EVENING_S: i64 = 1_740_859_200;

const OPENAI: &str = "https://platform.openai.com/docs/pricing";
const ANTHROPIC: &str = "https://docs.claude.com/en/docs/about-claude/pricing";
const GEMINI: &str = "https://ai.google.dev/gemini-api/docs/pricing";
const DEEPSEEK: &str = "https://api-docs.deepseek.com/quick_start/pricing (of February 2025)";
const BEDROCK: &str = "https://aws.amazon.com/bedrock/pricing/";

#[expect(clippy::too_many_lines, reason = "a table")]
fn by_hand() -> Vec<ByHand> {
    let bill = |page, asked, at_s, metrics, lines| ByHand { page, asked, at_s, metrics, lines };
    vec![
        // Cached input at half the price. OpenAI's input includes it.
        bill(
            OPENAI,
            ("OpenAI", "gpt-4o"),
            NOON_S,
            json!({"input_tokens": 12_000, "output_tokens": 800, "cache_read_tokens": 8_192}),
            &[(3_808, 2.50), (8_192, 1.25), (800, 10.0)],
        ),
        bill(
            OPENAI,
            ("OpenAI", "gpt-4o-mini"),
            NOON_S,
            json!({"input_tokens": 1_500, "output_tokens": 70, "cache_read_tokens": 1_024}),
            &[(476, 0.15), (1_024, 0.075), (70, 0.60)],
        ),
        // Reasoning is output.
        bill(
            OPENAI,
            ("OpenAI Responses", "gpt-5"),
            NOON_S,
            json!({"input_tokens": 2_000, "output_tokens": 1_200, "reasoning_tokens": 960, "cache_read_tokens": 1_024}),
            &[(976, 1.25), (1_024, 0.125), (240, 10.0), (960, 10.0)],
        ),
        // The price of its day: o3 cost a fifth from 2025-06-10 on.
        bill(
            OPENAI,
            ("OpenAI", "o3"),
            JUNE_2025_S,
            json!({"input_tokens": 1_000, "output_tokens": 500, "reasoning_tokens": 400}),
            &[(1_000, 10.0), (100, 40.0), (400, 40.0)],
        ),
        bill(
            OPENAI,
            ("OpenAI", "o3"),
            JULY_2025_S,
            json!({"input_tokens": 1_000, "output_tokens": 500, "reasoning_tokens": 400}),
            &[(1_000, 2.0), (100, 8.0), (400, 8.0)],
        ),
        // Audio has prices of its own.
        bill(
            OPENAI,
            ("OpenAI", "gpt-audio"),
            NOON_S,
            json!({"input_tokens": 400, "output_tokens": 300, "audio_input_tokens": 250, "audio_output_tokens": 220}),
            &[(150, 2.50), (250, 32.0), (80, 10.0), (220, 64.0)],
        ),
        // Anthropic's input is without its cache; writing costs a quarter more, reading a tenth.
        bill(
            ANTHROPIC,
            ("Anthropic", "claude-sonnet-4-20250514"),
            NOON_S,
            json!({"input_tokens": 145, "output_tokens": 640, "cache_read_tokens": 6_400, "cache_write_tokens": 1_700}),
            &[(145, 3.0), (6_400, 0.30), (1_700, 3.75), (640, 15.0)],
        ),
        bill(
            ANTHROPIC,
            ("Anthropic", "claude-3-5-haiku-20241022"),
            NOON_S,
            json!({"input_tokens": 3_000, "output_tokens": 100, "cache_read_tokens": 2_000,
                   "provider_metrics": {"service_tier": "standard"}}),
            &[(3_000, 0.80), (2_000, 0.08), (100, 4.0)],
        ),
        bill(
            ANTHROPIC,
            ("Anthropic", "claude-opus-4-1-20250805"),
            NOON_S,
            json!({"input_tokens": 10, "output_tokens": 5, "cache_write_tokens": 4_000}),
            &[(10, 15.0), (4_000, 18.75), (5, 75.0)],
        ),
        // Beyond 200,000 tokens of a prompt, its cache among them, everything costs more.
        bill(
            ANTHROPIC,
            ("Anthropic", "claude-sonnet-4-5-20250929"),
            NOON_S,
            json!({"input_tokens": 1_000, "output_tokens": 100, "cache_read_tokens": 210_000}),
            &[(1_000, 6.0), (210_000, 0.60), (100, 22.50)],
        ),
        // Just 200,000 are not beyond.
        bill(
            GEMINI,
            ("Google", "gemini-2.5-pro"),
            NOON_S,
            json!({"input_tokens": 200_000, "output_tokens": 100}),
            &[(200_000, 1.25), (100, 10.0)],
        ),
        // Gemini's output is without its thoughts, which are paid as output.
        bill(
            GEMINI,
            ("Google", "gemini-2.5-pro"),
            NOON_S,
            json!({"input_tokens": 200_001, "output_tokens": 100, "reasoning_tokens": 900}),
            &[(200_001, 2.50), (100, 15.0), (900, 15.0)],
        ),
        bill(
            GEMINI,
            ("Google", "gemini-2.5-flash"),
            NOON_S,
            json!({"input_tokens": 5_000, "output_tokens": 100, "audio_input_tokens": 4_000}),
            &[(1_000, 0.30), (4_000, 1.0), (100, 2.50)],
        ),
        bill(
            GEMINI,
            ("Google", "gemini-1.5-flash"),
            NOON_S,
            json!({"input_tokens": 130_000, "output_tokens": 1_000}),
            &[(130_000, 0.15), (1_000, 0.60)],
        ),
        // Dearer from 00:30 to 16:30 UTC.
        bill(
            DEEPSEEK,
            ("DeepSeek", "deepseek-chat"),
            EVENING_S - 8 * 3_600,
            json!({"input_tokens": 1_000, "output_tokens": 200, "cache_read_tokens": 640}),
            &[(360, 0.27), (640, 0.07), (200, 1.10)],
        ),
        bill(
            DEEPSEEK,
            ("DeepSeek", "deepseek-chat"),
            EVENING_S,
            json!({"input_tokens": 1_000, "output_tokens": 200, "cache_read_tokens": 640}),
            &[(360, 0.135), (640, 0.035), (200, 0.55)],
        ),
        bill(
            "https://docs.x.ai/docs/models",
            ("xAI", "grok-3"),
            NOON_S,
            // xAI's output is without its reasoning, as its total tells.
            json!({"input_tokens": 74, "output_tokens": 14, "total_tokens": 97, "reasoning_tokens": 9}),
            &[(74, 3.0), (14, 15.0), (9, 15.0)],
        ),
        bill(
            "https://groq.com/pricing",
            ("Groq", "llama-3.3-70b-versatile"),
            NOON_S,
            json!({"input_tokens": 1_000, "output_tokens": 1_000}),
            &[(1_000, 0.59), (1_000, 0.79)],
        ),
        bill(
            "https://mistral.ai/pricing (of 2025)",
            ("Mistral", "mistral-small-latest"),
            NOON_S,
            json!({"input_tokens": 1_000, "output_tokens": 1_000}),
            &[(1_000, 0.10), (1_000, 0.30)],
        ),
        bill(
            "https://cohere.com/pricing",
            ("Cohere", "command-a-03-2025"),
            NOON_S,
            json!({"input_tokens": 1_000, "output_tokens": 1_000}),
            &[(1_000, 2.50), (1_000, 10.0)],
        ),
        // Bedrock's input is without its cache.
        bill(
            BEDROCK,
            ("AwsBedrock", "amazon.nova-pro-v1:0"),
            NOON_S,
            json!({"input_tokens": 1_000, "output_tokens": 100, "cache_read_tokens": 500}),
            &[(1_000, 0.80), (500, 0.20), (100, 3.20)],
        ),
        // A gateway's model, by the price of who made it.
        bill(
            ANTHROPIC,
            ("LiteLLM", "anthropic/claude-3-5-haiku-20241022"),
            NOON_S,
            json!({"input_tokens": 3_000, "output_tokens": 100}),
            &[(3_000, 0.80), (100, 4.0)],
        ),
        // What the provider says wins over its page.
        bill(
            "https://openrouter.ai/docs/use-cases/usage-accounting",
            ("OpenRouter", "openai/gpt-4o"),
            NOON_S,
            json!({"input_tokens": 1_000, "output_tokens": 100, "cost": 0.002_5}),
            &[(1, 2_500.0)],
        ),
    ]
}

/// A run of one call.
fn record((provider, model): (&str, &str), at_s: i64, metrics: &Value) -> Record {
    let run = json!({
        "run_id": "50cf60f9-f6d0-47a6-b373-57a95a88129d", "agent_id": "a", "agent_name": "Ann", "session_id": "s",
        "status": "COMPLETED", "model": model, "model_provider": provider, "created_at": at_s,
        "messages": [{"role": "assistant", "id": "m", "created_at": at_s, "metrics": metrics}],
    });
    Record { json: run.to_string().into_bytes(), columns: Columns::default() }
}

#[test]
fn bills_are_those_made_by_hand_from_the_pages_of_prices() {
    let bills = by_hand();
    for ByHand { page, asked, at_s, metrics, lines } in &bills {
        let gathered = gather_records(&[record(*asked, *at_s, metrics)], Oddities::default());
        let cost = gathered.forest.runs[0].calls[0].cost;
        let usd: f64 = lines.iter().map(|(tokens, price)| f64::from(*tokens) * price / 1e6).sum();
        let nano_usd = nano(usd);
        assert_eq!(cost.map(|cost| cost.nano_usd), Some(nano_usd), "{asked:?}: see {page}");
        let stated = metrics.get("cost").is_some();
        let source = if stated { "provider" } else { TABLE };
        assert_eq!(cost.map(|cost| (cost.source, cost.is_estimate)), Some((source, false)), "{asked:?}");
    }
    let providers: BTreeSet<_> = bills.iter().map(|bill| bill.asked.0).collect();
    assert!(providers.len() >= 10, "{providers:?}");
}

/// Every model has a price, of each kind of token another one.
fn all_priced() -> Arc<Prices> {
    let rates = OwnRates {
        input: 2.0,
        cache_read: Some(0.25),
        cache_write: Some(3.0),
        output: 11.0,
        reasoning: Some(13.0),
        audio_input: Some(40.0),
        audio_output: Some(80.0),
    };
    let own = Own { model: "*".to_owned(), rates: Some(rates), ..Own::default() };
    Arc::new(Prices { own: vec![own], ..Prices::default() })
}

#[test]
fn every_sum_of_costs_is_the_sum_of_its_calls() {
    let mut priced = 0;
    for (case, prices) in cases().iter().flat_map(|case| [(case, Arc::default()), (case, all_priced())]) {
        let mut intake = Intake::default().priced(&prices);
        for record in &records(&[&case.source]).0 {
            intake.accept(record);
        }
        let gathered = intake.finish(RECEIVED_NS);
        let runs = &gathered.forest.runs;
        let nano_usd = |cost: Option<Cost>| cost.map_or(0, |cost| cost.nano_usd);
        let mut so_far = BTreeMap::<&str, u64>::new();
        for run in runs {
            let calls = Cost::sum(run.calls.iter().filter_map(|call| call.cost));
            assert_eq!(nano_usd(calls), nano_usd(run.own_cost()), "{}", case.name);
            let unpriced: u64 =
                run.calls.iter().filter(|call| call.cost.is_none()).map(|call| call.tokens.total()).sum();
            assert_eq!(unpriced, run.own_unpriced(), "{}", case.name);
            *so_far.entry(run.session_id.as_deref().unwrap_or_default()).or_default() +=
                nano_usd(run.own_cost());
        }
        let whole = nano_usd(gathered.cost());
        priced += usize::from(whole > 0);
        // The last root of a session says what the session cost; bills and counters say the same of all.
        let mut said = BTreeMap::<String, f64>::new();
        for trace in gathered.spans(Settings::default()) {
            let root = &trace.spans[0].attributes;
            let session = attribute(root, names::SESSION_ID).and_then(text).unwrap_or_default();
            if let Some(usd) = attribute(root, names::SESSION_COST_SO_FAR).and_then(real) {
                said.insert(session, usd);
            }
        }
        so_far.retain(|session, cost| *cost > 0 && !session.is_empty());
        let of_spans: BTreeMap<&str, u64> =
            said.iter().map(|(session, usd)| (session.as_str(), nano(*usd))).collect();
        assert_eq!(
            of_spans.into_iter().filter(|(_, cost)| *cost > 0).collect::<BTreeMap<_, _>>(),
            so_far,
            "{}",
            case.name
        );
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            gathered.count(&mut ledger, Settings::default());
            let counted = |metric| ledger.counters(metric).map(|(_, value)| value).sum::<u64>();
            assert_eq!(counted(&names::COST), whole, "{}", case.name);
            assert_eq!(counted(&names::COST_CORRECTIONS), 0, "{}", case.name);
            let unpriced = gathered.unpriced().values().sum::<u64>();
            assert_eq!(counted(&names::TOKEN_UNPRICED), unpriced, "{}", case.name);
        }
        let mut bill = Bill::default();
        for run in runs {
            bill.add(run, &prices, 0);
        }
        assert_eq!(nano_usd(bill.total), whole, "{}", case.name);
        let lines: u64 = bill.models.values().flatten().map(|(_, amount)| amount.nano_usd).sum();
        assert_eq!((lines, bill.tokens()), (whole, gathered.tokens().total()), "{}", case.name);
    }
    assert!(priced > 300, "{priced} cases have a cost");
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a any_value::Value> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.as_ref()?.value.as_ref()
}

fn text(value: &any_value::Value) -> Option<String> {
    if let any_value::Value::StringValue(text) = value { Some(text.clone()) } else { None }
}

fn real(value: &any_value::Value) -> Option<f64> {
    if let any_value::Value::DoubleValue(value) = value { Some(*value) } else { None }
}

/// A file with the runs of two sessions: a team whose member was asked, and an agent whose model nobody knows.
fn runs() -> (TempDir, PathBuf) {
    let message = |id: &str, metrics: Value| json!({"role": "assistant", "id": id, "metrics": metrics});
    let member = json!({
        "run_id": "22222222-2222-4222-8222-222222222222", "parent_run_id": "11111111-1111-4111-8111-111111111111",
        "agent_id": "ann", "agent_name": "Ann", "session_id": "s", "status": "COMPLETED", "created_at": NOON_S,
        "model": "claude-sonnet-4-20250514", "model_provider": "Anthropic",
        "messages": [message("m2", json!({"input_tokens": 145, "output_tokens": 640, "cache_read_tokens": 6_400}))],
    });
    let team = json!({
        "run_id": "11111111-1111-4111-8111-111111111111", "team_id": "t", "team_name": "Desk", "session_id": "s",
        "status": "COMPLETED", "created_at": NOON_S, "model": "gpt-4o", "model_provider": "OpenAI",
        "messages": [message("m1", json!({"input_tokens": 1_200, "output_tokens": 80}))], "member_responses": [member],
        "metrics": {"details": {
            "model": [{"id": "gpt-4o", "provider": "OpenAI", "input_tokens": 1_200, "output_tokens": 80}],
            "memory_model": [{"id": "gpt-4o-mini", "provider": "OpenAI", "input_tokens": 900, "output_tokens": 31}]}},
    });
    let other = json!({
        "run_id": "33333333-3333-4333-8333-333333333333", "agent_id": "bob", "session_id": "z", "status": "COMPLETED",
        "created_at": JULY_2025_S, "model": "mock-fast", "model_provider": "OpenAI",
        "messages": [message("m3", json!({"input_tokens": 40, "output_tokens": 2}))],
    });
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("runs.json");
    std::fs::write(&path, json!([team, other]).to_string()).unwrap();
    (folder, path)
}

#[test]
fn a_bill_takes_apart_what_runs_cost() {
    let (_folder, path) = runs();
    let bill = run(agno_otel(["bill"]).arg(&path)).expect_code(0).stdout;
    // Dollars: 145 × 3 + 6,400 × 0.30 + 640 × 15; 1,200 × 2.50 + 80 × 10; 900 × 0.15 + 31 × 0.60, a sum.
    let expected = format!(
        "anthropic claude-sonnet-4-20250514
  input                         145 ×     $3.00/M =      $0.0004350
  cache read                  6,400 ×     $0.30/M =      $0.0019200
  output                        640 ×    $15.00/M =      $0.0096000
                                                         $0.0119550

openai gpt-4o
  input                       1,200 ×     $2.50/M =      $0.0030000
  output                         80 ×    $10.00/M =      $0.0008000
                                                         $0.0038000

openai gpt-4o-mini
  input                         900 ×     $0.15/M =      $0.0001350 ~
  output                         31 ×     $0.60/M =      $0.0000186 ~
                                                         $0.0001536

total  3 runs, 9,438 tokens                              $0.0159086
unpriced  42 tokens of openai mock-fast: no price is known
prices: {TABLE}, each of its call's time
~ estimate: only a sum of calls is recorded, or not what kind of tokens
"
    );
    assert_eq!(bill, expected);
    assert!(bill.lines().all(|line| line.chars().count() <= 80), "{bill}");
}

#[test]
fn a_bill_is_for_what_was_asked() {
    let (_folder, path) = runs();
    let bill = |arguments: &[&str]| -> Value {
        let ended = run(agno_otel(["bill", "--json"]).args(arguments).arg(&path)).expect_code(0);
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let total = |arguments: &[&str]| bill(arguments)["total_nano_usd"].as_u64();
    let (member, team) = (11_955_000, 3_800_000 + 153_600);
    for (arguments, expected) in [
        (&[][..], Some(member + team)),
        (&["--run", "11111111-1111-4111-8111-111111111111"], Some(member + team)),
        (&["--run", "1111"], Some(member + team)),
        (&["--run", "22222222222242228222222222222222"], Some(member)),
        (&["--session", "s"], Some(member + team)),
        (&["--session", "z"], None),
        (&["--agent", "Desk"], Some(team)),
        (&["--agent", "ann"], Some(member)),
        (&["--since", "2025-10-01"], Some(member + team)),
        (&["--agent", "Ann", "--since", "2025-10-01"], Some(member)),
    ] {
        assert_eq!(total(arguments), expected, "{arguments:?}");
    }
    let all = bill(&[]);
    assert_eq!((all["runs"].as_u64(), all["tokens"].as_u64()), (Some(3), Some(9_438)));
    assert_eq!(all["unpriced"], json!([{"provider": "openai", "model": "mock-fast", "tokens": 42}]));
    let lines = all["lines"].as_array().unwrap();
    let sum: u64 = lines.iter().map(|line| line["nano_usd"].as_u64().unwrap()).sum();
    assert_eq!(Some(sum), all["total_nano_usd"].as_u64());
    assert_eq!(lines[0]["usd_per_million"], json!(3.0));
    let nobody = run(agno_otel(["bill", "--session", "y"]).arg(&path)).expect_code(1);
    nobody.expect_words(&["no run is what was asked for (of 3 runs)"]);
    run(agno_otel(["bill", "--since", "soon"]).arg(&path)).expect_code(2).expect_words(&["2026-11-24"]);
}

#[test]
fn prices_of_the_config_file_are_on_bills_spans_and_in_summaries() {
    let (folder, path) = runs();
    let config = folder.path().join("agno-otel.toml");
    let prices = "[[price]]\nmodel = 'mock-*'\ninput = 100\noutput = 1000\n[prices]\ndiscount = 0.5\n";
    std::fs::write(&config, prices).unwrap();
    let with = |command: &str| {
        let mut command = agno_otel([command, "--json", "--config"]);
        command.arg(&config).arg(&path);
        run(&mut command).expect_code(0).stdout
    };
    let bill: Value = serde_json::from_str(&with("bill")).unwrap();
    // Half of what is published, and 40 × 100 + 2 × 1000.
    assert_eq!(bill["total_nano_usd"].as_u64(), Some(15_908_600 / 2 + 6_000_000));
    assert_eq!(bill["lines"][0]["usd_per_million"].as_f64(), Some(1.5));
    let of_mock = |line: &&Value| line["model"] == "mock-fast";
    let sources = bill["lines"].as_array().unwrap();
    assert!(sources.iter().filter(of_mock).all(|line| line["source"] == "config"));
    let shown: Value = serde_json::from_str(&with("show")).unwrap();
    assert_eq!(shown["total"]["cost"]["nano_usd"].as_u64(), Some(15_908_600 / 2 + 6_000_000));
    let to = format!("otlp-json:{}", folder.path().join("out.jsonl").display());
    let mut send = agno_otel(["send", "--json", "--to", &to, "--config"]);
    let sent = run(send.arg(&config).arg(&path)).expect_code(0).stdout;
    let sent: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(sent["cost_usd"].as_f64(), Some(0.013_954_3));
    assert_eq!(sent["unpriced_tokens"], json!([]));
    let text = run(agno_otel(["send", "--to", &to]).arg(&path)).expect_code(0).stdout;
    let cost = format!("cost        $0.016 ({TABLE}, in part estimated)\n");
    assert!(text.contains(&cost), "{text}");
    assert!(text.contains("unpriced    42 tokens of mock-fast: no price is known\n"), "{text}");
}

#[test]
fn what_a_provider_stated_is_on_the_bill_as_it_was_stated() {
    let database = fixtures().join("agno/3.1.10/cost.db");
    let bill = run(agno_otel(["bill"]).arg(&database)).expect_code(0).stdout;
    assert_eq!(
        bill,
        "openai mock-cost
  as stated                      80               =       $0.000219   provider

total  2 runs, 80 tokens                                  $0.000219
"
    );
}

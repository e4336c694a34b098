//! What things cost, and that parts of it are all of it.

use proptest::prelude::*;

use super::bill::{Bill, What};
use super::*;
use crate::model::cost::{MIXED, PROVIDER};
use crate::model::step::{Scalar, Spender};
use crate::model::{ModelCall, Run, RunKind, Stated, Usage};

/// 2026-11-01.
const LATELY_S: i64 = 1_793_491_200;

fn tokens(input: u64, output: u64) -> Tokens {
    Tokens { uncached: input, answer: output, ..Tokens::default() }
}

fn call(key: &str, tokens: Tokens) -> ModelCall {
    ModelCall {
        key: key.to_owned(),
        role: "model".to_owned(),
        provider: Some("openai".to_owned()),
        model: Some("gpt-4o".to_owned()),
        has_message: true,
        tokens,
        created_at_s: Some(LATELY_S),
        ..ModelCall::default()
    }
}

fn usage(tokens: Tokens) -> Usage {
    Usage {
        role: "model".to_owned(),
        provider: Some("openai".to_owned()),
        model: Some("gpt-4o".to_owned()),
        tokens,
        ..Usage::default()
    }
}

fn stating(usd: f64) -> Stated {
    Stated { floats: vec![("cost", usd)], ..Stated::default() }
}

fn settled(calls: Vec<ModelCall>, usage: Vec<Usage>, prices: &Prices) -> Run {
    let mut runs = [Run { calls, usage, ..Run::bare("r", RunKind::Agent) }];
    settle(&mut runs, prices, LATELY_S);
    let [run] = runs;
    run
}

/// Nano-dollars of each call, and of each usage.
fn nano(run: &Run) -> (Vec<Option<u64>>, Vec<Option<u64>>) {
    let of = |cost: Option<Cost>| cost.map(|cost| cost.nano_usd);
    (
        run.calls.iter().map(|call| of(call.cost)).collect(),
        run.usage.iter().map(|usage| of(usage.cost)).collect(),
    )
}

#[test]
fn calls_are_priced_one_by_one_and_a_usage_costs_what_they_do() {
    // gpt-4o: 2.50 and 10 dollars.
    let calls = vec![call("a", tokens(1_000, 100)), call("b", tokens(3, 0))];
    let run = settled(calls, vec![usage(tokens(1_003, 100))], &Prices::default());
    assert_eq!(nano(&run), (vec![Some(3_500_000), Some(7_500)], vec![Some(3_507_500)]));
    let cost = run.own_cost().unwrap();
    assert_eq!((cost.source, cost.is_estimate, run.own_unpriced()), (TABLE, false, 0));
}

#[test]
fn a_sum_is_priced_as_many_small_calls_and_said_to_be_an_estimate() {
    // gemini-2.5-pro costs twice as much beyond 200,000 tokens of a prompt: 1.25 and 10 dollars below.
    let of = |has_message, input| {
        let named = ("gcp.gemini".to_owned(), "gemini-2.5-pro".to_owned());
        let call = ModelCall {
            provider: Some(named.0.clone()),
            model: Some(named.1.clone()),
            has_message,
            ..call("a", tokens(input, 1_000))
        };
        let usage = Usage { provider: Some(named.0), model: Some(named.1), ..usage(tokens(input, 1_000)) };
        let run = settled(vec![call], vec![usage], &Prices::default());
        let cost = run.own_cost().unwrap();
        (cost.nano_usd, cost.is_estimate)
    };
    assert_eq!(of(true, 300_000), (300_000 * 2_500 + 1_000 * 15_000, false));
    assert_eq!(of(false, 300_000), (300_000 * 1_250 + 1_000 * 10_000, true));
    assert_eq!(of(true, 200_000), (200_000 * 1_250 + 1_000 * 10_000, false));
}

#[test]
fn what_a_provider_states_wins_over_every_price() {
    let stated = ModelCall { stated: stating(0.25), ..call("a", tokens(1_000, 100)) };
    let own = Prices { own: vec![own("*")], ..Prices::default() };
    let run = settled(vec![stated, call("b", tokens(1_000, 0))], vec![usage(tokens(2_000, 100))], &own);
    assert_eq!(nano(&run), (vec![Some(250_000_000), Some(1_000_000)], vec![Some(251_000_000)]));
    let cost = run.own_cost().unwrap();
    assert_eq!((cost.source, cost.stated_nano_usd), (MIXED, 250_000_000));
}

#[test]
fn of_a_stated_sum_calls_that_state_nothing_have_what_is_left() {
    let stated = ModelCall { stated: stating(0.25), ..call("a", tokens(1_000, 100)) };
    let rest = ModelCall { has_message: false, ..call("b", tokens(500, 10)) };
    let whole = |nano| Usage { stated_nano_usd: Some(nano), ..usage(tokens(1_500, 110)) };
    let run = settled(vec![stated.clone(), rest.clone()], vec![whole(300_000_000)], &Prices::default());
    assert_eq!(nano(&run), (vec![Some(250_000_000), Some(50_000_000)], vec![Some(300_000_000)]));
    assert_eq!(run.own_cost().map(|cost| cost.source), Some(PROVIDER));
    // A sum of what the messages state says nothing of the rest, which the table prices: 500 × 2.5 + 10 × 10.
    let run = settled(vec![stated, rest], vec![whole(250_000_001)], &Prices::default());
    assert_eq!(nano(&run).0, [Some(250_000_000), Some(1_350_000)]);
}

#[test]
fn what_is_not_known_has_no_cost_and_is_said() {
    let unknown = |call: ModelCall| ModelCall { model: Some("mock-fast".to_owned()), ..call };
    let usages =
        vec![usage(tokens(1_000, 0)), Usage { model: Some("mock-fast".to_owned()), ..usage(tokens(40, 2)) }];
    let calls = vec![call("a", tokens(1_000, 0)), unknown(call("b", tokens(40, 2)))];
    let run = settled(calls, usages, &Prices::default());
    assert_eq!(nano(&run), (vec![Some(2_500_000), None], vec![Some(2_500_000), None]));
    assert_eq!((run.own_cost().map(|cost| cost.nano_usd), run.own_unpriced()), (Some(2_500_000), 42));
    // A price by the hour prices no token; a stated nothing is none.
    for (model, stated) in [("whisper-1", 0.5), ("mock-fast", 0.0)] {
        let call = ModelCall { model: Some(model.to_owned()), ..call("a", tokens(10, 0)) };
        let call = ModelCall { stated: stating(stated), ..call };
        let usage = Usage { model: Some(model.to_owned()), ..usage(tokens(10, 0)) };
        let run = settled(vec![call], vec![usage], &Prices::default());
        assert_eq!(run.own_unpriced() == 0, stated > 0.0, "{model}");
    }
}

#[test]
fn calls_that_do_not_add_up_share_what_is_counted() {
    // What is counted is a sum: 1,500 × 2.5 + 110 × 10.
    let calls = vec![call("a", tokens(1_000, 0)), call("b", tokens(3_000, 0))];
    let run = settled(calls, vec![usage(tokens(1_500, 110))], &Prices::default());
    assert_eq!(nano(&run), (vec![Some(1_212_500), Some(3_637_500)], vec![Some(4_850_000)]));
    assert!(run.usage[0].cost.unwrap().is_estimate);
}

#[test]
fn a_step_that_was_not_kept_is_priced_beside_another_of_the_same_model() {
    let spent = |step, tokens| {
        let spender = Spender { kind: RunKind::Agent, name: format!("a{step}"), step };
        (
            ModelCall { step: Some(step), ..call(&step.to_string(), tokens) },
            Usage { spender: Some(spender), ..usage(tokens) },
        )
    };
    let (calls, usages) = [spent(0, tokens(10, 0)), spent(1, tokens(20, 0))].into_iter().unzip();
    let run = settled(calls, usages, &Prices::default());
    assert_eq!(nano(&run).1, [Some(25_000), Some(50_000)]);
}

fn own(model: &str) -> Own {
    Own {
        model: model.to_owned(),
        provider: None,
        from_s: None,
        until_s: None,
        rates: Some(OwnRates { input: 1.0, output: 2.0, ..OwnRates::default() }),
        discount: None,
        is_batch: false,
    }
}

/// Nano-dollars and source of 1,000,000 tokens in and 1,000,000 out.
fn million(provider: &str, model: &str, at_s: i64, prices: &Prices) -> Option<(u64, &'static str)> {
    let tokens = tokens(1_000_000, 1_000_000);
    let call = Call {
        provider: Some(provider),
        model: Some(model),
        service_tier: None,
        at_s,
        tokens,
        is_sum: false,
    };
    prices.cost(&call).map(|cost| (cost.nano_usd, cost.source))
}

#[test]
fn the_first_of_ones_own_prices_that_is_of_the_call_decides() {
    const USD: u64 = 1_000_000_000;
    let discounted =
        |model: &str, multiplier| Own { rates: None, discount: Factor::of(multiplier), ..own(model) };
    let prices = Prices {
        own: vec![
            Own { from_s: Some(LATELY_S), ..own("gpt-4o*") },
            Own { provider: Some("ollama".to_owned()), ..own("*") },
            discounted("gpt-4o", 0.5),
            Own { discount: Factor::of(0.1), ..own("dear") },
            Own { rates: None, is_batch: true, ..own("gpt-4.1") },
        ],
        discount: Factor::of(0.8).unwrap(),
    };
    let of = |provider, model, at_s| million(provider, model, at_s, &prices);
    assert_eq!(of("openai", "gpt-4o", LATELY_S), Some((3 * USD, CONFIG)));
    assert_eq!(of("openai", "gpt-4o", LATELY_S - 1), Some((12_500_000_000 / 2, table::DISCOUNTED)));
    assert_eq!(of("openai", "gpt-4o-mini", LATELY_S - 1), Some((750_000_000 * 8 / 10, table::DISCOUNTED)));
    assert_eq!(of("ollama", "llama3", LATELY_S), Some((3 * USD, CONFIG)));
    assert_eq!(of("vllm", "llama3", LATELY_S), Some((0, LOCAL)));
    assert_eq!(of("openai", "dear", LATELY_S), Some((300_000_000, CONFIG)));
    assert_eq!(of("openai", "gpt-4.1", LATELY_S), Some((5 * USD * 8 / 10, table::DISCOUNTED)));
    assert_eq!(of("openai", "unheard-of", LATELY_S), None);
}

#[test]
fn what_is_not_said_of_ones_own_price_costs_what_it_is_a_part_of() {
    let rates =
        Rates::from(OwnRates { input: 1.0, output: 2.0, reasoning: Some(3.0), ..OwnRates::default() });
    let said = [Kind::CacheRead, Kind::CacheWrite, Kind::AudioInput, Kind::AudioOutput, Kind::Reasoning];
    assert_eq!(said.map(|kind| rates.get(kind)), [1_000_000, 1_000_000, 1_000_000, 2_000_000, 3_000_000]);
}

#[test]
fn a_tier_the_table_has_no_price_of_is_an_estimate() {
    let of = |tier: &str, model: &str| {
        let stated = Stated {
            provider: vec![("service_tier".to_owned(), Scalar::Text(tier.to_owned()))],
            ..Stated::default()
        };
        let call = ModelCall { stated, model: Some(model.to_owned()), ..call("a", tokens(1_000_000, 0)) };
        let usage = Usage { model: Some(model.to_owned()), ..usage(tokens(1_000_000, 0)) };
        let run = settled(vec![call], vec![usage], &Prices::default());
        run.own_cost().map(|cost| (cost.nano_usd / 1_000_000, cost.is_estimate))
    };
    assert_eq!(of("default", "o3"), Some((2_000, false)));
    assert_eq!(of("flex", "o3"), Some((1_000, false)));
    assert_eq!(of("batch", "o3"), Some((1_000, false)));
    assert_eq!(of("priority", "o1"), Some((15_000, true)));
}

#[test]
fn the_version_of_the_table_is_that_of_the_crate() {
    let lock = include_str!("../../Cargo.lock");
    let version =
        lock.split("name = \"genai-prices\"\nversion = \"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(TABLE, format!("genai-prices {version}"));
    assert_eq!(table::DISCOUNTED, format!("{TABLE}, discounted"));
}

#[test]
fn providers_are_looked_up_by_whatever_agno_calls_them() {
    for (provider, model, expected) in [
        ("openai", "gpt-4o", Some(12_500)),
        ("azure.ai.openai", "gpt-4o", Some(12_500)),
        ("anthropic", "claude-sonnet-4-20250514", Some(18_000)),
        ("gcp.vertex_ai", "claude-sonnet-4@20250514", Some(18_000)),
        ("gcp.gemini", "gemini-2.5-flash", Some(2_800)),
        ("aws.bedrock", "amazon.nova-pro-v1:0", Some(4_000)),
        ("groq", "llama-3.3-70b-versatile", Some(1_380)),
        ("x_ai", "grok-3", Some(18_000)),
        ("cohere", "command-a-03-2025", Some(12_500)),
        ("openrouter", "openai/gpt-4o", Some(12_500)),
        ("litellm", "gpt-4o", Some(12_500)),
        ("litellm", "openai/gpt-4o", Some(12_500)),
        ("litellm", "gemini/gemini-2.5-flash", Some(2_800)),
        ("portkey", "@openai/gpt-4o", Some(12_500)),
        ("vercel", "xai/grok-3", Some(18_000)),
        ("litellm", "nobody/gpt-4o", None),
        ("ollama", "llama3.2", Some(0)),
        ("lmstudio", "qwen", Some(0)),
        ("llamacpp", "qwen", Some(0)),
        ("vllm", "gpt-4o", Some(0)),
        ("ollama", "gpt-oss:120b-cloud", None),
        // An endpoint that speaks like OpenAI is not OpenAI.
        ("openailike", "gpt-4o", None),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct", None),
        ("nebius", "Qwen/Qwen3-235B-A22B", None),
        ("dashscope", "qwen-max", None),
        ("sambanova", "Meta-Llama-3.3-70B-Instruct", None),
    ] {
        let cost = million(provider, model, LATELY_S, &Prices::default()).map(|(nano, _)| nano / 1_000_000);
        assert_eq!(cost, expected, "{provider} {model}");
    }
}

/// Runs as decoding may leave them: some calls per usage, some that add up and some that do not.
fn any_run() -> impl Strategy<Value = Run> {
    let models = ["gpt-4o", "gpt-5.4", "mock", "sonar", "claude-sonnet-4-5", "gpt-audio"];
    let count = 0u64..400_000;
    let spent = (count.clone(), count.clone(), count.clone(), count.clone(), count.clone(), count).prop_map(
        |(uncached, cache_read, cache_write, answer, reasoning, audio)| Tokens {
            uncached,
            cache_read,
            cache_write,
            answer,
            reasoning,
            audio_input: audio.min(uncached + cache_read),
            audio_output: audio.min(answer + reasoning),
        },
    );
    let one = (0..models.len(), any::<bool>(), proptest::option::of(0.0f64..3.0), spent.clone()).prop_map(
        move |(model, has_message, stated, tokens)| {
            let provider = match models[model] {
                "sonar" => "perplexity",
                "claude-sonnet-4-5" => "anthropic",
                _ => "openai",
            };
            ModelCall {
                provider: Some(provider.to_owned()),
                model: Some(models[model].to_owned()),
                has_message,
                stated: stated.map(stating).unwrap_or_default(),
                ..call("a", tokens)
            }
        },
    );
    let whole = (any::<bool>(), proptest::option::of(0u64..5_000_000_000), spent);
    (proptest::collection::vec(one, 1..6), proptest::collection::vec(whole, 6)).prop_map(|(calls, wholes)| {
        let mut usages: Vec<Usage> = Vec::new();
        for call in &calls {
            match usages.iter_mut().find(|usage| usage.model == call.model) {
                Some(usage) => usage.tokens += call.tokens,
                None => usages.push(Usage {
                    provider: call.provider.clone(),
                    model: call.model.clone(),
                    ..usage(call.tokens)
                }),
            }
        }
        for (usage, (is_other, stated, tokens)) in usages.iter_mut().zip(wholes) {
            usage.stated_nano_usd = stated;
            if is_other {
                usage.tokens = tokens;
            }
        }
        Run { calls, usage: usages, ..Run::bare("r", RunKind::Agent) }
    })
}

proptest! {
    #[test]
    fn calls_add_up_to_usages_usages_to_runs_and_lines_to_the_bill(run in any_run(), discount in 0.0f64..1.5) {
        let prices = Prices { discount: Factor::of(discount).unwrap(), ..Prices::default() };
        let run = settled(run.calls, run.usage, &prices);
        let sum = |costs: Vec<Option<Cost>>| Cost::sum(costs.into_iter().flatten()).map_or(0, |cost| cost.nano_usd);
        let of_calls = sum(run.calls.iter().map(|call| call.cost).collect());
        let of_usages = sum(run.usage.iter().map(|usage| usage.cost).collect());
        prop_assert_eq!(of_calls, of_usages);
        prop_assert_eq!(run.own_cost().map_or(0, |cost| cost.nano_usd), of_usages);
        let mut bill = Bill::default();
        bill.add(&run, &prices, LATELY_S);
        let lines: u64 = bill.models.values().flatten().map(|(_, amount)| amount.nano_usd).sum();
        prop_assert_eq!(bill.total.map_or(0, |cost| cost.nano_usd), of_usages);
        prop_assert_eq!(lines, of_usages);
        prop_assert_eq!(bill.unpriced.values().sum::<u64>(), run.own_unpriced());
        prop_assert_eq!(bill.tokens(), run.own_tokens().total());
        // Amounts are their tokens times their price, to the nano-dollar a call.
        for (line, amount) in bill.models.values().flatten() {
            if let (What::Tokens(_), Some(rate)) = (line.what, line.rate) {
                let exact = u128::from(rate) * u128::from(amount.count) / 1_000;
                // A discounted price is rounded to the pico-dollar.
                let slack = 8 + u128::from(amount.count) / 1_000;
                prop_assert!(u128::from(amount.nano_usd).abs_diff(exact) <= slack, "{:?} {:?}", line, amount);
            }
        }
        // Said twice, it is the same.
        let again = settled(run.calls.clone(), run.usage.clone(), &prices);
        prop_assert_eq!(again, run);
    }
}

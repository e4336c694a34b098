use super::*;
use crate::model::RunKind;
use crate::model::step::Spender;

fn stated(input: u64, output: u64) -> Stated {
    Stated { integers: vec![("input_tokens", input), ("output_tokens", output)], ..Stated::default() }
}

fn tokens(input: u64, output: u64) -> Tokens {
    Tokens { uncached: input, answer: output, ..Tokens::default() }
}

fn entry(role: &str, model: &str, (input, output): (u64, u64)) -> Detail {
    let usage = Usage {
        role: role.to_owned(),
        provider: Some("openai".to_owned()),
        model: Some(model.to_owned()),
        tokens: tokens(input, output),
        ..Usage::default()
    };
    Detail { usage, stated: stated(input, output), rule: "inclusive", step_run_id: None }
}

fn message(id: &str, (input, output): (u64, u64)) -> ModelCall {
    ModelCall {
        key: id.to_owned(),
        role: "model".to_owned(),
        model: Some("the run's".to_owned()),
        has_message: true,
        tokens: tokens(input, output),
        stated: stated(input, output),
        ..ModelCall::default()
    }
}

fn figures(tokens: &Tokens) -> String {
    format!("{}+{}", tokens.input(), tokens.output())
}

/// What is shown and what is counted, a line each, and how often messages said more than entries.
fn matched(calls: Vec<ModelCall>, details: Vec<Detail>) -> (Vec<String>, Vec<String>, u64) {
    let mut run = Run { calls, ..Run::bare("r", RunKind::Agent) };
    let mut oddities = Oddities::default();
    match_details(&mut run, details, &mut oddities);
    let model = |model: &Option<String>| model.clone().unwrap_or_default();
    let shown = |call: &ModelCall| format!("{} {} {}", call.key, model(&call.model), figures(&call.tokens));
    let counted =
        |usage: &Usage| format!("{} {} {}", usage.role, model(&usage.model), figures(&usage.tokens));
    let said_more = oddities.count(Oddity::MessagesExceedSum);
    (run.calls.iter().map(shown).collect(), run.usage.iter().map(counted).collect(), said_more)
}

#[test]
fn what_no_message_accounts_for_is_a_call_of_its_own() {
    let (shown, counted, said_more) = matched(
        vec![message("m", (10, 2))],
        vec![entry("model", "gpt", (15, 5)), entry("memory_model", "mini", (7, 1))],
    );
    assert_eq!(shown, ["m gpt 10+2", "model/0 gpt 5+3", "memory_model/0 mini 7+1"]);
    assert_eq!(counted, ["model gpt 15+5", "memory_model mini 7+1"]);
    assert_eq!(said_more, 0);
}

#[test]
fn what_is_left_of_an_entry_was_never_stated_and_a_whole_entry_was() {
    let mut run = Run { calls: vec![message("m", (10, 2))], ..Run::bare("r", RunKind::Agent) };
    let details = vec![entry("model", "gpt", (15, 5)), entry("memory_model", "mini", (7, 1))];
    match_details(&mut run, details, &mut Oddities::default());
    let [_, rest, whole] = &run.calls[..] else { panic!("three calls") };
    assert_eq!((&rest.stated, &whole.stated), (&Stated::default(), &stated(7, 1)));
    for call in [rest, whole] {
        assert_eq!((call.rule, call.provider.as_deref()), ("inclusive", Some("openai")));
        assert!(!call.has_message);
    }
}

#[test]
fn of_several_main_models_the_one_that_says_just_the_same_was_asked() {
    let (shown, counted, said_more) = matched(
        vec![message("first", (5, 1)), message("second", (10, 2))],
        vec![entry("model", "large", (10, 2)), entry("model", "small", (5, 1))],
    );
    assert_eq!(shown, ["first small 5+1", "second large 10+2"]);
    assert_eq!(counted, ["model large 10+2", "model small 5+1"]);
    assert_eq!(said_more, 0);
}

#[test]
fn an_entry_that_says_just_the_same_says_it_of_one_message() {
    let (shown, _, said_more) = matched(
        vec![message("first", (5, 1)), message("second", (5, 1))],
        vec![entry("model", "small", (5, 1)), entry("model", "large", (10, 2))],
    );
    assert_eq!(shown, ["first small 5+1", "second large 5+1", "model/1 large 5+1"]);
    assert_eq!(said_more, 0);
}

#[test]
fn messages_without_figures_take_nothing_from_any_entry() {
    let silent = ModelCall { stated: Stated::default(), ..message("m", (0, 0)) };
    let (shown, counted, _) = matched(vec![silent], vec![entry("model", "gpt", (10, 2))]);
    assert_eq!(shown, ["m gpt 0+0", "model/0 gpt 10+2"]);
    assert_eq!(counted, ["model gpt 10+2"]);
}

#[test]
fn more_taken_of_one_entry_than_it_has_leaves_less_of_the_others() {
    // Together the entries say what the messages say; no message fits the one it is given.
    let (shown, counted, said_more) = matched(
        vec![message("first", (12, 2)), message("second", (8, 2))],
        vec![entry("model", "one", (10, 2)), entry("model", "other", (10, 2))],
    );
    assert_eq!(shown, ["first one 12+2", "second other 8+2"]);
    assert_eq!(counted, ["model one 10+2", "model other 10+2"]);
    assert_eq!(said_more, 0);
}

#[test]
fn what_messages_say_beyond_their_roles_entries_was_spent_by_the_run_itself() {
    let mut spent = entry("model", "gpt", (10, 2));
    spent.usage.spender = Some(Spender { kind: RunKind::Agent, name: "Ann".to_owned(), step: 0 });
    let mut run = Run {
        calls: vec![message("first", (10, 2)), message("second", (4, 1))],
        ..Run::bare("r", RunKind::Agent)
    };
    let mut oddities = Oddities::default();
    match_details(&mut run, vec![spent], &mut oddities);
    let [of_entry, beyond] = &run.usage[..] else { panic!("two") };
    assert!(of_entry.spender.is_some());
    assert_eq!((&beyond.spender, beyond.tokens), (&None, tokens(4, 1)));
    assert_eq!(oddities.count(Oddity::MessagesExceedSum), 1);
    assert_eq!(run.calls.iter().map(|call| call.tokens).sum::<Tokens>(), run.own_tokens());
}

#[test]
fn more_of_one_class_and_less_of_another_is_no_sum_of_messages() {
    let (_, counted, said_more) = matched(vec![message("m", (12, 1))], vec![entry("model", "gpt", (10, 2))]);
    assert_eq!((counted, said_more), (vec!["model gpt 10+2".to_owned()], 1));
}

#[test]
fn the_parsers_answer_is_known_by_its_tokens_and_is_the_last_that_fits() {
    let (shown, counted, _) = matched(
        vec![message("a", (5, 1)), message("b", (5, 1)), message("c", (9, 9))],
        vec![entry("model", "gpt", (14, 10)), entry("parser_model", "mini", (5, 1))],
    );
    assert_eq!(shown, ["a gpt 5+1", "b mini 5+1", "c gpt 9+9"]);
    assert_eq!(counted, ["model gpt 14+10", "parser_model mini 5+1"]);
}

#[test]
fn where_all_messages_are_the_main_models_none_is_the_parsers() {
    let (shown, _, _) = matched(
        vec![message("a", (5, 1)), message("b", (5, 1))],
        vec![entry("model", "gpt", (10, 2)), entry("parser_model", "mini", (5, 1))],
    );
    assert_eq!(shown, ["a gpt 5+1", "b gpt 5+1", "parser_model/0 mini 5+1"]);
}

#[test]
fn a_reasoning_models_answer_without_figures_takes_its_entry_whole() {
    let reasoning = |key: &str| ModelCall {
        role: "reasoning_model".to_owned(),
        stated: Stated::default(),
        ..message(key, (0, 0))
    };
    let details = || vec![entry("model", "gpt", (3, 1)), entry("reasoning_model", "thinker", (8, 4))];
    let (shown, counted, _) = matched(vec![reasoning("r"), reasoning("s"), message("m", (3, 1))], details());
    assert_eq!(shown, ["r thinker 8+4", "s thinker 0+0", "m gpt 3+1"]);
    assert_eq!(counted, ["model gpt 3+1", "reasoning_model thinker 8+4"]);
    // Without an entry of its role it was the main model's.
    let (shown, _, _) = matched(vec![reasoning("r")], vec![entry("model", "gpt", (3, 1))]);
    assert_eq!(shown, ["r gpt 0+0", "model/0 gpt 3+1"]);
}

use super::*;

fn figures(provider: &str, integers: &[(&'static str, u64)]) -> (Tokens, &'static str) {
    let stated = Stated { integers: integers.to_vec(), ..Stated::default() };
    let rule = Rule::of(Some(provider), &stated);
    (rule.normalise(&stated, &mut Oddities::default()), rule.as_str())
}

#[test]
fn openai_includes_cache_and_reasoning() {
    let (tokens, rule) = figures(
        "openai",
        &[("input_tokens", 100), ("output_tokens", 50), ("cache_read_tokens", 30), ("reasoning_tokens", 20)],
    );
    assert_eq!(rule, "inclusive");
    assert_eq!((tokens.uncached, tokens.cache_read, tokens.answer, tokens.reasoning), (70, 30, 30, 20));
}

#[test]
fn anthropic_states_input_without_cache() {
    let (tokens, rule) = figures(
        "anthropic",
        &[
            ("input_tokens", 145),
            ("output_tokens", 64),
            ("cache_read_tokens", 64),
            ("cache_write_tokens", 17),
        ],
    );
    assert_eq!(rule, "cache_outside_input");
    assert_eq!((tokens.uncached, tokens.input(), tokens.total()), (145, 226, 290));
}

#[test]
fn more_cache_than_input_decides_by_itself() {
    let (tokens, rule) = figures("litellm", &[("input_tokens", 10), ("cache_read_tokens", 64)]);
    assert_eq!((rule, tokens.uncached, tokens.cache_read), ("cache_outside_input", 10, 64));
}

#[test]
fn an_input_that_was_cached_whole_contradicts_nothing() {
    let (tokens, rule) = figures("openai", &[("input_tokens", 64), ("cache_read_tokens", 64)]);
    assert_eq!((rule, tokens.uncached, tokens.cache_read), ("inclusive", 0, 64));
}

#[test]
fn what_contradicts_its_rule_is_clamped_and_said() {
    let clamped = |rule: Rule, integers: &[(&'static str, u64)]| {
        let stated = Stated { integers: integers.to_vec(), ..Stated::default() };
        let mut oddities = Oddities::default();
        let Tokens { uncached, cache_read, cache_write, answer, reasoning, .. } =
            rule.normalise(&stated, &mut oddities);
        ([uncached, cache_read, cache_write, answer, reasoning], oddities.count(Oddity::ClampedTokens))
    };
    let inclusive = Rule { cache_outside: false, reasoning: Reasoning::Inside };
    let input = ("input_tokens", 10);
    let read = ("cache_read_tokens", 7);
    assert_eq!(clamped(inclusive, &[input, read]), ([3, 7, 0, 0, 0], 0));
    assert_eq!(clamped(inclusive, &[input, read, ("cache_write_tokens", 5)]), ([0, 7, 3, 0, 0], 1));
    let output = ("output_tokens", 10);
    assert_eq!(clamped(inclusive, &[output, ("reasoning_tokens", 10)]), ([0, 0, 0, 0, 10], 0));
    assert_eq!(clamped(inclusive, &[output, ("reasoning_tokens", 11)]), ([0, 0, 0, 0, 10], 1));
}

#[test]
fn gemini_states_thoughts_beside_the_output_or_hides_them_in_it() {
    let (later, rule) = figures(
        "gcp.gemini",
        &[("input_tokens", 95), ("output_tokens", 16), ("total_tokens", 111), ("reasoning_tokens", 9)],
    );
    assert_eq!((rule, later.answer, later.reasoning), ("reasoning_outside_output", 16, 9));
    let (agno_2_0, rule) =
        figures("gcp.gemini", &[("input_tokens", 95), ("output_tokens", 25), ("total_tokens", 111)]);
    assert_eq!((rule, agno_2_0.answer, agno_2_0.reasoning), ("reasoning_from_total", 16, 9));
}

#[test]
fn a_total_beyond_input_and_output_says_what_they_leave_out() {
    let xai = [("input_tokens", 74), ("output_tokens", 14), ("total_tokens", 97), ("reasoning_tokens", 9)];
    let (tokens, rule) = figures("x_ai", &xai);
    assert_eq!((rule, tokens.answer, tokens.reasoning), ("reasoning_outside_output", 14, 9));
    assert_eq!(tokens.total(), 97);
    let cached =
        [("input_tokens", 80), ("output_tokens", 4), ("total_tokens", 114), ("cache_read_tokens", 30)];
    let (tokens, rule) = figures("some_proxy", &cached);
    assert_eq!((rule, tokens.uncached, tokens.total()), ("cache_outside_input", 80, 114));
    let both = [
        ("input_tokens", 80),
        ("output_tokens", 4),
        ("total_tokens", 121),
        ("cache_read_tokens", 30),
        ("reasoning_tokens", 7),
    ];
    let (tokens, rule) = figures("some_proxy", &both);
    assert_eq!((rule, tokens.total()), ("cache_and_reasoning_outside", 121));
}

#[test]
fn anthropics_usage_is_known_by_its_words_whatever_the_provider_is_called() {
    let stated = Stated {
        integers: vec![("input_tokens", 118), ("cache_read_tokens", 96), ("cache_write_tokens", 16)],
        provider: vec![("service_tier".to_owned(), crate::model::step::Scalar::Text("standard".to_owned()))],
        ..Stated::default()
    };
    let rule = Rule::of(Some("openai"), &stated);
    assert_eq!(rule.normalise(&stated, &mut Oddities::default()).uncached, 118);
}

#[test]
fn providers_are_called_as_the_conventions_call_them_and_others_in_snake_case() {
    // What Agno's model classes call their providers.
    for (agno, name) in [
        ("OpenAI", "openai"),
        ("OpenAI Chat", "openai"),
        ("Azure", "azure.ai.openai"),
        ("AzureOpenAI", "azure.ai.openai"),
        ("AzureAIFoundry", "azure.ai.inference"),
        ("Anthropic", "anthropic"),
        ("AzureFoundryClaude", "anthropic"),
        ("AwsBedrock", "aws.bedrock"),
        ("AWS", "aws.bedrock"),
        ("VertexAI", "gcp.vertex_ai"),
        ("Google", "gcp.gemini"),
        ("Gemini", "gcp.gemini"),
        ("Cohere", "cohere"),
        ("DeepSeek", "deepseek"),
        ("Groq", "groq"),
        ("IBM", "ibm.watsonx.ai"),
        ("Mistral", "mistral_ai"),
        ("Moonshot", "moonshot_ai"),
        ("Perplexity", "perplexity"),
        ("xAI", "x_ai"),
        ("Together AI", "together_ai"),
        (" -LM  Studio-", "lm_studio"),
    ] {
        assert_eq!(provider_name(agno), name, "{agno}");
    }
    // Agno adds words to say which of a provider's interfaces it speaks.
    for name in ["openai", "cohere", "deepseek", "groq", "perplexity"] {
        assert_eq!(provider_name(&format!("{name} Responses")), name);
    }
}

#[test]
fn what_can_be_no_count_is_left_out_and_said() {
    let counted = |number| {
        let mut oddities = Oddities::default();
        (count(number, &mut oddities), oddities.count(Oddity::UnbelievableTokens))
    };
    let largest = 9_007_199_254_740_992;
    for (number, expected) in [
        (Number::Natural(0), 0),
        (Number::Natural(largest), largest),
        (Number::Float(0.0), 0),
        (Number::Float(7.0), 7),
        (Number::Float(9_007_199_254_740_992.0), largest),
    ] {
        assert_eq!(counted(number), (Some(expected), 0), "{number:?}");
    }
    for number in [
        Number::Natural(largest + 1),
        Number::Negative(-1),
        Number::Float(-1.0),
        Number::Float(0.5),
        Number::Float(9_007_199_254_740_994.0),
        Number::Float(f64::NAN),
    ] {
        assert_eq!(counted(number), (None, 1), "{number:?}");
    }
    assert_eq!(counted(Number::Absent), (None, 0));
}

proptest::proptest! {
    #[test]
    fn the_classes_always_add_up_to_input_and_output(
        numbers in proptest::collection::vec(0u64..LARGEST_TOKENS, 9), provider in 0usize..4,
    ) {
        let provider = ["openai", "anthropic", "gcp.gemini", "x"][provider];
        let stated = Stated { integers: TOKEN_FIELDS.into_iter().zip(numbers).collect(), ..Stated::default() };
        let rule = Rule::of(Some(provider), &stated);
        let tokens = rule.normalise(&stated, &mut Oddities::default());
        let outside = u64::from(rule.cache_outside)
            * (field(&stated, "cache_read_tokens") + field(&stated, "cache_write_tokens"));
        proptest::prop_assert_eq!(tokens.input(), field(&stated, "input_tokens") + outside);
        proptest::prop_assert!(tokens.audio_input <= tokens.input() && tokens.audio_output <= tokens.output());
    }
}

//! Agno's token figures, normalised to OpenTelemetry's meaning by provider and shape.
//!
//! No record carries Agno's version, so the rule follows from the provider and from what the figures say of
//! themselves. Sources: reference tables of Agno 2.0 to 3.1 (`_get_metrics` of each model class), and the
//! providers' own records in `tests/fixtures`.

use crate::framework::{Oddities, Oddity};
use crate::model::{Stated, Tokens};

use super::lenient::Number;
use super::record::MetricsRecord;

/// Counts beyond this are no counts: 2^53, where a float stops being exact.
const LARGEST_TOKENS: u64 = 1 << 53;

/// The names under which a reader of Agno's documentation knows its token fields.
pub(super) const TOKEN_FIELDS: [&str; 9] = [
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "audio_total_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
];

/// Agno's provider names in OpenTelemetry's words (`gen_ai.provider.name`).
pub(super) fn provider_name(agno: &str) -> String {
    let name = agno.trim();
    let known = match name.split(' ').next().unwrap_or(name).to_ascii_lowercase().as_str() {
        "openai" => "openai",
        "azure" | "azureopenai" => "azure.ai.openai",
        "azureaifoundry" => "azure.ai.inference",
        "anthropic" | "azurefoundry" | "azurefoundryclaude" => "anthropic",
        "awsbedrock" | "aws" | "bedrock" => "aws.bedrock",
        "vertexai" => "gcp.vertex_ai",
        "google" | "gemini" => "gcp.gemini",
        "cohere" => "cohere",
        "deepseek" => "deepseek",
        "groq" => "groq",
        "ibm" | "watsonx" => "ibm.watsonx.ai",
        "mistral" => "mistral_ai",
        "moonshot" => "moonshot_ai",
        "perplexity" => "perplexity",
        "xai" => "x_ai",
        _ => return snake_case(name),
    };
    known.to_owned()
}

fn snake_case(name: &str) -> String {
    let words: Vec<String> = name
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.join("_")
}

/// The nine token fields, times and money of a metrics object, as Agno states them.
pub(super) fn stated(record: &MetricsRecord<'_>, oddities: &mut Oddities) -> Stated {
    let numbers = [
        record.input_tokens,
        record.output_tokens,
        record.total_tokens,
        record.audio_input_tokens,
        record.audio_output_tokens,
        record.audio_total_tokens,
        record.cache_read_tokens,
        record.cache_write_tokens,
        record.reasoning_tokens,
    ];
    let integers = TOKEN_FIELDS
        .into_iter()
        .zip(numbers)
        .filter_map(|(field, number)| count(number, oddities).map(|count| (field, count)))
        .collect();
    let floats = [
        ("duration", record.duration),
        ("time_to_first_token", record.time_to_first_token),
        ("cost", record.cost),
    ]
    .into_iter()
    .filter_map(|(field, number)| {
        number.float().filter(|value| value.is_finite()).map(|value| (field, value))
    })
    .collect();
    Stated { integers, floats, provider: super::scalars(record.provider_metrics) }
}

/// A token count, if it can be one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked"
)]
fn count(number: Number, oddities: &mut Oddities) -> Option<u64> {
    let count = match number {
        Number::Natural(count) if count <= LARGEST_TOKENS => Some(count),
        Number::Float(count) if count >= 0.0 && count.fract() == 0.0 && count <= LARGEST_TOKENS as f64 => {
            Some(count as u64)
        }
        Number::Absent | Number::List => return None,
        Number::Natural(_) | Number::Negative(_) | Number::Float(_) => None,
    };
    if count.is_none() {
        oddities.add(Oddity::UnbelievableTokens);
    }
    count
}

fn field(stated: &Stated, name: &str) -> u64 {
    stated.integers.iter().find(|(field, _)| *field == name).map_or(0, |(_, count)| *count)
}

/// What only Anthropic's usage has beside its tokens, whatever the provider is called.
const ANTHROPICS_WORDS: [&str; 2] = ["service_tier", "server_tool_use"];

/// How a provider's figures relate to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// Cache tokens come on top of `input_tokens` instead of being part of it.
    cache_outside: bool,
    reasoning: Reasoning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reasoning {
    /// `output_tokens` includes `reasoning_tokens`.
    Inside,
    /// `reasoning_tokens` come on top of `output_tokens`.
    Outside,
    /// `output_tokens` includes thoughts that no field names; the total, which leaves them out, tells.
    Unsaid,
}

impl Rule {
    /// The rule for figures of this provider (OpenTelemetry's name).
    ///
    /// Anthropic, Bedrock and Claude on Vertex state input without cache. Gemini states output without
    /// thoughts, except Agno 2.0, which adds them to the output and leaves them out of the total. Where the
    /// figures say otherwise themselves, they decide: more cache than input; words only Anthropic's usage has;
    /// a total that exceeds input and output by just the cache, or just the reasoning (xAI), or both.
    pub(super) fn of(provider: Option<&str>, stated: &Stated) -> Self {
        let cache = field(stated, "cache_read_tokens").saturating_add(field(stated, "cache_write_tokens"));
        let thoughts = field(stated, "reasoning_tokens");
        let [input, output] = ["input_tokens", "output_tokens"].map(|name| field(stated, name));
        let excess = field(stated, "total_tokens").saturating_sub(input.saturating_add(output));
        let both = excess == cache.saturating_add(thoughts);
        let excludes_cache = matches!(provider, Some("anthropic" | "aws.bedrock" | "gcp.vertex_ai"))
            || stated.provider.iter().any(|(word, _)| ANTHROPICS_WORDS.contains(&word.as_str()));
        let reasoning = match provider {
            _ if thoughts > 0 && (excess == thoughts || both) => Reasoning::Outside,
            Some("gcp.gemini" | "gcp.gen_ai") if thoughts > 0 => Reasoning::Outside,
            Some("gcp.gemini" | "gcp.gen_ai") => Reasoning::Unsaid,
            _ => Reasoning::Inside,
        };
        let cache_outside = excludes_cache || cache > input || (cache > 0 && (excess == cache || both));
        Self { cache_outside, reasoning }
    }

    /// The value of `agno.token.rule`.
    pub(super) fn as_str(self) -> &'static str {
        match (self.cache_outside, self.reasoning) {
            (false, Reasoning::Inside) => "inclusive",
            (true, Reasoning::Inside) => "cache_outside_input",
            (false, Reasoning::Outside) => "reasoning_outside_output",
            (true, Reasoning::Outside) => "cache_and_reasoning_outside",
            (false, Reasoning::Unsaid) => "reasoning_from_total",
            (true, Reasoning::Unsaid) => "cache_outside_reasoning_from_total",
        }
    }

    /// The figures in disjoint classes. Whatever contradicts itself is clamped, so that the classes add up to
    /// input + output.
    pub(super) fn normalise(self, stated: &Stated, oddities: &mut Oddities) -> Tokens {
        let [input, output] = ["input_tokens", "output_tokens"].map(|name| field(stated, name));
        let [read, write] = ["cache_read_tokens", "cache_write_tokens"].map(|name| field(stated, name));
        let thoughts = match self.reasoning {
            Reasoning::Inside | Reasoning::Outside => field(stated, "reasoning_tokens"),
            Reasoning::Unsaid => match field(stated, "total_tokens") {
                0 => 0,
                total => input.saturating_add(output).saturating_sub(total),
            },
        };
        let all_input =
            if self.cache_outside { input.saturating_add(read).saturating_add(write) } else { input };
        let all_output = match self.reasoning {
            Reasoning::Outside => output.saturating_add(thoughts),
            Reasoning::Inside | Reasoning::Unsaid => output,
        };
        let cache_read = read.min(all_input);
        let cache_write = write.min(all_input - cache_read);
        let reasoning = thoughts.min(all_output);
        if (cache_read, cache_write, reasoning) != (read, write, thoughts) {
            oddities.add(Oddity::ClampedTokens);
        }
        Tokens {
            uncached: all_input - cache_read - cache_write,
            cache_read,
            cache_write,
            answer: all_output - reasoning,
            reasoning,
            audio_input: field(stated, "audio_input_tokens").min(all_input),
            audio_output: field(stated, "audio_output_tokens").min(all_output),
        }
    }
}

#[cfg(test)]
mod tests {
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
            &[
                ("input_tokens", 100),
                ("output_tokens", 50),
                ("cache_read_tokens", 30),
                ("reasoning_tokens", 20),
            ],
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
        let xai =
            [("input_tokens", 74), ("output_tokens", 14), ("total_tokens", 97), ("reasoning_tokens", 9)];
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
            provider: vec![(
                "service_tier".to_owned(),
                crate::model::step::Scalar::Text("standard".to_owned()),
            )],
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
}

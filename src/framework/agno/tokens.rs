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
mod tests;

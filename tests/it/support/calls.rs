//! The provider's own record of its calls, `*.calls.json`: the judge of totals and times.

use std::path::Path;

use serde_json::Value;

use super::Classes;

/// One request the provider answered.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Unix seconds at which the request came in.
    pub(crate) start_s: f64,
    /// The model asked for.
    pub(crate) model: String,
    /// HTTP status of the answer.
    pub(crate) status: u64,
    /// What it billed: input, cache read, cache write, output, reasoning.
    pub(crate) tokens: [u64; 5],
}

/// Reads a provider's record.
pub(crate) fn read(path: &Path) -> Vec<Call> {
    let calls: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    calls
        .iter()
        .map(|call| Call {
            start_s: call["t_start"].as_f64().unwrap(),
            model: call["model"].as_str().unwrap_or_default().to_owned(),
            status: call["status"].as_u64().unwrap_or(0),
            tokens: billed(&call["usage"], call["path"].as_str().unwrap_or_default()),
        })
        .collect()
}

/// What a provider billed, in our disjoint classes, by the meaning each provider gives its own words.
fn billed(usage: &Value, path: &str) -> [u64; 5] {
    let get = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    if path.contains("/messages") {
        let [read, write] = ["/cache_read_input_tokens", "/cache_creation_input_tokens"].map(get);
        return [get("/input_tokens"), read, write, get("/output_tokens"), 0];
    }
    if usage.get("promptTokenCount").is_some() {
        let cached = get("/cachedContentTokenCount");
        return [
            get("/promptTokenCount") - cached,
            cached,
            0,
            get("/candidatesTokenCount"),
            get("/thoughtsTokenCount"),
        ];
    }
    if usage.get("inputTokens").is_some() {
        // Bedrock's converse: what the cache gave and took stands beside the input.
        let [read, write] = ["/cacheReadInputTokens", "/cacheWriteInputTokens"].map(get);
        return [get("/inputTokens"), read, write, get("/outputTokens"), 0];
    }
    let (input, output, input_details, output_details) = if usage.get("prompt_tokens").is_some() {
        ("/prompt_tokens", "/completion_tokens", "/prompt_tokens_details", "/completion_tokens_details")
    } else {
        ("/input_tokens", "/output_tokens", "/input_tokens_details", "/output_tokens_details")
    };
    // OpenAI's details are parts of the input and of the output.
    let [read, write] =
        ["cached_tokens", "cache_write_tokens"].map(|detail| get(&format!("{input_details}/{detail}")));
    let reasoning = get(&format!("{output_details}/reasoning_tokens"));
    // xAI bills reasoning beside the completion: only its total holds both.
    let inside = if path.starts_with("/xai/") { 0 } else { reasoning };
    [get(input) - read - write, read, write, get(output) - inside, reasoning]
}

/// The sum of what was billed, by class.
pub(crate) fn classes(calls: &[Call]) -> Classes {
    let mut sum = [0; 5];
    for call in calls {
        for (sum, tokens) in sum.iter_mut().zip(call.tokens) {
            *sum += tokens;
        }
    }
    ["input", "cache_read", "cache_write", "output", "reasoning"].into_iter().zip(sum).collect()
}

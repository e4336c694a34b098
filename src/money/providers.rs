//! Whose price list a model is on: providers in OpenTelemetry's words, as those of the price table.

/// Where a model's price is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed<'n> {
    /// It runs on one's own machine.
    Nowhere,
    /// In the list of a provider, by the table's id of it.
    Under(&'static str, &'n str),
    /// In the list of whoever made it: a gateway does not say who answered.
    ByName(&'n str),
    /// Nobody knows.
    Unknown,
}

/// What runs on one's own machine.
const LOCAL: [&str; 5] = ["ollama", "vllm", "lmstudio", "lm_studio", "llamacpp"];
/// How a model of Ollama's that runs on its servers is marked.
const OLLAMA_CLOUD: &str = "cloud";

/// Gateways. Their models are called `vendor/model`.
const GATEWAYS: [&str; 3] = ["litellm", "portkey", "vercel"];

/// Our words for providers, and those of gateways for vendors, with the table's ids.
const IDS: [(&str, &str); 46] = [
    ("amazon", "aws"),
    ("anthropic", "anthropic"),
    ("arcee", "arcee"),
    ("aws", "aws"),
    ("aws.bedrock", "aws"),
    ("azure", "azure"),
    ("azure.ai.inference", "azure"),
    ("azure.ai.openai", "azure"),
    ("baseten", "baseten"),
    ("bedrock", "aws"),
    ("cerebras", "cerebras"),
    ("cerebrasopenai", "cerebras"),
    ("cloudflare", "cloudflare"),
    ("cohere", "cohere"),
    ("databricks", "databricks"),
    ("deepseek", "deepseek"),
    ("fireworks", "fireworks"),
    ("fireworks_ai", "fireworks"),
    ("gcp.gemini", "google"),
    ("gcp.gen_ai", "google"),
    ("gcp.vertex_ai", "google"),
    ("gemini", "google"),
    ("google", "google"),
    ("groq", "groq"),
    ("meta", "meta"),
    ("minimax", "minimax"),
    ("mistral", "mistral"),
    ("mistral_ai", "mistral"),
    ("mistralai", "mistral"),
    ("moonshot", "moonshotai"),
    ("moonshot_ai", "moonshotai"),
    ("moonshotai", "moonshotai"),
    ("novita", "novita"),
    ("openai", "openai"),
    ("openrouter", "openrouter"),
    ("perplexity", "perplexity"),
    ("together", "together"),
    ("together_ai", "together"),
    ("vertex_ai", "google"),
    ("voyage", "voyageai"),
    ("x_ai", "x-ai"),
    ("xai", "x-ai"),
    ("zai", "zai"),
    ("z_ai", "zai"),
    ("zhipu", "zhipuai"),
    ("zhipuai", "zhipuai"),
];

/// Where the price of a provider's model is looked up.
pub(super) fn listed<'n>(provider: Option<&str>, model: &'n str) -> Listed<'n> {
    let Some(provider) = provider else { return Listed::Unknown };
    if LOCAL.contains(&provider) {
        let is_remote = provider == "ollama" && model.ends_with(OLLAMA_CLOUD);
        return if is_remote { Listed::Unknown } else { Listed::Nowhere };
    }
    if GATEWAYS.contains(&provider) {
        return of_gateway(model);
    }
    id(provider).map_or(Listed::Unknown, |id| Listed::Under(id, model))
}

/// A gateway's model: `openai/gpt-4o`, `@openai/gpt-4o`, or the bare name of it.
fn of_gateway(model: &str) -> Listed<'_> {
    let model = model.trim_start_matches('@');
    let Some((vendor, rest)) = model.split_once('/') else { return Listed::ByName(model) };
    let vendor = vendor.to_lowercase().replace('-', "_");
    match vendor.as_str() {
        // One gateway behind another.
        "litellm" | "portkey" | "vercel" => of_gateway(rest),
        vendor => id(vendor).map_or(Listed::Unknown, |id| Listed::Under(id, rest)),
    }
}

fn id(provider: &str) -> Option<&'static str> {
    IDS.iter().find(|(ours, _)| *ours == provider).map(|(_, id)| *id)
}

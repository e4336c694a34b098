//! What this is, and how it was built: `--version`. `-V` is its first line.

use crate::framework::agno;
use crate::money;
use crate::otel::names;
use crate::state;

/// What `--version` says behind the name.
pub(super) fn long() -> String {
    let or_unknown = |text: &'static str| if text.is_empty() { "unknown" } else { text };
    let layout = format!("layout {}; older ones are brought up to it", state::VERSION);
    let reads = format!("Agno {}", agno::VERSIONS);
    let facts = [
        ("commit", or_unknown(env!("AGNO_OTEL_BUILD_COMMIT"))),
        ("rustc", or_unknown(env!("AGNO_OTEL_BUILD_RUSTC"))),
        ("target", env!("AGNO_OTEL_BUILD_TARGET")),
        ("features", env!("AGNO_OTEL_BUILD_FEATURES")),
        ("reads", &reads),
        ("prices", money::TABLE),
        ("conventions", names::CONVENTIONS),
        ("state file", &layout),
    ];
    let facts = facts.map(|(name, value)| format!("{name:<13}{value}"));
    format!("{}\n{}", env!("CARGO_PKG_VERSION"), facts.join("\n"))
}

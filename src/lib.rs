//! Turns the runs of [Agno](https://docs.agno.com) agents into OpenTelemetry: each run a trace whose spans carry
//! token counts and latency, and session totals as counters and histograms.
//!
//! It reads what Agno already writes, and changes nothing in the application. [`live`] is for agents written in Rust.
//!
//! ```text
//!   SQLite  Postgres  JsonDb  files  stdin
//!       \       \       |      /     /
//!       source            where records come from      (transports)
//!         |
//!       intake ---------- framework   what they mean      (Agno's words)     \
//!         |               model       what the agent did  (our words)         |
//!         |               money       what it cost           | pure
//!         |               otel        said for OTLP       (OpenTelemetry's)  /
//!         v
//!       ledger            what has been counted: the source of every metric value
//!         |
//!       delivery -------- export      one attempt, four outcomes
//!         v
//!     Collector, Jaeger, Prometheus
//! ```
//!
//! ```
//! use agno_otel::{Intake, Ledger, Record, Settings};
//!
//! let json = br#"{"run_id": "50cf60f9-f6d0-47a6-b373-57a95a88129d", "agent_id": "a", "session_id": "s",
//!     "status": "COMPLETED", "model": "gpt-5", "model_provider": "OpenAI",
//!     "messages": [{"role": "assistant", "id": "m", "metrics": {"input_tokens": 12, "output_tokens": 3}}]}"#;
//! let mut intake = Intake::default();
//! intake.accept(&Record { json: json.to_vec(), columns: Default::default() });
//! let gathered = intake.finish(0);
//! assert_eq!(gathered.tokens().total(), 15);
//!
//! let mut ledger = Ledger::default();
//! gathered.count(&mut ledger, Settings::default());
//! let traces = gathered.spans(Settings::default());
//! assert_eq!(traces[0].spans.len(), 2); // invoke_agent and chat
//! ```

pub mod clock;
pub mod config;
pub mod delivery;
pub mod error;
pub mod export;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
pub mod follow;
pub mod framework;
pub mod intake;
pub mod ledger;
#[cfg(feature = "live")]
pub mod live;
pub mod model;
pub mod money;
pub mod otel;
#[cfg(feature = "sqlite")]
pub mod release;
pub mod source;
mod stable_hash;
#[cfg(feature = "sqlite")]
pub mod state;
pub mod watching;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod observe;
#[cfg(feature = "http")]
pub mod serve;

pub use intake::{Gathered, Intake, Survey};
pub use ledger::Ledger;
pub use otel::Settings;
pub use source::Record;

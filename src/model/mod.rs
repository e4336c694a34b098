//! What the agent did, in our words.
//!
//! A [`Run`] is one execution of an agent, team or workflow. Runs arrive flat and point to their parents;
//! [`tree`] puts them together, [`timeline`] gives every part a start and an end.
//!
//! [`content`] is what was said, where that was asked for.
//!
//! Nothing here names a framework, an OpenTelemetry type, a file or a clock.

pub mod budget;
pub mod content;
pub mod cost;
pub mod run;
pub mod step;
mod time_bounds;
pub mod timeline;
pub mod tokens;
pub mod tree;

pub use content::Content;
pub use cost::Cost;
pub use run::{Run, RunKey, RunKind, RunStatus};
pub use step::{Message, ModelCall, Stated, Step, ToolCall, Usage};
pub use tokens::Tokens;
pub use tree::{Forest, Trace};

//! The same thing, said in OpenTelemetry.
//!
//! [`spans`] makes spans of a trace, with as much [`content`] as the [`policy`] allows. [`metrics`] makes measurements
//! of a run and points of the ledger's series, [`request`] makes OTLP requests of both. Pure: no I/O, no clock, no
//! async.

mod attributes;
pub mod budgets;
pub mod census;
pub mod content;
mod encode;
pub mod ids;
pub mod metrics;
pub mod names;
pub mod open_metrics;
pub mod places;
pub mod policy;
pub mod request;
pub mod spans;
mod view;
mod waterfall;

pub use policy::{Mode, Policy};
pub use request::Resource;
pub use spans::{Settings, TraceSpans, TraceView};
pub use view::{Parts, Said, SpanView, Value};
pub use waterfall::{Line, Spent, lines, part_of};

//! `show`: runs as waterfalls in the terminal.

use super::{Ended, Said, Sources};
use crate::clock::Clock;
use crate::config::{Config, Flags};
use crate::export::print::waterfall;
use crate::otel::{TraceSpans, lines};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Show only the run with this id, or whose id begins so.
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Print spans as OTLP/JSON, one trace per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    said: Said,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let flags = Flags::default();
    let settings = arguments.said.settings(Config { flags: &flags, environment: &super::variable })?;
    let gathered = super::gather(&arguments.sources, super::keep(settings), Clock::System).await?;
    let traces = gathered.spans(settings);
    let wanted =
        |trace: &&TraceSpans| arguments.run.as_ref().is_none_or(|id| trace.run_id.starts_with(id.as_str()));
    let chosen: Vec<&TraceSpans> = traces.iter().filter(wanted).collect();
    for trace in &chosen {
        let text = if arguments.json { json_line(trace)? } else { one(trace) };
        super::write_out(&text)?;
    }
    if chosen.is_empty() {
        let which = arguments
            .run
            .map_or_else(|| "no runs".to_owned(), |id| format!("no run whose id begins with {id}"));
        super::write_out(&format!("{which} (of {} traces)\n", traces.len()))?;
    }
    for (oddity, count) in gathered.oddities.iter() {
        tracing::warn!(count, "{}", oddity.meaning());
    }
    Ok(Ended::Done)
}

/// A trace with its run id above it.
pub(super) fn one(trace: &TraceSpans) -> String {
    format!("run {}\n{}\n", trace.run_id, waterfall(&lines(trace), super::paint()))
}

fn json_line(trace: &TraceSpans) -> serde_json::Result<String> {
    let spans = serde_json::to_string(&trace.spans)?;
    Ok(format!("{{\"runId\":{},\"spans\":{spans}}}\n", serde_json::to_string(&trace.run_id)?))
}

//! `show`: runs as waterfalls in the terminal.

use std::path::Path;

use super::{Ended, Said, Sources};
use crate::clock::Clock;
use crate::config::{Config, Flags};
use crate::export::otlp_json::OtlpJson;
use crate::export::print::{plain, waterfall};
use crate::export::{Request, Signal};
use crate::otel::request::trace_chunks;
use crate::otel::{TraceSpans, find, lines};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Show only the run with this id, with what it started; also by the beginning of its id, or by a trace id as
    /// Jaeger shows it.
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    run: Option<String>,
    /// Print the spans as lines of OTLP/JSON, one per trace, as send --to otlp-json does.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    said: Said,
}

/// No run answers to the id that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("no run has the id {id}, or one that begins so (of {traces} traces)")]
struct NoSuchRun {
    id: String,
    traces: usize,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Ended> {
    let flags = Flags::default();
    let config = Config { flags: &flags, environment: &super::variable };
    let settings = arguments.said.settings(config)?;
    let gathered = super::gather(&arguments.sources, super::keep(settings), Clock::System).await?;
    let traces = gathered.spans(settings);
    let chosen = match arguments.run {
        Some(id) => {
            let chosen = find(&traces, &id);
            if chosen.is_empty() {
                return Err(NoSuchRun { id, traces: traces.len() }.into());
            }
            chosen
        }
        None => traces,
    };
    if chosen.is_empty() {
        tracing::warn!("no runs to show");
    }
    if arguments.json {
        print_json(chosen, config)?;
    } else {
        for trace in &chosen {
            super::write_painted(&one(trace))?;
        }
    }
    for (oddity, count) in gathered.oddities.iter() {
        tracing::warn!(count, "{}", oddity.meaning());
    }
    Ok(Ended::Done)
}

/// A trace with its run id above it.
pub(super) fn one(trace: &TraceSpans) -> String {
    let shown = waterfall(&lines(trace), super::environment::paint(&std::io::stdout()), super::columns());
    format!("run {}\n{shown}\n", plain(&trace.run_id))
}

fn print_json(traces: Vec<TraceSpans>, config: Config<'_>) -> anyhow::Result<()> {
    super::environment::expect_utf8()?;
    let resource = super::resource(config);
    let mut out = OtlpJson::create(Path::new("-"));
    for trace in traces {
        let chunks = trace_chunks(trace.spans, &resource);
        out.write(&Request { signal: Signal::Traces, chunks: &chunks })?;
    }
    Ok(out.flush()?)
}

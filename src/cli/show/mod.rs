//! `show`: runs as waterfalls in the terminal.

use std::path::Path;

use super::{Ended, Said, Sources};
use crate::clock::Clock;
use crate::config::{Config, File, Flags};
use crate::export::otlp_json::OtlpJson;
use crate::export::print::{plain, waterfall};
use crate::export::{Request, Signal};
use crate::intake;
use crate::otel::request::trace_chunks;
use crate::otel::{Finder, Resource, TraceSpans, lines};

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

pub(super) async fn run(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    let flags = Flags::default();
    let config = Config { flags: &flags, environment: &super::variable, file };
    let settings = arguments.said.settings(config)?;
    let surveyed = super::survey(&arguments.sources.or_those_of(file)?).await?.priced(&super::prices(file));
    let mut shown = if arguments.json {
        super::environment::expect_utf8()?;
        Shown::Json(OtlpJson::create(Path::new("-")), super::resource(config))
    } else {
        Shown::Drawn
    };
    let mut oddities = surveyed.oddities.clone();
    let mut finder = arguments.run.as_deref().map(Finder::of);
    let (now_ns, keep, mut traces) = (Clock::System.now_ns(), intake::keep(settings), 0);
    for family in surveyed.families() {
        let gathered = surveyed.gather(&[family], keep, now_ns).await?;
        oddities.merge(&gathered.oddities);
        for trace in gathered.traces(settings).map(TraceSpans::from) {
            traces += 1;
            match &mut finder {
                Some(finder) => finder.look_at(&trace),
                None => shown.show(trace)?,
            }
        }
    }
    if let Some(finder) = finder {
        let found = finder.found();
        if found.is_empty() {
            let id = arguments.run.unwrap_or_default();
            return Err(NoSuchRun { id, traces }.into());
        }
        found.into_iter().try_for_each(|trace| shown.show(trace))?;
    } else if traces == 0 {
        tracing::warn!("no runs to show");
    }
    shown.end()?;
    for (oddity, count) in oddities.iter() {
        tracing::warn!(count, "{}", oddity.meaning());
    }
    Ok(Ended::Done)
}

/// How traces are shown.
enum Shown {
    Drawn,
    Json(OtlpJson, Resource),
}

impl Shown {
    fn show(&mut self, trace: TraceSpans) -> anyhow::Result<()> {
        match self {
            Self::Drawn => super::write_painted(&one(&trace)),
            Self::Json(out, resource) => {
                let chunks = trace_chunks(trace.spans, resource);
                Ok(out.write(&Request { signal: Signal::Traces, chunks: &chunks })?)
            }
        }
    }

    fn end(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Drawn => Ok(()),
            Self::Json(out, _) => Ok(out.flush()?),
        }
    }
}

/// A trace with its run id above it.
pub(super) fn one(trace: &TraceSpans) -> String {
    let shown = waterfall(&lines(trace), super::environment::paint(&std::io::stdout()), super::columns());
    format!("run {}\n{shown}\n", plain(&trace.run_id))
}

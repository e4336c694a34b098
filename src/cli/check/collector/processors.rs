//! Processors: those that change what is sent.

use super::exporters::Exporter;
use super::{COLLECTOR, Pipeline, Settings, kind};
use crate::cli::Ended;
use crate::cli::check::yaml::Node;
use crate::cli::check::{Findings, Level, fixes};

/// Those that tear a series' pairs of points, or make another kind of counter of it.
const TEARS: [&str; 2] = ["cumulativetodelta", "interval"];
/// Those that may leave out metrics or labels, depending on their settings.
const REWRITES: [&str; 6] =
    ["attributes", "filter", "groupbyattrs", "metricstransform", "redaction", "transform"];
const SAMPLES: [&str; 2] = ["probabilisticsampler", "tailsampling"];

const LIMITER: &str = "memorylimiter";

pub(super) fn check(
    findings: &mut Findings,
    settings: &Settings<'_>,
    signal: &str,
    pipelines: &[Pipeline<'_>],
) {
    for pipeline in pipelines {
        let processors: Vec<_> = pipeline.components("processors").collect();
        for (id, named) in &processors {
            let kind = kind(id);
            let is = |kinds: &[&str]| kinds.contains(&kind.as_str());
            let about = format!("{}: {} in pipelines.{}", named.place(), id, pipeline.name);
            match signal {
                "metrics" if is(&TEARS) => findings.add(
                    Level::Problem(Ended::DestinationAmiss),
                    COLLECTOR,
                    format!("{about} takes the pairs of points apart by which spend is counted"),
                    fixes::TEMPORALITY,
                ),
                "metrics" if is(&REWRITES) => {
                    findings.note(COLLECTOR, format!("{about} may change series"), fixes::REWRITES);
                }
                "traces" if is(&SAMPLES) => {
                    findings.note(COLLECTOR, format!("{about}: only some runs are shown"), fixes::SAMPLING);
                }
                "traces" if is(&["batch"]) => findings.note(
                    COLLECTOR,
                    format!("{about} keeps spans in memory that we were told are taken; they are lost with the Collector"),
                    fixes::BATCH,
                ),
                _ => {}
            }
        }
        limiter(findings, settings, pipeline, &processors);
    }
}

fn limiter(
    findings: &mut Findings,
    settings: &Settings<'_>,
    pipeline: &Pipeline<'_>,
    processors: &[(&str, &Node)],
) {
    // What waits nowhere, or on disk, cannot fill the memory.
    let mut exporters = pipeline.components("exporters");
    let waits = exporters.any(|(id, named)| Exporter::of(settings, id, named).keeps_in_memory());
    match processors.iter().position(|(id, _)| kind(id) == LIMITER) {
        Some(0) => {
            findings.fine(COLLECTOR, format!("pipelines.{} has a memory_limiter first", pipeline.name));
        }
        None if !waits => {}
        found => {
            let how = if found.is_some() {
                "has its memory_limiter behind others"
            } else {
                "has no memory_limiter"
            };
            let what = format!(
                "{}: pipelines.{} {how}: what waits for a backend fills the Collector's memory",
                pipeline.node.place(),
                pipeline.name
            );
            findings.note(COLLECTOR, what, fixes::MEMORY_LIMITER);
        }
    }
}

//! Whether what was counted is in Prometheus, and once.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Expected, PROMETHEUS};
use crate::cli::Ended;
use crate::cli::check::{Findings, Level, asked, fixes, list, text};
use crate::config::MetricsWay;
use crate::export::ask::{AskError, Asker};
use crate::otel::names;
use crate::otel::open_metrics::{label_name, series_name};

/// What ended within it is told too: it is part of the sums of an hour.
const WITHIN: &str = "1h";
/// What tells from where a series came. All else tells what it counts.
const ORIGIN: &str = "job, instance, exported_job, exported_instance, service_name, service_namespace, \
    service_instance_id, deployment_environment_name, otel_scope_name, otel_scope_version, otel_scope_schema_url";
/// Services and instances that are named; more are counted.
const NAMED: usize = 3;

/// The counter of spend.
pub(super) fn series() -> String {
    series_name(&names::TOKEN_USAGE)
}

pub(super) async fn check(findings: &mut Findings, asker: &Asker, expected: &Expected) {
    if let Err(error) = counted(findings, asker, expected).await {
        findings.note(PROMETHEUS, format!("cannot be asked for our series: {error}"), fixes::NOT_SHOWN);
    }
}

async fn counted(findings: &mut Findings, asker: &Asker, expected: &Expected) -> Result<(), AskError> {
    let (series, job) = (series(), &expected.job);
    let by_origin = format!("count by (job, instance) (last_over_time({series}[{WITHIN}]))");
    let found = samples(asker, &by_origin).await?;
    let ours = found.iter().filter(|sample| sample.label("job") == job);
    let instances: Vec<&Sample> = ours.collect();
    let is_there = !instances.is_empty();
    if let [one] = instances.as_slice() {
        let (count, instance) = (one.value, one.label("instance"));
        findings
            .fine(PROMETHEUS, format!("{count} series of {series} for job {job}, of instance {instance}"));
    } else if is_there {
        let names = some(instances.iter().map(|sample| sample.label("instance")));
        let what = format!("{} instances counted for job {job} within {WITHIN}: {names}", instances.len());
        findings.note(PROMETHEUS, what, fixes::INSTANCES);
    } else {
        let others =
            some(found.iter().map(|sample| sample.label("job")).collect::<BTreeSet<_>>().into_iter());
        let others = if others.is_empty() { others } else { format!("; there is of {others}") };
        findings.note(PROMETHEUS, format!("{series} is not there for job {job}{others}"), fixes::NO_DATA);
    }
    arrived(findings, asker, expected).await?;
    if is_there {
        doubles(findings, asker, job).await?;
        most(findings, asker, job).await?;
    }
    Ok(())
}

/// Whether what the state file says was released a moment ago is there.
async fn arrived(findings: &mut Findings, asker: &Asker, expected: &Expected) -> Result<(), AskError> {
    let Some(instance) = expected.instance.as_ref().filter(|_| expected.way != MetricsWay::Off) else {
        return Ok(());
    };
    let (info, version) = (series_name(&names::BRIDGE_INFO), label_name(names::BRIDGE_VERSION));
    let found = samples(asker, &format!("{info}{{instance={}}}", quoted(&instance.id))).await?;
    match (found.first(), &instance.released) {
        (Some(sample), _) => {
            findings.fine(PROMETHEUS, format!("{info} is there: version {}", sample.label(&version)));
        }
        (None, Some(released)) => {
            let what = format!(
                "metrics were released {released} ago, and {info} of instance {} is not there",
                instance.id
            );
            findings.add(Level::Problem(Ended::DestinationAmiss), PROMETHEUS, what, fixes::LOST);
        }
        (None, None) => {}
    }
    Ok(())
}

/// Series that count the same and stand at the same are one, by two ways. A few may by chance.
async fn doubles(findings: &mut Findings, asker: &Asker, job: &str) -> Result<(), AskError> {
    let of = format!(
        "last_over_time({}{{job={job}}}[{WITHIN}]) > 0 or last_over_time({}{{exported_job={job}}}[{WITHIN}]) > 0",
        series(),
        series(),
        job = quoted(job)
    );
    let same = format!("count_values without ({ORIGIN}) (\"value\", {of}) > 1");
    let number = |samples: Vec<Sample>| samples.first().map_or(0.0, |sample| sample.value);
    let twice = number(samples(asker, &format!("sum({same})")).await?);
    let all = number(samples(asker, &format!("count({of})")).await?);
    if twice * 2.0 > all {
        let what = format!(
            "{twice} of {all} series that count tokens are there more than once, with the same value"
        );
        findings.add(Level::Problem(Ended::DestinationAmiss), PROMETHEUS, what, fixes::DOUBLES);
    } else {
        findings.fine(PROMETHEUS, "no spend is there twice");
    }
    Ok(())
}

async fn most(findings: &mut Findings, asker: &Asker, job: &str) -> Result<(), AskError> {
    let all = format!("{{__name__=~\"(agno|gen_ai)_.+\",job={}}}", quoted(job));
    let found = samples(asker, &format!("topk(1, count by (__name__) ({all}))")).await?;
    if let Some(sample) = found.first() {
        let what = format!("of our metrics {} has most series: {}", sample.label("__name__"), sample.value);
        findings.fine(PROMETHEUS, what);
    }
    Ok(())
}

struct Sample {
    labels: Value,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

async fn samples(asker: &Asker, expression: &str) -> Result<Vec<Sample>, AskError> {
    let (answer, _) = asked(asker, "api/v1/query", &[("query", expression)]).await?;
    let of = |sample: &Value| {
        let value = text(sample, "/value/1").parse().ok()?;
        Some(Sample { labels: sample.get("metric")?.clone(), value })
    };
    Ok(list(&answer, "/result").filter_map(of).collect())
}

fn some<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(NAMED);
    let shown = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// A string in an expression.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

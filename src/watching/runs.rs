//! The dashboard Runs: how many, how well, how fast; and below, whether the bridge itself is well.

use super::grafana::{Column, Dashboard, JOB, Panel, Row, Shape, Target};
use super::query::{buckets_by, count_by, is, label, moved_by, quantile_by, selector, series};
use super::spend::with_service;
use crate::model::run::RunStatus;
use crate::otel::names::{self, Metric};

const RANGE: &str = "$__range";
const INTERVAL: &str = "$__interval";
/// What a quantile is of: more than a bar, so that it has something to say.
const RECENT: &str = "$__rate_interval";
const SECONDS: &str = "s";
const FRACTION: &str = "percentunit";

pub(super) fn dashboard() -> Dashboard {
    let row = |title, is_closed, panels| Row { title, is_closed, panels };
    Dashboard {
        file: "runs.json",
        uid: "agno-otel-runs",
        title: "Agno: Runs",
        description: "How agents, teams and workflows run, and whether agno-otel itself is well. Written by agno-otel export dashboards.",
        rows: vec![
            row("", false, at_once()),
            row("Outcome", false, outcome()),
            row("Latency", false, latency()),
            row("Tools", false, tools()),
            row("What a run does", true, work()),
            row("Teams and workflows", true, workflows()),
            row("agno-otel itself", true, bridge()),
        ],
    }
}

fn of_agent() -> String {
    format!("{JOB},{}=~\"$agent\"", label(names::AGENT_NAME))
}

fn asked() -> String {
    format!("{},{}=~\"$model\"", of_agent(), label(names::REQUEST_MODEL))
}

/// A panel of twelve columns.
fn half(
    title: &'static str,
    description: &'static str,
    shape: Shape,
    unit: &'static str,
    targets: Vec<Target>,
) -> Panel {
    Panel { title, description, shape, unit, width: 12, height: 8, targets }
}

/// The part of runs that failed, by labels.
fn failed(by: &[&str], selected: &str, window: &str) -> String {
    let status = is(names::RUN_STATUS, RunStatus::Error.as_str());
    let some = moved_by(by, &names::RUNS, &selector(&[selected.to_owned(), status]), window);
    format!("{some} / ({} > 0)", moved_by(by, &names::RUNS, selected, window))
}

fn at_once() -> Vec<Panel> {
    let number = |title, description, unit, expression: String| Panel {
        title,
        description,
        shape: Shape::Number,
        unit,
        width: 8,
        height: 6,
        targets: vec![Target::new(expression, "")],
    };
    vec![
        number(
            "Runs",
            "Of agents, teams and workflows in the time that is shown; those that another started too.",
            "short",
            moved_by(&[], &names::RUNS, &of_agent(), RANGE),
        ),
        number(
            "Failed",
            "The part of them that ended in an error. What is cancelled or paused is none.",
            FRACTION,
            failed(&[], &of_agent(), RANGE),
        ),
        number(
            "95 % are done within",
            "Of the runs of agents and teams.",
            SECONDS,
            quantile_by(0.95, &[], &names::INVOKE_AGENT_DURATION, &of_agent(), RANGE),
        ),
    ]
}

fn outcome() -> Vec<Panel> {
    let status = label(names::RUN_STATUS);
    let agent = label(names::AGENT_NAME);
    vec![
        half(
            "Runs by status",
            "In each bar's time.",
            Shape::Bars,
            "short",
            vec![Target::by(moved_by(&[&status], &names::RUNS, &of_agent(), INTERVAL), names::RUN_STATUS)],
        ),
        half(
            "Failed, by agent",
            "The part of each agent's or team's runs that ended in an error.",
            Shape::Lines(&[]),
            FRACTION,
            vec![Target::by(failed(&[&agent], &of_agent(), RECENT), names::AGENT_NAME)],
        ),
    ]
}

/// Three quantiles of one histogram.
fn quantiles(metric: &Metric, selector: &str) -> Vec<Target> {
    let one = |(quantile, name)| Target::new(quantile_by(quantile, &[], metric, selector, RECENT), name);
    [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")].map(one).into()
}

fn latency() -> Vec<Panel> {
    let [agent, model] = [names::AGENT_NAME, names::REQUEST_MODEL].map(label);
    let p95 = |by: &str, name, metric, selector: &str| {
        vec![Target::by(quantile_by(0.95, &[by], metric, selector, RECENT), name)]
    };
    vec![
        half(
            "Time of runs",
            "Of agents and teams. Each mark leads to a run in Jaeger.",
            Shape::Lines(&[]),
            SECONDS,
            quantiles(&names::INVOKE_AGENT_DURATION, &of_agent()),
        ),
        half(
            "Time of runs, all of them",
            "How many took how long.",
            Shape::Heatmap,
            SECONDS,
            vec![Target::new(
                buckets_by(&[], &names::INVOKE_AGENT_DURATION, &of_agent(), INTERVAL),
                "{{le}}",
            )],
        ),
        half(
            "Time of runs by agent, p95",
            "",
            Shape::Lines(&[]),
            SECONDS,
            p95(&agent, names::AGENT_NAME, &names::INVOKE_AGENT_DURATION, &of_agent()),
        ),
        half(
            "Time to first token of a run",
            "Until the first response of any of its model calls. Agno 2.5.4 and later.",
            Shape::Lines(&[]),
            SECONDS,
            quantiles(&names::RUN_FIRST_TOKEN, &of_agent()),
        ),
        half(
            "Time to first token by model, p95",
            "Of streamed calls. Agno 2.5.4 and later.",
            Shape::Lines(&[]),
            SECONDS,
            p95(&model, names::REQUEST_MODEL, &names::INFERENCE_FIRST_CHUNK, &asked()),
        ),
        half(
            "Time of model calls by model, p95",
            "Of calls that were not streamed. Agno 2.5.4 and later.",
            Shape::Lines(&[]),
            SECONDS,
            p95(&model, names::REQUEST_MODEL, &names::INFERENCE_DURATION, &asked()),
        ),
    ]
}

fn tools() -> Vec<Panel> {
    let tool = label(names::TOOL_NAME);
    let by = ["job", tool.as_str()];
    let calls = moved_by(&by, &names::TOOL_CALLS, &of_agent(), RANGE);
    let errors = selector(&[of_agent(), is(names::TOOL_STATUS, "error")]);
    let ratio = format!("{} / ({calls} > 0)", moved_by(&by, &names::TOOL_CALLS, &errors, RANGE));
    let p95 = quantile_by(0.95, &by, &names::EXECUTE_TOOL_DURATION, &of_agent(), RANGE);
    let columns = vec![
        Column::label(names::TOOL_NAME, "Tool"),
        Column::value("Calls", "short"),
        Column::value("Failed", FRACTION),
        Column::value("95 % are done within", SECONDS),
    ];
    vec![
        half(
            "Tools",
            "Those that ran. A tool that hands work on to a member has no time: Agno stamps it wrongly.",
            Shape::Table(columns),
            "short",
            [calls, ratio, p95].map(|own| Target::new(with_service(&own), "")).into(),
        ),
        half(
            "Calls of tools",
            "In each bar's time.",
            Shape::Bars,
            "short",
            vec![Target::by(moved_by(&[&tool], &names::TOOL_CALLS, &of_agent(), INTERVAL), names::TOOL_NAME)],
        ),
    ]
}

fn work() -> Vec<Panel> {
    let [agent, model] = [names::AGENT_NAME, names::REQUEST_MODEL].map(label);
    let p99 = |metric| {
        vec![Target::by(quantile_by(0.99, &[&agent], metric, &of_agent(), RECENT), names::AGENT_NAME)]
    };
    vec![
        half(
            "Model calls of a run, p99",
            "A run that makes very many goes in a circle.",
            Shape::Lines(&[]),
            "short",
            p99(&names::INVOKE_AGENT_INFERENCE_CALLS),
        ),
        half(
            "Tool calls of a run, p99",
            "",
            Shape::Lines(&[]),
            "short",
            p99(&names::INVOKE_AGENT_TOOL_CALLS),
        ),
        half(
            "Tokens of a prompt by model, p95",
            "A context that grows and grows; some prices rise from 100,000 on.",
            Shape::Lines(&[]),
            "short",
            vec![Target::by(
                quantile_by(0.95, &[&model], &names::OPERATION_INPUT_TOKENS, &asked(), RECENT),
                names::REQUEST_MODEL,
            )],
        ),
        half(
            "Tokens of an answer by model, p95",
            "",
            Shape::Lines(&[]),
            "short",
            vec![Target::by(
                quantile_by(0.95, &[&model], &names::OPERATION_OUTPUT_TOKENS, &asked(), RECENT),
                names::REQUEST_MODEL,
            )],
        ),
    ]
}

fn workflows() -> Vec<Panel> {
    let workflow = label(names::WORKFLOW_NAME);
    let teams = selector(&[of_agent(), is(names::RUN_KIND, "team")]);
    let table = |title, name: &'static str, column, metric, selected: &str| {
        let of = label(name);
        let by = ["job", of.as_str()];
        let columns = vec![
            Column::label(name, column),
            Column::value("Runs", "short"),
            Column::value("Failed", FRACTION),
            Column::value("95 % are done within", SECONDS),
        ];
        let expressions = [
            count_by(&by, metric, selected, RANGE),
            failed(&by, selected, RANGE),
            quantile_by(0.95, &by, metric, selected, RANGE),
        ];
        half(
            title,
            "With all that they started.",
            Shape::Table(columns),
            "short",
            expressions.map(|own| Target::new(with_service(&own), "")).into(),
        )
    };
    let some = format!("{JOB},{workflow}!=\"\"");
    vec![
        table("Teams", names::AGENT_NAME, "Team", &names::INVOKE_AGENT_DURATION, &teams),
        table("Workflows", names::WORKFLOW_NAME, "Workflow", &names::INVOKE_WORKFLOW_DURATION, &some),
    ]
}

fn bridge() -> Vec<Panel> {
    bridge_now().into_iter().chain(bridge_work()).collect()
}

/// Its gauges, as they stand.
fn bridge_now() -> [Panel; 5] {
    let version = label(names::BRIDGE_VERSION);
    let number = |title, description, unit, expression: String, legend: &str| Panel {
        title,
        description,
        shape: Shape::Number,
        unit,
        width: 4,
        height: 5,
        targets: vec![Target::new(expression, legend)],
    };
    let of = |metric| format!("{}{{{JOB}}}", series(metric));
    [
        number(
            "Up",
            "How many send, by version.",
            "short",
            format!("count by ({version}) ({})", of(&names::BRIDGE_INFO)),
            &format!("{{{{{version}}}}}"),
        ),
        number(
            "Sources were read",
            "How long ago all of them. It grows while one cannot be read, or the outbox is full; of run alone.",
            SECONDS,
            format!("time() - min({})", of(&names::BRIDGE_READ)),
            "ago",
        ),
        number(
            "Spans wait",
            "How long the oldest has waited for the endpoint. Nothing is lost; once the outbox is full, sources are read no further.",
            SECONDS,
            format!("max({})", of(&names::BRIDGE_OUTBOX_AGE)),
            "",
        ),
        number(
            "Spans not taken",
            "By the far side, for good. agno-otel dead-letters list tells why.",
            "short",
            moved_by(&[], &names::BRIDGE_DROPPED, JOB, RANGE),
            "",
        ),
        number(
            "Series",
            "Of metrics. An attribute with more than a thousand values folds new ones into other.",
            "short",
            format!("sum({})", of(&names::BRIDGE_SERIES)),
            "",
        ),
    ]
}

/// What it did, in each bar's time.
fn bridge_work() -> [Panel; 5] {
    let bars = |title, description, metric, name: &str| {
        let target = if name.is_empty() {
            Target::new(moved_by(&[], metric, JOB, INTERVAL), title)
        } else {
            Target::by(moved_by(&[&label(name)], metric, JOB, INTERVAL), name)
        };
        half(title, description, Shape::Bars, "short", vec![target])
    };
    [
        bars("Records read", "New ones, and those that changed.", &names::BRIDGE_RECORDS, ""),
        bars(
            "Attempts to deliver spans",
            "later is tried again; refused is kept as a dead letter.",
            &names::BRIDGE_ATTEMPTS,
            names::BRIDGE_OUTCOME,
        ),
        bars("Spans not taken, by reason", "", &names::BRIDGE_DROPPED, names::BRIDGE_REASON),
        bars(
            "Oddities",
            "What in records was not understood or not believed; the rest of them was counted.",
            &names::BRIDGE_ODDITIES,
            names::ODDITY,
        ),
        bars(
            "Values folded into other",
            "An attribute of metrics had more than a thousand values.",
            &names::BRIDGE_OVERFLOW,
            "",
        ),
    ]
}

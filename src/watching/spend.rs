//! The dashboard Spend: who spends how much on what, against what may be spent.

use super::Setup;
use super::grafana::{Column, Dashboard, JOB, Panel, Row, Shape, Target};
use super::query::{bill_by, buckets_by, count_by, is, label, moved_by, pattern, selector, series};
use crate::model::tokens::Class;
use crate::otel::names;

const RANGE: &str = "$__range";
const INTERVAL: &str = "$__interval";
const USD: &str = "currencyUSD";
const TOKENS: &str = "short";
/// How much faster than even: even, gone in five days of a month, gone in two.
const BURN_MARKS: &[f64] = &[1.0, 6.0, 14.4];

pub(super) fn dashboard(setup: &Setup) -> Dashboard {
    Dashboard {
        file: "spend.json",
        uid: "agno-otel-spend",
        title: "Agno: Spend",
        description: "What agents spend, in dollars and tokens, and against their budgets. Written by agno-otel export dashboards.",
        rows: vec![
            row("", false, at_once()),
            row("Where it goes", false, where_it_goes()),
            row("Who spends it", false, who()),
            row("Budgets", false, budgets()),
            row("Cache", true, cache()),
            row("Sessions", true, sessions(setup)),
            row("How exact this is", true, exactness()),
        ],
    }
}

fn row(title: &'static str, is_closed: bool, panels: Vec<Panel>) -> Row {
    Row { title, is_closed, panels }
}

/// Matchers for series that have an agent and a model.
fn asked() -> String {
    format!("{},{}=~\"$model\"", of_agent(), label(names::REQUEST_MODEL))
}

fn of_agent() -> String {
    format!("{JOB},{}=~\"$agent\"", label(names::AGENT_NAME))
}

const COST: (&names::Metric, &names::Metric) = (&names::COST, &names::COST_CORRECTIONS);
const TOKEN: (&names::Metric, &names::Metric) = (&names::TOKEN_USAGE, &names::TOKEN_CORRECTIONS);

fn at_once() -> Vec<Panel> {
    vec![
        Panel {
            title: "Spent",
            description: "Dollars in the time that is shown, as far as prices are known, without what turned out not to be spent.",
            shape: Shape::Number,
            unit: USD,
            width: 8,
            height: 6,
            targets: vec![Target::new(bill_by(&[], COST, &asked(), RANGE), "")],
        },
        Panel {
            title: "Tokens",
            description: "All that was asked and answered: what the provider bills, known price or not.",
            shape: Shape::Number,
            unit: TOKENS,
            width: 8,
            height: 6,
            targets: vec![Target::new(bill_by(&[], TOKEN, &asked(), RANGE), "")],
        },
        Panel {
            title: "Budgets",
            description: "The part of each that is spent of its window, whatever time is shown.",
            shape: Shape::Gauges([0.8, 1.0]),
            unit: "percentunit",
            width: 8,
            height: 6,
            targets: vec![Target::new(budget(&names::BUDGET_UTILIZATION), budget_name())],
        },
    ]
}

fn where_it_goes() -> Vec<Panel> {
    let bars = |title, description, unit, expression: String, name| Panel {
        title,
        description,
        shape: Shape::Bars,
        unit,
        width: 12,
        height: 8,
        targets: vec![Target::by(expression, name)],
    };
    let by = |name, metric| moved_by(&[&label(name)], metric, &asked(), INTERVAL);
    vec![
        bars(
            "Dollars by agent",
            "In each bar's time.",
            USD,
            by(names::AGENT_NAME, &names::COST),
            names::AGENT_NAME,
        ),
        bars(
            "Dollars by model",
            "In each bar's time.",
            USD,
            by(names::REQUEST_MODEL, &names::COST),
            names::REQUEST_MODEL,
        ),
        bars(
            "Tokens by class",
            "Five disjoint classes: prompts uncached, read from and written to the cache; answers; reasoning.",
            TOKENS,
            by(names::TOKEN_CLASS, &names::TOKEN_USAGE),
            names::TOKEN_CLASS,
        ),
        bars(
            "Tokens by role",
            "Which of an agent's models: its own, or the one for memories, reasoning, parsing, …",
            TOKENS,
            by(names::MODEL_ROLE, &names::TOKEN_USAGE),
            names::MODEL_ROLE,
        ),
    ]
}

/// `service.name` beside `job`, for the way to Jaeger.
pub(super) fn with_service(expression: &str) -> String {
    format!("label_replace({expression}, \"service\", \"$1\", \"job\", \"(?:.*/)?(.*)\")")
}

fn who() -> Vec<Panel> {
    let table = |title, description, name: &'static str, column, selector: &str, with_runs: bool| {
        let name_label = label(name);
        let by = ["job", name_label.as_str()];
        let mut expressions = vec![bill_by(&by, COST, selector, RANGE), bill_by(&by, TOKEN, selector, RANGE)];
        let mut columns =
            vec![Column::label(name, column), Column::value("Dollars", USD), Column::value("Tokens", TOKENS)];
        if with_runs {
            let runs = moved_by(&by, &names::RUNS, selector, RANGE);
            expressions.push(format!("{} / ({runs} > 0)", bill_by(&by, COST, selector, RANGE)));
            expressions.push(runs);
            columns.push(Column::value("Dollars a run", USD));
            columns.push(Column::value("Runs", TOKENS));
        }
        Panel {
            title,
            description,
            shape: Shape::Table(columns),
            unit: "short",
            width: 12,
            height: 8,
            targets: expressions.iter().map(|own| Target::new(with_service(own), "")).collect(),
        }
    };
    let kind = |kind| format!("{},{}", of_agent(), is(names::RUN_KIND, kind));
    vec![
        table("Agents", "What each spent itself.", names::AGENT_NAME, "Agent", &kind("agent"), true),
        table(
            "Teams",
            "What each team's leader spent itself; its members stand among the agents.",
            names::AGENT_NAME,
            "Team",
            &kind("team"),
            true,
        ),
        table("Models", "", names::REQUEST_MODEL, "Model", &asked(), false),
        table("Roles", "Which of an agent's models.", names::MODEL_ROLE, "Role", &asked(), false),
    ]
}

/// A gauge of every budget: two services may have one of the same name.
fn budget(metric: &names::Metric) -> String {
    of_budgets(&format!("{}{{{JOB}}}", series(metric)))
}

fn of_budgets(of: &str) -> String {
    format!("max by (job, {}) ({of})", label(names::BUDGET_NAME))
}

fn budget_name() -> String {
    format!("{{{{{}}}}} of {{{{job}}}}", label(names::BUDGET_NAME))
}

fn budgets() -> Vec<Panel> {
    let [usage, limit, start, end] =
        [&names::BUDGET_USAGE, &names::BUDGET_LIMIT, &names::BUDGET_WINDOW_START, &names::BUDGET_WINDOW_END]
            .map(budget);
    let used = budget(&names::BUDGET_UTILIZATION);
    let gauge = format!("{}{{{JOB}}}", series(&names::BUDGET_USAGE));
    let burnt = |window: &str, seconds: u32| {
        let spent = of_budgets(&format!("{gauge} - min_over_time({gauge}[{window}])"));
        Target::new(
            format!("{spent} / {limit} * ({end} - {start}) / {seconds}"),
            format!("{}, {window}", budget_name()),
        )
    };
    let columns = vec![
        Column { search: None, ..Column::label(names::BUDGET_NAME, "Budget") },
        Column { search: None, ..Column::label("job", "Service") },
        Column::value("Spent of it", "percentunit"),
        Column::value("Spent", "short"),
        Column::value("Limit", "short"),
        Column::value("Window over", "percentunit"),
        Column::value("Time left", "s"),
    ];
    let over = format!("(time() - {start}) / ({end} - {start})");
    let left = format!("{end} - time()");
    vec![
        Panel {
            title: "Budgets in figures",
            description: "Spent and limit in the budget's own unit, US dollars or tokens. What is more spent than the window is over will not last.",
            shape: Shape::Table(columns),
            unit: "short",
            width: 12,
            height: 8,
            targets: [used, usage, limit.clone(), over, left].map(|own| Target::new(own, "")).into(),
        },
        Panel {
            title: "Burn rate",
            description: "How many times as fast as a budget is even: at 1 it lasts to the end of its window. Of a month, 14.4 is 2 % in an hour. Windows of the last so many hours have none.",
            shape: Shape::Lines(BURN_MARKS),
            unit: "short",
            width: 12,
            height: 8,
            targets: vec![burnt("1h", 3_600), burnt("6h", 21_600), burnt("3d", 259_200)],
        },
    ]
}

fn cache() -> Vec<Panel> {
    let class = label(names::TOKEN_CLASS);
    let prompt = [Class::Input, Class::CacheRead, Class::CacheWrite].map(Class::as_str);
    let of = |by: &[&str], classes: &[&str], window: &str| {
        let matchers = [asked(), format!("{class}=~{}", pattern(classes))];
        moved_by(by, &names::TOKEN_USAGE, &selector(&matchers), window)
    };
    let read = [Class::CacheRead.as_str()];
    let ratio =
        |by: &[&str], window: &str| format!("{} / ({} > 0)", of(by, &read, window), of(by, &prompt, window));
    let [agent, model] = [names::AGENT_NAME, names::REQUEST_MODEL].map(label);
    vec![
        Panel {
            title: "Read from the cache",
            description: "The part of all prompts' tokens that the provider read from its cache.",
            shape: Shape::Number,
            unit: "percentunit",
            width: 6,
            height: 8,
            targets: vec![Target::new(ratio(&[], RANGE), "")],
        },
        Panel {
            title: "Read from the cache, by agent",
            description: "A fall without a new version of the agent: something at the beginning of its prompts changes.",
            shape: Shape::Lines(&[]),
            unit: "percentunit",
            width: 9,
            height: 8,
            targets: vec![Target::by(ratio(&[&agent], "$__rate_interval"), names::AGENT_NAME)],
        },
        Panel {
            title: "Read from the cache, by model",
            description: "",
            shape: Shape::Lines(&[]),
            unit: "percentunit",
            width: 9,
            height: 8,
            targets: vec![Target::by(ratio(&[&model], "$__rate_interval"), names::REQUEST_MODEL)],
        },
    ]
}

fn sessions(setup: &Setup) -> Vec<Panel> {
    let agent = label(names::AGENT_NAME);
    let crossed = label(names::SESSION_THRESHOLD);
    let heatmap = |title, unit, metric| Panel {
        title,
        description: "Each session once, when it has been quiet for half an hour.",
        shape: Shape::Heatmap,
        unit,
        width: 12,
        height: 8,
        targets: vec![Target::new(buckets_by(&[], metric, &of_agent(), INTERVAL), "{{le}}")],
    };
    let mut panels = vec![
        heatmap("Tokens of sessions", TOKENS, &names::SESSION_TOKENS),
        heatmap("Dollars of sessions", USD, &names::SESSION_COST),
        Panel {
            title: "Sessions that ended",
            description: "Those that have been quiet for half an hour.",
            shape: Shape::Number,
            unit: "short",
            width: 4,
            height: 8,
            targets: vec![Target::new(count_by(&[], &names::SESSION_TOKENS, &of_agent(), RANGE), "")],
        },
        Panel {
            title: "Largest session",
            description: "Tokens of the largest session that was active in the last half hour.",
            shape: Shape::Lines(&[]),
            unit: TOKENS,
            width: 10,
            height: 8,
            targets: vec![Target::by(
                format!("max by ({agent}) ({}{{{}}})", series(&names::SESSION_LARGEST), of_agent()),
                names::AGENT_NAME,
            )],
        },
    ];
    if !setup.thresholds.is_empty() {
        let name = Column { search: None, ..Column::label(names::SESSION_THRESHOLD, "Threshold") };
        panels.push(Panel {
            title: "Sessions that passed a threshold",
            description: "Each is counted once for each threshold.",
            shape: Shape::Table(vec![name, Column::value("Sessions", "short")]),
            unit: "short",
            width: 10,
            height: 8,
            targets: vec![Target::new(
                moved_by(&[&crossed], &names::SESSION_CROSSED, &of_agent(), RANGE),
                "",
            )],
        });
    }
    panels
}

fn exactness() -> Vec<Panel> {
    let [provider, model] = [names::PROVIDER_NAME, names::REQUEST_MODEL].map(label);
    let provider_column = Column { search: None, ..Column::label(names::PROVIDER_NAME, "Provider") };
    let columns =
        vec![provider_column, Column::label(names::REQUEST_MODEL, "Model"), Column::value("Tokens", TOKENS)];
    let unpriced = moved_by(&["job", &provider, &model], &names::TOKEN_UNPRICED, &asked(), RANGE);
    vec![
        Panel {
            title: "Tokens without a price",
            description: "They are in no amount of dollars. A [[price]] in the config file gives them one.",
            shape: Shape::Table(columns),
            unit: "short",
            width: 12,
            height: 8,
            targets: vec![Target::new(with_service(&format!("{unpriced} > 0")), "")],
        },
        Panel {
            title: "Tokens taken back",
            description: "Counted, and later turned out not to be spent. All totals here are without them; bars and lines are not.",
            shape: Shape::Number,
            unit: TOKENS,
            width: 12,
            height: 8,
            targets: vec![Target::new(moved_by(&[], &names::TOKEN_CORRECTIONS, &asked(), RANGE), "")],
        },
    ]
}

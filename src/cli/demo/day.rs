//! What is said of the demo's day: what is telling in it, what it cost, and where to go on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::super::{columns, quoted, show};
use crate::export::print::{dollars, grouped, plain, table};
use crate::intake::Gathered;
use crate::model::{Cost, Run, RunKind, RunStatus, Tokens, Trace};
use crate::otel::{Resource, Settings};

/// A trace of more lines is shown by how it begins, with whose run it is above, and how it ends.
const MOST_LINES: usize = 20;
const HEAD_LINES: usize = 4;
const TAIL_LINES: usize = 2;
/// Who spends most is named, and the rest summed up.
const NAMED: usize = 4;

/// The day in the terminal: nothing is sent.
pub(super) fn shown(gathered: &Gathered, settings: Settings) -> String {
    let mut text = format!(
        "{}Nothing is sent. ~: a time known to the second only. ▒: until the first token.\n",
        about(gathered)
    );
    let telling = Telling::of(gathered);
    let parts = [
        ("A team: its members are below the calls that delegate to them", telling.team),
        ("A run that failed: its provider was overloaded when it was asked again", telling.failed),
        ("A runaway: one tool, again and again, until somebody stopped it", telling.runaway),
    ];
    for (what, root) in parts {
        let Some(root) = root else { continue };
        for trace in gathered.traces_of(settings, &|run| run == root) {
            let drawn = show::one(&trace.into());
            // Writing to a string cannot fail.
            write!(text, "\n{what}\n{}", folded(drawn.trim_end())).ok();
        }
    }
    write!(
        text,
        "\n{}\n\
         Into Jaeger and Prometheus:  agno-otel demo --endpoint http://localhost:4318\n\
         As a database to try:        agno-otel demo --write demo.db\n\
         Your own runs:               agno-otel show agno.db, agno-otel send agno.db\n",
        spent(gathered)
    )
    .ok();
    text
}

/// The day after it was sent: what it was, and what became of it.
pub(super) fn sent(gathered: &Gathered, summary: &str) -> String {
    format!("{}\n{}\n{summary}\n", about(gathered), spent(gathered))
}

/// Where to find what was delivered.
pub(super) fn where_to_look(gathered: &Gathered, resource: &Resource) -> String {
    let named = |name: &str| {
        let found = resource.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let series = format!("agno_token_usage_total{{instance=\"{}\"}}[1h]", named("service.instance.id"));
    let mut text =
        format!("In Jaeger: service {}, lookback of a day, for it ended now.\n", named("service.name"));
    // Writing to a string cannot fail.
    if let Some(run) = Telling::of(gathered).runaway.and_then(|run| gathered.forest.runs.get(run)) {
        let id = run.key.run_id.replace('-', "");
        let session = run.session_id.as_deref().unwrap_or_default();
        writeln!(text, "The runaway is trace {id},\nsession.id={session}.").ok();
    }
    let tokens = grouped(gathered.tokens().total());
    writeln!(
        text,
        "In Prometheus, within the hour, these are the {tokens} tokens:\n  \
         sum(last_over_time({series}) - min_over_time({series}))"
    )
    .ok();
    text
}

/// After the database was written.
pub(super) fn written(path: &Path) -> String {
    let path = path.display().to_string();
    let path = plain(&path);
    let typed = quoted(&path);
    format!(
        "{path} is a made-up day of a small bookshop's agents, as Agno wrote it. Try\n  \
         agno-otel show {typed}\n  \
         agno-otel bill {typed}\n\
         To send it, agno-otel demo --endpoint URL: that says of all it sends that it is a demo.\n"
    )
}

fn about(gathered: &Gathered) -> String {
    let [agents, teams, workflows] =
        [RunKind::Agent, RunKind::Team, RunKind::Workflow].map(|kind| gathered.runs(kind));
    format!(
        "A made-up day of a small bookshop: {} runs of its agents, a team and a workflow.\n\
         Real Agno ran them against a mock provider, under names of real models.\n",
        agents + teams + workflows
    )
}

/// How a trace begins and ends, where it goes on and on.
fn folded(drawn: &str) -> String {
    let lines: Vec<&str> = drawn.lines().collect();
    let (Some(head), Some(tail), true) = (
        lines.get(..HEAD_LINES),
        lines.get(lines.len().saturating_sub(TAIL_LINES)..),
        lines.len() > MOST_LINES,
    ) else {
        return format!("{drawn}\n");
    };
    let between = lines.len() - HEAD_LINES - TAIL_LINES;
    format!("{}\n│  … {between} more\n{}\n", head.join("\n"), tail.join("\n"))
}

/// Who spent how much, the dearest first.
fn spent(gathered: &Gathered) -> String {
    let mut all = BTreeMap::<&str, Spent>::new();
    for run in &gathered.forest.runs {
        all.entry(run.label().unwrap_or_default()).or_default().add(run);
    }
    let mut all: Vec<(String, Spent)> =
        all.into_iter().map(|(name, spent)| (name.to_owned(), spent)).collect();
    // What nobody has a price for comes last.
    all.sort_by_key(|(_, spent)| std::cmp::Reverse((spent.nano_usd(), spent.tokens.total())));
    let sum = Spent::of(&all);
    let rest = all.split_off(NAMED.min(all.len()));
    if !rest.is_empty() {
        all.push((format!("{} more", rest.len()), Spent::of(&rest)));
    }
    all.push(("the day".to_owned(), sum));
    let heading = ["agent, team", "model", "runs", "tokens", "cost"].map(str::to_owned).to_vec();
    let rows = all.iter().map(|(name, spent)| spent.row(name));
    let rows: Vec<Vec<String>> = [heading].into_iter().chain(rows).collect();
    table(&rows, &[2, 3, 4], columns())
}

#[derive(Debug, Default)]
struct Spent {
    model: String,
    runs: u64,
    tokens: Tokens,
    cost: Option<Cost>,
}

impl Spent {
    fn add(&mut self, run: &Run) {
        if let Some(model) = &run.model {
            self.model.clone_from(model);
        }
        self.runs += 1;
        self.tokens += run.own_tokens();
        self.cost = Cost::sum([self.cost, run.own_cost()].into_iter().flatten());
    }

    fn of(all: &[(String, Self)]) -> Self {
        let all = || all.iter().map(|(_, spent)| spent);
        Self {
            model: String::new(),
            runs: all().map(|spent| spent.runs).sum(),
            tokens: all().map(|spent| spent.tokens).sum(),
            cost: Cost::sum(all().filter_map(|spent| spent.cost)),
        }
    }

    fn nano_usd(&self) -> Option<u64> {
        self.cost.map(|cost| cost.nano_usd)
    }

    fn row(&self, name: &str) -> Vec<String> {
        let cost = self.nano_usd().map(dollars).unwrap_or_default();
        vec![name.to_owned(), self.model.clone(), grouped(self.runs), grouped(self.tokens.total()), cost]
    }
}

/// Root runs that show what there is to see, by their places in the forest.
#[derive(Debug, Default)]
struct Telling {
    /// The team's run that started most.
    team: Option<usize>,
    /// One that failed.
    failed: Option<usize>,
    /// The one that spent most.
    runaway: Option<usize>,
}

impl Telling {
    fn of(gathered: &Gathered) -> Self {
        let forest = &gathered.forest;
        let root = |trace: &Trace| {
            let at = trace.nodes.first()?.run;
            Some((at, forest.runs.get(at)?))
        };
        let roots = || forest.traces.iter().filter_map(|trace| Some((trace, root(trace)?)));
        let spent = |trace: &Trace| -> u64 {
            let runs = trace.nodes.iter().filter_map(|node| forest.runs.get(node.run));
            runs.map(|run| run.own_tokens().total()).sum()
        };
        let teams = roots().filter(|(_, (_, run))| run.kind == RunKind::Team);
        Self {
            team: teams.max_by_key(|(trace, _)| trace.nodes.len()).map(|(_, (at, _))| at),
            failed: roots().find(|(_, (_, run))| run.status == RunStatus::Error).map(|(_, (at, _))| at),
            runaway: roots().max_by_key(|(trace, _)| spent(trace)).map(|(_, (at, _))| at),
        }
    }
}

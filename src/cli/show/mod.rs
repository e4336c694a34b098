//! `show`: databases as their sessions, sessions as their runs, runs as waterfalls. Sends nothing.

mod ids;
mod json;
mod look;
mod one;
mod rows;
mod search;
mod tables;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::{ContentMode, Ended, Said, Sources};
use crate::clock::Clock;
use crate::config::{Config, File, Flags};
use crate::export::print::{plain, plain_json, waterfall};
use crate::framework::Keep;
use crate::intake::{self, Surveyed};
use crate::otel::content::Gist;
use crate::otel::{Settings, TraceSpans, lines, part_of};
use ids::{Match, matched};
use look::Look;
use one::OneRun;
use rows::{Newest, RunRow, SessionRow, Totals, Where};
use search::Search;
use tables::Page;

/// Rows that people are shown where they say nothing else: sessions, or runs that answer a search.
const ROWS: usize = 50;
/// Rows of one session.
const SESSION_ROWS: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// SQLite database, URL of a Postgres database (postgres://USER@HOST/DATABASE), folder (JsonDb, or files with runs),
    /// file with runs (one, a list, or one per line), - for standard input. Default: the sources of the config file.
    source: Option<PathBuf>,
    /// What to show of it: a run, by its id or by a trace id as Jaeger shows it, or a session; or the beginning of such an
    /// id. - is all runs without a session. Default: all sessions.
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: Option<String>,
    /// The same, for the sources of the config file.
    #[arg(long = "id", alias = "run", value_name = "ID", conflicts_with = "id",
        value_parser = clap::builder::NonEmptyStringValueParser::new())]
    by_id: Option<String>,
    /// Read this source too, repeatable: a copy, another database of the same application.
    #[arg(long, value_name = "SOURCE", requires = "source")]
    also: Vec<PathBuf>,
    /// Of all sessions tables (or JsonDb files) read only this one; default: every table that looks like Agno's.
    #[arg(long, value_name = "NAME", requires = "source")]
    sessions_table: Option<String>,
    /// Of all runs tables (or JsonDb files) read only this one, likewise.
    #[arg(long, value_name = "NAME", requires = "source")]
    runs_table: Option<String>,
    #[command(flatten)]
    search: Search,
    /// Show so many rows at most, the newest [default: 50, of a session 1000; with --json all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Options")]
    limit: Option<u32>,
    /// Of error texts, of what a run was asked and of what it answered, show the first line; masked says how long they are
    /// [env: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT; default: none]
    #[arg(long, value_name = "HOW", value_enum, help_heading = "Options")]
    content: Option<ContentMode>,
    /// Show the run's user too. It is personal data.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Options")]
    user_id: Option<bool>,
    /// Print it as one JSON document.
    #[arg(long, help_heading = "Options")]
    json: bool,
}

/// Nothing answers to the id that was asked for.
#[derive(Debug, thiserror::Error)]
#[error(
    "no run or session has the id {id}, or one that begins so (runs: {runs}, sessions: {sessions}){}",
    if std::path::Path::new(id).exists() { "; to read a further source, --also" } else { "" }
)]
struct NoSuchId {
    id: String,
    runs: u64,
    sessions: u64,
}

/// Several answer; they were shown.
#[derive(Debug, thiserror::Error)]
#[error("{count} ids answer to {id}: give more of one")]
struct Ambiguous {
    id: String,
    count: usize,
}

impl Arguments {
    fn asked(&self) -> Option<&str> {
        let id = self.id.as_deref().or(self.by_id.as_deref())?;
        // As it stands in a table where it was cut.
        Some(id.strip_suffix('…').filter(|id| !id.is_empty()).unwrap_or(id))
    }

    fn sources(&self, file: &File) -> Result<Vec<Sources>, super::NoSource> {
        let paths = self.source.iter().chain(&self.also).cloned().collect();
        let (sessions_table, runs_table) = (self.sessions_table.clone(), self.runs_table.clone());
        Sources { paths, sessions_table, runs_table }.or_those_of(file)
    }

    fn said(&self) -> Said {
        Said { content: self.content, content_limit: None, user_id: self.user_id, older_names: None }
    }

    /// So many rows, where people are shown so many.
    fn limit(&self, usual: usize) -> usize {
        let usual = if self.json { usize::MAX } else { usual };
        self.limit.map_or(usual, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

/// What is shown.
enum View {
    Nothing,
    Sessions(Newest<SessionRow>, Totals),
    Session(SessionRow, Newest<RunRow>),
    Runs(Newest<RunRow>, Totals),
    Run(Box<OneRun>),
    Matches(Newest<SessionRow>, Newest<RunRow>),
}

pub(super) async fn run(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    let flags = Flags::default();
    let config = Config { flags: &flags, environment: &super::variable, file };
    let settings = arguments.said().settings(config)?;
    let surveyed = super::survey(&arguments.sources(file)?).await?.priced(&super::prices(file));
    let shown =
        Shown { arguments: &arguments, surveyed: &surveyed, settings, now_ns: Clock::System.now_ns() };
    let mut look = Look::of(arguments.asked(), &arguments.search, arguments.limit(ROWS));
    let mut oddities = surveyed.oddities.clone();
    for (at, family) in surveyed.families().enumerate() {
        let gathered = surveyed.gather(&[family], Keep::Figures, shown.now_ns).await?;
        oddities.merge(&gathered.oddities);
        look.at(at, &gathered);
    }
    look.end();
    let ids = std::mem::take(&mut look.ids);
    let view = shown.view(look).await?;
    let page =
        Page { paint: super::environment::paint(&std::io::stdout()), columns: super::columns(), ids: &ids };
    let text = if arguments.json { json_of(&view)? } else { text_of(&view, page) };
    super::write_painted(&text)?;
    let hints = hints(&arguments, &view);
    if !arguments.json && !hints.is_empty() && std::io::stdout().is_terminal() {
        super::write_painted(&format!("\n{}", tables::quiet(&hints, page)))?;
    }
    for (oddity, count) in oddities.iter() {
        tracing::warn!(count, "{}", oddity.meaning());
    }
    match &view {
        View::Matches(sessions, runs) => {
            let id = arguments.asked().unwrap_or_default().to_owned();
            Err(Ambiguous { id, count: sessions.len() + runs.len() }.into())
        }
        View::Nothing => {
            tracing::warn!("no runs to show");
            Ok(Ended::Done)
        }
        _ => Ok(Ended::Done),
    }
}

/// What views are made of.
struct Shown<'s> {
    arguments: &'s Arguments,
    surveyed: &'s Surveyed,
    settings: Settings,
    now_ns: u64,
}

impl Shown<'_> {
    async fn view(&self, look: Look<'_>) -> anyhow::Result<View> {
        let Look { sessions, totals, answers, found, .. } = look;
        let asked = self.arguments.asked();
        if let Some(id) = asked.filter(|_| answers.best.is_none()) {
            let (runs, sessions) = (totals.figures.runs, totals.sessions);
            return Err(NoSuchId { id: id.to_owned(), runs, sessions }.into());
        }
        if self.arguments.search.is_wanted() {
            return Ok(View::Runs(found.rows, found.totals));
        }
        if asked.is_none() {
            let only = sessions.oldest_first().next().filter(|_| sessions.len() == 1);
            return match only {
                Some(only) if only.runs == 1 => self.run(&only.first).await,
                Some(only) => self.session(only).await,
                None if sessions.len() == 0 => Ok(View::Nothing),
                None => Ok(View::Sessions(sessions, totals)),
            };
        }
        let session = answers.sessions.oldest_first().next();
        let run = answers.runs.oldest_first().next();
        match (answers.sessions.len(), session, answers.runs.len(), run) {
            (1, Some(session), 0, _) => self.session(session).await,
            // Where an application gives both the same id, the session shows the run.
            (1, Some(session), count, run)
                if answers.is_whole() || count == 1 && run.is_some_and(|run| is_called_as(run, session)) =>
            {
                self.session(session).await
            }
            (0, _, 1, Some(run)) => self.run(&run.at).await,
            _ => Ok(View::Matches(answers.sessions, answers.runs)),
        }
    }

    /// Reads a session again, or all runs without one.
    async fn session(&self, session: &SessionRow) -> anyhow::Result<View> {
        let mut runs = Newest::of(self.arguments.limit(SESSION_ROWS));
        let is_its = |at: &usize| session.id.is_none() || *at == session.first.family;
        for (at, family) in self.surveyed.families().enumerate().filter(|(at, _)| is_its(at)) {
            let gathered = self.surveyed.gather(&[family], Keep::Figures, self.now_ns).await?;
            for row in rows::of_sessions(&gathered, at).into_iter().filter(|row| row.session_id == session.id)
            {
                // Within a second, in which starts are often not known, as they stand in the session.
                runs.add(row.start_ns / 1_000_000_000, row);
            }
        }
        Ok(View::Session(session.clone(), runs))
    }

    /// Reads a run again, with as much of what was said as is wanted.
    async fn run(&self, place: &Where) -> anyhow::Result<View> {
        let families: Vec<_> = self.surveyed.families().skip(place.family).take(1).collect();
        let gathered = self.surveyed.gather(&families, intake::keep(self.settings), self.now_ns).await?;
        for (trace, times) in gathered.forest.traces.iter().zip(&gathered.times) {
            let mut rows = rows::tree(&gathered, place.family, trace, times);
            let Some(at) = rows.iter().position(|row| row.at.key == place.key) else { continue };
            let root = trace.nodes.first().map(|node| node.run);
            let wanted = |run: usize| Some(run) == root;
            let trace_spans = gathered.traces_of(self.settings, &wanted).next().map(TraceSpans::from);
            let run = trace.nodes.get(at).and_then(|node| gathered.forest.runs.get(node.run));
            let root_run_id = rows.first().filter(|_| at > 0).map(|root| root.run_id().to_owned());
            let row = rows.swap_remove(at);
            let part = trace_spans.map(|spans| part_of(&spans, &row.span_id));
            return Ok(View::Run(Box::new(OneRun {
                root_run_id,
                lines: part.as_ref().map(lines).unwrap_or_default(),
                gist: run.map(|run| Gist::of(run, self.settings.content)).unwrap_or_default(),
                user_id: row.user_id.clone().filter(|_| self.settings.user_id),
                row,
            })));
        }
        // It was there when it was read first.
        Ok(View::Nothing)
    }
}

fn text_of(view: &View, page: Page<'_>) -> String {
    match view {
        View::Nothing => String::new(),
        View::Sessions(rows, totals) => tables::sessions(rows, totals, page),
        View::Session(session, runs) => tables::session(session, runs, page),
        View::Runs(rows, totals) => tables::runs(rows, totals, page),
        View::Run(run) => one::text(run, page),
        View::Matches(sessions, runs) => tables::matches(sessions, runs, page),
    }
}

fn json_of(view: &View) -> serde_json::Result<String> {
    let document = match view {
        View::Nothing => json::sessions(&Newest::of(0), &Totals::default()),
        View::Sessions(rows, totals) => json::sessions(rows, totals),
        View::Session(session, runs) => json::session(session, runs),
        View::Runs(rows, totals) => json::runs(rows, totals),
        View::Run(run) => json::one(run),
        View::Matches(sessions, runs) => json::matches(sessions, runs),
    };
    Ok(format!("{}\n", plain_json(&serde_json::to_string_pretty(&document)?)))
}

/// How to look closer.
fn hints(arguments: &Arguments, view: &View) -> Vec<String> {
    let name = |path: &PathBuf| {
        super::quoted(&crate::source::Location::of(path).name().display().to_string()).into_owned()
    };
    let show =
        arguments.source.as_ref().map_or("show --id".to_owned(), |source| format!("show {}", name(source)));
    let look = |what: &str, shows: &str| format!("{shows}: agno-otel {show} {what}");
    match view {
        View::Sessions(..) => {
            let search = "search: --agent, --model, --tool, --error, --cost '>1', --since 2h".to_owned();
            vec![look("SESSION", "a session's runs"), search]
        }
        View::Session(..) | View::Runs(..) => vec![look("RUN", "a run's waterfall")],
        _ => Vec::new(),
    }
}

/// True where a run has its session's id.
fn is_called_as(run: &RunRow, session: &SessionRow) -> bool {
    session.id.as_deref().is_some_and(|id| matched(&run.at.key.run_id, id) > Some(Match::Beginning))
}

/// A trace with its run id above it.
pub(super) fn one(trace: &TraceSpans) -> String {
    let shown = waterfall(&lines(trace), super::environment::paint(&std::io::stdout()), super::columns());
    format!("run {}\n{shown}\n", plain(&trace.run_id))
}

//! `check`: whether everything is as `run` needs it, with what to do where it is not. It changes nothing.

mod around;
mod collector;
mod endpoint;
mod expiry;
mod fixes;
mod jaeger;
mod private;
mod prometheus;
mod setup;
mod sources;
mod yaml;

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::listen::ListenFlags;
use super::run::{MetricsMode, StateFile};
use super::{Destination, Ended, Said, Sources};
use crate::clock::Clock;
use crate::config::{Config, File};
use crate::export::ask::{AskError, Asker};
use crate::export::print::plain;

/// No part takes longer: a source that is large, a server that is slow.
const LONGEST: Duration = Duration::from_secs(12);
/// An answer is not waited for longer than this, whatever the timeout of an attempt.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// Clocks that differ by less are the same: one of them says whole seconds, and the way takes time.
const SAME_CLOCK_NS: u64 = 5_000_000_000;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    destination: Destination,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    state: StateFile,
    #[command(flatten)]
    listening: ListenFlags,
    /// Which way the metrics of run go [default: otlp]
    #[arg(long, value_name = "WAY", value_enum)]
    metrics: Option<MetricsMode>,
    #[command(flatten)]
    around: around::Around,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// As it should be.
    Fine,
    /// Worth knowing; everything works.
    Note,
    /// Something will not work. How a command would end because of it.
    Problem(Ended),
}

impl fmt::Display for Level {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.pad(match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Problem(_) => "problem",
        })
    }
}

/// One thing that was found.
#[derive(Debug, Clone)]
struct Finding {
    level: Level,
    /// Of what.
    about: String,
    what: String,
    fix: String,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, about: &str, what: impl Into<String>, fix: impl Into<String>) {
        let (about, what, fix) = (about.to_owned(), what.into(), fix.into());
        self.0.push(Finding { level, about, what, fix });
    }

    fn fine(&mut self, about: &str, what: impl Into<String>) {
        self.add(Level::Fine, about, what, "");
    }

    fn note(&mut self, about: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Level::Note, about, what, fix);
    }

    /// Another clock beside ours.
    fn clock(&mut self, about: &str, whose: &str, their_ns: u64, our_ns: u64) {
        let apart_s = their_ns.abs_diff(our_ns) / 1_000_000_000;
        if their_ns.abs_diff(our_ns) <= SAME_CLOCK_NS {
            self.fine(about, format!("{whose} agrees with ours"));
        } else {
            let way = if their_ns > our_ns { "ahead of" } else { "behind" };
            self.note(
                about,
                format!("{whose} is {apart_s} s {way} ours"),
                "let NTP set both; points are stamped by ours",
            );
        }
    }

    /// The exit code: that of the problem which stops `run` first. Without a configuration nothing starts, without a
    /// state file nothing is counted, without a source nothing is read, without a destination everything waits.
    fn ended(&self) -> Ended {
        let found = |ended| self.0.iter().any(|finding| finding.level == Level::Problem(ended));
        let order = [Ended::Misconfigured, Ended::StateAmiss, Ended::SourceAmiss, Ended::DestinationAmiss];
        order.into_iter().find(|ended| found(*ended)).unwrap_or(Ended::Done)
    }

    /// A line for each, and at the end how many there are of each level.
    fn text(&self) -> String {
        let line = |Finding { level, about, what, fix }: &Finding| {
            let fix = if fix.is_empty() { String::new() } else { format!("; {fix}") };
            format!("{level:<8} {}: {}{}\n", plain(about), plain(&one_line(what)), plain(&one_line(&fix)))
        };
        let count = |is: fn(Level) -> bool| self.0.iter().filter(|finding| is(finding.level)).count();
        let problems = count(|level| matches!(level, Level::Problem(_)));
        let (notes, fine) = (count(|level| level == Level::Note), count(|level| level == Level::Fine));
        let lines: String = self.0.iter().map(line).collect();
        let many = |count: usize| if count == 1 { "" } else { "s" };
        format!("{lines}{problems} problem{}, {notes} note{}, {fine} ok\n", many(problems), many(notes))
    }

    fn json(&self) -> Value {
        let finding = |Finding { level, about, what, fix }: &Finding| {
            let fix = Some(fix).filter(|fix| !fix.is_empty());
            json!({"level": level.to_string(), "about": about, "what": what, "fix": fix})
        };
        json!({"findings": self.0.iter().map(finding).collect::<Vec<_>>(), "exit_code": self.ended() as u8})
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

/// What a server of Prometheus' or Jaeger's kind says under `data`, and the time of its clock.
async fn asked(asker: &Asker, path: &str, query: &[(&str, &str)]) -> Result<(Value, Option<u64>), AskError> {
    let told = asker.get(path, query).await?;
    let mut answer: Value = serde_json::from_slice(&told.body).map_err(|error| AskError::NoAnswer {
        reason: format!("/{path} does not answer with JSON: {error}"),
    })?;
    let data = answer.get_mut("data").map(Value::take);
    Ok((data.unwrap_or_default(), told.date_ns))
}

/// A text within an answer; empty where there is none.
fn text<'v>(answer: &'v Value, pointer: &str) -> &'v str {
    answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list within an answer; empty where there is none.
fn list<'v>(answer: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    answer.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

pub(super) async fn check(arguments: Arguments, file: &File) -> anyhow::Result<Ended> {
    let flags = arguments.listening.beside(arguments.destination.flags());
    let config = Config { flags: &flags, environment: &super::variable, file };
    let way = arguments.metrics.map_or(file.sections.run.metrics, Into::into);
    let mut findings = Findings::default();
    setup::config(&mut findings, file);
    setup::content(&mut findings, arguments.said, config);
    let counted = setup::state(&mut findings, &arguments.state, file);
    private::listen(&mut findings, config, way);
    private::permissions(&mut findings, config, arguments.state.path(file).ok().as_deref());
    private::certificate_ends(&mut findings, config, Clock::System.now_ns());
    sources::check(&mut findings, arguments.sources, file).await;
    endpoint::check(&mut findings, config, Clock::System).await;
    around::check(&mut findings, &arguments.around, config, (way, counted)).await;
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&findings.json())?)
    } else {
        findings.text()
    };
    super::write_either(&text, arguments.json)?;
    Ok(findings.ended())
}

//! The command line: what was typed, what it means, what is shown.
#![expect(clippy::doc_markdown, reason = "doc comments of arguments are their help text")]

mod bill;
mod check;
mod demo;
mod ended;
mod environment;
mod export;
mod flags;
mod guide;
mod listen;
mod manual;
mod named;
mod once;
mod outgoing;
mod own;
mod plan;
mod reconcile;
mod run;
mod send;
mod show;
mod signals;
mod status;
mod summary;
mod terminal;
mod version;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing::Instrument as _;

use crate::config::{Config, File};
use crate::error::Chain;
use crate::export::print::plain;
use crate::framework::Oddities;
use crate::intake::{Survey, Surveyed};
use crate::money::Prices;
use crate::otel::Resource;
use crate::source;
use ended::{
    AllRefused, Ended, INTERRUPTED, NoSource, NotFollowed, StdinTwice, TERMINATED, WRONG_USAGE, code_of,
    gave_up, is_broken_pipe,
};
use environment::variable;
use flags::{ContentMode, Destination, Said, Sources, seconds};
use named::Names;
use signals::{Stopped, stopped};
use terminal::{columns, fit, quoted, spinner, write_either, write_out, write_painted};

/// Turns the runs of Agno agents into OpenTelemetry: traces with token counts and latency, session totals as
/// counters and histograms.
#[derive(Debug, Parser)]
#[command(name = "agno-otel", version, long_version = version::long(), about, after_long_help = guide::AFTER, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// TOML file of settings, which flags and variables win over [env: AGNO_OTEL_CONFIG; default: none is read]
    #[arg(long, global = true, display_order = 500, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say more on standard error; twice for every attempt. RUST_LOG is honoured too.
    #[arg(short, long, global = true, display_order = 501, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send the runs of databases, folders and files, once: traces and session totals.
    Send(Box<send::Arguments>),
    /// Say what send would send: traces, spans, series, bytes, what has no price, what of content stays. Sends nothing.
    Plan(plan::Arguments),
    /// Follow databases, folders and files: send their runs as they are stored, count each once for ever.
    Run(Box<run::Arguments>),
    /// Check configuration, state file, sources and endpoint, with the fix for what is amiss. Changes nothing.
    Check(Box<check::Arguments>),
    /// Tell what a state file holds: sources, what was counted, what waits to be delivered, what was refused.
    Status(status::Arguments),
    /// Requests the endpoint refused, kept by run: list them, try them again, forget them.
    DeadLetters(status::Letters),
    /// Show databases as their sessions, sessions as their runs, runs as waterfalls, and search. Sends nothing.
    Show(show::Arguments),
    /// Say what runs cost: tokens × price = amount, by model. Sends nothing.
    Bill(bill::Arguments),
    /// Compare our totals with Agno's session_metrics, session by session, and say which rule makes them differ.
    Reconcile(reconcile::Arguments),
    /// Write dashboards for Grafana and alerts for Prometheus, of the names, budgets and thresholds of this configuration.
    Export(export::Arguments),
    /// Show a made-up day of agents, and send it if --endpoint, OTEL_EXPORTER_OTLP_ENDPOINT or a config file says where to.
    Demo(Box<demo::Arguments>),
    /// Print what completes commands and flags in a shell.
    Completions(manual::CompletionsArguments),
    /// Print a page for man, or write all of them into a folder.
    Man(manual::ManArguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors. A closed standard output is not worth a word.
            if std::env::args_os().len() > 1 {
                error.print().ok();
            } else {
                io::stderr().write_all(guide::FIRST.as_bytes()).ok();
            }
            return if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let file = environment::config_file(arguments.config.as_deref());
    let begun = file.and_then(|file| Ok((own::start(&arguments.command, &file)?, file)));
    environment::log(
        arguments.verbose + u8::from(matches!(arguments.command, Command::Run(_))),
        begun.as_ref().ok().and_then(|(observing, _)| observing.as_ref()),
    );
    let (observing, ended) = match begun {
        Ok((observing, file)) => (observing, run(arguments.command, file)),
        Err(error) => (None, Err(error)),
    };
    let is_stopped = ended.as_ref().is_err_and(anyhow::Error::is::<Stopped>);
    let code = match ended {
        Ok(ended) => ExitCode::from(ended as u8),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let chain = Chain(error.as_ref()).to_string();
            writeln!(io::stderr(), "agno-otel: {}", plain(&chain)).ok();
            if gave_up(&error) && chain.contains("nobody listens") {
                guide::next(guide::NO_COLLECTOR);
            }
            ExitCode::from(code_of(&error))
        }
    };
    own::stop(observing, is_stopped);
    code
}

/// Does the work on a thread of its own, so that a signal is heard while the work reads or computes. When one
/// comes the process ends, and the thread with it.
fn run(command: Command, file: File) -> anyhow::Result<Ended> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let worker = std::thread::Builder::new().name("work".to_owned());
    // Nobody listens any more once a signal has come.
    let ends_itself = matches!(command, Command::Run(_));
    worker.spawn(move || tell.send(work(command, &file)).ok()).context("cannot start a thread")?;
    runtime()?.block_on(async {
        tokio::select! {
            ended = told => ended.context("the work broke off; this is a bug")?,
            stopped = stopped(), if !ends_itself => Err(stopped?.into()),
        }
    })
}

fn work(command: Command, file: &File) -> anyhow::Result<Ended> {
    if matches!(command, Command::Send(_) | Command::Run(_) | Command::Demo(_)) {
        environment::expect_utf8()?;
        environment::warn_of_unfollowed();
    }
    let span = own::span(&command);
    let commanded = async {
        signals::outlive_file_limits();
        match command {
            Command::Send(arguments) => send::run(*arguments, file).await,
            Command::Plan(arguments) => Box::pin(plan::run(arguments, file)).await,
            Command::Run(arguments) => Box::pin(run::run(*arguments, file)).await,
            Command::Check(arguments) => Box::pin(check::check(*arguments, file)).await,
            Command::Status(arguments) => status::status(&arguments, file),
            Command::DeadLetters(arguments) => status::dead_letters(&arguments, file),
            Command::Show(arguments) => show::run(arguments, file).await,
            Command::Bill(arguments) => bill::run(arguments, file).await,
            Command::Reconcile(arguments) => reconcile::run(arguments, file).await,
            Command::Export(arguments) => export::run(&arguments, file),
            Command::Demo(arguments) => demo::run(*arguments, file).await,
            Command::Completions(arguments) => manual::completions(&arguments),
            Command::Man(arguments) => manual::man(&arguments),
        }
    };
    let ended = runtime()?.block_on(commanded.instrument(span.clone()));
    own::ended(&span, &ended);
    ended
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime: is there no file descriptor left?")
}
/// What models cost, as the file has it beside the embedded table.
fn prices(file: &File) -> Arc<Prices> {
    Arc::new(file.sections.prices())
}

/// Whose telemetry it is. Without a state file every invocation is an instance of its own.
fn resource(config: Config<'_>) -> Resource {
    config.resource(&uuid::Uuid::new_v4().to_string())
}
/// Reads every source once. Nothing is sent before all could be read: telemetry of half the sources could not be
/// completed later without counting it twice.
async fn survey(sources: &[Sources]) -> anyhow::Result<Surveyed> {
    if sources.iter().flat_map(|sources| &sources.paths).filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(StdinTwice.into());
    }
    let mut survey = Survey::default();
    let progress = spinner();
    for sources in sources {
        let mut names = Names::of(sources);
        for path in &sources.paths {
            let (before, odd_before) = (survey.decoded(), survey.oddities().clone());
            progress.set_position(0);
            let location = source::Location::of(path);
            let name = location.name();
            progress.set_message(plain(&format!("reading {}", name.display())).into_owned());
            let mut accept = |spot, record: crate::Record| {
                survey.accept(spot, record);
                progress.set_position(survey.decoded() - before);
            };
            let read = own::reading(&name);
            let source = names.read(&location, &mut accept).instrument(read.clone()).await?;
            survey.add(source);
            read.record("agno_otel.runs", survey.decoded() - before);
            if survey.decoded() == before {
                no_runs(&name, &odd_before, survey.oddities())?;
            }
        }
        names.expect_met()?;
    }
    progress.finish_and_clear();
    Ok(survey.finish())
}

/// A database without runs is one whose agents have not run yet; a file of other things is a mistake.
fn no_runs(path: &std::path::Path, before: &Oddities, after: &Oddities) -> Result<(), source::Error> {
    let met = after.iter().map(|(oddity, count)| (oddity, count - before.count(oddity)));
    let found: Vec<String> = met
        .filter(|(oddity, count)| oddity.leaves_out_record() && *count > 0)
        .map(|(oddity, count)| format!("{count} × {}: {}", oddity.as_str(), oddity.meaning()))
        .collect();
    if found.is_empty() {
        tracing::warn!(path = %path.display(), "holds no runs");
        return Ok(());
    }
    Err(source::Error::NotAgno { path: path.to_owned(), found: found.join("; ") })
}

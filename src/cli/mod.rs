//! The command line: what was typed, what it means, what is shown.
#![expect(clippy::doc_markdown, reason = "doc comments of arguments are their help text")]

mod bill;
mod check;
mod demo;
mod environment;
mod export;
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
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tracing::Instrument as _;

use crate::config::{Config, File, Flags};
use crate::delivery;
use crate::error::Chain;
use crate::export::TlsError;
use crate::export::print::plain;
use crate::framework::Oddities;
use crate::intake::{Survey, Surveyed};
use crate::money::Prices;
use crate::otel::policy::{MAX_LIMIT_BYTES, MIN_LIMIT_BYTES};
use crate::otel::{Mode, Policy, Resource, Settings};
use crate::{config, follow, observe, serve, source};
use environment::{NotUtf8, variable};
use named::Names;
use signals::{Stopped, stopped};
use terminal::{columns, spinner, write_out, write_painted};

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

/// Where runs are read from.
#[derive(Debug, Clone, Args)]
struct Sources {
    /// SQLite databases, URLs of Postgres databases (postgres://USER@HOST/DATABASE), folders (JsonDb, or files with
    /// runs), files with runs (one, a list, or one per line), - for standard input. Default: the sources of the config
    /// file.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Of all sessions tables (or JsonDb files) read only this one; default: every table that looks like Agno's.
    /// A database that lacks it is read by default too, if another has it. Files of runs have no tables. For Postgres
    /// SCHEMA.NAME too.
    #[arg(long, value_name = "NAME", requires = "paths")]
    sessions_table: Option<String>,
    /// Of all runs tables (or JsonDb files) read only this one, likewise.
    #[arg(long, value_name = "NAME", requires = "paths")]
    runs_table: Option<String>,
}

impl Sources {
    /// Those of them that are files or folders.
    fn files(&self) -> Vec<PathBuf> {
        let locations = self.paths.iter().map(|path| source::Location::of(path));
        locations
            .filter_map(|location| match location {
                source::Location::Path(path) => Some(path),
                _ => None,
            })
            .collect()
    }
}

/// Where telemetry goes, and whose it is.
#[derive(Debug, Clone, Default, Args)]
struct Destination {
    /// OTLP endpoint; by HTTP, v1/traces and v1/metrics are appended [env: OTEL_EXPORTER_OTLP_ENDPOINT and those
    /// of each signal; default: http://localhost:4318, or :4317 for grpc]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// http/protobuf or grpc [env: OTEL_EXPORTER_OTLP_PROTOCOL; default: http/protobuf]
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// Header of every request, repeatable [env: OTEL_EXPORTER_OTLP_HEADERS]
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// none, gzip or zstd [env: OTEL_EXPORTER_OTLP_COMPRESSION; default: none to this machine, gzip elsewhere]
    #[arg(long, value_name = "NAME")]
    compression: Option<String>,
    /// PEM file of the certificates to trust, instead of the system's [env: OTEL_EXPORTER_OTLP_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    certificate: Option<String>,
    /// PEM file of our own certificate, for servers that ask [env: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE]
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<String>,
    /// PEM file of its key [env: OTEL_EXPORTER_OTLP_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    client_key: Option<String>,
    /// Seconds one attempt may take [env: OTEL_EXPORTER_OTLP_TIMEOUT, in milliseconds; default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<u64>,
    /// Seconds to go on trying when the endpoint cannot be reached or says "later"; run never gives up [default: 30]
    #[arg(long, value_name = "SECONDS")]
    give_up_after: Option<u64>,
    /// service.name of everything sent [env: OTEL_SERVICE_NAME; default: agno]
    #[arg(long, value_name = "NAME")]
    service_name: Option<String>,
    #[command(flatten)]
    own: Own,
}

fn seconds(text: &str) -> Result<u64, String> {
    let above_zero = text.parse().ok().filter(|seconds| *seconds > 0);
    above_zero.ok_or_else(|| "expected a number of whole seconds, 1 or more".to_owned())
}

/// What the bridge says of itself.
#[derive(Debug, Clone, Copy, Default, Args)]
struct Own {
    /// Send logs, spans and counters of agno-otel itself too, to the same endpoint, as service agno-otel
    /// [env: AGNO_OTEL_OBSERVE=true; default: off]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    observe: Option<bool>,
}

/// What is said.
#[derive(Debug, Clone, Copy, Args)]
struct Said {
    /// What of prompts, answers, tool arguments, results and error texts is sent: masked says their lengths and a
    /// short hash of long ones [env: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT; default: none]
    #[arg(long, value_name = "HOW", value_enum)]
    content: Option<ContentMode>,
    /// Bytes of an attribute with content; what is beyond is cut, and said to be [default: 65536]
    #[arg(long, value_name = "BYTES",
        value_parser = clap::value_parser!(u64).range(MIN_LIMIT_BYTES as u64..=MAX_LIMIT_BYTES as u64))]
    content_limit: Option<u64>,
    /// Send user.id too. It is personal data.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    user_id: Option<bool>,
    /// Also send the names older dashboards and Jaeger read: gen_ai.client.token.usage,
    /// gen_ai.usage.cache_creation.input_tokens, …
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    older_names: Option<bool>,
}

/// What of content is sent.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ContentMode {
    None,
    Masked,
    Full,
}

impl Said {
    fn settings(self, config: Config<'_>) -> Result<Settings, config::Error> {
        let mode = match self.content {
            Some(ContentMode::None) => Mode::None,
            Some(ContentMode::Masked) => Mode::Masked,
            Some(ContentMode::Full) => Mode::Full,
            None => config.content()?,
        };
        let said = &config.file.sections;
        let limit_bytes = self.content_limit.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let content = Policy::new(mode, limit_bytes.unwrap_or(said.content.limit_bytes));
        Ok(Settings {
            user_id: self.user_id.unwrap_or(said.content.user_id),
            older_names: self.older_names.unwrap_or(said.names.older),
            content,
            // There is one configuration, for as long as we run.
            thresholds: said.session.thresholds.clone().leak(),
        })
    }
}

/// How a command ended: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done = 0,
    /// What `check` found: the state file, what was configured, a source, the destination.
    StateAmiss = 1,
    Misconfigured = 2,
    SourceAmiss = 3,
    DestinationAmiss = 4,
    /// Of reconcile: some differences are unexplained.
    SomeRefused = 5,
    /// By a signal, after what was under way had been ended.
    Interrupted = 130,
    Terminated = 143,
}

/// Exit codes of failures; `guide.rs` tells them.
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const SOURCE_FAILED: u8 = 3;
const DESTINATION_FAILED: u8 = 4;
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// The destination took nothing.
#[derive(Debug, thiserror::Error)]
#[error("{target} refused everything: {reasons}")]
struct AllRefused {
    target: String,
    reasons: String,
}

/// What comes in once is asked for twice.
#[derive(Debug, thiserror::Error)]
#[error("standard input (-) is given twice; it can be read once")]
struct StdinTwice;

/// A source that cannot be looked at again and again.
#[derive(Debug, thiserror::Error)]
#[error("standard input (-) cannot be followed, nor counted in a state file; write it to a file first")]
struct NotFollowed;

/// Nothing says what to read.
#[derive(Debug, thiserror::Error)]
#[error("nothing to read: give a PATH, or a config file with a [[source]]")]
struct NoSource;

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

fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<config::Error>()
        || error.is::<send::OwnSource>()
        || error.is::<TlsError>()
        || error.is::<observe::Error>()
        || matches!(error.downcast_ref(), Some(serve::Error::Tls(_)))
        || error.is::<StdinTwice>()
        || error.is::<reconcile::Stdin>()
        || error.is::<NoSource>()
        || error.is::<NotUtf8>()
        || error.is::<run::NoStateFile>()
        || error.is::<run::SinceSkipped>()
        || error.is::<NotFollowed>()
        || error.is::<manual::NoCommand>()
    {
        WRONG_USAGE
    } else if error.is::<source::Error>() || matches!(error.downcast_ref(), Some(follow::Error::Source(_))) {
        SOURCE_FAILED
    } else if error.is::<AllRefused>() || gave_up(error) {
        DESTINATION_FAILED
    } else if let Some(stopped) = error.downcast_ref::<Stopped>() {
        stopped.code
    } else {
        FAILED
    }
}

fn gave_up(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(delivery::Error::GaveUp { .. }))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_it = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is_it)
}

impl Destination {
    fn flags(&self) -> Flags {
        Flags {
            endpoint: self.endpoint.clone(),
            headers: self.headers.clone(),
            timeout: self.timeout.map(Duration::from_secs),
            service_name: self.service_name.clone(),
            protocol: self.protocol.clone(),
            compression: self.compression.clone(),
            certificate: self.certificate.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
            observe: self.own.observe,
            ..Flags::default()
        }
    }
}

/// What models cost, as the file has it beside the embedded table.
fn prices(file: &File) -> Arc<Prices> {
    Arc::new(file.sections.prices())
}

/// Whose telemetry it is. Without a state file every invocation is an instance of its own.
fn resource(config: Config<'_>) -> Resource {
    config.resource(&uuid::Uuid::new_v4().to_string())
}

impl Sources {
    /// What is to be read: what was said on the command line, else what the file says.
    fn or_those_of(self, file: &File) -> Result<Vec<Self>, NoSource> {
        if !self.paths.is_empty() {
            return Ok(vec![self]);
        }
        let of_file = file.sections.source.iter().map(|source| Self {
            paths: vec![file.source_path(source)],
            sessions_table: source.sessions_table.clone(),
            runs_table: source.runs_table.clone(),
        });
        let sources: Vec<Self> = of_file.collect();
        if sources.is_empty() { Err(NoSource) } else { Ok(sources) }
    }
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

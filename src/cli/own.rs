//! What the command says of itself, where it is asked to.

use std::path::Path;
use std::time::Duration;

use tracing::{Span, field, info, info_span, warn};

use super::{Command, Ended, environment};
use crate::config::File;
use crate::observe::{self, Observing};

/// How long the end waits for own telemetry to be sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// The same after a signal: whoever sent it waits.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// Observes the command, if it asks for that.
pub(super) fn start(command: &Command, file: &File) -> anyhow::Result<Option<Observing>> {
    let observed = match command {
        Command::Send(arguments) => arguments.observed(file)?,
        Command::Demo(arguments) => arguments.observed(file)?,
        Command::Run(arguments) => arguments.observed(file)?,
        Command::Plan(_)
        | Command::Check(_)
        | Command::Status(_)
        | Command::DeadLetters(_)
        | Command::Show(_)
        | Command::Bill(_)
        | Command::Reconcile(_)
        | Command::Export(_)
        | Command::Completions(_)
        | Command::Man(_) => None,
    };
    let Some(observed) = observed else {
        return Ok(None);
    };
    environment::expect_utf8()?;
    Ok(Some(observe::start(observed)?))
}

/// Sends what waits, and says what was lost. It decides nothing: the work was done before.
pub(super) fn stop(observing: Option<Observing>, is_stopped: bool) {
    let limit = if is_stopped { STOP_LIMIT } else { FLUSH_LIMIT };
    for lost in observing.into_iter().flat_map(|observing| observing.stop(limit)) {
        warn!("{lost}");
    }
}

/// All of a command, under which everything else is.
pub(super) fn span(command: &Command) -> Span {
    let code = field::Empty;
    match command {
        Command::Send(_) => info_span!("send", otel.status_code = code, agno_otel.exit_code = code),
        Command::Demo(_) => info_span!("demo", otel.status_code = code, agno_otel.exit_code = code),
        // That of `run` would be open for months.
        Command::Run(_)
        | Command::Plan(_)
        | Command::Check(_)
        | Command::Status(_)
        | Command::DeadLetters(_)
        | Command::Show(_)
        | Command::Bill(_)
        | Command::Reconcile(_)
        | Command::Export(_)
        | Command::Completions(_)
        | Command::Man(_) => Span::none(),
    }
}

/// Notes how a command ended, where it is observed.
pub(super) fn ended(span: &Span, ended: &anyhow::Result<Ended>) {
    if span.is_disabled() {
        return;
    }
    let code = match ended {
        Ok(ended) => *ended as u8,
        Err(error) if super::is_broken_pipe(error) => 0,
        Err(error) => super::code_of(error),
    };
    span.record("agno_otel.exit_code", code);
    if ended.is_err() {
        span.record("otel.status_code", "error");
    }
    span.in_scope(|| info!(exit_code = code, "ended"));
}

/// The reading of one source.
pub(super) fn reading(path: &Path) -> Span {
    info_span!("read", agno_otel.source = %path.display(), agno_otel.runs = field::Empty)
}

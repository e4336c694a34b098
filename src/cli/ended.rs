//! How commands end: exit codes, and errors that are the command line's own.

use std::io;

use super::environment::NotUtf8;
use super::signals::Stopped;
use super::{manual, reconcile, run, send};
use crate::export::TlsError;
use crate::{config, delivery, follow, observe, serve, source};

/// How a command ended: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
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
pub(super) const FAILED: u8 = 1;
pub(super) const WRONG_USAGE: u8 = 2;
pub(super) const SOURCE_FAILED: u8 = 3;
pub(super) const DESTINATION_FAILED: u8 = 4;
pub(super) const INTERRUPTED: u8 = 130;
pub(super) const TERMINATED: u8 = 143;

/// The destination took nothing.
#[derive(Debug, thiserror::Error)]
#[error("{target} refused everything: {reasons}")]
pub(super) struct AllRefused {
    pub(super) target: String,
    pub(super) reasons: String,
}

/// What comes in once is asked for twice.
#[derive(Debug, thiserror::Error)]
#[error("standard input (-) is given twice; it can be read once")]
pub(super) struct StdinTwice;

/// A source that cannot be looked at again and again.
#[derive(Debug, thiserror::Error)]
#[error("standard input (-) cannot be followed, nor counted in a state file; write it to a file first")]
pub(super) struct NotFollowed;

/// Nothing says what to read.
#[derive(Debug, thiserror::Error)]
#[error("nothing to read: give a PATH, or a config file with a [[source]]")]
pub(super) struct NoSource;
pub(super) fn code_of(error: &anyhow::Error) -> u8 {
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

pub(super) fn gave_up(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(delivery::Error::GaveUp { .. }))
}

pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_it = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is_it)
}

//! Signals that end the process.

use std::io;

use super::{INTERRUPTED, TERMINATED};

/// Stopped by a signal.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("stopped by a signal; what was delivered before stays delivered, the rest was not sent")]
pub(super) struct Stopped {
    pub(super) code: u8,
}

/// Waits for a signal to stop.
pub(super) async fn stopped() -> io::Result<Stopped> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let code = tokio::select! {
        _ = interrupt.recv() => INTERRUPTED,
        _ = terminate.recv() => TERMINATED,
    };
    Ok(Stopped { code })
}

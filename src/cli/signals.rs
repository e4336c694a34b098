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

/// From now on a write beyond a limit of file sizes is an error, which is said, and no signal that ends the process unsaid.
/// To be called within a runtime.
pub(super) fn outlive_file_limits() {
    use tokio::signal::unix::{SignalKind, signal};
    /// `SIGXFSZ`, which has the same number on every system but Linux on MIPS.
    const BEYOND_FILE_SIZE: i32 = 25;
    // What was registered once stays so; nobody needs to hear of it.
    if let Err(error) = signal(SignalKind::from_raw(BEYOND_FILE_SIZE)) {
        tracing::debug!(%error, "a limit of file sizes would end the process");
    }
}

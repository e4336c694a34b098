//! Runs taken by HTTP, and what can be asked of a process that follows.
//!
//! The server knows nothing of the state file. What it is asked it asks on, over a channel, of whoever has that
//! ([`Ask`]), and answers when it got an answer: a run is accepted when it is on disk.

mod body;
mod health;
mod ingest;
mod server;
mod tls;
mod token;

use std::net::SocketAddr;

use tokio::sync::oneshot;

pub use health::{Failing, Health};
pub use server::Server;

use crate::follow::{Post, Taking};

/// Questions that wait for the state file. Each is that of a request under way, whose number has a limit of its own.
pub const WAITING_ASKS: usize = 64;

/// What the server asks of whoever has the state file.
#[derive(Debug)]
pub enum Ask {
    /// To keep runs.
    Take {
        /// The runs, by the records they came in.
        posts: Vec<Post>,
        /// Once they are on disk.
        answer: oneshot::Sender<Answer>,
    },
    /// The metrics, as text.
    Metrics {
        /// None: they are not to be scraped.
        answer: oneshot::Sender<Option<String>>,
    },
    /// What does not work.
    Ready {
        /// Nothing, if all is well.
        answer: oneshot::Sender<Vec<Failing>>,
    },
}

/// What became of runs that were handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// They are on disk; what became of each record.
    Taken(Vec<Taking>),
    /// There is no room now.
    Full,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another program listens there, or we may not.
    #[error("cannot listen at {address}{}", match source.kind() {
        std::io::ErrorKind::AddrInUse => ", where another program listens; give --listen another port",
        std::io::ErrorKind::AddrNotAvailable => ", which is no address of this machine",
        _ => "",
    })]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::export::TlsError),
}

//! What can be wrong with what was asked for.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{CAPTURE, OBSERVE, file};

/// What it may say, and what else can be done.
const CAPTURE_WAYS: &str =
    "expected NO_CONTENT, SPAN_ONLY or SPAN_AND_EVENT, or say --content none, masked or full";

/// What is wrong with what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The config file cannot be used.
    #[error(transparent)]
    File(#[from] file::Error),
    /// A variable that a secret refers to is not there.
    #[error("{name}: variable {variable} is unset, empty or not UTF-8; set it")]
    NoVariable {
        /// The setting.
        name: String,
        /// The variable.
        variable: String,
    },
    /// A file that a secret refers to cannot be read.
    #[error("{name}: cannot read {}", path.display())]
    NoSecret {
        /// The setting.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not the value of a header.
    #[error("{name}: its value cannot be a header's; is there a line break in it?")]
    HeaderValue {
        /// The setting.
        name: String,
    },
    /// Not a URL we can send to.
    #[error("{name}: \"{value}\" is not an HTTP URL; expected something like {expected}")]
    Endpoint {
        /// The flag or variable.
        name: String,
        /// What it says, without a user.
        value: String,
        /// What it might say.
        expected: &'static str,
    },
    /// Not a header.
    #[error("{name}: entry {place} is no header; expected name=value")]
    Header {
        /// The flag or variable.
        name: String,
        /// Which entry; its text may be secret.
        place: usize,
    },
    /// Not a number of milliseconds.
    #[error("{name}: \"{value}\" is no number of milliseconds above 0")]
    Timeout {
        /// The variable.
        name: String,
        /// What it says.
        value: String,
    },
    /// A protocol we do not speak.
    #[error("{name}: \"{value}\" is not supported; use http/protobuf (usually port 4318) or grpc (4317)")]
    Protocol {
        /// The flag or variable.
        name: String,
        /// What it says.
        value: String,
    },
    /// A compression we do not have.
    #[error("{name}: \"{value}\" is not supported; use none, gzip or zstd")]
    Compression {
        /// The flag or variable.
        name: String,
        /// What it says.
        value: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("{name} is given without {missing}; both are needed")]
    HalfIdentity {
        /// The flag or variable.
        name: String,
        /// What is not there.
        missing: &'static str,
    },
    /// Neither yes nor no.
    #[error("{OBSERVE}: \"{value}\" is neither true nor false")]
    Observe {
        /// What it says.
        value: String,
    },
    /// Not an address to listen at.
    #[error(
        "{name}: \"{value}\" is no address to listen at; expected a port, or something like 127.0.0.1:4320"
    )]
    Listen {
        /// The flag, variable or setting.
        name: String,
        /// What it says.
        value: String,
    },
    /// Others could reach us, and nothing would tell who they are.
    #[error(
        "{address} can be reached from other machines, and without a token anybody there could hand over runs: give \
         --listen-token-file FILE or AGNO_OTEL_LISTEN_TOKEN, or listen at 127.0.0.1"
    )]
    Unguarded {
        /// Where.
        address: SocketAddr,
    },
    /// A token that is none.
    #[error("{name}: the token is empty, or has spaces or letters no header can have")]
    Token {
        /// The flag, variable or setting.
        name: String,
    },
    /// Nowhere to be scraped.
    #[error("metrics are to be scraped, but nothing listens for that: give --listen ADDRESS")]
    Unscraped,
    /// Content in a way we cannot send it.
    #[error("{CAPTURE}: \"{value}\" {why}; {CAPTURE_WAYS}")]
    Capture {
        /// What it says.
        value: String,
        /// What is wrong with that.
        why: &'static str,
    },
}

//! What can be wrong with what was asked for.

use std::io;
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
    #[error("{name}: variable {variable} is unset, empty or not UTF-8")]
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
    /// Content in a way we cannot send it.
    #[error("{CAPTURE}: \"{value}\" {why}; {CAPTURE_WAYS}")]
    Capture {
        /// What it says.
        value: String,
        /// What is wrong with that.
        why: &'static str,
    },
}

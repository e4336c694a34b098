//! The real binary, run as a user runs it but without the tests' own environment.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Fails the test with what was said if the exit code is another.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test if standard error lacks one of these words.
    #[track_caller]
    pub(crate) fn expect_words(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "no \"{word}\" in: {}", self.stderr);
        }
        self
    }

    /// The summary of `--json`.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }
}

/// `agno-otel` with these arguments; nothing of what the environment says of telemetry reaches it.
pub(crate) fn agno_otel<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agno-otel"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_ours = ["OTEL_", "AGNO_OTEL_"].iter().any(|start| text.starts_with(start))
            || name == "RUST_LOG"
            || name == "NO_COLOR";
        if is_ours {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    ended(command.output().unwrap())
}

/// Runs it to its end with this text as its standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It reads all of its input before it says anything, so this cannot block for good.
    child.stdin.take().unwrap().write_all(input).unwrap();
    ended(child.wait_with_output().unwrap())
}

/// Waits for the end of one that was started.
pub(crate) fn ended_of(child: std::process::Child) -> Ended {
    ended(child.wait_with_output().unwrap())
}

fn ended(output: std::process::Output) -> Ended {
    Ended {
        code: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `send` of these sources to an endpoint.
pub(crate) fn send_to(url: &str, sources: &[impl AsRef<Path>]) -> Command {
    let mut command = agno_otel(["send", "--json", "--endpoint", url]);
    command.args(sources.iter().map(AsRef::as_ref));
    command
}

/// `send` of these sources to a file that nobody reads: all of the work and no network.
pub(crate) fn send_nowhere<A: AsRef<OsStr>>(sources: impl IntoIterator<Item = A>) -> Command {
    let mut command = agno_otel(["send", "--json", "--to", "otlp-json:/dev/null"]);
    command.args(sources);
    command
}

/// The summary of sending these sources.
#[track_caller]
pub(crate) fn summary_of(sources: &[impl AsRef<Path>]) -> Value {
    run(&mut send_nowhere(sources.iter().map(AsRef::as_ref))).expect_code(0).summary()
}

/// Every source among the fixtures that this version reads: databases, `JsonDb` folders, files of runs.
pub(crate) fn every_fixture() -> Vec<PathBuf> {
    let folders = ["agno/2.0.2", "agno/2.5.17", "agno/3.1.10"].map(str::to_owned).into_iter();
    let generated =
        ["2.4.8", "2.5.17", "2.9.0", "3.0.0", "3.1.10"].map(|version| format!("generated/{version}"));
    let mut sources: Vec<PathBuf> = folders
        .chain(generated)
        .flat_map(|folder| std::fs::read_dir(super::fixtures().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.to_string_lossy();
            [".db", ".jsondb", ".run.json", ".runs.json"].iter().any(|end| name.ends_with(end))
        })
        .collect();
    sources.sort();
    assert!(sources.len() > 400, "fixtures are missing: {}", sources.len());
    sources
}

/// The SQL of a change to a copy of a fixture's database; returns the copy.
pub(crate) fn changed_copy(fixture: &str, folder: &Path, sql: &str) -> PathBuf {
    let copy = folder.join(Path::new(fixture).file_name().unwrap());
    std::fs::copy(super::fixtures().join(fixture), &copy).unwrap();
    rusqlite::Connection::open(&copy).unwrap().execute_batch(sql).unwrap();
    copy
}

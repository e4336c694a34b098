//! What `--version` says of how this was built. It works without git, and runs again only when something has changed.

use std::path::Path;
use std::process::Command;

/// The commit, for who builds where there is no clone: in a container.
const COMMIT: &str = "AGNO_OTEL_COMMIT";
/// Where cargo writes the commit of what it packs.
const PACKED: &str = ".cargo_vcs_info.json";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={COMMIT}");
    let rustc = said_by(&variable("RUSTC"), &["--version"]).unwrap_or_default();
    tell("RUSTC", rustc.trim_start_matches("rustc "));
    tell("TARGET", &variable("TARGET"));
    let features = variable("CARGO_CFG_FEATURE");
    let features: Vec<&str> = features.split(',').filter(|name| *name != "default").collect();
    tell("FEATURES", &features.join(", "));
    let given = Some(variable(COMMIT)).filter(|commit| !commit.is_empty());
    tell("COMMIT", &given.or_else(packed).or_else(cloned).unwrap_or_default());
}

/// Makes it a variable for `env!`.
fn tell(name: &str, value: &str) {
    println!("cargo::rustc-env=AGNO_OTEL_BUILD_{name}={value}");
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The commit this was packed from.
fn packed() -> Option<String> {
    let text = std::fs::read_to_string(PACKED).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// The commit of the clone this is. Only for a release: anything else would be built again after every commit.
fn cloned() -> Option<String> {
    if variable("PROFILE") != "release" {
        return None;
    }
    // A folder within somebody else's clone has a commit that is not ours.
    let top = said_by("git", &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(".").canonicalize().ok()? {
        return None;
    }
    for watched in
        [said_by("git", &["rev-parse", "--git-path", "logs/HEAD"])?, "src".into(), "Cargo.lock".into()]
    {
        // What is not there would be missed at every build.
        if Path::new(&watched).exists() {
            println!("cargo::rerun-if-changed={watched}");
        }
    }
    let commit = said_by("git", &["rev-parse", "HEAD"])?;
    let changed = said_by("git", &["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}, changed since") })
}

/// What a program says, if it ends well.
fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

//! What was configured, and the state file.

use std::path::Path;

use super::{Findings, Level, fixes};
use crate::cli::run::StateFile;
use crate::cli::status::age;
use crate::cli::{Ended, Said};
use crate::clock::Clock;
use crate::config::{Config, File};
use crate::error::Chain;
use crate::ledger::MAX_VALUES_PER_ATTRIBUTE;
use crate::otel::Mode;
use crate::source::may_write;
use crate::state;
use crate::state::glance::{Glance, Window};

/// Less room than this is soon used up by what waits for an endpoint.
const LITTLE_ROOM_BYTES: u64 = 256 * 1024 * 1024;
/// Metrics that `run` has not released for this long are late, whatever the interval.
pub(super) const LATE_NS: u64 = 10 * 60 * 1_000_000_000;

/// So many values of one attribute are near the cap.
const MANY_VALUES: u64 = MAX_VALUES_PER_ATTRIBUTE as u64 * 8 / 10;

const CONFIG: &str = "config";
const STATE: &str = "state";

pub(super) fn config(findings: &mut Findings, file: &File) {
    // A file that is wrong ended the command before.
    match file.path_read() {
        Some(path) => findings.fine(CONFIG, format!("{} was read", path.display())),
        None => findings.fine(CONFIG, "no file is named; flags, variables and defaults hold"),
    }
    if let Err(error) = crate::cli::environment::expect_utf8() {
        findings.add(Level::Problem(Ended::Misconfigured), CONFIG, error.to_string(), "");
    }
}

pub(super) fn content(findings: &mut Findings, said: Said, config: Config<'_>) {
    let settings = match said.settings(config) {
        Ok(settings) => settings,
        Err(error) => {
            findings.add(Level::Problem(Ended::Misconfigured), "content", Chain(&error).to_string(), "");
            return;
        }
    };
    let what = match settings.content.mode() {
        Mode::None => "no prompts, answers, arguments or results are sent",
        Mode::Masked => "content is sent masked: lengths, and short hashes of long texts",
        Mode::Full => "prompts, answers, arguments, results and error texts are sent",
    };
    let user = if settings.user_id { "; user.id is sent" } else { "; user.id is not sent" };
    findings.fine("content", format!("{what}{user}"));
}

/// Looks at the state file; returns what it holds.
pub(super) fn state(findings: &mut Findings, named: &StateFile, file: &File) -> Option<Glance> {
    let path = match named.path(file) {
        Ok(path) => path,
        Err(error) => {
            findings.add(Level::Problem(Ended::Misconfigured), STATE, error.to_string(), "");
            return None;
        }
    };
    room(findings, &path);
    if !path.exists() {
        let what = format!("{} is not there yet; run makes it, and counters start at zero", path.display());
        findings.fine(STATE, what);
        return None;
    }
    let looked = Window::open(&path)
        .and_then(|window| Ok((window.glance()?, window.layout()?, window.is_behind()?, window.values()?)));
    let (glance, (layout, newest), is_behind, values) = match looked {
        Ok(looked) => looked,
        Err(error) => {
            findings.add(Level::Problem(Ended::StateAmiss), STATE, Chain(&error).to_string(), "");
            return None;
        }
    };
    let of = format!("{}: layout {layout} of {newest}, instance {}", path.display(), glance.instance_id);
    findings.fine(
        STATE,
        format!("{of}, {} runs known, history among them; {} series", glance.runs, glance.series),
    );
    if is_behind {
        findings.note(
            STATE,
            "it is older than what was sent: run will start counters anew under another service.instance.id",
            "put the newest copy back, if there is one",
        );
    }
    process(findings, &path, &glance);
    outbox(findings, &glance, file.sections.run.outbox_limit_bytes);
    labels(findings, &values);
    Some(glance)
}

/// Whether there is room, and whether we may use it.
fn room(findings: &mut Findings, path: &Path) {
    // What is not there yet is made in the first folder that is.
    let there = path
        .ancestors()
        .skip(1)
        .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let Some(folder) = there.into_iter().find(|folder| folder.is_dir()) else { return };
    if !may_write(folder) || path.exists() && !may_write(path) {
        let what = format!("{} cannot be written by us", path.display());
        findings.add(
            Level::Problem(Ended::StateAmiss),
            STATE,
            what,
            format!("let us write in {}, or name another place with --state", folder.display()),
        );
    }
    let Ok(system) = rustix::fs::statvfs(folder) else { return };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let what = format!("{} MiB are free in {}", free >> 20, folder.display());
    if free < LITTLE_ROOM_BYTES {
        findings.note(STATE, what, "free some; where the disk is full run ends, and loses nothing");
    } else {
        findings.fine(STATE, what);
    }
}

fn process(findings: &mut Findings, path: &Path, glance: &Glance) {
    let now_ns = Clock::System.now_ns();
    let released =
        glance.released_ns.map_or("never".to_owned(), |at_ns| format!("{} ago", age(at_ns, now_ns)));
    let is_late = glance.released_ns.is_none_or(|at_ns| now_ns.saturating_sub(at_ns) > LATE_NS);
    match state::holder(path) {
        Some(process) if is_late => findings.note(
            STATE,
            format!("in use by process {process}, which released metrics {released}"),
            "see what it says on standard error",
        ),
        Some(process) => {
            findings.fine(STATE, format!("in use by process {process}; metrics were released {released}"));
        }
        None => findings.fine(STATE, format!("in use by nobody; metrics were released {released}")),
    }
}

/// How near attributes are to the most values one may have.
fn labels(findings: &mut Findings, values: &[(String, u64)]) {
    const LABELS: &str = "labels";
    let of = |(name, count): &(String, u64)| {
        format!("{name} has {count} of at most {MAX_VALUES_PER_ATTRIBUTE} values")
    };
    let many: Vec<&(String, u64)> = values.iter().filter(|(_, count)| *count >= MANY_VALUES).collect();
    for attribute in &many {
        findings.note(LABELS, of(attribute), fixes::MANY_VALUES);
    }
    if let (true, Some(most)) = (many.is_empty(), values.iter().max_by_key(|(_, count)| *count)) {
        findings.fine(LABELS, of(most));
    }
}

fn outbox(findings: &mut Findings, glance: &Glance, limit: u64) {
    let (waiting, refused) = (glance.outbox, glance.dead_letters);
    let kept = waiting.bytes.saturating_add(refused.bytes);
    let what = format!(
        "{} requests wait, {} were refused: {kept} of {limit} bytes",
        waiting.requests, refused.requests
    );
    if kept >= limit {
        let fix = "make the endpoint take them, or agno-otel dead-letters drop; sources are read no further until then";
        findings.add(Level::Problem(Ended::StateAmiss), "outbox", what, fix);
    } else if refused.requests > 0 {
        findings.note(
            "outbox",
            what,
            "agno-otel dead-letters list says why; retry sends them again, drop forgets them",
        );
    } else {
        findings.fine("outbox", what);
    }
}

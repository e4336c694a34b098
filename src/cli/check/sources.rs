//! Each source: whether it can be read, what is in it, whose clock it was written by.

use super::{Findings, LONGEST, Level};
use crate::cli::status::age;
use crate::cli::{Ended, Sources};
use crate::clock::Clock;
use crate::config::{File, when};
use crate::error::Chain;
use crate::source::inspect::{Found, inspect};
use crate::source::{self, Location, Tables};

pub(super) async fn check(findings: &mut Findings, sources: Sources, file: &File) {
    let sources = match sources.or_those_of(file) {
        Ok(sources) => sources,
        Err(error) => {
            findings.add(Level::Problem(Ended::Misconfigured), "source", error.to_string(), "");
            return;
        }
    };
    for sources in &sources {
        let tables = Tables { sessions: sources.sessions_table.clone(), runs: sources.runs_table.clone() };
        for path in &sources.paths {
            let location = Location::of(path);
            let about = format!("source {}", location.name().display());
            match look(location, tables.clone()).await {
                Some(Ok(found)) => tell(findings, &about, &found),
                Some(Err(error)) => {
                    // SQLite's words and the system's are causes; what helps is in ours.
                    let what = Chain(&error).to_string();
                    findings.add(Level::Problem(Ended::SourceAmiss), &about, what, fix(&error));
                }
                None => findings.note(
                    &about,
                    format!("can be read, but not within {LONGEST:?}"),
                    "it is large, or its server is busy; run reads it all the same",
                ),
            }
        }
    }
}

/// Reads on a thread of its own, which is left alone where it takes too long.
async fn look(location: Location, tables: Tables) -> Option<Result<Found, source::Error>> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let looking = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        tell.send(runtime.block_on(inspect(&location, &tables))).ok()
    };
    std::thread::Builder::new().name("source".to_owned()).spawn(looking).ok()?;
    tokio::time::timeout(LONGEST, told).await.ok()?.ok()
}

fn fix(error: &source::Error) -> &'static str {
    match error {
        source::Error::Read { .. } => {
            "give another path, or let us read it; run waits for one that is not there yet"
        }
        source::Error::NotAgno { .. } => {
            "give Agno's database, or name its tables with --sessions-table, --runs-table"
        }
        _ => "",
    }
}

fn tell(findings: &mut Findings, about: &str, found: &Found) {
    let parts: Vec<String> =
        found.parts.iter().map(|part| format!("{} {} in {}", part.count, part.what, part.name)).collect();
    if !found.layout.is_empty() {
        let colon = if parts.is_empty() { "" } else { ": " };
        findings.fine(about, format!("{}{colon}{}", found.layout, parts.join(", ")));
    }
    for (oddity, count) in found.oddities.iter().filter(|(_, count)| *count > 0) {
        findings.note(about, format!("{count} × {}: {}", oddity.as_str(), oddity.meaning()), "");
    }
    let now_ns = Clock::System.now_ns();
    if let Some(newest_ns) = found.newest_ns {
        if newest_ns > now_ns.saturating_add(super::SAME_CLOCK_NS) {
            let ahead_s = (newest_ns - now_ns) / 1_000_000_000;
            findings.note(
                about,
                format!("its newest is from {}, {ahead_s} s ahead of our clock", when::text(newest_ns)),
                "let NTP set the clocks of the application and of this machine",
            );
        } else {
            findings.fine(
                about,
                format!("its newest is from {}, {} ago", when::text(newest_ns), age(newest_ns, now_ns)),
            );
        }
    }
    if let Some(clock_ns) = found.clock_ns {
        findings.clock(about, "its server's clock", clock_ns, now_ns);
    }
    for remark in &found.remarks {
        let level = if remark.fix.is_empty() { Level::Fine } else { Level::Note };
        findings.add(level, about, remark.what.clone(), remark.fix.clone());
    }
    if let Some(counting) = found.counting {
        findings.fine(
            about,
            format!("its rows were counted in {} ms; a look takes about as long", counting.as_millis()),
        );
    }
}

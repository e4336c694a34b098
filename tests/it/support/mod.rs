//! What the tests share: fixtures, their provider's records, and a ledger's sums.

pub(crate) mod calls;
pub(crate) mod canaries;
pub(crate) mod client;
pub(crate) mod invariants;
pub(crate) mod mutation;
pub(crate) mod points;
pub(crate) mod program;
pub(crate) mod receiver;
pub(crate) mod runs;
pub(crate) mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agno_otel::framework::{Keep, Oddities};
use agno_otel::model::tokens::CLASSES;
use agno_otel::otel::names::{self, Metric};
use agno_otel::source::{self, Location, Tables};
use agno_otel::{Gathered, Intake, Ledger, Record, Settings};

/// When the tests' records are received: later than any of them was written.
pub(crate) const RECEIVED_NS: u64 = 1_800_000_000_000_000_000;

/// The folder of fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// One case: a name, where its runs are, and what its provider says.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// `3.1.10/tools_multi`, or `generated/3.1.10/fork_team`.
    pub(crate) name: String,
    /// Database, `JsonDb` folder or run file.
    pub(crate) source: PathBuf,
    /// The provider's own record.
    pub(crate) calls: PathBuf,
}

/// Every case that has a provider's record, in the order of names.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for folder in ["agno/2.0.2", "agno/2.5.17", "agno/3.1.10"] {
        cases.extend(cases_in(folder, folder.trim_start_matches("agno/")));
    }
    for version in ["2.4.8", "2.5.17", "2.9.0", "3.0.0", "3.1.10"] {
        let folder = format!("generated/{version}");
        cases.extend(cases_in(&folder, &folder));
    }
    cases
}

fn cases_in(folder: &str, prefix: &str) -> Vec<Case> {
    let folder = fixtures().join(folder);
    let mut cases: Vec<Case> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| {
            let calls = entry.unwrap().path();
            let case = calls.file_name()?.to_str()?.strip_suffix(".calls.json")?.to_owned();
            let candidates =
                ["db", "jsondb", "run.json", "runs.json"].map(|end| folder.join(format!("{case}.{end}")));
            let source = candidates.into_iter().find(|path| path.exists())?;
            Some(Case { name: format!("{prefix}/{case}"), source, calls })
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// Reads sources as `send` does.
pub(crate) fn gather(paths: &[&Path]) -> Gathered {
    gather_records(&records(paths).0, Oddities::default())
}

/// Reads sources as `send --content` does.
pub(crate) fn gather_content(paths: &[&Path]) -> Gathered {
    let (records, oddities) = records(paths);
    let mut intake = Intake::keeping(Keep::Content);
    intake.oddities = oddities;
    for record in &records {
        intake.accept(record);
    }
    intake.finish(RECEIVED_NS)
}

/// The records of sources, and what was odd about the sources themselves.
pub(crate) fn records(paths: &[&Path]) -> (Vec<Record>, Oddities) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut records = Vec::new();
    let mut oddities = Oddities::default();
    for path in paths {
        let mut accept = |_, record| records.push(record);
        let found =
            runtime.block_on(source::read(&Location::of(path), &Tables::default(), &mut accept)).unwrap();
        oddities.merge(&found.oddities);
    }
    (records, oddities)
}

pub(crate) fn gather_records(records: &[Record], oddities: Oddities) -> Gathered {
    let mut intake = Intake::default();
    intake.oddities = oddities;
    for record in records {
        intake.accept(record);
    }
    intake.finish(RECEIVED_NS)
}

/// Tokens by class.
pub(crate) type Classes = BTreeMap<&'static str, u64>;

/// What `agno.token.usage` says of everything gathered, by class.
pub(crate) fn counted(gathered: &Gathered) -> Classes {
    let mut ledger = Ledger::default();
    gathered.count(&mut ledger, Settings::default());
    classes(&ledger, &names::TOKEN_USAGE)
}

/// A ledger's tokens by class.
pub(crate) fn classes(ledger: &Ledger, metric: &'static Metric) -> Classes {
    let mut sums: Classes = CLASSES.into_iter().map(|class| (class.as_str(), 0)).collect();
    for (key, value) in ledger.counters(metric) {
        let class = key
            .attributes
            .iter()
            .find(|(name, _)| *name == names::TOKEN_CLASS)
            .map(|(_, class)| class.as_str());
        if let Some((_, sum)) = sums.iter_mut().find(|(name, _)| Some(**name) == class) {
            *sum += value;
        }
    }
    sums
}

//! An alert, and how Prometheus' file says it.

use std::fmt::Write as _;

use super::super::Setup;
use super::super::search::Search;

/// An alert looks no further back than this where it says what to search.
const LOOKBACK: &str = "1h";

pub(super) struct Alert {
    pub(super) name: &'static str,
    pub(super) expression: String,
    /// How long it must hold; empty for at once.
    pub(super) hold: &'static str,
    pub(super) severity: &'static str,
    pub(super) summary: String,
    pub(super) description: String,
    pub(super) search: Found,
}

/// How the runs are found, or what is amiss.
pub(super) enum Found {
    Runs(Search),
    /// By a command.
    By(&'static str),
}

pub(super) fn rule(text: &mut String, alert: &Alert, setup: &Setup) {
    writeln!(text, "      - alert: {}", alert.name).ok();
    block(text, "        expr", &alert.expression);
    if !alert.hold.is_empty() {
        writeln!(text, "        for: {}", alert.hold).ok();
    }
    writeln!(text, "        labels: {{severity: {}}}\n        annotations:", alert.severity).ok();
    let mut annotations =
        vec![("summary", alert.summary.clone()), ("description", alert.description.clone())];
    match &alert.search {
        Found::Runs(search) => {
            annotations.push(("search", search.words()));
            annotations.push(("jaeger", search.url(&setup.jaeger, LOOKBACK)));
        }
        Found::By(command) => annotations.push(("search", (*command).to_owned())),
    }
    for (name, value) in annotations {
        writeln!(text, "          {name}: '{}'", value.replace('\'', "''")).ok();
    }
}

/// A key with an expression as a block of text.
pub(super) fn block(text: &mut String, key: &str, value: &str) {
    writeln!(text, "{key}: |-").ok();
    for line in value.lines() {
        writeln!(text, "          {line}").ok();
    }
}

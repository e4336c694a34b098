//! What the terminal shows, and how wide it is.

use std::borrow::Cow;
use std::io::{self, Write as _};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::export::print::{plain, plain_json};

pub(super) fn spinner() -> ProgressBar {
    let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    progress.set_style(
        ProgressStyle::with_template("{spinner} {msg}: {pos} runs")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    progress
}

/// Columns that the variable COLUMNS says, else those of the terminal that standard output is, if it is one.
pub(super) fn columns() -> Option<usize> {
    let said = super::variable("COLUMNS").and_then(|text| text.trim().parse().ok());
    if let Some(columns) = said.filter(|columns| *columns > 0) {
        return Some(columns);
    }
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(columns)).filter(|columns| *columns > 0)
}

/// Text whose lines are ours; what stands in them may come from anywhere.
pub(super) fn write_out(text: &str) -> anyhow::Result<()> {
    write_either(text, false)
}

/// Such text, or a document of JSON.
pub(super) fn write_either(text: &str, is_json: bool) -> anyhow::Result<()> {
    write_painted(&fit(text, is_json))
}

/// Such text, or a document of JSON, as it may be shown.
pub(super) fn fit(text: &str, is_json: bool) -> String {
    if is_json {
        return plain_json(text);
    }
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

/// A word of a command that is shown to be typed, as a shell takes it.
pub(super) fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-:@+".contains(letter);
    if word.chars().all(is_plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")).into() }
}

/// Text that is fit for a terminal, colours and all.
pub(super) fn write_painted(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_to_be_typed_runs_nothing_else() {
        let word = "it's $(x).db";
        let script = format!("printf %s {}", quoted(word));
        let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), word);
        assert_eq!(quoted("data/agno-3.db"), "data/agno-3.db");
    }
}

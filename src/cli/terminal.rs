//! What the terminal shows, and how wide it is.

use std::borrow::Cow;
use std::io::{self, Write as _};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::export::print::plain;

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
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(plain).collect();
    write_painted(&lines.join("\n"))
}

/// Text that is fit for a terminal, colours and all.
pub(super) fn write_painted(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write standard output")
}

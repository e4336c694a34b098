//! One run: what it was and what it spent, then its waterfall.

use super::rows::RunRow;
use super::tables::{Page, head, quiet, status};
use crate::cli::summary::{counted, of_cost, of_unpriced};
use crate::config::when;
use crate::export::print::{Tone, duration, grouped, waterfall};
use crate::model::timeline::Timing;
use crate::model::tokens::CLASSES;
use crate::otel::Line;
use crate::otel::content::Gist;
use crate::otel::ids::hex;

/// A run, with everything it started.
#[derive(Debug)]
pub(super) struct OneRun {
    pub(super) row: RunRow,
    /// The run that nobody started, where this is another.
    pub(super) root_run_id: Option<String>,
    pub(super) lines: Vec<Line>,
    pub(super) gist: Gist,
    /// Its user, where that may be said.
    pub(super) user_id: Option<String>,
}

pub(super) fn text(one: &OneRun, page: Page<'_>) -> String {
    let is_bad = |label: &str| label == "error" || label == "status" && one.row.figures.errors > 0;
    let tone = |label: &str| if is_bad(label) { Tone::Bad } else { Tone::Usual };
    let head = head(&lines_of(one), page, tone);
    let drawn = waterfall(&one.lines, page.paint, page.columns);
    let mut legend = Vec::new();
    if one.lines.iter().any(|line| line.coarse) {
        legend.push("~ of a duration: known to the second only".to_owned());
    }
    if one.lines.iter().any(|line| line.is_call && line.first_ns.is_some()) {
        legend.push("▒ until a model's first token".to_owned());
    }
    if one.lines.iter().any(|line| line.spent.unpriced) {
        legend.push("? of a cost: no price is known".to_owned());
    }
    if one.lines.iter().any(|line| line.spent.unpriced && line.spent.nano_usd.is_some()) {
        legend.push("+ of a cost: and what has no known price".to_owned());
    }
    let legend = if legend.is_empty() { String::new() } else { format!("\n{}", quiet(&legend, page)) };
    format!("{head}\n{drawn}{legend}")
}

/// Lines of what it was, each with its label.
fn lines_of(one: &OneRun) -> Vec<(&'static str, String)> {
    let OneRun { row, root_run_id, gist, user_id, .. } = one;
    let figures = &row.figures;
    let mut lines = vec![("run", row.run_id().to_owned())];
    let mut line = |label, value: String| {
        if !value.is_empty() {
            lines.push((label, value));
        }
    };
    let trace_id = hex(&row.trace_id);
    line("trace", if row.run_id().replace('-', "") == trace_id { String::new() } else { trace_id });
    line("part of", root_run_id.as_ref().map(|id| format!("run {id}")).unwrap_or_default());
    line(row.kind.as_str(), row.label().to_owned());
    line("session", row.session_id.clone().unwrap_or_default());
    line("user", user_id.clone().unwrap_or_default());
    line("status", status(row));
    line("models", row.models.iter().map(String::as_str).collect::<Vec<&str>>().join(", "));
    let precision = if row.timing == Timing::Coarse { ", times known to the second only" } else { "" };
    let first = row.first_ns.map(|first| format!(", first token after {}", duration(first)));
    let (began, length) = (when::text(row.start_ns), duration(row.length_ns()));
    line("when", format!("{began}, {length}{}{precision}", first.unwrap_or_default()));
    let did = [(figures.calls, "model call"), (figures.tools, "tool call"), (figures.runs - 1, "run")];
    let did = did.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| match what {
        "run" => format!("{} below it", counted(count, what)),
        _ => counted(count, what),
    });
    line("did", did.collect::<Vec<String>>().join(", "));
    let tokens = &figures.tokens;
    let classes = CLASSES.into_iter().filter(|class| tokens.of(*class) > 0);
    let classes =
        classes.map(|class| format!("{} {}", class.as_str().replace('_', " "), grouped(tokens.of(class))));
    let classes = classes.collect::<Vec<String>>().join(" + ");
    let total = if classes.is_empty() { "none recorded".to_owned() } else { grouped(tokens.total()) + " = " };
    line("tokens", total + &classes);
    line("cost", figures.cost.as_ref().map(of_cost).unwrap_or_default());
    if !figures.unpriced.is_empty() {
        line("unpriced", of_unpriced(&figures.unpriced));
    }
    line("input", gist.input.clone());
    line("output", gist.output.clone());
    line("error", gist.error.clone());
    lines
}

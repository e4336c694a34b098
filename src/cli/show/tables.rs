//! Sessions and runs as tables.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::ids::{Ids, NO_SESSION};
use super::rows::{Figures, Newest, RunRow, SessionRow, Totals};
use crate::cli::summary::{counted, of_cost, of_unpriced};
use crate::config::when;
use crate::export::print::{CLASS_HEADINGS, Cell, Column, Paint, Table, Tone, duration, grouped, money};
use crate::model::RunStatus;
use crate::model::timeline::Timing;
use crate::model::tokens::{CLASSES, Tokens};

/// Columns of names that are kept as long as there is anything else to leave out.
const NAME_COLUMNS: usize = 10;
/// The same of ids, where they are no UUIDs.
const ID_COLUMNS: usize = 12;
/// The same of a status.
const STATUS_COLUMNS: usize = 9;
/// So many names stand in a cell.
const FEW_NAMES: usize = 3;
/// Columns of the labels above a table.
const LABEL_COLUMNS: usize = 8;
/// Lines that a value above a table is wrapped to; what is longer is cut.
const MOST_LINES: usize = 3;
/// Letters of `2026-11-24`, of `2026-11-24 09:30`, and of `2026-11-24 09:30:00`.
const DATE: usize = 10;
const MINUTE: usize = 16;
const SECOND: usize = 19;

/// How texts are made, for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'p> {
    pub(super) paint: Paint,
    pub(super) columns: Option<usize>,
    pub(super) ids: &'p Ids,
}

fn of(text: impl AsRef<str>) -> Cell<'static> {
    Cell::of(text.as_ref())
}

fn row_of(cells: impl IntoIterator<Item = Cell<'static>>, tone: Tone) -> Vec<Cell<'static>> {
    cells.into_iter().map(|cell| cell.toned(tone)).collect()
}

/// A time in UTC, from one of its letters to another.
fn utc(at_ns: u64, from: usize, to: usize) -> String {
    let text = when::text(at_ns).replace('T', " ");
    text.get(from..to).unwrap_or_default().to_owned()
}

/// Some of these names, and how many more there are.
fn few(names: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = names.iter().map(String::as_str).take(FEW_NAMES).collect();
    let more = names.len().saturating_sub(FEW_NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

fn cost(figures: &Figures) -> String {
    let estimate = figures.cost.is_some_and(|cost| cost.is_estimate);
    money(figures.cost.map(|cost| cost.nano_usd), estimate, !figures.unpriced.is_empty())
}

fn classes(tokens: &Tokens) -> impl Iterator<Item = Cell<'static>> {
    let count = |count: u64| if count == 0 { String::new() } else { grouped(count) };
    CLASSES.into_iter().map(move |class| of(count(tokens.of(class))))
}

/// Where a run stands, and how much failed in it.
pub(super) fn status(run: &RunRow) -> String {
    let status = run.status.as_str().to_lowercase();
    let own = u64::from(run.error_type.is_some());
    let within = run.figures.errors.saturating_sub(own);
    let known = run.error_type.as_deref().filter(|error| *error != "_OTHER");
    match (&run.status, known) {
        (_, Some(error)) => format!("{status}: {error}"),
        // What matters is first, where a column is narrow.
        (RunStatus::Completed, None) if within > 0 => format!("{} within", counted(within, "error")),
        _ if within == 0 => status,
        _ => format!("{status}, {} within", counted(within, "error")),
    }
}

fn tone(run: &RunRow) -> Tone {
    if run.figures.errors > 0 { Tone::Bad } else { Tone::Usual }
}

fn length(run: &RunRow) -> String {
    let mark = if run.timing == Timing::Coarse { "~" } else { "" };
    format!("{mark}{}", duration(run.length_ns()))
}

pub(super) fn session_id(id: Option<&str>) -> &str {
    id.unwrap_or(NO_SESSION)
}

/// Sessions, the newest first, and what all of them spent.
pub(super) fn sessions(rows: &Newest<SessionRow>, totals: &Totals, page: Page<'_>) -> String {
    let mut table = Table::of(vec![
        Column::text().cut_to(ID_COLUMNS),
        Column::text().cut_to(NAME_COLUMNS).gives_way(1),
        Column::number().gives_way(3),
        Column::text().gives_way(2),
        Column::number().gives_way(4),
        Column::number(),
        Column::number(),
        Column::text().cut_to(STATUS_COLUMNS),
    ]);
    let heading = ["session", "name", "runs", "last active, UTC", "length", "tokens", "cost", ""];
    table.row(row_of(heading.map(of), Tone::Quiet));
    for row in rows.oldest_first().rev() {
        let tone = if row.figures.errors > 0 { Tone::Bad } else { Tone::Usual };
        table.row(vec![
            of(page.ids.shown(session_id(row.id.as_deref()))),
            of(few(&row.names)),
            of(grouped(row.runs)),
            of(utc(row.end_ns, 0, MINUTE)),
            of(duration(row.end_ns.saturating_sub(row.start_ns))),
            of(grouped(row.figures.tokens.total())),
            of(cost(&row.figures)),
            of(amiss(row)).toned(tone),
        ]);
    }
    let Totals { sessions, runs, figures } = totals;
    let all = [
        "total".to_owned(),
        counted(*sessions, "session"),
        grouped(*runs),
        String::new(),
        String::new(),
        grouped(figures.tokens.total()),
        cost(figures),
        String::new(),
    ];
    table.row(row_of(all.map(of), Tone::Strong));
    table.text(page.paint, page.columns) + &notes(figures, false, rows.left_out(), "older session", page)
}

/// What somebody should look at.
fn amiss(row: &SessionRow) -> String {
    let count = |count: u64, word: &str| (count > 0).then(|| format!("{count} {word}"));
    let errors = (row.figures.errors > 0).then(|| counted(row.figures.errors, "error"));
    let all = [errors, count(row.paused, "paused"), count(row.running, "running")];
    all.into_iter().flatten().collect::<Vec<String>>().join(", ")
}

/// A session: its runs, the oldest first, and what all of them spent.
pub(super) fn session(row: &SessionRow, runs: &Newest<RunRow>, page: Page<'_>) -> String {
    let date = |at_ns| utc(at_ns, 0, DATE);
    let one_day = date(row.start_ns) == date(row.end_ns);
    let id = row.id.clone().unwrap_or_else(|| "none".to_owned());
    let day = if one_day { format!("{}, ", date(row.start_ns)) } else { String::new() };
    let when = format!("{day}{}, times in UTC", duration(row.end_ns.saturating_sub(row.start_ns)));
    let mut text = head(&[("session", id), ("when", when)], page, |_| Tone::Usual) + "\n";
    let mut table = Table::of(vec![
        Column::text().cut_to(ID_COLUMNS),
        Column::text().gives_way(4),
        Column::text().cut_to(NAME_COLUMNS).gives_way(2),
        Column::text().cut_to(STATUS_COLUMNS),
        Column::number().gives_way(6),
        Column::number().gives_way(7),
        Column::number().gives_way(8),
        Column::number().gives_way(8),
        Column::number().gives_way(8),
        Column::number().gives_way(8),
        Column::number().gives_way(8),
        Column::number(),
        Column::number(),
        Column::number().gives_way(3),
        Column::number().gives_way(1),
    ]);
    let heading = ["run", "began", "name", "status", "calls", "tools"].into_iter().chain(CLASS_HEADINGS);
    let heading = heading.chain(["tokens", "cost", "first", "duration"]);
    table.row(row_of(heading.map(of), Tone::Quiet));
    for run in runs.oldest_first() {
        let figures = &run.figures;
        let from = if one_day { DATE + 1 } else { 0 };
        let mut cells = vec![
            of(page.ids.shown(run.run_id())),
            of(utc(run.start_ns, from, SECOND)),
            of(run.label()),
            of(status(run)).toned(tone(run)),
            of(grouped(figures.calls)),
            of(grouped(figures.tools)),
        ];
        cells.extend(classes(&figures.tokens));
        cells.push(of(grouped(figures.tokens.total())));
        cells.push(of(cost(figures)));
        cells.push(of(run.first_ns.map(duration).unwrap_or_default()));
        cells.push(of(length(run)));
        table.row(cells);
    }
    let figures = &row.figures;
    let all = ["total".to_owned(), String::new(), counted(row.runs, "run"), String::new()];
    let mut cells: Vec<Cell<'_>> = all.map(of).into();
    cells.extend([grouped(figures.calls), grouped(figures.tools)].map(of));
    cells.extend(classes(&figures.tokens));
    cells.extend([grouped(figures.tokens.total()), cost(figures)].map(of));
    table.row(row_of(cells, Tone::Strong));
    text.push_str(&table.text(page.paint, page.columns));
    let coarse = runs.oldest_first().any(|run| run.timing == Timing::Coarse);
    text + &notes(figures, coarse, runs.left_out(), "earlier run", page)
}

/// Runs of several sessions, the newest first, and what all of them spent.
pub(super) fn runs(rows: &Newest<RunRow>, totals: &Totals, page: Page<'_>) -> String {
    if rows.len() == 0 {
        return "no run answers\n".to_owned();
    }
    let mut table = Table::of(vec![
        Column::text().cut_to(ID_COLUMNS),
        Column::text().cut_to(ID_COLUMNS).gives_way(3),
        Column::text().gives_way(2),
        Column::text().cut_to(NAME_COLUMNS).gives_way(1),
        Column::text().cut_to(NAME_COLUMNS).gives_way(6),
        Column::text().cut_to(STATUS_COLUMNS),
        Column::number(),
        Column::number(),
        Column::number().gives_way(5),
        Column::number().gives_way(4),
    ]);
    let heading =
        ["run", "session", "began, UTC", "name", "models", "status", "tokens", "cost", "first", "duration"];
    table.row(row_of(heading.map(of), Tone::Quiet));
    for run in rows.oldest_first().rev() {
        table.row(vec![
            of(page.ids.shown(run.run_id())),
            of(page.ids.shown(session_id(run.session_id.as_deref()))),
            of(utc(run.start_ns, 0, SECOND)),
            of(run.label()),
            of(few(&run.models)),
            of(status(run)).toned(tone(run)),
            of(grouped(run.figures.tokens.total())),
            of(cost(&run.figures)),
            of(run.first_ns.map(duration).unwrap_or_default()),
            of(length(run)),
        ]);
    }
    let Totals { runs, figures, .. } = totals;
    let all = ["total", &counted(*runs, "run"), "", "", "", ""];
    let mut all: Vec<Cell<'_>> = all.map(of).into();
    all.extend([grouped(figures.tokens.total()), cost(figures)].map(of));
    table.row(row_of(all, Tone::Strong));
    let coarse = rows.oldest_first().any(|run| run.timing == Timing::Coarse);
    table.text(page.paint, page.columns) + &notes(figures, coarse, rows.left_out(), "older run", page)
}

/// What more than one session or run answers to.
pub(super) fn matches(sessions: &Newest<SessionRow>, runs: &Newest<RunRow>, page: Page<'_>) -> String {
    let mut table = Table::of(vec![
        Column::text(),
        Column::text(),
        Column::text().cut_to(ID_COLUMNS).gives_way(3),
        Column::text().cut_to(NAME_COLUMNS).gives_way(2),
        Column::text().gives_way(1),
    ]);
    table.row(row_of(["", "id", "session", "name", "began, UTC"].map(of), Tone::Quiet));
    let at = |start_ns| utc(start_ns, 0, SECOND);
    for row in sessions.oldest_first().rev() {
        let id = page.ids.shown(session_id(row.id.as_deref()));
        table.row(vec![of("session"), of(id), of(""), of(few(&row.names)), of(at(row.start_ns))]);
    }
    let known: Vec<&str> = runs.oldest_first().map(RunRow::run_id).collect();
    for run in runs.oldest_first().rev() {
        let is_alone = known.iter().filter(|id| **id == run.run_id()).count() == 1;
        // An id that was used again is told apart by its trace.
        let trace_id = crate::otel::ids::hex(&run.trace_id);
        let id = if is_alone { page.ids.shown(run.run_id()) } else { page.ids.shown(&trace_id) };
        let session = page.ids.shown(session_id(run.session_id.as_deref()));
        table.row(vec![of("run"), of(id), of(session), of(run.label()), of(at(run.start_ns))]);
    }
    let mut text = table.text(page.paint, page.columns);
    let left_out = sessions.left_out() + runs.left_out();
    if left_out > 0 {
        // Writing to a string cannot fail.
        writeln!(text, "{} left out; --limit shows more", counted(left_out, "other")).ok();
    }
    text
}

/// What is not in the table, and what its marks mean.
fn notes(figures: &Figures, is_coarse: bool, left_out: u64, what: &str, page: Page<'_>) -> String {
    let mut lines = Vec::new();
    if left_out > 0 {
        lines.push(format!("{} left out, but in the total; --limit shows more", counted(left_out, what)));
    }
    if let Some(cost) = &figures.cost {
        lines.push(format!("cost: {}", of_cost(cost)));
    }
    if !figures.unpriced.is_empty() {
        lines.push(format!("unpriced: {}", of_unpriced(&figures.unpriced)));
    }
    if is_coarse {
        lines.push("~ of a duration: known to the second only".to_owned());
    }
    if figures.cost.is_some_and(|cost| cost.is_estimate) {
        lines.push("~ of a cost: estimated".to_owned());
    }
    if figures.cost.is_some() && !figures.unpriced.is_empty() {
        lines.push("+ of a cost: and what has no known price".to_owned());
    }
    if lines.is_empty() { String::new() } else { format!("\n{}", quiet(&lines, page)) }
}

/// Lines above a table, each with its label.
pub(super) fn head(lines: &[(&str, String)], page: Page<'_>, tone: impl Fn(&str) -> Tone) -> String {
    let mut table = Table::of(vec![Column::text(), Column::text().cut_to(0)]);
    table.row(Vec::new());
    for (label, value) in lines {
        let mut shown = *label;
        for value in wrapped(value, page.columns.map(|columns| columns.saturating_sub(LABEL_COLUMNS + 2))) {
            table.row(vec![
                of(format!("{shown:<LABEL_COLUMNS$}")).toned(Tone::Quiet),
                of(value).toned(tone(label)),
            ]);
            shown = "";
        }
    }
    let text = table.text(page.paint, page.columns);
    text.strip_prefix('\n').unwrap_or(&text).to_owned()
}

/// A text as lines that are no wider than so many columns, as far as its words allow; a long one stays one line, which is cut.
fn wrapped(text: &str, columns: Option<usize>) -> Vec<String> {
    if columns.is_none_or(|columns| text.width() > MOST_LINES * columns) {
        return vec![text.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if columns.is_some_and(|columns| line.width() + 1 + word.width() <= columns) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Lines below a table.
pub(super) fn quiet(lines: &[String], page: Page<'_>) -> String {
    let mut table = Table::of(vec![Column::text().cut_to(0)]);
    table.row(Vec::new());
    for line in lines {
        table.row(vec![of(line).toned(Tone::Quiet)]);
    }
    let text = table.text(page.paint, page.columns);
    text.strip_prefix('\n').unwrap_or(&text).to_owned()
}

//! A trace as a waterfall: its tree, when each part ran, and what it spent.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::table::{Cell, Column, Table, Tone};
use super::{Paint, cut, duration, length, money, plain};
use crate::model::tokens::CLASSES;
use crate::otel::Line;

/// Columns of a name that are kept as long as there is anything else to leave out.
const LABEL_COLUMNS: usize = 25;
/// Columns of what is amiss, likewise.
const NOTE_COLUMNS: usize = 8;
/// A text below its line is cut here where there is no terminal.
const TEXT_COLUMNS: usize = 200;
/// An axis narrower than this has no mark in its middle.
const AXIS_COLUMNS: usize = 30;

/// A trace as a waterfall, below a time axis; no wider than so many columns, if that can be.
///
/// Where it is narrow, these are left out in this order: tokens by class, first token, the bar, cost, tokens. Then names are
/// cut, and what is amiss. A `~` before the duration marks times known to the second only.
pub fn waterfall(lines: &[Line], paint: Paint, columns: Option<usize>) -> String {
    let Some(root) = lines.first() else {
        return String::new();
    };
    let (start, end) = (root.start_ns, root.end_ns.max(root.start_ns + 1));
    let of_class = Column::number().gives_way(5);
    let mut columns_of =
        vec![Column::text().cut_to(LABEL_COLUMNS), Column::number(), Column::drawn().gives_way(3)];
    columns_of.extend([of_class; CLASSES.len()]);
    columns_of.extend([1, 2, 4].map(|rank| Column::number().gives_way(rank)));
    columns_of.push(Column::text().cut_to(NOTE_COLUMNS));
    let mut table = Table::of(columns_of);
    let heading = |text: &str| Cell::of(text).toned(Tone::Quiet);
    let mut row = vec![heading(""), heading("duration")];
    row.push(Cell::drawn(move |columns| axis(end - start, columns)).toned(Tone::Quiet));
    row.extend(super::CLASS_HEADINGS.map(heading));
    row.extend(["tokens", "cost", "first", ""].map(heading));
    table.row(row);
    for line in lines {
        table.row(cells(line, start, end));
    }
    let mut text = String::new();
    for (at, drawn) in table.lines(paint, columns).into_iter().enumerate() {
        // Writing to a string cannot fail.
        writeln!(text, "{drawn}").ok();
        let line = at.checked_sub(1).and_then(|at| lines.get(at));
        if let Some(said) = line.and_then(|line| below(line, paint, columns)) {
            writeln!(text, "{said}").ok();
        }
    }
    text
}

fn cells(line: &Line, start: u64, end: u64) -> Vec<Cell<'_>> {
    let tone = |own| if line.failed { Tone::Bad } else { own };
    let figures = if line.is_call { Tone::Usual } else { Tone::Quiet };
    let mut row = vec![
        Cell::of(&line.label).toned(tone(Tone::Usual)),
        Cell::of(&length(line)),
        Cell::drawn(move |columns| bar(line, start, end, columns)).toned(tone(Tone::Bar)),
    ];
    let spent = &line.spent;
    let count = |count| if count == 0 { String::new() } else { super::grouped(count) };
    row.extend(CLASSES.map(|class| Cell::of(&count(spent.tokens.of(class))).toned(figures)));
    row.push(Cell::of(&count(spent.tokens.total())).toned(figures));
    row.push(Cell::of(&money(spent.nano_usd, false, spent.unpriced)).toned(figures));
    row.push(Cell::of(&line.first_ns.map(duration).unwrap_or_default()).toned(figures));
    row.push(Cell::of(&line.notes).toned(tone(Tone::Quiet)));
    row
}

/// Why it failed, in its place in the tree, where that may be said.
fn below(line: &Line, paint: Paint, columns: Option<usize>) -> Option<String> {
    let first = line.error.lines().map(str::trim).find(|text| !text.is_empty())?;
    let text = plain(&line.below).into_owned() + "! " + &plain(first);
    Some(paint.paint(&cut(&text, columns.unwrap_or(TEXT_COLUMNS)), "31"))
}

/// What the columns of bars stand for: from nothing to the whole length.
fn axis(length_ns: u64, columns: usize) -> String {
    let (middle, end) = (duration(length_ns / 2), duration(length_ns));
    let filled = |text: String, to: usize| format!("{text}{}", " ".repeat(to.saturating_sub(text.width())));
    if columns < 2 + end.width() {
        return filled("0".to_owned(), columns);
    }
    let mut text = "0".to_owned();
    if columns >= AXIS_COLUMNS {
        text = filled(text, columns / 2) + &middle;
    }
    filled(text, columns - end.width()) + &end
}

/// When it ran; the beginning, until a model's first token, is lighter.
fn bar(line: &Line, start: u64, end: u64, columns: usize) -> String {
    let columns = columns as u64;
    let column = |at: u64| (at.clamp(start, end) - start).saturating_mul(columns) / (end - start);
    let from = column(line.start_ns).min(columns.saturating_sub(1));
    let to = column(line.end_ns).max(from + 1);
    let waits = line.first_ns.filter(|_| line.is_call);
    let first = waits.map_or(from, |first| column(line.start_ns.saturating_add(first)).min(to - 1));
    let drawn = (0..columns).map(|at| match at {
        _ if at < from || at >= to => '·',
        _ if at < first => '▒',
        _ => '█',
    });
    drawn.collect()
}

//! Tables for terminals: columns that give way where it is narrow, one that stretches, and colours.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::{Paint, cut, plain};

const GAP: &str = "  ";
/// A column that stretches has at least this while other columns can be left out,
const NARROW_COLUMNS: usize = 12;
/// this where there is no terminal,
const USUAL_COLUMNS: usize = 32;
/// and at most this.
const WIDE_COLUMNS: usize = 100;
/// No column is cut below this, unless its line would be too wide.
const LEAST_COLUMNS: usize = 4;

/// A column: how it stands, and what becomes of it where it is narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    is_number: bool,
    /// Zero: it stays. Of the others, the highest is left out first.
    gives_way: u8,
    /// What is wider than this may be cut to it.
    least: usize,
    stretches: bool,
}

impl Column {
    /// Texts, which are never cut.
    pub const fn text() -> Self {
        Self { is_number: false, gives_way: 0, least: usize::MAX, stretches: false }
    }

    /// Numbers: they stand to the right.
    pub const fn number() -> Self {
        Self { is_number: true, ..Self::text() }
    }

    /// What is drawn as wide as there is room.
    pub const fn drawn() -> Self {
        Self { stretches: true, ..Self::text() }
    }

    /// May be cut to so many columns, and if it must be below them.
    #[must_use]
    pub const fn cut_to(self, least: usize) -> Self {
        Self { least, ..self }
    }

    /// Is left out where there is no room, before those of a lower rank and with those of its own.
    #[must_use]
    pub const fn gives_way(self, rank: u8) -> Self {
        Self { gives_way: rank, ..self }
    }
}

/// What a cell is painted as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Usual,
    /// A heading, a total.
    Strong,
    /// What matters less.
    Quiet,
    /// What failed.
    Bad,
    /// A bar.
    Bar,
}

impl Tone {
    fn paint(self, text: &str, paint: Paint) -> String {
        match self {
            _ if text.trim().is_empty() => text.to_owned(),
            Self::Usual => text.to_owned(),
            Self::Strong => paint.paint(text, "1"),
            Self::Quiet => paint.paint(text, "2"),
            Self::Bad => paint.paint(text, "31"),
            Self::Bar => paint.paint(text, "36"),
        }
    }
}

/// Draws a cell so many columns wide.
type Draw<'d> = Box<dyn Fn(usize) -> String + 'd>;

/// A cell.
#[derive(Default)]
pub struct Cell<'d> {
    text: String,
    draw: Option<Draw<'d>>,
    tone: Tone,
}

impl<'d> Cell<'d> {
    /// Text, from anywhere.
    pub fn of(text: &str) -> Self {
        Self { text: plain(text).into_owned(), ..Self::default() }
    }

    /// What is drawn in the column that stretches.
    pub fn drawn(draw: impl Fn(usize) -> String + 'd) -> Self {
        Self { draw: Some(Box::new(draw)), ..Self::default() }
    }

    /// Painted so.
    #[must_use]
    pub fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.draw.is_none()
    }
}

impl std::fmt::Debug for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("text", &self.text).field("tone", &self.tone).finish_non_exhaustive()
    }
}

/// Rows of cells, the first of them the heading.
#[derive(Debug)]
pub struct Table<'d> {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell<'d>>>,
}

impl<'d> Table<'d> {
    /// A table of these columns, with nothing in it.
    pub fn of(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell<'d>>) {
        self.rows.push(cells);
    }

    /// A line for each row, none wider than so many columns. A column with nothing below its heading is left out.
    pub fn lines(&self, paint: Paint, columns: Option<usize>) -> Vec<String> {
        let widths = self.layout(columns);
        self.rows.iter().map(|row| self.line(row, &widths, paint, columns)).collect()
    }

    /// The lines as one text.
    pub fn text(&self, paint: Paint, columns: Option<usize>) -> String {
        let mut text = String::new();
        for line in self.lines(paint, columns) {
            // Writing to a string cannot fail.
            writeln!(text, "{line}").ok();
        }
        text
    }

    /// How wide each column is; those that are left out have no width.
    fn layout(&self, columns: Option<usize>) -> Vec<Option<usize>> {
        let widest = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| cell.text.width()).max().unwrap_or(0)
        };
        let is_used =
            |at: usize| self.rows.iter().skip(1).any(|row| row.get(at).is_some_and(|cell| !cell.is_empty()));
        let natural = |(at, column): (usize, &Column)| {
            is_used(at).then(|| if column.stretches { NARROW_COLUMNS } else { widest(at) })
        };
        let mut widths: Vec<Option<usize>> = self.columns.iter().enumerate().map(natural).collect();
        let stretching = || self.columns.iter().map(|column| column.stretches);
        let Some(columns) = columns else {
            widths.iter_mut().zip(stretching()).filter(|(_, is)| *is).for_each(|(width, _)| {
                *width = width.map(|_| USUAL_COLUMNS);
            });
            return widths;
        };
        self.leave_out(&mut widths, columns);
        self.shrink(&mut widths, columns, |column, width| column.least.min(width));
        self.shrink(&mut widths, columns, |column, width| {
            if column.least == usize::MAX { width } else { LEAST_COLUMNS.min(width) }
        });
        let free = columns.saturating_sub(taken(&widths));
        if let Some((Some(width), _)) = widths.iter_mut().zip(stretching()).find(|(_, is)| *is) {
            *width = (*width + free).min(WIDE_COLUMNS);
        }
        widths
    }

    /// Leaves out columns until the rest fits with all cut as far as they like.
    fn leave_out(&self, widths: &mut [Option<usize>], columns: usize) {
        loop {
            let least: Vec<Option<usize>> = widths
                .iter()
                .zip(&self.columns)
                .map(|(width, column)| width.map(|width| column.least.min(width)))
                .collect();
            if taken(&least) <= columns {
                return;
            }
            let shown = widths.iter().zip(&self.columns).filter(|(width, _)| width.is_some());
            let rank = shown.map(|(_, column)| column.gives_way).max().unwrap_or(0);
            if rank == 0 {
                return;
            }
            let going = widths.iter_mut().zip(&self.columns).filter(|(_, column)| column.gives_way == rank);
            going.for_each(|(width, _)| *width = None);
        }
    }

    /// Takes from the widest columns, a letter at a time, what is too much.
    fn shrink(&self, widths: &mut [Option<usize>], columns: usize, least: impl Fn(&Column, usize) -> usize) {
        for _ in columns..taken(widths) {
            let room = widths.iter_mut().zip(&self.columns).filter_map(|(width, column)| {
                let width = width.as_mut()?;
                (*width > least(column, *width)).then_some(width)
            });
            let Some(width) = room.max() else { return };
            *width -= 1;
        }
    }

    fn line(
        &self,
        row: &[Cell<'_>],
        widths: &[Option<usize>],
        paint: Paint,
        columns: Option<usize>,
    ) -> String {
        // How much room there is, and how much of what was not written yet is blank.
        let (mut left, mut blank) = (columns.unwrap_or(usize::MAX), 0);
        let mut line = String::new();
        for ((column, width), cell) in self.columns.iter().zip(widths).zip(row) {
            let Some(width) = *width else { continue };
            let text = cell.draw.as_ref().map_or_else(|| cell.text.clone(), |draw| draw(width));
            let text = cut(&text, width.min(left.saturating_sub(blank)));
            if text.is_empty() {
                blank += width + GAP.len();
                continue;
            }
            let missing = width.saturating_sub(text.width());
            let (before, after) = if column.is_number { (missing, 0) } else { (0, missing) };
            let before = (blank + before).min(left.saturating_sub(text.width()));
            line.push_str(&" ".repeat(before));
            line.push_str(&cell.tone.paint(&text, paint));
            left = left.saturating_sub(before + text.width());
            blank = after + GAP.len();
        }
        line
    }
}

/// The columns of all that are shown, with the gaps between them.
fn taken(widths: &[Option<usize>]) -> usize {
    let shown = widths.iter().flatten();
    shown.clone().sum::<usize>() + GAP.len() * shown.count().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(rows: &[Vec<String>]) -> Table<'static> {
        let mut table = Table::of(vec![
            Column::text().cut_to(8),
            Column::number().gives_way(1),
            Column::drawn().gives_way(2),
            Column::number().gives_way(3),
            Column::number().gives_way(3),
            Column::text().cut_to(6),
        ]);
        for row in rows {
            let mut cells: Vec<Cell<'static>> = row.iter().map(|text| Cell::of(text)).collect();
            cells.insert(2, Cell::drawn(|columns| "#".repeat(columns)));
            table.row(cells);
        }
        table
    }

    fn row(cells: [&str; 5]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn columns_give_way_in_their_order_and_together_where_they_have_one_rank() {
        let table = table(&[
            row(["name", "1", "in", "out", ""]),
            row(["a name that is long", "22", "333", "4444", "note"]),
        ]);
        let shown = |columns| table.lines(Paint::Plain, columns).remove(1);
        assert_eq!(
            shown(None),
            format!("a name that is long  22  {}  333  4444  note", "#".repeat(USUAL_COLUMNS))
        );
        assert_eq!(shown(Some(63)), format!("a name that is long  22  {}  333  4444  note", "#".repeat(21)));
        assert_eq!(shown(Some(44)), "a name t…  22  ############  333  4444  note");
        assert_eq!(shown(Some(42)), "a name that is lo…  22  ############  note");
        assert_eq!(shown(Some(32)), "a name …  22  ############  note");
        assert_eq!(shown(Some(31)), "a name that is long  22  note");
        assert_eq!(shown(Some(17)), "a name tha…  note");
        assert_eq!(shown(Some(9)), "a n…  no…");
    }

    #[test]
    fn a_column_with_nothing_below_its_heading_is_left_out() {
        let table = table(&[
            row(["name", "1", "in", "out", "note"]),
            row(["研究者", "", "1", "", ""]),
            row(["x", "", "22", "", ""]),
        ]);
        assert_eq!(
            table.lines(Paint::Plain, Some(30)),
            [
                "name    ##################  in",
                "研究者  ##################   1",
                "x       ##################  22",
            ]
        );
    }

    #[test]
    fn paint_takes_no_room() {
        let mut table = Table::of(vec![Column::text(), Column::number()]);
        for (tone, text) in [(Tone::Strong, "a"), (Tone::Bad, "b")] {
            table.row(vec![Cell::of(text).toned(tone), Cell::of("1")]);
        }
        assert_eq!(table.lines(Paint::Ansi, Some(4)), ["\u{1b}[1ma\u{1b}[0m  1", "\u{1b}[31mb\u{1b}[0m  1"]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked_for(
            cells in proptest::collection::vec(proptest::collection::vec("(\\PC|[\\x00-\\x1f研🦀]){0,20}", 5), 1..4),
            columns in 1_usize..120,
        ) {
            for line in table(&cells).lines(Paint::Plain, Some(columns)) {
                prop_assert!(line.width() <= columns, "{columns}: {line}");
            }
        }
    }
}

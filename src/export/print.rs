//! A trace as text: for `show`, for `demo`, and for every snapshot test.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::otel::Line;

/// Columns of the bar that shows when a span ran, where there is room.
const BAR_COLUMNS: usize = 32;
/// A bar narrower than this says nothing, and is left out.
const MIN_BAR_COLUMNS: usize = 8;
/// A label wider than this is cut in the waterfall.
const MAX_LABEL_COLUMNS: usize = 60;
/// A label is not cut below this.
const MIN_LABEL_COLUMNS: usize = 20;
const DURATION_COLUMNS: usize = 9;
const GAP: &str = "  ";

/// Paints parts of a line; without colour it changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    #[default]
    Plain,
    /// ANSI colours, for terminals.
    Ansi,
}

impl Paint {
    fn paint(self, text: &str, code: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

/// A trace as a waterfall: name, duration, when it ran, what it spent; no wider than so many columns, if that can be.
///
/// A `~` before the duration marks times known to the second only.
pub fn waterfall(lines: &[Line], paint: Paint, columns: Option<usize>) -> String {
    let Some(root) = lines.first() else {
        return String::new();
    };
    let (start, end) = (root.start_ns, root.end_ns.max(root.start_ns + 1));
    let shown: Vec<(&Line, String, String)> = lines
        .iter()
        .map(|line| (line, plain(&line.label).into_owned(), plain(&line.figures).into_owned()))
        .collect();
    let widest = |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| text.width()).max().unwrap_or(0);
    let label_columns = widest(&mut shown.iter().map(|(_, label, _)| label));
    let layout = Layout::of(label_columns, widest(&mut shown.iter().map(|(_, _, figures)| figures)), columns);
    let mut text = String::new();
    for (line, label, figures) in shown {
        let color = |own| if line.failed { "31" } else { own };
        let mut parts = vec![padded(&label, layout.label), format!("{:>DURATION_COLUMNS$}", length(line))];
        if layout.bar > 0 {
            parts.push(paint.paint(&bar(line, start, end, layout.bar), color("36")));
        }
        if !figures.is_empty() && layout.figures > 0 {
            parts.push(paint.paint(&cut(&figures, layout.figures), color("2")));
        }
        // Writing to a string cannot fail.
        writeln!(text, "{}", parts.join(GAP)).ok();
    }
    text
}

/// Columns of each part of a line.
struct Layout {
    label: usize,
    bar: usize,
    figures: usize,
}

impl Layout {
    /// Where it is narrow the bar gives way first, then the label, then the figures.
    fn of(label: usize, figures: usize, columns: Option<usize>) -> Self {
        let label = label.min(MAX_LABEL_COLUMNS);
        let Some(columns) = columns else {
            return Self { label, bar: BAR_COLUMNS, figures };
        };
        let gap = GAP.len();
        let behind = if figures > 0 { gap + figures } else { 0 };
        let free = columns.saturating_sub(label + gap + DURATION_COLUMNS + behind);
        let bar = Some(free.saturating_sub(gap).min(BAR_COLUMNS)).filter(|bar| *bar >= MIN_BAR_COLUMNS);
        let label_room = columns.saturating_sub(gap + DURATION_COLUMNS + behind);
        let label = label.min(label_room.max(MIN_LABEL_COLUMNS));
        let figures_room = columns.saturating_sub(label + gap + DURATION_COLUMNS + gap);
        Self { label, bar: bar.unwrap_or(0), figures: figures.min(figures_room) }
    }
}

/// A trace as an outline without times of day, the same on every run.
pub fn outline(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| plain(&line.label).width()).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let label = padded(&plain(&line.label), width);
        let line = format!("{label}  {:>DURATION_COLUMNS$}  {}", length(line), plain(&line.figures));
        writeln!(text, "{}", line.trim_end()).ok();
    }
    text
}

/// Text from elsewhere as a terminal may show it on one line: what would move its cursor, colour it, or turn its
/// direction is written out instead.
pub fn plain(text: &str) -> Cow<'_, str> {
    let acts = |letter: char| {
        letter.is_control()
            || matches!(letter,
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    Cow::Owned(shown)
}

/// Rows as a table, the first of them its heading. Columns that hold numbers, by their places, stand to the right. Where it is
/// wider than so many columns, the cells of the first column are cut, but not below a width that still tells them apart.
pub fn table(rows: &[Vec<String>], numbers: &[usize], columns: Option<usize>) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells: Vec<Vec<Cow<'_, str>>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let widest = |column: usize| {
        let widths = cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.width());
        widths.max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..count).map(widest).collect();
    let others: usize = widths.iter().skip(1).map(|width| GAP.len() + width).sum();
    if let Some((first, columns)) = widths.first_mut().zip(columns) {
        *first = (*first).min(columns.saturating_sub(others).max(MIN_LABEL_COLUMNS));
    }
    let mut text = String::new();
    for row in &cells {
        let filled = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let cell = cut(cell, *width);
            let missing = " ".repeat(width.saturating_sub(cell.width()));
            if numbers.contains(&column) { missing + &cell } else { cell + &missing }
        });
        let line = filled.collect::<Vec<String>>().join(GAP);
        // Writing to a string cannot fail.
        writeln!(text, "{}", line.trim_end()).ok();
    }
    text
}

/// Cut or filled up to so many columns.
fn padded(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let missing = columns.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(missing))
}

fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut shown = String::new();
    for letter in text.chars() {
        if shown.width() + letter.width().unwrap_or(0) + 1 > columns {
            break;
        }
        shown.push(letter);
    }
    shown + "…"
}

fn length(line: &Line) -> String {
    let mark = if line.coarse { "~" } else { " " };
    format!("{mark}{}", duration(line.end_ns.saturating_sub(line.start_ns)))
}

fn bar(line: &Line, start: u64, end: u64, columns: usize) -> String {
    let columns = columns as u64;
    let column = |at: u64| (at.clamp(start, end) - start).saturating_mul(columns) / (end - start);
    let from = column(line.start_ns).min(columns.saturating_sub(1));
    let to = column(line.end_ns).max(from + 1);
    (0..columns).map(|at| if (from..to).contains(&at) { '█' } else { '·' }).collect()
}

/// A duration as people read it.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match seconds {
        _ if seconds >= 100.0 => format!("{seconds:.0}s"),
        _ if seconds >= 1.0 => format!("{seconds:.2}s"),
        _ => format!("{:.0}ms", seconds * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, figures: &str) -> Line {
        let (start_ns, end_ns) = (0, 1_500_000_000);
        Line {
            label: label.to_owned(),
            start_ns,
            end_ns,
            figures: figures.to_owned(),
            failed: false,
            coarse: false,
        }
    }

    fn widths(text: &str) -> Vec<usize> {
        text.lines().map(|line| line.trim_end().width()).collect()
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_the_bar_gives_way_first() {
        let lines = [
            line("invoke_team A team with a name of its own, rather long", "tokens=123,456 error"),
            line("└─ chat gpt-5", "in=812 cached=100 out=96 reasoning=64 streamed"),
        ];
        for columns in [40, 60, 80, 100, 120, 200] {
            let text = waterfall(&lines, Paint::Plain, Some(columns));
            assert!(widths(&text).iter().all(|width| *width <= columns), "{columns}:\n{text}");
            assert_eq!(text.contains('█'), columns >= 130, "{columns}:\n{text}");
            assert!(text.contains("1.50s"), "{columns}:\n{text}");
        }
        let short = [line("chat gpt-5", "in=8 out=9")];
        assert!(waterfall(&short, Paint::Plain, Some(50)).contains('█'));
        // The fixed layout, where there is no terminal.
        assert!(waterfall(&lines, Paint::Plain, None).contains(&"█".repeat(BAR_COLUMNS)));
    }

    #[test]
    fn wide_letters_keep_the_columns_straight() {
        let lines =
            [line("invoke_agent 研究者", "tokens=1"), line("└─ chat 🦀", "in=1"), line("└─ chat a", "in=1")];
        let text = waterfall(&lines, Paint::Plain, None);
        let columns: Vec<usize> = text.lines().map(|line| line.split_once('█').unwrap().0.width()).collect();
        assert_eq!(columns, [32, 32, 32], "{text}");
        assert_eq!(cut("研究者", 5), "研究…");
    }

    #[test]
    fn a_table_is_straight_and_its_first_column_gives_way() {
        let rows = |first: &str| {
            let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
            vec![
                row(["session", "ours", "why"]),
                row([first, "1,234", "pause"]),
                row(["研究者\u{7}", "5", ""]),
            ]
        };
        let text = table(&rows("s"), &[1], Some(80));
        assert_eq!(text, "session       ours  why\ns            1,234  pause\n研究者\\u{7}      5\n");
        let text = table(&rows(&"x".repeat(90)), &[1], Some(40));
        assert!(
            widths(&text).iter().all(|width| *width <= 40) && text.contains("x…  1,234  pause"),
            "{text}"
        );
        assert!(table(&rows(&"x".repeat(90)), &[1], Some(10)).contains(&"x".repeat(MIN_LABEL_COLUMNS - 1)));
        assert!(table(&rows(&"x".repeat(90)), &[1], None).contains(&"x".repeat(90)));
        assert_eq!(table(&[], &[], None), "");
    }

    #[test]
    fn what_would_steer_a_terminal_is_written_out() {
        assert_eq!(plain("Zoë 研究者 🦀"), "Zoë 研究者 🦀");
        assert_eq!(plain("a\u{1b}[2Jb\r\n\u{9b}c\u{202e}d"), "a\\u{1b}[2Jb\\r\\n\\u{9b}c\\u{202e}d");
        let text = waterfall(&[line("agent\u{1b}[31m", "\u{7}role")], Paint::Plain, None);
        assert!(text.chars().all(|letter| !letter.is_control() || letter == '\n'), "{text:?}");
    }
}

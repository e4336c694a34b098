//! What terminals get: tables, traces as waterfalls, and text made plain. Snapshot tests get outlines.

mod table;
mod waterfall;

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::model::cost::NANO_PER_USD;
use crate::otel::Line;
pub use table::{Cell, Column, Table, Tone};
pub use waterfall::waterfall;

/// The first column of a table is cut to this where the others need the room.
const MIN_LABEL_COLUMNS: usize = 20;
/// What the five disjoint classes of tokens are called above their columns, in their order.
pub const CLASS_HEADINGS: [&str; 5] = ["input", "cached", "written", "output", "reasoning"];
const DURATION_COLUMNS: usize = 9;

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
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    Cow::Owned(shown)
}

/// True if a letter would move a terminal's cursor, colour it, or turn its direction.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// JSON, which escapes some of what acts on a terminal, with the rest escaped too.
pub fn plain_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        if acts(letter) && letter != '\n' {
            // Writing to a string cannot fail; none of these is beyond four digits.
            write!(shown, "\\u{:04x}", u32::from(letter)).ok();
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Rows as a table, the first of them its heading. Columns that hold numbers, by their places, stand to the right. Where it is
/// wider than so many columns, the cells of the first column are cut.
pub fn table(rows: &[Vec<String>], numbers: &[usize], columns: Option<usize>) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let column = |at: usize| match at {
        0 => Column::text().cut_to(MIN_LABEL_COLUMNS),
        _ if numbers.contains(&at) => Column::number(),
        _ => Column::text(),
    };
    let mut table = Table::of((0..count).map(column).collect());
    for row in rows {
        table.row(row.iter().map(|cell| Cell::of(cell)).collect());
    }
    table.text(Paint::Plain, columns)
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
    if columns == 0 {
        return String::new();
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

/// A duration as people read it.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub fn duration(nanoseconds: u64) -> String {
    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    let seconds = nanoseconds as f64 / 1e9;
    let whole = nanoseconds / 1_000_000_000;
    match whole {
        _ if whole >= 2 * DAY => format!("{}d {}h", whole / DAY, whole % DAY / HOUR),
        _ if whole >= 2 * HOUR => format!("{}h {}m", whole / HOUR, whole % HOUR / 60),
        600.. => format!("{}m {}s", whole / 60, whole % 60),
        100.. => format!("{seconds:.0}s"),
        1.. => format!("{seconds:.2}s"),
        0 => format!("{:.0}ms", seconds * 1e3),
    }
}

/// Nano-dollars as dollars: to the cent, or as far as it takes to see two digits of them.
pub fn dollars(nano_usd: u64) -> String {
    let (whole, nano) = (nano_usd / NANO_PER_USD, nano_usd % NANO_PER_USD);
    if nano_usd >= NANO_PER_USD || nano_usd == 0 {
        let cents = (nano + NANO_PER_USD / 200) / (NANO_PER_USD / 100);
        return format!("${}.{:02}", grouped(whole + cents / 100), cents % 100);
    }
    let digits = format!("{nano:09}");
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let shown = (zeros + 2).clamp(2, digits.len());
    let step = 10_u64.pow(u32::try_from(digits.len() - shown).unwrap_or(0));
    let rounded = (nano + step / 2) / step;
    if rounded >= 10_u64.pow(u32::try_from(shown).unwrap_or(0)) {
        "$1.00".to_owned()
    } else {
        format!("$0.{rounded:0shown$}")
    }
}

/// What something cost: `~` where it is estimated, `+` where there are tokens beside it without a known price, `?` where
/// there is nothing else.
pub fn money(nano_usd: Option<u64>, is_estimate: bool, is_unpriced: bool) -> String {
    match nano_usd {
        Some(nano_usd) => {
            let (before, after) = (if is_estimate { "~" } else { "" }, if is_unpriced { "+" } else { "" });
            format!("{before}{}{after}", dollars(nano_usd))
        }
        None if is_unpriced => "?".to_owned(),
        None => String::new(),
    }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(text: &str) -> Vec<usize> {
        text.lines().map(|line| line.trim_end().width()).collect()
    }

    #[test]
    fn lengths_have_two_units_or_three_digits() {
        const SECOND: u64 = 1_000_000_000;
        for (nanoseconds, shown) in [
            (0, "0ms"),
            (SECOND / 2, "500ms"),
            (3 * SECOND / 2, "1.50s"),
            (119 * SECOND, "119s"),
            (754 * SECOND, "12m 34s"),
            (7_260 * SECOND, "2h 1m"),
            (180_000 * SECOND, "2d 2h"),
        ] {
            assert_eq!(duration(nanoseconds), shown);
        }
    }

    #[test]
    fn what_a_cost_leaves_open_is_marked() {
        let all = [(Some(0), false, false), (Some(0), true, true), (None, false, true), (None, true, false)];
        let shown = all.map(|(nano_usd, is_estimate, is_unpriced)| money(nano_usd, is_estimate, is_unpriced));
        assert_eq!(shown, ["$0.00", "~$0.00+", "?", ""]);
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
        assert!(widths(&table(&rows(&"x".repeat(90)), &[1], Some(10))).iter().all(|width| *width <= 10));
        assert_eq!(cut("研究者", 5), "研究…");
        assert!(table(&rows(&"x".repeat(90)), &[1], None).contains(&"x".repeat(90)));
        assert_eq!(table(&[], &[], None), "");
    }

    #[test]
    fn what_would_steer_a_terminal_is_written_out() {
        assert_eq!(plain("Zoë 研究者 🦀"), "Zoë 研究者 🦀");
        assert_eq!(plain("a\u{1b}[2Jb\r\n\u{9b}c\u{202e}d"), "a\\u{1b}[2Jb\\r\\n\\u{9b}c\\u{202e}d");
    }

    #[test]
    fn dollars_are_shown_to_the_cent_or_to_two_digits() {
        for (nano_usd, shown) in [
            (0, "$0.00"),
            (1, "$0.000000001"),
            (109_500, "$0.00011"),
            (4_200_000, "$0.0042"),
            (12_345_678, "$0.012"),
            (999_999_999, "$1.00"),
            (994_999_999, "$0.99"),
            (1_234_567_890, "$1.23"),
            (9_999_999_999, "$10.00"),
            (1_234_567_890_000_000, "$1,234,567.89"),
        ] {
            assert_eq!(dollars(nano_usd), shown, "{nano_usd}");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        let shown: Vec<String> = [0, 12, 123, 1_234, 123_456, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(shown, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }
}

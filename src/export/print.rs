//! A trace as text: for `show`, for `demo`, and for every snapshot test.

use std::fmt::Write as _;

use crate::otel::Line;

/// Columns of the bar that shows when a span ran.
const BAR_COLUMNS: u64 = 32;
/// A label longer than this is cut in the waterfall.
const MAX_LABEL_CHARS: usize = 60;

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

/// A trace as a waterfall: name, duration, when it ran, what it spent.
///
/// A `~` before the duration marks times known to the second only.
pub fn waterfall(lines: &[Line], paint: Paint) -> String {
    let Some(root) = lines.first() else {
        return String::new();
    };
    let (start, end) = (root.start_ns, root.end_ns.max(root.start_ns + 1));
    let width = lines.iter().map(|line| line.label.chars().count()).max().unwrap_or(0).min(MAX_LABEL_CHARS);
    let mut text = String::new();
    for line in lines {
        let label = cut(&line.label, width);
        let mark = if line.coarse { "~" } else { " " };
        let duration = format!("{mark}{}", duration(line.end_ns.saturating_sub(line.start_ns)));
        let bar = bar(line, start, end);
        let bar = paint.paint(&bar, if line.failed { "31" } else { "36" });
        let figures = paint.paint(&line.figures, if line.failed { "31" } else { "2" });
        let line = format!("{label:width$}  {duration:>9}  {bar}  {figures}");
        // Writing to a string cannot fail.
        writeln!(text, "{}", line.trim_end()).ok();
    }
    text
}

/// A trace as an outline without times of day, the same on every run.
pub fn outline(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.label.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let mark = if line.coarse { "~" } else { " " };
        let duration = format!("{mark}{}", duration(line.end_ns.saturating_sub(line.start_ns)));
        let line = format!("{:width$}  {duration:>9}  {}", line.label, line.figures);
        writeln!(text, "{}", line.trim_end()).ok();
    }
    text
}

fn cut(label: &str, width: usize) -> String {
    if label.chars().count() <= width {
        return label.to_owned();
    }
    label.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn bar(line: &Line, start: u64, end: u64) -> String {
    let column = |at: u64| (at.clamp(start, end) - start).saturating_mul(BAR_COLUMNS) / (end - start);
    let from = column(line.start_ns).min(BAR_COLUMNS - 1);
    let to = column(line.end_ns).max(from + 1);
    (0..BAR_COLUMNS).map(|at| if (from..to).contains(&at) { '█' } else { '·' }).collect()
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

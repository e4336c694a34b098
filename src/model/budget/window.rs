//! The time a budget is for.

use std::time::{Duration, UNIX_EPOCH};

const MINUTE_S: u64 = 60;
const DAY_S: u64 = 24 * 3600;
/// The longest time that is looked back on: a year.
pub const LONGEST_WINDOW_S: u64 = 366 * DAY_S;
/// The last second of the year 9999: text has four digits for a year.
const LAST_S: u64 = 253_402_300_799;
/// From the Monday before it to the first day of Unix time, a Thursday.
const MONDAY_TO_EPOCH_S: u64 = 3 * DAY_S;

/// The time a budget is for. Days, weeks and months are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    Month,
    /// The last so many seconds, to the minute.
    Rolling {
        /// How many, a whole number of minutes.
        seconds: u64,
    },
}

/// A window as it lies now, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub start_s: u64,
    /// When it ends and what was spent is forgotten; of a rolling window, now.
    pub end_s: u64,
}

impl Window {
    /// The window that holds a time, in Unix seconds.
    pub fn span(self, now_s: u64) -> Span {
        match self {
            Self::Day => {
                let start_s = now_s - now_s % DAY_S;
                Span { start_s, end_s: start_s + DAY_S }
            }
            Self::Week => {
                let end_s = now_s + 7 * DAY_S - (now_s + MONDAY_TO_EPOCH_S) % (7 * DAY_S);
                Span { start_s: end_s.saturating_sub(7 * DAY_S), end_s }
            }
            Self::Month => {
                let start_s = month_start(now_s);
                // Whatever month it is, the next one has begun after 31 days, and the one after it has not.
                Span { start_s, end_s: month_start(start_s + 31 * DAY_S) }
            }
            Self::Rolling { seconds } => {
                // The minute that is under way is the last of it.
                let end_s = now_s - now_s % MINUTE_S + MINUTE_S;
                Span { start_s: end_s.saturating_sub(seconds), end_s }
            }
        }
    }

    /// As it is written in a config file.
    pub fn text(self) -> String {
        match self {
            Self::Day => "day".to_owned(),
            Self::Week => "week".to_owned(),
            Self::Month => "month".to_owned(),
            Self::Rolling { seconds } => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
        }
    }
}

/// Midnight of the first of a time's month.
fn month_start(at_s: u64) -> u64 {
    let text =
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at_s.min(LAST_S))).to_string();
    let month = text.get(.."2026-11".len()).unwrap_or("1970-01");
    let start = humantime::parse_rfc3339(&format!("{month}-01T00:00:00Z")).ok();
    start.and_then(|start| start.duration_since(UNIX_EPOCH).ok()).map_or(0, |start| start.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        humantime::parse_rfc3339(text).unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn text(at_s: u64) -> String {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at_s)).to_string()
    }

    #[test]
    fn windows_begin_and_end_where_calendars_say() {
        for (window, now, start, end) in [
            (Window::Day, "2026-11-27T00:00:00Z", "2026-11-27", "2026-11-28"),
            (Window::Day, "2026-12-31T23:59:59Z", "2026-12-31", "2027-01-01"),
            (Window::Week, "2026-11-23T00:00:00Z", "2026-11-23", "2026-11-30"),
            (Window::Week, "2026-11-29T23:59:59Z", "2026-11-23", "2026-11-30"),
            (Window::Week, "2027-01-01T12:00:00Z", "2026-12-28", "2027-01-04"),
            (Window::Month, "2026-11-30T23:59:59Z", "2026-11-01", "2026-12-01"),
            (Window::Month, "2026-12-01T00:00:00Z", "2026-12-01", "2027-01-01"),
            (Window::Month, "2028-02-29T08:00:00Z", "2028-02-01", "2028-03-01"),
            (Window::Month, "2026-02-28T23:59:59Z", "2026-02-01", "2026-03-01"),
        ] {
            let Span { start_s, end_s } = window.span(at(now));
            let midnight = |day: &str| format!("{day}T00:00:00Z");
            assert_eq!((text(start_s), text(end_s)), (midnight(start), midnight(end)), "{window:?} of {now}");
        }
    }

    #[test]
    fn a_rolling_window_moves_with_the_minute() {
        let window = Window::Rolling { seconds: 3600 };
        let Span { start_s, end_s } = window.span(at("2026-11-27T10:15:42Z"));
        assert_eq!(
            (text(start_s), text(end_s)),
            ("2026-11-27T09:16:00Z".into(), "2026-11-27T10:16:00Z".into())
        );
        assert_eq!(window.text(), "1h");
    }

    proptest::proptest! {
        #[test]
        fn every_time_is_in_its_window_and_windows_leave_no_gap(
            now_s in 0..4_000_000_000_u64, window in 0..3_usize,
        ) {
            let window = [Window::Day, Window::Week, Window::Month][window];
            let span = window.span(now_s);
            proptest::prop_assert!((span.start_s..span.end_s).contains(&now_s));
            proptest::prop_assert_eq!(window.span(span.start_s), span);
            proptest::prop_assert_eq!(window.span(span.end_s - 1), span);
            proptest::prop_assert_eq!(window.span(span.end_s).start_s, span.end_s);
        }
    }
}

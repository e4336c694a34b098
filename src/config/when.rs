//! Times as people write them.

use std::time::{Duration, UNIX_EPOCH};

use crate::clock::Clock;

/// What a time may look like.
const TIMES: &str = "a time such as 2026-11-24T09:30:00Z, a date (from midnight UTC), or a length of time before now such as 2h or 3d";

/// Unix nanoseconds of a time, of the beginning of a date in UTC, or of what was so long before now.
pub fn parse(text: &str, clock: Clock) -> Result<u64, String> {
    let text = text.trim();
    let found = if let Ok(before) = humantime::parse_duration(text) {
        clock.now_ns().checked_sub(nanoseconds(before))
    } else {
        absolute(text)
    };
    found.ok_or_else(|| format!("expected {TIMES}"))
}

fn absolute(text: &str) -> Option<u64> {
    const DATE: usize = "2026-11-24".len();
    let (time, offset_s) =
        if text.len() == DATE { (format!("{text}T00:00:00"), 0) } else { with_offset(text)? };
    let at = humantime::parse_rfc3339_weak(&time).ok()?.duration_since(UNIX_EPOCH).ok()?;
    nanoseconds(at).checked_add_signed(-offset_s.checked_mul(1_000_000_000)?)
}

/// A time in UTC, and how many seconds the clocks it is told by are ahead.
fn with_offset(text: &str) -> Option<(String, i64)> {
    const OFFSET: usize = "+01:00".len();
    let split = text.len().checked_sub(OFFSET).and_then(|at| text.split_at_checked(at));
    let Some((time, offset)) = split.filter(|(time, offset)| time.contains(':') && offset.contains(':'))
    else {
        return Some((text.to_owned(), 0));
    };
    let (sign, offset) = match offset.strip_prefix('+') {
        Some(offset) => (1, offset),
        None => match offset.strip_prefix('-') {
            Some(offset) => (-1, offset),
            None => return Some((text.to_owned(), 0)),
        },
    };
    let (hours, minutes) = offset.split_once(':')?;
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60)
        .then(|| (time.to_owned(), sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60)))
}

fn nanoseconds(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// A time as text, to the second, in UTC; as [`parse`] reads it.
pub fn text(at_ns: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at_ns / 1_000_000_000)).to_string()
}

/// The same to the nanosecond.
pub fn text_ns(at_ns: u64) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(at_ns)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_dates_and_lengths_of_time_are_understood() {
        const DAY_NS: u64 = 86_400_000_000_000;
        let now = Clock::Fixed(20_000 * DAY_NS);
        for (said, at_ns) in [
            ("2h", 20_000 * DAY_NS - DAY_NS / 12),
            ("3d", 19_997 * DAY_NS),
            ("1970-01-02", DAY_NS),
            ("1970-01-02T00:00:01Z", DAY_NS + 1_000_000_000),
            ("1970-01-02 00:00:01", DAY_NS + 1_000_000_000),
            ("1970-01-02T01:00:00+01:00", DAY_NS),
            ("1970-01-01T23:30:00-00:30", DAY_NS),
        ] {
            assert_eq!(parse(said, now), Ok(at_ns), "{said}");
        }
        for wrong in
            ["", "soon", "2026-13-01", "2026-11-24T", "1970-01-02T01:00:00+25:00", "99999999d", "1970-01-0é"]
        {
            assert!(parse(wrong, now).is_err(), "{wrong}");
        }
        assert_eq!((text(DAY_NS), text(u64::MAX)), ("1970-01-02T00:00:00Z".to_owned(), text(u64::MAX)));
    }
}
